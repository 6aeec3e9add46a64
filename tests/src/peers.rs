//! The peers that people really run, each headless in a folder of its own, on one address, without
//! LSD, PEX, port mapping and, unless they are asked for, DHT and encryption: they know whom their tracker names, and nobody else.
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use crate::maker::Torrent;
use crate::net::skip;
use crate::wait::{TRANSFER, until};

mod aria2;
mod deluge;
mod libtorrent;
pub mod libtorrent_creates;
mod qbittorrent;
mod rqbit;
mod rtorrent;
mod transmission;

pub use libtorrent::python;

/// The peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// libtorrent-rasterbar, by its Python binding: that of the interpreter `WGOD_LT_PYTHON`, or of `python3`.
    Libtorrent,
    /// transmission-daemon.
    Transmission,
    /// aria2c.
    Aria2,
    /// rtorrent.
    Rtorrent,
    /// qbittorrent-nox.
    Qbittorrent,
    /// The same, with its session in SQLite.
    QbittorrentSqlite,
    /// deluged.
    Deluge,
    /// rqbit, which knows no encryption.
    Rqbit,
}

/// Which connections a peer makes and takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// Plain ones.
    Off,
    /// Those whose payload is encrypted.
    Required,
}

/// How a peer is started.
#[derive(Clone, Copy, Debug)]
pub struct Manner<'a> {
    /// Which connections it makes and takes.
    pub encryption: Encryption,
    /// It exchanges addresses with others, where it can.
    pub pex: bool,
    /// It looks for others in the local network, [`Lan`](crate::lan::Lan), where it can.
    pub lsd: bool,
    /// Nodes of the DHT that it begins with; without any it has no DHT. qBittorrent can't be told any: it takes those
    /// that torrents and magnet links name.
    pub dht: &'a [SocketAddr],
    /// KiB/s that it downloads at most, where that can be set; 0 is no limit.
    pub down_kib: u32,
}

impl Manner<'_> {
    /// Without a limit, and knowing only whom its tracker names.
    pub const fn with(encryption: Encryption) -> Manner<'static> {
        Manner { encryption, pex: false, lsd: false, dht: &[], down_kib: 0 }
    }
}

/// Other nodes that one in the DHT knows: nearly as many as it was told.
const KNOWN_NODES: u32 = 4;

/// How those get here that are no package of Debian's, or not in a version that serves.
const HOW: &str = "libtorrent: set WGOD_LT_PYTHON; rqbit: `cargo install --locked rqbit`";

/// A running peer; ends when dropped.
pub trait Client {
    /// Where it listens.
    fn addr(&self) -> SocketAddr;

    /// Adds a torrent whose files are in `folder`, all or none, and starts it.
    fn add(&mut self, torrent: &Torrent, folder: &Path);

    /// Adds a torrent by its magnet link, to be downloaded to `folder`, and starts it; false where that can't be asked.
    fn add_magnet(&mut self, _link: &str, _torrent: &Torrent, _folder: &Path) -> bool {
        false
    }

    /// Whether it has checked or downloaded everything.
    fn is_complete(&mut self, torrent: &Torrent) -> bool;

    /// Whether so many bytes of the torrent are there and checked; yes of a client that doesn't say.
    fn has(&mut self, _torrent: &Torrent, _bytes: u64) -> bool {
        true
    }

    /// Whether its node of the DHT has found its place among others; yes of a client that doesn't say.
    fn is_in_dht(&mut self) -> bool {
        true
    }

    /// Gives a torrent a label; false where there is no such thing.
    fn label(&mut self, _torrent: &Torrent, _label: &str) -> bool {
        false
    }

    /// Gives a file of a torrent another path, in the same folder; false where there is no such thing.
    fn rename(&mut self, _torrent: &Torrent, _from: &str, _to: &str) -> bool {
        false
    }

    /// Has a torrent seeded to a ratio of its own, or with 0 whatever its ratio; false where there is no such thing.
    fn goal(&mut self, _torrent: &Torrent, _ratio: f64) -> bool {
        false
    }

    /// Ends it as its service would, and gives the folder of its session; `None` if it keeps none.
    fn end(&mut self) -> Option<PathBuf> {
        None
    }
}

impl Kind {
    /// What to run, as far as it is there.
    fn program(self) -> Option<PathBuf> {
        match self {
            Kind::Libtorrent => libtorrent::python(),
            Kind::Transmission => in_path("transmission-daemon"),
            Kind::Aria2 => in_path("aria2c"),
            Kind::Rtorrent => in_path("rtorrent"),
            Kind::Qbittorrent | Kind::QbittorrentSqlite => in_path("qbittorrent-nox"),
            Kind::Deluge => in_path("deluged"),
            Kind::Rqbit => in_path("rqbit"),
        }
    }

    /// Starts the peer on `ip`, without encryption. `None`, said loudly, where it isn't installed.
    pub fn start(self, test: &str, ip: IpAddr) -> Option<Box<dyn Client>> {
        self.start_with(test, ip, Encryption::Off)
    }

    /// Starts the peer on `ip`. `None`, said loudly, where it isn't installed.
    pub fn start_with(self, test: &str, ip: IpAddr, encryption: Encryption) -> Option<Box<dyn Client>> {
        self.start_as(test, ip, Manner::with(encryption))
    }

    /// Starts the peer on `ip`. `None`, said loudly, where it isn't installed.
    pub fn start_as(self, test: &str, ip: IpAddr, manner: Manner<'_>) -> Option<Box<dyn Client>> {
        let Some(program) = self.program() else {
            skip(test, &format!("{self:?} not found: install it ({HOW})"));
            return None;
        };
        Some(match self {
            Kind::Libtorrent => Box::new(libtorrent::Libtorrent::start(&program, ip, manner)),
            Kind::Transmission => Box::new(transmission::Transmission::start(&program, ip, manner)),
            Kind::Aria2 => Box::new(aria2::Aria2::start(&program, ip, manner.encryption)),
            Kind::Rtorrent => Box::new(rtorrent::Rtorrent::start(&program, ip, manner)),
            Kind::Qbittorrent => Box::new(qbittorrent::Qbittorrent::start(&program, ip, "Legacy", manner)),
            Kind::QbittorrentSqlite => {
                Box::new(qbittorrent::Qbittorrent::start(&program, ip, "SQLite", manner))
            }
            Kind::Deluge => Box::new(deluge::Deluge::start(&program, ip, manner.encryption)),
            Kind::Rqbit => Box::new(rqbit::Rqbit::start(&program, ip, manner)),
        })
    }
}

/// Waits until the peer has the whole torrent.
#[track_caller]
pub fn wait_complete(peer: &mut dyn Client, torrent: &Torrent) {
    until(&format!("the peer has all of {}", torrent.name), TRANSFER, || {
        peer.is_complete(torrent).then_some(())
    });
}

pub(crate) fn in_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|program| program.is_file())
}

/// A folder for a peer's own files.
fn home(name: &str) -> tempfile::TempDir {
    tempfile::Builder::new().prefix(&format!("wgod-{name}-")).tempdir().unwrap()
}
