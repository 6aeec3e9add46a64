//! What is given to the daemon to hold, by somebody who may: torrents that are huge or senseless, and links without end.
use wgo_api::ApiClient;
use wgo_api::params::{AddParams, RemoveParams, Source};
use wgo_proto::bencode::Encoder;

use super::attack::{Attack, Bound, Field};

/// Files of a torrent that has too many.
const FILES: usize = 100_000;
/// Pieces of one of which each piece is as small as may be.
const PIECES: i64 = 500_000;
/// Links of one call.
const LINKS: usize = 100;

/// What is added.
pub fn attacks() -> Vec<Attack> {
    let attack = |name, unit, bound, run| Attack { name, unit, bound, run };
    vec![
        // A path is a place in memory, by two names, and one on the disk to be looked for.
        attack("a torrent of 100,000 files", "torrents", Bound::new(200, 20, 4_000_000), many_files),
        attack("a torrent of half a million pieces", "torrents", Bound::new(200, 20, 2_000_000), many_pieces),
        attack("a torrent of pieces of one byte", "torrents", Bound::new(64, 20, 200_000), tiny_pieces),
        attack("a torrent of nothing but brackets", "torrents", Bound::new(64, 20, 200_000), nested),
        // Each has a place in the queue, a Swarm and a row in the store.
        attack("a thousand magnet links", "links", Bound::new(48, 20, 3_000).logged(1024), links),
    ]
}

/// Adds a torrent that is paused, and removes it if it was taken.
fn add(field: &Field<'_>, bytes: &[u8]) -> u64 {
    let params = AddParams {
        sources: vec![Source::of_file(bytes)],
        folder: Some(field.daemon.downloads()),
        paused: true,
        ..AddParams::default()
    };
    let added = field.daemon.call(async |client| client.add(params).await);
    for torrent in added.into_iter().flat_map(|added| added.torrents) {
        if let (Some(id), None) = (torrent.info_hash, torrent.error) {
            field.daemon.remove(&id, false);
        }
    }
    1
}

fn torrent(info: impl FnOnce(&mut wgo_proto::bencode::DictEncoder<'_>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    Encoder::new(&mut bytes).dict(|dict| dict.entry("info").dict(info));
    bytes
}

fn many_files(field: &Field<'_>) -> u64 {
    let bytes = torrent(|info| {
        info.entry("files").list(|list| {
            for n in 0..FILES {
                list.item().dict(|file| {
                    file.entry("length").int(1);
                    file.entry("path").list(|path| {
                        path.item().bytes(format!("folder {}", n / 100));
                        path.item().bytes(format!("file number {n}"));
                    });
                });
            }
        });
        info.entry("name").bytes(format!("files-{}", field.run));
        info.entry("piece length").int(16_384);
        info.entry("pieces").bytes(vec![1; FILES.div_ceil(16_384) * 20]);
    });
    add(field, &bytes)
}

fn many_pieces(field: &Field<'_>) -> u64 {
    let bytes = torrent(|info| {
        info.entry("length").int(PIECES * 16_384);
        info.entry("name").bytes(format!("pieces-{}", field.run));
        info.entry("piece length").int(16_384);
        info.entry("pieces").bytes(vec![2; PIECES as usize * 20]);
    });
    add(field, &bytes)
}

fn tiny_pieces(field: &Field<'_>) -> u64 {
    let bytes = torrent(|info| {
        info.entry("length").int(200_000);
        info.entry("name").bytes(format!("tiny-{}", field.run));
        info.entry("piece length").int(1);
        info.entry("pieces").bytes(vec![3; 200_000 * 20]);
    });
    add(field, &bytes)
}

fn nested(field: &Field<'_>) -> u64 {
    add(field, &[b"d4:info".to_vec(), vec![b'l'; 1 << 20], vec![b'e'; 1 << 20]].concat())
}

fn links(field: &Field<'_>) -> u64 {
    let calls = field.many(2, 10);
    let link = |n: usize| Source::Uri(format!("magnet:?xt=urn:btih:{:032x}{:08x}", n, field.run));
    for call in 0..calls {
        let sources = (0..LINKS).map(|n| link(call * LINKS + n)).collect();
        let params = AddParams { sources, folder: Some(field.daemon.downloads()), ..AddParams::default() };
        let added = field.daemon.call(async |client| client.add(params).await).unwrap();
        assert!(added.torrents.iter().all(|torrent| torrent.error.is_none()));
        let ids = added.torrents.into_iter().filter_map(|torrent| torrent.info_hash).collect();
        if !field.long {
            let params = RemoveParams { ids, all: false, data: false };
            field.daemon.call(async |client| client.remove(params).await).unwrap();
        }
    }
    let all: Vec<String> = field.daemon.list().into_iter().map(|torrent| torrent.info_hash).collect();
    let honest = [field.seeded.torrent.id(), field.fetched.torrent.id()];
    let ids: Vec<String> = all.into_iter().filter(|id| !honest.contains(id)).collect();
    if !ids.is_empty() {
        let params = RemoveParams { ids, all: false, data: false };
        field.daemon.call(async |client| client.remove(params).await).unwrap();
    }
    (calls * LINKS) as u64
}
