//! Why there is no answer of a server.

use std::error::Error;
use std::io;

use tonic::{Code, Status, TimeoutExpired};

/// Why there is no answer of a server.
#[derive(Debug)]
pub enum Unreached<'a> {
    /// What the operating system or TLS said.
    Io(&'a io::Error),
    /// What took the connection does not speak HTTP/2, or broke off.
    Protocol,
    /// It speaks HTTP/2 and not gRPC; this is its answer.
    Http(&'a str),
}

/// How tonic words an answer without a status of gRPC, before the number of the HTTP status.
const HTTP_ANSWER: &str = "grpc-status header missing, mapped from HTTP status code ";

impl<'a> Unreached<'a> {
    /// Of a status that was made here and not by a server; `None`: a server answered.
    #[must_use]
    pub fn of(status: &'a Status) -> Option<Self> {
        // Others than 404 may be of what stands between, and pass.
        if let Some(answer) = status.message().strip_prefix(HTTP_ANSWER).filter(|answer| answer.starts_with("404")) {
            return Some(Self::Http(answer));
        }
        let mut io = None;
        let mut source: Option<&(dyn Error + 'static)> = Some(status.source()?);
        while let Some(error) = source {
            if error.is::<TimeoutExpired>() {
                return None;
            }
            io = io.or_else(|| error.downcast_ref::<io::Error>());
            source = error.source();
        }
        match (status.code(), io) {
            (Code::Unavailable, Some(cause)) => Some(Self::Io(cause)),
            (Code::Internal | Code::Unknown | Code::Cancelled, _) => Some(Self::Protocol),
            _ => None,
        }
    }

    /// Whether the next try would end in the same way, of a client that shows a certificate or does not.
    #[must_use]
    pub fn is_final(&self, shows_certificate: bool) -> bool {
        match self {
            Self::Io(_) => self.said_by_tls().is_some(),
            Self::Protocol => shows_certificate,
            Self::Http(_) => true,
        }
    }

    /// What TLS said, if it was TLS that failed.
    #[must_use]
    pub fn said_by_tls(&self) -> Option<&'a rustls::Error> {
        match self {
            Self::Io(cause) => cause.get_ref()?.downcast_ref(),
            Self::Protocol | Self::Http(_) => None,
        }
    }
}
