//! What is in a `.torrent` file, without a daemon.
use std::path::Path;

use serde::Serialize;
use wgo_api::result::{File, Tracker};
use wgo_proto::magnet::Magnet;
use wgo_proto::metainfo::Metainfo;

use crate::failure::Failure;

/// The torrent itself.
#[derive(Debug, Serialize)]
pub(crate) struct FileTorrent {
    pub(crate) info_hash: String,
    pub(crate) info_hash_v2: Option<String>,
    pub(crate) name: String,
    /// Without pad files: what it takes on disk.
    pub(crate) size_bytes: u64,
    pub(crate) piece_length: u32,
    pub(crate) pieces: u32,
    pub(crate) private: bool,
    pub(crate) comment: Option<String>,
    pub(crate) created_by: Option<String>,
    pub(crate) created_at: Option<i64>,
    pub(crate) source: Option<String>,
    pub(crate) web_seeds: Vec<String>,
    pub(crate) magnet: String,
}

/// The document of `show FILE.torrent`.
#[derive(Debug, Serialize)]
pub(crate) struct FileDocument {
    pub(crate) torrent: FileTorrent,
    pub(crate) files: Vec<FileEntry>,
    pub(crate) trackers: Vec<FileTracker>,
}

/// One file of it.
#[derive(Debug, Serialize)]
pub(crate) struct FileEntry {
    /// Sanitised, relative to the torrent's folder.
    pub(crate) path: String,
    pub(crate) size_bytes: u64,
    pub(crate) pad: bool,
}

/// One tracker of it.
#[derive(Debug, Serialize)]
pub(crate) struct FileTracker {
    pub(crate) url: String,
    pub(crate) tier: u32,
}

impl From<&FileEntry> for File {
    fn from(file: &FileEntry) -> File {
        File { path: file.path.clone(), size_bytes: file.size_bytes, pad: file.pad, ..File::default() }
    }
}

impl From<&FileTracker> for Tracker {
    fn from(tracker: &FileTracker) -> Tracker {
        Tracker { url: tracker.url.clone(), tier: tracker.tier, ..Tracker::default() }
    }
}

/// Reads and checks the file at `path`.
pub(crate) fn read(path: &Path) -> Result<FileDocument, Failure> {
    let bytes = std::fs::read(path).map_err(|source| Failure::File { path: path.to_owned(), source })?;
    let meta = Metainfo::parse(&bytes)
        .map_err(|error| Failure::BadTorrent { path: path.to_owned(), why: error.to_string() })?;
    Ok(document(meta))
}

/// What there is to say of a torrent.
pub(crate) fn document(meta: Metainfo) -> FileDocument {
    let mut magnet = Magnet::new(meta.hashes);
    magnet.name = Some(meta.info.name.clone());
    magnet.trackers = meta.tiers.iter().flatten().cloned().collect();
    let files = meta.info.files.iter().map(|file| FileEntry {
        path: file.path.as_str().to_owned(),
        size_bytes: file.len,
        pad: file.pad,
    });
    let size_bytes = meta.info.files.iter().filter(|file| !file.pad).map(|file| file.len).sum();
    let tiers = meta.tiers.iter().enumerate();
    let trackers = tiers.flat_map(|(tier, urls)| urls.iter().map(move |url| (tier as u32, url)));
    FileDocument {
        files: files.collect(),
        trackers: trackers.map(|(tier, url)| FileTracker { url: url.clone(), tier }).collect(),
        torrent: FileTorrent {
            info_hash: meta.hashes.canonical().to_string(),
            info_hash_v2: meta.hashes.v2.map(|hash| hash.to_string()),
            size_bytes,
            piece_length: meta.info.layout.nominal_piece_len(),
            pieces: meta.info.layout.piece_count(),
            private: meta.info.private,
            name: meta.info.name,
            comment: meta.comment,
            created_by: meta.created_by,
            created_at: meta.creation_date,
            source: meta.info.source,
            web_seeds: meta.web_seeds,
            magnet: magnet.to_string(),
        },
    }
}
