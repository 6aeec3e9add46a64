//! What readers see: torrents as the control API shows them.
mod peers;

use std::hash::{DefaultHasher, Hasher};
use std::io;

use wgo_api::error::{ApiError, Kind};
use wgo_api::goals::{AfterGoal as ApiAfterGoal, GoalSource, GoalSources, Goals as ApiGoals, OwnGoals};
use wgo_api::params::{ListParams, ShowParams};
use wgo_api::result::{
    File, FilesResult, ListResult, Pieces, ShowResult, TorrentDetails, Tracker, TrackersResult,
};
use wgo_api::torrent::{
    FilePriority, Filter, Priority, RateLimits, Row, State, Torrent as TorrentRow, Trouble,
};
use wgo_core::piece_mgr::Priority as PiecePriority;
use wgo_core::session::{AfterGoal, ChosenGoals, FaultKind, Goals, Ratio, State as CoreState};
use wgo_core::swarm::{SwarmView, TrackerMemory};
use wgo_core::tracker::TrackerStatus;
use wgo_core::{Selection, TorrentId};
use wgo_proto::{Bitfield, FileIndex, PieceIndex};

use super::entry::{Entry, Shown};
use super::goals::reason;
use super::rules::{By, Decided};
use super::{Driver, Glance};

impl Driver {
    /// Torrents, all or those that changed after a version.
    pub(super) fn list(&mut self, params: &ListParams) -> ListResult {
        self.see();
        let known = params.since.filter(|since| {
            let oldest = self.removed.front().map_or(0, |(version, _)| *version);
            (self.first_version..=self.version).contains(since)
                && (*since >= oldest || self.removed.len() < super::driver::REMEMBERED_REMOVALS)
        });
        let fields = params.fields.unwrap_or_default();
        let mut result = ListResult { version: self.version, full: known.is_none(), ..ListResult::default() };
        if known.is_none() && params.filter == Filter::default() {
            result.torrents.reserve_exact(self.entries.len());
        }
        for entry in self.entries.listed() {
            if known.is_some_and(|since| entry.shown.version <= since) {
                continue;
            }
            let row = self.row_of(entry);
            if params.filter.matches(&row) {
                result.torrents.push(Row { torrent: row, fields });
            } else if known.is_some() {
                result.removed.push(row.info_hash);
            }
        }
        if let Some(since) = known {
            let gone = self.removed.iter().filter(|(version, _)| *version > since);
            result.removed.extend(gone.map(|(_, hash)| hash.clone()));
        }
        result
    }

    /// Gives those a new version that look different from what was last shown.
    fn see(&mut self) {
        self.reckon();
        let mut ids = std::mem::take(&mut self.unseen);
        ids.extend(self.restless());
        let mut version = self.version;
        for id in ids {
            let Some(entry) = self.entries.get(&id).filter(|entry| !entry.leaving) else { continue };
            let digest = digest(&self.row_of(entry));
            if entry.shown.digest != digest
                && let Some(entry) = self.entries.untouched_mut(&id)
            {
                version = self.version + 1;
                entry.shown = Shown { version, digest };
            }
        }
        self.version = version;
    }

    /// One torrent as a list shows it.
    pub(super) fn row(&self, id: TorrentId) -> Option<TorrentRow> {
        self.entries.get(&id).map(|entry| self.row_of(entry))
    }

    pub(super) fn row_of(&self, entry: &Entry) -> TorrentRow {
        let row = self.session.row(entry.id);
        let view = entry.live.as_ref().and_then(|live| live.call(|swarm, now| swarm.view(now)).ok());
        let state = row.map_or(CoreState::Stopped, |row| row.state());
        let Sizes { size, held, done } = Sizes::of(entry, view.as_ref());
        let counters = view
            .as_ref()
            .map_or((entry.counters.downloaded, entry.counters.uploaded, entry.counters.wasted), |v| {
                (v.counters.downloaded, v.counters.uploaded, v.counters.wasted)
            });
        let checking = entry.check.as_ref().filter(|_| state == CoreState::Checking);
        let moving = entry.moving.as_ref().filter(|_| state == CoreState::Moving);
        let work = match state {
            CoreState::Moving => Some(entry.moved_share()),
            _ => checking.map(|check| check.share()),
        };
        let progress = work.unwrap_or_else(|| if entry.is_known() { share(done, size) } else { 0.0 });
        let down_rate = view.as_ref().map_or(0, |v| v.down.0);
        let now = self.engine.clock.now();
        let eta_secs = match (checking, moving) {
            (Some(check), _) => check.time_left(now).map(|left| left.as_secs()),
            (_, Some(moving)) => moving.time_left(now).map(|left| left.as_secs()),
            (None, None) => (done < size && down_rate > 0).then(|| (size - done).div_ceil(down_rate)),
        };
        let base = counters.0.max(held);
        TorrentRow {
            info_hash: entry.hash_text(),
            info_hash_v2: entry.settings.hashes.v2.map(|hash| hash.to_string()),
            name: entry.settings.name.clone(),
            state: api_state(state),
            error: row
                .and_then(|row| row.trouble())
                .map(|fault| fault.message.clone())
                .or(entry.move_error.clone()),
            error_kind: row.and_then(|row| row.trouble()).map(|fault| api_trouble(fault.kind)),
            size_bytes: entry.is_known().then_some(size),
            done_bytes: done,
            downloaded_bytes: counters.0,
            uploaded_bytes: counters.1,
            wasted_bytes: counters.2,
            down_rate,
            up_rate: view.as_ref().map_or(0, |v| v.up.0),
            progress,
            eta_secs,
            ratio: (base > 0).then(|| counters.1 as f64 / base as f64),
            peers: view.as_ref().map_or(0, |v| v.peers as u32),
            seeds: view.as_ref().map_or(0, |v| v.seeds as u32),
            folder: entry.settings.folder.to_string_lossy().into_owned(),
            final_folder: entry
                .settings
                .final_folder
                .as_ref()
                .map(|folder| folder.path.to_string_lossy().into_owned()),
            labels: sorted(&entry.settings.labels),
            private: entry.is_known().then_some(entry.info.private),
            added_at: entry.settings.added_at,
            completed_at: entry.completed_at,
            limits: RateLimits {
                up: entry.settings.up_limit.map_or(0, |rate| rate.0),
                down: entry.settings.down_limit.map_or(0, |rate| rate.0),
            },
            priority: row.map_or(Priority::Normal, |row| api_priority(row.priority)),
            queue_position: self.session.queue_position(entry.id).map(|position| position as u32),
            forced: row.is_some_and(|row| row.forced),
            sequential: entry.settings.sequential,
            goals: api_goals(self.goals_of(entry)),
            done_reason: entry
                .settings
                .goal_reached
                .filter(|done| !done.started_again)
                .map(|done| reason(done.reached)),
        }
    }

    /// One torrent in full.
    pub(super) fn show(&self, params: &ShowParams) -> Result<ShowResult, ApiError> {
        let id = self.resolve(&params.id)?;
        let gone = || ApiError::new(Kind::NoMatch, "it is being removed");
        let entry = self.entries.get(&id).ok_or_else(gone)?;
        let torrent = self.row(id).ok_or_else(gone)?;
        let have = entry.have_shown();
        let layout = &entry.info.layout;
        let about = entry.about.as_deref();
        let counters = entry.counters_now(self.engine.clock.now());
        let availability =
            entry.live.as_ref().and_then(|live| live.call(|swarm, _| swarm.availability()).ok());
        let details = TorrentDetails {
            torrent,
            piece_length: entry.is_known().then(|| layout.nominal_piece_len()),
            pieces: entry.is_known().then(|| layout.piece_count()),
            pieces_done: entry.is_known().then(|| have.count()),
            availability: availability.as_deref().filter(|_| entry.is_known()).map(copies),
            comment: about.and_then(|about| about.comment.clone()),
            created_by: about.and_then(|about| about.created_by.clone()),
            created_at: about.and_then(|about| about.created_at),
            magnet: None,
            own_goals: api_own_goals(entry.settings.goals),
            goals_by: api_goals_by(&self.decided_goals(entry)),
            label_limits: self.label_limits(entry),
            active_secs: counters.active_secs,
            seeding_secs: counters.seeding_secs,
            idle_secs: counters.idle_secs,
        };
        Ok(ShowResult {
            torrent: details,
            files: params.files.then(|| files(entry, &have)),
            peers: params.peers.then(|| self.peers(entry)),
            bans: params.peers.then(|| self.bans(entry)),
            trackers: params.trackers.then(|| self.trackers(entry)),
            dht: params.trackers.then(|| self.dht_lookups(entry)),
            pieces: params.pieces.then(|| pieces(&have, availability.unwrap_or_default())),
        })
    }

    /// The answer to `trackers`.
    pub(super) fn trackers_result(&self, id: TorrentId) -> TrackersResult {
        let Some(entry) = self.entries.get(&id) else { return TrackersResult::default() };
        let (info_hash, name) = (entry.hash_text(), entry.settings.name.clone());
        TrackersResult { info_hash, name, trackers: self.trackers(entry), dht: self.dht_lookups(entry) }
    }

    fn trackers(&self, entry: &Entry) -> Vec<Tracker> {
        let now = self.engine.clock.now();
        let asleep = || entry.trackers.as_deref().map(TrackerMemory::statuses);
        let live = entry.live.as_ref().and_then(|live| live.call(|swarm, _| swarm.tracker_statuses()).ok());
        let mut trackers: Vec<Tracker> = match live.or_else(asleep).filter(|_| !entry.retiered) {
            Some(statuses) => statuses.iter().map(|status| tracker(status, now)).collect(),
            None => {
                let tiers = entry.tiers.iter().enumerate();
                let each = tiers.flat_map(|(tier, urls)| urls.iter().map(move |url| (tier as u32, url)));
                each.map(|(tier, url)| Tracker { url: url.to_string(), tier, ..Tracker::default() }).collect()
            }
        };
        entry.show_scraped(&mut trackers, now);
        trackers
    }

    /// The daemon's figures, with the torrents that were asked for.
    pub(super) fn glance(&mut self, ids: Option<&[String]>) -> Result<Glance, ApiError> {
        let chosen: Option<Vec<TorrentId>> = match ids {
            None => None,
            Some([]) => Some(self.entries.listed().map(|entry| entry.id).collect()),
            Some(ids) => Some(ids.iter().map(|id| self.resolve(id)).collect::<Result<_, _>>()?),
        };
        let totals = self.all_totals();
        Ok(Glance {
            states: self.tally.states().clone(),
            trouble: self.trouble(),
            rates: self.tally.rates(),
            folders: self.tally.folders(),
            troubles: self.disks.troubles(self.tunables.min_free_space),
            totals: (totals.downloaded, totals.uploaded),
            session: (
                totals.downloaded.saturating_sub(self.begun_with.downloaded),
                totals.uploaded.saturating_sub(self.begun_with.uploaded),
            ),
            torrents: chosen.map(|ids| ids.into_iter().filter_map(|id| self.row(id)).collect()),
        })
    }
}

/// What a reader sees of a torrent, as a number that changes with it.
fn digest(row: &TorrentRow) -> u64 {
    struct Hashed(DefaultHasher);
    impl io::Write for Hashed {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.write(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut hashed = Hashed(DefaultHasher::new());
    // A hash takes everything.
    let _ = serde_json::to_writer(&mut hashed, row);
    hashed.0.finish()
}

pub(super) fn api_state(state: CoreState) -> State {
    match state {
        CoreState::Queued => State::Queued,
        CoreState::Checking => State::Checking,
        CoreState::Metadata => State::Metadata,
        CoreState::Downloading => State::Downloading,
        CoreState::Seeding => State::Seeding,
        CoreState::Stopped => State::Stopped,
        CoreState::Moving => State::Moving,
        CoreState::Error => State::Error,
    }
}

fn api_trouble(kind: FaultKind) -> Trouble {
    match kind {
        FaultKind::DiskFull => Trouble::DiskFull,
        FaultKind::NotWritable => Trouble::NotWritable,
        FaultKind::Unreachable => Trouble::Unavailable,
        FaultKind::Broken => Trouble::Broken,
    }
}

fn api_priority(priority: PiecePriority) -> Priority {
    match priority {
        PiecePriority::Skip | PiecePriority::Low => Priority::Low,
        PiecePriority::Normal => Priority::Normal,
        PiecePriority::High => Priority::High,
    }
}

fn api_file_priority(entry: &Entry, file: FileIndex) -> FilePriority {
    match entry.settings.file_priorities.get(file.0 as usize) {
        Some(PiecePriority::Skip) => FilePriority::Skip,
        Some(PiecePriority::Low) => FilePriority::Low,
        Some(PiecePriority::High) => FilePriority::High,
        Some(PiecePriority::Normal) | None => FilePriority::Normal,
    }
}

fn api_after(action: AfterGoal) -> ApiAfterGoal {
    match action {
        AfterGoal::Stop => ApiAfterGoal::Stop,
        AfterGoal::Remove => ApiAfterGoal::Remove,
        AfterGoal::RemoveWithFiles => ApiAfterGoal::RemoveWithFiles,
        AfterGoal::Keep => ApiAfterGoal::Keep,
    }
}

fn api_goals(Goals { ratio, time, idle, action }: Goals) -> ApiGoals {
    let ratio = ratio.map(Ratio::as_f64);
    ApiGoals { ratio, time_secs: time, idle_secs: idle, action: api_after(action) }
}

fn api_own_goals(ChosenGoals { ratio, time, idle, action }: ChosenGoals) -> OwnGoals {
    let (ratio, action) = (ratio.map(Ratio::as_f64), action.map(api_after));
    OwnGoals { ratio, time_secs: time, idle_secs: idle, action }
}

fn api_goals_by(decided: &Decided<'_>) -> GoalSources {
    let source = |by: By<'_>| match by {
        By::Torrent => GoalSource::TORRENT,
        By::Label(label) => GoalSource::label(label),
        By::Tracker(host) => GoalSource::tracker(host),
        By::Seeding => GoalSource::SEEDING,
    };
    GoalSources {
        ratio: source(decided.ratio),
        time_secs: source(decided.time),
        idle_secs: source(decided.idle),
        action: source(decided.action),
    }
}

fn sorted(labels: &[String]) -> Vec<String> {
    let mut labels = labels.to_vec();
    labels.sort();
    labels
}

/// How much there is of a torrent, in bytes.
struct Sizes {
    /// What is wanted.
    size: u64,
    /// What is stored, wanted or not.
    held: u64,
    /// What of `size` is stored, or was found so far by a check that is owed.
    done: u64,
}

impl Sizes {
    fn of(entry: &Entry, view: Option<&SwarmView>) -> Sizes {
        let (size, total) = (wanted_bytes(entry), entry.info.layout.total_len());
        let held = view.map_or_else(|| stored_bytes(entry, &entry.have), |view| done_of(view, total));
        let left = |wanted: &Selection, have: &Bitfield| left_bytes(entry, wanted, have).min(size);
        let done = match (entry.owes_check(), &entry.selection, view) {
            (true, None, _) => stored_bytes(entry, &entry.have_shown()),
            (false, None, _) => held,
            (true, Some(wanted), _) => size - left(wanted, &entry.have_shown()),
            (false, Some(_), Some(view)) => size - view.left_bytes.min(size),
            (false, Some(wanted), None) => size - left(wanted, &entry.have),
        };
        Sizes { size, held, done }
    }
}

/// Bytes of the files that are wanted.
fn wanted_bytes(entry: &Entry) -> u64 {
    entry.selection.as_ref().map_or_else(|| entry.info.layout.total_len(), |wanted| wanted.wanted_len())
}

/// Bytes of the pieces that are wanted and missing. They may hold some of unwanted files.
fn left_bytes(entry: &Entry, selection: &Selection, have: &Bitfield) -> u64 {
    let layout = &entry.info.layout;
    let missing = selection.wanted().iter_and_not(have).map(PieceIndex);
    missing.map(|piece| u64::from(layout.piece_len(piece))).sum()
}

fn done_of(view: &SwarmView, size: u64) -> u64 {
    if view.complete { size } else { view.done_bytes }
}

fn stored_bytes(entry: &Entry, have: &Bitfield) -> u64 {
    if have.is_full() {
        return entry.info.layout.total_len();
    }
    have.iter_ones().map(|piece| u64::from(entry.info.layout.piece_len(PieceIndex(piece)))).sum()
}

fn share(done: u64, size: u64) -> f64 {
    if size == 0 { 1.0 } else { done as f64 / size as f64 }
}

/// Copies of the rarest piece, plus the share of pieces that have more.
fn copies(availability: &[u32]) -> f64 {
    let rarest = availability.iter().copied().min().unwrap_or(0);
    let more = availability.iter().filter(|copies| **copies > rarest).count();
    f64::from(rarest) + more as f64 / availability.len().max(1) as f64
}

/// What is wanted of a torrent.
pub(super) fn files_result(entry: &Entry) -> FilesResult {
    FilesResult {
        info_hash: entry.hash_text(),
        name: entry.settings.name.clone(),
        first_last: entry.settings.ends_first,
        files: files(entry, &entry.have_shown()),
    }
}

fn files(entry: &Entry, have: &Bitfield) -> Vec<File> {
    let layout = &entry.info.layout;
    let done = |index: usize, len: u64| -> u64 {
        let mut done = 0;
        for piece in layout.pieces_of(FileIndex(index as u32)).filter(|piece| have.get(*piece)) {
            let spans = layout.spans(PieceIndex(piece), 0, layout.piece_len(PieceIndex(piece)));
            done += spans
                .filter(|span| span.file.0 as usize == index)
                .map(|span| u64::from(span.len))
                .sum::<u64>();
        }
        done.min(len)
    };
    // The part file is no file of the torrent.
    let each = entry.info.files.iter().take(layout.file_count() as usize).enumerate();
    each.map(|(index, file)| File {
        path: file.path.as_str().to_owned(),
        path_on_disk: entry.suffixed_path(FileIndex(index as u32)).map(|path| path.to_string()),
        size_bytes: file.len,
        done_bytes: Some(done(index, file.len)),
        pad: file.pad,
        priority: Some(api_file_priority(entry, FileIndex(index as u32))),
    })
    .collect()
}

fn pieces(have: &Bitfield, availability: Vec<u32>) -> Pieces {
    let hex = have.to_wire().iter().map(|byte| format!("{byte:02x}")).collect();
    Pieces { count: have.len(), have: hex, availability }
}

fn tracker(status: &TrackerStatus, now: wgo_core::Time) -> Tracker {
    use wgo_core::tracker::State as S;
    let (word, message) = match &status.state {
        S::Never => ("idle", None),
        S::Updating => ("announcing", None),
        S::Working => ("ok", None),
        S::Failed { message, .. } | S::Disabled { message } => ("error", Some(message.clone())),
    };
    Tracker {
        url: status.url.to_string(),
        tier: status.tier as u32,
        status: Some(word.to_owned()),
        message: message.or_else(|| status.warning.clone()),
        next_announce_secs: status.next_announce.map(|at| at.since(now).as_secs()),
        last_announce_secs: status.last_announce.map(|at| now.since(at).as_secs()),
        seeds: status.seeders,
        leeches: status.leechers,
        completed: status.downloaded,
        peers: Some(status.peers as u32),
    }
}
