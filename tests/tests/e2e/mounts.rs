//! File systems that aren't mounted: their torrents wait for them.
use std::path::Path;
use std::time::Duration;

use wgo_api::torrent::Trouble;
use wgo_api::{ApiClient, State};
use wgo_proto::wire::message::Message;
use wgo_proto::{BLOCK_LEN, Block, PieceIndex};
use wgo_tests::disk::{fill, seen, within};
use wgo_tests::leecher::Leecher;

use wgo_tests::seeder::Seeder;
use wgo_tests::wait::{SOON, TRANSFER, throughout, until};
use wgo_tests::wire::{Got, Wire};
use wgo_tests::{Daemon, Maker, Net, Payload, Settings, Torrent};

/// How soon a torrent comes back by itself: the daemon looks again every minute or so.
const RESUME: Duration = Duration::from_secs(150);
/// Long enough for a few looks at what is missing.
const A_WHILE: Duration = Duration::from_secs(4);

fn is_empty(folder: &Path) -> bool {
    folder.read_dir().unwrap().next().is_none()
}

#[test]
fn downloads_wait_for_a_mount_that_is_missing_after_a_restart() {
    let test = "downloads_wait_for_a_mount_that_is_missing_after_a_restart";
    let Some(mut net) = Net::required(test) else { return };
    let home = tempfile::Builder::new().prefix("wgod-mount-").tempdir().unwrap();
    let [disk, point, absent] = ["disk", "point", "absent"].map(|name| home.path().join(name));
    std::fs::create_dir(&disk).unwrap();
    std::fs::create_dir(&point).unwrap();
    let mount = format!("mount --bind {} {}", disk.display(), point.display());
    let mut daemon = Daemon::with(Settings {
        ips: vec![net.home()],
        mounts: Some(format!("if ! [ -e {} ]; then {mount}; fi", absent.display())),
        ..Settings::default()
    });
    // One lies in the mount point, one in a folder below it; pieces are so large that neither is whole soon.
    let payloads = ["top.bin", "below.bin"].map(|name| Payload::single(name, 4 << 20, 1 << 20));
    let torrents = payloads.each_ref().map(|payload| Maker::new(payload).make());
    let seeder = Seeder::start(net.ip(), &[(&payloads[0], &torrents[0]), (&payloads[1], &torrents[1])]);
    daemon.limit(None, None, Some(400_000));
    let folders = [point.clone(), point.join("sub")];
    let ids = [0, 1].map(|n| daemon.add(&torrents[n], &folders[n], &[seeder.addr()]));
    until("both have begun", TRANSFER, || {
        ids.iter().all(|id| daemon.torrent(id).downloaded_bytes > 200_000).then_some(())
    });
    daemon.terminate();
    let begun = seeder.sent_in_the_end();
    assert!(!is_empty(&disk) && is_empty(&point), "the mount is the daemon's own");

    std::fs::write(&absent, "").unwrap();
    daemon.run();
    for id in &ids {
        until("it says what is missing", SOON, || {
            let torrent = daemon.torrent(id);
            let said = torrent.error.is_some_and(|error| error.contains("is not mounted"));
            (torrent.state == State::Error && said).then_some(())
        });
    }
    throughout("nothing is made below the mount point or downloaded anew", A_WHILE, || {
        is_empty(&point) && seeder.sent_each() == begun
    });

    within(&daemon, &mount);
    daemon.limit(None, None, Some(0));
    for id in &ids {
        until("it goes on by itself", RESUME, || (daemon.torrent(id).state == State::Seeding).then_some(()));
    }
    payloads[0].assert_equals(&disk);
    payloads[1].assert_equals(&disk.join("sub"));
    // Of the 200,000 bytes and more that had come, what was under way at the end may be lost.
    for (sent, before) in seeder.sent_each().iter().zip(begun) {
        assert!(
            sent - before < (4 << 20) - 100_000,
            "what was there was fetched again: {sent} after {before}"
        );
    }
}

fn until_error(daemon: &Daemon, id: &str, kind: Trouble, says: &[&str]) {
    until(&format!("it is {kind}"), RESUME, || {
        let torrent = daemon.torrent(id);
        let text = torrent.error.unwrap_or_default();
        let said = says.iter().any(|part| text.contains(part));
        (torrent.state == State::Error && torrent.error_kind == Some(kind) && said).then_some(())
    });
}

fn until_downloading(daemon: &Daemon, id: &str) {
    until("it goes on by itself", RESUME, || {
        let torrent = daemon.torrent(id);
        (torrent.state == State::Downloading && torrent.error.is_none()).then_some(())
    });
}

/// `status` says of one disk only that it is full: of the one with this folder.
fn names_the_full_disk(daemon: &Daemon, folder: &Path) {
    until("status says which disk is full", SOON, || {
        let disks = daemon.status().disks;
        let bad = |disk: &&wgo_api::result::Disk| disk.error.as_deref().is_some_and(|e| e.contains("left"));
        let bad: Vec<_> = disks.iter().filter(bad).collect();
        assert!(bad.iter().all(|disk| Path::new(&disk.path).starts_with(folder)), "{disks:?}");
        (bad.len() == 1).then_some(())
    });
}

/// A torrent that may not be written to sends what it has.
fn uploads_a_piece(net: &mut Net, daemon: &Daemon, torrent: &Torrent) {
    let had = daemon.pieces(&torrent.id()).iter().position(|have| *have).unwrap();
    let mut wire = Wire::connect(net.ip(), daemon.listens(net.home()), torrent.hash).unwrap();
    wire.send(&Message::Interested).unwrap();
    wire.until("a slot on the full disk", SOON, |got| *got == Got::Unchoke);
    let piece = PieceIndex(had as u32);
    wire.send(&Message::Request(Block { piece, offset: 0, len: BLOCK_LEN })).unwrap();
    wire.until("what it has", SOON, |got| matches!(got, Got::Piece(..)));
}

#[test]
fn a_disk_that_fills_frees_vanishes_and_comes_back_hurts_only_its_downloads_and_only_so_long() {
    let test = "a_disk_that_fills_frees_vanishes_and_comes_back_hurts_only_its_downloads_and_only_so_long";
    let Some(mut net) = Net::required(test) else { return };
    let home = tempfile::Builder::new().prefix("wgod-nas-").tempdir().unwrap();
    let [disk, point] = ["disk", "point"].map(|name| home.path().join(name));
    std::fs::create_dir(&disk).unwrap();
    std::fs::create_dir(&point).unwrap();
    let (shown, mounted) = (disk.display(), point.display());
    let mount = format!("mount --bind {shown} {mounted}");
    let daemon = Daemon::with(Settings {
        ips: vec![net.home()],
        mounts: Some(format!("mount -t tmpfs -o size=100m none {shown} && {mount}")),
        storage: "min_free_space = \"2 MiB\"".to_owned(),
        ..Settings::default()
    });
    // As this test reaches the disk, whether it is mounted where it belongs or not.
    let seen = seen(&daemon, &disk);

    let downloads = ["one.bin", "two.bin"].map(|name| Payload::single(name, 24 << 20, 1 << 18));
    let kept = Payload::single("kept.bin", 4 << 20, 1 << 18);
    let torrents = downloads.each_ref().map(|payload| Maker::new(payload).make());
    let seeder = Seeder::start(net.ip(), &[(&downloads[0], &torrents[0]), (&downloads[1], &torrents[1])]);
    kept.write(&daemon.downloads());
    let kept_torrent = Maker::new(&kept).make();
    let kept_id = daemon.add(&kept_torrent, &daemon.downloads(), &[]);
    daemon.wait_seeding(&kept_id);
    daemon.limit(None, None, Some(400_000));
    let folders = [point.clone(), point.join("sub")];
    let ids = [0, 1].map(|n| daemon.add(&torrents[n], &folders[n], &[seeder.addr()]));
    let stored = |id: &String| daemon.torrent(id).done_bytes;
    until("both have pieces", TRANSFER, || ids.iter().all(|id| stored(id) > 1 << 18).then_some(()));
    let seeds_on = |net: &mut Net| {
        let (ip, to) = (net.ip(), daemon.listens(net.home()));
        let leecher = Leecher::start(ip, to, kept_torrent.hash, kept_torrent.pieces, kept.piece_len);
        until("the other disk's torrent uploads", TRANSFER, || {
            (leecher.bytes() >= kept.len() as u64).then_some(())
        });
        assert_eq!(daemon.torrent(&kept_id).state, State::Seeding);
    };

    // Full: the downloads wait, what they have is uploaded, the disk is named.
    fill(&seen.join("ballast"));
    for id in &ids {
        until_error(&daemon, id, Trouble::DiskFull, &["min_free_space", "full", "No space"]);
    }
    names_the_full_disk(&daemon, &point);
    uploads_a_piece(&mut net, &daemon, &torrents[0]);
    seeds_on(&mut net);

    std::fs::remove_file(seen.join("ballast")).unwrap();
    ids.iter().for_each(|id| until_downloading(&daemon, id));

    // Gone: nothing is made or forgotten in its place.
    let before = ids.each_ref().map(stored);
    within(&daemon, &format!("umount -l {mounted}"));
    for id in &ids {
        until_error(&daemon, id, Trouble::Unavailable, &["is not mounted"]);
    }
    let gone = |disk: &wgo_api::result::Disk| disk.error.as_deref().is_some_and(|e| e.starts_with("gone"));
    assert!(daemon.status().disks.iter().any(gone), "{:?}", daemon.status().disks);
    seeds_on(&mut net);
    daemon.call(async |client| client.verify(Daemon::check(&ids[0])).await).unwrap();
    until_error(&daemon, &ids[0], Trouble::Unavailable, &["is not mounted"]);
    assert!(is_empty(&point), "made where nothing is mounted");

    within(&daemon, &mount);
    ids.iter().for_each(|id| until_downloading(&daemon, id));
    for (id, before) in ids.iter().zip(before) {
        assert!(stored(id) >= before, "had {before} before, {} now", stored(id));
    }
    daemon.limit(None, None, Some(0));
    ids.iter().for_each(|id| daemon.wait_seeding(id));
    downloads[0].assert_equals(&seen);
    downloads[1].assert_equals(&seen.join("sub"));
    kept.assert_equals(&daemon.downloads());
    seeds_on(&mut net);
    assert!(is_empty(&point), "the mount is the daemon's own");
}
