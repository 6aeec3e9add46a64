//! Crowds: who takes part with which line, when they come, and what becomes of each.
use std::time::Duration;

use wgo_core::choke_mgr::{Automatic, SlotCount};
use wgo_core::{Time, TorrentId};
use wgo_proto::Bitfield;

use crate::sim::content::Shape;
use crate::sim::link::NodeId;
use crate::sim::node::Habits;
use crate::sim::scale::Scale;
use crate::sim::world::World;

/// How often it is looked who has what.
const LOOK: Duration = Duration::from_millis(250);

/// Nodes that are alike.
#[derive(Clone)]
pub struct Class {
    pub name: &'static str,
    pub count: usize,
    pub habits: Habits,
    pub joins: Joins,
}

/// When the nodes of a class come.
#[derive(Clone, Copy)]
pub enum Joins {
    /// At any time from the beginning on.
    Within(Duration),
    /// One after each other.
    Every(Duration),
}

/// A crowd.
#[derive(Clone)]
pub struct Plan {
    pub shape: Shape,
    pub seeds: Vec<Habits>,
    pub classes: Vec<Class>,
    /// Seeds leave once each piece has left them.
    pub seeds_leave: bool,
    /// Who hasn't everything by then counts as if he had it then.
    pub limit: Duration,
}

/// What became of one that came with nothing.
#[derive(Clone, Default)]
pub struct Member {
    pub class: usize,
    joins: Duration,
    node: Option<NodeId>,
    /// The time from when it came.
    pub first_piece: Option<Duration>,
    pub first_upload: Option<Duration>,
    pub done: Option<Duration>,
    /// Payload in bytes, all of it and what of it was for nothing.
    pub received: u64,
    pub sent: u64,
    pub wasted: u64,
    /// Payload received until the first of its class was done, and by then sent: who got what while all wanted it.
    pub early: (u64, u64),
}

/// What became of a crowd.
pub struct Run {
    pub plan: Plan,
    pub members: Vec<Member>,
    /// Bytes of the torrent.
    pub size: u64,
    /// When each piece had left the seeds, and the payload that they had sent by then.
    pub second_copy: Option<(Duration, u64)>,
    /// All payload that they sent.
    pub seeds_sent: u64,
    /// From the beginning until everybody was done.
    pub took: Duration,
    pub steps: u64,
}

/// A line of which the engine knows nothing, as at home: ten times faster down than up.
pub fn home(up: u64) -> Habits {
    Habits {
        line: up,
        line_down: Some(up * 10),
        slots: SlotCount::Automatic(Automatic::default()),
        // What TCP keeps on such lines.
        socket: 32 * 1024,
        batch: 32 * 1024,
        ..Habits::default()
    }
}

impl Plan {
    /// A seed and a class of as many leechers, all with the same line, who come within 3 s.
    pub fn equal(shape: Shape, leechers: usize, habits: Habits) -> Plan {
        let joins = Joins::Within(Duration::from_secs(3));
        let class = Class { name: "all", count: leechers, habits: habits.clone(), joins };
        Plan {
            shape,
            seeds: vec![habits],
            classes: vec![class],
            seeds_leave: false,
            limit: Duration::from_secs(7200),
        }
    }

    /// Lets it happen.
    pub fn run(&self, seed: u64) -> Run {
        let mut world = World::new(seed);
        world.scale = Scale::crowd();
        let id = world.torrent(&self.shape);
        let seeds: Vec<NodeId> = self.seeds.iter().map(|habits| world.seeder(id, habits.clone())).collect();
        let mut stage = Stage { members: self.members(&mut world), world, id, seeds, second_copy: None };
        while stage.world.now.since(Time::ZERO) < self.limit && !stage.is_over() {
            stage.join(self);
            stage.world.run_for(LOOK);
            stage.look(self);
        }
        stage.finish(self)
    }

    fn members(&self, world: &mut World) -> Vec<Member> {
        let mut members = Vec::new();
        for (class, of) in self.classes.iter().enumerate() {
            for number in 0..of.count as u32 {
                let joins = match of.joins {
                    Joins::Within(time) => time.mul_f64(world.rng.f64()),
                    Joins::Every(time) => time * number,
                };
                members.push(Member { class, joins, ..Member::default() });
            }
        }
        members
    }
}

/// A crowd that is happening.
struct Stage {
    world: World,
    id: TorrentId,
    seeds: Vec<NodeId>,
    members: Vec<Member>,
    second_copy: Option<(Duration, u64)>,
}

impl Stage {
    fn is_over(&self) -> bool {
        self.members.iter().all(|member| member.done.is_some())
    }

    fn join(&mut self, plan: &Plan) {
        let now = self.world.now.since(Time::ZERO);
        for member in self.members.iter_mut().filter(|m| m.node.is_none() && m.joins <= now + LOOK) {
            let habits = plan.classes[member.class].habits.clone();
            let node = self.world.leecher(self.id, habits);
            member.node = Some(node);
            member.joins = now;
        }
    }

    fn look(&mut self, plan: &Plan) {
        let (id, now) = (self.id, self.world.now.since(Time::ZERO));
        let mut out = Bitfield::new(self.world.content(id).layout.piece_count());
        let mut first_done = vec![false; plan.classes.len()];
        for member in &mut self.members {
            let Some(node) = member.node else { continue };
            let entry = &self.world.nodes[node].torrents[&id];
            let have = entry.live.as_ref().map_or(&entry.have, |swarm| swarm.have());
            if self.second_copy.is_none() {
                out.union_with(have);
            }
            let age = now.saturating_sub(member.joins);
            if !have.is_empty() {
                member.first_piece.get_or_insert(age);
            }
            if entry.sent > 0 {
                member.first_upload.get_or_insert(age);
            }
            if have.is_full() && member.done.is_none() {
                member.done = Some(age);
                first_done[member.class] = true;
            }
            (member.received, member.sent) = (entry.received, entry.sent);
            member.wasted = entry
                .live
                .as_ref()
                .map_or(entry.counters.wasted, |swarm| swarm.view(self.world.now).counters.wasted);
        }
        if first_done.contains(&true) && self.members.iter().all(|member| member.early == (0, 0)) {
            self.members.iter_mut().for_each(|member| member.early = (member.received, member.sent));
        }
        if self.second_copy.is_none() && out.is_full() {
            self.second_copy = Some((now, self.seeds_sent()));
            if plan.seeds_leave {
                self.seeds.clone().into_iter().for_each(|seed| self.world.leave(seed));
            }
        }
    }

    fn seeds_sent(&self) -> u64 {
        self.seeds.iter().map(|seed| self.world.nodes[*seed].torrents[&self.id].sent).sum()
    }

    fn finish(self, plan: &Plan) -> Run {
        let seeds_sent = self.seeds_sent();
        self.world.check_books();
        Run {
            plan: plan.clone(),
            members: self.members,
            size: self.world.content(self.id).layout.total_len(),
            second_copy: self.second_copy,
            seeds_sent,
            took: self.world.now.since(Time::ZERO),
            steps: self.world.steps,
        }
    }
}
