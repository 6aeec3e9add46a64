//! A name server: an address, and a port where that isn't the usual one.
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use super::setting::{Raw, Refused, Setting, quoted};

/// The port of name servers (RFC 1035).
pub(crate) const DNS_PORT: u16 = 53;

/// Where a name server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameServer(pub SocketAddr);

impl FromStr for NameServer {
    type Err = std::net::AddrParseError;

    fn from_str(text: &str) -> Result<NameServer, Self::Err> {
        match text.parse::<IpAddr>() {
            Ok(ip) => Ok(NameServer(SocketAddr::new(ip, DNS_PORT))),
            Err(_) => text.parse().map(NameServer),
        }
    }
}

impl fmt::Display for NameServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.port() {
            DNS_PORT => self.0.ip().fmt(f),
            _ => self.0.fmt(f),
        }
    }
}

impl Setting for NameServer {
    fn allowed() -> String {
        "the address of a name server, as in \"10.2.0.1\", \"10.2.0.1:5353\" or \"[2001:db8::1]:5353\"".into()
    }

    fn parse(raw: &Raw) -> Result<NameServer, Refused> {
        let server = raw.text().and_then(|text| text.trim().parse::<NameServer>().ok());
        server
            .filter(|server| server.0.port() != 0 && !server.0.ip().is_unspecified())
            .ok_or_else(Refused::default)
    }

    fn to_toml(&self) -> String {
        quoted(&self.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_an_address_with_or_without_a_port() {
        let parse = |text: &str| NameServer::parse(&Raw::Text(text.into()));
        for text in ["10.2.0.1", "10.2.0.1:5353", "2001:db8::1", "[2001:db8::1]:5353"] {
            assert_eq!(parse(text).map(|server| server.to_string()).as_deref(), Ok(text));
        }
        assert_eq!(parse("10.2.0.1:53").map(|server| server.to_string()).as_deref(), Ok("10.2.0.1"));
        for text in ["", "dns.example", "10.2.0.1:0", "0.0.0.0", "10.2.0.1:99999", "10.2.0"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
