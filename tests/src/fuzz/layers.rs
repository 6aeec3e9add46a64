//! Torrents with Merkle trees (BEP 52): piece layers that are right are taken whole, and none that was changed is
//! believed. And trees against the plainest way to compute one.
use wgo_proto::merkle::{self, Hash};
use wgo_proto::metainfo::Metainfo;
use wgo_proto::metainfo::draft::{Draft, Hashes, InfoKeys, NewFile, OuterKeys, Shape, Version, torrent};
use wgo_proto::path::SafePath;
use wgo_proto::{BLOCK_LEN, PieceIndex};

use super::Reader;

/// Files of one torrent at most, and bytes for each step of their lengths: some hundreds of pieces.
const MAX_FILES: u8 = 4;
const STEP: u64 = 61;

/// A torrent with trees is read as it was made; what changes behind its `info` makes no other hash believed.
pub(super) fn layers(data: &[u8]) {
    let mut reader = Reader::new(data);
    let version = if reader.byte().is_multiple_of(2) { Version::V2 } else { Version::Hybrid };
    let piece_len = BLOCK_LEN << (reader.byte() % 4);
    let salt = reader.array::<4>();
    let files = (0..1 + reader.byte() % MAX_FILES).map(|n| NewFile {
        path: SafePath::exact(&format!("f{n}")).expect("it is safe"),
        len: u64::from(reader.short()) * STEP,
        executable: false,
    });
    let files: Vec<NewFile> = files.collect();
    let shape = Shape { version, name: "t".to_owned(), folder: true, piece_len, aligned: true };
    let Ok(draft) = Draft::new(shape, files) else { return };
    let count = draft.layout().piece_count();
    let hash = |piece: u32| {
        let mut hash = [0x5a; 32];
        hash[..4].copy_from_slice(&salt);
        hash[4..8].copy_from_slice(&piece.to_be_bytes());
        hash
    };
    let v1 = if version.has_v1() { vec![[7; 20]; count as usize] } else { Vec::new() };
    let hashes = Hashes { v1, v2: (0..count).map(hash).collect() };
    let info = draft.info(&hashes, &InfoKeys::default());
    let file = torrent(&info, draft.layers(&hashes).as_deref(), &OuterKeys::default());
    let read = Metainfo::parse(&file).expect("what we write we read");
    assert!(read.info.hashes.is_complete());
    for piece in (0..count).map(PieceIndex) {
        let check = read.info.hashes.v2(piece).expect("each has one");
        let made = draft.subtree(piece).expect("each has one");
        assert_eq!((check.root, check.width, check.len), (hash(piece.0), made.width, made.len));
    }
    changed(&mut reader, &read, file);
}

/// The same, with some bytes behind `info` changed.
fn changed(reader: &mut Reader<'_>, read: &Metainfo, mut file: Vec<u8>) {
    let start = read.info_span.end;
    for _ in 0..3 {
        if let Some(byte) = file.get_mut(start + usize::from(reader.short()) % 4096) {
            *byte ^= reader.byte();
        }
    }
    let Ok(again) = Metainfo::parse(&file) else { return };
    for piece in (0..again.info.layout.piece_count()).map(PieceIndex) {
        let check = again.info.hashes.v2(piece);
        assert!(check.is_none() || check == read.info.hashes.v2(piece), "piece {piece:?} has another hash");
    }
}

/// Roots of trees are those of a tree that is built leaf by leaf.
pub(super) fn tree(data: &[u8]) {
    let mut reader = Reader::new(data);
    let (count, width, height) =
        (usize::from(reader.byte() % 40), usize::from(reader.byte() % 70), reader.byte() % 4);
    let row: Vec<Hash> = (0..count).map(|_| reader.array()).collect();
    let leaves = width.max(count).next_power_of_two();
    let zeros = padded(&[], 1 << height);
    assert_eq!(merkle::padding(height.into()), zeros);
    assert_eq!(merkle::leaves_root(&row, width), padded(&row, leaves));
    let pad = reader.array();
    let full: Vec<Hash> = row.iter().copied().chain(std::iter::repeat(pad)).take(leaves).collect();
    assert_eq!(merkle::root(&row, width, pad), over(&full));
    let layer: Vec<Hash> =
        row.iter().copied().chain(std::iter::repeat(zeros)).take(count.next_power_of_two()).collect();
    assert_eq!(merkle::layer_root(&row, height.into()), over(&layer));
    // A piece of a file is a part of its tree: the roots of parts have the root of all.
    if leaves > 1 {
        let full: Vec<Hash> = row.iter().copied().chain(std::iter::repeat([0; 32])).take(leaves).collect();
        let (left, right) = full.split_at(leaves / 2);
        assert_eq!(merkle::parent(&over(left), &over(right)), merkle::leaves_root(&row, width));
    }
}

fn padded(row: &[Hash], width: usize) -> Hash {
    over(&row.iter().copied().chain(std::iter::repeat([0; 32])).take(width).collect::<Vec<_>>())
}

/// The root over a row of a power of two.
fn over(row: &[Hash]) -> Hash {
    match row {
        [one] => *one,
        row => {
            let (left, right) = row.split_at(row.len() / 2);
            merkle::leaf(&[over(left), over(right)].concat())
        }
    }
}
