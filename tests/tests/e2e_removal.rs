//! Removing a torrent takes what was asked for, and nothing else.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "tests")]
use std::time::Duration;

use wgo_tests::payload::files_below;
use wgo_tests::procfs::open_below;
use wgo_tests::seeder::{Habits, Seeder};
use wgo_tests::wait::{SOON, until};
use wgo_tests::{Daemon, Maker, Net, Payload};

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
