//! Commands of the operator in every phase, dormancy and waking.
use super::rig::*;
use crate::session::{Check, Effect, State};

#[test]
fn a_new_torrent_is_checked_then_runs() {
    let mut rig = Rig::new();
    rig.add(A, true, Check::Full, false);
    assert_eq!(rig.effects(), [Effect::Check(A, Check::Full)]);
    assert_eq!(rig.state(A), State::Checking);
    rig.call(|s, now| s.on_checked(now, A, false));
    assert_eq!(rig.effects(), [Effect::Save(A), Effect::GoLive(A)]);
    assert_eq!(rig.state(A), State::Downloading);
}

#[test]
fn one_that_is_complete_seeds_and_one_added_paused_stays_still() {
    let mut rig = Rig::new();
    rig.add(A, true, Check::Full, false);
    rig.call(|s, now| s.on_checked(now, A, true));
    assert_eq!(rig.state(A), State::Seeding);
    rig.effects();
    rig.add(B, false, Check::Full, false);
    assert_eq!((rig.effects(), rig.state(B)), (vec![], State::Stopped));
    rig.call(|s, now| s.start(now, B));
    assert_eq!(rig.effects(), [Effect::Save(B), Effect::Check(B, Check::Full)]);
}

#[test]
fn stopping_and_starting_a_live_torrent() {
    let mut rig = Rig::live();
    rig.call(|s, now| s.stop(now, A));
    assert_eq!((rig.effects(), rig.state(A)), (vec![Effect::Save(A), Effect::Halt(A)], State::Stopped));
    rig.call(|s, now| s.stop(now, A));
    assert_eq!(rig.effects(), [Effect::Save(A)]);
    rig.call(|s, now| s.start(now, A));
    assert_eq!(rig.effects(), [Effect::Save(A), Effect::GoLive(A)]);
    rig.call(|s, now| s.start(now, A));
    assert_eq!(rig.effects(), [Effect::Save(A)]);
}

#[test]
fn removal_ends_whatever_runs_and_late_reports_are_no_matter() {
    for (mut rig, expected) in [(Rig::live(), Effect::Halt(A)), (Rig::dormant(), Effect::Halt(A)), {
        let mut rig = Rig::new();
        rig.add(A, true, Check::Full, false);
        (rig, Effect::CancelCheck(A))
    }] {
        rig.effects();
        rig.call(|s, now| s.remove(now, A));
        assert_eq!(rig.effects(), [expected]);
        assert!(rig.session.row(A).is_none() && rig.session.rows().count() == 0);
        rig.call(|s, now| {
            s.on_checked(now, A, true);
            s.on_checkpointed(now, A, true);
            s.on_halted(now, A, true);
            s.on_healed(now, A);
            s.on_finished(now, A);
            s.on_lost(now, A);
            s.on_idle(A);
            s.wake(now, A);
            s.start(now, A);
            s.stop(now, A);
            s.verify(now, A);
        });
        rig.fault(A, crate::session::FaultKind::Broken);
        assert_eq!(rig.effects(), []);
        rig.wait(secs(1000));
        assert_eq!(rig.session.poll_timeout(), None, "nothing ticks for nobody");
    }
}

#[test]
fn a_torrent_without_work_sleeps_until_its_announce_or_a_peer() {
    let mut rig = Rig::dormant();
    assert_eq!((rig.state(A), rig.session.live().count()), (State::Seeding, 0));
    let at = rig.now + secs(1800);
    rig.call(|s, _| s.sleep_until(A, Some(at)));
    rig.wait(secs(1799));
    assert_eq!(rig.effects(), []);
    rig.wait(secs(1));
    assert_eq!(rig.effects(), [Effect::GoLive(A)]);
    rig.call(|s, _| s.sleep_until(A, Some(at)));
    rig.call(|s, _| s.on_idle(A));
    rig.effects();
    rig.call(|s, now| s.wake(now, A));
    assert_eq!(rig.effects(), [Effect::GoLive(A)]);
    rig.call(|s, now| s.wake(now, A));
    assert_eq!(rig.effects(), [], "it is awake");
}

#[test]
fn only_what_has_no_work_sleeps() {
    let mut rig = Rig::live();
    rig.call(|s, _| s.on_idle(A));
    assert_eq!(rig.effects(), [], "it downloads");
    rig.call(|s, now| s.on_finished(now, A));
    rig.effects();
    rig.call(|s, _| s.on_idle(A));
    assert_eq!(rig.effects(), [], "what finished is not durable yet");
    rig.call(|s, now| s.on_checkpointed(now, A, true));
    rig.effects();
    rig.call(|s, _| s.on_idle(A));
    assert_eq!(rig.effects(), [Effect::GoDormant(A)]);
}

#[test]
fn a_sleeper_that_is_stopped_answers_no_longer() {
    let mut rig = Rig::dormant();
    rig.call(|s, now| s.stop(now, A));
    assert_eq!(rig.effects(), [Effect::Save(A), Effect::Halt(A)]);
    rig.call(|s, now| s.wake(now, A));
    assert_eq!(rig.effects(), []);
}
