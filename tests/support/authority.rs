//! Certificates of a test's own making.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

/// An authority of certificates.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate.
    pub(crate) pem: String,
}

/// A certificate and its key, PEM.
pub(crate) struct Pair {
    pub(crate) cert: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    fn issue(&self, mut params: CertificateParams, names: &[(DnType, &str)]) -> Pair {
        for (kind, name) in names {
            params.distinguished_name.push(kind.clone(), *name);
        }
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap().pem();
        Pair { cert, key: key.serialize_pem() }
    }

    /// For the server that is called so.
    pub(crate) fn server(&self, host: &str) -> Pair {
        self.issue(CertificateParams::new([host.to_owned()]).unwrap(), &[])
    }

    /// For a caller with both of these common names.
    pub(crate) fn ambiguous(&self, users: [&str; 2]) -> Pair {
        // An attribute of each kind is kept once; by its number it is another kind.
        let kinds = [DnType::CommonName, DnType::CustomDnType(vec![2, 5, 4, 3])];
        let names: Vec<_> = kinds.into_iter().zip(users).collect();
        self.issue(CertificateParams::default(), &names)
    }

    /// For this user of this group.
    pub(crate) fn client(&self, user: &str, group: &str) -> Pair {
        let names = [(DnType::CommonName, user), (DnType::OrganizationName, group)];
        self.issue(CertificateParams::default(), &names)
    }
}
