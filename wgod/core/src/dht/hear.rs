//! What becomes of our own queries: answers, refusals, silence.
use std::net::SocketAddr;

use wgo_proto::compact::Family;
use wgo_proto::krpc::{Contact, Packet, Response};

use super::Dht;
use super::pending::{Overdue, Purpose, Waiting};
use crate::Time;

impl Dht {
    /// A response. It counts when it comes from whom we asked, under our transaction.
    pub(super) fn on_response(
        &mut self,
        now: Time,
        from: SocketAddr,
        packet: &Packet<'_>,
        response: &Response<'_>,
    ) {
        let Some(waiting) = self.answered(now, from, packet) else { return };
        let family = Family::of(&from);
        let Some(overlay) = self.overlay_mut(family) else { return };
        // A node may answer under another id than the one we were told, which then counts for nothing: it was
        // restarted, or somebody made up an id near the target for it. What it says itself is judged by itself.
        let is_other = response.id != overlay.table.own();
        if is_other {
            overlay.table.on_answer(now, Contact { id: response.id, addr: from });
        }
        match waiting.purpose {
            Purpose::Ping => {}
            Purpose::Ask(lookup) => self.on_answer(now, lookup, from, Some(response).filter(|_| is_other)),
            Purpose::Store(lookup) => self.on_stored(now, lookup, from, is_other),
        }
    }

    /// An error: the node is there, but is of no use for what we wanted.
    pub(super) fn on_refusal(&mut self, now: Time, from: SocketAddr, packet: &Packet<'_>) {
        let Some(waiting) = self.answered(now, from, packet) else { return };
        match waiting.purpose {
            Purpose::Ping => {}
            Purpose::Ask(lookup) => self.on_answer(now, lookup, from, None),
            Purpose::Store(lookup) => self.on_stored(now, lookup, from, false),
        }
    }

    /// The query that a packet answers. Only then its sender may vote on our address.
    fn answered(&mut self, now: Time, from: SocketAddr, packet: &Packet<'_>) -> Option<Waiting> {
        let Some(waiting) = self.pending.take(packet.transaction, from) else {
            self.counted.unexpected += 1;
            return None;
        };
        self.counted.replies += 1;
        let family = Family::of(&from);
        let overlay = self.overlay_mut(family)?;
        overlay.trips.sample(now.since(waiting.sent));
        let elected = packet.ip.and_then(|seen| overlay.votes.cast(from, seen));
        if let Some(ip) = elected {
            self.is_at(now, family, ip);
        }
        Some(waiting)
    }

    /// Queries that took too long.
    pub(super) fn on_overdue(&mut self, now: Time) {
        while let Some((waiting, overdue)) = self.pending.overdue(now) {
            if overdue == Overdue::Lost {
                self.counted.timeouts += 1;
                if let Some(overlay) = self.overlay_mut(Family::of(&waiting.to)) {
                    overlay.table.on_failure(now, waiting.to);
                }
            }
            match (waiting.purpose, overdue) {
                (Purpose::Ping, _) | (Purpose::Store(_), Overdue::Late) => {}
                (Purpose::Ask(lookup), Overdue::Late) => self.on_late(now, lookup, waiting.to),
                (Purpose::Ask(lookup), Overdue::Lost) => self.on_answer(now, lookup, waiting.to, None),
                (Purpose::Store(lookup), Overdue::Lost) => self.on_not_stored(now, lookup, waiting.to),
            }
        }
    }
}
