//! One run of the node: what comes goes to the state machine, what that says goes out.
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ring::signature::{ED25519, UnparsedPublicKey};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use wgo_core::dht::rounds::{Need, Turn};
use wgo_core::dht::snapshot::Snapshot;
use wgo_core::dht::{Announce, Config, Dht as Machine, Event, LookupId, Outcome, PeersWanted};
use wgo_core::external::Voter;
use wgo_core::peer_mgr::Source;
use wgo_core::{Time, TorrentId};
use wgo_proto::compact::Family;
use wgo_proto::krpc::MAX_RECEIVED;

use super::named::{Found, Names};
use super::sockets::Sockets;
use super::{FAMILIES, Heard, Settings, State, Status};
use crate::engine::Engine;
use crate::session::Event as Told;
use crate::store::Change;

/// Datagrams read in a row; then others go first.
const BATCH: usize = 64;

/// Nodes that are enough to do without the bootstrap list: as many as answer a question.
const ENOUGH: usize = 8;

/// A table that was saved gets so long to show that somebody of it is still there, before names are looked up.
const SAVED_FIRST: Duration = Duration::from_secs(10);

/// Without an answer for so long, though we asked, nobody hears us. At the beginning it is known sooner.
const SILENCE: Duration = Duration::from_secs(3 * 60);
const FIRST_SILENCE: Duration = Duration::from_secs(30);

/// While nobody answers everything is tried again this often.
const TRY_ALL: Duration = Duration::from_secs(60);

/// What is known is saved this often.
const SAVE: Duration = Duration::from_secs(5 * 60);

/// How the node stands is shown anew after at most this.
const SHOW: Duration = Duration::from_secs(1);

/// Torrents being woken for peers at a time; the peers of others are found again.
const MAX_WAKING: usize = 16;

/// A run of the node.
pub(super) struct Node {
    engine: Arc<Engine>,
    machine: Machine,
    sockets: Sockets,
    names: Names,
    /// What the next run is to begin with: of this one, as soon as it knows enough.
    known: Snapshot,
    begun: Time,
    state: State,
    /// Somebody can be asked: lookups make sense.
    can_ask: bool,
    /// Replies and time-outs when somebody last answered, and when that was.
    heard: (u64, u64, Time),
    shown_at: Option<Time>,
    save_at: Time,
    try_at: Time,
    /// Votes of others on our addresses that the machine knows.
    outside: Vec<std::net::IpAddr>,
    /// A save under way, at most one.
    saving: JoinSet<()>,
    /// At most [`MAX_WAKING`].
    waking: JoinSet<()>,
    buf: Box<[u8; MAX_RECEIVED + 1]>,
}

impl Node {
    /// Opens the sockets.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub(super) async fn start(engine: Arc<Engine>, settings: &Settings, known: Snapshot) -> io::Result<Node> {
        let now = engine.clock.now();
        let seed = u64::from_le_bytes(crate::random::bytes()?);
        let config = Config {
            families: FAMILIES.to_vec(),
            read_only: settings.read_only,
            verify: Some(verify),
            ..Config::default()
        };
        let mut machine = Machine::new(now, config, seed);
        machine.restore(now, &known);
        let names_at = if known.nodes.is_empty() { now } else { now + SAVED_FIRST };
        let mut node = Node {
            sockets: Sockets::new(engine.outlet.clone(), engine.port, now),
            names: Names::new(engine.trackers.clone(), settings.bootstrap.clone(), names_at),
            can_ask: !known.nodes.is_empty(),
            known,
            machine,
            begun: now,
            state: State::Starting,
            heard: (0, 0, now),
            shown_at: None,
            save_at: now + SAVE,
            try_at: now + TRY_ALL,
            outside: Vec::new(),
            saving: JoinSet::new(),
            waking: JoinSet::new(),
            buf: Box::new([0; MAX_RECEIVED + 1]),
            engine,
        };
        node.sockets.tend(now).await;
        node.on_time(now);
        Ok(node)
    }

    /// Runs until `stopping`, or until the settings want another node, or none.
    pub(super) async fn run(
        &mut self,
        settings: &mut watch::Receiver<Settings>,
        to_hear: &mut mpsc::Receiver<Heard>,
        stopping: &CancellationToken,
    ) {
        let began_with = settings.borrow().clone();
        let (engine, clock) = (self.engine.clone(), self.engine.clock);
        let mut way_out = engine.outlet.follow();
        loop {
            self.pump();
            let due = clock.instant(self.due());
            tokio::select! {
                () = stopping.cancelled() => return,
                // The sender lives as long as the engine.
                _ = settings.changed() => {
                    let wanted = settings.borrow_and_update().clone();
                    if (wanted.on, wanted.read_only) != (began_with.on, began_with.read_only) {
                        return;
                    }
                    self.names.set_list(clock.now(), wanted.bootstrap);
                }
                () = engine.dht.0.changed.notified() => {}
                // What they were bound to may lead nowhere now.
                Ok(()) = way_out.changed() => {
                    let now = clock.now();
                    self.machine.forget_votes();
                    engine.dht.rounds().rounds.moved(now);
                    self.sockets.renew(now);
                }
                Some(heard) = to_hear.recv() => self.on_heard(heard),
                family = self.sockets.readable() => self.receive(family),
                found = self.names.found() => self.on_found(found),
                Some(_saved) = self.saving.join_next() => {}
                Some(_woken) = self.waking.join_next() => {}
                () = tokio::time::sleep_until(due) => {
                    let now = clock.now();
                    if self.sockets.due().is_some_and(|at| at <= now) && self.sockets.tend(now).await {
                        // What was asked meanwhile got lost.
                        self.try_all(now);
                    }
                    self.on_time(now);
                }
            }
        }
    }

    /// Ends it, and gives what it knows.
    pub(super) async fn end(mut self) -> Snapshot {
        let now = self.engine.clock.now();
        self.forget_lookups(now);
        self.keep();
        self.save();
        while self.saving.join_next().await.is_some() {}
        self.known
    }

    fn forget_lookups(&self, now: Time) {
        let mut shared = self.engine.dht.rounds();
        shared.rounds.forget_lookups(now);
        // The numbers of the next node's lookups begin anew.
        shared.cancelled.clear();
    }

    fn due(&self) -> Time {
        let own = [self.save_at, self.try_at, self.machine.poll_timeout()];
        let others = [self.sockets.due(), self.names.due(), self.next_turn()];
        own.into_iter().chain(others.into_iter().flatten()).min().unwrap_or(self.save_at)
    }

    fn next_turn(&self) -> Option<Time> {
        let (width, ready) = (self.sockets.families().len(), self.state == State::Ready);
        let shared = self.engine.dht.rounds();
        let next = || shared.rounds.poll_timeout(self.machine.free_lookups(), width, ready);
        if self.can_ask && width > 0 { next() } else { None }
    }

    fn on_heard(&mut self, heard: Heard) {
        let now = self.engine.clock.now();
        match heard {
            Heard::Node(addr) => self.machine.add_node(now, addr),
            Heard::Named(name) => match name.socket_addr() {
                Some(addr) => self.add_named(now, &[addr]),
                None => self.names.add(name),
            },
        }
    }

    /// Whoever makes a torrent doesn't have us send anything to services of this machine.
    fn add_named(&mut self, now: Time, addrs: &[SocketAddr]) {
        addrs
            .iter()
            .filter(|addr| !addr.ip().is_loopback())
            .for_each(|addr| self.machine.add_node(now, *addr));
    }

    fn on_found(&mut self, found: Found) {
        let now = self.engine.clock.now();
        match found {
            Found::Routers(addrs) => {
                self.can_ask |= !addrs.is_empty();
                self.machine.add_routers(now, &addrs);
            }
            Found::Nodes(addrs) => self.add_named(now, &addrs),
        }
    }

    fn receive(&mut self, family: Family) {
        let now = self.engine.clock.now();
        for _ in 0..BATCH {
            let Some((len, from)) = self.sockets.receive(now, family, &mut self.buf[..]) else { return };
            // Whom the operator wants nothing to do with is no node either.
            if !self.engine.ip_filter.allows(from.ip()) {
                continue;
            }
            self.machine.handle_datagram(now, from, &self.buf[..len]);
            // Each may lead to several, of which the machine keeps so many only.
            self.drain(now);
        }
    }

    fn on_time(&mut self, now: Time) {
        if self.machine.poll_timeout() <= now {
            self.machine.handle_timeout(now);
            self.learn_outside(now);
        }
        if self.names.due().is_some_and(|at| at <= now) {
            if self.nodes().iter().sum::<usize>() < ENOUGH || self.state == State::Unreachable {
                self.names.look_up(now);
            } else {
                self.names.put_off(now);
            }
        }
        if self.try_at <= now {
            self.try_at = now + TRY_ALL;
            if self.state == State::Unreachable {
                self.try_all(now);
            }
        }
        if self.save_at <= now {
            self.save_at = now + SAVE;
            self.keep();
            self.save();
        }
    }

    /// Those who were known last are asked again, and the bootstrap list.
    fn try_all(&mut self, now: Time) {
        // Our ids are those that we have.
        let nodes = self.known.nodes.clone();
        self.machine.restore(now, &Snapshot { ids: Vec::new(), nodes });
        self.names.hurry(now);
    }

    /// What others found out of our addresses, which ids follow (BEP 42).
    fn learn_outside(&mut self, now: Time) {
        let addrs = self.engine.outside.addresses();
        if addrs != self.outside {
            addrs.iter().for_each(|ip| self.machine.set_external_address(now, *ip));
            self.outside = addrs;
        }
    }

    fn nodes(&self) -> [usize; 2] {
        let stats = self.machine.stats();
        [stats.nodes_v4, stats.nodes_v6]
    }

    /// Begins lookups, sends, and passes on what happened.
    fn pump(&mut self) {
        let now = self.engine.clock.now();
        self.begin_lookups(now);
        self.drain(now);
        self.judge(now);
        if self.shown_at.is_none_or(|at| now.since(at) >= SHOW) {
            self.show(now);
        }
    }

    fn drain(&mut self, now: Time) {
        while let Some(event) = self.machine.poll_event() {
            self.on_event(now, event);
        }
        while let Some(transmit) = self.machine.poll_transmit() {
            if self.engine.ip_filter.allows(transmit.to.ip()) {
                self.sockets.send(now, &transmit);
            }
        }
    }

    fn begin_lookups(&mut self, now: Time) {
        let families = self.sockets.families();
        let mut shared = self.engine.dht.rounds();
        for lookup in shared.cancelled.drain(..) {
            self.machine.cancel(lookup);
        }
        if !self.can_ask || families.is_empty() {
            return;
        }
        let ready = self.state == State::Ready;
        while let Some(turn) = shared.rounds.next(now, self.machine.free_lookups(), families.len(), ready) {
            let wanted = wanted(&turn, self.engine.announced_port());
            for hash in turn.hashes.wire() {
                for family in &families {
                    if let Some(lookup) = self.machine.get_peers(now, hash, *family, wanted) {
                        shared.rounds.began(lookup, turn.id);
                    }
                }
            }
            shared.rounds.settle(now, turn.id);
        }
    }

    fn on_event(&mut self, now: Time, event: Event) {
        match event {
            Event::Peers { lookup, peers, .. } => self.on_peers(lookup, peers),
            Event::Done { lookup, outcome } => self.on_done(now, lookup, &outcome),
            Event::ExternalAddress(ip) => self.engine.outside.vote(Voter::Dht, ip),
            // Nobody here looks for items.
            Event::Item { .. } => {}
        }
    }

    fn on_peers(&mut self, lookup: LookupId, mut peers: Vec<SocketAddr>) {
        peers.retain(|addr| !self.is_us(*addr));
        let mut shared = self.engine.dht.rounds();
        shared.rounds.found(lookup, peers.len());
        let Some(id) = shared.rounds.torrent_of(lookup) else { return };
        drop(shared);
        if peers.is_empty() {
            return;
        }
        if let Some(live) = self.engine.registry.live(id) {
            self.engine.call(&live, |swarm, now| swarm.add_candidates(now, peers, Source::Dht));
        } else if self.waking.len() < MAX_WAKING {
            self.wake(id, peers);
        }
    }

    /// A torrent that sleeps may serve who looks for it and can't reach us.
    fn wake(&mut self, id: TorrentId, peers: Vec<SocketAddr>) {
        let engine = self.engine.clone();
        let (reply, woken) = oneshot::channel();
        engine.tell(Told::Wake(id, reply));
        self.waking.spawn(async move {
            if let Ok(Some(live)) = woken.await {
                engine.call(&live, |swarm, now| swarm.add_candidates(now, peers, Source::Dht));
            }
        });
    }

    /// Whether we are at this address, as far as we know.
    fn is_us(&self, addr: SocketAddr) -> bool {
        let here = self.engine.outlet.source(addr.ip()).into_iter().chain(self.outside.iter().copied());
        let ours = [self.engine.port, self.engine.announced_port()].contains(&addr.port());
        ours && here.into_iter().any(|ip| ip == addr.ip())
    }

    fn on_done(&mut self, now: Time, lookup: LookupId, outcome: &Outcome) {
        tracing::trace!(?lookup, ?outcome, "a lookup has ended");
        self.engine.dht.rounds().rounds.done(now, lookup, outcome);
    }

    /// Whether the node is of use; says so when that changes.
    fn judge(&mut self, now: Time) {
        let counted = self.machine.stats().counted;
        if counted.replies > self.heard.0 {
            self.heard = (counted.replies, counted.timeouts, now);
            if self.nodes().iter().any(|nodes| *nodes > 0) {
                self.can_ask = true;
                self.become_ready();
            }
            return;
        }
        let silent = now.since(self.heard.2);
        let asked = counted.timeouts > self.heard.1;
        let lost = match self.state {
            State::Ready => asked && silent >= SILENCE,
            State::Starting => now.since(self.begun) >= FIRST_SILENCE,
            State::Unreachable | State::Off => false,
        };
        if lost {
            self.state = State::Unreachable;
            self.try_at = now;
            let error = self.why();
            tracing::warn!(error, "no node of the DHT answers; it tries on");
            self.show(now);
        }
    }

    fn become_ready(&mut self) {
        if self.state != State::Ready {
            self.state = State::Ready;
            let [v4, v6] = self.nodes();
            tracing::info!(v4, v6, "the DHT answers");
            self.show(self.engine.clock.now());
        }
    }

    /// What may be the reason that nobody answers.
    fn why(&self) -> String {
        let trouble = self.sockets.trouble().or_else(|| match self.can_ask {
            true => None,
            false => self.names.trouble(),
        });
        let nobody = "nobody who was asked has answered: is UDP let through, in both directions?";
        trouble.unwrap_or_else(|| nobody.to_owned())
    }

    fn show(&mut self, now: Time) {
        self.shown_at = Some(now);
        let stats = self.machine.stats();
        let trouble = match self.state {
            State::Unreachable => Some(self.why()),
            _ => self.sockets.trouble(),
        };
        self.engine.dht.show(Status {
            state: self.state,
            nodes: self.nodes(),
            addrs: self.sockets.addrs().collect(),
            lookups: stats.lookups,
            counted: stats.counted,
            trouble,
        });
    }

    /// Takes note of what is known now, unless that is less than what was.
    fn keep(&mut self) {
        let snapshot = self.machine.snapshot();
        if snapshot.nodes.len() >= ENOUGH || snapshot.nodes.len() >= self.known.nodes.len() {
            self.known = snapshot;
        } else {
            self.known.ids = snapshot.ids;
        }
    }

    /// Has it saved, unless the last time isn't over.
    fn save(&mut self) {
        if self.saving.is_empty() && !self.known.nodes.is_empty() {
            let (store, change) = (self.engine.store.clone(), Change::Dht(self.known.clone()));
            self.saving.spawn(async move {
                if let Err(error) = store.put(vec![change]).await {
                    tracing::warn!(%error, "the nodes of the DHT that are known could not be saved");
                }
            });
        }
    }
}

/// How a torrent is looked up. What is complete looks for those who aren't (BEP 33).
fn wanted(turn: &Turn, port: u16) -> PeersWanted {
    let seed = turn.need == Need::Nothing;
    let announce = (port != 0).then_some(Announce { port: Some(port), seed });
    PeersWanted { announce, noseed: seed, scrape: false }
}

/// Ed25519, for items that have an owner (BEP 44).
fn verify(key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    UnparsedPublicKey::new(&ED25519, key).verify(message, signature).is_ok()
}
