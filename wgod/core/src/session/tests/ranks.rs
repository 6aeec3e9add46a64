//! The queue's ranks: positions, priorities, turns, slow torrents, and what runs outside of it.
use super::rig::*;
use crate::piece_mgr::Priority;
use crate::session::{Check, Effect, MAX_SLOW, Newcomer, Place, QueueLimits, SLOW_AFTER, Shift, State, TURN};
use crate::units::{ByteRate, TorrentId};

const D: TorrentId = TorrentId(4);

fn limits(downloads: u32, seeds: u32, active: u32, slow: u64) -> QueueLimits {
    let limit = |n: u32| (n > 0).then_some(n);
    QueueLimits {
        downloads: limit(downloads),
        seeds: limit(seeds),
        active: limit(active),
        slow: ByteRate(slow),
    }
}

/// A, B, C and D, in this order, finished or not, under these limits.
fn four(finished: bool, limits: QueueLimits) -> Rig {
    let mut rig = Rig::new();
    rig.call(|s, now| s.set_queue(now, limits));
    [A, B, C, D].into_iter().for_each(|id| rig.add(id, true, Check::None, finished));
    rig.effects();
    rig
}

impl Rig {
    /// Those of the four that run.
    fn running(&self) -> Vec<TorrentId> {
        let runs = |id: &TorrentId| {
            let row = self.session.row(*id);
            row.is_some_and(|row| matches!(row.state(), State::Downloading | State::Seeding))
        };
        [A, B, C, D].into_iter().filter(runs).collect()
    }

    fn line(&self) -> Vec<TorrentId> {
        let mut ids = vec![A, B, C, D];
        ids.sort_by_key(|id| self.session.queue_position(*id));
        ids
    }

    /// For so long each of these moves so many bytes in a second, all else nothing.
    fn traffic(&mut self, seconds: u64, each: &[(TorrentId, u64)]) {
        for _ in 0..seconds {
            self.wait(secs(1));
            for id in [A, B, C, D] {
                let rate = each.iter().find(|(other, _)| *other == id).map_or(0, |(_, rate)| *rate);
                let bytes = rate * self.now.since_start().as_secs();
                self.call(|s, now| s.on_traffic(now, id, bytes, bytes));
            }
        }
    }
}

fn newcomer(id: TorrentId, place: Place) -> Newcomer {
    let hashes = wgo_proto::InfoHashes { v1: None, v2: None };
    let (started, needs, check_asked, finished) = (true, Check::None, false, false);
    let (device, moving) = (DISK, None);
    Newcomer { id, hashes, started, known: true, needs, check_asked, finished, device, moving, place }
}

#[test]
fn who_is_brought_to_the_front_runs_at_once() {
    let mut rig = four(false, limits(1, 0, 0, 0));
    assert_eq!(rig.running(), [A]);
    for (ids, shift, line, runs) in [
        (vec![C], Shift::Top, [C, A, B, D], C),
        (vec![D, B], Shift::Top, [D, B, C, A], D),
        (vec![D], Shift::Bottom, [B, C, A, D], B),
        (vec![A, D], Shift::Up, [B, A, D, C], B),
        (vec![B, A], Shift::Up, [B, A, D, C], B),
        (vec![A], Shift::Up, [A, B, D, C], A),
        (vec![A, C], Shift::Down, [B, A, D, C], B),
        (vec![D, C], Shift::Down, [B, A, D, C], B),
        (vec![C, B], Shift::To(1), [A, C, B, D], A),
        (vec![B, B, TorrentId(99)], Shift::To(70), [A, C, D, B], A),
    ] {
        rig.call(|s, now| s.reorder(now, &ids, shift));
        assert_eq!((rig.line(), rig.running()), (line.to_vec(), vec![runs]), "{ids:?} {shift:?}");
    }
    assert!(rig.effects().contains(&Effect::Save(B)), "it is kept");
}

#[test]
fn the_line_is_the_same_after_a_restart() {
    let mut rig = four(false, limits(2, 0, 0, 0));
    rig.call(|s, now| s.reorder(now, &[D, C], Shift::Top));
    rig.call(|s, now| s.reorder(now, &[A], Shift::To(1)));
    rig.call(|s, now| s.set_priority(now, B, Priority::Low));
    rig.call(|s, now| s.remove(now, C));
    let places = [A, B, D].map(|id| (id, rig.session.place(id).expect("it is there")));
    let mut again = Rig::new();
    again.call(|s, now| s.set_queue(now, limits(2, 0, 0, 0)));
    places.into_iter().for_each(|(id, place)| again.take(newcomer(id, place)));
    let position = |rig: &Rig| [D, A, B].map(|id| rig.session.queue_position(id));
    assert_eq!(position(&rig), [Some(0), Some(1), Some(2)]);
    assert_eq!((position(&again), again.running()), (position(&rig), rig.running()));
    for id in [5, 6].map(TorrentId) {
        let key = again.session.key_of_new(id);
        let place = Place { key, ..Place::default() };
        again.take(newcomer(id, place));
        assert_eq!(again.session.queue_position(id), Some(id.0 as usize - 2), "behind all others");
        again.call(|s, now| s.reorder(now, &[D], Shift::Bottom));
    }
    assert_eq!(again.session.queue_position(D), Some(4));
}

#[test]
fn priority_ranks_before_position() {
    let mut rig = four(false, limits(1, 0, 0, 0));
    rig.call(|s, now| s.set_priority(now, C, Priority::High));
    assert_eq!(rig.running(), [C]);
    rig.call(|s, now| s.set_priority(now, D, Priority::High));
    assert_eq!(rig.running(), [C], "D stands behind it");
    rig.call(|s, now| s.set_priority(now, C, Priority::Low));
    assert_eq!(rig.running(), [D]);
    rig.call(|s, now| s.stop(now, D));
    assert_eq!(rig.running(), [A]);
    assert_eq!(rig.line(), [A, B, C, D], "positions stay");
}

#[test]
fn a_stalled_torrent_keeps_nobody_waiting_and_stops_nobody_when_it_goes_on() {
    let mut rig = four(false, limits(1, 0, 0, 1000));
    rig.traffic(SLOW_AFTER.as_secs() - 1, &[]);
    assert_eq!(rig.running(), [A], "it may yet connect");
    rig.traffic(40, &[]);
    assert_eq!(rig.running(), [A, B]);
    rig.traffic(200, &[(A, 50_000), (B, 50_000)]);
    assert_eq!(rig.running(), [A, B], "nobody is stopped, and nobody joins them");
    rig.call(|s, now| s.stop(now, B));
    assert_eq!(rig.running(), [A], "it has the place that fell free");
    rig.traffic(200, &[(A, 900), (C, 5000)]);
    assert_eq!(rig.running(), [A, C], "a rate below the least is no rate");
    rig.traffic(200, &[(C, 1100)]);
    assert_eq!(rig.running(), [A, C], "one above it is");
    rig.call(|s, now| s.set_queue(now, limits(1, 0, 0, 0)));
    assert_eq!(rig.running(), [A], "where every one counts, the limit holds for all");
}

#[test]
fn a_block_now_and_then_is_no_rate() {
    let mut rig = four(false, limits(1, 0, 0, 1000));
    for block in 1..=4 {
        rig.traffic(25, &[]);
        rig.call(|s, now| s.on_traffic(now, A, block * 16_384, 0));
    }
    assert_eq!(rig.running(), [A, B]);
}

#[test]
fn those_that_do_not_count_are_bounded_and_take_turns() {
    let mut rig = Rig::new();
    rig.call(|s, now| s.set_queue(now, limits(1, 0, 0, 1000)));
    let all = MAX_SLOW as u64 + 3;
    (1..=all).for_each(|id| rig.add(TorrentId(id), true, Check::None, false));
    let running = |rig: &Rig| {
        let runs = |id: &u64| rig.state(TorrentId(*id)) == State::Downloading;
        (1..=all).filter(runs).collect::<Vec<u64>>()
    };
    // Each is slow after a while, and the next follows; meanwhile the first have had their turn.
    rig.wait(TURN - secs(60));
    assert!(running(&rig).len() < MAX_SLOW);
    let mut ran = std::collections::BTreeSet::new();
    for _ in 0..300 {
        rig.wait(secs(60));
        let running = running(&rig);
        assert!(running.len() <= MAX_SLOW + 1, "{}", running.len());
        ran.extend(running);
    }
    assert_eq!(ran.len() as u64, all, "everyone had a turn");
    let ended = rig.effects().iter().filter(|effect| matches!(effect, Effect::Halt(_))).count();
    assert!(ended < 300, "{ended} turns ended in {} half hours", 300 / 30);
}

#[test]
fn the_bound_on_all_counts_slow_ones_too() {
    let mut rig = four(false, limits(1, 0, 2, 1000));
    rig.traffic(100, &[]);
    assert_eq!(rig.running(), [A, B]);
    rig.traffic(300, &[]);
    assert_eq!(rig.running(), [A, B], "no third one");
    rig.traffic(TURN.as_secs(), &[(B, 5000)]);
    assert_eq!(rig.running(), [A, B], "nobody would get a place if it went");
    rig.traffic(90, &[]);
    assert_eq!(rig.running(), [B, C], "its turn is over, and B keeps nobody waiting");
    rig.traffic(90, &[]);
    assert_eq!(rig.running(), [C, D], "and so on");
}

#[test]
fn seeds_take_turns_and_who_had_none_comes_first() {
    let mut rig = four(true, limits(0, 2, 0, 0));
    let busy = [(A, 9000), (B, 9000), (C, 9000), (D, 9000)];
    assert_eq!(rig.running(), [A, B]);
    rig.traffic(TURN.as_secs() - 20, &busy);
    assert_eq!(rig.running(), [A, B]);
    rig.traffic(40, &busy);
    assert_eq!(rig.running(), [C, D]);
    rig.add(TorrentId(5), true, Check::None, true);
    assert_eq!(rig.running(), [C, D], "a new one waits for the end of a turn, too");
    rig.traffic(TURN.as_secs(), &busy);
    assert_eq!((rig.running(), rig.state(TorrentId(5))), (vec![A], State::Seeding), "and it goes first");
    assert_eq!(rig.line(), [A, B, C, D], "turns change no position");
    rig.call(|s, now| s.reorder(now, &[D], Shift::Top));
    assert_eq!(rig.running(), [A], "nor does a position change turns");
    rig.call(|s, now| s.set_priority(now, D, Priority::High));
    assert!(rig.running().contains(&D), "a priority does");
    rig.traffic(3 * TURN.as_secs(), &busy);
    assert!(rig.running().contains(&D), "those that rank below it wait");
}

#[test]
fn where_both_are_limited_together_downloads_go_first() {
    let mut rig = Rig::new();
    rig.call(|s, now| s.set_queue(now, limits(0, 0, 2, 0)));
    rig.add(A, true, Check::None, true);
    rig.add(B, true, Check::None, true);
    assert_eq!(rig.running(), [A, B]);
    rig.add(C, true, Check::None, false);
    assert_eq!(rig.running(), [A, C]);
    rig.add(D, true, Check::None, false);
    assert_eq!(rig.running(), [C, D]);
    rig.call(|s, now| s.set_priority(now, B, Priority::High));
    assert_eq!(rig.running(), [B, C], "unless the seed ranks higher");
    // One that finishes keeps its place until that is durable, and is a seed like others then.
    rig.call(|s, now| s.on_finished(now, C));
    assert_eq!(rig.running(), [B, C]);
    rig.call(|s, now| s.on_checkpointed(now, C, true));
    assert_eq!(rig.running(), [B, D]);
}

#[test]
fn what_is_started_at_once_neither_waits_nor_counts() {
    let mut rig = four(false, limits(1, 0, 1, 0));
    rig.call(|s, now| s.start_now(now, C));
    assert_eq!(rig.effects(), [Effect::Save(C), Effect::GoLive(C)]);
    assert_eq!((rig.running(), rig.session.queue_position(C)), (vec![A, C], None));
    assert!(rig.session.place(C).is_some_and(|place| place.forced));
    rig.call(|s, now| s.start_now(now, A));
    assert_eq!(rig.running(), [A, B, C], "its place is free");
    rig.call(|s, now| s.start(now, A));
    assert_eq!(rig.running(), [A, C], "it is in the queue again, before B");
    rig.call(|s, now| s.stop(now, C));
    rig.call(|s, now| s.start(now, C));
    assert_eq!((rig.running(), rig.session.queue_position(C)), (vec![A], Some(2)));
}

#[test]
fn those_behind_one_that_goes_look_different() {
    let mut rig = four(false, QueueLimits::default());
    rig.session.take_touched();
    rig.call(|s, now| s.remove(now, B));
    let touched = rig.session.take_touched();
    assert!(!touched.contains(&A) && !touched.contains(&B), "{touched:?}");
    assert!(touched.contains(&C) && touched.contains(&D), "{touched:?}");
    assert_eq!(rig.session.queue_position(D), Some(2));
}

#[test]
fn goals_are_looked_at_when_that_was_asked_for() {
    let mut rig = Rig::seeding();
    rig.call(|s, now| s.look_at_goal(now, A, Some(secs(90))));
    rig.call(|s, now| s.look_at_goal(now, A, Some(secs(30))));
    assert_eq!(rig.seconds_until(&Effect::Goal(A)), Some(30));
    assert_eq!(rig.seconds_until(&Effect::Goal(A)), None, "once");
    rig.call(|s, now| s.look_at_goal(now, A, Some(secs(30))));
    rig.call(|s, now| s.look_at_goal(now, A, None));
    assert_eq!(rig.seconds_until(&Effect::Goal(A)), None);
    rig.call(|s, now| s.look_at_goal(now, A, Some(secs(30))));
    rig.call(|s, now| s.remove(now, A));
    assert_eq!(rig.seconds_until(&Effect::Goal(A)), None);
}
