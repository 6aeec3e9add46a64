//! UDP tracker packets: the offsets of BEP 15, there and back, truncated and hostile.
use std::time::Duration;

use super::*;
use crate::tracker::{MAX_INTERVAL, MAX_PEERS, MAX_TEXT};
use proptest::prelude::*;

fn announce() -> Announce {
    Announce {
        hash: WireHash([b'h'; 20]),
        peer_id: PeerId([b'p'; 20]),
        port: 0x1a_e1,
        uploaded: 3,
        downloaded: 1,
        left: 2,
        event: Some(Event::Started),
        key: 5,
        num_want: None,
    }
}

fn packet(request: &Request) -> Vec<u8> {
    let mut out = Vec::new();
    request.encode(&mut out);
    out
}

fn response(response: &Response) -> Vec<u8> {
    let mut out = Vec::new();
    response.encode(&mut out);
    out
}

#[test]
fn a_connect_request_is_sixteen_bytes_with_the_magic_number() {
    let bytes = packet(&Request::Connect { transaction: 0x0102_0304 });
    assert_eq!(bytes, [0, 0, 4, 0x17, 0x27, 0x10, 0x19, 0x80, 0, 0, 0, 0, 1, 2, 3, 4]);
}

#[test]
fn an_announce_has_each_field_at_the_offset_of_the_bep() {
    let ip = Some(Ipv4Addr::new(9, 8, 7, 6));
    let bytes = packet(&Request::Announce {
        connection: 7,
        transaction: 8,
        announce: announce(),
        ip,
        url_data: None,
    });
    assert_eq!(bytes.len(), 98);
    for (at, field) in [
        (0, &[0, 0, 0, 0, 0, 0, 0, 7][..]),
        (8, &[0, 0, 0, 1, 0, 0, 0, 8]),
        (16, &[b'h'; 20]),
        (36, &[b'p'; 20]),
        (56, &[0, 0, 0, 0, 0, 0, 0, 1]),
        (64, &[0, 0, 0, 0, 0, 0, 0, 2]),
        (72, &[0, 0, 0, 0, 0, 0, 0, 3]),
        (80, &[0, 0, 0, 2]),
        (84, &[9, 8, 7, 6]),
        (88, &[0, 0, 0, 5]),
        (92, &[0xff; 4]),
        (96, &[0x1a, 0xe1]),
    ] {
        assert_eq!(&bytes[at..at + field.len()], field, "offset {at}");
    }
}

#[test]
fn connect_and_scrape_have_each_field_at_the_offset_of_the_bep() {
    let bytes = [0, 0, 0, 0, 0, 0, 0, 9, 1, 2, 3, 4, 5, 6, 7, 8];
    let connect = Response::Connect { transaction: 9, connection: 0x0102_0304_0506_0708 };
    assert_eq!(response(&connect), bytes);
    assert_eq!(Response::decode(&bytes, Family::V4), Ok(connect));

    let hashes = vec![WireHash([b'a'; 20]), WireHash([b'b'; 20])];
    let bytes = packet(&Request::Scrape { connection: 7, transaction: 9, hashes });
    assert_eq!(bytes[..16], [0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 2, 0, 0, 0, 9]);
    assert_eq!((&bytes[16..36], &bytes[36..]), (&[b'a'; 20][..], &[b'b'; 20][..]));

    let bytes = [0, 0, 0, 2, 0, 0, 0, 9, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0xff];
    let scraped = Response::decode(&bytes, Family::V4).unwrap();
    assert_eq!(response(&scraped), bytes[..20]);
    let counts = SwarmCounts { seeders: Some(1), completed: Some(2), leechers: Some(3), downloaders: None };
    assert_eq!(scraped.into_scrape(9), Ok(vec![counts]));
}

#[test]
fn each_event_has_the_number_of_the_bep() {
    for (event, number) in [
        (None, 0),
        (Some(Event::Completed), 1),
        (Some(Event::Started), 2),
        (Some(Event::Stopped), 3),
        (Some(Event::Paused), 0),
    ] {
        let announce = Announce { event, ..announce() };
        let bytes =
            packet(&Request::Announce { connection: 0, transaction: 0, announce, ip: None, url_data: None });
        assert_eq!(bytes[80..84], u32::to_be_bytes(number), "{event:?}");
    }
}

/// The examples of BEP 41, and what it says about parsers.
#[test]
fn url_data_is_found_among_the_options() {
    let dir = b"\x02\x0c/dir?a=b&c=d";
    for (options, expected) in [
        (&b""[..], None),
        (b"\x02\x00", Some(&b""[..])),
        (dir, Some(b"/dir?a=b&c=d")),
        (b"\x02\x0c/dir?a=b&c=d\x01\x01\x00", Some(b"/dir?a=b&c=d")),
        (b"\x01\x02\x02/d\x02\x02ir", Some(b"/dir")),
        (b"\x07\x03abc\x02\x01/", Some(b"/")),
        (b"\x02\x01/\x00\x02\x01x", Some(b"/")),
        (b"\x02\x05/", None),
        (b"\x02", None),
    ] {
        assert_eq!(take_url_data(options).as_deref(), expected, "{}", options.escape_ascii());
    }
    let mut out = Vec::new();
    put_url_data(&mut out, b"/dir?a=b&c=d");
    assert_eq!(out, dir);
    let mut none = Vec::new();
    put_url_data(&mut none, b"");
    assert_eq!(none, b"\x02\x00");
}

#[test]
fn url_data_is_path_and_query() {
    for (url, data) in [
        ("udp://tracker.example.com:80/dir?a=b&c=d", "/dir?a=b&c=d"),
        ("udp://tracker.example.com:80", ""),
        ("udp://[::1]:80/announce#top", "/announce"),
        ("udp://host?key=1", "?key=1"),
    ] {
        assert_eq!(url_data(url), data, "{url}");
    }
}

#[test]
fn an_answer_to_another_request_or_of_another_kind_is_told_apart() {
    let connect = Response::Connect { transaction: 1, connection: 2 };
    assert_eq!(connect.clone().into_connect(1), Ok(2));
    let wrong = TrackerError::WrongTransaction { expected: 9, found: 1 };
    assert_eq!(connect.clone().into_connect(9), Err(wrong));
    let wrong = TrackerError::WrongAction { expected: ANNOUNCE, found: CONNECT };
    assert_eq!(connect.clone().into_announce(1), Err(wrong));
    let wrong = TrackerError::WrongAction { expected: SCRAPE, found: CONNECT };
    assert_eq!(connect.into_scrape(1), Err(wrong));
    let refused = TrackerError::Refused { reason: "go away".into(), retry: None };
    let error = Response::Error { transaction: 1, message: "go away".into() };
    assert_eq!(error.clone().into_connect(1), Err(refused.clone()));
    assert_eq!(error.clone().into_announce(1), Err(refused.clone()));
    assert_eq!(error.into_scrape(1), Err(refused));
}

#[test]
fn truncated_packets_are_refused_with_what_was_missing() {
    let families = [Family::V4, Family::V6];
    for (action, what, expected) in
        [(CONNECT, "connect response", 16), (ANNOUNCE, "announce response", 20), (SCRAPE, "response", 8)]
    {
        for found in 0..expected {
            let mut bytes = action.to_be_bytes().to_vec();
            bytes.resize(found, 0);
            let short = if found < 8 { ("response", 8) } else { (what, expected) };
            let error = TrackerError::Truncated { what: short.0, expected: short.1, found };
            assert_eq!(families.map(|f| Response::decode(&bytes, f)), [Err(error.clone()), Err(error)]);
        }
    }
    let whole = packet(&Request::Announce {
        connection: 7,
        transaction: 8,
        announce: announce(),
        ip: None,
        url_data: None,
    });
    let error = TrackerError::Truncated { what: "announce request", expected: 98, found: 97 };
    assert_eq!(Request::decode(&whole[..97]), Err(error));
}

#[test]
fn unknown_actions_and_foreign_packets_are_refused() {
    let error = TrackerError::WrongAction { expected: ERROR, found: 4 };
    assert_eq!(Response::decode(&[0, 0, 0, 4, 0, 0, 0, 0], Family::V4), Err(error));
    let error = TrackerError::WrongProtocol { found: 0x0101_0101_0101_0101 };
    assert_eq!(Request::decode(&[&[1; 8][..], &[0; 8]].concat()), Err(error));
}

#[test]
fn peers_are_read_by_the_family_of_the_socket_and_a_truncated_last_one_is_dropped() {
    let head = [0, 0, 0, 1, 0, 0, 0, 5, 0, 0, 7, 8, 0, 0, 0, 2, 0, 0, 0, 3];
    let bytes = [&head[..], &[1, 2, 3, 4, 0, 80, 5, 6, 7, 8, 0, 81, 9, 9, 9]].concat();
    let peers = |family| Response::decode(&bytes, family).unwrap().into_announce(5).unwrap().peers;
    assert_eq!(peers(Family::V4), ["1.2.3.4:80".parse().unwrap(), "5.6.7.8:81".parse().unwrap()]);
    assert_eq!(peers(Family::V6), []);
    let reply = Response::decode(&bytes, Family::V4).unwrap().into_announce(5).unwrap();
    assert_eq!(reply.interval, Some(Duration::from_secs(0x708)));
    assert_eq!((reply.counts.leechers, reply.counts.seeders), (Some(2), Some(3)));
}

#[test]
fn absurd_numbers_become_none_or_the_longest_interval() {
    for (number, expected) in [
        (0, None),
        (u32::MAX, None),
        (i32::MAX as u32, Some(MAX_INTERVAL)),
        (60, Some(Duration::from_secs(60))),
    ] {
        let response = Response::Announce {
            transaction: 0,
            interval: number,
            leechers: u32::MAX,
            seeders: 0,
            peers: Vec::new(),
        };
        let reply = response.into_announce(0).unwrap();
        assert_eq!(reply.interval, expected, "{number}");
        assert_eq!((reply.counts.leechers, reply.counts.seeders), (None, Some(0)));
    }
}

#[test]
fn lists_are_capped_and_unusable_peers_left_out() {
    let mut bytes = response(&Response::Announce {
        transaction: 0,
        interval: 1,
        leechers: 0,
        seeders: 0,
        peers: vec!["1.2.3.4:0".parse().unwrap(), "0.0.0.0:80".parse().unwrap()],
    });
    let peers = |bytes: &[u8]| Response::decode(bytes, Family::V4).unwrap().into_announce(0).unwrap().peers;
    assert_eq!(peers(&bytes), []);
    bytes.resize(20 + 6 * (MAX_PEERS + 50), 1);
    assert_eq!(peers(&bytes).len(), MAX_PEERS);
    let hashes = vec![WireHash([1; 20]); MAX_SCRAPE + 1];
    assert_eq!(
        packet(&Request::Scrape { connection: 0, transaction: 0, hashes }).len(),
        16 + 20 * MAX_SCRAPE
    );
}

#[test]
fn an_error_text_is_made_printable_and_short() {
    let bytes = [&[0, 0, 0, 3, 0, 0, 0, 0][..], b"\x1b[31mno\xff", &[b'x'; 5000]].concat();
    let Ok(Response::Error { message, .. }) = Response::decode(&bytes, Family::V4) else { panic!() };
    assert_eq!(message.chars().count(), MAX_TEXT);
    assert!(message.starts_with("\u{fffd}[31mno\u{fffd}xxx"), "{message}");
}

fn addrs() -> impl Strategy<Value = Vec<SocketAddr>> {
    let v4 = prop::collection::vec((1u32.., 1u16..), 0..50)
        .prop_map(|v| v.into_iter().map(|(ip, port)| (Ipv4Addr::from(ip), port).into()).collect());
    let v6 = prop::collection::vec((1u128.., 1u16..), 0..50)
        .prop_map(|v| v.into_iter().map(|(ip, port)| (std::net::Ipv6Addr::from(ip), port).into()).collect());
    prop_oneof![v4, v6]
}

fn requests() -> impl Strategy<Value = Request> {
    let event =
        prop::sample::select(vec![None, Some(Event::Started), Some(Event::Completed), Some(Event::Stopped)]);
    let url_data = prop::option::of(prop::collection::vec(any::<u8>(), 0..600));
    let announce = (any::<([u8; 20], [u8; 20])>(), any::<(u64, u64, u64)>(), event, any::<(u16, u32)>());
    let announce = (announce, prop::option::of(0..=i32::MAX as u32)).prop_map(
        |((ids, bytes, event, rest), num_want)| Announce {
            hash: WireHash(ids.0),
            peer_id: PeerId(ids.1),
            port: rest.0,
            uploaded: bytes.0,
            downloaded: bytes.1,
            left: bytes.2,
            event,
            key: rest.1,
            num_want,
        },
    );
    let ip = prop::option::of((1u32..).prop_map(Ipv4Addr::from));
    let hashes = prop::collection::vec(any::<[u8; 20]>().prop_map(WireHash), 0..=MAX_SCRAPE);
    prop_oneof![
        any::<u32>().prop_map(|transaction| Request::Connect { transaction }),
        (any::<(u64, u32)>(), announce, ip, url_data).prop_map(
            |((connection, transaction), announce, ip, url_data)| {
                Request::Announce { connection, transaction, announce, ip, url_data }
            }
        ),
        (any::<(u64, u32)>(), hashes).prop_map(|((connection, transaction), hashes)| Request::Scrape {
            connection,
            transaction,
            hashes
        }),
    ]
}

fn responses() -> impl Strategy<Value = Response> {
    let swarms = prop::collection::vec(any::<[u32; 3]>(), 0..=MAX_SCRAPE).prop_map(|swarms| {
        let swarm = |[seeders, completed, leechers]: [u32; 3]| ScrapedSwarm { seeders, completed, leechers };
        swarms.into_iter().map(swarm).collect()
    });
    prop_oneof![
        any::<(u32, u64)>()
            .prop_map(|(transaction, connection)| Response::Connect { transaction, connection }),
        (any::<[u32; 4]>(), addrs()).prop_map(|([transaction, interval, leechers, seeders], peers)| {
            Response::Announce { transaction, interval, leechers, seeders, peers }
        }),
        (any::<u32>(), swarms).prop_map(|(transaction, swarms)| Response::Scrape { transaction, swarms }),
        (any::<u32>(), "[a-z]([ -~]{0,80}[a-z])?")
            .prop_map(|(transaction, message)| Response::Error { transaction, message }),
    ]
}

proptest! {
    #[test]
    fn requests_round_trip(request in requests()) {
        prop_assert_eq!(Request::decode(&packet(&request)), Ok(request));
    }

    #[test]
    fn responses_round_trip(sent in responses()) {
        let family = match &sent {
            Response::Announce { peers, .. } => peers.first().map_or(Family::V4, Family::of),
            _ => Family::V4,
        };
        let bytes = response(&sent);
        prop_assert_eq!(transaction_of(&bytes), Some(sent.head().1));
        prop_assert_eq!(Response::decode(&bytes, family), Ok(sent));
    }

    #[test]
    fn no_bytes_make_a_decoder_panic_or_keep_more_than_it_may(
        action in 0u8..5, bytes in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        let mut bytes = bytes;
        for at in [0, 8] {
            if let Some(head) = bytes.get_mut(at..at + 4) {
                head.copy_from_slice(&[0, 0, 0, action]);
            }
            for family in [Family::V4, Family::V6] {
                if let Ok(Response::Announce { peers, .. }) = Response::decode(&bytes, family) {
                    prop_assert!(peers.len() * family.entry_len() <= bytes.len());
                }
            }
            let _ = Request::decode(&bytes);
            let _ = transaction_of(&bytes);
        }
    }
}
