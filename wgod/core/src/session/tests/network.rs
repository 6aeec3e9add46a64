//! The network is back: what sleeps is woken to tell its trackers.
use super::rig::*;
use crate::session::{Check, Effect};

#[test]
fn sleepers_are_woken_one_after_the_other_and_nobody_else_is() {
    let mut rig = Rig::dormant();
    rig.call(|s, _| s.sleep_until(A, None));
    rig.add(B, false, Check::None, true);
    rig.effects();
    rig.call(|s, now| s.rouse(now, [A, B]));
    rig.wait(secs(1));
    assert_eq!(rig.effects(), [Effect::GoLive(A)]);
}

#[test]
fn who_is_to_wake_sooner_does() {
    let mut rig = Rig::dormant();
    let soon = rig.now;
    rig.call(|s, _| s.sleep_until(A, Some(soon)));
    rig.call(|s, now| s.rouse(now + secs(60), [A]));
    rig.wait(secs(1));
    assert_eq!(rig.effects(), [Effect::GoLive(A)]);
}
