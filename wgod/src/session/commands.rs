//! What callers of the control API ask of the driver.
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use wgo_api::error::{ApiError, Kind};
use wgo_api::ids::Matcher;
use wgo_api::params::{RemoveParams, SelectParams, check_selection};
use wgo_api::result::{ActResult, Acted, LimitResult};
use wgo_api::torrent::RateLimits;
use wgo_core::limiter::Direction;
use wgo_core::{ByteRate, TorrentId};

use super::ops::Op;
use super::{Command, Driver, Tunables, Verb};
use crate::store::Counters;

/// An id as it was given, and the torrent that it names.
pub(super) type Selected = (String, Result<TorrentId, ApiError>);
/// The answer to a call on several torrents.
type ActReply = oneshot::Sender<Result<ActResult, ApiError>>;
/// The answer to a call on one torrent's limits.
type LimitReply = oneshot::Sender<Result<LimitResult, ApiError>>;
/// What a call on several torrents waits for: which of them, and how it went; `None`: nobody says.
pub(super) type Waits = JoinSet<(usize, Option<Result<(), String>>)>;

impl Driver {
    pub(super) fn on_command(&mut self, command: Command) {
        // An answer that nobody waits for any more is dropped.
        match command {
            Command::Add(request, reply) => self.add(*request, reply),
            Command::Remove(params, reply) => self.remove(&params, reply),
            Command::Act(verb, params, reply) => self.act(verb, &params, reply),
            Command::Move(params, reply) => self.relocate(&params, reply),
            Command::Files(params, reply) => self.files(&params, reply),
            Command::Label(params, reply) => self.label(&params, reply),
            Command::Trackers(params, reply) => self.trackers_of(&params, reply),
            Command::List(params, reply) => drop(reply.send(self.list(&params))),
            Command::Show(params, reply) => drop(reply.send(self.show(&params))),
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
            match verb {
                Verb::Start => self.session.start(now, id),
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
            if matches!(verb, Verb::Start | Verb::Stop) {
                let saved = self.saved(id);
                waits.spawn(async move { (at, saved.await.ok()) });
            }
        }
        self.answer_when(waits, acted, reply);
    }

    /// Answers when all of `waits`, each about one of `acted`, are over.
    pub(super) fn answer_when(&mut self, mut waits: Waits, mut acted: Vec<Acted>, reply: ActReply) {
        self.replies.spawn(async move {
            while let Some(Ok((at, result))) = waits.join_next().await {
                let why = match result {
                    Some(Ok(())) => continue,
                    Some(Err(why)) => why,
                    None => "the daemon stopped, or the torrent was removed, before it was done".to_owned(),
                };
                acted[at] = Acted::failed(acted[at].id.clone(), ApiError::new(Kind::Disk, why));
            }
            drop(reply.send(Ok(ActResult { torrents: acted })));
        });
    }

    fn announce_now(&mut self, id: TorrentId) {
        let now = self.engine.clock.now();
        self.session.wake(now, id);
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
        self.answer_when(waits, acted, reply);
    }

    fn begin_removal(&mut self, id: TorrentId, data: bool, reply: oneshot::Sender<Result<(), String>>) {
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
        let hash = entry.hash_text();
        self.touch();
        self.removed.push_back((self.version, hash));
        if self.removed.len() > super::driver::REMEMBERED_REMOVALS {
            self.removed.pop_front();
        }
        self.push_op(id, Op::Remove { data, reply });
    }

    /// A torrent is gone from the disk and the store.
    pub(super) fn on_removed(
        &mut self,
        id: TorrentId,
        result: Result<(), String>,
        counters: &Counters,
        reply: oneshot::Sender<Result<(), String>>,
    ) {
        if let Some(entry) = self.forget(id) {
            self.totals.downloaded += counters.downloaded;
            self.totals.uploaded += counters.uploaded;
            entry.span().in_scope(|| tracing::info!("removed"));
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
        let Some(entry) = self.entries.get_mut(&id) else { return drop(reply.send(Err(gone()))) };
        let mut changed = false;
        for (direction, bytes) in limits.into_iter().flatten() {
            let limit = (bytes > 0).then_some(ByteRate(bytes));
            match direction {
                Direction::Up => entry.settings.up_limit = limit,
                Direction::Down => entry.settings.down_limit = limit,
            }
            self.engine.shaper.set(Some(id), direction, limit);
            changed = true;
        }
        let rate = |limit: Option<ByteRate>| limit.map_or(0, |rate| rate.0);
        let limits = RateLimits { up: rate(entry.settings.up_limit), down: rate(entry.settings.down_limit) };
        let (info_hash, name) = (Some(entry.hash_text()), Some(entry.settings.name.clone()));
        let result = LimitResult { info_hash, name, limits, alternative: None };
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
        self.tunables = tunables;
        self.ask_all_rooms();
        let max_peers = self.tunables.max_peers_per_torrent;
        for entry in self.entries.values() {
            if let Some(live) = &entry.live {
                let _broken = live.call(|swarm, _| swarm.set_max_peers(max_peers));
            }
        }
        self.choke_round();
    }
}
