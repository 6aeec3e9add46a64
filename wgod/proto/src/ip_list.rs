//! Lists of IP addresses to have nothing to do with, line by line, in the notations that are about: PeerGuardian's
//! (P2P), eMule's (`ipfilter.dat`), ranges, networks (CIDR) and single addresses.
//!
//! A line says by itself which it is, as files are found mixed. Names in them are in any encoding and are not
//! looked at.
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// From this level on eMule's lists allow what they name.
const DAT_ALLOWS: u32 = 128;
/// Colons at which a line of PeerGuardian's is tried: IPv6 has up to seven in an address, names have some.
const MAX_COLONS: usize = 32;

/// What a line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// Nothing: it is empty or a comment.
    Nothing,
    /// It names addresses that are not to be blocked (eMule, level 128 and above).
    Allowed,
    /// All addresses from the first to the second, of one family, are blocked. IPv4 addresses mapped into IPv6 are
    /// IPv4 addresses.
    Blocked(IpAddr, IpAddr),
}

/// A line that is none of the notations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadLine {
    /// No addresses where they should be.
    #[error("no address, network or range of addresses")]
    NoAddresses,
    /// The end comes before the beginning.
    #[error("the range ends before it begins")]
    Backwards,
}

/// Reads one line, without its line feed.
///
/// # Errors
/// It is none of the notations.
pub fn line(line: &[u8]) -> Result<Line, BadLine> {
    let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line).trim_ascii();
    if line.is_empty() || [&b"#"[..], b";", b"//"].iter().any(|comment| line.starts_with(comment)) {
        return Ok(Line::Nothing);
    }
    let bare = line.split(|&byte| byte == b'#').next().unwrap_or_default();
    let plain = range(bare);
    if plain != Err(BadLine::NoAddresses) {
        return plain.map(|(first, last)| Line::Blocked(first, last));
    }
    let mut fields = line.splitn(3, |&byte| byte == b',');
    let of_emule = range(fields.next().unwrap_or_default());
    if of_emule != Err(BadLine::NoAddresses) {
        let (first, last) = of_emule?;
        let level = fields.next().and_then(|level| number(level.trim_ascii(), 9));
        // One without a level is taken at its word: it is on a list of addresses to block.
        let allowed = level.is_some_and(|level| level >= DAT_ALLOWS);
        return Ok(if allowed { Line::Allowed } else { Line::Blocked(first, last) });
    }
    let (first, last) = of_peerguardian(line)?;
    Ok(Line::Blocked(first, last))
}

/// `name:first-last`. The name may have colons, and so may the addresses: of all places to divide the line the
/// last is right for IPv4, and the first that makes sense for IPv6.
fn of_peerguardian(line: &[u8]) -> Result<(IpAddr, IpAddr), BadLine> {
    let colons = || line.iter().enumerate().filter(|(_, byte)| **byte == b':').map(|(at, _)| at);
    let after = |at: usize| range(&line[at + 1..]);
    let last = colons().next_back().map_or(Err(BadLine::NoAddresses), after);
    if last != Err(BadLine::NoAddresses) {
        return last;
    }
    // What begins as a range is no name: its end is of the other family, or damaged.
    let mut parts = line.splitn(2, |byte| *byte == b'-');
    if let (Some(first), Some(_)) = (parts.next(), parts.next())
        && address(first).is_some()
    {
        return last;
    }
    colons().take(MAX_COLONS).map(after).find(|range| range.is_ok()).unwrap_or(last)
}

/// A range, a network, or one address.
fn range(text: &[u8]) -> Result<(IpAddr, IpAddr), BadLine> {
    let text = text.trim_ascii();
    let divide = |by: u8| {
        let at = text.iter().position(|&byte| byte == by)?;
        Some((&text[..at], &text[at + 1..]))
    };
    let (first, last) = if let Some((net, bits)) = divide(b'/') {
        network(net, bits).ok_or(BadLine::NoAddresses)?
    } else if let Some((first, last)) = divide(b'-') {
        address(first).zip(address(last)).ok_or(BadLine::NoAddresses)?
    } else {
        let one = address(text).ok_or(BadLine::NoAddresses)?;
        (one, one)
    };
    let (first, last) = match (first.to_canonical(), last.to_canonical()) {
        // One that is partly mapped covers more than the mapped addresses.
        (a, b) if a.is_ipv4() != b.is_ipv4() => (first, last),
        both => both,
    };
    match first.is_ipv4() == last.is_ipv4() {
        false => Err(BadLine::NoAddresses),
        true if last < first => Err(BadLine::Backwards),
        true => Ok((first, last)),
    }
}

fn network(net: &[u8], bits: &[u8]) -> Option<(IpAddr, IpAddr)> {
    let bits = number(bits.trim_ascii(), 3)?;
    match address(net)? {
        IpAddr::V4(v4) => {
            let host = u32::MAX.checked_shr(bits).unwrap_or(0);
            let (first, last) = (v4.to_bits() & !host, v4.to_bits() | host);
            (bits <= 32).then(|| (Ipv4Addr::from_bits(first).into(), Ipv4Addr::from_bits(last).into()))
        }
        IpAddr::V6(v6) => {
            let host = u128::MAX.checked_shr(bits).unwrap_or(0);
            let (first, last) = (v6.to_bits() & !host, v6.to_bits() | host);
            (bits <= 128).then(|| (Ipv6Addr::from_bits(first).into(), Ipv6Addr::from_bits(last).into()))
        }
    }
}

/// An address; IPv4 with zeros before its numbers, as eMule writes it.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = text.trim_ascii();
    let mut numbers = text.split(|&byte| byte == b'.');
    let mut next = || u8::try_from(number(numbers.next()?, 3)?).ok();
    if let (Some(a), Some(b), Some(c), Some(d)) = (next(), next(), next(), next()) {
        return numbers.next().is_none().then(|| Ipv4Addr::new(a, b, c, d).into());
    }
    std::str::from_utf8(text).ok()?.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
}

/// A decimal number of up to `digits` digits, at most nine.
fn number(text: &[u8], digits: usize) -> Option<u32> {
    let fits = (1..=digits).contains(&text.len()) && text.iter().all(u8::is_ascii_digit);
    fits.then(|| text.iter().fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn blocked(first: &str, last: &str) -> Result<Line, BadLine> {
        Ok(Line::Blocked(first.parse().unwrap(), last.parse().unwrap()))
    }

    #[test]
    fn each_notation_is_read_whatever_the_names_are() {
        for (text, first, last) in [
            (&b"Some Company:1.2.3.4-1.2.3.9"[..], "1.2.3.4", "1.2.3.9"),
            (b"a:b:c:1.2.3.4-1.2.3.9\r", "1.2.3.4", "1.2.3.9"),
            (b"Foo, Inc. - 1.2.3.4, 5:10.0.0.1 - 10.0.0.1", "10.0.0.1", "10.0.0.1"),
            (b"Universit\xe4t:1.2.3.4-1.2.3.9", "1.2.3.4", "1.2.3.9"),
            (b":1.2.3.4-1.2.3.4", "1.2.3.4", "1.2.3.4"),
            (b"one:1.2.3.4", "1.2.3.4", "1.2.3.4"),
            (b"v6:2001:db8::1-2001:db8::ff", "2001:db8::1", "2001:db8::ff"),
            (b"001.002.003.004 - 001.002.003.255 , 000 , Some, name", "1.2.3.4", "1.2.3.255"),
            (b"1.2.3.4-1.2.3.9,127,x", "1.2.3.4", "1.2.3.9"),
            (b"1.2.3.4 - 1.2.3.9 , , no level", "1.2.3.4", "1.2.3.9"),
            (b"10.1.2.3/8", "10.0.0.0", "10.255.255.255"),
            (b"0.0.0.0/0", "0.0.0.0", "255.255.255.255"),
            (b"1.2.3.4/32 # one", "1.2.3.4", "1.2.3.4"),
            (b"\xef\xbb\xbf 1.2.3.4 ", "1.2.3.4", "1.2.3.4"),
            (b"2001:db8::/32", "2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"),
            (b"::/0", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
            (b"::ffff:1.2.3.0/120", "1.2.3.0", "1.2.3.255"),
            (b"fe80::1", "fe80::1", "fe80::1"),
        ] {
            assert_eq!(line(text), blocked(first, last), "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn comments_say_nothing_and_high_levels_allow() {
        for text in [&b""[..], b"   \r", b"# 1.2.3.4", b"; x", b"// list of 1.2.3.4"] {
            assert_eq!(line(text), Ok(Line::Nothing));
        }
        assert_eq!(line(b"1.2.3.4 - 1.2.3.9 , 128 , friends"), Ok(Line::Allowed));
        assert_eq!(line(b"1.2.3.4 - 1.2.3.9 , 255 , friends"), Ok(Line::Allowed));
    }

    #[test]
    fn what_is_none_of_them_is_refused() {
        for text in [
            &b"<html>"[..],
            b"1.2.3",
            b"1.2.3.256",
            b"1.2.3.4.5",
            b"1.2.3.4/33",
            b"::/129",
            b"1.2.3.4-2001:db8::1",
            b"1.2.3.4-",
            b"name only:",
            b"::::::::::::::::::::::::::::::::::::::::::::::::::::::::::",
        ] {
            assert_eq!(line(text), Err(BadLine::NoAddresses), "{}", String::from_utf8_lossy(text));
        }
        assert_eq!(line(b"1.2.3.9-1.2.3.4"), Err(BadLine::Backwards));
        assert_eq!(line(b"x:1.2.3.9-1.2.3.4"), Err(BadLine::Backwards));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(Line::Blocked(first, last)) = line(&bytes) {
                prop_assert!(first <= last && first.is_ipv4() == last.is_ipv4());
            }
        }

        #[test]
        fn a_range_is_read_as_it_is_written_in_every_notation(a: u32, b: u32, name in "[a-z:, -]{0,20}") {
            let (first, last) = (Ipv4Addr::from_bits(a.min(b)), Ipv4Addr::from_bits(a.max(b)));
            let want = Ok(Line::Blocked(first.into(), last.into()));
            prop_assert_eq!(line(format!("{first}-{last}").as_bytes()), want);
            prop_assert_eq!(line(format!("x{name}:{first}-{last}").as_bytes()), want);
            prop_assert_eq!(line(format!("{first} - {last} , 100 , {name}").as_bytes()), want);
        }
    }
}
