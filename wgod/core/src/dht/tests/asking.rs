//! What a node asks, alone and among others.
use super::net::{Net, places};
use super::*;
use item_store::tests::signed;

#[test]
fn an_announced_peer_is_found_over_ipv4_over_ipv6_and_on_one_machine() {
    for addrs in places(40) {
        let family = Family::of(&addrs[0]);
        let mut net = Net::new(&addrs, &Config::default());
        net.run(Duration::from_secs(60));
        let known = net.nodes.values().map(|dht| dht.stats().nodes_v4 + dht.stats().nodes_v6);
        let known: Vec<_> = known.collect();
        assert!(known.iter().all(|known| *known >= 8), "{known:?}");
        let (seeder, leecher) = (addrs[5], addrs[30]);
        let announce = Some(Announce { port: Some(999), seed: true });
        let announced = PeersWanted { announce, ..PeersWanted::default() };
        net.call(seeder, |dht, now| dht.get_peers(now, hash(7), family, announced).unwrap());
        net.run(Duration::from_secs(10));
        assert!(net.outcomes(seeder)[0].stored >= 7, "{:?}", net.outcomes(seeder));
        let scrape = PeersWanted { scrape: true, ..PeersWanted::default() };
        net.call(leecher, |dht, now| dht.get_peers(now, hash(7), family, scrape).unwrap());
        net.run(Duration::from_secs(10));
        assert_eq!(net.peers_found(leecher), [SocketAddr::new(seeder.ip(), 999)], "each peer once");
        let outcome = net.outcomes(leecher)[0];
        let (seeds, peers) = outcome.scrape.unwrap();
        assert!((seeds - 1.0).abs() < 0.1 && peers == 0.0, "{outcome:?}");
        assert!(outcome.took < Duration::from_secs(2) && outcome.asked >= 8, "{outcome:?}");
    }
}

#[test]
fn a_lookup_that_begins_before_anything_is_known_goes_by_the_routers() {
    let [addrs, ..] = places(30);
    let mut net = Net::new(&addrs, &Config::default());
    net.run(Duration::from_secs(60));
    let announce = Some(Announce { port: None, seed: false });
    net.call(addrs[3], |dht, now| {
        dht.get_peers(now, hash(7), Family::V4, PeersWanted { announce, ..PeersWanted::default() })
    });
    net.run(Duration::from_secs(10));
    let newcomer = at("99.1.1.1:1");
    net.add(newcomer, &Config { read_only: true, ..Config::default() }, Some(addrs[0]));
    net.call(newcomer, |dht, now| dht.get_peers(now, hash(7), Family::V4, PeersWanted::default()));
    net.run(Duration::from_secs(5));
    assert_eq!(net.peers_found(newcomer), [addrs[3]], "the port is the one of the socket");
    net.run(Duration::from_secs(60));
    let knows = |dht: &Dht| dht.overlays[0].table.iter().any(|node| node.contact.addr == newcomer);
    assert!(!net.nodes.values().any(knows), "nobody has a read-only node in its table");
}

#[test]
fn an_announce_that_gets_lost_is_repeated() {
    let [addrs, ..] = places(30);
    let mut net = Net::new(&addrs, &Config::default());
    net.run(Duration::from_secs(60));
    net.first_announces_get_lost = true;
    let announce = Some(Announce { port: None, seed: false });
    let wanted = PeersWanted { announce, ..PeersWanted::default() };
    net.call(addrs[3], |dht, now| dht.get_peers(now, hash(7), Family::V4, wanted));
    net.run(Duration::from_secs(30));
    assert_eq!(net.outcomes(addrs[3])[0].stored, 8);
}

#[test]
fn items_are_put_and_got_through_others() {
    let [addrs, ..] = places(30);
    let mut net = Net::new(&addrs, &Config::default());
    net.run(Duration::from_secs(60));
    let plain = OwnedItem { value: b"5:hello"[..].into(), signed: None };
    for item in [plain, signed(3, 1, b"s", b"1:a"), signed(3, 2, b"s", b"1:b")] {
        net.events.clear();
        let target = item.as_item().target();
        net.call(addrs[1], |dht, now| dht.put_item(now, item.clone(), Family::V4).unwrap());
        net.run(Duration::from_secs(10));
        assert!(net.outcomes(addrs[1])[0].stored >= 7);
        net.call(addrs[20], |dht, now| dht.get_item(now, target, b"s", Family::V4).unwrap());
        net.run(Duration::from_secs(10));
        let found: Vec<_> = net
            .events
            .iter()
            .filter(|(by, event)| *by == addrs[20] && matches!(event, Event::Item { .. }))
            .collect();
        assert!(matches!(&found[..], [(_, Event::Item { item: found, .. })] if *found == item), "{found:?}");
    }
    let unsigned = OwnedItem { signed: None, value: b"5:hell"[..].into() };
    assert_eq!(net.call(addrs[1], |dht, now| dht.put_item(now, unsigned, Family::V4)), None);
}

#[test]
fn our_id_is_made_from_the_address_that_others_see_and_again_when_it_changes() {
    let [addrs, ..] = places(30);
    let mut net = Net::new(&addrs, &Config::default());
    net.run(Duration::from_secs(60));
    for (addr, dht) in &net.nodes {
        assert!(is_secure(dht.id(Family::V4).unwrap(), addr.ip()), "{addr}");
    }
    let told = net.events.iter().filter(|(addr, event)| *event == Event::ExternalAddress(addr.ip())).count();
    assert_eq!(told, 30);
    // The node moves: all it says comes from elsewhere, and everybody tells it so.
    let dht = net.nodes.remove(&addrs[4]).unwrap();
    let moved = at("77.7.7.7:7");
    net.nodes.insert(moved, dht);
    net.run(Duration::from_secs(40 * 60));
    assert!(is_secure(net.nodes[&moved].id(Family::V4).unwrap(), moved.ip()));
    assert!(net.nodes[&moved].stats().nodes_v4 >= 8);
}

#[test]
fn an_id_is_not_changed_often_whoever_says_so() {
    let mut dht = lone(Config::default());
    dht.set_external_address(secs(1), "20.1.1.1".parse().unwrap());
    let first = dht.id(Family::V4);
    for n in 2..60 {
        dht.set_external_address(secs(n), IpAddr::from([20, 1, 1, n as u8]));
    }
    assert_eq!(dht.id(Family::V4), first);
    dht.set_external_address(secs(700), "20.1.1.9".parse().unwrap());
    assert_ne!(dht.id(Family::V4), first);
    dht.set_external_address(secs(2000), "192.168.1.1".parse().unwrap());
    assert!(is_secure(dht.id(Family::V4).unwrap(), "20.1.1.9".parse().unwrap()));
}

#[test]
fn a_node_that_comes_back_asks_those_it_knew() {
    let [addrs, ..] = places(30);
    let mut net = Net::new(&addrs, &Config::default());
    net.run(Duration::from_secs(60));
    let old = addrs[7];
    let snapshot = Snapshot::decode(&net.nodes[&old].snapshot().encode());
    assert!(snapshot.nodes.len() >= 8);
    let id = net.nodes[&old].id(Family::V4);
    net.add(old, &Config::default(), None);
    net.call(old, |dht, now| dht.restore(now, &snapshot));
    assert_eq!(net.nodes[&old].stats().nodes_v4, 0, "nobody counts unasked");
    net.run(Duration::from_secs(20));
    assert_eq!(net.nodes[&old].id(Family::V4), id);
    assert!(net.nodes[&old].stats().nodes_v4 >= 8);
}

#[test]
fn a_node_that_finds_nobody_tries_again_less_and_less_often_and_heals() {
    let [addrs, ..] = places(12);
    let (alone, router) = (at("99.1.1.1:1"), addrs[0]);
    let mut net = Net::new(&[], &Config::default());
    net.add(alone, &Config::default(), Some(router));
    net.run(Duration::from_secs(3600));
    let asked = net.nodes[&alone].stats().counted.packets_out;
    assert!((8..25).contains(&asked), "{asked} packets to nobody in an hour");
    for addr in &addrs {
        net.add(*addr, &Config::default(), Some(router));
    }
    net.run(Duration::from_secs(700));
    assert!(net.nodes[&alone].stats().nodes_v4 > 0);
}

#[test]
fn both_families_help_each_other_to_begin() {
    let [four, six, _] = places(20);
    let mut net = Net::new(&four, &Config::default());
    // One of them is reached in both families, the others tell of it.
    net.run(Duration::from_secs(60));
    let dual = net.nodes.get_mut(&four[0]).unwrap();
    let contact = wgo_proto::krpc::Contact { id: NodeId([3; 20]), addr: six[3] };
    dual.overlay_mut(Family::V6).unwrap().table.on_answer(net.now, contact);
    let newcomer = at("99.1.1.1:1");
    net.add(newcomer, &Config::default(), Some(four[0]));
    net.run(Duration::from_secs(10));
    let overlay = net.nodes[&newcomer].overlay(Family::V6).unwrap();
    assert!(overlay.bootstrap.strangers(NodeId([0; 20])).iter().any(|(addr, _)| *addr == six[3]));
}

#[test]
fn lookups_are_bounded_and_wait_for_the_rate_of_queries() {
    let slow = Allowance {
        packets: Rate { per_sec: 10, burst: 10 },
        bytes: Rate { per_sec: 10_000, burst: 10_000 },
    };
    let [addrs, ..] = places(30);
    let mut net = Net::new(&addrs, &Config::default());
    net.run(Duration::from_secs(60));
    let limits = Limits { queries: slow, ..Limits::default() };
    let busy = at("99.1.1.1:1");
    net.add(busy, &Config { limits, ..Config::default() }, Some(addrs[0]));
    net.run(Duration::from_secs(60));
    let before = net.nodes[&busy].stats().counted.packets_out;
    let begun = (0..100).filter(|n| {
        net.call(busy, |dht, now| dht.get_peers(now, hash(*n), Family::V4, PeersWanted::default())).is_some()
    });
    assert_eq!(begun.count(), MAX_LOOKUPS);
    net.run(Duration::from_secs(10));
    let sent = net.nodes[&busy].stats().counted.packets_out - before;
    assert!((80..200).contains(&sent), "{sent} packets in 10 s");
    net.run(Duration::from_secs(300));
    assert_eq!(net.outcomes(busy).len(), MAX_LOOKUPS);
    assert_eq!(net.nodes[&busy].free_lookups(), MAX_LOOKUPS);
}

#[test]
fn a_lookup_that_is_cancelled_ends_without_a_word_and_one_without_nodes_at_once() {
    let mut dht = lone(Config { families: vec![Family::V4], ..Config::default() });
    assert_eq!(dht.get_peers(secs(1), hash(1), Family::V6, PeersWanted::default()), None);
    let id = dht.get_peers(secs(1), hash(1), Family::V4, PeersWanted::default()).unwrap();
    let outcome = Outcome::default();
    assert_eq!(dht.poll_event(), Some(Event::Done { lookup: id, outcome }));
    dht.add_routers(secs(1), &[at("20.1.1.1:1")]);
    let id = dht.get_peers(secs(1), hash(1), Family::V4, PeersWanted::default()).unwrap();
    dht.cancel(id);
    dht.handle_timeout(secs(60));
    assert_eq!((dht.poll_event(), dht.free_lookups()), (None, MAX_LOOKUPS));
}
