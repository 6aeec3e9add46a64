//! Sessions of qBittorrent 4.2 to 5: `BT_backup/HASH.torrent` and `HASH.fastresume`, libtorrent's resume data
//! with keys of its own. Since 4.4 it can keep the same in an SQLite file instead, `torrents.db`.
use std::path::{Path, PathBuf};

use wgo_api::torrent::FilePriority;
use wgo_proto::bencode::{self, Dict};

use super::found::{Found, Item, Items, Left, State, files_ending, is_set, texts};
use super::libtorrent;
use super::sqlite::{Record, Session};
use crate::failure::Failure;

/// The programs that may be using a session.
pub(super) const PROGRAMS: &[&str] = &["qbittorrent", "qbittorrent-nox"];

/// Where a session may be below the folder that was named: itself, the data folder, a profile.
const BELOW: &[&str] =
    &["", "BT_backup", "data/BT_backup", "qBittorrent/data/BT_backup", "qBittorrent/BT_backup"];
/// And the SQLite file.
const DATABASES: &[&str] =
    &["torrents.db", "data/torrents.db", "../torrents.db", "qBittorrent/data/torrents.db"];

/// Reads the session in `folder`.
pub(super) fn read(folder: &Path) -> Result<Items, Failure> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| Failure::File { path, source }
    };
    // A folder that can't be read at all is told as that.
    files_ending(folder, "fastresume").map_err(failed(folder))?;
    let mut places: Vec<PathBuf> = BELOW.iter().map(|below| folder.join(below)).collect();
    places.retain(|place| place.is_dir());
    for place in &places {
        let resumes = files_ending(place, "fastresume").map_err(failed(place))?;
        if !resumes.is_empty() {
            return Ok(Box::new(resumes.into_iter().map(|resume| one(&resume))));
        }
    }
    let mut databases = DATABASES.iter().map(|below| folder.join(below));
    let database = databases.find(|path| path.is_file());
    if let Some(path) = database {
        let session = Session::open(&path)?;
        let written = session.written;
        return Ok(Box::new(session.map(move |record| of_record(record, &path, written))));
    }
    let why = format!(
        "{}: no session of qBittorrent: neither *.fastresume nor torrents.db in it, or in BT_backup or data below it",
        folder.display()
    );
    Err(Failure::Usage(why))
}

fn one(resume: &Path) -> Item {
    let refuse = |why: String| Left { label: resume.display().to_string(), info_hash: None, why };
    let state = State::read(resume).map_err(refuse)?;
    let dict = state.dict().map_err(refuse)?;
    let torrent = resume.with_extension("torrent");
    if !torrent.exists() {
        return Err(Left::magnet(name_of(dict, resume)));
    }
    let mut found = Found::of_file(&torrent)?;
    libtorrent::fill(&mut found, dict, state.written, rank)?;
    own(&mut found, dict);
    Ok(found)
}

/// Its name as the user knows it.
fn name_of(dict: Dict<'_>, resume: &Path) -> String {
    let names = ["qBt-name", "name"].into_iter().filter_map(|key| dict.get(key)?.as_str());
    let name = names.into_iter().find(|name| !name.is_empty()).map(str::to_owned);
    name.unwrap_or_else(|| resume.display().to_string())
}

/// A torrent of the SQLite file.
fn of_record(record: Result<Record, String>, path: &Path, written: i64) -> Item {
    let refuse = |label: String, why: String| Left { label, info_hash: None, why };
    let record = record.map_err(|why| refuse(path.display().to_string(), why))?;
    let label = record.name.clone().unwrap_or_else(|| record.id.clone());
    let Some(torrent) = record.torrent else { return Err(Left::magnet(label)) };
    let mut found = Found::of_bytes(torrent).map_err(|why| refuse(label, why))?;
    let resume = record.resume.unwrap_or_default();
    let damaged = |why: String| found.left(format!("its resume data is damaged: {why}"));
    let dict = bencode::parse(&resume).map_err(|why| damaged(why.to_string()))?;
    let dict = dict.as_dict().ok_or_else(|| damaged("it is no dictionary".to_owned()))?;
    libtorrent::fill(&mut found, dict, written, rank)?;
    let tags = record.tags.unwrap_or_default();
    let tags = tags.split(',').map(str::trim).filter(|tag| !tag.is_empty());
    found.labels.extend(record.category);
    add_labels(&mut found, tags.map(str::to_owned));
    found.first_last = record.first_last;
    found.paused |= record.stopped;
    told(&mut found, record.name.as_deref(), record.ratio_limit, record.seeding_time_limit);
    Ok(found)
}

/// What qBittorrent adds to the resume data.
fn own(found: &mut Found, dict: Dict<'_>) {
    let text = |key: &str| dict.get(key).and_then(|value| value.as_str()).filter(|text| !text.is_empty());
    found.labels.extend(text("qBt-category").map(str::to_owned));
    add_labels(found, texts(dict, "qBt-tags"));
    found.first_last = is_set(dict, "qBt-firstLastPiecePriority");
    let limit = |key: &str| dict.int(key).unwrap_or(-1);
    told(found, text("qBt-name"), limit("qBt-ratioLimit"), limit("qBt-seedingTimeLimit"));
}

fn add_labels(found: &mut Found, labels: impl IntoIterator<Item = String>) {
    for label in labels {
        if !found.labels.contains(&label) {
            found.labels.push(label);
        }
    }
}

/// What is only told. A limit below 0 is none of the torrent's own.
fn told(found: &mut Found, name: Option<&str>, ratio: i64, seeding_time: i64) {
    if let Some(name) = name.filter(|name| *name != found.metainfo.info.name) {
        found.notes.push(format!("shown as {name:?} there: here by its own name"));
    }
    for (limit, what) in [(ratio, "ratio"), (seeding_time, "seeding time")] {
        if limit >= 0 {
            found.notes.push(format!("a seeding goal of its own ({what}): not taken over"));
        }
    }
}

/// 1 is normal, 6 high, 7 the highest; 4 is libtorrent's own "normal".
fn rank(priority: i64) -> FilePriority {
    match priority {
        ..=0 => FilePriority::Skip,
        1..=5 => FilePriority::Normal,
        6.. => FilePriority::High,
    }
}
