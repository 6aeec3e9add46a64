//! A plan is played: what is planned happens, then all is well again, and everything that was promised must come true.
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use wgo_core::session::{Check, QueueLimits};
use wgo_core::{ByteRate, Time, TorrentId};
use wgo_proto::Bitfield;

use crate::sim::disk::Condition;
use crate::sim::link::NodeId;
use crate::sim::plan::{Begin, Happening, Plan};
use crate::sim::weather::Weather;
use crate::sim::world::World;

/// Once all is well honest nodes need no longer than this, and what the bytes take on the slowest line: the longest
/// back-offs are half an hour, and a tracker's may come before a peer's.
const RECOVERY: Duration = Duration::from_secs(4 * 3600);
/// Steps after which a world is taken for one that never ends.
const MOST_STEPS: u64 = 60_000_000;
/// Who leaves has told everybody so in this time.
const FAREWELL: Duration = Duration::from_secs(30);

/// A hook that sees each happening before it happens, for tests that plant a failure.
pub type Hook<'a> = &'a dyn Fn(&World, &Happening);

/// How a run ended.
pub struct Played {
    pub world: World,
    /// The violation, with its place in the source, if there was one.
    pub failure: Option<String>,
}

/// Plays a plan to its end, or to the first violation.
pub fn play(plan: &Plan, log: bool, hook: Hook<'_>) -> Played {
    let mut world = World::new(plan.seed);
    world.log = log.then(Default::default);
    world.most_steps = MOST_STEPS;
    let run = AssertUnwindSafe(|| world.play(plan, hook));
    let failure = catch_unwind(run).err().map(|_| super::shrink::last_panic());
    Played { world, failure }
}

impl World {
    fn play(&mut self, plan: &Plan, hook: Hook<'_>) {
        self.begin_plan(plan);
        for planned in &plan.happenings {
            let at = Time::from_start(planned.at);
            self.run_for(at.since(self.now));
            self.check_leaving();
            hook(self, &planned.what);
            self.tell(None, || format!("{}: {:?}", planned.number, planned.what));
            self.befall(plan, &planned.what);
            self.settle();
        }
        self.mend(plan);
        self.keep_promises(plan);
    }

    fn begin_plan(&mut self, plan: &Plan) {
        self.weather = plan.weather;
        for torrent in &plan.torrents {
            let id = self.torrent(&torrent.shape);
            let content = &mut self.contents[id.0 as usize];
            (content.private, content.two_trackers) = (torrent.private, torrent.two_trackers);
        }
        for planned in &plan.nodes {
            let rogue = planned.habits.rogue.is_some() && !planned.absent;
            if rogue && let Some((torrent, _)) = planned.begins.first() {
                self.rogue(TorrentId(*torrent as u64), planned.habits.clone());
                continue;
            }
            let node = self.node(planned.habits.clone());
            self.nodes[node].up = !planned.absent;
            // Before anything fails.
            self.open_store(node);
            for (torrent, begin) in planned.begins.iter().filter(|_| !planned.absent) {
                let id = TorrentId(*torrent as u64);
                let pieces = self.content(id).layout.piece_count();
                let mut have = Bitfield::new(pieces);
                match begin {
                    Begin::Everything => have.set_all(),
                    Begin::Nothing => {}
                    Begin::Some(every) => {
                        for piece in 0..pieces {
                            if self.rng.u32(..*every) == 0 {
                                have.set(piece);
                            }
                        }
                    }
                }
                let check = if *begin == Begin::Everything { Check::None } else { Check::Full };
                self.add(node, id, have, check);
            }
        }
        self.settle();
    }

    /// Whether somebody is there who takes commands.
    fn obeys(&self, node: NodeId) -> bool {
        let one = &self.nodes[node];
        one.up && one.habits.rogue.is_none() && !self.is_frozen(node)
    }

    fn befall(&mut self, plan: &Plan, what: &Happening) {
        let id = |torrent: &usize| TorrentId(*torrent as u64);
        match what {
            Happening::Join(node, torrent)
                if self.obeys(*node)
                    && !self.nodes[*node].torrents.contains_key(&id(torrent))
                    && !plan.nodes[*node].absent =>
            {
                let none = Bitfield::new(self.content(id(torrent)).layout.piece_count());
                let added = self.try_add(*node, id(torrent), none, Check::Full);
                assert!(added || self.nodes[*node].habits.store, "a state in memory can be kept");
            }
            Happening::Remove(node, torrent, data) if self.obeys(*node) => {
                self.note_leaving(*node, id(torrent));
                self.remove(*node, id(torrent), *data);
            }
            Happening::Start(node, torrent) if self.obeys(*node) => {
                self.command(*node, |session, now| session.start(now, id(torrent)));
            }
            Happening::Stop(node, torrent) if self.obeys(*node) => {
                self.note_leaving(*node, id(torrent));
                self.command(*node, |session, now| session.stop(now, id(torrent)));
            }
            Happening::Verify(node, torrent) if self.obeys(*node) => {
                self.command(*node, |session, now| session.verify(now, id(torrent)));
            }
            Happening::Leave(node) if self.obeys(*node) => {
                (0..plan.torrents.len()).for_each(|torrent| self.note_leaving(*node, id(&torrent)));
                self.leave(*node);
            }
            Happening::Crash(node) if self.obeys(*node) => self.crash(*node),
            Happening::Return(node) => self.come_back(plan, *node, Check::None),
            Happening::Restart(node, check) => self.come_back(plan, *node, *check),
            Happening::Trackers { first_down, other_down } => {
                (self.tracker.down, self.other_tracker.down) = (*first_down, *other_down);
                self.tracker.down_at = Some(self.now);
            }
            Happening::AnswersLost(percent) => {
                (self.tracker.answers_lost, self.other_tracker.answers_lost) = (*percent, *percent);
            }
            Happening::Weather(weather) => self.weather = *weather,
            Happening::Part(side) => self.part(*side),
            Happening::Heal => self.heal(),
            Happening::Resets(count) => (0..*count).for_each(|_| self.reset()),
            Happening::HalfOpen(count) => (0..*count).for_each(|_| self.half_open()),
            Happening::Stall(count, time) => (0..*count).for_each(|_| self.stall(*time)),
            Happening::Limit(node, direction, rate) if self.obeys(*node) => {
                self.limit(*node, *direction, *rate)
            }
            Happening::Queue(node, downloads, seeds) if self.obeys(*node) => {
                let (downloads, seeds) = (*downloads, *seeds);
                let limits = QueueLimits { downloads, seeds, slow: ByteRate(500), ..QueueLimits::default() };
                self.nodes[*node].habits.queue = limits;
                self.command(*node, |session, now| session.set_queue(now, limits));
            }
            Happening::Jump(node, by) => self.jump(*node, *by),
            Happening::Suspend(node, time, jumps) if !plan.nodes[*node].absent => {
                self.suspend(*node, *time, *jumps);
            }
            Happening::Disk(node, condition) => {
                self.trouble(*node);
                self.set_disk(*node, 0, *condition);
            }
            Happening::Fail(node, device, what, times) if !plan.nodes[*node].absent => {
                self.trouble(*node);
                self.nodes[*node].disk.fail(*device, *what, *times);
            }
            Happening::PowerCut(node, None) if self.obeys(*node) => self.power_cut(*node),
            Happening::PowerCut(node, Some(changes)) if self.obeys(*node) => {
                self.nodes[*node].disk.cut_after(*changes);
            }
            _ => {}
        }
    }

    /// A node that crashed or left begins again.
    fn come_back(&mut self, plan: &Plan, node: NodeId, check: Check) {
        if self.nodes[node].up || plan.nodes[node].absent || plan.nodes[node].habits.rogue.is_some() {
            return;
        }
        let left = self.nodes[node].session.rows().next().is_some();
        if self.nodes[node].habits.store {
            match self.nodes[node].disk.is_dark() {
                // In the middle of its last work.
                true => self.power_cut(node),
                // It ended in order, and knows what it kept.
                false if left => self.crash(node),
                false => {}
            }
        } else if left {
            self.nodes[node].up = true;
            let ids: Vec<_> = self.nodes[node].torrents.keys().copied().collect();
            ids.into_iter().for_each(|id| self.command(node, |session, now| session.start(now, id)));
            return;
        }
        self.restart(node, check);
        if self.nodes[node].habits.store {
            self.settle();
            self.remove_again(node);
        }
    }

    /// All is well again: whatever was stopped is started, whatever was cut is whole. Who was bad stays so.
    fn mend(&mut self, plan: &Plan) {
        self.tell(None, || "all is well again".to_owned());
        self.heal();
        self.weather = Weather::default();
        self.tracker.down = false;
        // Those who use one tracker each would never meet.
        self.other_tracker.down = true;
        (self.tracker.answers_lost, self.other_tracker.answers_lost) = (0, 0);
        for node in 0..self.nodes.len() {
            if self.is_frozen(node) {
                self.thaw(node);
            }
            if plan.nodes[node].absent || self.nodes[node].habits.rogue.is_some() {
                continue;
            }
            self.set_disk(node, 0, Condition::Well);
            self.nodes[node].disk.mend();
            self.nodes[node].disk.set_dark(false);
            self.come_back(plan, node, Check::None);
            for direction in [wgo_core::limiter::Direction::Up, wgo_core::limiter::Direction::Down] {
                self.limit(node, direction, None);
            }
            self.command(node, |session, now| session.set_queue(now, QueueLimits::default()));
            let ids: Vec<_> = self.nodes[node].torrents.keys().copied().collect();
            ids.into_iter().for_each(|id| self.command(node, |session, now| session.start(now, id)));
        }
    }

    fn keep_promises(&mut self, plan: &Plan) {
        let mended = self.now;
        let honest: Vec<NodeId> =
            (0..plan.nodes.len()).filter(|n| plan.nodes[*n].honest && !plan.nodes[*n].absent).collect();
        let whole = |torrent: usize| {
            let has = |node: &&crate::sim::plan::PlannedNode| {
                node.origin && !node.absent && node.begins.iter().any(|(of, _)| *of == torrent)
            };
            plan.nodes.iter().any(|node| has(&node))
        };
        let served: Vec<TorrentId> =
            (0..plan.torrents.len()).filter(|t| whole(*t)).map(|t| TorrentId(t as u64)).collect();
        let bytes: u64 = plan.torrents.iter().flat_map(|torrent| &torrent.shape.files).sum();
        let slowest = plan.nodes.iter().map(|node| node.habits.line).min().unwrap_or(1);
        let limit = RECOVERY + Duration::from_secs(4 * bytes * plan.nodes.len() as u64 / slowest);
        let wants = |world: &World, node: NodeId, id: TorrentId| world.nodes[node].torrents.contains_key(&id);
        self.run("all honest nodes finish", limit, |world| {
            honest.iter().all(|node| {
                served.iter().all(|id| !wants(world, *node, *id) || world.nodes[*node].has_for_good(*id))
            })
        });
        self.run_for(Duration::from_secs(5));
        for (node, id) in honest.iter().flat_map(|node| served.iter().map(|id| (*node, *id))) {
            if wants(self, node, id) {
                self.check_complete(node, id);
            }
        }
        self.check_books();
        self.check_bans();
        self.check_leaving();
        honest.iter().for_each(|node| self.leave(*node));
        self.run_for(FAREWELL);
        self.check_farewells(&honest, mended);
    }
}
