//! aria2c, driven by its JSON-RPC.
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;
use wgo_proto::units::WireHash;

use super::{Client, Encryption, home};
use crate::http;
use crate::maker::Torrent;
use crate::net::free_port;
use crate::process::Process;
use crate::wait::{SOON, until};

const OPTIONS: &[&str] = &[
    "--no-conf",
    "--enable-rpc",
    "--rpc-listen-all=false",
    "--rpc-max-request-size=64M",
    "--enable-dht=false",
    "--enable-dht6=false",
    "--bt-enable-lpd=false",
    "--enable-peer-exchange=false",
    "--max-concurrent-downloads=1000",
    "--seed-ratio=0",
    "--seed-time=1000000",
    "--check-integrity=true",
    "--allow-overwrite=true",
    "--file-allocation=none",
    "--rpc-save-upload-metadata=false",
    "--bt-save-metadata=false",
    "--async-dns=false",
    "--no-netrc",
    "--console-log-level=notice",
    "--summary-interval=0",
];

pub(super) struct Aria2 {
    addr: SocketAddr,
    rpc: SocketAddr,
    gids: HashMap<WireHash, String>,
    process: Process,
    folder: PathBuf,
    _home: TempDir,
}

impl Aria2 {
    pub(super) fn start(program: &Path, ip: IpAddr, encryption: Encryption) -> Aria2 {
        let home = home("aria2");
        let rpc = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port(Ipv4Addr::LOCALHOST.into())));
        let addr = SocketAddr::new(ip, free_port(ip));
        let process = Process::spawn("aria2", program, &home.path().join("log"), |command| {
            command.args(OPTIONS).arg(format!("--rpc-listen-port={}", rpc.port()));
            command.arg(format!("--listen-port={}", addr.port()));
            command.arg(format!("--interface={ip}"));
            command.arg(format!("--disable-ipv6={}", ip.is_ipv4()));
            if encryption == Encryption::Required {
                command.arg("--bt-force-encryption=true");
            }
            command.env("HOME", home.path()).current_dir(home.path());
        });
        let peer =
            Aria2 { addr, rpc, gids: HashMap::new(), process, folder: home.path().to_owned(), _home: home };
        until("aria2 answers", SOON, || peer.ask("getVersion", &json!([])));
        peer
    }

    /// One request; `None` while nobody answers.
    fn ask(&self, method: &str, params: &Value) -> Option<Value> {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": format!("aria2.{method}"), "params": params});
        let answer = http::post(
            self.rpc,
            "/jsonrpc",
            "Content-Type: application/json\r\n",
            body.to_string().as_bytes(),
        );
        let mut read: Value = serde_json::from_slice(&answer.ok()?.body).unwrap();
        assert!(read.get("error").is_none(), "aria2: {method}: {read}");
        Some(read["result"].take())
    }
}

impl Client for Aria2 {
    fn addr(&self) -> SocketAddr {
        self.addr
    }

    fn add(&mut self, torrent: &Torrent, folder: &Path) {
        let params = json!([STANDARD.encode(&torrent.bytes), [], {"dir": folder}]);
        self.folder = folder.to_owned();
        let gid = self.ask("addTorrent", &params).expect("aria2 answers");
        self.gids.insert(torrent.hash, gid.as_str().unwrap().to_owned());
    }

    fn is_complete(&mut self, torrent: &Torrent) -> bool {
        let status = self.ask("tellStatus", &json!([self.gids[&torrent.hash]])).expect("aria2 answers");
        assert_ne!(status["status"], "error", "aria2: {status}");
        let checking =
            status.get("verifiedLength").is_some() || status.get("verifyIntegrityPending").is_some();
        !checking && status["status"] == "active" && status["completedLength"] == status["totalLength"]
    }

    fn end(&mut self) -> Option<PathBuf> {
        self.process.terminate(SOON);
        // It keeps no session but what lies beside the downloads.
        Some(self.folder.clone())
    }
}
