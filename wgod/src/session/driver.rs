//! The task that owns the session: one loop over commands, events, actions, ended operations and the
//! session's clock.
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use wgo_core::session::{Check, Fault, FaultKind, Newcomer, QueueLimits, Session};
use wgo_core::swarm::Action;
use wgo_core::tracker::Tiers;
use wgo_core::{ByteRate, Time, TorrentId};
use wgo_proto::WireHash;
use wgo_proto::metainfo::Metainfo;

use super::arrival::Arrivals;
use super::checking::check_of;
use super::choke::ChokeState;
use super::classes::Classes;
use super::entries::Entries;
use super::entry::{About, Entry, Shown, from_stored, on_disk, selection_of};
use super::goals::Activity;
use super::happened::Telling;
use super::metadata::{settle_choice, take_up};
use super::moving::{Postponed, Surveyed, underway};
use super::network::Network;
use super::ops::{Op, Outcome};
use super::renaming;
use super::space::{Disks, WATCH_INTERVAL};
use super::tally::{Share, Tally};
use super::urls::Urls;
use super::{Command, Event, SessionHandle, Tunables, fault};
use crate::ending::Patience;
use crate::engine::Engine;
use crate::files::BlockBuf;
use crate::store::{Progress, StoreError, TorrentRecord, Totals, Wanted};
use crate::systemd::Pulse;
use crate::torrent::Torrent;

/// Idle block buffers are given back this often.
const TRIM_INTERVAL: Duration = Duration::from_secs(5);
/// Torrents that went away, kept for `list` with `since`; older callers get a full list.
pub(super) const REMEMBERED_REMOVALS: usize = 4096;

/// A queue in which everybody waits.
const CLOSED: QueueLimits =
    QueueLimits { downloads: Some(0), seeds: Some(0), active: Some(0), slow: ByteRate(0) };

/// The session's driver.
pub struct Driver {
    pub(super) engine: Arc<Engine>,
    pub(super) session: Session,
    pub(super) entries: Entries,
    pub(super) by_hash: HashMap<WireHash, TorrentId>,
    /// Sums over all torrents.
    pub(super) tally: Tally,
    /// Torrents that changed since readers were last told of changes. Bounded by the torrents.
    pub(super) unseen: BTreeSet<TorrentId>,
    /// The device of the folder that the last torrent was added to, and until when that is believed.
    pub(super) last_device: Option<(PathBuf, u64, Time)>,
    /// Of trackers.
    pub(super) urls: Urls,
    pub(super) classes: Classes,
    pub(super) tunables: Tunables,
    pub(super) choke: ChokeState,
    pub(super) disks: Disks,
    pub(super) arrivals: Arrivals,
    pub(super) seed: u64,
    pub(super) next_id: u64,
    pub(super) ops: JoinSet<(TorrentId, Outcome)>,
    /// Whose operation each task of `ops` is.
    pub(super) op_of: HashMap<tokio::task::Id, TorrentId>,
    /// Torrents whose checks are being saved and have given their device to the next; at most
    /// [`SAVED_BESIDE`](super::checking::SAVED_BESIDE).
    pub(super) saved_beside: BTreeSet<TorrentId>,
    /// Moves that were asked for, looked into.
    pub(super) surveys: JoinSet<Surveyed>,
    /// Moves that wait until metadata is saved.
    pub(super) postponed: Vec<Postponed>,
    /// Renames that were asked for, looked into.
    pub(super) rename_surveys: JoinSet<renaming::Surveyed>,
    /// Tasks that gather an answer for a caller.
    pub(super) replies: JoinSet<()>,
    /// Settings on their way to the store, at most one save for each torrent.
    pub(super) saves: JoinSet<(TorrentId, bool)>,
    /// Torrents whose settings the store didn't take.
    pub(super) unsaved: BTreeSet<TorrentId>,
    /// Who waits for a torrent to wake.
    pub(super) waking: HashMap<TorrentId, Vec<oneshot::Sender<Option<Arc<Torrent>>>>>,
    /// Torrents that were removed and that the store could not forget, as on a full disk.
    pub(super) remembered: Vec<TorrentId>,
    /// Number of the last visible change.
    pub(super) version: u64,
    /// The number before the first change of this run.
    pub(super) first_version: u64,
    pub(super) changed: watch::Sender<u64>,
    pub(super) removed: VecDeque<(u64, String)>,
    /// Traffic of torrents that were removed.
    pub(super) totals: Totals,
    /// Traffic of all runs before this one.
    pub(super) begun_with: Totals,
    /// When the totals of live seeds were last saved.
    pub(super) counters_saved: Option<Time>,
    commands: mpsc::Receiver<Command>,
    events: mpsc::UnboundedReceiver<Event>,
    pub(super) actions: mpsc::UnboundedReceiver<(Arc<Torrent>, Action<BlockBuf>)>,
    broken: mpsc::UnboundedReceiver<TorrentId>,
    stopping: CancellationToken,
    patience: Patience,
}

/// What a driver is made of.
pub struct Start {
    /// Shared by all.
    pub engine: Arc<Engine>,
    /// Settings in force.
    pub tunables: Tunables,
    /// The id for the next new torrent.
    pub next_id: TorrentId,
    /// Traffic of torrents that were removed.
    pub totals: Totals,
    /// Pieces to hash after an unclean end.
    pub suspects: BTreeMap<TorrentId, Vec<wgo_proto::PieceIndex>>,
    /// What tasks report.
    pub events: mpsc::UnboundedReceiver<Event>,
    /// What Swarms want done.
    pub actions: mpsc::UnboundedReceiver<(Arc<Torrent>, Action<BlockBuf>)>,
    /// Torrents whose engine failed.
    pub broken: mpsc::UnboundedReceiver<TorrentId>,
    /// Ends the driver, in order.
    pub stopping: CancellationToken,
    /// How long that may take.
    pub patience: Patience,
    /// Seed of random decisions.
    pub seed: u64,
}

impl Driver {
    /// A driver with the torrents of the store, the way to it, and a number that changes with what it
    /// shows.
    pub async fn load(start: Start) -> Result<(Driver, SessionHandle, watch::Receiver<u64>), StoreError> {
        let (sender, commands) = mpsc::channel(SessionHandle::QUEUE);
        let (changed, watcher) = watch::channel(0);
        let first_version = first_version();
        let mut driver = Driver {
            engine: start.engine,
            // Nobody runs before all are known: who comes first may be the last of them.
            session: Session::new(CLOSED),
            entries: Entries::default(),
            tally: Tally::default(),
            unseen: BTreeSet::new(),
            by_hash: HashMap::new(),
            urls: Urls::default(),
            classes: Classes::default(),
            tunables: start.tunables,
            choke: ChokeState::default(),
            disks: Disks::default(),
            arrivals: Arrivals::default(),
            seed: start.seed,
            last_device: None,
            next_id: start.next_id.0,
            ops: JoinSet::new(),
            op_of: HashMap::new(),
            saved_beside: BTreeSet::new(),
            surveys: JoinSet::new(),
            postponed: Vec::new(),
            rename_surveys: JoinSet::new(),
            replies: JoinSet::new(),
            saves: JoinSet::new(),
            unsaved: BTreeSet::new(),
            waking: HashMap::new(),
            remembered: Vec::new(),
            version: first_version,
            first_version,
            changed,
            removed: VecDeque::new(),
            totals: start.totals,
            begun_with: start.totals,
            counters_saved: None,
            commands,
            events: start.events,
            actions: start.actions,
            broken: start.broken,
            stopping: start.stopping,
            patience: start.patience,
        };
        driver.limit_labels();
        let (records, doubles) = super::save::load(&driver.engine.store).await?;
        driver.remembered = doubles;
        let mut suspects = start.suspects;
        // Most torrents share a few folders.
        let mut devices: HashMap<PathBuf, u64> = HashMap::new();
        let (all, mut pulse) = (records.len(), Pulse::default());
        for (done, record) in records.into_iter().enumerate() {
            pulse.beat("loading torrents", done, all);
            let suspects = suspects.remove(&record.id).unwrap_or_default();
            let folder = &record.settings.folder;
            let device = match devices.get(folder) {
                Some(device) => *device,
                None => {
                    let device = driver.engine.storage.device_of(folder);
                    devices.insert(folder.clone(), device);
                    device
                }
            };
            driver.restore(record, suspects, device).await?;
        }
        for entry in driver.entries.values() {
            driver.begun_with.downloaded += entry.counters.downloaded;
            driver.begun_with.uploaded += entry.counters.uploaded;
        }
        driver.session.set_queue(driver.engine.clock.now(), driver.tunables.queue);
        Ok((driver, SessionHandle(sender), watcher))
    }

    /// Takes up a torrent of the store.
    async fn restore(
        &mut self,
        record: TorrentRecord,
        suspects: Vec<wgo_proto::PieceIndex>,
        device: u64,
    ) -> Result<(), StoreError> {
        let id = record.id;
        let raw = self.engine.store.metainfo(id).await?;
        let (mut record, mut trouble) = (record, None);
        let (metainfo, renaming) = match take_up(raw.as_deref(), &record.settings) {
            Ok(taken) => taken,
            Err(error) => {
                tracing::error!(id = id.0, name = record.settings.name, error, "it is left alone");
                return Ok(());
            }
        };
        let settles = metainfo.info.layout.is_known() && record.settings.awaited.is_some();
        if settles {
            record.settings.hashes = metainfo.hashes;
            trouble = settle_choice(&metainfo.info, &mut record.settings);
        }
        let tiers = self.urls.share(record.settings.trackers.as_ref().unwrap_or(&metainfo.tiers));
        let entry = Entry { renaming, ..entry_of(record, metainfo, tiers, suspects) };
        let finished = entry.is_finished();
        // Complete, but not all of it was ever hashed: what a quick check left behind.
        let believed = entry.completed_at.is_some() && !finished && !entry.writing;
        let needs = match &entry.owed {
            Some(owed) => check_of(owed.kind),
            None if believed => Check::Quick,
            None if !entry.is_known() => Check::None,
            None => Check::Suspects,
        };
        let newcomer = Newcomer {
            id,
            hashes: entry.settings.hashes,
            started: entry.settings.wanted == Wanted::Started,
            known: entry.is_known(),
            needs,
            check_asked: entry.settings.check_asked,
            finished,
            device,
            moving: underway(&entry.settings, |folder| self.engine.storage.device_of(folder)),
            place: entry.settings.place,
        };
        let undo = newcomer.moving.is_none() && entry.settings.moving.is_some();
        let renames = entry.renaming.is_some();
        let untold = finished && entry.completed_at.is_some() && entry.settings.completion_owed;
        let error = entry.settings.error.as_ref().map(fault::from_stored);
        if entry.is_to_arrive() {
            self.arrivals.plan(id, self.engine.clock.now());
        }
        self.insert(entry);
        if settles {
            self.begin_selection(id);
        }
        if undo {
            self.push_op(id, Op::Move);
        }
        self.session.add(self.engine.clock.now(), newcomer);
        if renames {
            // Before what the session has it do.
            self.push_op(id, Op::Rename);
        }
        if let Some(error) = error {
            self.session.recall_fault(id, error);
        }
        if let Some(message) = trouble {
            self.fault(id, Fault { kind: FaultKind::Broken, message });
        }
        // The last run ended before that was told.
        if untold {
            self.tell_completion(id);
        }
        Ok(())
    }

    /// Makes an entry known under its hashes, with its limits in force.
    pub(super) fn insert(&mut self, entry: Entry) {
        for hash in entry.settings.hashes.wire() {
            self.by_hash.insert(hash, entry.id);
        }
        use wgo_core::limiter::Direction::{Down, Up};
        for (direction, limit) in [(Up, entry.settings.up_limit), (Down, entry.settings.down_limit)] {
            if limit.is_some() {
                self.engine.shaper.set(Some(entry.id), direction, limit);
            }
        }
        if self.has_classes() && !entry.settings.labels.is_empty() {
            self.classify(&entry);
        }
        self.entries.insert(entry);
    }

    /// Runs until it is told to stop; then ends every torrent in order.
    pub async fn run(mut self) {
        self.carry_out();
        let mut trim = tokio::time::interval(TRIM_INTERVAL);
        let mut watch = tokio::time::interval(WATCH_INTERVAL);
        watch.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (stopping, mut outside) = (self.stopping.clone(), self.engine.outside.changes());
        let mut network = Network::of(&self.engine.outlet);
        loop {
            let due = self.session.poll_timeout();
            let clock = self.engine.clock;
            let timer = async {
                match due {
                    Some(at) => tokio::time::sleep_until(clock.instant(at)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stopping.cancelled() => break,
                Some(command) = self.commands.recv() => self.on_command(command),
                Some(event) = self.events.recv() => self.on_event(event),
                Some((torrent, action)) = self.actions.recv() => self.on_action(&torrent, action),
                Some(id) = self.broken.recv() => self.on_broken(id),
                Some(ended) = self.ops.join_next_with_id() => self.on_op(ended),
                Some(Ok((id, done))) = self.saves.join_next() => self.on_saved(id, done),
                Some(Ok(surveyed)) = self.surveys.join_next() => self.on_surveyed(surveyed),
                Some(Ok(surveyed)) = self.rename_surveys.join_next() => self.on_rename_surveyed(surveyed),
                Some(_answered) = self.replies.join_next() => {}
                () = timer => self.session.handle_timeout(clock.now()),
                Ok(()) = outside.changed() => self.tell_own_addrs(),
                (before, after) = network.changed() => self.on_network(&before, &after),
                _ = trim.tick() => self.engine.trim(),
                _ = watch.tick() => self.watch_disks(),
            }
            self.carry_out();
        }
        self.shut_down().await;
    }

    /// Ends every torrent: connections, `stopped`, a last checkpoint.
    async fn shut_down(&mut self) {
        let begun = Instant::now();
        let (torrents_end, trackers_end) = (begun + self.patience.torrents, begun + self.patience.trackers);
        let ids = self.entries.ids();
        for id in &ids {
            if let Some(entry) = self.entries.get_mut(id) {
                if let Some(check) = &entry.check {
                    check.pause();
                }
                if let Some(moving) = &entry.moving {
                    moving.stop();
                }
                entry.lane.retain(|op| matches!(op, Op::Halt | Op::ForgetCheck | Op::Remove { .. }));
            }
            self.push_op(*id, Op::Halt);
        }
        let patience = tokio::time::sleep_until(torrents_end);
        tokio::pin!(patience);
        while !self.op_of.is_empty() || !self.saves.is_empty() {
            tokio::select! {
                Some(Ok((id, done))) = self.saves.join_next() => self.on_saved(id, done),
                Some(ended) = self.ops.join_next_with_id() => self.on_op(ended),
                Some((torrent, action)) = self.actions.recv() => self.on_action(&torrent, action),
                () = &mut patience => {
                    let hung = self.op_of.values().filter_map(|id| self.entries.get(id));
                    for entry in hung {
                        entry.span().in_scope(|| tracing::error!("does not end: does its disk answer?"));
                    }
                    break;
                }
            }
        }
        // `stopped` announces may still be queued as actions.
        while let Ok((torrent, action)) = self.actions.try_recv() {
            self.on_action(&torrent, action);
        }
        if timeout_at(trackers_end, self.save_asleep()).await.is_err() {
            tracing::error!("seeding times not saved: does the disk of the state directory answer?");
        }
        if !self.remembered.is_empty() {
            let forgotten = self.engine.store.put(super::save::removals(&self.remembered));
            match timeout_at(trackers_end, forgotten).await {
                Ok(result) => super::save::report(result),
                Err(_) => {
                    tracing::error!("removed torrents may come back: does the disk of the state answer?")
                }
            }
        }
        if timeout_at(trackers_end, self.last_announces()).await.is_err() {
            tracing::info!("some trackers did not answer `stopped` in time");
        }
    }

    /// Keeps the time of torrents that sleep; the others' counters are saved as they end.
    async fn save_asleep(&self) {
        let changes = self.totals_asleep();
        if !changes.is_empty()
            && let Err(error) = self.engine.store.put(changes).await
        {
            tracing::warn!(%error, "seeding times not saved");
        }
    }

    /// Whether the daemon is ending.
    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.is_cancelled()
    }

    /// Something visible changed.
    pub(super) fn touch(&mut self) {
        self.version += 1;
        self.changed.send_replace(self.version);
    }
}

/// Where the numbers of a run begin: anywhere, so that a reader's number of another run isn't taken for one of this.
/// Of 52 bits, which every reader of JSON takes exactly.
fn first_version() -> u64 {
    RandomState::new().build_hasher().finish() >> 12
}

/// An entry made of a stored record.
fn entry_of(
    record: TorrentRecord,
    metainfo: Metainfo,
    tiers: Tiers,
    suspects: Vec<wgo_proto::PieceIndex>,
) -> Entry {
    let TorrentRecord { id, settings, progress, counters } = record;
    let Progress { have, partials, writing, completed_at, check, files, mount, .. } = progress;
    let about = About::of(&metainfo);
    let layout = &metainfo.info.layout;
    let have = from_stored(&have, layout.piece_count());
    let partials = partials
        .into_iter()
        .filter(|partial| partial.piece.0 < layout.piece_count())
        .filter_map(|p| {
            Some((p.piece, wgo_proto::Bitfield::from_wire(&p.blocks, layout.blocks_in(p.piece)).ok()?))
        })
        .collect();
    Entry {
        id,
        tiers,
        selection: selection_of(&metainfo.info, &settings),
        info: Arc::new(on_disk(metainfo.info, &settings)),
        about,
        settings,
        files: None,
        live: None,
        durable: have.clone(),
        unverified: wgo_proto::Bitfield::new(have.len()),
        have,
        partials,
        stamps: files,
        suspects,
        mount,
        writing,
        completed_at,
        activity: Activity::new(&counters),
        counters,
        retiered: false,
        trackers: None,
        told: Vec::new(),
        starts_over: false,
        owed: check,
        claims: None,
        check: None,
        moving: None,
        renaming: None,
        move_error: None,
        wish: None,
        ranked_anew: false,
        named_anew: false,
        lane: VecDeque::new(),
        busy: false,
        learns: false,
        leaving: false,
        removing: false,
        saving: super::save::Saving::default(),
        unsaved: Vec::new(),
        awaiting_save: Vec::new(),
        telling: Telling::default(),
        shown: Shown::default(),
        share: Share::default(),
    }
}
