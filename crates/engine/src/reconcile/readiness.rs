//! Whether a kind is known.

/// Whether everything of a kind is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// Not yet: the backend is being listed.
    Starting,
    /// It is.
    Ready,
    /// Not any more: the sentence says why.
    Broken(String),
}
