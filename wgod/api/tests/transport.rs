//! The transport against a mock: HTTP, WebSocket, and clients that misbehave.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail the test")]

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wgo_api::client::{UnixHttpClient, connect_websocket};
use wgo_api::mock::{HANGS, MockDaemon, PANICS, torrent};
use wgo_api::params::{ListParams, ShowParams, StatusParams};
use wgo_api::server::Limits;
use wgo_api::torrent::State;
use wgo_api::{ApiClient, ApiError, Kind};

/// Longer than anything here takes on a machine under load.
const PATIENCE: Duration = Duration::from_secs(20);

fn daemon() -> MockDaemon {
    MockDaemon::start(vec![torrent(1, State::Downloading), torrent(2, State::Seeding)])
}

fn connect(daemon: &MockDaemon) -> UnixStream {
    let stream = UnixStream::connect(daemon.socket()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends `body` as `curl --unix-socket` would and returns status and body.
fn post_as(daemon: &MockDaemon, content_type: &str, body: &str) -> (u16, String) {
    let mut stream = connect(daemon);
    write!(
        stream,
        "POST / HTTP/1.1\r\nHost: localhost\r\n{content_type}Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    read_answer(stream)
}

fn read_answer(mut stream: UnixStream) -> (u16, String) {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let status = text.split(' ').nth(1).unwrap_or_else(|| panic!("no status in {text:?}")).parse().unwrap();
    (status, text.split_once("\r\n\r\n").unwrap().1.to_owned())
}

fn post(daemon: &MockDaemon, body: &str) -> Value {
    let (_, text) = post_as(daemon, "Content-Type: application/json\r\n", body);
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

fn call(daemon: &MockDaemon, method: &str, params: Value) -> Value {
    post(daemon, &json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string())
}

fn alive(daemon: &MockDaemon) {
    assert_eq!(call(daemon, "status", json!({}))["result"]["daemon"]["pid"], wgo_api::mock::PID);
}

fn client(daemon: &MockDaemon) -> UnixHttpClient {
    UnixHttpClient::new(daemon.socket(), Some(PATIENCE))
}

#[test]
fn a_call_without_params_is_complete() {
    let daemon = daemon();
    for method in ["status", "list", "config", "reload", "limit"] {
        let answer = post(&daemon, &json!({"jsonrpc": "2.0", "id": 1, "method": method}).to_string());
        assert!(answer["result"].is_object(), "{method}: {answer}");
    }
    for params in [json!({}), json!([]), json!(null), json!([{}])] {
        assert!(call(&daemon, "status", params.clone())["result"].is_object(), "{params}");
    }
}

#[test]
fn any_content_type_is_taken_for_json() {
    let daemon = daemon();
    let body = r#" {"jsonrpc":"2.0","id":1,"method":"status"}"#;
    for header in ["", "Content-Type: application/x-www-form-urlencoded\r\n", "Content-Type: text/plain\r\n"]
    {
        assert_eq!(post_as(&daemon, header, body).0, 200, "{header:?}");
    }
}

#[test]
fn every_error_has_a_kind() {
    let daemon = daemon();
    let hash = "01".repeat(20);
    for (method, params, kind) in [
        ("show", json!({"id": "nothing"}), "no_match"),
        ("show", json!({}), "bad_request"),
        ("show", json!({"id": hash, "file": true}), "bad_request"),
        ("show", json!({"id": 7}), "bad_request"),
        ("show", json!(["x"]), "bad_request"),
        ("list", json!({"fields": ["nmae"]}), "bad_request"),
        ("start", json!({}), "bad_request"),
        ("add", json!({"sources": [{"url": "x"}]}), "bad_request"),
        ("frobnicate", json!({}), "unsupported"),
        ("subscribe", json!({}), "unsupported"),
        ("unsubscribe", json!([1]), "unsupported"),
        ("show", json!({"id": PANICS}), "internal"),
    ] {
        let answer = call(&daemon, method, params.clone());
        assert_eq!(answer["error"]["data"]["kind"], kind, "{method} {params}: {answer}");
        assert_eq!(answer["id"], 1);
    }
    alive(&daemon);
}

#[test]
fn malformed_requests_get_an_error_and_harm_nobody() {
    let daemon = daemon();
    for (body, code) in [
        ("{\"jsonrpc\":\"2.0\",", -32700),
        ("{}", -32700),
        ("hello", -32700),
        ("", -32700),
        ("[1,2]", -32600),
        ("[", -32700),
        (r#"{"jsonrpc":"1.0","id":1,"method":"status"}"#, -32600),
    ] {
        let answer = post(&daemon, body);
        let error = answer.get(0).unwrap_or(&answer);
        assert_eq!(error["error"]["code"], code, "{body}: {answer}");
    }
    let deep =
        format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"show\",\"params\":{}", "[".repeat(100_000));
    assert!(post(&daemon, &deep)["error"].is_object());
    let (status, _) =
        post_as(&daemon, "Content-Type: application/json\r\nContent-Length: 99999999999\r\n", "");
    assert!(status >= 400);
    alive(&daemon);
}

#[test]
fn a_batch_is_answered_in_order_and_bounded() {
    let daemon = daemon();
    let one = |id: u32| json!({"jsonrpc": "2.0", "id": id, "method": "status"});
    let answer = post(&daemon, &json!([one(1), one(2)]).to_string());
    assert_eq!((answer[0]["id"].as_u64(), answer[1]["id"].as_u64()), (Some(1), Some(2)));
    assert!(answer[1]["result"].is_object(), "params may be absent in a batch too: {answer}");
    let panics = json!({"jsonrpc": "2.0", "id": 3, "method": "show", "params": {"id": PANICS}});
    let answer = post(&daemon, &json!([panics, one(4)]).to_string());
    assert_eq!((&answer[0]["error"]["data"]["kind"], &answer[1]["id"]), (&json!("internal"), &json!(4)));
    let many: Vec<Value> = (0..1000).map(one).collect();
    assert!(post(&daemon, &json!(many).to_string())["error"].is_object());
    alive(&daemon);
}

#[test]
fn an_oversized_body_is_refused_by_http() {
    let limits = Limits { request_bytes: 1000, ..Limits::default() };
    let daemon = MockDaemon::start_with(Vec::new(), limits);
    let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"status","x":"{}"}}"#, "x".repeat(2000));
    let (status, text) = post_as(&daemon, "Content-Type: application/json\r\n", &body);
    assert_eq!(status, 413, "{text}");
    alive(&daemon);
}

#[test]
fn a_large_torrent_goes_through_by_http() {
    let daemon = daemon();
    let big = "QUFB".repeat(2 << 20);
    let answer = call(&daemon, "add", json!({"sources": [{"torrent": big}]}));
    assert_eq!(answer["result"]["torrents"][0]["status"], "added", "{:.200}", answer.to_string());
}

#[test]
fn a_call_says_who_makes_it() {
    let daemon = daemon();
    call(&daemon, "add", json!({"sources": [{"uri": "magnet:?x"}]}));
    let caller = daemon.mock().caller().expect("the caller is in the extensions");
    assert_eq!(caller.pid, Some(std::process::id() as i32));
    assert_eq!(caller.connection, 1);
}

#[test]
fn calls_as_scripts_make_them_are_taken() {
    let daemon = daemon();
    for (method, params) in [
        (
            "add",
            json!({"sources": [{"torrent": "ZDE6YWU="}], "folder": "/dl", "check": "quick",
                       "peers": ["127.0.0.1:6881"]}),
        ),
        ("add", json!({"sources": [{"uri": "magnet:?x"}], "folder": "/dl"})),
        ("limit", json!({"up": 0, "down": 5000})),
        ("limit", json!({"up": null, "down": null})),
        ("show", json!({"id": "01".repeat(20)})),
        ("list", json!({})),
    ] {
        let answer = call(&daemon, method, params.clone());
        assert!(answer["result"].is_object(), "{method} {params}: {answer}");
    }
}

#[test]
fn a_body_that_stops_arriving_ends_its_connection_only() {
    let limits = Limits { body: Duration::from_millis(100), ..Limits::default() };
    let daemon = MockDaemon::start_with(Vec::new(), limits);
    let mut slow = connect(&daemon);
    slow.write_all(b"POST / HTTP/1.1\r\nHost: l\r\nContent-Length: 500\r\n\r\n{\"json").unwrap();
    let (status, _) = read_answer(slow);
    assert_eq!(status, 500);
    // One byte at a time does not keep it open either.
    let mut drip = connect(&daemon);
    drip.write_all(b"POST / HTTP/1.1\r\nHost: l\r\nContent-Length: 5000\r\n\r\n").unwrap();
    let began = Instant::now();
    while drip.write_all(b" ").is_ok() {
        assert!(began.elapsed() < PATIENCE, "a dripping body holds its connection");
        std::thread::park_timeout(Duration::from_millis(20));
    }
    alive(&daemon);
}

#[test]
fn idle_connections_end_and_calls_under_way_do_not() {
    let limits = Limits { idle: Duration::from_millis(100), ..Limits::default() };
    let daemon = MockDaemon::start_with(vec![torrent(1, State::Downloading)], limits);
    let mut idle = connect(&daemon);
    assert_eq!(idle.read(&mut [0; 10]).unwrap(), 0, "a silent connection is closed");
    let waiting = std::thread::scope(|scope| {
        let wait = scope.spawn(|| call(&daemon, "wait", json!({"id": "torrent 1", "timeout_secs": 1})));
        wait.join().unwrap()
    });
    assert_eq!(waiting["error"]["data"]["kind"], "timeout", "{waiting}");
}

#[test]
fn connections_beyond_the_limit_hear_busy_and_places_come_back() {
    let limits = Limits { connections: 4, spare: Duration::from_secs(3600), ..Limits::default() };
    let daemon = MockDaemon::start_with(Vec::new(), limits);
    let mut held: Vec<UnixStream> = (0..4).map(|_| connect(&daemon)).collect();
    let began = Instant::now();
    let (status, body) = read_answer(connect(&daemon));
    assert_eq!(status, 503);
    assert!(body.contains("\"kind\":\"busy\""), "{body}");
    held.clear();
    // The places are free once the server has seen the hang-ups.
    while post_as(&daemon, "", r#"{"jsonrpc":"2.0","id":1,"method":"status"}"#).0 != 200 {
        assert!(began.elapsed() < PATIENCE, "places do not come back");
    }
}

#[test]
fn idle_connections_make_room_oldest_first_and_busy_ones_do_not() {
    let limits = Limits { connections: 3, spare: Duration::from_millis(300), ..Limits::default() };
    let daemon = MockDaemon::start_with(vec![torrent(1, State::Downloading)], limits);
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "show", "params": {"id": HANGS}}).to_string();
    let mut busy = connect(&daemon);
    write!(busy, "POST / HTTP/1.1\r\nHost: l\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
    let mut idle: Vec<UnixStream> = (0..2).map(|_| connect(&daemon)).collect();
    let began = Instant::now();
    while post_as(&daemon, "", r#"{"jsonrpc":"2.0","id":1,"method":"status"}"#).0 != 200 {
        assert!(began.elapsed() < PATIENCE, "idle connections keep others out");
    }
    assert_eq!(idle[0].read(&mut [0; 10]).unwrap(), 0, "the one that was idle longest was closed");
    busy.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    assert!(busy.read(&mut [0; 10]).is_err(), "a call is under way");
}

#[test]
fn hang_ups_in_the_middle_harm_nobody() {
    let daemon = daemon();
    for cut in
        ["", "PO", "POST / HTTP/1.1\r\n", "POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n{\"a", "\0\u{1}\u{2}"]
    {
        connect(&daemon).write_all(cut.as_bytes()).unwrap();
    }
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "show", "params": {"id": HANGS}}).to_string();
    for _ in 0..200 {
        let mut stream = connect(&daemon);
        write!(stream, "POST / HTTP/1.1\r\nHost: l\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
    }
    alive_again(&daemon);
}

/// Like [`alive`], for when the server is still busy closing what was cut.
fn alive_again(daemon: &MockDaemon) {
    let began = Instant::now();
    loop {
        let mut stream = connect(daemon);
        let mut answer = String::new();
        let asked = stream.write_all(
            b"POST / HTTP/1.1\r\nHost: l\r\nConnection: close\r\nContent-Length: 42\r\n\r\n\
              {\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"status\"}",
        );
        let answered = asked.and_then(|()| stream.read_to_string(&mut answer));
        if answered.is_ok() && answer.starts_with("HTTP/1.1 200") {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{answered:?} {answer}");
    }
}

#[test]
fn a_flood_of_calls_is_answered() {
    let daemon = daemon();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..100).for_each(|_| alive(&daemon)));
        }
    });
}

#[test]
fn calls_beyond_the_limit_hear_busy() {
    let limits = Limits { calls: 1, grace: Duration::from_millis(50), ..Limits::default() };
    let daemon = MockDaemon::start_with(vec![torrent(1, State::Downloading)], limits);
    let mut hanging = connect(&daemon);
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "show", "params": {"id": HANGS}}).to_string();
    write!(hanging, "POST / HTTP/1.1\r\nHost: l\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
    let began = Instant::now();
    while call(&daemon, "status", json!({}))["error"]["data"]["kind"] != "busy" {
        assert!(began.elapsed() < PATIENCE, "the second call was never refused");
    }
}

#[test]
fn stopping_does_not_wait_for_calls_that_hang() {
    let daemon = daemon();
    let mut hanging = connect(&daemon);
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "show", "params": {"id": HANGS}}).to_string();
    write!(hanging, "POST / HTTP/1.1\r\nHost: l\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
    alive(&daemon);
    let socket = daemon.socket();
    let began = Instant::now();
    drop(daemon);
    assert!(began.elapsed() < PATIENCE);
    assert!(!socket.exists(), "the socket outlives the daemon");
}

#[tokio::test]
async fn the_typed_client_works_over_http() {
    let daemon = daemon();
    let client = client(&daemon);
    let status = client.status(StatusParams { torrents: true, ..StatusParams::default() }).await.unwrap();
    assert_eq!(status.torrents.unwrap().len(), 2);
    let shown = client.show(ShowParams { id: "0101".into(), files: true, ..ShowParams::default() }).await;
    assert_eq!(shown.unwrap().torrent.torrent.name, "torrent 1");
    let error = ApiError::from(client.show(ShowParams::default()).await.unwrap_err());
    assert_eq!(error.kind(), Kind::NoMatch);
    assert!(client.subscribe_changes(ListParams::default()).await.is_err());
}

#[tokio::test]
async fn the_client_tells_who_cannot_be_reached_and_why() {
    let daemon = daemon();
    let hanging = UnixHttpClient::new(daemon.socket(), Some(Duration::from_millis(100)));
    let error = hanging.show(ShowParams { id: HANGS.into(), ..ShowParams::default() }).await.unwrap_err();
    assert_eq!(ApiError::from(error).kind(), Kind::Timeout);

    let stale = daemon.folder().join("stale");
    drop(std::os::unix::net::UnixListener::bind(&stale).unwrap());
    for path in [daemon.folder().join("none"), stale] {
        let client = UnixHttpClient::new(&path, Some(PATIENCE));
        let error = ApiError::from(client.status(StatusParams::default()).await.unwrap_err());
        assert_eq!((error.kind(), error.data.path.as_deref()), (Kind::Unreachable, path.to_str()));
    }
    let error = connect_websocket(&daemon.folder().join("none"), PATIENCE).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unreachable);
}

#[tokio::test]
async fn a_subscription_sends_the_list_and_then_the_changes() {
    let daemon = daemon();
    let client = connect_websocket(&daemon.socket(), PATIENCE).await.unwrap();
    let mut changes = client.subscribe_changes(ListParams::default()).await.unwrap();
    let first = changes.next().await.unwrap().unwrap();
    assert_eq!((first.full, first.torrents.len()), (true, 2));
    daemon.mock().change(|torrents| torrents[0].state = State::Error);
    let second = changes.next().await.unwrap().unwrap();
    assert_eq!(second.torrents[0].torrent.state, State::Error);
    // Calls go over the same WebSocket, and the generated client's list of one is understood.
    assert!(client.status(StatusParams::default()).await.is_ok());
    let error = ApiError::from(client.show(ShowParams::default()).await.unwrap_err());
    assert_eq!(error.kind(), Kind::NoMatch);
    changes.unsubscribe().await.unwrap();
    assert!(client.list(ListParams::default()).await.is_ok());
}

#[tokio::test]
async fn subscribers_cannot_lock_out_commands() {
    let limits = Limits { connections: 8, websockets: 2, ..Limits::default() };
    let daemon = MockDaemon::start_with(Vec::new(), limits);
    let mut held = Vec::new();
    for _ in 0..2 {
        let client = connect_websocket(&daemon.socket(), PATIENCE).await.unwrap();
        held.push((client.subscribe_changes(ListParams::default()).await.unwrap(), client));
    }
    assert!(connect_websocket(&daemon.socket(), PATIENCE).await.is_err());
    assert!(client(&daemon).status(StatusParams::default()).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_ends_subscriptions() {
    let daemon = daemon();
    let client = connect_websocket(&daemon.socket(), PATIENCE).await.unwrap();
    let mut changes = client.subscribe_changes(ListParams::default()).await.unwrap();
    changes.next().await.unwrap().unwrap();
    tokio::task::block_in_place(|| drop(daemon));
    assert!(tokio::time::timeout(PATIENCE, changes.next()).await.unwrap().is_none());
}
