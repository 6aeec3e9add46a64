//! What the two kinds of sockets allow, whatever a call comes by.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail the test")]

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::{Value, json};
use wgo_api::client::connect_websocket;
use wgo_api::mock::{MockDaemon, torrent};
use wgo_api::params::{LimitParams, ListParams, SelectParams};
use wgo_api::server::{Access, Limits};
use wgo_api::torrent::State;
use wgo_api::{ApiClient, ApiError, Kind};

/// Longer than anything here takes on a machine under load.
const PATIENCE: Duration = Duration::from_secs(20);

/// The methods that a looker is refused; of `limit` the calls that set one. A backup changes nothing, but
/// holds what lookers don't see, as does a `.torrent` file.
const CHANGING: &[&str] = &[
    "add",
    "announce",
    "backup",
    "config_reset",
    "files",
    "label",
    "limit",
    "metainfo",
    "move",
    "queue",
    "quit",
    "read_backup",
    "reload",
    "remove",
    "rename",
    "restore",
    "scrape",
    "set",
    "start",
    "stop",
    "trackers",
    "verify",
    "write_backup",
];

fn daemon(access: Access) -> MockDaemon {
    let torrents = vec![torrent(1, State::Downloading), torrent(2, State::Seeding)];
    MockDaemon::start_as(access, torrents, Limits::for_lookers())
}

/// Parameters with which each method would succeed, or fail for want of a match.
fn params(method: &str) -> Value {
    let hash = "01".repeat(20);
    match method {
        "add" => json!({"sources": [{"uri": "magnet:?x"}]}),
        "limit" => json!({"up": 5}),
        "files" => json!({"id": hash, "choose": {"skip": ["*"]}}),
        "label" => json!({"ids": [hash], "add": ["a"]}),
        "metainfo" => json!({"id": hash}),
        "trackers" => json!({"id": hash, "add": ["http://t.example/a"]}),
        "show" => json!({"id": hash}),
        "wait" => json!({"id": hash, "for": "metadata", "timeout_secs": 20}),
        "rename" => json!({"id": hash, "path": "a", "to": "b"}),
        "move" => json!({"ids": [hash], "folder": "/srv"}),
        "remove" | "start" | "stop" | "verify" | "announce" | "scrape" => json!({"ids": [hash]}),
        _ => json!({}),
    }
}

fn request(method: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params(method)})
}

fn post(daemon: &MockDaemon, body: &Value) -> Value {
    let mut stream = UnixStream::connect(daemon.socket()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let body = body.to_string();
    write!(
        stream,
        "POST / HTTP/1.1\r\nHost: l\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .unwrap();
    stream.write_all(body.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let body = text.split_once("\r\n\r\n").unwrap().1;
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn is_refused(answer: &Value) -> bool {
    answer["error"]["data"]["kind"] == "permission"
}

#[test]
fn a_looker_looks_and_touches_nothing_by_single_calls_and_by_batches() {
    let daemon = daemon(Access::ReadOnly);
    let methods: Vec<&str> = MockDaemon::method_names().into_iter().collect();
    let alone: BTreeSet<&str> =
        methods.iter().copied().filter(|method| is_refused(&post(&daemon, &request(method)))).collect();
    assert_eq!(alone, CHANGING.iter().copied().collect());
    let mut batched = BTreeSet::new();
    // A batch of allowed calls carries none that is not.
    for pair in methods.windows(2) {
        let answers = post(&daemon, &json!([request(pair[0]), request(pair[1])]));
        for (method, answer) in pair.iter().zip(answers.as_array().unwrap()) {
            if is_refused(answer) {
                batched.insert(*method);
            }
        }
    }
    assert_eq!(batched, alone);
    let done: BTreeSet<String> = daemon.mock().calls().into_iter().map(|(method, _)| method).collect();
    let touched: Vec<_> = done.iter().filter(|method| CHANGING.contains(&method.as_str())).collect();
    assert!(touched.is_empty(), "refused and done all the same: {touched:?}");
    assert!(done.contains("list") && done.contains("show"), "{done:?}");
    let limits = post(&daemon, &json!({"jsonrpc": "2.0", "id": 1, "method": "limit"}));
    assert!(limits["result"]["limits"].is_object(), "asking for limits is looking: {limits}");
    let unknown = post(&daemon, &request("frobnicate"));
    assert_eq!(unknown["error"]["data"]["kind"], "unsupported", "{unknown}");
}

#[tokio::test]
async fn a_looker_subscribes_and_touches_nothing_by_websocket() {
    let daemon = daemon(Access::ReadOnly);
    let client = connect_websocket(&daemon.socket(), PATIENCE).await.unwrap();
    let mut changes = client.subscribe_changes(ListParams::default()).await.unwrap();
    assert_eq!(changes.next().await.unwrap().unwrap().torrents.len(), 2);
    let all = SelectParams { all: true, ..SelectParams::default() };
    let stop = ApiError::from(client.stop(all).await.unwrap_err());
    assert_eq!(stop.kind(), Kind::Permission);
    assert!(stop.message.contains("`stop`"), "{stop}");
    let limit = client.limit(LimitParams { up: Some(1), ..LimitParams::default() }).await.unwrap_err();
    assert_eq!(ApiError::from(limit).kind(), Kind::Permission);
    assert!(client.limit(LimitParams::default()).await.is_ok());
    assert_eq!(daemon.mock().torrents()[0].state, State::Downloading);
}
