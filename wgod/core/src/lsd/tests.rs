//! Who is announced when, and to whom that is an answer.
use proptest::prelude::*;

use super::*;

fn hash(n: u32) -> WireHash {
    let mut bytes = [0; 20];
    bytes[..4].copy_from_slice(&n.to_be_bytes());
    WireHash(bytes)
}

fn at(secs: u64) -> Time {
    Time::from_start(Duration::from_secs(secs))
}

/// Everything that is announced until `end`: when, and what.
fn run(announcer: &mut Announcer, end: Time) -> Vec<(Time, Vec<WireHash>)> {
    let mut all = Vec::new();
    while let Some(now) = announcer.poll_timeout().filter(|now| *now <= end) {
        let taken = announcer.take(now);
        announcer.check_invariants();
        assert!(!taken.is_empty() && taken.len() <= MAX_HASHES, "it said that something was due");
        all.push((now, taken));
    }
    all
}

#[test]
fn a_seed_is_announced_at_once_and_every_five_minutes() {
    let mut announcer = Announcer::new(1);
    assert_eq!(announcer.poll_timeout(), None);
    announcer.join(at(10), hash(1), false);
    announcer.join(at(20), hash(1), false);
    let all = run(&mut announcer, at(10 + 3600));
    assert_eq!(all[0], (at(10), vec![hash(1)]));
    assert!((11..=14).contains(&all.len()), "{all:?}");
    for pair in all.windows(2) {
        let pause = pair[1].0.since(pair[0].0);
        assert!((INTERVAL * 9 / 10..=INTERVAL * 11 / 10).contains(&pause), "{pause:?}");
    }
    announcer.leave(hash(1));
    announcer.leave(hash(2));
    assert_eq!(announcer.poll_timeout(), None);
}

#[test]
fn a_download_is_announced_twice_in_the_beginning_and_before_whatever_else_is_due() {
    let mut announcer = Announcer::new(1);
    (0..5000).for_each(|n| announcer.join(at(0), hash(n), false));
    announcer.join(at(0), hash(9999), true);
    let all = run(&mut announcer, at(299));
    assert_eq!(all[0].1[0], hash(9999));
    let often = all.iter().filter(|(_, hashes)| hashes.contains(&hash(9999))).count();
    assert_eq!(often, 2);
}

#[test]
fn thousands_of_torrents_take_a_datagram_a_second_and_all_have_their_turn() {
    let mut announcer = Announcer::new(1);
    (0..5000).for_each(|n| announcer.join(at(0), hash(n), false));
    let all = run(&mut announcer, at(899));
    assert!(all.windows(2).all(|pair| pair[1].0.since(pair[0].0) >= PACE));
    for n in 0..5000 {
        let often = all.iter().filter(|(_, hashes)| hashes.contains(&hash(n))).count();
        assert!((2..=4).contains(&often), "{n}: {often}");
    }
}

#[test]
fn few_torrents_have_a_datagram_each_as_older_clients_want_it() {
    let mut announcer = Announcer::new(1);
    (0..TURNS as u32).for_each(|n| announcer.join(at(0), hash(n), false));
    assert!(run(&mut announcer, at(600)).iter().all(|(_, hashes)| hashes.len() == 1));
}

/// Where a neighbour listens.
fn neighbour(n: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], n))
}

#[test]
fn a_neighbour_is_answered_soon_and_later_if_it_is_dialled() {
    let mut announcer = Announcer::new(1);
    assert!(!announcer.heard(at(0), hash(1), neighbour(1), false), "not one of ours");
    announcer.join(at(0), hash(1), false);
    assert_eq!(run(&mut announcer, at(0)).len(), 1);
    assert!(announcer.heard(at(100), hash(1), neighbour(1), true));
    assert!(announcer.poll_timeout().is_some_and(|due| due >= at(102)), "we dial it meanwhile");
    announcer.heard(at(100), hash(1), neighbour(1), false);
    assert!(announcer.poll_timeout().is_some_and(|due| due < at(101)), "nobody dials it");
}

#[test]
fn who_heard_it_is_not_told_again_and_who_came_after_that_is() {
    let mut announcer = Announcer::new(1);
    announcer.join(at(0), hash(1), false);
    run(&mut announcer, at(0));
    announcer.heard(at(3), hash(1), neighbour(1), false);
    assert_eq!(run(&mut announcer, at(10)).len(), 1, "it came just now");
    announcer.heard(at(12), hash(1), neighbour(1), false);
    assert_eq!(run(&mut announcer, at(20)), []);
    announcer.heard(at(20), hash(1), neighbour(1), false);
    announcer.heard(at(20), hash(1), neighbour(2), false);
    assert_eq!(run(&mut announcer, at(30)).len(), 1, "one answer is for all");
    announcer.heard(at(35), hash(1), neighbour(2), false);
    assert_eq!(run(&mut announcer, at(40)).len(), 1, "that was a while ago");
}

#[test]
fn neighbours_that_are_made_up_take_no_more_than_the_pace_and_some_memory() {
    let mut announcer = Announcer::new(1);
    announcer.join(at(0), hash(1), false);
    let mut sent = 0;
    for n in 0..10_000_u16 {
        let now = Time::from_start(Duration::from_millis(u64::from(n) * 10));
        announcer.heard(now, hash(1), neighbour(n), false);
        announcer.check_invariants();
        sent += announcer.take(now).len();
    }
    assert!((90..=101).contains(&sent), "{sent} in 100 seconds");
}

#[test]
fn those_who_answer_each_other_do_not_go_on_so() {
    for dialled in [false, true] {
        let mut sides = [Announcer::new(1), Announcer::new(2), Announcer::new(3)];
        sides.iter_mut().for_each(|side| side.join(at(0), hash(1), dialled));
        let mut sent = 0;
        while let Some((now, speaker)) = (0..3)
            .filter_map(|n| Some((sides[n].poll_timeout()?, n)))
            .min()
            .filter(|(now, _)| *now < at(3600))
        {
            sent += sides[speaker].take(now).len();
            let others = (0..3).filter(|n| *n != speaker);
            others.for_each(|n| _ = sides[n].heard(now, hash(1), neighbour(speaker as u16), dialled));
        }
        // Each in the others' round: hardly more than without answers.
        assert!((33..=50).contains(&sent), "{sent}");
    }
}

#[test]
fn a_new_link_hears_everything_soon_and_one_that_flaps_makes_no_storm() {
    let mut announcer = Announcer::new(1);
    announcer.join(at(0), hash(1), false);
    run(&mut announcer, at(0));
    announcer.announce_all(at(100));
    assert_eq!(run(&mut announcer, at(100)), [(at(100), vec![hash(1)])]);
    let mut sent = 0;
    for n in 100..160 {
        announcer.announce_all(at(n));
        sent += run(&mut announcer, at(n)).len();
    }
    assert_eq!(sent, 59 / REPEAT.as_secs() as usize);
}

proptest! {
    #[test]
    fn whatever_happens_there_is_a_second_between_datagrams(
        seed: u64,
        steps in prop::collection::vec((0u32..40, 0u8..6, 0u64..3000), 1..300),
    ) {
        let mut announcer = Announcer::new(seed);
        let (mut now, mut last) = (Time::ZERO, None);
        for (n, what, millis) in steps {
            match what {
                0 => announcer.join(now, hash(n), n % 2 == 0),
                1 => announcer.leave(hash(n)),
                2 | 3 => _ = announcer.heard(now, hash(n), neighbour(millis as u16 % 300), what == 2),
                4 => announcer.announce_all(now),
                _ => now += Duration::from_millis(millis),
            }
            announcer.check_invariants();
            let taken = announcer.take(now);
            announcer.check_invariants();
            if !taken.is_empty() {
                prop_assert!(last.is_none_or(|last| now.since(last) >= PACE));
                last = Some(now);
            }
        }
    }
}
