//! What a client says to a proxy and hears from it, before the bytes of others flow: SOCKS5 (RFC 1928, 1929) and
//! CONNECT of HTTP (RFC 9110). The shell's `proxy/` has the sockets.
pub mod connect;
pub mod socks5;

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::host_port::HostPort;

/// Bytes of the longest name that SOCKS5 has room for.
const MAX_NAME: usize = 255;
/// Bytes of the longest user or password that SOCKS5 has room for (RFC 1929).
const MAX_WORD: usize = 255;

/// Where a proxy is to lead: an address, or a name that the proxy looks up. A name is of letters, digits, dots,
/// hyphens and underscores, so that nothing else gets into what is sent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// An address.
    Addr(SocketAddr),
    /// A name, and a port.
    Name(HostPort),
}

impl Target {
    /// A host as URLs have it, an IPv6 address without brackets. `None` for what is no host, and port 0.
    pub fn new(host: &str, port: u16) -> Option<Target> {
        match host.parse::<IpAddr>() {
            Ok(ip) => (port != 0).then(|| Target::Addr(SocketAddr::new(ip, port))),
            Err(_) => HostPort::new(host, port).map(Target::Name),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Addr(addr) => addr.fmt(f),
            Target::Name(name) => name.fmt(f),
        }
    }
}

/// Who we are to the proxy. Its `Debug` keeps the password to itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    user: String,
    password: String,
}

/// Why there can't be such a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadLogin {
    /// It is empty or too long.
    #[error("a user has from 1 to {MAX_WORD} bytes, and a password at most {MAX_WORD}")]
    Length,
    /// Other characters would not be told apart from what surrounds them.
    #[error("neither a user nor a password has line breaks or other control characters")]
    Control,
}

impl Login {
    /// Checks that both fit into what protocols have room for.
    ///
    /// # Errors
    /// Says what is wrong without repeating it.
    pub fn new(user: &str, password: &str) -> Result<Login, BadLogin> {
        if user.is_empty() || user.len() > MAX_WORD || password.len() > MAX_WORD {
            return Err(BadLogin::Length);
        }
        if user.chars().chain(password.chars()).any(char::is_control) {
            return Err(BadLogin::Control);
        }
        Ok(Login { user: user.to_owned(), password: password.to_owned() })
    }

    /// The user's name.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The password.
    pub fn password(&self) -> &str {
        &self.password
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("user", &self.user).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hosts_are_targets() {
        for (host, port, shown) in [
            ("192.0.2.1", 80, Some("192.0.2.1:80")),
            ("2001:db8::1", 1, Some("[2001:db8::1]:1")),
            ("tracker.example", 443, Some("tracker.example:443")),
            ("a\r\nb", 80, None),
            ("a b", 80, None),
            ("", 80, None),
            ("192.0.2.1", 0, None),
            ("a", 0, None),
        ] {
            assert_eq!(Target::new(host, port).map(|target| target.to_string()).as_deref(), shown, "{host}");
        }
        assert_eq!(Target::new(&"a".repeat(254), 1), None);
    }

    #[test]
    fn a_login_fits_and_its_password_is_not_shown() {
        let login = Login::new("me", "hunter2").unwrap();
        assert_eq!(format!("{login:?}"), "Login { user: \"me\", .. }");
        assert_eq!(Login::new("", "x"), Err(BadLogin::Length));
        assert_eq!(Login::new("x", &"x".repeat(256)), Err(BadLogin::Length));
        assert_eq!(Login::new("x", "a\nb"), Err(BadLogin::Control));
        assert!(Login::new("x", "").is_ok());
    }
}
