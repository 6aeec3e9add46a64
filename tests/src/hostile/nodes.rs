//! Nodes of the DHT that flood ours: with garbage, questions, announcements, items, and answers to nothing (BEP 5, 44, 51).
use std::net::UdpSocket;
use std::time::Duration;

use super::attack::{Attack, Bound, Field};

/// An answer comes within this.
const ANSWER: Duration = Duration::from_millis(200);

/// What is done by UDP.
pub fn attacks() -> Vec<Attack> {
    let attack = |name, unit, bound, run| Attack { name, unit, bound, run };
    // A datagram is read and looked at; few are answered.
    let heard = Bound::new(8, 8, 15);
    vec![
        attack("DHT: garbage", "datagrams", heard, garbage),
        attack("DHT: pings of one address", "datagrams", heard, pings),
        attack("DHT: find_node of thousands of addresses", "datagrams", heard, find_node),
        attack("DHT: get_peers of all hashes", "datagrams", heard, get_peers),
        attack("DHT: sample_infohashes of thousands of addresses", "datagrams", heard, samples),
        attack("DHT: announce_peer with forged tokens", "datagrams", heard, forged),
        // 32,768 peers of 8192 torrents are kept.
        attack(
            "DHT: announce_peer with tokens as they should be",
            "datagrams",
            Bound::new(16, 8, 30),
            announces,
        ),
        attack("DHT: items of 1000 bytes", "datagrams", heard, items),
        attack("DHT: answers to nothing", "datagrams", heard, answers),
        attack("DHT: nested beyond reason", "datagrams", heard, nested),
    ]
}

/// Sends datagrams from `sources` addresses, in turn, each made by `make`.
fn flood(field: &Field<'_>, sources: usize, make: &dyn Fn(usize) -> Vec<u8>) -> u64 {
    let bind = |n| UdpSocket::bind((field.attacker(n), 0)).unwrap();
    let sockets: Vec<UdpSocket> = (0..sources).map(bind).collect();
    field.paced(|n| {
        // What the system drops is no concern of the attacker's.
        let _ = sockets[n % sources].send_to(&make(n), field.to);
    })
}

fn random(len: usize) -> Vec<u8> {
    std::iter::repeat_with(|| fastrand::u8(..)).take(len).collect()
}

fn query(method: &str, arguments: &[&[u8]]) -> Vec<u8> {
    let arguments = arguments.concat();
    let tail = format!("e1:q{}:{method}1:t2:aa1:y1:qe", method.len());
    [b"d1:ad2:id20:".as_slice(), &random(20), &arguments, tail.as_bytes()].concat()
}

fn garbage(field: &Field<'_>) -> u64 {
    flood(field, field.many(50, 1000), &|n| random(20 + n % 1200))
}

fn pings(field: &Field<'_>) -> u64 {
    flood(field, 1, &|_| query("ping", &[]))
}

fn find_node(field: &Field<'_>) -> u64 {
    flood(field, field.many(500, 4000), &|_| query("find_node", &[b"6:target20:", &random(20)]))
}

fn get_peers(field: &Field<'_>) -> u64 {
    flood(field, field.many(500, 4000), &|_| query("get_peers", &[b"9:info_hash20:", &random(20)]))
}

/// The question of those who list all that is shared (BEP 51).
fn samples(field: &Field<'_>) -> u64 {
    flood(field, field.many(500, 4000), &|_| query("sample_infohashes", &[b"6:target20:", &random(20)]))
}

fn announce(hash: &[u8], port: u16, token: &[u8]) -> Vec<u8> {
    let port = format!("4:porti{port}e5:token{}:", token.len());
    query("announce_peer", &[b"9:info_hash20:", hash, port.as_bytes(), token])
}

fn forged(field: &Field<'_>) -> u64 {
    flood(field, field.many(500, 4000), &|n| announce(&random(20), 1024 + n as u16 % 9000, &random(8)))
}

/// The token that the daemon gives to an address.
fn token(field: &Field<'_>, socket: &UdpSocket) -> Option<Vec<u8>> {
    let mut answer = [0; 1500];
    socket.set_read_timeout(Some(ANSWER)).unwrap();
    socket.send_to(&query("get_peers", &[b"9:info_hash20:", &random(20)]), field.to).ok()?;
    let (len, _) = socket.recv_from(&mut answer).ok()?;
    let at = answer[..len].windows(9).position(|window| window == b"5:token8:")? + 9;
    answer.get(at..at + 8).map(<[u8]>::to_vec)
}

/// Each address asks first, as it should, and then announces without end.
fn announces(field: &Field<'_>) -> u64 {
    // Who asks for more is limited, and gets none.
    let wanted = field.many(20, 60);
    let mut known = Vec::new();
    for n in 0..wanted {
        let socket = UdpSocket::bind((field.attacker(n), 0)).unwrap();
        if let Some(token) = token(field, &socket) {
            known.push((socket, token));
        }
        if field.over() {
            break;
        }
    }
    assert!(!known.is_empty(), "somebody is given a token");
    let sent = field.paced(|n| {
        let (socket, token) = &known[n % known.len()];
        let _ = socket.send_to(&announce(&random(20), n as u16 | 1, token), field.to);
    });
    sent + known.len() as u64
}

fn items(field: &Field<'_>) -> u64 {
    let value = "v".repeat(990);
    flood(field, field.many(200, 2000), &|_| {
        query("put", &[b"5:token8:", &random(8), b"1:v990:", value.as_bytes()])
    })
}

fn answers(field: &Field<'_>) -> u64 {
    flood(field, field.many(500, 4000), &|_| {
        [
            b"d1:rd2:id20:".as_slice(),
            &random(20),
            b"5:nodes208:",
            &random(208),
            b"e1:t2:",
            &random(2),
            b"1:y1:re",
        ]
        .concat()
    })
}

fn nested(field: &Field<'_>) -> u64 {
    flood(field, field.many(50, 1000), &|_| [vec![b'l'; 700], vec![b'e'; 700]].concat())
}
