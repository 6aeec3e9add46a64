//! wgod behind the proxies that people run: everything goes by them, and with `proxy_only` nothing else leaves.
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt;

use wgo_api::State;
use wgo_api::result::ProxyState;
use wgo_tests::behind::{Behind, OUTSIDE};
use wgo_tests::peers::{Client, Kind as Peer, wait_complete};
use wgo_tests::proxies::{Kind, PASSWORD, Proxy};
use wgo_tests::tracker::{Over, Tracker};
use wgo_tests::wait::{SOON, TRANSFER, until};
use wgo_tests::{Daemon, Maker, Net, Payload, Settings, Torrent, ctl};

/// A name that only the proxy knows.
const NAME: &str = "tracker.wgod-test.example";

/// A seed and a tracker outside, wgod inside, and a proxy between.
struct Stage {
    behind: Behind,
    proxy: Proxy,
    tracker: Tracker,
    tracker_ip: IpAddr,
    payload: Payload,
    torrent: Torrent,
    daemon: Daemon,
    seed: Box<dyn Client>,
    _theirs: tempfile::TempDir,
    _password: tempfile::TempDir,
}

impl Stage {
    /// With a tracker of that kind, whose URL has its name. It names the seed, and peers that would lead astray.
    fn set(test: &str, kind: Kind, peer: Peer, over: Over) -> Option<Stage> {
        let mut net = Net::required(test)?;
        let behind = Behind::of(&net);
        let (seed_ip, tracker_ip) = (net.ip(), net.ip());
        let out = net.ip();
        let proxy = kind.start(test, OUTSIDE.into(), out, &[(NAME, tracker_ip)])?;
        let mut seed = peer.start(test, seed_ip)?;
        let payload = Payload::single("by proxy.bin", 3_000_000, 65_536);
        let theirs = tempfile::tempdir().unwrap();
        payload.write(theirs.path());
        let v6: SocketAddr = "[fd77::19]:6881".parse().unwrap();
        let tracker = Tracker::start(tracker_ip, &[seed.addr(), v6, SocketAddr::new(OUTSIDE.into(), 6881)]);
        let torrent = Maker::new(&payload).tier([by_name(&tracker.url(over), tracker_ip)]).make();
        let bare = Maker::new(&payload).make();
        seed.add(&bare, theirs.path());
        wait_complete(seed.as_mut(), &bare);
        let password = tempfile::tempdir().unwrap();
        let daemon = behind.run(|| Daemon::with(settings(&proxy, &password, kind)));
        Some(Stage {
            behind,
            proxy,
            tracker,
            tracker_ip,
            payload,
            torrent,
            daemon,
            seed,
            _theirs: theirs,
            _password: password,
        })
    }

    /// Adds the torrent, which must come by the proxy.
    fn download(&self) {
        self.daemon.add(&self.torrent, &self.daemon.downloads(), &[]);
        self.daemon.wait_seeding(&self.torrent.id());
        self.payload.assert_equals(&self.daemon.downloads());
    }
}

/// A tracker's URL with its name in place of its address.
fn by_name(url: &str, ip: IpAddr) -> String {
    url.replace(&ip.to_string(), NAME)
}

fn settings(proxy: &Proxy, password: &tempfile::TempDir, kind: Kind) -> Settings {
    let mut network = format!("proxy = \"{}\"\nproxy_only = true\n", proxy.url());
    if kind != Kind::Dante {
        let file = password.path().join("password");
        fs::write(&file, format!("{PASSWORD}\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        network += &format!("proxy_password_file = \"{}\"\n", file.display());
    }
    Settings { network, ..Settings::default() }
}

/// Everything comes by the proxy, `status` shows it, and not a packet goes elsewhere.
fn all_by(test: &str, kind: Kind, peer: Peer, over: Over) {
    let Some(stage) = Stage::set(test, kind, peer, over) else { return };
    let capture = stage.behind.capture();
    stage.download();
    let heard = stage.tracker.heard();
    assert!(heard.iter().all(|heard| heard.over == over && heard.peer.port() == 1), "{heard:#?}");
    let status = stage.daemon.status();
    let shown = status.proxy.expect("a proxy");
    assert!(shown.only && shown.peers && shown.trackers, "{shown:?}");
    assert_eq!((shown.state, shown.error), (ProxyState::Up, None));
    assert_eq!(status.listen, Vec::<String>::new(), "nobody may come in");
    assert_eq!(status.external, Vec::<String>::new(), "what trackers see is the proxy");
    let human = ctl::run(&stage.daemon, &["status"]);
    assert!(human.out.contains("nothing goes round it, up"), "{}", human.out);
    let (_, doctor) = ctl::json(&stage.daemon, &["doctor"]);
    let findings = doctor["findings"].as_array().unwrap();
    let of_proxy = findings.iter().find(|found| found["what"] == "proxy").expect("a finding");
    assert_eq!(of_proxy["severity"], if kind == Kind::Dante { "ok" } else { "warn" }, "{of_proxy}");
    let (_, config) = ctl::json(&stage.daemon, &["config", "show"]);
    let log = stage.daemon.log();
    assert!(!format!("{config}{log}{doctor}").contains(PASSWORD));
    drop(stage.daemon);
    let heard = stage.tracker.heard();
    assert_eq!(capture.leaks(stage.proxy.addr()), [], "heard {heard:?}");
}

#[test]
fn dante_relays_a_tracker_over_udp_and_libtorrent() {
    let test = "dante_relays_a_tracker_over_udp_and_libtorrent";
    all_by(test, Kind::Dante, Peer::Libtorrent, Over::Udp);
}

#[test]
fn microsocks_relays_a_tracker_over_http_and_transmission() {
    let test = "microsocks_relays_a_tracker_over_http_and_transmission";
    all_by(test, Kind::Microsocks, Peer::Transmission, Over::Http);
}

#[test]
fn tinyproxy_makes_tunnels_to_a_tracker_over_http_and_libtorrent() {
    let test = "tinyproxy_makes_tunnels_to_a_tracker_over_http_and_libtorrent";
    all_by(test, Kind::Tinyproxy, Peer::Libtorrent, Over::Http);
}

/// What a proxy can't do is not done without it.
#[test]
fn a_tracker_over_udp_is_not_asked_round_a_proxy_without_udp() {
    let test = "a_tracker_over_udp_is_not_asked_round_a_proxy_without_udp";
    for (kind, said) in
        [(Kind::Microsocks, "can't relay UDP"), (Kind::Tinyproxy, "an HTTP proxy carries no UDP")]
    {
        let Some(stage) = Stage::set(test, kind, Peer::Libtorrent, Over::Udp) else { return };
        let capture = stage.behind.capture();
        let id = stage.daemon.add(&stage.torrent, &stage.daemon.downloads(), &[]);
        until("the tracker's message names the proxy", SOON, || {
            let trackers = stage.daemon.show(&id).trackers.unwrap();
            let message = trackers[0].message.clone()?;
            assert!(
                message.starts_with(&format!("proxy {}", stage.proxy.url().replace("me@", ""))),
                "{message}"
            );
            message.contains(said).then_some(())
        });
        assert_eq!(stage.daemon.torrent(&id).state, State::Downloading);
        drop(stage.daemon);
        assert_eq!(stage.tracker.heard().len(), 0);
        if kind == Kind::Microsocks {
            assert_eq!(capture.leaks(stage.proxy.addr()), []);
        } else {
            // Nothing was asked of the proxy either.
            assert_eq!(capture.sent(), []);
        }
    }
}

/// While it is down nothing goes round it, everybody is told, and all goes on when it is back.
#[test]
fn a_proxy_that_goes_and_comes_back_is_waited_for() {
    let test = "a_proxy_that_goes_and_comes_back_is_waited_for";
    let Some(mut stage) = Stage::set(test, Kind::Microsocks, Peer::Libtorrent, Over::Http) else { return };
    stage.proxy.kill();
    let capture = stage.behind.capture();
    let seed = stage.seed.addr();
    let id = stage.daemon.add(&stage.torrent, &stage.daemon.downloads(), &[seed]);
    let down = until("status says that it is down", SOON, || {
        stage.daemon.status().proxy.filter(|proxy| proxy.state == ProxyState::Down)
    });
    assert!(down.error.unwrap().contains("it can't be reached: Connection refused"));
    let human = ctl::run(&stage.daemon, &["status"]);
    assert!(human.out.contains("down: it can't be reached: Connection refused"), "{}", human.out);
    let (code, doctor) = ctl::json(&stage.daemon, &["doctor"]);
    let findings = doctor["findings"].as_array().unwrap();
    let bad = findings.iter().any(|found| found["what"] == "proxy" && found["severity"] == "bad");
    assert!(bad && code == 1, "{doctor:#}");
    until("the tracker's message names the proxy", SOON, || {
        let trackers = stage.daemon.show(&id).trackers.unwrap();
        trackers[0].message.clone().filter(|message| message.contains(&stage.proxy.addr().to_string()))
    });
    stage.proxy.run();
    until("the torrent is complete", TRANSFER, || {
        (stage.daemon.torrent(&id).state == State::Seeding).then_some(())
    });
    assert_eq!(stage.daemon.status().proxy.unwrap().state, ProxyState::Up);
    drop(stage.daemon);
    assert_eq!(capture.leaks(stage.proxy.addr()), []);
}

/// With a proxy for trackers alone, the capture sees what goes round it: so it would have seen it elsewhere.
#[test]
fn what_is_not_for_the_proxy_goes_round_it_and_is_seen() {
    let test = "what_is_not_for_the_proxy_goes_round_it_and_is_seen";
    let Some(mut stage) = Stage::set(test, Kind::Dante, Peer::Libtorrent, Over::Http) else { return };
    let network = format!("proxy = \"{}\"\nproxy_for = \"trackers\"\n", stage.proxy.url());
    stage.daemon = stage.behind.run(|| Daemon::with(Settings { network, ..Settings::default() }));
    let capture = stage.behind.capture();
    stage.daemon.add(&stage.torrent, &stage.daemon.downloads(), &[]);
    until("the peers that the tracker named are dialled", SOON, || {
        let sent = capture.sent();
        let seed = sent.iter().any(|sent| sent.to == stage.seed.addr());
        (seed && sent.iter().any(|sent| sent.to.is_ipv6())).then_some(())
    });
    let port = stage.daemon.listens(OUTSIDE.into()).port();
    let heard = stage.tracker.heard();
    assert!(!heard.is_empty() && heard.iter().all(|heard| heard.peer.port() == port), "{heard:#?}");
    let leaks = capture.leaks(stage.proxy.addr());
    assert!(
        !leaks.iter().any(|sent| sent.to.ip() == stage.tracker_ip),
        "the tracker is asked by it: {leaks:?}"
    );
}
