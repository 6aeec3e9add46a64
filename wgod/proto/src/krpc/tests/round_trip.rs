//! `decode(encode(x)) == x` for every packet.
use super::*;
use crate::WireHash;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

/// What the packets of a test borrow from.
#[derive(Clone, Debug)]
struct Parts {
    transaction: Vec<u8>,
    version: Option<Vec<u8>>,
    ip: Option<std::net::SocketAddr>,
    ids: [[u8; 20]; 2],
    token: Vec<u8>,
    text: Vec<u8>,
    salt: Vec<u8>,
    key: [u8; 32],
    nodes: Vec<[u8; 26]>,
    nodes6: Vec<[u8; 19]>,
    flags: [bool; 6],
    number: i64,
    port: Option<u16>,
}

fn parts() -> impl Strategy<Value = Parts> {
    let bytes = |max: usize| vec(any::<u8>(), 0..max);
    let contact = (
        vec(any::<u8>(), 1..MAX_TRANSACTION),
        option::of(bytes(8)),
        option::of(any::<([u8; 4], u16)>().prop_map(std::net::SocketAddr::from)),
        any::<[[u8; 20]; 2]>(),
    );
    let strings = (bytes(MAX_TOKEN), bytes(100), bytes(64), any::<[u8; 32]>());
    let lists = (vec(any::<[u8; 26]>(), 0..9), vec(any::<[u8; 19]>(), 0..16));
    let numbers = (any::<[bool; 6]>(), any::<i64>(), option::of(1u16..));
    (contact, strings, lists, numbers).prop_map(
        |(
            (transaction, version, ip, ids),
            (token, text, salt, key),
            (nodes, nodes6),
            (flags, number, port),
        )| {
            Parts {
                transaction,
                version,
                ip,
                ids,
                token,
                text,
                salt,
                key,
                nodes,
                nodes6,
                flags,
                number,
                port,
            }
        },
    )
}

impl Parts {
    fn packet<'a>(&'a self, body: Body<'a>) -> Packet<'a> {
        Packet { transaction: &self.transaction, version: self.version.as_deref(), ip: self.ip, body }
    }

    fn value(&self) -> Vec<u8> {
        let mut out = Vec::new();
        Encoder::new(&mut out).bytes(&self.text);
        out
    }
}

fn comes_back(packet: &Packet<'_>) -> Result<(), TestCaseError> {
    let bytes = encoded(packet);
    let decoded = Packet::decode(&bytes);
    prop_assert_eq!(decoded.as_ref(), Ok(packet), "{}", bytes.escape_ascii());
    Ok(())
}

proptest! {
    #[test]
    fn queries_come_back(parts in parts()) {
        let (id, target) = (NodeId(parts.ids[0]), NodeId(parts.ids[1]));
        let info_hash = WireHash(parts.ids[1]);
        let [a, b, c, d, e, f] = parts.flags;
        let want = c.then_some(Want { v4: d, v6: e });
        let value = parts.value();
        let signature = [9; 64];
        let signed = f.then_some(Signed { key: &parts.key, seq: parts.number, signature: &signature, salt: &parts.salt });
        let item = Item { value: &value, signed };
        for method in [
            Method::Ping,
            Method::FindNode { target, want },
            Method::GetPeers { info_hash, want, noseed: a, scrape: b },
            Method::AnnouncePeer { info_hash, port: parts.port, seed: a, token: &parts.token },
            Method::SampleInfohashes { target, want },
            Method::Get { target, seq: a.then_some(parts.number), want },
            Method::Put { token: &parts.token, item, cas: b.then_some(parts.number) },
            Method::Unknown { name: b"other", target: b.then_some(target), want },
        ] {
            comes_back(&parts.packet(Body::Query(Query { id, read_only: f, method })))?;
        }
    }

    #[test]
    fn responses_and_errors_come_back(parts in parts()) {
        let [a, b, c, d, e, f] = parts.flags;
        let (nodes, nodes6) = (parts.nodes.concat(), parts.nodes6.concat());
        let value = parts.value();
        let signature = [9; 64];
        let signed = f.then_some(Signed { key: &parts.key, seq: parts.number, signature: &signature, salt: b"" });
        let (seeds, peers) = ([3; 256], [4; 256]);
        let response = Response {
            id: NodeId(parts.ids[0]),
            nodes: a.then(|| Nodes::new(&nodes, Family::V4)),
            nodes6: b.then(|| Nodes::new(&nodes6, Family::V6)),
            token: c.then_some(&parts.token[..]),
            values: d.then(|| Values::packed(&nodes[..nodes.len() / 6 * 6], Family::V4)),
            scrape: (!d && e).then_some(response::Scrape { seeds: &seeds, peers: &peers }),
            samples: b.then(|| Samples {
                bytes: &nodes[..nodes.len() / 20 * 20],
                interval: parts.number.unsigned_abs() as u32 % 21_601,
                total: parts.number.unsigned_abs() >> 1,
            }),
            item: e.then_some(Item { value: &value, signed }),
            seq: if e && f || c { Some(parts.number) } else { None },
        };
        comes_back(&parts.packet(Body::Response(response)))?;
        let error = ErrorReply { code: ErrorCode(parts.number), message: &parts.text };
        comes_back(&parts.packet(Body::Error(error)))?;
    }
}
