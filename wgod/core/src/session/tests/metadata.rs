//! A torrent whose metadata has to come (BEP 9).
use super::rig::*;
use crate::session::{Check, Effect, FaultKind, Newcomer, Place, State};

fn unknown(started: bool) -> Rig {
    let mut rig = Rig::new();
    rig.take(Newcomer {
        id: A,
        hashes: wgo_proto::InfoHashes { v1: Some(wgo_proto::InfoHashV1([1; 20])), v2: None },
        started,
        known: false,
        needs: Check::None,
        check_asked: false,
        finished: false,
        device: DISK,
        moving: None,
        place: Place::default(),
    });
    rig
}

#[test]
fn it_runs_without_a_check_stores_nothing_and_goes_on_with_the_same_swarm() {
    let mut rig = unknown(true);
    assert_eq!((rig.effects(), rig.state(A)), (vec![Effect::GoLive(A)], State::Metadata));
    rig.wait(secs(100));
    assert_eq!(rig.effects(), [], "there is nothing to make durable");
    rig.call(|s, now| s.on_metadata(now, A, Check::None, true));
    assert_eq!((rig.effects(), rig.state(A)), (vec![], State::Downloading));
    assert_eq!(rig.seconds_until(&Effect::Checkpoint(A)), Some(30));
    rig.call(|s, now| s.on_metadata(now, A, Check::Full, false));
    assert_eq!((rig.effects(), rig.state(A)), (vec![], State::Downloading), "it comes once");
}

#[test]
fn what_is_on_the_disk_is_checked_first() {
    let mut rig = unknown(true);
    rig.effects();
    rig.call(|s, now| s.on_metadata(now, A, Check::Full, false));
    assert_eq!(rig.effects(), [Effect::Halt(A), Effect::Check(A, Check::Full)]);
    assert_eq!(rig.state(A), State::Checking);
}

#[test]
fn one_that_is_stopped_stays_so() {
    let mut rig = unknown(false);
    assert_eq!((rig.effects(), rig.state(A)), (vec![], State::Stopped));
    // Its Swarm was still there.
    rig.call(|s, now| s.on_metadata(now, A, Check::None, true));
    assert_eq!((rig.effects(), rig.state(A)), (vec![], State::Stopped));
    rig.call(|s, now| s.start(now, A));
    assert!(rig.effects().contains(&Effect::GoLive(A)));
}

#[test]
fn metadata_that_cannot_be_used_stops_it_until_it_is_started() {
    let mut rig = unknown(true);
    rig.effects();
    rig.fault(A, FaultKind::Broken);
    assert_eq!((rig.effects(), rig.state(A)), (vec![Effect::Halt(A), Effect::Save(A)], State::Error));
    rig.wait(secs(1000));
    assert_eq!(rig.effects(), []);
    rig.call(|s, now| s.start(now, A));
    assert!(rig.effects().contains(&Effect::GoLive(A)), "it is fetched again");
    // Another time it is known, and nothing of it is wanted.
    rig.fault(A, FaultKind::Broken);
    rig.effects();
    rig.call(|s, now| s.on_metadata(now, A, Check::None, false));
    assert_eq!((rig.effects(), rig.state(A)), (vec![], State::Error));
    rig.call(|s, now| s.start(now, A));
    assert!(rig.effects().contains(&Effect::GoLive(A)));
    assert_eq!(rig.state(A), State::Downloading);
}

#[test]
fn a_state_that_cannot_be_saved_pauses_the_fetch_and_it_goes_on() {
    let mut rig = unknown(true);
    rig.effects();
    rig.fault(A, FaultKind::DiskFull);
    assert!(rig.effects().contains(&Effect::Pause { id: A, requests: true, uploads: false }));
    assert_eq!(rig.seconds_until(&Effect::Probe(A)), Some(5));
    rig.call(|s, now| s.on_healed(now, A));
    assert!(rig.effects().contains(&Effect::Pause { id: A, requests: false, uploads: false }));
    assert_eq!(rig.state(A), State::Metadata);
}
