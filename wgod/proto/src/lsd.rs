//! Announcements of local service discovery (BEP 14): text like HTTP's in datagrams to a multicast group.
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU16;

use crate::WireHash;

/// The port of both groups.
const PORT: u16 = 6771;
/// The group of IPv4.
pub const GROUP_V4: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(239, 192, 152, 143)), PORT);
/// The group of IPv6.
pub const GROUP_V6: SocketAddr =
    SocketAddr::new(IpAddr::V6(Ipv6Addr::new(0xff15, 0, 0, 0, 0, 0, 0xefc0, 0x988f)), PORT);

/// Bytes of a datagram that we read or write at most: BEP 14's bound, below the MTU of every link.
pub const MAX_DATAGRAM: usize = 1400;
/// Characters of a cookie that we read or write.
const MAX_COOKIE: usize = 64;
/// Torrents that one announcement of ours names at most, so that it stays below [`MAX_DATAGRAM`].
pub const MAX_HASHES: usize = 24;

/// The first line, of which the last digit is the receiver's business.
const REQUEST: &str = "BT-SEARCH * HTTP/1.";

/// Somebody takes part in torrents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement<'a> {
    /// Where they listen, at the address that the datagram is from.
    pub port: NonZeroU16,
    /// What they take part in, without what was no info-hash; never empty.
    pub hashes: Vec<WireHash>,
    /// What the sender knows its own announcements by; empty for none.
    pub cookie: &'a str,
}

/// A datagram is no announcement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LsdError {
    /// Too long.
    #[error("{len} bytes, of which {MAX_DATAGRAM} are read at most")]
    TooLong {
        /// Its bytes.
        len: usize,
    },
    /// It doesn't begin like one, or isn't text.
    #[error("it does not begin with \"BT-SEARCH * HTTP/1.\"")]
    NotSearch,
    /// It has no `Port`, or one at which nobody listens.
    #[error("it has no port")]
    NoPort,
    /// It has no `Infohash` that is one.
    #[error("it has no info-hash")]
    NoHash,
}

impl<'a> Announcement<'a> {
    /// Reads a datagram. Fields that aren't known are passed over, as are info-hashes that are none.
    ///
    /// # Errors
    /// It is no announcement, or of nothing, or of a peer that can't be reached.
    pub fn parse(datagram: &'a [u8]) -> Result<Announcement<'a>, LsdError> {
        if datagram.len() > MAX_DATAGRAM {
            return Err(LsdError::TooLong { len: datagram.len() });
        }
        let text = std::str::from_utf8(datagram).map_err(|_| LsdError::NotSearch)?;
        let mut lines = text.lines();
        if !lines.next().is_some_and(|line| line.starts_with(REQUEST)) {
            return Err(LsdError::NotSearch);
        }
        let (mut port, mut hashes, mut cookie) = (None, Vec::new(), "");
        for line in lines.take_while(|line| !line.is_empty()) {
            let Some((name, value)) = line.split_once(':') else { continue };
            let value = value.trim();
            match name.trim() {
                name if name.eq_ignore_ascii_case("port") => port = port.or(Some(value)),
                name if name.eq_ignore_ascii_case("infohash") => hashes.extend(value.parse::<WireHash>()),
                name if name.eq_ignore_ascii_case("cookie") && value.len() <= MAX_COOKIE => cookie = value,
                _ => {}
            }
        }
        let port = port.and_then(|port| port.parse().ok()).ok_or(LsdError::NoPort)?;
        if hashes.is_empty() {
            return Err(LsdError::NoHash);
        }
        Ok(Announcement { port, hashes, cookie })
    }

    /// The datagram to `group`. More than [`MAX_HASHES`] info-hashes are left out.
    pub fn encode(&self, group: SocketAddr) -> Vec<u8> {
        let mut text = format!("{REQUEST}1\r\nHost: {group}\r\nPort: {}\r\n", self.port);
        for hash in self.hashes.iter().take(MAX_HASHES) {
            // Writing to a `String` can't fail.
            let _ = write!(text, "Infohash: {hash}\r\n");
        }
        if !self.cookie.is_empty() {
            let _ = write!(text, "cookie: {}\r\n", self.cookie);
        }
        text.push_str("\r\n\r\n");
        text.into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HASH: &str = "0123456789abcdef0123456789abcdef01234567";

    fn parse(text: &str) -> Result<Announcement<'_>, LsdError> {
        Announcement::parse(text.as_bytes())
    }

    #[test]
    fn what_we_write_is_what_the_bep_says() {
        let hashes = vec![HASH.parse().unwrap()];
        let announcement = Announcement { port: NonZeroU16::new(6868).unwrap(), hashes, cookie: "c" };
        let text = format!(
            "BT-SEARCH * HTTP/1.1\r\nHost: 239.192.152.143:6771\r\nPort: 6868\r\nInfohash: {HASH}\r\ncookie: c\r\n\r\n\r\n"
        );
        assert_eq!(String::from_utf8(announcement.encode(GROUP_V4)).unwrap(), text);
        let v6 = Announcement { cookie: "", ..announcement }.encode(GROUP_V6);
        assert!(String::from_utf8(v6).unwrap().contains("Host: [ff15::efc0:988f]:6771\r\nPort"));
    }

    #[test]
    fn the_fullest_datagram_is_within_the_bound() {
        let port = NonZeroU16::MAX;
        let cookie = "c".repeat(MAX_COOKIE);
        let announcement =
            Announcement { port, hashes: vec![WireHash([0xff; 20]); MAX_HASHES], cookie: &cookie };
        let written = announcement.encode(GROUP_V4);
        assert!(written.len() <= MAX_DATAGRAM, "{}", written.len());
        assert_eq!(Announcement::parse(&written), Ok(announcement));
    }

    #[test]
    fn others_are_read_however_they_write_it() {
        let cases = [
            format!("BT-SEARCH * HTTP/1.1\r\nhost: x\r\nPORT:6881\r\ninfoHASH:{HASH}\r\n\r\n"),
            format!("BT-SEARCH * HTTP/1.0\nX-New: y\nInfohash: {}\nPort:  6881 \n", HASH.to_uppercase()),
            format!(
                "BT-SEARCH * HTTP/1.1\r\nno field\r\nPort: 6881\r\nInfohash: nonsense\r\nInfohash: {HASH}"
            ),
            format!(
                "BT-SEARCH * HTTP/1.1\r\nPort: 6881\r\nPort: 1\r\nInfohash: {HASH}\r\n\r\nInfohash: {HASH}"
            ),
        ];
        for text in &cases {
            let read = parse(text).unwrap();
            assert_eq!((read.port.get(), read.cookie), (6881, ""), "{text}");
            assert_eq!(read.hashes, [HASH.parse().unwrap()], "{text}");
        }
    }

    #[test]
    fn junk_is_refused_for_what_is_wrong() {
        for (text, expected) in [
            (String::new(), LsdError::NotSearch),
            ("M-SEARCH * HTTP/1.1\r\n".to_owned(), LsdError::NotSearch),
            (format!("BT-SEARCH * HTTP/1.1\r\nInfohash: {HASH}\r\n"), LsdError::NoPort),
            (format!("BT-SEARCH * HTTP/1.1\r\nPort: 0\r\nInfohash: {HASH}\r\n"), LsdError::NoPort),
            (format!("BT-SEARCH * HTTP/1.1\r\nPort: 65536\r\nInfohash: {HASH}\r\n"), LsdError::NoPort),
            (format!("BT-SEARCH * HTTP/1.1\r\nPort: -1\r\nInfohash: {HASH}\r\n"), LsdError::NoPort),
            ("BT-SEARCH * HTTP/1.1\r\nPort: 1\r\nInfohash: 00\r\n".to_owned(), LsdError::NoHash),
            ("x".repeat(MAX_DATAGRAM + 1), LsdError::TooLong { len: MAX_DATAGRAM + 1 }),
        ] {
            assert_eq!(parse(&text), Err(expected), "{text}");
        }
        assert_eq!(Announcement::parse(b"BT-SEARCH * HTTP/1.1\r\n\xff"), Err(LsdError::NotSearch));
    }

    proptest! {
        #[test]
        fn an_announcement_comes_out_as_it_went_in(
            port: NonZeroU16,
            hashes in prop::collection::vec(any::<[u8; 20]>().prop_map(WireHash), 1..=MAX_HASHES),
            cookie in "[0-9a-f]{0,64}",
        ) {
            let announcement = Announcement { port, hashes, cookie: &cookie };
            let written = announcement.encode(GROUP_V6);
            prop_assert_eq!(Announcement::parse(&written), Ok(announcement));
        }

        #[test]
        fn no_datagram_is_too_much(head in "(BT-SEARCH \\* HTTP/1.1\r\n)?", rest: Vec<u8>) {
            let datagram = [head.as_bytes(), &rest].concat();
            if let Ok(read) = Announcement::parse(&datagram) {
                prop_assert!(!read.hashes.is_empty() && read.hashes.len() * 20 < datagram.len());
            }
        }
    }
}
