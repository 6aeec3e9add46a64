//! Other files of a torrent are wanted while it does something.
use super::rig::*;
use crate::session::{Check, Effect, FaultKind, Phase, State};

#[test]
fn a_live_torrent_is_interrupted_and_goes_on() {
    let mut rig = Rig::live();
    assert!(rig.call(|s, now| s.select(now, A)));
    assert_eq!(rig.effects(), [Effect::Halt(A), Effect::Select(A), Effect::GoLive(A)]);
    rig.call(|s, now| s.on_selected(now, A, false, false));
    assert_eq!((rig.effects(), rig.state(A)), (vec![], State::Downloading));
}

#[test]
fn one_that_wants_no_more_than_it_has_is_complete() {
    let mut rig = Rig::live();
    rig.call(|s, now| s.select(now, A));
    rig.effects();
    rig.call(|s, now| s.on_selected(now, A, true, false));
    assert_eq!((rig.effects(), rig.state(A)), (vec![Effect::Completed(A)], State::Seeding));
    rig.call(|s, now| s.select(now, A));
    rig.effects();
    rig.call(|s, now| s.on_selected(now, A, false, false));
    assert_eq!((rig.effects(), rig.state(A)), (vec![], State::Downloading));
}

#[test]
fn what_is_in_doubt_is_hashed_first() {
    let mut rig = Rig::live();
    rig.call(|s, now| s.select(now, A));
    rig.effects();
    rig.call(|s, now| s.on_selected(now, A, true, true));
    assert_eq!(rig.effects(), [Effect::Halt(A), Effect::Check(A, Check::Suspects)]);
    rig.call(|s, now| s.on_checked(now, A, true));
    assert_eq!(rig.state(A), State::Seeding);
}

#[test]
fn a_stopped_torrent_stays_so() {
    let mut rig = Rig::new();
    rig.add(A, false, Check::None, false);
    assert!(rig.call(|s, now| s.select(now, A)));
    assert_eq!(rig.effects(), [Effect::Select(A)]);
    rig.call(|s, now| s.on_selected(now, A, false, true));
    assert_eq!((rig.effects(), rig.state(A)), (vec![], State::Stopped));
    rig.call(|s, now| s.start(now, A));
    assert!(rig.effects().contains(&Effect::Check(A, Check::Suspects)));
}

#[test]
fn one_that_is_moved_is_left_alone_and_a_fault_stays() {
    let mut rig = Rig::live();
    rig.fault(A, FaultKind::Unreachable);
    rig.effects();
    assert!(rig.call(|s, now| s.select(now, A)));
    assert_eq!((rig.effects(), rig.state(A)), (vec![Effect::Halt(A), Effect::Select(A)], State::Error));
    let mut rig = Rig::live();
    rig.call(|s, now| s.move_to(now, A, DISK + 1));
    assert_eq!(rig.row(A).phase, Phase::Moving);
    assert!(!rig.call(|s, now| s.select(now, A)));
}
