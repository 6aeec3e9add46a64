//! The rhythm of choke rounds and housekeeping.
use std::time::Duration;

use super::rig::*;
use crate::session::{Check, Effect};

/// When, in milliseconds from now, an effect comes out within `time`.
fn times(rig: &mut Rig, effect: &Effect, time: u64) -> Vec<u64> {
    let mut at = Vec::new();
    for step in 1..=time / 100 {
        rig.wait(Duration::from_millis(100));
        at.extend(rig.all_effects().iter().filter(|e| *e == effect).map(|_| step * 100));
    }
    at
}

#[test]
fn a_round_comes_every_ten_seconds_while_anyone_is_live() {
    let mut rig = Rig::live();
    assert_eq!(times(&mut rig, &Effect::ChokeRound, 35_000), [10_000, 20_000, 30_000]);
    rig.call(|s, now| s.stop(now, A));
    rig.all_effects();
    assert!(times(&mut rig, &Effect::ChokeRound, 60_000).len() <= 1);
    rig.call(|s, now| s.start(now, A));
    assert_eq!(times(&mut rig, &Effect::ChokeRound, 10_000).len(), 1, "it begins anew");
}

#[test]
fn interest_fills_free_slots_at_once_and_ranks_anew_once_a_second() {
    let mut rig = Rig::live();
    rig.call(|s, now| s.on_interest_changed(now));
    assert!(rig.all_effects().contains(&Effect::ChokeRound), "nobody was ranked for long");
    rig.wait(Duration::from_millis(300));
    for _ in 0..50 {
        rig.call(|s, now| s.on_interest_changed(now));
    }
    assert_eq!(rig.all_effects(), [Effect::ChokeFill]);
    assert_eq!(times(&mut rig, &Effect::ChokeRound, 5_000), [700]);
    assert_eq!(times(&mut rig, &Effect::ChokeRound, 6_000), [5_700], "then the rhythm goes on from there");
}

#[test]
fn a_swarm_that_was_made_gets_its_lease_at_once_and_many_together_share_one_round() {
    let mut rig = Rig::live();
    rig.session.on_live(rig.now, A);
    assert_eq!(times(&mut rig, &Effect::Housekeep, 100), [100]);
    (0..100).for_each(|_| rig.session.on_live(rig.now, A));
    assert_eq!(times(&mut rig, &Effect::Housekeep, 500).len(), 1);
}

#[test]
fn housekeeping_ticks_for_live_torrents_only() {
    let mut rig = Rig::seeding();
    assert_eq!(times(&mut rig, &Effect::Housekeep, 5_000).len(), 5);
    rig.call(|s, _| s.on_idle(A));
    rig.all_effects();
    times(&mut rig, &Effect::Housekeep, 2_000);
    times(&mut rig, &Effect::ChokeRound, 20_000);
    assert_eq!(rig.session.poll_timeout(), None, "sleepers cost nothing");
    rig.add(B, true, Check::None, false);
    rig.all_effects();
    assert_eq!(times(&mut rig, &Effect::Housekeep, 3_000).len(), 3);
}
