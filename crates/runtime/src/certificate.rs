//! What X.509 certificates say: whose they are, from when on and until when.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

/// What a certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The common name of its subject, if it has exactly one that can be read. Of two, each reader would take another
    /// for the subject's name.
    pub common_name: Option<String>,
    /// How many common names its subject has.
    pub common_names: usize,
    /// The organizations of its subject.
    pub organizations: Vec<String>,
    /// From when on it is valid.
    pub not_before: SystemTime,
    /// From when on it is not valid any more.
    pub not_after: SystemTime,
}

/// Why a certificate can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not an X.509 certificate: {0}")]
pub struct CertificateError(String);

impl Certificate {
    /// Reads one in DER.
    ///
    /// # Errors
    /// What is not a certificate.
    pub fn from_der(der: &[u8]) -> Result<Self, CertificateError> {
        let (_, parsed) = X509Certificate::from_der(der).map_err(|error| CertificateError(error.to_string()))?;
        let subject = parsed.subject();
        let text =
            |attribute: &x509_parser::x509::AttributeTypeAndValue<'_>| attribute.as_str().ok().map(str::to_owned);
        // Before 1970 is as good as 1970.
        let time = |at: x509_parser::time::ASN1Time| {
            UNIX_EPOCH + Duration::from_secs(u64::try_from(at.timestamp()).unwrap_or_default())
        };
        let validity = parsed.validity();
        let common_names: Vec<_> = subject.iter_common_name().collect();
        let common_name = match common_names.as_slice() {
            [only] => text(only),
            _ => None,
        };
        Ok(Self {
            common_name,
            common_names: common_names.len(),
            organizations: subject.iter_organization().filter_map(text).collect(),
            not_before: time(validity.not_before),
            not_after: time(validity.not_after),
        })
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

    use super::*;

    #[test]
    fn subject_and_validity_are_read() {
        let mut name = DistinguishedName::new();
        name.push(DnType::OrganizationName, "builders");
        name.push(DnType::CommonName, "ci");
        let mut params = CertificateParams::default();
        params.distinguished_name = name;
        params.not_before = rcgen::date_time_ymd(1969, 12, 31);
        params.not_after = rcgen::date_time_ymd(2030, 1, 2);
        let read = |params: &CertificateParams| {
            Certificate::from_der(params.self_signed(&KeyPair::generate().unwrap()).unwrap().der()).unwrap()
        };
        let since_epoch = |at: SystemTime| at.duration_since(UNIX_EPOCH).unwrap().as_secs();
        let early = read(&params);
        assert_eq!(since_epoch(early.not_before), 0);
        params.not_before = rcgen::date_time_ymd(2029, 12, 31);
        let read = read(&params);
        assert_eq!((read.common_name.as_deref(), read.common_names), (Some("ci"), 1));
        assert_eq!(read.organizations, ["builders"]);
        assert_eq!((since_epoch(read.not_before), since_epoch(read.not_after)), (1_893_369_600, 1_893_542_400));
    }

    #[test]
    fn two_common_names_are_no_name() {
        let mut name = DistinguishedName::new();
        name.push(DnType::CommonName, "admin");
        // The same attribute again: rcgen keeps one of each kind, so it goes by its number.
        name.push(DnType::CustomDnType(vec![2, 5, 4, 3]), "ci");
        let mut params = CertificateParams::default();
        params.distinguished_name = name;
        let made = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let read = Certificate::from_der(made.der()).unwrap();
        assert_eq!((read.common_name, read.common_names), (None, 2));
    }

    #[test]
    fn what_is_none_is_refused() {
        assert!(Certificate::from_der(b"nothing").is_err());
        assert!(Certificate::from_der(b"").is_err());
    }
}
