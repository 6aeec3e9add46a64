//! A liar beside an honest libtorrent: the download gets right, the liar is banned, and libtorrent is not.
use std::time::Duration;

use wgo_api::result::AddStatus;
use wgo_tests::peers::Kind;
use wgo_tests::seeder::{Habits, Seeder};
use wgo_tests::wait::{TRANSFER, until};
use wgo_tests::{Daemon, Maker, Net, Payload, ctl};

#[test]
fn who_spoils_pieces_that_libtorrent_has_a_part_in_is_banned_and_libtorrent_is_not() {
    let test = "who_spoils_pieces_that_libtorrent_has_a_part_in_is_banned_and_libtorrent_is_not";
    let Some(mut net) = Net::required(test) else { return };
    let Some(mut honest) = Kind::Libtorrent.start(test, net.ip()) else { return };
    // Few large pieces, so that both have a part in each.
    let payload = Payload::single("large.bin", 8 << 20, 2 << 20);
    let torrent = Maker::new(&payload).make();
    let theirs = tempfile::tempdir().unwrap();
    payload.write(theirs.path());
    honest.add(&torrent, theirs.path());
    until("libtorrent has it", TRANSFER, || honest.is_complete(&torrent).then_some(()));
    // Slow enough for others to have a part in its pieces.
    let pause = Duration::from_millis(20);
    let habits = Habits { spoil: (0..torrent.pieces).collect(), pause, ..Habits::default() };
    let liar = Seeder::with(net.ip(), &[(&payload, &torrent)], habits);
    let daemon = Daemon::start(&net);
    // The liar first, so that it has a part before the other is there.
    let id = daemon.add(&torrent, &daemon.downloads(), &[liar.addr()]);
    until("the liar has sent something", TRANSFER, || (liar.sent() > 0).then_some(()));
    let more = daemon.try_add(&torrent, &daemon.downloads(), &[honest.addr()]);
    assert_eq!(more.status, AddStatus::Present);
    let bans =
        until("somebody is banned", TRANSFER, || daemon.show(&id).bans.filter(|bans| !bans.is_empty()));
    assert_eq!(bans[0].address, liar.addr().ip().to_string());
    assert!(bans[0].until > bans[0].banned_at, "{bans:?}");
    let shown = ctl::run(&daemon, &["show", &id, "--peers"]);
    assert!(shown.out.contains("Banned") && shown.out.contains("it sent bad pieces"), "{}", shown.out);
    daemon.wait_seeding(&id);
    payload.assert_equals(&daemon.downloads());
    let all = daemon.show(&id).bans.unwrap_or_default();
    assert!(all.iter().all(|ban| ban.address == liar.addr().ip().to_string()), "{all:?}");
    ctl::run(&daemon, &["set", &id, "--unban", "192.0.2.1"]).expect(0);
    assert_eq!(daemon.show(&id).bans.unwrap_or_default().len(), all.len(), "that was another one's");
    ctl::run(&daemon, &["set", &id, "--unban", &bans[0].address]).expect(0);
    assert!(daemon.show(&id).bans.unwrap_or_default().is_empty());
}
