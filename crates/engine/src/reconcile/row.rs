//! One thing in the table: as observed while it may change or is followed, and packed once nothing more happens to it, so
//! that memory is taken by what lives.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::watch;

use super::kind::Kind;
use super::metrics::Counted;
use super::observed::Observed;

/// What a row holds, to be read without the table's lock.
#[derive(Debug)]
pub(crate) enum Held<K: Kind> {
    Open(Arc<Observed<K>>),
    Packed(Arc<K::Packed>),
}

impl<K: Kind> Held<K> {
    pub(crate) fn observed(self) -> Option<Arc<Observed<K>>> {
        match self {
            Self::Open(observed) => Some(observed),
            Self::Packed(packed) => K::unpack(&packed).map(Arc::new),
        }
    }

    pub(crate) fn traits(&self) -> K::Traits<'_> {
        match self {
            Self::Open(observed) => K::traits(&observed.view),
            Self::Packed(packed) => K::packed_traits(packed),
        }
    }

    pub(super) fn place(&self) -> (Option<Timestamp>, &K::Name) {
        match self {
            Self::Open(observed) => K::place(&observed.view),
            Self::Packed(packed) => K::packed_place(packed),
        }
    }
}

/// One thing.
#[derive(Debug)]
pub(super) enum TableRow<K: Kind> {
    Open(watch::Sender<Arc<Observed<K>>>),
    Packed(Arc<K::Packed>),
}

impl<K: Kind> TableRow<K> {
    pub(super) fn new(observed: Arc<Observed<K>>, common: &mut K::Common) -> Self {
        match packed(&observed, common) {
            Some(packed) => Self::Packed(Arc::new(packed)),
            None => Self::Open(watch::Sender::new(observed)),
        }
    }

    /// Takes in what was observed now. Who follows goes on doing so.
    pub(super) fn set(&mut self, observed: Arc<Observed<K>>, common: &mut K::Common) {
        match self {
            Self::Open(sender) if sender.receiver_count() > 0 || !observed.is_settled() => {
                sender.send_replace(observed);
            }
            _ => *self = Self::new(observed, common),
        }
    }

    pub(super) fn held(&self) -> Held<K> {
        match self {
            Self::Open(sender) => Held::Open(Arc::clone(&sender.borrow())),
            Self::Packed(packed) => Held::Packed(Arc::clone(packed)),
        }
    }

    /// Every change from now on. A packed one is opened for it. `None` never is what was packed here.
    pub(super) fn follow(&mut self) -> Option<watch::Receiver<Arc<Observed<K>>>> {
        if let Self::Packed(packed) = self {
            *self = Self::Open(watch::Sender::new(Arc::new(K::unpack(packed)?)));
        }
        match self {
            Self::Open(sender) => Some(sender.subscribe()),
            Self::Packed(_) => None,
        }
    }

    /// Packs what is settled and followed by nobody. Answers whether it stays open although it is settled.
    pub(super) fn pack(&mut self, common: &mut K::Common) -> bool {
        let Self::Open(sender) = self else { return false };
        if sender.receiver_count() > 0 {
            return sender.borrow().is_settled();
        }
        let packed = packed(&sender.borrow(), common);
        if let Some(packed) = packed {
            *self = Self::Packed(Arc::new(packed));
        }
        false
    }

    /// Whether it is open although it is settled.
    pub(super) fn is_to_be_packed(&self) -> bool {
        matches!(self, Self::Open(sender) if sender.borrow().is_settled())
    }

    /// Whether nothing more happens to it and nobody follows it.
    pub(super) fn is_packed(&self) -> bool {
        matches!(self, Self::Packed(_))
    }

    pub(super) fn is_terminal(&self) -> bool {
        match self {
            Self::Open(sender) => K::is_terminal(&sender.borrow().view),
            Self::Packed(_) => true,
        }
    }

    pub(super) fn counted(&self) -> Counted {
        match self {
            Self::Open(sender) => K::counted(&sender.borrow()),
            Self::Packed(packed) => K::packed_counted(packed),
        }
    }

    /// Whose it is, if it has not ended.
    pub(super) fn live_owner(&self) -> Option<String> {
        match self {
            Self::Open(sender) => {
                let observed = sender.borrow();
                let is_live = !K::is_terminal(&observed.view);
                is_live.then(|| K::owner(&observed.facts).to_owned())
            }
            Self::Packed(_) => None,
        }
    }
}

fn packed<K: Kind>(observed: &Observed<K>, common: &mut K::Common) -> Option<K::Packed> {
    observed.is_settled().then(|| K::pack(observed, common)).flatten()
}
