//! The tracker list against scripted trackers in simulated time.
use proptest::prelude::*;

use super::*;

mod one;
mod online;

/// How a scripted tracker answers.
#[derive(Clone, Debug)]
enum Script {
    Answers(Outcome),
    Fails(Retry),
    Silent,
}

/// What was sent: when (in seconds), to whom, with which event.
type Sent = (u64, String, Option<Event>);

struct Sim {
    list: TrackerList,
    scripts: BTreeMap<String, Script>,
    stats: Stats,
    now: Time,
    log: Vec<Sent>,
    /// How often another tracker was used than before.
    moves: usize,
}

fn secs(n: u64) -> Time {
    Time::from_start(Duration::from_secs(n))
}

fn minutes(n: u64) -> Option<Duration> {
    Some(Duration::from_secs(n * 60))
}

fn tiers(names: &[&[&str]]) -> Vec<Vec<Arc<str>>> {
    names.iter().map(|tier| tier.iter().map(|name| (*name).into()).collect()).collect()
}

fn good() -> Script {
    Script::Answers(Outcome { interval: minutes(30), ..Outcome::default() })
}

impl Sim {
    fn new(names: &[&[&str]]) -> Sim {
        Sim::with(names, Policy::default(), 1)
    }

    fn with(names: &[&[&str]], policy: Policy, seed: u64) -> Sim {
        let scripts = names.iter().flat_map(|tier| tier.iter()).map(|name| ((*name).to_owned(), good()));
        Sim {
            list: TrackerList::new(&tiers(names), policy, seed),
            scripts: scripts.collect(),
            stats: Stats { left: 100, num_want: 50, ..Stats::default() },
            now: Time::ZERO,
            log: Vec::new(),
            moves: 0,
        }
    }

    fn script(&mut self, name: &str, script: Script) {
        self.scripts.insert(name.to_owned(), script);
    }

    fn id(&self, name: &str) -> TrackerId {
        self.status(name).id
    }

    fn status(&self, name: &str) -> TrackerStatus {
        self.list.statuses().into_iter().find(|status| *status.url == *name).expect("listed")
    }

    fn answer(&mut self, announce: &Announce) {
        match self.scripts.get(&*announce.url).cloned() {
            Some(Script::Answers(outcome)) => {
                let answered = self.list.on_success(self.now, announce.id, &outcome);
                self.moves += usize::from(answered == Answered::Moved);
            }
            Some(Script::Fails(retry)) => self.list.on_failure(self.now, announce.id, "no", retry),
            Some(Script::Silent) | None => {}
        }
    }

    /// Answers come at once; returns what was sent on the way.
    fn run(&mut self, end: Time) -> Vec<Sent> {
        loop {
            while let Some(announce) = self.list.next_announce(self.now, &self.stats) {
                let at = self.now.since_start().as_secs();
                self.log.push((at, announce.url.to_string(), announce.event));
                self.answer(&announce);
                self.list.check_invariants();
            }
            match self.list.poll_timeout().filter(|&at| at <= end) {
                Some(at) => {
                    assert!(at > self.now, "nothing was due at {at:?}");
                    self.now = at;
                }
                None => break,
            }
        }
        self.now = end;
        std::mem::take(&mut self.log)
    }

    fn run_events(&mut self, end: Time) -> Vec<(String, Option<Event>)> {
        self.run(end).into_iter().map(|(_, url, event)| (url, event)).collect()
    }

    fn run_times(&mut self, end: Time) -> Vec<u64> {
        self.run(end).into_iter().map(|sent| sent.0).collect()
    }
}

fn sent(names: &[(&str, Option<Event>)]) -> Vec<(String, Option<Event>)> {
    names.iter().map(|&(name, event)| (name.to_owned(), event)).collect()
}

const STARTED: Option<Event> = Some(Event::Started);
const COMPLETED: Option<Event> = Some(Event::Completed);
const STOPPED: Option<Event> = Some(Event::Stopped);

#[test]
fn intervals_are_obeyed_within_a_minute_and_a_day() {
    for (interval, min_interval, expected) in [
        (None, None, 1800),
        (minutes(10), None, 600),
        (minutes(10), minutes(20), 1200),
        (Some(Duration::ZERO), None, 60),
        (Some(Duration::MAX), None, 86_400),
    ] {
        let mut sim = Sim::new(&[&["a"]]);
        sim.script("a", Script::Answers(Outcome { interval, min_interval, ..Outcome::default() }));
        assert_eq!(sim.run_times(secs(expected * 2)), [0, expected, expected * 2]);
    }
}

#[test]
fn started_completed_and_stopped_are_said_once_to_each_that_heard_us() {
    let mut sim = Sim::new(&[&["a"], &["b"], &["dead"]]);
    sim.script("dead", Script::Fails(Retry::BackOff));
    let begun = sim.run_events(secs(1));
    assert_eq!(begun, sent(&[("a", STARTED), ("b", STARTED), ("dead", STARTED)]));
    sim.script("dead", Script::Silent);
    sim.run(secs(60));
    sim.stats.left = 0;
    sim.list.completed();
    assert_eq!(sim.run_events(secs(61)), sent(&[("a", COMPLETED), ("b", COMPLETED)]));
    sim.list.completed();
    assert_eq!(sim.run_events(secs(62)), []);
    sim.list.stop();
    assert!(!sim.list.is_quiet());
    assert_eq!(sim.run_events(secs(63)), sent(&[("a", STOPPED), ("b", STOPPED)]));
    assert_eq!(sim.run_events(secs(100_000)), []);
    assert!(sim.list.is_quiet());
    sim.list.start(sim.now);
    sim.script("dead", good());
    let again = sim.run_events(secs(100_001));
    assert_eq!(again, sent(&[("a", STARTED), ("b", STARTED), ("dead", STARTED)]));
}

#[test]
fn a_tracker_that_never_saw_us_incomplete_does_not_hear_completed() {
    let mut sim = Sim::new(&[&["a"], &["late"]]);
    sim.script("late", Script::Fails(Retry::After(Duration::from_secs(600))));
    sim.run(secs(1));
    sim.stats.left = 0;
    sim.list.completed();
    sim.script("late", good());
    assert_eq!(sim.run_events(secs(700)), sent(&[("a", COMPLETED), ("late", STARTED)]));
}

#[test]
fn completed_still_goes_out_when_we_stop_at_the_same_moment() {
    let mut sim = Sim::new(&[&["a"], &["b"]]);
    sim.run(secs(1));
    sim.stats.left = 0;
    sim.list.completed();
    sim.list.stop();
    sim.script("b", Script::Fails(Retry::BackOff));
    let all = [("a", COMPLETED), ("a", STOPPED), ("b", COMPLETED), ("b", STOPPED)];
    assert_eq!(sim.run_events(secs(2)), sent(&all));
    assert!(sim.list.is_quiet());
}

#[test]
fn stopping_waits_for_the_started_that_is_under_way() {
    let mut sim = Sim::new(&[&["a"], &["b"]]);
    let a = sim.list.next_announce(secs(0), &sim.stats).unwrap();
    let b = sim.list.next_announce(secs(0), &sim.stats).unwrap();
    sim.list.stop();
    assert_eq!(sim.list.next_announce(secs(1), &sim.stats), None);
    sim.list.on_success(secs(1), a.id, &Outcome::default());
    let farewell = sim.list.next_announce(secs(1), &sim.stats).unwrap();
    assert_eq!((farewell.id.tracker, farewell.event, farewell.stats.num_want), (a.id.tracker, STOPPED, 0));
    sim.list.on_failure(secs(2), b.id, "no", Retry::BackOff);
    sim.list.on_failure(secs(2), farewell.id, "no", Retry::BackOff);
    assert!(sim.list.is_quiet());
    assert_eq!(sim.list.poll_timeout(), None);
}

#[test]
fn within_a_tier_the_one_that_works_moves_to_the_front() {
    let mut sim = Sim::new(&[&["a", "b", "c"]]);
    let order: Vec<_> = sim.list.statuses().iter().map(|status| status.url.to_string()).collect();
    sim.script(&order[0], Script::Fails(Retry::BackOff));
    sim.script(&order[1], Script::Fails(Retry::BackOff));
    let tried: Vec<_> = sim.run(secs(3600)).into_iter().map(|sent| (sent.0, sent.1)).collect();
    let third = order[2].clone();
    let expected = [(0, order[0].clone()), (0, order[1].clone()), (0, third.clone())];
    assert_eq!(tried, [&expected[..], &[(1800, third.clone()), (3600, third.clone())]].concat());
    let now: Vec<_> = sim.list.statuses().iter().map(|status| status.url.to_string()).collect();
    assert_eq!(now, [third, order[0].clone(), order[1].clone()]);
}

#[test]
fn the_order_within_a_tier_is_shuffled_but_tiers_stay() {
    let mut firsts = std::collections::BTreeSet::new();
    for seed in 0..30 {
        let sim = Sim::with(&[&["a", "b", "c"], &["z", "z", "a"]], Policy::default(), seed);
        let statuses = sim.list.statuses();
        assert_eq!(statuses.len(), 4, "a doubled URL counts once");
        assert_eq!((&*statuses[3].url, statuses[3].tier), ("z", 1));
        firsts.insert(statuses[0].url.to_string());
    }
    assert_eq!(firsts.len(), 3);
}

#[test]
fn by_the_letter_of_bep_12_a_later_tier_is_used_while_all_before_it_fail() {
    let strict = Policy::FirstTier;
    let mut sim = Sim::with(&[&["a", "b"], &["c"], &["d"]], strict, 3);
    sim.script("a", Script::Fails(Retry::BackOff));
    sim.script("b", Script::Fails(Retry::BackOff));
    let tried = sim.run(secs(0));
    assert_eq!(tried.len(), 3);
    assert_eq!(tried[2].1, "c");
    sim.run(secs(100));
    sim.script("b", good());
    let log = sim.run(secs(20_000));
    assert!(log.iter().any(|sent| sent.1 == "b"));
    let back = log.iter().position(|sent| sent.1 == "b").unwrap();
    assert!(log[back..].iter().all(|sent| sent.1 == "b"), "{log:?}");
    sim.list.set_policy(Policy::default());
    let log = sim.run(sim.now);
    assert_eq!(log.len(), 2, "c is overdue and d was never asked: {log:?}");
}

#[test]
fn failures_back_off_up_to_half_an_hour_and_recover() {
    let mut sim = Sim::new(&[&["a"]]);
    sim.script("a", Script::Fails(Retry::BackOff));
    let times = sim.run_times(secs(20_000));
    let gaps: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    for (gap, expected) in gaps.iter().zip([15, 30, 60, 120, 240, 480, 960, 1800, 1800]) {
        assert!((expected * 3 / 4 - 1..=1800.min(expected * 5 / 4 + 1)).contains(gap), "{gaps:?}");
    }
    assert!(gaps.len() > 10, "{gaps:?}");
    assert!(
        matches!(sim.status("a").state, State::Failed { message, times } if message == "no" && times > 10)
    );
    sim.script("a", good());
    sim.run(secs(22_000));
    assert_eq!(sim.status("a").state, State::Working);
    sim.script("a", Script::Fails(Retry::BackOff));
    let times = sim.run_times(secs(24_000));
    assert!(times[1] - times[0] <= 19, "{times:?}");
}

#[test]
fn retry_in_and_never_are_obeyed() {
    let mut sim = Sim::new(&[&["a"], &["gone"]]);
    sim.script("a", Script::Fails(Retry::After(Duration::from_secs(7200))));
    sim.script("gone", Script::Fails(Retry::Never));
    let log = sim.run(secs(10_000));
    let times: Vec<_> = log.iter().map(|sent| (sent.0, &*sent.1)).collect();
    assert_eq!(times, [(0, "a"), (0, "gone"), (7200, "a")]);
    assert_eq!(sim.status("gone").state, State::Disabled { message: "no".to_owned() });
    sim.list.announce_now(sim.now);
    assert!(sim.run(sim.now).iter().all(|sent| sent.1 == "a"));
}

#[test]
fn a_shortage_of_peers_asks_early_but_less_and_less() {
    let mut sim = Sim::new(&[&["a"]]);
    let answer = Outcome { interval: minutes(30), min_interval: minutes(2), ..Outcome::default() };
    sim.script("a", Script::Answers(answer));
    sim.list.set_hungry(true);
    assert_eq!(sim.run_times(secs(5000)), [0, 120, 360, 840, 1800, 3600]);
    sim.list.set_hungry(false);
    sim.list.set_hungry(true);
    assert_eq!(sim.run_times(secs(5300)), [5000, 5240]);
    sim.list.set_hungry(false);
    assert_eq!(sim.run_times(secs(7000)), []);
}

#[test]
fn an_announce_by_hand_goes_past_back_off_but_not_below_the_floor() {
    let mut sim = Sim::new(&[&["a"], &["b"]]);
    sim.script("b", Script::Fails(Retry::After(Duration::from_secs(5000))));
    sim.run(secs(10));
    sim.list.announce_now(sim.now);
    assert_eq!(sim.run_times(secs(100)), [30, 30]);
    sim.list.announce_now(sim.now);
    assert_eq!(sim.run_times(secs(100)), [100, 100]);
    (0..5).for_each(|_| sim.list.announce_now(secs(101)));
    assert_eq!(sim.run_times(secs(1000)), [130, 130]);
}

#[test]
fn a_lost_completion_times_out_and_a_late_one_is_nobodys() {
    let mut sim = Sim::new(&[&["a"]]);
    let lost = sim.list.next_announce(secs(0), &sim.stats).unwrap();
    assert_eq!(sim.status("a").state, State::Updating);
    assert_eq!(sim.list.poll_timeout(), Some(secs(900)));
    assert_eq!(sim.list.next_announce(secs(899), &sim.stats), None);
    assert_eq!(sim.list.next_announce(secs(900), &sim.stats), None);
    assert!(matches!(sim.status("a").state, State::Failed { times: 1, .. }));
    sim.list.on_success(secs(901), lost.id, &Outcome::default());
    assert!(matches!(sim.status("a").state, State::Failed { times: 1, .. }));
    let again = sim.list.next_announce(secs(930), &sim.stats).unwrap();
    sim.list.on_failure(secs(931), lost.id, "late", Retry::Never);
    assert_eq!(sim.status("a").state, State::Updating);
    sim.list.on_success(secs(931), again.id, &Outcome::default());
    assert_eq!(sim.status("a").state, State::Working);
}

#[test]
fn announces_carry_the_numbers_of_the_moment_the_key_and_the_tracker_id() {
    let mut sim = Sim::new(&[&["a"]]);
    let first = sim.list.next_announce(secs(0), &sim.stats).unwrap();
    assert_eq!((first.stats, first.tracker_id), (sim.stats, None));
    let answer = Outcome { tracker_id: Some(b"id".to_vec()), seeders: Some(3), ..Outcome::default() };
    sim.list.on_success(secs(0), first.id, &answer);
    let later = Stats { uploaded: 7, downloaded: 8, left: 9, num_want: 10 };
    let second = sim.list.next_announce(secs(1800), &later).unwrap();
    assert_eq!((second.stats, second.key), (later, first.key));
    assert_eq!(second.tracker_id.as_deref(), Some(&b"id"[..]));
    let huge = Outcome { tracker_id: Some(vec![0; 10_000]), warning: Some("é".repeat(9000)), ..answer };
    sim.list.on_success(secs(1800), second.id, &huge);
    let third = sim.list.next_announce(secs(3600), &later).unwrap();
    assert_eq!(third.tracker_id.as_deref(), Some(&b"id"[..]));
    assert_eq!(sim.status("a").warning.map(|text| text.chars().count()), Some(500));
    assert_eq!(sim.status("a").seeders, Some(3));
}

#[test]
fn trackers_come_and_go_at_run_time() {
    let mut sim = Sim::new(&[&["a"], &["b"]]);
    sim.run(secs(1));
    sim.script("c", good());
    assert_eq!(sim.list.add("c", 99), sim.list.add("c", 0));
    assert_eq!(sim.status("c").tier, 2);
    assert_eq!(sim.run_events(secs(2)), sent(&[("c", STARTED)]));
    let a = sim.id("a");
    assert!(sim.list.remove(a));
    assert!(!sim.list.remove(a));
    assert_eq!(sim.list.statuses().len(), 2);
    assert_eq!(sim.run_events(secs(3)), sent(&[("a", STOPPED)]));
    let b = sim.id("b");
    sim.list.replace(&tiers(&[&["d"], &["b"]]));
    assert_eq!((sim.id("b"), sim.status("b").tier, sim.status("d").tier), (b, 1, 0));
    sim.script("d", good());
    assert_eq!(sim.run_events(secs(4)), sent(&[("c", STOPPED), ("d", STARTED)]));
    assert!(sim.run_events(secs(1900)).contains(&("b".to_owned(), None)));
}

#[test]
fn a_metainfo_full_of_trackers_is_cut() {
    let names: Vec<Vec<Arc<str>>> = (0..5000).map(|n| vec![format!("udp://{n}").into()]).collect();
    let list = TrackerList::new(&names, Policy::default(), 0);
    assert_eq!(list.statuses().len(), MAX_TRACKERS);
    list.check_invariants();
}

fn script() -> impl Strategy<Value = Script> {
    let wait = || prop::option::of((0u64..100_000).prop_map(Duration::from_secs));
    prop_oneof![
        4 => (wait(), wait()).prop_map(|(interval, min_interval)| {
            Script::Answers(Outcome { interval, min_interval, ..Outcome::default() })
        }),
        3 => Just(Script::Fails(Retry::BackOff)),
        1 => (0u64..100_000).prop_map(|n| Script::Fails(Retry::After(Duration::from_secs(n)))),
        1 => Just(Script::Fails(Retry::Never)),
        1 => Just(Script::Silent),
    ]
}

/// What a tracker may hear, given what it has acknowledged.
#[derive(Clone, Copy, Default, Debug)]
struct Believes {
    started: bool,
    completed: bool,
}

proptest! {
    #[test]
    fn whatever_happens_trackers_hear_events_in_order_and_are_not_hammered(
        ops in prop::collection::vec((0u8..12, 0usize..4, script(), 0u64..4000), 1..80),
        seed in 0u64..1000,
        which_policy in 0usize..3,
    ) {
        let names = ["a", "b", "c", "d"];
        let policy = [Policy::AllTiers, Policy::FirstTier, Policy::OneTracker][which_policy];
        let mut sim = Sim::with(&[&["a", "b"], &["c"], &["d"]], policy, seed);
        let mut believes = BTreeMap::<String, Believes>::new();
        for (op, which, script, wait) in ops {
            match op {
                0..5 => sim.script(names[which], script),
                5 => { sim.stats.left = 0; sim.list.completed() }
                6 => { sim.stats.left = 1; sim.list.stop() }
                7 => sim.list.start(sim.now),
                8 => sim.list.announce_now(sim.now),
                9 => sim.list.set_hungry(which > 1),
                10 => { sim.list.add(names[which], which); }
                _ => if let Some(status) = sim.list.statuses().get(which) { sim.list.remove(status.id); }
            }
            sim.list.check_invariants();
            let restarted = op == 7;
            if restarted {
                believes.clear();
            }
            let (from, end) = (sim.now, sim.now + Duration::from_secs(wait));
            let scripts = sim.scripts.clone();
            let log = sim.run(end);
            prop_assert!(log.len() as u64 <= 60 + 4 * end.since(from).as_secs() / 15, "{log:?}");
            for (_, url, event) in log {
                let known = believes.entry(url.clone()).or_default();
                let good = matches!(scripts.get(&url), Some(Script::Answers(_)));
                match event {
                    Some(Event::Started) => {
                        prop_assert!(!known.started, "started twice to {url}");
                        known.started = good;
                    }
                    Some(Event::Completed) => {
                        prop_assert!(known.started && !known.completed, "completed to {url}");
                        known.completed = good;
                    }
                    Some(Event::Stopped) => {
                        prop_assert!(known.started, "stopped to {url}, which never heard of us");
                        *known = Believes::default();
                    }
                    None => prop_assert!(known.started, "nothing said to {url} yet"),
                }
                if matches!(scripts.get(&url), Some(Script::Fails(Retry::Never))) {
                    *known = Believes::default();
                }
            }
        }
    }
}
