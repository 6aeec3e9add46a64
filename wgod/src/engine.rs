//! What every part of the shell shares: clock, buffers, storage, store, limits, and the way to the
//! session's driver.
use std::hash::RandomState;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio_util::task::TaskTracker;
use wgo_core::TorrentId;
use wgo_core::dht::rounds::Need;
use wgo_core::piece_mgr::{BadBlocks, Complete, Spill};
use wgo_core::swarm::PieceOutcome;
use wgo_proto::{Block, InfoHashes, PeerId, PieceIndex, WireHash};

use crate::clock::Clock;
use crate::confine::Confinement;
use crate::dht::Dht;
use crate::dial::Dialer;
use crate::encryption::Encryption;
use crate::external::Outside;
use crate::files::{
    BlockBuf, BufPool, Check, CheckOutcome, CheckPieces, Checked, DiskError, DiskErrorKind, Done, Job,
    ReadOutcome, Storage, StoreOutcome, Witness, Work, wire_len,
};
use crate::hooks::Hooks;
use crate::ip_filter::IpFilters;
use crate::listen::Listening;
use crate::lsd::Lsd;
use crate::metadata::Dictionaries;
use crate::metrics::Counters;
use crate::outlet::Outlet;
use crate::portmap::PortMapping;
use crate::proxy::{Direct, Proxies};
use crate::registry::Registry;
use crate::session::Event;
use crate::shaper::Shaper;
use crate::store::Store;
use crate::timers::Timers;
use crate::torrent::{ActionSender, Torrent};
use crate::tracker::Trackers;

/// Shared by all tasks of the daemon.
pub struct Engine {
    /// The engine's clock.
    pub clock: Clock,
    /// Our id in handshakes, one per run.
    pub peer_id: PeerId,
    /// Block buffers.
    pub pool: BufPool,
    /// Secret of the digests by which those are found who send wrong blocks.
    pub digest_key: RandomState,
    /// Payload files.
    pub storage: Arc<Storage>,
    /// Durable state.
    pub store: Store,
    /// Rate limits.
    pub shaper: Shaper,
    /// Who answers to which info-hash.
    pub registry: Registry,
    /// Deadlines of Swarms.
    pub timers: Timers,
    /// Tracker drivers.
    pub trackers: Trackers,
    /// The DHT.
    pub dht: Dht,
    /// Our addresses, as others see them.
    pub outside: Arc<Outside>,
    /// What all sockets to strangers are bound to.
    pub outlet: Outlet,
    /// Local service discovery.
    pub lsd: Lsd,
    /// The addresses that we have nothing to do with.
    pub ip_filter: IpFilters,
    /// Where peers reach us now.
    pub listening: Listening,
    /// What goes by a proxy, and what may not go round it.
    pub proxies: Proxies,
    /// The port that we listen on; 0 if we do not. Others are told [`announced_port`](Self::announced_port).
    pub port: u16,
    /// What a gateway maps of it.
    pub mapping: PortMapping,
    /// Encryption of connections to peers.
    pub encryption: Encryption,
    /// Where Swarms' actions go.
    pub actions: ActionSender,
    /// Where tasks report to the session's driver. Unbounded: an event is the end of something that the
    /// driver began, or one of a torrent's few faults.
    pub events: mpsc::UnboundedSender<Event>,
    /// Announces under way; they outlive their torrents.
    pub announces: TaskTracker,
    /// Places for connections, over all torrents.
    pub connections: Places,
    /// Whose turn it is to connect.
    pub dialer: Dialer,
    /// What the process may not do.
    pub confinement: Confinement,
    /// The operator's programs.
    pub hooks: Hooks,
    /// What peers ask for of our metadata.
    pub dictionaries: Dictionaries,
    /// What is counted for `[metrics]`.
    pub counters: Counters,
}

impl Engine {
    /// Where we can be reached, as far as that is known: as others see us, then as we are bound.
    pub fn own_addrs(&self) -> Vec<SocketAddr> {
        let families = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
        let bound = families.into_iter().filter_map(|family| self.outlet.source(family));
        let all = self.outside.addresses().into_iter().chain(bound);
        all.filter(|_| self.port != 0).map(|ip| SocketAddr::new(ip, self.announced_port())).collect()
    }

    /// The port that peers reach us on, as trackers, peers and the DHT are told; 0 if they can't.
    pub fn announced_port(&self) -> u16 {
        if self.proxies.forbids(Direct::Incoming) {
            return NO_PORT;
        }
        self.mapping.external_port().unwrap_or(self.port)
    }

    /// Hands a complete piece to the storage threads; waits while their queue is full.
    pub async fn store_piece(self: &Arc<Self>, torrent: &Arc<Torrent>, complete: Complete<BlockBuf>) {
        if let Some(job) = self.store_job(torrent, complete) {
            self.storage.submit(job).await;
        }
    }

    /// The same without waiting, for the few pieces that a spill completes.
    pub fn store_piece_now(self: &Arc<Self>, torrent: &Arc<Torrent>, complete: Complete<BlockBuf>) {
        if let Some(job) = self.store_job(torrent, complete) {
            self.storage.submit_now(job);
        }
    }

    /// `None` for a torrent whose pieces are not known, of which nobody has any.
    fn store_job(self: &Arc<Self>, torrent: &Arc<Torrent>, complete: Complete<BlockBuf>) -> Option<Job> {
        let files = torrent.files()?.clone();
        let (engine, owner, piece) = (self.clone(), torrent.clone(), complete.piece);
        let token = torrent.tasks.token();
        let (told, suspicious) = (self.clone(), torrent.clone());
        let witness = Witness::new(self.digest_key.clone(), complete.doubted, move |right, digests| {
            told.call(&suspicious, |swarm, now| swarm.on_digests(now, piece, right, digests));
        });
        let done = Done::new(move |outcome| {
            let outcome = match outcome {
                StoreOutcome::Stored => {
                    engine.store.log_stored(owner.id, piece);
                    engine.counters.pieces_stored.one_more();
                    PieceOutcome::Stored
                }
                StoreOutcome::BadHash => {
                    engine.counters.hash_failures.one_more();
                    owner.span.in_scope(|| {
                        tracing::info!(fault = "wrong hash", piece = piece.0, "a piece is thrown away")
                    });
                    PieceOutcome::BadHash(BadBlocks::All)
                }
                StoreOutcome::Failed(error) => {
                    engine.report_disk_error(owner.id, error);
                    PieceOutcome::DiskFailed
                }
            };
            engine.call(&owner, |swarm, now| swarm.on_piece(now, piece, outcome));
            drop(token);
        });
        Some(Job::Store { torrent: files, piece, blocks: complete.blocks, witness: Some(witness), done })
    }

    /// Writes blocks of an unfinished piece early.
    pub fn spill(self: &Arc<Self>, torrent: &Arc<Torrent>, spill: Spill<BlockBuf>) {
        let Some(files) = torrent.files().cloned() else { return };
        let (engine, owner, piece) = (self.clone(), torrent.clone(), spill.piece);
        let token = torrent.tasks.token();
        let done = Done::new(move |outcome: Result<(), DiskError>| {
            let ok = outcome.is_ok();
            if let Err(error) = outcome {
                engine.report_disk_error(owner.id, error);
            }
            engine.call(&owner, |swarm, now| swarm.on_spilled(now, piece, ok));
            drop(token);
        });
        let job = Job::Spill { torrent: files, piece, blocks: spill.blocks, done };
        self.storage.submit_now(job);
    }

    /// Reads blocks that are not in memory; the answer is laid out as on the wire.
    pub fn read_blocks(
        self: &Arc<Self>,
        torrent: &Arc<Torrent>,
        blocks: &[Block],
    ) -> oneshot::Receiver<Result<Vec<u8>, DiskError>> {
        let (answer, receiver) = oneshot::channel();
        // Without an answer the reader is told that it was stopped.
        let Some(files) = torrent.files().cloned() else { return receiver };
        let done = Done::new(move |outcome: ReadOutcome| {
            // The connection may have ended meanwhile.
            let _ = answer.send(outcome.result.map(|()| outcome.out));
        });
        let out = Vec::with_capacity(wire_len(blocks));
        let job = Job::Read { torrent: files, blocks: blocks.to_vec(), out, done };
        // A connection has one read under way at most, so the queue is bounded by the connections.
        match blocks.first().filter(|block| torrent.is_unverified(block.piece)) {
            Some(block) => self.hash_first(torrent, block.piece, job),
            None => self.storage.submit_now(job),
        }
        receiver
    }

    /// Hashes a piece that a quick check believed, then does `job`. A wrong one puts the whole torrent in
    /// doubt: everything is hashed.
    fn hash_first(self: &Arc<Self>, torrent: &Arc<Torrent>, piece: PieceIndex, job: Job) {
        let Some(files) = torrent.files().cloned() else { return };
        let good = Arc::new(AtomicBool::new(false));
        let (engine, owner, verdict) = (self.clone(), torrent.clone(), good.clone());
        let done = Done::new(move |outcome: CheckOutcome| match outcome {
            // The torrent ends; the read goes with the job.
            CheckOutcome::Cancelled => {}
            CheckOutcome::Finished(_) if verdict.load(Ordering::Acquire) => {
                owner.verified(piece);
                engine.storage.submit_now(job);
            }
            // Not read is not wrong: a mount may be missing.
            CheckOutcome::Finished(Some(error)) => engine.report_disk_error(owner.id, error),
            CheckOutcome::Finished(None) => engine.tell(Event::Doubt(owner.id, piece)),
        });
        let on_checked = move |verdicts: &[Checked]| {
            good.store(verdicts.iter().all(|verdict| verdict.good), Ordering::Release);
        };
        let pieces = CheckPieces::List(Arc::new([piece]));
        let check = Check::new(files, pieces, Box::new(on_checked), Arc::default(), done);
        self.storage.submit_now(Job::Check(Arc::new(check)));
    }

    /// Calls a Swarm; one that is broken is stopped.
    pub fn call<R>(
        &self,
        torrent: &Arc<Torrent>,
        f: impl FnOnce(&mut wgo_core::swarm::Swarm<BlockBuf>, wgo_core::Time) -> R,
    ) -> Option<R> {
        match torrent.call(f) {
            Ok(result) => Some(result),
            Err(broken) => {
                self.registry.report_broken(torrent, broken);
                None
            }
        }
    }

    /// A file could not be read for upload.
    pub fn report_read_error(&self, torrent: &Arc<Torrent>, error: DiskError) {
        self.report_disk_error(torrent.id, error);
    }

    fn report_disk_error(&self, id: TorrentId, error: DiskError) {
        if error.kind != DiskErrorKind::Stopped {
            self.counters.disk_errors.one_more();
        }
        self.tell(Event::DiskFailed(id, error));
    }

    /// Calculates something in a thread that may be busy for long. `None` when the storage has stopped, or it
    /// panicked.
    pub async fn compute<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let (sender, receiver) = oneshot::channel();
        // Whoever asked may be gone.
        self.storage.submit_now(Job::Compute(Work::new(move || drop(sender.send(work())))));
        receiver.await.ok()
    }

    /// The torrent answers to its hashes from now on, and is looked up and announced in the DHT, and announced to
    /// neighbours, unless it is private (BEP 27).
    pub fn join(&self, id: TorrentId, hashes: &InfoHashes, private: bool, need: Need) {
        self.registry.listen(id, hashes);
        if private {
            self.dht.leave(id);
            self.lsd.leave(hashes);
        } else {
            self.dht.join(id, *hashes, need);
            // A neighbour may answer at once: who needs peers must be there to take it.
            if need == Need::Nothing || self.registry.live(id).is_some() {
                self.lsd.join(self.clock.now(), hashes, need != Need::Nothing);
            }
        }
    }

    /// It does none of that any longer.
    pub fn leave(&self, id: TorrentId, hashes: &InfoHashes) {
        self.registry.remove(id, hashes);
        self.dht.leave(id);
        self.lsd.leave(hashes);
    }

    /// Another setting of `[network] encryption`, for the connections to come.
    pub fn set_encryption(&self, mode: crate::config::Encryption) {
        self.registry.name_obfuscated(mode != crate::config::Encryption::Off);
        self.encryption.set(mode);
    }

    /// Tells the session's driver.
    pub fn tell(&self, event: Event) {
        // It only goes away at the end of the process, when events no longer matter.
        let _ = self.events.send(event);
    }

    /// The torrent that answers to `hash`, woken if it sleeps.
    pub async fn torrent_for(&self, hash: &WireHash) -> Option<Arc<Torrent>> {
        let id = self.registry.find(hash)?;
        // One that is just going to sleep wakes again.
        if let Some(torrent) = self.registry.live(id).filter(|torrent| !torrent.is_stopping()) {
            return Some(torrent);
        }
        let (reply, woken) = oneshot::channel();
        self.tell(Event::Wake(id, reply));
        tokio::time::timeout(WAKE_LIMIT, woken).await.ok()?.ok()?
    }
}

/// What trackers are told who must not be told where we are: many refuse 0, and this is what other clients say behind
/// a proxy.
const NO_PORT: u16 = 1;

/// Time in which a sleeping torrent must wake for a peer.
const WAKE_LIMIT: Duration = Duration::from_secs(10);

/// One of so many places is kept for those who come to us, as in each torrent.
const INCOMING_SHARE: usize = 10;

/// Connections that may exist at once. The limit can change while they do.
#[derive(Debug)]
pub struct Places {
    taken: AtomicUsize,
    limit: AtomicUsize,
}

/// One connection's place; free again when dropped.
pub struct Place(Arc<Engine>);

impl Places {
    /// `limit` places.
    pub fn new(limit: usize) -> Places {
        Places { taken: AtomicUsize::new(0), limit: AtomicUsize::new(limit) }
    }

    /// Another limit; connections beyond it are kept.
    pub fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// Places that there are.
    pub fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    /// Places taken.
    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// Whether we may connect to somebody: the last places are for those who come to us.
    pub fn has_room_to_dial(&self) -> bool {
        self.taken() < self.limit_to_dial()
    }

    fn limit_to_dial(&self) -> usize {
        let limit = self.limit();
        limit - limit / INCOMING_SHARE
    }
}

impl Engine {
    /// Connections that there are, those that are being made left out.
    pub fn connected(&self) -> usize {
        self.connections.taken().saturating_sub(self.dialer.under_way())
    }

    /// A place, if one is free.
    pub fn take_place(self: &Arc<Self>) -> Option<Place> {
        self.take_place_of(self.connections.limit())
    }

    /// A place for a connection that we make, if one is free that isn't kept for those who come.
    pub fn take_place_to_dial(self: &Arc<Self>) -> Option<Place> {
        self.take_place_of(self.connections.limit_to_dial())
    }

    fn take_place_of(self: &Arc<Self>, limit: usize) -> Option<Place> {
        let take = |taken: usize| (taken < limit).then_some(taken + 1);
        let taken = &self.connections.taken;
        taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).ok()?;
        Some(Place(self.clone()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.connections.taken.fetch_sub(1, Ordering::Relaxed);
        self.0.dialer.look();
    }
}
