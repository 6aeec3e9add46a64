//! Where we are: addresses that are not dialled, and what the priority of others is computed from (BEP 40).
use std::net::SocketAddr;

use super::address::normal;
use super::{PeerMgr, canonical_priority};

/// Our own addresses that we remember; when there are more, the oldest are forgotten, and at worst
/// dialled once more.
pub(super) const MAX_OWN: usize = 32;

impl PeerMgr {
    /// Where we can be reached: the addresses we listen at, and what others say they see of us. These
    /// are not dialled, and canonical priorities are computed from the first of each family.
    pub fn set_own(&mut self, addrs: &[SocketAddr]) {
        let told: Vec<_> = addrs.iter().map(|&addr| normal(addr)).take(MAX_OWN).collect();
        if self.own[..self.told] == told {
            return;
        }
        let met = self.own.split_off(self.told);
        self.told = told.len();
        self.own = told;
        self.own.extend(met.into_iter().take(MAX_OWN - self.told));
        let public = || self.own[..self.told].iter().copied();
        self.own_v4 = public().find(|addr| addr.is_ipv4() && !addr.ip().is_loopback());
        self.own_v6 = public().find(|addr| addr.is_ipv6() && !addr.ip().is_loopback());
        for addr in self.own.clone() {
            self.drop_if_idle(addr);
        }
        let ranked: Vec<_> = self.table.iter().map(|(addr, _)| (addr, self.priority(addr))).collect();
        for (addr, priority) in ranked {
            self.table.update(addr, |candidate| candidate.priority = priority);
        }
    }

    /// The canonical priority of a connection to `addr` (BEP 40); zero while our own address is unknown.
    pub fn priority(&self, addr: SocketAddr) -> u32 {
        let addr = normal(addr);
        let own = if addr.is_ipv4() { self.own_v4 } else { self.own_v6 };
        own.map_or(0, |own| canonical_priority(own, addr))
    }

    /// A connection to this address led to ourselves: what we are told of our addresses is never all.
    pub(super) fn met_ourselves(&mut self, addr: SocketAddr) {
        if self.own.len() >= MAX_OWN && self.told < MAX_OWN {
            self.own.remove(self.told);
        }
        if self.own.len() < MAX_OWN {
            self.own.push(addr);
        }
    }
}
