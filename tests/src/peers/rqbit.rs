//! rqbit 9, driven by its HTTP API.
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use super::{Client, Encryption, Manner, home};
use crate::http;
use crate::maker::Torrent;
use crate::net::free_port;
use crate::process::Process;
use crate::wait::{SOON, until};

pub(super) struct Rqbit {
    addr: SocketAddr,
    api: SocketAddr,
    process: Process,
    home: TempDir,
}

impl Rqbit {
    pub(super) fn start(program: &Path, ip: IpAddr, manner: Manner<'_>) -> Rqbit {
        assert_eq!(manner.encryption, Encryption::Off, "rqbit knows no encryption");
        let home = home("rqbit");
        let api = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port(Ipv4Addr::LOCALHOST.into())));
        let addr = SocketAddr::new(ip, free_port(ip));
        let process = Process::spawn("rqbit", program, &home.path().join("log"), |command| {
            command.args(["-v", "debug", "--disable-dht-persistence", "--disable-upnp-port-forward"]);
            let nodes: Vec<String> = manner.dht.iter().map(ToString::to_string).collect();
            match nodes.is_empty() {
                true => command.arg("--disable-dht"),
                false => command.args(["--dht-bootstrap-addrs", &nodes.join(",")]),
            };
            command.args((!manner.lsd).then_some("--disable-lsd"));
            // Its node is at no address that could be chosen, and others take it for a peer at the same one.
            let listens = if nodes.is_empty() { ip } else { Ipv4Addr::UNSPECIFIED.into() };
            command.args(["--http-api-listen-addr", &api.to_string(), "--listen-ip", &listens.to_string()]);
            command.args(["--listen-port", &addr.port().to_string(), "server", "start"]);
            command.arg("--persistence-location").arg(home.path().join("session")).arg(home.path());
            command.env("HOME", home.path()).current_dir(home.path());
        });
        let peer = Rqbit { addr, api, process, home };
        until("rqbit answers", SOON, || http::get(peer.api, "/").ok());
        peer
    }

    /// Has it add what `source` holds, a torrent file or a link; it answers when it knows the metadata. Peers that
    /// a link may name it takes beside it.
    fn begin(&self, source: &[u8], peers: &str, torrent: &Torrent, folder: &Path) -> bool {
        // To it this is the folder of the files, whatever the torrent is called.
        let is_multi = torrent.bytes.windows(8).any(|bytes| bytes == b"5:filesl");
        let folder = if is_multi { folder.join(&torrent.name) } else { folder.to_owned() };
        let path =
            format!("/torrents?overwrite=true&initial_peers={peers}&output_folder={}", escaped(&folder));
        let answer = http::post(self.api, &path, "", source).expect("rqbit answers");
        let said = String::from_utf8_lossy(&answer.body);
        assert_eq!(answer.status, 200, "rqbit: {said}");
        said.contains(&torrent.id())
    }
}

/// A path as it stands in a query.
fn escaped(path: &Path) -> String {
    path.to_str().unwrap().bytes().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "%{byte:02X}");
        text
    })
}

impl Client for Rqbit {
    fn addr(&self) -> SocketAddr {
        self.addr
    }

    fn add(&mut self, torrent: &Torrent, folder: &Path) {
        assert!(self.begin(&torrent.bytes, "", torrent, folder), "rqbit adds {}", torrent.name);
    }

    fn add_magnet(&mut self, link: &str, torrent: &Torrent, folder: &Path) -> bool {
        let peers: Vec<&str> = link.split('&').filter_map(|word| word.strip_prefix("x.pe=")).collect();
        self.begin(link.as_bytes(), &peers.join(","), torrent, folder)
    }

    fn is_complete(&mut self, torrent: &Torrent) -> bool {
        let path = format!("/torrents/{}/stats/v1", torrent.id());
        let answer = http::get(self.api, &path).expect("rqbit answers");
        let stats: Value = serde_json::from_slice(&answer.body).unwrap();
        assert!(stats["error"].is_null(), "rqbit: {stats}");
        stats["state"] == "live" && stats["finished"] == true
    }

    fn is_in_dht(&mut self) -> bool {
        let Ok(answer) = http::get(self.api, "/dht/stats") else { return false };
        let stats: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        stats["routing_table_size"].as_u64().is_some_and(|nodes| nodes >= super::KNOWN_NODES.into())
    }

    fn end(&mut self) -> Option<PathBuf> {
        self.process.terminate(SOON);
        Some(self.home.path().join("session"))
    }
}
