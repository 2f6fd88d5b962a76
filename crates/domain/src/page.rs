//! Keyset page tokens: where a page ended, bound to its query and valid on any replica.
//!
//! A token is base64url of
//! `version (1) | query hash (8) | create time in µs (8) | resource name | check (4)`. The check
//! finds damage; it is not a signature, since a token grants nothing.

use std::fmt::Display;
use std::str::FromStr;

use data_encoding::BASE64URL_NOPAD;
use jiff::Timestamp;
use sha2::{Digest, Sha256};

const VERSION: u8 = 1;
const QUERY_BYTES: usize = 8;
const TIME_BYTES: usize = 8;
const CHECK_BYTES: usize = 4;
/// Longest token that is looked at: the longest name takes 142 bytes.
const TOKEN_MAX: usize = 512;

/// Place of one thing in the order of creation, then name. Lists go from the highest to the lowest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PageKey<Name> {
    /// When it was created, at µs.
    pub create_time: Timestamp,
    /// Its resource name.
    pub name: Name,
}

/// Why a page token can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PageTokenError {
    /// Not what was given out.
    #[error("the page token is damaged; send it exactly as it was given, or leave it out to begin with the first page")]
    Damaged,
    /// Of another version of the server.
    #[error("the page token is of another version of Longshore; leave it out to begin with the first page")]
    Version,
    /// Of another query.
    #[error(
        "the page token belongs to another query; repeat parent and filter as they were, or leave it out to begin with the first page"
    )]
    OtherQuery,
}

/// The token for the page after `key`. `query` is a canonical text of all that selects and orders
/// the things of a list; the page size is not part of it. Times finer than a µs are cut.
#[must_use]
pub fn encode<Name: Display>(key: &PageKey<Name>, query: &str) -> String {
    let mut bytes = vec![VERSION];
    bytes.extend(query_hash(query));
    bytes.extend(key.create_time.as_microsecond().to_be_bytes());
    bytes.extend(key.name.to_string().bytes());
    bytes.extend(check(&bytes));
    BASE64URL_NOPAD.encode(&bytes)
}

/// Reads a token that [`encode`] made for the same query.
///
/// # Errors
/// If it is damaged, of another version, or of another query.
pub fn decode<Name: FromStr>(token: &str, query: &str) -> Result<PageKey<Name>, PageTokenError> {
    if token.len() > TOKEN_MAX {
        return Err(PageTokenError::Damaged);
    }
    let bytes = BASE64URL_NOPAD.decode(token.as_bytes()).map_err(|_| PageTokenError::Damaged)?;
    let (body, sum) = bytes.split_last_chunk::<CHECK_BYTES>().ok_or(PageTokenError::Damaged)?;
    if *sum != check(body) {
        return Err(PageTokenError::Damaged);
    }
    let (version, rest) = body.split_first().ok_or(PageTokenError::Damaged)?;
    if *version != VERSION {
        return Err(PageTokenError::Version);
    }
    let (hash, rest) = rest.split_first_chunk::<QUERY_BYTES>().ok_or(PageTokenError::Damaged)?;
    if *hash != query_hash(query) {
        return Err(PageTokenError::OtherQuery);
    }
    let (time, name) = rest.split_first_chunk::<TIME_BYTES>().ok_or(PageTokenError::Damaged)?;
    let create_time = Timestamp::from_microsecond(i64::from_be_bytes(*time)).map_err(|_| PageTokenError::Damaged)?;
    let name = std::str::from_utf8(name).map_err(|_| PageTokenError::Damaged)?;
    Ok(PageKey { create_time, name: name.parse().map_err(|_| PageTokenError::Damaged)? })
}

fn query_hash(query: &str) -> [u8; QUERY_BYTES] {
    tagged(b"longshore.dev/page-query/v1\0", query.as_bytes())
}

fn check(body: &[u8]) -> [u8; CHECK_BYTES] {
    tagged(b"longshore.dev/page-token\0", body)
}

/// The first bytes of a tagged SHA-256.
fn tagged<const N: usize>(tag: &[u8], bytes: &[u8]) -> [u8; N] {
    let digest = Sha256::new().chain_update(tag).chain_update(bytes).finalize();
    let mut out = [0; N];
    out.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::name::RunName;

    fn decode(token: &str, query: &str) -> Result<PageKey<RunName>, PageTokenError> {
        super::decode(token, query)
    }

    fn key() -> PageKey<RunName> {
        PageKey {
            create_time: "2025-11-21T09:00:00.123456Z".parse().unwrap(),
            name: RunName::parse("namespaces/default/runs/nightly-7").unwrap(),
        }
    }

    #[test]
    fn the_longest_token_is_read() {
        let name = format!("namespaces/{}/runs/{}", "n".repeat(63), "r".repeat(48));
        let key = PageKey { name: RunName::parse(&name).unwrap(), ..key() };
        let token = encode(&key, "q");
        assert!(token.len() <= TOKEN_MAX);
        assert_eq!(decode(&token, "q"), Ok(key));
    }

    #[test]
    fn a_token_is_bound_to_its_query() {
        let token = encode(&key(), "namespaces/default?app=x");
        assert_eq!(decode(&token, "namespaces/default?app=x"), Ok(key()));
        assert_eq!(decode(&token, "namespaces/default?app=y"), Err(PageTokenError::OtherQuery));
    }

    #[test]
    fn every_damaged_byte_is_found() {
        let token = encode(&key(), "q");
        for i in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[i] = if bytes[i] == b'A' { b'B' } else { b'A' };
            let damaged = String::from_utf8(bytes).unwrap();
            assert_eq!(decode(&damaged, "q"), Err(PageTokenError::Damaged), "byte {i}");
        }
        for cut in 0..token.len() {
            assert_eq!(decode(&token[..cut], "q"), Err(PageTokenError::Damaged), "cut at {cut}");
        }
        for foreign in ["", "x", "next", "%%%", &"A".repeat(4096), &format!("{token}=")] {
            assert_eq!(decode(foreign, "q"), Err(PageTokenError::Damaged), "{foreign}");
        }
    }

    #[test]
    fn another_version_says_so() {
        let mut bytes = BASE64URL_NOPAD.decode(encode(&key(), "q").as_bytes()).unwrap();
        bytes.truncate(bytes.len() - CHECK_BYTES);
        bytes[0] = VERSION + 1;
        let sum = check(&bytes);
        bytes.extend(sum);
        assert_eq!(decode(&BASE64URL_NOPAD.encode(&bytes), "q"), Err(PageTokenError::Version));
    }

    #[test]
    fn the_form_of_a_token_does_not_change_by_accident() {
        // Tokens live across a rolling update: change VERSION together with this.
        let expected = "Ab0EcgTfzvd-AAZEFwnUhkBuYW1lc3BhY2VzL2RlZmF1bHQvcnVucy9uaWdodGx5LTcAUE-1";
        assert_eq!(encode(&key(), "q"), expected);
    }

    #[test]
    fn keys_order_by_time_then_name() {
        let named = |name: &str| PageKey { name: RunName::parse(name).unwrap(), ..key() };
        let later = PageKey { create_time: "2025-11-21T09:00:00.123457Z".parse().unwrap(), ..key() };
        assert!(named("namespaces/default/runs/z") > key());
        assert!(later > named("namespaces/default/runs/z"));
    }

    proptest! {
        #[test]
        fn never_panics(token in ".{0,80}") {
            let _ = decode(&token, "q");
        }

        #[test]
        fn round_trip(us in -62_135_596_800_000_000_i64..253_402_207_200_000_000, ns in "[a-z]{1,9}", run in "[a-z][a-z0-9]{0,9}",
                      query in ".{0,40}") {
            let name = RunName::parse(&format!("namespaces/{ns}/runs/{run}")).unwrap();
            let key = PageKey { create_time: Timestamp::from_microsecond(us).unwrap(), name };
            prop_assert_eq!(decode(&encode(&key, &query), &query), Ok(key));
        }
    }
}
