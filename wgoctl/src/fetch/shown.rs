//! URLs as messages name them: without the keys that private trackers put into them, since messages end up in
//! logs and bug reports.
use reqwest::Url;

/// A path's segment of so many letters and digits, without a dot, is taken for a key.
const KEY_LENGTH: usize = 20;

/// As [`shown`], of what may be no URL: then what is before a query.
pub(crate) fn shown_text(text: &str) -> String {
    match Url::parse(text) {
        Ok(url) if url.has_host() => shown(&url),
        _ => text.split_once('?').map_or_else(|| text.to_owned(), |(start, _)| format!("{start}?…")),
    }
}

/// The URL without its user, query and fragment, and without what looks like a key in its path.
pub(super) fn shown(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let segments: Vec<&str> =
        url.path().split('/').map(|segment| if is_key(segment) { "…" } else { segment }).collect();
    let query = if url.query().is_some() { "?…" } else { "" };
    let host = url.host_str().unwrap_or_default();
    format!("{}://{host}{port}{}{query}", url.scheme(), segments.join("/"))
}

fn is_key(segment: &str) -> bool {
    segment.len() >= KEY_LENGTH
        && segment.bytes().any(|byte| byte.is_ascii_digit())
        && segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_secret_is_left_out_and_what_names_the_file_stays() {
        for (text, expected) in [
            ("https://a.example/x.torrent", "https://a.example/x.torrent"),
            ("https://me:pw@a.example:81/x?passkey=1#f", "https://a.example:81/x?…"),
            ("http://[::1]:8/0123456789abcdef0123456789abcdef/x.torrent", "http://[::1]:8/…/x.torrent"),
            (
                "https://a/debian-13.1.0-amd64-netinst.iso.torrent",
                "https://a/debian-13.1.0-amd64-netinst.iso.torrent",
            ),
            ("http:///?passkey=1", "http:///?…"),
            ("http://a b/?k", "http://a b/?…"),
        ] {
            assert_eq!(shown_text(text), expected);
        }
    }
}
