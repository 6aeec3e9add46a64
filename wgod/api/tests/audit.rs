//! What the log says of calls that change something. One test: the log is the process's.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail the test")]

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jsonrpsee::core::client::ClientT;
use jsonrpsee::core::traits::ToRpcParams;
use serde_json::{Value, json, value::RawValue};
use wgo_api::client::UnixHttpClient;
use wgo_api::mock::{HANGS, MockDaemon, torrent};
use wgo_api::server::{Access, Limits};
use wgo_api::torrent::State;
use wgo_api::{ApiError, Kind};

/// Longer than anything here takes on a machine under load.
const PATIENCE: Duration = Duration::from_secs(20);

/// What was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// The records of the audit.
    fn audit(&self) -> String {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        let records = text.lines().filter(|line| line.contains("wgo_api::audit"));
        records.map(|line| line.to_owned() + "\n").collect()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Params(Value);

impl ToRpcParams for Params {
    fn to_rpc_params(self) -> Result<Option<Box<RawValue>>, serde_json::Error> {
        serde_json::value::to_raw_value(&self.0).map(Some)
    }
}

async fn call(
    daemon: &MockDaemon,
    timeout: Duration,
    method: &str,
    params: Value,
) -> Result<Value, ApiError> {
    let client = UnixHttpClient::new(daemon.socket(), Some(timeout));
    client.request(method, Params(params)).await.map_err(ApiError::from)
}

#[tokio::test]
async fn each_call_that_changes_something_is_one_line_with_its_caller_and_outcome() {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).init();
    let daemon = |access| MockDaemon::start_as(access, vec![torrent(2, State::Seeding)], Limits::default());
    let (full, lookers) = (daemon(Access::Full), daemon(Access::ReadOnly));
    let hash = "02".repeat(20);
    for (daemon, method, params) in [
        (&full, "list", json!({})),
        (&full, "start", json!({"ids": [hash]})),
        (&full, "start", json!({"ids": [hash, "SECRET"]})),
        (&full, "add", json!({"sources": [{"uri": "http://tracker/SECRET"}]})),
        (&full, "limit", json!({"upp": "SECRET"})),
        (&full, "SECRET", json!({})),
        (&lookers, "stop", json!({"ids": [hash]})),
    ] {
        // Refused or not: what counts is what the log says.
        let _ = call(daemon, PATIENCE, method, params).await;
    }
    let hanging = json!({"sources": [{"uri": HANGS}]});
    let left = call(&full, Duration::from_millis(200), "add", hanging).await.unwrap_err();
    assert_eq!(left.kind(), Kind::Timeout);
    let began = Instant::now();
    while !log.audit().contains("left before the answer") {
        assert!(began.elapsed() < PATIENCE, "{}", log.audit());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    let who = format!("by uid {uid}, gid {gid}, pid {} (connection", std::process::id());
    let said = log.audit();
    for expected in [
        format!("start {who} 2): ok; {hash}\n"),
        format!("start {who} 3): 1 of 2 failed (no_match); {hash}\n"),
        format!("add {who} 4): ok; "),
        format!("limit {who} 5): bad_request\n"),
        format!("stop {who} 1 of the read-only socket): permission\n"),
        format!("add {who} 7): the caller left before the answer\n"),
    ] {
        assert_eq!(said.matches(&expected).count(), 1, "{expected} in\n{said}");
    }
    assert_eq!(said.lines().count(), 6, "{said}");
    assert!(!said.contains("SECRET"), "{said}");
}
