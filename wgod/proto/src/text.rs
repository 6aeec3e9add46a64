//! Text that strangers send for people to read: client names, trackers' reasons.

/// What `bytes` say, lossily decoded, trimmed and cut to `max` characters; control characters and
/// those that change the direction of writing become U+FFFD, so that a terminal takes no orders
/// from a peer.
pub(crate) fn printable(bytes: &[u8], max: usize) -> String {
    // A character has at most four bytes: no more of a hostile text needs decoding.
    let bytes = bytes.get(..max.saturating_mul(4)).unwrap_or(bytes);
    let text = String::from_utf8_lossy(bytes);
    let harmless = |c| if steers_a_terminal(c) { char::REPLACEMENT_CHARACTER } else { c };
    let cut: String = text.trim().chars().take(max).map(harmless).collect();
    cut.trim_end().to_owned()
}

fn steers_a_terminal(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_could_steer_a_terminal_is_replaced() {
        for (bytes, expected) in [
            (&b"qBittorrent/5.0"[..], "qBittorrent/5.0"),
            ("µTorrent 1.2".as_bytes(), "µTorrent 1.2"),
            (b" a\x1b[2Jb\n", "a\u{fffd}[2Jb"),
            (b"a\xffb", "a\u{fffd}b"),
            ("a\u{202e}b".as_bytes(), "a\u{fffd}b"),
            (b"", ""),
        ] {
            assert_eq!(printable(bytes, 100), expected);
        }
    }

    proptest! {
        #[test]
        fn the_result_is_short_and_stays_as_it_is(bytes: Vec<u8>, max in 0usize..50) {
            let text = printable(&bytes, max);
            prop_assert!(text.chars().count() <= max);
            prop_assert_eq!(printable(text.as_bytes(), max), text);
        }
    }
}
