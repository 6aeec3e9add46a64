//! Port mapping beside a gateway that says anything (RFC 6886, 6887, UPnP); and local service discovery beside
//! neighbours that do (BEP 14).
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use wgo_core::Time;
use wgo_core::lsd::Announcer;
use wgo_core::portmap::{Action, Link, Phase, PortMap, Told, Want};
use wgo_proto::WireHash;
use wgo_proto::lsd::MAX_HASHES;
use wgo_proto::portmap::upnp::{Call, Fault};
use wgo_proto::portmap::{Transport, pcp};

use super::Reader;

/// Requests that one event leads to at most.
const AT_ONCE: usize = 4;

struct Gateway {
    map: PortMap,
    now: Time,
    wants: [Want; 2],
    /// What was last asked of it.
    asked: Option<Action>,
    sent: usize,
}

/// Whatever comes, a lease is one that was asked for, in force and of use; and requests are paced.
pub(super) fn portmap(data: &[u8]) {
    let mut reader = Reader::new(data);
    let want = |transport, nonce| Want { transport, port: 6868, nonce };
    let wants = [want(Transport::Tcp, *b"aaaaaaaaaaaa"), want(Transport::Udp, *b"bbbbbbbbbbbb")];
    let map = PortMap::new(u64::from(reader.byte()), &wants);
    let mut gateway =
        Gateway { map, now: Time::from_start(Duration::from_secs(9)), wants, asked: None, sent: 0 };
    let mut events = 0;
    while !reader.is_empty() {
        events += 1;
        gateway.step(&mut reader);
        gateway.carry_out();
        gateway.check();
    }
    assert!(gateway.sent <= AT_ONCE * events, "{} requests after {events} events", gateway.sent);
    gateway.close();
}

impl Gateway {
    fn step(&mut self, reader: &mut Reader<'_>) {
        let op = reader.byte();
        match op % 10 {
            0 => {
                let link =
                    Link { gateway: Ipv4Addr::new(10, 0, 0, 1), local: Ipv4Addr::new(10, 0, 0, op >> 4) };
                self.map.set_link(self.now, (op < 200).then_some(link));
            }
            1 => self.now += Duration::from_millis(u64::from(reader.short())),
            2 => self.now += Duration::from_secs(u64::from(reader.byte()) * 16),
            3 => self.map.handle_unreachable(self.now),
            4 => self.map.handle_announcement(self.now, reader.sized()),
            5 => self.map.handle_packet(self.now, reader.sized()),
            6 => {
                let id = u64::from(reader.byte());
                self.map.handle_upnp(self.now, id, told(reader));
            }
            _ => self.answer(reader),
        }
        if self.map.next_timeout().is_some_and(|at| at <= self.now) {
            self.map.handle_timeout(self.now);
        }
    }

    /// The answer to what was asked last, or nearly.
    fn answer(&mut self, reader: &mut Reader<'_>) {
        match self.asked.clone() {
            Some(Action::Send(asked)) => {
                let mut answer = asked;
                answer[1] |= 0x80;
                match answer[0] {
                    pcp::VERSION => {
                        answer[3] = reader.byte() % 16;
                        answer[4..12].copy_from_slice(&reader.array::<8>());
                        answer[42..44].copy_from_slice(&reader.array::<2>());
                    }
                    _ => {
                        let (head, code) = ([answer[0], answer[1], 0], reader.byte() % 8);
                        let rest = reader.array::<12>();
                        let ports = answer.get(4..6).map_or([0, 0], |port| [port[0], port[1]]);
                        answer = [&head[..], &[code], &rest[..4], &ports, &rest[4..10]].concat();
                    }
                }
                if let Some(byte) = answer.get_mut(usize::from(reader.byte())) {
                    *byte = reader.byte();
                }
                self.map.handle_packet(self.now, &answer);
            }
            Some(Action::Find(id) | Action::Call(id, _)) => self.map.handle_upnp(self.now, id, told(reader)),
            None => {}
        }
    }

    fn carry_out(&mut self) {
        let mut count = 0;
        while let Some(action) = self.map.poll_action() {
            count += 1;
            let Phase::Active(_) = self.map.phase() else { panic!("{action:?} while nothing is to be done") };
            let link = self.map.link().expect("nobody is asked without a gateway");
            if let Action::Call(_, Call::Add { client, external, .. }) = &action {
                assert!(*client == (link.local, 6868) && *external != 0);
            }
            self.asked = Some(action);
        }
        assert!(count <= AT_ONCE, "{count} requests at once");
        self.sent += count;
    }

    fn check(&self) {
        assert!(self.map.next_timeout().is_none_or(|at| at > self.now), "it would be called for ever");
        for (want, lease) in self.map.leases() {
            assert!(self.wants.contains(&want) && lease.external != 0 && self.map.link().is_some());
            assert!(lease.until.is_none_or(|until| until > self.now), "{lease:?} is over");
            assert!(lease.address.is_none_or(|address| !address.is_unspecified()));
        }
    }

    /// What was mapped is taken back, and nothing is asked any more.
    fn close(mut self) {
        let (leases, linked) = (self.map.leases().count(), self.map.link().is_some());
        let removals = self.map.close();
        assert_eq!(removals.len(), if linked { leases } else { 0 });
        assert!(self.map.poll_action().is_none() && self.map.leases().next().is_none());
        self.map.handle_timeout(self.now + Duration::from_secs(100_000));
        assert!(self.map.poll_action().is_none());
    }
}

fn told(reader: &mut Reader<'_>) -> Told {
    match reader.byte() % 8 {
        0 | 1 => Told::Found,
        2 | 3 => Told::Done(Some(Ipv4Addr::from(reader.array::<4>()))),
        4 => Told::Done(None),
        5 => {
            let codes = [Fault::CONFLICT, Fault::ONLY_PERMANENT, 501, 0];
            Told::Refused(Fault {
                code: codes[usize::from(reader.byte()) % codes.len()],
                text: String::new(),
            })
        }
        6 => Told::Silent,
        _ => Told::Failed("no".to_owned()),
    }
}

/// Whatever neighbours say, what is announced is ours, in full within a bound, at one datagram a second.
pub(super) fn lsd_machine(data: &[u8]) {
    let mut reader = Reader::new(data);
    let mut announcer = Announcer::new(u64::from(reader.byte()));
    let begun = Time::from_start(Duration::from_secs(9));
    let (mut now, mut joined, mut datagrams) = (begun, BTreeSet::new(), 0);
    while !reader.is_empty() {
        let op = reader.byte();
        let hash = WireHash([reader.byte() % 40; 20]);
        match op % 8 {
            0 | 1 => {
                announcer.join(now, hash, op >= 128);
                joined.insert(hash);
            }
            2 => {
                announcer.leave(hash);
                joined.remove(&hash);
            }
            3 | 4 => {
                let from = SocketAddr::from(([10, 0, op >> 4, reader.byte()], 6881));
                assert_eq!(announcer.heard(now, hash, from, op >= 128), joined.contains(&hash));
            }
            5 => announcer.announce_all(now),
            _ => now += Duration::from_millis(u64::from(reader.short()) * u64::from(1 + op / 64)),
        }
        let named = announcer.take(now);
        datagrams += u64::from(!named.is_empty());
        assert!(named.len() <= MAX_HASHES && named.iter().all(|hash| joined.contains(hash)));
        assert_eq!(named.iter().collect::<BTreeSet<_>>().len(), named.len(), "named twice");
        assert!(datagrams <= now.since(begun).as_secs() + 1, "{datagrams} datagrams");
        announcer.check_invariants();
        assert!(announcer.poll_timeout().is_none_or(|at| at > now), "it would be asked for ever");
        assert_eq!(announcer.poll_timeout().is_some(), !joined.is_empty());
    }
    // Each is announced again within its time.
    let Some(_) = joined.first() else { return };
    let mut left = joined.clone();
    // Those that are new and those that are announced twice go before them.
    for _ in 0..=joined.len() * 3 {
        now = announcer.poll_timeout().unwrap_or(now).max(now);
        announcer.take(now).iter().for_each(|hash| _ = left.remove(hash));
    }
    assert!(left.is_empty(), "{} are never announced", left.len());
}
