//! `wgoctl doctor` on daemons that are well, in trouble, and down.
use std::fs::OpenOptions;
use std::io::Write;

use serde_json::{Value, json};
use wgo_tests::{Daemon, Net, Settings, ctl};

/// The findings of a severity: what, why and what to do.
fn of(document: &Value, severity: &str) -> Vec<(String, String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let all = document["findings"].as_array().unwrap().iter();
    let these = all.filter(|finding| finding["severity"] == severity);
    // The folder for temporary files may well be in memory.
    let these = these.filter(|finding| !text(&finding["why"]).contains("is in memory"));
    these.map(|found| (text(&found["what"]), text(&found["why"]), text(&found["do"]))).collect()
}

fn names(found: &[(String, String, String)]) -> Vec<&str> {
    found.iter().map(|(what, ..)| what.as_str()).collect()
}

#[test]
fn a_daemon_that_is_well_has_nothing_to_do() {
    let net = Net::new();
    let daemon =
        Daemon::with(Settings { ips: vec![net.home()], descriptors: Some(4096), ..Settings::default() });
    let (code, document) = ctl::json(&daemon, &["doctor"]);
    assert_eq!(of(&document, "bad"), [], "{document:#}");
    assert_eq!(of(&document, "warn"), [], "{document:#}");
    assert_eq!(code, i32::from(document["bad"] != 0), "{document:#}");
    assert_eq!(document["running"], true);
    let fine = of(&document, "ok");
    for what in
        ["socket", "daemon", "configuration", "torrents", "port", "descriptors", "memory", "clock", "kernel"]
    {
        assert!(names(&fine).contains(&what), "{what}: {document:#}");
    }
    let why = |what: &str| fine.iter().find(|(of, ..)| of == what).map(|(_, why, _)| why.clone()).unwrap();
    assert!(why("configuration").contains(daemon.config().to_str().unwrap()));
    assert!(why("port").contains(&daemon.status().listen[0]));
    assert!(why("descriptors").starts_with("4096, "), "its own limit, not that of wgoctl");
    assert!(why("socket").contains("(0660)"));
}

#[test]
fn what_is_broken_is_seen_from_inside_the_daemon() {
    let Some(net) = Net::required("what_is_broken_is_seen_from_inside_the_daemon") else { return };
    let mounts = "mount --bind \"$HOME/downloads\" \"$HOME/downloads\"; \
        mount -o remount,bind,ro \"$HOME/downloads\"; ulimit -n 300";
    let ips = vec![net.home()];
    let daemon = Daemon::with(Settings { ips, mounts: Some(mounts.into()), ..Settings::default() });
    let mut config = OpenOptions::new().append(true).open(daemon.config()).unwrap();
    config.write_all(b"[netwrok]\nport = 1\n").unwrap();
    let (code, document) = ctl::json(&daemon, &["doctor"]);
    let bad = of(&document, "bad");
    assert_eq!((code, names(&bad)), (1, vec!["configuration", "downloads", "descriptors"]), "{document:#}");
    assert!(bad[0].1.contains("did you mean [network]?"), "{document:#}");
    assert!(
        bad[1].1.contains("Read-only file system") && bad[1].2.contains("ReadWritePaths="),
        "{document:#}"
    );
    assert!(bad[2].1.starts_with("300, too few for max_peers = 1000"), "{document:#}");
    let ran = ctl::run(&daemon, &["doctor"]).expect(1);
    assert!(ran.out.contains("\n3 bad") && ran.out.contains("→ "), "{}", ran.out);
    assert_eq!(ran.err, "");
}

#[test]
fn where_too_little_is_free_downloads_are_said_to_pause() {
    let net = Net::new();
    let storage = "min_free_space = \"1000 TB\"".to_owned();
    let daemon = Daemon::with(Settings { ips: vec![net.home()], storage, ..Settings::default() });
    let (code, document) = ctl::json(&daemon, &["doctor"]);
    let bad = of(&document, "bad");
    let downloads =
        bad.iter().find(|(what, ..)| what == "downloads").unwrap_or_else(|| panic!("{document:#}"));
    assert!(
        downloads.1.contains("less than min_free_space, ") && downloads.1.ends_with(": downloads pause"),
        "{document:#}"
    );
    assert_eq!(code, 1);
}

#[test]
fn a_daemon_that_is_down_is_looked_for() {
    let net = Net::new();
    let mut daemon = Daemon::start(&net);
    // Nobody ever was at this one, while the daemon runs at its own.
    let elsewhere = daemon.home().join("elsewhere");
    let ran = ctl::at(&elsewhere, &["doctor"], &[]).expect(1);
    let said = |text: &str| assert!(ran.out.contains(text), "no {text:?} in {}", ran.out);
    said(&format!("bad   socket          {} does not exist: wgod is not running", elsewhere.display()));
    said("start `wgod`");
    said("warn  another daemon  wgod runs with another socket: process ");
    said("ok    configuration   wgod finds no mistake");
    said("ok    kernel");

    daemon.kill9();
    let (code, document) = ctl::json(&daemon, &["doctor"]);
    assert_eq!((code, &document["running"]), (1, &json!(false)));
    let bad = of(&document, "bad");
    assert_eq!(names(&bad), ["socket"], "{document:#}");
    assert!(bad[0].1.contains("no wgod answers on"), "{document:#}");

    std::fs::write(&elsewhere, "no socket").unwrap();
    let ran = ctl::at(&elsewhere, &["doctor"], &[]).expect(1);
    assert!(ran.out.contains("is no socket: wgod can't start there"), "{}", ran.out);
}
