//! The service under a real systemd, installed as the README says.
use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use wgo_tests::ctl::Ran;
use wgo_tests::machine::Machine;
use wgo_tests::tracker::{Over, Tracker};
use wgo_tests::wait::{SOON, until};
use wgo_tests::{Maker, Payload};

/// Thousands of torrents are added, hashed and announced, on a machine that does other things, too.
const A_WHILE: Duration = Duration::from_secs(600);

#[track_caller]
fn wait_status(machine: &Machine, what: &str, holds: impl Fn(&str) -> bool) {
    until(what, SOON, || holds(&machine.property("wgod", "StatusText")).then_some(()));
}

#[track_caller]
fn wait_seeding(machine: &Machine) {
    until("the torrent seeds", SOON, || {
        let list = machine.run_as("alice", &["wgoctl", "list"]);
        (list.code == 0 && list.out.contains("seeding")).then_some(())
    });
}

fn alice(machine: &Machine, args: &[&str]) -> Ran {
    machine.run_as("alice", &[&["wgoctl"], args].concat())
}

#[test]
fn the_service_starts_works_reloads_survives_a_crash_and_stops() {
    let Some(machine) = Machine::boot("the_service_starts_works_reloads_survives_a_crash_and_stops") else {
        return;
    };
    machine.install();
    assert_eq!(machine.property("wgod", "ActiveState"), "active");

    // A member adds, a looker looks, others are told which group it takes.
    let payload = Payload::single("film.bin", 300_000, 16_384);
    let torrent = Maker::new(&payload).make();
    fs::write(machine.path("/tmp/film.torrent"), &torrent.bytes).unwrap();
    let downloads = machine.path("/var/lib/wgod/downloads");
    fs::create_dir_all(&downloads).unwrap();
    payload.write(&downloads);
    machine.run(&["chown", "-R", "wgod:wgod", "/var/lib/wgod/downloads"]).expect(0);
    alice(&machine, &["add", "/tmp/film.torrent", "--wait", "done", "--timeout", "60 s"]).expect(0);
    wait_seeding(&machine);
    machine.run_as("bob", &["wgoctl", "list"]).expect(0);
    machine.run_as("bob", &["wgoctl", "stop", "--all"]).expect(8);
    let told = machine.run_as("dave", &["wgoctl", "status"]).expect(8);
    assert!(told.err.contains("`sudo usermod -aG wgod dave`"), "{told:?}");
    let status = || machine.run(&["systemctl", "status", "--no-pager", "--lines=0", "wgod"]).out;
    until("systemctl shows the line", SOON, || {
        status().contains("Status: \"1 torrent, down 0 B/s, up 0 B/s\"").then_some(())
    });

    // Reloads: one that takes effect, one that can't.
    fs::write(machine.path("/etc/wgod/wgod.toml"), "[limits]\nup = \"5 MB/s\"\n").unwrap();
    machine.run(&["systemctl", "reload", "wgod"]).expect(0);
    until("the new limit is in force", SOON, || {
        alice(&machine, &["limit"]).out.contains("up 5 MB/s").then_some(())
    });
    fs::write(machine.path("/etc/wgod/wgod.toml"), "[limits]\nupp = 5\n").unwrap();
    machine.run(&["systemctl", "reload", "wgod"]).expect(0);
    wait_status(&machine, "the failed reload shows", |status| status.contains("limits.upp"));
    assert_eq!(machine.property("wgod", "ActiveState"), "active");
    fs::remove_file(machine.path("/etc/wgod/wgod.toml")).unwrap();
    machine.run(&["systemctl", "reload", "wgod"]).expect(0);
    wait_status(&machine, "it is forgotten", |status| {
        status.starts_with("1 torrent") && !status.contains("upp")
    });

    // A crash: it comes back by itself with what it had.
    let pid = machine.property("wgod", "MainPID");
    machine.run(&["systemctl", "kill", "--kill-whom=main", "--signal=ABRT", "wgod"]).expect(0);
    until("it is started again", SOON, || {
        let again = machine.property("wgod", "MainPID");
        (again != "0" && again != pid && machine.property("wgod", "ActiveState") == "active").then_some(())
    });
    assert_eq!(machine.property("wgod", "NRestarts"), "1");
    wait_seeding(&machine);

    watch_and_hooks(&machine);

    let begun = Instant::now();
    machine.run(&["systemctl", "stop", "wgod"]).expect(0);
    eprintln!("`systemctl stop` took {:?}", begun.elapsed());
    assert_eq!(machine.property("wgod", "Result"), "success", "it was not killed after TimeoutStopSec");
    assert!(!machine.path("/run/wgod/wgod.sock").exists());
}

/// A watched folder adds a torrent, and a program hears of it: all in the sandbox of the unit.
fn watch_and_hooks(machine: &Machine) {
    let config = "[watch]\nfolders = [\"/var/lib/wgod/watch\"]\n[hooks]\n\
        on_added = [\"sh\", \"-c\", \"echo $WGOD_NAME $(id -un) $(wgoctl list --ids | wc -l) > ~/told\"]\n\
        on_removed = [\"sh\", \"-c\", \"touch ~/hangs; trap '' TERM; sleep 1000\"]\n";
    fs::write(machine.path("/etc/wgod/wgod.toml"), config).unwrap();
    let watched = machine.path("/var/lib/wgod/watch");
    fs::create_dir(&watched).unwrap();
    let torrent = Maker::new(&Payload::single("watched.bin", 100_000, 16_384)).make();
    fs::write(watched.join("watched.torrent"), &torrent.bytes).unwrap();
    machine.run(&["chown", "-R", "wgod:wgod", "/var/lib/wgod/watch"]).expect(0);
    machine.run(&["systemctl", "restart", "wgod"]).expect(0);
    until("the file is renamed", SOON, || watched.join("watched.torrent.added").exists().then_some(()));
    let told = machine.path("/var/lib/wgod/told");
    until("the program ran", SOON, || {
        fs::read_to_string(&told).is_ok_and(|text| text == "watched.bin wgod 2\n").then_some(())
    });
    // The end of the service doesn't wait for one that hangs.
    alice(machine, &["remove", "watched.bin", "--yes"]).expect(0);
    until("it hangs", SOON, || machine.path("/var/lib/wgod/hangs").exists().then_some(()));
}

#[test]
fn sockets_start_the_service_and_instances_live_side_by_side() {
    let Some(machine) = Machine::boot("sockets_start_the_service_and_instances_live_side_by_side") else {
        return;
    };
    machine.install();
    machine.run(&["systemctl", "stop", "wgod"]).expect(0);
    machine.run(&["systemctl", "start", "wgod.socket", "wgod-ro.socket"]).expect(0);
    assert_eq!(machine.property("wgod", "ActiveState"), "inactive");
    machine.run_as("bob", &["wgoctl", "list"]).expect(0);
    assert_eq!(machine.property("wgod", "ActiveState"), "active", "whoever looks starts it");
    machine.run_as("bob", &["wgoctl", "quit"]).expect(8);
    let quit = alice(&machine, &["quit"]).expect(0);
    assert!(quit.out.contains("the service manager listens on /run/wgod/wgod.sock"), "{quit:?}");
    until("it has ended", SOON, || (machine.property("wgod", "ActiveState") == "inactive").then_some(()));
    assert_eq!(machine.property("wgod", "Result"), "success");
    alice(&machine, &["status"]).expect(0);
    machine.run(&["systemctl", "stop", "wgod.socket", "wgod-ro.socket", "wgod"]).expect(0);

    for unit in ["wgod", "wgod@music", "wgod@films"] {
        machine.run(&["systemctl", "start", unit]).expect(0);
    }
    let pid = |socket: &str| {
        let status = alice(&machine, &["--socket", socket, "--json", "status"]).expect(0).out;
        let status: serde_json::Value = serde_json::from_str(&status).unwrap();
        status["daemon"]["pid"].as_u64().unwrap()
    };
    let pids = ["/run/wgod/wgod.sock", "/run/wgod@music/wgod.sock", "/run/wgod@films/wgod.sock"].map(pid);
    assert!(pids[0] != pids[1] && pids[1] != pids[2] && pids[0] != pids[2], "{pids:?}");
    // The end of one takes nothing from the others.
    machine.run(&["systemctl", "stop", "wgod"]).expect(0);
    assert_eq!(pid("/run/wgod@music/wgod.sock"), pids[1]);
    assert!(machine.path("/var/lib/wgod@music").exists() && machine.path("/etc/wgod@films").exists());
}

/// The folder that the service downloads to, whatever `put` puts there belonging to it.
fn downloads(machine: &Machine, put: impl FnOnce(PathBuf)) {
    let folder = machine.path("/var/lib/wgod/downloads");
    fs::create_dir_all(&folder).unwrap();
    put(folder);
    machine.run(&["chown", "-R", "wgod:wgod", "/var/lib/wgod/downloads"]).expect(0);
}

/// Adds a seed as alice and waits for it.
fn seed(machine: &Machine, name: &str) -> String {
    let payload = Payload::single(name, 300_000, 16_384);
    let torrent = Maker::new(&payload).make();
    downloads(machine, |folder| payload.write(&folder));
    let file = torrent.save(&machine.path("/tmp"));
    let file = format!("/tmp/{}", file.file_name().unwrap().to_str().unwrap());
    alice(machine, &["add", &file, "--wait", "done", "--timeout", "60 s"]).expect(0);
    torrent.id()
}

/// How many torrents are in which state; `None` while the service does not answer.
fn seeding(machine: &Machine) -> Option<usize> {
    let list = alice(machine, &["list", "--json"]);
    let list: serde_json::Value = serde_json::from_str(&list.out).ok()?;
    Some(list["torrents"].as_array()?.iter().filter(|torrent| torrent["state"] == "seeding").count())
}

/// A service that came back by itself has another process.
fn wait_for_successor(machine: &Machine, of: &str) {
    until("it is started again", A_WHILE, || {
        let pid = machine.property("wgod", "MainPID");
        (pid != "0" && pid != of && machine.property("wgod", "ActiveState") == "active").then_some(())
    });
}

#[test]
fn with_thousands_of_torrents_and_dead_trackers_the_service_stops_in_time_and_loses_nothing() {
    const TORRENTS: usize = 5000;
    let test = "with_thousands_of_torrents_and_dead_trackers_the_service_stops_in_time_and_loses_nothing";
    let Some(machine) = Machine::boot(test) else { return };
    machine.install();
    machine.enter_network();
    let dead: IpAddr = "203.0.113.9".parse().unwrap();
    machine.run(&["ip", "addr", "add", "203.0.113.9/32", "dev", "lo"]).expect(0);
    let tracker = Tracker::start(dead, &[]);
    fs::create_dir(machine.path("/tmp/torrents")).unwrap();
    downloads(&machine, |folder| {
        for n in 0..TORRENTS {
            let payload = Payload::single(&format!("{n:04}.bin"), 100, 16_384);
            payload.write(&folder);
            let over = if n % 2 == 0 { Over::Http } else { Over::Udp };
            let torrent = Maker::new(&payload).tier([tracker.url(over)]).make();
            torrent.save(&machine.path("/tmp/torrents"));
        }
    });
    let begun = Instant::now();
    alice(&machine, &["add", "/tmp/torrents", "--timeout", "600 s"]).expect(0);
    eprintln!("adding {TORRENTS} torrents took {:?}", begun.elapsed());
    until("all seed", A_WHILE, || (seeding(&machine) == Some(TORRENTS)).then_some(()));
    until("the tracker knows all of them", A_WHILE, || {
        let known: BTreeSet<_> = tracker.heard().iter().map(|heard| heard.announce.hash.0).collect();
        (known.len() == TORRENTS).then_some(())
    });

    // What is sent to the tracker now goes nowhere, and nobody says so.
    drop(tracker);
    machine.run(&["ip", "addr", "del", "203.0.113.9/32", "dev", "lo"]).expect(0);
    machine.run(&["ip", "route", "add", "203.0.113.9/32", "dev", "lo"]).expect(0);
    let begun = Instant::now();
    machine.run(&["systemctl", "stop", "wgod"]).expect(0);
    eprintln!("`systemctl stop` with {TORRENTS} torrents and dead trackers took {:?}", begun.elapsed());
    assert_eq!(machine.property("wgod", "Result"), "success", "it was not killed after TimeoutStopSec");
    let log = machine.run(&["journalctl", "-u", "wgod", "-o", "cat"]).out;
    assert!(log.contains("did not answer `stopped` in time"), "the trackers are dead");
    machine.run(&["systemctl", "start", "wgod"]).expect(0);
    until("all seed again", A_WHILE, || (seeding(&machine) == Some(TORRENTS)).then_some(()));
    let log = machine.run(&["journalctl", "-u", "wgod", "-o", "cat"]).out;
    assert!(!log.contains("hashing what"), "after a stop in order nothing is in doubt");
}

#[test]
fn a_daemon_that_hangs_is_killed_by_the_watchdog_and_comes_back_with_everything() {
    let test = "a_daemon_that_hangs_is_killed_by_the_watchdog_and_comes_back_with_everything";
    let Some(machine) = Machine::boot(test) else { return };
    let drop_in = machine.path("/etc/systemd/system/wgod.service.d");
    fs::create_dir_all(&drop_in).unwrap();
    let short = "[Service]\nWatchdogSec=10\nTimeoutAbortSec=1\nRestartSec=1\n";
    fs::write(drop_in.join("short.conf"), short).unwrap();
    machine.install();
    let id = seed(&machine, "kept.bin");
    alice(&machine, &["limit", "--up", "77", &id]).expect(0);
    let pid = machine.property("wgod", "MainPID");
    let log = || machine.run(&["journalctl", "-u", "wgod", "-o", "cat"]).out;
    assert!(!log().contains("Watchdog timeout"), "it is alive");
    machine.run(&["kill", "-STOP", &pid]).expect(0);
    wait_for_successor(&machine, &pid);
    assert!(log().contains("Watchdog timeout"), "{}", log());
    until("it seeds again", SOON, || (seeding(&machine) == Some(1)).then_some(()));
    let limit = alice(&machine, &["limit", &id]).expect(0);
    assert!(limit.out.contains("up 77 KB/s"), "{limit:?}");
}

#[test]
fn the_service_takes_up_a_backup_by_itself() {
    let Some(machine) = Machine::boot("the_service_takes_up_a_backup_by_itself") else { return };
    machine.install();
    let [kept, lost] = ["kept.bin", "lost.bin"].map(|name| seed(&machine, name));
    alice(&machine, &["backup", "/tmp/session.backup"]).expect(0);
    alice(&machine, &["remove", &lost]).expect(0);
    assert_eq!(seeding(&machine), Some(1));
    let checked = alice(&machine, &["restore", "--check", "/tmp/session.backup"]).expect(0);
    assert!(checked.out.contains("whole; 2 torrents"), "{checked:?}");
    let pid = machine.property("wgod", "MainPID");
    let restored = alice(&machine, &["restore", "--yes", "/tmp/session.backup"]).expect(0);
    wait_for_successor(&machine, &pid);
    assert!(restored.out.contains(&machine.property("wgod", "MainPID")), "{restored:?}");
    assert_eq!(machine.property("wgod", "Result"), "success", "an exit for a restore is no failure");
    until("both seed", SOON, || (seeding(&machine) == Some(2)).then_some(()));
    let list = alice(&machine, &["list", "--json"]).out;
    assert!(list.contains(&kept) && list.contains(&lost), "{list}");
    // Who may only look can replace nothing.
    machine.run_as("bob", &["wgoctl", "restore", "--yes", "/tmp/session.backup"]).expect(8);
}
