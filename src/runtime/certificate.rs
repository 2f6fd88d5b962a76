//! What X.509 certificates say: whose they are, and until when.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

/// What a certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The common name of its subject, if it has one.
    pub common_name: Option<String>,
    /// The organizations of its subject.
    pub organizations: Vec<String>,
    /// From when on it is not valid any more.
    pub not_after: SystemTime,
}

/// Why a certificate can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is no X.509 certificate: {0}")]
pub struct CertificateError(String);

impl Certificate {
    /// Reads one in DER.
    ///
    /// # Errors
    /// What is no certificate.
    pub fn from_der(der: &[u8]) -> Result<Self, CertificateError> {
        let (_, parsed) = X509Certificate::from_der(der).map_err(|error| CertificateError(error.to_string()))?;
        let subject = parsed.subject();
        let text =
            |attribute: &x509_parser::x509::AttributeTypeAndValue<'_>| attribute.as_str().ok().map(str::to_owned);
        // Before 1970 is as good as 1970.
        let seconds = u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or_default();
        Ok(Self {
            common_name: subject.iter_common_name().find_map(text),
            organizations: subject.iter_organization().filter_map(text).collect(),
            not_after: UNIX_EPOCH + Duration::from_secs(seconds),
        })
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

    use super::*;

    #[test]
    fn the_subject_is_read() {
        let mut name = DistinguishedName::new();
        name.push(DnType::OrganizationName, "builders");
        name.push(DnType::CommonName, "ci");
        let mut params = CertificateParams::default();
        params.distinguished_name = name;
        params.not_after = rcgen::date_time_ymd(2030, 1, 2);
        let made = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let read = Certificate::from_der(made.der()).unwrap();
        assert_eq!(read.common_name.as_deref(), Some("ci"));
        assert_eq!(read.organizations, ["builders"]);
        assert_eq!(read.not_after.duration_since(UNIX_EPOCH).unwrap().as_secs(), 1_893_542_400);
    }

    #[test]
    fn what_is_none_is_refused() {
        assert!(Certificate::from_der(b"nothing").is_err());
        assert!(Certificate::from_der(b"").is_err());
    }
}
