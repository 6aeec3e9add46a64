//! What the README says first: `wgod --torrent FILE --folder DIR` without any configuration, then
//! `wgoctl add FILE` from another terminal.
use std::path::{Path, PathBuf};

use wgo_tests::process::Process;
use wgo_tests::seeder::Seeder;
use wgo_tests::tracker::{Over, Tracker};
use wgo_tests::wait::{SOON, TRANSFER, until};
use wgo_tests::{Maker, Net, Payload, binaries, ctl};

/// Root's places are the machine's: hides them from a daemon run by root.
const HIDE: &str = "mount -t tmpfs none /run && mount -t tmpfs none /var/lib && exec \"$0\" \"$@\"";

/// Runs wgod as its user would, with nothing but a home; gives it and its control socket.
fn run_by_hand(home: &Path, args: &[&Path]) -> (Process, PathBuf) {
    let root = rustix_is_root();
    let program = if root { PathBuf::from("unshare") } else { binaries::wgod() };
    let process = Process::spawn("wgod", &program, &home.join("log"), |command| {
        if root {
            command.args(["-m", "sh", "-ec", HIDE]).arg(binaries::wgod());
        }
        command.args(args).env("HOME", home).env("XDG_RUNTIME_DIR", home.join("run"));
        command.current_dir(home);
    });
    let seen = if root {
        PathBuf::from(format!("/proc/{}/root/run/wgod/wgod.sock", process.pid()))
    } else {
        home.join("run/wgod/wgod.sock")
    };
    (process, seen)
}

fn rustix_is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|meta| std::os::unix::fs::MetadataExt::uid(&meta) == 0)
}

#[test]
fn a_daemon_without_configuration_downloads_and_takes_another_torrent() {
    let mut net = Net::new();
    let home = tempfile::Builder::new().prefix("wgod-").tempdir().unwrap();
    std::fs::create_dir(home.path().join("run")).unwrap();
    let folder = home.path().join("my files");
    let payloads = [Payload::single("first.bin", 700_001, 65_536), Payload::shapes().remove(2)];
    let bare: Vec<_> = payloads.iter().map(|payload| Maker::new(payload).make()).collect();
    let held: Vec<_> = payloads.iter().zip(&bare).collect();
    let seeder = Seeder::start(net.ip(), &held);
    let tracker = Tracker::start(net.ip(), &[seeder.addr()]);
    let url = tracker.url(Over::Http);
    let files: Vec<_> =
        payloads.iter().map(|payload| Maker::new(payload).tier([&url]).make().save(home.path())).collect();

    let args = ["--torrent".as_ref(), files[0].as_path(), "--folder".as_ref(), folder.as_path()];
    let (mut wgod, socket) = run_by_hand(home.path(), &args);
    until("the first torrent is downloaded", TRANSFER, || {
        assert!(wgod.ended().is_none(), "wgod ended");
        payloads[0].difference(&folder).is_none().then_some(())
    });
    let said = std::fs::read_to_string(home.path().join("log")).unwrap();
    assert!(said.contains("wgod.sock"), "it says where its socket is: {said}");

    let file = files[1].as_os_str();
    let run = |args: &[&std::ffi::OsStr]| ctl::at(&socket, args, &[]);
    let added = run(&["add".as_ref(), file, "--wait".as_ref(), "done".as_ref()]);
    added.expect(0);
    payloads[1].assert_equals(&folder);
    run(&["quit".as_ref()]).expect(0);
    assert!(wgod.wait(SOON).success(), "quit is a success");
    assert!(!socket.exists(), "the socket is gone");
}

#[test]
fn ctrl_c_stops_it_cleanly() {
    let _net = Net::new();
    let home = tempfile::Builder::new().prefix("wgod-").tempdir().unwrap();
    std::fs::create_dir(home.path().join("run")).unwrap();
    let (mut wgod, socket) = run_by_hand(home.path(), &[]);
    until("the socket answers", SOON, || (ctl::at(&socket, &["status"], &[]).code == 0).then_some(()));
    wgod.signal(rustix::process::Signal::INT);
    assert!(wgod.wait(SOON).success(), "Ctrl-C is how one ends it");
}

#[test]
fn on_a_terminal_it_says_what_to_type_next() {
    let _net = Net::new();
    let home = tempfile::Builder::new().prefix("wgod-").tempdir().unwrap();
    let socket = home.path().join("s");
    let (wgod, folder) = (binaries::wgod(), home.path().display());
    let line = format!("{} --port 0 --state-dir {folder}/state --socket {folder}/s", wgod.display());
    // util-linux's `script` gives it a terminal.
    let mut script = Process::spawn("script", Path::new("script"), &home.path().join("log"), |command| {
        command.args(["-qefc", &line, "/dev/null"]).env("HOME", home.path()).env("SHELL", "/bin/sh");
    });
    until("the socket answers", SOON, || (ctl::at(&socket, &["status"], &[]).code == 0).then_some(()));
    until("it says what to type next", SOON, || {
        let said = std::fs::read_to_string(home.path().join("log")).unwrap();
        said.contains(&format!("wgoctl --socket {folder}/s")).then_some(())
    });
    ctl::at(&socket, &["quit"], &[]).expect(0);
    assert!(script.wait(SOON).success());
}
