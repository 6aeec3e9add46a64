//! Sessions of qBittorrent 4.2 to 5: `BT_backup/HASH.torrent` and `HASH.fastresume`, libtorrent's resume data
//! with keys of its own. Since 4.4 it can keep the same in an SQLite file instead, `torrents.db`.
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use wgo_api::goals::AfterGoal;
use wgo_api::torrent::FilePriority;
use wgo_proto::bencode::{self, Dict};

use super::found::{self, Found, Goals, Item, Items, Left, State, absolute, files_ending, is_set, texts};
use super::libtorrent;
use super::sqlite::{Limits, Record, Session};
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
            let queue = queue(place);
            return Ok(Box::new(resumes.into_iter().map(move |resume| one(&resume, &queue))));
        }
    }
    let mut databases = DATABASES.iter().map(|below| folder.join(below));
    let database = databases.find(|path| path.is_file());
    if let Some(path) = database {
        let session = Session::open(&path)?;
        let written = session.written;
        let records = session.enumerate();
        return Ok(Box::new(records.map(move |(rank, record)| of_record(record, rank, &path, written))));
    }
    let why = format!(
        "{}: no session of qBittorrent: neither *.fastresume nor torrents.db in it, or in BT_backup or data below it",
        folder.display()
    );
    Err(Failure::Usage(why))
}

/// The places of torrents in the queue, which a file of their ids in a line each tells.
fn queue(folder: &Path) -> HashMap<String, u64> {
    let bytes = found::read(&folder.join("queue"), found::MAX_STATE).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    text.lines().map(|id| id.trim().to_owned()).zip(0..).collect()
}

fn one(resume: &Path, queue: &HashMap<String, u64>) -> Item {
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
    found.queued = resume.file_stem().and_then(|id| queue.get(id.to_str()?).copied());
    Ok(found)
}

/// Its name as the user knows it.
fn name_of(dict: Dict<'_>, resume: &Path) -> String {
    let names = ["qBt-name", "name"].into_iter().filter_map(|key| dict.get(key)?.as_str());
    let name = names.into_iter().find(|name| !name.is_empty()).map(str::to_owned);
    name.unwrap_or_else(|| resume.display().to_string())
}

/// A torrent of the SQLite file.
fn of_record(record: Result<Record, String>, rank_in_queue: usize, path: &Path, written: i64) -> Item {
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
    found.queued = Some(rank_in_queue as u64);
    rest(&mut found, record.name.as_deref(), record.save_path.as_deref(), &record.limits);
    Ok(found)
}

/// What qBittorrent adds to the resume data.
pub(super) fn own(found: &mut Found, dict: Dict<'_>) {
    let text = |key: &str| dict.get(key).and_then(|value| value.as_str()).filter(|text| !text.is_empty());
    found.labels.extend(text("qBt-category").map(str::to_owned));
    add_labels(found, texts(dict, "qBt-tags"));
    found.first_last = is_set(dict, "qBt-firstLastPiecePriority");
    // Before 4.2 the ratio itself, as text.
    let ratio = text("qBt-ratioLimit").and_then(|ratio| ratio.parse::<f64>().ok());
    let limits = Limits {
        ratio: ratio.map(|ratio| (ratio * 1000.0) as i64).or_else(|| dict.int("qBt-ratioLimit")),
        time: dict.int("qBt-seedingTimeLimit"),
        idle: dict.int("qBt-inactiveSeedingTimeLimit"),
        action: text("qBt-shareLimitAction").map(str::to_owned),
    };
    rest(found, text("qBt-name"), text("qBt-savePath"), &limits);
}

fn add_labels(found: &mut Found, labels: impl IntoIterator<Item = String>) {
    for label in labels {
        if !found.labels.contains(&label) {
            found.labels.push(label);
        }
    }
}

/// What is kept alike in both kinds of sessions.
fn rest(found: &mut Found, name: Option<&str>, save_path: Option<&str>, limits: &Limits) {
    if let Some(name) = name {
        found.called(name);
    }
    found.goals = goals(limits);
    match limits.action.as_deref() {
        Some("EnableSuperSeeding") if found.goals.is_any() => {
            found.notes.push("super-seeds from its seeding goal on: stops then".to_owned());
        }
        // Of all torrents' goals there, which aren't those of here.
        Some("Stop" | "Remove" | "RemoveWithContent") if !found.goals.is_any() => {
            found.goals.action = None;
            found.notes.push(
                "what happens at its seeding goal: not taken over, it has no goal of its own".to_owned(),
            );
        }
        _ => {}
    }
    // Until it is complete it may be in another folder.
    let last = save_path.and_then(|path| absolute(path.as_bytes())).filter(|path| *path != found.folder);
    found.known.final_folder = last.filter(|_| found.have.as_ref().is_some_and(|have| !have.is_full()));
}

fn goals(limits: &Limits) -> Goals {
    /// No ratio at all, in thousandths.
    const NO_RATIO: i64 = -1000;
    let minutes = |limit: Option<i64>| match limit {
        Some(-1) => Some(0),
        limit => u64::try_from(limit?).ok().map(Goals::secs),
    };
    let mut goals =
        Goals { time_secs: minutes(limits.time), idle_secs: minutes(limits.idle), ..Goals::default() };
    match limits.ratio {
        Some(NO_RATIO) => goals.ratio = Some(0.0),
        Some(thousandths @ 0..) => goals.set_ratio(thousandths as f64 / 1000.0),
        _ => {}
    }
    goals.action = match limits.action.as_deref() {
        Some("Stop" | "EnableSuperSeeding") => Some(AfterGoal::Stop),
        Some("Remove") => Some(AfterGoal::Remove),
        Some("RemoveWithContent") => Some(AfterGoal::RemoveWithFiles),
        _ => None,
    };
    goals
}

/// 1 is normal, 6 high, 7 the highest; 4 is libtorrent's own "normal".
pub(super) fn rank(priority: i64) -> FilePriority {
    match priority {
        ..=0 => FilePriority::Skip,
        1..=5 => FilePriority::Normal,
        6.. => FilePriority::High,
    }
}
