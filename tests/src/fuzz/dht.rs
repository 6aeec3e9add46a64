//! The DHT: its packets, what is kept of it, and a whole node among hostile ones (BEP 5, 32, 33, 42, 43, 44, 51).
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use wgo_core::Time;
use wgo_core::dht::{Announce, Config, Dht, PeersWanted, snapshot::Snapshot};
use wgo_proto::compact::Family;
use wgo_proto::krpc::{MAX_SENT, Packet};
use wgo_proto::{NodeId, WireHash};

use super::Reader;

/// A packet says the same when it is written and read again.
pub(super) fn krpc(data: &[u8]) {
    let Ok(packet) = Packet::decode(data) else { return };
    let mut written = Vec::new();
    packet.encode(&mut written);
    assert_eq!(Packet::decode(&written).as_ref(), Ok(&packet));
    assert!(written.len() <= data.len() + 64, "{} bytes from {}", written.len(), data.len());
}

/// What is damaged counts as not known, and the rest is kept.
pub(super) fn snapshot(data: &[u8]) {
    let read = Snapshot::decode(data);
    let written = read.encode();
    assert_eq!(Snapshot::decode(&written), read);
    let now = Time::from_start(Duration::from_secs(1));
    let mut dht = Dht::new(now, Config::default(), 1);
    dht.restore(now, &read);
    dht.check_invariants();
    _ = dht.snapshot();
}

/// A node that hears anything from anybody, among commands and time: it stays within its bounds. A datagram of an
/// operation is taken as it is, or as an answer to what the node last asked.
pub(super) fn node(data: &[u8]) {
    let mut reader = Reader::new(data);
    let mut now = Time::from_start(Duration::from_secs(1000));
    let mut dht = Dht::new(now, Config::default(), u64::from(reader.byte()));
    dht.add_routers(now, &[source(1), source(200)]);
    let mut asked: Option<(SocketAddr, Vec<u8>)> = None;
    let mut sent = 0;
    while !reader.is_empty() {
        match reader.byte() % 8 {
            0 => now += Duration::from_millis(u64::from(reader.short()) * 20),
            1 => {
                let family = if reader.byte().is_multiple_of(2) { Family::V4 } else { Family::V6 };
                let announce = Some(Announce { port: Some(6868), seed: reader.byte().is_multiple_of(2) });
                let wanted = PeersWanted { announce, noseed: false, scrape: reader.byte() > 200 };
                dht.get_peers(now, WireHash([reader.byte(); 20]), family, wanted);
            }
            2 => _ = dht.get_item(now, NodeId([reader.byte(); 20]), reader.bytes(4), Family::V4),
            3 => dht.add_node(now, source(reader.byte())),
            4 => {
                if let Some((from, transaction)) = &asked {
                    let answer =
                        [b"d1:rd2:id20:", &reader.array::<20>()[..], reader.sized(), b"e1:t"].concat();
                    let len = format!("{}:", transaction.len());
                    let answer = [&answer[..], len.as_bytes(), transaction, b"1:y1:re"].concat();
                    dht.handle_datagram(now, *from, &answer);
                }
            }
            _ => dht.handle_datagram(now, source(reader.byte()), reader.sized()),
        }
        if dht.poll_timeout() <= now {
            dht.handle_timeout(now);
        }
        while let Some(transmit) = dht.poll_transmit() {
            assert!(transmit.datagram.len() <= MAX_SENT, "{} bytes", transmit.datagram.len());
            let packet = Packet::decode(&transmit.datagram).expect("what we send we read");
            asked = Some((transmit.to, packet.transaction.to_vec()));
            sent += 1;
        }
        while dht.poll_event().is_some() {}
        dht.check_invariants();
    }
    assert!(sent <= 64 * data.len() + 64, "{sent} packets for {} bytes", data.len());
}

/// One of a few hosts of either family.
fn source(n: u8) -> SocketAddr {
    match n {
        0..128 => SocketAddr::from((Ipv4Addr::new(8, n % 4, n / 4, 9), 6000 + u16::from(n))),
        128.. => SocketAddr::from((Ipv6Addr::new(0x2600, n.into(), 0, 0, 0, 0, 0, 1), 6881)),
    }
}
