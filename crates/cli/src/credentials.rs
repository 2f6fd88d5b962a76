//! How the client shows who calls, and how it knows the server.

use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tonic::metadata::MetadataValue;
use tonic::service::Interceptor;
use tonic::transport::{Certificate, ClientTlsConfig, Identity};
use tonic::{Request, Status};

use super::error::CliError;
use longshore_config::switch;

/// Flags.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Server")]
pub(super) struct CredentialArgs {
    /// Authority of an https server's certificate (PEM) [default: those of this system]
    #[arg(long, env = "LONGSHORE_CA_FILE", value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Name in the server's certificate, if it is not the one in its URL
    #[arg(long, env = "LONGSHORE_SERVER_NAME", value_name = "NAME")]
    server_name: Option<String>,
    /// File with the token that shows who you are, read for every call; $LONGSHORE_TOKEN may hold
    /// the token itself
    #[arg(long, env = "LONGSHORE_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Certificate that shows who you are (PEM)
    #[arg(long, env = "LONGSHORE_CLIENT_CERT", value_name = "FILE", requires = "client_key")]
    client_cert: Option<PathBuf>,
    /// Its key (PEM)
    #[arg(long, env = "LONGSHORE_CLIENT_KEY", value_name = "FILE", requires = "client_cert")]
    client_key: Option<PathBuf>,
    /// Send the token to an http server that is not on this machine
    #[arg(long, env = "LONGSHORE_INSECURE_PLAINTEXT", value_parser = switch)]
    insecure_plaintext: bool,
}

impl CredentialArgs {
    /// Refuses what makes no sense without TLS, or would be read by anybody on the way.
    pub(super) fn check_plaintext(&self, loopback: bool) -> Result<(), CliError> {
        for (flag, set) in [
            ("--ca-file", self.ca_file.is_some()),
            ("--server-name", self.server_name.is_some()),
            ("--client-cert", self.client_cert.is_some()),
        ] {
            if set {
                return Err(CliError::usage(format!("{flag} needs a server whose URL begins with https://")));
            }
        }
        if !loopback && !self.insecure_plaintext && !matches!(self.bearer(), Bearer::None) {
            return Err(CliError::usage(
                "the token would travel in clear: name the server as https://…, or say --insecure-plaintext if \
                 what is between protects it",
            ));
        }
        Ok(())
    }

    /// TLS towards the server.
    pub(super) fn tls(&self) -> Result<ClientTlsConfig, CliError> {
        let mut tls = ClientTlsConfig::new();
        tls = match &self.ca_file {
            Some(path) => tls.ca_certificate(Certificate::from_pem(read_certificate("--ca-file", path)?)),
            None if has_system_roots() => tls.with_native_roots(),
            None => tls.with_webpki_roots(),
        };
        if let (Some(cert), Some(key)) = (&self.client_cert, &self.client_key) {
            tls =
                tls.identity(Identity::from_pem(read_certificate("--client-cert", cert)?, read("--client-key", key)?));
        }
        Ok(match &self.server_name {
            Some(name) => tls.domain_name(name),
            None => tls,
        })
    }

    /// What to tell of a certificate and a key that do not belong together.
    pub(super) fn unfit(&self) -> String {
        let shown = |path: &Option<PathBuf>| path.as_deref().unwrap_or_else(|| Path::new("")).display().to_string();
        let (cert, key) = (shown(&self.client_cert), shown(&self.client_key));
        format!(
            "--client-key {key} is not the key of the certificate in --client-cert {cert}: name the two that belong together"
        )
    }

    /// What will be shown, for hints.
    pub(super) fn shown(&self) -> Shown {
        let token = match self.bearer() {
            Bearer::None => None,
            Bearer::Token(_) => Some("LONGSHORE_TOKEN".to_owned()),
            Bearer::File(path) => Some(path.display().to_string()),
        };
        Shown { token, certificate: self.client_cert.is_some(), authority: self.ca_file.is_some() }
    }

    /// The token, wherever it comes from.
    pub(super) fn bearer(&self) -> Bearer {
        match &self.token_file {
            Some(path) => Bearer::File(path.clone()),
            None => std::env::var("LONGSHORE_TOKEN")
                .ok()
                .filter(|token| !token.is_empty())
                .map_or(Bearer::None, Bearer::Token),
        }
    }
}

/// Whether authorities of the system's, or those that somebody named in its place, have to do. An image
/// of nothing but this binary has none, and trusts Mozilla's.
fn has_system_roots() -> bool {
    let named = ["SSL_CERT_FILE", "SSL_CERT_DIR"]
        .iter()
        .any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()));
    named || !rustls_native_certs::load_native_certs().certs.is_empty()
}

fn read(flag: &str, path: &Path) -> Result<Vec<u8>, CliError> {
    std::fs::read(path).map_err(|error| CliError::usage(format!("{flag} {}: {error}", path.display())))
}

/// A file that has a certificate: what has none would be told as an unknown authority.
fn read_certificate(flag: &str, path: &Path) -> Result<Vec<u8>, CliError> {
    let pem = read(flag, path)?;
    match CertificateDer::pem_slice_iter(&pem).next() {
        Some(Ok(_)) => Ok(pem),
        _ => Err(CliError::usage(format!("{flag} {}: it has no certificate in PEM", path.display()))),
    }
}

/// What calls show of who makes them, and by what the server is known: for hints.
#[derive(Clone, Debug, Default)]
pub(super) struct Shown {
    /// Where the token is from, if there is one.
    token: Option<String>,
    /// Whether a client certificate is shown.
    pub(super) certificate: bool,
    /// Whether the server's authority was named.
    pub(super) authority: bool,
}

impl Shown {
    /// What to look at when the server does not know who calls.
    pub(super) fn hint(&self) -> String {
        match (&self.token, self.certificate) {
            (Some(token), certificate) => {
                let beside = if certificate { "; --client-cert does not count beside it" } else { "" };
                format!("the token of {token} is wrong, expired, or for another server{beside}")
            }
            (None, true) => "the server may not take client certificates, or not this one".to_owned(),
            (None, false) => {
                "show who you are with --token-file, LONGSHORE_TOKEN, or --client-cert and --client-key".to_owned()
            }
        }
    }
}

/// Adds the token to every call.
#[derive(Clone)]
pub(super) enum Bearer {
    None,
    Token(String),
    /// Read for every call: tokens of service accounts are renewed in place.
    File(PathBuf),
}

impl std::fmt::Debug for Bearer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Token(_) => "Token",
            Self::File(_) => "File",
        })
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let token = match self {
            Self::None => return Ok(request),
            Self::Token(token) => token.clone(),
            Self::File(path) => std::fs::read_to_string(&*path)
                .map_err(|error| Status::invalid_argument(format!("--token-file {}: {error}", path.display())))?,
        };
        if token.trim().is_empty() {
            return Err(Status::invalid_argument("the file of --token-file is empty"));
        }
        let value = format!("Bearer {}", token.trim());
        let mut value = MetadataValue::try_from(value)
            .map_err(|_| Status::invalid_argument("the token has characters that no token has"))?;
        value.set_sensitive(true);
        request.metadata_mut().insert("authorization", value);
        Ok(request)
    }
}
