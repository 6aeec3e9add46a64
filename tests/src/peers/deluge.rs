//! deluged, driven by deluge-console.
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;
use tempfile::TempDir;

use super::{Client, Encryption, home};
use crate::maker::Torrent;
use crate::net::free_port;
use crate::process::Process;
use crate::wait::{SOON, until};

/// Renames a file of a torrent over Deluge's RPC: port, user, password, id, old path, new path.
const RENAME: &str = r#"
import sys
from twisted.internet import defer, reactor
from deluge.ui.client import client

@defer.inlineCallbacks
def main(port, user, password, torrent, old, new):
    done = 1
    try:
        yield client.connect("127.0.0.1", int(port), user, password)
        status = yield client.core.get_torrent_status(torrent, ["files"])
        index = next(file["index"] for file in status["files"] if file["path"] == old)
        renamed = defer.Deferred()
        client.register_event_handler("TorrentFileRenamedEvent", lambda *_: renamed.callback(None))
        yield client.core.rename_files(torrent, [(index, new)])
        yield renamed
        done = 0
    finally:
        main.exit = done
        reactor.stop()

reactor.callWhenRunning(main, *sys.argv[1:])
reactor.run()
sys.exit(main.exit)
"#;

pub(super) struct Deluge {
    addr: SocketAddr,
    process: Process,
    home: TempDir,
}

impl Deluge {
    pub(super) fn start(program: &Path, ip: IpAddr, encryption: Encryption) -> Deluge {
        let home = home("deluge");
        let (rpc, port) = (free_port(Ipv4Addr::LOCALHOST.into()), free_port(ip));
        // In its words: forced, disabled.
        let policy = if encryption == Encryption::Required { 0 } else { 2 };
        let settings = json!({
            "daemon_port": rpc, "listen_ports": [port, port], "random_port": false, "listen_interface": ip,
            "outgoing_interface": ip, "random_outgoing_ports": true,
            "dht": false, "upnp": false, "natpmp": false, "utpex": false, "lsd": false, "new_release_check": false,
            "enc_in_policy": policy, "enc_out_policy": policy, "enc_level": 1, "max_active_downloading": -1, "max_active_limit": -1,
            "max_active_seeding": -1, "download_location": home.path(), "enabled_plugins": ["Label"],
        });
        // Two documents: what kind of file it is, and its content.
        let text = format!("{}{settings}", json!({"file": 1, "format": 1}));
        fs::write(home.path().join("core.conf"), text).unwrap();
        let process = Process::spawn("deluged", program, &home.path().join("log"), |command| {
            command
                .args(["-d", "-L", "info", "-i", "127.0.0.1", "-p", &rpc.to_string(), "-c"])
                .arg(home.path());
            command.env("HOME", home.path()).current_dir(home.path());
        });
        let peer = Deluge { addr: SocketAddr::new(ip, port), process, home };
        until("deluged answers", SOON, || peer.ask(&["status"]));
        peer
    }

    /// The port of its RPC, and who may use it; `None` while it hasn't said so.
    fn access(&self) -> Option<(String, String, String)> {
        let conf = fs::read_to_string(self.home.path().join("core.conf")).ok()?;
        let port =
            conf.split("\"daemon_port\":").nth(1)?.trim().split(|c: char| !c.is_ascii_digit()).next()?;
        let auth = fs::read_to_string(self.home.path().join("auth")).ok()?;
        auth.lines().find_map(|line| {
            let mut parts = line.split(':');
            Some((port.to_owned(), parts.next()?.to_owned(), parts.next()?.to_owned()))
        })
    }

    /// One command of the console; `None` while nobody answers.
    fn ask(&self, words: &[&str]) -> Option<String> {
        let (port, user, password) = self.access()?;
        let mut command = Command::new("deluge-console");
        command.args(["-d", "127.0.0.1", "-p", &port, "-U", &user, "-P", &password, "-c"]);
        command.arg(self.home.path()).arg(words.join(" ")).env("HOME", self.home.path());
        let output = command.output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.success() && !text.contains("Could not connect")).then_some(text)
    }
}

impl Client for Deluge {
    fn addr(&self) -> SocketAddr {
        self.addr
    }

    fn add(&mut self, torrent: &Torrent, folder: &Path) {
        let file = torrent.save(self.home.path());
        let (folder, file) = (folder.display().to_string(), file.display().to_string());
        let said = self.ask(&["add", "-p", &format!("\"{folder}\""), &format!("\"{file}\"")]);
        assert!(said.as_ref().is_some_and(|said| said.contains("added")), "deluge: {said:?}");
    }

    fn is_complete(&mut self, torrent: &Torrent) -> bool {
        let said = self.ask(&["info", "-v", &torrent.id()]).unwrap_or_default();
        assert!(!said.contains("State: Error"), "deluge: {said}");
        said.contains("State: Seeding")
    }

    fn rename(&mut self, torrent: &Torrent, from: &str, to: &str) -> bool {
        let (port, user, password) = self.access().unwrap();
        let program = super::in_path("deluge-console").unwrap();
        // The console can't: its library does, with the interpreter that has it.
        let console = fs::read_to_string(program).unwrap();
        let python = console.lines().next().unwrap().trim_start_matches("#!").to_owned();
        let mut command = Command::new(python);
        command.args(["-c", RENAME, &port, &user, &password, &torrent.id(), from, to]);
        command.env("HOME", self.home.path()).status().unwrap().success()
    }

    fn goal(&mut self, torrent: &Torrent, ratio: f64) -> bool {
        if ratio == 0.0 {
            return false;
        }
        let set =
            |key: &str, value: &str| self.ask(&["manage", &torrent.id(), "--set", key, value]).is_some();
        set("stop_at_ratio", "True") && set("stop_ratio", &ratio.to_string())
    }

    fn end(&mut self) -> Option<PathBuf> {
        self.process.terminate(SOON);
        Some(self.home.path().to_owned())
    }
}
