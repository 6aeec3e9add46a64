//! What a node answers.
use super::*;
use item_store::tests::signed;
use wgo_proto::krpc::{Item, MAX_SENT, Want};

const PEER: &str = "20.1.2.3:6881";

#[test]
fn a_ping_is_answered_with_id_and_the_address_that_it_came_from() {
    let mut dht = lone(Config::default());
    let own = dht.id(Family::V4).unwrap();
    answer(&mut dht, secs(1), at(PEER), Method::Ping, |packet| {
        assert_eq!((packet.ip, packet.version), (Some(at(PEER)), Some(VERSION)));
        assert!(matches!(&packet.body, Body::Response(response) if response.id == own));
    });
    let six = at("[2001:470::1]:5");
    answer(&mut dht, secs(1), six, Method::Ping, |packet| assert_eq!(packet.ip, Some(six)));
}

#[test]
fn a_peer_that_announces_with_its_token_is_found_by_others() {
    let mut dht = lone(Config::default());
    let token = token(&mut dht, secs(1), at(PEER), 7);
    for (port, addr) in [(Some(7000), "20.1.2.3:7000"), (None, PEER)] {
        let announce = Method::AnnouncePeer { info_hash: hash(7), port, seed: false, token: &token };
        response(&mut dht, secs(2), at(PEER), announce, |_| ());
        let found = response(&mut dht, secs(3), at("30.1.1.1:1"), get_peers(7), |response| {
            response.values.unwrap().iter().collect::<Vec<_>>()
        });
        assert_eq!(found, [at(addr)]);
    }
    let seedless = Method::GetPeers { info_hash: hash(7), want: None, noseed: true, scrape: true };
    response(&mut dht, secs(3), at("30.1.1.1:1"), seedless, |response| {
        assert!(response.values.is_some() && response.scrape.is_some());
    });
    response(&mut dht, secs(3), at("30.1.1.1:1"), get_peers(8), |response| {
        assert!(response.values.is_none())
    });
    response(&mut dht, secs(3), at("[2001:470::1]:1"), get_peers(7), |response| {
        assert!(response.values.is_none(), "IPv4 peers are none of IPv6's (BEP 32)");
    });
}

#[test]
fn announces_and_puts_with_another_token_are_refused_and_stored_nowhere() {
    let mut dht = lone(Config::default());
    let good = token(&mut dht, secs(1), at(PEER), 7);
    let of_other = token(&mut dht, secs(1), at("20.1.2.4:1"), 7);
    for (token, n) in [(&of_other[..], 7), (b"", 7), (&good[..7], 7), (&good, 8)] {
        let announce = Method::AnnouncePeer { info_hash: hash(n), port: Some(1), seed: false, token };
        assert_eq!(refusal(&mut dht, secs(2), at(PEER), announce), 203);
        let put = Method::Put { token, item: Item { value: b"i1e", signed: None }, cas: None };
        assert_eq!(refusal(&mut dht, secs(2), at(PEER), put), 203);
    }
    let late = Method::AnnouncePeer { info_hash: hash(7), port: Some(1), seed: false, token: &good };
    dht.handle_timeout(secs(660));
    assert_eq!(refusal(&mut dht, secs(660), at(PEER), late), 203);
    assert_eq!((dht.stats().peers, dht.stats().items, dht.stats().counted.bad_tokens), (0, 0, 9));
}

#[test]
fn methods_that_we_do_not_know_are_answered_like_find_node_if_they_have_a_target() {
    let mut dht = lone(Config::default());
    let with = Method::Unknown { name: b"vote", target: Some(NodeId([1; 20])), want: None };
    response(&mut dht, secs(1), at(PEER), with, |response| assert!(response.nodes.is_some()));
    let without = Method::Unknown { name: b"vote", target: None, want: None };
    assert_eq!(refusal(&mut dht, secs(1), at(PEER), without), 204);
}

#[test]
fn a_read_only_node_is_silent() {
    let mut dht = lone(Config { read_only: true, ..Config::default() });
    for method in [Method::Ping, get_peers(1), Method::FindNode { target: NodeId([1; 20]), want: None }] {
        assert_eq!(told(&mut dht, secs(1), at(PEER), &query(method)), []);
    }
}

#[test]
fn a_node_that_asks_is_pinged_before_it_is_known_and_a_read_only_one_is_not() {
    let mut dht = lone(Config::default());
    let pings = |sent: &[Transmit]| {
        let is_ping = |sent: &&Transmit| {
            matches!(
                Packet::decode(&sent.datagram).unwrap().body,
                Body::Query(Query { method: Method::Ping, .. })
            )
        };
        sent.iter().filter(is_ping).count()
    };
    let mut quiet = query(Method::Ping);
    quiet.body = Body::Query(Query { id: NodeId([9; 20]), read_only: true, method: Method::Ping });
    let sent = told(&mut dht, secs(1), at("20.9.9.9:9"), &quiet);
    assert_eq!(pings(&sent), 0);
    let sent = told(&mut dht, secs(1), at(PEER), &query(Method::Ping));
    assert_eq!((pings(&sent), dht.stats().nodes_v4), (1, 0));
    let again = told(&mut dht, secs(1), at(PEER), &query(Method::Ping));
    assert_eq!(pings(&again), 0, "it is being asked");
    let ping = sent.iter().find(|sent| pings(std::slice::from_ref(*sent)) == 1).unwrap();
    let transaction = Packet::decode(&ping.datagram).unwrap().transaction.to_vec();
    let body = Body::Response(Response::new(NodeId([0x55; 20])));
    told(&mut dht, secs(2), at(PEER), &Packet { transaction: &transaction, body, ..query(Method::Ping) });
    assert_eq!(dht.stats().nodes_v4, 1);
    let find = Method::FindNode { target: NodeId([1; 20]), want: Some(Want { v4: true, v6: true }) };
    response(&mut dht, secs(3), at("[2001:470::1]:1"), find, |response| {
        assert_eq!(response.nodes.unwrap().iter().map(|c| c.addr).collect::<Vec<_>>(), [at(PEER)]);
        assert_eq!(response.nodes6.unwrap().iter().count(), 0);
    });
}

/// A node that knows as much as an answer can hold.
fn full() -> Dht {
    let mut dht = lone(Config::default());
    let mut rng = fastrand::Rng::with_seed(5);
    for n in 0..200u8 {
        for ip in [IpAddr::from([40, n, 1, 1]), IpAddr::from([0x2001, 0x470, u16::from(n), 0, 0, 0, 0, 1])] {
            let addr = SocketAddr::new(ip, 6881);
            let contact = wgo_proto::krpc::Contact { id: secure_id(ip, &mut rng), addr };
            dht.overlay_mut(Family::of(&addr)).unwrap().table.on_answer(secs(1), contact);
        }
    }
    for n in 0..400u16 {
        for ip in
            [IpAddr::from([50, n as u8, (n >> 8) as u8, 1]), IpAddr::from([0x2001, 0x470, n, 0, 0, 0, 0, 1])]
        {
            let peer = (SocketAddr::new(ip, 6881), n % 3 == 0);
            dht.peers.announce(secs(1), hash(7), peer, &mut rng);
        }
        dht.peers.announce(secs(1), WireHash(random_id(&mut rng).0), (at(PEER), false), &mut rng);
    }
    dht
}

#[test]
fn no_answer_is_longer_than_a_datagram_may_be_and_answers_use_the_room() {
    let mut dht = full();
    let want = Some(Want { v4: true, v6: true });
    for from in [at(PEER), at("[2001:470:ffff::1]:6881")] {
        for (noseed, scrape) in [(false, false), (true, false), (false, true), (true, true)] {
            let method = Method::GetPeers { info_hash: hash(7), want, noseed, scrape };
            let mut packet = query(method);
            packet.transaction = &[7; 32];
            let sent = told(&mut dht, secs(1), from, &packet);
            let answer = sent.iter().find(|sent| !sent.datagram.starts_with(b"d1:a")).unwrap();
            assert!((900..=MAX_SENT).contains(&answer.datagram.len()), "{}", answer.datagram.len());
            let Packet { body: Body::Response(response), .. } = Packet::decode(&answer.datagram).unwrap()
            else {
                panic!()
            };
            assert_eq!(response.scrape.is_some(), scrape);
            assert_eq!(response.nodes.is_some() && response.nodes6.is_some(), !scrape);
            let least = if scrape { 2 } else { 5 };
            assert!(response.values.unwrap().iter().count() >= least);
            assert!(response.values.unwrap().iter().all(|peer| peer.is_ipv4() == from.is_ipv4()));
        }
        let samples = Method::SampleInfohashes { target: NodeId([1; 20]), want };
        response(&mut dht, secs(1), from, samples, |response| {
            let samples = response.samples.unwrap();
            assert_eq!((samples.iter().count(), samples.total, samples.interval), (20, 401, 3600));
        });
        dht.handle_timeout(secs(1));
    }
}

#[test]
fn items_are_kept_and_given_back() {
    let mut dht = lone(Config::default());
    let long = [&b"996:"[..], &[b'x'; 996]].concat();
    for item in [
        signed(1, 5, b"salt", b"1:a"),
        signed(1, 5, b"", &long),
        OwnedItem { value: b"i7e"[..].into(), signed: None },
    ] {
        let target = item.as_item().target();
        let get = |seq| Method::Get { target, seq, want: None };
        let token = response(&mut dht, secs(1), at(PEER), get(None), |response| {
            assert!(response.item.is_none() && response.nodes.is_some());
            response.token.unwrap().to_vec()
        });
        let put = Method::Put { token: &token, item: item.as_item(), cas: None };
        response(&mut dht, secs(2), at(PEER), put, |_| ());
        let salt = item.signed.as_ref().map(|signed| signed.salt.to_vec()).unwrap_or_default();
        response(&mut dht, secs(3), at(PEER), get(None), |response| {
            assert_eq!(response.item.map(|found| OwnedItem::of(&found.salted(&salt))), Some(item.clone()));
        });
        response(&mut dht, secs(3), at(PEER), get(Some(5)), |response| {
            assert_eq!((response.item.is_none(), response.seq), (item.signed.is_some(), item.seq()));
        });
    }
    let forged = signed(1, 6, b"", b"1:b");
    let signature = [1; 64];
    let mut item = forged.as_item();
    item.signed = item.signed.map(|signed| wgo_proto::krpc::Signed { signature: &signature, ..signed });
    let get = Method::Get { target: item.target(), seq: None, want: None };
    let token = response(&mut dht, secs(1), at(PEER), get, |response| response.token.unwrap().to_vec());
    assert_eq!(refusal(&mut dht, secs(4), at(PEER), Method::Put { token: &token, item, cas: None }), 206);
}
