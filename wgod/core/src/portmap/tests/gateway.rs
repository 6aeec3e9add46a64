//! A gateway: what it speaks, and what it has mapped.
use std::collections::BTreeMap;
use std::net::IpAddr;

use wgo_proto::portmap::upnp::{Call, Fault};
use wgo_proto::portmap::{Transport, nat_pmp, pcp};

use super::super::{Action, PortMap, Told};
use super::OUTSIDE;
use crate::Time;

/// How it deals with one protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speaks {
    /// It maps.
    Well,
    /// It says that it doesn't speak it.
    Not,
    /// It refuses.
    Refusing,
    /// It says nothing.
    Nothing,
    /// Nobody listens there, which it says.
    Unreachable,
}

#[derive(Clone, Debug)]
pub(super) struct Gateway {
    pub(super) pcp: Speaks,
    pub(super) nat_pmp: Speaks,
    pub(super) upnp: Speaks,
    pub(super) lifetime: u32,
    /// Since when it knows its mappings.
    pub(super) since: Time,
    /// By the port outside.
    pub(super) mappings: BTreeMap<(Transport, u16), u16>,
    /// Ports outside that others have.
    pub(super) taken: Vec<u16>,
    /// Whether leases by UPnP may end.
    pub(super) only_permanent: bool,
    /// Whether UDP is refused.
    pub(super) no_udp: bool,
    /// What it was asked: the time, and which of the protocols.
    pub(super) asked: Vec<(Time, &'static str)>,
}

impl Gateway {
    pub(super) fn new(pcp: Speaks, nat_pmp: Speaks, upnp: Speaks) -> Gateway {
        Gateway {
            pcp,
            nat_pmp,
            upnp,
            lifetime: 7200,
            since: Time::ZERO,
            mappings: BTreeMap::new(),
            taken: Vec::new(),
            only_permanent: false,
            no_udp: false,
            asked: Vec::new(),
        }
    }

    /// It has lost everything.
    pub(super) fn restart(&mut self, now: Time) {
        self.since = now;
        self.mappings.clear();
    }

    fn epoch(&self, now: Time) -> u32 {
        now.since(self.since).as_secs() as u32
    }

    pub(super) fn carry_out(&mut self, now: Time, action: &Action, map: &mut PortMap) {
        match action {
            Action::Send(packet) if packet[0] == pcp::VERSION => {
                self.asked.push((now, "pcp"));
                match self.pcp {
                    Speaks::Nothing => {}
                    Speaks::Unreachable => map.handle_unreachable(now),
                    Speaks::Not => map.handle_packet(now, &[0, 0x81, 0, 1, 0, 0, 0, 9]),
                    Speaks::Refusing => map.handle_packet(now, &self.pcp_answer(now, packet, 2)),
                    Speaks::Well => {
                        let answer = self.pcp_answer(now, packet, 0);
                        map.handle_packet(now, &answer);
                    }
                }
            }
            Action::Send(packet) => {
                self.asked.push((now, "nat-pmp"));
                match self.nat_pmp {
                    Speaks::Nothing => {}
                    Speaks::Unreachable => map.handle_unreachable(now),
                    Speaks::Not => map.handle_packet(now, &[0, 0x80 | packet[1], 0, 1, 0, 0, 0, 9]),
                    Speaks::Refusing => map.handle_packet(now, &[0, 0x80 | packet[1], 0, 2, 0, 0, 0, 9]),
                    Speaks::Well => {
                        let answer = self.nat_pmp_answer(now, packet);
                        map.handle_packet(now, &answer);
                    }
                }
            }
            Action::Find(id) => {
                self.asked.push((now, "find"));
                let told = match self.upnp {
                    Speaks::Well | Speaks::Refusing => Told::Found,
                    Speaks::Not => Told::Failed("no service".to_owned()),
                    Speaks::Nothing | Speaks::Unreachable => Told::Silent,
                };
                map.handle_upnp(now, *id, told);
            }
            Action::Call(id, call) => {
                self.asked.push((now, "upnp"));
                let told = self.call(call);
                map.handle_upnp(now, *id, told);
            }
        }
    }

    /// The port outside that it gives; one that is free instead of one that is taken.
    fn give(&mut self, transport: Transport, internal: u16, external: u16) -> u16 {
        let wanted = if external == 0 { internal } else { external };
        let given = (wanted..).find(|port| !self.taken.contains(port)).unwrap();
        self.mappings.insert((transport, given), internal);
        given
    }

    fn take_back(&mut self, transport: Transport, internal: u16) {
        self.mappings.retain(|key, to| (key.0, *to) != (transport, internal));
    }

    fn pcp_answer(&mut self, now: Time, packet: &[u8], code: u8) -> Vec<u8> {
        let port = |at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
        let transport = if packet[36] == 6 { Transport::Tcp } else { Transport::Udp };
        let asked = u32::from_be_bytes([packet[4], packet[5], packet[6], packet[7]]);
        let code = if self.no_udp && transport == Transport::Udp { 8 } else { code };
        let external = match (code, asked) {
            (0, 0) => {
                self.take_back(transport, port(40));
                0
            }
            (0, _) => self.give(transport, port(40), port(42)),
            _ => 0,
        };
        let mut answer = vec![pcp::VERSION, 0x81, 0, code];
        answer.extend(self.lifetime.min(asked).to_be_bytes());
        answer.extend(self.epoch(now).to_be_bytes());
        answer.extend([0; 12]);
        answer.extend(&packet[24..42]);
        answer.extend(external.to_be_bytes());
        let IpAddr::V4(outside) = IpAddr::from(OUTSIDE) else { unreachable!() };
        answer.extend(outside.to_ipv6_mapped().octets());
        answer
    }

    fn nat_pmp_answer(&mut self, now: Time, packet: &[u8]) -> Vec<u8> {
        let mut answer = vec![0, 0x80 | packet[1], 0, 0];
        answer.extend(self.epoch(now).to_be_bytes());
        if packet[1] == 0 {
            answer.extend(OUTSIDE.octets());
            return answer;
        }
        let transport = if packet[1] == 2 { Transport::Tcp } else { Transport::Udp };
        let port = |at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
        let asked = u32::from_be_bytes([packet[8], packet[9], packet[10], packet[11]]);
        let external = match asked {
            0 => {
                self.take_back(transport, port(4));
                0
            }
            _ => self.give(transport, port(4), port(6)),
        };
        answer.extend(&packet[4..6]);
        answer.extend(external.to_be_bytes());
        answer.extend(self.lifetime.min(asked).to_be_bytes());
        answer
    }

    fn call(&mut self, call: &Call) -> Told {
        let fault = |code| Told::Refused(Fault { code, text: "no".to_owned() });
        match *call {
            _ if self.upnp == Speaks::Nothing => Told::Silent,
            Call::ExternalAddress => Told::Done(Some(OUTSIDE)),
            Call::Add { .. } if self.upnp == Speaks::Refusing => fault(606),
            Call::Add { lease_secs: 1.., .. } if self.only_permanent => fault(Fault::ONLY_PERMANENT),
            Call::Add { external, .. } if self.taken.contains(&external) => fault(Fault::CONFLICT),
            Call::Add { transport, external, client, .. } => {
                self.mappings.insert((transport, external), client.1);
                Told::Done(None)
            }
            Call::Delete { transport, external } => match self.mappings.remove(&(transport, external)) {
                Some(_) => Told::Done(None),
                None => fault(714),
            },
        }
    }
}

/// What it is asked for nothing by.
pub(super) const fn announced_address(epoch: u8) -> [u8; 12] {
    let [a, b, c, d] = OUTSIDE.octets();
    [nat_pmp::VERSION, 0x80, 0, 0, 0, 0, 0, epoch, a, b, c, d]
}
