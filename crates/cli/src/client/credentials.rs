//! The flags by which the client shows who calls, and knows the server.

use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::terminal::error::CliError;
use crate::terminal::text;
use longshore_client::{ConnectError, Credentials, TlsSetting, Token};
use longshore_config::switch;

/// Flags.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Server")]
pub(crate) struct CredentialArgs {
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
    /// What these flags mean.
    pub(crate) fn read(&self) -> Result<Credentials, CliError> {
        let pem = |flag, path: &Option<PathBuf>| path.as_deref().map(|path| read_certificate(flag, path)).transpose();
        let certificate = match (&self.client_cert, &self.client_key) {
            (Some(cert), Some(key)) => Some((read_certificate("--client-cert", cert)?, read("--client-key", key)?)),
            _ => None,
        };
        Ok(Credentials {
            token: self.token(),
            authority: pem("--ca-file", &self.ca_file)?,
            server_name: self.server_name.clone(),
            certificate,
            token_in_clear: self.insecure_plaintext,
        })
    }

    /// Why there is no client with them, in the words of these flags.
    pub(crate) fn error(&self, error: ConnectError) -> CliError {
        CliError::usage(match error {
            ConnectError::Address(what) => what,
            ConnectError::NeedsTls(setting) => {
                let flag = match setting {
                    TlsSetting::Authority => "--ca-file",
                    TlsSetting::ServerName => "--server-name",
                    TlsSetting::Certificate => "--client-cert",
                };
                format!("{flag} needs a server whose URL begins with https://")
            }
            ConnectError::TokenInClear => {
                "the token would travel in clear: name the server as https://…, or say --insecure-plaintext if what \
                 is between protects it"
                    .to_owned()
            }
            ConnectError::KeyMismatch => self.unfit(),
            ConnectError::Tls(cause) => {
                let cause = anyhow::Error::from(cause);
                format!("TLS cannot be set up: {}", text::clean(&format!("{cause:#}")))
            }
        })
    }

    /// What to report of a certificate and a key that do not belong together.
    fn unfit(&self) -> String {
        let shown = |path: &Option<PathBuf>| path.as_deref().unwrap_or_else(|| Path::new("")).display().to_string();
        let (cert, key) = (shown(&self.client_cert), shown(&self.client_key));
        format!(
            "--client-key {key} is not the key of the certificate in --client-cert {cert}: name the two that belong together"
        )
    }

    /// What will be shown, for hints.
    pub(crate) fn shown(&self) -> ShownCredentials {
        let token = match self.token() {
            Token::None => None,
            Token::Text(_) => Some("LONGSHORE_TOKEN".to_owned()),
            Token::File(path) => Some(path.display().to_string()),
        };
        ShownCredentials { token, certificate: self.client_cert.is_some(), authority: self.ca_file.is_some() }
    }

    /// The token, wherever it comes from.
    fn token(&self) -> Token {
        match &self.token_file {
            Some(path) => Token::File(path.clone()),
            None => {
                std::env::var("LONGSHORE_TOKEN").ok().filter(|token| !token.is_empty()).map_or(Token::None, Token::Text)
            }
        }
    }
}

fn read(flag: &str, path: &Path) -> Result<Vec<u8>, CliError> {
    std::fs::read(path).map_err(|error| CliError::usage(format!("{flag} {}: {error}", path.display())))
}

/// A file that has a certificate: what has none would be reported as an unknown authority.
fn read_certificate(flag: &str, path: &Path) -> Result<Vec<u8>, CliError> {
    let pem = read(flag, path)?;
    match CertificateDer::pem_slice_iter(&pem).next() {
        Some(Ok(_)) => Ok(pem),
        _ => Err(CliError::usage(format!("{flag} {}: it has no certificate in PEM", path.display()))),
    }
}

/// What calls show of who makes them, and by what the server is known: for hints.
#[derive(Clone, Debug, Default)]
pub(crate) struct ShownCredentials {
    /// Where the token is from, if there is one.
    token: Option<String>,
    /// Whether a client certificate is shown.
    pub(crate) certificate: bool,
    /// Whether the server's authority was named.
    pub(crate) authority: bool,
}

impl ShownCredentials {
    /// What to look at when the server does not know who calls.
    pub(crate) fn hint(&self) -> String {
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
