//! Torrents that are wrong, hostile or not for this version: refused with a reason, nothing written,
//! nothing lost.
use std::path::{Path, PathBuf};

use serde_json::Value;
use wgo_api::Kind;
use wgo_api::result::AddStatus;
use wgo_proto::bencode::Encoder;
use wgo_tests::payload::files_below;
use wgo_tests::wait::{SOON, until};
use wgo_tests::{Daemon, Maker, Net, Payload, Torrent, ctl};

/// A v1 torrent with these paths, 10 bytes each.
fn with_paths(name: &str, paths: &[&[&str]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    Encoder::new(&mut bytes).dict(|dict| {
        dict.entry("info").dict(|info| {
            info.entry("files").list(|list| {
                for path in paths {
                    list.item().dict(|file| {
                        file.entry("length").int(10);
                        file.entry("path")
                            .list(|parts| path.iter().for_each(|part| parts.item().bytes(part)));
                    });
                }
            });
            info.entry("name").bytes(name);
            info.entry("piece length").int(16_384);
            info.entry("pieces").bytes([7; 20]);
        });
    });
    bytes
}

fn as_torrent(bytes: Vec<u8>) -> Torrent {
    let payload = Payload::single("x", 1, 16_384);
    Torrent { bytes, ..Maker::new(&payload).make() }
}

#[test]
fn what_is_no_torrent_is_refused_with_a_reason() {
    let net = Net::new();
    let daemon = Daemon::start(&net);
    let good = Maker::new(&Payload::single("good.bin", 50_000, 16_384)).make();
    let truncated = good.bytes[..good.bytes.len() - 30].to_vec();
    let nested = [vec![b'l'; 200_000], vec![b'e'; 200_000]].concat();
    let huge = b"d4:infod6:lengthi9223372036854775807e4:name1:a12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaaee";
    let cases: [(&str, Vec<u8>); 7] = [
        ("nothing", Vec::new()),
        ("not bencode", b"<html>not found</html>".to_vec()),
        ("truncated", truncated),
        ("deep nesting", nested),
        ("a huge string", b"d4:info99999999999:".to_vec()),
        ("a huge length", huge.to_vec()),
        ("no info", b"d8:announce3:abce".to_vec()),
    ];
    for (what, bytes) in cases {
        let added = daemon.try_add(&as_torrent(bytes.clone()), &daemon.downloads(), &[]);
        assert_eq!(added.status, AddStatus::Failed, "{what}");
        assert_eq!(added.kind, Some(Kind::BadTorrent), "{what}: {added:?}");
        assert!(!added.error.unwrap().is_empty(), "{what}");
        let ran = ctl::run_with(&daemon, &["add", "-"], &bytes);
        // Text on standard input is a list of sources: of files that aren't there, then.
        assert!([1, 2].contains(&ran.code) && !ran.err.is_empty(), "{what}: {ran:?}");
    }
    assert!(daemon.list().is_empty());
    daemon.add(&good, &daemon.downloads(), &[]);
}

#[test]
fn no_path_leaves_the_folder() {
    let net = Net::new();
    let daemon = Daemon::start(&net);
    let folder = daemon.home().join("deep/inside/here");
    std::fs::create_dir_all(&folder).unwrap();
    let hostile: [(&str, &[&[&str]]); 5] = [
        ("up", &[&["..", "..", "escaped"]]),
        ("absolute", &[&["/etc", "escaped"]]),
        ("slash", &[&["a/../../../escaped"]]),
        ("..", &[&["escaped"]]),
        ("same", &[&["a"], &["a"], &["A"]]),
    ];
    for (name, paths) in hostile {
        let added = daemon.try_add(&as_torrent(with_paths(name, paths)), &folder, &[]);
        if added.status == AddStatus::Failed {
            continue;
        }
        let id = added.info_hash.unwrap();
        for file in daemon.show(&id).files.unwrap() {
            let is_plain = |part: std::path::Component<'_>| matches!(part, std::path::Component::Normal(_));
            assert!(Path::new(&file.path).components().all(is_plain), "{name}: {}", file.path);
        }
    }
    let outside: Vec<PathBuf> = files_below(daemon.home())
        .into_iter()
        .filter(|path| path.to_string_lossy().contains("escaped"))
        .collect();
    assert!(outside.iter().all(|path| path.starts_with(&folder)), "{outside:?}");
}

#[test]
fn a_symbolic_link_in_the_folder_is_not_followed_out_of_it() {
    let net = Net::new();
    let daemon = Daemon::start(&net);
    let outside = tempfile::tempdir().unwrap();
    let payload = Payload::multi("links", 16_384, &[("sub/file", 20_000), ("top", 20_000)]);
    std::fs::create_dir_all(daemon.downloads().join("links")).unwrap();
    std::os::unix::fs::symlink(outside.path(), daemon.downloads().join("links/sub")).unwrap();
    let mut net = net;
    let torrent = Maker::new(&payload).make();
    let seeder = wgo_tests::seeder::Seeder::start(net.ip(), &[(&payload, &torrent)]);
    let added = daemon.try_add(&torrent, &daemon.downloads(), &[seeder.addr()]);
    if added.status != AddStatus::Failed {
        let id = added.info_hash.unwrap();
        until("the torrent names the link", SOON, || {
            daemon.torrent(&id).error.filter(|error| error.contains("sub")).map(drop)
        });
    }
    assert!(files_below(outside.path()).is_empty(), "something was written through the link");
}

#[test]
fn a_link_with_a_v2_hash_of_another_kind_is_refused_by_name() {
    let net = Net::new();
    let daemon = Daemon::start(&net);
    let sha1 = "magnet:?xt=urn:btmh:1114cafebabecafebabecafebabecafebabecafebabe";
    let ran = ctl::run(&daemon, &["add", sha1]).expect(1);
    assert!(ran.err.contains("is not 1220 and 64 hexadecimal digits"), "{ran:?}");
    assert!(daemon.list().is_empty());
}

#[test]
fn every_fixture_is_accepted_or_refused_and_none_does_harm() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/fixtures/torrents");
    let Ok(text) = std::fs::read_to_string(folder.join("expected.json")) else {
        return eprintln!("SKIPPED every_fixture_is_accepted_or_refused: no {}", folder.display());
    };
    let expected: Value = serde_json::from_str(&text).unwrap();
    let net = Net::new();
    let mut daemon = Daemon::start(&net);
    let inside = daemon.home().join("a/b/c/d");
    std::fs::create_dir_all(&inside).unwrap();
    let mut seen = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "torrent") {
            continue;
        }
        seen += 1;
        let torrent = as_torrent(std::fs::read(&path).unwrap());
        let added = daemon.try_add(&torrent, &inside, &[]);
        let said = added.error.clone().unwrap_or_default();
        assert!(added.status != AddStatus::Failed || !said.is_empty(), "{} without a reason", path.display());
        assert_ne!(added.kind, Some(Kind::Internal), "{}: {said}", path.display());
    }
    assert!(seen > 30, "{seen} fixtures; expected.json has {:?}", expected.as_object().map(|all| all.len()));
    for path in files_below(daemon.home()) {
        let ours =
            ["state", "log", "wgod.toml", "s"].iter().any(|name| path.starts_with(daemon.home().join(name)));
        assert!(ours || path.starts_with(&inside), "{} was written", path.display());
    }
    assert!(daemon.process().ended().is_none(), "it still runs");
    assert!(!daemon.log().contains("panicked"), "nothing panicked");
}
