//! Every verb of `wgoctl` against a mock daemon: what it sends, what it prints, how it exits.
use crate::harness::{Rig, run_with};
use serde_json::json;
use wgo_api::mock::BACKUP;
use wgo_api::torrent::State;
use wgoctl::console::Terminal;

const ASKING: Terminal =
    Terminal { columns: Some(80), err_columns: None, color: false, can_ask: true, can_redraw: false };

#[test]
fn status_is_a_page_and_a_document() {
    let rig = Rig::new();
    let ran = rig.run(&["status"]).code(0);
    let ran =
        ran.says(&["wgod 0.1.0", "pid 4242", "3: 1 downloading, 1 seeding, 1 error", "torrent 1", "50.0%"]);
    let ran = ran.says(&["2.50 MB/s", "1h 2m", "1.25", "no space left on device", "0.0.0.0:6868"]);
    ran.says(&["Confined  to /srv/torrents, by Landlock 7, seccomp, no new privileges"]);
    let document = rig.run(&["--json", "status"]).code(0).json();
    assert_eq!(document["daemon"]["pid"], 4_242_424);
    assert_eq!(document["torrents"].as_array().unwrap().len(), 3);
    let one = rig.run(&["status", "0202", "--json"]).code(0).json();
    assert_eq!(
        (one["torrents"].as_array().unwrap().len(), &one["torrents"][0]["name"]),
        (1, &json!("torrent 2"))
    );
    rig.run(&["status", "nothing"]).code(4).complains(&["no torrent matches"]);
}

#[test]
fn list_filters_sorts_and_projects() {
    let rig = Rig::new();
    let ran = rig.run(&["list"]).code(0);
    assert_eq!(ran.out.lines().count(), 4, "{}", ran.out);
    ran.says(&["NAME", "01010101", "torrent 1", "downloading"]);
    let ran = rig.run(&["list", "--no-header", "--sort", "-name", "--columns", "name,ratio"]).code(0);
    assert_eq!(ran.out, "torrent 3  1.25\ntorrent 2  1.25\ntorrent 1  1.25\n");
    let ran = rig.run(&["list", "--ids", "--filter", "state=seeding,error", "-f", "label=linux"]).code(0);
    assert_eq!(ran.out, format!("{}\n{}\n", "02".repeat(20), "03".repeat(20)));
    assert_eq!(rig.last_call().1["filter"]["states"], json!(["seeding", "error"]));
    assert_eq!(rig.run(&["list", "--ids", "-f", "RENT 2"]).out, format!("{}\n", "02".repeat(20)));
    let document = rig.run(&["--json", "list"]).code(0).json();
    assert_eq!(document["torrents"][0]["down_rate"], 2_500_000);
    assert_eq!(document["full"], true);
    let document = rig.run(&["--json", "list", "--columns", "name,up"]).code(0).json();
    let keys: Vec<&String> = document["torrents"][0].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["info_hash", "name", "up_rate"]);
    rig.run(&["list", "--sort", "nmae"]).code(2).complains(&["unknown column \"nmae\""]);
    rig.run(&["list", "--filter", "state=eating"]).code(2).complains(&["unknown state"]);
}

#[test]
fn show_prints_facts_and_what_is_asked_for() {
    let rig = Rig::new();
    let ran = rig.run(&["show", "torrent 1"]).code(0).says(&["Info-hash", "downloading", "/srv/torrents"]);
    assert!(!ran.out.contains("Files"), "{}", ran.out);
    let ran = rig.run(&["show", "0101", "--files", "--peers", "--trackers", "--pieces"]).code(0);
    let ran =
        ran.says(&["a.iso", "192.0.2.1:6881", "qBittorrent", "http://tracker.example/announce", "#.#."]);
    assert!(!ran.out.contains('\u{1b}'), "a peer's name acts on the terminal");
    let document = rig.run(&["--json", "show", "0101", "--files"]).code(0).json();
    assert_eq!(
        (&document["torrent"]["pieces"], &document["files"][0]["path"]),
        (&json!(4), &json!("torrent 1/a.iso"))
    );
    assert!(document.get("peers").is_none());
    rig.run(&["show", "01"]).code(4).complains(&["at least 4 digits"]);
    rig.run(&["show", "panics"]).code(1).complains(&["defect"]);
}

#[test]
fn show_writes_the_torrent_to_a_new_file() {
    let rig = Rig::new();
    let path = rig.daemon.folder().join("saved.torrent");
    let path = path.to_str().unwrap();
    rig.run(&["show", "0101", "--save", path]).code(0).says(&["Wrote torrent 1 to", path]);
    assert_eq!(rig.last_call(), ("metainfo".to_owned(), json!({"id": "0101"})));
    assert_eq!(std::fs::read(path).unwrap(), b"d4:name9:torrent 1e");
    rig.run(&["show", "0202", "--save", path]).code(1).complains(&["cannot write", path, "exists"]);
    assert_eq!(std::fs::read(path).unwrap(), b"d4:name9:torrent 1e");
    assert_eq!(rig.run(&["show", "0202", "--save", "-"]).code(0).out, "d4:name9:torrent 2e");
    let document = rig.run(&["--json", "show", "0101", "--save", &format!("{path}2")]).code(0).json();
    assert_eq!(document["size_bytes"], 19);
    rig.run(&["show", "nothing", "--save", &format!("{path}3")]).code(4);
    assert!(!std::path::Path::new(&format!("{path}3")).exists());
    rig.run(&["show", "0101", "--save", path, "--peers"]).code(2);
    rig.run(&["--json", "show", "0101", "--save", "-"]).code(2);
}

#[test]
fn show_of_a_file_needs_no_daemon() {
    let rig = Rig::new();
    let info = "d6:lengthi5e4:name5:a.iso12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaae";
    let torrent = format!("d8:announce20:http://t.example/ann4:info{info}e");
    let path = rig.file("a.torrent", torrent.as_bytes());
    let none = ["--socket", "/nonexistent/s"];
    let ran = run_with(&[&none[..], &["show", &path, "--json"]].concat(), b"", Terminal::default()).code(0);
    let document = ran.json();
    assert_eq!(document["torrent"]["name"], "a.iso");
    assert_eq!(document["torrent"]["size_bytes"], 5);
    assert_eq!(
        (&document["torrent"]["pieces"], &document["torrent"]["piece_length"]),
        (&json!(1), &json!(16384))
    );
    assert_eq!(document["torrent"]["info_hash"].as_str().unwrap().len(), 40);
    assert_eq!(document["files"], json!([{"path": "a.iso", "size_bytes": 5, "pad": false}]));
    assert_eq!(document["trackers"], json!([{"url": "http://t.example/ann", "tier": 0}]));
    let ran = run_with(&[&none[..], &["show", &path, "--files", "--trackers"]].concat(), b"", ASKING).code(0);
    ran.says(&["a.iso", "http://t.example/ann", "16 KiB"]);
    let bad = rig.file("bad.torrent", b"hello");
    run_with(&["show", &bad], b"", Terminal::default()).code(1).complains(&["bad.torrent", "not a"]);
    // What is no file is an id.
    rig.run(&["show", "missing.torrent"]).code(4);
}

#[test]
fn start_stop_and_verify_act_on_ids_or_all() {
    let rig = Rig::new();
    rig.run(&["stop", "0101"]).code(0).says(&["Stopped torrent 1"]);
    assert_eq!(rig.states()[0], State::Stopped);
    rig.run(&["start", "--all"]).code(0).says(&["Started 3 torrents"]);
    assert_eq!(rig.states(), [State::Downloading; 3]);
    rig.run(&["verify", "torrent 3"]).code(0).says(&["Verifying torrent 3"]);
    assert_eq!(rig.states()[2], State::Checking);
    assert_eq!(rig.last_call().1["start_over"], false);
    rig.run(&["verify", "--start-over", "torrent 3"]).code(0).says(&["Verifying torrent 3"]);
    assert_eq!(rig.last_call().1["start_over"], true);
    rig.run(&["announce", "0202"]).code(0);
    assert_eq!(rig.last_call().0, "announce");
    let ran = rig.run(&["scrape", "0202", "nothing"]).code(5);
    ran.says(&["torrent 2", "http://tracker.example/announce", "5"])
        .complains(&["no torrent matches \"nothing\""]);
    for verb in ["start", "stop", "verify", "announce", "scrape"] {
        rig.run(&[verb]).code(2);
        rig.run(&[verb, "0101", "--all"]).code(2);
    }
}

#[test]
fn move_sends_torrents_to_an_absolute_folder_or_calls_that_off() {
    let rig = Rig::new();
    let ran = rig.run(&["move", "0101", "--to", "/srv/new disk"]).code(0);
    assert_eq!((&*ran.out, rig.states()[0]), ("Moving torrent 1\n", State::Moving));
    let (method, params) = rig.last_call();
    let expected = json!({"ids": ["0101"], "all": false, "folder": "/srv/new disk", "cancel": false});
    assert_eq!((&*method, params), ("move", expected));
    rig.run(&["move", "--all", "--to", "here"]).code(0).says(&["Moving 3 torrents"]);
    let here = std::env::current_dir().unwrap().join("here");
    assert_eq!(rig.last_call().1["folder"], json!(here));
    rig.run(&["move", "0101", "--cancel"]).code(0).says(&["Not moved: torrent 1"]);
    assert_eq!(rig.last_call().1, json!({"ids": ["0101"], "all": false, "folder": null, "cancel": true}));
    rig.run(&["move", "0101", "nothing", "--to", "/x"])
        .code(5)
        .complains(&["no torrent matches \"nothing\""]);
    for wrong in [&["move", "0101"][..], &["move", "--to", "/x"], &["move", "0101", "--to", "/x", "--cancel"]]
    {
        rig.run(wrong).code(2);
    }
}

#[test]
fn rename_gives_a_new_path_as_it_was_written() {
    let rig = Rig::new();
    let ran = rig.run(&["rename", "0101", "torrent 1", "A film"]).code(0);
    assert_eq!(ran.out, "Renamed torrent 1 to A film (1 file)\n");
    let (method, params) = rig.last_call();
    assert_eq!((&*method, params), ("rename", json!({"id": "0101", "path": "torrent 1", "to": "A film"})));
    let document = rig.run(&["--json", "rename", "A film", "A film", "torrent 1"]).code(0).json();
    assert_eq!((&document["name"], &document["files"]), (&json!("torrent 1"), &json!(1)));
    rig.run(&["rename", "0101", "x", "y"]).code(4).complains(&["no file or folder “x”"]);
    rig.run(&["rename", "nothing", "x", "y"]).code(4);
    for wrong in [&["rename", "0101"][..], &["rename", "0101", "a"], &["rename", "0101", "a", "b", "c"]] {
        rig.run(wrong).code(2);
    }
}

#[test]
fn partial_success_exits_5_and_says_which_failed() {
    let rig = Rig::new();
    let ran = rig.run(&["stop", "0101", "nothing", "0202"]).code(5);
    ran.says(&["Stopped 2 torrents"]).complains(&["no torrent matches \"nothing\""]);
    rig.run(&["stop", "nothing", "nobody"]).code(4);
    let document = rig.run(&["--json", "stop", "0101", "nothing"]).code(5).json();
    assert_eq!(document["torrents"][1]["kind"], "no_match");
    rig.run(&["stop", "torrent 1", "0101"]).code(0);
}

#[test]
fn an_ambiguous_id_lists_the_candidates() {
    let rig = Rig::new();
    rig.daemon.mock().change(|torrents| torrents[1].name = "torrent 1".into());
    let ran = rig.run(&["show", "torrent 1"]).code(4);
    ran.complains(&["2 torrents", &"01".repeat(20), &"02".repeat(20)]);
}

#[test]
fn remove_keeps_data_and_never_guesses() {
    let rig = Rig::new();
    rig.run(&["remove"]).code(2);
    rig.run(&["remove", "--data"]).code(2);
    rig.run(&["remove", "--all"]).code(2).complains(&["--yes"]);
    rig.run_with(&["remove", "--all"], b"n\n", ASKING)
        .code(1)
        .complains(&["Remove 3 torrents; their files stay?"]);
    rig.run_with(&["remove", "--all"], b"", ASKING).code(1);
    assert_eq!(rig.states().len(), 3);
    rig.run(&["remove", "0101"]).code(0).says(&["Removed torrent 1"]);
    assert_eq!(rig.last_call().1, json!({"ids": ["0101"], "all": false, "data": false}));
    rig.run(&["remove", "--data", "0202"]).code(0);
    assert_eq!(rig.last_call().1["data"], true);
    rig.run_with(&["remove", "--all", "--data"], b"yes\n", ASKING)
        .code(0)
        .complains(&["DELETE ALL THEIR FILES"]);
    assert!(rig.states().is_empty());
    rig.run(&["remove", "--all", "-y"]).code(0);
}

#[test]
fn limits_are_read_with_units_and_sent_in_bytes() {
    let rig = Rig::new();
    rig.run(&["limit"]).code(0).says(&["up unlimited, down unlimited"]);
    rig.run(&["limit", "--up", "2 MB/s", "--down", "500"]).code(0).says(&["up 2 MB/s, down 500 KB/s"]);
    assert_eq!(rig.last_call().1, json!({"up": 2_000_000, "down": 500_000, "id": null, "label": null}));
    rig.run(&["limit", "--down", "1 MiB/s", "0101"]).code(0).says(&["torrent 1: up unlimited, down 1 MiB/s"]);
    let document = rig.run(&["--json", "limit", "--up", "0"]).code(0).json();
    assert_eq!(document["limits"], json!({"up": 0, "down": 500_000}));
    rig.run(&["limit", "--up", "fast"]).code(2).complains(&["20 MB/s"]);
    for negative in [&["limit", "--down", "-5"][..], &["limit", "--up", "-5 MB/s"], &["limit", "--up=-1"]] {
        rig.run(negative).code(2).complains(&["is negative", "0 for unlimited"]);
    }
    rig.run(&["limit", "--up", "5 Mb/s"]).code(2).complains(&["bits"]);
    rig.run(&["limit", "nothing"]).code(4);
    let ran = rig.run(&["limit", "--label", "tv", "--up", "1 MB/s"]).code(0);
    ran.says(&["Label tv, 0 torrents: up 1 MB/s, down unlimited"]);
    assert_eq!(rig.last_call().1, json!({"up": 1_000_000, "down": null, "id": null, "label": "tv"}));
    rig.run(&["limit"]).code(0).says(&["up unlimited, down 500 KB/s", "Label tv, 0 torrents: up 1 MB/s"]);
    rig.run(&["limit", "--label", "tv", "0101"]).code(2).complains(&["cannot be used with"]);
    rig.run(&["limit", "--label", "a,b"]).code(2).complains(&["commas separate labels"]);
}

#[test]
fn wait_returns_at_the_goal_or_exits_7() {
    let rig = Rig::new();
    rig.run(&["wait", "0202"]).code(0).says(&["torrent 2: seeding"]);
    rig.run(&["wait", "0101", "--for", "metadata"]).code(0);
    rig.run(&["wait", "0101", "--timeout", "1"]).code(7).complains(&["not reached in time"]);
    rig.run(&["wait", "0303"]).code(1).complains(&["no space left"]);
    let document = rig.run(&["--json", "wait", "0101", "--timeout", "1 s"]).code(7).json();
    assert_eq!(document["error"]["kind"], "timeout");
    let terminal = Terminal { can_redraw: true, ..Terminal::default() };
    let ran = rig.run_with(&["wait", "0101", "--timeout", "1"], b"", terminal).code(7);
    ran.complains(&["[==========>", "50.0%", "2.50 MB/s"]);
}

#[test]
fn config_reload_and_quit_speak_of_the_daemon() {
    let rig = Rig::new();
    rig.run(&["config", "show"]).code(0).says(&["/etc/wgod.toml", "network.port", "7000", "file", "default"]);
    let document = rig.run(&["--json", "config", "show", "limits"]).code(0).json();
    assert_eq!(document["settings"].as_array().unwrap().len(), 1);
    rig.run(&["config", "check"]).code(1).complains(&["network.prot", "did you mean port?"]);
    assert_eq!(rig.run(&["--json", "config", "check"]).code(1).json()["ok"], false);
    rig.run(&["config", "reset", "--all"]).code(0).says(&[
        "limits.up: was \"500 KB/s\", is \"1 MB/s\", by the file\n",
        "network.port: \"7000\" until wgod restarts, then 6868, the default\n",
        "limits.down: is forgotten; \"2 MB/s\" as before, by the command line\n",
        "limits.sideways: 1 is forgotten; this version has no such setting\n",
    ]);
    assert_eq!(rig.last_call(), ("config_reset".to_owned(), json!({ "keys": [], "all": true })));
    let named = rig.run(&["config", "reset", "limits.alt"]).code(0);
    named.says(&["limits.alt: was not set by wgoctl; \"auto\", the default\n"]);
    for wrong in [&["config", "reset"][..], &["config", "reset", "--all", "limits"]] {
        rig.run(wrong).code(2);
    }
    rig.run(&["reload"]).code(0).says(&["In force now: limits.up", "restart of wgod: network.port"]);
    let ran = rig.run(&["quit", "--now"]).code(0);
    ran.says(&["wgod has stopped"]);
    assert!(!rig.daemon.socket().exists());
    rig.run(&["status"]).code(3).complains(&["does not exist", "start wgod"]);
    assert_eq!(rig.run(&["--json", "status"]).code(3).json()["error"]["kind"], "unreachable");
}

#[test]
fn completions_need_no_daemon() {
    for shell in ["bash", "zsh", "fish"] {
        run_with(&["completions", shell], b"", Terminal::default()).code(0).says(&["wgoctl", "status"]);
    }
    let ran = run_with(&["--json", "completions", "bash"], b"", Terminal::default()).code(0);
    assert_eq!(ran.json()["shell"], "bash");
    run_with(&["completions", "cmd"], b"", Terminal::default()).code(2);
}

#[test]
fn a_backup_is_fetched_by_parts_and_appears_whole_or_not_at_all() {
    use std::os::unix::fs::PermissionsExt;
    let rig = Rig::new();
    let file = rig.file("backup", b"of yesterday");
    rig.run(&["backup", &file]).code(0).says(&["Backed up 12 torrents to ", "(54 B)"]);
    assert_eq!(std::fs::read(&file).unwrap(), BACKUP);
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(rig.last_call(), ("read_backup".to_owned(), json!({"id": "1", "offset": BACKUP.len()})));
    let piped = rig.run(&["backup", "-"]).code(0);
    assert_eq!(piped.out.as_bytes(), BACKUP);
    rig.run(&["--json", "backup", "-"]).code(2);
    let folder = std::path::Path::new(&file).parent().unwrap().to_str().unwrap().to_owned();
    rig.run(&["backup", &folder]).code(2).complains(&["is not a regular file"]);
    let names: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!names.iter().any(|name| name.to_string_lossy().ends_with(".part")), "{names:?}");
}

#[test]
fn a_restore_is_checked_first_and_asked_for() {
    let rig = Rig::new();
    let (good, bad) = (rig.file("good", BACKUP), rig.file("bad", b"nothing of the kind"));
    rig.run(&["restore", &good]).code(2).complains(&["add --yes"]);
    assert!(rig.daemon.mock().calls().is_empty(), "nothing is sent before that");
    rig.run(&["restore", "--check", &good]).code(0).says(&["whole; 12 torrents as of 2026-09-21"]);
    rig.run(&["restore", "--yes", &bad]).code(1).complains(&[&bad, "no backup of wgod"]);
    let ran = rig.run_with(&["restore", &good], b"n\n", ASKING).code(1);
    ran.complains(&[
        "Replace the present session (3 torrents) by the backup (12 torrents",
        "nothing restored",
    ]);
    assert_eq!(rig.last_call().0, "status");
    let ran = rig.run_with(&["restore", &good], b"y\n", ASKING).code(0);
    ran.says(&[
        "Restored: 12 torrents as of 2026-09-21",
        "start it again",
        "/state/state.redb.before-restore",
    ]);
    assert_eq!(rig.last_call(), ("restore".to_owned(), json!({"id": "2", "check": false})));
    rig.run(&["restore", "--check", &rig.file("missing/x", b"")]).code(3);
}

#[test]
fn set_says_what_it_means_and_refuses_what_means_nothing() {
    let rig = Rig::new();
    let goals = ["--ratio", "1.5", "--seed-time", "2 h", "--seed-idle", "none", "--goal-action", "remove"];
    rig.run(&[&["set", "torrent 1", "0202"][..], &goals].concat()).code(0).says(&["Set: 2 torrents"]);
    let sent = rig.last_call().1;
    assert_eq!((&sent["ratio"], &sent["seed_time_secs"]), (&json!(1.5), &json!(7200)));
    assert_eq!((&sent["seed_idle_secs"], &sent["goal_action"]), (&json!(0), &json!("remove")));
    rig.run(&["set", "--all", "--ratio", "default", "--priority", "low", "--sequential", "off"]).code(0);
    let sent = rig.last_call().1;
    assert_eq!((&sent["ratio"], &sent["priority"]), (&json!("default"), &json!("low")));
    assert_eq!((&sent["sequential"], &sent["up"]), (&json!(false), &json!(null)));
    let calls = rig.daemon.mock().calls();
    rig.run(&["set", "torrent 1"]).code(2).complains(&["nothing to set", "--priority"]);
    rig.run(&["set", "--ratio", "2"]).code(2).complains(&["<ID>"]);
    rig.run(&["set", "torrent 1", "--ratio", "two"]).code(2).complains(&["a ratio is a number such as 1.5"]);
    rig.run(&["set", "torrent 1", "--ratio=-1"]).code(2).complains(&["from 0", "100000"]);
    rig.run(&["set", "torrent 1", "--seed-time", "soon"]).code(2).complains(&["soon"]);
    assert_eq!(rig.daemon.mock().calls(), calls, "nothing was sent");
    rig.run(&["set", "torrent 1", "nobody", "--up", "5"]).code(4).complains(&["nobody"]);
}

#[test]
fn queue_shows_the_order_and_changes_it() {
    let rig = Rig::new();
    for (to, sent) in [("--top", json!("top")), ("--down", json!("down")), ("--position=7", json!(7))] {
        rig.run(&["queue", "0101", "0202", to]).code(0).says(&["Moved in the queue: 2 torrents"]);
        let call = rig.last_call();
        assert_eq!((call.0.as_str(), &call.1["to"]), ("queue", &sent));
    }
    rig.run(&["queue"]).code(0).says(&["QUEUE", "PRIORITY", "torrent 3"]);
    rig.run(&["queue", "0101"]).code(2).complains(&["--top"]);
    rig.run(&["queue", "--top"]).code(2).complains(&["ID"]);
    rig.run(&["queue", "0101", "--top", "--up"]).code(2).complains(&["--up"]);
    rig.run(&["start", "0101", "--now"]).code(0);
    assert_eq!(rig.last_call().1["now"], json!(true));
    rig.run(&["queue"]).code(0).says(&["now"]);
}

#[test]
fn add_takes_priority_and_goals() {
    let rig = Rig::new();
    let file = rig.file("a.torrent", b"a torrent of the mock");
    rig.run(&["add", &file, "--priority", "high", "--ratio", "2", "--seed-time", "none"]).code(0);
    let sent = rig.last_call().1;
    assert_eq!((&sent["priority"], &sent["ratio"]), (&json!("high"), &json!(2.0)));
    assert_eq!((&sent["seed_time_secs"], &sent["seed_idle_secs"]), (&json!(0), &json!(null)));
}
