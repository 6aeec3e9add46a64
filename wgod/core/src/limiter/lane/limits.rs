//! Which limits a lane has, and which torrents they are about.
use std::collections::BTreeSet;

use super::{Lane, Place};
use crate::limiter::ClassId;
use crate::limiter::bucket::Bucket;
use crate::limiter::gate::{Gate, Seat};
use crate::{ByteRate, Time, TorrentId};

impl Lane {
    pub(in super::super) fn set_global(&mut self, now: Time, limit: Option<ByteRate>) {
        self.now = self.now.max(now);
        self.global.set_limit(self.now, limit);
    }

    pub(in super::super) fn set_torrent(
        &mut self,
        now: Time,
        id: TorrentId,
        limit: Option<ByteRate>,
        classes: &[ClassId],
    ) {
        self.now = self.now.max(now);
        let known = self.by_id.get(&id).copied();
        let Some(t) = known.or_else(|| limit.map(|_| self.add_torrent(id, classes))) else { return };
        let torrent = &mut self.torrents[t];
        match (&mut torrent.bucket, limit) {
            (Some(bucket), Some(rate)) => bucket.set_rate(now, rate, !torrent.queue.is_empty()),
            (bucket, limit) => *bucket = limit.map(|rate| Bucket::new(now, rate)),
        }
        if matches!(torrent.place, Place::Held(_) | Place::Stopped) {
            self.leave(t);
            self.enter(t, true);
        }
        self.forget_if_unused(t);
    }

    /// Limits a class, whose torrents are told by `classes_of`.
    pub(in super::super) fn set_class<'a>(
        &mut self,
        now: Time,
        class: ClassId,
        limit: Option<ByteRate>,
        classes_of: impl Fn(TorrentId) -> &'a [ClassId],
    ) {
        self.now = self.now.max(now);
        if let (Some(gate), Some(_)) = (self.classes.get_mut(&class), limit) {
            return gate.set_limit(self.now, limit);
        }
        let members: Vec<(u32, TorrentId)> = self
            .torrents
            .iter()
            .filter(|(_, torrent)| classes_of(torrent.id).contains(&class))
            .map(|(t, torrent)| (t, torrent.id))
            .collect();
        match limit {
            Some(rate) => drop(self.classes.insert(class, Gate::new(self.now, rate))),
            None => {
                members.iter().for_each(|(t, _)| self.leave(*t));
                self.classes.remove(&class);
            }
        }
        members.into_iter().for_each(|(t, id)| self.seat(t, classes_of(id)));
    }

    /// A torrent is in these classes from now on.
    pub(in super::super) fn set_classes(&mut self, now: Time, id: TorrentId, classes: &[ClassId]) {
        self.now = self.now.max(now);
        if let Some(&t) = self.by_id.get(&id) {
            self.seat(t, classes);
        }
    }

    pub(in super::super) fn limit(&self, id: TorrentId, classes: &[ClassId]) -> Option<ByteRate> {
        let own = self.by_id.get(&id).and_then(|&t| self.torrents[t].bucket.as_ref()).map(Bucket::rate);
        let of_classes = classes.iter().filter_map(|class| self.classes.get(class)?.limit());
        own.into_iter().chain(self.global.limit()).chain(of_classes).min()
    }

    /// Has a torrent compete at the gates of these classes.
    pub(super) fn seat(&mut self, t: u32, classes: &[ClassId]) {
        let waits = !self.torrents[t].queue.is_empty();
        self.leave(t);
        let mut old = std::mem::take(&mut self.torrents[t].classes);
        let limited = classes.iter().filter(|class| self.classes.contains_key(class));
        let limited: BTreeSet<ClassId> = limited.copied().collect();
        let seats = limited.into_iter().map(|class| match old.iter().position(|(id, _)| *id == class) {
            Some(at) => old.swap_remove(at),
            None => (class, self.new_seat()),
        });
        self.torrents[t].classes = seats.collect();
        if waits {
            self.enter(t, true);
        }
    }

    pub(super) fn new_seat(&mut self) -> Seat {
        // Multiples of the golden ratio are spread evenly, however many there are.
        self.added = self.added.wrapping_add(0x9e37_79b9);
        Seat::new(self.added)
    }
}
