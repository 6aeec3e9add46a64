//! Resume data of libtorrent, which qBittorrent and Deluge keep: a bencoded dictionary for each torrent.
use wgo_api::params::Known;
use wgo_api::torrent::FilePriority;
use wgo_proto::Bitfield;
use wgo_proto::bencode::Dict;

use super::found::{Found, Left, absolute, count, is_set, time};

/// How a client reads libtorrent's priorities of files, 0…7.
pub(super) type Rank = fn(i64) -> FilePriority;

/// Takes what libtorrent wrote; `written` is when, in Unix seconds.
///
/// # Errors
/// Says what keeps the torrent from being taken over.
pub(super) fn fill(found: &mut Found, resume: Dict<'_>, written: i64, rank: Rank) -> Result<(), Left> {
    let hashes = &found.metainfo.hashes;
    let hash = resume.bytes("info-hash").or_else(|| resume.bytes("info-hash2"));
    let v1 = hashes.v1.map(|hash| hash.0.to_vec());
    let v2 = hashes.v2.map(|hash| hash.0.to_vec());
    let is_ours = |hash: &[u8]| {
        v1.as_deref() == Some(hash)
            || v2.as_deref().is_some_and(|v2| v2 == hash || v2.get(..20) == Some(hash))
    };
    if hash.is_some_and(|hash| !is_ours(hash)) {
        return Err(found.left("its resume data is of another torrent"));
    }
    let Some(folder) = resume.bytes("save_path").and_then(absolute) else {
        return Err(found.left("its resume data names no absolute folder (`save_path`)"));
    };
    found.folder = folder;
    // Paused by the client's queue is not stopped by a person.
    found.paused = is_set(resume, "paused") && !is_set(resume, "auto_managed");
    found.sequential = is_set(resume, "sequential_download");
    mapped(found, resume)?;
    found.have = pieces(found, resume);
    let limit = |key: &str| count(resume, key).filter(|rate| *rate > 0);
    found.known = Known {
        uploaded_bytes: count(resume, "total_uploaded").unwrap_or(0),
        downloaded_bytes: count(resume, "total_downloaded").unwrap_or(0),
        active_secs: count(resume, "active_time").unwrap_or(0),
        seeding_secs: count(resume, "seeding_time").unwrap_or(0),
        added_at: time(resume, "added_time"),
        completed_at: time(resume, "completed_time"),
        up_limit: limit("upload_rate_limit"),
        down_limit: limit("download_rate_limit"),
        trackers: trackers(resume),
        priorities: priorities(found, resume, rank),
        as_of: Some(written),
        ..Known::default()
    };
    if is_set(resume, "super_seeding") {
        found.notes.push("super-seeding: not available".to_owned());
    }
    Ok(())
}

/// The paths that files have. The suffix of files that aren't complete is none of a rename.
fn mapped(found: &mut Found, resume: Dict<'_>) -> Result<(), Left> {
    /// qBittorrent's.
    const SUFFIX: &str = ".!qB";
    let Some(list) = resume.get("mapped_files").and_then(|value| value.as_list()) else { return Ok(()) };
    for (file, path) in list.iter().enumerate().take(found.files()) {
        let Some(entry) = found.metainfo.info.files.get(file) else { break };
        let (ours, mut theirs) = (entry.path.as_str().as_bytes(), path.as_bytes().unwrap_or_default());
        if theirs.is_empty() || theirs == ours || entry.pad {
            continue;
        }
        if let Some(complete) = theirs.strip_suffix(SUFFIX.as_bytes()) {
            found.suffix = Some(SUFFIX);
            theirs = complete;
        }
        if theirs != ours {
            found.rename(file, theirs)?;
        }
    }
    Ok(())
}

/// One byte for each piece, its lowest bit for one that is there.
fn pieces(found: &Found, resume: Dict<'_>) -> Option<Bitfield> {
    let count = found.pieces();
    let Some(bytes) = resume.bytes("pieces").filter(|bytes| !bytes.is_empty()) else {
        // A seed that was added as such.
        return is_set(resume, "seed_mode").then(|| Bitfield::full(count));
    };
    if bytes.len() != count as usize {
        return None;
    }
    let mut have = Bitfield::new(count);
    for (piece, byte) in (0..).zip(bytes) {
        if byte & 1 != 0 {
            have.set(piece);
        }
    }
    Some(have)
}

fn trackers(resume: Dict<'_>) -> Option<Vec<Vec<String>>> {
    let tiers = resume.get("trackers")?.as_list()?;
    let urls = |tier: wgo_proto::bencode::List<'_>| -> Vec<String> {
        tier.iter().filter_map(|url| url.as_str().map(str::to_owned)).collect()
    };
    Some(tiers.iter().filter_map(|tier| tier.as_list()).map(urls).collect())
}

fn priorities(found: &Found, resume: Dict<'_>, rank: Rank) -> Vec<FilePriority> {
    let Some(list) = resume.get("file_priority").and_then(|value| value.as_list()) else { return Vec::new() };
    let mut ranks = list.iter().map(|value| value.as_int().map_or(FilePriority::Normal, rank));
    // libtorrent leaves out those at the end that have the default.
    let files = found.metainfo.info.files.iter();
    files
        .map(|file| {
            let rank = ranks.next().unwrap_or(FilePriority::Normal);
            // Nobody wants padding, and libtorrent says so.
            if file.pad { FilePriority::Normal } else { rank }
        })
        .collect()
}
