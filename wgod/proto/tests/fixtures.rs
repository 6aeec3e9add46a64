//! The shared torrents, good and hostile, against what libtorrent makes of them.
use serde_json::Value;
use std::collections::HashSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use wgo_proto::bencode::{BencodeError, Fault};
use wgo_proto::layout::LayoutError;
use wgo_proto::metainfo::{Metainfo, MetainfoError};

/// What differs from libtorrent on purpose.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Differs {
    /// The name, and with it the paths, are made safe in another way.
    Name,
    /// The files stand in another order.
    Order,
}

/// Every deliberate difference, with its reason.
const DIFFERENCES: &[(&str, Differs, &str)] = &[
    ("invalid_filename2.torrent", Differs::Name, "a backslash becomes `_`, libtorrent drops it"),
    (
        "v2_invalid_filename.torrent",
        Differs::Name,
        "a byte that is not UTF-8 becomes U+FFFD and a slash `_`, libtorrent makes it `_` and drops the slash",
    ),
    (
        "empty-files-2.torrent",
        Differs::Order,
        "a hybrid's files stand as in its v1 list, which has the pad file behind an empty file; libtorrent \
         makes its own pad files from the v2 tree",
    ),
];

fn folder() -> Option<PathBuf> {
    let shared = match std::env::var_os("WGOD_SHARED") {
        Some(shared) => PathBuf::from(shared),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"),
    };
    let folder = shared.join("fixtures/torrents");
    folder.is_dir().then_some(folder)
}

#[test]
fn the_shared_torrents_are_read_as_libtorrent_reads_them() {
    let Some(folder) = folder() else {
        // Past the capture of the test harness: a skipped test says so.
        let skipped =
            "SKIPPED the shared torrents: no ../shared/fixtures/torrents; set WGOD_SHARED to its `shared`";
        writeln!(std::io::stderr(), "{skipped}").unwrap();
        return;
    };
    let expected = std::fs::read(folder.join("expected.json")).unwrap();
    let expected: serde_json::Map<String, Value> = serde_json::from_slice(&expected).unwrap();
    assert!(expected.len() > 50);
    let mut wrong = Vec::new();
    for (file, expected) in &expected {
        let parsed = Metainfo::parse(&std::fs::read(folder.join(file)).unwrap());
        println!("{file}: {}", parsed.as_ref().map_or_else(|error| error.to_string(), |_| "ok".to_owned()));
        match (parsed, expected["ok"].as_bool().unwrap()) {
            (Ok(metainfo), true) => compare(file, &metainfo, expected, &mut wrong),
            (Err(error), false) => {
                let found = reason(&error);
                if !expected["error"].as_str().unwrap().contains(found) {
                    wrong.push(format!("{file}: {error}, but {}", expected["error"]));
                }
            }
            (Ok(_), false) => wrong.push(format!("{file}: accepted, but {}", expected["error"])),
            (Err(error), true) => wrong.push(format!("{file}: refused: {error}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// libtorrent's number for what this program calls `error`.
fn reason(error: &MetainfoError) -> &'static str {
    match error {
        MetainfoError::NotDict => ":3]",
        MetainfoError::Missing { key: "piece length", .. }
        | MetainfoError::Invalid { key: "piece length", .. } => ":6]",
        MetainfoError::Layout(LayoutError::PieceLenV2 { .. }) => ":6]",
        MetainfoError::Missing { key: "name", .. } | MetainfoError::Invalid { key: "name", .. } => ":7]",
        // `bad_name.torrent` is broken in many ways; here it fails by the bytes after its end.
        MetainfoError::Bencode(BencodeError { fault: Fault::Trailing { .. }, .. }) => ":7]",
        MetainfoError::Invalid { key: "path", .. } => ":8]",
        MetainfoError::Invalid { key: "length", .. } | MetainfoError::Layout(LayoutError::Empty) => ":9]",
        MetainfoError::Layout(LayoutError::TooManyPieces { .. }) => ":13]",
        MetainfoError::TreeOrder { .. } => ":15]",
        MetainfoError::Hybrid { .. } => ":213]",
        MetainfoError::PieceLayer { .. } | MetainfoError::Invalid { key: "piece layers", .. } => ":215]",
        MetainfoError::NoRoot { .. } => ":216]",
        MetainfoError::PadInTree { .. } => ":218]",
        _ => "no such reason",
    }
}

fn compare(file: &str, metainfo: &Metainfo, expected: &Value, wrong: &mut Vec<String>) {
    let differs = |how| DIFFERENCES.iter().any(|(name, difference, _)| *name == file && *difference == how);
    let Metainfo { info, hashes, .. } = metainfo;
    let mut check = |what: &str, found: Value, expected: &Value| {
        if found != *expected {
            wrong.push(format!("{file}: {what} is {found}, not {expected}"));
        }
    };
    let v2_only = hashes.v1.is_none();
    check("v1", hashes.v1.map(|hash| hash.to_string()).into(), &expected["v1"]);
    check("v2", hashes.v2.map(|hash| hash.to_string()).into(), &expected["v2"]);
    if !differs(Differs::Name) {
        check("name", info.name.clone().into(), &expected["name"]);
    }
    check("piece length", info.layout.nominal_piece_len().into(), &expected["piece_length"]);
    check("pieces", info.layout.piece_count().into(), &expected["num_pieces"]);
    check("private", info.private.into(), &expected["private"]);

    // libtorrent gives a v2-only torrent pad files of its own making; here it has none (BEP 52).
    let listed = expected["files"].as_array().into_iter().flatten();
    let listed = listed.filter(|file| !(v2_only && file["pad"] == true));
    let mut listed: Vec<(u64, bool)> =
        listed.map(|file| (file["size"].as_u64().unwrap_or(u64::MAX), file["pad"] == true)).collect();
    let mut found: Vec<(u64, bool)> = info.files.iter().map(|file| (file.len, file.pad)).collect();
    if differs(Differs::Order) {
        listed.sort_unstable();
        found.sort_unstable();
    }
    check("files", format!("{found:?}").into(), &format!("{listed:?}").into());
    let total: u64 = listed.iter().map(|(size, _)| size).sum();
    check("total", info.layout.total_len().into(), &total.into());
    if !v2_only {
        check("total", info.layout.total_len().into(), &expected["total_size"]);
    }
    let distinct: HashSet<&str> = info.files.iter().map(|file| file.path.as_str()).collect();
    check("distinct paths", distinct.len().into(), &info.files.len().into());
    for entry in &info.files {
        let safe =
            entry.path.as_path().components().all(|part| matches!(part, std::path::Component::Normal(_)));
        check("safe path", safe.into(), &true.into());
    }
}

#[test]
fn every_difference_names_a_torrent_and_a_reason() {
    let names: HashSet<_> = DIFFERENCES.iter().map(|(name, ..)| name).collect();
    assert_eq!(names.len(), DIFFERENCES.len());
    assert!(DIFFERENCES.iter().all(|(name, _, reason)| name.ends_with(".torrent") && reason.len() > 20));
    if let Some(folder) = folder() {
        assert!(DIFFERENCES.iter().all(|(name, ..)| folder.join(name).is_file()));
    }
}
