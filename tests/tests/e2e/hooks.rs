//! Programs that run on events, of a real daemon.
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tempfile::TempDir;
use wgo_api::State;
use wgo_api::params::{AddParams, Source};
use wgo_api::result::Hooks;
use wgo_api::{ApiClient, doctor::Severity};
use wgo_tests::ctl;
use wgo_tests::seeder::Seeder;
use wgo_tests::wait::{SOON, TRANSFER, until};
use wgo_tests::{Daemon, Maker, Net, Payload, Settings, binaries};

fn folder(name: &str) -> TempDir {
    tempfile::Builder::new().prefix(name).tempdir().unwrap()
}

/// A program of these lines.
fn script(dir: &Path, name: &str, lines: &str) -> String {
    let path = dir.join(name);
    fs::write(&path, format!("#!/bin/sh\n{lines}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}

/// The variables of ours that a program wrote down.
fn told(file: &Path) -> Option<BTreeMap<String, String>> {
    let text = fs::read_to_string(file).ok()?;
    let pair = |line: &str| line.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    text.ends_with("end\n").then(|| text.lines().filter_map(pair).collect())
}

fn said(daemon: &Daemon, text: &str) {
    until(&format!("the log says {text:?}"), TRANSFER, || daemon.log().contains(text).then_some(()));
}

/// The child of the daemon that is its helper.
fn helper(daemon: &Daemon) -> Pid {
    let pid = daemon.pid();
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    let child = children.split_whitespace().next().expect("a daemon with hooks has a helper");
    Pid::from_raw(child.parse().unwrap()).unwrap()
}

fn gone(pid: Pid) {
    let state = || fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    until("the process is gone", SOON, || {
        (test_kill_process(pid).is_err() || state().contains(") Z ")).then_some(())
    });
}

/// Writes down what it is told, under the event's name, and asks the daemon for the torrent.
fn note_taker(dir: &Path) -> String {
    let (dir_shown, wgoctl) = (dir.display(), binaries::wgoctl().display().to_string());
    let lines = format!(
        "f={dir_shown}/$WGOD_EVENT\nenv | grep ^WGOD_ | sort > $f.part\n\
        echo listed=$({wgoctl} list --ids) >> $f.part\necho env=$(env | grep -vc ^WGOD_) >> $f.part\n\
        echo end >> $f.part\nmv $f.part $f\necho \"$1 $WGOD_NAME\"; printf 'raw \\033[31m\\n' >&2"
    );
    script(dir, "note", &lines)
}

#[test]
fn a_confined_daemon_runs_programs_that_it_could_not_run_itself() {
    let mut net = Net::new();
    let [media, notes] = [folder("wgod-media-"), folder("wgod-notes-")];
    let program = note_taker(notes.path());
    let command = format!("[\"{program}\", \"a b\"]");
    let daemon = Daemon::with(Settings {
        ips: vec![net.home()],
        storage: format!("allowed_folders = [\"{}\"]", media.path().display()),
        args: vec!["--folder".into(), media.path().display().to_string()],
        sections: format!(
            "[hooks]\non_added = {command}\non_completed = {command}\non_removed = {command}\non_error = {command}"
        ),
        ..Settings::default()
    });
    assert!(daemon.status().confinement.seccomp);
    assert_eq!(daemon.status().hooks, Hooks::On);
    let payload = Payload::multi("many", 16_384, &[("a", 196_608), ("sub/b", 65_536)]);
    let torrent = Maker::new(&payload).private().make();
    let seeder = Seeder::start(net.ip(), &[(&payload, &torrent)]);
    let params = AddParams {
        sources: vec![Source::of_file(&torrent.bytes)],
        folder: Some(media.path().join("sub")),
        peers: vec![seeder.addr()],
        labels: vec!["tv".into(), "new".into()],
        ..AddParams::default()
    };
    daemon.call(async |client| client.add(params).await).unwrap();
    let id = torrent.id();
    let event = |name: &str| until(name, SOON, || told(&notes.path().join(name)));
    let (added, completed) = (event("added"), event("completed"));
    let folder = media.path().join("sub").display().to_string();
    for (name, want) in [
        ("WGOD_EVENT", "completed"),
        ("WGOD_INFO_HASH", &*id),
        ("WGOD_NAME", "many"),
        ("WGOD_FOLDER", &folder),
        ("WGOD_PATH", &format!("{folder}/many")),
        ("WGOD_LABELS", "new,tv"),
        ("WGOD_SIZE_BYTES", "262144"),
        ("WGOD_RATIO", "0.000"),
        ("WGOD_PRIVATE", "1"),
        ("WGOD_SOCKET", &daemon.socket().display().to_string()),
        ("listed", &*id),
    ] {
        assert_eq!(completed.get(name).map(String::as_str), Some(want), "{name}: {completed:?}");
    }
    assert!(completed["WGOD_COMPLETED_AT"].parse::<u64>().unwrap() > 1_700_000_000);
    assert!(!completed.contains_key("WGOD_ERROR") && !added.contains_key("WGOD_COMPLETED_AT"));
    assert!(completed["env"].parse::<u32>().unwrap() < 14, "a small environment: {completed:?}");
    said(&daemon, &format!("hooks.on_completed ({program}): a b many"));
    said(&daemon, r"raw \u{1b}[31m");
    assert!(!daemon.log().contains('\u{1b}'));

    // Its folder vanishes.
    fs::rename(media.path().join("sub"), media.path().join("away")).unwrap();
    daemon.call(async |client| client.verify(Daemon::check(&id)).await).unwrap();
    let error = event("error");
    assert!(error["WGOD_ERROR"].contains(&folder), "{error:?}");
    fs::rename(media.path().join("away"), media.path().join("sub")).unwrap();
    until("it seeds again", TRANSFER, || (daemon.torrent(&id).state == State::Seeding).then_some(()));
    daemon.remove(&id, true);
    assert_eq!(event("removed")["WGOD_NAME"], "many");
}

#[test]
fn programs_that_are_bad_do_the_daemon_no_harm() {
    let net = Net::new();
    let dir = folder("wgod-hooks-");
    let plain = dir.path().join("plain");
    fs::write(&plain, "").unwrap();
    let pids = dir.path().join("pids");
    let hangs = format!(
        "trap '' TERM; sleep 1000 & echo $! >> {0}; echo $$ >> {0}; wait; sleep 1000",
        pids.display()
    );
    let sections = format!(
        "[hooks]\non_added = [\"sh\", \"-c\", \"yes | head -c 200000; exit 7\"]\non_removed = [\"{}\"]\n\
        on_error = [\"/nowhere/x\"]\non_completed = [\"{}\"]\ntime_limit = 15",
        script(dir.path(), "hangs", &hangs),
        plain.display()
    );
    let settings = Settings { ips: vec![net.home()], sections, ..Settings::default() };
    let mut daemon = Daemon::with(settings);
    said(&daemon, "hooks.on_error: /nowhere/x can't be run: there is no such file");
    let checked =
        Command::new(binaries::wgod()).arg("--config").arg(daemon.config()).arg("--check-config").output();
    let checked = checked.unwrap();
    let err = String::from_utf8(checked.stderr).unwrap();
    assert!(checked.status.success() && err.contains("wgod: warning: hooks.on_error: /nowhere/x"), "{err}");
    assert!(err.contains("plain can't be run: wgod's user may not execute it"), "{err}");

    let payload = Payload::single("a.bin", 100_000, 16_384);
    payload.write(&daemon.downloads());
    let torrent = Maker::new(&payload).make();
    let id = daemon.add(&torrent, &daemon.downloads(), &[]);
    said(&daemon, "hooks.on_added (sh): failed with exit status 7");
    said(&daemon, "more lines are not shown");
    assert!(daemon.log().len() < 200_000, "{} bytes of log", daemon.log().len());
    daemon.wait_seeding(&id);
    assert!(!daemon.log().contains("hooks.on_completed ("), "it was added complete");

    let removed = dir.path().join("a");
    fs::create_dir(&removed).unwrap();
    let missing = Maker::new(&Payload::single("b.bin", 100_000, 16_384)).make();
    let other = daemon.add(&missing, &removed, &[]);
    daemon.remove(&other, false);
    daemon.remove(&id, false);
    said(&daemon, "ran for more than 15 s and was ended; hooks.time_limit");
    until("all of them were killed", SOON, || {
        let pids = fs::read_to_string(&pids).ok()?;
        let pids: Vec<Pid> = pids.lines().map(|pid| Pid::from_raw(pid.parse().unwrap()).unwrap()).collect();
        (pids.len() == 4).then(|| pids.into_iter().for_each(gone))
    });
    assert!(daemon.terminate().success());
}

#[test]
fn a_completion_is_told_at_least_once_and_not_again() {
    let mut net = Net::new();
    let dir = folder("wgod-hooks-");
    let (runs, pid) = (dir.path().join("runs"), dir.path().join("pid"));
    // The first time it hangs, and the daemon is killed meanwhile; the second time it is ended in order.
    let lines = format!(
        "echo x >> {0}\n[ $(wc -l < {0}) -ge 3 ] && exit 0\necho $$ > {1}.new; mv {1}.new {1}\nsleep 1000",
        runs.display(),
        pid.display()
    );
    let sections = format!("[hooks]\non_completed = [\"{}\"]", script(dir.path(), "done", &lines));
    let mut daemon = Daemon::with(Settings { ips: vec![net.home()], sections, ..Settings::default() });
    let payload = Payload::single("a.bin", 100_000, 16_384);
    let torrent = Maker::new(&payload).make();
    let seeder = Seeder::start(net.ip(), &[(&payload, &torrent)]);
    let id = daemon.add(&torrent, &daemon.downloads(), &[seeder.addr()]);
    let count = || fs::read_to_string(&runs).map_or(0, |text| text.lines().count());
    let hung = || {
        let found = until("the program runs", SOON, || fs::read_to_string(&pid).ok());
        fs::remove_file(&pid).unwrap();
        Pid::from_raw(found.trim().parse().unwrap()).unwrap()
    };
    let first = hung();
    let helper_was = helper(&daemon);
    daemon.kill9();
    gone(first);
    gone(helper_was);

    daemon.run();
    let second = hung();
    let helper_was = helper(&daemon);
    assert!(daemon.terminate().success());
    gone(second);
    gone(helper_was);

    daemon.run();
    said(&daemon, "is done");
    assert_eq!(count(), 3);
    assert!(daemon.terminate().success());
    daemon.run();
    daemon.wait_seeding(&id);
    // One that is told of another torrent comes after all that was owed.
    let other = Payload::single("b.bin", 100_000, 16_384);
    let torrent = Maker::new(&other).make();
    let seeder = Seeder::start(net.ip(), &[(&other, &torrent)]);
    daemon.add(&torrent, &daemon.downloads(), &[seeder.addr()]);
    until("the other's program ran", SOON, || (count() > 3).then_some(()));
    assert_eq!(count(), 4);
}

#[test]
fn the_helper_leaves_signals_to_the_daemon_and_its_end_is_noticed() {
    let net = Net::new();
    let sections = "[hooks]\non_added = [\"sh\", \"-c\", \"echo it ran\"]".to_owned();
    let mut daemon = Daemon::with(Settings { ips: vec![net.home()], sections, ..Settings::default() });
    let pid = helper(&daemon);
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        kill_process(pid, signal).unwrap();
    }
    let add = |name: &str| {
        let torrent = Maker::new(&Payload::single(name, 100_000, 16_384)).make();
        daemon.add(&torrent, &daemon.downloads(), &[]);
    };
    add("a.bin");
    said(&daemon, "hooks.on_added (sh): it ran");
    kill_process(pid, Signal::KILL).unwrap();
    until("status says so", SOON, || (daemon.status().hooks == Hooks::Ended).then_some(()));
    said(&daemon, "the process that runs hooks has ended; restart wgod");
    add("b.bin");
    said(&daemon, "hooks.on_added is not run");
    let shown = ctl::run(&daemon, &["status"]).expect(0).out;
    assert!(shown.contains("Hooks     none is run any more"), "{shown}");
    let findings = daemon.call(async |client| client.doctor(Default::default()).await).unwrap().findings;
    let hooks = findings.iter().find(|finding| finding.what == "hooks").unwrap();
    assert_eq!(hooks.severity, Severity::Bad);
    assert_eq!(daemon.list().iter().filter(|torrent| torrent.state != State::Error).count(), 2);
    assert!(daemon.terminate().success());
    let by_hand = Command::new(binaries::wgod()).arg("--hook-helper").output().unwrap();
    assert_eq!(by_hand.status.code(), Some(2));
    assert!(String::from_utf8(by_hand.stderr).unwrap().contains("is for wgod itself"));
}
