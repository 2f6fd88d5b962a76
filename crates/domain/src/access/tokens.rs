//! Static tokens: only their hashes are kept.

use jiff::Timestamp;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use super::{Identity, Proof};

/// What our tokens begin with, so that scanners for leaked secrets find them.
pub const TOKEN_PREFIX: &str = "longshore_";

/// SHA-256 of a token. Tokens are 256 random bits, so a slow hash would protect nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TokenDigest([u8; 32]);

impl TokenDigest {
    /// The digest of `token`.
    #[must_use]
    pub fn of(token: &str) -> Self {
        Self(Sha256::digest(token).into())
    }

    /// From hex.
    #[must_use]
    pub fn parse(hex: &str) -> Option<Self> {
        let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(hex.as_bytes()).ok()?;
        bytes.try_into().ok().map(Self)
    }

    /// In lower-case hex.
    #[must_use]
    pub fn to_hex(self) -> String {
        data_encoding::HEXLOWER.encode(&self.0)
    }
}

/// One token and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenEntry {
    /// Its hash.
    pub digest: TokenDigest,
    /// User name.
    pub user: String,
    /// Groups.
    pub groups: Vec<String>,
    /// From when on it is not taken any more.
    pub expire_time: Option<Timestamp>,
}

/// All tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenTable {
    entries: Vec<TokenEntry>,
}

impl TokenTable {
    /// Of these tokens.
    #[must_use]
    pub fn new(entries: Vec<TokenEntry>) -> Self {
        Self { entries }
    }

    /// Whose the token with this digest is at `now`. Takes the same time whatever the token is: every entry is compared,
    /// each in constant time.
    #[must_use]
    pub fn identify(&self, sent: TokenDigest, now: Timestamp) -> Option<Identity> {
        let mut found = None;
        for entry in &self.entries {
            let live = Choice::from(u8::from(entry.expire_time.is_none_or(|end| now < end)));
            if bool::from(entry.digest.0.ct_eq(&sent.0) & live) {
                found = Some(entry);
            }
        }
        found.map(|entry| Identity {
            user: entry.user.clone(),
            groups: entry.groups.clone(),
            proof: Proof::TokenFile,
            ..Identity::default()
        })
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> TokenTable {
        let entry = |token: &str, user: &str, expire_time| TokenEntry {
            digest: TokenDigest::of(token),
            user: user.to_owned(),
            groups: vec!["builders".to_owned()],
            expire_time,
        };
        TokenTable::new(vec![
            entry("one", "ci", None),
            entry("two", "old", Some("2026-01-01T00:00:00Z".parse().unwrap())),
        ])
    }

    #[test]
    fn a_token_is_its_user_until_it_expires() {
        let table = table();
        let before = "2025-12-31T23:59:59Z".parse().unwrap();
        let after = "2026-01-01T00:00:00Z".parse().unwrap();
        let user = |token: &str, now| table.identify(TokenDigest::of(token), now).map(|identity| identity.user);
        assert_eq!(user("one", after).as_deref(), Some("ci"));
        assert_eq!(user("two", before).as_deref(), Some("old"));
        assert_eq!(user("two", after), None);
        assert_eq!(user("", after), None);
        assert_eq!(user("three", after), None);
        assert_eq!(table.identify(TokenDigest::of("one"), after).unwrap().proof, Proof::TokenFile);
    }

    #[test]
    fn a_digest_is_64_hex_digits() {
        let digest = TokenDigest::of("one");
        assert_eq!(TokenDigest::parse(&digest.to_hex()), Some(digest));
        assert_eq!(TokenDigest::parse(&digest.to_hex().to_uppercase()), Some(digest));
        assert_eq!(TokenDigest::parse("00"), None);
        assert_eq!(TokenDigest::parse("zz"), None);
    }
}
