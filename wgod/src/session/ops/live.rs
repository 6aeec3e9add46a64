//! Making a torrent live, letting it sleep, ending it, and seeing whether a fault is gone.
use std::sync::Arc;
use std::time::Duration;

use wgo_core::dht::rounds::Need;
use wgo_core::peer_mgr::Source;
use wgo_core::session::{Fault, FaultKind};
use wgo_core::swarm::{Start, Swarm, SwarmConfig};
use wgo_proto::{Bitfield, FileIndex, PieceIndex};

use super::checkpoint::{add_counters, in_doubt, low_space, merge_stamps, progress, refute, store_fault};
use super::hindrance::Hindrance;
use super::metadata::metadata_len;
use super::{Cx, Outcome, Rest, check, missing, open_files, run_job};
use crate::clock::unix_now;
use crate::files::{DiskError, DiskErrorKind, Job, Space, SyncOutcome, TorrentFiles, Whereabouts};
use crate::session::fault;
use crate::session::save::report;
use crate::session::tune::order;
use crate::store::{Change, Counters};
use crate::torrent::{Parts, Torrent};

/// Time that a torrent's tasks have to end by themselves; when the daemon ends, there is some left for the
/// last checkpoint ([`crate::ending`]).
const TASKS_LIMIT: Duration = Duration::from_secs(2);

pub(super) async fn go_live(mut cx: Cx) -> Outcome {
    if let Some(live) = &cx.live {
        let files = live.files().cloned();
        return Outcome::Live { torrent: live.clone(), files, place: None, fault: None };
    }
    if !cx.is_known() {
        let torrent = make(&mut cx, None);
        announce(&cx, &torrent);
        return Outcome::Live { torrent, files: None, place: None, fault: None };
    }
    let files = match open_files(&cx).await {
        Ok(files) => files,
        Err(error) => return Hindrance::from(error).outcome(),
    };
    let ready = if cx.writes { prepare(&cx, &files).await.map(Some) } else { seal(&cx, &files).await };
    let (place, fault) = match ready {
        Ok(place) => (place, None),
        // What can't be written to may still be read from.
        Err(Hindrance::Fault(fault)) if fault.kind < FaultKind::Unreachable => (None, Some(fault)),
        Err(hindrance) => return hindrance.outcome(),
    };
    let torrent = make(&mut cx, Some(&files));
    if fault.is_some() {
        cx.engine.call(&torrent, |swarm, now| swarm.set_requests_paused(now, true));
    }
    announce(&cx, &torrent);
    Outcome::Live { torrent, files: Some(files), place, fault }
}

/// Has the torrent found by its hashes, and its deadlines kept.
fn announce(cx: &Cx, torrent: &Arc<Torrent>) {
    let need = Need::of(cx.is_known(), cx.is_met(&cx.have));
    cx.engine.registry.set_live(torrent.clone());
    cx.engine.join(cx.id, &cx.hashes, cx.info.private, need);
    torrent.arm();
}

/// Before a complete torrent is read from. Its files are all known, and compared whenever they are opened;
/// those that stayed open while it slept may have been changed.
async fn seal(cx: &Cx, files: &Arc<TorrentFiles>) -> Result<Option<Whereabouts>, Hindrance> {
    let looked = run_job(&cx.engine, |done| Job::Look { torrent: files.clone(), done }).await;
    if looked.is_err_and(|error: DiskError| error.kind == DiskErrorKind::Changed) {
        return Err(Hindrance::Changed);
    }
    give_names(cx, files, &cx.have).await?;
    if files.writes() {
        let job = |done| Job::Sync { torrent: files.clone(), have: None, seal: true, done };
        let _sealed: SyncOutcome = run_job(&cx.engine, job).await;
    }
    Ok(None)
}

/// Before a torrent counts as complete its files have their own names.
async fn give_names(cx: &Cx, files: &Arc<TorrentFiles>, have: &Bitfield) -> Result<(), Hindrance> {
    if !files.has_suffixed() {
        return Ok(());
    }
    let (torrent, have) = (files.clone(), have.clone());
    let named: SyncOutcome = run_job(&cx.engine, |done| Job::Name { torrent, have, done }).await;
    if let Some(error) = in_doubt(&named) {
        return Err(error.into());
    }
    named.unnamed.map_or(Ok(()), |error| Err(fault::of_naming(&error).into()))
}

/// Before the first write: the folder, space, and the mark that says what a crash would put in doubt.
/// Returns where the files are.
pub(super) async fn prepare(cx: &Cx, files: &Arc<TorrentFiles>) -> Result<Whereabouts, Hindrance> {
    let before = locate(cx, files).await?;
    files
        .begin_writing()
        .map_err(|other| Fault { kind: FaultKind::NotWritable, message: other.to_string() })?;
    let prepared: Result<Space, DiskError> =
        run_job(&cx.engine, |done| Job::Prepare { torrent: files.clone(), done }).await;
    let space = prepared?;
    // The folder is held to now. It is the right one if nothing was mounted or unmounted meanwhile.
    let now = locate(cx, files).await?;
    if now.mount != before.mount {
        return Err(Hindrance::Elsewhere(now));
    }
    if let Some(fault) = low_space(cx, space) {
        return Err(fault.into());
    }
    let mark = Change::Writing(cx.id, now.mount.clone());
    cx.engine.store.put(vec![mark]).await.map_err(|error| store_fault(&error))?;
    Ok(now)
}

/// Where the files are, if that is where they were opened.
async fn locate(cx: &Cx, files: &Arc<TorrentFiles>) -> Result<Whereabouts, Hindrance> {
    let now = missing::place(cx, files).await?;
    if files.is_elsewhere(&now) { Err(Hindrance::Elsewhere(now)) } else { Ok(now) }
}

fn make(cx: &mut Cx, files: Option<&Arc<TorrentFiles>>) -> Arc<Torrent> {
    let now = cx.engine.clock.now();
    let config = SwarmConfig {
        peer_id: cx.engine.peer_id,
        listen_port: cx.engine.announced_port(),
        max_peers: cx.max_peers,
        private: cx.info.private,
        pex: cx.pex,
        metadata_len: metadata_len(&cx.info),
    };
    let hash = cx.hashes.canonical();
    let start = Start {
        id: cx.id,
        hash,
        layout: cx.info.layout.clone(),
        have: cx.have.clone(),
        selection: cx.selection.clone(),
        counters: wgo_core::status::Counters {
            downloaded: cx.counters.downloaded,
            uploaded: cx.counters.uploaded,
            wasted: cx.counters.wasted,
        },
        tiers: cx.tiers.clone(),
        seed: cx.seed,
    };
    let mut swarm = Swarm::new(now, config, start);
    swarm.set_order(order(cx.sequential));
    if let Some(memory) = cx.trackers.take() {
        swarm.resume_trackers(memory);
    }
    swarm.set_online(now, cx.engine.outlet.standing().closed().is_none());
    swarm.restore_partials(&cx.partials);
    swarm.set_ip_filter(cx.engine.ip_filter.filter());
    swarm.set_own(&cx.engine.own_addrs());
    swarm.add_candidates(now, cx.user_peers.iter().copied(), Source::User);
    let unverified = cx.unverified.clone();
    let parts = Parts { swarm, hash, info: cx.info.clone(), files: files.cloned(), unverified };
    Torrent::new(parts, cx.engine.clock, cx.engine.actions.clone(), cx.engine.timers.clone())
}

/// A torrent without work keeps its files open to whoever asks, but no Swarm.
pub(super) async fn go_dormant(cx: Cx) -> Outcome {
    let Some(live) = &cx.live else { return Outcome::Done };
    let asked = live.call(|swarm, now| {
        let quiet = swarm.may_sleep();
        if quiet {
            // Whoever connects from now on finds that it is too late, and wakes it.
            live.stopping.cancel();
        }
        (quiet, swarm.next_announce(), swarm.view(now).counters)
    });
    let Ok((quiet, next_announce, counters)) = asked else { return Outcome::Done };
    if !quiet {
        // A peer came meanwhile; it goes to sleep another time.
        return Outcome::NotIdle;
    }
    cx.engine.registry.set_dormant(cx.id);
    let trackers = live.call(|swarm, _| swarm.suspend_trackers()).ok();
    live.stop();
    live.tasks.close();
    let counters = add_counters(&cx.counters, counters);
    if counters != cx.counters {
        report(cx.engine.store.put(vec![Change::Counters(cx.id, counters.clone())]).await);
    }
    let rest = Rest { trackers, ..rest_of(&cx, counters, next_announce) };
    Outcome::Down { rest: Box::new(rest), dormant: true }
}

fn rest_of(cx: &Cx, counters: Counters, next_announce: Option<wgo_core::Time>) -> Rest {
    let have = match &cx.live {
        Some(live) => live.call(|swarm, _| swarm.have_copy()).unwrap_or_else(|_| cx.durable.clone()),
        None => cx.have.clone(),
    };
    let unverified = cx.live.as_ref().map_or_else(|| cx.unverified.clone(), |live| live.unverified());
    Rest {
        have,
        unverified,
        partials: Vec::new(),
        suspects: Vec::new(),
        counters,
        stamps: cx.stamps.clone(),
        unsynced: false,
        durable: false,
        undurable: None,
        completed_at: cx.completed_at,
        next_announce,
        trackers: None,
    }
}

/// Ends a torrent's exchange: connections, announces, a last checkpoint.
pub(super) async fn halt(mut cx: Cx) -> Outcome {
    cx.engine.leave(cx.id, &cx.hashes);
    let Some(live) = cx.live.clone() else {
        // One that sleeps has nothing to end but its trackers' belief that it is there.
        if let (Some(files), true) = (cx.files.clone(), cx.trackers.is_some()) {
            let sleeper = make(&mut cx, Some(&files));
            cx.engine.call(&sleeper, |swarm, now| swarm.announce_stopped(now));
        }
        return Outcome::Done;
    };
    let ended = end_tasks(&cx, &live).await;
    let Some(files) = live.files().cloned() else { return halt_unknown(&cx, ended).await };
    let Some((have, partials, counters)) = ended else {
        // A Swarm that can't be asked is down to the last checkpoint.
        let why = "its engine failed; what it stored last is hashed at the next start";
        let rest = Rest {
            have: cx.durable.clone(),
            unverified: cx.unverified.clone(),
            undurable: Some(why.to_owned()),
            ..rest_of(&cx, cx.counters.clone(), None)
        };
        return Outcome::Down { rest: Box::new(rest), dormant: false };
    };
    let finished = cx.is_met(&have);
    let (torrent, stored) = (files, Some(have.clone()));
    let job = |done| Job::Sync { torrent, have: stored, seal: finished, done };
    let outcome: SyncOutcome = run_job(&cx.engine, job).await;
    let finished = finished && outcome.unnamed.is_none();
    let stamps = merge_stamps(&cx, &outcome);
    let counters = add_counters(&cx.counters, counters);
    let mut rest = Rest { have, partials, stamps, ..rest_of(&cx, counters, None) };
    match in_doubt(&outcome) {
        Some(error) => {
            tracing::warn!(%error, "not everything could be made durable");
            doubt(&cx, &mut rest, &outcome);
            rest.unsynced = true;
            rest.undurable = Some(format!("what it stored last may not be on disk: {error}"));
        }
        None => {
            // The last piece may have come after the last checkpoint.
            let completed_at = cx.completed_at.or_else(|| finished.then(|| unix_now().max(0) as u64));
            let mut hashed = rest.have.clone();
            hashed.subtract(&rest.unverified);
            let progress = progress(&cx, &hashed, &rest.partials, false, completed_at, &rest.stamps);
            let changes =
                vec![Change::Progress(cx.id, progress), Change::Counters(cx.id, rest.counters.clone())];
            let put = cx.engine.store.put(changes).await;
            rest.durable = put.is_ok();
            if rest.durable {
                rest.completed_at = completed_at;
            }
            rest.undurable = put.as_ref().err().map(|error| {
                format!("its files are whole, but wgod could not note what is in them: {error}")
            });
            report(put);
        }
    }
    Outcome::Down { rest: Box::new(rest), dormant: false }
}

/// What came since the last checkpoint counts no more, after a sync that failed.
fn doubt(cx: &Cx, rest: &mut Rest, outcome: &SyncOutcome) {
    let doubtful: Vec<PieceIndex> = rest.have.iter_and_not(&cx.durable).map(PieceIndex).collect();
    if outcome.failed.iter().all(|(_, error)| error.kind == DiskErrorKind::Missing) {
        // Nothing was lost that could be reached: the next check says what is there.
        rest.suspects = doubtful;
    } else {
        // Fetched again: to hash it would only tell what is in memory.
        refute(cx, &doubtful);
    }
    rest.have = cx.durable.clone();
    rest.partials.clear();
}

/// One whose metadata has not come has nothing but its totals.
async fn halt_unknown(cx: &Cx, ended: Option<Ended>) -> Outcome {
    let counters = match ended {
        Some((_, _, counters)) => add_counters(&cx.counters, counters),
        None => cx.counters.clone(),
    };
    report(cx.engine.store.put(vec![Change::Counters(cx.id, counters.clone())]).await);
    let rest =
        Rest { have: cx.have.clone(), unverified: cx.unverified.clone(), ..rest_of(cx, counters, None) };
    Outcome::Down { rest: Box::new(rest), dormant: false }
}

/// What a Swarm had at its end: pieces, parts of others, and totals.
type Ended = (Bitfield, Vec<(PieceIndex, Bitfield)>, wgo_core::status::Counters);

/// Says good-bye to trackers and peers, and waits for the torrent's tasks and jobs. Unfinished pieces
/// are written out, so that no block is fetched twice.
async fn end_tasks(cx: &Cx, live: &Arc<Torrent>) -> Option<Ended> {
    let spills = live
        .call(|swarm, now| {
            swarm.announce_stopped(now);
            swarm.close_all(&wgo_core::peer::CloseReason::Stopped);
            swarm.spill_all()
        })
        .ok()?;
    live.stop();
    for spill in spills {
        cx.engine.spill(live, spill);
    }
    live.tasks.close();
    if tokio::time::timeout(TASKS_LIMIT, live.tasks.wait()).await.is_err() {
        tracing::warn!("some of its work hangs; it is left behind");
    }
    live.call(|swarm, now| (swarm.have_copy(), swarm.partials(), swarm.view(now).counters)).ok()
}

/// Sees whether what stood in the torrent's way is gone.
pub(super) async fn probe(cx: Cx) -> Outcome {
    if !cx.is_known() {
        // Nothing was found wrong but what is tried again now.
        return Outcome::HealedUnknown;
    }
    match reach(&cx).await {
        Ok((files, place)) => Outcome::Healed { files, place },
        Err(hindrance) => hindrance.outcome(),
    }
}

/// Whether the files are there, whole, and can be written to if that is wanted.
async fn reach(cx: &Cx) -> Result<(Arc<TorrentFiles>, Whereabouts), Hindrance> {
    let files = open_files(cx).await?;
    let place = locate(cx, &files).await?;
    let have = match &cx.live {
        Some(live) => live.call(|swarm, _| swarm.have_copy()).unwrap_or_else(|_| cx.have.clone()),
        None => cx.have.clone(),
    };
    let stamps = check::stat_all(cx, &files).await?;
    let missing = missing::files(cx, &have, &stamps);
    if let Some(fault) = missing.or_else(|| damaged(cx, &have, &stamps)) {
        return Err(fault.into());
    }
    if !cx.writes && check::differ(&cx.stamps, &stamps) {
        return Err(Hindrance::Changed);
    }
    let place = if cx.writes { prepare(cx, &files).await? } else { place };
    if cx.is_met(&have) {
        give_names(cx, &files, &have).await?;
    }
    Ok((files, place))
}

/// A file that is too short for the pieces that we have of it.
fn damaged(cx: &Cx, have: &Bitfield, stamps: &[Option<crate::store::FileStamp>]) -> Option<Fault> {
    let layout = &cx.info.layout;
    for (index, file) in cx.info.files.iter().enumerate() {
        let index_of = FileIndex(index as u32);
        if !check::on_disk(cx, index_of) || cx.info.is_parted(index_of) {
            continue;
        }
        let pieces = layout.pieces_of(index_of);
        let all = !pieces.is_empty() && pieces.clone().all(|piece| have.get(piece));
        let found = stamps.get(index).copied().flatten().map(|stamp| stamp.len);
        if let Some(len) = found.filter(|len| all && *len != file.len) {
            let message = format!(
                "{} has {len} bytes instead of {}; put it back and it goes on by itself, or run `wgoctl verify {}` to start from what is there",
                cx.path_of(index_of).display(),
                file.len,
                cx.hashes.canonical(),
            );
            return Some(Fault { kind: FaultKind::Unreachable, message });
        }
    }
    None
}
