//! The names in `[labels.NAME]` and `[trackers."HOST"]`.
use std::borrow::Cow;
use std::net::IpAddr;

use super::setting::quoted;

/// Names of which there is a section each.
pub struct Names {
    /// What such a name is called.
    pub what: &'static str,
    /// One, as an example.
    pub example: &'static str,
    /// The name as it is kept, or why it is none.
    pub check: fn(&str) -> Result<String, String>,
}

/// Sections of one kind at most: each label that is limited takes part in handing out every byte.
pub(super) const MOST: usize = 1000;

/// Labels of torrents.
pub(super) static LABELS: Names = Names { what: "label", example: "NAME", check: label };

/// Hosts of trackers.
pub(super) static HOSTS: Names = Names { what: "host", example: "example.org", check: host };

fn label(name: &str) -> Result<String, String> {
    wgo_api::labels::check(name).map_err(|error| error.message)?;
    Ok(name.to_owned())
}

/// Longest name of a host, and of a part of it (RFC 1035).
const LONGEST: (usize, usize) = (253, 63);

/// The host that a tracker's URL may have: a name in lower case or an address.
fn host(given: &str) -> Result<String, String> {
    let name = given.trim_end_matches('.').to_ascii_lowercase();
    if let Ok(ip) = bare(&name).parse::<IpAddr>() {
        return Ok(ip.to_string());
    }
    let is_part = |part: &str| {
        let fits = (1..=LONGEST.1).contains(&part.len());
        fits && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    if !name.is_empty() && name.len() <= LONGEST.0 && name.split('.').all(is_part) {
        return Ok(name);
    }
    let shown = quoted(given);
    let inside = host_in(&name);
    let meant = inside.as_deref().map(|host| host.trim_start_matches(['*', '.']));
    let meant = meant.filter(|meant| *meant != name && host(meant).is_ok());
    Err(match meant {
        Some(meant) if name.ends_with(&format!(".{meant}")) => {
            format!(
                "{shown} is no host; did you mean {}? It counts for the hosts below it, too",
                quoted(meant)
            )
        }
        Some(meant) => format!("{shown} is no host; did you mean {}?", quoted(meant)),
        None if !name.is_ascii() => {
            format!("{shown} is no host; write it as trackers' URLs do, in ASCII: xn--…")
        }
        None => {
            format!("{shown} is no host; it is what stands in the URL of a tracker, as in \"example.org\"")
        }
    })
}

/// An address without the brackets that it has in URLs.
fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host)
}

/// The host in a URL, or in what has one without being one, as it is kept in `HOSTS`.
pub fn host_in(url: &str) -> Option<Cow<'_, str>> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = rest.split(['/', '?', '#']).next()?;
    let rest = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    if let Some(address) = rest.strip_prefix('[') {
        let address = address.split(']').next()?;
        return Some(Cow::Owned(address.parse::<IpAddr>().ok()?.to_string()));
    }
    let host = rest.split(':').next()?.trim_end_matches('.');
    match host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        true => Some(Cow::Owned(host.to_ascii_lowercase())),
        false => Some(Cow::Borrowed(host)),
    }
    .filter(|host| !host.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_kept_in_one_notation() {
        for (given, kept) in [
            ("example.org", "example.org"),
            ("Tracker.Example.ORG.", "tracker.example.org"),
            ("localhost", "localhost"),
            ("a_b.example", "a_b.example"),
            ("192.0.2.1", "192.0.2.1"),
            ("[2001:DB8::1]", "2001:db8::1"),
            ("2001:db8:0::1", "2001:db8::1"),
        ] {
            assert_eq!(host(given).as_deref(), Ok(kept), "{given}");
        }
    }

    #[test]
    fn what_is_no_host_is_told_which_is_meant() {
        for (given, why) in [
            ("https://tracker.example.org:443/announce", "did you mean \"tracker.example.org\"?"),
            ("udp://u:p@Example.org", "did you mean \"example.org\"?"),
            ("example.org:6969", "did you mean \"example.org\"?"),
            ("example.org/announce", "did you mean \"example.org\"?"),
            ("http://[2001:db8::1]:80/", "did you mean \"2001:db8::1\"?"),
            ("*.example.org", "did you mean \"example.org\"? It counts for the hosts below it, too"),
            (".example.org", "did you mean \"example.org\"? It counts for"),
            ("bücher.example", "in ASCII: xn--…"),
            ("", "it is what stands in the URL"),
            ("..", "it is what stands in the URL"),
            ("a..b", "it is what stands in the URL"),
            ("a b", "it is what stands in the URL"),
            ("*", "it is what stands in the URL"),
            ("a\u{1b}b", "\"a\\u001Bb\" is no host"),
        ] {
            let said = host(given).unwrap_err();
            assert!(said.contains(why), "{given}: {said}");
        }
        assert!(host(&"a.".repeat(127)).is_ok());
        assert!(host(&"a.".repeat(128)).is_err() && host(&"a".repeat(64)).is_err());
    }
}
