//! A host and a port as text, as magnet links (BEP 9 `x.pe`) and torrents (BEP 5 `nodes`) give peers.
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// A peer or node that may still need name resolution. The port is never 0.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPort {
    /// A host name, or an address literal; an IPv6 one is without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// The text is not `name:port`, `v4:port` or `[v6]:port`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a host and a port such as 192.0.2.1:6881 or [2001:db8::1]:6881")]
pub struct NotHostPort {
    /// What came.
    pub text: String,
}

/// Bytes of the longest host name (RFC 1035).
const MAX_HOST_LEN: usize = 253;

impl HostPort {
    /// Checks a host that came apart from its port.
    pub fn new(host: &str, port: u16) -> Option<HostPort> {
        let name = host.len() <= MAX_HOST_LEN
            && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'));
        let usable = !host.is_empty() && port != 0 && (name || host.parse::<Ipv6Addr>().is_ok());
        usable.then(|| HostPort { host: host.to_owned(), port })
    }

    /// The address, when the host is a literal.
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        let ip: IpAddr = self.host.parse().ok()?;
        Some(SocketAddr::new(ip, self.port))
    }
}

impl FromStr for HostPort {
    type Err = NotHostPort;

    fn from_str(text: &str) -> Result<Self, NotHostPort> {
        let parts = || {
            let (host, port) = text.rsplit_once(':')?;
            let port = port.bytes().all(|byte| byte.is_ascii_digit()).then(|| port.parse().ok())??;
            match host.strip_prefix('[') {
                Some(v6) => HostPort::new(v6.strip_suffix(']')?, port).filter(|peer| peer.host.contains(':')),
                None => HostPort::new(host, port).filter(|peer| !peer.host.contains(':')),
            }
        };
        parts().ok_or_else(|| NotHostPort { text: text.to_owned() })
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl From<SocketAddr> for HostPort {
    fn from(address: SocketAddr) -> Self {
        HostPort { host: address.ip().to_string(), port: address.port() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_forms_are_read_and_written_back() {
        let v6 = "[2001:db8::1]:51413";
        for text in ["192.0.2.1:6881", v6, "peer.example.org:1", "my_host:65535"] {
            assert_eq!(text.parse::<HostPort>().unwrap().to_string(), text);
        }
        assert_eq!(v6.parse::<HostPort>().unwrap().socket_addr(), v6.parse().ok());
        assert_eq!("a.example:1".parse::<HostPort>().unwrap().socket_addr(), None);
    }

    #[test]
    fn other_text_is_refused() {
        let long = format!("{}:1", "a".repeat(254));
        let cases =
            ["", ":", ":80", "host", "host:", "host:0", "host:65536", "host:+1", "::1:80", "[host]:80"];
        for text in cases.into_iter().chain(["[::1]", "a b:1", "a/b:1", "[::1:80", "1.2.3.4:80:90", &long]) {
            assert!(text.parse::<HostPort>().is_err(), "{text}");
        }
    }
}
