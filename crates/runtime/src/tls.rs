//! TLS of a server: certificate, key and the authority of clients, from files that are read again
//! when they change.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use tokio::sync::watch;

use super::certificate::Certificate;
use super::files::Files;

/// Which files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's certificate with those between it and its authority, PEM.
    pub cert: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
    /// Authorities of client certificates, PEM; `None`: clients show none.
    pub client_ca: Option<PathBuf>,
}

/// What a server needs to speak TLS. Always the last set of files that was good.
pub type Tls = watch::Receiver<Arc<ServerConfig>>;

/// Metrics of the certificates that are in use. Cheap to clone.
#[derive(Clone, Debug)]
pub struct CertificateMetrics {
    expiry: Gauge,
    files: Files,
}

impl CertificateMetrics {
    /// Registers them beside those of all `files`; the registry gives the prefix.
    pub fn new(registry: &mut Registry, files: Files) -> Self {
        let expiry = Gauge::default();
        let help = "When the first of the certificates of [tls] expires, since the epoch; 0 without TLS";
        registry.register_with_unit("tls_certificate_expiry_timestamp", help, Unit::Seconds, expiry.clone());
        Self { expiry, files }
    }
}

/// Why files can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// One can't be read, or has not what it should have.
    #[error("{what} {}: {message}", .path.display())]
    File {
        /// What it should be.
        what: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        message: String,
    },
    /// They don't fit together.
    #[error("certificate {} and key {} cannot be used: {message}", .cert.display(), .key.display())]
    Unfit {
        /// The certificate.
        cert: PathBuf,
        /// The key.
        key: PathBuf,
        /// Why.
        message: String,
    },
    /// The authorities of clients can't be used.
    #[error("client authorities {}: {message}", .path.display())]
    Authorities {
        /// Which.
        path: PathBuf,
        /// Why.
        message: String,
    },
}

impl TlsFiles {
    /// Reads them once, and again whenever they change for as long as the process lives; files that
    /// can't be used then are reported in the log, and the ones before stay in use.
    ///
    /// # Errors
    /// Files that can't be used now.
    pub fn serve(self, metrics: &CertificateMetrics) -> Result<Tls, TlsError> {
        let paths = [&self.cert, &self.key].into_iter().chain(&self.client_ca).cloned().collect();
        let expiry = metrics.expiry.clone();
        metrics.files.follow("tls", paths, move || {
            let config = self.load()?;
            let mut ends = Vec::new();
            for path in self.with_certificates() {
                ends.extend(certificates_in(path)?.into_iter().map(|certificate| certificate.not_after));
            }
            let since_epoch =
                ends.into_iter().min().and_then(|at| at.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
            expiry.set(i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX));
            Ok(config)
        })
    }

    /// Those that have certificates, the server's own first.
    pub fn with_certificates(&self) -> impl Iterator<Item = &Path> {
        std::iter::once(&self.cert).chain(&self.client_ca).map(PathBuf::as_path)
    }

    /// Whether a server could speak TLS with these files as they are now.
    ///
    /// # Errors
    /// As [`Self::serve`]; a key that cannot be used before anything else.
    pub fn check(&self) -> Result<(), TlsError> {
        self.load().map(drop)
    }

    fn load(&self) -> Result<ServerConfig, TlsError> {
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|error| file("key", &self.key, error.to_string()))?;
        let chain = certificates("certificate", &self.cert)?;
        // TLS 1.2 and 1.3.
        let builder = ServerConfig::builder();
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let unusable = |message: String| TlsError::Authorities { path: path.clone(), message };
                let mut roots = RootCertStore::empty();
                for authority in certificates("client authorities", path)? {
                    roots.add(authority).map_err(|error| unusable(error.to_string()))?;
                }
                // Optional, since a caller may show a token instead.
                let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).allow_unauthenticated().build();
                builder.with_client_cert_verifier(verifier.map_err(|error| unusable(error.to_string()))?)
            }
        };
        let resumes = self.client_ca.is_none();
        let unfit = |error| {
            let message = match error {
                rustls::Error::InconsistentKeys(_) => "the key is not that of the certificate".to_owned(),
                other => other.to_string(),
            };
            TlsError::Unfit { cert: self.cert.clone(), key: self.key.clone(), message }
        };
        let mut config = builder.with_single_cert(chain, key).map_err(unfit)?;
        // HTTP/1.1 too, so that anyone who speaks only that gets an answer and not a failed
        // handshake.
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        if !resumes {
            // A session that is resumed brings its client's certificate along unverified.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        Ok(config)
    }
}

/// What the certificates of this file say.
///
/// # Errors
/// A file that can't be read, or has no certificate.
pub fn certificates_in(path: &Path) -> Result<Vec<Certificate>, TlsError> {
    let read = |der: CertificateDer<'_>| {
        Certificate::from_der(&der).map_err(|error| file("certificate", path, error.to_string()))
    };
    certificates("certificate", path)?.into_iter().map(read).collect()
}

fn certificates(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let found = read.map_err(|error| file(what, path, error.to_string()))?;
    if found.is_empty() {
        return Err(file(what, path, "it has no certificate".to_owned()));
    }
    Ok(found)
}

fn file(what: &'static str, path: &Path, message: String) -> TlsError {
    TlsError::File { what, path: path.to_owned(), message }
}
