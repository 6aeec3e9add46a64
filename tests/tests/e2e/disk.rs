//! Disks that fail people: full, read-only, not writable, files that vanish or change.
use std::time::Duration;

use wgo_api::params::RemoveParams;
use wgo_api::result::AddStatus;
use wgo_api::{ApiClient, Kind, State};
use wgo_proto::wire::message::Message;
use wgo_tests::disk::{fill, seen};
use wgo_tests::leecher::Leecher;
use wgo_tests::seeder::Seeder;
use wgo_tests::wait::{SOON, TRANSFER, try_until, until};
use wgo_tests::{Daemon, Maker, Net, Payload, Settings};

/// How a torrent whose disk was full comes back by itself: the daemon looks again every minute or so.
const RESUME: Duration = Duration::from_secs(150);

#[test]
fn a_full_disk_pauses_its_torrents_which_resume_by_themselves() {
    let test = "a_full_disk_pauses_its_torrents_which_resume_by_themselves";
    let Some(mut net) = Net::required(test) else { return };
    let small = tempfile::Builder::new().prefix("wgod-small-").tempdir().unwrap();
    let mount = format!("mount -t tmpfs -o size=6m none {}", small.path().display());
    let daemon = Daemon::with(Settings {
        ips: vec![net.home()],
        mounts: Some(mount),
        storage: "min_free_space = \"0\"".to_owned(),
        ..Settings::default()
    });
    let big = Payload::single("big.bin", 5 << 20, 65_536);
    let other = Payload::single("other.bin", 5 << 20, 65_536);
    let (torrent, elsewhere) = (Maker::new(&big).make(), Maker::new(&other).make());
    let seeder = Seeder::start(net.ip(), &[(&big, &torrent), (&other, &elsewhere)]);

    let ballast = seen(&daemon, small.path()).join("ballast");
    std::fs::write(&ballast, vec![1; 3 << 20]).unwrap();
    let id = daemon.add(&torrent, small.path(), &[seeder.addr()]);
    until("the torrent stops for want of space", TRANSFER, || {
        let torrent = daemon.torrent(&id);
        let full = torrent.error.as_deref().is_some_and(|error| {
            let error = error.to_lowercase();
            error.contains("space") || error.contains("full")
        });
        (torrent.state == State::Error && full).then_some(())
    });
    let other_id = daemon.add(&elsewhere, &daemon.downloads(), &[seeder.addr()]);
    daemon.wait_seeding(&other_id);
    other.assert_equals(&daemon.downloads());

    std::fs::remove_file(&ballast).unwrap();
    let resumed = try_until(RESUME, || (daemon.torrent(&id).state == State::Seeding).then_some(()));
    assert!(resumed.is_some(), "it did not resume by itself: {:?}", daemon.torrent(&id));
    big.assert_equals(&seen(&daemon, small.path()));
}

#[test]
fn what_is_removed_while_the_states_disk_is_full_does_not_come_back() {
    let test = "what_is_removed_while_the_states_disk_is_full_does_not_come_back";
    let Some(mut net) = Net::required(test) else { return };
    // Over a restart it is the same file system: the state is copied out of it and back.
    let mount = r#"mkdir -p "$HOME/state" && mount -t tmpfs -o size=8m none "$HOME/state"
        if [ -e "$HOME/saved" ]; then cp -a "$HOME/saved/." "$HOME/state"; fi"#;
    let mut daemon = Daemon::with(Settings {
        ips: vec![net.home()],
        mounts: Some(mount.to_owned()),
        ..Settings::default()
    });
    let kept = Payload::single("kept.bin", 1 << 20, 65_536);
    let fetched = Payload::single("fetched.bin", 8 << 20, 65_536);
    let (kept_torrent, torrent) = (Maker::new(&kept).make(), Maker::new(&fetched).make());
    kept.write(&daemon.downloads());
    let kept_id = daemon.add(&kept_torrent, &daemon.downloads(), &[]);
    daemon.wait_seeding(&kept_id);
    daemon.limit(None, None, Some(50_000));
    let seeder = Seeder::start(net.ip(), &[(&fetched, &torrent)]);
    let id = daemon.add(&torrent, &daemon.downloads(), &[seeder.addr()]);
    let ballast = seen(&daemon, &daemon.home().join("state/ballast"));
    fill(&ballast);

    let params = RemoveParams { ids: vec![kept_id.clone()], all: false, data: true };
    let acted = daemon.call(async |client| client.remove(params).await).unwrap().torrents;
    // The database may have room of its own to forget it in; else it says so.
    let why = acted[0].error.clone();
    let said =
        |why: &String| why.contains("removed, but not from wgod's state") && why.contains("free some space");
    assert!(why.as_ref().is_none_or(said), "{why:?}");
    assert!(!daemon.downloads().join("kept.bin").exists(), "its files are gone");
    assert_eq!(daemon.list().len(), 1);

    std::fs::remove_file(&ballast).unwrap();
    until("the removal is made up for", SOON, || {
        (why.is_none() || daemon.log().contains("forgotten by the store")).then_some(())
    });
    daemon.limit(None, None, Some(0));
    until("the download goes on by itself", RESUME, || {
        (daemon.torrent(&id).state == State::Seeding).then_some(())
    });
    daemon.call(async |client| client.stop(Daemon::select(&id)).await).unwrap();
    let state = seen(&daemon, &daemon.home().join("state"));
    let saved = daemon.home().join("saved");
    let copied = std::process::Command::new("cp").arg("-a").arg(&state).arg(&saved).status().unwrap();
    assert!(copied.success());
    daemon.terminate();
    daemon.run();
    assert_eq!(daemon.list().iter().map(|torrent| &torrent.info_hash).collect::<Vec<_>>(), [&id]);
    fetched.assert_equals(&daemon.downloads());
}

#[test]
fn a_complete_torrent_on_a_read_only_mount_seeds() {
    let test = "a_complete_torrent_on_a_read_only_mount_seeds";
    let Some(mut net) = Net::required(test) else { return };
    let folder = tempfile::Builder::new().prefix("wgod-ro-").tempdir().unwrap();
    let shown = folder.path().display();
    let mount = format!("mount --bind {shown} {shown} && mount -o remount,ro,bind {shown}");
    let payload = Payload::single("fixed.bin", 1 << 20, 65_536);
    payload.write(folder.path());
    let torrent = Maker::new(&payload).make();
    let mut daemon =
        Daemon::with(Settings { ips: vec![net.home()], mounts: Some(mount), ..Settings::default() });
    let id = daemon.add(&torrent, folder.path(), &[]);
    daemon.wait_seeding(&id);
    daemon.terminate();
    daemon.run();
    daemon.wait_seeding(&id);
    let to = daemon.listens(net.home());
    let leecher = Leecher::start(net.ip(), to, torrent.hash, torrent.pieces, payload.piece_len);
    until("it uploads", SOON, || (leecher.bytes() >= payload.len() as u64).then_some(()));
    assert_eq!(daemon.torrent(&id).error, None);
}

#[test]
fn a_folder_that_cannot_be_written_is_named_and_hurts_nobody_else() {
    let mut net = Net::new();
    let daemon = Daemon::start(&net);
    let payload = Payload::single("nowhere.bin", 300_000, 32_768);
    let other = Payload::single("somewhere.bin", 300_000, 32_768);
    let (torrent, elsewhere) = (Maker::new(&payload).make(), Maker::new(&other).make());
    let seeder = Seeder::start(net.ip(), &[(&payload, &torrent), (&other, &elsewhere)]);
    // A file on the way stops root too.
    let blocked = daemon.home().join("file/below");
    std::fs::write(daemon.home().join("file"), b"").unwrap();
    let added = daemon.try_add(&torrent, &blocked, &[seeder.addr()]);
    match added.status {
        AddStatus::Failed => assert!(added.error.unwrap().contains("file"), "it names the path"),
        _ => until("the torrent shows what is wrong", SOON, || {
            let torrent = daemon.torrent(&torrent.id());
            let named = torrent.error.is_some_and(|error| error.contains("file"));
            (torrent.state == State::Error && named).then_some(())
        }),
    }
    let id = daemon.add(&elsewhere, &daemon.downloads(), &[seeder.addr()]);
    daemon.wait_seeding(&id);
    other.assert_equals(&daemon.downloads());
}

#[test]
fn files_that_vanish_while_seeding_stop_that_torrent_only() {
    let mut net = Net::new();
    let daemon = Daemon::start(&net);
    let gone = Payload::single("gone.bin", 1 << 20, 65_536);
    let stays = Payload::single("stays.bin", 1 << 20, 65_536);
    let torrents = [Maker::new(&gone).make(), Maker::new(&stays).make()];
    for (payload, torrent) in [&gone, &stays].into_iter().zip(&torrents) {
        payload.write(&daemon.downloads());
        let id = daemon.add(torrent, &daemon.downloads(), &[]);
        daemon.wait_seeding(&id);
    }
    let path = daemon.downloads().join("gone.bin");
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(1000).unwrap();
    std::fs::remove_file(&path).unwrap();
    let to = daemon.listens(net.home());
    let ip = net.ip();
    let asks = Leecher::start(ip, to, torrents[0].hash, torrents[0].pieces, 65_536);
    let (gone_id, stays_id) = (torrents[0].id(), torrents[1].id());
    until("the torrent tells of its file", TRANSFER, || {
        let torrent = daemon.torrent(&gone_id);
        torrent.error.filter(|error| error.contains("gone.bin")).map(drop)
    });
    drop(asks);
    let fine = Leecher::start(ip, to, torrents[1].hash, torrents[1].pieces, 65_536);
    until("the other goes on", SOON, || (fine.bytes() >= 1 << 20).then_some(()));
    assert_eq!(daemon.torrent(&stays_id).error, None);

    gone.write(&daemon.downloads());
    daemon.call(async |client| client.verify(Daemon::check(&gone_id)).await).unwrap();
    daemon.call(async |client| client.start(Daemon::starting(&gone_id)).await).unwrap();
    until("it seeds again", SOON, || (daemon.torrent(&gone_id).state == State::Seeding).then_some(()));
}

#[test]
fn changed_files_are_found_at_the_next_start() {
    let net = Net::new();
    let mut daemon = Daemon::start(&net);
    let payload = Payload::multi("changed", 32_768, &[("a", 100_000), ("b", 100_000), ("c", 100_000)]);
    payload.write(&daemon.downloads());
    let id = daemon.add(&Maker::new(&payload).make(), &daemon.downloads(), &[]);
    daemon.wait_seeding(&id);
    daemon.terminate();
    std::fs::remove_file(daemon.downloads().join("changed/b")).unwrap();
    daemon.run();
    until("it tells of the file that is gone", SOON, || {
        let torrent = daemon.torrent(&id);
        let named = torrent.error.is_some_and(|error| error.contains("changed/b"));
        (named || torrent.state == State::Downloading).then_some(())
    });
    daemon.call(async |client| client.verify(Daemon::check(&id)).await).unwrap();
    daemon.wait_state(&id, State::Downloading, SOON);
    let there = payload.pieces_on_disk(&daemon.downloads());
    assert_eq!(daemon.pieces(&id), there, "it has what is there, and nothing else");
}

#[test]
fn two_torrents_that_would_write_one_file_are_told_apart() {
    let net = Net::new();
    let daemon = Daemon::start(&net);
    let payload = Payload::single("contested.bin", 300_000, 32_768);
    let (one, two) = (Maker::new(&payload).make(), Maker::new(&payload).private().make());
    daemon.add(&one, &daemon.downloads(), &[]);
    let second = daemon.try_add(&two, &daemon.downloads(), &[]);
    let refused = match second.status {
        AddStatus::Failed => (second.kind == Some(Kind::Conflict)).then(|| second.error.unwrap()),
        _ => until("the second writer is stopped", SOON, || Some(daemon.torrent(&two.id()).error)),
    };
    let said = refused.expect("a second writer is refused");
    assert!(said.contains("contested.bin"), "it names what they share: {said}");
}

#[test]
fn a_request_for_a_piece_that_is_not_there_is_not_answered() {
    let mut net = Net::new();
    let daemon = Daemon::start(&net);
    let payload = Payload::single("half.bin", 10 * 32_768, 32_768);
    let mut half = payload.clone();
    half.files[0].1[5 * 32_768..].fill(0);
    half.write(&daemon.downloads());
    let torrent = Maker::new(&payload).make();
    let id = daemon.add(&torrent, &daemon.downloads(), &[]);
    daemon.wait_state(&id, State::Downloading, SOON);
    assert_eq!(daemon.pieces(&id).iter().filter(|have| **have).count(), 5);
    let to = daemon.listens(net.home());
    let mut wire = wgo_tests::wire::Wire::connect(net.ip(), to, torrent.hash).unwrap();
    wire.send(&Message::Interested).unwrap();
    wire.until("unchoke", SOON, |got| *got == wgo_tests::wire::Got::Unchoke);
    let ask = |piece| wgo_proto::units::Block {
        piece: wgo_proto::units::PieceIndex(piece),
        offset: 0,
        len: 16_384,
    };
    wire.send(&Message::Request(ask(7))).unwrap();
    // Without BEP 6 there is no refusal: it is dropped, or the connection is.
    let answer = wire.next(Duration::from_secs(3));
    assert!(!matches!(answer, Ok(Some(wgo_tests::wire::Got::Piece(..)))), "that piece is not there");
}
