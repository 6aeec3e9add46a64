//! The DHT (BEP 5) with nodes that the test itself plays: what is asked, what is told, what never is, and what is
//! kept.
use std::fs;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use wgo_api::params::StatusParams;
use wgo_api::result::{Dht, DhtState, DhtUse};
use wgo_api::{ApiClient, State};
use wgo_proto::wire::{Message, Reserved};
use wgo_tests::daemon::{Daemon, Settings};
use wgo_tests::dht::{Asked, Node, bootstrap};
use wgo_tests::seeder::Seeder;
use wgo_tests::wait::{SOON, TRANSFER, until};
use wgo_tests::wire::{Got, Wire, dial, peer_id};
use wgo_tests::{Maker, Net, Payload, Torrent, ctl, procfs};

/// Offers nothing but a node of the DHT.
const WITH_DHT: Reserved = Reserved::DHT;

fn daemon(net: &Net, nodes: &[SocketAddr]) -> Daemon {
    Daemon::with(settings(net, &bootstrap(nodes)))
}

fn settings(net: &Net, dht: &str) -> Settings {
    Settings { ips: vec![net.home()], dht: Some(dht.to_owned()), ..Settings::default() }
}

fn payload(name: &str) -> Payload {
    Payload::single(name, 100_000, 32_768)
}

fn status(daemon: &Daemon) -> Dht {
    daemon.call(async |client| client.status(StatusParams::default()).await).unwrap().daemon.dht
}

#[track_caller]
fn wait_status(daemon: &Daemon, what: &str, wanted: impl Fn(&Dht) -> bool) -> Dht {
    until(what, SOON, || Some(status(daemon)).filter(|dht| wanted(dht)))
}

/// UDP sockets in the network of the test, in which only the daemon and the nodes of the test have any.
fn udp_sockets() -> usize {
    fs::read_to_string("/proc/thread-self/net/udp").unwrap().lines().count() - 1
}

/// Changes the configuration file and has it read again.
fn reconfigure(daemon: &Daemon, from: &str, to: &str) {
    let text = fs::read_to_string(daemon.config()).unwrap();
    assert!(text.contains(from), "{text}");
    fs::write(daemon.config(), text.replace(from, to)).unwrap();
    ctl::run(daemon, &["reload"]).expect(0);
}

#[test]
fn a_torrent_is_looked_up_announced_with_our_port_and_found() {
    let Some(mut net) = Net::required("a_torrent_is_looked_up_announced_with_our_port_and_found") else {
        return;
    };
    let node = Node::start(net.ip());
    let (wanted, had) = (payload("wanted.bin"), payload("had.bin"));
    let torrents = [Maker::new(&wanted).make(), Maker::new(&had).make()];
    let seeder = Seeder::start(net.ip(), &[(&wanted, &torrents[0])]);
    node.has_peer(seeder.addr());
    let daemon = daemon(&net, &[node.addr()]);
    had.write(&daemon.downloads());
    for torrent in &torrents {
        daemon.add(torrent, &daemon.downloads(), &[]);
        daemon.wait_seeding(&torrent.id());
        let port = daemon.listens(net.home()).port();
        node.wait_for("an announce", |asked| asked == Asked::Announce(torrent.hash, port));
    }
    let shown = until("its lookup is shown", SOON, || {
        daemon.show(&torrents[0].id()).dht.filter(|dht| dht.status == DhtUse::Waiting)
    });
    assert_eq!((shown.peers, shown.nodes, shown.announced), (Some(1), Some(1), Some(1)));
    assert!(shown.next_secs.is_some_and(|secs| (600..=1200).contains(&secs)), "{shown:?}");
    let said = ctl::run(&daemon, &["trackers", &torrents[0].id()]).expect(0).out;
    assert!(said.contains("DHT: 1 peer found ") && said.contains("announced to 1; next in"), "{said}");
    let dht = status(&daemon);
    assert_eq!((dht.state, dht.nodes_v4, dht.torrents), (DhtState::Ready, 1, 2), "{dht:?}");
    assert_eq!(dht.listen, [daemon.listens(net.home()).to_string()], "UDP has the number of TCP");
    let said = ctl::run(&daemon, &["status"]).expect(0).out;
    assert!(said.contains("1 node, for 2 torrents"), "{said}");
}

#[test]
fn both_families_are_used_each_by_itself() {
    let Some(mut net) = Net::required("both_families_are_used_each_by_itself") else { return };
    let (v4, v6) = (Node::start(net.ip()), Node::start(net.ip6()));
    let daemon = Daemon::with(Settings {
        ips: vec![net.home(), net.home6()],
        dht: Some(bootstrap(&[v4.addr(), v6.addr()])),
        ..Settings::default()
    });
    let torrent = Maker::new(&payload("a.bin")).make();
    daemon.add(&torrent, &daemon.downloads(), &[]);
    let port = daemon.listens(net.home()).port();
    for node in [&v4, &v6] {
        let from = node.wait_for("an announce", |asked| asked == Asked::Announce(torrent.hash, port));
        let home = if from.is_ipv4() { net.home() } else { net.home6() };
        assert_eq!(from, SocketAddr::new(home, port), "one address, which others know us by (BEP 32)");
    }
    let dht = wait_status(&daemon, "both are known", |dht| (dht.nodes_v4, dht.nodes_v6) == (1, 1));
    assert_eq!(dht.listen.len(), 2, "{dht:?}");
    let said = ctl::run(&daemon, &["status"]).expect(0).out;
    assert!(said.contains("1 node (IPv4), 1 (IPv6)"), "{said}");
}

#[test]
fn a_private_torrent_is_neither_looked_up_nor_announced_and_its_peers_hear_of_no_node() {
    let test = "a_private_torrent_is_neither_looked_up_nor_announced_and_its_peers_hear_of_no_node";
    let Some(mut net) = Net::required(test) else { return };
    let (node, named) = (Node::start(net.ip()), Node::start(net.ip()));
    let daemon = daemon(&net, &[node.addr()]);
    let (secret, open) = (payload("secret.bin"), payload("open.bin"));
    let private = Maker::new(&secret).private().nodes(&[named.addr()]).make();
    let public = Maker::new(&open).make();
    for torrent in [&private, &public] {
        daemon.add(torrent, &daemon.downloads(), &[]);
        daemon.wait_state(&torrent.id(), State::Downloading, SOON);
    }
    ctl::run(&daemon, &["announce", "--all"]).expect(0);
    node.wait_for(
        "an announce of the other one",
        |asked| matches!(asked, Asked::Announce(hash, _) if hash == public.hash),
    );
    assert!(!node.heard_bytes(&private.hash.0), "not even its hash is told");
    assert_eq!(named.heard(), [], "nobody asks whom it names");
    assert_eq!(daemon.show(&private.id()).dht.unwrap().status, DhtUse::Private);
    let said = ctl::run(&daemon, &["trackers", &private.id()]).expect(0).out;
    assert!(said.contains("DHT: not used, as the torrent is private"), "{said}");
    let (private, of_private) = meet(&mut net, &daemon, &private);
    assert!(!private.theirs.reserved.dht() && of_private.is_none(), "{of_private:?}");
    let (public, of_public) = meet(&mut net, &daemon, &public);
    assert!(public.theirs.reserved.dht());
    assert_eq!(of_public, Some(daemon.listens(net.home()).port()));
}

/// Connects as a peer that has a node; gives the port that it is told, if it is told one.
fn meet(net: &mut Net, daemon: &Daemon, torrent: &Torrent) -> (Wire, Option<u16>) {
    let stream = dial(Some(net.ip()), daemon.listens(net.home()), false).unwrap();
    let mut wire = Wire::open(stream, torrent.hash, peer_id(), WITH_DHT).unwrap();
    // What comes behind it was sent after the node's port, if that was.
    wire.send(&Message::Bitfield(&[0xf0])).unwrap();
    let port = std::cell::Cell::new(None);
    wire.until("its interest", SOON, |got| {
        let told = if let Got::Port(told) = got { Some(*told) } else { None };
        port.set(port.get().or(told));
        matches!(got, Got::Interested)
    });
    (wire, port.get())
}

#[test]
fn nodes_of_peers_and_of_torrents_are_asked() {
    let Some(mut net) = Net::required("nodes_of_peers_and_of_torrents_are_asked") else { return };
    let daemon = daemon(&net, &[]);
    let (of_peer, of_torrent) = (Node::start(net.ip()), Node::start(net.ip()));
    let (bait, tip) = (payload("bait.bin"), payload("tip.bin"));
    let torrent = Maker::new(&bait).make();
    daemon.add(&torrent, &daemon.downloads(), &[]);
    daemon.wait_state(&torrent.id(), State::Downloading, SOON);
    let stream = dial(Some(of_peer.addr().ip()), daemon.listens(net.home()), false).unwrap();
    let mut wire = Wire::open(stream, torrent.hash, peer_id(), WITH_DHT).unwrap();
    wire.send(&Message::Port(of_peer.addr().port())).unwrap();
    of_peer.wait_for("a ping", |asked| asked == Asked::Ping);
    daemon.add(&Maker::new(&tip).nodes(&[of_torrent.addr()]).make(), &daemon.downloads(), &[]);
    of_torrent.wait_for("a ping", |asked| asked == Asked::Ping);
    wait_status(&daemon, "both are known", |dht| dht.nodes_v4 == 2);
}

#[test]
fn what_was_known_is_enough_for_the_next_start() {
    let Some(mut net) = Net::required("what_was_known_is_enough_for_the_next_start") else { return };
    let (router, other) = (Node::start(net.ip()), Node::start(net.ip()));
    router.knows(other.addr());
    let mut daemon = daemon(&net, &[router.addr()]);
    wait_status(&daemon, "both are known", |dht| dht.nodes_v4 == 2);
    assert!(daemon.terminate().success());
    drop(router);
    let before = other.heard().len();
    daemon.run();
    until("it is asked again", SOON, || (other.heard().len() > before).then_some(()));
    wait_status(&daemon, "it is known again", |dht| dht.state == DhtState::Ready && dht.nodes_v4 == 1);
    // The id is kept, too: our place among the others is what they know us by.
    assert!(!daemon.log().contains("can't be read"), "nothing was wrong with it");
}

#[test]
fn off_there_is_no_socket_and_it_is_switched_while_the_daemon_runs() {
    let Some(mut net) = Net::required("off_there_is_no_socket_and_it_is_switched_while_the_daemon_runs")
    else {
        return;
    };
    let node = Node::start(net.ip());
    let without = udp_sockets();
    let daemon = Daemon::with(Settings { ips: vec![net.home()], ..Settings::default() });
    let torrent = Maker::new(&payload("a.bin")).make();
    daemon.add(&torrent, &daemon.downloads(), &[]);
    daemon.wait_state(&torrent.id(), State::Downloading, SOON);
    assert_eq!((udp_sockets(), status(&daemon)), (without, Dht::default()));
    assert_eq!(daemon.show(&torrent.id()).dht.unwrap().status, DhtUse::Off);
    let (wire, port) = meet(&mut net, &daemon, &torrent);
    assert!(!wire.theirs.reserved.dht() && port.is_none());
    reconfigure(&daemon, "[dht]\n", &format!("[dht]\n{}\n", bootstrap(&[node.addr()])));
    reconfigure(&daemon, "dht = false", "dht = true");
    node.wait_for("a lookup", |asked| asked == Asked::GetPeers(torrent.hash));
    assert_eq!(udp_sockets(), without + 1);
    reconfigure(&daemon, "dht = true", "dht = false");
    until("the socket is closed", SOON, || (udp_sockets() == without).then_some(()));
    assert_eq!(status(&daemon), Dht::default());
}

#[test]
fn who_asks_is_answered_unless_we_only_read() {
    let Some(mut net) = Net::required("who_asks_is_answered_unless_we_only_read") else { return };
    let node = Node::start(net.ip());
    let daemon = Daemon::with(settings(&net, &format!("{}\nread_only = true", bootstrap(&[node.addr()]))));
    let dht = wait_status(&daemon, "it is there", |dht| dht.state == DhtState::Ready);
    assert!(node.heard_bytes(b"2:roi1e"), "it says that it only reads (BEP 43)");
    let asker = UdpSocket::bind((net.ip(), 0)).unwrap();
    let ping = b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe";
    let answers = |limit| {
        asker.set_read_timeout(Some(limit)).unwrap();
        asker.send_to(ping, &dht.listen[0]).unwrap();
        asker.recv_from(&mut [0; 2048]).is_ok()
    };
    assert!(!answers(Duration::from_millis(500)), "it answers nobody");
    reconfigure(&daemon, "read_only = true", "read_only = false");
    until("it answers", SOON, || answers(Duration::from_millis(500)).then_some(()));
}

#[test]
fn floods_of_garbage_and_forged_answers_do_not_hold_up_a_lookup() {
    let test = "floods_of_garbage_and_forged_answers_do_not_hold_up_a_lookup";
    let Some(mut net) = Net::required(test) else { return };
    let node = Node::start(net.ip());
    let wanted = payload("wanted.bin");
    let torrent = Maker::new(&wanted).make();
    let seeder = Seeder::start(net.ip(), &[(&wanted, &torrent)]);
    node.has_peer(seeder.addr());
    let daemon = daemon(&net, &[node.addr()]);
    let dht = wait_status(&daemon, "it is there", |dht| dht.state == DhtState::Ready);
    let to: SocketAddr = dht.listen[0].parse().unwrap();
    let before = procfs::resident(daemon.pid());
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for n in 0..4 {
            let (from, stop) = (net.ip(), &stop);
            scope.spawn(move || flood(from, to, n, stop));
        }
        daemon.add(&torrent, &daemon.downloads(), &[]);
        daemon.wait_state(&torrent.id(), State::Seeding, TRANSFER);
        node.wait_for(
            "an announce",
            |asked| matches!(asked, Asked::Announce(hash, _) if hash == torrent.hash),
        );
        // Long enough that what would grow has grown.
        until("many have come", TRANSFER, || (received() > 20_000).then_some(()));
        stop.store(true, Ordering::Relaxed);
    });
    let grown = procfs::resident(daemon.pid()).saturating_sub(before);
    assert!(grown < 64 << 20, "{grown} bytes more");
    let dht = status(&daemon);
    assert_eq!((dht.state, dht.nodes_v4), (DhtState::Ready, 1), "nobody else got in: {dht:?}");
    assert!(!daemon.log().contains("panicked"));
}

/// Datagrams that were received in the network of the test so far.
fn received() -> u64 {
    let snmp = fs::read_to_string("/proc/thread-self/net/snmp").unwrap();
    let line = snmp.lines().rfind(|line| line.starts_with("Udp:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Sends what a stranger may send, as fast as it goes: noise, half packets, queries of made-up nodes, answers to
/// nothing, under every short transaction.
fn flood(from: IpAddr, to: SocketAddr, seed: u64, stop: &AtomicBool) {
    let socket = UdpSocket::bind((from, 0)).unwrap();
    let mut state = seed + 1;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    while !stop.load(Ordering::Relaxed) {
        let noise = random().to_be_bytes();
        let packet = match random() % 5 {
            0 => noise.repeat(1 + (random() % 180) as usize),
            1 => [&b"d1:ad2:id20:"[..], &noise].concat(),
            2 => b"l".repeat(1 + (random() % 2000) as usize),
            3 => [b"d1:ad2:id20:0123456789ab", &noise[..], b"e1:q4:ping1:t2:", &noise[..2], b"1:y1:qe"]
                .concat(),
            _ => [
                b"d1:rd2:id20:0123456789ab",
                &noise[..],
                b"5:nodes26:0123456789ab",
                &noise[..],
                b"\xc6\x12\x00\x63\x1a\xe1e1:t2:",
                &noise[..2],
                b"1:y1:re",
            ]
            .concat(),
        };
        // A full queue is part of it.
        let _ = socket.send_to(&packet, to);
    }
}

#[test]
fn what_can_be_no_node_is_refused_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    for (text, named) in [
        ("[dht]\nbootstrap = [\"router.example\"]\n", "wgod.toml:2: dht.bootstrap"),
        ("[dht]\nbootstrap = [\"router.example:0\"]\n", "a host and a port, as in \"router.example:6881\""),
        ("[dht]\nread_only = 3\n", "dht.read_only"),
    ] {
        let said = check_config(folder.path(), text);
        assert!(said.contains(named), "{text}: {said}");
    }
}

fn check_config(folder: &Path, text: &str) -> String {
    let config = folder.join("wgod.toml");
    fs::write(&config, text).unwrap();
    let output = std::process::Command::new(wgo_tests::binaries::wgod())
        .arg("--check-config")
        .arg("--config")
        .arg(&config)
        .env("HOME", folder)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2), "{text}");
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}
