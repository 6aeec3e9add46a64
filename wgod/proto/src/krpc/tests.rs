//! Packets: the examples of the BEPs, there and back, and what strangers send.
mod hostile;
mod round_trip;

use super::*;
use crate::compact::Family;
use crate::units::NodeId;

const ASKER: NodeId = NodeId(*b"abcdefghij0123456789");
const OTHER: NodeId = NodeId(*b"mnopqrstuvwxyz123456");

fn encoded(packet: &Packet<'_>) -> Vec<u8> {
    let mut out = b"before".to_vec();
    packet.encode(&mut out);
    out.split_off(6)
}

fn query(method: Method<'_>) -> Packet<'_> {
    let body = Body::Query(Query { id: ASKER, read_only: false, method });
    Packet { transaction: b"aa", version: None, ip: None, body }
}

fn answer(response: Response<'_>) -> Packet<'_> {
    Packet { transaction: b"aa", version: None, ip: None, body: Body::Response(response) }
}

/// Both directions of one example.
fn check(bytes: &[u8], packet: &Packet<'_>) {
    assert_eq!(Packet::decode(bytes).as_ref(), Ok(packet), "{}", bytes.escape_ascii());
    assert_eq!(encoded(packet), bytes, "{}", bytes.escape_ascii());
}

#[test]
fn the_queries_of_bep_5_are_read_and_written() {
    check(b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe", &query(Method::Ping));
    check(
        b"d1:ad2:id20:abcdefghij01234567896:target20:mnopqrstuvwxyz123456e1:q9:find_node1:t2:aa1:y1:qe",
        &query(Method::FindNode { target: OTHER, want: None }),
    );
    let info_hash = crate::WireHash(OTHER.0);
    check(
        b"d1:ad2:id20:abcdefghij01234567899:info_hash20:mnopqrstuvwxyz123456e1:q9:get_peers1:t2:aa1:y1:qe",
        &query(Method::GetPeers { info_hash, want: None, noseed: false, scrape: false }),
    );
    check(
        b"d1:ad2:id20:abcdefghij01234567899:info_hash20:mnopqrstuvwxyz123456\
          4:porti6881e5:token8:aoeusnthe1:q13:announce_peer1:t2:aa1:y1:qe",
        &query(Method::AnnouncePeer { info_hash, port: Some(6881), seed: false, token: b"aoeusnth" }),
    );
}

#[test]
fn the_responses_of_bep_5_are_read_and_written() {
    check(b"d1:rd2:id20:mnopqrstuvwxyz123456e1:t2:aa1:y1:re", &answer(Response::new(OTHER)));
    let with_values = Response {
        token: Some(b"aoeusnth"),
        values: Some(Values::packed(b"axje.uidhtnm", Family::V4)),
        ..Response::new(ASKER)
    };
    check(
        b"d1:rd2:id20:abcdefghij01234567895:token8:aoeusnth6:valuesl6:axje.u6:idhtnmee1:t2:aa1:y1:re",
        &answer(with_values.clone()),
    );
    let peers: Vec<_> = with_values.values.unwrap().iter().map(|addr| addr.to_string()).collect();
    assert_eq!(peers, ["97.120.106.101:11893", "105.100.104.116:28269"]);
    check(
        b"d1:eli201e23:A Generic Error Ocurrede1:t2:aa1:y1:ee",
        &Packet {
            transaction: b"aa",
            version: None,
            ip: None,
            body: Body::Error(ErrorReply { code: ErrorCode::GENERIC, message: b"A Generic Error Ocurred" }),
        },
    );
}

#[test]
fn what_the_other_beps_add_is_read_and_written() {
    let info_hash = crate::WireHash(OTHER.0);
    let want = Some(Want { v4: true, v6: true });
    check(
        b"d1:ad2:id20:abcdefghij01234567899:info_hash20:mnopqrstuvwxyz1234566:noseedi1e6:scrapei1e\
          4:wantl2:n42:n6ee1:q9:get_peers1:t2:aa1:y1:qe",
        &query(Method::GetPeers { info_hash, want, noseed: true, scrape: true }),
    );
    check(
        b"d1:ad2:id20:abcdefghij012345678912:implied_porti1e9:info_hash20:mnopqrstuvwxyz123456\
          4:porti1e4:seedi1e5:token1:xe1:q13:announce_peer1:t2:aa1:y1:qe",
        &query(Method::AnnouncePeer { info_hash, port: None, seed: true, token: b"x" }),
    );
    check(
        b"d1:ad2:id20:abcdefghij01234567896:target20:mnopqrstuvwxyz123456e1:q17:sample_infohashes1:t2:aa1:y1:qe",
        &query(Method::SampleInfohashes { target: OTHER, want: None }),
    );
    let samples = Samples { bytes: &OTHER.0, interval: 21_600, total: 7 };
    check(
        b"d1:rd2:id20:abcdefghij01234567898:intervali21600e3:numi7e7:samples20:mnopqrstuvwxyz123456e\
          1:t2:aa1:y1:re",
        &answer(Response { samples: Some(samples), ..Response::new(ASKER) }),
    );
    let read_only = Packet {
        version: Some(b"WG\x00\x01"),
        ip: Some("1.2.3.4:6881".parse().unwrap()),
        body: Body::Query(Query { id: ASKER, read_only: true, method: Method::Ping }),
        ..query(Method::Ping)
    };
    check(
        b"d1:ad2:id20:abcdefghij0123456789e2:ip6:\x01\x02\x03\x04\x1a\xe11:q4:ping2:roi1e1:t2:aa\
          1:v4:WG\x00\x011:y1:qe",
        &read_only,
    );
}

#[test]
fn items_are_read_and_written_as_they_came() {
    let signed = Signed { key: &[b'k'; 32], seq: 4, signature: &[b's'; 64], salt: b"foobar" };
    // A value whose keys are out of order: reading and writing it again would change its hash.
    let item = Item { value: b"d1:bi1e1:ai2ee", signed: Some(signed) };
    let put = [
        &b"d1:ad3:casi3e2:id20:abcdefghij01234567891:k32:"[..],
        &[b'k'; 32],
        b"4:salt6:foobar3:seqi4e3:sig64:",
        &[b's'; 64],
        b"5:token1:x1:vd1:bi1e1:ai2eee1:q3:put1:t2:aa1:y1:qe",
    ]
    .concat();
    check(&put, &query(Method::Put { token: b"x", item, cas: Some(3) }));
    let plain = Item { value: b"12:Hello World!", signed: None };
    check(
        b"d1:rd2:id20:abcdefghij01234567895:token1:x1:v12:Hello World!e1:t2:aa1:y1:re",
        &answer(Response { token: Some(b"x"), item: Some(plain), ..Response::new(ASKER) }),
    );
    check(
        b"d1:ad2:id20:abcdefghij01234567893:seqi9e6:target20:mnopqrstuvwxyz123456e1:q3:get1:t2:aa1:y1:qe",
        &query(Method::Get { target: OTHER, seq: Some(9), want: None }),
    );
}

#[test]
fn a_method_that_nobody_knows_still_has_its_target() {
    for key in ["6:target", "9:info_hash"] {
        let bytes = format!("d1:ad2:id20:{0}{key}20:{1}e1:q4:vote1:t2:aa1:y1:qe", text(ASKER), text(OTHER));
        let Ok(Packet { body: Body::Query(query), .. }) = Packet::decode(bytes.as_bytes()) else {
            panic!("{bytes}")
        };
        assert_eq!(query.method, Method::Unknown { name: b"vote", target: Some(OTHER), want: None });
    }
}

fn text(id: NodeId) -> String {
    String::from_utf8(id.0.to_vec()).unwrap()
}
