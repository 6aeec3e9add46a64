//! The alternative limits: switched by hand and by the schedule, in the daemon's time zone.
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use wgo_tests::wait::{SOON, until};
use wgo_tests::{Daemon, Net, Settings, ctl};

fn alt(daemon: &Daemon, args: &[&str]) -> Value {
    let (code, value) = ctl::json(daemon, &[&["alt"][..], args].concat());
    assert_eq!(code, 0, "{value}");
    value
}

/// The limits in force, up and down.
fn limits_of(daemon: &Daemon) -> (u64, u64) {
    let limits = daemon.status().limits;
    (limits.up, limits.down)
}

/// A time zone as $TZ in which it is 11:00 now, and what day that is there.
fn eleven() -> (String, i64, &'static str) {
    let now = unix_now();
    let (day, time) = (now / 86_400, now % 86_400);
    // West is positive, and within what POSIX allows.
    let west = time - 11 * 3600;
    let (sign, size) = (if west < 0 { "-" } else { "" }, west.abs());
    let days = ["thu", "fri", "sat", "sun", "mon", "tue", "wed"];
    let zone = format!("XXX{sign}{:02}:{:02}:{:02}", size / 3600, size % 3600 / 60, size % 60);
    (zone, west, days[day as usize % 7])
}

fn unix_now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64
}

/// Puts another schedule into the configuration and has it read again.
fn reschedule(daemon: &Daemon, entries: &str) -> ctl::Ran {
    let text = std::fs::read_to_string(daemon.config()).unwrap();
    let lines = text.lines().map(|line| match line.starts_with("schedule = ") {
        true => format!("schedule = [{entries}]\n"),
        false => format!("{line}\n"),
    });
    std::fs::write(daemon.config(), lines.collect::<String>()).unwrap();
    ctl::run(daemon, &["reload"])
}

#[test]
fn by_hand_they_are_on_or_off_also_after_a_restart() {
    let net = Net::new();
    let mut daemon =
        Daemon::with(Settings { ips: vec![net.home()], up: 900_000, down: 800_000, ..Settings::default() });
    let shown = alt(&daemon, &["--up", "50000 B/s", "--down", "60"]);
    assert_eq!(
        (&shown["on"], &shown["mode"], &shown["until"]),
        (&json!(false), &json!("auto"), &Value::Null)
    );
    assert_eq!(limits_of(&daemon), (900_000, 800_000));
    ctl::run(&daemon, &["alt", "on"]).expect(0);
    assert_eq!(limits_of(&daemon), (50_000, 60_000));
    // The daemon's own can be changed meanwhile.
    let ran = ctl::run(&daemon, &["limit", "--up", "700"]).expect(0);
    assert!(ran.out.contains("up 700.00 KB/s") || ran.out.contains("up 700 KB/s"), "{}", ran.out);
    assert!(ran.out.contains("The alternative limits count instead"), "{}", ran.out);
    assert_eq!(limits_of(&daemon), (50_000, 60_000));
    daemon.kill9();
    daemon.run();
    assert_eq!(limits_of(&daemon), (50_000, 60_000));
    let status = ctl::run(&daemon, &["status"]).expect(0);
    assert!(status.out.contains("Alt       on by hand, until they are switched again"), "{}", status.out);
    ctl::run(&daemon, &["alt", "off"]).expect(0);
    assert_eq!(limits_of(&daemon), (700_000, 800_000));
    ctl::run(&daemon, &["alt", "auto"]).expect(0);
    ctl::run(&daemon, &["alt", "maybe"]).expect(2);
    ctl::run(&daemon, &["alt", "--up", "fast"]).expect(2);
    let shown = alt(&daemon, &[]);
    assert_eq!((&shown["mode"], &shown["limits"]), (&json!("auto"), &json!({"up": 50_000, "down": 60_000})));
}

#[test]
fn a_schedule_is_in_local_time_and_by_hand_means_until_its_next_change() {
    let net = Net::new();
    let (zone, _, day) = eleven();
    let limits =
        format!("alt_up = \"50000 B/s\"\nalt_down = \"60000 B/s\"\nschedule = [\"{day} 14:00-15:00\"]\n");
    let env = vec![("TZ".into(), zone)];
    let daemon =
        Daemon::with(Settings { ips: vec![net.home()], up: 900_000, env, limits, ..Settings::default() });
    let shown = alt(&daemon, &[]);
    assert_eq!((&shown["on"], &shown["mode"]), (&json!(false), &json!("auto")), "{shown}");
    let begin = shown["until"].as_i64().unwrap();
    // It was 11:00 when the test began.
    assert!((begin - unix_now() - 3 * 3600).abs() < 600, "{shown}");
    assert_eq!(limits_of(&daemon), (900_000, 0));
    let shown = alt(&daemon, &["on"]);
    assert_eq!((&shown["on"], &shown["mode"], &shown["until"]), (&json!(true), &json!("on"), &json!(begin)));
    alt(&daemon, &["auto"]);
    // A new schedule counts at once, one that contradicts itself not at all.
    reschedule(&daemon, &format!("\"{day} 10:00-15:00\"")).expect(0);
    assert_eq!(limits_of(&daemon), (50_000, 60_000));
    let shown = alt(&daemon, &["off"]);
    assert_eq!(
        (&shown["on"], &shown["mode"], &shown["until"]),
        (&json!(false), &json!("off"), &json!(begin + 3600))
    );
    let ran = reschedule(&daemon, &format!("\"{day} 10:00-15:00\", \"daily 14:59-16:00\"")).expect(1);
    let parts = [&format!("{day} 10:00-15:00"), "mon-sun 14:59-16:00", &format!("overlap on {day}")];
    assert!(parts.iter().all(|part| ran.err.contains(*part)), "{ran:?}");
    assert_eq!(alt(&daemon, &[])["until"], json!(begin + 3600));
}

#[test]
fn the_schedule_switches_at_its_minute_and_takes_over_from_what_was_set_by_hand() {
    let net = Net::new();
    let (zone, west, day) = eleven();
    let limits = "alt_up = \"50000 B/s\"\nschedule = []\n".to_owned();
    let settings = Settings {
        ips: vec![net.home()],
        up: 900_000,
        env: vec![("TZ".into(), zone)],
        limits,
        ..Settings::default()
    };
    let mut daemon = Daemon::with(settings);
    // Again, if the machine is so busy that the minute came first.
    let begin = (0..5).find_map(|_| {
        let local = (unix_now() - west).rem_euclid(86_400);
        let minute = (local + 20).div_euclid(60) + 1;
        let entry = format!("\"{day} {:02}:{:02}-23:00\"", minute / 60, minute % 60);
        reschedule(&daemon, &entry).expect(0);
        let begin = unix_now() - local + minute * 60;
        let until = alt(&daemon, &["off"])["until"].as_i64();
        // The time may have been read a moment later.
        until.filter(|until| (until - begin).abs() <= 2)
    });
    let begin = begin.expect("a call takes less than 20 s");
    // What is set by hand is known after a restart, too, and until when.
    daemon.kill9();
    daemon.run();
    let switched = || (daemon.status().limits.up == 50_000).then(unix_now);
    let at = until("they are on", Duration::from_secs(150), switched);
    assert!(at >= begin, "switched {} s early", begin - at);
    let shown = alt(&daemon, &[]);
    assert_eq!((&shown["on"], &shown["mode"]), (&json!(true), &json!("auto")), "{shown}");
    until("it is in the log", SOON, || {
        daemon.log().contains("the alternative limits are on, by the schedule").then_some(())
    });
    let (_, config) = ctl::json(&daemon, &["config", "show", "limits.alt"]);
    assert_eq!(config["settings"][0]["value"], "auto", "{config}");
    assert_eq!(config["settings"][0]["origin"], "default", "{config}");
}
