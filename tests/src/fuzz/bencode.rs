//! Bencode, and torrent files made of it (BEP 3, 52).
use std::collections::BTreeMap;

use serde_bencode::value::Value as Theirs;
use wgo_proto::PieceIndex;
use wgo_proto::bencode::{self, Encoder, Kind, MAX_DEPTH, Value};
use wgo_proto::metainfo::Metainfo;

use super::places::assert_stays_below;

/// A value is understood as `serde_bencode` does, and written as it was read.
pub(super) fn bencode(data: &[u8]) {
    let Ok(value) = bencode::parse_prefix(data) else { return };
    let raw = &data[value.span()];
    assert_eq!((value.span().start, value.raw()), (0, raw));
    assert_eq!(bencode::parse(data).is_ok(), raw.len() == data.len());
    let mut written = Vec::new();
    write(value, Encoder::new(&mut written), 0);
    let again = bencode::parse(&written).expect("what we write we read");
    let mut twice = Vec::new();
    write(again, Encoder::new(&mut twice), 0);
    assert_eq!(written, twice);
    assert!(written.len() <= raw.len(), "numbers have no longer form than the canonical one");
    let theirs: Theirs = serde_bencode::from_bytes(raw).expect("it passes everything that we pass");
    assert_same(value, &theirs);
}

fn write(value: Value<'_>, encoder: Encoder<'_>, depth: usize) {
    assert!(depth <= MAX_DEPTH);
    match value.kind() {
        Kind::Int => encoder.int(value.as_int().expect("it is one")),
        Kind::Bytes => encoder.bytes(value.as_bytes().expect("it is one")),
        Kind::List => encoder.list(|list| {
            value.as_list().expect("it is one").iter().for_each(|item| write(item, list.item(), depth + 1));
        }),
        // Keys in the order that the encoder insists on; of several that are alike, one.
        Kind::Dict => encoder.dict(|dict| {
            let entries: BTreeMap<_, _> = value.as_dict().expect("it is one").iter().collect();
            entries.into_iter().for_each(|(key, value)| write(value, dict.entry(key), depth + 1));
        }),
    }
}

fn assert_same(ours: Value<'_>, theirs: &Theirs) {
    match theirs {
        Theirs::Int(number) => assert_eq!(ours.as_int(), Some(*number)),
        Theirs::Bytes(bytes) => assert_eq!(ours.as_bytes(), Some(&bytes[..])),
        Theirs::List(items) => {
            let list: Vec<_> = ours.as_list().expect("a list").iter().collect();
            assert_eq!(list.len(), items.len());
            list.into_iter().zip(items).for_each(|(ours, theirs)| assert_same(ours, theirs));
        }
        Theirs::Dict(entries) => {
            // Both keep the last of those that are alike.
            let dict: BTreeMap<_, _> = ours.as_dict().expect("a dictionary").iter().collect();
            assert_eq!(dict.len(), entries.len());
            for (key, theirs) in entries {
                assert_same(dict[&key[..]], theirs);
            }
        }
    }
}

/// What a torrent file says is consistent, and its files stay in their folder.
pub(super) fn metainfo(data: &[u8]) {
    if let Ok(torrent) = Metainfo::from_info(data) {
        assert_consistent(&torrent, data.len());
    }
    let Ok(torrent) = Metainfo::parse(data) else { return };
    assert_consistent(&torrent, data.len());
    let info = &data[torrent.info_span.clone()];
    let hashes = Metainfo::hashes_of(info);
    assert!(torrent.hashes.v1.is_none_or(|v1| Some(v1) == hashes.v1));
    assert!(torrent.hashes.v2.is_none_or(|v2| Some(v2) == hashes.v2));
    // As it would be put together again after its info dictionary came from peers.
    let file = Metainfo::file_of(info, &torrent.tiers);
    if torrent.hashes.v2.is_none() {
        let again = Metainfo::parse(&file).expect("the same without what isn't needed");
        assert_eq!(
            (again.hashes, &again.info, &again.tiers),
            (torrent.hashes, &torrent.info, &torrent.tiers)
        );
    }
}

fn assert_consistent(torrent: &Metainfo, len: usize) {
    let info = &torrent.info;
    assert!(torrent.hashes.v1.is_some() || torrent.hashes.v2.is_some());
    assert!(info.files.len() <= len, "files are not made of nothing");
    let mut paths: Vec<_> = info.files.iter().map(|file| file.path.as_str()).collect();
    paths.iter().for_each(|path| assert_stays_below(path));
    paths.sort_unstable();
    assert!(paths.windows(2).all(|pair| pair[0] != pair[1]), "two files of one path");
    let bytes: u64 = info.files.iter().map(|file| file.len).sum();
    assert!(info.layout.total_len() >= bytes);
    // Millions may be claimed of files that are only described.
    if info.layout.piece_count() <= 1000 {
        let pieces = (0..info.layout.piece_count()).map(|piece| info.layout.piece_len(PieceIndex(piece)));
        assert_eq!(pieces.map(u64::from).sum::<u64>(), info.layout.total_len(), "pieces are what there is");
    }
}
