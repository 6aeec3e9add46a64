//! `wgoctl create`: what it makes, what it refuses, and what it hands to the daemon.
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;
use wgo_proto::metainfo::Metainfo;
use wgoctl::console::{Console, Terminal};

use crate::harness::{Ran, Rig, run_with};

/// A folder to work in, with `album` in it.
fn place() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let album = dir.path().join("album");
    fs::create_dir_all(album.join("scans")).unwrap();
    fs::write(album.join("b.flac"), vec![1; 40_000]).unwrap();
    fs::write(album.join("a.flac"), vec![2; 100]).unwrap();
    fs::write(album.join("scans/é.png"), vec![3; 16_384]).unwrap();
    fs::write(album.join(".log"), "x").unwrap();
    dir
}

/// Runs `create` with `album` (or `{}` in the arguments: the place) and writes `out`.
fn create(dir: &TempDir, args: &[&str]) -> Ran {
    let at = |path: &str| dir.path().join(path).to_str().unwrap().to_owned();
    let (album, out) = (at("album"), at("out.torrent"));
    let mut all = vec!["create", &album, "-o", &out];
    all.extend(args);
    run_with(&all, b"", Terminal::default())
}

fn read(dir: &TempDir) -> Metainfo {
    Metainfo::parse(&fs::read(dir.path().join("out.torrent")).unwrap()).unwrap()
}

fn paths(meta: &Metainfo) -> Vec<&str> {
    meta.info.files.iter().filter(|file| !file.pad).map(|file| file.path.as_str()).collect()
}

#[test]
fn a_v1_torrent_is_made_unless_another_kind_is_asked_for() {
    let dir = place();
    for (option, v1, v2) in [
        (None, true, false),
        (Some("--v1"), true, false),
        (Some("--v2"), false, true),
        (Some("--hybrid"), true, true),
    ] {
        let options: Vec<&str> = option.into_iter().chain(["--force"]).collect();
        create(&dir, &options).code(0).says(&[
            "Torrent file",
            "out.torrent",
            "Info-hash",
            "magnet:?xt=urn:bt",
        ]);
        let meta = read(&dir);
        assert_eq!((meta.hashes.v1.is_some(), meta.hashes.v2.is_some()), (v1, v2), "{option:?}");
        assert_eq!(paths(&meta), ["album/.log", "album/a.flac", "album/b.flac", "album/scans/é.png"]);
        assert_eq!(meta.created_by, Some(format!("wgoctl/{}", env!("CARGO_PKG_VERSION"))));
        assert!(meta.creation_date.is_some_and(|date| date > 1_700_000_000));
    }
    create(&dir, &["--v1", "--v2"]).code(2).complains(&["cannot be used with"]);
}

#[test]
fn options_reach_the_torrent() {
    let dir = place();
    let options = [
        "--tracker",
        "http://a/x,udp://b:1",
        "-t",
        "https://c/",
        "--web-seed",
        "http://seed/",
        "--private",
        "--source",
        "SITE",
        "--comment",
        "for you",
        "--no-date",
        "--no-creator",
        "--piece-length",
        "32 KiB",
        "--name",
        "other",
        "--v1",
        "--align",
    ];
    create(&dir, &options).code(0);
    let meta = read(&dir);
    assert_eq!(meta.tiers, [vec!["http://a/x", "udp://b:1"], vec!["https://c/"]]);
    assert_eq!(meta.web_seeds, ["http://seed/"]);
    assert_eq!((meta.info.private, meta.info.source.as_deref()), (true, Some("SITE")));
    assert_eq!((meta.comment.as_deref(), meta.creation_date, meta.created_by), (Some("for you"), None, None));
    assert_eq!((meta.info.name.as_str(), meta.info.layout.nominal_piece_len()), ("other", 32768));
    assert!(meta.info.files.iter().any(|file| file.pad));
    // The same again is the same file, byte for byte.
    let first = fs::read(dir.path().join("out.torrent")).unwrap();
    create(&dir, &[&options[..], &["--force"]].concat()).code(0);
    assert_eq!(fs::read(dir.path().join("out.torrent")).unwrap(), first);
}

#[test]
fn one_json_document_says_what_was_made() {
    let dir = place();
    symlink("nowhere", dir.path().join("album/broken")).unwrap();
    let ran = create(&dir, &["--json"]).code(0);
    let made = ran.json();
    assert_eq!(made["file"], dir.path().join("out.torrent").to_str().unwrap());
    assert_eq!(made["torrent"]["info_hash"], read(&dir).hashes.canonical().to_string());
    assert_eq!((&made["torrent"]["size_bytes"], &made["added"]), (&json!(56_485), &Value::Null));
    assert_eq!(made["skipped"][0]["why"], "a link that leads nowhere");
    ran.complains(&["note: left out ", "broken: a link that leads nowhere"]);
}

#[test]
fn a_single_file_is_a_torrent_without_a_folder() {
    let dir = place();
    let file = dir.path().join("album/b.flac");
    let out = dir.path().join("out.torrent");
    run_with(&["create", file.to_str().unwrap(), "-o", out.to_str().unwrap()], b"", Terminal::default())
        .code(0);
    assert_eq!(paths(&read(&dir)), ["b.flac"]);
    // Other than one in a folder; but v2 can't tell the two apart.
    let scans = dir.path().join("album/scans");
    let run = |option| {
        let args = ["create", scans.to_str().unwrap(), "-o", out.to_str().unwrap(), "--force", option];
        run_with(&args, b"", Terminal::default()).code(0)
    };
    run("--hybrid");
    assert_eq!(paths(&read(&dir)), ["scans/é.png"]);
    run("--v2").complains(&["note: a v2 torrent of one file has no folder: clients look for é.png itself"]);
    assert_eq!(paths(&read(&dir)), ["é.png"]);
}

#[test]
fn globs_leave_files_and_folders_out() {
    let dir = place();
    let options = ["--exclude", "*.log", "--exclude", "scans", "--exclude", "*.mp3"];
    create(&dir, &options).code(0).complains(&["note: --exclude *.mp3 matches nothing here"]);
    assert_eq!(paths(&read(&dir)), ["album/a.flac", "album/b.flac"]);
    create(&dir, &["--exclude", "a["]).code(2).complains(&["--exclude <GLOB>"]);
    create(&dir, &["--force", "--exclude", "*"]).code(1).complains(&["there is no file in it"]);
}

#[test]
fn the_torrent_file_is_no_part_of_itself_and_never_lost() {
    let dir = place();
    let inside = dir.path().join("album/it.torrent");
    let inside = inside.to_str().unwrap();
    let album = dir.path().join("album");
    let run = |more: &[&str]| {
        let all = [&["create", album.to_str().unwrap(), "--no-date", "-o", inside], more].concat();
        run_with(&all, b"", Terminal::default())
    };
    run(&[]).code(0);
    let first = fs::read(inside).unwrap();
    run(&[]).code(2).complains(&["it.torrent is there already; --force replaces it"]);
    run(&["--force"]).code(0).complains(&["note: left out ", "it.torrent: the torrent file itself"]);
    assert_eq!(fs::read(inside).unwrap(), first);
    run(&["--force", "--exclude", "*"]).code(1);
    assert_eq!(fs::read(inside).unwrap(), first);
    let left: Vec<_> = fs::read_dir(&album).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_str().unwrap().ends_with(".part")), "{left:?}");
}

#[test]
fn what_can_not_be_done_is_told_before_anything_is_hashed() {
    let dir = place();
    let at = |path: &str| dir.path().join(path).to_str().unwrap().to_owned();
    for (options, says) in [
        (&["--tracker", "wss://a/"][..], "is no tracker's URL"),
        (&["--tracker", "http://a/,"], "is no tracker's URL"),
        (&["--web-seed", "udp://a:1"], "is no URL of a web seed"),
        (&["--piece-length", "100 KB"], "power of two"),
        (&["--piece-length", "8 KiB"], "from \"16 KiB\" to \"128 MiB\""),
        (&["--piece-length", "256 MiB"], "from \"16 KiB\" to \"128 MiB\""),
        (&["--piece-length", "1 furlong"], "unknown unit"),
        (&["--name", "a/b"], "cannot be the name of a torrent"),
        (&["--name", ""], "cannot be the name of a torrent"),
        (&["--v2", "--align"], "cannot be used with"),
    ] {
        create(&dir, options).code(2).complains(&[says]);
        assert!(!Path::new(&at("out.torrent")).exists(), "{options:?}");
    }
    let run = |args: &[&str]| run_with(&[&["create"], args].concat(), b"", Terminal::default());
    run(&[&at("gone")]).code(1).complains(&["cannot read", "gone", "No such file"]);
    run(&[&at("album"), "-o", &at("no/such/folder.torrent")])
        .code(1)
        .complains(&["cannot write", "No such file"]);
    run(&[&at("album"), "-o", &at("album"), "--force"]).code(2).complains(&["is not a regular file"]);
    fs::create_dir(at("empty")).unwrap();
    run(&[&at("empty"), "-o", &at("x")]).code(1).complains(&["empty: there is no file in it"]);
    fs::write(at("empty/nothing"), "").unwrap();
    run(&[&at("empty"), "-o", &at("x")]).code(1).complains(&["all its files are empty"]);
    run(&["/dev/null", "-o", &at("x")]).code(1).complains(&["/dev/null: is a device"]);
    run(&["--json", &at("album"), "-o", "-"]).code(2).complains(&["with --json"]);
}

#[test]
fn names_that_no_client_could_keep_are_refused() {
    for (name, says) in [
        (&b"not \xff UTF-8"[..], "not \\xff UTF-8: its name is not UTF-8"),
        (b"back\\slash", "back\\slash: clients would store it under another name"),
        (b"bell\x07", "clients would store it under another name"),
    ] {
        let dir = place();
        fs::write(dir.path().join("album").join(OsStr::from_bytes(name)), "x").unwrap();
        let ran = create(&dir, &[]).code(1).complains(&[says, "--exclude"]);
        assert!(!ran.err.contains('\x07') && !dir.path().join("out.torrent").exists());
        create(&dir, &["--exclude", "not*", "--exclude", "*[[]\\]*", "--exclude", "b[ae][cl]*"]).code(0);
    }
    let dir = place();
    let mut deep = dir.path().join("album");
    for _ in 0..97 {
        deep.push("d");
    }
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("f"), "x").unwrap();
    create(&dir, &["--hybrid"]).code(1).complains(&["lies too deep"]);
    create(&dir, &[]).code(0);
}

#[test]
fn the_torrent_goes_to_standard_output_and_what_it_is_beside_it() {
    let dir = place();
    let album = dir.path().join("album");
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut console =
        Console { out: &mut out, err: &mut err, input: &mut &b""[..], terminal: Terminal::default() };
    assert_eq!(wgoctl::run(["wgoctl", "create", album.to_str().unwrap(), "-o", "-"], &mut console), 0);
    let meta = Metainfo::parse(&out).unwrap();
    assert!(String::from_utf8(err).unwrap().contains(&meta.hashes.canonical().to_string()));
}

#[test]
fn the_line_of_progress_is_gone_in_the_end() {
    let dir = place();
    let (album, out) = (dir.path().join("album"), dir.path().join("out.torrent"));
    let terminal = Terminal { can_redraw: true, ..Terminal::default() };
    let ran =
        run_with(&["create", album.to_str().unwrap(), "-o", out.to_str().unwrap()], b"", terminal).code(0);
    assert!(ran.err.ends_with("\r\u{1b}[K"), "{:?}", ran.err);
}

#[test]
fn the_daemon_gets_it_with_the_folder_where_the_files_are() {
    let rig = Rig::new();
    let dir = place();
    let at = |path: &str| dir.path().join(path).to_str().unwrap().to_owned();
    let add = |source: &str, options: &[&str]| {
        let out = at("out.torrent");
        rig.run(&[&["create", source, "-o", &out, "--force", "--add"], options].concat())
    };
    add(&at("album"), &[]).code(0).says(&["Added         to the daemon"]);
    let (method, params) = rig.last_call();
    assert_eq!((method.as_str(), &params["check"]), ("add", &json!("quick")));
    assert_eq!(params["folder"], dir.path().to_str().unwrap());
    add(&at("album/b.flac"), &[]).code(0);
    assert_eq!(rig.last_call().1["folder"], at("album"));
    add(&at("album/scans/.."), &[]).code(0);
    assert_eq!(rig.last_call().1["folder"], dir.path().to_str().unwrap());
    let calls = rig.daemon.mock().calls().len();
    add(&at("album"), &["--v2"]).code(2).complains(&["v2-only"]);
    assert_eq!(rig.daemon.mock().calls().len(), calls);
}

#[test]
fn without_a_daemon_nothing_is_made_for_it() {
    let rig = Rig::new();
    rig.run(&["quit"]).code(0);
    let dir = place();
    let (album, out) = (dir.path().join("album"), dir.path().join("out.torrent"));
    let args = ["create", album.to_str().unwrap(), "-o", out.to_str().unwrap(), "--add"];
    rig.run(&args).code(3).complains(&["no wgod here"]);
    assert!(!out.exists());
    rig.run(&args[..4]).code(0);
}
