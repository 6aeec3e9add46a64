//! What the local network says: neighbours (BEP 14), and gateways that map ports (RFC 6886, 6887, UPnP). Whoever is
//! on the same Wi-Fi writes these.
use std::net::IpAddr;

use wgo_proto::lsd::{Announcement, GROUP_V4, GROUP_V6, MAX_DATAGRAM, MAX_HASHES};
use wgo_proto::portmap::upnp::{Location, Reply, SEARCHES, read_found, read_reply, search, services};
use wgo_proto::portmap::{Malformed, nat_pmp, pcp};

use super::Reader;

/// Services of a description at most.
const MAX_SERVICES: usize = 8;
/// Bytes that a document's name of a place takes at most, for a URL that is still taken.
const MAX_URL: usize = 600;

/// An announcement says the same to either group.
pub(super) fn lsd(data: &[u8]) {
    let Ok(read) = Announcement::parse(data) else { return };
    assert!(data.len() <= MAX_DATAGRAM && !read.hashes.is_empty());
    assert!(read.hashes.len() * 32 < data.len() && read.cookie.len() <= 64);
    for group in [GROUP_V4, GROUP_V6] {
        let written = read.encode(group);
        assert!(written.len() <= MAX_DATAGRAM, "{} bytes", written.len());
        let again = Announcement::parse(&written).expect("what we write we read");
        let named = &read.hashes[..read.hashes.len().min(MAX_HASHES)];
        assert_eq!((again.port, again.cookie, &again.hashes[..]), (read.port, read.cookie, named));
    }
}

/// An answer of NAT-PMP: what comes after it changes nothing, and it doesn't come of less.
pub(super) fn nat_pmp(data: &[u8]) {
    let read = nat_pmp::Answer::decode(data);
    prefixes(data, 16, |part| nat_pmp::Answer::decode(part).ok().map(|answer| format!("{answer:?}")));
    let Ok(answer) = read else { return };
    assert!(data[0] == nat_pmp::VERSION && data[1] & 0x80 != 0);
    assert_eq!(answer.epoch.to_be_bytes(), data[4..8]);
    match answer.outcome {
        nat_pmp::Outcome::Address(ip) => assert_eq!(ip.octets(), data[8..12]),
        nat_pmp::Outcome::Mapped { internal, external, lifetime_secs, .. } => {
            let numbers =
                [&internal.to_be_bytes()[..], &external.to_be_bytes(), &lifetime_secs.to_be_bytes()];
            assert_eq!(numbers.concat(), data[8..16]);
        }
        nat_pmp::Outcome::Refused { .. } => assert_ne!(data[2..4], [0, 0]),
    }
}

/// An answer of PCP, likewise. None of the two is taken for the other.
pub(super) fn pcp(data: &[u8]) {
    prefixes(data, 60, |part| pcp::Answer::decode(part).ok().map(|answer| format!("{answer:?}")));
    let Ok(answer) = pcp::Answer::decode(data) else { return };
    assert_eq!(nat_pmp::Answer::decode(data), Err(Malformed::Version(pcp::VERSION)));
    assert!(data.len() >= 24 && data[1] & 0x80 != 0);
    let (mapping, refused) = match answer.outcome {
        pcp::Outcome::Announced => (None, false),
        pcp::Outcome::Mapped(mapping, lifetime) => {
            assert_eq!(lifetime.to_be_bytes(), data[4..8]);
            (Some(mapping), false)
        }
        pcp::Outcome::Refused(_, mapping) => (mapping, true),
    };
    assert_eq!(refused, data[3] != 0);
    if let Some(mapping) = mapping {
        let numbers = [mapping.internal.to_be_bytes(), mapping.external.to_be_bytes()];
        assert_eq!((&mapping.nonce[..], &numbers.concat()[..]), (&data[24..36], &data[40..44]));
        // The family that it is of has one form.
        assert_eq!(mapping.address.to_canonical(), mapping.address);
    }
}

/// Reads every part of `data` from its front: none that is too short is read as something else, and what follows
/// the `most` bytes that may count changes nothing.
fn prefixes(data: &[u8], most: usize, read: impl Fn(&[u8]) -> Option<String>) {
    let whole = read(data);
    for len in 0..=data.len().min(most) {
        let part = read(&data[..len]);
        assert!(part.is_none() || len >= 8, "{len} bytes make {part:?}");
        if len == most {
            assert_eq!(part, whole);
        }
    }
}

/// An answer to a search leads to one place, which is told in one line of what can be printed.
pub(super) fn ssdp(data: &[u8]) {
    for target in SEARCHES {
        assert!(read_found(search(target).as_bytes()).is_err(), "our own search is no answer");
    }
    let Ok(found) = read_found(data) else { return };
    assert_asks_little(&found);
    assert!(found.path.len() < data.len());
}

/// Documents of a gateway: what is called lies at its own address.
pub(super) fn upnp(data: &[u8]) {
    let mut reader = Reader::new(data);
    let kind = reader.byte();
    let document = reader.rest();
    if kind.is_multiple_of(2) {
        match read_reply(document) {
            Ok(Reply::Failed(fault)) => {
                assert!(
                    fault.text.len() <= 100 && fault.text.bytes().all(|b| b == b' ' || b.is_ascii_graphic())
                );
                assert!(!fault.to_string().is_empty());
            }
            Ok(Reply::Done(_)) | Err(_) => {}
        }
        return;
    }
    let from = Location::parse("http://192.0.2.1:5000/dir/root.xml").expect("it is a URL");
    let Ok(found) = services(document, &from) else { return };
    assert!(!found.is_empty() && found.len() <= MAX_SERVICES);
    for service in found {
        assert_asks_little(&service.control);
        assert_eq!(
            IpAddr::from(service.control.ip()),
            IpAddr::from(from.ip()),
            "another host would be called"
        );
    }
}

/// URLs, alone and in a document, stay what can be put into a request.
pub(super) fn location(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (first, second) = text.split_once('\n').unwrap_or((&text, ""));
    let Ok(at) = Location::parse(first) else { return };
    assert_asks_little(&at);
    if let Ok(there) = at.join(second) {
        assert_asks_little(&there);
        assert!(second.contains("://") || there.addr == at.addr);
    }
}

/// Nothing of it begins another line of a request, and it is read as it is written.
fn assert_asks_little(location: &Location) {
    assert!(location.path.starts_with('/') && location.path.bytes().all(|byte| byte.is_ascii_graphic()));
    assert!(location.path.len() <= MAX_URL && location.addr.port() != 0);
    assert_eq!(Location::parse(&location.to_string()).as_ref(), Ok(location));
}
