//! HTTP trackers: URLs there and back, the answers of the BEPs, and those of strangers.
use super::*;
use crate::tracker::MAX_PEERS;
use crate::units::PeerId;
use proptest::prelude::*;

fn announce() -> Announce {
    Announce {
        hash: WireHash(*b"\x124Vx\x9a\xbc\xde\xf1#Eg\x89\xab\xcd\xef\x124Vx\x9a"),
        peer_id: PeerId(*b"-WG0100-abcdefghijkl"),
        port: 6868,
        uploaded: 1,
        downloaded: 2,
        left: 3,
        event: Some(Event::Started),
        key: 0xbeef,
        num_want: Some(50),
    }
}

fn query(announce: &Announce) -> AnnounceQuery<'_> {
    AnnounceQuery { announce, tracker_id: None, ip: None, ipv4: None, ipv6: None }
}

const OURS: &str = "info_hash=%124Vx%9A%BC%DE%F1%23Eg%89%AB%CD%EF%124Vx%9A&peer_id=-WG0100-abcdefghijkl\
    &port=6868&uploaded=1&downloaded=2&left=3&compact=1&no_peer_id=1&key=0000BEEF&numwant=50&event=started";

#[test]
fn an_announce_adds_our_parameters_to_the_query_of_the_tracker() {
    for (base, expected) in [
        ("http://t/announce", "http://t/announce?"),
        ("http://t/announce?", "http://t/announce?"),
        ("http://t/a.php?passkey=x%20y", "http://t/a.php?passkey=x%20y&"),
        ("http://t/announce?a=b&", "http://t/announce?a=b&"),
        ("http://t/announce#top", "http://t/announce?"),
        ("https://[::1]:443", "https://[::1]:443?"),
    ] {
        assert_eq!(announce_url(base, &query(&announce())), format!("{expected}{OURS}"));
    }
}

#[test]
fn what_is_optional_appears_only_when_given() {
    let bare = Announce { event: None, num_want: None, ..announce() };
    let url = announce_url("http://t/announce", &query(&bare));
    assert!(url.ends_with("&key=0000BEEF"), "{url}");
    let full = AnnounceQuery {
        tracker_id: Some(b"a b&"),
        ip: Some(IpAddr::from([1, 2, 3, 4])),
        ipv4: Some(Ipv4Addr::LOCALHOST),
        ipv6: Some(Ipv6Addr::LOCALHOST),
        ..query(&bare)
    };
    let url = announce_url("http://t/announce", &full);
    let tail = "&key=0000BEEF&trackerid=a%20b%26&ip=1.2.3.4&ipv4=127.0.0.1&ipv6=%3A%3A1";
    assert!(url.ends_with(tail), "{url}");
    for (event, name) in
        [(Event::Completed, "completed"), (Event::Stopped, "stopped"), (Event::Paused, "paused")]
    {
        let url = announce_url("http://t/", &query(&Announce { event: Some(event), ..announce() }));
        assert!(url.ends_with(&format!("&event={name}")), "{url}");
    }
}

#[test]
fn a_scrape_replaces_announce_in_the_path_only() {
    let hash = [WireHash([b'x'; 20]), WireHash([0; 20])];
    let ours = format!("info_hash={}&info_hash={}", "x".repeat(20), "%00".repeat(20));
    for (base, expected) in [
        ("http://t/announce", Some("http://t/scrape?")),
        ("http://t/x/announce.php", Some("http://t/x/scrape.php?")),
        ("http://t/announce/passkey", Some("http://t/scrape/passkey?")),
        ("http://t/announce?a=/announce", Some("http://t/scrape?a=/announce&")),
        ("http://announce/announce", Some("http://announce/scrape?")),
        ("http://announce/a", None),
        ("http://t/x-announce", None),
        ("http://t/a?x=/announce", None),
        ("http://t", None),
        ("announce", None),
    ] {
        assert_eq!(scrape_url(base, &hash), expected.map(|url| format!("{url}{ours}")), "{base}");
    }
}

#[test]
fn an_answer_with_every_key_is_read() {
    let body = b"d8:completei11e10:downloadedi99e11:downloadersi5e11:external ip4:\x01\x02\x03\x04\
        10:incompletei7e8:intervali1800e12:min intervali60e5:peers6:\x05\x06\x07\x08\x1a\xe1\
        6:peers618:aaaaaaaaaaaaaaaa\x1a\xe110:tracker id2:id15:warning message4:care";
    let reply = decode_announce(&[&body[..], b"e\r\n"].concat()).unwrap();
    let expected = AnnounceReply {
        interval: Some(Duration::from_secs(1800)),
        min_interval: Some(Duration::from_secs(60)),
        counts: SwarmCounts {
            seeders: Some(11),
            leechers: Some(7),
            completed: Some(99),
            downloaders: Some(5),
        },
        peers: vec!["5.6.7.8:6881".parse().unwrap(), (Ipv6Addr::from([b'a'; 16]), 6881).into()],
        tracker_id: Some(b"id".to_vec()),
        warning: Some("care".into()),
        external_ip: Some(Ipv4Addr::new(1, 2, 3, 4).into()),
    };
    assert_eq!(reply, expected);
}

#[test]
fn peers_in_dictionaries_are_read_and_the_unusable_left_out() {
    let mut body = Vec::new();
    Encoder::new(&mut body).dict(|dict| {
        dict.entry("peers").list(|list| {
            for (ip, port) in [
                ("1.2.3.4", 80),
                ("2001:db8::1", 81),
                ("peer.example.com", 82),
                ("5.6.7.8", 0),
                ("5.6.7.8", 65_536),
                ("5.6.7.8", -1),
                ("0.0.0.0", 83),
            ] {
                list.item().dict(|peer| {
                    peer.entry("ip").bytes(ip);
                    peer.entry("peer id").bytes([b'x'; 20]);
                    peer.entry("port").int(port);
                });
            }
            list.item().int(7);
            list.item().dict(|_| {});
        });
    });
    let peers = decode_announce(&body).unwrap().peers;
    assert_eq!(peers, ["1.2.3.4:80".parse().unwrap(), "[2001:db8::1]:81".parse().unwrap()]);
}

#[test]
fn numbers_that_cannot_be_are_absent_or_bounded() {
    let day = Duration::from_secs(24 * 3600);
    for (body, expected) in [
        (&b"d8:intervali0ee"[..], None),
        (b"d8:intervali-1800ee", None),
        (b"d8:interval4:1800e", None),
        (b"d8:intervali86400ee", Some(day)),
        (b"d8:intervali9223372036854775807ee", Some(MAX_INTERVAL)),
        (b"de", None),
    ] {
        assert_eq!(decode_announce(body).unwrap().interval, expected, "{}", body.escape_ascii());
    }
    let counts =
        decode_announce(b"d8:completei-1e10:downloadedi4294967296e10:incomplete1:7e").unwrap().counts;
    assert_eq!(counts, SwarmCounts::default());
    let reply = decode_announce(b"d11:external ip3:abc5:peers7:\x01\x02\x03\x04\0\x50x6:peers6i3ee").unwrap();
    assert_eq!((reply.peers.len(), reply.external_ip), (1, None));
}

#[test]
fn long_lists_and_texts_are_cut() {
    let mut body = Vec::new();
    Encoder::new(&mut body).dict(|dict| {
        dict.entry("peers").bytes([1; 6 * (MAX_PEERS + 5)]);
        dict.entry("peers6").bytes([1; 18 * 5]);
        dict.entry("tracker id").bytes([1; MAX_TRACKER_ID + 1]);
        dict.entry("warning message").bytes([b'x'; MAX_TEXT + 1]);
    });
    let reply = decode_announce(&body).unwrap();
    assert_eq!((reply.peers.len(), reply.tracker_id), (MAX_PEERS, None));
    assert_eq!(reply.warning.unwrap().len(), MAX_TEXT);
}

#[test]
fn a_refusal_has_its_reason_and_when_to_try_again() {
    let after = |minutes: u64| Some(Retry::After(Duration::from_secs(60 * minutes)));
    for (tail, retry) in [
        (&b"e"[..], None),
        (b"8:retry in5:nevere", Some(Retry::Never)),
        (b"8:retry in1:5e", after(5)),
        (b"8:retry ini5ee", after(5)),
        (b"8:retry ini0ee", None),
        (b"8:retry ini-5ee", None),
        (b"8:retry in4:soone", None),
        (b"8:retry ini9223372036854775807ee", Some(Retry::After(MAX_INTERVAL))),
    ] {
        let body = [b"d14:failure reason10:Overloaded", tail].concat();
        let refused = TrackerError::Refused { reason: "Overloaded".into(), retry };
        assert_eq!(decode_announce(&body), Err(refused.clone()), "{}", tail.escape_ascii());
        assert_eq!(decode_scrape(&body, &[]), Err(refused));
    }
}

#[test]
fn what_is_no_answer_is_refused_with_its_beginning() {
    let error = decode_announce(b"<html><head><title>Not found</title>").unwrap_err();
    assert!(error.to_string().contains("<html><head>"), "{error}");
    assert_eq!(decode_announce(b"i1e"), Err(TrackerError::NotDict { start: "i1e".into() }));
    assert!(matches!(decode_announce(b""), Err(TrackerError::Nonsense { .. })));
    assert!(matches!(decode_announce(&[b'l'; 30_000]), Err(TrackerError::Nonsense { .. })));
}

/// The example of BEP 48.
#[test]
fn a_scrape_answers_for_each_hash_in_the_order_asked() {
    let body = b"d5:filesd20:xxxxxxxxxxxxxxxxxxxxd8:completei11e10:downloadedi13772e10:incompletei19ee\
        20:yyyyyyyyyyyyyyyyyyyyd8:completei21e10:downloadedi206e10:incompletei20eeee";
    let counts = |seeders, completed, leechers| {
        Some(SwarmCounts {
            seeders: Some(seeders),
            leechers: Some(leechers),
            completed: Some(completed),
            downloaders: None,
        })
    };
    let asked = [b'y', b'z', b'x'].map(|byte| WireHash([byte; 20]));
    let found = decode_scrape(body, &asked).unwrap();
    assert_eq!(found, [counts(21, 206, 20), None, counts(11, 13772, 19)]);
    let twice = b"d5:filesd20:xxxxxxxxxxxxxxxxxxxxd8:completei1ee20:xxxxxxxxxxxxxxxxxxxxd8:completei2eeee";
    assert_eq!(decode_scrape(twice, &asked).unwrap()[2].and_then(|counts| counts.seeders), Some(1));
    assert_eq!(decode_scrape(b"de", &asked), Ok(vec![None; 3]));
    assert_eq!(decode_scrape(b"d5:filesd20:xxxxxxxxxxxxxxxxxxxxi1eee", &asked), Ok(vec![None; 3]));
}

fn replies() -> impl Strategy<Value = AnnounceReply> {
    let seconds = || prop::option::of((1u64..600_000).prop_map(Duration::from_secs));
    let v4 = (1u32.., 1u16..).prop_map(|(ip, port)| SocketAddr::from((Ipv4Addr::from(ip), port)));
    let v6 = (1u128.., 1u16..).prop_map(|(ip, port)| SocketAddr::from((Ipv6Addr::from(ip), port)));
    let peers = (prop::collection::vec(v4, 0..30), prop::collection::vec(v6, 0..30));
    let peers = peers.prop_map(|(four, six)| four.into_iter().chain(six).collect());
    let texts =
        (prop::option::of(prop::collection::vec(any::<u8>(), 0..40)), prop::option::of("[!-~]{1,40}"));
    let rest = (seconds(), seconds(), any::<[Option<u32>; 4]>(), any::<Option<IpAddr>>());
    (peers, texts, rest).prop_map(
        |(peers, (tracker_id, warning), (interval, min_interval, n, external_ip))| {
            let counts = SwarmCounts { seeders: n[0], leechers: n[1], completed: n[2], downloaders: n[3] };
            AnnounceReply { interval, min_interval, counts, peers, tracker_id, warning, external_ip }
        },
    )
}

proptest! {
    #[test]
    fn answers_round_trip(reply in replies()) {
        let mut body = Vec::new();
        encode_announce(&reply, &mut body);
        prop_assert_eq!(decode_announce(&body), Ok(reply));
    }

    #[test]
    fn every_byte_of_an_announce_reaches_the_tracker(
        hash: [u8; 20], peer_id: [u8; 20], numbers: (u64, u64, u64), id: Vec<u8>, key: u32,
    ) {
        let announce = Announce {
            hash: WireHash(hash),
            peer_id: PeerId(peer_id),
            uploaded: numbers.0,
            downloaded: numbers.1,
            left: numbers.2,
            key,
            ..announce()
        };
        let url = announce_url("http://t/announce?pass=%41", &AnnounceQuery { tracker_id: Some(&id), ..query(&announce) });
        prop_assert!(url.is_ascii());
        let pairs: Vec<(String, Vec<u8>)> = query_pairs(&url).collect();
        let value = |key: &str| pairs.iter().find(|(k, _)| k == key).map(|(_, v)| v.clone()).unwrap();
        prop_assert_eq!(value("pass"), b"A");
        prop_assert_eq!(value("info_hash"), hash);
        prop_assert_eq!(value("peer_id"), peer_id);
        prop_assert_eq!(value("trackerid"), id);
        prop_assert_eq!(value("uploaded"), numbers.0.to_string().into_bytes());
        prop_assert_eq!(value("downloaded"), numbers.1.to_string().into_bytes());
        prop_assert_eq!(value("left"), numbers.2.to_string().into_bytes());
    }

    #[test]
    fn no_url_makes_the_builders_panic(base in "[a-z:/?#&=é%]{0,30}") {
        let _ = announce_url(&base, &query(&announce()));
        let _ = scrape_url(&base, &[WireHash([1; 20])]);
        let _ = query_pairs(&base).count();
    }

    #[test]
    fn no_bytes_make_a_decoder_panic(bytes: Vec<u8>, at: prop::sample::Index, flip: u8) {
        let mut near = b"d8:intervali1800e5:peersld2:ip7:1.2.3.44:porti80eee6:peers618:aaaaaaaaaaaaaaaaaa5:filesd20:".to_vec();
        near.extend([b'x'; 20]);
        near.extend(b"d8:completei1eeee");
        let at = at.index(near.len());
        near[at] = flip;
        for body in [&bytes, &near] {
            let _ = decode_announce(body);
            let _ = decode_scrape(body, &[WireHash([b'x'; 20])]);
        }
    }
}
