//! `wgoctl config reset`: what was set over the socket is taken back, for good.
use serde_json::json;
use wgo_tests::{Daemon, Net, Settings, ctl};

#[test]
fn what_was_set_is_taken_back_for_this_run_and_later_ones() {
    let net = Net::new();
    let args = vec!["--down-limit".to_owned(), "3".to_owned()];
    let settings = Settings { ips: vec![net.home()], up: 5_000, args, ..Settings::default() };
    let mut daemon = Daemon::with(settings);
    let limits = |daemon: &Daemon| {
        let limits = daemon.status().limits;
        (limits.up, limits.down)
    };
    assert!(ctl::run(&daemon, &["config", "reset", "--all"]).expect(0).out.contains("Nothing was set"));
    ctl::run(&daemon, &["limit", "--up", "9 KB/s", "--down", "8 KB/s"]).expect(0);
    ctl::run(&daemon, &["alt", "--up", "1 KB/s"]).expect(0);
    ctl::run(&daemon, &["log", "warn"]).expect(0);
    assert_eq!(limits(&daemon), (9_000, 8_000));

    let ran = ctl::run(&daemon, &["config", "reset", "limits.up", "limits.dwon"]).expect(2);
    assert!(ran.err.contains("did you mean limits.down?"), "{ran:?}");
    assert_eq!(limits(&daemon), (9_000, 8_000), "nothing was changed");

    let ran = ctl::run(&daemon, &["config", "reset", "limits.up", "daemon.log"]).expect(0);
    assert!(ran.out.contains("limits.up: was \"9 KB/s\", is \"5 KB/s\", by the file"), "{ran:?}");
    assert!(ran.out.contains("daemon.log: was \"warn\", is \"debug\", by the file"), "{ran:?}");
    assert_eq!(limits(&daemon), (5_000, 8_000));
    let ran = ctl::run(&daemon, &["config", "reset", "limits.up"]).expect(0);
    assert!(ran.out.contains("limits.up: was not set by wgoctl; \"5 KB/s\", by the file"), "{ran:?}");

    // The command line comes before what was stored, and what was taken back stays so.
    daemon.kill9();
    daemon.run();
    assert_eq!(limits(&daemon), (5_000, 3_000));
    let (code, told) = ctl::json(&daemon, &["config", "reset", "--all"]);
    let keys: Vec<&str> =
        told["settings"].as_array().unwrap().iter().filter_map(|one| one["key"].as_str()).collect();
    assert_eq!((code, &keys[..]), (0, &["limits.down", "limits.alt_up"][..]), "{told}");
    let down = &told["settings"][0];
    assert_eq!(
        (&down["was"], &down["value"], &down["origin"]),
        (&json!("3 KB/s"), &json!("3 KB/s"), &json!("command_line"))
    );
    let (_, shown) = ctl::json(&daemon, &["config", "show"]);
    let set =
        |origin: &&serde_json::Value| ["override", "socket"].contains(&origin["origin"].as_str().unwrap());
    assert_eq!(shown["settings"].as_array().unwrap().iter().filter(set).count(), 0, "{shown}");
}
