//! A tracker's URL, taken apart once: protocol, host and port, and the form that may be logged.
use std::fmt;
use std::net::IpAddr;

use reqwest::Url;

use super::TrackerError;
use super::guard::brings_nothing_along;

/// How a tracker is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http,
    Https,
    Udp,
}

/// Whom a URL names. Its `Display` is the URL without user, path and query, any of which can be a
/// passkey: `https://tracker.example:443/…`.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) protocol: Protocol,
    /// A name in lower case, or an address without brackets.
    pub(super) host: String,
    pub(super) port: u16,
}

impl Target {
    pub(super) fn parse(url: &str) -> Result<Target, TrackerError> {
        Target::of(&Url::parse(url).map_err(|err| TrackerError::Url { why: err.to_string() })?)
    }

    pub(super) fn of(url: &Url) -> Result<Target, TrackerError> {
        let wrong = |why: &str| TrackerError::Url { why: why.to_owned() };
        let protocol = match url.scheme() {
            "http" => Protocol::Http,
            "https" => Protocol::Https,
            "udp" => Protocol::Udp,
            other => return Err(TrackerError::Scheme { scheme: other.to_owned() }),
        };
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| wrong("it names no host"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        let port = url.port_or_known_default().filter(|&port| port != 0);
        let port = port.ok_or_else(|| wrong("it names no port"))?;
        Ok(Target { protocol, host, port })
    }

    /// The host, when it is an address.
    pub(super) fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.protocol {
            Protocol::Http => "http",
            Protocol::Https => "https",
            Protocol::Udp => "udp",
        };
        match self.host.contains(':') {
            true => write!(f, "{scheme}://[{}]:{}/…", self.host, self.port),
            false => write!(f, "{scheme}://{}:{}/…", self.host, self.port),
        }
    }
}

/// Whether announces can go there.
///
/// # Errors
/// Says what is wrong with it, without repeating it.
pub fn check_url(url: &str) -> Result<(), TrackerError> {
    Target::parse(url)?;
    brings_nothing_along(url)
}

/// A tracker's URL as it may be logged, without user, path and query. What isn't a tracker's URL is
/// not shown at all.
pub fn shown(url: &str) -> String {
    Target::parse(url).map_or_else(|err| format!("({err})"), |target| target.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_what_may_be_secret() {
        let cases = [
            ("http://Tracker.Example/abcdef/announce?passkey=1", "http://tracker.example:80/…"),
            ("https://user:word@t.example/announce", "https://t.example:443/…"),
            ("udp://T.example:1337/announce", "udp://t.example:1337/…"),
            ("UDP://[2001:DB8::1]:80", "udp://[2001:db8::1]:80/…"),
            ("http://127.0.0.1:6969/a", "http://127.0.0.1:6969/…"),
            ("wss://t.example/abcdef", "(a tracker's URL begins with http:, https: or udp:, not with wss:)"),
            ("udp://t.example/abcdef", "(not a tracker's URL: it names no port)"),
            ("abcdef", "(not a tracker's URL: relative URL without a base)"),
            ("http:///abcdef?x", "http://abcdef:80/…"),
            ("", "(not a tracker's URL: relative URL without a base)"),
        ];
        for (url, expected) in cases {
            assert_eq!(shown(url), expected, "{url}");
        }
    }
}
