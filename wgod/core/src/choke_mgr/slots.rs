//! How many slots there are, and how torrents that we download and that we seed share them.
use std::collections::BTreeSet;

use super::{Candidate, DOWNLOADING_TENTHS};
use crate::ByteRate;

/// How the number of regular slots is found.
#[derive(Clone, Copy, Debug)]
pub enum SlotCount {
    /// Set by the operator; 0 means that nobody is unchoked.
    Fixed(u32),
    /// Found from the upload limit, or by trying where there is none; never less than torrents with
    /// interested peers.
    Automatic(Automatic),
}

/// What the automatic number of slots depends on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Automatic {
    /// The global upload limit, if any.
    pub up_limit: Option<ByteRate>,
    /// [`Decision::slots`](super::Decision::slots) of the round before; `None` at the first.
    pub previous: Option<u32>,
    /// Payload upload over the round that ended now.
    pub rate: ByteRate,
    /// The same over the round before it.
    pub previous_rate: ByteRate,
}

/// Upload that is worth a slot of its own: less, and TCP connections starve each other.
const RATE_PER_SLOT: ByteRate = ByteRate(32_000);
/// Bounds of slots under an upload limit.
const LIMITED: (u32, u32) = (8, 512);
/// Bounds of slots without one.
const UNLIMITED: (u32, u32) = (64, 512);
/// Without a limit, slots grow or shrink by this part of themselves in a round.
const STEP_DIVISOR: u32 = 8;
/// Upload rises, or falls, when it changes by more than these per cent; less is noise.
const RISE_PERCENT: u128 = 5;
const FALL_PERCENT: u128 = 20;

impl SlotCount {
    /// Regular slots for these candidates.
    pub(super) fn count(&self, candidates: &[Candidate]) -> u32 {
        let automatic = match self {
            SlotCount::Fixed(count) => return *count,
            SlotCount::Automatic(automatic) => automatic,
        };
        let interested = || candidates.iter().filter(|c| c.interested);
        let torrents = interested().map(|c| c.key.0).collect::<BTreeSet<_>>().len() as u32;
        automatic.count(interested().count() as u32).max(torrents)
    }
}

impl Automatic {
    fn count(&self, interested: u32) -> u32 {
        if let Some(limit) = self.up_limit {
            let slots = (limit.0 / RATE_PER_SLOT.0).min(u64::from(LIMITED.1)) as u32;
            return slots.max(LIMITED.0);
        }
        let previous = self.previous.unwrap_or(UNLIMITED.0).clamp(UNLIMITED.0, UNLIMITED.1);
        let step = previous / STEP_DIVISOR;
        let (now, before) = (u128::from(self.rate.0) * 100, u128::from(self.previous_rate.0));
        // Only slots that were all in use can have been what held the upload back.
        let slots = if now > before * (100 + RISE_PERCENT) && interested > previous {
            previous + step
        } else if now < before * (100 - FALL_PERCENT) {
            previous - step
        } else {
            previous
        };
        slots.clamp(UNLIMITED.0, UNLIMITED.1)
    }
}

/// Splits `slots` between `[downloading, seeding]` takers, 70 to 30; what one kind can't use moves to
/// the other. `owed` is what downloading torrents get before the seeding ones get any but one.
pub(super) fn shares(slots: u32, takers: [usize; 2], owed: usize) -> (usize, usize) {
    let slots = slots as usize;
    let [downloading, seeding] = takers;
    // Rounded to the nearest, but two slots or more leave one to each kind.
    let even = (slots * DOWNLOADING_TENTHS as usize + 5) / 10;
    let most = slots.saturating_sub(1).max(1).min(slots);
    let down = even.max(owed).clamp(slots.min(1), most).min(downloading);
    let up = (slots - down).min(seeding);
    ((slots - up).min(downloading), up)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_split_seven_to_three_and_the_surplus_moves() {
        let cases = [
            // slots, takers, owed -> shares
            (10, [99, 99], 0, (7, 3)),
            (4, [99, 99], 0, (3, 1)),
            (3, [99, 99], 0, (2, 1)),
            (2, [99, 99], 0, (1, 1)),
            (1, [99, 99], 0, (1, 0)),
            (0, [99, 99], 0, (0, 0)),
            (10, [2, 99], 0, (2, 8)),
            (10, [99, 1], 0, (9, 1)),
            (10, [0, 5], 0, (0, 5)),
            (10, [3, 2], 0, (3, 2)),
            (10, [99, 99], 9, (9, 1)),
            (10, [99, 99], 50, (9, 1)),
        ];
        for (slots, takers, owed, expected) in cases {
            assert_eq!(shares(slots, takers, owed), expected, "{slots} {takers:?} {owed}");
        }
    }

    #[test]
    fn a_limit_gives_a_slot_for_each_32_kb_within_bounds() {
        for (limit, expected) in
            [(0, 8), (1_000, 8), (256_000, 8), (320_000, 10), (16_384_000, 512), (u64::MAX, 512)]
        {
            let automatic = Automatic { up_limit: Some(ByteRate(limit)), ..Automatic::default() };
            assert_eq!(automatic.count(10_000), expected, "{limit} B/s");
        }
    }

    #[test]
    fn unlimited_slots_follow_the_upload_while_they_are_what_bounds_it() {
        let cases = [
            // previous, rates before and now, interested -> slots
            (None, 0, 0, 500, 64),
            (Some(64), 1000, 2000, 500, 72),
            (Some(64), 1000, 2000, 64, 64),
            (Some(64), 1000, 1040, 500, 64),
            (Some(128), 1000, 900, 500, 128),
            (Some(128), 1000, 700, 500, 112),
            (Some(64), 1000, 0, 500, 64),
            (Some(512), 1000, 9000, 5000, 512),
            (Some(9999), 1000, 1000, 5000, 512),
        ];
        for (previous, before, now, interested, expected) in cases {
            let automatic =
                Automatic { up_limit: None, previous, rate: ByteRate(now), previous_rate: ByteRate(before) };
            assert_eq!(automatic.count(interested), expected, "{previous:?} {before} -> {now}");
        }
    }
}
