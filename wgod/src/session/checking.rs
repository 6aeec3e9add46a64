//! How far a check is: told by storage threads, committed by its operation, shown to readers.
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use wgo_core::session::Check;
use wgo_core::status::RateMeter;
use wgo_core::{Time, TorrentId};
use wgo_proto::layout::Layout;
use wgo_proto::{Bitfield, FileIndex, PieceIndex};

use super::Driver;
use super::entry::{from_stored, to_stored};
use crate::files::Checked;
use crate::store::{CheckKind, FileStamp, OwedCheck};

/// Checks whose findings are being saved while their devices go on with the next: what lets a commit take in
/// the findings of many, and bounds what waits for a store that hangs. More than end while one commit is made.
pub(super) const SAVED_BESIDE: usize = 256;

impl Driver {
    /// A check has looked at all that it has to: its device goes on with the next.
    pub(super) fn on_hashed(&mut self, id: TorrentId, check: &Arc<CheckProgress>) {
        let current = self.entries.get(&id).and_then(|entry| entry.check.as_ref());
        let counts = current.is_some_and(|current| Arc::ptr_eq(current, check)) && !check.is_cancelled();
        if counts && self.saved_beside.len() < SAVED_BESIDE {
            self.saved_beside.insert(id);
            self.session.on_hashed(self.engine.clock.now(), id);
        }
    }
}

/// A check under way.
#[derive(Debug)]
pub struct CheckProgress {
    /// Set to pause the check.
    pub cancel: Arc<AtomicBool>,
    /// What it finds counts no longer.
    forgotten: AtomicBool,
    /// A leaf lock, held for look-ups, and for copies of bitmaps.
    state: Mutex<State>,
}

/// Which pieces a check hashes, and what it knows of them already.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) kind: CheckKind,
    /// Pieces that are had without a look at them.
    pub(super) base: Bitfield,
    /// Pieces to hash, those that an earlier part of the check hashed included.
    pub(super) wanted: Bitfield,
    /// Length and time of each file when the check began.
    pub(super) stamps: Vec<Option<FileStamp>>,
}

#[derive(Debug)]
struct State {
    plan: Plan,
    checked: Bitfield,
    good: Bitfield,
    done_bytes: u64,
    total_bytes: u64,
    speed: RateMeter,
}

impl CheckProgress {
    /// A check that has not looked at the disk yet: until then `owed` is all that is known.
    pub(super) fn new(kind: CheckKind, owed: Option<&OwedCheck>, have: &Bitfield) -> Arc<CheckProgress> {
        let count = have.len();
        let base = if kind == CheckKind::Suspects { have.clone() } else { Bitfield::new(count) };
        let of = |set: fn(&OwedCheck) -> &crate::store::Have| {
            owed.map_or_else(|| Bitfield::new(count), |owed| from_stored(set(owed), count))
        };
        let (checked, good) = (of(|owed| &owed.checked), of(|owed| &owed.good));
        let plan = Plan { kind, base, wanted: Bitfield::full(count), stamps: Vec::new() };
        let (done_bytes, total_bytes) = (u64::from(checked.count()), u64::from(count));
        let state = State { plan, checked, good, done_bytes, total_bytes, speed: RateMeter::default() };
        Arc::new(CheckProgress {
            cancel: Arc::default(),
            forgotten: AtomicBool::new(false),
            state: Mutex::new(state),
        })
    }

    /// The check knows what it is to hash. Of what `owed` says was hashed, all counts whose files are as
    /// they were then. Returns the pieces that are left.
    pub(super) fn begin(&self, layout: &Layout, plan: Plan, owed: Option<&OwedCheck>) -> Bitfield {
        let count = plan.wanted.len();
        let (mut checked, mut good) = (Bitfield::new(count), Bitfield::new(count));
        if let Some(owed) = owed {
            (checked, good) = (from_stored(&owed.checked, count), from_stored(&owed.good, count));
            for (index, stamp) in plan.stamps.iter().enumerate() {
                let known = owed.files.get(index).copied();
                let is_like = match (known, stamp) {
                    (Some(Some(known)), Some(stamp)) => known.is_like(stamp),
                    (known, stamp) => known == Some(*stamp),
                };
                if !is_like {
                    let pieces = layout.pieces_of(FileIndex(index as u32));
                    checked.clear_range(pieces.clone());
                    good.clear_range(pieces);
                }
            }
        }
        let mut left = plan.wanted.clone();
        left.subtract(&checked);
        let bytes = |pieces: &Bitfield| -> u64 {
            pieces.iter_ones().map(|piece| u64::from(layout.piece_len(PieceIndex(piece)))).sum()
        };
        let total_bytes = bytes(&plan.wanted);
        let done_bytes = total_bytes - bytes(&left);
        *self.lock() = State { plan, checked, good, done_bytes, total_bytes, speed: RateMeter::default() };
        left
    }

    /// Pieces were hashed.
    pub(super) fn add(&self, now: Time, layout: &Layout, verdicts: &[Checked]) {
        let mut state = self.lock();
        for Checked { piece, good } in verdicts {
            state.checked.set(piece.0);
            if *good {
                state.good.set(piece.0);
            }
            let len = u64::from(layout.piece_len(*piece));
            state.done_bytes += len;
            state.speed.add(now, len);
        }
    }

    /// Pieces that were found to be right can't be made durable: they are not there, and no later sync will tell.
    pub(super) fn lose(&self, pieces: &[PieceIndex]) {
        let mut state = self.lock();
        for piece in pieces {
            state.good.clear(piece.0);
        }
    }

    /// What it has found so far, for the store.
    pub(super) fn owed(&self) -> OwedCheck {
        let state = self.lock();
        // A sample is not worth keeping, and means nothing by itself.
        if state.plan.kind == CheckKind::Quick {
            return OwedCheck::anew(CheckKind::Quick);
        }
        OwedCheck {
            kind: state.plan.kind,
            checked: to_stored(&state.checked),
            good: to_stored(&state.good),
            files: state.plan.stamps.clone(),
        }
    }

    /// The pieces that are had as far as the check is: no piece that it has still to look at.
    pub(super) fn found(&self) -> Bitfield {
        let state = self.lock();
        let mut found = state.plan.base.clone();
        found.union_with(&state.good);
        found
    }

    /// The pieces that were hashed and are right.
    pub(super) fn good(&self) -> Bitfield {
        self.lock().good.clone()
    }

    /// Pauses it; what it found is kept.
    pub(super) fn pause(&self) {
        self.cancel.store(true, Ordering::Relaxed);
    }

    /// Whether it is to end.
    pub(super) fn is_cancelled(&self) -> bool {
        self.cancel.load(Ordering::Relaxed)
    }

    /// What it finds is not to be kept.
    pub(super) fn forget(&self) {
        self.forgotten.store(true, Ordering::Relaxed);
    }

    /// Whether what it found counts no longer.
    pub(super) fn is_forgotten(&self) -> bool {
        self.forgotten.load(Ordering::Relaxed)
    }

    /// Whether it knows anything that is worth keeping.
    pub(super) fn has_hashed(&self) -> bool {
        !self.lock().checked.is_empty()
    }

    /// 0…1.
    pub(super) fn share(&self) -> f64 {
        let state = self.lock();
        state.done_bytes as f64 / state.total_bytes.max(1) as f64
    }

    /// Time that it will still take at the speed of the last seconds.
    pub(super) fn time_left(&self, now: Time) -> Option<Duration> {
        let state = self.lock();
        let (left, rate) = (state.total_bytes.saturating_sub(state.done_bytes), state.speed.rate(now).0);
        (rate > 0 && left > 0).then(|| Duration::from_secs(left.div_ceil(rate)))
    }

    /// Each bit is right by itself, so poison is ignored.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The stored word for a check of the session; `None` for one that hashes nothing.
pub(super) fn kind_of(check: Check) -> Option<CheckKind> {
    match check {
        Check::None => None,
        Check::Full => Some(CheckKind::Full),
        Check::Quick => Some(CheckKind::Quick),
        Check::Suspects => Some(CheckKind::Suspects),
    }
}

/// The session's word for a stored check.
pub(super) fn check_of(kind: CheckKind) -> Check {
    match kind {
        CheckKind::Full => Check::Full,
        CheckKind::Quick => Check::Quick,
        CheckKind::Suspects => Check::Suspects,
    }
}

/// Whether a check of this kind is what an earlier one had begun: a quick one becomes a full one.
pub(super) fn continues(kind: CheckKind, owed: &OwedCheck) -> bool {
    owed.kind == kind || (kind == CheckKind::Quick && owed.kind == CheckKind::Full)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Have;

    fn stamp(mtime_nanos: i64) -> Option<FileStamp> {
        Some(FileStamp { len: 40, mtime_nanos, suffixed: false })
    }

    /// Two files of 40 bytes in pieces of 16: the third piece is of both.
    fn layout() -> Layout {
        Layout::v1(16, &[40, 40]).expect("a layout")
    }

    fn set(pieces: &[u32]) -> Bitfield {
        let mut set = Bitfield::new(5);
        for piece in pieces {
            set.set(*piece);
        }
        set
    }

    fn plan(stamps: [Option<FileStamp>; 2]) -> Plan {
        Plan {
            kind: CheckKind::Full,
            base: Bitfield::new(5),
            wanted: Bitfield::full(5),
            stamps: stamps.into(),
        }
    }

    #[test]
    fn of_files_that_changed_meanwhile_nothing_counts() {
        let (checked, good) = (to_stored(&set(&[0, 1, 2, 3])), to_stored(&set(&[0, 2, 3])));
        let owed = OwedCheck { kind: CheckKind::Full, checked, good, files: vec![stamp(1), stamp(1)] };
        for (now, left, found) in [
            ([stamp(1), stamp(1)], set(&[4]), set(&[0, 2, 3])),
            ([stamp(1), stamp(2)], set(&[2, 3, 4]), set(&[0])),
            ([stamp(2), stamp(1)], set(&[0, 1, 2, 4]), set(&[3])),
            ([stamp(1), None], set(&[2, 3, 4]), set(&[0])),
        ] {
            let check = CheckProgress::new(CheckKind::Full, Some(&owed), &Bitfield::full(5));
            assert_eq!(check.begin(&layout(), plan(now), Some(&owed)), left, "{now:?}");
            assert_eq!(check.found(), found, "{now:?}");
        }
        let fresh = OwedCheck::anew(CheckKind::Full);
        let check = CheckProgress::new(CheckKind::Full, Some(&fresh), &Bitfield::full(5));
        assert!(check.found().is_empty(), "nothing is claimed that was not looked at");
        assert!(check.begin(&layout(), plan([stamp(1); 2]), Some(&fresh)).is_full());
    }

    #[test]
    fn what_was_found_is_kept_and_shown() {
        let check = CheckProgress::new(CheckKind::Full, None, &Bitfield::new(5));
        check.begin(&layout(), plan([stamp(1); 2]), None);
        let at = |secs| Time::from_start(Duration::from_secs(secs));
        let verdict = |piece, good| Checked { piece: PieceIndex(piece), good };
        check.add(at(1), &layout(), &[verdict(0, true), verdict(1, false)]);
        assert_eq!(check.share(), 0.4);
        check.add(at(2), &layout(), &[verdict(4, true)]);
        assert_eq!(check.share(), 0.6);
        assert_eq!(check.time_left(at(3)), Some(Duration::from_secs(2)), "24 a second, and 32 are left");
        let owed = check.owed();
        assert_eq!(from_stored(&owed.checked, 5), set(&[0, 1, 4]));
        assert_eq!(from_stored(&owed.good, 5), set(&[0, 4]));
        assert_eq!((owed.files, check.found()), (vec![stamp(1); 2], set(&[0, 4])));
        assert!(continues(CheckKind::Quick, &OwedCheck::anew(CheckKind::Full)));
        assert!(!continues(CheckKind::Full, &OwedCheck::anew(CheckKind::Suspects)));
        assert_eq!(to_stored(&Bitfield::full(5)), Have::All);
    }
}
