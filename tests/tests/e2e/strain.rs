//! Few descriptors, peers that hardly read, a disk that does not answer: what is scarce for one thing is
//! not taken from everything else.
use std::io::Read;
use std::time::Duration;

use wgo_api::State;
use wgo_proto::units::{Block, PieceIndex};
use wgo_proto::wire::message::Message;
use wgo_tests::ctl;
use wgo_tests::disk::mount_hung;
use wgo_tests::leecher::Leecher;
use wgo_tests::net::skip;
use wgo_tests::seeder::Seeder;
use wgo_tests::wait::{SOON, TRANSFER, long, pause, until};
use wgo_tests::wire::Wire;
use wgo_tests::{Daemon, Maker, Net, Payload, Settings, procfs};

const PIECE: u32 = 65_536;

/// Downloads and seeds a torrent of `files` files with room for few descriptors.
fn many_files(files: usize, descriptors: u32, limit: Duration) {
    let mut net = Net::new();
    let settings = Settings { ips: vec![net.home()], descriptors: Some(descriptors), ..Settings::default() };
    let daemon = Daemon::with(settings);
    let names: Vec<String> = (0..files).map(|n| format!("{}/{n}", n % 50)).collect();
    // A piece spans some files and ends within one.
    let listed: Vec<(&str, usize)> =
        names.iter().enumerate().map(|(n, name)| (name.as_str(), 3_000 + n % 2_500)).collect();
    let payload = Payload::multi("many", PIECE, &listed);
    let torrent = Maker::new(&payload).make();
    let seeder = Seeder::start(net.ip(), &[(&payload, &torrent)]);
    let id = daemon.add(&torrent, &daemon.downloads(), &[seeder.addr()]);
    daemon.wait_state(&id, State::Seeding, limit);
    payload.assert_equals(&daemon.downloads());
    let to = daemon.listens(net.home());
    let idle: Vec<Wire> = (0..40).map(|_| Wire::connect(net.ip(), to, torrent.hash).unwrap()).collect();
    let whole = torrent.pieces - 1;
    let takes = Leecher::start(net.ip(), to, torrent.hash, whole, PIECE);
    until("all of it is served", limit, || {
        (takes.bytes() >= u64::from(whole) * u64::from(PIECE)).then_some(())
    });
    assert_eq!(daemon.torrent(&id).error, None);
    let open = procfs::open_below(daemon.pid(), &daemon.downloads()).len();
    eprintln!("{files} files, {descriptors} descriptors: {open} of the files are open");
    // Half of them, and one more for each thread that needs one while all are in use.
    assert!(open <= descriptors as usize / 2 + 16, "{open} files are open");
    drop(idle);
}

#[test]
fn two_thousand_files_need_no_more_than_256_descriptors() {
    many_files(2_000, 256, TRANSFER);
}

#[test]
fn twenty_thousand_files_need_no_more_than_1024_descriptors() {
    if !long() {
        // Not for want of anything, so not a failure where skips are.
        eprintln!(
            "SKIPPED twenty_thousand_files_need_no_more_than_1024_descriptors: it is long; set WGOD_LONG=1"
        );
        return;
    }
    // 60 more: the taker, which leaves out the short last piece, must send a bitfield of the right length.
    many_files(20_060, 1_024, 5 * TRANSFER);
}

#[test]
fn peers_that_read_a_byte_a_second_cost_little_and_hold_up_nobody() {
    const SLOW: usize = 40;
    let mut net = Net::new();
    let settings = Settings { ips: vec![net.home()], slots: Some(64), ..Settings::default() };
    let daemon = Daemon::with(settings);
    let payload = Payload::single("slow.bin", 16 << 20, PIECE);
    payload.write(&daemon.downloads());
    let torrent = Maker::new(&payload).make();
    daemon.wait_seeding(&daemon.add(&torrent, &daemon.downloads(), &[]));
    let to = daemon.listens(net.home());
    let brisk = Leecher::start(net.ip(), to, torrent.hash, torrent.pieces, PIECE);
    // Pools and stacks are grown by one that reads.
    until("a peer that reads is served", SOON, || (brisk.bytes() >= 16 << 20).then_some(()));
    let before = procfs::resident(daemon.pid());
    let mut requests = Vec::new();
    for n in 0..500_u32 {
        let block = Block { piece: PieceIndex(n / 4 % torrent.pieces), offset: n % 4 * 16_384, len: 16_384 };
        Message::Request(block).encode(&mut requests);
    }
    let mut slow: Vec<_> = (0..SLOW)
        .map(|_| {
            let mut wire = Wire::connect_small(net.ip(), to, torrent.hash).unwrap();
            wire.send(&Message::Interested).unwrap();
            wire.until("unchoke", TRANSFER, |got| *got == wgo_tests::wire::Got::Unchoke);
            wire.send_raw(&requests).unwrap();
            wire.into_stream()
        })
        .collect();
    let served = brisk.bytes();
    for _ in 0..8 {
        for stream in &mut slow {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
        }
        pause(Duration::from_secs(1));
    }
    until("the peer that reads is still served", SOON, || {
        (brisk.bytes() >= served + (16 << 20)).then_some(())
    });
    let grown = procfs::resident(daemon.pid()).saturating_sub(before);
    eprintln!("{SLOW} peers that hardly read: {} KiB more", grown >> 10);
    // What was asked for is 8 MB each; a batch is 256 KiB at most.
    let bound = (SLOW as u64) * (300 << 10) + (8 << 20);
    assert!(grown < bound, "{grown} bytes for {SLOW} peers");
}

#[test]
fn a_disk_that_does_not_answer_keeps_no_command_waiting() {
    let test = "a_disk_that_does_not_answer_keeps_no_command_waiting";
    let Some(mut net) = Net::required(test) else { return };
    if !std::path::Path::new("/dev/fuse").exists() {
        return skip(test, "no /dev/fuse to make a file system of that never answers");
    }
    let hung = tempfile::Builder::new().prefix("wgod-hung-").tempdir().unwrap();
    let mounts = Some(mount_hung(hung.path()));
    let daemon = Daemon::with(Settings { ips: vec![net.home()], mounts, ..Settings::default() });
    let payloads = ["stuck.bin", "fine.bin"].map(|name| Payload::single(name, 1 << 20, PIECE));
    let torrents = payloads.each_ref().map(|payload| Maker::new(payload).make());
    let [stuck, fine] = torrents.each_ref().map(|torrent| torrent.id());
    let held: Vec<_> = payloads.iter().zip(&torrents).collect();
    let seeder = Seeder::start(net.ip(), &held);
    daemon.add(&torrents[0], hung.path(), &[seeder.addr()]);
    until("it waits for its disk", SOON, || (daemon.torrent(&stuck).state == State::Checking).then_some(()));
    // The other disk's check does not queue behind it.
    daemon.add(&torrents[1], &daemon.downloads(), &[seeder.addr()]);
    daemon.wait_seeding(&fine);
    payloads[1].assert_equals(&daemon.downloads());
    for verb in [
        &["list"][..],
        &["status"],
        &["show", &stuck, "--files", "--peers", "--trackers"],
        &["verify", &stuck],
    ] {
        ctl::run(&daemon, verb).expect(0);
    }
    // It says that the torrent has not stopped yet, instead of waiting for ever.
    let stopped = ctl::run(&daemon, &["stop", &stuck]).expect(1);
    assert!(stopped.err.contains("does that disk answer?"), "{}", stopped.err);
    for verb in [&["start", &stuck][..], &["limit", "--up", "100 KB/s", &stuck]] {
        ctl::run(&daemon, verb).expect(0);
    }
    let log = daemon.log();
    assert!(!log.contains("panicked"), "{log}");
}
