//! What callers of the control API ask of the driver.
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use wgo_api::error::{ApiError, Kind};
use wgo_api::ids::Matcher;
use wgo_api::params::{RemoveParams, SelectParams, check_selection};
use wgo_api::result::{ActResult, Acted, LimitResult};
use wgo_api::torrent::RateLimits;
use wgo_core::limiter::Direction;
use wgo_core::session::Phase;
use wgo_core::{ByteRate, TorrentId};

use super::metadata::not_yet;
use super::ops::Op;
use super::{Command, Driver, Named, Tunables, Verb};
use crate::hooks;
use crate::store::Counters;

/// An id as it was given, and the torrent that it names.
pub(super) type Selected = (String, Result<TorrentId, ApiError>);
/// The answer to a call on several torrents.
type ActReply = oneshot::Sender<Result<ActResult, ApiError>>;
/// The answer to a call on one torrent's limits.
type LimitReply = oneshot::Sender<Result<LimitResult, ApiError>>;
/// `stop` waits so long for a torrent to end: less than callers wait for the answer.
const STOP_PATIENCE: Duration = Duration::from_secs(15);
/// Of one that is told to stop while it is moved.
const STILL_MOVES: &str = "it is being moved, and stops when that has ended; \
    to stop it where it is, call the move off with `wgoctl move ID --cancel`";

/// Why a torrent that was told to stop hasn't.
fn late(why: &str) -> String {
    format!("it is told to stop, but after {} s {why} See `wgoctl status`", STOP_PATIENCE.as_secs())
}

/// What a call on several torrents waits for: which of them, and how it went; `None`: nobody says.
pub(super) type Waits = JoinSet<(usize, Option<Result<(), String>>)>;

impl Driver {
    pub(super) fn on_command(&mut self, command: Command) {
        // An answer that nobody waits for any more is dropped.
        match command {
            Command::Add(request, reply) => self.add(*request, reply),
            Command::Remove(params, reply) => self.remove(&params, reply),
            Command::Act(verb, params, reply) => self.act(verb, &params, reply),
            Command::Scrape(params, reply) => self.scrape(&params, reply),
            Command::Move(params, reply) => self.relocate(&params, reply),
            Command::Files(params, reply) => self.files(&params, reply),
            Command::Label(params, reply) => self.label(&params, reply),
            Command::Trackers(params, reply) => self.trackers_of(&params, reply),
            Command::Rename(params, reply) => self.rename(&params, reply),
            Command::Set(params, reply) => self.set(&params, reply),
            Command::Labels(reply) => drop(reply.send(self.labels_in_use())),
            Command::Queue(params, reply) => self.queue(&params, reply),
            Command::List(params, reply) => drop(reply.send(self.list(&params))),
            Command::Show(params, reply) => drop(reply.send(self.show(&params))),
            Command::Name(id, reply) => drop(reply.send(self.named(&id))),
            Command::Glance(ids, reply) => drop(reply.send(self.glance(ids.as_deref()))),
            Command::LimitTorrent(id, limits, reply) => self.limit(&id, limits, reply),
            Command::Settings(tunables) => self.apply_settings(*tunables),
        }
    }

    /// The torrent that `id` names.
    pub(super) fn resolve(&self, id: &str) -> Result<TorrentId, ApiError> {
        // A whole hash beats everything else that an id may mean.
        let whole = id.parse().ok().and_then(|hash| self.by_hash.get(&hash));
        if let Some(entry) = whole.and_then(|id| self.entries.get(id)).filter(|entry| !entry.leaving) {
            return Ok(entry.id);
        }
        let mut matcher = Matcher::new(id);
        for entry in self.entries.listed() {
            let v2 = entry.settings.hashes.v2.map(|hash| hash.to_string());
            matcher.see(entry.id, &entry.hash_text(), v2.as_deref(), &entry.settings.name);
        }
        matcher.finish().one(id)
    }

    fn named(&self, id: &str) -> Result<Named, ApiError> {
        let found = self.resolve(id)?;
        let entry =
            self.entries.get(&found).ok_or_else(|| ApiError::new(Kind::NoMatch, "it has just gone"))?;
        Ok(Named { id: found, info_hash: entry.hash_text(), name: entry.settings.name.clone() })
    }

    /// The torrents of a call, each with the id as it was given.
    pub(super) fn select(&self, ids: &[String], all: bool) -> Result<Vec<Selected>, ApiError> {
        check_selection(ids, all)?;
        if all {
            return Ok(self.entries.listed().map(|entry| (entry.hash_text(), Ok(entry.id))).collect());
        }
        Ok(ids.iter().map(|id| (id.clone(), self.resolve(id))).collect())
    }

    pub(super) fn acted(&self, given: &str, id: TorrentId) -> Acted {
        match self.entries.get(&id) {
            Some(entry) => Acted::ok(given, entry.hash_text(), entry.settings.name.clone()),
            None => Acted::failed(given, ApiError::new(Kind::NoMatch, "it is being removed")),
        }
    }

    /// Answers when what was asked for would survive a crash.
    fn act(&mut self, verb: Verb, params: &SelectParams, reply: ActReply) {
        let now = self.engine.clock.now();
        let selected = match self.select(&params.ids, params.all) {
            Ok(selected) => selected,
            Err(error) => return drop(reply.send(Err(error))),
        };
        let mut acted = Vec::new();
        let mut waits = Waits::new();
        for (given, found) in selected {
            let id = match found {
                Ok(id) => id,
                Err(error) => {
                    acted.push(Acted::failed(given, error));
                    continue;
                }
            };
            let is_known = self.entries.get(&id).is_none_or(|entry| entry.is_known());
            match verb {
                Verb::Verify | Verb::StartOver if !is_known => {
                    acted.push(Acted::failed(given, not_yet("it has nothing that could be hashed")));
                    continue;
                }
                Verb::Start | Verb::StartNow => {
                    self.start(id, verb == Verb::StartNow);
                    self.arrive(id);
                }
                Verb::Stop => self.session.stop(now, id),
                Verb::Verify => self.session.verify(now, id),
                Verb::StartOver => {
                    if let Some(entry) = self.entries.get_mut(&id) {
                        entry.starts_over = true;
                    }
                    self.session.verify(now, id);
                }
                Verb::Announce => self.announce_now(id),
            }
            let at = acted.len();
            acted.push(self.acted(&given, id));
            match verb {
                Verb::Start | Verb::StartNow => {
                    let saved = self.saved(id);
                    waits.spawn(async move { (at, saved.await.ok()) });
                }
                Verb::Stop => {
                    let stopped = self.stopped(id);
                    waits.spawn(async move { (at, stopped.await) });
                }
                Verb::Verify | Verb::StartOver | Verb::Announce => {}
            }
        }
        self.answer_when(waits, acted, Kind::Disk, reply);
    }

    /// Ends when a torrent that was told to stop has: its connections, its last checkpoint, and whatever else
    /// was under way on its files. A disk that hangs is not waited for.
    fn stopped(
        &mut self,
        id: TorrentId,
    ) -> impl Future<Output = Option<Result<(), String>>> + Send + 'static {
        let saved = self.saved(id);
        // What ends it is to be in its lane before the question is.
        self.carry_out();
        let moves = self.session.row(id).is_some_and(|row| row.phase == Phase::Moving);
        let (told, ended) = oneshot::channel();
        if !moves {
            self.push_op(id, Op::Tell(told));
        }
        async move {
            let deadline = Instant::now() + STOP_PATIENCE;
            match timeout_at(deadline, saved).await {
                Ok(Ok(Ok(()))) if moves => Some(Err(STILL_MOVES.to_owned())),
                Ok(Ok(Ok(()))) => match timeout_at(deadline, ended).await {
                    Ok(answer) => answer.ok(),
                    Err(_) => Some(Err(late("its last data is not on disk: does that disk answer?"))),
                },
                Ok(failed) => failed.ok(),
                Err(_) => Some(Err(late("this is not saved: does the disk of the state directory answer?"))),
            }
        }
    }

    /// Answers when all of `waits`, each about one of `acted`, are over; one that fails does so with `kind`.
    pub(super) fn answer_when(
        &mut self,
        mut waits: Waits,
        mut acted: Vec<Acted>,
        kind: Kind,
        reply: ActReply,
    ) {
        self.replies.spawn(async move {
            while let Some(Ok((at, result))) = waits.join_next().await {
                let gone = "the daemon stopped, or the torrent was removed, before it was done";
                let error = match result {
                    Some(Ok(())) => continue,
                    Some(Err(why)) => ApiError::new(kind, why),
                    None => ApiError::new(Kind::Stopping, gone),
                };
                acted[at] = Acted::failed(acted[at].id.clone(), error);
            }
            drop(reply.send(Ok(ActResult { torrents: acted })));
        });
    }

    /// A seeding goal that was reached counts no longer for who is started again.
    fn start(&mut self, id: TorrentId, at_once: bool) {
        let now = self.engine.clock.now();
        if let Some(done) = self.entries.get_mut(&id).and_then(|entry| entry.settings.goal_reached.as_mut()) {
            done.started_again = true;
        }
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.forget_early_choice();
        }
        match at_once {
            true => self.session.start_now(now, id),
            false => self.session.start(now, id),
        }
    }

    fn announce_now(&mut self, id: TorrentId) {
        let now = self.engine.clock.now();
        self.session.wake(now, id);
        self.engine.dht.look_now(id);
        if let Some(live) = self.entries.get(&id).and_then(|entry| entry.live.clone()) {
            self.engine.call(&live, |swarm, now| swarm.announce_now(now));
        }
    }

    /// Removes torrents; answers when all of them are gone from the disk and the store.
    fn remove(&mut self, params: &RemoveParams, reply: ActReply) {
        let selected = match self.select(&params.ids, params.all) {
            Ok(selected) => selected,
            Err(error) => return drop(reply.send(Err(error))),
        };
        let mut acted: Vec<Acted> = Vec::new();
        let mut waits = Waits::new();
        for (given, found) in selected {
            let id = match found {
                Ok(id) => id,
                Err(error) => {
                    acted.push(Acted::failed(given, error));
                    continue;
                }
            };
            let at = acted.len();
            acted.push(self.acted(&given, id));
            let (done, gone) = oneshot::channel();
            self.begin_removal(id, params.data, done);
            waits.spawn(async move { (at, gone.await.ok()) });
        }
        self.answer_when(waits, acted, Kind::Partly, reply);
    }

    pub(super) fn begin_removal(
        &mut self,
        id: TorrentId,
        data: bool,
        reply: oneshot::Sender<Result<(), String>>,
    ) {
        let now = self.engine.clock.now();
        self.session.remove(now, id);
        let Some(entry) = self.entries.get_mut(&id) else { return };
        entry.leaving = true;
        entry.removing = true;
        // What it would still have done makes no sense any more.
        entry.lane.retain(|op| matches!(op, Op::Remove { .. }));
        if let Some(check) = &entry.check {
            check.pause();
        }
        if let Some(moving) = &entry.moving {
            moving.stop();
        }
        if let Some(pending) = &mut entry.renaming {
            pending.dismiss();
        }
        let hash = entry.hash_text();
        self.touch();
        self.remember_removed(hash);
        self.push_op(id, Op::Remove { data, reply });
    }

    /// No torrent has this hash from this version of the list on.
    pub(super) fn remember_removed(&mut self, hash: String) {
        self.removed.push_back((self.version, hash));
        if self.removed.len() > super::driver::REMEMBERED_REMOVALS {
            self.removed.pop_front();
        }
    }

    /// A torrent is gone from the disk and the store.
    pub(super) fn on_removed(
        &mut self,
        id: TorrentId,
        result: Result<(), String>,
        counters: &Counters,
        reply: oneshot::Sender<Result<(), String>>,
    ) {
        if let Some(mut entry) = self.forget(id) {
            self.totals.downloaded += counters.downloaded;
            self.totals.uploaded += counters.uploaded;
            entry.span().in_scope(|| tracing::info!("removed"));
            entry.counters = counters.clone();
            self.tell_of(hooks::Event::Removed, &entry);
        }
        drop(reply.send(result));
    }

    /// Sets limits of a torrent, at once; answers when they would survive a crash.
    fn limit(&mut self, id: &str, limits: [Option<(Direction, u64)>; 2], reply: LimitReply) {
        let gone = || ApiError::new(Kind::NoMatch, "it is being removed");
        let id = match self.resolve(id) {
            Ok(id) => id,
            Err(error) => return drop(reply.send(Err(error))),
        };
        let mut changed = false;
        for (direction, bytes) in limits.into_iter().flatten() {
            self.set_limit(id, direction, bytes);
            changed = true;
        }
        let Some(entry) = self.entries.get(&id) else { return drop(reply.send(Err(gone()))) };
        let rate = |limit: Option<ByteRate>| limit.map_or(0, |rate| rate.0);
        let limits = RateLimits { up: rate(entry.settings.up_limit), down: rate(entry.settings.down_limit) };
        let (info_hash, name) = (Some(entry.hash_text()), Some(entry.settings.name.clone()));
        let result = LimitResult { info_hash, name, limits, ..LimitResult::default() };
        if !changed {
            return drop(reply.send(Ok(result)));
        }
        let saved = self.saved(id);
        self.touch();
        self.replies.spawn(async move {
            let answer = match saved.await {
                Ok(Ok(())) => Ok(result),
                Ok(Err(why)) => Err(ApiError::new(Kind::Disk, format!("the limit is in force, but {why}"))),
                Err(_) => Err(gone()),
            };
            drop(reply.send(answer));
        });
    }

    fn apply_settings(&mut self, tunables: Tunables) {
        let old = std::mem::replace(&mut self.tunables, tunables);
        self.session.set_queue(self.engine.clock.now(), self.tunables.queue);
        let (rules, was) = (&self.tunables.rules, &old.rules);
        let goals = (&rules.labels, &rules.trackers) != (&was.labels, &was.trackers);
        if rules.limits != was.limits {
            self.limit_labels();
        }
        if goals || old.goals != self.tunables.goals {
            self.look_at_all_goals();
        }
        self.ask_all_rooms();
        let (max_peers, pex) = (self.tunables.max_peers_per_torrent, self.tunables.pex);
        let filter = self.engine.ip_filter.filter();
        for entry in self.entries.values() {
            if let Some(live) = &entry.live {
                let _broken = live.call(|swarm, _| {
                    swarm.set_max_peers(max_peers);
                    swarm.set_pex(pex);
                    swarm.set_ip_filter(filter.clone());
                });
            }
        }
        self.choke_round();
    }
}
