//! Without a network nobody is asked; when it is back everybody is.
use super::*;

#[test]
fn while_the_network_is_gone_nobody_is_asked_and_nothing_fails() {
    let mut sim = Sim::new(&[&["a"], &["b"]]);
    sim.script("b", Script::Silent);
    assert_eq!(sim.run_events(secs(0)), sent(&[("a", STARTED), ("b", STARTED)]));
    sim.list.set_online(sim.now, false);
    assert_eq!(sim.list.poll_timeout(), None, "nothing is due while it is gone");
    assert_eq!(sim.run(secs(7200)), []);
    assert_eq!(sim.status("b").state, State::Never, "what was under way is no failure");
    sim.script("b", good());
    sim.list.set_online(sim.now, true);
    assert_eq!(sim.run_events(sim.now), sent(&[("b", STARTED), ("a", None)]));
}

#[test]
fn when_it_is_back_they_hear_of_us_past_intervals_and_back_off_but_not_in_a_burst() {
    let mut sim = Sim::new(&[&["a"], &["b"]]);
    sim.script("b", Script::Fails(Retry::BackOff));
    sim.run(secs(1000));
    let back_off = sim.status("b").next_announce.expect("it is tried again");
    assert!(back_off > secs(1100), "{back_off:?}");
    sim.script("b", good());
    // It comes and goes; each time is a time to announce, but for the floor.
    let mut told = Vec::new();
    for second in 1001..=1030 {
        sim.list.set_online(secs(second), false);
        sim.list.set_online(secs(second), true);
        told.extend(sim.run(secs(second)).into_iter().filter(|(_, name, _)| name == "a").map(|(at, ..)| at));
    }
    assert_eq!(told, [1001, 1011, 1021]);
    assert_eq!(sim.status("b").state, State::Working);
    // That it is still there is no news, once the last return has been told.
    sim.run(secs(1040));
    sim.list.set_online(sim.now, true);
    assert_eq!(sim.run(secs(1100)), []);
}

#[test]
fn whom_we_leave_without_a_network_is_told_once_in_vain() {
    let mut sim = Sim::new(&[&["a"]]);
    sim.run(secs(0));
    sim.list.set_online(sim.now, false);
    sim.script("a", Script::Fails(Retry::BackOff));
    sim.list.stop();
    assert_eq!(sim.run_events(secs(100)), sent(&[("a", STOPPED)]));
    assert!(sim.list.is_quiet());
}
