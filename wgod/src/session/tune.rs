//! What operators set of torrents: priority, order of pieces, seeding goals, limits; and where they stand in
//! the queue. All that a call asks for is done, or nothing.
use tokio::sync::oneshot;
use wgo_api::error::{ApiError, Kind};
use wgo_api::goals::{AfterGoal as ApiAfterGoal, Choice};
use wgo_api::params::{AddParams, QueueParams, QueueTo, QueueWord, SetParams};
use wgo_api::result::{ActResult, ActStatus, Acted};
use wgo_api::torrent::Priority as ApiPriority;
use wgo_core::limiter::Direction;
use wgo_core::piece_mgr::{Order, Priority};
use wgo_core::session::{AfterGoal, ChosenGoals, Ratio, Shift};
use wgo_core::{ByteRate, TorrentId};

use super::Driver;
use super::commands::Waits;

type ActReply = oneshot::Sender<Result<ActResult, ApiError>>;

impl Driver {
    /// Sets what torrents have of their own; answers when it would survive a crash.
    pub(super) fn set(&mut self, params: &SetParams, reply: ActReply) {
        let selected = params.check().and_then(|()| self.select_all_of(&params.ids, params.all));
        let selected = match selected {
            Ok(selected) => selected,
            Err(error) => return drop(reply.send(Err(error))),
        };
        let mut acted = Vec::new();
        for (given, id) in selected {
            self.set_one(id, params);
            acted.push((id, self.set_and_unbanned(&given, id, params)));
        }
        self.answer_when_kept(acted, Vec::new(), reply);
    }

    /// Moves torrents in the queue; answers when it would survive a crash.
    pub(super) fn queue(&mut self, params: &QueueParams, reply: ActReply) {
        let selected = match self.select_all_of(&params.ids, false) {
            Ok(selected) => selected,
            Err(error) => return drop(reply.send(Err(error))),
        };
        let shift = match params.to {
            QueueTo::Word(QueueWord::Top) => Shift::Top,
            QueueTo::Word(QueueWord::Bottom) => Shift::Bottom,
            QueueTo::Word(QueueWord::Up) => Shift::Up,
            QueueTo::Word(QueueWord::Down) => Shift::Down,
            QueueTo::Position(position) => Shift::To(position as usize),
        };
        let ids: Vec<TorrentId> = selected.iter().map(|(_, id)| *id).collect();
        let changed = self.session.reorder(self.engine.clock.now(), &ids, shift);
        // Those that made room have to be kept as well.
        let others = changed.into_iter().filter(|id| !ids.contains(id)).collect();
        let acted = selected.iter().map(|(given, id)| (*id, self.acted(given, *id))).collect();
        self.answer_when_kept(acted, others, reply);
    }

    /// The torrents of a call that is done for all of them or for none.
    fn select_all_of(&self, ids: &[String], all: bool) -> Result<Vec<(String, TorrentId)>, ApiError> {
        let each = self.select(ids, all)?.into_iter();
        each.map(|(given, found)| found.map(|id| (given, id))).collect()
    }

    /// Answers when the store has these torrents as they are now; what goes wrong with others is told of the
    /// first.
    fn answer_when_kept(&mut self, acted: Vec<(TorrentId, Acted)>, others: Vec<TorrentId>, reply: ActReply) {
        let (ids, acted): (Vec<TorrentId>, Vec<Acted>) = acted.into_iter().unzip();
        let selected = ids.into_iter().enumerate();
        let mut waits = Waits::new();
        for (at, id) in selected.chain(others.into_iter().map(|id| (0, id))) {
            let saved = self.saved(id);
            waits.spawn(async move {
                let saved = saved.await.ok();
                (at, saved.map(|saved| saved.map_err(|why| format!("it is in force, but {why}"))))
            });
        }
        self.touch();
        self.answer_when(waits, acted, Kind::Disk, reply);
    }

    /// Lifts bans if that is asked for, too: what the call has come to.
    fn set_and_unbanned(&self, given: &str, id: TorrentId, params: &SetParams) -> Acted {
        let acted = self.acted(given, id);
        let Some(note) = params.unbanned().ok().flatten().and_then(|unban| self.unban(id, unban)) else {
            return acted;
        };
        let only = SetParams { unban: None, ..params.clone() }.check().is_err();
        let status = if only { ActStatus::Unchanged } else { acted.status };
        Acted { note: Some(note), status, ..acted }
    }

    fn set_one(&mut self, id: TorrentId, params: &SetParams) {
        let now = self.engine.clock.now();
        if let Some(priority) = params.priority {
            self.session.set_priority(now, id, rank(priority));
        }
        for (direction, limit) in [(Direction::Up, params.up), (Direction::Down, params.down)] {
            if let Some(bytes) = limit {
                self.set_limit(id, direction, bytes);
            }
        }
        let Some(entry) = self.entries.get_mut(&id) else { return };
        if let Some(sequential) = params.sequential {
            entry.settings.sequential = sequential;
            self.tune(id);
        }
        if params.sets_goals()
            && let Some(entry) = self.entries.get_mut(&id)
        {
            let own = &mut entry.settings.goals;
            let choose = |own: &mut Option<u64>, given: Option<Choice<u64>>| {
                if let Some(given) = given {
                    *own = given.own();
                }
            };
            choose(&mut own.time, params.seed_time_secs);
            choose(&mut own.idle, params.seed_idle_secs);
            if let Some(given) = params.ratio {
                own.ratio = given.own().and_then(Ratio::of);
            }
            if let Some(given) = params.goal_action {
                own.action = given.own().map(after_goal);
            }
            // Whoever sets goals means them.
            entry.settings.goal_reached = None;
            self.look_at_goal(id);
        }
    }

    /// A limit of a torrent's own, in force at once.
    pub(super) fn set_limit(&mut self, id: TorrentId, direction: Direction, bytes: u64) {
        let limit = (bytes > 0).then_some(ByteRate(bytes));
        let Some(entry) = self.entries.get_mut(&id) else { return };
        match direction {
            Direction::Up => entry.settings.up_limit = limit,
            Direction::Down => entry.settings.down_limit = limit,
        }
        self.engine.shaper.set(Some(id), direction, limit);
    }
}

/// The order of pieces.
pub(super) fn order(sequential: bool) -> Order {
    if sequential { Order::Sequential } else { Order::RarestFirst }
}

/// How a torrent ranks.
pub(crate) fn rank(priority: ApiPriority) -> Priority {
    match priority {
        ApiPriority::Low => Priority::Low,
        ApiPriority::Normal => Priority::Normal,
        ApiPriority::High => Priority::High,
    }
}

fn after_goal(action: ApiAfterGoal) -> AfterGoal {
    match action {
        ApiAfterGoal::Stop => AfterGoal::Stop,
        ApiAfterGoal::Remove => AfterGoal::Remove,
        ApiAfterGoal::RemoveWithFiles => AfterGoal::RemoveWithFiles,
        ApiAfterGoal::Keep => AfterGoal::Keep,
    }
}

/// The goals that a torrent is added with.
///
/// # Errors
/// [`Kind::BadRequest`] when the ratio is none.
pub fn goals_of_add(params: &AddParams) -> Result<ChosenGoals, ApiError> {
    let ratio = params.ratio.map(wgo_api::goals::check_ratio).transpose()?;
    let impossible = || ApiError::new(Kind::BadRequest, "`ratio` can't be used");
    Ok(ChosenGoals {
        ratio: ratio.map(|ratio| Ratio::of(ratio).ok_or_else(impossible)).transpose()?,
        time: params.seed_time_secs,
        idle: params.seed_idle_secs,
        action: params.goal_action.map(after_goal),
    })
}
