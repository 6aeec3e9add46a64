//! What stands in a torrent's way: what goes on meanwhile, when it is tried again, how it heals.
use super::rig::*;
use crate::session::{Check, Effect, FaultKind, Phase, State};

const HEALING: [FaultKind; 3] = [FaultKind::DiskFull, FaultKind::NotWritable, FaultKind::Unreachable];

fn pause(requests: bool, uploads: bool) -> Effect {
    Effect::Pause { id: A, requests, uploads }
}

#[test]
fn each_kind_pauses_what_it_must_and_heals_by_itself() {
    for kind in HEALING {
        let mut rig = Rig::live();
        rig.fault(A, kind);
        assert_eq!(rig.effects(), [Effect::Save(A), pause(true, kind == FaultKind::Unreachable)], "{kind:?}");
        assert_eq!(rig.state(A), State::Error);
        assert_eq!(rig.seconds_until(&Effect::Probe(A)), Some(5));
        rig.call(|s, now| s.on_healed(now, A));
        assert_eq!(rig.effects(), [Effect::Save(A), Effect::GoLive(A), pause(false, false)]);
        assert_eq!(rig.state(A), State::Downloading);
        assert_eq!(rig.seconds_until(&Effect::Checkpoint(A)), Some(30), "and its clock runs again");
    }
}

#[test]
fn probes_back_off_to_a_minute_and_begin_anew_when_healed() {
    let mut rig = Rig::live();
    let mut waits = Vec::new();
    for _ in 0..7 {
        rig.fault(A, FaultKind::DiskFull);
        waits.push(rig.seconds_until(&Effect::Probe(A)).expect("it is probed"));
    }
    assert_eq!(waits, [5, 10, 20, 40, 60, 60, 60]);
    rig.call(|s, now| s.on_healed(now, A));
    rig.fault(A, FaultKind::DiskFull);
    assert_eq!(rig.seconds_until(&Effect::Probe(A)), Some(5));
}

#[test]
fn many_faults_of_one_cause_set_one_probe() {
    let mut rig = Rig::live();
    for _ in 0..40 {
        rig.fault(A, FaultKind::DiskFull);
        rig.wait(std::time::Duration::from_millis(100));
    }
    assert_eq!(rig.effects(), [Effect::Save(A), pause(true, false)]);
    assert_eq!(rig.seconds_until(&Effect::Probe(A)), Some(1), "5 s after the first");
    assert_eq!(rig.row(A).probes, 1);
}

#[test]
fn a_worse_fault_pauses_more_and_a_lesser_one_changes_nothing() {
    let mut rig = Rig::live();
    rig.fault(A, FaultKind::DiskFull);
    rig.fault(A, FaultKind::Unreachable);
    rig.fault(A, FaultKind::NotWritable);
    let saved = Effect::Save(A);
    assert_eq!(rig.effects(), [saved.clone(), pause(true, false), saved, pause(true, true)]);
    assert_eq!(rig.row(A).fault.as_ref().map(|fault| fault.kind), Some(FaultKind::Unreachable));
}

#[test]
fn a_fault_that_kept_the_swarm_from_being_made_heals_into_a_live_torrent() {
    let mut rig = Rig::new();
    rig.add(A, true, Check::None, false);
    assert_eq!(rig.effects(), [Effect::GoLive(A)]);
    rig.fault(A, FaultKind::NotWritable);
    assert_eq!(rig.seconds_until(&Effect::Probe(A)), Some(5));
    rig.call(|s, now| s.on_healed(now, A));
    assert!(rig.effects().contains(&Effect::GoLive(A)));
}

#[test]
fn a_fault_in_a_check_lets_the_next_check_go_first_and_is_tried_again() {
    let mut rig = Rig::new();
    rig.add(A, true, Check::Full, false);
    rig.add(B, true, Check::Full, false);
    rig.effects();
    rig.fault(A, FaultKind::Unreachable);
    assert_eq!(rig.effects(), [Effect::Save(A), Effect::Check(B, Check::Full)]);
    assert_eq!(rig.state(A), State::Error);
    rig.call(|s, now| s.on_checked(now, B, true));
    assert_eq!(rig.seconds_until(&Effect::Check(A, Check::Full)), Some(5));
    assert_eq!(rig.state(A), State::Checking);
}

#[test]
fn a_checkpoint_does_not_forget_the_probe() {
    let mut rig = Rig::live();
    rig.fault(A, FaultKind::DiskFull);
    rig.call(|s, _| s.on_unsynced(A, 2 << 30));
    assert!(rig.effects().contains(&Effect::Checkpoint(A)));
    rig.call(|s, now| s.on_checkpointed(now, A, false));
    assert_eq!(rig.seconds_until(&Effect::Probe(A)), Some(5));
}

#[test]
fn a_broken_torrent_is_taken_down_and_hashed_when_it_is_started_again() {
    let mut rig = Rig::live();
    rig.fault(A, FaultKind::Broken);
    assert_eq!(rig.effects(), [Effect::Halt(A), Effect::Save(A)]);
    assert_eq!((rig.state(A), rig.phase(A)), (State::Error, Phase::Stopped));
    rig.fault(A, FaultKind::Broken);
    assert_eq!(rig.effects(), [], "there is nothing to take down");
    rig.wait(secs(3600));
    assert_eq!((rig.effects(), rig.state(A)), (vec![], State::Error));
    rig.call(|s, now| s.start(now, A));
    assert_eq!(rig.effects(), [Effect::Save(A), Effect::Check(A, Check::Full)]);
}

#[test]
fn a_broken_torrent_gives_its_place_in_the_queue_away() {
    let mut rig = Rig::with(Some(1), None);
    rig.add(A, true, Check::None, false);
    rig.add(B, true, Check::None, false);
    rig.effects();
    rig.fault(A, FaultKind::Broken);
    assert_eq!(rig.effects(), [Effect::Halt(A), Effect::Save(A), Effect::GoLive(B)]);
}

#[test]
fn a_start_tries_at_once_and_a_stop_forgets() {
    let mut rig = Rig::live();
    rig.fault(A, FaultKind::Unreachable);
    rig.effects();
    rig.call(|s, now| s.start(now, A));
    assert_eq!(rig.effects(), [Effect::Save(A), Effect::Probe(A)]);
    rig.fault(A, FaultKind::Unreachable);
    rig.effects();
    rig.call(|s, now| s.stop(now, A));
    assert_eq!((rig.effects(), rig.state(A)), (vec![Effect::Save(A), Effect::Halt(A)], State::Stopped));
    rig.fault(A, FaultKind::DiskFull);
    assert!(rig.row(A).fault.is_none(), "the leftovers of a stopped torrent");
    rig.wait(secs(100));
    assert_eq!(rig.effects(), []);
}

#[test]
fn a_sleeper_that_heals_announces_again() {
    let mut rig = Rig::dormant();
    let at = rig.now + secs(1800);
    rig.call(|s, _| s.sleep_until(A, Some(at)));
    rig.fault(A, FaultKind::Unreachable);
    assert_eq!(rig.seconds_until(&Effect::Probe(A)), Some(5));
    rig.call(|s, now| s.on_healed(now, A));
    assert_eq!(rig.effects(), [Effect::Save(A), Effect::GoLive(A)]);
}

#[test]
fn a_sleeper_with_a_fault_that_is_woken_is_still_probed() {
    let mut rig = Rig::dormant();
    rig.fault(A, FaultKind::DiskFull);
    rig.call(|s, now| s.wake(now, A));
    assert_eq!(rig.effects(), [Effect::Save(A), Effect::GoLive(A)]);
    assert_eq!(rig.seconds_until(&Effect::Probe(A)), Some(5));
}

#[test]
fn what_stood_in_its_way_before_a_restart_is_shown_until_it_is_known() {
    for (first, after) in [(None, None), (Some(FaultKind::NotWritable), Some(FaultKind::NotWritable))] {
        let mut rig = Rig::new();
        rig.add(A, true, Check::Suspects, false);
        rig.call(|s, _| s.recall_fault(A, fault(FaultKind::DiskFull)));
        let shown = |rig: &Rig| rig.row(A).trouble().map(|fault| fault.kind);
        rig.call(|s, now| s.on_checked(now, A, false));
        assert_eq!((rig.state(A), shown(&rig)), (State::Downloading, Some(FaultKind::DiskFull)));
        rig.effects();
        match first {
            Some(kind) => rig.fault(A, kind),
            None => rig.call(|s, now| s.on_live(now, A)),
        }
        assert!(rig.effects().contains(&Effect::Save(A)));
        assert_eq!(shown(&rig), after);
        rig.call(|s, now| s.stop(now, A));
        assert_eq!(shown(&rig), None);
    }
}

#[test]
fn what_changed_about_a_disk_is_looked_into_at_once() {
    let mut rig = Rig::live();
    rig.fault(A, FaultKind::DiskFull);
    rig.effects();
    rig.call(|s, now| s.try_again(now, A));
    assert_eq!(rig.effects(), [Effect::Probe(A)]);
    rig.fault(A, FaultKind::Broken);
    rig.effects();
    rig.call(|s, now| s.try_again(now, A));
    assert_eq!(rig.effects(), [], "a broken one waits for the operator");

    let mut rig = Rig::new();
    rig.add(A, true, Check::Full, false);
    rig.fault(A, FaultKind::Unreachable);
    rig.effects();
    rig.call(|s, now| s.try_again(now, A));
    assert_eq!(rig.effects(), [Effect::Save(A), Effect::Check(A, Check::Full)]);
    rig.fault(A, FaultKind::Unreachable);
    rig.call(|s, now| s.stop(now, A));
    rig.effects();
    rig.call(|s, now| s.try_again(now, A));
    assert_eq!(rig.effects(), [], "nobody wants it");
}

#[test]
fn a_disk_that_came_back_as_another_is_opened_anew() {
    let mut rig = Rig::live();
    rig.fault(A, FaultKind::Unreachable);
    rig.effects();
    rig.call(|s, now| s.on_remounted(now, A, DISK + 1));
    let suspects = Effect::Check(A, Check::Suspects);
    assert_eq!(rig.effects(), [Effect::Halt(A), Effect::Save(A), suspects]);
    assert_eq!((rig.state(A), rig.row(A).device), (State::Checking, DISK + 1));
    rig.call(|s, now| s.on_remounted(now, A, DISK));
    assert_eq!(rig.effects(), [], "it is looked at already");
}

#[test]
fn a_check_waits_for_the_device_that_its_files_are_on_now() {
    let mut rig = Rig::new();
    rig.add(A, true, Check::Full, false);
    rig.add(B, true, Check::Full, false);
    assert_eq!(rig.effects(), [Effect::Check(A, Check::Full)]);
    rig.call(|s, now| s.on_device(now, A, DISK + 1));
    assert_eq!(rig.row(A).device, DISK, "until its check ends");
    rig.call(|s, now| s.on_device(now, B, DISK + 1));
    assert_eq!(rig.effects(), [Effect::Check(B, Check::Full)]);
    rig.call(|s, now| s.on_checked(now, A, true));
    rig.call(|s, now| s.on_device(now, A, DISK + 1));
    assert_eq!(rig.row(A).device, DISK + 1);
}

#[test]
fn what_goes_to_sleep_with_a_fault_is_still_probed() {
    let mut rig = Rig::dormant();
    rig.fault(A, FaultKind::Unreachable);
    // What it heard from the trackers comes late, from behind a disk that hung.
    rig.call(|s, _| s.sleep_until(A, None));
    assert_eq!(rig.seconds_until(&Effect::Probe(A)), Some(5));
}

#[test]
fn what_was_in_doubt_when_it_stopped_is_hashed_before_it_runs() {
    let mut rig = Rig::live();
    rig.call(|s, _| s.on_doubt(A));
    assert_eq!(rig.row(A).needs, Check::None, "it runs");
    rig.call(|s, now| s.stop(now, A));
    rig.call(|s, _| s.on_doubt(A));
    rig.effects();
    rig.call(|s, now| s.start(now, A));
    assert_eq!(rig.effects(), [Effect::Save(A), Effect::Check(A, Check::Suspects)]);
}

#[test]
fn what_got_complete_and_could_not_be_stored_is_stored_also_when_it_is_started_before_it_was_halted() {
    let complete = || {
        let mut rig = Rig::live();
        rig.call(|s, now| s.on_finished(now, A));
        rig.call(|s, now| s.on_checkpointed(now, A, false));
        rig.call(|s, now| s.stop(now, A));
        rig.effects();
        rig
    };
    let mut rig = complete();
    rig.call(|s, _| s.on_unended(A));
    rig.call(|s, now| s.start(now, A));
    assert_eq!(rig.effects(), [Effect::Save(A), Effect::Check(A, Check::Suspects)]);
    let mut rig = complete();
    rig.call(|s, now| s.start(now, A));
    rig.effects();
    rig.call(|s, _| s.on_unended(A));
    assert_eq!(rig.effects(), [Effect::Checkpoint(A)]);
    rig.call(|s, now| s.on_checkpointed(now, A, true));
    assert!(rig.effects().contains(&Effect::Completed(A)));
}
