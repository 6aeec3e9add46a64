//! How many slots there are, and how torrents that we download and that we seed share them.
use std::collections::BTreeSet;
use std::time::Duration;

use super::{Candidate, DOWNLOADING_TENTHS};
use crate::{ByteRate, Time};

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
    /// Payload upload lately.
    pub rate: ByteRate,
    /// The present time.
    pub now: Time,
    /// [`Decision::trials`](super::Decision::trials) of the round before; the default at the first.
    pub trials: Trials,
}

/// What is remembered of the last change of the number of slots, to see what came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trials {
    /// None before the first round.
    slots: Option<u32>,
    /// How many there were before they were changed, as long as nobody knows what came of it.
    changed_from: Option<u32>,
    /// The upload at that time.
    rate: ByteRate,
    /// When that was, or when its outcome was judged.
    at: Time,
    /// The last trial was one of more slots.
    tried_more: bool,
}

/// Upload that is worth a slot of its own: less, and TCP connections starve each other.
const RATE_PER_SLOT: ByteRate = ByteRate(32_000);
/// Fewest automatic slots: each peer gets the more of a slow line, has its pieces the sooner, and whoever gives
/// most has the more of it.
const FEWEST: u32 = 8;
/// Most of them.
const MOST: u32 = 512;
/// Slots squared times this is what uploads at least, or they are too many: so 8 slots of a line of 1 Mbit/s, 25 of
/// 10, 250 of 1000. libtorrent's rate-based choker has the same shape.
const RATE_PER_SLOT_SQUARED: u64 = 2_000;
/// What came of a change is seen after this: the rate looks back over 8 s, and a new peer comes up to speed.
const JUDGED_AFTER: Duration = Duration::from_secs(10);
/// After a trial that changed nothing for the better, so long until the next.
const RESTS_FOR: Duration = Duration::from_secs(30);
/// A trial is of so much of the slots more or less.
const STEP_DIVISOR: u32 = 4;

impl SlotCount {
    /// Regular slots for these candidates, and what to remember of them.
    pub(super) fn count(&self, candidates: &[Candidate]) -> (u32, Trials) {
        let automatic = match self {
            SlotCount::Fixed(count) => return (*count, Trials::default()),
            SlotCount::Automatic(automatic) => automatic,
        };
        let interested = || candidates.iter().filter(|c| c.interested);
        let torrents = interested().map(|c| c.key.0).collect::<BTreeSet<_>>().len() as u32;
        if let Some(limit) = automatic.up_limit {
            let slots = (limit.0 / RATE_PER_SLOT.0).clamp(FEWEST.into(), MOST.into()) as u32;
            return (slots.max(torrents), Trials::default());
        }
        let trials = automatic.next(interested().count() as u32);
        (trials.slots.unwrap_or(FEWEST).max(torrents), trials)
    }
}

impl Automatic {
    /// More slots are tried while all are in use, and kept if more is uploaded: the takers were slow and the line was
    /// not. Fewer are tried in turn, and kept unless less is uploaded.
    fn next(&self, interested: u32) -> Trials {
        let Automatic { rate, now, trials, .. } = *self;
        // What fills sockets at first is no upload that lasts.
        let lasting = rate.0.min(trials.rate.0);
        let fewest = u32::try_from((lasting / RATE_PER_SLOT_SQUARED).isqrt()).unwrap_or(MOST);
        let within = |slots: u32| Some(slots.clamp(fewest.clamp(FEWEST, MOST), MOST));
        let Some(slots) = trials.slots else {
            return Trials { slots: within(FEWEST), rate, at: now, ..trials };
        };
        let age = now.since(trials.at);
        if age < JUDGED_AFTER {
            return trials;
        }
        let kept = Trials { slots: within(slots), ..trials };
        if trials.changed_from.is_none() && age < RESTS_FOR {
            return kept;
        }
        let more = slots + (slots / STEP_DIVISOR).max(1);
        let to = |slots: u32, tried_more| Trials {
            slots: within(slots),
            changed_from: Some(kept.slots.unwrap_or(slots)),
            rate,
            at: now,
            tried_more,
        };
        let rest = |slots: u32| Trials { slots: within(slots), changed_from: None, rate, at: now, ..trials };
        // Half of what the slots changed by must show, or it may be noise.
        match trials.changed_from {
            Some(from) => {
                let (now, before) = (u128::from(rate.0) * 2 * u128::from(from), u128::from(trials.rate.0));
                let half_way = before * u128::from(from + slots);
                match (trials.tried_more, now > half_way) {
                    (true, true) if interested > slots => to(more, true),
                    (true, true) | (false, true) => rest(slots),
                    (true, false) | (false, false) => rest(from),
                }
            }
            None if !trials.tried_more && interested > slots => to(more, true),
            None => to(slots - slots / STEP_DIVISOR, false),
        }
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

    fn counted(automatic: Automatic, interested: u32) -> (u32, Trials) {
        let peer = |slot| Candidate {
            key: (crate::TorrentId(1), crate::PeerKey { slot, generation: 0 }),
            seeding: false,
            interested: true,
            standing: super::super::Standing::Waiting(Duration::ZERO),
            from_peer: ByteRate(0),
            to_peer: ByteRate(0),
            snubbed: false,
            newcomer: false,
            progress_permille: 0,
        };
        SlotCount::Automatic(automatic).count(&(0..interested).map(peer).collect::<Vec<_>>())
    }

    #[test]
    fn a_limit_gives_a_slot_for_each_32_kb_within_bounds() {
        for (limit, expected) in
            [(0, 8), (1_000, 8), (256_000, 8), (320_000, 10), (16_384_000, 512), (u64::MAX, 512)]
        {
            let automatic = Automatic { up_limit: Some(ByteRate(limit)), ..Automatic::default() };
            assert_eq!(counted(automatic, 100).0, expected, "{limit} B/s");
        }
    }

    /// The slots of each round of 10 s with so many takers, of whom each takes so much, over a line.
    fn rounds(takers: u32, each: u64, line: u64, rounds: u64) -> Vec<u32> {
        let (mut trials, mut slots, mut all) = (Trials::default(), 0, Vec::new());
        for round in 0..rounds {
            let rate = ByteRate((u64::from(slots.min(takers)) * each).min(line));
            let now = Time::from_start(Duration::from_secs(round * 10));
            (slots, trials) = counted(Automatic { up_limit: None, rate, now, trials }, takers);
            all.push(slots);
        }
        all
    }

    #[test]
    fn nothing_is_changed_before_it_can_be_judged() {
        let count = |secs, rate, trials| {
            let now = Time::from_start(Duration::from_secs(secs));
            counted(Automatic { up_limit: None, rate: ByteRate(rate), now, trials }, 100)
        };
        let begun = count(1000, 0, Trials::default());
        assert_eq!(count(1001, 1 << 40, begun.1), begun);
    }

    #[test]
    fn slots_stay_few_on_a_slow_line_and_follow_a_fast_one() {
        for (takers, each, line, fewest, most) in [
            // takers, what each takes, the line
            (100, 50_000, 125_000, 8, 10),
            (4, 50_000, 125_000, 8, 8),
            (100, 1_000_000, 1_250_000, 19, 32),
            (1000, 1_000_000, 125_000_000, 188, 313),
            (2000, 10_000_000, u64::MAX, 512, 512),
            // Slow takers: only more of them fill the line.
            (200, 10_000, 1_000_000, 64, 160),
            (60, 10_000, 100_000_000, 48, 76),
        ] {
            let settled = rounds(takers, each, line, 200).split_off(60);
            let bounds = (settled.iter().min().copied(), settled.iter().max().copied());
            assert!(
                bounds.0 >= Some(fewest) && bounds.1 <= Some(most),
                "{takers} takers of {each} over {line}: {bounds:?}"
            );
        }
    }

    #[test]
    fn slow_takers_have_most_of_their_slots_within_three_minutes() {
        assert!(rounds(64, 10_000, 100_000_000, 18)[17] >= 40, "{:?}", rounds(64, 10_000, 100_000_000, 18));
    }
}
