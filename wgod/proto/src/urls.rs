//! Which URLs of torrents and magnet links are kept: trackers (BEP 3, BEP 12, BEP 15) and web seeds
//! (BEP 17, BEP 19).
//!
//! A URL of another scheme, without a host, or with control characters is dropped in silence: torrents
//! carry many that nobody here serves (`wss:`, `dht:`, `ftp:`), and none is a reason to refuse a torrent.
//! Blanks around a URL are cut off; in its path they stay, the HTTP client encodes them.
use std::collections::HashSet;

/// The URL if a tracker can be behind it: `http`, `https` or `udp`.
pub fn tracker(url: &str) -> Option<&str> {
    checked(url, &["http", "https", "udp"])
}

/// The URL if a web seed can be behind it: `http` or `https`.
pub fn web_seed(url: &str) -> Option<&str> {
    checked(url, &["http", "https"])
}

/// The usable trackers in their tiers, each URL once, where it came first; no tier is empty.
pub fn tiers<T: AsRef<str>>(
    tiers: impl IntoIterator<Item = impl IntoIterator<Item = T>>,
) -> Vec<Vec<String>> {
    let mut seen = HashSet::new();
    let tiers = tiers.into_iter().map(|urls| distinct(urls, tracker, &mut seen));
    tiers.filter(|urls| !urls.is_empty()).collect()
}

/// The usable web seeds, each once.
pub fn web_seeds<T: AsRef<str>>(urls: impl IntoIterator<Item = T>) -> Vec<String> {
    distinct(urls, web_seed, &mut HashSet::new())
}

fn distinct<T: AsRef<str>>(
    urls: impl IntoIterator<Item = T>,
    usable: fn(&str) -> Option<&str>,
    seen: &mut HashSet<String>,
) -> Vec<String> {
    let mut kept = Vec::new();
    for url in urls {
        if let Some(url) = usable(url.as_ref())
            && seen.insert(url.to_owned())
        {
            kept.push(url.to_owned());
        }
    }
    kept
}

fn checked<'u>(url: &'u str, schemes: &[&str]) -> Option<&'u str> {
    let url = url.trim();
    let (scheme, rest) = url.split_once("://")?;
    let host_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let has_host =
        rest[..host_end].rsplit('@').next().is_some_and(|host| !host.is_empty() && !host.starts_with(':'));
    let clean = !url.chars().any(char::is_control) && !rest[..host_end].contains(char::is_whitespace);
    let known = schemes.iter().any(|known| scheme.eq_ignore_ascii_case(known));
    (known && has_host && clean).then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_urls_that_can_be_used_are_kept() {
        let kept = [
            "http://a.example/announce",
            "HTTPS://a.example:443/x?k=v",
            "udp://[2001:db8::1]:80",
            "http://u:p@h/",
        ];
        for url in kept {
            assert_eq!(tracker(url), Some(url));
        }
        assert_eq!(tracker(" udp://a.example:1 \r\n"), Some("udp://a.example:1"));
        let dropped = [
            "",
            "http://",
            "http:///x",
            "udp://:80",
            "http:/a",
            "a.example",
            "wss://a.example",
            "dht://x",
            "http://a b/",
            "http://a/\0",
            "http://u@/x",
        ];
        for url in dropped {
            assert_eq!(tracker(url), None, "{url}");
        }
        assert_eq!(web_seed("http://test.com/test file/foo bar"), Some("http://test.com/test file/foo bar"));
        assert_eq!(web_seed("udp://test.com/"), None);
    }

    #[test]
    fn a_tracker_is_kept_where_it_came_first_and_empty_tiers_go() {
        let (a, b, c) = ("http://a/", "udp://b:1", "https://c/");
        assert_eq!(tiers([vec![a, b, a], vec!["x", a], vec![c, b]]), [vec![a, b], vec![c]]);
        assert_eq!(web_seeds([a, b, c, a]), [a, c]);
    }
}
