//! Makes v1 torrents of payloads (BEP 3, 12, 27).
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use sha1::{Digest, Sha1};
use wgo_proto::bencode::Encoder;
use wgo_proto::magnet::Magnet;
use wgo_proto::units::{InfoHashV1, InfoHashes, WireHash};

use crate::payload::Payload;

/// A torrent file and the hash that names it.
#[derive(Clone, Debug)]
pub struct Torrent {
    /// The file.
    pub bytes: Vec<u8>,
    /// Its info-hash.
    pub hash: WireHash,
    /// The torrent's name.
    pub name: String,
    /// Number of pieces.
    pub pieces: u32,
}

/// Gathers what goes into a torrent file.
#[derive(Clone, Debug)]
pub struct Maker<'a> {
    payload: &'a Payload,
    tiers: Vec<Vec<String>>,
    private: bool,
    nodes: Vec<SocketAddr>,
}

impl<'a> Maker<'a> {
    /// A torrent of `payload` without trackers.
    pub fn new(payload: &'a Payload) -> Self {
        Maker { payload, tiers: Vec::new(), private: false, nodes: Vec::new() }
    }

    /// Adds a tier of trackers (BEP 12).
    pub fn tier<S: Into<String>>(mut self, urls: impl IntoIterator<Item = S>) -> Self {
        self.tiers.push(urls.into_iter().map(Into::into).collect());
        self
    }

    /// Makes it private (BEP 27), which changes its info-hash.
    pub fn private(mut self) -> Self {
        self.private = true;
        self
    }

    /// Names nodes of the DHT (BEP 5).
    pub fn nodes(mut self, nodes: &[SocketAddr]) -> Self {
        self.nodes = nodes.to_vec();
        self
    }

    /// The torrent file.
    pub fn make(&self) -> Torrent {
        let info = self.info();
        let mut bytes = Vec::new();
        Encoder::new(&mut bytes).dict(|dict| {
            if let Some(first) = self.tiers.first().and_then(|tier| tier.first()) {
                dict.entry("announce").bytes(first);
                dict.entry("announce-list").list(|list| {
                    for tier in &self.tiers {
                        list.item().list(|urls| tier.iter().for_each(|url| urls.item().bytes(url)));
                    }
                });
            }
            dict.entry("created by").bytes("wgo-tests");
            dict.entry("info").raw(&info);
            if !self.nodes.is_empty() {
                dict.entry("nodes").list(|list| {
                    for node in &self.nodes {
                        list.item().list(|pair| {
                            pair.item().bytes(node.ip().to_string());
                            pair.item().int(node.port().into());
                        });
                    }
                });
            }
        });
        let pieces = self.payload.len().div_ceil(self.payload.piece_len as usize) as u32;
        Torrent { bytes, hash: WireHash(Sha1::digest(&info).into()), name: self.payload.name.clone(), pieces }
    }

    fn info(&self) -> Vec<u8> {
        let payload = self.payload;
        let stream = payload.stream();
        let hashes: Vec<u8> = stream
            .chunks(payload.piece_len as usize)
            .flat_map(|piece| <[u8; 20]>::from(Sha1::digest(piece)))
            .collect();
        let mut info = Vec::new();
        Encoder::new(&mut info).dict(|dict| {
            if payload.is_single() {
                dict.entry("length").int(payload.len() as i64);
            } else {
                dict.entry("files").list(|list| {
                    for (path, bytes) in &payload.files {
                        list.item().dict(|file| {
                            file.entry("length").int(bytes.len() as i64);
                            let inside = path.strip_prefix(&payload.name).unwrap();
                            let parts = inside.iter().map(|part| part.to_str().unwrap());
                            file.entry("path").list(|list| parts.for_each(|part| list.item().bytes(part)));
                        });
                    }
                });
            }
            dict.entry("name").bytes(&payload.name);
            dict.entry("piece length").int(payload.piece_len.into());
            dict.entry("pieces").bytes(&hashes);
            if self.private {
                dict.entry("private").int(1);
            }
        });
        info
    }
}

impl Torrent {
    /// A magnet link for it, with trackers and peers.
    pub fn magnet(&self, trackers: &[&str], peers: &[SocketAddr]) -> String {
        let hashes = InfoHashes { v1: Some(InfoHashV1(self.hash.0)), v2: None };
        let mut magnet = Magnet::new(hashes);
        magnet.name = Some(self.name.clone());
        magnet.trackers = trackers.iter().map(|url| (*url).to_owned()).collect();
        magnet.peers = peers.iter().map(|peer| peer.to_string().parse().unwrap()).collect();
        magnet.to_string()
    }

    /// Writes it into `folder` as `NAME.torrent`.
    pub fn save(&self, folder: &Path) -> PathBuf {
        let path = folder.join(format!("{}.torrent", self.name));
        std::fs::write(&path, &self.bytes).unwrap();
        path
    }

    /// Its info-hash in hexadecimal, as the API shows it.
    pub fn id(&self) -> String {
        self.hash.to_string()
    }
}
