//! What is in `systemd/` is in order by systemd's own tools, where those are installed.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "tests")]
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use wgo_tests::net::{is_strict, skip};

/// What `systemd-analyze security` may rate a service at, 0 being sealed off and 10 open. A daemon that
/// talks to the whole internet can't be much below.
const MAX_EXPOSURE: f64 = 1.5;

/// Units as they are started; the template by one of its instances.
const UNITS: &[(&str, &str)] = &[
    ("wgod.service", "wgod.service"),
    ("wgod@.service", "wgod@music.service"),
    ("wgod.socket", "wgod.socket"),
    ("wgod-ro.socket", "wgod-ro.socket"),
];
const DROP_INS: &[&str] = &["hooks.conf", "media-folders.conf", "vpn-interface.conf"];

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd").join(name)
}

fn text(name: &str) -> String {
    fs::read_to_string(file(name)).unwrap()
}

/// Runs a tool of systemd; `None`, said loudly, where it isn't installed.
fn run(test: &str, command: &mut Command) -> Option<Output> {
    match command.output() {
        Ok(output) => Some(output),
        Err(error) if !is_strict() => {
            skip(test, &format!("{}: {error}", command.get_program().display()));
            None
        }
        Err(error) => panic!("{}: {error}", command.get_program().display()),
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// All units in a directory of their own, with a program that exists, and with the drop-ins.
fn installed(dir: &Path, drop_ins: bool) {
    for (name, started) in UNITS {
        let text = text(name);
        let is_service = name.ends_with(".service");
        assert_eq!(text.contains("ExecStart=/usr/bin/wgod\n"), is_service, "the test replaces this line");
        fs::write(dir.join(started), text.replace("=/usr/bin/wgod\n", "=/bin/true\n")).unwrap();
        if is_service && drop_ins {
            let folder = dir.join(format!("{started}.d"));
            fs::create_dir(&folder).unwrap();
            for name in DROP_INS {
                fs::copy(file(name), folder.join(name)).unwrap();
            }
        }
    }
}

#[test]
fn no_file_is_without_a_test() {
    let known: BTreeSet<String> = UNITS
        .iter()
        .map(|(name, _)| *name)
        .chain(DROP_INS.iter().copied())
        .chain(["wgod.sysusers", "wgod.tmpfiles"])
        .map(str::to_owned)
        .collect();
    let found = fs::read_dir(file("")).unwrap();
    let found: BTreeSet<String> =
        found.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(found, known);
}

#[test]
fn units_and_drop_ins_are_understood_without_a_word() {
    let dir = tempfile::tempdir().unwrap();
    installed(dir.path(), true);
    for (_, unit) in UNITS {
        let mut command = Command::new("systemd-analyze");
        command.args(["verify", "--man=no"]).arg(dir.path().join(unit));
        let test = "units_and_drop_ins_are_understood_without_a_word";
        let Some(output) = run(test, &mut command) else { return };
        // Other units of the machine, which it reads too, may deserve remarks of their own.
        let remarks: Vec<_> = said(&output)
            .lines()
            .filter(|line| line.contains("wgod") || DROP_INS.iter().any(|name| line.contains(name)))
            .map(String::from)
            .collect();
        assert!(remarks.is_empty(), "{unit}: {}", remarks.join("\n"));
        assert!(output.status.success(), "{unit}: {}", said(&output));
    }
}

#[test]
fn the_services_are_sealed_off() {
    let dir = tempfile::tempdir().unwrap();
    installed(dir.path(), false);
    for (_, unit) in UNITS.iter().filter(|(_, unit)| unit.ends_with(".service")) {
        let mut command = Command::new("systemd-analyze");
        command.args(["security", "--offline=true", "--no-pager"]).arg(dir.path().join(unit));
        let Some(output) = run("the_services_are_sealed_off", &mut command) else { return };
        let text = said(&output);
        let rating = text
            .split_once(&format!("level for {unit}:"))
            .and_then(|(_, rest)| rest.split_whitespace().next());
        let exposure: f64 = rating.and_then(|rating| rating.parse().ok()).unwrap_or_else(|| panic!("{text}"));
        assert!(exposure <= MAX_EXPOSURE, "{text}");
    }
}

/// Lines of a unit from its first section on.
fn body(name: &str) -> String {
    let text = text(name);
    text[text.find("[Unit]").unwrap()..].to_owned()
}

#[test]
fn the_template_differs_from_the_service_in_names_only() {
    let template = body("wgod@.service").replace(" (%i)", "").replace("wgod@%i", "wgod");
    assert_eq!(template, body("wgod.service"));
}

#[test]
fn the_daemon_may_confine_itself_further() {
    // The last lists count most, and `@system-service` has none of these.
    let unit = body("wgod.service");
    let filters: Vec<&str> = unit.lines().filter_map(|line| line.strip_prefix("SystemCallFilter=")).collect();
    let last = filters.last().unwrap();
    for call in ["landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self", "seccomp"] {
        assert!(last.split(' ').any(|word| word == call), "{call} in {filters:?}");
    }
}

#[test]
fn users_groups_and_folders_are_what_the_units_expect() {
    let test = "users_groups_and_folders_are_what_the_units_expect";
    if !rustix::process::geteuid().is_root() {
        return skip(test, "only root can make folders of others");
    }
    let root = tempfile::tempdir().unwrap();
    let at = |path: &str| root.path().join(path);
    for (name, folder) in [("wgod.sysusers", "usr/lib/sysusers.d"), ("wgod.tmpfiles", "usr/lib/tmpfiles.d")] {
        fs::create_dir_all(at(folder)).unwrap();
        fs::copy(file(name), at(folder).join("wgod.conf")).unwrap();
    }
    for folder in ["etc", "run"] {
        fs::create_dir(at(folder)).unwrap();
    }
    let in_root = format!("--root={}", root.path().display());
    for words in [&["systemd-sysusers"][..], &["systemd-tmpfiles", "--create", "wgod.conf"]] {
        let mut command = Command::new(words[0]);
        let Some(output) = run(test, command.arg(&in_root).args(&words[1..])) else { return };
        assert!(output.status.success(), "{words:?}: {}", said(&output));
    }
    let id = |file: &str, name: &str| -> u32 {
        let text = fs::read_to_string(at(file)).unwrap();
        let line = text.lines().find(|line| line.split(':').next() == Some(name)).unwrap();
        line.split(':').nth(2).unwrap().parse().unwrap()
    };
    let (user, group) = (id("etc/passwd", "wgod"), id("etc/group", "wgod"));
    let looking = id("etc/group", "wgod-ro");
    assert_ne!(group, looking);
    for (folder, mode, gid) in [("run/wgod", 0o750, group), ("run/wgod-ro", 0o2750, looking)] {
        let found = fs::metadata(at(folder)).unwrap();
        assert_eq!((found.mode() & 0o7777, found.uid(), found.gid()), (mode, user, gid), "{folder}");
    }
}
