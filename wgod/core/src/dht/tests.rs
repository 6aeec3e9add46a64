//! Tests of the node as a whole: alone against packets that are made by hand, and among others.
mod answering;
mod asking;
mod hostile;
mod net;

use super::*;
use std::time::Duration;
use wgo_proto::krpc::Response;

fn secs(secs: u64) -> Time {
    Time::from_start(Duration::from_secs(secs))
}

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn hash(n: u8) -> WireHash {
    WireHash([n; 20])
}

/// A node of an IPv4 address that knows nobody.
fn lone(config: Config) -> Dht {
    Dht::new(secs(0), Config { verify: Some(item_store::tests::verify), ..config }, 1)
}

/// What it sends in answer to a packet.
fn told(dht: &mut Dht, now: Time, from: SocketAddr, packet: &Packet<'_>) -> Vec<Transmit> {
    let mut bytes = Vec::new();
    packet.encode(&mut bytes);
    dht.handle_datagram(now, from, &bytes);
    dht.check_invariants();
    std::iter::from_fn(|| dht.poll_transmit()).collect()
}

fn query(method: Method<'_>) -> Packet<'_> {
    let body = Body::Query(Query { id: NodeId([0x55; 20]), read_only: false, method });
    Packet { transaction: b"t1", version: None, ip: None, body }
}

/// The answer to a query; fails when there is none.
fn answer<R>(
    dht: &mut Dht,
    now: Time,
    from: SocketAddr,
    method: Method<'_>,
    read: impl FnOnce(&Packet<'_>) -> R,
) -> R {
    let sent = told(dht, now, from, &query(method));
    let reply = sent.iter().find(|sent| {
        let packet = Packet::decode(&sent.datagram).unwrap();
        packet.transaction == b"t1" && !matches!(packet.body, Body::Query(_))
    });
    let reply = reply.unwrap_or_else(|| panic!("no answer to {method:?}"));
    assert_eq!(reply.to, from);
    read(&Packet::decode(&reply.datagram).unwrap())
}

fn response<R>(
    dht: &mut Dht,
    now: Time,
    from: SocketAddr,
    method: Method<'_>,
    read: impl FnOnce(&Response<'_>) -> R,
) -> R {
    answer(dht, now, from, method, |packet| match &packet.body {
        Body::Response(response) => read(response),
        other => panic!("{other:?}"),
    })
}

fn refusal(dht: &mut Dht, now: Time, from: SocketAddr, method: Method<'_>) -> i64 {
    answer(dht, now, from, method, |packet| match &packet.body {
        Body::Error(error) => error.code.0,
        other => panic!("{other:?}"),
    })
}

fn get_peers(n: u8) -> Method<'static> {
    Method::GetPeers { info_hash: hash(n), want: None, noseed: false, scrape: false }
}

fn token(dht: &mut Dht, now: Time, from: SocketAddr, n: u8) -> Vec<u8> {
    response(dht, now, from, get_peers(n), |response| response.token.unwrap().to_vec())
}
