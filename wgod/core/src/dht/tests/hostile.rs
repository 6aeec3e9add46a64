//! What strangers try.
use super::*;
use proptest::prelude::*;
use wgo_proto::krpc::{Contact, ErrorCode, ErrorReply, Nodes, Values};

/// Answers every query of the node that goes to `from` with `make`.
fn answer_all(
    dht: &mut Dht,
    now: Time,
    sent: &[Transmit],
    make: impl for<'a> Fn(&'a Transmit) -> Option<(SocketAddr, Vec<u8>, Response<'static>)>,
) -> Vec<Transmit> {
    let mut more = Vec::new();
    for transmit in sent {
        if let Some((from, transaction, response)) = make(transmit) {
            let packet =
                Packet { transaction: &transaction, version: None, ip: None, body: Body::Response(response) };
            more.extend(told(dht, now, from, &packet));
        }
    }
    more
}

fn transaction(transmit: &Transmit) -> Vec<u8> {
    Packet::decode(&transmit.datagram).unwrap().transaction.to_vec()
}

/// A node that has just asked its router something.
fn asking() -> (Dht, Vec<Transmit>) {
    let mut dht = lone(Config::default());
    dht.add_routers(secs(1), &[at("20.1.1.1:1")]);
    dht.get_peers(secs(1), hash(7), Family::V4, PeersWanted::default()).unwrap();
    let sent: Vec<_> = std::iter::from_fn(|| dht.poll_transmit()).collect();
    assert_eq!(sent.len(), 1);
    (dht, sent)
}

#[test]
fn answers_from_elsewhere_or_to_nothing_are_counted_and_ignored() {
    let (mut dht, sent) = asking();
    let values = Values::packed(b"\x09\x09\x09\x09\x00\x09", Family::V4);
    let forged = Response { values: Some(values), ..Response::new(NodeId([1; 20])) };
    for (from, transaction) in [
        (at("20.1.1.1:2"), transaction(&sent[0])),
        (at("20.1.1.2:1"), transaction(&sent[0])),
        (at("20.1.1.1:1"), b"aaaa".to_vec()),
        (at("20.1.1.1:1"), b"aa".to_vec()),
    ] {
        answer_all(&mut dht, secs(1), &sent, |_| Some((from, transaction.clone(), forged.clone())));
    }
    assert_eq!((dht.poll_event(), dht.stats().nodes_v4), (None, 0));
    assert_eq!(dht.stats().counted.unexpected, 4);
    answer_all(&mut dht, secs(1), &sent, |sent| Some((sent.to, transaction(sent), forged.clone())));
    assert!(matches!(dht.poll_event(), Some(Event::Peers { .. })));
    assert_eq!(dht.stats().nodes_v4, 1);
}

#[test]
fn who_answers_under_our_id_is_not_believed_and_others_are_who_they_say_themselves() {
    let (mut dht, sent) = asking();
    let own = dht.id(Family::V4).unwrap();
    answer_all(&mut dht, secs(1), &sent, |sent| Some((sent.to, transaction(sent), Response::new(own))));
    assert_eq!(dht.stats().nodes_v4, 0);
    let (mut dht, sent) = asking();
    let mut named = Vec::new();
    Contact { id: NodeId([7; 20]), addr: at("30.1.1.1:1") }.put(&mut named);
    let named: &'static [u8] = named.leak();
    let naming = Response { nodes: Some(Nodes::new(named, Family::V4)), ..Response::new(NodeId([1; 20])) };
    let more =
        answer_all(&mut dht, secs(1), &sent, |sent| Some((sent.to, transaction(sent), naming.clone())));
    let to_named: Vec<_> = more.into_iter().filter(|sent| sent.to == at("30.1.1.1:1")).collect();
    assert_eq!(to_named.len(), 1);
    let real = NodeId([8; 20]);
    answer_all(&mut dht, secs(1), &to_named, |sent| Some((sent.to, transaction(sent), Response::new(real))));
    let known: Vec<_> = dht.overlays[0].table.iter().map(|node| node.contact.id).collect();
    assert!(known.contains(&real) && !known.contains(&NodeId([7; 20])), "nobody is who others say he is");
}

#[test]
fn who_refuses_is_of_no_use_and_nobody_waits_for_more() {
    let refuse = |dht: &mut Dht, sent: &Transmit| {
        let transaction = transaction(sent);
        let error = ErrorReply { code: ErrorCode::SERVER, message: b"no" };
        let body = Body::Error(error);
        told(dht, secs(1), sent.to, &Packet { transaction: &transaction, version: None, ip: None, body })
    };
    let (mut dht, sent) = asking();
    assert_eq!(refuse(&mut dht, &sent[0]), []);
    let Some(Event::Done { outcome, .. }) = dht.poll_event() else { panic!("the lookup is over") };
    assert_eq!((outcome.asked, outcome.answered, dht.stats().nodes_v4), (1, 0, 0));
    assert_eq!(refuse(&mut dht, &sent[0]), []);
    assert_eq!((dht.stats().counted.replies, dht.stats().counted.unexpected), (1, 1), "it counts once");

    // It gave a token, and doesn't take the announce.
    let mut dht = lone(Config::default());
    dht.add_routers(secs(1), &[at("20.1.1.1:1")]);
    let announce = Some(Announce { port: None, seed: false });
    dht.get_peers(secs(1), hash(7), Family::V4, PeersWanted { announce, ..PeersWanted::default() }).unwrap();
    let sent: Vec<_> = std::iter::from_fn(|| dht.poll_transmit()).collect();
    let token = Response { token: Some(b"t"), ..Response::new(NodeId([1; 20])) };
    let announced =
        answer_all(&mut dht, secs(1), &sent, |sent| Some((sent.to, transaction(sent), token.clone())));
    let is_announce = |sent: &&Transmit| sent.datagram.windows(13).any(|bytes| bytes == b"announce_peer");
    let announced = announced.iter().find(is_announce).expect("the only node is announced to");
    refuse(&mut dht, announced);
    let outcomes: Vec<_> = std::iter::from_fn(|| dht.poll_event())
        .filter_map(|event| if let Event::Done { outcome, .. } = event { Some(outcome) } else { None })
        .collect();
    assert_eq!(
        outcomes.iter().map(|outcome| (outcome.answered, outcome.stored)).collect::<Vec<_>>(),
        [(1, 0)]
    );
}

#[test]
fn places_where_no_node_is_are_not_asked() {
    let (mut dht, sent) = asking();
    let mut bytes = Vec::new();
    for (n, addr) in
        ["127.0.0.1:22", "192.168.1.1:53", "224.0.0.1:1", "0.0.0.0:1", "30.1.1.1:0", "255.255.255.255:9"]
            .into_iter()
            .enumerate()
    {
        Contact { id: NodeId([n as u8; 20]), addr: at(addr) }.put(&mut bytes);
    }
    let bytes: &'static [u8] = bytes.leak();
    let values = Values::packed(b"\x7f\0\0\x01\0\x16\xc0\xa8\x01\x01\0\x35", Family::V4);
    let naming = Response {
        nodes: Some(Nodes::new(bytes, Family::V4)),
        values: Some(values),
        ..Response::new(NodeId([1; 20]))
    };
    let more =
        answer_all(&mut dht, secs(1), &sent, |sent| Some((sent.to, transaction(sent), naming.clone())));
    assert_eq!(more, []);
    assert!(matches!(dht.poll_event(), Some(Event::Done { outcome: Outcome { peers: 0, .. }, .. })));
    for addr in ["127.0.0.1:0", "0.0.0.0:1", "224.0.0.1:9"] {
        dht.add_node(secs(2), at(addr));
        assert_eq!(told(&mut dht, secs(2), at(addr), &query(Method::Ping)), []);
    }
}

#[test]
fn a_flood_of_one_source_and_of_all_is_answered_within_the_limits() {
    let mut dht = lone(Config::default());
    let burst = Limits::default().per_source.packets.burst as usize;
    let answers = |sent: Vec<Transmit>| sent.iter().filter(|s| !s.datagram.starts_with(b"d1:a")).count();
    let of_one: usize =
        (0..10_000).map(|_| answers(told(&mut dht, secs(1), at("20.1.1.1:1"), &query(Method::Ping)))).sum();
    assert!(of_one <= burst, "{of_one}");
    assert_eq!(
        answers(told(&mut dht, secs(1), at("20.1.1.2:1"), &query(Method::Ping))),
        1,
        "others are served"
    );
    let mut bytes = 0;
    for n in 0..100_000u32 {
        let from = SocketAddr::from(((0x1500_0000 + n * 13).to_be_bytes(), 1));
        let mut packet = Vec::new();
        query(get_peers(n as u8)).encode(&mut packet);
        dht.handle_datagram(secs(2), from, &packet);
        bytes += std::iter::from_fn(|| dht.poll_transmit()).map(|sent| sent.datagram.len()).sum::<usize>();
    }
    dht.check_invariants();
    let allowed = Limits::default().answers.bytes.burst as usize + VERIFYING.bytes.burst as usize;
    assert!(bytes <= allowed, "{bytes} bytes sent");
    assert!(dht.stats().counted.limited > 90_000);
}

#[test]
fn a_hundred_thousand_nodes_that_are_named_or_ask_leave_nothing_behind() {
    let (mut dht, sent) = asking();
    let naming = |n: u32| {
        let mut bytes = Vec::new();
        for i in 0..20u32 {
            let addr = SocketAddr::from(((0x1600_0000 + (n * 20 + i) * 257).to_be_bytes(), 1));
            let mut id = hash(7).0;
            id[19] = i as u8;
            id[18] = n as u8;
            Contact { id: NodeId(id), addr }.put(&mut bytes);
        }
        let bytes: &'static [u8] = bytes.leak();
        Response { nodes: Some(Nodes::new(bytes, Family::V4)), ..Response::new(NodeId([1; 20])) }
    };
    // Each that is asked names 20 others.
    let mut now = secs(1);
    let mut waiting: VecDeque<_> = sent.into();
    let mut named = 0;
    while named < 5_000 {
        now += Duration::from_millis(10);
        let Some(transmit) = waiting.pop_front() else {
            let again = dht.get_peers(now, hash(7), Family::V4, PeersWanted::default());
            assert!(again.is_some());
            waiting.extend(std::iter::from_fn(|| dht.poll_transmit()));
            if waiting.is_empty() {
                break;
            }
            continue;
        };
        named += 1;
        let expect = match Packet::decode(&transmit.datagram).unwrap().body {
            Body::Query(_) => naming(named),
            _ => continue,
        };
        let more =
            answer_all(&mut dht, now, &[transmit], |sent| Some((sent.to, transaction(sent), expect.clone())));
        waiting.extend(more);
        while dht.poll_event().is_some() {}
    }
    for n in 0..100_000u32 {
        now += Duration::from_millis(1);
        let from = SocketAddr::from(((0x1800_0000 + n * 331).to_be_bytes(), 1));
        let mut packet = Vec::new();
        let body = Body::Query(Query { id: NodeId([n as u8; 20]), read_only: false, method: Method::Ping });
        Packet { body, ..query(Method::Ping) }.encode(&mut packet);
        dht.handle_datagram(now, from, &packet);
        while dht.poll_transmit().is_some() {}
        if n % 1000 == 0 {
            dht.handle_timeout(now);
            dht.check_invariants();
        }
    }
    let stats = dht.stats();
    assert!(
        stats.nodes_v4 > 0 && stats.nodes_v4 + stats.spares <= 200,
        "who answers, and no more: {stats:?}"
    );
    assert!(stats.pending <= pending::MAX_PENDING && stats.lookups <= MAX_LOOKUPS + 2, "{stats:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn whatever_comes_the_node_stays_in_order(
        ops in prop::collection::vec((0u8..8, any::<[u8; 4]>(), any::<u64>()), 1..120),
        noise in prop::collection::vec(prop::sample::select(&b"deil:0123456789aqrtyvk\xff\0"[..]), 0..60),
        seed: u64,
    ) {
        let mut dht = Dht::new(secs(0), Config { verify: None, ..Config::default() }, seed);
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut now = secs(1);
        let mut sent: Vec<Transmit> = Vec::new();
        for (op, [a, b, c, _], word) in ops {
            now += Duration::from_millis(u64::from(c) * 40);
            let from = SocketAddr::from(([20 + a % 4, b, 1, 1], 1));
            match op {
                0 => dht.handle_datagram(now, from, &noise),
                1 => {
                    _ = dht.get_peers(now, hash(a % 3), Family::V4, PeersWanted {
                        announce: (b % 2 == 0).then_some(Announce { port: None, seed: false }),
                        noseed: false,
                        scrape: c % 2 == 0,
                    });
                }
                2 => dht.add_node(now, from),
                3 => dht.add_routers(now, &[from]),
                4 => dht.handle_timeout(now),
                5 => dht.set_external_address(now, from.ip()),
                // Answers and refusals of all sorts to what was asked.
                _ if !sent.is_empty() => {
                    let transmit = sent.swap_remove(word as usize % sent.len());
                    let mut nodes = Vec::new();
                    for n in 0..u8::min(a, 20) {
                        let addr = SocketAddr::from(([30 + n % 3, b ^ n, c, 1], 1));
                        Contact { id: secure_id(addr.ip(), &mut rng), addr }.put(&mut nodes);
                    }
                    let response = Response {
                        nodes: Some(Nodes::new(&nodes, Family::V4)),
                        token: (b % 3 != 0).then_some(b"token"),
                        values: (c % 3 == 0).then(|| Values::packed(&nodes, Family::V4)),
                        ..Response::new(secure_id(transmit.to.ip(), &mut rng))
                    };
                    let transaction = transaction(&transmit);
                    let packet = Packet {
                        transaction: &transaction,
                        version: None,
                        ip: Some(SocketAddr::from(([5, 5, 5, a % 2], 1))),
                        body: Body::Response(response),
                    };
                    let mut bytes = Vec::new();
                    packet.encode(&mut bytes);
                    dht.handle_datagram(now, transmit.to, &bytes);
                }
                _ => {}
            }
            sent.extend(std::iter::from_fn(|| dht.poll_transmit()));
            while dht.poll_event().is_some() {}
            dht.check_invariants();
        }
    }
}
