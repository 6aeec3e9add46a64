//! The units in `systemd/` are in order by systemd's own tools, where those are installed.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "tests")]
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What `systemd-analyze security` may rate the service at, 0 being sealed off and 10 open. A daemon
/// that talks to the whole internet can't be much below.
const MAX_EXPOSURE: f64 = 2.0;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd").join(name)
}

/// Runs a tool of systemd; `None`, said loudly, where it isn't installed.
fn run(test: &str, command: &mut Command) -> Option<Output> {
    match command.output() {
        Ok(output) => Some(output),
        Err(error) if std::env::var_os("WGOD_REQUIRE_PEERS").is_none() => {
            eprintln!("SKIPPED {test}: {}: {error}", command.get_program().display());
            None
        }
        Err(error) => panic!("{}: {error}", command.get_program().display()),
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// The unit with a program that exists, in a directory of its own, its drop-in beside it.
fn installed(dir: &Path) -> PathBuf {
    let text = std::fs::read_to_string(file("wgod.service")).unwrap();
    assert!(text.contains("ExecStart=/usr/bin/wgod\n"), "the test replaces this line");
    let unit = dir.join("wgod.service");
    std::fs::write(&unit, text.replace("/usr/bin/wgod\n", "/bin/true\n")).unwrap();
    let drop_ins = dir.join("wgod.service.d");
    std::fs::create_dir(&drop_ins).unwrap();
    std::fs::copy(file("media-folders.conf"), drop_ins.join("media-folders.conf")).unwrap();
    unit
}

#[test]
fn the_unit_and_its_drop_in_are_understood_without_a_word() {
    let dir = tempfile::tempdir().unwrap();
    let unit = installed(dir.path());
    let mut command = Command::new("systemd-analyze");
    command.args(["verify", "--man=no"]).arg(&unit);
    let Some(output) = run("the_unit_and_its_drop_in_are_understood", &mut command) else { return };
    // Other units of the machine, which it reads too, may deserve remarks of their own.
    let remarks: Vec<_> = said(&output)
        .lines()
        .filter(|l| l.contains("wgod") || l.contains("media-folders"))
        .map(String::from)
        .collect();
    assert!(remarks.is_empty(), "{}", remarks.join("\n"));
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn the_service_is_sealed_off() {
    let dir = tempfile::tempdir().unwrap();
    let unit = installed(dir.path());
    let mut command = Command::new("systemd-analyze");
    command.args(["security", "--offline=true", "--no-pager"]).arg(&unit);
    let Some(output) = run("the_service_is_sealed_off", &mut command) else { return };
    let text = said(&output);
    let rating =
        text.split_once("level for wgod.service:").and_then(|(_, rest)| rest.split_whitespace().next());
    let exposure: f64 = rating.and_then(|rating| rating.parse().ok()).unwrap_or_else(|| panic!("{text}"));
    assert!(exposure <= MAX_EXPOSURE, "{text}");
}

#[test]
fn the_user_is_understood() {
    let mut command = Command::new("systemd-sysusers");
    command.arg("--dry-run").arg(file("wgod.sysusers").canonicalize().unwrap());
    let Some(output) = run("the_user_is_understood", &mut command) else { return };
    assert!(output.status.success(), "{}", said(&output));
}
