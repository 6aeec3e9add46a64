//! Kills and power cuts of the real daemon, in their fast form: the program `crash` with few of them. The long form is
//! `cargo run -p wgo-tests --bin crash -- --kills 2000 --cuts 500 --faults 20`, and with `--patient` several beside each other.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, clippy::print_stderr, reason = "tests")]
use std::process::Command;

use wgo_tests::{binaries, crash, net};

mod unsynced;

/// Runs the program, which has namespaces of its own.
fn crash(args: &[&str]) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_crash"));
    let binaries = binaries::wgod();
    command.args(args).env("WGOD_TEST_BINARIES", binaries.parent().unwrap());
    let output = command.output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    println!("{out}");
}

/// Whether there can be a disk of ours; says so loudly where not.
fn has_fuse(test: &str) -> bool {
    let fuse = crash::fuse();
    if let Err(why) = &fuse {
        net::skip(test, why);
    }
    fuse.is_ok()
}

#[test]
fn what_was_acknowledged_survives_kills_and_nothing_is_shown_that_is_not_there() {
    crash(&["--kills", "30", "--seed", "1"]);
}

#[test]
fn what_was_acknowledged_survives_power_cuts_and_nothing_is_ahead_of_the_disk() {
    if has_fuse("what_was_acknowledged_survives_power_cuts_and_nothing_is_ahead_of_the_disk") {
        crash(&["--cuts", "20", "--seed", "2"]);
    }
}

#[test]
fn a_daemon_heals_when_its_disk_works_again_and_has_lost_nothing() {
    if has_fuse("a_daemon_heals_when_its_disk_works_again_and_has_lost_nothing") {
        crash(&["--faults", "1", "--deaths", "2", "--seed", "3"]);
    }
}
