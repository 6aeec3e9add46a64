//! `wgoctl import` against a mock daemon: what is sent, what is said, exit codes.
use std::path::{Path, PathBuf};

use serde_json::json;
use wgo_proto::bencode::Encoder;
use wgoctl::console::Terminal;

use crate::harness::{Rig, run_with};

const LEN: usize = 40_000;

/// Writes a session of Transmission with these torrents, all complete, into the rig's folder; a name that begins
/// with `gone` has no file.
fn session(rig: &Rig, names: &[&str]) -> String {
    let folder = rig.daemon.folder().join("session");
    let write = |path: PathBuf, bytes: &[u8]| {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    };
    let files = folder.join("files");
    std::fs::create_dir_all(&files).unwrap();
    for name in names {
        let (mut torrent, mut resume) = (Vec::new(), Vec::new());
        Encoder::new(&mut torrent).dict(|dict| {
            dict.entry("info").dict(|info| {
                info.entry("length").int(LEN as i64);
                info.entry("name").bytes(name);
                info.entry("piece length").int(16_384);
                info.entry("pieces").bytes([7; 60]);
            });
        });
        Encoder::new(&mut resume).dict(|dict| {
            dict.entry("destination").bytes(files.to_str().unwrap());
            dict.entry("labels").list(|list| list.item().bytes("old"));
            dict.entry("progress").dict(|progress| progress.entry("blocks").bytes("all"));
            dict.entry("uploaded").int(5);
        });
        write(folder.join(format!("torrents/{name}.torrent")), &torrent);
        write(folder.join(format!("resume/{name}.resume")), &resume);
        if !name.starts_with("gone") {
            write(files.join(name), &[0; LEN]);
        }
    }
    folder.to_str().unwrap().to_owned()
}

#[test]
fn what_the_client_knew_is_sent_with_each_torrent() {
    let rig = Rig::new();
    let folder = session(&rig, &["a"]);
    let ran = rig.run(&["import", "transmission", &folder, "--label", "new", "--paused"]).code(0);
    let ran = ran.says(&["a ", "100%", "none", "stopped", "old, new", "added", "1 torrent added"]);
    assert!(!ran.out.contains("changed"), "{}", ran.out);
    let (method, params) = rig.last_call();
    assert_eq!(method, "add");
    let files = Path::new(&folder).join("files");
    assert_eq!((&params["folder"], &params["paused"]), (&json!(files), &json!(true)));
    assert_eq!(params["labels"], json!(["old", "new"]));
    let known = &params["known"];
    assert_eq!((&known["have"], &known["uploaded_bytes"]), (&json!("all"), &json!(5)));
    assert!(known["as_of"].is_i64(), "{known}");
}

#[test]
fn a_dry_run_needs_no_daemon_and_tells_what_would_be_left() {
    let rig = Rig::new();
    let folder = session(&rig, &["a", "gone"]);
    let args = ["--socket", "/nowhere/s", "import", "transmission", &folder, "--dry-run"];
    let wide = Terminal { columns: Some(200), ..Terminal::default() };
    run_with(&args, b"", wide)
        .code(5)
        .says(&["to add", "left out", "1 torrent to add, 1 left out; nothing was changed"])
        .complains(&["files/gone is missing", "--map FROM=TO"]);
    let document = run_with(&[&["--json"], &args[..]].concat(), b"", wide).code(5).json();
    assert_eq!(document["dry_run"], json!(true));
    let row = |at: usize, key: &str| document["torrents"][at][key].clone();
    assert_eq!((row(0, "status"), row(0, "check")), (json!("would_add"), json!("none")));
    assert_eq!((row(1, "status"), row(1, "name")), (json!("failed"), json!("gone")));
    assert_eq!(rig.daemon.mock().calls().len(), 0);
}

#[test]
fn mistakes_are_told_and_nothing_is_sent() {
    let rig = Rig::new();
    let empty = session(&rig, &[]);
    let nothing = session(&rig, &["gone"]);
    let other = rig.daemon.folder().to_str().unwrap().to_owned();
    rig.run(&["import", "transmission", &nothing]).code(1).complains(&["is missing"]).says(&["1 left out"]);
    rig.run(&["import", "transmission", &other]).code(2).complains(&["no session of Transmission"]);
    rig.run(&["import", "transmission", "/nowhere"]).code(1).complains(&["cannot read /nowhere"]);
    rig.run(&["import", "qbittorrent", &empty]).code(2).complains(&["no session of qBittorrent"]);
    rig.run(&["import", "transmission", &empty, "--map", "a=b"]).code(2).complains(&["two absolute paths"]);
    rig.run(&["import", "vuze", &empty]).code(2).complains(&["possible values", "transmission"]);
    assert_eq!(rig.daemon.mock().calls().len(), 0);
}

#[test]
fn without_a_daemon_suffixes_stay() {
    let rig = Rig::new();
    let folder = session(&rig, &["a"]);
    let files = Path::new(&folder).join("files");
    std::fs::rename(files.join("a"), files.join("a.part")).unwrap();
    let args = ["--socket", "/nowhere/s", "import", "transmission", &folder];
    run_with(&args, b"", Terminal::default()).code(3).complains(&["/nowhere/s"]);
    assert!(files.join("a.part").exists() && !files.join("a").exists());
    rig.run(&args[2..]).code(0).says(&["1 file renamed, without .part at the end"]);
    assert!(files.join("a").exists());
}
