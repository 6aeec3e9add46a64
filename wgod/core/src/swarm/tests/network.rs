//! The network goes and comes back: connections end, nobody is dialled or asked meanwhile, and all begin anew.
use super::rig::*;
use crate::peer::CloseReason;
use crate::peer_mgr::Source;
use crate::swarm::Action;

fn is_dial(action: &Action<u32>) -> bool {
    matches!(action, Action::Dial(..))
}

fn is_announce(action: &Action<u32>) -> bool {
    matches!(action, Action::Announce(_))
}

#[test]
fn connections_end_with_the_network_and_nobody_is_tried_without_one() {
    let mut rig = Rig::with(4, &[], &["a"], 50);
    let peer = rig.seed(1);
    rig.swarm.add_candidates(rig.now, [addr(2)], Source::Tracker);
    rig.wait(secs(1));
    rig.actions();
    rig.swarm.set_online(rig.now, false);
    assert!(matches!(rig.closing(peer), Some(CloseReason::Offline)));
    assert!(rig.woken().contains(&peer));
    rig.leaves(peer);
    rig.swarm.on_dial_failed(rig.now, addr(2));
    rig.swarm.add_candidates(rig.now, [addr(3)], Source::Tracker);
    rig.wait(secs(3600));
    assert_eq!(rig.count(|action| is_dial(action) || is_announce(action)), 0);
    rig.swarm.set_online(rig.now, true);
    rig.wait(secs(1));
    let actions = rig.actions();
    // Also whom we could not reach because of that.
    assert_eq!(actions.iter().filter(|action| is_dial(action)).count(), 2);
    assert_eq!(actions.iter().filter(|action| is_announce(action)).count(), 1);
}

#[test]
fn a_failure_on_the_way_out_holds_nobody_up_when_the_network_is_back() {
    let mut rig = Rig::new(4, &[]);
    rig.swarm.add_candidates(rig.now, [addr(1)], Source::Tracker);
    for _ in 0..4 {
        rig.wait(secs(1800));
        assert_eq!(rig.count(is_dial), 1);
        rig.swarm.on_dial_failed(rig.now, addr(1));
    }
    rig.swarm.set_online(rig.now, false);
    rig.swarm.set_online(rig.now, true);
    rig.wait(secs(1));
    assert_eq!(rig.count(is_dial), 1);
    // Nothing new is no reason to hurry.
    rig.swarm.on_dial_failed(rig.now, addr(1));
    rig.swarm.set_online(rig.now, true);
    rig.wait(secs(1));
    assert_eq!(rig.count(is_dial), 0);
}

#[test]
fn without_a_network_a_seed_sleeps_and_what_is_missing_something_does_not() {
    let mut seed = Rig::with(1, &[0], &["a"], 50);
    seed.swarm.set_online(seed.now, false);
    seed.wait(secs(60));
    assert_eq!(seed.count(|action| matches!(action, Action::Idle)), 1);
    assert_eq!(seed.swarm.next_announce(), None, "the return of the network wakes it");
    let mut leech = Rig::with(1, &[], &["a"], 50);
    leech.swarm.set_online(leech.now, false);
    leech.wait(secs(60));
    assert_eq!(leech.count(|action| matches!(action, Action::Idle)), 0);
}
