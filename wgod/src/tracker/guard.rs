//! What a tracker's URL may lead to (server-side request forgery).
//!
//! Whoever makes a torrent writes the URLs in it, and the daemon asks them, from inside of the operator's
//! network: without care that is a way to send requests to services that trust whoever comes from there.
//! The rules are those of libtorrent: on this machine only what looks like a tracker is asked; nobody farther
//! away redirects us nearer; and no URL says itself what an announce says, which would have us announce what
//! we don't have. HTTP only: over UDP a service must first answer in the tracker's protocol.
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use reqwest::Url;
use wgo_core::address::is_local;
use wgo_proto::tracker::http::query_pairs;

use super::TrackerError;

/// Parameters of an announce (BEP 3) that a tracker's URL may not bring along.
const OURS: [&str; 9] =
    ["info_hash", "peer_id", "port", "event", "left", "uploaded", "downloaded", "corrupt", "key"];

/// How a path on this machine must begin: as one that a tracker has, for an announce or a scrape.
const LOOPBACK_PATHS: [&str; 2] = ["/announce", "/scrape"];

/// How near an address is. A redirect never leads from one to a nearer one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reach {
    /// Anywhere.
    Global,
    /// In a network that isn't reached from everywhere, as that of a house or a provider.
    Local,
    /// This machine.
    Loopback,
}

impl Reach {
    /// All of them; the order is that of their numbers.
    pub(super) const ALL: [Reach; 3] = [Reach::Global, Reach::Local, Reach::Loopback];

    pub(super) fn of(ip: IpAddr) -> Reach {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Reach::of_v4(ip),
            IpAddr::V6(ip) => Reach::of_v6(ip),
        }
    }

    fn of_v4(ip: Ipv4Addr) -> Reach {
        match ip.octets() {
            // What is sent to 0.0.0.0 arrives here, on Linux.
            [0 | 127, ..] => Reach::Loopback,
            _ if is_local(ip.into()) || ip.is_broadcast() || ip.is_multicast() => Reach::Local,
            _ => Reach::Global,
        }
    }

    fn of_v6(ip: Ipv6Addr) -> Reach {
        let embedded = |high: u16, low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
        match ip.segments() {
            _ if ip.is_loopback() || ip.is_unspecified() => Reach::Loopback,
            // Translators (RFC 6052) and 6to4 (RFC 3056) lead to the IPv4 address inside.
            [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
                Reach::of_v4(embedded(high, low))
            }
            // For translators within a network (RFC 8215), and the site-local addresses of old.
            [0x64, 0xff9b, 1, ..] | [0xfec0..=0xfeff, ..] => Reach::Local,
            _ if is_local(ip.into()) || ip.is_multicast() => Reach::Local,
            _ => Reach::Global,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Reach::Global => "a global",
            Reach::Local => "a local",
            Reach::Loopback => "a loopback",
        }
    }
}

/// Whether the URL of a tracker leaves it to us what we announce.
///
/// # Errors
/// [`TrackerError::Baked`] names the parameter that it brings along.
pub(super) fn brings_nothing_along(url: &str) -> Result<(), TrackerError> {
    let baked = query_pairs(url).find_map(|(key, _)| OURS.iter().find(|ours| **ours == key));
    baked.map_or(Ok(()), |&parameter| Err(TrackerError::Baked { parameter }))
}

/// Whether `url`, whose host is at such an address, may be asked.
///
/// # Errors
/// [`TrackerError::Forbidden`], without the path.
pub(super) fn may_ask(url: &Url, reach: Reach) -> Result<(), TrackerError> {
    let like_a_tracker = || LOOPBACK_PATHS.iter().any(|begin| url.path().starts_with(begin));
    if reach == Reach::Loopback && !like_a_tracker() {
        let host = url.host_str().unwrap_or_default().to_owned();
        return Err(TrackerError::Forbidden { host });
    }
    Ok(())
}

/// Whether one at `from` may redirect us to one at `to`.
///
/// # Errors
/// [`TrackerError::Redirect`].
pub(super) fn may_redirect(from: Reach, to: Reach) -> Result<(), TrackerError> {
    if to > from {
        let why = format!("from {} address to {} one", from.name(), to.name());
        return Err(TrackerError::Redirect { why });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_as_near_as_what_answers_there() {
        for (reach, ips) in [
            (Reach::Loopback, &["127.0.0.1", "127.9.9.9", "0.0.0.0", "::1", "::", "::ffff:127.0.0.1"][..]),
            (Reach::Loopback, &["64:ff9b::7f00:1", "2002:7f00:1::"]),
            (Reach::Local, &["10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1"]),
            (Reach::Local, &["198.18.0.1", "255.255.255.255", "224.0.0.1", "fe80::1", "fd00::1", "ff02::1"]),
            (Reach::Local, &["::ffff:192.168.1.1", "64:ff9b::a00:1", "64:ff9b:1::1", "fec0::1"]),
            (Reach::Global, &["1.1.1.1", "172.32.0.1", "100.128.0.1", "198.20.0.1", "2001:db8::1"]),
            (Reach::Global, &["64:ff9b::101:101", "2002:101:101::1", "::ffff:1.1.1.1"]),
        ] {
            for ip in ips {
                assert_eq!(Reach::of(ip.parse().unwrap()), reach, "{ip}");
            }
        }
    }

    #[test]
    fn a_url_that_announces_by_itself_is_refused_and_a_passkey_is_not() {
        for (url, baked) in [
            ("http://t.example/announce", None),
            ("http://t.example/announce?passkey=1&id=2", None),
            ("http://t.example/info_hash=1/announce", None),
            ("http://t.example/announce?info_hash=1", Some("info_hash")),
            ("http://t.example/announce?a=1&p%6frt=80", Some("port")),
            ("udp://t.example:1/announce?event=stopped#x", Some("event")),
            ("http://t.example/announce?left", Some("left")),
        ] {
            match (brings_nothing_along(url), baked) {
                (Ok(()), None) => {}
                (Err(TrackerError::Baked { parameter }), Some(expected)) => assert_eq!(parameter, expected),
                (other, _) => panic!("{url}: {other:?}"),
            }
        }
    }

    #[test]
    fn on_this_machine_only_trackers_are_asked() {
        for (url, may) in [
            ("http://h/announce", true),
            ("http://h/announce.php?passkey=1", true),
            ("http://h/scrape?info_hash=1", true),
            ("http://h/", false),
            ("http://h/api/announce", false),
            ("http://h/announce/../admin", false),
            ("http://h/%2e%2e/announce", true),
        ] {
            let url = Url::parse(url).unwrap();
            assert_eq!(may_ask(&url, Reach::Loopback).is_ok(), may, "{url}");
            assert!(may_ask(&url, Reach::Local).is_ok());
        }
    }

    #[test]
    fn a_redirect_leads_to_the_same_reach_or_farther() {
        for (from, to, may) in [
            (Reach::Global, Reach::Global, true),
            (Reach::Global, Reach::Local, false),
            (Reach::Global, Reach::Loopback, false),
            (Reach::Local, Reach::Loopback, false),
            (Reach::Local, Reach::Local, true),
            (Reach::Loopback, Reach::Loopback, true),
            (Reach::Loopback, Reach::Global, true),
        ] {
            assert_eq!(may_redirect(from, to).is_ok(), may, "{from:?} {to:?}");
        }
        let refused = may_redirect(Reach::Global, Reach::Loopback).unwrap_err();
        assert_eq!(refused.to_string(), "redirect refused: from a global address to a loopback one");
    }
}
