//! What must be synced before it is said: each of these was found by a seed of `crash`.
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use wgo_api::State;
use wgo_tests::crash::disk::{Disk, Faults};
use wgo_tests::net::Net;
use wgo_tests::seeder::Seeder;
use wgo_tests::wait::{SOON, TRANSFER, until};
use wgo_tests::{Daemon, Maker, Payload, Settings};

/// A disk, and a folder on it that outlasts power cuts.
fn disk(at: &Path, test: &str) -> Option<(Disk, PathBuf)> {
    if !super::has_fuse(test) {
        return None;
    }
    let disk = Disk::mount(at).unwrap();
    let folder = disk.at().join("downloads");
    fs::create_dir(&folder).unwrap();
    File::open(disk.at()).unwrap().sync_all().unwrap();
    Some((disk, folder))
}

fn until_checked(daemon: &Daemon, id: &str) {
    until("it is past its check", SOON, || (daemon.torrent(id).state != State::Checking).then_some(()));
}

fn count(pieces: &[bool]) -> usize {
    pieces.iter().filter(|have| **have).count()
}

#[test]
fn what_a_killed_run_wrote_is_synced_before_the_next_one_believes_it() {
    let at = tempfile::tempdir().unwrap();
    let test = "what_a_killed_run_wrote_is_synced_before_the_next_one_believes_it";
    let Some((mut disk, folder)) = disk(at.path(), test) else { return };
    let mut net = Net::new();
    let payload = Payload::multi("unsynced", 1 << 14, &[("a", 700_000), ("b/c", 500_000)]);
    let torrent = Maker::new(&payload).make();
    let seeder = Seeder::start(net.ip(), &[(&payload, &torrent)]);
    // So slow that it does not get complete, and never comes to a checkpoint.
    let mut daemon = Daemon::with(Settings { ips: vec![net.home()], down: 100_000, ..Settings::default() });
    let id = daemon.add(&torrent, &folder, &[seeder.addr()]);
    until("pieces are stored", TRANSFER, || (count(&daemon.pieces(&id)) > 8).then_some(()));
    daemon.kill9();
    drop(seeder);
    daemon.run();
    until_checked(&daemon, &id);
    let believed = daemon.pieces(&id);
    assert!(count(&believed) > 0, "the log of stored pieces names some");
    daemon.kill9();
    disk.lose();
    daemon.run();
    until_checked(&daemon, &id);
    assert_eq!(daemon.pieces(&id), believed, "what was committed is still had");
    let there = payload.pieces_on_disk(&folder);
    assert!(believed.iter().zip(&there).all(|(had, there)| !had || *there), "{believed:?} of {there:?}");
}

#[test]
fn what_a_failed_sync_lost_reads_as_written_until_memory_lets_go_of_it() {
    let at = tempfile::tempdir().unwrap();
    let test = "what_a_failed_sync_lost_reads_as_written_until_memory_lets_go_of_it";
    let Some((disk, folder)) = disk(at.path(), test) else { return };
    let (old, new) = ([1; 8192], [2; 8192]);
    let file = File::options().create_new(true).read(true).write(true).open(folder.join("f")).unwrap();
    let content = || {
        let mut content = [0; 8192];
        file.read_exact_at(&mut content, 0).unwrap();
        content
    };
    file.write_all_at(&old, 0).unwrap();
    file.sync_all().unwrap();
    file.write_all_at(&new, 0).unwrap();
    disk.fail(Faults { sync: 1.0, ..Faults::default() });
    assert!(file.sync_all().is_err());
    disk.fail(Faults::default());
    file.sync_all().unwrap();
    assert!(content() == new);
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    assert!(content() == old);
}

#[test]
fn a_file_that_was_removed_stays_removed() {
    let at = tempfile::tempdir().unwrap();
    let Some((mut disk, folder)) = disk(at.path(), "a_file_that_was_removed_stays_removed") else { return };
    let net = Net::new();
    let payload = Payload::multi("gone", 1 << 14, &[("a", 50_000), ("b/c", 50_000)]);
    let torrent = Maker::new(&payload).make();
    payload.write(&folder);
    for (path, _) in &payload.files {
        path.ancestors().for_each(|path| File::open(folder.join(path)).unwrap().sync_all().unwrap());
    }
    let mut daemon = Daemon::start(&net);
    let id = daemon.add(&torrent, &folder, &[]);
    daemon.wait_seeding(&id);
    daemon.remove(&id, true);
    daemon.kill9();
    disk.lose();
    assert!(!folder.join("gone").exists(), "a removal that was acknowledged is undone");
}

#[test]
fn the_way_to_a_new_state_directory_is_synced_before_anything_is_acknowledged() {
    let at = tempfile::tempdir().unwrap();
    let test = "the_way_to_a_new_state_directory_is_synced_before_anything_is_acknowledged";
    let Some((mut disk, folder)) = disk(at.path(), test) else { return };
    let net = Net::new();
    let torrent = Maker::new(&Payload::single("kept.bin", 40_000, 1 << 14)).make();
    let state = disk.at().join("made/by the daemon").to_str().unwrap().to_owned();
    let args = vec!["--state-dir".to_owned(), state];
    let mut daemon = Daemon::with(Settings { ips: vec![net.home()], args, ..Settings::default() });
    let id = daemon.add(&torrent, &folder, &[]);
    daemon.kill9();
    disk.lose();
    daemon.run();
    assert_eq!(daemon.list().iter().map(|torrent| torrent.info_hash.clone()).collect::<Vec<_>>(), [id]);
    daemon.kill9();
}

#[test]
fn a_complete_torrent_of_many_files_is_on_a_disk_that_syncs_no_whole_file_system() {
    let at = tempfile::tempdir().unwrap();
    let test = "a_complete_torrent_of_many_files_is_on_a_disk_that_syncs_no_whole_file_system";
    let Some((mut disk, folder)) = disk(at.path(), test) else { return };
    let mut net = Net::new();
    let payload = Payload::lots();
    let torrent = Maker::new(&payload).make();
    let seeder = Seeder::start(net.ip(), &[(&payload, &torrent)]);
    let mut daemon = Daemon::start(&net);
    let id = daemon.add(&torrent, &folder, &[seeder.addr()]);
    until("it is durable", TRANSFER, || daemon.torrent(&id).completed_at);
    daemon.kill9();
    disk.lose();
    payload.assert_equals(&folder);
}
