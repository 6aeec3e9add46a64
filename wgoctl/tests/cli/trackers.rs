//! `wgoctl trackers` against a mock daemon.
use crate::harness::Rig;
use serde_json::json;

#[test]
fn trackers_are_listed_and_changed() {
    let rig = Rig::new();
    rig.run(&["trackers", "0101"]).code(0).says(&["TIER", "http://tracker.example/announce"]);
    let nothing = json!({"id": "0101", "add": [], "remove": [], "replace": [], "tier": null});
    assert_eq!(rig.last_call(), ("trackers".into(), nothing));
    let args =
        ["trackers", "0101", "--add", "udp://new.example:1", "--add", "udp://b.example:2", "--tier", "1"];
    rig.run(&args).code(0).says(&["udp://new.example:1", "udp://b.example:2"]);
    assert_eq!(
        (&rig.last_call().1["add"][1], &rig.last_call().1["tier"]),
        (&json!("udp://b.example:2"), &json!(1))
    );
    let args = ["trackers", "0101", "--replace", "a", "b", "--replace", "c", "d", "--remove", "e", "--json"];
    let document = rig.run(&args).code(0).json();
    assert_eq!(document["trackers"][0]["url"], "http://tracker.example/announce");
    let replace = json!([{"old": "a", "new": "b"}, {"old": "c", "new": "d"}]);
    assert_eq!((&rig.last_call().1["replace"], &rig.last_call().1["remove"]), (&replace, &json!(["e"])));
    for wrong in
        [&["trackers"][..], &["trackers", "0101", "--replace", "a"], &["trackers", "0101", "--tier", "1"]]
    {
        rig.run(wrong).code(2);
    }
    rig.run(&["trackers", "nothing"]).code(4);
}
