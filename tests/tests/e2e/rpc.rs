//! The control socket as curl, a WebSocket client and an abuser find it.
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use wgo_api::client::connect_websocket;
use wgo_api::params::{LimitParams, ListParams};
use wgo_api::{ApiClient, State};
use wgo_tests::http::post_unix;
use wgo_tests::wait::SOON;
use wgo_tests::{Daemon, Maker, Net, Payload, ctl};

const STATUS: &str = r#"{"jsonrpc":"2.0","id":1,"method":"status"}"#;

fn read(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(body)))
}

/// # Panics
/// When the daemon does not answer as if nothing had happened.
fn assert_answers(daemon: &Daemon) {
    let answer = post_unix(&daemon.socket(), STATUS.as_bytes()).unwrap();
    assert_eq!((answer.status, &read(&answer.body)["result"]["daemon"]["pid"]), (200, &json!(daemon.pid())));
    assert!(!daemon.log().contains("panicked"), "nothing panicked");
}

#[test]
fn curl_gets_an_answer() {
    let net = Net::new();
    let daemon = Daemon::start(&net);
    let curl = Command::new("curl")
        .args(["-sS", "--max-time", "30", "--unix-socket"])
        .arg(daemon.socket())
        .args(["--json", STATUS, "http://localhost/"])
        .output();
    match curl {
        Ok(output) => {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            assert_eq!(read(&output.stdout)["result"]["daemon"]["pid"], daemon.pid());
        }
        Err(error) => wgo_tests::net::skip("curl_gets_an_answer", &format!("curl: {error}")),
    }
    assert_answers(&daemon);
}

#[test]
fn a_subscription_tells_of_changes() {
    let net = Net::new();
    let daemon = Daemon::start(&net);
    let payload = Payload::single("watched.bin", 300_000, 32_768);
    payload.write(&daemon.downloads());
    let torrent = Maker::new(&payload).make();
    daemon.block_on(async {
        let client = connect_websocket(&daemon.socket(), SOON).await.unwrap();
        let mut changes = client.subscribe_changes(ListParams::default()).await.unwrap();
        let mut next = async || {
            let item = tokio::time::timeout(SOON, changes.next()).await.expect("a change is told in time");
            item.expect("the subscription goes on").unwrap()
        };
        let first = next().await;
        assert!(first.full && first.torrents.is_empty(), "{first:?}");
        let params = wgo_api::params::AddParams {
            sources: vec![wgo_api::params::Source::of_file(&torrent.bytes)],
            folder: Some(daemon.downloads()),
            ..Default::default()
        };
        client.add(params).await.unwrap();
        loop {
            let change = next().await;
            let row = change.torrents.iter().find(|row| row.torrent.info_hash == torrent.id());
            if row.is_some_and(|row| row.torrent.state == State::Seeding) {
                break;
            }
        }
        let params = wgo_api::params::RemoveParams { ids: vec![torrent.id()], all: false, data: false };
        client.remove(params).await.unwrap();
        while !next().await.removed.contains(&torrent.id()) {}
    });
}

#[test]
fn a_version_of_an_earlier_run_gets_the_whole_list() {
    let net = Net::new();
    let mut daemon = Daemon::start(&net);
    let payload = Payload::single("kept.bin", 100_000, 32_768);
    let id = daemon.add(&Maker::new(&payload).make(), &daemon.downloads(), &[]);
    let list = |daemon: &Daemon, since: Option<u64>| {
        let params = ListParams { since, ..ListParams::default() };
        daemon.call(async |client| client.list(params).await).unwrap()
    };
    let early = list(&daemon, None).version;
    assert!(!list(&daemon, Some(early)).full);
    daemon.terminate();
    daemon.run();
    // More happens in the next run than had until then in the first.
    for _ in 0..20 {
        let limit = |up| LimitParams { up: Some(up), id: Some(id.clone()), ..LimitParams::default() };
        daemon.call(async |client| client.limit(limit(1000)).await).unwrap();
        list(&daemon, None);
        daemon.call(async |client| client.limit(limit(0)).await).unwrap();
        list(&daemon, None);
    }
    assert!(list(&daemon, Some(early)).full, "what was removed since then is not known");
}

#[test]
fn malformed_requests_get_an_error_and_nothing_else_happens() {
    let net = Net::new();
    let daemon = Daemon::start(&net);
    let deep = format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"list\",\"params\":{}1{}}}",
        "[".repeat(50_000),
        "]".repeat(50_000)
    );
    let bodies = [
        "",
        "{",
        "[]",
        "null",
        "\u{0}\u{1}",
        &deep,
        r#"{"jsonrpc":"2.0","id":1,"method":"nope"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"show"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"show","params":{"id":7}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"add","params":{"sources":[{"torrent":"*"}]}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"limit","params":{"up":-1}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"limit","params":{"upp":1}}"#,
    ];
    for body in bodies {
        let answer = post_unix(&daemon.socket(), body.as_bytes()).unwrap();
        let shown = &body[..body.len().min(80)];
        if answer.status == 200 && !answer.body.is_empty() {
            let read = read(&answer.body);
            let failed = read.get("error").is_some() || read["result"]["torrents"][0]["status"] == "failed";
            assert!(failed, "{shown}: {read}");
        } else {
            assert!(answer.status >= 200 && answer.status < 500, "{shown}: {answer:?}");
        }
    }
    for raw in
        ["\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "POST / HTTP/9.9\r\n\r\n", "\x16\x03\x01 TLS"]
    {
        // What it says to that does not matter: the next one is served all the same.
        UnixStream::connect(daemon.socket()).unwrap().write_all(raw.as_bytes()).unwrap();
    }
    assert_answers(&daemon);
    assert!(daemon.list().is_empty());
}

#[test]
fn oversized_bodies_are_refused_without_being_kept() {
    let net = Net::new();
    let daemon = Daemon::start(&net);
    let before = wgo_tests::procfs::resident(daemon.pid());
    let announced = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 99999999999\r\n\r\n{";
    let mut stream = UnixStream::connect(daemon.socket()).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.set_write_timeout(Some(SOON)).unwrap();
    stream.write_all(announced.as_bytes()).unwrap();
    let filler = vec![b' '; 1 << 20];
    for _ in 0..100 {
        // It is free to hang up at any point.
        if stream.write_all(&filler).is_err() {
            break;
        }
    }
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(!String::from_utf8_lossy(&answer).contains("\"result\""));
    let grown = wgo_tests::procfs::resident(daemon.pid()).saturating_sub(before);
    assert!(grown < 160 << 20, "{grown} bytes more");
    assert_answers(&daemon);
}

#[test]
fn floods_and_idlers_do_not_keep_others_out() {
    let net = Net::new();
    let daemon = Daemon::start(&net);
    let idle: Vec<_> = (0..60).map(|_| UnixStream::connect(daemon.socket()).unwrap()).collect();
    for _ in 0..300 {
        let mut stream = UnixStream::connect(daemon.socket()).unwrap();
        // Hangs up without reading the answer, or before it has asked everything.
        let _ = stream.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{\"jsonrpc\"");
    }
    let batch: Vec<Value> =
        (0..5000).map(|id| json!({"jsonrpc": "2.0", "id": id, "method": "status"})).collect();
    let answer = post_unix(&daemon.socket(), json!(batch).to_string().as_bytes()).unwrap();
    assert!(answer.status < 500, "{}", answer.status);
    ctl::run(&daemon, &["--timeout", "30 s", "status"]).expect(0);
    drop(idle);
    wgo_tests::wait::pause(Duration::from_millis(100));
    assert_answers(&daemon);
}

#[test]
fn quit_by_socket_ends_it_and_takes_the_socket_along() {
    let net = Net::new();
    let mut daemon = Daemon::start(&net);
    ctl::run(&daemon, &["quit"]).expect(0);
    assert!(daemon.process().wait(SOON).success());
    assert!(!daemon.socket().exists());
    ctl::run(&daemon, &["status"]).expect(3);
}
