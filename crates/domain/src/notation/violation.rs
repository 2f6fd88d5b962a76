//! What is wrong with a request, all of it at once.

/// One thing that is wrong with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Path of the field as in the proto, for example `spec.env[2].name`.
    pub field: String,
    /// What is wrong and what would be right, in one sentence.
    pub description: String,
    /// What kind of fault it is.
    pub kind: ViolationKind,
}

/// What kind of fault a violation is; decides the error's reason if all violations share it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ViolationKind {
    /// The value itself is wrong.
    #[default]
    Invalid,
    /// This backend can't do it.
    UnsupportedOnBackend,
    /// Not built yet.
    NotSupportedYet,
}

impl Violation {
    /// A value that is wrong.
    #[must_use]
    pub fn new(field: impl Into<String>, description: impl Into<String>) -> Self {
        Self { field: field.into(), description: description.into(), kind: ViolationKind::Invalid }
    }
}

/// Most violations that are kept of one request, so that a request of many small faults can't
/// take many times its own size in memory.
pub const VIOLATIONS_MAX: usize = 256;

/// Collects violations; a request is refused with all of them, up to [`VIOLATIONS_MAX`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Violations(Vec<Violation>);

impl Violations {
    /// None so far.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a value that is wrong.
    pub fn add(&mut self, field: impl Into<String>, description: impl Into<String>) {
        self.push(Violation::new(field, description));
    }

    /// Adds a field that this backend can't honour.
    pub fn unsupported_on_backend(&mut self, field: impl Into<String>, description: impl Into<String>) {
        let kind = ViolationKind::UnsupportedOnBackend;
        self.push(Violation { field: field.into(), description: description.into(), kind });
    }

    /// Adds a field whose work is not built yet.
    pub fn not_supported_yet(&mut self, field: impl Into<String>, description: impl Into<String>) {
        let kind = ViolationKind::NotSupportedYet;
        self.push(Violation { field: field.into(), description: description.into(), kind });
    }

    /// Adds a violation that was made elsewhere.
    pub fn push(&mut self, violation: Violation) {
        if self.0.len() < VIOLATIONS_MAX {
            self.0.push(violation);
        }
    }

    /// The same below `path`: what is wrong with a part of a request.
    #[must_use]
    pub fn below(mut self, path: &str) -> Self {
        for violation in &mut self.0 {
            violation.field = format!("{path}.{}", violation.field);
        }
        self
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them, in the order in which they were found.
    #[must_use]
    pub fn as_slice(&self) -> &[Violation] {
        &self.0
    }

    /// `Ok` if there are none.
    ///
    /// # Errors
    /// Itself, if there are any.
    pub fn into_result(self) -> Result<(), Self> {
        if self.0.is_empty() { Ok(()) } else { Err(self) }
    }
}

impl From<Violation> for Violations {
    fn from(violation: Violation) -> Self {
        Self(vec![violation])
    }
}

impl Extend<Violation> for Violations {
    fn extend<T: IntoIterator<Item = Violation>>(&mut self, iter: T) {
        iter.into_iter().for_each(|violation| self.push(violation));
    }
}

impl IntoIterator for Violations {
    type Item = Violation;
    type IntoIter = std::vec::IntoIter<Violation>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl std::fmt::Display for Violations {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (i, violation) in self.0.iter().enumerate() {
            let separator = if i == 0 { "" } else { "; " };
            write!(f, "{separator}{}: {}", violation.field, violation.description)?;
        }
        Ok(())
    }
}

impl std::error::Error for Violations {}
