//! `wgoctl stats` against a mock daemon.
use crate::harness::Rig;
use serde_json::json;

#[test]
fn stats_tell_this_run_from_all_of_them() {
    let rig = Rig::new();
    let ran = rig.run(&["stats"]).code(0).says(&["3 torrents, up 1h", "DOWN", "2.50"]);
    let line = |name: &str| ran.out.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    assert!(line("this run").ends_with(" -"), "nothing came in, so there is no ratio: {}", ran.out);
    assert!(line("all time").ends_with("2.50"), "{}", ran.out);
    assert!(
        line("peers met").ends_with(" 1200 plain, 3 with an encrypted handshake, 41 encrypted"),
        "{}",
        ran.out
    );
    assert!(line("in vain").ends_with(" 2 closed or silent, 1 not to be encrypted"), "{}", ran.out);
    let document = rig.run(&["--json", "stats"]).code(0).json();
    assert_eq!(
        document["session"],
        json!({"downloaded_bytes": 0, "uploaded_bytes": 1_500_000, "ratio": null})
    );
    assert_eq!(document["all_time"]["ratio"], 2.5);
    assert_eq!(document["handshakes"]["failed"]["encryption"], 1);
}
