//! The daemon ends in bounded time, whatever its trackers and disks do.
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::time::{Duration, Instant};

use wgo_api::State;
use wgo_tests::disk::mount_hung;
use wgo_tests::net::skip;
use wgo_tests::seeder::Seeder;
use wgo_tests::wait::{SOON, TRANSFER, until};
use wgo_tests::{Daemon, Maker, Net, Payload, Settings, ctl};

const PIECE: u32 = 16_384;

/// What the unit gives it before systemd kills it: the promise to operators, with room for a machine that is
/// busy. By itself the daemon takes less than 5 s, which is printed.
fn time_allowed() -> Duration {
    let unit = concat!(env!("CARGO_MANIFEST_DIR"), "/../systemd/wgod.service");
    let unit = std::fs::read_to_string(unit).unwrap();
    let secs = unit.lines().find_map(|line| line.strip_prefix("TimeoutStopSec=")).unwrap();
    Duration::from_secs(secs.parse().unwrap())
}

fn stop(daemon: &mut Daemon, what: &str) {
    let begun = Instant::now();
    let status = daemon.process().terminate(time_allowed());
    eprintln!("stopped in {:?}, {what}", begun.elapsed());
    assert!(status.success(), "{status}");
    assert!(daemon.log().contains("stopped took_ms="), "to the end, in order");
}

#[test]
fn dead_trackers_keep_nobody_waiting() {
    const TORRENTS: usize = 30;
    let test = "dead_trackers_keep_nobody_waiting";
    let Some(mut net) = Net::required(test) else { return };
    let dead = net.ip();
    // They take connections, datagrams and questions for names, and never answer.
    let http = TcpListener::bind((dead, 0)).unwrap();
    let udp = UdpSocket::bind((dead, 0)).unwrap();
    let resolver = UdpSocket::bind((dead, 53)).unwrap();
    let settings = Settings {
        ips: vec![net.home()],
        mounts: Some(format!(
            "echo nameserver {dead} > \"$HOME/resolv\"; mount --bind \"$HOME/resolv\" /etc/resolv.conf"
        )),
        ..Settings::default()
    };
    let mut daemon = Daemon::with(settings);
    let payloads: Vec<Payload> =
        (0..TORRENTS).map(|n| Payload::single(&format!("{n}.bin"), 40_000, PIECE)).collect();
    let urls = |n: usize| {
        [
            format!("http://{}/{n}/announce", http.local_addr().unwrap()),
            format!("udp://{}/announce", udp.local_addr().unwrap()),
            format!("http://tracker{n}.example/announce"),
        ]
    };
    let torrents: Vec<_> = payloads
        .iter()
        .enumerate()
        .map(|(n, payload)| {
            urls(n).into_iter().fold(Maker::new(payload), |maker, url| maker.tier([url])).make()
        })
        .collect();
    for (payload, torrent) in payloads.iter().zip(&torrents) {
        payload.write(&daemon.downloads());
        daemon.add(torrent, &daemon.downloads(), &[]);
    }
    for torrent in &torrents {
        daemon.wait_seeding(&torrent.id());
    }
    let mut question = [0; 512];
    resolver.set_read_timeout(Some(TRANSFER)).unwrap();
    resolver.recv(&mut question).expect("it looks names up, too");
    http.accept().expect("it announces");
    stop(&mut daemon, "with dead trackers");
    // What could not be said to them is not made up for, and nothing is hashed again.
    daemon.run();
    for torrent in &torrents {
        until("it seeds again", SOON, || {
            (daemon.torrent(&torrent.id()).state == State::Seeding).then_some(())
        });
    }
    let log = daemon.log();
    assert!(!log.contains("did not end in order"), "{log}");
    let begun = Instant::now();
    ctl::run(&daemon, &["quit", "--now"]).expect(0);
    eprintln!("`quit --now` took {:?}", begun.elapsed());
}

#[test]
fn a_disk_that_does_not_answer_keeps_the_end_no_longer_and_costs_the_others_nothing() {
    let test = "a_disk_that_does_not_answer_keeps_the_end_no_longer_and_costs_the_others_nothing";
    let Some(mut net) = Net::required(test) else { return };
    if !std::path::Path::new("/dev/fuse").exists() {
        return skip(test, "no /dev/fuse to make a file system of that never answers");
    }
    let hung = tempfile::Builder::new().prefix("wgod-hung-").tempdir().unwrap();
    let flag = hung.path().join("gone");
    let mount = mount_hung(hung.path());
    let mounts = Some(format!("if [ ! -e {} ]; then\n{mount}\nfi", flag.display()));
    let mut daemon = Daemon::with(Settings { ips: vec![net.home()], mounts, ..Settings::default() });
    let payloads = ["stuck.bin", "fine.bin"].map(|name| Payload::single(name, 1 << 20, PIECE));
    let torrents = payloads.each_ref().map(|payload| Maker::new(payload).make());
    let [stuck, fine] = torrents.each_ref().map(|torrent| torrent.id());
    let held: Vec<_> = payloads.iter().zip(&torrents).collect();
    let seeder = Seeder::start(net.ip(), &held);
    daemon.add(&torrents[0], hung.path(), &[seeder.addr()]);
    until("it waits for its disk", SOON, || (daemon.torrent(&stuck).state == State::Checking).then_some(()));
    daemon.add(&torrents[1], &daemon.downloads(), &[seeder.addr()]);
    daemon.wait_seeding(&fine);
    stop(&mut daemon, "with a disk that hangs");
    let log = daemon.log();
    assert!(log.contains("does its disk answer?") && log.contains("stuck.bin"), "{log}");
    // The mount is the daemon's own and gone with it; below it is an ordinary folder.
    std::fs::write(&flag, "").unwrap();
    let sent = seeder.sent_each();
    daemon.run();
    daemon.wait_seeding(&fine);
    daemon.wait_seeding(&stuck);
    assert_eq!(seeder.sent_each()[1], sent[1], "nothing of the other torrent is fetched again");
    payloads[0].assert_equals(hung.path());
}

#[test]
fn peers_that_say_nothing_and_callers_that_hang_keep_nobody_waiting() {
    let net = Net::new();
    let mut daemon = Daemon::start(&net);
    let payload = Payload::single("film.bin", 1 << 20, PIECE);
    let torrent = Maker::new(&payload).make();
    let id = daemon.add(&torrent, &daemon.downloads(), &[]);
    let (socket, pid) = (daemon.socket(), daemon.pid());
    let address: SocketAddr = daemon.listens(net.home());
    let sockets = || {
        let open = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
        let is_socket = |path: std::path::PathBuf| path.to_string_lossy().starts_with("socket:");
        open.filter(|entry| std::fs::read_link(entry.as_ref().unwrap().path()).is_ok_and(is_socket)).count()
    };
    let before = sockets();
    let peers: Vec<_> = (0..20).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
    let callers: Vec<_> =
        (0..20).map(|_| std::os::unix::net::UnixStream::connect(&socket).unwrap()).collect();
    let waiting = std::thread::spawn(move || ctl::at(&socket, &["wait", &id], &[]));
    until("all are connected", SOON, || (sockets() >= before + 40).then_some(()));
    stop(&mut daemon, "with callers and peers that hang");
    assert_ne!(waiting.join().unwrap().code, 0, "it is told that the daemon stops");
    drop((peers, callers));
}
