//! The form in which a [`Snapshot`] is kept on disk: a bencoded dictionary, nodes in their compact forms, so
//! that a table of both families takes a few KiB.
use wgo_proto::NodeId;
use wgo_proto::bencode::{self, Encoder};
use wgo_proto::compact::Family;
use wgo_proto::krpc::{Contact, contact};

pub use super::terms::Snapshot;

/// Nodes of each family that are kept. A bootstrap asks a few; the rest is for those that have gone meanwhile.
pub const MAX_SAVED: usize = 200;

/// Keys of one family: id and nodes.
const KEYS: [(Family, &str, &str); 2] = [(Family::V4, "id", "nodes"), (Family::V6, "id6", "nodes6")];

impl Snapshot {
    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let id = |family| self.ids.iter().find(|(of, _)| *of == family).map(|(_, id)| id.0);
        let nodes = |family| {
            let mut bytes = Vec::new();
            let of = self.nodes.iter().filter(|contact| Family::of(&contact.addr) == family);
            of.take(MAX_SAVED).for_each(|contact| contact.put(&mut bytes));
            bytes
        };
        Encoder::new(&mut out).dict(|dict| {
            for (family, key, _) in KEYS {
                if let Some(id) = id(family) {
                    dict.entry(key).bytes(id);
                }
            }
            for (family, _, key) in KEYS {
                dict.entry(key).bytes(nodes(family));
            }
        });
        out
    }

    /// Reads the bytes. What is damaged counts as not known: a start without it takes a little longer.
    pub fn decode(bytes: &[u8]) -> Snapshot {
        let mut snapshot = Snapshot::default();
        let Some(dict) = bencode::parse(bytes).ok().and_then(|value| value.as_dict()) else {
            return snapshot;
        };
        for (family, id, nodes) in KEYS {
            if let Some(id) = dict.bytes(id).and_then(|id| id.try_into().ok()) {
                snapshot.ids.push((family, NodeId(id)));
            }
            let len = Contact::compact_len(family);
            let entries = dict.bytes(nodes).unwrap_or_default().chunks_exact(len).take(MAX_SAVED);
            let contact = |entry| contact::Nodes::new(entry, family).iter().next();
            snapshot.nodes.extend(entries.filter_map(contact));
        }
        snapshot
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::SocketAddr;

    proptest! {
        #[test]
        fn a_snapshot_comes_back(
            ids: [[u8; 20]; 2],
            four: Vec<([u8; 20], [u8; 4], u16)>,
            six: Vec<([u8; 20], [u8; 16], u16)>,
        ) {
            let ids = vec![(Family::V4, NodeId(ids[0])), (Family::V6, NodeId(ids[1]))];
            let mut nodes: Vec<_> = four
                .into_iter()
                .map(|(id, ip, port)| Contact { id: NodeId(id), addr: SocketAddr::from((ip, port)) })
                .collect();
            let sixes =
                six.into_iter().map(|(id, ip, port)| Contact { id: NodeId(id), addr: SocketAddr::from((ip, port)) });
            nodes.extend(sixes);
            let snapshot = Snapshot { ids, nodes };
            prop_assert_eq!(Snapshot::decode(&snapshot.encode()), snapshot);
        }

        #[test]
        fn damage_costs_what_was_known_and_nothing_else(bytes: Vec<u8>) {
            prop_assert!(Snapshot::decode(&bytes).nodes.len() <= 2 * MAX_SAVED);
        }
    }

    #[test]
    fn no_more_is_read_than_is_kept() {
        let many = Snapshot {
            ids: Vec::new(),
            nodes: (0..5000u16)
                .map(|n| Contact { id: NodeId([1; 20]), addr: SocketAddr::from(([1, 2, 3, 4], n)) })
                .collect(),
        };
        assert_eq!(Snapshot::decode(&many.encode()).nodes.len(), MAX_SAVED);
        assert_eq!(Snapshot::decode(b"d5:nodes3:abce"), Snapshot::default());
    }
}
