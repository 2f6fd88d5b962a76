//! What a kind of things says of itself, so that it can be observed, kept, listed and watched.

use std::fmt::{Debug, Display};
use std::hash::Hash;
use std::str::FromStr;

use jiff::Timestamp;
use tokio::time::Instant;

use super::metrics::Counted;
use super::observed::Observed;
use longshore_domain::reconcile::Plan;

/// A kind of things: pure, and no value of it is needed.
pub(crate) trait Kind: Debug + Sized + Send + Sync + 'static {
    /// In the log: `run`.
    const NOUN: &'static str;

    /// Resource name. The uid that comes with it distinguishes things that had the same name one after the other.
    type Name: Clone + Debug + Display + FromStr + Eq + Hash + Ord + Send + Sync + 'static;
    /// What is observed of one.
    type Facts: Clone + Debug + Send + Sync + 'static;
    /// What one look finds, once, for [`Self::derive`] and [`Self::plan`].
    type Verdict: Debug + Send + Sync + 'static;
    /// What is reported of one.
    type View: Debug + Send + Sync + 'static;
    /// One thing to do about one. Doing it twice is doing it once.
    type Action: Debug + Send + Sync + 'static;
    /// What distinguishes an action from another that is done again.
    type ActionKey: Debug + Eq + Send + 'static;
    /// What an action writes for every other process, and that is not taken back.
    type Written: Debug + Send + 'static;
    /// What earlier looks of this process have shown, which facts don't show.
    type Seen: Debug + Send + Sync + 'static;
    /// What listings choose by.
    type Traits<'a>: Copy;
    /// One to which nothing more happens, in few bytes.
    type Packed: Debug + Send + Sync + 'static;
    /// What those that were packed before have in common with the next.
    type Common: Debug + Default + Send + Sync + 'static;

    fn name(facts: &Self::Facts) -> &Self::Name;
    fn uid(facts: &Self::Facts) -> &str;

    /// Merges a look with what was known before of the same thing: what can't go back stays.
    fn remember(known: Option<&Self::Facts>, facts: Self::Facts, now: Timestamp) -> Self::Facts;
    /// What is known, with what can't go back of facts that were read for a caller: the watch may have reported newer ones.
    fn merge(known: &Self::Facts, read: &Self::Facts) -> Self::Facts;
    fn judge(facts: &Self::Facts, now: Timestamp) -> Self::Verdict;
    fn derive(facts: &Self::Facts, verdict: &Self::Verdict, now: Timestamp) -> Self::View;
    fn plan(facts: &Self::Facts, verdict: &Self::Verdict, now: Timestamp) -> Plan<Self::Action>;
    /// What is known after one more look. `stretch`: the part of the watch without a break that reported it, if it did.
    fn see(facts: &Self::Facts, before: Option<&Self::Seen>, stretch: Option<u64>, now: Instant) -> Self::Seen;

    /// In metrics.
    fn state(view: &Self::View) -> &'static str;
    /// Whether it has ended: who waits for it is answered, and what is reported does not depend on the time any more.
    fn is_terminal(view: &Self::View) -> bool;
    /// Whether nothing more happens to it but that it is deleted, so that it may be packed.
    fn is_settled(facts: &Self::Facts, view: &Self::View) -> bool;
    /// Whose limit of live ones it counts for while it has not ended.
    fn owner(facts: &Self::Facts) -> &str;

    fn traits(view: &Self::View) -> Self::Traits<'_>;
    fn packed_traits(packed: &Self::Packed) -> Self::Traits<'_>;
    /// What its place in listings follows from: newest first, then by name.
    fn place(view: &Self::View) -> (Option<Timestamp>, &Self::Name);
    fn packed_place(packed: &Self::Packed) -> (Option<Timestamp>, &Self::Name);
    fn counted(observed: &Observed<Self>) -> Counted;
    fn packed_counted(packed: &Self::Packed) -> Counted;
    /// Packs what is settled. `None`: it can't be packed.
    fn pack(observed: &Observed<Self>, common: &mut Self::Common) -> Option<Self::Packed>;
    /// `None` never is what [`Self::pack`] made.
    fn unpack(packed: &Self::Packed) -> Option<Observed<Self>>;

    /// Whether its end is recorded, for this and every other process.
    fn is_recorded(facts: &Self::Facts) -> bool;
    fn key(action: &Self::Action) -> Self::ActionKey;
    /// What this action writes down of how something ended: until that is seen, nothing newer is reported, which could be
    /// other than what was written. `None`: nothing.
    fn writes(action: &Self::Action) -> Option<Self::Written>;
    /// Whether these facts show it, or what has come in its place.
    fn shows(facts: &Self::Facts, written: &Self::Written) -> bool;
    /// What callers miss while this action fails, as a clause: `how it ended can't be recorded yet`. `None`: nothing that they
    /// have to know of.
    fn misses(action: &Self::Action) -> Option<&'static str>;
    /// In logs and metrics, without what the action holds.
    fn action(action: &Self::Action) -> &'static str;
}
