//! What the kinds of things share that are reconciled: what is reported of them, and what a plan is.

use jiff::Timestamp;

/// What a backend's watch of one kind of things emits.
#[derive(Clone, Debug, PartialEq)]
pub enum Event<Facts, Name> {
    /// One is there, or has changed.
    Upsert(Box<Facts>),
    /// One is gone.
    Gone(Name),
    /// Everything that was there when the watch began has been reported.
    Synced,
    /// The watch is broken (the sentence says how); it will be opened again, and `Synced` follows.
    Broken(String),
}

/// What to do now, and when to look again although nothing has changed.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan<Action> {
    /// In this order.
    pub actions: Vec<Action>,
    /// `None`: only when something changes.
    pub wake_at: Option<Timestamp>,
}

impl<Action> Default for Plan<Action> {
    fn default() -> Self {
        Self { actions: Vec::new(), wake_at: None }
    }
}

impl<Action> Plan<Action> {
    /// This one thing.
    #[must_use]
    pub fn of(action: Action) -> Self {
        Self { actions: vec![action], wake_at: None }
    }

    /// Nothing, until this time.
    #[must_use]
    pub fn wake(at: Timestamp) -> Self {
        Self { actions: Vec::new(), wake_at: Some(at) }
    }
}
