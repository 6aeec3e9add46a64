//! Starting where something is in the way: another daemon, what a dead one left, a folder that
//! can't be used, a broken configuration.
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;

use wgo_tests::process::Process;
use wgo_tests::wait::SOON;
use wgo_tests::{Daemon, Maker, Net, Payload, Settings, binaries, ctl, net};

#[test]
fn a_stale_socket_is_replaced() {
    let net = Net::new();
    let mut daemon = Daemon::prepare(Settings { ips: vec![net.home()], ..Settings::default() });
    drop(UnixListener::bind(daemon.socket()).unwrap());
    assert!(daemon.socket().exists(), "left behind by one that died");
    daemon.run();
    let mode = std::fs::metadata(daemon.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660, "for its user and group alone");
    daemon.kill9();
    assert!(daemon.socket().exists(), "left behind by the killed one");
    daemon.run();
    assert!(daemon.terminate().success());
    assert!(!daemon.socket().exists(), "taken along by the clean stop");
}

#[test]
fn a_second_daemon_on_the_same_state_is_refused_and_told_what_to_do() {
    let net = Net::new();
    let daemon = Daemon::start(&net);
    let state = daemon.home().join("state");
    let log = daemon.home().join("second.log");
    let torrent = Maker::new(&Payload::single("more.bin", 1000, 16_384)).make().save(daemon.home());
    let mut second = Process::spawn("second wgod", &binaries::wgod(), &log, |command| {
        command
            .arg("--torrent")
            .arg(&torrent)
            .arg("--state-dir")
            .arg(&state)
            .arg("--socket")
            .arg(daemon.home().join("s2"));
        command.args(["--port", "0"]).env("HOME", daemon.home());
    });
    let status = second.wait(SOON);
    let said = second.log_tail();
    assert!(!status.success(), "{said}");
    assert!(said.contains(state.to_str().unwrap()), "it names the directory: {said}");
    assert!(said.contains("wgoctl") && said.contains(" add "), "it says what to type instead: {said}");
    ctl::run(&daemon, &["status"]).expect(0);
}

#[test]
fn a_second_daemon_on_the_same_socket_is_refused() {
    let net = Net::new();
    let daemon = Daemon::start(&net);
    let log = daemon.home().join("second.log");
    let mut second = Process::spawn("second wgod", &binaries::wgod(), &log, |command| {
        command.arg("--state-dir").arg(daemon.home().join("state2")).arg("--socket").arg(daemon.socket());
        command.args(["--port", "0"]).env("HOME", daemon.home());
    });
    assert!(!second.wait(SOON).success(), "{}", second.log_tail());
    ctl::run(&daemon, &["status"]).expect(0);
}

#[test]
fn a_wrong_configuration_is_refused_with_line_and_key() {
    let folder = tempfile::tempdir().unwrap();
    for (text, named) in [
        ("[limits]\nupp = 3\n", "upp"),
        ("[limits]\nup = \"20 parsec\"\n", "parsec"),
        ("[network]\nport = 99999\n", "port"),
        ("[network]\nutp = true\n", "utp"),
        ("[limits\n", "wgod.toml:1"),
    ] {
        let config = folder.path().join("wgod.toml");
        std::fs::write(&config, text).unwrap();
        let mut wgod = run_alone(folder.path(), &["--config".as_ref(), config.as_path()]);
        let code = wgod.wait(SOON).code();
        let said = wgod.log_tail();
        assert_eq!(code, Some(2), "{text}: {said}");
        assert!(said.contains(named), "{text}: {said}");
        std::fs::remove_file(folder.path().join("log")).unwrap();
    }
}

#[test]
fn a_state_directory_that_cannot_be_written_is_refused_with_its_path() {
    let folder = tempfile::tempdir().unwrap();
    // A file where the directory should be: that stops root too.
    let state = folder.path().join("file");
    std::fs::write(&state, b"").unwrap();
    let socket = folder.path().join("s");
    let args = ["--state-dir".as_ref(), state.as_path(), "--socket".as_ref(), socket.as_path()];
    let mut wgod = run_alone(folder.path(), &args);
    assert!(!wgod.wait(SOON).success());
    assert!(wgod.log_tail().contains(state.to_str().unwrap()), "{}", wgod.log_tail());
}

#[test]
fn a_failure_is_said_once_with_what_to_do() {
    if !rustix::process::geteuid().is_root() {
        let test = "a_failure_is_said_once_with_what_to_do";
        return net::skip(test, "only root can run wgod as somebody who may not");
    }
    let folder = tempfile::tempdir().unwrap();
    let locked = folder.path().join("locked");
    std::fs::create_dir(&locked).unwrap();
    let [config, socket, state] =
        ["locked/wgod.toml", "locked/sub/s", "locked/state"].map(|p| folder.path().join(p));
    std::fs::write(&config, "").unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    std::fs::set_permissions(&locked, std::fs::Permissions::from_mode(0o700)).unwrap();
    let own = folder.path().join("own");
    for (args, code, told) in [
        (vec!["--config".as_ref(), config.as_path()], 2, "needs to be able to read it"),
        (vec!["--state-dir".as_ref(), state.as_path()], 1, "needs to own it"),
        (
            vec!["--state-dir".as_ref(), own.as_path(), "--socket".as_ref(), socket.as_path()],
            1,
            "another path",
        ),
    ] {
        let log = folder.path().join("log");
        let nobody = ["--reuid", "65534", "--regid", "65534", "--clear-groups"];
        let mut wgod = Process::spawn("wgod", Path::new("setpriv"), &log, |command| {
            command.args(nobody).arg(binaries::wgod()).args(&args).env("HOME", folder.path());
        });
        let (ended, said) = (wgod.wait(SOON).code(), wgod.log_tail());
        assert_eq!(ended, Some(code), "{args:?}: {said}");
        let denied = said.matches("Permission denied").count();
        assert!(denied == 1 && said.contains(told) && said.contains("locked"), "{args:?}: {said}");
        std::fs::remove_file(&log).unwrap();
    }
}

fn run_alone(home: &Path, args: &[&Path]) -> Process {
    Process::spawn("wgod", &binaries::wgod(), &home.join("log"), |command| {
        command.args(args).env("HOME", home).env("XDG_RUNTIME_DIR", home);
    })
}
