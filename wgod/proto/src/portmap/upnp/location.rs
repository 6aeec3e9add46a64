//! URLs of gateways: HTTP at an IPv4 address, and nothing else.
use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};

use super::Unusable;

/// Characters of a URL at most.
const MAX_LEN: usize = 512;

/// Something at a gateway that can be asked by HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// Who is asked.
    pub addr: SocketAddrV4,
    /// What is asked for: printable ASCII that begins with a slash.
    pub path: String,
}

impl Location {
    /// Reads a URL.
    ///
    /// # Errors
    /// It isn't `http://IPV4[:PORT]/PATH`, or is of an absurd length.
    pub fn parse(url: &str) -> Result<Location, Unusable> {
        parse(url).ok_or_else(|| Unusable::Url(url.chars().take(100).collect()))
    }

    /// What `reference` means in a document that is from here.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn join(&self, reference: &str) -> Result<Location, Unusable> {
        if reference.contains("://") {
            return Location::parse(reference);
        }
        let path = match (reference.starts_with('/'), self.path.rfind('/')) {
            (false, Some(end)) => format!("{}{reference}", &self.path[..=end]),
            _ => reference.to_owned(),
        };
        match is_path(&path) {
            true => Ok(Location { addr: self.addr, path }),
            false => Err(Unusable::Url(reference.chars().take(100).collect())),
        }
    }

    /// Whose it is.
    pub fn ip(&self) -> Ipv4Addr {
        *self.addr.ip()
    }
}

fn parse(url: &str) -> Option<Location> {
    let scheme = url.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case("http://"))?;
    let rest = &url[scheme.len()..];
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (ip, port) = match host.split_once(':') {
        Some((ip, port)) => (ip, port.parse().ok().filter(|&port| port != 0)?),
        None => (host, 80),
    };
    let path = if path.is_empty() { "/" } else { path };
    let addr = SocketAddrV4::new(ip.parse().ok()?, port);
    is_path(path).then(|| Location { addr, path: path.to_owned() })
}

fn is_path(path: &str) -> bool {
    path.starts_with('/') && path.len() <= MAX_LEN && path.bytes().all(|byte| byte.is_ascii_graphic())
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.addr, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_addresses_are_read_and_joined() {
        for (url, want) in [
            ("http://192.168.1.1:5000/rootDesc.xml", "http://192.168.1.1:5000/rootDesc.xml"),
            ("HTTP://10.0.0.1", "http://10.0.0.1:80/"),
            ("http://10.0.0.1/a?b=c", "http://10.0.0.1:80/a?b=c"),
        ] {
            assert_eq!(Location::parse(url).unwrap().to_string(), want, "{url}");
        }
        let base = Location::parse("http://10.0.0.1:99/igd/desc.xml").unwrap();
        for (reference, want) in [
            ("/ctl", "http://10.0.0.1:99/ctl"),
            ("ctl?x", "http://10.0.0.1:99/igd/ctl?x"),
            ("http://10.0.0.2/c", "http://10.0.0.2:80/c"),
        ] {
            assert_eq!(base.join(reference).unwrap().to_string(), want, "{reference}");
        }
    }

    #[test]
    fn nothing_else_is_asked() {
        let long = format!("http://10.0.0.1/{}", "x".repeat(MAX_LEN));
        for url in [
            "",
            "http://",
            "https://10.0.0.1/",
            "file:///etc/passwd",
            "http://router.local/x",
            "http://10.0.0.1@evil/",
            "http://a@10.0.0.1/",
            "http://10.0.0.1:0/",
            "http://10.0.0.1:99999/",
            "http://[fe80::1]/",
            "http://10.0.0.1/a b",
            "http://10.0.0.1/a\r\nHost: x",
            "http://10.0.0.1?x",
            "http://10.1/",
            "httpé://",
            &long,
        ] {
            assert!(Location::parse(url).is_err(), "{url}");
        }
        let base = Location::parse("http://10.0.0.1/").unwrap();
        for reference in ["a\r\nb", "gopher://10.0.0.1/", "é", "http://x/"] {
            assert!(base.join(reference).is_err(), "{reference}");
        }
    }
}
