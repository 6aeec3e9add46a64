//! The world: nodes, links, one queue of events in simulated time, one source of randomness.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use wgo_core::choke_mgr::ChokeKey;
use wgo_core::swarm::{Action, Swarm};
use wgo_core::tracker::Announce;
use wgo_core::{PeerKey, Time, TorrentId};
use wgo_proto::Bitfield;

use crate::sim::agenda::Agenda;
use crate::sim::content::{Content, Shape};
use crate::sim::justice::Wait;
use crate::sim::link::{EndId, Link, NodeId};
use crate::sim::node::{Habits, Node, Payload};
use crate::sim::played::Played;
use crate::sim::scale::Scale;
use crate::sim::tracker::{Farewell, Tracker};
use crate::sim::weather::Weather;

/// Something that happens at its time.
pub enum Event {
    SwarmTimer(NodeId, TorrentId, Time),
    SessionTimer(NodeId, Time),
    LimiterTimer(NodeId, Time),
    /// A dial reaches its address.
    Dialled {
        from: NodeId,
        torrent: TorrentId,
        to: SocketAddr,
        epoch: u32,
    },
    /// The dialler hears that it is connected.
    Accepted {
        link: usize,
        addr: SocketAddr,
        epoch: u32,
    },
    DialFailed {
        from: NodeId,
        torrent: TorrentId,
        addr: SocketAddr,
        epoch: u32,
    },
    /// Bytes reach an end.
    Arrive(EndId),
    /// An end sends, whose machine was suspended.
    Pump(EndId),
    /// Bytes come to the line of a node, at whose end they arrive.
    Reach(EndId, Vec<u8>),
    /// A node's line has sent what it was at.
    LineFree(NodeId),
    /// An end hears that the connection is over.
    End(EndId),
    /// A disk job has its turn.
    Disk(NodeId, u64),
    /// A task of a disk that is only played is done.
    Played(Box<Played>),
    /// An announce reaches the tracker.
    Announce(NodeId, TorrentId, Announce, u32),
    /// A suspended machine wakes.
    Thaw(NodeId),
    /// Somebody who is no engine does something, at one end or at large.
    RogueTick(EndId),
    RogueDials(NodeId),
    Checked(NodeId, TorrentId, u32),
    Probe(NodeId, TorrentId),
    /// The next random break of a connection.
    Flap,
}

/// Something to do at this instant, after the call that asked for it.
pub enum Todo {
    Wake(NodeId, TorrentId, PeerKey),
    Act(NodeId, TorrentId, Action<Payload>),
}

/// Everything.
pub struct World {
    pub now: Time,
    agenda: Agenda<Event>,
    pub seed: u64,
    pub rng: fastrand::Rng,
    pub contents: Vec<Content>,
    pub nodes: Vec<Node>,
    pub links: Vec<Link>,
    pub by_addr: BTreeMap<SocketAddr, NodeId>,
    /// Connections of which an end is not over.
    pub live_links: BTreeSet<usize>,
    pub weather: Weather,
    pub tracker: Tracker,
    /// The second tracker of torrents that have one.
    pub other_tracker: Tracker,
    /// Who has to say good-bye.
    pub farewells: Vec<Farewell>,
    /// Since when, by how many others around, somebody has waited for a slot.
    pub waits: BTreeMap<(NodeId, ChokeKey), Wait>,
    /// What happens, as text, if somebody wants to read it; the oldest falls out.
    pub log: Option<VecDeque<String>>,
    /// Steps after which a run counts as one that never ends.
    pub most_steps: u64,
    pub todo: VecDeque<Todo>,
    /// Swarms and Sessions called in this step.
    pub touched: BTreeSet<(NodeId, Option<TorrentId>)>,
    /// How much of it is looked at, and what is left out, so that hundreds of nodes can be simulated.
    pub scale: Scale,
    /// One connection in so much time breaks.
    pub flap_every: Option<Duration>,
    /// Every event so far, hashed.
    pub trace: u64,
    pub steps: u64,
    /// Steps at the present instant.
    burst: u32,
}

/// Lines of a trace that are kept.
const MAX_LOG: usize = 400_000;

/// Events at one instant after which time is held to stand still.
const MAX_BURST: u32 = 50_000;

impl World {
    pub fn new(seed: u64) -> World {
        World {
            now: Time::ZERO,
            agenda: Agenda::new(),
            seed,
            rng: fastrand::Rng::with_seed(seed),
            contents: Vec::new(),
            nodes: Vec::new(),
            links: Vec::new(),
            by_addr: BTreeMap::new(),
            live_links: BTreeSet::new(),
            weather: Weather::default(),
            tracker: Tracker::default(),
            other_tracker: Tracker::default(),
            farewells: Vec::new(),
            waits: BTreeMap::new(),
            log: None,
            most_steps: u64::MAX,
            todo: VecDeque::new(),
            touched: BTreeSet::new(),
            scale: Scale::default(),
            flap_every: None,
            trace: 0xcbf2_9ce4_8422_2325,
            steps: 0,
            burst: 0,
        }
    }

    /// A torrent that nobody has yet.
    pub fn torrent(&mut self, shape: &Shape) -> TorrentId {
        let id = TorrentId(self.contents.len() as u64);
        self.contents.push(Content::new(id, shape, self.rng.u64(..)));
        id
    }

    pub fn content(&self, id: TorrentId) -> &Content {
        &self.contents[id.0 as usize]
    }

    /// A node without torrents.
    pub fn node(&mut self, habits: Habits) -> NodeId {
        let number = self.nodes.len();
        let node = Node::new(number, habits);
        self.by_addr.insert(node.addr, number);
        self.nodes.push(node);
        number
    }

    pub fn after(&mut self, wait: Duration, event: Event) {
        self.at(self.now + wait, event);
    }

    pub fn at(&mut self, at: Time, event: Event) {
        self.agenda.push(at.max(self.now), event);
    }

    /// What a node's clock shows.
    pub fn clock(&self, node: NodeId) -> Time {
        let one = &self.nodes[node];
        one.clock.at(one.stood_since.unwrap_or(self.now))
    }

    /// A line for whoever reads the trace.
    pub fn tell(&mut self, node: Option<NodeId>, what: impl FnOnce() -> String) {
        let Some(log) = &mut self.log else { return };
        if log.len() == MAX_LOG {
            log.pop_front();
        }
        let at = self.now.since_start().as_secs_f64();
        let who = node.map_or("world".to_owned(), |node| format!("node {node}"));
        log.push_back(format!("{at:12.6} {who:>8}: {}", what()));
    }

    /// A time between two numbers of milliseconds.
    pub fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_micros(self.rng.u64(from * 1000..=to * 1000))
    }

    /// Mixes a fact into the trace (FNV-1a over its words).
    pub fn note(&mut self, words: &[u64]) {
        for word in words {
            self.trace = (self.trace ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(17);
        }
    }

    /// Calls a live Swarm and queues what the call produced.
    pub fn call<R>(
        &mut self,
        node: NodeId,
        id: TorrentId,
        f: impl FnOnce(&mut Swarm<Payload>, Time) -> R,
    ) -> Option<R> {
        let now = self.clock(node);
        let entry = self.nodes[node].torrents.get_mut(&id)?;
        let epoch = entry.epoch;
        let swarm = entry.live.as_mut()?;
        let result = f(swarm, now);
        let mut announces = Vec::new();
        while let Some(action) = swarm.poll_action() {
            match action {
                // It is this Swarm's, even if another one is made before it is sent.
                Action::Announce(announce) => announces.push(announce),
                action => self.todo.push_back(Todo::Act(node, id, action)),
            }
        }
        let mut wakes = Vec::new();
        swarm.take_wakes(&mut wakes);
        self.todo.extend(wakes.into_iter().map(|key| Todo::Wake(node, id, key)));
        self.touched.insert((node, Some(id)));
        for announce in announces {
            let wait = self.millis(10, 120);
            self.after(wait, Event::Announce(node, id, announce, epoch));
        }
        Some(result)
    }

    /// Runs until `done`, which is asked after each event. Fails after `limit` of simulated time.
    pub fn run(&mut self, what: &str, limit: Duration, mut done: impl FnMut(&World) -> bool) {
        let end = self.now + limit;
        self.settle();
        while !done(self) {
            let in_time = self.step(end);
            assert!(in_time, "{what}: not within {limit:?}\n{}", self.report());
        }
    }

    /// Runs for so long.
    pub fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        self.settle();
        while self.step(end) {}
        self.now = end;
    }

    /// One event; `false` if there is none up to `end`.
    fn step(&mut self, end: Time) -> bool {
        let Some((at, number, event)) = self.agenda.pop_until(end) else { return false };
        self.burst = if at > self.now { 0 } else { self.burst + 1 };
        assert!(self.burst < MAX_BURST, "time stands still at {:?}", self.now);
        self.now = at;
        self.steps += 1;
        assert!(self.steps < self.most_steps, "{} steps, and no end", self.steps);
        self.note(&[at.since_start().as_nanos() as u64, number]);
        match self.machine(&event).and_then(|node| self.nodes[node].frozen_until) {
            Some(until) if at < until => self.at(until, event),
            _ => self.happen(event),
        }
        self.settle();
        true
    }

    /// The machine on which an event happens, if it is one that needs it awake.
    fn machine(&self, event: &Event) -> Option<NodeId> {
        Some(match event {
            Event::SwarmTimer(node, ..)
            | Event::SessionTimer(node, _)
            | Event::LimiterTimer(node, _)
            | Event::DialFailed { from: node, .. }
            | Event::Disk(node, _)
            | Event::Announce(node, ..)
            | Event::Checked(node, ..)
            | Event::Probe(node, _)
            | Event::LineFree(node)
            | Event::RogueDials(node) => *node,
            Event::Dialled { to, .. } => *self.by_addr.get(to)?,
            Event::Accepted { link, .. } => self.links[*link].ends[0].node,
            Event::Arrive(end)
            | Event::Reach(end, _)
            | Event::Pump(end)
            | Event::End(end)
            | Event::RogueTick(end) => self.links[end.link].ends[end.side].node,
            // Nodes whose disks are played are never suspended.
            Event::Played(_) | Event::Thaw(_) | Event::Flap => return None,
        })
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::SwarmTimer(node, id, at) => self.swarm_timer(node, id, at),
            Event::SessionTimer(node, at) => self.session_timer(node, at),
            Event::LimiterTimer(node, at) => self.limiter_timer(node, at),
            Event::Dialled { from, torrent, to, epoch } => self.dialled(from, torrent, to, epoch),
            Event::Accepted { link, addr, epoch } => self.accepted(link, addr, epoch),
            Event::DialFailed { from, torrent, addr, epoch } => self.dial_failed(from, torrent, addr, epoch),
            Event::Arrive(end) => self.deliver(end, false),
            Event::Pump(end) => self.pump(end),
            Event::Reach(end, bytes) => self.reach_line(end, bytes),
            Event::LineFree(node) => self.line_free(node),
            Event::End(end) => self.hear_end(end),
            Event::Disk(node, number) => self.take_turn(node, number),
            Event::Played(played) => self.played(*played),
            Event::Announce(node, id, announce, epoch) => self.announced(node, id, announce, epoch),
            Event::Checked(node, id, epoch) => self.checked(node, id, epoch),
            Event::Probe(node, id) => self.probed(node, id),
            Event::Thaw(node) => self.thaw(node),
            Event::RogueTick(end) => self.rogue_ticks(end),
            Event::RogueDials(node) => self.rogue_dials(node),
            Event::Flap => self.flap(),
        }
    }

    /// Does all that is to be done at this instant, sets timers, and checks what was touched.
    pub fn settle(&mut self) {
        loop {
            while let Some(todo) = self.todo.pop_front() {
                match todo {
                    Todo::Wake(node, id, key) => self.wake(node, id, key),
                    Todo::Act(node, id, action) => self.act(node, id, action),
                }
            }
            let nodes: BTreeSet<NodeId> = self.touched.iter().map(|(node, _)| *node).collect();
            // Each node, not only up to the first that had something to do.
            let worked = nodes.into_iter().filter(|node| self.carry_out(*node)).count();
            if worked == 0 && self.todo.is_empty() {
                break;
            }
        }
        let checks = self.steps.is_multiple_of(self.scale.check_every);
        for (node, torrent) in std::mem::take(&mut self.touched) {
            match torrent {
                Some(id) => self.after_swarm(node, id),
                None => self.after_session(node),
            }
            if checks {
                self.check_node(node);
            }
            if self.nodes[node].disk.is_dark() {
                self.power_cut(node);
            }
        }
    }

    fn after_swarm(&mut self, node: NodeId, id: TorrentId) {
        let Some(entry) = self.nodes[node].torrents.get_mut(&id) else { return };
        let Some(swarm) = &entry.live else { return };
        if self.steps.is_multiple_of(self.scale.check_every) {
            swarm.check_invariants();
        }
        let due = swarm.poll_timeout();
        if let Some(at) = due.filter(|at| entry.timer.is_none_or(|known| *at < known)) {
            entry.timer = Some(at);
            let when = self.nodes[node].clock.when(at);
            self.at(when, Event::SwarmTimer(node, id, at));
        }
    }

    fn after_session(&mut self, node: NodeId) {
        let one = &mut self.nodes[node];
        one.session.check_invariants();
        let due = one.session.poll_timeout();
        if let Some(at) = due.filter(|at| one.session_timer.is_none_or(|known| *at < known)) {
            one.session_timer = Some(at);
            let when = one.clock.when(at);
            self.at(when, Event::SessionTimer(node, at));
        }
    }

    fn swarm_timer(&mut self, node: NodeId, id: TorrentId, at: Time) {
        let Some(entry) = self.nodes[node].torrents.get_mut(&id) else { return };
        if entry.timer == Some(at) {
            entry.timer = None;
            self.call(node, id, |swarm, now| swarm.handle_timeout(now));
        }
    }

    fn session_timer(&mut self, node: NodeId, at: Time) {
        let now = self.clock(node);
        let one = &mut self.nodes[node];
        if one.session_timer == Some(at) {
            one.session_timer = None;
            one.session.handle_timeout(now);
            self.touched.insert((node, None));
        }
    }

    /// Who has what, for a failure's text.
    pub fn report(&self) -> String {
        let mut text = format!("at {:?}, {} steps\n", self.now, self.steps);
        for (number, node) in self.nodes.iter().enumerate() {
            for (id, entry) in &node.torrents {
                let state = node.session.row(*id).map(|row| (row.state(), row.trouble()));
                let saved: &Bitfield = &entry.have;
                let (have, peers, view) = match &entry.live {
                    Some(swarm) => {
                        (swarm.have(), entry.ends.len(), Some(swarm.peer_views(self.clock(number))))
                    }
                    None => (saved, 0, None),
                };
                text += &format!(
                    "node {number} up {} torrent {}: {state:?} {}/{} peers {peers} jobs {}\n",
                    node.up,
                    id.0,
                    have.count(),
                    have.len(),
                    node.jobs.len()
                );
                for p in view.unwrap_or_default() {
                    text += &format!(
                        "   {} has {:.2} am_choking {} interested {} / choking {} interested {} requests {} snubbed {}\n",
                        p.addr,
                        p.progress,
                        p.am_choking,
                        p.am_interested,
                        p.peer_choking,
                        p.peer_interested,
                        p.requests,
                        p.snubbed
                    );
                }
            }
        }
        text
    }
}
