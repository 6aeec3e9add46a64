//! The limiter in simulated time: connections that take some time to use each grant, a shell that wakes
//! somewhat late.
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use wgo_proto::BLOCK_LEN;

use super::*;

mod books;
mod classes;
mod shell;

const KIB: u32 = 1024;

struct SimFlow {
    id: FlowId,
    torrent: u64,
    want: u32,
    moved: u64,
    /// Asks that long after each grant, instead of within the simulation's pause.
    pace: Option<Duration>,
}

/// Flows that are always backlogged: each asks again up to `pause` after its grant.
struct Sim {
    limiter: Limiter,
    rng: fastrand::Rng,
    flows: Vec<SimFlow>,
    by_id: BTreeMap<FlowId, usize>,
    agenda: BTreeSet<(Time, usize)>,
    now: Time,
    /// Longest time between a grant and the next request.
    pause: Duration,
    /// Longest delay of a wake-up.
    late: Duration,
    /// Flows do not ask again after the grant that they wait for.
    resting: bool,
    polls: u64,
}

fn secs(n: u64) -> Time {
    Time::from_start(Duration::from_secs(n))
}

fn millis(n: u64) -> Time {
    Time::from_start(Duration::from_millis(n))
}

impl Sim {
    fn new(pause_us: u64, late_us: u64) -> Sim {
        Sim {
            limiter: Limiter::new(),
            rng: fastrand::Rng::with_seed(7),
            flows: Vec::new(),
            by_id: BTreeMap::new(),
            agenda: BTreeSet::new(),
            now: Time::ZERO,
            pause: Duration::from_micros(pause_us),
            late: Duration::from_micros(late_us),
            resting: false,
            polls: 0,
        }
    }

    fn global(&mut self, rate: u64) {
        self.limiter.set_global(self.now, Direction::Down, Some(ByteRate(rate)));
    }

    fn torrent_limit(&mut self, torrent: u64, rate: u64) {
        self.limiter.set_torrent(self.now, TorrentId(torrent), Direction::Down, Some(ByteRate(rate)));
    }

    fn add(&mut self, torrent: u64, flows: usize, want: u32) {
        for _ in 0..flows {
            let id = self.limiter.open(TorrentId(torrent), Direction::Down);
            self.by_id.insert(id, self.flows.len());
            self.agenda.insert((self.now, self.flows.len()));
            self.flows.push(SimFlow { id, torrent, want, moved: 0, pace: None });
        }
    }

    fn granted(&mut self, flow: usize, bytes: u32) {
        assert!(bytes > 0 && bytes <= self.flows[flow].want);
        self.flows[flow].moved += u64::from(bytes);
        if self.resting {
            return;
        }
        let pause = Duration::from_nanos(self.rng.u64(0..=self.pause.as_nanos() as u64));
        self.agenda.insert((self.now + self.flows[flow].pace.unwrap_or(pause), flow));
    }

    fn run(&mut self, end: Time) {
        let mut late = Duration::ZERO;
        let mut grants = Vec::new();
        loop {
            let wake = self.limiter.next_timeout().map(|at| (at + late).max(self.now));
            let ask = self.agenda.first().copied().filter(|ask| wake.is_none_or(|wake| ask.0 < wake));
            let Some(next) = ask.map(|ask| ask.0).or(wake).filter(|&next| next <= end) else { break };
            self.now = next;
            if let Some((_, flow)) = ask {
                self.agenda.pop_first();
                let SimFlow { id, want, .. } = self.flows[flow];
                if let Grant::Granted(bytes) = self.limiter.request(next, id, want) {
                    self.granted(flow, bytes);
                }
                continue;
            }
            self.polls += 1;
            self.limiter.poll(next, &mut grants);
            assert!(self.limiter.next_timeout().is_none_or(|at| at > next), "busy loop at {next:?}");
            for (id, bytes) in grants.drain(..) {
                self.granted(self.by_id[&id], bytes);
            }
            late = Duration::from_nanos(self.rng.u64(0..=self.late.as_nanos() as u64));
        }
        self.now = end;
        self.limiter.check_invariants();
    }

    fn total(&self) -> u64 {
        self.flows.iter().map(|flow| flow.moved).sum()
    }

    fn per_torrent(&self) -> BTreeMap<u64, u64> {
        self.flows.iter().fold(BTreeMap::new(), |mut sums, flow| {
            *sums.entry(flow.torrent).or_default() += flow.moved;
            sums
        })
    }
}

fn assert_within(seen: u64, expected: u64, permille: u64, what: &str) {
    let off = seen.abs_diff(expected);
    assert!(off * 1000 <= expected * permille, "{what}: {seen} for {expected}");
}

#[test]
fn ten_seconds_carry_the_limit_within_a_fifth_of_a_percent() {
    for rate in [1_000, 5_000, 33_333, 100_000, 1_234_567, 10_000_000, 100_000_000, 1_000_000_000] {
        for (torrents, flows) in [(1, 1), (1, 3), (3, 10), (30, 10)] {
            let mut sim = Sim::new(500, 0);
            sim.global(rate);
            let want = if rate < 100_000_000 { 16 * KIB } else { 256 * KIB };
            (0..torrents).for_each(|t| sim.add(t, flows, want));
            sim.run(secs(10));
            let what = format!("{torrents} x {flows} flows");
            assert_within(sim.total(), rate * 10, 2, &what);
            let wakes = sim.polls;
            assert!(wakes <= 1001, "{what} at {rate}: {wakes} wake-ups");
            sim.run(secs(20));
            assert_within(sim.total(), rate * 20, 1, &what);
        }
    }
}

#[test]
fn late_wake_ups_and_single_blocks_cost_no_throughput() {
    for rate in [1_000, 20_000, 1_000_000, 100_000_000, 1_000_000_000] {
        for flows in [1, 300] {
            let mut sim = Sim::new(10, 40_000);
            sim.global(rate);
            sim.add(1, flows, 16 * KIB);
            sim.run(secs(2));
            let before = sim.total();
            sim.run(secs(12));
            // Forty milliseconds and a low limit's tick may be missing at the end, or have been at the start.
            let slack = rate / 20 + 1024;
            let off = (sim.total() - before).abs_diff(rate * 10);
            assert!(off <= slack, "{flows} flows at {rate}: off by {off}");
        }
    }
}

#[test]
fn limits_far_from_everyday_ones_hold() {
    for (rate, end) in [(1, 1_000), (7, 1_000), (100, 100), (20_000_000_000, 1)] {
        let mut sim = Sim::new(0, 0);
        sim.global(rate);
        sim.add(1, 2, 1024 * KIB);
        sim.run(secs(end));
        assert_within(sim.total(), rate * end, 5, "odd rate");
    }
}

#[test]
fn each_torrent_gets_its_share_whatever_its_number_of_peers() {
    for (rate, want) in [(1_000_000, 16), (10_000_000, 16), (100_000_000, 16), (1_000_000_000, 64)] {
        for torrents in [2, 30] {
            let mut sim = Sim::new(300, 2_000);
            sim.global(rate);
            sim.add(0, 100, want * KIB);
            (1..torrents).for_each(|t| sim.add(t, 1 + t as usize % 4, want * KIB));
            let share = rate / torrents;
            let mut before = sim.per_torrent();
            for second in 1..=5 {
                sim.run(secs(second));
                for (torrent, moved) in sim.per_torrent() {
                    let moved = moved - before.insert(torrent, moved).unwrap_or(0);
                    assert!(
                        moved * 2 >= share,
                        "{torrent} of {torrents} at {rate}, second {second}: {moved}"
                    );
                }
            }
            for (torrent, moved) in sim.per_torrent() {
                // They begin up to a block apart.
                let off = moved.abs_diff(share * 5);
                let may = share / 4 + u64::from(BLOCK_LEN);
                assert!(off <= may, "{torrent} of {torrents} at {rate}: {moved} for {}", share * 5);
            }
        }
    }
}

#[test]
fn a_low_limit_is_shared_by_all_torrents_in_the_long_run() {
    let mut sim = Sim::new(1_000, 5_000);
    sim.global(1_000);
    sim.add(0, 50, 16 * KIB);
    (1..30).for_each(|t| sim.add(t, 1, 16 * KIB));
    sim.run(secs(600));
    for (torrent, moved) in sim.per_torrent() {
        assert_within(moved, 20_000, 50, &format!("torrent {torrent}"));
    }
}

#[test]
fn peers_of_a_torrent_take_turns_and_none_starves() {
    let mut sim = Sim::new(300, 2_000);
    sim.global(3_000_000);
    sim.add(1, 300, 16 * KIB);
    sim.run(secs(10));
    for flow in &sim.flows {
        assert_within(flow.moved, 100_000, 100, "one of 300 peers");
    }
}

#[test]
fn what_one_torrent_does_not_use_goes_to_the_others() {
    let mut sim = Sim::new(300, 2_000);
    sim.global(10_000_000);
    sim.torrent_limit(1, 500_000);
    sim.add(1, 20, 16 * KIB);
    sim.add(2, 1, 16 * KIB);
    sim.add(3, 5, 16 * KIB);
    sim.run(secs(10));
    let moved = sim.per_torrent();
    assert_within(moved[&1], 5_000_000, 2, "limited");
    assert_within(moved[&2], 47_500_000, 50, "one peer");
    assert_within(moved[&3], 47_500_000, 50, "five peers");
    assert_within(sim.total(), 100_000_000, 3, "all");
}

#[test]
fn a_torrent_with_a_slow_peer_does_not_hold_the_others_back() {
    let mut sim = Sim::new(0, 1_000);
    sim.global(100_000_000);
    sim.add(1, 1, 16 * KIB);
    // One block each 15 ms: it always counts as busy, and always lags.
    sim.add(2, 1, 16 * KIB);
    sim.flows[1].pace = Some(Duration::from_millis(15));
    sim.run(secs(1));
    let before = sim.total();
    sim.run(secs(11));
    let slow = sim.per_torrent()[&2];
    assert!(slow > 10_000_000, "{slow}");
    assert_within(sim.total() - before, 1_000_000_000, 2, "all");
}

#[test]
fn torrents_that_come_back_do_not_starve_the_one_that_stayed() {
    for rate in [1_000_000, 100_000_000] {
        let mut sim = Sim::new(300, 2_000);
        sim.global(rate);
        sim.add(0, 3, 16 * KIB);
        sim.run(secs(1));
        let before = sim.per_torrent()[&0];
        (1..30).for_each(|t| sim.add(t, 3, 16 * KIB));
        sim.run(secs(2));
        let moved = sim.per_torrent()[&0] - before;
        assert!(moved * 2 >= rate / 30, "{moved} at {rate}");
        // Long after that, when all pause and one comes back early, likewise.
        sim.resting = true;
        sim.run(secs(5));
        sim.resting = false;
        let before = sim.per_torrent()[&0];
        sim.agenda.insert((sim.now, 0));
        sim.run(secs(8));
        sim.agenda.extend((3..90).map(|flow| (secs(8), flow)));
        sim.run(secs(9));
        let moved = sim.per_torrent()[&0] - before;
        assert_within(moved, rate * 3 + rate / 30, 50, "who stayed");
    }
}

#[test]
fn per_torrent_limits_alone_hold_and_share_their_wake_ups() {
    let mut sim = Sim::new(300, 0);
    for torrent in 0..300 {
        sim.torrent_limit(torrent, 40_000 + torrent * 1_000);
        sim.add(torrent, 2, 16 * KIB);
    }
    sim.run(secs(10));
    for (torrent, moved) in sim.per_torrent() {
        assert_within(moved, (40_000 + torrent * 1_000) * 10, 5, &format!("torrent {torrent}"));
    }
    assert!(sim.polls <= 1001, "{} wake-ups", sim.polls);
}

#[test]
fn changed_limits_hold_from_the_moment_they_are_set() {
    let mut sim = Sim::new(300, 1_000);
    sim.global(1_000);
    sim.add(1, 3, 16 * KIB);
    sim.add(2, 3, 16 * KIB);
    let mut before = 0;
    for (step, rate) in (1..).zip([1_000, 50_000_000, 20_000, 1_000_000]) {
        sim.global(rate);
        sim.run(secs(step * 10));
        // What the burst allowance had left from the limit before may come on top.
        assert_within(sim.total() - before, rate * 10, 60, &format!("step {step}"));
        before = sim.total();
    }
}

#[test]
fn a_pause_earns_no_more_than_the_rest_credit() {
    for rate in [1_000, 100_000, 1_000_000_000] {
        let mut limiter = Limiter::new();
        limiter.set_global(Time::ZERO, Direction::Up, Some(ByteRate(rate)));
        let flow = limiter.open(TorrentId(1), Direction::Up);
        let mut now = secs(100);
        let mut moved = 0;
        while now < secs(110) {
            match limiter.request(now, flow, 64 * KIB) {
                Grant::Granted(bytes) => moved += u64::from(bytes),
                Grant::Queued => {
                    now = limiter.next_timeout().unwrap();
                    if now > secs(110) {
                        break;
                    }
                    let mut grants = Vec::new();
                    limiter.poll(now, &mut grants);
                    moved += grants.iter().map(|grant| u64::from(grant.1)).sum::<u64>();
                }
            }
        }
        assert_within(moved, rate * 10, 25, "after a pause");
        assert!(moved <= rate * 10 + rate / 50 + 1, "{moved} at {rate}");
    }
}

#[test]
fn lifting_a_limit_releases_everyone_and_zero_stops_everyone() {
    let mut limiter = Limiter::new();
    let flows: Vec<_> = (0..4).map(|t| limiter.open(TorrentId(t / 2), Direction::Up)).collect();
    limiter.set_global(Time::ZERO, Direction::Up, Some(ByteRate(0)));
    limiter.set_torrent(Time::ZERO, TorrentId(0), Direction::Up, Some(ByteRate(0)));
    for &flow in &flows {
        assert_eq!(limiter.request(secs(1), flow, 10_000), Grant::Queued);
    }
    assert_eq!(limiter.next_timeout(), None);
    let mut grants = Vec::new();
    limiter.poll(secs(50), &mut grants);
    assert_eq!(grants, []);
    limiter.set_global(secs(60), Direction::Up, None);
    assert_eq!(limiter.next_timeout(), Some(secs(60)));
    limiter.poll(secs(60), &mut grants);
    assert_eq!(grants, [(flows[2], 10_000), (flows[3], 10_000)]);
    grants.clear();
    limiter.remove_torrent(secs(61), TorrentId(0));
    assert!(limiter.is_unlimited(TorrentId(0), Direction::Up));
    limiter.poll(secs(61), &mut grants);
    assert_eq!(grants, [(flows[0], 10_000), (flows[1], 10_000)]);
    assert_eq!(limiter.request(secs(61), flows[0], u32::MAX), Grant::Granted(u32::MAX));
    assert_eq!(limiter.next_timeout(), None);
}

#[test]
fn a_closed_flow_is_forgotten_and_its_id_is_nobody() {
    let mut limiter = Limiter::new();
    limiter.set_global(Time::ZERO, Direction::Down, Some(ByteRate(1_000)));
    let old = limiter.open(TorrentId(1), Direction::Down);
    assert_eq!(limiter.request(Time::ZERO, old, 100), Grant::Queued);
    limiter.close(old);
    assert_eq!(limiter.next_timeout(), None);
    let new = limiter.open(TorrentId(1), Direction::Down);
    assert_eq!(limiter.request(secs(1), old, 100), Grant::Queued);
    limiter.give_back(old, 100);
    limiter.close(old);
    assert_eq!(limiter.next_timeout(), None);
    assert_eq!(limiter.request(secs(1), new, 100), Grant::Granted(100));
    limiter.check_invariants();
}

#[test]
fn unused_credit_comes_back_but_never_more_than_was_granted() {
    let mut limiter = Limiter::new();
    limiter.set_global(Time::ZERO, Direction::Down, Some(ByteRate(1_000_000)));
    let flow = limiter.open(TorrentId(1), Direction::Down);
    let at = millis(20);
    assert_eq!(limiter.request(at, flow, 16_384), Grant::Granted(16_384));
    limiter.give_back(flow, 16_000);
    limiter.give_back(flow, 16_000);
    assert_eq!(limiter.request(at, flow, 50_000), Grant::Granted(3_616 + 16_384));
}

#[test]
fn a_second_request_replaces_the_first_and_zero_withdraws_it() {
    let mut limiter = Limiter::new();
    limiter.set_global(Time::ZERO, Direction::Down, Some(ByteRate(1_000_000)));
    let flow = limiter.open(TorrentId(1), Direction::Down);
    assert_eq!(limiter.request(Time::ZERO, flow, 10_000), Grant::Queued);
    assert_eq!(limiter.request(Time::ZERO, flow, 50), Grant::Queued);
    let mut grants = Vec::new();
    limiter.poll(millis(10), &mut grants);
    assert_eq!(grants, [(flow, 50)]);
    let _ = limiter.request(millis(10), flow, 9_950);
    assert_eq!(limiter.request(millis(10), flow, 10_000), Grant::Queued);
    assert_eq!(limiter.request(millis(10), flow, 0), Grant::Granted(0));
    assert_eq!(limiter.next_timeout(), None);
    limiter.check_invariants();
}
