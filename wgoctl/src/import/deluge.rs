//! Sessions of Deluge 1.3 and 2: `state/ID.torrent`, `state/torrents.fastresume`, which is libtorrent's resume
//! data of all torrents in one dictionary, and `label.conf` of its label plugin.
//!
//! `torrents.state` is not read: it is a Python pickle, a program to be run, and what it says beyond the resume
//! data has no place here.
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use wgo_api::torrent::FilePriority;
use wgo_proto::bencode;

use super::found::{self, Found, Item, Items, State, files_ending};
use super::libtorrent;
use crate::failure::Failure;

/// The programs that may be using a session.
pub(super) const PROGRAMS: &[&str] = &["deluged", "deluge", "deluge-gtk"];

/// Bytes of `label.conf`.
const MAX_LABELS: u64 = 32 << 20;

/// Reads the session in `folder`, Deluge's configuration folder or `state` in it.
pub(super) fn read(folder: &Path) -> Result<Items, Failure> {
    let below = folder.join("state");
    let (config, state) = match below.is_dir() {
        true => (folder, below.as_path()),
        false => (folder.parent().unwrap_or(folder), folder),
    };
    let failed = |source| Failure::File { path: state.to_owned(), source };
    let torrents = files_ending(state, "torrent").map_err(failed)?;
    let resume = state.join("torrents.fastresume");
    if torrents.is_empty() && !resume.exists() {
        let why = format!("{}: no session of Deluge: no state/torrents.fastresume in it", folder.display());
        return Err(Failure::Usage(why));
    }
    let resumes = State::read(&resume).map_err(Failure::Usage)?;
    let all = resumes.dict().map_err(Failure::Usage)?;
    let by_id: HashMap<Vec<u8>, Vec<u8>> =
        all.iter().filter_map(|(id, resume)| Some((id.to_vec(), resume.as_bytes()?.to_vec()))).collect();
    let written = resumes.written;
    let labels = labels(&config.join("label.conf"));
    let one = move |path: PathBuf| -> Item {
        let mut found = Found::of_file(&path)?;
        let id = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let Some(resume) = by_id.get(id.as_bytes()) else {
            return Err(found.left("torrents.fastresume says nothing of it"));
        };
        let resume =
            bencode::parse(resume).map_err(|why| found.left(format!("its resume data is damaged: {why}")))?;
        let Some(resume) = resume.as_dict() else {
            return Err(found.left("its resume data is no dictionary"));
        };
        libtorrent::fill(&mut found, resume, written, rank)?;
        found.labels.extend(labels.get(&id).cloned());
        Ok(found)
    };
    Ok(Box::new(torrents.into_iter().map(one)))
}

/// The label of each torrent. Deluge's configuration files are two JSON documents, the first of which says the
/// version of the second.
fn labels(path: &Path) -> HashMap<String, String> {
    #[derive(serde::Deserialize)]
    struct Labels {
        torrent_labels: HashMap<String, String>,
    }
    let Ok(text) = found::read(path, MAX_LABELS) else { return HashMap::new() };
    let documents = serde_json::Deserializer::from_slice(&text).into_iter::<serde_json::Value>();
    let labels =
        documents.take(2).filter_map(Result::ok).find_map(|value| serde_json::from_value(value).ok());
    labels.map_or_else(HashMap::new, |Labels { torrent_labels }| torrent_labels)
}

/// 1 is low, 4 normal, 7 high; up to 1.3 it was 1 normal, 2 high, 5 higher, 7 the highest.
fn rank(priority: i64) -> FilePriority {
    match priority {
        ..=0 => FilePriority::Skip,
        1 => FilePriority::Low,
        2..=4 => FilePriority::Normal,
        5.. => FilePriority::High,
    }
}
