//! `wgoctl alt` against a mock daemon.
use crate::harness::Rig;
use serde_json::json;

#[test]
fn alt_shows_sets_and_switches() {
    let rig = Rig::new();
    rig.run(&["alt"]).code(0).says(&[
        "Alternative limits off",
        "Limits    up unlimited, down unlimited",
        "Schedule  none",
    ]);
    assert_eq!(rig.last_call(), ("alt".into(), json!({"mode": null, "up": null, "down": null})));
    let ran = rig.run(&["alt", "on", "--up", "500", "--down", "2 MB/s"]).code(0);
    ran.says(&["Alternative limits on by hand, until they are switched again", "up 500 KB/s, down 2 MB/s"]);
    assert_eq!(rig.last_call().1, json!({"mode": "on", "up": 500_000, "down": 2_000_000}));
    rig.run(&["status"]).code(0).says(&["Alt       on by hand"]);
    let document = rig.run(&["--json", "alt", "auto"]).code(0).json();
    assert_eq!((&document["on"], &document["mode"]), (&json!(false), &json!("auto")));
    let ran = rig.run(&["status"]).code(0);
    assert!(!ran.out.contains("Alt "), "{}", ran.out);
    rig.run(&["alt", "sometimes"]).code(2).complains(&["on, off or auto"]);
    rig.run(&["alt", "--up", "fast"]).code(2).complains(&["fast"]);
}
