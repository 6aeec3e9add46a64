//! When a torrent is checkpointed, and what follows a durable one.
use super::rig::*;
use crate::session::{CHECKPOINT_BYTES, Effect, FaultKind, State};

#[test]
fn a_download_is_checkpointed_by_time_from_the_end_of_the_last() {
    let mut rig = Rig::live();
    assert_eq!(rig.seconds_until(&Effect::Checkpoint(A)), Some(30));
    rig.wait(secs(100));
    assert_eq!(rig.effects(), [], "one at a time, however long it takes");
    rig.call(|s, now| s.on_checkpointed(now, A, true));
    assert_eq!(rig.seconds_until(&Effect::Checkpoint(A)), Some(30));
}

#[test]
fn many_bytes_do_not_wait_for_the_time() {
    let mut rig = Rig::live();
    rig.call(|s, _| s.on_unsynced(A, CHECKPOINT_BYTES - 1));
    assert_eq!(rig.effects(), []);
    rig.call(|s, _| s.on_unsynced(A, CHECKPOINT_BYTES));
    rig.call(|s, _| s.on_unsynced(A, CHECKPOINT_BYTES));
    assert_eq!(rig.effects(), [Effect::Checkpoint(A)]);
}

#[test]
fn a_seed_is_not_checkpointed() {
    let mut rig = Rig::seeding();
    assert_eq!(rig.seconds_until(&Effect::Checkpoint(A)), None);
}

#[test]
fn completion_is_told_when_it_is_durable_and_once() {
    let mut rig = Rig::live();
    rig.call(|s, now| s.on_finished(now, A));
    assert_eq!((rig.effects(), rig.state(A)), (vec![Effect::Checkpoint(A)], State::Seeding));
    rig.call(|s, now| s.on_checkpointed(now, A, false));
    assert_eq!(rig.effects(), [], "not yet");
    assert_eq!(rig.seconds_until(&Effect::Checkpoint(A)), Some(30));
    rig.call(|s, now| s.on_checkpointed(now, A, true));
    assert_eq!(rig.effects(), [Effect::Completed(A)]);
    rig.call(|s, now| s.on_finished(now, A));
    rig.call(|s, now| s.on_checkpointed(now, A, true));
    assert_eq!(rig.effects(), []);
}

#[test]
fn a_torrent_that_finishes_during_a_checkpoint_gets_another() {
    let mut rig = Rig::live();
    rig.seconds_until(&Effect::Checkpoint(A));
    rig.call(|s, now| s.on_finished(now, A));
    assert_eq!(rig.effects(), [], "one at a time");
    rig.call(|s, now| s.on_checkpointed(now, A, true));
    assert_eq!(rig.effects(), [Effect::Checkpoint(A)], "that one had begun before the last piece");
    rig.call(|s, now| s.on_checkpointed(now, A, true));
    assert_eq!(rig.effects(), [Effect::Completed(A)]);
}

#[test]
fn what_is_lost_must_be_finished_again() {
    let mut rig = Rig::live();
    rig.call(|s, now| s.on_finished(now, A));
    rig.effects();
    rig.call(|s, now| s.on_lost(now, A));
    rig.call(|s, now| s.on_checkpointed(now, A, false));
    assert_eq!(rig.state(A), State::Downloading);
    assert_eq!(rig.seconds_until(&Effect::Checkpoint(A)), Some(30));
    rig.call(|s, now| s.on_checkpointed(now, A, true));
    assert_eq!(rig.effects(), [], "not complete");
    rig.call(|s, now| s.on_finished(now, A));
    rig.call(|s, now| s.on_checkpointed(now, A, true));
    assert_eq!(rig.effects(), [Effect::Checkpoint(A), Effect::Completed(A)]);
}

#[test]
fn a_failed_checkpoint_is_made_again_after_the_fault_heals() {
    for finished in [false, true] {
        let mut rig = Rig::live();
        if finished {
            rig.call(|s, now| s.on_finished(now, A));
        } else {
            rig.seconds_until(&Effect::Checkpoint(A));
        }
        rig.call(|s, now| s.on_checkpointed(now, A, false));
        rig.fault(A, FaultKind::DiskFull);
        rig.effects();
        assert_eq!(rig.seconds_until(&Effect::Probe(A)), Some(5));
        rig.call(|s, now| s.on_healed(now, A));
        if finished {
            let effects = rig.effects();
            assert!(effects.contains(&Effect::Checkpoint(A)), "it may be waited for: {effects:?}");
            rig.call(|s, now| s.on_checkpointed(now, A, true));
            assert_eq!(rig.effects(), [Effect::Completed(A)]);
        } else {
            assert_eq!(rig.seconds_until(&Effect::Checkpoint(A)), Some(30));
        }
    }
}

#[test]
fn a_halt_tells_whether_the_torrent_had_finished_after_all() {
    let mut rig = Rig::live();
    rig.call(|s, now| s.stop(now, A));
    rig.call(|s, now| s.on_finished(now, A));
    assert!(!rig.row(A).finished, "a Swarm that is ending is not asked");
    rig.call(|s, now| s.on_halted(now, A, true));
    rig.call(|s, now| s.start(now, A));
    assert_eq!(rig.state(A), State::Seeding);
}
