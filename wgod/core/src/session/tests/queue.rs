//! The queue: who may be active, who waits, who comes next.
use super::rig::*;
use crate::session::{Check, Effect, FaultKind, QueueLimits, State};
use crate::units::TorrentId;

#[test]
fn no_more_than_the_limit_download_and_the_next_in_line_follows() {
    let mut rig = Rig::with(Some(1), None);
    for id in [A, B, C] {
        rig.add(id, true, Check::None, false);
    }
    assert_eq!(rig.effects(), [Effect::GoLive(A)]);
    assert_eq!((rig.state(B), rig.state(C)), (State::Queued, State::Queued));
    rig.call(|s, now| s.stop(now, A));
    assert_eq!(rig.effects(), [Effect::Save(A), Effect::Halt(A), Effect::GoLive(B)]);
    rig.call(|s, now| s.remove(now, B));
    assert_eq!(rig.effects(), [Effect::Halt(B), Effect::GoLive(C)]);
}

#[test]
fn seeds_do_not_take_places_of_downloads() {
    let mut rig = Rig::with(Some(1), Some(1));
    rig.add(A, true, Check::None, true);
    rig.add(B, true, Check::None, true);
    rig.add(C, true, Check::None, false);
    assert_eq!(rig.effects(), [Effect::GoLive(A), Effect::GoLive(C)]);
}

#[test]
fn a_download_that_finishes_frees_its_place_and_keeps_to_the_limit_of_seeds() {
    let mut rig = Rig::with(Some(1), Some(1));
    rig.add(A, true, Check::None, true);
    rig.add(B, true, Check::None, false);
    rig.add(C, true, Check::None, false);
    rig.effects();
    rig.call(|s, now| s.on_finished(now, B));
    assert_eq!(rig.effects(), [Effect::Checkpoint(B), Effect::GoLive(C)]);
    rig.call(|s, now| s.on_checkpointed(now, B, true));
    assert_eq!(rig.effects(), [Effect::Completed(B), Effect::Halt(B)]);
    assert_eq!(rig.state(B), State::Queued);
}

#[test]
fn new_limits_hold_at_once_both_ways() {
    let mut rig = Rig::new();
    for id in [A, B, C] {
        rig.add(id, true, Check::None, false);
    }
    rig.effects();
    rig.call(|s, now| s.set_queue(now, QueueLimits { downloads: Some(1), ..QueueLimits::default() }));
    assert_eq!(rig.effects(), [Effect::Halt(C), Effect::Halt(B)]);
    rig.call(|s, now| s.set_queue(now, QueueLimits { downloads: Some(0), ..QueueLimits::default() }));
    assert_eq!(rig.effects(), [Effect::Halt(A)]);
    rig.call(|s, now| s.set_queue(now, QueueLimits::default()));
    assert_eq!(rig.effects(), [Effect::GoLive(A), Effect::GoLive(B), Effect::GoLive(C)]);
}

#[test]
fn a_faulty_torrent_over_the_limit_waits_its_turn_when_it_is_tried_again() {
    let mut rig = Rig::new();
    rig.add(A, true, Check::None, false);
    rig.add(B, true, Check::None, false);
    rig.effects();
    rig.fault(B, FaultKind::DiskFull);
    rig.call(|s, now| s.set_queue(now, QueueLimits { downloads: Some(1), ..QueueLimits::default() }));
    rig.wait(secs(10));
    assert_eq!(rig.state(B), State::Queued);
    rig.effects();
    rig.call(|s, now| s.stop(now, A));
    assert!(rig.effects().contains(&Effect::GoLive(B)));
}

#[test]
fn sleeping_seeds_keep_their_places() {
    let mut rig = Rig::with(None, Some(1));
    rig.add(A, true, Check::None, true);
    rig.add(B, true, Check::None, true);
    rig.effects();
    rig.call(|s, _| s.on_idle(A));
    assert_eq!(rig.effects(), [Effect::GoDormant(A)]);
    assert_eq!(rig.state(B), State::Queued);
}

#[test]
fn of_many_seeds_most_sleep_until_it_is_their_turn_and_wake_for_whoever_comes() {
    let mut rig = Rig::new();
    let ids: Vec<TorrentId> = (1..=200).map(TorrentId).collect();
    ids.iter().for_each(|id| rig.add(*id, true, Check::None, true));
    let (live, asleep): (Vec<_>, Vec<_>) =
        rig.effects().into_iter().partition(|effect| matches!(effect, Effect::GoLive(_)));
    assert_eq!(live.len(), 65, "{live:?}");
    assert_eq!(asleep, ids[65..].iter().map(|id| Effect::Listen(*id)).collect::<Vec<_>>());
    assert!(ids.iter().all(|id| rig.state(*id) == State::Seeding), "nobody sees a difference");
    rig.call(|s, now| s.wake(now, TorrentId(200)));
    assert_eq!(rig.effects(), [Effect::GoLive(TorrentId(200))]);
    rig.wait(secs(1));
    let begun = rig.effects().into_iter().filter(|effect| matches!(effect, Effect::GoLive(_))).count();
    assert_eq!(begun, 200 - 65 - 1, "a second is enough for the rest");
    rig.add(TorrentId(201), true, Check::None, true);
    assert_eq!(rig.effects(), [Effect::GoLive(TorrentId(201))], "and a single one does not wait");
}

#[test]
fn whoever_shows_torrents_hears_which_may_have_changed() {
    let mut rig = Rig::new();
    rig.add(A, true, Check::None, false);
    rig.add(B, true, Check::None, false);
    assert_eq!(rig.session.take_touched().into_iter().collect::<Vec<_>>(), [A, B]);
    rig.fault(B, FaultKind::DiskFull);
    assert_eq!(rig.session.take_touched().into_iter().collect::<Vec<_>>(), [B]);
    rig.call(|s, now| s.stop(now, A));
    rig.call(|s, now| s.remove(now, A));
    assert!(!rig.session.take_touched().contains(&A), "it is gone");
}
