//! Checks: one at a time on a device, paused and taken up again, begun anew by `verify`.
use wgo_proto::InfoHashes;

use super::rig::*;
use crate::session::{Check, Effect, FaultKind, Newcomer, Phase, State};

fn newcomer(id: crate::units::TorrentId) -> Newcomer {
    let hashes = InfoHashes { v1: None, v2: None };
    Newcomer {
        id,
        hashes,
        started: true,
        known: true,
        needs: Check::Full,
        check_asked: false,
        finished: false,
        device: DISK,
        moving: None,
        place: Default::default(),
    }
}

#[test]
fn checks_run_one_at_a_time_in_order() {
    let mut rig = Rig::new();
    for id in [A, B, C] {
        rig.add(id, true, Check::Suspects, false);
    }
    assert_eq!(rig.effects(), [Effect::Check(A, Check::Suspects)]);
    assert_eq!((rig.state(B), rig.phase(B)), (State::Queued, Phase::CheckQueued));
    rig.call(|s, now| s.stop(now, B));
    rig.effects();
    rig.call(|s, now| s.on_checked(now, A, false));
    assert!(rig.effects().contains(&Effect::Check(C, Check::Suspects)));
}

#[test]
fn the_next_check_does_not_wait_for_what_the_last_one_found_to_be_saved() {
    let mut rig = Rig::new();
    for id in [A, B] {
        rig.add(id, true, Check::Quick, false);
    }
    rig.effects();
    rig.call(|s, now| s.on_hashed(now, A));
    assert_eq!(rig.effects(), [Effect::Check(B, Check::Quick)]);
    assert_eq!((rig.phase(A), rig.phase(B)), (Phase::Checking, Phase::Checking));
    rig.call(|s, now| s.on_hashed(now, A));
    rig.call(|s, now| s.on_checked(now, A, true));
    assert_eq!((rig.phase(A), rig.phase(B)), (Phase::Active, Phase::Checking));
    rig.call(|s, now| s.on_hashed(now, A));
    assert_eq!(rig.phase(A), Phase::Active, "it is no news of one that is checked");
}

#[test]
fn a_check_that_is_called_off_while_it_is_saved_tells_nothing() {
    let mut rig = Rig::new();
    rig.add(A, true, Check::Quick, false);
    rig.call(|s, now| s.on_hashed(now, A));
    rig.effects();
    rig.call(|s, now| s.stop(now, A));
    assert_eq!(rig.effects(), [Effect::Save(A), Effect::CancelCheck(A)]);
    rig.call(|s, now| s.on_checked(now, A, true));
    assert_eq!((rig.phase(A), rig.row(A).finished), (Phase::Stopped, false));
}

#[test]
fn each_device_has_a_queue_of_its_own() {
    let mut rig = Rig::new();
    rig.take(newcomer(A));
    rig.take(newcomer(B));
    rig.take(Newcomer { device: DISK + 1, ..newcomer(C) });
    assert_eq!(rig.effects(), [Effect::Check(A, Check::Full), Effect::Check(C, Check::Full)]);
    assert_eq!(rig.phase(B), Phase::CheckQueued);
    rig.call(|s, now| s.on_checked(now, C, false));
    assert_eq!(rig.phase(B), Phase::CheckQueued, "its own device is busy still");
    rig.effects();
    rig.call(|s, now| s.on_checked(now, A, false));
    assert!(rig.effects().contains(&Effect::Check(B, Check::Full)));
}

#[test]
fn a_stop_pauses_a_check_and_a_start_goes_on_with_it() {
    let mut rig = Rig::new();
    rig.add(A, true, Check::Full, false);
    rig.add(B, true, Check::Full, false);
    rig.effects();
    rig.call(|s, now| s.stop(now, A));
    assert_eq!(rig.effects(), [Effect::Save(A), Effect::CancelCheck(A), Effect::Check(B, Check::Full)]);
    rig.call(|s, now| s.on_checked(now, A, true));
    assert!(!rig.row(A).finished, "a check that was called off tells nothing");
    rig.call(|s, now| s.start(now, A));
    assert_eq!(rig.effects(), [Effect::Save(A)], "nothing that was found is forgotten");
    rig.call(|s, now| s.on_checked(now, B, true));
    assert!(rig.effects().contains(&Effect::Check(A, Check::Full)));
}

#[test]
fn verify_hashes_everything_in_every_phase() {
    for started in [true, false] {
        let mut rig = Rig::new();
        rig.add(A, started, Check::None, true);
        rig.effects();
        rig.call(|s, now| s.verify(now, A));
        let mut expected = vec![Effect::ForgetCheck(A), Effect::Save(A), Effect::Check(A, Check::Full)];
        if started {
            expected.insert(0, Effect::Halt(A));
        }
        assert_eq!((rig.effects(), rig.state(A)), (expected.clone(), State::Checking));
        rig.call(|s, now| s.verify(now, A));
        expected.retain(|effect| *effect != Effect::Halt(A));
        expected.insert(0, Effect::CancelCheck(A));
        assert_eq!(rig.effects(), expected, "what the first one found is forgotten");
        rig.call(|s, now| s.on_checked(now, A, false));
        assert_eq!(rig.state(A), if started { State::Downloading } else { State::Stopped });
    }
}

#[test]
fn a_verify_that_waits_forgets_what_was_found_at_once() {
    let mut rig = Rig::new();
    rig.add(A, true, Check::Full, false);
    rig.add(B, false, Check::Full, false);
    rig.effects();
    rig.call(|s, now| s.verify(now, B));
    assert_eq!(rig.effects(), [Effect::ForgetCheck(B), Effect::Save(B)]);
    assert_eq!(rig.phase(B), Phase::CheckQueued);
}

#[test]
fn a_check_that_was_asked_for_goes_on_after_a_restart_even_if_the_torrent_is_stopped() {
    for check_asked in [true, false] {
        let mut rig = Rig::new();
        rig.take(Newcomer { started: false, check_asked, ..newcomer(A) });
        let expected = if check_asked { vec![Effect::Check(A, Check::Full)] } else { vec![] };
        assert_eq!(rig.effects(), expected);
        rig.call(|s, now| s.stop(now, A));
        assert_eq!((rig.state(A), rig.row(A).check_asked), (State::Stopped, false));
        rig.effects();
        rig.call(|s, now| s.start(now, A));
        assert_eq!(rig.effects(), [Effect::Save(A), Effect::Check(A, Check::Full)]);
    }
}

#[test]
fn a_check_of_a_stopped_torrent_that_meets_a_fault_says_so_and_is_tried_again() {
    let mut rig = Rig::new();
    rig.add(A, false, Check::None, true);
    rig.call(|s, now| s.verify(now, A));
    rig.effects();
    rig.fault(A, FaultKind::Unreachable);
    assert_eq!(rig.state(A), State::Error);
    assert_eq!(rig.seconds_until(&Effect::Check(A, Check::Full)), Some(5));
    rig.call(|s, now| s.on_checked(now, A, true));
    assert_eq!((rig.effects(), rig.state(A)), (vec![Effect::Save(A)], State::Stopped));
}

#[test]
fn a_fault_of_another_torrent_leaves_the_check_alone() {
    let mut rig = Rig::new();
    rig.add(A, true, Check::None, false);
    rig.add(B, true, Check::Full, false);
    rig.effects();
    rig.fault(A, FaultKind::Unreachable);
    assert_eq!(rig.phase(B), Phase::Checking);
    rig.call(|s, now| s.remove(now, A));
    assert_eq!(rig.phase(B), Phase::Checking);
}

#[test]
fn what_peers_read_is_looked_at_now_and_then_and_sleepers_are_left_alone() {
    let mut rig = Rig::seeding();
    assert_eq!(rig.seconds_until(&Effect::Look(A)), Some(30));
    assert_eq!(rig.seconds_until(&Effect::Look(A)), Some(30), "again and again");
    rig.call(|s, _| s.on_idle(A));
    assert_eq!(rig.seconds_until(&Effect::Look(A)), None);
    let mut rig = Rig::live();
    assert_eq!(rig.seconds_until(&Effect::Look(A)), None, "it is ours to write to");
    rig.call(|s, now| s.on_checkpointed(now, A, true));
    rig.call(|s, now| s.on_finished(now, A));
    rig.call(|s, now| s.on_checkpointed(now, A, true));
    assert_eq!(rig.seconds_until(&Effect::Look(A)), Some(30));
}

#[test]
fn changed_files_are_hashed_before_anything_more_is_served() {
    let mut rig = Rig::seeding();
    rig.call(|s, now| s.on_changed(now, A));
    assert_eq!(rig.effects(), [Effect::Halt(A), Effect::Check(A, Check::Suspects)]);
    rig.call(|s, now| s.on_changed(now, A));
    assert_eq!(rig.effects(), [], "many peers find it at once");
    rig.call(|s, now| s.on_checked(now, A, false));
    assert_eq!(rig.effects(), [Effect::Save(A), Effect::GoLive(A)]);
    assert_eq!(rig.state(A), State::Downloading);
    rig.call(|s, now| s.on_changed(now, A));
    let all = [Effect::Halt(A), Effect::ForgetCheck(A), Effect::Check(A, Check::Full)];
    assert_eq!(rig.effects(), all, "with our own writes in it, no stamp tells what changed");
}

#[test]
fn a_change_while_a_fault_stands_is_looked_into_at_once() {
    let mut rig = Rig::seeding();
    rig.fault(A, FaultKind::Unreachable);
    rig.effects();
    rig.call(|s, now| s.on_changed(now, A));
    assert_eq!(rig.effects(), [Effect::Halt(A), Effect::Save(A), Effect::Check(A, Check::Suspects)]);
    assert_eq!(rig.state(A), State::Checking);
}
