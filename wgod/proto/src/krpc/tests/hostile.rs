//! Datagrams of strangers: refused with evidence or read without harm. The body of a fuzz target is
//! [`read_everything`], its corpus [`corpus`].
use super::*;
use crate::bencode::{Fault, Kind};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// Reads a datagram as the core does, and looks at all that it says: no input may make this panic, loop,
/// or give more than its bounds. What was read and written again must read the same.
fn read_everything(datagram: &[u8]) {
    let Ok(packet) = Packet::decode(datagram) else { return };
    assert!((1..=MAX_TRANSACTION).contains(&packet.transaction.len()));
    match &packet.body {
        Body::Query(query) => {
            let token = match query.method {
                Method::AnnouncePeer { port, token, .. } => {
                    assert_ne!(port, Some(0));
                    token
                }
                Method::Put { token, item, .. } => {
                    assert!(crate::bencode::parse(item.value).is_ok());
                    item.target();
                    item.signed_bytes();
                    token
                }
                _ => &[],
            };
            assert!(token.len() <= MAX_TOKEN);
        }
        Body::Response(response) => {
            for nodes in [response.nodes, response.nodes6].into_iter().flatten() {
                assert!(nodes.iter().count() <= contact::MAX_NODES);
            }
            let values = response.values.iter().flat_map(Values::iter);
            assert!(values.inspect(|addr| assert_ne!(addr.port(), 0)).count() <= contact::MAX_VALUES);
            let samples = response.samples.iter();
            assert!(samples.flat_map(Samples::iter).count() <= contact::MAX_SAMPLES);
            assert!(response.token.is_none_or(|token| token.len() <= MAX_TOKEN));
        }
        Body::Error(error) => assert!(error.text().chars().count() <= 200),
    }
    let again = encoded(&packet);
    if again.len() <= MAX_RECEIVED {
        assert_eq!(Packet::decode(&again).as_ref(), Ok(&packet), "{}", datagram.escape_ascii());
    }
}

/// Packets of each kind, from which mutations start.
fn corpus() -> Vec<Vec<u8>> {
    let info_hash = crate::WireHash(OTHER.0);
    let signed = Signed { key: &[7; 32], seq: i64::MAX, signature: &[8; 64], salt: b"salt" };
    let item = Item { value: b"d1:ali1eee", signed: Some(signed) };
    let want = Some(Want { v4: true, v6: true });
    let nodes = [9; 26 * 8];
    let full = Response {
        nodes: Some(Nodes::new(&nodes, Family::V4)),
        nodes6: Some(Nodes::new(&nodes[..38 * 2], Family::V6)),
        token: Some(b"token"),
        values: Some(Values::packed(&nodes[..60], Family::V4)),
        scrape: Some(response::Scrape { seeds: &[1; 256], peers: &[2; 256] }),
        samples: Some(Samples { bytes: &nodes[..40], interval: 9, total: 2 }),
        item: Some(item.salted(b"")),
        seq: Some(i64::MAX),
        ..Response::new(ASKER)
    };
    let error = ErrorReply { code: ErrorCode::PROTOCOL, message: b"bad token" };
    let mut packets: Vec<_> = [
        Method::Ping,
        Method::FindNode { target: OTHER, want },
        Method::GetPeers { info_hash, want, noseed: true, scrape: true },
        Method::AnnouncePeer { info_hash, port: Some(1), seed: true, token: b"token" },
        Method::SampleInfohashes { target: OTHER, want },
        Method::Get { target: OTHER, seq: Some(-1), want },
        Method::Put { token: b"token", item, cas: Some(0) },
        Method::Unknown { name: b"vote", target: Some(OTHER), want },
    ]
    .map(query)
    .to_vec();
    packets.push(answer(full));
    packets.push(Packet { body: Body::Error(error), ..query(Method::Ping) });
    packets.iter().map(encoded).collect()
}

fn ping(t: &[u8], id: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Encoder::new(&mut out).dict(|dict| {
        dict.entry("a").dict(|args| args.entry("id").bytes(id));
        dict.entry("q").bytes("ping");
        dict.entry("t").bytes(t);
        dict.entry("y").bytes("q");
    });
    out
}

#[test]
fn what_is_no_packet_is_refused_with_evidence() {
    let nested = [b"d1:a", "l".repeat(2000).as_bytes()].concat();
    for (bytes, error) in [
        (&b""[..], KrpcError::Bencode(crate::bencode::BencodeError { fault: Fault::Truncated, at: 0 })),
        (b"le", KrpcError::WrongKind { key: "packet", found: Kind::List }),
        (b"de", KrpcError::Missing { key: "t" }),
        (b"d1:ti7ee", KrpcError::WrongKind { key: "t", found: Kind::Int }),
        (b"d1:t0:1:y1:qe", KrpcError::Transaction { found: 0 }),
        (&ping(&[b't'; 33], &[1; 20]), KrpcError::Transaction { found: 33 }),
        (b"d1:t1:x1:y1:ze", KrpcError::UnknownKind),
        (b"d1:t1:x1:y1:qe", KrpcError::Missing { key: "q" }),
        (b"d1:q4:ping1:t1:x1:y1:qe", KrpcError::Missing { key: "a" }),
        (b"d1:ale1:q4:ping1:t1:x1:y1:qe", KrpcError::WrongKind { key: "a", found: Kind::List }),
        (b"d1:ade1:q4:ping1:t1:x1:y1:qe", KrpcError::Missing { key: "id" }),
        (&ping(b"t", &[1; 19]), KrpcError::Length { key: "id", expected: 20, found: 19 }),
        (&ping(b"t", &[1; 21]), KrpcError::Length { key: "id", expected: 20, found: 21 }),
        (b"d1:rde1:t1:x1:y1:re", KrpcError::Missing { key: "id" }),
        (b"d1:t1:x1:y1:re", KrpcError::Missing { key: "r" }),
        (b"d1:ele1:t1:x1:y1:ee", KrpcError::Missing { key: "e" }),
        (b"d1:e4:oops1:t1:x1:y1:ee", KrpcError::WrongKind { key: "e", found: Kind::Bytes }),
        (&[b'x'; 2049], KrpcError::TooLong { limit: 2048, found: 2049 }),
    ] {
        assert_eq!(Packet::decode(bytes), Err(error), "{}", bytes.escape_ascii());
    }
    assert!(matches!(Packet::decode(&nested), Err(KrpcError::Bencode(_))));
}

fn with_args(method: &str, args: &str) -> Vec<u8> {
    let id = "2:id20:abcdefghij0123456789";
    format!("d1:ad{id}{args}e1:q{}:{method}1:t2:aa1:y1:qe", method.len()).into_bytes()
}

#[test]
fn queries_without_what_they_need_are_refused_with_evidence() {
    let hash = "9:info_hash20:mnopqrstuvwxyz123456";
    let long = format!("{hash}4:porti1e5:token65:{}", "t".repeat(65));
    let half_signed = format!("1:k32:{}5:token1:x1:vi1e", "k".repeat(32));
    for (method, args, error) in [
        ("find_node", "", KrpcError::Missing { key: "target" }),
        ("find_node", "6:target3:abc", KrpcError::Length { key: "target", expected: 20, found: 3 }),
        ("get_peers", "9:info_hashi1e", KrpcError::WrongKind { key: "info_hash", found: Kind::Int }),
        ("announce_peer", hash, KrpcError::Missing { key: "port" }),
        ("announce_peer", &format!("{hash}4:porti0e5:token1:x"), KrpcError::Port { found: 0 }),
        ("announce_peer", &format!("{hash}4:porti65536e5:token1:x"), KrpcError::Port { found: 65_536 }),
        ("announce_peer", &format!("{hash}4:porti-1e5:token1:x"), KrpcError::Port { found: -1 }),
        ("announce_peer", &format!("{hash}4:porti1e"), KrpcError::Missing { key: "token" }),
        ("announce_peer", &long, KrpcError::Length { key: "token", expected: 64, found: 65 }),
        ("put", "5:token1:x", KrpcError::Missing { key: "v" }),
        ("put", &half_signed, KrpcError::Missing { key: "seq" }),
    ] {
        let bytes = with_args(method, args);
        assert_eq!(Packet::decode(&bytes), Err(error), "{}", bytes.escape_ascii());
    }
    let twice = with_args("ping", "2:id20:abcdefghij0123456789");
    assert!(matches!(Packet::decode(&twice), Err(KrpcError::Bencode(e)) if e.to_string().contains("`id`")));
}

#[test]
fn what_may_be_missing_counts_as_missing_when_it_is_nonsense() {
    let bytes =
        b"d1:rd4:BFpe3:abc4:BFsd3:abc2:id20:abcdefghij01234567895:nodesi1e5:tokeni7e1:vi1e6:values1:xe\
        2:ip5:abcde1:t2:aa1:y1:re";
    let item = Item { value: b"i1e", signed: None };
    let expected = answer(Response { item: Some(item), ..Response::new(ASKER) });
    assert_eq!(Packet::decode(bytes), Ok(expected));
    let values =
        b"d1:rd2:id20:abcdefghij01234567896:valuesl6:aaaa\0\x006:abcdefi3e4:xxxx18:aaaaaaaaaaaaaaaabbee\
        1:t2:aa1:y1:re";
    let Ok(Packet { body: Body::Response(response), .. }) = Packet::decode(values) else { panic!() };
    assert_eq!(response.values.unwrap().iter().count(), 2, "port 0 and strings of other lengths are none");
    let want =
        with_args("find_node", "6:target20:mnopqrstuvwxyz1234564:wantl2:n42:n9i3eee".trim_end_matches('e'));
    assert!(Packet::decode(&want).is_err(), "a list that doesn't end");
    let want = with_args("find_node", "6:target20:mnopqrstuvwxyz1234564:wantl2:n42:n9i3ee");
    let expected = Method::FindNode { target: OTHER, want: Some(Want { v4: true, v6: false }) };
    assert_eq!(Packet::decode(&want), Ok(query(expected)));
}

#[test]
fn keys_that_nobody_knows_are_passed_over() {
    let bytes = b"d1:ad2:id20:abcdefghij01234567891:zli1eee3:foo3:bar1:q4:ping1:t2:aa1:y1:q1:zdee";
    assert_eq!(Packet::decode(bytes), Ok(query(Method::Ping)));
}

#[test]
fn the_corpus_is_read_whole() {
    for bytes in corpus() {
        assert!(Packet::decode(&bytes).is_ok(), "{}", bytes.escape_ascii());
        assert!(bytes.len() <= MAX_RECEIVED);
        read_everything(&bytes);
    }
}

#[test]
fn every_packet_that_is_cut_short_is_refused() {
    for bytes in corpus() {
        for end in 0..bytes.len() {
            assert!(Packet::decode(&bytes[..end]).is_err(), "{}", bytes[..end].escape_ascii());
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_refused_or_read_without_harm(
        bytes in vec(select(&b"deil:0123456789aqrtyvk\xff\0"[..]), 0..200)
    ) {
        read_everything(&bytes);
    }

    #[test]
    fn packets_that_were_tampered_with_are_refused_or_read_without_harm(
        packet in select(corpus()),
        changes in vec((any::<Index>(), any::<u8>(), 0u8..4), 1..6),
    ) {
        let mut bytes = packet;
        for (at, byte, how) in changes {
            if bytes.is_empty() {
                break;
            }
            let at = at.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                2 => drop(bytes.remove(at)),
                // A digit: lengths and numbers that don't fit any more.
                _ => bytes[at] = b'0' + byte % 10,
            }
        }
        read_everything(&bytes);
    }
}
