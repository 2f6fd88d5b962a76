//! Observing, reporting and acting, the same for every kind of thing: runs are the first. Names none of them.
//!
//! ```text
//! Driver::watch ──► reconciler ──► Kind::{remember, judge, derive} ──► table ──► list, watch, wait
//!                       ▲   └────► Kind::plan ──► Driver::act
//!                       └───────── Driver::beside: what is found out in other ways than by facts
//! ```

mod deleted;
mod driver;
mod kind;
mod list;
mod metrics;
mod observed;
mod readiness;
mod reconciled;
mod reconciler;
mod row;
mod table;
#[cfg(test)]
mod tests;
mod watch;

pub(crate) use driver::Driver;
pub(crate) use kind::Kind;
pub use list::Page;
pub(crate) use list::{PageQuery, page_token_after};
pub(crate) use metrics::{Counted, MetricNames, ReconcileMetrics};
pub(crate) use observed::Observed;
pub use readiness::Readiness;
pub(crate) use reconciled::Reconciled;
#[cfg(test)]
pub(crate) use row::Held;
pub(crate) use table::Table;
#[cfg(test)]
pub(crate) use table::{TableChange, order_key};
pub use watch::{RemovalCause, WatchEvent};
