//! Whom we have nothing to do with: who did us wrong, and whom the operator's filter has.
//!
//! Bans are each torrent's own. Wrong blocks may come of one bad disk or one wrong copy at the other end, which says
//! nothing of its other torrents; and an address may be that of a whole town behind one router, which would
//! then be lost to all torrents by what one of its people did to one of them.
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::bans::{Ban, Reason, covered};
use super::{Candidate, PeerMgr};
use crate::Time;
use crate::ip_filter::IpFilter;

impl PeerMgr {
    /// Has nothing to do with an address any more (IPv6: with its /64). Returns the connections to close;
    /// report them as closed as usual.
    pub fn ban(&mut self, now: Time, ip: IpAddr, reason: Reason) -> Vec<SocketAddr> {
        self.bans.ban(now, ip, reason);
        for addr in self.table.within(covered(ip)).map(|(addr, _)| addr).collect::<Vec<_>>() {
            self.drop_if_idle(addr);
        }
        self.connections.range(covered(ip)).map(|(&addr, _)| addr).collect()
    }

    /// Another filter of the operator's. The connections that it has, the caller closes.
    pub fn set_filter(&mut self, filter: Arc<IpFilter>) {
        self.filter = filter;
        let blocked = self.table.iter().map(|(addr, _)| addr).filter(|addr| self.filter.blocks(addr.ip()));
        for addr in blocked.collect::<Vec<_>>() {
            self.drop_if_idle(addr);
        }
    }

    /// Lifts a ban; `false` if there is none.
    pub fn unban(&mut self, ip: IpAddr) -> bool {
        self.bans.lift(ip).is_some()
    }

    /// Whether the address is banned. Asked for each incoming connection, before its handshake.
    pub fn is_banned(&self, ip: IpAddr) -> bool {
        self.ban_of(ip).is_some()
    }

    /// The ban that covers an address.
    pub fn ban_of(&self, ip: IpAddr) -> Option<Ban> {
        self.bans.of(ip)
    }

    /// All bans in force.
    pub fn bans(&self, now: Time) -> impl Iterator<Item = (IpAddr, Ban)> {
        self.bans.iter().filter(move |(_, ban)| ban.until > now)
    }

    pub(super) fn drop_if_idle(&mut self, addr: SocketAddr) {
        if self.table.get(addr).is_some_and(Candidate::is_idle) {
            self.table.remove(addr);
        }
    }
}
