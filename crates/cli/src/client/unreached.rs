//! What to look at when a server gives no answer, in the words of this command's flags.

use std::io;

use rustls::CertificateError;

use super::credentials::ShownCredentials;
use crate::terminal::error::CliError;
use crate::terminal::text;
use longshore_client::Unreached;

const PERHAPS_TLS: &str = "does it speak TLS? Then its address begins with https://";
const LOOK_AT_ADDRESS: &str = "is --server or LONGSHORE_SERVER right?";
const REFUSED_CERTIFICATE: &str = "did it refuse --client-cert? It must still be valid, and signed by the authority of \
                                   clients that the server was given";

/// What to report of the server at `address`, which gave no answer.
pub(crate) fn error(unreached: &Unreached<'_>, address: &str, shown: &ShownCredentials) -> CliError {
    let address = address.to_owned();
    let https = address.starts_with("https://");
    match unreached {
        Unreached::Io(cause) if cause.kind() == io::ErrorKind::ConnectionRefused => CliError::NoServer { address },
        Unreached::Io(cause) => {
            let hint = match unreached.said_by_tls() {
                Some(said) => look_at(said, shown),
                None if hangs_up(cause) && !https => PERHAPS_TLS,
                None if hangs_up(cause) && shown.certificate => REFUSED_CERTIFICATE,
                None => LOOK_AT_ADDRESS,
            };
            CliError::Unreachable { address, cause: text::clean(&cause.to_string()), hint }
        }
        Unreached::Http(answer) => CliError::Unreachable {
            address,
            cause: format!("it answers HTTP {}, so it does not speak gRPC there", text::clean(answer)),
            hint: "is it the admin port, of metrics and health? gRPC is on another, by default 7420",
        },
        Unreached::Protocol => {
            let (cause, hint) = match (https, shown.certificate) {
                (false, _) => ("it does not speak gRPC", PERHAPS_TLS),
                (true, true) => ("it broke off", REFUSED_CERTIFICATE),
                (true, false) => ("it does not speak gRPC", LOOK_AT_ADDRESS),
            };
            CliError::Unreachable { address, cause: cause.to_owned(), hint }
        }
    }
}

fn look_at(said: &rustls::Error, shown: &ShownCredentials) -> &'static str {
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
