//! What holds of a lane at any time.
use super::{Lane, Place};

impl Lane {
    /// Panics when the books contradict each other.
    pub(in super::super) fn check_invariants(&self) {
        assert_eq!(self.by_id.len(), self.torrents.iter().count());
        let (mut held, mut queued) = (0, 0);
        for (t, torrent) in self.torrents.iter() {
            assert_eq!(self.by_id.get(&torrent.id), Some(&t));
            assert!(torrent.flows > 0 || torrent.bucket.is_some(), "an unused torrent is forgotten");
            assert_eq!(torrent.place == Place::Idle, torrent.queue.is_empty(), "{:?}", torrent.place);
            queued += torrent.queue.len();
            if let Place::Held(at) = torrent.place {
                held += 1;
                assert!(self.held.contains(&(at, t)));
            }
            assert!(torrent.classes.is_sorted_by(|a, b| a.0 < b.0), "each class once, in order");
            let passed = match torrent.place {
                Place::Queued(at) => at,
                Place::Idle | Place::Held(_) | Place::Stopped => 0,
            };
            let paid = torrent.classes.iter().filter(|(_, seat)| seat.paid().is_some()).count();
            assert_eq!(paid, passed, "{:?}", torrent.place);
        }
        assert_eq!(held, self.held.len());
        let seats = self.torrents.iter().map(|(t, torrent)| (t, &torrent.global));
        self.global.check_invariants(seats);
        for (class, gate) in &self.classes {
            let seats = self.torrents.iter().flat_map(|(t, torrent)| {
                torrent.classes.iter().filter(|(id, _)| id == class).map(move |(_, seat)| (t, seat))
            });
            gate.check_invariants(seats);
        }
        for (slot, flow) in self.flows.iter() {
            if let Some(request) = flow.request {
                assert!(request.want > 0);
                assert_eq!(self.torrents[flow.torrent].queue.get(&request.number), Some(&slot));
                queued -= 1;
            }
        }
        assert_eq!(queued, 0, "each queued number is a request");
    }
}
