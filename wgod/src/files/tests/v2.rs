//! v2 torrents: pieces are verified by their subtree.
use std::sync::Arc;

use wgo_proto::bencode::Encoder;
use wgo_proto::merkle;
use wgo_proto::metainfo::Metainfo;

use super::rig::*;
use crate::files::*;

const PIECE: usize = 32768;

/// A v2-only torrent with the files `a`, of several pieces, and `b`, of less than one.
fn torrent() -> Torrent {
    let (a, b) = (noise(PIECE * 2 + 20_000, 1), noise(10_000, 2));
    let leaves = |bytes: &[u8]| bytes.chunks(16384).map(merkle::leaf).collect::<Vec<_>>();
    let layer: Vec<_> = a.chunks(PIECE).map(|piece| merkle::leaves_root(&leaves(piece), 2)).collect();
    let (root_a, root_b) = (merkle::layer_root(&layer, 1), merkle::leaves_root(&leaves(&b), 1));
    let mut out = Vec::new();
    Encoder::new(&mut out).dict(|torrent| {
        torrent.entry("info").dict(|info| {
            info.entry("file tree").dict(|tree| {
                for (name, len, root) in [("a", a.len(), root_a), ("b", b.len(), root_b)] {
                    tree.entry(name).dict(|entry| {
                        entry.entry("").dict(|file| {
                            file.entry("length").int(len as i64);
                            file.entry("pieces root").bytes(root);
                        });
                    });
                }
            });
            info.entry("meta version").int(2);
            info.entry("name").bytes("v2");
            info.entry("piece length").int(PIECE as i64);
        });
        torrent.entry("piece layers").dict(|layers| layers.entry(root_a).bytes(layer.concat()));
    });
    // Each file starts a piece.
    let mut payload = a;
    payload.resize(PIECE * 3, 0);
    payload.extend(b);
    Torrent { info: Arc::new(Metainfo::parse(&out).unwrap().info), payload }
}

#[test]
fn a_v2_torrent_is_verified_and_stored() {
    let rig = Rig::new();
    let torrent = torrent();
    let files = rig.open(&torrent);
    rig.prepare(&files);
    let mut bad = torrent.blocks(rig.storage.pool(), 2);
    bad[1].as_mut().unwrap()[0] ^= 1;
    assert_eq!(rig.store_blocks(&files, 2, bad), StoreOutcome::BadHash);
    rig.store_all(&files, &torrent);
    assert!(rig.content("v2/a") == torrent.payload[..PIECE * 2 + 20_000]);
    assert!(rig.content("v2/b") == torrent.payload[PIECE * 3..]);
}
