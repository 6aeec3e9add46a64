//! transmission-daemon 3 and 4, driven by its JSON RPC.
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Client, Encryption, Manner, home};
use crate::http;
use crate::maker::Torrent;
use crate::net::free_port;
use crate::process::Process;
use crate::wait::{SOON, until};

/// The HTTP status that brings a new session id.
const CONFLICT: u16 = 409;

pub(super) struct Transmission {
    addr: SocketAddr,
    rpc: SocketAddr,
    session: String,
    process: Process,
    home: TempDir,
}

impl Transmission {
    pub(super) fn start(program: &Path, ip: IpAddr, manner: Manner<'_>) -> Transmission {
        let home = home("tr");
        let rpc = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port(Ipv4Addr::LOCALHOST.into())));
        let addr = SocketAddr::new(ip, free_port(ip));
        let (v4, v6) = match ip {
            IpAddr::V4(ip) => (ip.to_string(), "::1".to_owned()),
            // It asks trackers from the address that isn't the default.
            IpAddr::V6(ip) => ("0.0.0.0".to_owned(), ip.to_string()),
        };
        // In its words: clear preferred, which takes both; required.
        let encryption = if manner.encryption == Encryption::Required { 2 } else { 0 };
        let settings = json!({
            "bind-address-ipv4": v4, "bind-address-ipv6": v6,
            "peer-port": addr.port(), "peer-port-random-on-start": false,
            "rpc-enabled": true, "rpc-bind-address": "127.0.0.1", "rpc-port": rpc.port(),
            "rpc-authentication-required": false, "rpc-whitelist-enabled": false, "rpc-host-whitelist-enabled": false,
            "dht-enabled": !manner.dht.is_empty(), "lpd-enabled": manner.lsd, "pex-enabled": manner.pex, "utp-enabled": false,
            "speed-limit-down-enabled": manner.down_kib > 0, "speed-limit-down": manner.down_kib,
            "port-forwarding-enabled": false, "encryption": encryption,
            "download-queue-enabled": false, "seed-queue-enabled": false, "queue-stalled-enabled": false,
            "rename-partial-files": true, "incomplete-dir-enabled": false, "download-dir": home.path(),
            "ratio-limit-enabled": false, "idle-seeding-limit-enabled": false, "blocklist-enabled": false,
        });
        fs::write(home.path().join("settings.json"), settings.to_string()).unwrap();
        let nodes = manner.dht.iter().map(|node| format!("{} {}\n", node.ip(), node.port()));
        fs::write(home.path().join("dht.bootstrap"), nodes.collect::<String>()).unwrap();
        let process = Process::spawn("transmission", program, &home.path().join("log"), |command| {
            command.args(["-f", "-g"]).arg(home.path()).env("HOME", home.path());
        });
        let mut peer = Transmission { addr, rpc, session: String::new(), process, home };
        until("transmission answers", SOON, || peer.ask("session-get", &json!({})));
        peer
    }

    /// One request; `None` while nobody answers.
    fn ask(&mut self, method: &str, arguments: &Value) -> Option<Value> {
        let body = json!({"method": method, "arguments": arguments}).to_string();
        loop {
            let headers = format!("X-Transmission-Session-Id: {}\r\n", self.session);
            let answer = http::post(self.rpc, "/transmission/rpc", &headers, body.as_bytes()).ok()?;
            if answer.status == CONFLICT {
                self.session = answer.header("X-Transmission-Session-Id")?.to_owned();
                continue;
            }
            let mut read: Value = serde_json::from_slice(&answer.body).unwrap();
            assert_eq!(read["result"], "success", "{method}: {read}");
            return Some(read["arguments"].take());
        }
    }
}

impl Client for Transmission {
    fn addr(&self) -> SocketAddr {
        self.addr
    }

    fn add(&mut self, torrent: &Torrent, folder: &Path) {
        let metainfo = STANDARD.encode(&torrent.bytes);
        let arguments = json!({"metainfo": metainfo, "download-dir": folder, "paused": false});
        let added = self.ask("torrent-add", &arguments).expect("transmission answers");
        assert!(added.get("torrent-added").is_some(), "{added}");
    }

    fn add_magnet(&mut self, link: &str, _torrent: &Torrent, folder: &Path) -> bool {
        let arguments = json!({"filename": link, "download-dir": folder, "paused": false});
        let added = self.ask("torrent-add", &arguments).expect("transmission answers");
        added.get("torrent-added").is_some()
    }

    fn is_complete(&mut self, torrent: &Torrent) -> bool {
        let fields = ["status", "error", "errorString", "leftUntilDone", "sizeWhenDone"];
        let arguments = json!({"ids": [torrent.id()], "fields": fields});
        let answer = self.ask("torrent-get", &arguments).expect("transmission answers");
        let Some(found) = answer["torrents"].get(0) else { return false };
        // 3 is an error of its own; 1 and 2 come from trackers.
        assert_ne!(found["error"], 3, "transmission: {found}");
        // 5 and 6: queued to seed, seeding.
        found["sizeWhenDone"] != 0 && found["leftUntilDone"] == 0 && found["status"].as_u64() >= Some(5)
    }

    fn label(&mut self, torrent: &Torrent, label: &str) -> bool {
        self.ask("torrent-set", &json!({"ids": [torrent.id()], "labels": [label]})).is_some()
    }

    fn rename(&mut self, torrent: &Torrent, from: &str, to: &str) -> bool {
        let name = to.rsplit('/').next();
        self.ask("torrent-rename-path", &json!({"ids": [torrent.id()], "path": from, "name": name})).is_some()
    }

    fn goal(&mut self, torrent: &Torrent, ratio: f64) -> bool {
        // Its modes: 1 is a ratio of its own, 2 none.
        let mode = if ratio > 0.0 { 1 } else { 2 };
        let arguments = json!({"ids": [torrent.id()], "seedRatioLimit": ratio, "seedRatioMode": mode});
        self.ask("torrent-set", &arguments).is_some()
    }

    fn end(&mut self) -> Option<PathBuf> {
        self.process.terminate(SOON);
        Some(self.home.path().to_owned())
    }
}
