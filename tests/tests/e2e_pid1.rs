//! The service under a real systemd, installed as the README says.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "tests")]
use std::fs;
use std::path::Path;
use std::time::Instant;

use wgo_tests::ctl::Ran;
use wgo_tests::machine::Machine;
use wgo_tests::wait::{SOON, until};
use wgo_tests::{Maker, Payload, binaries};

const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// The commands of the README's chapter, but for the build.
fn readme() -> String {
    let text = fs::read_to_string(Path::new(REPOSITORY).join("README.md")).unwrap();
    let chapter = text.split("## As a service\n").nth(1).unwrap();
    let lines = chapter.lines().skip_while(|line| !line.starts_with("    "));
    let block: Vec<&str> = lines.take_while(|line| line.starts_with("    ")).collect();
    assert!(block[0].contains("cargo build"), "{block:?}");
    block[1..].join("\n")
}

/// Follows the README as root.
fn install(machine: &Machine) {
    let source = machine.path("/tmp/source");
    fs::create_dir_all(source.join("target/release")).unwrap();
    for program in [binaries::wgod(), binaries::wgoctl()] {
        let name = program.file_name().unwrap();
        fs::copy(&program, source.join("target/release").join(name)).unwrap();
    }
    fs::create_dir(source.join("systemd")).unwrap();
    for entry in fs::read_dir(Path::new(REPOSITORY).join("systemd")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), source.join("systemd").join(entry.file_name())).unwrap();
    }
    for user in ["alice", "bob", "dave"] {
        machine.run(&["useradd", user]).expect(0);
    }
    let script = format!("set -e; cd /tmp/source; export USER=alice LOOKER=bob\n{}", readme());
    machine.run(&["sh", "-c", &script]).expect(0);
}

fn property(machine: &Machine, unit: &str, name: &str) -> String {
    machine.run(&["systemctl", "show", "--value", "-p", name, unit]).out.trim().to_owned()
}

#[track_caller]
fn wait_status(machine: &Machine, what: &str, holds: impl Fn(&str) -> bool) {
    until(what, SOON, || holds(&property(machine, "wgod", "StatusText")).then_some(()));
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
    install(&machine);
    assert_eq!(property(&machine, "wgod", "ActiveState"), "active");

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
    assert_eq!(property(&machine, "wgod", "ActiveState"), "active");
    fs::remove_file(machine.path("/etc/wgod/wgod.toml")).unwrap();
    machine.run(&["systemctl", "reload", "wgod"]).expect(0);
    wait_status(&machine, "it is forgotten", |status| {
        status.starts_with("1 torrent") && !status.contains("upp")
    });

    // A crash: it comes back by itself with what it had.
    let pid = property(&machine, "wgod", "MainPID");
    machine.run(&["systemctl", "kill", "--signal=ABRT", "wgod"]).expect(0);
    until("it is started again", SOON, || {
        let again = property(&machine, "wgod", "MainPID");
        (again != "0" && again != pid && property(&machine, "wgod", "ActiveState") == "active").then_some(())
    });
    assert_eq!(property(&machine, "wgod", "NRestarts"), "1");
    wait_seeding(&machine);

    watch_and_hooks(&machine);

    let begun = Instant::now();
    machine.run(&["systemctl", "stop", "wgod"]).expect(0);
    eprintln!("`systemctl stop` took {:?}", begun.elapsed());
    assert_eq!(property(&machine, "wgod", "Result"), "success", "it was not killed after TimeoutStopSec");
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
    install(&machine);
    machine.run(&["systemctl", "stop", "wgod"]).expect(0);
    machine.run(&["systemctl", "start", "wgod.socket", "wgod-ro.socket"]).expect(0);
    assert_eq!(property(&machine, "wgod", "ActiveState"), "inactive");
    machine.run_as("bob", &["wgoctl", "list"]).expect(0);
    assert_eq!(property(&machine, "wgod", "ActiveState"), "active", "whoever looks starts it");
    machine.run_as("bob", &["wgoctl", "quit"]).expect(8);
    let quit = alice(&machine, &["quit"]).expect(0);
    assert!(quit.out.contains("the service manager listens on /run/wgod/wgod.sock"), "{quit:?}");
    until("it has ended", SOON, || (property(&machine, "wgod", "ActiveState") == "inactive").then_some(()));
    assert_eq!(property(&machine, "wgod", "Result"), "success");
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
