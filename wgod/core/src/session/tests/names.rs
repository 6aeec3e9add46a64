//! Renames: whatever a torrent does, it stops for them and goes on at once.
use super::rig::*;
use crate::session::{Check, Effect, FaultKind, Phase, State};

fn rename(rig: &mut Rig) -> bool {
    rig.call(|s, now| s.rename(now, A))
}

#[test]
fn what_runs_goes_on_behind_the_rename() {
    for mut rig in [Rig::live(), Rig::seeding(), Rig::dormant()] {
        let state = rig.state(A);
        assert!(rename(&mut rig));
        assert_eq!(rig.effects(), [Effect::Halt(A), Effect::Rename(A), Effect::GoLive(A)]);
        assert_eq!(rig.state(A), state);
    }
}

#[test]
fn a_stopped_torrent_is_renamed_and_stays_stopped() {
    let mut rig = Rig::new();
    rig.add(A, false, Check::None, true);
    rig.effects();
    assert!(rename(&mut rig));
    assert_eq!((rig.effects(), rig.state(A)), (vec![Effect::Rename(A)], State::Stopped));
}

#[test]
fn a_check_is_paused_for_a_rename_and_goes_on() {
    let mut rig = Rig::new();
    rig.add(A, true, Check::Full, false);
    assert_eq!(rig.effects(), [Effect::Check(A, Check::Full)]);
    assert!(rename(&mut rig));
    let (rename, check) = (Effect::Rename(A), Effect::Check(A, Check::Full));
    assert_eq!(rig.effects(), [Effect::CancelCheck(A), rename, check]);
}

#[test]
fn a_fault_is_tried_again_at_its_time() {
    let mut rig = Rig::live();
    rig.fault(A, FaultKind::Unreachable);
    rig.effects();
    assert!(rename(&mut rig));
    assert_eq!(rig.effects(), [Effect::Halt(A), Effect::Rename(A)]);
    assert_eq!((rig.phase(A), rig.state(A)), (Phase::Stopped, State::Error));
    assert_eq!(rig.seconds_until(&Effect::GoLive(A)), Some(5));
}

#[test]
fn files_that_are_on_their_way_keep_their_names() {
    let mut rig = Rig::seeding();
    rig.call(|s, now| s.move_to(now, A, DISK + 1));
    rig.effects();
    assert!(!rename(&mut rig));
    assert_eq!(rig.effects(), []);
}
