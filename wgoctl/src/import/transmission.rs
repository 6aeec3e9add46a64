//! Sessions of Transmission 2.8 to 4: `torrents/*.torrent` with `resume/*.resume` of the same stem. Keys are
//! written with `-` up to 4.0, some with `_` since; both are read.
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use wgo_api::params::Known;
use wgo_api::torrent::FilePriority;
use wgo_proto::bencode::{Dict, Value};
use wgo_proto::layout::Layout;
use wgo_proto::{BLOCK_LEN, Bitfield, PieceIndex};

use super::found::{
    Found, Goals, Item, Items, Left, State, absolute, count, files_ending, is_set, texts, time,
};
use crate::failure::Failure;

/// The programs that may be using a session.
pub(super) const PROGRAMS: &[&str] =
    &["transmission-daemon", "transmission-gtk", "transmission-qt", "transmission-cli", "transmission"];

/// Reads the session in `folder`.
pub(super) fn read(folder: &Path) -> Result<Items, Failure> {
    let torrents = folder.join("torrents");
    if folder.is_dir() && !torrents.exists() {
        let why = format!("{}: no session of Transmission: no torrents/ and resume/ in it", folder.display());
        return Err(Failure::Usage(why));
    }
    let failed = |source| Failure::File { path: torrents.clone(), source };
    let files = files_ending(&torrents, "torrent").map_err(failed)?;
    let magnets = files_ending(&torrents, "magnet").map_err(failed)?;
    let folder = folder.to_owned();
    let magnets = magnets.into_iter().map(|path| Err(Left::magnet(stem(&path))));
    Ok(Box::new(files.into_iter().map(move |path| one(&folder, &path)).chain(magnets)))
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or(OsStr::new("")).to_string_lossy().into_owned()
}

fn one(folder: &Path, torrent: &Path) -> Item {
    let mut found = Found::of_file(torrent)?;
    let mut resume: PathBuf = folder.join("resume").join(torrent.file_stem().unwrap_or_default());
    resume.as_mut_os_string().push(".resume");
    let state = State::read(&resume).map_err(|why| found.left(why))?;
    let dict = state.dict().map_err(|why| found.left(why))?;
    fill(&mut found, dict, state.written)?;
    Ok(found)
}

/// A dictionary whose keys are spelt in one of two ways.
#[derive(Clone, Copy)]
struct Keys<'a>(Dict<'a>);

impl<'a> Keys<'a> {
    /// The spelling of `key` that is there.
    fn key(self, key: &str) -> String {
        let other = key.replace('-', "_");
        if self.0.get(key).is_none() && self.0.get(&other).is_some() { other } else { key.to_owned() }
    }

    fn get(self, key: &str) -> Option<Value<'a>> {
        self.0.get(self.key(key))
    }

    fn count(self, key: &str) -> u64 {
        count(self.0, &self.key(key)).unwrap_or(0)
    }

    fn time(self, key: &str) -> Option<u64> {
        time(self.0, &self.key(key))
    }

    fn dict(self, key: &str) -> Option<Keys<'a>> {
        self.get(key)?.as_dict().map(Keys)
    }

    fn ints(self, key: &str) -> Vec<i64> {
        let list = self.get(key).and_then(|value| value.as_list());
        list.into_iter().flat_map(|list| list.iter()).map(|value| value.as_int().unwrap_or(0)).collect()
    }
}

/// Takes what the client wrote; `written` is when, in Unix seconds.
///
/// # Errors
/// Says what keeps the torrent from being taken over.
pub(super) fn fill(found: &mut Found, resume: Dict<'_>, written: i64) -> Result<(), Left> {
    let keys = Keys(resume);
    let place = |key| keys.get(key).and_then(|value| value.as_bytes()).and_then(absolute);
    let Some(folder) = place("destination") else {
        return Err(found.left("its state names no absolute folder (`destination`)"));
    };
    found.folder = folder;
    // Empty where a file has its maker's name.
    let paths = keys.get("files").and_then(|files| files.as_list());
    for (file, path) in paths.iter().flat_map(|paths| paths.iter()).enumerate().take(found.files()) {
        if let Some(path) = path.as_bytes().filter(|path| !path.is_empty()) {
            found.rename(file, path)?;
        }
    }
    found.incomplete = place("incomplete-dir");
    found.labels = texts(keys.0, &keys.key("labels"));
    found.paused = is_set(keys.0, &keys.key("paused"));
    found.sequential = is_set(keys.0, &keys.key("sequential-download"));
    found.suffix = Some(".part");
    let limit = |key: &str, notes: &mut Vec<String>| {
        let limit = keys.dict(key)?;
        if keys.get(key).is_some() && limit.get("use-global-speed-limit").and_then(|v| v.as_int()) == Some(0)
        {
            notes.push("exempt from global limits: here those count for all".to_owned());
        }
        let on = limit.get("use-speed-limit")?.as_int()? != 0;
        // Older ones wrote KB/s under another key.
        let rate = match limit.count("speed-Bps") {
            0 => limit.count("speed").saturating_mul(1000),
            rate => rate,
        };
        (on && rate > 0).then_some(rate)
    };
    let mut notes = Vec::new();
    let (up_limit, down_limit) = (limit("speed-limit-up", &mut notes), limit("speed-limit-down", &mut notes));
    notes.dedup();
    found.goals = goals(keys);
    found.notes.append(&mut notes);
    found.known = Known {
        uploaded_bytes: keys.count("uploaded"),
        downloaded_bytes: keys.count("downloaded"),
        seeding_secs: keys.count("seeding-time-seconds"),
        active_secs: keys
            .count("downloading-time-seconds")
            .saturating_add(keys.count("seeding-time-seconds")),
        added_at: keys.time("added-date"),
        completed_at: keys.time("done-date"),
        up_limit,
        down_limit,
        priorities: priorities(keys, found.files()),
        as_of: Some(written),
        ..Known::default()
    };
    if let Some(name) = keys.get("name").and_then(|name| name.as_str()) {
        found.called(name);
    }
    let Some(progress) = keys.dict("progress") else {
        found.notes.push("its state does not say what it had".to_owned());
        return Ok(());
    };
    found.have = pieces(progress, &found.metainfo.info.layout);
    let mtimes = progress.ints("mtimes");
    if mtimes.len() == found.files() {
        found.known.modified = mtimes.into_iter().map(|time| (time > 0).then_some(time)).collect();
    }
    Ok(())
}

/// Seeding goals of its own.
fn goals(keys: Keys<'_>) -> Goals {
    /// As all torrents, the torrent's own, none.
    const OWN: i64 = 1;
    const NONE: i64 = 2;
    let of = |key: &str, mode: &str| {
        let goal = keys.dict(key)?;
        Some((goal, goal.get(mode)?.as_int()?))
    };
    let mut goals = Goals::default();
    match of("idle-limit", "idle-mode") {
        Some((goal, OWN)) => goals.idle_secs = Some(Goals::secs(goal.count("idle-limit"))),
        Some((_, NONE)) => goals.idle_secs = Some(0),
        _ => {}
    }
    match of("ratio-limit", "ratio-mode") {
        // Bencode has no fractions: it is text.
        Some((goal, OWN)) => {
            let ratio = goal.get("ratio-limit").and_then(|ratio| ratio.as_str()?.trim().parse().ok());
            ratio.into_iter().for_each(|ratio| goals.set_ratio(ratio));
        }
        Some((_, NONE)) => goals.ratio = Some(0.0),
        _ => {}
    }
    goals
}

fn priorities(keys: Keys<'_>, files: usize) -> Vec<FilePriority> {
    let (unwanted, ranks) = (keys.ints("dnd"), keys.ints("priority"));
    let of = |file: usize| match (unwanted.get(file), ranks.get(file)) {
        (Some(1), _) => FilePriority::Skip,
        (_, Some(rank)) if *rank < 0 => FilePriority::Low,
        (_, Some(rank)) if *rank > 0 => FilePriority::High,
        _ => FilePriority::Normal,
    };
    (0..files).map(of).collect()
}

/// The pieces of which all blocks are there. `None` if its form isn't known.
fn pieces(progress: Keys<'_>, layout: &Layout) -> Option<Bitfield> {
    let count = layout.piece_count();
    if progress.get("have").and_then(|have| have.as_bytes()) == Some(b"all") {
        return Some(Bitfield::full(count));
    }
    let blocks = progress.get("blocks")?.as_bytes()?;
    match blocks {
        b"all" => return Some(Bitfield::full(count)),
        b"none" => return Some(Bitfield::new(count)),
        _ => {}
    }
    let (block, blocks) = blocks_of(layout, blocks)?;
    let mut have = Bitfield::new(count);
    for piece in 0..count {
        let start = u64::from(piece) * u64::from(layout.nominal_piece_len());
        let end = start + u64::from(layout.piece_len(PieceIndex(piece)));
        let range = start / block..end.div_ceil(block);
        if range.into_iter().all(|block| u32::try_from(block).is_ok_and(|block| blocks.get(block))) {
            have.set(piece);
        }
    }
    Some(have)
}

/// The length of blocks, and which are there. Version 4 has blocks of 16 KiB; earlier ones halved the length of
/// pieces until it was at most that. Which it was is seen by the length of the bitmap.
fn blocks_of(layout: &Layout, bitmap: &[u8]) -> Option<(u64, Bitfield)> {
    let mut halved = layout.nominal_piece_len();
    while halved > BLOCK_LEN {
        halved /= 2;
    }
    [BLOCK_LEN, halved].into_iter().find_map(|len| {
        let count = layout.total_len().div_ceil(u64::from(len));
        let blocks = Bitfield::from_wire(bitmap, u32::try_from(count).ok()?).ok()?;
        Some((u64::from(len), blocks))
    })
}
