//! How a client shows who calls, and how it knows the server.

use std::fmt;
use std::path::PathBuf;

use tonic::metadata::MetadataValue;
use tonic::service::Interceptor;
use tonic::transport::{Certificate, ClientTlsConfig, Identity};
use tonic::{Request, Status};

/// How a client shows who calls, and how it knows the server. By default it shows nothing, and knows a server with TLS
/// by the authorities of the system.
#[derive(Clone, Default)]
pub struct Credentials {
    /// A bearer token.
    pub token: Token,
    /// The authority of the server's certificate, in PEM; `None`: those of the system, or Mozilla's where it has none.
    pub authority: Option<Vec<u8>>,
    /// The name in the server's certificate; `None`: that of its address.
    pub server_name: Option<String>,
    /// A certificate of the caller and its key, in PEM.
    pub certificate: Option<(Vec<u8>, Vec<u8>)>,
    /// Whether a token may go to a server without TLS that is not on this machine, since what is between protects it.
    pub token_in_clear: bool,
}

/// A bearer token.
#[derive(Clone, Default)]
pub enum Token {
    /// None.
    #[default]
    None,
    /// This one.
    Text(String),
    /// That in a file, which is read for every call: tokens of service accounts are renewed in place.
    File(PathBuf),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { token, authority, server_name, certificate, token_in_clear } = self;
        f.debug_struct("Credentials")
            .field("token", token)
            .field("authority", &authority.is_some())
            .field("server_name", server_name)
            .field("certificate", &certificate.is_some())
            .field("token_in_clear", token_in_clear)
            .finish()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Text(_) => f.write_str("Text(***)"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

impl Credentials {
    /// TLS towards the server.
    pub(super) fn tls(&self) -> ClientTlsConfig {
        let mut tls = ClientTlsConfig::new();
        tls = match &self.authority {
            Some(pem) => tls.ca_certificate(Certificate::from_pem(pem)),
            None if has_system_roots() => tls.with_native_roots(),
            None => tls.with_webpki_roots(),
        };
        if let Some((certificate, key)) = &self.certificate {
            tls = tls.identity(Identity::from_pem(certificate, key));
        }
        match &self.server_name {
            Some(name) => tls.domain_name(name),
            None => tls,
        }
    }
}

/// Whether authorities of the system's, or those that somebody named in its place, have to do. An image
/// of nothing but one binary has none, and trusts Mozilla's.
fn has_system_roots() -> bool {
    let named = ["SSL_CERT_FILE", "SSL_CERT_DIR"]
        .iter()
        .any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()));
    named || !rustls_native_certs::load_native_certs().certs.is_empty()
}

/// Adds the token to every call.
#[derive(Clone, Debug)]
pub(super) struct Bearer(pub(super) Token);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let token = match &self.0 {
            Token::None => return Ok(request),
            Token::Text(token) => token.clone(),
            Token::File(path) => std::fs::read_to_string(path).map_err(|error| {
                Status::invalid_argument(format!("the token file {} cannot be read: {error}", path.display()))
            })?,
        };
        if token.trim().is_empty() {
            return Err(Status::invalid_argument(match &self.0 {
                Token::File(path) => format!("the token file {} is empty", path.display()),
                Token::Text(_) | Token::None => "the token is empty".to_owned(),
            }));
        }
        let value = format!("Bearer {}", token.trim());
        let mut value = MetadataValue::try_from(value)
            .map_err(|_| Status::invalid_argument("the token has characters that no token has"))?;
        value.set_sensitive(true);
        request.metadata_mut().insert("authorization", value);
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(token: Token) -> Result<String, String> {
        let request = Bearer(token).call(Request::new(())).map_err(|status| status.message().to_owned())?;
        let value = request.metadata().get("authorization").map(|value| value.to_str().unwrap_or_default().to_owned());
        Ok(value.unwrap_or_default())
    }

    #[test]
    fn a_token_is_sent_and_never_printed() {
        assert_eq!(header(Token::None), Ok(String::new()));
        assert_eq!(header(Token::Text(" a ".to_owned())), Ok("Bearer a".to_owned()));
        assert_eq!(header(Token::Text(" ".to_owned())), Err("the token is empty".to_owned()));
        let missing = header(Token::File("/nowhere/token".into())).unwrap_err();
        assert!(missing.starts_with("the token file /nowhere/token cannot be read: "), "{missing}");
        let credentials = Credentials {
            token: Token::Text("hidden".to_owned()),
            certificate: Some((b"hidden".to_vec(), b"hidden".to_vec())),
            ..Credentials::default()
        };
        let debug = format!("{credentials:?}");
        assert!(!debug.contains("hidden") && !debug.contains(&format!("{:?}", b"hidden")), "{debug}");
    }
}
