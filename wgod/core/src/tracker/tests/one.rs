//! One tracker at a time (BEP 27).
use super::*;

#[test]
fn a_private_torrent_uses_one_tracker_until_it_fails_and_leaves_it_then() {
    let mut sim = Sim::with(&[&["a"], &["b"], &["c"]], Policy::OneTracker, 1);
    assert_eq!(sim.run_times(secs(3599)), [0, 1800]);
    assert_eq!(sim.status("b").state, State::Never);
    // The next is asked as soon as the one fails, and is kept although the first is well again.
    sim.script("a", Script::Fails(Retry::BackOff));
    let left = sim.run_events(secs(3600));
    assert_eq!(left, sent(&[("a", None), ("b", STARTED), ("a", STOPPED)]));
    assert_eq!(sim.moves, 1);
    sim.script("a", good());
    assert_eq!(sim.run_events(secs(7199)), sent(&[("b", None)]));
    // When all fail, each is tried by its own back-off, and the first that answers is the one.
    for name in ["a", "b", "c"] {
        sim.script(name, Script::Fails(Retry::BackOff));
    }
    sim.run(secs(9100));
    assert_eq!(sim.moves, 1, "nobody else answered");
    for name in ["a", "b", "c"] {
        assert!(matches!(sim.status(name).state, State::Failed { .. }), "{name}");
    }
    sim.script("b", good());
    let back = sim.run(secs(11_000));
    assert_eq!(sim.moves, 1, "the same one as before");
    assert!(matches!(sim.status("b").state, State::Working), "{back:?}");
    // Completed goes to the one that is used, stopped too.
    sim.stats.left = 0;
    sim.list.completed();
    assert_eq!(sim.run_events(sim.now), sent(&[("b", COMPLETED)]));
    sim.list.stop();
    assert_eq!(sim.run_events(sim.now), sent(&[("b", STOPPED)]));
    assert!(sim.list.is_quiet());
}

#[test]
fn a_private_torrent_moves_to_a_tracker_that_takes_the_place_of_its_own() {
    let mut sim = Sim::with(&[&["old"]], Policy::OneTracker, 1);
    sim.run(secs(1));
    sim.script("new", good());
    sim.list.replace(&tiers(&[&["new"]]));
    assert_eq!(sim.run_events(secs(2)), sent(&[("old", STOPPED), ("new", STARTED)]));
    assert_eq!(sim.moves, 1);
    sim.list.stop();
    sim.run(secs(3));
    sim.list.start(secs(4));
    sim.run(secs(4));
    assert_eq!(sim.moves, 1, "whoever starts has no peers to leave");
}

#[test]
fn a_torrent_that_turns_out_to_be_private_keeps_one_tracker_of_several() {
    let mut sim = Sim::with(&[&["dead"], &["a"], &["b"]], Policy::AllTiers, 1);
    sim.script("dead", Script::Fails(Retry::BackOff));
    sim.run(secs(1));
    sim.list.set_policy(Policy::OneTracker);
    assert_eq!(sim.run_events(secs(2)), sent(&[("b", STOPPED)]));
    let later = sim.run_events(secs(4000));
    assert_eq!(later, sent(&[("a", None), ("a", None)]));
    assert_eq!(sim.moves, 0, "who was told of by both stays");
}
