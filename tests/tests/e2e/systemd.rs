//! The daemon as systemd starts it: what it tells over the notification socket, and sockets that are handed
//! over to it. systemd itself is played by the test.
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Stdio;

use wgo_api::params::{StatusParams, VerifyParams};
use wgo_api::{ApiClient, State};
use wgo_tests::ctl;
use wgo_tests::notify::Notified;
use wgo_tests::process::Process;
use wgo_tests::wait::{SOON, until};
use wgo_tests::{Daemon, Maker, Net, Payload, Settings, binaries};

/// What the unit would allow between two pings.
const WATCHDOG_USEC: &str = "2000000";

fn answers(daemon: &Daemon) -> bool {
    daemon.call(async |client| client.status(StatusParams::default()).await).is_ok()
}

#[test]
fn systemd_hears_of_start_state_reload_and_stop() {
    let net = Net::new();
    let folder = tempfile::tempdir().unwrap();
    let mut systemd = Notified::listen(folder.path());
    let env = vec![systemd.env(), ("WATCHDOG_USEC".to_owned(), WATCHDOG_USEC.to_owned())];
    let mut daemon = Daemon::prepare(Settings { ips: vec![net.home()], env, ..Settings::default() });

    daemon.launch();
    let ready = systemd.hear("READY=1", SOON);
    assert!(answers(&daemon), "the socket has to answer when it says {ready:?}");
    let payload = Payload::single("film.bin", 200_000, 16_384);
    let torrent = Maker::new(&payload).make();
    let there = folder.path().join("media");
    fs::create_dir(&there).unwrap();
    payload.write(&there);
    let id = daemon.add(&torrent, &there, &[]);
    daemon.wait_seeding(&id);
    let alive = systemd.hear("STATUS=1 torrent,", SOON);
    assert_eq!(alive, "WATCHDOG=1\nSTATUS=1 torrent, down 0 B/s, up 0 B/s\n");
    assert!(daemon.terminate().success());
    let stopping = systemd.hear("STOPPING=1", SOON);
    assert!(
        stopping.contains("\nEXTEND_TIMEOUT_USEC=") && stopping.contains("\nSTATUS=saving"),
        "{stopping}"
    );
    assert!(systemd.rest().is_empty(), "nothing comes behind it");

    // Now there is something to load, which systemd hears about before the daemon is ready.
    daemon.launch();
    let loading = systemd.hear("EXTEND_TIMEOUT_USEC=", SOON);
    assert!(loading.contains("\nSTATUS=opening the state\n"), "{loading}");
    let loading = systemd.hear("EXTEND_TIMEOUT_USEC=", SOON);
    assert!(loading.contains("\nSTATUS=loading torrents, 0 of 1\n"), "{loading}");
    systemd.hear("READY=1", SOON);
    daemon.wait_seeding(&id);

    // What is missing is in the line, and goes from it by itself.
    fs::rename(&there, folder.path().join("away")).unwrap();
    daemon
        .call(async |client| client.verify(VerifyParams { all: true, ..Default::default() }).await)
        .unwrap();
    daemon.wait_state(&id, State::Error, SOON);
    let trouble = systemd.hear("1 in error: ", SOON);
    assert!(
        trouble.starts_with("WATCHDOG=1\nSTATUS=1 torrent, down ") && trouble.contains("media"),
        "{trouble}"
    );

    daemon.hangup();
    let reloading = systemd.hear("RELOADING=1", SOON);
    let stamp = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
    assert!(stamp.trim_end().parse::<u64>().unwrap() > 0, "{reloading}");
    let done = systemd.hear("READY=1", SOON);
    assert!(
        done.starts_with("READY=1\nSTATUS=1 torrent, down ") && done.contains(", 1 in error: "),
        "{done}"
    );

    let right = fs::read_to_string(daemon.config()).unwrap();
    fs::write(daemon.config(), right.clone() + "\n[choke]\nslotz = 3\n").unwrap();
    daemon.hangup();
    systemd.hear("RELOADING=1", SOON);
    let done = systemd.hear("READY=1", SOON);
    assert!(done.contains("could not be read again") && done.contains("slotz"), "{done}");
    let later = systemd.hear("STATUS=", SOON);
    assert!(later.contains("slotz"), "it stays until one succeeds: {later}");
    fs::write(daemon.config(), right).unwrap();
    // Over the control socket it heals as well.
    ctl::run(&daemon, &["reload"]).expect(0);
    until("the line is as before", SOON, || {
        (!systemd.hear("STATUS=", SOON).contains("could not be read")).then_some(())
    });
    assert!(daemon.terminate().success());
}

/// The listeners that a socket unit has bound. They stay with the test when the daemon has them, as with
/// systemd.
struct SocketUnit {
    control: UnixListener,
    looking: UnixListener,
}

impl SocketUnit {
    fn bind(control: &Path, looking: &Path) -> SocketUnit {
        SocketUnit {
            control: UnixListener::bind(control).unwrap(),
            looking: UnixListener::bind(looking).unwrap(),
        }
    }

    /// Starts wgod with the descriptors 3 and 4 under these names.
    fn start(&self, daemon: &Daemon, names: &str) -> Process {
        let handed = |listener: &UnixListener| Stdio::from(OwnedFd::from(listener.try_clone().unwrap()));
        // A shell moves them to where they belong, and keeps its process id.
        let script = "LISTEN_PID=$$ LISTEN_FDS=2 exec \"$0\" \"$@\" 3<&0 4<&1 </dev/null >&2";
        let shell = Path::new("sh");
        Process::spawn("wgod", shell, &daemon.home().join("log"), |command| {
            command.args(["-ec", script]).arg(binaries::wgod()).arg("--config").arg(daemon.config());
            command.env("HOME", daemon.home()).env("LISTEN_FDNAMES", names);
            command.stdin(handed(&self.control)).stdout(handed(&self.looking));
        })
    }
}

#[test]
fn sockets_of_systemd_are_taken_over_and_left_to_it() {
    let net = Net::new();
    let daemon = Daemon::prepare(Settings { ips: vec![net.home()], ..Settings::default() });
    let (control, looking) = (daemon.socket(), daemon.home().join("ro"));
    let unit = SocketUnit::bind(&control, &looking);
    let mut first = unit.start(&daemon, "control:control-ro");
    // Whoever came before it is ready waits, and is answered.
    assert!(answers(&daemon));
    ctl::at(&looking, &["list"], &[]).expect(0);
    ctl::at(&looking, &["limit", "--up", "3"], &[]).expect(8);
    // It returns when the process is gone, which takes its parent to look at it.
    let quit = std::thread::scope(|scope| {
        let quit = scope.spawn(|| ctl::at(&control, &["quit"], &[]).expect(0));
        assert!(first.wait(SOON).success());
        quit.join().unwrap()
    });
    assert!(quit.out.contains("the service manager listens on"), "{quit:?}");
    assert!(control.exists() && looking.exists(), "they belong to systemd");

    // Who comes while no daemon runs waits for the next one.
    let waiting = UnixStream::connect(&control).unwrap();
    let mut second = unit.start(&daemon, "control:control-ro");
    assert!(answers(&daemon));
    drop(waiting);
    assert!(second.terminate(SOON).success());
    assert!(control.exists());
}

#[test]
fn sockets_that_nobody_can_tell_apart_are_refused() {
    let net = Net::new();
    let daemon = Daemon::prepare(Settings { ips: vec![net.home()], ..Settings::default() });
    let unit = SocketUnit::bind(&daemon.socket(), &daemon.home().join("ro"));
    for (names, said) in [
        (
            "wgod.socket:control-ro",
            "hands over a socket named \"wgod.socket\"; set FileDescriptorName=control",
        ),
        ("control:control", "two sockets named control"),
        ("control", "$LISTEN_FDS"),
    ] {
        let mut wgod = unit.start(&daemon, names);
        assert!(!wgod.wait(SOON).success(), "{names}");
        assert!(wgod.log_tail().contains(said), "{names}: {}", wgod.log_tail());
    }
}
