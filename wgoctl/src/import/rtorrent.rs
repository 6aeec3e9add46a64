//! Sessions of rTorrent: `HASH.torrent`, and beside it `HASH.torrent.rtorrent`, its settings, and
//! `HASH.torrent.libtorrent_resume`, what it had.
use std::path::{Path, PathBuf};

use wgo_api::params::Known;
use wgo_api::torrent::FilePriority;
use wgo_proto::Bitfield;
use wgo_proto::bencode::Dict;
use wgo_proto::path::SafePath;

use super::found::{Found, Item, Items, Left, State, absolute, count, files_ending, is_set, time};
use crate::failure::Failure;

/// The programs that may be using a session.
pub(super) const PROGRAMS: &[&str] = &["rtorrent", "rtorrent main"];

/// Reads the session in `folder`, the one that `session.path` names.
pub(super) fn read(folder: &Path) -> Result<Items, Failure> {
    let failed = |source| Failure::File { path: folder.to_owned(), source };
    Ok(Box::new(files_ending(folder, "torrent").map_err(failed)?.into_iter().map(|path| one(&path))))
}

fn beside(torrent: &Path, ending: &str) -> PathBuf {
    let mut path = torrent.to_owned();
    path.as_mut_os_string().push(ending);
    path
}

fn one(torrent: &Path) -> Item {
    let mut found = Found::of_file(torrent)?;
    let settings = State::read(&beside(torrent, ".rtorrent")).map_err(|why| found.left(why))?;
    let resume = State::read(&beside(torrent, ".libtorrent_resume")).map_err(|why| found.left(why))?;
    let dicts = settings.dict().and_then(|settings| Ok((settings, resume.dict()?)));
    let (settings, progress) = dicts.map_err(|why| found.left(why))?;
    fill(&mut found, settings)?;
    take_progress(&mut found, progress, resume.written, booted());
    found.known.trackers = trackers(&found, progress);
    if is_set(settings, "hashing") {
        // What the resume file says was not true any more, or not yet.
        found.have = None;
        found.notes.push("was being hashed when rTorrent ended".to_owned());
    }
    Ok(found)
}

/// When the machine was started, in Unix seconds.
fn booted() -> Option<i64> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok())
}

/// Takes the settings that rTorrent wrote.
///
/// # Errors
/// Says what keeps the torrent from being taken over.
pub(super) fn fill(found: &mut Found, settings: Dict<'_>) -> Result<(), Left> {
    let Some(folder) = settings.bytes("directory").and_then(absolute) else {
        return Err(found.left("its state names no absolute folder (`directory`)"));
    };
    let info = &found.metainfo.info;
    // Of several files it names the torrent's own folder, which may be called otherwise.
    let has_folder = info.files.iter().any(|file| file.path.as_str() != info.name);
    match (has_folder, folder.file_name(), folder.parent()) {
        (true, Some(name), Some(parent)) if name == info.name.as_str() => found.folder = parent.to_owned(),
        (true, ..) => {
            found.folder = folder;
            let inside = |path: &SafePath| path.as_str().split_once('/').map(|(_, rest)| rest.to_owned());
            let paths: Vec<_> = info.files.iter().map(|file| inside(&file.path)).collect();
            for (file, path) in paths.iter().enumerate() {
                path.iter().try_for_each(|path| found.rename(file, path.as_bytes()))?;
            }
        }
        (false, ..) => found.folder = folder,
    }
    found.paused = !is_set(settings, "state");
    let label = settings.get("custom1").and_then(|value| value.as_str()).unwrap_or_default();
    // ruTorrent keeps its label there, encoded as in a URL.
    let label = decoded(label);
    if !label.is_empty() {
        found.labels.push(label);
    }
    // ruTorrent's: the session says that there is one, not what its goal is.
    let views = settings.get("views").and_then(|views| views.as_list());
    if views.is_some_and(|views| {
        views.iter().any(|view| view.as_bytes().is_some_and(|view| view.starts_with(b"rat_")))
    }) {
        found
            .notes
            .push("in a ratio group of ruTorrent: give it its goal with `wgoctl set --ratio`".to_owned());
    }
    if settings.bytes("throttle_name").is_some_and(|name| !name.is_empty()) {
        found.notes.push("its throttle: not taken over; set limits with `wgoctl limit`".to_owned());
    }
    let custom = settings.get("custom").and_then(|value| value.as_dict());
    let added = custom.and_then(|custom| custom.get("addtime")?.as_str()?.trim().parse::<u64>().ok());
    found.known = Known {
        uploaded_bytes: count(settings, "total_uploaded").unwrap_or(0),
        downloaded_bytes: count(settings, "total_downloaded").unwrap_or(0),
        added_at: added.or_else(|| time(settings, "timestamp.started")),
        completed_at: time(settings, "timestamp.finished"),
        ..Known::default()
    };
    Ok(())
}

/// `%20` and the like resolved; what is no such escape stays.
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::new(), 0);
    while let Some(byte) = bytes.get(at) {
        let hex = bytes.get(at + 1..at + 3).and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.filter(|_| *byte == b'%').and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(escaped) => {
                out.push(escaped);
                at += 3;
            }
            None => {
                out.push(*byte);
                at += 1;
            }
        }
    }
    String::from_utf8(out).unwrap_or_else(|_| text.to_owned())
}

/// Takes what it had; `booted` is when the machine was started, in Unix seconds.
pub(super) fn take_progress(found: &mut Found, resume: Dict<'_>, written: i64, booted: Option<i64>) {
    found.have = pieces(found, resume);
    // Written, and perhaps not on disk yet when it ended: the system sees to that unless it went down since.
    let uncertain = resume.bytes("uncertain_pieces").is_some_and(|pieces| !pieces.is_empty());
    if uncertain && booted.is_none_or(|booted| written <= booted) {
        found.have = None;
        found.notes.push("the machine went down before all of it was on disk".to_owned());
    }
    let Some(files) = resume.get("files").and_then(|value| value.as_list()) else { return };
    let (mut modified, mut priorities) = (Vec::new(), Vec::new());
    for file in files.iter().take(found.files()) {
        let dict = file.as_dict();
        // Below 1: rTorrent itself would look at the file again.
        modified
            .push(dict.and_then(|file| file.int("mtime")).map(|time| if time > 0 { time } else { i64::MIN }));
        priorities.push(match dict.and_then(|file| file.int("priority")) {
            Some(..=0) => FilePriority::Skip,
            Some(2..) => FilePriority::High,
            Some(1) | None => FilePriority::Normal,
        });
    }
    if modified.len() == found.files() {
        found.known.modified = modified;
        found.known.priorities = priorities;
    }
    found.known.as_of = Some(written);
}

/// The trackers, if a person changed them: those that were switched off go, those that were added come.
pub(super) fn trackers(found: &Found, resume: Dict<'_>) -> Option<Vec<Vec<String>>> {
    let known = resume.get("trackers")?.as_dict()?;
    let is_off = |url: &String| known.get(url).and_then(|state| state.as_dict()?.int("enabled")) == Some(0);
    let mut tiers = found.metainfo.tiers.clone();
    tiers.iter_mut().for_each(|tier| tier.retain(|url| !is_off(url)));
    for (url, state) in known.iter() {
        let Some((url, state)) = std::str::from_utf8(url).ok().zip(state.as_dict()) else { continue };
        if is_set(state, "extra_tracker") && is_set(state, "enabled") && !url.starts_with("dht:") {
            tiers.push(vec![url.to_owned()]);
        }
    }
    tiers.retain(|tier| !tier.is_empty());
    (tiers != found.metainfo.tiers).then_some(tiers)
}

/// A bitmap, or for all and none the number of pieces that are there.
fn pieces(found: &Found, resume: Dict<'_>) -> Option<Bitfield> {
    let count = found.pieces();
    let value = resume.get("bitfield")?;
    match (value.as_int(), value.as_bytes()) {
        (Some(0), _) => Some(Bitfield::new(count)),
        (Some(number), _) if number == i64::from(count) => Some(Bitfield::full(count)),
        (_, Some(bits)) => Bitfield::from_wire(bits, count).ok(),
        _ => None,
    }
}
