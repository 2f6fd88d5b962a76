//! Who calls: what they bring along, and what is known of them.

use std::sync::Arc;

use tokio::time::Instant;

use longshore_backend::BackendError;
use longshore_domain::access::{Identity, Verb};

/// What a call brings along.
#[derive(Clone, Debug, Default)]
pub struct PresentedCredentials<'a> {
    /// A bearer token.
    pub token: Option<&'a str>,
    /// Who the client certificate is of, which the transport has checked.
    pub certificate: Option<Identity>,
    /// Why it is of nobody, if it is; for the log.
    pub flaw: Option<&'static str>,
}

/// Who calls, and what their call requires.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Caller {
    /// Who; of nobody without authentication.
    pub identity: Arc<Identity>,
    /// What they have to be allowed for this call, as the API says of its method. `None`: the call requires nothing,
    /// and what requires something is refused.
    pub verb: Option<Verb>,
    /// When they have to show it again; `None`: never.
    pub until: Option<Instant>,
}

/// Why it is not known who calls.
#[derive(Debug, thiserror::Error)]
pub enum AuthenticationError {
    /// No credentials, or none that are known. Which of the two is not reported.
    #[error("missing or invalid credentials")]
    Unknown,
    /// It can't be found out now.
    #[error(transparent)]
    Backend(#[from] BackendError),
}
