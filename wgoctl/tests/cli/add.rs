//! `wgoctl add` against a mock daemon: sources of every kind, options, partial success, waiting.
use crate::harness::Rig;
use serde_json::json;
use wgo_api::mock::{BAD_URI, MockDaemon};
use wgo_api::torrent::State;
use wgoctl::console::Terminal;

const MAGNET: &str = "magnet:?xt=urn:btih:0123456789012345678901234567890123456789";

#[test]
fn files_links_and_folders_are_sent_in_order() {
    let rig = Rig::new();
    let file = rig.file("a.torrent", b"d1:ae");
    rig.file("more/c.torrent", b"d1:ce");
    rig.file("more/b.TORRENT", b"d1:be");
    rig.file("more/notes.txt", b"no torrent");
    let folder = rig.daemon.folder().join("more");
    let ran = rig.run(&["add", &file, MAGNET, folder.to_str().unwrap()]).code(0);
    assert_eq!(ran.out.matches("Added ").count(), 4, "{}", ran.out);
    let (method, params) = rig.last_call();
    assert_eq!(method, "add");
    let torrent = |text: &str| json!({ "torrent": text });
    let sources = json!([torrent("ZDE6YWU="), {"uri": MAGNET}, torrent("ZDE6YmU="), torrent("ZDE6Y2U=")]);
    assert_eq!(params["sources"], sources);
    assert_eq!(
        (&params["folder"], &params["check"], &params["paused"]),
        (&json!(null), &json!("full"), &json!(false))
    );
}

#[test]
fn options_reach_the_daemon_and_folders_become_absolute() {
    let rig = Rig::new();
    let ran = rig.run(&[
        "add",
        MAGNET,
        "--folder",
        "down/here",
        "--paused",
        "--label",
        "a",
        "--label",
        "b",
        "--check",
        "quick",
        "--peer",
        "192.0.2.7:6881",
        "--peer",
        "[2001:db8::1]:1",
        "--sequential",
    ]);
    ran.code(0);
    let params = rig.last_call().1;
    let folder = std::env::current_dir().unwrap().join("down/here");
    assert_eq!(params["folder"], folder.to_str().unwrap());
    assert_eq!(params["labels"], json!(["a", "b"]));
    assert_eq!(params["peers"], json!(["192.0.2.7:6881", "[2001:db8::1]:1"]));
    assert_eq!(
        (&params["paused"], &params["check"], &params["sequential"]),
        (&json!(true), &json!("quick"), &json!(true))
    );
    assert_eq!(rig.states().last(), Some(&State::Stopped));
    rig.run(&["add", MAGNET, "--peer", "nowhere"]).code(2);
    rig.run(&["add"]).code(2);
}

#[test]
fn standard_input_is_a_torrent_or_a_list() {
    let rig = Rig::new();
    rig.run_with(&["add", "-"], b"d1:ae", Terminal::default()).code(0);
    assert_eq!(rig.last_call().1["sources"], json!([{"torrent": "ZDE6YWU="}]));
    let file = rig.file("x.torrent", b"d1:xe");
    let list = format!("# mine\n{MAGNET}\n\n{file}\n");
    rig.run_with(&["add", "-"], list.as_bytes(), Terminal::default()).code(0);
    assert_eq!(rig.last_call().1["sources"], json!([{"uri": MAGNET}, {"torrent": "ZDE6eGU="}]));
    rig.run_with(&["add", "-"], b"", Terminal::default()).code(1).complains(&["standard input", "empty"]);
}

#[test]
fn each_source_succeeds_or_fails_by_itself() {
    let rig = Rig::new();
    let file = rig.file("a.torrent", b"d1:ae");
    let ran = rig.run(&["add", "/no/such.torrent", &file, BAD_URI]).code(5);
    let ran = ran.complains(&["/no/such.torrent", "no usable hash in it"]);
    assert_eq!(ran.out.matches("Added ").count(), 1);
    let document = rig.run(&["--json", "add", "/no/such.torrent", &file]).code(5).json();
    assert_eq!(document["torrents"][0]["status"], "failed");
    assert_eq!(document["torrents"][1]["status"], "present");
    rig.run(&["add", BAD_URI]).code(1);
    rig.run(&["add", "/no/such.torrent"]).code(2);
    let empty = rig.daemon.folder().join("empty");
    std::fs::create_dir(&empty).unwrap();
    rig.run(&["add", empty.to_str().unwrap()]).code(2).complains(&["no .torrent files"]);
}

#[test]
fn what_is_present_is_fine_unless_told_otherwise() {
    let rig = Rig::new();
    rig.run(&["add", MAGNET]).code(0).says(&["Added "]);
    rig.run(&["add", MAGNET]).code(0).says(&["Present "]);
    rig.run(&["add", MAGNET, "--fail-if-exists"]).code(6).complains(&["already here"]);
    let other = format!("{MAGNET}&dn=x");
    rig.run(&["add", MAGNET, &other, "--fail-if-exists"]).code(5);
}

#[test]
fn many_sources_take_few_requests() {
    let rig = Rig::new();
    let list: String = (0..1200).map(|i| format!("{MAGNET}&dn={i}\n")).collect();
    let ran = rig.run_with(&["add", "-"], list.as_bytes(), Terminal::default()).code(0);
    assert_eq!(ran.out.lines().count(), 1200);
    let calls = rig.daemon.mock().calls();
    assert_eq!(calls.iter().filter(|(method, _)| method == "add").count(), 3);
}

#[test]
fn waiting_follows_adding() {
    let rig = Rig::new();
    rig.run(&["add", MAGNET, "--wait", "metadata"]).code(0);
    assert_eq!(rig.last_call().1["for"], "metadata");
    rig.run(&["add", MAGNET, "--wait", "done", "--timeout", "1"]).code(7).says(&["Present "]);
    let document = rig.run(&["--json", "add", MAGNET, "--wait", "done", "--timeout", "1"]);
    assert_eq!(document.code, 7);
    assert_eq!(document.json()["torrents"][0]["status"], "present");
}

#[test]
fn without_a_daemon_nothing_is_added() {
    let rig = Rig { daemon: MockDaemon::start(Vec::new()) };
    rig.run(&["quit"]).code(0);
    rig.run(&["add", MAGNET]).code(3).complains(&["no wgod here"]);
}
