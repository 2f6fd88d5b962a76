//! Listing, page by page.

use std::cmp::Reverse;
use std::sync::Arc;

use jiff::Timestamp;

use super::driver::Driver;
use super::kind::Kind;
use super::reconciled::Reconciled;
use super::row::Held;
use super::table::{OrderKey, order_key};
use longshore_domain::notation::violation::Violation;
use longshore_domain::page::{self, PageKey};

/// Things of a page where the caller names no number.
const PAGE_DEFAULT: usize = 50;
/// Things of a page at most.
const PAGE_MAX: usize = 500;

/// A part of a listing.
#[derive(Clone, Debug)]
pub struct Page<View> {
    /// Newest first.
    pub items: Vec<Arc<View>>,
    /// For the next page.
    pub next_page_token: Option<String>,
}

/// Which page is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PageQuery<'a> {
    /// At most this many; 0: 50; capped at 500.
    pub(crate) size: usize,
    /// From the page before; empty: the first.
    pub(crate) token: &'a str,
    /// What a token is bound to: a canonical text of all that selects, the same over an upgrade of the server.
    pub(crate) text: &'a str,
}

impl<D: Driver> Reconciled<D> {
    /// A page of what is wanted.
    pub(crate) fn list(
        &self,
        query: PageQuery<'_>,
        wanted: impl Fn(<D::Kind as Kind>::Traits<'_>) -> bool,
    ) -> Result<Page<<D::Kind as Kind>::View>, Violation> {
        let after = match query.token {
            "" => None,
            token => Some(page_start::<D::Kind>(token, query.text)?),
        };
        let size = match query.size {
            0 => PAGE_DEFAULT,
            size => size.min(PAGE_MAX),
        };
        let (page, more) = self.table().page(after.as_ref(), size, wanted);
        let now = Timestamp::now();
        let items: Vec<_> = page.into_iter().filter_map(Held::observed).map(|observed| observed.as_of(now)).collect();
        let next_page_token = items.last().filter(|_| more).map(|last| page_token_after::<D::Kind>(last, query.text));
        Ok(Page { items, next_page_token })
    }
}

/// The token of the page that begins just after `last`.
pub(crate) fn page_token_after<K: Kind>(last: &K::View, query: &str) -> String {
    let (Reverse(create_time), name) = order_key::<K>(K::place(last));
    page::encode(&PageKey { create_time, name }, query)
}

fn page_start<K: Kind>(token: &str, query: &str) -> Result<OrderKey<K>, Violation> {
    let key: PageKey<K::Name> = page::decode(token, query).map_err(|e| Violation::new("page_token", e.to_string()))?;
    Ok((Reverse(key.create_time), key.name))
}
