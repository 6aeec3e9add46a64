//! Checks: which pieces the disk really holds.
//!
//! A check only reads. It may be paused at any time and by any end of the daemon: what it has found is
//! kept when it pauses, and meanwhile often enough that a crash costs little.
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, interval_at};
use wgo_core::session::Fault;
use wgo_proto::{Bitfield, FileIndex, PieceIndex};

use super::super::checking::{CheckProgress, Plan};
use super::super::doubt::{doubted, is_unchanged};
use super::super::entry::{to_file_stamp, to_stored};
use super::super::fault;
use super::checkpoint::{in_doubt, refute, store_fault};
use super::hindrance::Hindrance;
use super::{Cx, Outcome, close, missing, open_files, run_job};
use crate::clock::unix_now;
use crate::files::{
    Check as CheckJob, CheckOutcome, CheckPieces, Checked, DiskError, Done, Job, Stamp, SyncOutcome,
    TorrentFiles, Whereabouts,
};
use crate::session::Event;
use crate::session::save::report;
use crate::store::{Change, CheckKind, FileStamp, Progress};

/// Pieces that a quick check hashes (DESIGN).
const SAMPLE: u32 = 16;
/// How far a check is, is kept this often: a crash costs no more hashing than that.
const KEEP_INTERVAL: Duration = Duration::from_secs(15);

/// Looks at the files that the paths name now: descriptors of before may be of files that are deleted.
pub(super) async fn run(mut cx: Cx, kind: CheckKind, progress: Arc<CheckProgress>) -> Outcome {
    if let Some(files) = cx.files.take() {
        close(&cx, files).await;
    }
    let files = match open_files(&cx).await {
        Ok(files) => files,
        Err(error) => return Hindrance::from(error).outcome(),
    };
    let outcome = look(&cx, &files, kind, &progress).await;
    if !matches!(outcome, Outcome::Checked { .. }) {
        close(&cx, files).await;
    }
    match outcome {
        Outcome::Faulted(_) if missing::went_ahead(&cx).await => Outcome::Ahead,
        outcome => outcome,
    }
}

async fn look(cx: &Cx, files: &Arc<TorrentFiles>, kind: CheckKind, progress: &Arc<CheckProgress>) -> Outcome {
    let begun = async { Ok::<_, Hindrance>((missing::place(cx, files).await?, stat_all(cx, files).await?)) };
    let (place, stamps) = match begun.await {
        Ok(begun) => begun,
        Err(hindrance) => return hindrance.outcome(),
    };
    let check = Checking { cx, files, place, stamps, progress };
    let found = match kind {
        CheckKind::Full => match missing::since(cx, &check.stamps) {
            Some(fault) => return Outcome::Faulted(fault),
            None => check.full().await,
        },
        CheckKind::Quick => check.quick().await,
        CheckKind::Suspects => match check.suspects() {
            Ok(plan) if check.is_sampled(&plan) => check.quick().await,
            Ok(plan) => check.resolve(plan).await,
            Err(fault) => return Outcome::Faulted(fault),
        },
    };
    match found {
        Some(found) => check.name_and_end(found).await,
        None => check.pause().await,
    }
}

/// What a check found.
struct Found {
    /// The pieces that are there.
    have: Bitfield,
    /// Those of them that were not hashed.
    unverified: Bitfield,
}

impl Found {
    fn hashed(have: Bitfield) -> Found {
        Found { unverified: Bitfield::new(have.len()), have }
    }
}

/// Length and time of every file; `None` for one that is missing.
pub(super) async fn stat_all(
    cx: &Cx,
    files: &Arc<TorrentFiles>,
) -> Result<Vec<Option<FileStamp>>, crate::files::DiskError> {
    let count = cx.info.files.len() as u32;
    let wanted: Vec<FileIndex> = (0..count).map(FileIndex).filter(|file| on_disk(cx, *file)).collect();
    let job = |done| Job::Stat { torrent: files.clone(), files: wanted, done };
    let found: Result<Vec<Stamp>, _> = run_job(&cx.engine, job).await;
    let mut stamps = vec![None; count as usize];
    for stamp in found? {
        if let Some(slot) = stamps.get_mut(stamp.file.0 as usize) {
            *slot = Some(to_file_stamp(&stamp));
        }
    }
    Ok(stamps)
}

/// Whether the file has bytes on disk.
pub(super) fn on_disk(cx: &Cx, file: FileIndex) -> bool {
    cx.info.files.get(file.0 as usize).is_some_and(|f| !f.pad && f.len > 0 && f.symlink.is_none())
}

/// A check whose files are open.
struct Checking<'a> {
    cx: &'a Cx,
    files: &'a Arc<TorrentFiles>,
    /// Where they are.
    place: Whereabouts,
    /// Length and time of each file now.
    stamps: Vec<Option<FileStamp>>,
    progress: &'a Arc<CheckProgress>,
}

impl Checking<'_> {
    /// Files that are found complete get their own names, without which the torrent isn't.
    async fn name_and_end(mut self, mut found: Found) -> Outcome {
        if self.files.has_suffixed() {
            let (torrent, have) = (self.files.clone(), found.have.clone());
            let named: SyncOutcome = run_job(&self.cx.engine, |done| Job::Name { torrent, have, done }).await;
            self.lose(&named.failed, Some(&mut found));
            let fault = match (in_doubt(&named), &named.unnamed) {
                (Some(error), _) => match fault::of_disk(&error) {
                    None => return self.pause().await,
                    fault => fault,
                },
                (None, unnamed) => unnamed.as_ref().map(fault::of_naming),
            };
            // Who hears of its completion looks for its files under their own names.
            if let Some(fault) = fault.filter(|_| self.cx.is_met(&found.have)) {
                self.keep().await;
                return Outcome::Unended(Box::new(self.progress.owed()), fault);
            }
            for (file, stamp) in (0..).map(FileIndex).zip(&mut self.stamps) {
                if let Some(stamp) = stamp {
                    stamp.suffixed = self.files.is_suffixed(file);
                }
            }
        }
        self.end(found).await
    }

    /// Commits what was found, once it is durable: no check is owed any more.
    async fn end(self, mut found: Found) -> Outcome {
        if let Some(error) = self.settle(&mut found).await {
            return match fault::of_disk(&error) {
                Some(fault) => Outcome::Faulted(fault),
                None => self.pause().await,
            };
        }
        let Checking { cx, files, mut place, stamps, progress } = self;
        if !place.exists() {
            // Where it would be made says nothing yet.
            place.mount = None;
        }
        let Found { have, unverified } = found;
        let mut hashed = have.clone();
        hashed.subtract(&unverified);
        let completed_at = match cx.completed_at {
            _ if !cx.is_met(&have) => None,
            None => Some(unix_now().max(0) as u64),
            known => known,
        };
        let news = hashed != cx.durable || cx.writing || stamps != cx.stamps || place.mount != cx.mount;
        if news || cx.owed.is_some() || progress.has_hashed() {
            let change = Progress {
                have: to_stored(&hashed),
                writing: false,
                completed_at,
                files: stamps.clone(),
                mount: place.mount.clone(),
                ..Progress::default()
            };
            cx.engine.tell(Event::Hashed(cx.id, progress.clone()));
            let put = cx.engine.store.put(vec![Change::Progress(cx.id, change)]).await;
            // Hooks and callers who wait are not told of a completion that a crash would undo.
            if let (Err(error), Some(_), None) = (&put, completed_at, cx.completed_at) {
                return Outcome::Unended(Box::new(progress.owed()), store_fault(error));
            }
            report(put);
        }
        Outcome::Checked {
            files: files.clone(),
            place: Box::new(place),
            have,
            unverified,
            stamps,
            completed_at,
        }
    }

    /// Makes durable what was hashed.
    async fn settle(&self, found: &mut Found) -> Option<DiskError> {
        let mut hashed = self.progress.good();
        hashed.intersect_with(&found.have);
        let settled = self.make_durable(&hashed).await;
        self.lose(&settled.failed, Some(found));
        settled.folder
    }

    /// What can't be made durable is not there: to sync it once more would only seem to succeed, and to hash it would
    /// only tell what is in memory.
    fn lose(&self, failed: &[(FileIndex, DiskError)], mut found: Option<&mut Found>) {
        for (file, error) in failed {
            tracing::warn!(%error, "its pieces are fetched again");
            let hashed = self.progress.good();
            let lost: Vec<PieceIndex> =
                self.cx.info.pieces_in(*file).filter(|piece| hashed.get(piece.0)).collect();
            if let Some(found) = &mut found {
                for piece in &lost {
                    found.have.clear(piece.0);
                }
            }
            refute(self.cx, &lost);
            self.progress.lose(&lost);
        }
    }

    /// Syncs the files of pieces that were found to be right and that no checkpoint has covered: whoever wrote them may
    /// not have done that, as an earlier run that was killed. Likewise files that none knew: once they are known, one
    /// that a power cut takes away again would be waited for.
    async fn make_durable(&self, hashed: &Bitfield) -> SyncOutcome {
        let is_news = |piece: &PieceIndex| hashed.get(piece.0) && !self.cx.durable.get(piece.0);
        let is_there = |stamps: &[Option<FileStamp>], file: FileIndex| {
            stamps.get(file.0 as usize).is_some_and(Option::is_some)
        };
        let has_news = |file: &FileIndex| {
            let is_new = is_there(&self.stamps, *file) && !is_there(&self.cx.stamps, *file);
            on_disk(self.cx, *file) && (is_new || self.cx.info.pieces_in(*file).any(|piece| is_news(&piece)))
        };
        let all = (0..self.cx.info.files.len() as u32).map(FileIndex);
        let files: Vec<FileIndex> = all.filter(has_news).collect();
        if files.is_empty() {
            return SyncOutcome::default();
        }
        let torrent = self.files.clone();
        run_job(&self.cx.engine, |done| Job::Settle { torrent, files, done }).await
    }

    /// Keeps how far it is.
    async fn pause(self) -> Outcome {
        if self.cx.owed.is_some() || self.progress.has_hashed() {
            self.keep().await;
        }
        Outcome::Paused(Box::new(self.progress.owed()))
    }

    async fn keep(&self) {
        let synced = self.make_durable(&self.progress.good()).await;
        self.lose(&synced.failed, None);
        if synced.folder.is_some() {
            // The next time syncs it again.
            return;
        }
        let change = Change::Check(self.cx.id, Box::new(self.progress.owed()));
        report(self.cx.engine.store.put(vec![change]).await);
    }

    async fn full(&self) -> Option<Found> {
        let count = self.cx.info.layout.piece_count();
        let plan = self.plan(CheckKind::Full, Bitfield::new(count), Bitfield::full(count));
        self.hash(plan).await.then(|| Found::hashed(self.progress.found()))
    }

    /// Every file has its length, and a sample of pieces is right: then all are believed. Else a full check.
    async fn quick(&self) -> Option<Found> {
        let cx = self.cx;
        let whole = |(index, stamp): (usize, &Option<FileStamp>)| {
            let file = &cx.info.files[index];
            !on_disk(cx, FileIndex(index as u32)) || stamp.is_some_and(|stamp| stamp.len == file.len)
        };
        let count = cx.info.layout.piece_count();
        // Where not everything is wanted, what is there has to be found out.
        if cx.selection.is_none() && self.stamps.iter().enumerate().all(whole) && count > 0 {
            let mut sample = Bitfield::new(count);
            for n in 0..SAMPLE {
                sample.set(sampled(n, count, cx.seed));
            }
            let plan = self.plan(CheckKind::Quick, Bitfield::new(count), sample.clone());
            if !self.hash(plan).await {
                return None;
            }
            if self.progress.found() == sample {
                let have = Bitfield::full(count);
                let mut unverified = have.clone();
                unverified.subtract(&sample);
                return Some(Found { have, unverified });
            }
        }
        self.full().await
    }

    /// What the stored state says, less what changed behind our back, plus what the log of stored pieces
    /// names.
    fn suspects(&self) -> Result<Plan, Fault> {
        let cx = self.cx;
        if let Some(fault) = missing::files(cx, &cx.have, &self.stamps) {
            return Err(fault);
        }
        let is_changed = |file: FileIndex| {
            let index = file.0 as usize;
            let found = self.stamps.get(index).copied().flatten();
            let known = cx.stamps.get(index).copied().flatten();
            let unchanged = match &cx.claims {
                Some(claims) => claims.vouch(&cx.info, &cx.have, file, found),
                None => is_unchanged(known, found, cx.writing),
            };
            on_disk(cx, file) && !unchanged
        };
        let (base, wanted) = doubted(&cx.info, &cx.have, &cx.suspects, is_changed);
        Ok(self.plan(CheckKind::Suspects, base, wanted))
    }

    /// Whether it is enough to look at a sample: another client claims that all is there, and not all of it
    /// can be believed.
    fn is_sampled(&self, plan: &Plan) -> bool {
        let cx = self.cx;
        cx.claims.is_some() && cx.have.is_full() && cx.selection.is_none() && !plan.wanted.is_empty()
    }

    async fn resolve(&self, plan: Plan) -> Option<Found> {
        if plan.wanted.is_empty() {
            return Some(Found::hashed(plan.base));
        }
        tracing::info!(pieces = plan.wanted.count(), "hashing what the last checkpoint does not cover");
        let tried = plan.wanted.clone();
        if !self.hash(plan).await {
            return None;
        }
        let have = self.progress.found();
        for piece in tried.iter_and_not(&have) {
            self.cx.engine.store.log_refuted(self.cx.id, PieceIndex(piece));
        }
        Some(Found::hashed(have))
    }

    fn plan(&self, kind: CheckKind, base: Bitfield, wanted: Bitfield) -> Plan {
        Plan { kind, base, wanted, stamps: self.stamps.clone() }
    }

    /// Hashes what is left of a plan, keeping now and then how far it is. False when it was called off.
    async fn hash(&self, plan: Plan) -> bool {
        let cx = self.cx;
        let owed = cx.owed.as_ref().filter(|owed| owed.kind == plan.kind);
        let left = self.progress.begin(&cx.info.layout, plan, owed);
        if left.is_empty() {
            return !self.progress.is_cancelled();
        }
        let pieces = match left.is_full() {
            true => CheckPieces::Range(0..left.len()),
            false => CheckPieces::List(left.iter_ones().map(PieceIndex).collect()),
        };
        let (progress, layout, clock) = (self.progress.clone(), cx.info.layout.clone(), cx.engine.clock);
        let on_checked = move |verdicts: &[Checked]| progress.add(clock.now(), &layout, verdicts);
        let (files, cancel) = (self.files.clone(), self.progress.cancel.clone());
        let job = |done: Done<CheckOutcome>| {
            Job::Check(Arc::new(CheckJob::new(files, pieces, Box::new(on_checked), cancel, done)))
        };
        let job = run_job(&cx.engine, job);
        tokio::pin!(job);
        let mut keep = interval_at(Instant::now() + KEEP_INTERVAL, KEEP_INTERVAL);
        let outcome = loop {
            tokio::select! {
                outcome = &mut job => break outcome,
                _ = keep.tick() => self.keep().await,
            }
        };
        match outcome {
            CheckOutcome::Cancelled => false,
            CheckOutcome::Finished(error) => {
                if let Some(error) = error {
                    tracing::warn!(%error, "some pieces could not be read");
                }
                true
            }
        }
    }
}

/// The first piece, the last, and others spread by the seed.
fn sampled(n: u32, count: u32, seed: u64) -> u32 {
    match n {
        0 => 0,
        1 => count - 1,
        _ => (seed.rotate_left(n * 7).wrapping_mul(0x9e37_79b9_7f4a_7c15) % u64::from(count)) as u32,
    }
}

/// Whether somebody else touched a file of which it is known what it was.
pub(super) fn differ(known: &[Option<FileStamp>], found: &[Option<FileStamp>]) -> bool {
    known.iter().zip(found).any(|(known, found)| known.is_some() && !is_unchanged(*known, *found, false))
}
