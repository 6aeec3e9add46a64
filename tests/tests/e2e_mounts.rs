//! File systems that aren't mounted: their torrents wait for them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "tests")]
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use wgo_api::State;
use wgo_tests::seeder::Seeder;
use wgo_tests::wait::{SOON, TRANSFER, throughout, until};
use wgo_tests::{Daemon, Maker, Net, Payload, Settings};

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
            let said = torrent.error.is_some_and(|error| error.contains("missing"));
            (torrent.state == State::Error && said).then_some(())
        });
    }
    throughout("nothing is made below the mount point or downloaded anew", A_WHILE, || {
        is_empty(&point) && seeder.sent_each() == begun
    });

    let pid = daemon.pid().to_string();
    let mounted = Command::new("nsenter").args(["-t", &pid, "-m", "sh", "-c", &mount]).status().unwrap();
    assert!(mounted.success());
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
