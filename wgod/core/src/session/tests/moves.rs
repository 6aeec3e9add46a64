//! Moves: whose turn it is on two devices at once, what goes on before and after, and what ends one.
use super::rig::*;
use crate::session::{Check, Effect, FaultKind, Newcomer, Phase, State, Underway};
use crate::units::TorrentId;

const OTHER: u64 = DISK + 1;

/// A torrent that is seeding, or was stopped as a seed, with its first effects drained.
fn with_seed(rig: &mut Rig, id: TorrentId, started: bool) {
    rig.add(id, started, Check::None, true);
    rig.effects();
}

fn move_to(rig: &mut Rig, id: TorrentId, device: u64) {
    rig.call(|s, now| s.move_to(now, id, device));
}

/// Both halves end well.
fn succeed(rig: &mut Rig, id: TorrentId) {
    rig.call(|s, _| s.on_switched(id));
    rig.call(|s, now| s.on_moved(now, id));
}

#[test]
fn a_move_ends_the_exchange_and_begins_it_anew_in_the_new_place() {
    let mut rig = Rig::seeding();
    move_to(&mut rig, A, OTHER);
    assert_eq!(rig.effects(), [Effect::Halt(A), Effect::Move(A)]);
    assert_eq!(rig.state(A), State::Moving);
    rig.call(|s, now| s.on_halted(now, A, true));
    succeed(&mut rig, A);
    assert_eq!(rig.effects(), [Effect::Save(A), Effect::GoLive(A)]);
    assert_eq!((rig.state(A), rig.row(A).device), (State::Seeding, OTHER));
}

#[test]
fn a_stopped_torrent_is_moved_and_stays_stopped() {
    let mut rig = Rig::new();
    with_seed(&mut rig, A, false);
    move_to(&mut rig, A, DISK);
    assert_eq!((rig.effects(), rig.state(A)), (vec![Effect::Move(A)], State::Moving));
    succeed(&mut rig, A);
    assert_eq!((rig.effects(), rig.state(A)), (vec![Effect::Save(A)], State::Stopped));
}

#[test]
fn a_move_waits_for_both_devices_and_the_torrent_runs_meanwhile() {
    let mut rig = Rig::new();
    rig.take(Newcomer { device: OTHER, ..newcomer(A, Check::Full) });
    with_seed(&mut rig, B, true);
    with_seed(&mut rig, C, false);
    move_to(&mut rig, B, OTHER);
    assert_eq!((rig.effects(), rig.state(B)), (vec![], State::Seeding), "the other device is busy");
    move_to(&mut rig, C, DISK);
    assert_eq!((rig.effects(), rig.state(C)), (vec![], State::Queued), "it came later");
    rig.call(|s, now| s.on_checked(now, A, true));
    assert_eq!(rig.effects(), [Effect::Save(A), Effect::GoLive(A), Effect::Halt(B), Effect::Move(B)]);
    succeed(&mut rig, B);
    assert_eq!(rig.effects(), [Effect::Save(B), Effect::GoLive(B), Effect::Move(C)]);
}

#[test]
fn one_that_is_called_off_while_it_waits_holds_up_nobody() {
    let mut rig = Rig::new();
    rig.take(Newcomer { device: OTHER, ..newcomer(A, Check::Full) });
    with_seed(&mut rig, B, true);
    move_to(&mut rig, B, OTHER);
    rig.add(C, true, Check::Full, false);
    assert_eq!((rig.effects(), rig.phase(C)), (vec![], Phase::CheckQueued));
    rig.call(|s, now| s.cancel_move(now, B));
    assert_eq!(rig.effects(), [Effect::CancelMove(B), Effect::Save(B), Effect::Check(C, Check::Full)]);
    assert_eq!(rig.state(B), State::Seeding);
}

#[test]
fn a_move_under_way_is_called_off_when_the_shell_says_so() {
    let mut rig = Rig::seeding();
    move_to(&mut rig, A, OTHER);
    rig.effects();
    rig.call(|s, now| s.cancel_move(now, A));
    assert_eq!((rig.effects(), rig.state(A)), (vec![Effect::CancelMove(A)], State::Moving));
    rig.call(|s, now| s.on_unmoved(now, A));
    assert_eq!(rig.effects(), [Effect::Save(A), Effect::GoLive(A)]);
    assert_eq!((rig.state(A), rig.row(A).device), (State::Seeding, DISK));
}

#[test]
fn after_the_switch_a_move_goes_on_to_its_end() {
    let mut rig = Rig::seeding();
    move_to(&mut rig, A, OTHER);
    rig.call(|s, _| s.on_switched(A));
    rig.effects();
    rig.call(|s, now| s.cancel_move(now, A));
    rig.call(|s, now| s.on_unmoved(now, A));
    assert_eq!((rig.effects(), rig.state(A)), (vec![], State::Moving));
    rig.call(|s, now| s.stop(now, A));
    assert_eq!((rig.effects(), rig.state(A)), (vec![Effect::Save(A)], State::Moving));
    rig.call(|s, now| s.on_moved(now, A));
    assert_eq!((rig.effects(), rig.state(A)), (vec![Effect::Save(A)], State::Stopped));
}

#[test]
fn a_check_comes_before_a_move_but_not_into_the_middle_of_one() {
    for switched in [false, true] {
        let mut rig = Rig::new();
        let moving = Some(Underway { other: OTHER, switched });
        rig.take(Newcomer { started: false, moving, ..newcomer(A, Check::Suspects) });
        let (check, moves) = (Effect::Check(A, Check::Suspects), Effect::Move(A));
        let order = if switched { [moves, check] } else { [check, moves] };
        assert_eq!(rig.effects(), order[..1]);
        if switched {
            rig.call(|s, now| s.on_moved(now, A));
            // A stopped torrent's check is done when it starts.
            rig.call(|s, now| s.start(now, A));
        } else {
            rig.call(|s, now| s.on_checked(now, A, true));
        }
        assert!(rig.effects().contains(&order[1]));
    }
}

#[test]
fn a_verify_during_a_move_follows_it() {
    let mut rig = Rig::seeding();
    move_to(&mut rig, A, OTHER);
    rig.effects();
    rig.call(|s, now| s.verify(now, A));
    assert_eq!((rig.effects(), rig.state(A)), (vec![Effect::ForgetCheck(A), Effect::Save(A)], State::Moving));
    succeed(&mut rig, A);
    assert_eq!(rig.effects(), [Effect::Save(A), Effect::Check(A, Check::Full)]);
}

#[test]
fn what_stands_in_the_way_of_a_move_is_tried_again_until_it_is_called_off() {
    for started in [true, false] {
        let mut rig = Rig::new();
        with_seed(&mut rig, A, started);
        move_to(&mut rig, A, OTHER);
        rig.effects();
        rig.fault(A, FaultKind::Unreachable);
        assert_eq!(rig.state(A), State::Moving, "what the Swarm left behind says nothing");
        rig.call(|s, now| s.on_move_fault(now, A, fault(FaultKind::Unreachable)));
        assert_eq!(rig.state(A), State::Error);
        assert_eq!(rig.seconds_until(&Effect::Move(A)), Some(5));
        rig.call(|s, now| s.on_move_fault(now, A, fault(FaultKind::Unreachable)));
        rig.call(|s, now| s.cancel_move(now, A));
        let expected = if started { State::Seeding } else { State::Stopped };
        assert_eq!(rig.state(A), expected);
        assert_eq!(rig.seconds_until(&Effect::Move(A)), None);
    }
}

#[test]
fn moving_away_is_a_way_out_of_a_full_disk() {
    let mut rig = Rig::live();
    rig.fault(A, FaultKind::DiskFull);
    rig.effects();
    move_to(&mut rig, A, OTHER);
    assert_eq!((rig.effects(), rig.state(A)), (vec![Effect::Halt(A), Effect::Move(A)], State::Moving));
    succeed(&mut rig, A);
    assert_eq!(rig.state(A), State::Downloading);
}

#[test]
fn a_removed_torrent_gives_its_devices_free() {
    let mut rig = Rig::seeding();
    rig.add(B, true, Check::Full, false);
    move_to(&mut rig, A, OTHER);
    rig.call(|s, now| s.on_checked(now, B, true));
    assert_eq!(rig.state(A), State::Moving);
    rig.call(|s, now| s.verify(now, B));
    rig.effects();
    rig.call(|s, now| s.remove(now, A));
    assert_eq!(rig.effects(), [Effect::Check(B, Check::Full)]);
}

fn newcomer(id: TorrentId, needs: Check) -> Newcomer {
    let hashes = wgo_proto::InfoHashes { v1: None, v2: None };
    let (check_asked, finished, device) = (false, true, DISK);
    Newcomer {
        id,
        hashes,
        started: true,
        known: true,
        needs,
        check_asked,
        finished,
        device,
        moving: None,
        place: Default::default(),
    }
}
