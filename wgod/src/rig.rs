//! A daemon without its console for tests: real files in a temporary folder, a real driver, peers over
//! loopback that a test speaks for.
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sha1::{Digest, Sha1};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wgo_api::params::{Check, SelectParams, ShowParams};
use wgo_api::result::{ActResult, Added};
use wgo_api::torrent::{State, Torrent as Row};
use wgo_core::choke_mgr::SeedingRule;
use wgo_core::dial_pacer::Limits;
use wgo_proto::PeerId;
use wgo_proto::bencode::Encoder;
use wgo_proto::metainfo::Metainfo;
use wgo_proto::mse::{self, Cipher, Incoming};
use wgo_proto::wire::{HANDSHAKE_LEN, Handshake, Message, Reserved, block_header};
use wgo_proto::{BLOCK_LEN, Block, PieceIndex, WireHash};

use crate::clock::Clock;
use crate::confine::Confinement;
use crate::dht::Dht;
use crate::dial::Dialer;
use crate::ending::Patience;
use crate::engine::{Engine, Places};
use crate::files::{Disk, RealDisk, Storage, StorageLimits};
use crate::outlet::Outlet;
use crate::registry::Registry;
use crate::session::{AddRequest, ChokeTunables, Command, Driver, SessionHandle, Start, Tunables, Verb};
use crate::shaper::Shaper;
use crate::store::Store;
use crate::timers::Timers;
use crate::tracker::{Settings, Trackers};
use crate::transport::{Transport, dial};

/// Time in which whatever a test waits for must happen, on the slowest machine.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// Bytes that repeat nowhere.
pub(crate) fn noise(len: usize) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(len as u64);
    std::iter::repeat_with(|| rng.u8(..)).take(len).collect()
}

/// A `.torrent` file of one file with this payload.
pub(crate) fn torrent_file(name: &str, payload: &[u8], piece_len: usize) -> Vec<u8> {
    let pieces: Vec<u8> = payload.chunks(piece_len).flat_map(|piece| Sha1::digest(piece).to_vec()).collect();
    let mut info = Vec::new();
    Encoder::new(&mut info).dict(|info| {
        info.entry("length").int(payload.len() as i64);
        info.entry("name").bytes(name);
        info.entry("piece length").int(piece_len as i64);
        info.entry("pieces").bytes(&pieces);
    });
    [b"d4:info", &info[..], b"e"].concat()
}

pub(crate) struct Rig {
    pub(crate) engine: Arc<Engine>,
    pub(crate) session: SessionHandle,
    pub(crate) folder: PathBuf,
    pub(crate) addr: SocketAddr,
    stopping: CancellationToken,
    rest: CancellationToken,
    driver: JoinSet<()>,
    parts: JoinSet<()>,
    dir: Arc<tempfile::TempDir>,
    disks: [Arc<dyn Disk>; 2],
}

impl Rig {
    pub(crate) async fn new() -> Rig {
        Rig::on(Arc::new(RealDisk)).await
    }

    /// A daemon whose payload files are on `disk`.
    pub(crate) async fn on(disk: Arc<dyn Disk>) -> Rig {
        Rig::on_two(disk, Arc::new(RealDisk)).await
    }

    /// The same, whose state is on another one.
    pub(crate) async fn on_two(disk: Arc<dyn Disk>, state: Arc<dyn Disk>) -> Rig {
        let dir = tempfile::tempdir().expect("a temporary folder");
        std::fs::create_dir(dir.path().join("files")).expect("a folder for files");
        Rig::at(Arc::new(dir), [disk, state]).await
    }

    /// A daemon over the state and files that another left.
    async fn at(dir: Arc<tempfile::TempDir>, disks: [Arc<dyn Disk>; 2]) -> Rig {
        let [disk, state] = disks.clone();
        let listener = crate::listen::bind(&Outlet::at(&["127.0.0.1"]), 0, false);
        let listener = listener.expect("loopback").pop().expect("one address");
        let addr = listener.bound().expect("it is bound");
        let clock = Clock::start();
        let (actions, actions_rx) = mpsc::unbounded_channel();
        let (events, events_rx) = mpsc::unbounded_channel();
        let (broken, broken_rx) = mpsc::unbounded_channel();
        let (store, stored) = Store::open(state, &dir.path().join("state"), &dir.path().join("socket"), 0)
            .expect("a state of our own");
        let storage = Arc::new(Storage::new(disk, StorageLimits { threads: 2, ..Default::default() }));
        let engine = Arc::new(Engine {
            clock,
            peer_id: PeerId([b'w'; 20]),
            pool: storage.pool().clone(),
            digest_key: Default::default(),
            storage,
            store,
            shaper: Shaper::new(clock),
            registry: Registry::new(broken),
            timers: Timers::default(),
            trackers: Trackers::start(Settings::default()).expect("drivers"),
            dht: Dht::new(clock, 7),
            outside: Arc::default(),
            outlet: Outlet::default(),
            lsd: Default::default(),
            proxies: Default::default(),
            port: addr.port(),
            listening: Default::default(),
            mapping: Default::default(),
            encryption: Default::default(),
            actions,
            events,
            announces: TaskTracker::new(),
            connections: Places::new(100),
            ip_filter: Default::default(),
            dialer: Dialer::new(Limits { half_open: 100, per_second: 1000 }),
            confinement: Confinement::default(),
            hooks: Default::default(),
            dictionaries: Default::default(),
            counters: Default::default(),
        });
        let (stopping, rest) = (CancellationToken::new(), CancellationToken::new());
        let start = Start {
            engine: engine.clone(),
            tunables: tunables(),
            next_id: stored.next_id,
            totals: stored.totals,
            suspects: stored.recovery.suspect,
            events: events_rx,
            actions: actions_rx,
            broken: broken_rx,
            stopping: stopping.clone(),
            // Of its own accord a test ends in less; a busy machine is not what it is about.
            patience: Patience { torrents: Duration::from_secs(60), trackers: Duration::from_secs(63) },
            seed: 7,
        };
        let (driver_task, session, _changed) = Driver::load(start).await.expect("the state loads");
        let (mut driver, mut parts) = (JoinSet::new(), JoinSet::new());
        driver.spawn(driver_task.run());
        parts.spawn(engine.timers.clone().run(clock, engine.registry.clone(), rest.clone()));
        parts.spawn(engine.shaper.clone().run(rest.clone()));
        parts.spawn(crate::dial::run(engine.clone(), rest.clone()));
        parts.spawn(crate::listen::run(engine.clone(), listener, rest.clone()));
        let folder = dir.path().join("files");
        Rig { engine, session, folder, addr, stopping, rest, driver, parts, dir, disks }
    }

    /// Ends the daemon in order and starts another over what it left.
    pub(crate) async fn restart(self) -> Rig {
        self.restart_after(|| ()).await
    }

    /// The same, with something done while no daemon runs.
    pub(crate) async fn restart_after(self, meanwhile: impl FnOnce()) -> Rig {
        let (dir, disks) = (self.dir.clone(), self.disks.clone());
        self.quit().await;
        meanwhile();
        Rig::at(dir, disks).await
    }

    pub(crate) async fn quit(mut self) {
        self.stopping.cancel();
        while let Some(ended) = self.driver.join_next().await {
            ended.expect("the driver ends in order");
        }
        self.rest.cancel();
        self.engine.trackers.stop().await;
        assert!(self.engine.storage.stop(SOON).await.is_empty());
        self.engine.store.close().await.expect("the state is closed");
        while self.parts.join_next().await.is_some() {}
    }

    pub(crate) async fn add(&self, file: &[u8]) -> Added {
        let request = request(self, Metainfo::parse(file).expect("a torrent of ours"), file);
        self.session.ask(|reply| Command::Add(Box::new(request), reply)).await.expect("it answers")
    }

    pub(crate) async fn act(&self, verb: Verb) -> ActResult {
        let params = SelectParams { all: true, ..SelectParams::default() };
        let acted = self.session.ask(|reply| Command::Act(verb, params, reply)).await;
        acted.expect("it answers").expect("it is done")
    }

    pub(crate) async fn row(&self, name: &str) -> Row {
        let params = ShowParams { id: name.to_owned(), ..ShowParams::default() };
        let shown = self.session.ask(|reply| Command::Show(params, reply)).await;
        shown.expect("it answers").expect("it is there").torrent.torrent
    }

    /// Waits until the torrent is in this state.
    pub(crate) async fn until(&self, name: &str, state: State) -> Row {
        self.until_row(name, |row| row.state == state).await
    }

    pub(crate) async fn until_row(&self, name: &str, wanted: impl Fn(&Row) -> bool) -> Row {
        let begun = std::time::Instant::now();
        loop {
            let row = self.row(name).await;
            if wanted(&row) {
                return row;
            }
            assert!(begun.elapsed() < SOON, "still {row:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// A peer of the torrent that has shaken hands.
    pub(crate) async fn peer(&self, hash: WireHash, id: u8) -> Peer {
        let transport = dial(&Outlet::default(), self.addr, SOON).await.expect("it listens");
        let ours = Handshake { reserved: Reserved::FAST, hash, peer_id: PeerId([id; 20]) };
        transport.write_all(&ours.encode(), SOON).await.expect("it reads");
        let mut theirs = [0; HANDSHAKE_LEN];
        transport.read_exact(&mut theirs, SOON).await.expect("it answers");
        assert_eq!(Handshake::decode(&theirs).expect("a handshake").hash, hash);
        Peer::new(transport, None)
    }
}

/// What adds a torrent to the rig's folder.
pub(crate) fn request(rig: &Rig, metainfo: Metainfo, raw: &[u8]) -> AddRequest {
    AddRequest {
        metainfo,
        raw: raw.to_vec(),
        select: Vec::new(),
        folder: rig.folder.clone(),
        paused: false,
        labels: Vec::new(),
        check: Check::Full,
        peers: Vec::new(),
        hosts: Vec::new(),
        fail_if_exists: false,
        sequential: false,
        choose: Default::default(),
        first_last: false,
        priority: Default::default(),
        goals: Default::default(),
        known: None,
    }
}

pub(crate) fn tunables() -> Tunables {
    Tunables {
        max_peers_per_torrent: 50,
        pex: true,
        min_free_space: 0,
        incomplete_folder: None,
        part_suffix: None,
        preallocate: crate::files::Preallocate::Sparse,
        choke: ChokeTunables { slots: None, optimistic: None, seeding: SeedingRule::RoundRobin },
        memory_blocks: 1000,
        queue: Default::default(),
        goals: Default::default(),
        rules: Default::default(),
    }
}

/// A peer that the test speaks for.
pub(crate) struct Peer {
    transport: Transport,
    incoming: Mutex<Option<Box<Incoming>>>,
    outgoing: Mutex<Option<Box<Cipher>>>,
}

impl Peer {
    /// A connection that is at its payload, encrypted if there is a session.
    pub(crate) fn new(transport: Transport, session: Option<mse::Session>) -> Peer {
        let (incoming, outgoing) = session.map_or((None, None), |s| (s.incoming, s.outgoing));
        Peer { transport, incoming: Mutex::new(incoming), outgoing: Mutex::new(outgoing) }
    }

    pub(crate) async fn send(&self, bytes: &[u8]) {
        let mut bytes = bytes.to_vec();
        if let Some(cipher) = self.outgoing.lock().expect("one task").as_mut() {
            cipher.apply(&mut bytes);
        }
        self.transport.write_all(&bytes, SOON).await.expect("the daemon reads");
    }

    /// The next bytes; `None` at the end of the connection.
    pub(crate) async fn read(&self, len: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; len];
        self.transport.read_exact(&mut bytes, SOON).await.ok()?;
        if let Some(incoming) = self.incoming.lock().expect("one task").as_mut() {
            incoming.apply(&mut bytes);
        }
        Some(bytes)
    }

    pub(crate) async fn says(&self, messages: &[Message<'_>]) {
        let mut bytes = Vec::new();
        messages.iter().for_each(|message| message.encode(&mut bytes));
        self.send(&bytes).await;
    }

    /// The next message: its id and body; no id is a keep-alive. `None` at the end of the connection.
    pub(crate) async fn next(&self) -> Option<(Option<u8>, Vec<u8>)> {
        let len = self.read(4).await?.try_into().expect("four bytes");
        let mut body = self.read(u32::from_be_bytes(len) as usize).await?;
        let id = (!body.is_empty()).then(|| body.remove(0));
        Some((id, body))
    }

    /// The body of the next message with this id; others are skipped.
    pub(crate) async fn expect(&self, id: u8) -> Vec<u8> {
        loop {
            let (found, body) = self.next().await.expect("the connection holds");
            if found == Some(id) {
                return body;
            }
        }
    }

    /// Whether the daemon ends the connection, whatever it says before.
    pub(crate) async fn is_closed(&self) -> bool {
        while self.next().await.is_some() {}
        true
    }
}

/// The block that a `request` or the header of a `piece` names, of `len` bytes in the latter case.
pub(crate) fn block_of(body: &[u8], len: Option<usize>) -> Block {
    let number = |at: usize| u32::from_be_bytes(body[at..at + 4].try_into().expect("four bytes"));
    let len = len.map_or_else(|| number(8), |len| len as u32);
    Block { piece: PieceIndex(number(0)), offset: number(4), len }
}

pub(crate) fn piece_message(block: Block, payload: &[u8], piece_len: usize) -> Vec<u8> {
    let at = block.piece.0 as usize * piece_len + block.offset as usize;
    [&block_header(block)[..], &payload[at..at + block.len as usize]].concat()
}

pub(crate) fn block(piece: u32, number: u32) -> Block {
    Block { piece: PieceIndex(piece), offset: number * BLOCK_LEN, len: BLOCK_LEN }
}
