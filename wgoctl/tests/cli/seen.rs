//! `log` and `doctor` against a mock daemon.
use serde_json::json;

use crate::harness::Rig;

#[test]
fn log_shows_levels_and_sends_changes() {
    let rig = Rig::new();
    let ran = rig.run(&["log"]).code(0);
    assert_eq!(
        ran.out,
        "COMPONENT     LEVEL\n(all others)  info\nsession       info\npeer          debug\n\
         Set by wgoctl until the daemon restarts; `wgoctl log --reset` takes it back.\n"
    );
    assert_eq!(rig.last_call(), ("log".to_owned(), json!({"spec": null, "reset": false})));
    rig.run(&["log", "debug", "peer=trace,tracker=off"]).code(0);
    assert_eq!(rig.last_call().1["spec"], "debug,peer=trace,tracker=off");
    rig.run(&["log", "--reset"]).code(0).says(&["As the configuration file says."]);
    let document = rig.run(&["--json", "log"]).code(0).json();
    assert_eq!(document["components"][1], json!({"name": "peer", "level": "debug", "own": true}));
}

#[test]
fn doctor_asks_the_daemon_and_exits_by_what_is_bad() {
    let rig = Rig::new();
    let ran = rig.run(&["doctor"]).code(1);
    ran.says(&[
        "ok    kernel",
        "bad   torrents",
        "torrent 3 is in trouble",
        "→ see what it says",
        "\n1 bad.\n",
    ])
    .says(&["ok    socket", "ok    daemon"]);
    let document = rig.run(&["--json", "doctor"]).code(1).json();
    assert_eq!(
        (&document["running"], &document["bad"], &document["warn"]),
        (&json!(true), &json!(1), &json!(0))
    );
    let bad =
        document["findings"].as_array().unwrap().iter().find(|finding| finding["severity"] == "bad").unwrap();
    assert_eq!((&bad["what"], &bad["do"]), (&json!("torrents"), &json!("see what it says")));
    rig.run(&["remove", "torrent 3", "--yes"]).code(0);
    rig.run(&["doctor"]).code(0).says(&["\nAll is well.\n"]);
}
