//! What one peer is asked for, and what peers that name the same size have sent.
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use smallvec::SmallVec;
use wgo_proto::wire::extended::ut_metadata::metadata_pieces;

use crate::time::Time;
use crate::units::PeerKey;

/// Pieces that are asked of one peer at a time: enough to hide the way there and back, and few enough for
/// clients that answer one after the other.
pub(super) const WINDOW: usize = 4;
/// A peer that rejects, or doesn't answer, rests for so long, times the number of its failures so far; it may
/// be the only one that there is, and busy.
pub(super) const REST: Duration = Duration::from_secs(20);
/// Failures beyond this lengthen the rest no more.
const MAX_STRIKES: u8 = 15;
/// A peer that names another size more often than this is asked no more: it would have us write as much as it does.
pub(super) const MAX_CHANGES: u8 = 3;

/// A peer that has the metadata.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) size: u32,
    pub(super) asked: SmallVec<[Asked; WINDOW]>,
    pub(super) strikes: u8,
    pub(super) rests_until: Time,
    /// Times that it named another size than before.
    pub(super) changes: u8,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) piece: u32,
    pub(super) at: Time,
    /// It timed out.
    pub(super) late: bool,
}

/// What peers that name the same size have sent.
#[derive(Debug, Default)]
pub(super) struct Variant {
    pub(super) pieces: BTreeMap<u32, (PeerKey, Box<[u8]>)>,
    /// From here on nothing was ever asked for.
    pub(super) next: u32,
    /// Asked for before, in vain.
    pub(super) again: BTreeSet<u32>,
    /// Handed out.
    pub(super) away: Option<Away>,
    /// One of many senders lies: the pieces of one peer at a time are taken.
    pub(super) single: Option<Single>,
}

#[derive(Debug)]
pub(super) struct Away {
    /// Who had a part in it.
    pub(super) senders: BTreeSet<PeerKey>,
    pub(super) bytes: usize,
}

#[derive(Debug, Default)]
pub(super) struct Single {
    /// Whose turn it is.
    pub(super) who: Option<PeerKey>,
    /// Whose turn is over.
    pub(super) tried: BTreeSet<PeerKey>,
}

impl Source {
    pub(super) fn outstanding(&self) -> usize {
        self.asked.iter().filter(|asked| !asked.late).count()
    }

    pub(super) fn may_be_asked(&self, now: Time) -> bool {
        self.rests_until <= now && self.outstanding() < WINDOW && self.changes <= MAX_CHANGES
    }

    pub(super) fn strike(&mut self, now: Time) {
        self.strikes = self.strikes.saturating_add(1).min(MAX_STRIKES);
        self.rests_until = now + REST * u32::from(self.strikes);
    }
}

impl Variant {
    /// The next piece that nobody was asked for, or in vain.
    pub(super) fn fresh(&mut self, size: u32) -> Option<u32> {
        if let Some(piece) = self.again.pop_first() {
            return Some(piece);
        }
        let piece = self.next;
        (piece < metadata_pieces(size)).then(|| {
            self.next += 1;
            piece
        })
    }

    pub(super) fn bytes(&self) -> usize {
        let away = self.away.as_ref().map_or(0, |away| away.bytes);
        self.pieces.values().map(|(_, bytes)| bytes.len()).sum::<usize>() + away
    }

    /// Begins at the beginning. Returns the bytes that are dropped.
    pub(super) fn reset(&mut self) -> usize {
        let bytes = self.bytes();
        self.away = None;
        self.pieces.clear();
        self.again.clear();
        self.next = 0;
        bytes
    }
}
