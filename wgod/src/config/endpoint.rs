//! Where something is served to programs of this machine: an address that only they reach, or a Unix socket.
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use super::setting::{Raw, Refused, Setting, quoted};

/// A place that only this machine can connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A loopback address and a port.
    Tcp(SocketAddr),
    /// The absolute path of a Unix socket.
    Unix(PathBuf),
}

impl Endpoint {
    /// The path of a Unix socket.
    pub fn socket(&self) -> Option<&Path> {
        match self {
            Endpoint::Tcp(_) => None,
            Endpoint::Unix(path) => Some(path),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Tcp(addr) => addr.fmt(f),
            Endpoint::Unix(path) => path.display().fmt(f),
        }
    }
}

impl Setting for Endpoint {
    fn allowed() -> String {
        "a loopback address with a port, such as \"127.0.0.1:9868\" or \"[::1]:9868\", or the absolute path \
         of a Unix socket"
            .into()
    }

    fn parse(raw: &Raw) -> Result<Endpoint, Refused> {
        let text = raw.text().ok_or_else(Refused::default)?.trim();
        if text.contains('\0') {
            return Err(Refused::because("a path has no NUL character"));
        }
        if text.starts_with('/') {
            return Ok(Endpoint::Unix(PathBuf::from(text)));
        }
        let addr: SocketAddr = text.parse().map_err(|_| Refused::default())?;
        if !is_loopback(addr.ip()) {
            return Err(Refused::because(format!(
                "{} can be reached from other machines; to show it to one, put a proxy before a loopback address",
                addr.ip()
            )));
        }
        Ok(Endpoint::Tcp(addr))
    }

    fn to_toml(&self) -> String {
        quoted(&self.to_string())
    }
}

/// Whether only this machine reaches the address.
fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Endpoint, Refused> {
        Endpoint::parse(&Raw::Text(text.into()))
    }

    #[test]
    fn a_place_reads_back_as_written() {
        for text in ["127.0.0.1:9868", "127.9.9.9:0", "[::1]:9868", "/run/wgod/metrics.sock"] {
            let place = parse(text).unwrap();
            assert_eq!(place.to_string(), text);
            assert_eq!(place.to_toml(), format!("\"{text}\""));
        }
        assert_eq!(parse("/a b").unwrap(), Endpoint::Unix("/a b".into()));
    }

    #[test]
    fn what_other_machines_reach_is_refused_by_name() {
        for text in ["0.0.0.0:9868", "192.0.2.1:1", "[::]:9868", "[2001:db8::1]:9868", "[::ffff:192.0.2.1]:1"]
        {
            let why = parse(text).unwrap_err().detail.unwrap();
            assert!(why.contains("can be reached from other machines"), "{text}: {why}");
        }
        assert!(parse("[::ffff:127.0.0.1]:1").is_ok());
    }

    #[test]
    fn what_is_no_place_is_refused() {
        for text in ["9868", "localhost:9868", "127.0.0.1", "metrics.sock", "~/metrics.sock", "/a\0b"] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(Endpoint::parse(&Raw::Int(9868)).is_err());
    }
}
