//! Tests of the routing table.
use super::*;
use crate::dht::secure_id::secure_id;
use proptest::prelude::*;

fn secs(secs: u64) -> Time {
    Time::from_start(Duration::from_secs(secs))
}

fn table(enforce: bool) -> Table {
    Table::new(secs(0), NodeId([0; 20]), Family::V4, enforce)
}

/// A node with an address of its own, `bits` away from the table's own id.
fn local(n: u16, bits: u32) -> Contact {
    let id = NodeId(std::array::from_fn(|i| if i >= 18 { n.to_be_bytes()[i - 18] } else { 0 }));
    Contact { id: id.flipped(bits), addr: SocketAddr::from(([10, 0, 0, 1], 1000 + n)) }
}

fn public(ip: [u8; 4], rng: &mut fastrand::Rng) -> Contact {
    let addr = SocketAddr::from((ip, 6881));
    Contact { id: secure_id(addr.ip(), rng), addr }
}

#[test]
fn a_full_bucket_keeps_its_nodes_and_the_last_one_is_split() {
    let mut table = table(false);
    for n in 1..=20 {
        let expected = if n <= 8 { Admission::Added } else { Admission::Spare };
        assert_eq!(table.on_answer(secs(1), local(n, 0)), expected, "{n}");
        table.check_invariants();
    }
    assert_eq!((table.len(), table.spares()), (8, 8));
    assert!((21..=28).all(|n| table.on_answer(secs(1), local(n, 3)) == Admission::Added));
    assert_eq!(table.len(), 16, "there is room on our side of the space");
    table.check_invariants();
}

#[test]
fn a_node_that_fails_twice_gives_way_to_a_spare_and_is_kept_when_there_is_none() {
    let mut table = table(false);
    (1..=9).for_each(|n| _ = table.on_answer(secs(u64::from(n)), local(n, 0)));
    let (failing, spare) = (local(3, 0), local(9, 0));
    table.on_failure(secs(20), failing.addr);
    assert!(table.iter().any(|node| node.contact == failing), "one failure may be a lost packet");
    assert!(!table.closest(failing.id, 8).contains(&failing), "but nobody is told of it");
    table.on_failure(secs(21), failing.addr);
    assert!(!table.iter().any(|node| node.contact == failing));
    assert!(table.iter().any(|node| node.contact == spare));
    // When our own network is down everybody fails: the table survives that.
    (0..5).for_each(|_| {
        table
            .iter()
            .map(|n| n.contact.addr)
            .collect::<Vec<_>>()
            .into_iter()
            .for_each(|a| table.on_failure(secs(30), a))
    });
    assert_eq!((table.len(), table.closest(spare.id, 8).len()), (8, 0));
    assert_eq!(table.on_answer(secs(40), local(99, 0)), Admission::Added, "in place of a bad one");
    table.check_invariants();
}

#[test]
fn a_host_has_one_place_and_who_is_good_keeps_it() {
    let (mut table, mut rng) = (table(false), fastrand::Rng::with_seed(1));
    let first = public([8, 8, 8, 8], &mut rng);
    let port = Contact { addr: SocketAddr::new(first.addr.ip(), 1), ..public([8, 8, 8, 8], &mut rng) };
    let restarted = Contact { addr: first.addr, ..public([8, 8, 8, 8], &mut rng) };
    let thief = Contact { id: first.id, ..public([9, 9, 9, 9], &mut rng) };
    assert_eq!(table.on_answer(secs(1), first), Admission::Added);
    assert_eq!(table.on_answer(secs(2), port), Admission::Refused);
    assert_eq!(table.on_answer(secs(2), thief), Admission::Refused);
    assert_eq!(table.on_answer(secs(3), restarted), Admission::Added, "the same socket under another id");
    assert_eq!(table.len(), 1);
    assert_eq!(table.on_answer(secs(2000), port), Admission::Added, "the other has been silent for long");
    assert_eq!(table.len(), 1);
    table.check_invariants();
}

#[test]
fn who_takes_the_id_of_another_gives_it_back() {
    let (mut table, mut rng) = (table(false), fastrand::Rng::with_seed(1));
    let owner = public([8, 8, 8, 8], &mut rng);
    let thief = Contact { id: owner.id, addr: SocketAddr::from(([66, 6, 6, 6], 1)) };
    assert_eq!(table.on_answer(secs(1), thief), Admission::Added);
    assert_eq!(table.on_answer(secs(2), owner), Admission::Added);
    assert_eq!(table.on_answer(secs(3), thief), Admission::Refused);
    assert_eq!(table.iter().map(|node| node.contact).collect::<Vec<_>>(), [owner]);
    table.check_invariants();
}

#[test]
fn one_network_has_few_places() {
    let (mut table, mut rng) = (table(false), fastrand::Rng::with_seed(1));
    for last in 1..=250 {
        table.on_answer(secs(1), public([8, 8, 8, last], &mut rng));
        table.check_invariants();
    }
    assert!(table.len() + table.spares() <= MAX_OF_SUBNET, "{}", table.len());
    assert_eq!(table.on_answer(secs(1), public([8, 8, 9, 1], &mut rng)), Admission::Added);
}

#[test]
fn secure_ids_take_the_places_of_others_and_are_the_only_ones_when_enforced() {
    let (mut lax, mut strict, mut rng) = (table(false), table(true), fastrand::Rng::with_seed(1));
    let id = |n: u8| NodeId(std::array::from_fn(|i| if i == 0 { 0x80 } else { n }));
    for n in 1..=8 {
        let chosen = Contact { id: id(n), addr: SocketAddr::from(([20, n, 1, 1], 1)) };
        assert_eq!(lax.on_answer(secs(1), chosen), Admission::Added);
        assert_eq!(strict.on_answer(secs(1), chosen), Admission::Refused);
    }
    // Fill the other half, so that the first bucket is not the one that is split.
    (1..=9).for_each(|n| _ = lax.on_answer(secs(1), local(n, 5)));
    let honest = (1..=255u8).map(|n| public([30, n, 1, 1], &mut rng)).filter(|node| node.id.0[0] >= 0x80);
    for node in honest.take(20) {
        lax.on_answer(secs(2), node);
        lax.check_invariants();
    }
    assert!(lax.iter().filter(|node| node.contact.id.0[0] >= 0x80).all(|node| node.secure));
}

#[test]
fn a_node_that_asks_is_no_node_yet_but_may_be_welcome() {
    let mut table = table(false);
    assert!(table.on_query(secs(1), local(1, 0)));
    assert_eq!(table.len(), 0);
    (1..=16).for_each(|n| _ = table.on_answer(secs(1), local(n, 0)));
    (17..=30).for_each(|n| _ = table.on_answer(secs(1), local(n, 4)));
    assert!(!table.on_query(secs(2), local(40, 0)), "bucket and spares are full");
    assert!(!table.on_query(secs(2), local(1, 0)), "it is known");
    assert!(table.on_query(secs(2), local(41, 30)));
}

#[test]
fn silent_nodes_are_tried_once_in_a_while_the_longest_silent_first() {
    let mut table = table(false);
    (1..=4).for_each(|n| _ = table.on_answer(secs(u64::from(n)), local(n, 0)));
    table.on_query(secs(800), local(2, 0));
    assert_eq!(table.questionable(secs(800)), None);
    assert_eq!(table.questionable(secs(1000)), Some(local(1, 0)));
    assert_eq!(table.questionable(secs(1000)), Some(local(3, 0)), "the second has asked us something");
    assert_eq!(table.questionable(secs(1000)), Some(local(4, 0)));
    assert_eq!(table.questionable(secs(1000)), None);
}

#[test]
fn stale_buckets_are_refreshed_within_their_range() {
    let (mut table, mut rng) = (table(false), fastrand::Rng::with_seed(3));
    let own = table.own;
    for bits in [0, 1, 2] {
        (1..=8).for_each(|n| _ = table.on_answer(secs(1), local(n + 10 * bits as u16, bits)));
    }
    assert_eq!(table.stale(secs(60), &mut rng), None);
    table.refresh_all(secs(60));
    let soon: Vec<_> =
        std::iter::from_fn(|| table.stale(secs(60), &mut rng)).map(|p| p.common_prefix(own)).collect();
    assert_eq!(soon, (0..table.buckets.len() as u32 - 1).collect::<Vec<_>>());
    let mut later: Vec<_> = std::iter::from_fn(|| table.stale(secs(2000), &mut rng)).collect();
    assert_eq!(later.len(), table.buckets.len());
    later.sort_by_key(|point| point.common_prefix(table.own));
    assert!(later.last().unwrap().common_prefix(table.own) as usize + 1 >= table.buckets.len());
}

#[test]
fn a_bucket_covers_its_range_evenly_so_that_a_gang_around_one_point_gets_an_eighth_of_it() {
    let (mut table, mut rng) = (table(false), fastrand::Rng::with_seed(1));
    let gang = |n: u16| {
        let mut contact = local(n, 0);
        contact.id.0[0] = 0b1010_0000;
        contact
    };
    (1..=16).for_each(|n| _ = table.on_answer(secs(1), gang(n)));
    assert_eq!(table.len(), 8);
    for n in 0..200 {
        let honest = Contact { id: random_id(&mut rng), ..local(1000 + n, 0) };
        table.on_query(secs(2), honest);
        table.on_answer(secs(2), honest);
        table.check_invariants();
    }
    let of_gang = table.iter().filter(|node| node.contact.id.0[0] == 0b1010_0000).count();
    assert_eq!(of_gang, 1);
}

#[test]
fn few_of_the_nodes_that_are_named_chose_their_ids_where_there_are_enough_others() {
    let (mut table, mut rng) = (table(false), fastrand::Rng::with_seed(1));
    let target = NodeId([0; 20]).flipped(159);
    for n in 1..=6u8 {
        let mut id = target;
        id.0[10] = n;
        table.on_answer(secs(1), Contact { id, addr: SocketAddr::from(([66, n, 1, 1], 1)) });
    }
    assert_eq!(table.closest(target, K).len(), 6, "they are all there are");
    (1..=60).for_each(|n| _ = table.on_answer(secs(1), public([30, n, 1, 1], &mut rng)));
    let named = table.closest(target, K);
    let chosen = named.iter().filter(|contact| !is_secure(contact.id, contact.addr.ip())).count();
    assert_eq!((named.len(), chosen), (K, K / INSECURE_SHARE));
    assert!(named.is_sorted_by_key(|contact| contact.id.distance(target)));
}

#[test]
fn a_hundred_thousand_nodes_take_bounded_room() {
    let (mut table, mut rng) = (table(false), fastrand::Rng::with_seed(1));
    for n in 0..100_000u32 {
        let ip = (0x0800_0000 + n * 977).to_be_bytes();
        let mut contact = public(ip, &mut rng);
        if n % 2 == 0 {
            // As close to us as it likes.
            contact.id = NodeId([0; 20]).flipped(n % 160);
            contact.id.0[19] ^= n as u8;
        }
        table.on_query(secs(u64::from(n)), contact);
        table.on_answer(secs(u64::from(n)), contact);
    }
    table.check_invariants();
    assert!(table.len() + table.spares() <= MAX_BUCKETS * 2 * K);
    assert!(table.hosts.len() <= MAX_BUCKETS * 2 * K);
    let target = random_id(&mut rng);
    let closest = table.closest(target, K);
    assert_eq!(closest.len(), K);
    let worst = closest[K - 1].id.distance(target);
    let nearer = table.iter().filter(|n| n.failures == 0 && n.contact.id.distance(target) < worst).count();
    assert_eq!(nearer, K - 1);
}

proptest! {
    #[test]
    fn whatever_happens_the_table_stays_in_order(
        ops in prop::collection::vec((0u8..5, any::<[u8; 2]>(), 0u32..20, any::<bool>()), 1..200),
        seed: u64,
    ) {
        let (mut table, mut rng) = (table(false), fastrand::Rng::with_seed(seed));
        for (step, (op, [a, b], bits, honest)) in ops.into_iter().enumerate() {
            let now = secs(step as u64 * 60);
            let mut contact = public([20, a % 8, b % 4, a], &mut rng);
            if !honest {
                contact.id = table.own().flipped(bits);
                contact.id.0[19] ^= b;
            }
            match op {
                0 | 1 => _ = table.on_answer(now, contact),
                2 => _ = table.on_query(now, contact),
                3 => table.on_failure(now, contact.addr),
                _ if a < 20 => table.rebase(now, contact.id),
                _ => _ = (table.questionable(now), table.stale(now, &mut rng)),
            }
            table.check_invariants();
        }
    }
}
