//! A daemon that is bound to an interface or to its address, over the end of that interface and its return: nothing
//! leaves by another one, which has the better route, and all goes on when it is back.
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde_json::Value;
use wgo_api::torrent::State;
use wgo_proto::tracker::Event;
use wgo_tests::dht::{Asked, Node, bootstrap};
use wgo_tests::dns::NameServer;
use wgo_tests::process::User;
use wgo_tests::seeder::{Habits, Seeder};
use wgo_tests::tracker::Over;
use wgo_tests::wait::{SOON, TRANSFER, throughout, until};
use wgo_tests::ways::{Capture, WORLD, WORLD6, Ways};
use wgo_tests::wire::Wire;
use wgo_tests::{Daemon, Maker, Net, Payload, Settings, Torrent, Tracker, ctl};

/// Long enough for what wants to leave to do so: trackers are asked anew and peers dialled within it.
const WATCHED: Duration = Duration::from_secs(3);

/// What a test is about: how the daemon is bound, and by which family it reaches the world.
struct Case {
    test: &'static str,
    ips: Vec<IpAddr>,
    network: String,
    world: IpAddr,
    /// Our address by the host's number, which is this at first, and that after the return.
    ours: fn(u8) -> IpAddr,
    hosts: [u8; 2],
    /// What is said when the interface is down, and when it is gone.
    down: &'static str,
    gone: &'static str,
}

/// Everything that the daemon may want to reach.
struct World {
    names: NameServer,
    tracker: Tracker,
    seeder: Seeder,
}

fn trackers_of(tracker: &Tracker, world: IpAddr, name: &str) -> [String; 2] {
    let host = if world.is_ipv6() { format!("[{world}]") } else { world.to_string() };
    [Over::Http, Over::Udp].map(|over| tracker.url(over).replace(&host, name))
}

/// A torrent whose trackers are known by `name`.
fn torrent(payload: &Payload, tracker: &Tracker, world: IpAddr, name: &str) -> Torrent {
    let [http, udp] = trackers_of(tracker, world, name);
    Maker::new(payload).tier([http]).tier([udp]).make()
}

fn missing(daemon: &Daemon, wanted: Option<&str>) {
    until(&format!("{wanted:?} is said to be missing"), SOON, || {
        let missing = daemon.status().network.missing;
        (missing.as_deref() == wanted).then_some(())
    });
}

/// Has the daemon want all that it can: trackers that it knows, names that it doesn't, peers.
fn provoke(daemon: &Daemon, world: &World, at: IpAddr, name: &str) {
    let payload = Payload::single(&format!("{name}.bin"), 100_000, 16_384);
    let torrent = torrent(&payload, &world.tracker, at, &format!("{name}.test"));
    daemon.add(&torrent, &daemon.downloads(), &[world.seeder.addr()]);
    ctl::run(daemon, &["announce", "--all"]).expect(0);
}

/// How many connections the daemon has.
fn peers(daemon: &Daemon) -> u32 {
    daemon.status().peers
}

fn survives(case: &Case) {
    let Some(net) = Net::required(case.test) else { return };
    let ways = Ways::new(&net);
    let ours = case.ours;
    ways.open(case.hosts[0]);
    let payload = Payload::single("through.bin", 1_500_000, 16_384);
    // Its hash depends on its trackers, whose port isn't known before.
    let bare = Maker::new(&payload).make();
    let world = ways.there(|| {
        let habits = Habits { pause: Duration::from_millis(60), ..Habits::default() };
        let seeder = Seeder::with(case.world, &[(&payload, &bare)], habits);
        let tracker = Tracker::start(case.world, &[seeder.addr()]);
        World { names: NameServer::start(case.world, &[case.world]), tracker, seeder }
    });
    let torrent = torrent(&payload, &world.tracker, case.world, "tracker.test");
    assert_eq!(torrent.id(), bare.id(), "trackers are no part of the info dictionary");
    let second = Capture::of("eth1");
    let network = format!("dns = [\"{}\"]\n{}", case.world, case.network);
    let daemon = Daemon::with(Settings { ips: case.ips.clone(), network, ..Settings::default() });
    let id = daemon.add(&torrent, &daemon.downloads(), &[]);
    let heard_from = |over, host| {
        until("the tracker hears us", SOON, || {
            let heard = world.tracker.heard();
            let from =
                |heard: &&wgo_tests::tracker::Heard| heard.over == over && heard.peer.ip() == ours(host);
            heard.iter().any(|heard| from(&heard)).then_some(())
        });
    };
    heard_from(Over::Http, case.hosts[0]);
    heard_from(Over::Udp, case.hosts[0]);
    assert!(world.names.asked().contains(&"tracker.test".to_owned()));
    until("payload comes", SOON, || (daemon.torrent(&id).done_bytes > 0).then_some(()));
    assert_eq!(second.seen(), [""; 0], "while all is well");

    ways.ip("link set wg0 down");
    missing(&daemon, Some(case.down));
    until("its connections are closed", SOON, || (peers(&daemon) == 0).then_some(()));
    assert_eq!(daemon.status().listen, [""; 0]);
    provoke(&daemon, &world, case.world, "first");
    throughout("nothing leaves while it is down", WATCHED, || second.seen().is_empty());

    ways.ip("link del wg0");
    missing(&daemon, Some(case.gone));
    provoke(&daemon, &world, case.world, "second");
    throughout("nothing leaves while it is gone", WATCHED, || second.seen().is_empty());
    let (_, doctor) = ctl::json(&daemon, &["doctor"]);
    let found = doctor["findings"].as_array().unwrap().iter().find(|found| found["what"] == "network");
    let why = found.map(|found: &Value| found["why"].as_str().unwrap().to_owned());
    assert_eq!(why, Some(format!("{}, and nothing goes another way", case.gone)), "{doctor:#}");
    let before = daemon.torrent(&id).done_bytes;
    assert!(before < payload.len() as u64, "it must not be complete yet for the rest to mean anything");

    ways.open(case.hosts[1]);
    missing(&daemon, None);
    heard_from(Over::Http, case.hosts[1]);
    heard_from(Over::Udp, case.hosts[1]);
    daemon.wait_state(&id, State::Seeding, TRANSFER);
    payload.assert_equals(&daemon.downloads());
    // Who is let in comes by the new interface, to the port of before.
    let port =
        until("it listens", SOON, || daemon.status().listen.first()?.parse::<SocketAddr>().ok()).port();
    let to = SocketAddr::new(ours(case.hosts[1]), port);
    until("a peer gets in", SOON, || ways.there(|| Wire::connect(case.world, to, torrent.hash).ok()));
    for name in ["first.test", "second.test"] {
        until(name, SOON, || world.names.asked().contains(&name.to_owned()).then_some(()));
    }
    assert_eq!(second.seen(), [""; 0], "in all that time");
    assert!(world.tracker.count(torrent.hash, Event::Started) >= 2, "by both protocols");

    // The other way leads to the world, and what takes it is seen.
    std::net::UdpSocket::bind("0.0.0.0:0").unwrap().send_to(b"?", (WORLD, 53)).unwrap();
    until("a packet on the other interface is seen", SOON, || (!second.seen().is_empty()).then_some(()));
}

#[test]
fn nothing_leaves_by_another_interface() {
    survives(&Case {
        test: "nothing_leaves_by_another_interface",
        ips: Vec::new(),
        network: "interface = \"wg0\"".into(),
        world: WORLD.into(),
        ours: Ways::ours,
        hosts: [2, 3],
        down: "interface wg0 is down",
        gone: "interface wg0 is missing",
    });
}

#[test]
fn nothing_leaves_by_another_interface_over_ipv6() {
    survives(&Case {
        test: "nothing_leaves_by_another_interface_over_ipv6",
        ips: Vec::new(),
        network: "interface = \"wg0\"".into(),
        world: WORLD6.into(),
        ours: Ways::ours6,
        hosts: [2, 3],
        down: "interface wg0 is down",
        gone: "interface wg0 is missing",
    });
}

#[test]
fn nothing_leaves_by_an_interface_that_does_not_have_the_address() {
    survives(&Case {
        test: "nothing_leaves_by_an_interface_that_does_not_have_the_address",
        ips: vec![Ways::ours(2)],
        network: String::new(),
        world: WORLD.into(),
        ours: Ways::ours,
        hosts: [2, 2],
        down: "interface wg0, which has the address 198.19.1.2, is down",
        gone: "no interface has the address 198.19.1.2",
    });
}

#[test]
fn nothing_leaves_by_an_interface_that_does_not_have_the_ipv6_address() {
    survives(&Case {
        test: "nothing_leaves_by_an_interface_that_does_not_have_the_ipv6_address",
        ips: vec![Ways::ours6(2)],
        network: String::new(),
        world: WORLD6.into(),
        ours: Ways::ours6,
        hosts: [2, 2],
        // Linux takes the addresses of IPv6 away with that.
        down: "no interface has the address fd77:1::2",
        gone: "no interface has the address fd77:1::2",
    });
}

#[test]
fn an_interface_that_is_missing_at_the_start_is_waited_for() {
    let Some(net) = Net::required("an_interface_that_is_missing_at_the_start_is_waited_for") else { return };
    let ways = Ways::new(&net);
    let payload = Payload::single("later.bin", 200_000, 16_384);
    let torrent = Maker::new(&payload).make();
    let seeder = ways.there(|| Seeder::start(WORLD.into(), &[(&payload, &torrent)]));
    let second = Capture::of("eth1");
    let network = "interface = \"wg0\"".to_owned();
    // Without any right: that is how the service runs.
    let user = Some(User { uid: 61_001, gid: 61_001, groups: Vec::new() });
    let daemon = Daemon::with(Settings { network, user, ..Settings::default() });
    let said = ctl::run(&daemon, &["status"]).expect(0).out;
    assert!(said.contains("interface wg0 is missing: peers, trackers and names wait for it"), "{said}");
    let id = daemon.add(&torrent, &daemon.downloads(), &[seeder.addr()]);
    throughout("nothing leaves", WATCHED, || second.seen().is_empty() && seeder.connections() == 0);
    ways.open(2);
    daemon.wait_state(&id, State::Seeding, TRANSFER);
    let said = ctl::run(&daemon, &["status"]).expect(0).out;
    assert!(said.contains("wg0 alone"), "{said}");
    assert_eq!(second.seen(), [""; 0]);
}

#[test]
fn a_name_server_on_this_machine_is_no_way_out() {
    let Some(net) = Net::required("a_name_server_on_this_machine_is_no_way_out") else { return };
    let ways = Ways::new(&net);
    ways.open(2);
    let second = Capture::of("eth1");
    // As systemd-resolved leaves it.
    let mounts = "echo nameserver 127.0.0.53 > \"$HOME/resolv.conf\"; mount --bind \"$HOME/resolv.conf\" /etc/resolv.conf";
    let network = "interface = \"wg0\"".to_owned();
    let daemon = Daemon::with(Settings { network, mounts: Some(mounts.into()), ..Settings::default() });
    let payload = Payload::single("named.bin", 100_000, 16_384);
    let torrent = Maker::new(&payload).tier(["http://tracker.test:6969/announce"]).make();
    let id = daemon.add(&torrent, &daemon.downloads(), &[]);
    let why = "the name server of /etc/resolv.conf, 127.0.0.53, is on this machine and can't be asked through the \
        interface; set [network] dns to one that can, as in dns = [\"10.2.0.1\"]";
    let message =
        until("the tracker can't be found", SOON, || daemon.show(&id).trackers.unwrap()[0].message.clone());
    assert_eq!(message, format!("cannot resolve tracker.test: {why}"));
    let said = ctl::json(&daemon, &["doctor"]).1.to_string();
    assert!(
        said.contains("trackers' names can't be looked up: the name server of /etc/resolv.conf"),
        "{said}"
    );
    assert_eq!(second.seen(), [""; 0]);
}

#[test]
fn the_dht_hears_of_the_new_address_when_the_interface_is_back() {
    let Some(net) = Net::required("the_dht_hears_of_the_new_address_when_the_interface_is_back") else {
        return;
    };
    let ways = Ways::new(&net);
    ways.open(2);
    let node = ways.there(|| Node::start(WORLD.into()));
    let second = Capture::of("eth1");
    let (network, dht) = ("interface = \"wg0\"".to_owned(), Some(bootstrap(&[node.addr()])));
    let daemon = Daemon::with(Settings { network, dht, ..Settings::default() });
    let payload = Payload::single("announced.bin", 100_000, 16_384);
    let torrent = Maker::new(&payload).make();
    payload.write(&daemon.downloads());
    daemon.add(&torrent, &daemon.downloads(), &[]);
    let announced_from = |host| {
        until("it is announced", TRANSFER, || {
            let is_it = |asked: &Asked| matches!(asked, Asked::Announce(hash, _) if *hash == torrent.hash);
            let from = |(from, asked): &(SocketAddr, Asked)| from.ip() == Ways::ours(host) && is_it(asked);
            node.heard().iter().any(from).then_some(())
        });
    };
    announced_from(2);
    ways.ip("link del wg0");
    missing(&daemon, Some("interface wg0 is missing"));
    throughout("nothing leaves while it is gone", WATCHED, || second.seen().is_empty());
    ways.open(3);
    announced_from(3);
    assert_eq!(second.seen(), [""; 0], "in all that time");
}
