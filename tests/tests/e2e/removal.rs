//! Removing a torrent takes what was asked for, and nothing else.
use std::path::PathBuf;
use std::time::Duration;

use wgo_api::ApiClient;
use wgo_tests::payload::files_below;
use wgo_tests::procfs::open_below;
use wgo_tests::seeder::{Habits, Seeder};
use wgo_tests::wait::{SOON, until};
use wgo_tests::{Daemon, Maker, Net, Payload, Settings, Torrent, ctl};

#[test]
fn removal_during_a_download_leaves_no_file_open_and_no_peer() {
    let mut net = Net::new();
    let daemon = Daemon::start(&net);
    for data in [false, true] {
        let payload = Payload::multi(
            &format!("going-{data}"),
            65_536,
            &[("a", 2_000_000), ("b", 2_000_000), ("c/d", 2_000_000)],
        );
        let torrent = Maker::new(&payload).make();
        let slow = Habits { pause: Duration::from_millis(15), ..Habits::default() };
        let seeder = Seeder::with(net.ip(), &[(&payload, &torrent)], slow);
        let id = daemon.add(&torrent, &daemon.downloads(), &[seeder.addr()]);
        until("some pieces are stored", SOON, || (daemon.torrent(&id).done_bytes > 300_000).then_some(()));
        daemon.remove(&id, data);
        until("no file is open", SOON, || {
            open_below(daemon.pid(), &daemon.downloads()).is_empty().then_some(())
        });
        until("no peer is left", SOON, || (daemon.status().peers == 0).then_some(()));
        assert!(daemon.list().is_empty());
        let left = files_below(&daemon.downloads().join(&payload.name));
        assert_eq!(left.is_empty(), data, "{left:?}");
        seeder.sent_in_the_end();
    }
}

#[test]
fn removing_one_of_two_torrents_that_share_a_file_keeps_it() {
    let net = Net::new();
    let daemon = Daemon::start(&net);
    let payload = Payload::single("shared.bin", 300_000, 32_768);
    payload.write(&daemon.downloads());
    let plain = Maker::new(&payload).make();
    let private = Maker::new(&payload).private().make();
    for torrent in [&plain, &private] {
        let id = daemon.add(torrent, &daemon.downloads(), &[]);
        daemon.wait_seeding(&id);
    }
    daemon.remove(&plain.id(), true);
    payload.assert_equals(&daemon.downloads());
    daemon
        .call(async |client| wgo_api::ApiClient::verify(client, Daemon::check(&private.id())).await)
        .unwrap();
    daemon.wait_seeding(&private.id());
    daemon.remove(&private.id(), true);
    until("the last one takes it along", SOON, || files_below(&daemon.downloads()).is_empty().then_some(()));
}

#[test]
fn removal_with_data_touches_only_the_torrents_files() {
    let net = Net::new();
    let daemon = Daemon::start(&net);
    let payload = Payload::multi("mine", 32_768, &[("a", 50_000), ("sub/b", 50_000)]);
    payload.write(&daemon.downloads());
    let foreign = daemon.downloads().join("mine/sub/foreign.txt");
    std::fs::write(&foreign, b"not of the torrent").unwrap();
    let id = daemon.add(&Maker::new(&payload).make(), &daemon.downloads(), &[]);
    daemon.wait_seeding(&id);
    daemon.remove(&id, true);
    until("the torrent's files are gone", SOON, || {
        (files_below(&daemon.downloads()) == [foreign.clone()]).then_some(())
    });
}

#[test]
fn files_of_torrents_that_have_not_run_stay_too() {
    let net = Net::new();
    let mut daemon = Daemon::start(&net);
    let shared = Payload::multi("films", 32_768, &[("a", 50_000), ("b", 50_000), ("sub/c", 50_000)]);
    shared.write(&daemon.downloads());
    let torrent = Maker::new(&shared).make();
    let twin = Maker::new(&shared).private().make();
    // One that names one of these files from within the other's folder.
    let inner = Payload { files: vec![("a".into(), shared.files[0].1.clone())], ..shared.clone() };
    let inner = Payload { name: "a".to_owned(), ..inner };
    let inner_torrent = Maker::new(&inner).make();
    let within = daemon.downloads().join("films");
    for (torrent, folder) in
        [(&torrent, &daemon.downloads()), (&twin, &daemon.downloads()), (&inner_torrent, &within)]
    {
        daemon.wait_seeding(&daemon.add(torrent, folder, &[]));
        daemon.call(async |client| client.stop(Daemon::select(&torrent.id())).await).unwrap();
    }
    daemon.terminate();
    daemon.run();
    let remove =
        |torrent: &Torrent| ctl::run(&daemon, &["remove", "--data", "--yes", &torrent.id()]).expect(0);
    remove(&torrent);
    shared.assert_equals(&daemon.downloads());
    remove(&twin);
    assert_eq!(files_below(&daemon.downloads()), [within.join("a")], "the third one's");
    remove(&inner_torrent);
    assert_eq!(files_below(&daemon.downloads()), Vec::<PathBuf>::new());
}

#[test]
fn what_cannot_be_deleted_because_its_disk_is_gone_is_said() {
    let test = "what_cannot_be_deleted_because_its_disk_is_gone_is_said";
    let Some(net) = Net::required(test) else { return };
    let home = tempfile::Builder::new().prefix("wgod-gone-").tempdir().unwrap();
    let [store, point, absent] = ["store", "point", "absent"].map(|name| home.path().join(name));
    std::fs::create_dir(&store).unwrap();
    std::fs::create_dir(&point).unwrap();
    let mount = format!("mount --bind {} {}", store.display(), point.display());
    let mounts = Some(format!("if ! [ -e {} ]; then {mount}; fi", absent.display()));
    let mut daemon = Daemon::with(Settings { ips: vec![net.home()], mounts, ..Settings::default() });
    let payloads = ["one.bin", "two.bin", "here.bin"].map(|name| Payload::single(name, 100_000, 32_768));
    let folders = [point.clone(), point.join("sub"), daemon.downloads()];
    let files = [store.clone(), store.join("sub"), daemon.downloads()];
    std::fs::create_dir(&files[1]).unwrap();
    let ids: Vec<String> = (0..3)
        .map(|n| {
            payloads[n].write(&files[n]);
            let id = daemon.add(&Maker::new(&payloads[n]).make(), &folders[n], &[]);
            daemon.wait_seeding(&id);
            id
        })
        .collect();
    // The second has its folder below the mount point, the first in it.
    daemon.terminate();
    std::fs::write(&absent, "").unwrap();
    daemon.run();
    let ran = ctl::run(&daemon, &["remove", "--data", &ids[0]]).expect(5);
    let place = folders[0].join("one.bin");
    for part in
        ["it is removed, but none of its files were deleted", "is not mounted", place.to_str().unwrap()]
    {
        assert!(ran.err.contains(part), "{part}: {ran:?}");
    }
    let ran = ctl::run(&daemon, &["remove", "--data", &ids[1], &ids[2]]).expect(5);
    assert!(
        ran.out.contains("Removed with its data: here.bin") && ran.err.contains("is not mounted"),
        "{ran:?}"
    );
    assert!(daemon.list().is_empty(), "they are removed all the same");
    payloads[0].assert_equals(&files[0]);
    payloads[1].assert_equals(&files[1]);
    assert_eq!(files_below(&files[2]), Vec::<PathBuf>::new());
}

#[test]
fn what_removed_torrents_transferred_survives_a_kill() {
    let mut net = Net::new();
    let mut daemon = Daemon::start(&net);
    let payload = Payload::single("counted.bin", 300_000, 32_768);
    let torrent = Maker::new(&payload).make();
    let seeder = Seeder::start(net.ip(), &[(&payload, &torrent)]);
    let id = daemon.add(&torrent, &daemon.downloads(), &[seeder.addr()]);
    daemon.wait_seeding(&id);
    daemon.remove(&id, true);
    let before = daemon.status().downloaded_bytes;
    assert!(before >= 300_000, "{before}");
    daemon.kill9();
    daemon.run();
    assert_eq!(daemon.status().downloaded_bytes, before);
}
