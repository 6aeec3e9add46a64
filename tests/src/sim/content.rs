//! A torrent as it should be: its metainfo and its bytes, made from a seed.
use std::path::PathBuf;
use std::sync::Arc;

use sha1::{Digest, Sha1};
use wgo_core::TorrentId;
use wgo_core::tracker::Tiers;
use wgo_proto::bencode::Encoder;
use wgo_proto::layout::Layout;
use wgo_proto::metainfo::{Info, Metainfo};
use wgo_proto::{FileIndex, InfoHashV1, InfoHashes, PieceIndex, WireHash};

/// A torrent's original.
pub struct Content {
    pub id: TorrentId,
    pub layout: Layout,
    pub info: Arc<Info>,
    /// Its `.torrent` file.
    pub raw: Vec<u8>,
    pub private: bool,
    /// It has two trackers, each in a tier of its own.
    pub two_trackers: bool,
    bytes: Vec<u8>,
    hashes: Vec<[u8; 20]>,
}

/// How a torrent is made.
#[derive(Clone)]
pub struct Shape {
    pub piece_len: u32,
    pub files: Vec<u64>,
}

impl Shape {
    /// One file of `pieces` pieces of `blocks` blocks each, less `short` bytes at the end.
    pub fn new(pieces: u64, blocks: u32, short: u64) -> Shape {
        let piece_len = blocks * wgo_proto::BLOCK_LEN;
        Shape { piece_len, files: vec![pieces * u64::from(piece_len) - short] }
    }
}

impl Content {
    pub fn new(id: TorrentId, shape: &Shape, seed: u64) -> Content {
        let mut bytes = vec![0; shape.files.iter().sum::<u64>() as usize];
        fastrand::Rng::with_seed(seed).fill(&mut bytes);
        let hashes: Vec<[u8; 20]> = bytes.chunks(shape.piece_len as usize).map(sha1_of).collect();
        let raw = metainfo(id, shape, &hashes);
        let info = Arc::new(Metainfo::parse(&raw).expect("a scenario's torrent is possible").info);
        let layout = info.layout.clone();
        Content { id, layout, info, raw, private: false, two_trackers: false, bytes, hashes }
    }

    pub fn piece(&self, piece: PieceIndex) -> &[u8] {
        let start = piece.0 as usize * self.layout.nominal_piece_len() as usize;
        &self.bytes[start..start + self.layout.piece_len(piece) as usize]
    }

    /// What the daemon knows: whether the bytes hash to what the metainfo says.
    pub fn is_good(&self, piece: PieceIndex, bytes: &[u8]) -> bool {
        sha1_of(bytes) == self.hashes[piece.0 as usize]
    }

    pub fn pieces(&self) -> impl Iterator<Item = PieceIndex> + use<> {
        (0..self.layout.piece_count()).map(PieceIndex)
    }

    /// The bytes of one file.
    pub fn file(&self, file: u32) -> &[u8] {
        let start = self.layout.file_start(FileIndex(file)) as usize;
        &self.bytes[start..start + self.layout.file_len(FileIndex(file)) as usize]
    }

    /// Where its files lie on a device, all of them in one folder.
    pub fn folder(&self, device: u64) -> PathBuf {
        format!("/{device}/downloads").into()
    }

    pub fn paths(&self, device: u64) -> Vec<PathBuf> {
        let folder = self.folder(device);
        self.info.files.iter().map(|file| folder.join(file.path.as_path())).collect()
    }

    pub fn hash(&self) -> WireHash {
        let mut hash = [0; 20];
        hash[..8].copy_from_slice(&(self.id.0 + 1).to_be_bytes());
        WireHash(hash)
    }

    pub fn info_hashes(&self) -> InfoHashes {
        InfoHashes { v1: Some(InfoHashV1(self.hash().0)), v2: None }
    }

    /// Its trackers, by tier.
    pub fn tiers(&self) -> Tiers {
        let url = |name: &str| vec![format!("http://{name}.sim/{}", self.id.0).into()];
        if self.two_trackers { [url("tracker"), url("other")].into() } else { [url("tracker")].into() }
    }
}

/// A v1 torrent in a folder of its own; every other file is in a folder in that.
fn metainfo(id: TorrentId, shape: &Shape, hashes: &[[u8; 20]]) -> Vec<u8> {
    let mut raw = Vec::new();
    Encoder::new(&mut raw).dict(|torrent| {
        torrent.entry("info").dict(|info| {
            info.entry("files").list(|files| {
                for (number, len) in shape.files.iter().enumerate() {
                    files.item().dict(|file| {
                        file.entry("length").int(*len as i64);
                        file.entry("path").list(|path| {
                            if number % 2 == 1 {
                                path.item().bytes(format!("folder {number}"));
                            }
                            path.item().bytes(format!("file {number}"));
                        });
                    });
                }
            });
            info.entry("name").bytes(format!("torrent {}", id.0));
            info.entry("piece length").int(shape.piece_len.into());
            info.entry("pieces").bytes(hashes.concat());
        });
    });
    raw
}

fn sha1_of(bytes: &[u8]) -> [u8; 20] {
    Sha1::digest(bytes).into()
}
