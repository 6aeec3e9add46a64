//! Torrents made to do harm, and the odd ones that must work.
use super::super::*;
use super::build::{Content, Kind, Recipe};
use crate::layout::LayoutError;
use crate::path::PathError;
use crate::units::PieceIndex;

/// A v1 torrent of one piece whose `files` are given in bencode.
fn v1(files: &str) -> Result<Metainfo, MetainfoError> {
    v1_with("", files)
}

/// The same, with entries before the others of `info`.
fn v1_with(entries: &str, files: &str) -> Result<Metainfo, MetainfoError> {
    let pieces = "01234567890123456789";
    Metainfo::from_info(
        format!("d{entries}5:filesl{files}e4:name1:t12:piece lengthi16384e6:pieces20:{pieces}e").as_bytes(),
    )
}

fn paths(metainfo: &Metainfo) -> Vec<&str> {
    metainfo.info.files.iter().map(|file| file.path.as_str()).collect()
}

/// A v2 torrent whose `file tree` is given in bencode.
fn v2(tree: &str) -> Result<Metainfo, MetainfoError> {
    Metainfo::from_info(
        format!("d9:file tree{tree}12:meta versioni2e4:name1:t12:piece lengthi16384ee").as_bytes(),
    )
}

const ROOT: &str = "11:pieces root32:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

fn hybrid() -> Recipe {
    let file = |name: &str, len| Content { path: vec![name.into()], bytes: vec![7; len] };
    let files = vec![file("a", 10), file("b", 0), file("c", 40_000)];
    Recipe { kind: Kind::Hybrid, name: b"t".to_vec(), piece_len: 16384, files, tail_pad: false }
}

/// `bytes` with the one place where `from` stands changed to `to`.
fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let places: Vec<usize> = (0..bytes.len()).filter(|&at| bytes[at..].starts_with(from)).collect();
    assert_eq!(places.len(), 1, "{}", from.escape_ascii());
    [&bytes[..places[0]], to, &bytes[places[0] + from.len()..]].concat()
}

#[test]
fn paths_cannot_leave_the_folder_and_stay_distinct() {
    let metainfo = v1(
        "d6:lengthi1e4:pathl2:..2:..6:passwdeed6:lengthi1e4:pathl11:/etc/passwdeed6:lengthi1e4:pathl1:aeed6:lengthi1e4:pathl1:a1:beed6:lengthi1e4:pathl1:\0eed6:lengthi1e4:pathl1:\\ee",
    );
    let metainfo = metainfo.unwrap();
    assert_eq!(paths(&metainfo), ["t/_/_/passwd", "t/_etc_passwd", "t/a.1", "t/a/b", "t/_.1", "t/_.2"]);
    let no_path = v1("d6:lengthi1e4:pathlee").unwrap_err();
    assert!(matches!(no_path, MetainfoError::Path { error: PathError::Empty, .. }), "{no_path}");
}

#[test]
fn a_real_file_keeps_its_name_before_a_pad_file() {
    let metainfo =
        v1("d4:attr1:p6:lengthi1e4:pathl1:aeed6:lengthi1e4:pathl1:aeed4:attr1:p6:lengthi3ee").unwrap();
    assert_eq!(paths(&metainfo), ["t/a.1", "t/a", "t/.pad/3"]);
    assert_eq!(metainfo.info.files.iter().map(|file| file.pad).collect::<Vec<_>>(), [true, false, true]);
}

#[test]
fn links_stay_inside_the_torrent() {
    let link = |target: &str, len: &str| {
        v1(&format!("d6:lengthi1e4:pathl1:xeed4:attr2:lx{len}4:pathl1:le12:symlink pathl{target}ee"))
    };
    let metainfo = link("1:a1:b", "6:lengthi0e").unwrap();
    let entry = &metainfo.info.files[1];
    assert_eq!(entry.symlink.as_ref().map(|target| target.as_str()), Some("t/a/b"));
    assert!(entry.executable && entry.len == 0 && link("1:x", "").is_ok());
    for target in ["2:..1:x", "1:a2:..2:..", "11:/etc/passwd", "1:.", "0:", "4:a/..1:b"] {
        assert!(matches!(link(target, ""), Err(MetainfoError::Symlink { .. })), "{target}");
    }
    let nowhere = link("", "6:lengthi0e").unwrap();
    assert_eq!(nowhere.info.files[1].symlink, None, "a link without a target is an empty file");
    assert!(matches!(link("1:x", "6:lengthi5e"), Err(MetainfoError::Symlink { .. })));
    assert!(matches!(link("i4e", ""), Err(MetainfoError::Invalid { key: "symlink path", .. })));
}

#[test]
fn a_utf8_twin_is_preferred_when_it_is_valid() {
    let metainfo = v1_with(
        "",
        "d6:lengthi1e4:pathl3:olde10:path.utf-8l3:neweed6:lengthi1e4:pathl3:olde10:path.utf-8lee",
    );
    assert_eq!(paths(&metainfo.unwrap()), ["t/new", "t/old"]);
    let bytes =
        b"d6:lengthi1e4:name3:old10:name.utf-82:n\xff12:piece lengthi1e6:pieces20:01234567890123456789e";
    assert_eq!(Metainfo::from_info(bytes).unwrap().info.name, "old");
}

#[test]
fn a_torrent_without_a_name_is_called_by_its_hash() {
    let bytes = b"d6:lengthi1e4:name0:12:piece lengthi1e6:pieces20:01234567890123456789e";
    let metainfo = Metainfo::from_info(bytes).unwrap();
    assert_eq!(metainfo.info.name, metainfo.hashes.canonical().to_string());
}

#[test]
fn lengths_cannot_overflow() {
    let huge = format!("d6:lengthi{}e4:pathl1:aee", i64::MAX);
    assert!(matches!(v1(&huge.repeat(3)), Err(MetainfoError::Layout(LayoutError::TooLarge))));
    assert!(matches!(v1("d6:lengthi-1e4:pathl1:aee"), Err(MetainfoError::Invalid { key: "length", .. })));
    assert!(matches!(v1("d4:pathl1:aee"), Err(MetainfoError::Missing { key: "length", .. })));
}

#[test]
fn ambiguous_torrents_are_refused() {
    for text in ["d4:infode4:infodee", "d12:piece layersde4:infode12:piece layersdee"] {
        let error = Metainfo::parse(text.as_bytes()).unwrap_err();
        assert!(error.to_string().contains("for the second time"), "{error}");
    }
    assert!(v1_with("4:name1:u", "d6:lengthi1e4:pathl1:aee").is_err());
    assert!(v1("d6:lengthi1e6:lengthi2e4:pathl1:aee").is_err());
}

#[test]
fn blanks_after_the_torrent_are_let_pass_other_bytes_are_not() {
    let torrent = hybrid().torrent();
    assert!(Metainfo::parse(&[&torrent[..], b"\r\n \n"].concat()).is_ok());
    assert!(Metainfo::parse(&[&torrent[..], b"e"].concat()).is_err());
}

#[test]
fn a_newer_version_is_named_before_anything_else() {
    let error = Metainfo::from_info(b"d12:meta versioni3ee").unwrap_err();
    assert_eq!(error.to_string(), "the torrent is of version 3; 1 and 2 are supported");
}

#[test]
fn what_an_info_dictionary_must_have_is_named_when_it_is_missing() {
    let pieces = "01234567890123456789";
    for (info, expected) in [
        ("d12:meta version1:2e".to_owned(), "meta version"),
        (format!("d4:name1:t12:piece lengthi16384e6:pieces20:{pieces}e"), "`length` or `files`"),
        (format!("d6:lengthi1e4:name1:t6:pieces20:{pieces}e"), "`piece length`"),
        (format!("d6:lengthi1e4:name1:t12:piece lengthi16384e6:pieces20:{pieces}e"), ""),
        (format!("d6:lengthi16385e4:name1:t12:piece lengthi16384e6:pieces20:{pieces}e"), "40 are needed"),
        ("d9:file treede12:meta versioni2e4:name1:t12:piece lengthi16385ee".to_owned(), "16385"),
    ] {
        match Metainfo::from_info(info.as_bytes()) {
            Ok(_) => assert_eq!(expected, "", "{info}"),
            Err(error) => assert!(!expected.is_empty() && error.to_string().contains(expected), "{error}"),
        }
    }
}

#[test]
fn a_malformed_file_tree_is_refused() {
    let file = format!("d0:d6:lengthi1e{ROOT}ee");
    assert!(v2(&format!("d1:a{file}e")).is_ok());
    let nested = format!("{}{file}{}", "d1:a".repeat(90), "e".repeat(90));
    assert_eq!(paths(&v2(&nested).unwrap())[0].len(), 2 * 91 - 1);
    let cases = [
        ("le".to_owned(), "not a dictionary"),
        ("de".to_owned(), "no bytes"),
        ("d1:adee".to_owned(), "no bytes"),
        ("d1:ai1ee".to_owned(), "an entry is not a dictionary"),
        ("d1:ad0:i1eee".to_owned(), "a file is not a dictionary"),
        (file.clone(), "the root is a file"),
        (format!("d1:ad0:d6:lengthi1e{ROOT}e1:bdeee"), "a file has entries beside it"),
        (format!("d1:b{file}1:a{file}e"), "out of order"),
        (format!("d1:a{file}1:a{file}e"), "out of order"),
        (format!("d1:ad1:b{file}0:deee"), "out of order"),
        ("d1:ad0:d6:lengthi1eeee".to_owned(), "no `pieces root`"),
        ("d1:ad0:d6:lengthi1e11:pieces root3:abceee".to_owned(), "no `pieces root`"),
        (format!("d1:ad0:d4:attr1:p6:lengthi1e{ROOT}eee"), "is a pad file"),
    ];
    for (tree, expected) in cases {
        let error = v2(&tree).unwrap_err().to_string();
        assert!(error.contains(expected), "{tree}: {error}");
    }
    // Deeper than any torrent, or than the stack.
    assert!(v2(&format!("{}{}", "d1:a".repeat(20_000), "e".repeat(20_000))).is_err());
}

#[test]
fn the_halves_of_a_hybrid_must_agree() {
    let recipe = hybrid();
    let info = recipe.info();
    assert!(Metainfo::from_info(&info).is_ok());
    let file_b = b"d6:lengthi0e4:pathl1:bee";
    let cases: [(&[u8], &[u8]); 6] = [
        (file_b, b"d6:lengthi0e4:pathl1:xee"),
        (file_b, b""),
        (file_b, b"d6:lengthi0e4:pathl1:beed6:lengthi0e4:pathl1:dee"),
        // The length of a file, with the pad file making up for it.
        (b"d6:lengthi10e4:pathl1:aee", b"d6:lengthi11e4:pathl1:aee"),
        // Files that begin one byte late, or one piece.
        (b"d4:attr1:p6:lengthi16374e", b"d4:attr1:p6:lengthi16375e"),
        (b"d4:attr1:p6:lengthi16374e", b"d4:attr1:p6:lengthi32758e"),
    ];
    for (from, to) in cases {
        let error = Metainfo::from_info(&replaced(&info, from, to)).unwrap_err();
        assert!(matches!(error, MetainfoError::Hybrid { .. }), "{error}");
    }
    // One half lists more at its end.
    let last = Content { path: vec![b"d".to_vec()], bytes: Vec::new() };
    let longer = Recipe { files: [hybrid().files, vec![last]].concat(), ..hybrid() }.info();
    for (info, from, to, expected) in [
        (&longer, &b"d6:lengthi0e4:pathl1:dee"[..], &b""[..], "\"t/d\" is only in `file tree`"),
        (&longer, b"1:dd0:d6:lengthi0eee", b"", "\"t/d\" is only in `files`"),
    ] {
        let error = Metainfo::from_info(&replaced(info, from, to)).unwrap_err().to_string();
        assert!(error.ends_with(expected), "{error}");
    }
    // A pad file of a whole piece after the last file would give v1 a piece that v2 does not have.
    let padded = replaced(&info, b"i40000e4:pathl1:cee", b"i40000e4:pathl1:ceed4:attr1:p6:lengthi16384ee");
    assert!(matches!(Metainfo::from_info(&padded), Err(MetainfoError::Hybrid { .. })));
}

#[test]
fn piece_layers_are_believed_only_when_they_hash_to_the_root() {
    let torrent = Recipe { kind: Kind::V2, ..hybrid() }.torrent();
    let layer = torrent.len() - 3;
    for (at, byte) in [(layer, b'!'), (layer - 40, b'!')] {
        let mut torrent = torrent.clone();
        torrent[at] ^= byte;
        assert!(matches!(Metainfo::parse(&torrent), Err(MetainfoError::PieceLayer { .. })));
    }
    let short = replaced(&torrent, b"96:", b"95:");
    assert!(Metainfo::parse(&short).is_err());
    // A layer of two pieces for three, and a root that is none.
    let at = (0..torrent.len()).find(|&at| torrent[at..].starts_with(b"96:")).unwrap();
    let fewer = [&torrent[..at], b"64:", &torrent[at + 35..]].concat();
    let root: String = torrent[at - 32..at].iter().map(|byte| format!("{byte:02x}")).collect();
    let error = Metainfo::parse(&fewer).unwrap_err().to_string();
    assert!(error.contains(&root) && error.contains("one hash for each piece"), "{error}");
    let error = Metainfo::parse(&[&torrent[..at - 35], b"2:ab0:ee"].concat()).unwrap_err();
    assert!(matches!(error, MetainfoError::Invalid { key: "piece layers", .. }), "{error}");
    let without = Metainfo::parse(&torrent).unwrap();
    let checked = (0..4).filter(|&piece| without.info.hashes.check(PieceIndex(piece)).is_some()).count();
    assert_eq!(checked, 4);
}

#[test]
fn files_with_the_same_root_share_one_layer() {
    let file = |name: &str| Content { path: vec![name.into()], bytes: vec![7; 40_000] };
    let recipe = Recipe { kind: Kind::V2, files: vec![file("a"), file("b"), file("c")], ..hybrid() };
    let metainfo = Metainfo::parse(&recipe.torrent()).unwrap();
    let check = |piece| metainfo.info.hashes.v2(PieceIndex(piece)).unwrap();
    assert_eq!((check(0), check(2)), (check(3), check(8)));
    // One file claims more pieces than the layer of its root has.
    let longer = replaced(&recipe.torrent(), b"1:bd0:d6:lengthi40000e", b"1:bd0:d6:lengthi50000e");
    assert!(matches!(Metainfo::parse(&longer), Err(MetainfoError::PieceLayer { .. })));
}

#[test]
fn a_short_torrent_does_not_grow_in_memory() {
    // 3,000 bytes of folders over files of a few bytes each: 90 MB of paths from 900 KB.
    let names: Vec<String> = (0..30_000).map(|index| format!("5:{index:05}d0:d6:lengthi0eee")).collect();
    let (open, close) = (format!("d250:{}", "f".repeat(250)).repeat(11), "e".repeat(11));
    let tree = format!("{open}d{}e{close}", names.concat());
    assert_eq!(v2(&tree), Err(MetainfoError::PathsTooLong));
}

#[test]
fn a_hybrid_of_one_file_lies_in_a_folder_only_if_its_v1_half_says_so() {
    let in_folder =
        Recipe { files: vec![Content { path: vec![b"t".to_vec()], bytes: vec![7; 10] }], ..hybrid() };
    let info = in_folder.info();
    assert_eq!(paths(&Metainfo::from_info(&info).unwrap()), ["t/t"]);
    let alone = replaced(&info, b"5:filesld6:lengthi10e4:pathl1:teee", b"6:lengthi10e");
    assert_eq!(paths(&Metainfo::from_info(&alone).unwrap()), ["t"]);
}
