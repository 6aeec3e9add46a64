//! Sessions of Deluge 1.3 and 2: `state/ID.torrent`, `state/torrents.fastresume`, which is libtorrent's resume
//! data of all torrents in one dictionary, `torrents.state`, a pickle with the options of each, and `label.conf` of
//! its label plugin.
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use wgo_api::goals::AfterGoal;
use wgo_api::torrent::FilePriority;
use wgo_proto::bencode;

use super::found::{self, Found, Item, Items, State, absolute, files_ending};
use super::libtorrent;
use super::pickle::{Node, Pickle};
use crate::failure::Failure;

/// The programs that may be using a session.
pub(super) const PROGRAMS: &[&str] = &["deluged", "deluge", "deluge-gtk"];

/// Bytes of `label.conf`.
const MAX_LABELS: u64 = 32 << 20;
/// Bytes of `torrents.state`: some 2000 for each torrent.
const MAX_OPTIONS: u64 = 256 << 20;

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
    let options = found::read(&state.join("torrents.state"), MAX_OPTIONS).ok();
    let options = options.and_then(|bytes| Pickle::parse(&bytes));
    let places = places(options.as_ref());
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
        let place = places.get(&id).copied();
        match options.as_ref().and_then(|options| options.root().get("torrents")?.item(place?)) {
            Some(options) => take_options(&mut found, options),
            None => found.notes.push("torrents.state says nothing of it: goals not taken over".to_owned()),
        }
        Ok(found)
    };
    Ok(Box::new(torrents.into_iter().map(one)))
}

/// Where in `torrents.state` each torrent is told of.
fn places(options: Option<&Pickle>) -> HashMap<String, usize> {
    let torrents = options.and_then(|options| options.root().get("torrents"));
    let torrents = torrents.into_iter().flat_map(Node::items).enumerate();
    torrents.filter_map(|(place, one)| Some((one.get("torrent_id")?.text()?.to_owned(), place))).collect()
}

/// What Deluge itself knows of a torrent, beyond libtorrent's resume data.
pub(super) fn take_options(found: &mut Found, options: Node<'_>) {
    let is_set = |key: &str| options.get(key).is_some_and(Node::is_true);
    let number = |key: &str| options.get(key).and_then(Node::number);
    let text = |key: &str| options.get(key).and_then(Node::text).filter(|text| !text.is_empty());
    found.paused |= is_set("paused");
    found.first_last |= is_set("prioritize_first_last");
    found.queued = number("queue").filter(|place| *place >= 0.0).map(|place| place as u64);
    if let Some(name) = text("name") {
        found.called(name);
    }
    if is_set("stop_at_ratio")
        && let Some(ratio) = number("stop_ratio")
    {
        found.goals.set_ratio(ratio);
        let removed = is_set("remove_at_ratio");
        found.goals.action = Some(if removed { AfterGoal::Remove } else { AfterGoal::Stop });
    }
    if is_set("move_completed") && found.have.as_ref().is_some_and(|have| !have.is_full()) {
        let last = text("move_completed_path").and_then(|path| absolute(path.as_bytes()));
        found.known.final_folder = last.filter(|path| *path != found.folder);
    }
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
pub(super) fn rank(priority: i64) -> FilePriority {
    match priority {
        ..=0 => FilePriority::Skip,
        1 => FilePriority::Low,
        2..=4 => FilePriority::Normal,
        5.. => FilePriority::High,
    }
}
