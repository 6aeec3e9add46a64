//! Trackers that answer too much, too slowly, with lies, or never.
use std::io;
use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::attack::{Attack, Bound, Field};
use super::held::Held;
use super::web::{Caller, Web};
use crate::wait::pause;

/// Between two looks whether to end.
const TICK: Duration = Duration::from_millis(20);
/// Peers in an answer that has too many.
const MANY_PEERS: usize = 100_000;

/// What trackers do.
pub fn attacks() -> Vec<Attack> {
    let attack = |name, unit, bound, run| Attack { name, unit, bound, run };
    // An answer is read to a MiB at most, of each torrent's tracker; a torrent is some ten KiB.
    let answers = Bound::new(24, 60, 60_000);
    vec![
        attack("tracker: 100,000 peers in an answer", "requests", answers, many_peers),
        attack("tracker: a body without end", "requests", answers, endless),
        attack("tracker: a head without end", "requests", answers, endless_head),
        attack("tracker: a gzip bomb", "requests", answers, bomb),
        attack("tracker: an answer byte by byte", "requests", answers, slow),
        attack("tracker: redirects in a circle", "requests", answers, circle),
        attack("tracker: a redirect to this machine", "requests", answers, inwards),
        attack("tracker: an interval of 0", "requests", answers, |field| interval(field, "0")),
        attack("tracker: an interval below 0", "requests", answers, |field| interval(field, "-99999999999")),
        attack("tracker: nested beyond reason", "requests", answers, nested),
        attack(
            "100 trackers that never answer, for each torrent",
            "requests",
            Bound::new(32, 300, 30_000),
            hanging,
        ),
        attack("UDP tracker: other transactions", "datagrams", Bound::new(16, 60, 20), wrong_transactions),
        attack("UDP tracker: 50 answers for each question", "datagrams", Bound::new(16, 60, 30), chatty),
    ]
}

/// Has the daemon ask `trackers` for some torrents until the time is over.
fn ask(field: &Field<'_>, torrents: usize, trackers: &[String]) {
    let made = |n| Held::new(&format!("asked-{}-{n}.bin", field.run), 4, 16_384, trackers);
    let held: Vec<Held> = (0..torrents).map(made).collect();
    for held in &held {
        field.daemon.add(&held.torrent, &field.daemon.downloads(), &[]);
    }
    while !field.over() {
        pause(TICK);
    }
    held.iter().for_each(|held| field.daemon.remove(&held.torrent.id(), true));
}

/// Has some torrents announced to one that serves so.
fn served(field: &Field<'_>, serve: impl Fn(&mut Caller) -> io::Result<()> + Send + Sync + 'static) -> u64 {
    let web = Web::start(field.attacker(0), serve);
    ask(field, field.many(5, 20), &[web.announce()]);
    web.served()
}

fn many_peers(field: &Field<'_>) -> u64 {
    let packed: Vec<u8> = (0..MANY_PEERS as u32)
        .flat_map(|n| [(0x0b00_0000 + n * 77).to_be_bytes().as_slice(), &[0x1a, 0xe1]].concat())
        .collect();
    let body = [format!("d8:intervali1800e5:peers{}:", packed.len()).as_bytes(), &packed, b"e"].concat();
    served(field, move |caller| {
        caller.request()?;
        caller.answer("200 OK", &body)
    })
}

fn endless(field: &Field<'_>) -> u64 {
    served(field, |caller| {
        caller.request()?;
        caller.write(b"HTTP/1.1 200 OK\r\n\r\nd5:peers999999999:")?;
        caller.endless(&[0x55; 16_384])
    })
}

fn endless_head(field: &Field<'_>) -> u64 {
    served(field, |caller| {
        caller.request()?;
        caller.write(b"HTTP/1.1 200 OK\r\n")?;
        caller.endless(format!("X-{}: {}\r\n", fastrand::u64(..), "y".repeat(900)).as_bytes())
    })
}

fn bomb(field: &Field<'_>) -> u64 {
    let body = gzip_of_zeros(1 << 30);
    served(field, move |caller| {
        caller.request()?;
        caller.answer("200 OK\r\nContent-Encoding: gzip", &body)
    })
}

fn slow(field: &Field<'_>) -> u64 {
    served(field, |caller| {
        caller.request()?;
        caller.dribble(b"HTTP/1.1 200 OK\r\nX: ".iter().copied().chain(std::iter::repeat(b'y')))
    })
}

fn circle(field: &Field<'_>) -> u64 {
    served(field, |caller| {
        caller.request()?;
        caller.answer("302 Found\r\nLocation: /announce?again=1", b"")
    })
}

fn inwards(field: &Field<'_>) -> u64 {
    let inside = Web::start(std::net::Ipv4Addr::LOCALHOST.into(), |caller| {
        caller.request()?;
        caller.answer("200 OK", b"d8:intervali1800e5:peers0:e")
    });
    let location = format!("302 Found\r\nLocation: http://{}/secret?delete=all", inside.addr());
    let asked = served(field, move |caller| {
        caller.request()?;
        caller.answer(&location, b"")
    });
    assert_eq!(inside.served(), 0, "whoever redirects to this machine isn't followed");
    asked
}

fn interval(field: &Field<'_>, interval: &str) -> u64 {
    let body = format!("d8:intervali{interval}e12:min intervali{interval}e5:peers0:e");
    let torrents = field.many(5, 20) as u64;
    let asked = served(field, move |caller| {
        caller.request()?;
        caller.answer("200 OK", body.as_bytes())
    });
    // Started and, at the end, stopped; nothing between.
    assert!(
        asked <= torrents * 2 + 1,
        "{asked} requests of {torrents} torrents: an interval of 0 is believed"
    );
    asked
}

fn nested(field: &Field<'_>) -> u64 {
    let body = [vec![b'l'; 400_000], vec![b'e'; 400_000]].concat();
    served(field, move |caller| {
        caller.request()?;
        caller.answer("200 OK", &body)
    })
}

fn hanging(field: &Field<'_>) -> u64 {
    let webs: Vec<Web> = (0..100)
        .map(|n| {
            Web::start(field.attacker(n), |caller| {
                caller.request()?;
                caller.hang()
            })
        })
        .collect();
    let urls: Vec<String> = webs.iter().map(Web::announce).collect();
    ask(field, field.many(5, 20), &urls);
    webs.iter().map(Web::served).sum()
}

/// A UDP tracker that answers each datagram with those that `answer` gives.
fn udp(field: &Field<'_>, answer: &(dyn Fn(&[u8]) -> Vec<Vec<u8>> + Sync)) -> u64 {
    let socket = UdpSocket::bind((field.attacker(0), 0)).unwrap();
    socket.set_read_timeout(Some(TICK)).unwrap();
    let url = format!("udp://{}/announce", socket.local_addr().unwrap());
    let (done, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut buf = [0; 2048];
            let mut known = None;
            while !done.load(Ordering::Relaxed) {
                if let Ok((len, from)) = socket.recv_from(&mut buf) {
                    known = Some((from, buf[..len].to_vec()));
                }
                let Some((from, question)) = &known else { continue };
                for datagram in answer(question) {
                    // It may have closed its socket.
                    let _ = socket.send_to(&datagram, from);
                    sent.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        ask(field, field.many(5, 20), &[url]);
        done.store(true, Ordering::Relaxed);
    });
    sent.into_inner()
}

fn wrong_transactions(field: &Field<'_>) -> u64 {
    let burst = field.many(50, 1000);
    udp(field, &move |_| {
        let connect = || [[0; 4], fastrand::u32(..).to_be_bytes(), [1; 4], [2; 4]].concat();
        std::iter::repeat_with(connect).take(burst).collect()
    })
}

fn chatty(field: &Field<'_>) -> u64 {
    udp(field, &|question| {
        let (action, transaction) = (question.get(8..12), question.get(12..16));
        let (Some(action), Some(transaction)) = (action, transaction) else { return Vec::new() };
        let body = if action == [0; 4] { vec![7; 8] } else { vec![0; 12 + 6 * 200] };
        vec![[action, transaction, &body].concat(); 50]
    })
}

/// What gzip makes of so many zeros, as one block of deflate with fixed codes (RFC 1951, 3.2.6): a zero, then "258 bytes
/// from one byte ago" again and again. Each takes thirteen bits, so what eight of them look like comes again after as
/// many bytes.
fn gzip_of_zeros(len: usize) -> Vec<u8> {
    const PERIOD: usize = 13;
    let mut bits = Bits::default();
    bits.put(0b011, 3);
    // The literal 0.
    bits.put_reversed(0b0011_0000, 8);
    for _ in 0..16 {
        // Length 258 is code 285, of eight bits; distance 1 is code 0, of five.
        bits.put_reversed(0b1100_0101, 8);
        bits.put_reversed(0, 5);
    }
    let (head, rest) = bits.bytes.split_at(2);
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
    out.extend(head);
    out.extend(rest[..PERIOD].repeat(len / 258 / 8));
    out
}

#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    used: u32,
}

impl Bits {
    fn put(&mut self, value: u32, count: u32) {
        for at in 0..count {
            if self.used.is_multiple_of(8) {
                self.bytes.push(0);
            }
            let bit = (value >> at & 1) as u8;
            if let Some(last) = self.bytes.last_mut() {
                *last |= bit << (self.used % 8);
            }
            self.used += 1;
        }
    }

    fn put_reversed(&mut self, value: u32, count: u32) {
        self.put(value.reverse_bits() >> (32 - count), count);
    }
}
