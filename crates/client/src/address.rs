//! The address of a server, as it is typed.

use std::net::{IpAddr, Ipv6Addr};

/// The port of a server that is spoken to without TLS.
const PLAINTEXT_PORT: u16 = 7420;
/// The port of a server behind TLS: what a load balancer or an ingress serves.
const TLS_PORT: u16 = 443;
/// What is expected.
const EXPECTED: &str =
    "expected HOST, HOST:PORT or a URL such as http://127.0.0.1:7420 or https://longshore.example.com";

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerAddress {
    /// `http://` or `https://`, host and port.
    pub url: String,
    /// Whether TLS is spoken.
    pub is_tls: bool,
    /// Whether it is on this machine.
    pub is_loopback: bool,
}

impl ServerAddress {
    /// Reads `host`, `host:port` or a URL of the two. Without a scheme it is `http`; without a port it is 7420 for
    /// `http` and 443 for `https`. An IPv6 address may stand in brackets, and must where a port follows.
    ///
    /// # Errors
    /// What is wrong with it, and what is expected.
    pub fn parse(typed: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("`{}` is not a server address: {why}; {EXPECTED}", typed.escape_debug());
        let (scheme, rest) = typed.split_once("://").unwrap_or(("http", typed));
        let is_tls = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return Err(wrong("its scheme is neither http nor https")),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains(['/', '?', '#']) {
            return Err(wrong("it has a path"));
        }
        if authority.contains('@') {
            return Err(wrong("it has a user name"));
        }
        let (host, port) = split_port(authority).map_err(wrong)?;
        let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        let ip = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(address) => match address.parse::<Ipv6Addr>() {
                Ok(address) => Some(IpAddr::V6(address)),
                Err(_) => return Err(wrong("what stands in brackets is not an IPv6 address")),
            },
            None if host.is_empty() => return Err(wrong("it has no host")),
            None if !host.chars().all(is_host) => return Err(wrong("its host has characters that no host name has")),
            None => host.parse().ok(),
        };
        let port = port.unwrap_or(if is_tls { TLS_PORT } else { PLAINTEXT_PORT });
        Ok(Self {
            url: format!("{}://{host}:{port}", if is_tls { "https" } else { "http" }),
            is_tls,
            is_loopback: ip.map_or_else(|| host.eq_ignore_ascii_case("localhost"), |ip| ip.is_loopback()),
        })
    }
}

/// Host, in brackets if it is an IPv6 address, and port.
fn split_port(authority: &str) -> Result<(String, Option<u16>), &'static str> {
    if authority.parse::<Ipv6Addr>().is_ok() {
        return Ok((format!("[{authority}]"), None));
    }
    let (host, port) = match authority.rsplit_once(':') {
        // A colon within the brackets belongs to the address.
        Some((_, after)) if after.ends_with(']') => (authority, None),
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    };
    let port = match port {
        None => None,
        Some(port) => match port.parse::<u16>() {
            Ok(number) if number > 0 && port.bytes().all(|b| b.is_ascii_digit()) => Some(number),
            _ => return Err("its port is not a number from 1 to 65535"),
        },
    };
    Ok((host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_and_what_it_means() {
        for (typed, url) in [
            ("localhost", "http://localhost:7420"),
            ("http://localhost", "http://localhost:7420"),
            ("HTTP://localhost/", "http://localhost:7420"),
            ("localhost:80", "http://localhost:80"),
            ("127.0.0.1:7420", "http://127.0.0.1:7420"),
            ("http://a:1", "http://a:1"),
            ("https://a:1", "https://a:1"),
            ("https://longshore.example.com", "https://longshore.example.com:443"),
            ("::1", "http://[::1]:7420"),
            ("[::1]", "http://[::1]:7420"),
            ("[::1]:99", "http://[::1]:99"),
            ("http://[fd00::7]/", "http://[fd00::7]:7420"),
            ("https://[fd00::7]", "https://[fd00::7]:443"),
        ] {
            let address = ServerAddress::parse(typed);
            assert_eq!(address.as_ref().map(|address| address.url.as_str()), Ok(url), "{typed}");
            assert_eq!(address.map(|address| address.is_tls), Ok(url.starts_with("https")), "{typed}");
        }
        for wrong in [
            "",
            "http://",
            ":7420",
            "unix:///tmp/x",
            "localhost:",
            "localhost:0",
            "localhost:65536",
            "localhost:+80",
            "localhost:http",
            "http://a/path",
            "http://a?b",
            "user@host",
            "[localhost]:1",
            "[::1",
            "a b",
            "a:1:2",
        ] {
            let error = ServerAddress::parse(wrong).unwrap_err();
            assert!(error.contains("is not a server address: ") && error.contains(EXPECTED), "{error}");
        }
    }

    #[test]
    fn which_are_on_this_machine() {
        for local in ["127.0.0.1:7420", "http://localhost:7420/", "http://[::1]:7420", "localhost", "::1", "127.9.9.9"]
        {
            assert!(ServerAddress::parse(local).unwrap().is_loopback, "{local}");
        }
        for remote in ["10.0.0.1:7420", "http://longshore.example:7420", "http://127.0.0.1.example:1", "[fd00::1]:1"] {
            assert!(!ServerAddress::parse(remote).unwrap().is_loopback, "{remote}");
        }
    }
}
