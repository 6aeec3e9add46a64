//! Neighbours on the local network that flood the group of local service discovery (BEP 14), and a gateway that answers
//! requests for a port with garbage, or with descriptions that don't end (PCP, NAT-PMP, UPnP).
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::num::NonZeroU16;
use std::time::{Duration, Instant};

use wgo_proto::lsd::Announcement;
use wgo_proto::units::WireHash;

use super::attack::{Attack, Bound, Field};
use super::web::Web;
use crate::lan::Ear;

/// Hashes of one datagram.
const HASHES: usize = 20;
/// Where gateways are asked: PCP and NAT-PMP, and the search of UPnP.
const MAPPING: u16 = 5351;
const SEARCH: u16 = 1900;
const SEARCH_GROUP: Ipv4Addr = Ipv4Addr::new(239, 255, 255, 250);
/// A new gateway is noticed and asked within this, by all three protocols in turn.
const NOTICED: Duration = Duration::from_secs(60);
/// How long a question is waited for before it is looked for one of the other kind.
const TICK: Duration = Duration::from_millis(20);
/// Answers that the gateway sends for each question.
const ANSWERS: usize = 500;

/// What is done by those on the same cable.
pub fn attacks() -> Vec<Attack> {
    let attack = |name, unit, bound, run| Attack { name, unit, bound, run };
    let heard = Bound::new(8, 8, 15);
    // A peer that is named is dialled once, and found not to be there.
    let dialled = Bound::new(8, 220, 60);
    let asked = Bound::new(8, 16, 60);
    vec![
        attack("LSD: garbage", "datagrams", heard, garbage),
        attack("LSD: hashes of others, as many as fit", "datagrams", Bound::new(8, 8, 30), others),
        attack("LSD: a torrent of ours at every port", "datagrams", dialled, ours),
        attack("gateway: garbage, and descriptions without end", "answers", asked, gateway),
    ]
}

/// Says to the group what `make` gives for each number, until the time is over.
fn flood(field: &Field<'_>, make: &dyn Fn(usize) -> Vec<u8>) -> u64 {
    let Some(lan) = field.lan else { return 0 };
    lan.cross();
    let ear = Ear::open(true);
    field.paced(|n| ear.say(&make(n)))
}

fn random<const N: usize>() -> [u8; N] {
    std::array::from_fn(|_| fastrand::u8(..))
}

fn garbage(field: &Field<'_>) -> u64 {
    flood(field, &|n| std::iter::repeat_with(|| fastrand::u8(..)).take(n % 1400).collect())
}

fn announcement(number: usize, hashes: Vec<WireHash>) -> Vec<u8> {
    let port = NonZeroU16::new(1024 + (number % 60_000) as u16).unwrap_or(NonZeroU16::MAX);
    Announcement { port, hashes, cookie: "theirs" }.encode(wgo_proto::lsd::GROUP_V4)
}

fn others(field: &Field<'_>) -> u64 {
    flood(field, &|n| announcement(n, (0..HASHES).map(|_| WireHash(random())).collect()))
}

fn ours(field: &Field<'_>) -> u64 {
    flood(field, &|n| announcement(n, vec![field.fetched.hash()]))
}

/// Becomes the daemon's gateway, which it asks then in all ways in turn, and answers each question with many things that
/// are none. The attack's time is counted from when it has come to the last.
fn gateway(field: &Field<'_>) -> u64 {
    let Some(lan) = field.lan else { return 0 };
    let span = field.end.saturating_duration_since(Instant::now());
    lan.cross();
    let IpAddr::V4(here) = lan.theirs(true) else { return 0 };
    let web = Web::start(here.into(), |caller| {
        caller.request()?;
        caller.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\n\r\n<?xml version=\"1.0\"?>")?;
        caller.endless(&b"<root><device>".repeat(1000))
    });
    let [mapping, search] = [MAPPING, SEARCH].map(|port| {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap();
        socket.set_read_timeout(Some(TICK)).unwrap();
        socket
    });
    search.join_multicast_v4(&SEARCH_GROUP, &here).unwrap();
    lan.lead(true);
    let (mut end, mut searched, mut answers, mut question) = (Instant::now() + NOTICED, false, 0, [0; 2048]);
    while Instant::now() < end {
        if let Ok((_, from)) = mapping.recv_from(&mut question) {
            (0..ANSWERS).for_each(|n| say(&mapping, from, &no_mapping(n)));
            answers += ANSWERS;
        }
        if let Ok((_, from)) = search.recv_from(&mut question) {
            (0..ANSWERS).for_each(|n| say(&search, from, &description(&web, n)));
            answers += ANSWERS;
            if !std::mem::replace(&mut searched, true) {
                end = Instant::now() + span;
            }
        }
    }
    lan.lead(false);
    if searched { answers as u64 } else { 0 }
}

/// That nobody listens any more is no concern of the attacker's.
fn say(socket: &UdpSocket, to: SocketAddr, bytes: &[u8]) {
    let _ = socket.send_to(bytes, to);
}

/// What begins like an answer of NAT-PMP or PCP, mostly.
fn no_mapping(n: usize) -> Vec<u8> {
    let mut bytes: [u8; 64] = random();
    bytes[..4].copy_from_slice(&[(n % 3) as u8, 0x80 | (n % 4) as u8, 0, (n % 14) as u8]);
    bytes[..bytes.len() - n % 60].to_vec()
}

fn description(web: &Web, n: usize) -> Vec<u8> {
    let addr = web.addr();
    let kind = "urn:schemas-upnp-org:device:InternetGatewayDevice:1";
    let head = format!("HTTP/1.1 200 OK\r\nST: {kind}\r\nUSN: uuid:{n}\r\n");
    format!("{head}LOCATION: http://{addr}/{n}\r\n\r\n").into_bytes()
}
