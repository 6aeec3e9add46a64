//! The Debian package: what `.ci/package` builds, and a machine on which it is installed, upgraded, removed and purged.
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use wgo_tests::ctl::Ran;
use wgo_tests::machine::Machine;
use wgo_tests::net::skip;
use wgo_tests::wait::{SOON, until};
use wgo_tests::{Maker, Payload, binaries};

const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

fn has(program: &str, test: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success());
    if !found {
        skip(test, &format!("{program} is not installed"));
    }
    found
}

#[track_caller]
fn run(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{command:?}: {status}\n{out}{err}");
    out.into_owned()
}

/// Packs the programs under test; with another version they become another release.
fn package(folder: &Path, version: Option<&str>) -> PathBuf {
    let mut command = Command::new(Path::new(REPOSITORY).join(".ci/package"));
    command.arg("--fast").arg("--binaries").arg(binaries::wgod().parent().unwrap());
    command.arg("--output").arg(folder);
    if let Some(version) = version {
        command.args(["--version", version]);
    }
    run(&mut command).trim().into()
}

#[test]
fn its_changelog_names_the_version_that_is_packed() {
    let changelog = fs::read_to_string(Path::new(REPOSITORY).join("wgod/debian/changelog")).unwrap();
    let first = changelog.lines().next().unwrap();
    assert!(first.starts_with(concat!("wgod (", env!("CARGO_PKG_VERSION"), "-")), "{first}");
}

#[test]
fn it_is_as_debian_wants_it_and_the_same_each_time() {
    let test = "it_is_as_debian_wants_it_and_the_same_each_time";
    if !has("cargo-deb", test) || !has("lintian", test) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let first = package(&folder.path().join("a"), None);
    let second = package(&folder.path().join("b"), None);
    assert!(fs::read(&first).unwrap() == fs::read(&second).unwrap(), "two packages of the same differ");

    // Whatever the archive asks of its own packages besides may be told as a warning.
    let told = run(Command::new("lintian").args(["--allow-root", "--fail-on=error"]).arg(&first));
    eprintln!("{told}");
    let files = run(Command::new("dpkg-deb").arg("--contents").arg(&first));
    for file in [
        "/usr/bin/wgod",
        "/usr/bin/wgoctl",
        "/etc/wgod/wgod.toml",
        "/usr/lib/systemd/system/wgod@.service",
        "/usr/share/man/man1/wgoctl-add.1.gz",
        "/usr/share/man/man1/wgod.1.gz",
        "/usr/share/man/man5/wgod.toml.5.gz",
        "/usr/share/bash-completion/completions/wgoctl",
        "/usr/share/zsh/vendor-completions/_wgoctl",
        "/usr/share/fish/vendor_completions.d/wgoctl.fish",
        "/usr/share/doc/wgod/README.md",
        "/usr/share/doc/wgod/api/README.md",
        "/usr/share/doc/wgod/api/openrpc.json",
        "/usr/share/doc/wgod/examples/media-folders.conf",
    ] {
        assert!(
            files.lines().any(|line| line.ends_with(&format!(" .{file}"))),
            "{file} is missing:\n{files}"
        );
    }
}

/// A machine that has this one's packages, and lets them start services.
fn boot(test: &str) -> Option<Machine> {
    let machine = Machine::boot(test)?;
    run(Command::new("cp").args(["-a", "/var/lib/dpkg"]).arg(machine.path("/var/lib/dpkg")));
    machine.run(&["rm", "-f", "/usr/sbin/policy-rc.d"]).expect(0);
    machine.run(&["useradd", "alice"]).expect(0);
    Some(machine)
}

fn dpkg(machine: &Machine, args: &[&str]) -> Ran {
    machine.run(&[&["dpkg"], args].concat()).expect(0)
}

fn property(machine: &Machine, unit: &str, name: &str) -> String {
    machine.run(&["systemctl", "show", "--value", "-p", name, unit]).out.trim().to_owned()
}

fn alice(machine: &Machine, args: &[&str]) -> Ran {
    machine.run_as("alice", &[&["wgoctl"], args].concat())
}

#[track_caller]
fn assert_has_torrent(machine: &Machine) {
    let list = alice(machine, &["list"]).expect(0);
    assert!(list.out.contains("film.bin"), "{list:?}");
}

#[test]
fn it_installs_upgrades_removes_and_purges() {
    let test = "it_installs_upgrades_removes_and_purges";
    if !has("cargo-deb", test) {
        return;
    }
    let Some(machine) = boot(test) else { return };
    let folder = machine.path("/tmp");
    for (name, version) in [("one.deb", "0.0.1-1"), ("two.deb", "0.0.2-1")] {
        let made = tempfile::tempdir().unwrap();
        fs::copy(package(made.path(), Some(version)), folder.join(name)).unwrap();
    }

    // Installed it runs, and members of its group use it.
    dpkg(&machine, &["--install", "/tmp/one.deb"]);
    assert_eq!(property(&machine, "wgod", "ActiveState"), "active");
    assert_eq!(machine.run(&["systemctl", "is-enabled", "wgod"]).out.trim(), "enabled");
    alice(&machine, &["status"]).expect(8);
    machine.run(&["usermod", "-aG", "wgod", "alice"]).expect(0);
    alice(&machine, &["status"]).expect(0);
    let torrent = Maker::new(&Payload::single("film.bin", 300_000, 16_384)).make();
    fs::write(folder.join("film.torrent"), &torrent.bytes).unwrap();
    alice(&machine, &["add", "--paused", "/tmp/film.torrent"]).expect(0);

    // An upgrade keeps session and settings, and whatever ran runs the new version.
    machine.run(&["sed", "-i", "0,/^#up = 0$/s||up = \"5 MB/s\"|", "/etc/wgod/wgod.toml"]).expect(0);
    machine.run(&["systemctl", "enable", "--now", "wgod@music"]).expect(0);
    let units = ["wgod", "wgod@music"];
    let before = units.map(|unit| property(&machine, unit, "MainPID"));
    dpkg(&machine, &["--install", "/tmp/two.deb"]);
    for (unit, before) in units.iter().zip(before) {
        assert_eq!(property(&machine, unit, "ActiveState"), "active", "{unit}");
        assert_ne!(property(&machine, unit, "MainPID"), before, "{unit}");
        assert_eq!(property(&machine, unit, "NRestarts"), "0", "{unit} was not killed");
    }
    assert_has_torrent(&machine);
    let limit = alice(&machine, &["limit"]).expect(0);
    assert!(limit.out.contains("up 5 MB/s"), "{limit:?}");

    // What the administrator has disabled stays off.
    machine.run(&["systemctl", "disable", "--now", "wgod"]).expect(0);
    dpkg(&machine, &["--install", "/tmp/two.deb"]);
    assert_eq!(property(&machine, "wgod", "ActiveState"), "inactive");
    machine.run(&["systemctl", "enable", "--now", "wgod"]).expect(0);

    // Removed it leaves session and settings for the day it comes back.
    dpkg(&machine, &["--remove", "wgod"]);
    for unit in units {
        assert_eq!(property(&machine, unit, "ActiveState"), "inactive", "{unit}");
    }
    assert!(!machine.path("/usr/bin/wgod").exists());
    dpkg(&machine, &["--install", "/tmp/one.deb"]);
    until("it runs again", SOON, || (property(&machine, "wgod", "ActiveState") == "active").then_some(()));
    assert_has_torrent(&machine);

    // Purged it takes everything along but what was downloaded.
    let state = machine.path("/var/lib/wgod");
    fs::create_dir_all(state.join("downloads")).unwrap();
    fs::write(state.join("downloads/film.bin"), b"bytes").unwrap();
    fs::create_dir_all(state.join("watch")).unwrap();
    fs::write(state.join("watch/0123456789abcdef"), b"remembered by wgod").unwrap();
    fs::write(state.join("watch/own.torrent"), b"the administrator's").unwrap();
    assert!(state.join("state.redb").exists());
    let purge = dpkg(&machine, &["--purge", "wgod"]);
    assert!(purge.out.contains("such as downloads, stays in /var/lib/wgod\n"), "{purge:?}");
    let left = machine.run(&["find", "/var/lib/wgod", "-type", "f"]).expect(0);
    let mut left: Vec<_> = left.out.lines().collect();
    left.sort_unstable();
    assert_eq!(left, ["/var/lib/wgod/downloads/film.bin", "/var/lib/wgod/watch/own.torrent"]);
    for gone in ["/var/lib/wgod@music", "/etc/wgod", "/run/wgod"] {
        assert!(!machine.path(gone).exists(), "{gone}");
    }
    let links = machine.run(&["find", "/etc/systemd/system", "-name", "wgod*"]).expect(0);
    assert_eq!(links.out, "");
    assert_eq!(machine.run(&["dpkg-query", "-W", "wgod"]).code, 1);
}
