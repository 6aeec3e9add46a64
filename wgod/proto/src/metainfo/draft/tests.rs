//! What is drafted is read back the same, by our reader and by another; and is what an independent writer makes.
use super::super::tests::build::{Content, Kind, Recipe};
use super::super::tests::round_trip::any_recipe;
use super::super::{Metainfo, PieceCheck};
use super::*;
use crate::layout::Span;
use crate::merkle::{self, Hash};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use sha1::{Digest, Sha1};

fn path(path: &[Vec<u8>]) -> SafePath {
    SafePath::sanitise(path).unwrap()
}

/// The same torrent as a draft, its files in another order.
fn draft_of(recipe: &Recipe) -> (Draft, Vec<&Content>) {
    let contents: Vec<&Content> = recipe.files.iter().rev().collect();
    let file = |content: &&Content| NewFile {
        path: path(&content.path),
        len: content.bytes.len() as u64,
        executable: content.bytes.len() % 3 == 1,
    };
    let shape = Shape {
        version: match recipe.kind {
            Kind::V1 => Version::V1,
            Kind::V2 => Version::V2,
            Kind::Hybrid => Version::Hybrid,
        },
        name: String::from_utf8(recipe.name.clone()).unwrap(),
        folder: true,
        piece_len: recipe.piece_len as u32,
        aligned: false,
    };
    (Draft::new(shape, contents.iter().map(file).collect()).unwrap(), contents)
}

/// Hashes the pieces by the crates, one by one.
fn hash(draft: &Draft, contents: &[&Content]) -> Hashes {
    let mut hashes = Hashes::default();
    for piece in (0..draft.layout().piece_count()).map(PieceIndex) {
        let part = |span: Span| match draft.part(span.file).unwrap() {
            Part::Pad(_) => vec![0; span.len as usize],
            Part::File(index) => contents[index].bytes[span.offset as usize..][..span.len as usize].to_vec(),
        };
        let bytes: Vec<u8> = draft.layout().spans(piece, 0, u32::MAX).flat_map(part).collect();
        if draft.version().has_v1() {
            hashes.v1.push(Sha1::digest(&bytes).into());
        }
        if let Some(Subtree { width, len }) = draft.subtree(piece) {
            let leaves: Vec<Hash> =
                bytes[..len as usize].chunks(BLOCK_LEN as usize).map(merkle::leaf).collect();
            hashes.v2.push(merkle::leaves_root(&leaves, width as usize));
        }
    }
    hashes
}

fn any_outer() -> impl Strategy<Value = OuterKeys> {
    let tiers = vec(vec("http://[a-z]{1,3}/", 1..3), 0..3).prop_map(crate::urls::tiers);
    let seeds = vec("https://[a-z]{1,3}/", 0..3).prop_map(crate::urls::web_seeds);
    let text = || option::of("\\PC{1,9}");
    (tiers, seeds, text(), text(), option::of(0i64..4_000_000_000)).prop_map(
        |(tiers, web_seeds, comment, created_by, creation_date)| OuterKeys {
            tiers,
            web_seeds,
            comment,
            created_by,
            creation_date,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_drafted_torrent_is_read_back_as_it_was_meant(
        recipe in any_recipe(), outer in any_outer(), private: bool, source in option::of("[a-z]{1,5}"),
    ) {
        let (draft, contents) = draft_of(&recipe);
        let hashes = hash(&draft, &contents);
        let keys = InfoKeys { private, source: source.clone() };
        let info = draft.info(&hashes, &keys);
        let bytes = torrent(&info, draft.layers(&hashes).as_deref(), &outer);
        let read = Metainfo::parse(&bytes).unwrap();

        prop_assert_eq!(&bytes[read.info_span.clone()], &info[..]);
        let found = OuterKeys {
            tiers: read.tiers,
            web_seeds: read.web_seeds,
            comment: read.comment,
            created_by: read.created_by,
            creation_date: read.creation_date,
        };
        prop_assert_eq!(found, outer);
        prop_assert_eq!((read.info.private, read.info.source), (private, source));
        prop_assert_eq!(&read.info.layout, draft.layout());
        for (index, entry) in (0u32..).zip(&read.info.files) {
            match draft.part(FileIndex(index)).unwrap() {
                Part::Pad(len) => prop_assert_eq!((entry.pad, entry.len), (true, len)),
                Part::File(given) => {
                    let file = &draft.files[given];
                    prop_assert_eq!((entry.len, entry.executable), (file.len, file.executable));
                    prop_assert!(entry.path.as_str().ends_with(file.path.as_str()));
                }
            }
        }
        for piece in (0..draft.layout().piece_count()).map(PieceIndex) {
            let at = piece.0 as usize;
            let subtree = draft.subtree(piece);
            match read.info.hashes.check(piece).unwrap() {
                PieceCheck::V1(v1) => prop_assert_eq!(v1, hashes.v1[at]),
                PieceCheck::V2(v2) => prop_assert_eq!((v2.root, Some(Subtree { width: v2.width, len: v2.len })), (hashes.v2[at], subtree)),
                PieceCheck::Both(v1, v2) => {
                    prop_assert_eq!((v1, v2.root), (hashes.v1[at], hashes.v2[at]));
                    prop_assert_eq!(Some(Subtree { width: v2.width, len: v2.len }), subtree);
                }
            }
        }
        // Another implementation reads it, and writes the same: keys are sorted, numbers are plain.
        let value: serde_bencode::value::Value = serde_bencode::from_bytes(&bytes).unwrap();
        prop_assert_eq!(serde_bencode::to_bytes(&value).unwrap(), bytes);
    }

    #[test]
    fn the_info_dictionary_is_what_an_independent_writer_makes(mut recipe in any_recipe()) {
        recipe.tail_pad = recipe.files.len() > 1;
        // The other writer knows no attributes, and takes the order of files as it is given.
        recipe.files.iter_mut().for_each(|file| {
            if file.bytes.len() % 3 == 1 {
                file.bytes.push(7);
            }
        });
        match recipe.kind {
            Kind::V1 => recipe.files.sort_by_key(|file| file.path.join(&b'/')),
            Kind::V2 | Kind::Hybrid => recipe.files.sort_by(|a, b| a.path.cmp(&b.path)),
        }
        let (draft, contents) = draft_of(&recipe);
        let hashes = hash(&draft, &contents);
        prop_assert_eq!(draft.info(&hashes, &InfoKeys::default()), recipe.info());
    }
}

fn shape(version: Version) -> Shape {
    Shape { version, name: "n".into(), folder: true, piece_len: 16384, aligned: false }
}

fn files(list: &[(&str, u64)]) -> Vec<NewFile> {
    let file = |(path, len): &(&str, u64)| NewFile {
        path: SafePath::exact(path).unwrap(),
        len: *len,
        executable: false,
    };
    list.iter().map(file).collect()
}

#[test]
fn files_stand_in_the_order_of_their_paths_or_of_their_tree() {
    let given = files(&[("a/z", 1), ("a.b", 1), ("a-b/c", 1), ("Z", 1), ("a", 0)][..4]);
    let order = |version| -> Vec<usize> {
        let draft = Draft::new(shape(version), given.clone()).unwrap();
        let file = |part: &Part| if let Part::File(index) = part { Some(*index) } else { None };
        draft.parts.iter().filter_map(file).collect()
    };
    assert_eq!(order(Version::V1), [3, 2, 1, 0]);
    assert_eq!(order(Version::Hybrid), [3, 0, 2, 1]);
    assert_eq!(order(Version::V2), [3, 0, 2, 1]);
}

#[test]
fn pads_fill_pieces_where_files_must_begin_them() {
    let given = files(&[("a", 100), ("b", 0), ("c", 16384), ("d", 16385)]);
    let parts = |shape| Draft::new(shape, given.clone()).unwrap().parts;
    let padded =
        [Part::File(0), Part::Pad(16284), Part::File(1), Part::File(2), Part::File(3), Part::Pad(16383)];
    assert_eq!(parts(shape(Version::Hybrid)), padded);
    assert_eq!(parts(Shape { aligned: true, ..shape(Version::V1) }), padded);
    assert_eq!(parts(shape(Version::V1)).len(), 4);
    assert_eq!(parts(shape(Version::V2)).len(), 4);
    // A file alone has nobody to make room for.
    assert_eq!(Draft::new(shape(Version::Hybrid), files(&[("a", 100)])).unwrap().parts, [Part::File(0)]);
}

#[test]
fn what_makes_no_torrent_is_refused() {
    let made = |shape, list: &[(&str, u64)]| Draft::new(shape, files(list)).map(|_| ());
    let v1 = || shape(Version::V1);
    assert_eq!(made(v1(), &[]), Err(LayoutError::Empty.into()));
    assert_eq!(made(v1(), &[("a", 0)]), Err(LayoutError::Empty.into()));
    for found in [0, 8192, 16385, 256 << 20] {
        assert_eq!(
            made(Shape { piece_len: found, ..v1() }, &[("a", 1)]),
            Err(DraftError::PieceLen { found })
        );
    }
    for clash in [&[("a", 1), ("a", 2)], &[("a/b", 1), ("a", 2)]] {
        let path = SafePath::exact("a").unwrap();
        assert_eq!(made(v1(), clash), Err(DraftError::Clash { path }));
    }
    let deep = |folders| format!("{}f", "d/".repeat(folders));
    assert_eq!(made(shape(Version::V2), &[(&deep(95), 1)]), Ok(()));
    assert!(matches!(made(shape(Version::V2), &[(&deep(96), 1)]), Err(DraftError::TooDeep { .. })));
    assert_eq!(made(v1(), &[(&deep(96), 1)]), Ok(()));
}

#[test]
fn the_deepest_tree_that_is_made_can_be_read() {
    let deepest = format!("{}f", "d/".repeat(95));
    let draft = Draft::new(shape(Version::Hybrid), files(&[(&deepest, 5)])).unwrap();
    let content = Content { path: Vec::new(), bytes: vec![1; 5] };
    let hashes = hash(&draft, &[&content]);
    let info = draft.info(&hashes, &InfoKeys::default());
    let bytes = torrent(&info, draft.layers(&hashes).as_deref(), &OuterKeys::default());
    assert!(Metainfo::parse(&bytes).is_ok());
}

#[test]
fn a_file_without_a_folder_is_the_torrent_and_keeps_its_permission() {
    for version in [Version::V1, Version::V2, Version::Hybrid] {
        let [mut file] = <[NewFile; 1]>::try_from(files(&[("n", 5)])).unwrap();
        file.executable = true;
        let shape = Shape { folder: false, ..shape(version) };
        let draft = Draft::new(shape, vec![file]).unwrap();
        let hashes = hash(&draft, &[&Content { path: Vec::new(), bytes: vec![1; 5] }]);
        let read = Metainfo::from_info(&draft.info(&hashes, &InfoKeys::default())).unwrap();
        let [entry] = &read.info.files[..] else { panic!("{:?}", read.info.files) };
        assert_eq!((entry.path.as_str(), entry.len, entry.executable), ("n", 5, true), "{version:?}");
    }
}

#[test]
fn the_automatic_piece_length_grows_with_the_square_root() {
    for (total, len) in [
        (0, 16 << 10),
        (2_684_355, 16 << 10),
        (2_684_356, 32 << 10),
        (4 << 30, 1 << 20),
        (703_687_441_777, 8 << 20),
        (703_687_441_778, 16 << 20),
        (16 << 40, 16 << 20),
        (64 << 40, 64 << 20),
        (1 << 48, 128 << 20),
    ] {
        assert_eq!(automatic_piece_len(total), len, "{total}");
    }
}
