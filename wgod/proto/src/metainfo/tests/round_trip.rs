//! What is put into a torrent comes out of it, and its content passes its checks.
use super::super::*;
use super::build::{Content, Kind, Recipe};
use crate::merkle::{self, Hash};
use crate::units::{BLOCK_LEN, PieceIndex};
use proptest::collection::vec;
use proptest::prelude::*;
use sha1::{Digest, Sha1};

pub(in super::super) fn any_recipe() -> impl Strategy<Value = Recipe> {
    let kind = prop::sample::select(&[Kind::V1, Kind::V2, Kind::Hybrid][..]);
    let len = prop_oneof![Just(0usize), 1usize..100, Just(16384), Just(32768), 16385usize..150_000];
    let folders = vec("[a-c]{1,2}", 0..3);
    let contents = vec((folders, len), 1..6);
    (kind, 0u32..3, contents, any::<bool>()).prop_filter_map(
        "nothing to transfer",
        |(kind, height, contents, tail_pad)| {
            let files = contents.into_iter().enumerate().map(|(index, (folders, len))| {
                let name = format!("file{index}");
                let path = folders.into_iter().chain([name]).map(String::into_bytes).collect();
                Content { path, bytes: (0..len).map(|at| (at * 31 + index) as u8).collect() }
            });
            let mut files: Vec<Content> = files.collect();
            files.sort_by(|a, b| a.path.cmp(&b.path));
            let any = files.iter().any(|file| !file.bytes.is_empty());
            any.then(|| Recipe {
                kind,
                name: b"made here".to_vec(),
                piece_len: 16384 << height,
                files,
                tail_pad,
            })
        },
    )
}

/// A piece's bytes, gathered by the layout's spans.
fn piece_bytes(metainfo: &Metainfo, contents: &[&[u8]], piece: PieceIndex) -> Vec<u8> {
    let spans = metainfo.info.layout.spans(piece, 0, u32::MAX);
    let parts = spans.map(|span| match metainfo.info.files[span.file.0 as usize].pad {
        true => vec![0; span.len as usize],
        false => contents[span.file.0 as usize][span.offset as usize..][..span.len as usize].to_vec(),
    });
    parts.collect::<Vec<_>>().concat()
}

fn passes(check: PieceCheck, bytes: &[u8]) -> bool {
    let v1 = |hash: [u8; 20]| <[u8; 20]>::from(Sha1::digest(bytes)) == hash;
    let v2 = |check: SubtreeCheck| {
        let leaves: Vec<Hash> =
            bytes[..check.len as usize].chunks(BLOCK_LEN as usize).map(merkle::leaf).collect();
        check.width.is_power_of_two() && merkle::leaves_root(&leaves, check.width as usize) == check.root
    };
    match check {
        PieceCheck::V1(hash) => v1(hash),
        PieceCheck::V2(check) => v2(check),
        PieceCheck::Both(hash, check) => v1(hash) && v2(check),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn metadata_from_peers_makes_a_torrent_file_of_the_same_torrent(recipe in any_recipe(), urls in 0usize..3) {
        // That of a v2 torrent is no use without the layers of its pieces, which peers give apart.
        prop_assume!(recipe.kind != Kind::V2);
        let tiers: Vec<Vec<String>> = (0..urls).map(|n| vec![format!("http://t{n}.example/announce")]).collect();
        let info = recipe.info();
        let torrent = Metainfo::file_of(&info, &tiers);
        let read = Metainfo::parse(&torrent).unwrap();
        prop_assert_eq!(&torrent[read.info_span.clone()], &info[..]);
        prop_assert_eq!((&read.tiers, read.info.dict_len as usize), (&tiers, info.len()));
        let both = Metainfo::hashes_of(&info);
        prop_assert_eq!(read.hashes.v1, both.v1);
        prop_assert!(read.hashes.v2.is_none() || read.hashes.v2 == both.v2);
        prop_assert_eq!(Metainfo::from_info(&info).unwrap().info, read.info);
    }

    #[test]
    fn a_torrent_made_from_files_describes_them_and_checks_their_pieces(recipe in any_recipe()) {
        let torrent = recipe.torrent();
        let metainfo = Metainfo::parse(&torrent).unwrap();
        let info = &metainfo.info;
        prop_assert_eq!(&torrent[metainfo.info_span.clone()], &recipe.info()[..]);
        prop_assert_eq!((metainfo.hashes.v1.is_some(), metainfo.hashes.v2.is_some()),
            (recipe.kind != Kind::V2, recipe.kind != Kind::V1));
        prop_assert_eq!(info.name.as_str(), "made here");
        prop_assert_eq!(&metainfo.tiers, &[["http://t.example/announce"]]);

        let stored: Vec<&FileEntry> = info.files.iter().filter(|file| !file.pad).collect();
        prop_assert_eq!(stored.len(), recipe.files.len());
        for (entry, content) in stored.iter().zip(&recipe.files) {
            let single = recipe.kind == Kind::V2 && recipe.files.len() == 1 && content.path.len() == 1;
            let folder = (!single).then_some(b"made here".to_vec());
            let path: Vec<Vec<u8>> = folder.into_iter().chain(content.path.clone()).collect();
            prop_assert_eq!(entry.path.as_str().as_bytes(), path.join(&b'/'));
            prop_assert_eq!(entry.len as usize, content.bytes.len());
        }

        let mut contents = recipe.files.iter().map(|content| content.bytes.as_slice());
        let contents: Vec<&[u8]> =
            info.files.iter().map(|file| if file.pad { &[][..] } else { contents.next().unwrap() }).collect();
        prop_assert!(info.hashes.is_complete());
        for index in 0..info.layout.piece_count() {
            let piece = PieceIndex(index);
            let mut bytes = piece_bytes(&metainfo, &contents, piece);
            prop_assert_eq!(bytes.len(), info.layout.piece_len(piece) as usize);
            let check = info.hashes.check(piece).unwrap();
            prop_assert!(passes(check, &bytes), "piece {}", index);
            bytes[0] ^= 1;
            prop_assert!(!passes(check, &bytes));
        }
        prop_assert_eq!(info.hashes.check(PieceIndex(info.layout.piece_count())), None);
    }

    #[test]
    fn the_info_dictionary_alone_gives_the_same_torrent(recipe in any_recipe()) {
        let whole = Metainfo::parse(&recipe.torrent()).unwrap();
        let alone = Metainfo::from_info(&recipe.info()).unwrap();
        prop_assert_eq!(alone.hashes, whole.hashes);
        prop_assert_eq!(&alone.info.files, &whole.info.files);
        prop_assert_eq!(&alone.info.layout, &whole.info.layout);
        let layered = recipe.kind == Kind::V2 && recipe.files.iter().any(|file| file.bytes.len() > recipe.piece_len);
        prop_assert_eq!(alone.info.hashes.is_complete(), !layered);
    }

    #[test]
    fn a_torrent_with_bytes_changed_is_refused_or_read_without_panic(
        recipe in any_recipe(), changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4), cut in any::<prop::sample::Index>(),
    ) {
        let mut torrent = recipe.torrent();
        for (at, byte) in changes {
            let at = at.index(torrent.len());
            torrent[at] = byte;
        }
        let _ = Metainfo::parse(&torrent);
        let _ = Metainfo::parse(&torrent[..cut.index(torrent.len())]);
        let _ = Metainfo::from_info(&torrent);
    }
}
