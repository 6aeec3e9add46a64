//! `wgoctl label` against a mock daemon.
use crate::harness::Rig;
use serde_json::json;

#[test]
fn label_gives_takes_and_replaces() {
    let rig = Rig::new();
    rig.run(&["label", "0101", "--add", "tv", "--add", "hd"]).code(0).says(&["Labelled torrent 1"]);
    let (method, params) = rig.last_call();
    let expected = json!({"ids": ["0101"], "all": false, "add": ["tv", "hd"], "remove": [], "set": null});
    assert_eq!((&*method, params), ("label", expected));
    assert_eq!(rig.labels()[0], ["linux", "tv", "hd"]);
    rig.run(&["label", "0101", "--remove", "linux", "--add", "x"]).code(0);
    assert_eq!(rig.labels()[0], ["tv", "hd", "x"]);
    rig.run(&["label", "--all", "--set", "a, b c"]).code(0).says(&["Labelled 3 torrents"]);
    assert_eq!(rig.labels(), [["a", "b c"]; 3]);
    rig.run(&["label", "0202", "--set", ""]).code(0);
    assert!(rig.labels()[1].is_empty());
    rig.run(&["label", "0101", "nothing", "--add", "y"])
        .code(5)
        .complains(&["no torrent matches \"nothing\""]);
}

#[test]
fn what_is_no_label_is_refused_before_the_daemon_is_asked() {
    let rig = Rig::new();
    for (wrong, why) in [
        (&["label", "0101"][..], "--add <LABEL>|--remove <LABEL>|--set"),
        (&["label", "--add", "x"], "ID"),
        (&["label", "0101", "--add", "a,b"], "commas separate labels"),
        (&["label", "0101", "--add", ""], "can't be empty"),
        (&["label", "0101", "--add", "a\u{1b}[0m"], "control characters"),
        (&["label", "0101", "--set", "a,,b"], "can't be empty"),
        (&["label", "0101", "--set", "a", "--add", "b"], "cannot be used with"),
        (&["label", "0101", "--add", "a", "--remove", "a"], "\"a\" is to be added and removed"),
        (&["add", "--label", "a,b", "x.torrent"], "commas separate labels"),
    ] {
        let ran = rig.run(wrong).code(2).complains(&[why]);
        assert!(!ran.err.contains('\u{1b}'), "{}", ran.err);
    }
    assert!(rig.daemon.mock().calls().is_empty(), "the daemon was asked");
}
