//! Torrents with made-up payload, and a storage to put them in.
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc;

use sha1::{Digest, Sha1};
use wgo_core::TorrentId;
use wgo_proto::bencode::Encoder;
use wgo_proto::metainfo::{Info, Metainfo};
use wgo_proto::{Block, FileIndex, PieceIndex};

use crate::files::*;

/// One file of a made-up torrent: path, length, `attr`, and a symlink's target.
#[derive(Clone, Debug)]
pub(super) struct Made {
    pub(super) path: String,
    pub(super) len: usize,
    pub(super) attr: &'static str,
    pub(super) target: &'static str,
}

pub(super) fn file(path: &str, len: usize) -> Made {
    Made { path: path.into(), len, attr: "", target: "" }
}

pub(super) fn pad(len: usize) -> Made {
    Made { attr: "p", ..file(&format!(".pad/{len}"), len) }
}

/// A v1 torrent and its payload.
pub(super) struct Torrent {
    pub(super) info: Arc<Info>,
    pub(super) payload: Vec<u8>,
}

/// Bytes that repeat nowhere.
pub(super) fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut x = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        (x >> 32) as u8
    };
    (0..len).map(|_| next()).collect()
}

pub(super) fn multi(name: &str, piece_len: usize, files: &[Made]) -> Torrent {
    let mut payload = Vec::new();
    for (n, made) in (1..).zip(files) {
        let bytes = if made.attr == "p" { vec![0; made.len] } else { noise(made.len, n) };
        payload.extend(bytes);
    }
    let pieces: Vec<u8> = payload.chunks(piece_len).flat_map(|piece| Sha1::digest(piece).to_vec()).collect();
    let mut out = Vec::new();
    Encoder::new(&mut out).dict(|info| {
        info.entry("files").list(|list| {
            for made in files {
                list.item().dict(|file| {
                    if !made.attr.is_empty() {
                        file.entry("attr").bytes(made.attr);
                    }
                    file.entry("length").int(made.len as i64);
                    file.entry("path").list(|path| path_of(path, &made.path));
                    if !made.target.is_empty() {
                        file.entry("symlink path").list(|path| path_of(path, made.target));
                    }
                });
            }
        });
        info.entry("name").bytes(name);
        info.entry("piece length").int(piece_len as i64);
        info.entry("pieces").bytes(&pieces);
    });
    Torrent { info: Arc::new(Metainfo::from_info(&out).unwrap().info), payload }
}

fn path_of(list: &mut wgo_proto::bencode::ListEncoder<'_>, path: &str) {
    path.split('/').for_each(|name| list.item().bytes(name));
}

impl Torrent {
    pub(super) fn piece(&self, piece: u32) -> &[u8] {
        let start = piece as usize * self.info.layout.nominal_piece_len() as usize;
        &self.payload[start..start + self.info.layout.piece_len(PieceIndex(piece)) as usize]
    }

    pub(super) fn blocks(&self, pool: &BufPool, piece: u32) -> Vec<Option<BlockBuf>> {
        let fill = |bytes: &[u8]| {
            let mut buf = pool.take().unwrap();
            buf.append(bytes);
            Some(buf)
        };
        self.piece(piece).chunks(BlockBuf::CAPACITY).map(fill).collect()
    }

    /// What each file must hold on disk; `None` for padding.
    pub(super) fn content(&self) -> Vec<(PathBuf, Option<&[u8]>)> {
        let mut at = 0;
        let files = self.info.files.iter();
        files
            .map(|file| {
                let bytes = &self.payload[at..at + file.len as usize];
                at += bytes.len();
                (file.path.as_path().to_owned(), (!file.pad).then_some(bytes))
            })
            .collect()
    }
}

/// A storage and a folder.
pub(super) struct Rig {
    pub(super) dir: tempfile::TempDir,
    pub(super) storage: Storage,
    pub(super) next_id: std::cell::Cell<u64>,
    pub(super) preallocate: Preallocate,
}

impl Rig {
    pub(super) fn new() -> Rig {
        Rig::with(Arc::new(RealDisk), tempfile::tempdir().unwrap(), StorageLimits::default())
    }

    pub(super) fn with(disk: Arc<dyn Disk>, dir: tempfile::TempDir, limits: StorageLimits) -> Rig {
        let storage = Storage::new(disk, limits);
        Rig { dir, storage, next_id: 1.into(), preallocate: Preallocate::Sparse }
    }

    pub(super) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Does a job on this thread.
    pub(super) fn ask<T: Unfinished + Send + 'static>(&self, job: impl FnOnce(Done<T>) -> Job) -> T {
        let (tx, rx) = mpsc::channel();
        self.storage.run_here(job(Done::new(move |outcome| tx.send(outcome).unwrap())));
        rx.try_recv().expect("the job ended with a call")
    }

    pub(super) fn try_open(&self, torrent: &Torrent, writes: bool) -> Result<Arc<TorrentFiles>, OpenError> {
        let id = TorrentId(self.next_id.replace(self.next_id.get() + 1));
        let (folder, preallocate) = (self.path().to_owned(), self.preallocate);
        let spec =
            TorrentSpec { id, info: torrent.info.clone(), folder, writes, preallocate, names: Vec::new() };
        self.ask(|done| Job::Open { spec, done })
    }

    pub(super) fn open(&self, torrent: &Torrent) -> Arc<TorrentFiles> {
        self.try_open(torrent, true).unwrap()
    }

    pub(super) fn prepare(&self, files: &Arc<TorrentFiles>) {
        self.ask(|done| Job::Prepare { torrent: files.clone(), done }).unwrap();
    }

    pub(super) fn store(&self, files: &Arc<TorrentFiles>, torrent: &Torrent, piece: u32) -> StoreOutcome {
        let blocks = torrent.blocks(self.storage.pool(), piece);
        self.store_blocks(files, piece, blocks)
    }

    pub(super) fn store_blocks(
        &self,
        files: &Arc<TorrentFiles>,
        piece: u32,
        blocks: Vec<Option<BlockBuf>>,
    ) -> StoreOutcome {
        let (torrent, piece) = (files.clone(), PieceIndex(piece));
        self.ask(|done| Job::Store { torrent, piece, blocks, witness: None, done })
    }

    pub(super) fn store_all(&self, files: &Arc<TorrentFiles>, torrent: &Torrent) {
        for piece in 0..torrent.info.layout.piece_count() {
            assert_eq!(self.store(files, torrent, piece), StoreOutcome::Stored, "piece {piece}");
        }
    }

    pub(super) fn read(&self, files: &Arc<TorrentFiles>, blocks: &[Block]) -> ReadOutcome {
        let (torrent, blocks) = (files.clone(), blocks.to_vec());
        self.ask(|done| Job::Read { torrent, blocks, out: Vec::new(), done })
    }

    pub(super) fn sync(&self, files: &Arc<TorrentFiles>, seal: bool) -> SyncOutcome {
        self.ask(|done| Job::Sync { torrent: files.clone(), have: None, seal, done })
    }

    pub(super) fn close(&self, files: &Arc<TorrentFiles>) -> SyncOutcome {
        self.ask(|done| Job::Close { torrent: files.clone(), done })
    }

    pub(super) fn remove(&self, files: &Arc<TorrentFiles>) -> RemoveOutcome {
        self.ask(|done| Job::Remove { torrent: files.clone(), kept: Default::default(), done })
    }

    /// The content of a file in the folder.
    pub(super) fn content(&self, path: impl AsRef<Path>) -> Vec<u8> {
        let path = self.path().join(path);
        std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }

    pub(super) fn assert_on_disk(&self, torrent: &Torrent) {
        for (path, bytes) in torrent.content() {
            match bytes {
                Some(bytes) => assert!(self.content(&path) == bytes, "{}", path.display()),
                None => assert!(!self.path().join(&path).exists(), "padding on disk: {}", path.display()),
            }
        }
    }
}

/// The payload of blocks that were read as for the wire.
pub(super) fn payload(blocks: &[Block], wire: &[u8]) -> Vec<u8> {
    assert_eq!(wire.len(), wire_len(blocks));
    let mut rest = wire;
    let mut out = Vec::new();
    for block in blocks {
        out.extend(&rest[HEADER_LEN..HEADER_LEN + block.len as usize]);
        rest = &rest[HEADER_LEN + block.len as usize..];
    }
    out
}

pub(super) fn stamps(outcome: &SyncOutcome) -> Vec<(FileIndex, u64)> {
    outcome.stamps.iter().map(|stamp| (stamp.file, stamp.len)).collect()
}
