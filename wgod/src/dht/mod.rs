//! The DHT in the shell: what drives the node of `wgo_core::dht` over UDP (BEP 5, 32, 42, 43), and the way to it for
//! everybody else.
//!
//! One task ([`run`]) owns the node, its sockets and the names of its bootstrap list. What the rest of the daemon
//! wants of it goes by [`Dht`]: which torrents are to be looked up, and which nodes peers and torrents name. Whose
//! turn it is to be looked up is decided in core (`rounds`).
mod named;
mod node;
mod sockets;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wgo_core::TorrentId;
use wgo_core::dht::rounds::{Need, Rounds, View};
use wgo_core::dht::snapshot::Snapshot;
use wgo_core::dht::{Counted, LookupId};
use wgo_proto::InfoHashes;
use wgo_proto::compact::Family;
use wgo_proto::host_port::HostPort;

use crate::clock::Clock;
use crate::engine::Engine;
use node::Node;

/// Nodes that peers and torrents named and that were not asked yet. What comes when it is full is forgotten: more
/// will be named.
const MAX_HEARD: usize = 256;

/// Nodes of one torrent that count.
const MAX_OF_TORRENT: usize = 16;

/// Both families, in the order in which they are kept.
const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

/// What the operator decides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Whether there is a node at all.
    pub on: bool,
    /// It asks and doesn't answer (BEP 43).
    pub read_only: bool,
    /// Whom to ask while nobody else is known.
    pub bootstrap: Vec<HostPort>,
}

/// Whether the node is of use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// There is none.
    #[default]
    Off,
    /// It has begun and heard of nobody yet.
    Starting,
    /// Others answer.
    Ready,
    /// Nobody answers.
    Unreachable,
}

/// How the node stands, for people and for monitoring.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Whether it is of use.
    pub state: State,
    /// Nodes that it knows, IPv4 and IPv6.
    pub nodes: [usize; 2],
    /// Where it is.
    pub addrs: Vec<SocketAddr>,
    /// Lookups under way.
    pub lookups: usize,
    /// What it counted since it began.
    pub counted: Counted,
    /// Why nobody answers, or one of the families isn't used though it should.
    pub trouble: Option<String>,
}

/// The way to the node, whether there is one or not. Cheap to clone.
#[derive(Clone)]
pub struct Dht(Arc<Inner>);

struct Inner {
    clock: Clock,
    settings: watch::Sender<Settings>,
    /// A leaf lock.
    rounds: Mutex<Shared>,
    /// A leaf lock.
    status: Mutex<Status>,
    /// The rounds have changed.
    changed: Notify,
    heard: mpsc::Sender<Heard>,
    /// Until the task takes it.
    to_hear: Mutex<Option<mpsc::Receiver<Heard>>>,
    /// Ports of the node, IPv4 and IPv6; 0 where there is none.
    ports: [AtomicU16; 2],
    tasks: TaskTracker,
}

/// The rounds, and lookups of torrents that have left them meanwhile: at most as many as there are at a time.
struct Shared {
    rounds: Rounds,
    cancelled: Vec<LookupId>,
}

/// A node that somebody has named.
#[derive(Clone, Debug)]
enum Heard {
    /// A peer has one here.
    Node(SocketAddr),
    /// A torrent says so.
    Named(HostPort),
}

impl Dht {
    /// Nothing runs yet; that is for [`run`].
    pub fn new(clock: Clock, seed: u64) -> Dht {
        let (heard, to_hear) = mpsc::channel(MAX_HEARD);
        Dht(Arc::new(Inner {
            clock,
            settings: watch::Sender::new(Settings::default()),
            rounds: Mutex::new(Shared { rounds: Rounds::new(seed), cancelled: Vec::new() }),
            status: Mutex::default(),
            changed: Notify::new(),
            heard,
            to_hear: Mutex::new(Some(to_hear)),
            ports: Default::default(),
            tasks: TaskTracker::new(),
        }))
    }

    /// Other settings are in force.
    pub fn set(&self, settings: Settings) {
        self.0.settings.send_if_modified(|now| {
            let changed = *now != settings;
            *now = settings;
            changed
        });
    }

    /// The torrent is to be looked up and announced from now on, for these reasons, or still. Private ones are not
    /// brought here (BEP 27).
    pub fn join(&self, id: TorrentId, hashes: InfoHashes, need: Need) {
        self.rounds().rounds.join(self.0.clock.now(), id, hashes, need);
        self.0.changed.notify_one();
    }

    /// What a torrent that is looked up needs has changed; for the rounds to come.
    pub fn set_need(&self, id: TorrentId, need: Need) {
        self.rounds().rounds.set_need(id, need);
    }

    /// It isn't any more.
    pub fn leave(&self, id: TorrentId) {
        let mut shared = self.rounds();
        let lookups = shared.rounds.leave(id);
        if !lookups.is_empty() {
            shared.cancelled.extend(lookups);
            drop(shared);
            self.0.changed.notify_one();
        }
    }

    /// The operator wants it looked up now.
    pub fn look_now(&self, id: TorrentId) {
        self.rounds().rounds.look_now(self.0.clock.now(), id);
        self.0.changed.notify_one();
    }

    /// How a torrent's lookups stand; `None` for one that isn't looked up.
    pub fn view(&self, id: TorrentId) -> Option<View> {
        self.rounds().rounds.view(id)
    }

    /// A peer says that it has a node here.
    pub fn on_node(&self, addr: SocketAddr) {
        self.hear(Heard::Node(addr));
    }

    /// A torrent that isn't private names nodes (BEP 5).
    pub fn on_named(&self, nodes: &[HostPort]) {
        nodes.iter().take(MAX_OF_TORRENT).for_each(|node| self.hear(Heard::Named(node.clone())));
    }

    fn hear(&self, heard: Heard) {
        // While there is no node nobody listens.
        if self.0.settings.borrow().on {
            let _full = self.0.heard.try_send(heard);
        }
    }

    /// The port of our node in the family of `like`, which peers are told; `None` while there is none.
    pub fn port(&self, like: SocketAddr) -> Option<u16> {
        let port = self.0.ports[index_of(Family::of(&like))].load(Ordering::Relaxed);
        (port != 0).then_some(port)
    }

    /// Whether there is a node.
    pub fn is_on(&self) -> bool {
        self.0.settings.borrow().on
    }

    /// How the node stands.
    pub fn status(&self) -> Status {
        self.0.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Torrents that are looked up while there is a node.
    pub fn torrents(&self) -> usize {
        self.rounds().rounds.len()
    }

    /// Resolves when the task has ended, and what it knows is on its way to the store.
    pub async fn ended(&self) {
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    fn rounds(&self) -> MutexGuard<'_, Shared> {
        // Its parts don't panic halfway; and lookups that are lost end with the node.
        self.0.rounds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show(&self, status: Status) {
        for (port, family) in self.0.ports.iter().zip(FAMILIES) {
            let bound = status.addrs.iter().find(|addr| Family::of(addr) == family);
            port.store(bound.map_or(0, SocketAddr::port), Ordering::Relaxed);
        }
        *self.0.status.lock().unwrap_or_else(PoisonError::into_inner) = status;
    }
}

/// Where a family is kept.
fn index_of(family: Family) -> usize {
    match family {
        Family::V4 => 0,
        Family::V6 => 1,
    }
}

/// Runs a node whenever the settings want one, until `stopping`. `saved` is what the last run knew.
pub async fn run(engine: Arc<Engine>, saved: Option<Snapshot>, stopping: CancellationToken) {
    let dht = engine.dht.clone();
    let _token = dht.0.tasks.token();
    let mut settings = dht.0.settings.subscribe();
    let to_hear = dht.0.to_hear.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(mut to_hear) = to_hear else { return };
    let mut known = saved.unwrap_or_default();
    while !stopping.is_cancelled() {
        let wanted = settings.borrow_and_update().clone();
        if !wanted.on {
            dht.show(Status::default());
            tokio::select! {
                () = stopping.cancelled() => {}
                // The sender lives as long as we hold `dht`.
                _ = settings.changed() => {}
            }
            continue;
        }
        let mut node = match Node::start(engine.clone(), &wanted, known.clone()).await {
            Ok(node) => node,
            Err(error) => return tracing::error!(%error, "no DHT: the system has no random numbers"),
        };
        node.run(&mut settings, &mut to_hear, &stopping).await;
        known = node.end().await;
    }
    dht.show(Status::default());
}
