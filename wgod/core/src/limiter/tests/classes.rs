//! Classes of torrents: each limit holds whatever else is limited, and nobody starves between two of them.
use super::*;

const A: ClassId = ClassId(1);
const B: ClassId = ClassId(2);

impl Sim {
    fn class(&mut self, class: ClassId, rate: u64) {
        self.limiter.set_class(self.now, class, Direction::Down, Some(ByteRate(rate)));
    }

    fn member(&mut self, torrent: u64, classes: &[ClassId]) {
        self.limiter.set_classes(self.now, TorrentId(torrent), classes);
    }

    /// What each torrent moves in the ten seconds from five seconds on.
    fn ten_seconds(&mut self) -> BTreeMap<u64, u64> {
        let begin = self.now + Duration::from_secs(5);
        self.run(begin);
        let before = self.per_torrent();
        self.run(begin + Duration::from_secs(10));
        let moved = |(torrent, moved)| (torrent, moved - before.get(&torrent).copied().unwrap_or(0));
        self.per_torrent().into_iter().map(moved).collect()
    }
}

#[test]
fn a_class_carries_its_limit_and_shares_it_evenly() {
    for rate in [1_000, 33_333, 1_000_000, 100_000_000, 1_000_000_000] {
        for (torrents, flows) in [(1, 1), (3, 10), (30, 3)] {
            let mut sim = Sim::new(500, 2_000);
            sim.class(A, rate);
            let want = if rate < 100_000_000 { 16 * KIB } else { 256 * KIB };
            for torrent in 0..torrents {
                sim.member(torrent, &[A]);
                sim.add(torrent, flows * (1 + torrent as usize % 3), want);
            }
            let moved = sim.ten_seconds();
            let what = format!("{torrents} x {flows} at {rate}");
            let total: u64 = moved.values().sum();
            let slack = rate * 10 * 2 / 1000 + rate / 20 + 1024;
            assert!(total.abs_diff(rate * 10) <= slack, "{what}: {total}");
            for (torrent, moved) in moved {
                let off = moved.abs_diff(rate * 10 / torrents);
                let may = rate * 10 / torrents / 10 + 2 * u64::from(16 * KIB).min(rate);
                assert!(off <= may, "{what}: {torrent} got {moved}");
            }
        }
    }
}

#[test]
fn torrents_outside_of_a_class_get_what_it_leaves() {
    let mut sim = Sim::new(300, 2_000);
    sim.global(10_000_000);
    sim.class(A, 2_000_000);
    for torrent in 0..8 {
        sim.member(torrent, &[A]);
        sim.add(torrent, 10, 16 * KIB);
    }
    sim.add(8, 1, 16 * KIB);
    sim.add(9, 5, 16 * KIB);
    let moved = sim.ten_seconds();
    let class: u64 = (0..8).map(|torrent| moved[&torrent]).sum();
    assert_within(class, 20_000_000, 5, "the class");
    (0..8).for_each(|torrent| assert_within(moved[&torrent], 2_500_000, 50, "one of the class"));
    assert_within(moved[&8], 40_000_000, 30, "outside, one peer");
    assert_within(moved[&9], 40_000_000, 30, "outside, five peers");
}

#[test]
fn a_class_with_room_to_spare_costs_its_torrents_nothing() {
    for rate in [20_000, 1_000_000, 100_000_000] {
        for outside in [1, 10] {
            let mut sim = Sim::new(300, 2_000);
            sim.global(rate);
            sim.class(A, rate * 5);
            sim.class(B, rate * 3);
            sim.member(0, &[A, B]);
            sim.add(0, 3, 16 * KIB);
            (1..=outside).for_each(|torrent| sim.add(torrent, 3, 16 * KIB));
            sim.run(secs(300.min(100_000_000 / rate)));
            let share = sim.total() / (1 + outside);
            for (torrent, moved) in sim.per_torrent() {
                let off = moved.abs_diff(share);
                assert!(off <= share / 10 + 16_384, "{torrent} of {outside} at {rate}: {moved} for {share}");
            }
        }
    }
}

#[test]
fn own_class_and_global_limits_hold_together() {
    let mut sim = Sim::new(300, 1_000);
    sim.global(3_000_000);
    sim.class(A, 1_000_000);
    for torrent in 0..3 {
        sim.member(torrent, &[A]);
        sim.add(torrent, 4, 16 * KIB);
    }
    sim.torrent_limit(0, 100_000);
    sim.torrent_limit(3, 500_000);
    sim.add(3, 4, 16 * KIB);
    sim.add(4, 4, 16 * KIB);
    let moved = sim.ten_seconds();
    for (torrent, rate) in [(0, 100_000), (1, 450_000), (2, 450_000), (3, 500_000), (4, 1_500_000)] {
        assert_within(moved[&torrent], rate * 10, 40, &format!("torrent {torrent}"));
    }
}

/// The classes differ in when they have credit: one of few bytes a second has it five times a second.
#[test]
fn a_torrent_in_two_classes_is_starved_by_the_crowds_of_neither() {
    for (a, b) in [(1_000, 1_000_000), (1_000_000, 1_000), (2_000, 50_000_000), (300_000, 200_000), (50, 900)]
    {
        let mut sim = Sim::new(300, 3_000);
        sim.class(A, a);
        sim.class(B, b);
        for torrent in 0..5 {
            sim.member(torrent, &[A]);
            sim.member(100 + torrent, &[B]);
            sim.add(torrent, 20, 16 * KIB);
            sim.add(100 + torrent, 20, 16 * KIB);
        }
        sim.member(50, &[B, A]);
        sim.add(50, 1, 16 * KIB);
        sim.run(secs((200_000 / a.min(b)).clamp(20, 4_000)));
        let secs = sim.now.since_start().as_secs();
        let both = sim.per_torrent()[&50];
        let fair = secs * a.min(b) / 6;
        assert!(both * 10 >= fair * 7, "{a} and {b}: {both} where {fair} were fair");
        for (class, rate) in [(0..5, a), (100..105, b)] {
            let moved = sim.per_torrent();
            let total: u64 = class.map(|torrent| moved[&torrent]).sum::<u64>() + both;
            assert!(total.abs_diff(rate * secs) <= rate * secs / 50 + 16_384, "{rate}: {total} in {secs} s");
        }
    }
}

#[test]
fn many_classes_wake_no_more_often_than_one() {
    let mut sim = Sim::new(300, 0);
    for class in 0..100 {
        sim.class(ClassId(class), 50_000 + u64::from(class) * 1_000);
        for torrent in 0..3 {
            let torrent = u64::from(class) * 3 + torrent;
            sim.member(torrent, &[ClassId(class)]);
            sim.add(torrent, 2, 16 * KIB);
        }
    }
    sim.run(secs(10));
    let moved = sim.per_torrent();
    for class in 0..100 {
        let total: u64 = (0..3).map(|torrent| moved[&(class * 3 + torrent)]).sum();
        assert_within(total, (50_000 + class * 1_000) * 10, 10, &format!("class {class}"));
    }
    assert!(sim.polls <= 1001, "{} wake-ups", sim.polls);
}

#[test]
fn limits_of_classes_and_who_is_in_them_may_change_at_any_time() {
    let mut sim = Sim::new(300, 1_000);
    sim.class(A, 100_000);
    sim.member(1, &[A]);
    sim.add(1, 3, 16 * KIB);
    sim.add(2, 3, 16 * KIB);
    // Nothing holds the second one; a request of its own is always granted.
    sim.torrent_limit(2, 1_000_000);
    let mut before = BTreeMap::new();
    let mut expect = |sim: &mut Sim, rates: [u64; 2]| {
        sim.run(sim.now + Duration::from_secs(10));
        for (torrent, rate) in (1..).zip(rates) {
            let moved = sim.per_torrent()[&torrent];
            let added = moved - before.insert(torrent, moved).unwrap_or(0);
            assert_within(added, rate * 10, 60, &format!("torrent {torrent} at {rate}"));
        }
    };
    expect(&mut sim, [100_000, 1_000_000]);
    sim.member(2, &[A]);
    expect(&mut sim, [50_000, 50_000]);
    sim.class(A, 1_000_000);
    expect(&mut sim, [500_000, 500_000]);
    sim.class(B, 200_000);
    sim.member(1, &[A, B]);
    expect(&mut sim, [200_000, 800_000]);
    sim.member(1, &[B]);
    expect(&mut sim, [200_000, 1_000_000]);
    sim.limiter.set_class(sim.now, A, Direction::Down, None);
    sim.global(400_000);
    expect(&mut sim, [200_000, 200_000]);
}

#[test]
fn a_class_of_no_bytes_stops_its_torrents_until_that_is_lifted() {
    let mut limiter = Limiter::new();
    limiter.set_class(Time::ZERO, A, Direction::Up, Some(ByteRate(0)));
    limiter.set_class(Time::ZERO, A, Direction::Down, Some(ByteRate(7)));
    limiter.set_classes(Time::ZERO, TorrentId(1), &[A]);
    assert_eq!(limiter.limit(TorrentId(1), Direction::Up), Some(ByteRate(0)), "also without connections");
    assert_eq!(limiter.limit(TorrentId(1), Direction::Down), Some(ByteRate(7)));
    assert!(limiter.is_unlimited(TorrentId(2), Direction::Up));
    let flow = limiter.open(TorrentId(1), Direction::Up);
    assert_eq!(limiter.request(secs(1), flow, 100), Grant::Queued);
    assert_eq!(limiter.next_timeout(), None);
    limiter.remove_torrent(secs(2), TorrentId(1));
    let mut grants = Vec::new();
    limiter.poll(secs(2), &mut grants);
    assert_eq!(grants, [(flow, 100)], "whoever is about to end waits for nothing");
    limiter.set_classes(secs(3), TorrentId(1), &[A, B]);
    assert_eq!(limiter.request(secs(3), flow, 100), Grant::Queued);
    limiter.set_class(secs(4), A, Direction::Up, None);
    grants.clear();
    limiter.poll(secs(4), &mut grants);
    assert_eq!(grants, [(flow, 100)]);
    limiter.close(flow);
    limiter.check_invariants();
}

/// What a class has let through, and the global limit not yet, is not lost when its flow ends.
#[test]
fn credit_that_was_taken_along_goes_back_when_it_is_not_used() {
    let mut limiter = Limiter::new();
    limiter.set_global(Time::ZERO, Direction::Up, Some(ByteRate(0)));
    limiter.set_class(Time::ZERO, A, Direction::Up, Some(ByteRate(1_000_000)));
    limiter.set_classes(Time::ZERO, TorrentId(1), &[A]);
    limiter.set_classes(Time::ZERO, TorrentId(2), &[A]);
    let flows = [1, 2].map(|torrent| limiter.open(TorrentId(torrent), Direction::Up));
    for flow in flows {
        assert_eq!(limiter.request(millis(5), flow, 4_000), Grant::Queued);
    }
    let mut grants = Vec::new();
    limiter.poll(millis(5), &mut grants);
    assert_eq!(grants, [], "5,000 bytes of the class wait for the global limit");
    limiter.check_invariants();
    limiter.close(flows[0]);
    limiter.set_global(millis(5), Direction::Up, None);
    limiter.poll(millis(5), &mut grants);
    let moved = |grants: &[(FlowId, u32)]| grants.iter().map(|grant| grant.1).sum::<u32>();
    let first = moved(&grants);
    assert!(first > 0 && grants.iter().all(|grant| grant.0 == flows[1]), "{grants:?}");
    grants.clear();
    // All that the class has earned: what the first one had taken along, too.
    let Grant::Granted(rest) = limiter.request(millis(5), flows[1], 10_000) else { panic!("it is there") };
    assert_eq!(first + rest, 5_000);
    limiter.check_invariants();
}
