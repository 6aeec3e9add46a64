//! What callers of the control socket can do wrong in bulk: thousands of connections, subscriptions that
//! nobody reads, more of both than there are descriptors.
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use wgo_api::ApiClient;
use wgo_api::client::connect_websocket;
use wgo_api::params::{AddParams, BackupParams, LimitParams, ListParams, Source};
use wgo_tests::wait::{SOON, pause, until};
use wgo_tests::{Daemon, Maker, Net, Payload, Settings, ctl, procfs};

const STATUS: &str = r#"{"jsonrpc":"2.0","id":1,"method":"status"}"#;

/// Adds `count` stopped torrents with long names, in one call.
fn add_many(daemon: &Daemon, count: usize) -> Vec<String> {
    let torrents: Vec<_> = (0..count)
        .map(|n| Maker::new(&Payload::single(&format!("{n:03}{}", "long".repeat(50)), 1_000, 16_384)).make())
        .collect();
    let params = AddParams {
        sources: torrents.iter().map(|torrent| Source::of_file(&torrent.bytes)).collect(),
        paused: true,
        ..AddParams::default()
    };
    daemon.call(async |client| client.add(params).await).unwrap();
    torrents.iter().map(|torrent| torrent.id()).collect()
}

/// A WebSocket on which `count` subscriptions begin and nothing is read any more.
fn subscribe_and_sleep(socket: &Path, count: u8) -> UnixStream {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let upgrade = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(upgrade.as_bytes()).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
    for id in 0..count {
        let call = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"subscribe"}}"#);
        // A whole text message, masked by zeros (RFC 6455, section 5.2).
        let mut frame = vec![0x81, 0x80 | call.len() as u8, 0, 0, 0, 0];
        frame.extend(call.as_bytes());
        stream.write_all(&frame).unwrap();
    }
    stream
}

#[test]
fn subscribers_that_never_read_cost_a_message_or_two_each() {
    const SOCKETS: usize = 8;
    const ROUNDS: u64 = 14;
    let net = Net::new();
    let daemon = Daemon::start(&net);
    let ids = add_many(&daemon, 200);
    let list = daemon.call(async |client| client.list(ListParams::default()).await).unwrap();
    let message = serde_json::to_vec(&list).unwrap().len();
    assert!(message > 100_000, "{message}");
    let before = procfs::resident(daemon.pid());
    let asleep: Vec<_> = (0..SOCKETS).map(|_| subscribe_and_sleep(&daemon.socket(), 8)).collect();
    daemon.block_on(async {
        let client = connect_websocket(&daemon.socket(), SOON).await.unwrap();
        let mut changes = client.subscribe_changes(ListParams::default()).await.unwrap();
        let first = changes.next().await.unwrap().unwrap();
        assert_eq!(first.torrents.len(), ids.len());
        for round in 1..=ROUNDS {
            let began = Instant::now();
            for id in &ids {
                let params =
                    LimitParams { up: Some(round * 1000), id: Some(id.clone()), ..LimitParams::default() };
                client.limit(params).await.unwrap();
            }
            // Whoever reads is told all the same.
            let told = async {
                loop {
                    let change = changes.next().await.unwrap().unwrap();
                    let last = change.torrents.iter().find(|row| row.torrent.info_hash == ids[ids.len() - 1]);
                    if last.is_some_and(|row| row.torrent.limits.up == round * 1000) {
                        return;
                    }
                }
            };
            tokio::time::timeout(SOON, told).await.expect("the change is told");
            // Subscriptions tick once a second.
            pause(Duration::from_millis(1100).saturating_sub(began.elapsed()));
        }
    });
    let grown = procfs::resident(daemon.pid()).saturating_sub(before);
    // Of each subscription one that waits, of each socket one that is written.
    let bound = (SOCKETS * 9 * message + (16 << 20)) as u64;
    let all = (SOCKETS * 64 * message) as u64;
    eprintln!(
        "{} KiB more for {SOCKETS} sleepers, at most {} KiB; messages of {message}",
        grown >> 10,
        bound >> 10
    );
    assert!(bound < all / 2 && grown < bound, "{grown} bytes, bound {bound}, a full queue {all}");
    drop(asleep);
    ctl::run(&daemon, &["status"]).expect(0);
}

#[test]
fn three_thousand_connections_at_once_are_refused_by_the_bound_and_leave_nothing_behind() {
    const MANY: usize = 3_000;
    let net = Net::new();
    let daemon = Daemon::start(&net);
    let before = procfs::resident(daemon.pid());
    let idle = procfs::descriptors(daemon.pid());
    let answers = |stream: &mut UnixStream| {
        let request = format!(
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{STATUS}",
            STATUS.len()
        );
        let mut answer = [0; 65_536];
        // Whoever was refused has the answer, though nobody takes the question.
        let _refused = stream.write_all(request.as_bytes());
        let read = stream.read(&mut answer).unwrap_or(0);
        String::from_utf8_lossy(&answer[..read]).into_owned()
    };
    let mut early = UnixStream::connect(daemon.socket()).unwrap();
    early.set_read_timeout(Some(SOON)).unwrap();
    assert!(answers(&mut early).starts_with("HTTP/1.1 200"));
    // The descriptors of all of them are open here at the same time.
    let mut held: Vec<_> = (0..MANY).map(|_| UnixStream::connect(daemon.socket()).unwrap()).collect();
    let (mut served, mut refused, mut closed) = (0, 0, 0);
    for stream in &mut held {
        stream.set_read_timeout(Some(SOON)).unwrap();
        let answer = answers(stream);
        match answer.get(..12) {
            Some("HTTP/1.1 200") => served += 1,
            Some("HTTP/1.1 503") => refused += 1,
            None => closed += 1,
            other => panic!("{other:?}: {answer}"),
        }
    }
    eprintln!("{MANY} connections: {served} served, {refused} told to come back, {closed} closed");
    assert!(served > 0, "none is served");
    // 128 have places, and 32 more are being told that there are none.
    let open = procfs::descriptors(daemon.pid()) - idle;
    assert!(open <= 128 + 32, "{open} connections are open at the same time");
    assert!(refused > 0, "none is told why");
    until("who comes now is served: those that keep still make room", SOON, || {
        (ctl::run(&daemon, &["status"]).code == 0).then_some(())
    });
    assert!(procfs::open_below(daemon.pid(), &daemon.downloads()).is_empty());
    let grown = procfs::resident(daemon.pid()).saturating_sub(before);
    assert!(grown < 64 << 20, "{grown} bytes more");
    drop(held);
    until("others are served again", SOON, || (ctl::run(&daemon, &["status"]).code == 0).then_some(()));
    assert!(!daemon.log().contains("panicked"));
}

#[test]
fn without_descriptors_who_is_connected_is_served_the_state_is_kept_and_it_heals() {
    let net = Net::new();
    let settings = Settings { ips: vec![net.home()], descriptors: Some(96), ..Settings::default() };
    let mut daemon = Daemon::with(settings);
    let torrent = Maker::new(&Payload::single("added.bin", 1_000, 16_384)).make();
    let crowd = daemon.block_on(async {
        let client = connect_websocket(&daemon.socket(), SOON).await.unwrap();
        client.status(Default::default()).await.unwrap();
        let crowd: Vec<_> = (0..120).map(|_| UnixStream::connect(daemon.socket()).unwrap()).collect();
        until("it has no descriptor left", SOON, || {
            daemon.log().contains("cannot accept control connections; trying on").then_some(())
        });
        // What is durable needs none.
        client.limit(LimitParams { up: Some(7_000), ..LimitParams::default() }).await.unwrap();
        let params = AddParams {
            sources: vec![Source::of_file(&torrent.bytes)],
            paused: true,
            ..AddParams::default()
        };
        let added = client.add(params).await.unwrap();
        assert_eq!(added.torrents[0].error, None);
        // What does is refused, and says why. One that was just given back goes to whoever asks first: the
        // connections that wait, or one backup more, of which each keeps its own for a while.
        let refused = async {
            loop {
                if let Err(error) = client.backup(BackupParams {}).await {
                    return error;
                }
            }
        };
        let error = wgo_api::ApiError::from(tokio::time::timeout(SOON, refused).await.unwrap());
        assert_eq!(error.kind(), wgo_api::Kind::Disk, "{error}");
        assert!(error.to_string().contains("Too many open files"), "{error}");
        crowd
    });
    drop(crowd);
    until("others are served again", SOON, || (ctl::run(&daemon, &["status"]).code == 0).then_some(()));
    let file = daemon.home().join("backup");
    ctl::run(&daemon, &["backup", file.to_str().unwrap()]).expect(0);
    daemon.kill9();
    daemon.run();
    assert_eq!((daemon.list().len(), daemon.status().limits.up), (1, 7_000), "what was acknowledged is kept");
    assert!(!daemon.log().contains("panicked"));
}

#[test]
fn a_limit_set_over_the_socket_shows_what_the_file_says_and_both_ways_are_set_together() {
    let net = Net::new();
    let daemon = Daemon::with(Settings { ips: vec![net.home()], up: 5_000, ..Settings::default() });
    ctl::run(&daemon, &["limit", "--up", "9 KB/s", "--down", "8 KB/s"]).expect(0);
    let limits = daemon.status().limits;
    assert_eq!((limits.up, limits.down), (9_000, 8_000));
    let (code, told) = ctl::json(&daemon, &["config", "show", "limits.up", "limits.down", "limits.schedule"]);
    let setting = |key: &str| {
        let all = told["settings"].as_array().unwrap();
        all.iter().find(|setting| setting["key"] == key).unwrap_or_else(|| panic!("{told}")).clone()
    };
    assert_eq!(code, 0);
    assert_eq!(setting("limits.up")["shadowed"], "5 KB/s", "{told}");
    assert_eq!(setting("limits.down")["shadowed"], 0, "{told}");
    assert!(setting("limits.schedule").get("shadowed").is_none(), "{told}");
    let ran = ctl::run(&daemon, &["config", "show", "limits.up"]).expect(0);
    assert!(ran.out.contains("the file says \"5 KB/s\""), "{ran:?}");
}
