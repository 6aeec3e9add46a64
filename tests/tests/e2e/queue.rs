//! The queue and the seeding goals of a real daemon, driven with `wgoctl`: downloads that wait for each
//! other, one that stalls, one that was seeded enough, and what a crash leaves of all that.
use std::time::Duration;

use wgo_api::State;
use wgo_tests::leecher::Leecher;
use wgo_tests::seeder::{Habits, Seeder};
use wgo_tests::wait::{SOON, TRANSFER, throughout, until};
use wgo_tests::{Daemon, Maker, Net, Payload, Settings, Torrent, ctl};

const PIECE: u32 = 65_536;
/// A download counts as stalled after a minute; this leaves room for a busy machine.
const STALLED: Duration = Duration::from_secs(240);

fn torrents(names: &[&str], bytes: usize) -> Vec<(Payload, Torrent)> {
    let make = |name: &&str| {
        let payload = Payload::single(name, bytes, PIECE);
        let torrent = Maker::new(&payload).make();
        (payload, torrent)
    };
    names.iter().map(make).collect()
}

fn with_queue(net: &Net, sections: &str) -> Daemon {
    Daemon::with(Settings { ips: vec![net.home()], sections: sections.to_owned(), ..Settings::default() })
}

fn in_state(daemon: &Daemon, state: State) -> Vec<String> {
    let all = daemon.list().into_iter().filter(|torrent| torrent.state == state);
    all.map(|torrent| torrent.name).collect()
}

#[test]
fn downloads_wait_for_each_other_in_an_order_that_can_be_changed() {
    let mut net = Net::new();
    let daemon = with_queue(&net, "[queue]\ndownloads = 1\n");
    let torrents = torrents(&["one.bin", "two.bin", "three.bin"], 2 << 20);
    let held: Vec<_> = torrents.iter().map(|(payload, torrent)| (payload, torrent)).collect();
    let habits = Habits { pause: Duration::from_millis(10), ..Habits::default() };
    let seeder = Seeder::with(net.ip(), &held, habits);
    for (_, torrent) in &torrents {
        daemon.add(torrent, &daemon.downloads(), &[seeder.addr()]);
    }
    ctl::run(&daemon, &["queue", "three.bin", "--position", "1"]).expect(0);
    let shown = ctl::run(&daemon, &["queue"]).expect(0).out;
    let place = |name: &str| shown.lines().position(|line| line.contains(name)).unwrap();
    assert!(place("one.bin") < place("three.bin") && place("three.bin") < place("two.bin"), "{shown}");
    let mut order: Vec<String> = Vec::new();
    until("all three are complete", TRANSFER, || {
        let running = in_state(&daemon, State::Downloading);
        assert!(running.len() <= 1, "{running:?} download at the same time");
        let new: Vec<String> = running.into_iter().filter(|name| !order.contains(name)).collect();
        order.extend(new);
        (in_state(&daemon, State::Seeding).len() == 3).then_some(())
    });
    assert_eq!(order, ["one.bin", "three.bin", "two.bin"]);
    ctl::run(&daemon, &["queue", "one.bin", "--position", "-1"]).expect(2);
    ctl::run(&daemon, &["queue", "--top"]).expect(2);
    let refused = ctl::run(&daemon, &["queue", "one.bin", "nobody.bin", "--bottom"]).expect(4);
    assert!(refused.err.contains("nobody.bin"), "{refused:?}");
    assert_eq!(daemon.torrent(&torrents[0].1.id()).queue_position, Some(0), "nothing was moved");
}

#[test]
fn one_that_stalls_keeps_nobody_waiting() {
    let mut net = Net::new();
    let daemon = with_queue(&net, "[queue]\ndownloads = 1\nslow = \"2 KB/s\"\n");
    let torrents = torrents(&["stalled.bin", "alive.bin"], 1 << 20);
    let mute = Seeder::with(
        net.ip(),
        &[(&torrents[0].0, &torrents[0].1)],
        Habits { mute: true, ..Habits::default() },
    );
    let seeder = Seeder::start(net.ip(), &[(&torrents[1].0, &torrents[1].1)]);
    let stalled = daemon.add(&torrents[0].1, &daemon.downloads(), &[mute.addr()]);
    let alive = daemon.add(&torrents[1].1, &daemon.downloads(), &[seeder.addr()]);
    daemon.wait_state(&stalled, State::Downloading, SOON);
    daemon.wait_state(&alive, State::Queued, SOON);
    throughout("the other one waits", Duration::from_secs(2), || {
        daemon.torrent(&alive).state == State::Queued
    });
    daemon.wait_state(&alive, State::Seeding, STALLED);
    assert_eq!(daemon.torrent(&stalled).state, State::Downloading, "it goes on");
    // Whoever doesn't want to wait so long says so.
    ctl::run(&daemon, &["set", "stalled.bin", "--priority", "low", "--sequential", "on"]).expect(0);
    let (_, shown) = ctl::json(&daemon, &["show", "stalled.bin"]);
    assert_eq!(
        (&shown["torrent"]["priority"], &shown["torrent"]["sequential"]),
        (&"low".into(), &true.into())
    );
}

#[test]
fn one_that_was_seeded_enough_stops_and_a_crash_forgets_none_of_it() {
    let mut net = Net::new();
    let mut daemon = with_queue(&net, "[seeding]\nratio = 1.5\ntime = \"30 d\"\n[queue]\nseeds = 5\n");
    let torrents = torrents(&["enough.bin", "other.bin"], 1 << 20);
    for (payload, torrent) in &torrents {
        payload.write(&daemon.downloads());
        let id = daemon.add(torrent, &daemon.downloads(), &[]);
        daemon.wait_seeding(&id);
    }
    let (enough, other) = (torrents[0].1.id(), torrents[1].1.id());
    ctl::run(&daemon, &["set", "enough.bin", "--ratio", "1", "--up", "20 MB/s"]).expect(0);
    ctl::run(&daemon, &["set", "other.bin", "--ratio", "none", "--seed-idle", "2 d"]).expect(0);
    ctl::run(&daemon, &["queue", "other.bin", "--top"]).expect(0);
    let to = daemon.listens(net.home());
    let torrent = &torrents[0].1;
    let taker = Leecher::start(net.ip(), to, torrent.hash, torrent.pieces, PIECE);
    daemon.wait_state(&enough, State::Stopped, TRANSFER);
    until("its connection ends", SOON, || taker.is_over().then_some(()));
    assert!(taker.bytes() >= 1 << 20, "{} bytes are no ratio of 1", taker.bytes());
    let page = ctl::run(&daemon, &["show", "enough.bin"]).expect(0).out;
    assert!(page.contains("stopped: ratio 1.00 reached"), "{page}");
    until("the log says so", SOON, || daemon.log().contains("seeded enough").then_some(()));

    // What it did by itself nobody was told to be durable; this is answered when it is.
    ctl::run(&daemon, &["stop", "enough.bin"]).expect(0);
    daemon.kill9();
    daemon.run();
    let torrent = daemon.torrent(&enough);
    assert_eq!((torrent.state, torrent.done_reason.as_deref()), (State::Stopped, Some("ratio 1.00 reached")));
    assert_eq!(
        (torrent.goals.ratio, torrent.limits.up, torrent.queue_position),
        (Some(1.0), 20_000_000, Some(1))
    );
    daemon.wait_seeding(&other);
    let torrent = daemon.torrent(&other);
    assert_eq!(torrent.goals.ratio, None);
    assert_eq!((torrent.goals.idle_secs, torrent.goals.time_secs), (Some(2 * 86_400), Some(30 * 86_400)));
    assert_eq!(torrent.queue_position, Some(0));

    ctl::run(&daemon, &["start", "enough.bin"]).expect(0);
    daemon.wait_seeding(&enough);
    throughout("it goes on", Duration::from_secs(3), || daemon.torrent(&enough).state == State::Seeding);
    ctl::run(&daemon, &["set", "--all", "--ratio", "default", "--goal-action", "keep"]).expect(0);
    let refused = ctl::run(&daemon, &["set", "enough.bin", "--ratio", "-2"]).expect(2);
    assert!(refused.err.contains("--ratio"), "{refused:?}");
}
