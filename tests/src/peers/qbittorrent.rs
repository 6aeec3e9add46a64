//! qbittorrent-nox 4 and 5, driven by its Web API.
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use super::{Client, Encryption, Manner, home};
use crate::http;
use crate::lan;
use crate::maker::Torrent;
use crate::net::free_port;
use crate::process::Process;
use crate::wait::{SOON, until};

/// Sets the fields of a form apart; in no torrent of ours.
const BOUNDARY: &str = "----wgod-tests-8f2c1d";

pub(super) struct Qbittorrent {
    addr: SocketAddr,
    web: SocketAddr,
    process: Process,
    home: TempDir,
}

impl Qbittorrent {
    /// `storage`: how it keeps its session, "Legacy" in files, or "SQLite".
    pub(super) fn start(program: &Path, ip: IpAddr, storage: &str, manner: Manner<'_>) -> Qbittorrent {
        let home = home("qb");
        let web = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port(Ipv4Addr::LOCALHOST.into())));
        let addr = SocketAddr::new(ip, free_port(ip));
        // In its words: required, off.
        let encryption = if manner.encryption == Encryption::Required { 1 } else { 2 };
        let interface = if manner.lsd { lan::INTERFACE } else { "lo" };
        let config = format!(
            "[LegalNotice]\nAccepted=true\n\
            [Preferences]\nWebUI\\Address=127.0.0.1\nWebUI\\Port={web}\nWebUI\\LocalHostAuth=false\n\
            WebUI\\CSRFProtection=false\nWebUI\\HostHeaderValidation=false\n\
            [BitTorrent]\nSession\\Port={port}\nSession\\Interface={interface}\nSession\\InterfaceName={interface}\n\
            Session\\InterfaceAddress={ip}\nSession\\DHTEnabled={dht}\nSession\\LSDEnabled={lsd}\n\
            Session\\PeXEnabled={pex}\nSession\\GlobalDLSpeedLimit={down}\nSession\\BTProtocol=TCP\nSession\\Encryption={encryption}\nSession\\QueueingSystemEnabled=false\n\
            Session\\IgnoreLimitsOnLAN=false\nSession\\MultiConnectionsPerIp=true\nSession\\SSRFMitigation=false\n\
            Session\\ResumeDataStorageType={storage}\n\
            [Network]\nPortForwardingEnabled=false\n",
            dht = !manner.dht.is_empty(),
            web = web.port(),
            port = addr.port(),
            lsd = manner.lsd,
            pex = manner.pex,
            down = manner.down_kib,
        );
        let folder = home.path().join("qBittorrent/config");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("qBittorrent.conf"), config).unwrap();
        let process = Process::spawn("qbittorrent", program, &home.path().join("log"), |command| {
            command.arg(format!("--profile={}", home.path().display()));
            command.env("HOME", home.path()).current_dir(home.path());
        });
        let peer = Qbittorrent { addr, web, process, home };
        until("qbittorrent answers", SOON, || peer.ask("app/version", &[("unused", b"x")]).ok());
        peer
    }

    /// One request with the fields of a form.
    fn ask(&self, method: &str, fields: &[(&str, &[u8])]) -> std::io::Result<Vec<u8>> {
        let mut body = Vec::new();
        for (name, value) in fields {
            let file = if *name == "torrents" { "; filename=\"a.torrent\"" } else { "" };
            let head =
                format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n");
            body.extend_from_slice(&[head.as_bytes(), value, b"\r\n"].concat());
        }
        body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
        let headers = format!("Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n");
        let answer = http::post(self.web, &format!("/api/v2/{method}"), &headers, &body)?;
        assert_eq!(answer.status, 200, "{method}: {}", String::from_utf8_lossy(&answer.body));
        Ok(answer.body)
    }
}

impl Client for Qbittorrent {
    fn addr(&self) -> SocketAddr {
        self.addr
    }

    fn add(&mut self, torrent: &Torrent, folder: &Path) {
        let folder = folder.to_str().unwrap().as_bytes();
        let fields: &[(&str, &[u8])] = &[
            ("torrents", &torrent.bytes),
            ("savepath", folder),
            ("autoTMM", b"false"),
            ("category", b"kept"),
        ];
        assert_eq!(self.ask("torrents/add", fields).unwrap(), b"Ok.");
    }

    fn add_magnet(&mut self, link: &str, _torrent: &Torrent, folder: &Path) -> bool {
        let folder = folder.to_str().unwrap().as_bytes();
        let fields: &[(&str, &[u8])] =
            &[("urls", link.as_bytes()), ("savepath", folder), ("autoTMM", b"false")];
        self.ask("torrents/add", fields).unwrap() == b"Ok."
    }

    fn is_complete(&mut self, torrent: &Torrent) -> bool {
        let answer = self.ask("torrents/info", &[("hashes", torrent.id().as_bytes())]).unwrap();
        let read: Value = serde_json::from_slice(&answer).unwrap();
        let state = read[0]["state"].as_str().unwrap_or_default();
        assert!(!["error", "missingFiles"].contains(&state), "qbittorrent: {read}");
        ["uploading", "stalledUP", "forcedUP"].contains(&state)
    }

    fn label(&mut self, torrent: &Torrent, label: &str) -> bool {
        let id = torrent.id();
        let fields: &[(&str, &[u8])] = &[("hashes", id.as_bytes()), ("tags", label.as_bytes())];
        self.ask("torrents/addTags", fields).is_ok()
    }

    fn rename(&mut self, torrent: &Torrent, from: &str, to: &str) -> bool {
        let id = torrent.id();
        let fields: &[(&str, &[u8])] =
            &[("hash", id.as_bytes()), ("oldPath", from.as_bytes()), ("newPath", to.as_bytes())];
        self.ask("torrents/renameFile", fields).is_ok()
    }

    fn goal(&mut self, torrent: &Torrent, ratio: f64) -> bool {
        // Its word for none is -1.
        let (id, ratio) = (torrent.id(), if ratio > 0.0 { ratio } else { -1.0 }.to_string());
        let fields: &[(&str, &[u8])] = &[
            ("hashes", id.as_bytes()),
            ("ratioLimit", ratio.as_bytes()),
            ("seedingTimeLimit", b"-2"),
            ("inactiveSeedingTimeLimit", b"-2"),
        ];
        self.ask("torrents/setShareLimits", fields).is_ok()
    }

    fn end(&mut self) -> Option<PathBuf> {
        self.process.terminate(SOON);
        Some(self.home.path().to_owned())
    }
}
