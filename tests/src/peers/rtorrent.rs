//! rtorrent as a daemon, driven by XML-RPC over SCGI.
use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tempfile::TempDir;

use super::{Client, Encryption, Manner, home};
use crate::maker::Torrent;
use crate::net::free_port;
use crate::process::Process;
use crate::wait::{SOON, until};

/// An answer takes this long at most.
const LIMIT: Duration = Duration::from_secs(30);

pub(super) struct Rtorrent {
    addr: SocketAddr,
    process: Process,
    home: TempDir,
}

impl Rtorrent {
    pub(super) fn start(program: &Path, ip: IpAddr, manner: Manner<'_>) -> Rtorrent {
        let home = home("rt");
        let (folder, port) = (home.path().display(), free_port(ip));
        fs::create_dir(home.path().join("session")).unwrap();
        let encryption = match manner.encryption {
            Encryption::Off => "none",
            Encryption::Required => "allow_incoming,try_outgoing,require,require_RC4",
        };
        let dht = match manner.dht {
            [] => "dht.mode.set = disable\n".to_owned(),
            nodes => format!("dht.mode.set = on\ndht.port.set = {port}\n{}", adding(nodes)),
        };
        let (pex, down) = (if manner.pex { "yes" } else { "no" }, manner.down_kib);
        let config = format!(
            "system.daemon.set = true\nsession.path.set = {folder}/session\ndirectory.default.set = {folder}\n\
            network.scgi.open_local = {folder}/s\nnetwork.xmlrpc.size_limit.set = 60000000\n\
            network.port_range.set = {port}-{port}\nnetwork.port_random.set = no\n\
            network.bind_address.set = {ip}\n{dht}protocol.pex.set = {pex}\nthrottle.global_down.max_rate.set_kb = {down}\n\
            protocol.encryption.set = {encryption}\ntrackers.use_udp.set = yes\npieces.hash.on_completion.set = no\n"
        );
        fs::write(home.path().join("rc"), config).unwrap();
        let process = Process::spawn("rtorrent", program, &home.path().join("log"), |command| {
            command.args(["-n", "-o"]).arg(format!("import={folder}/rc"));
            command.env("HOME", home.path()).env("TERM", "xterm").current_dir(home.path());
        });
        let peer = Rtorrent { addr: SocketAddr::new(ip, port), home, process };
        until("rtorrent answers", SOON, || peer.ask("system.pid", &[]));
        peer
    }

    /// One call with `params`, each the XML of a value; gives the answer's XML. `None` while nobody
    /// answers.
    fn ask(&self, method: &str, params: &[String]) -> Option<String> {
        let params: String =
            params.iter().map(|value| format!("<param><value>{value}</value></param>")).collect();
        let body = format!(
            "<?xml version=\"1.0\"?><methodCall><methodName>{method}</methodName><params>{params}</params></methodCall>"
        );
        let head =
            format!("CONTENT_LENGTH\0{}\0SCGI\x001\0REQUEST_METHOD\0POST\0REQUEST_URI\0/RPC2\0", body.len());
        let mut stream = UnixStream::connect(self.home.path().join("s")).ok()?;
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.write_all(format!("{}:{head},{body}", head.len()).as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        Some(answer)
    }

    /// A call about a torrent that gives a number; `None` while rtorrent doesn't know the torrent.
    fn number(&self, method: &str, torrent: &Torrent) -> Option<i64> {
        let hash = format!("<string>{}</string>", torrent.id().to_uppercase());
        let answer = self.ask(method, &[hash])?;
        let (_, rest) = answer.split_once("<i8>").or_else(|| answer.split_once("<i4>"))?;
        rest.split('<').next()?.parse().ok()
    }
}

/// Has nodes of the DHT added once it runs.
fn adding(nodes: &[SocketAddr]) -> String {
    let add = |(n, node)| format!("schedule2 = dht_node_{n}, 1, 10, \"dht.add_node={node}\"\n");
    nodes.iter().enumerate().map(add).collect()
}

impl Client for Rtorrent {
    fn addr(&self) -> SocketAddr {
        self.addr
    }

    fn add(&mut self, torrent: &Torrent, folder: &Path) {
        let file = format!("<base64>{}</base64>", STANDARD.encode(&torrent.bytes));
        let folder = format!("<string>d.directory.set=\"{}\"</string>", folder.display());
        let answer = self.ask("load.raw_start", &["<string></string>".to_owned(), file, folder]).unwrap();
        assert!(!answer.contains("<fault>"), "rtorrent: {answer}");
    }

    fn add_magnet(&mut self, link: &str, _torrent: &Torrent, folder: &Path) -> bool {
        let text = |text: &str| format!("<string>{}</string>", text.replace('&', "&amp;"));
        let folder = text(&format!("d.directory.set=\"{}\"", folder.display()));
        let answer = self.ask("load.start", &[text(""), text(link), folder]);
        answer.is_some_and(|answer| !answer.contains("<fault>"))
    }

    fn is_complete(&mut self, torrent: &Torrent) -> bool {
        let is = |method, expected| self.number(method, torrent) == Some(expected);
        is("d.is_meta", 0) && is("d.hashing", 0) && is("d.complete", 1) && is("d.is_active", 1)
    }

    fn has(&mut self, torrent: &Torrent, bytes: u64) -> bool {
        self.number("d.completed_bytes", torrent).is_some_and(|done| done >= bytes.cast_signed())
    }

    fn is_in_dht(&mut self) -> bool {
        let Some(answer) = self.ask("dht.statistics", &[]) else { return false };
        let nodes = answer.split_once("<name>nodes</name>").and_then(|(_, rest)| rest.split_once("<i"));
        let digits =
            nodes.and_then(|(_, rest)| rest.split_once('>')?.1.split('<').next()?.parse::<u32>().ok());
        digits.is_some_and(|nodes| nodes >= super::KNOWN_NODES)
    }

    fn label(&mut self, torrent: &Torrent, label: &str) -> bool {
        let text = |text: &str| format!("<string>{text}</string>");
        let answer = self.ask("d.custom1.set", &[text(&torrent.id().to_uppercase()), text(label)]);
        answer.is_some_and(|answer| !answer.contains("<fault>"))
    }

    fn end(&mut self) -> Option<PathBuf> {
        self.process.terminate(SOON);
        Some(self.home.path().join("session"))
    }
}
