//! libtorrent-rasterbar, driven by a small Python program over pipes.
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Client, Encryption, Manner, home, in_path};
use crate::maker::Torrent;
use crate::net::free_port;
use crate::process::Process;

const DRIVER: &str = include_str!("libtorrent_driver.py");

pub(super) struct Libtorrent {
    addr: SocketAddr,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
    _process: Process,
    home: TempDir,
}

/// An interpreter that has the binding.
pub fn python() -> Option<PathBuf> {
    let named = std::env::var_os("WGOD_LT_PYTHON").map(PathBuf::from);
    let has_it = |python: &PathBuf| {
        let run = Command::new(python).args(["-c", "import libtorrent"]).stderr(Stdio::null()).status();
        run.is_ok_and(|status| status.success())
    };
    named.or_else(|| in_path("python3")).filter(has_it)
}

impl Libtorrent {
    pub(super) fn start(python: &Path, ip: IpAddr, manner: Manner<'_>) -> Libtorrent {
        let home = home("lt");
        let addr = SocketAddr::new(ip, free_port(ip));
        let mut process = Process::spawn("libtorrent", python, &home.path().join("log"), |command| {
            let told = json!({
                "encryption": manner.encryption == Encryption::Required, "pex": manner.pex, "lsd": manner.lsd,
                "down": manner.down_kib * 1024, "dht": manner.dht,
            });
            command.args(["-c", DRIVER, &addr.ip().to_string(), &addr.port().to_string(), &told.to_string()]);
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
        });
        let (requests, answers) = process.pipes();
        let mut peer =
            Libtorrent { addr, requests, answers: BufReader::new(answers), home, _process: process };
        assert_eq!(peer.ask(&json!({"do": "ping"})), json!(addr.port()), "it listens");
        peer
    }

    fn ask(&mut self, request: &Value) -> Value {
        writeln!(self.requests, "{request}").expect("the driver runs");
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        let mut answer: Value = serde_json::from_str(&line).expect("the driver answers");
        assert!(answer.get("error").is_none(), "libtorrent: {answer}");
        answer["ok"].take()
    }
}

impl Client for Libtorrent {
    fn addr(&self) -> SocketAddr {
        self.addr
    }

    fn add(&mut self, torrent: &Torrent, folder: &Path) {
        let file = torrent.save(self.home.path());
        self.ask(&json!({"do": "add", "hash": torrent.id(), "torrent": file, "folder": folder}));
    }

    fn add_magnet(&mut self, link: &str, torrent: &Torrent, folder: &Path) -> bool {
        self.ask(&json!({"do": "add", "hash": torrent.id(), "magnet": link, "folder": folder}));
        true
    }

    fn is_in_dht(&mut self) -> bool {
        self.ask(&json!({"do": "nodes"})).as_u64().is_some_and(|nodes| nodes >= super::KNOWN_NODES.into())
    }

    fn is_complete(&mut self, torrent: &Torrent) -> bool {
        self.ask(&json!({"do": "complete", "hash": torrent.id()})) == json!(true)
    }
}
