//! The whole ladder against a gateway that is simulated, with a clock that the tests turn.
mod gateway;
mod hostile;
mod ladder;

use std::net::Ipv4Addr;
use std::time::Duration;

use wgo_proto::portmap::Transport;

use super::*;
use gateway::Gateway;

const LOCAL: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 5);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 1);
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);

const LINK: Link = Link { gateway: GATEWAY, local: LOCAL };

const WANTS: [Want; 2] = [
    Want { transport: Transport::Tcp, port: 6868, nonce: *b"for tcp here" },
    Want { transport: Transport::Udp, port: 6868, nonce: *b"for udp here" },
];

/// A machine, its gateway and the time.
struct Rig {
    map: PortMap,
    gateway: Gateway,
    now: Time,
}

impl Rig {
    fn new(gateway: Gateway) -> Rig {
        let mut rig = Rig { map: PortMap::new(7, &WANTS), gateway, now: Time::from_start(secs(1000)) };
        rig.map.set_link(rig.now, Some(LINK));
        rig.settle();
        rig
    }

    /// Carries out what is to be done, and hands back what comes of it, until nothing more is to be done now.
    fn settle(&mut self) {
        for _ in 0..100 {
            let Some(action) = self.map.poll_action() else { return };
            self.gateway.carry_out(self.now, &action, &mut self.map);
        }
        panic!("they never come to rest");
    }

    /// Lets time pass.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.map.next_timeout().filter(|at| *at <= end) {
            assert!(at > self.now, "time stands still at {at:?}: {:?}", self.map);
            self.now = at;
            self.map.handle_timeout(at);
            self.settle();
        }
        self.now = end;
        self.map.handle_timeout(end);
        self.settle();
    }

    /// Ports and protocols that are mapped, as the machine sees it.
    fn mapped(&self) -> Vec<(Transport, u16, Protocol)> {
        self.map.leases().map(|(want, lease)| (want.transport, lease.external, lease.protocol)).collect()
    }

    fn standing(&self, protocol: Protocol) -> Standing {
        self.map.standings().find(|(other, _)| *other == protocol).unwrap().1.clone()
    }
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}
