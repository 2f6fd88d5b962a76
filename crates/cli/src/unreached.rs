//! Why there is no answer of a server, and what to look at.

use std::error::Error;
use std::io;

use rustls::CertificateError;
use tonic::{Code, Status, TimeoutExpired};

use super::credentials::Shown;
use super::error::CliError;
use super::text;

const PERHAPS_TLS: &str = "does it speak TLS? Then its address begins with https://";
const LOOK_AT_ADDRESS: &str = "is --server or LONGSHORE_SERVER right?";
const REFUSED_CERTIFICATE: &str = "did it refuse --client-cert? It must still be valid, and signed by the authority of \
                                   clients that the server was given";

/// Why there is no answer.
pub(super) enum Unreached<'a> {
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
    /// Of a status that was made here and not by a server.
    pub(super) fn of(status: &'a Status) -> Option<Self> {
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

    /// Whether the next try would end in the same way.
    pub(super) fn is_final(&self, shown: &Shown) -> bool {
        match self {
            Self::Io(cause) => said_by_tls(cause).is_some(),
            Self::Protocol => shown.certificate,
            Self::Http(_) => true,
        }
    }

    /// What to tell of the server at `address`.
    pub(super) fn into_error(self, address: &str, shown: &Shown) -> CliError {
        let address = address.to_owned();
        let https = address.starts_with("https://");
        match self {
            Self::Io(cause) if cause.kind() == io::ErrorKind::ConnectionRefused => CliError::NoServer { address },
            Self::Io(cause) => {
                let hint = match said_by_tls(cause) {
                    Some(said) => look_at(said, shown),
                    None if hangs_up(cause) && !https => PERHAPS_TLS,
                    None if hangs_up(cause) && shown.certificate => REFUSED_CERTIFICATE,
                    None => LOOK_AT_ADDRESS,
                };
                CliError::Unreachable { address, cause: text::clean(&cause.to_string()), hint }
            }
            Self::Http(answer) => CliError::Unreachable {
                address,
                cause: format!("it answers HTTP {}, so it does not speak gRPC there", text::clean(answer)),
                hint: "is it the admin port, of metrics and health? gRPC is on another, by default 7420",
            },
            Self::Protocol => {
                let (cause, hint) = match (https, shown.certificate) {
                    (false, _) => ("it does not speak gRPC", PERHAPS_TLS),
                    (true, true) => ("it broke off", REFUSED_CERTIFICATE),
                    (true, false) => ("it does not speak gRPC", LOOK_AT_ADDRESS),
                };
                CliError::Unreachable { address, cause: cause.to_owned(), hint }
            }
        }
    }
}

fn said_by_tls(cause: &io::Error) -> Option<&rustls::Error> {
    cause.get_ref()?.downcast_ref()
}

fn look_at(said: &rustls::Error, shown: &Shown) -> &'static str {
    use CertificateError::{
        BadSignature, Expired, ExpiredContext, NotValidForName, NotValidForNameContext, UnknownIssuer,
    };
    match said {
        rustls::Error::InvalidMessage(_) => "does it speak TLS? Without, its address begins with http://",
        rustls::Error::InvalidCertificate(UnknownIssuer | BadSignature) if shown.authority => {
            "is --ca-file that of the authority of its certificate?"
        }
        rustls::Error::InvalidCertificate(UnknownIssuer) => "name the authority of its certificate with --ca-file",
        rustls::Error::InvalidCertificate(NotValidForName | NotValidForNameContext { .. }) => {
            "if it is the right server, name it as its certificate does with --server-name"
        }
        rustls::Error::InvalidCertificate(Expired | ExpiredContext { .. }) => {
            "it needs a new certificate, or the clock here is wrong"
        }
        rustls::Error::AlertReceived(_) if shown.certificate => REFUSED_CERTIFICATE,
        _ => LOOK_AT_ADDRESS,
    }
}

/// Whether somebody took the connection and then wanted nothing of it.
fn hangs_up(cause: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(cause.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}
