//! What the sessions of other clients are read into, and what all readers share: bounded files, and bencode
//! that was vetted before anything looks into it.
use std::fs;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use wgo_api::goals::{AfterGoal, MAX_RATIO};
use wgo_api::params::Known;
use wgo_proto::Bitfield;
use wgo_proto::bencode::{self, Dict};
use wgo_proto::metainfo::Metainfo;

use super::names::{Names, Renamed};
use crate::sources::MAX_TORRENT;

/// Bytes of what a client keeps of one torrent: a bitmap, peers, a few settings.
pub(super) const MAX_STATE: u64 = 32 << 20;
/// Files of a session's folder that are looked at.
const MAX_ENTRIES: usize = 1_000_000;

/// A torrent of another client.
#[derive(Debug)]
pub(super) struct Found {
    /// The torrent file as it is sent on.
    pub(super) raw: Vec<u8>,
    pub(super) metainfo: Metainfo,
    /// Where its files are.
    pub(super) folder: PathBuf,
    /// Where they are instead if they aren't there, while it isn't complete.
    pub(super) incomplete: Option<PathBuf>,
    pub(super) labels: Vec<String>,
    pub(super) paused: bool,
    pub(super) sequential: bool,
    pub(super) first_last: bool,
    pub(super) goals: Goals,
    /// Its place in the client's queue.
    pub(super) queued: Option<u64>,
    /// Paths of its files that aren't their maker's.
    pub(super) names: Names,
    /// What came of them.
    pub(super) renamed: Vec<Renamed>,
    /// The pieces that it had; `None`: nobody says so.
    pub(super) have: Option<Bitfield>,
    /// The rest; its `have` is made of the above.
    pub(super) known: Known,
    /// What the client puts behind the names of files that aren't complete.
    pub(super) suffix: Option<&'static str>,
    /// What can't be taken over.
    pub(super) notes: Vec<String>,
}

/// Seeding goals of a torrent's own, as `add` takes them: 0 for one that it is exempt from.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Goals {
    pub(super) ratio: Option<f64>,
    pub(super) time_secs: Option<u64>,
    pub(super) idle_secs: Option<u64>,
    pub(super) action: Option<AfterGoal>,
}

impl Goals {
    /// Whether there is any that can be reached.
    pub(super) fn is_any(&self) -> bool {
        let (ratio, time, idle) = (self.ratio.unwrap_or(0.0), self.time_secs, self.idle_secs);
        ratio > 0.0 || [time, idle].into_iter().flatten().any(|secs| secs > 0)
    }

    /// A ratio; with 0 it is not to be seeded at all.
    pub(super) fn set_ratio(&mut self, ratio: f64) {
        match ratio > 0.0 {
            true => self.ratio = Some(ratio.min(MAX_RATIO)),
            false => self.time_secs = Some(1),
        }
    }

    /// Minutes of a goal in seconds; none means that it is reached at once.
    pub(super) fn secs(minutes: u64) -> u64 {
        minutes.saturating_mul(60).max(1)
    }
}

/// A torrent that can't be taken over.
#[derive(Debug)]
pub(super) struct Left {
    /// Its name, or the file that was to tell it.
    pub(super) label: String,
    pub(super) info_hash: Option<String>,
    pub(super) why: String,
}

impl Left {
    /// One of which nothing but a magnet link is known.
    pub(super) fn magnet(label: String) -> Left {
        let why =
            "only a magnet link so far: let the client fetch its metadata first, or add the link yourself";
        Left { label, info_hash: None, why: why.to_owned() }
    }
}

/// One torrent of a session.
pub(super) type Item = Result<Box<Found>, Left>;
/// The torrents of a session, read one at a time: each may have megabytes.
pub(super) type Items = Box<dyn Iterator<Item = Item>>;

impl Found {
    /// A torrent of which only the torrent file is known yet.
    ///
    /// # Errors
    /// Says what is wrong with the file.
    pub(super) fn of_file(path: &Path) -> Result<Box<Found>, Left> {
        let refuse = |why: String| Left { label: path.display().to_string(), info_hash: None, why };
        let raw = read(path, MAX_TORRENT).map_err(refuse)?;
        Found::of_bytes(raw).map_err(refuse)
    }

    pub(super) fn of_bytes(raw: Vec<u8>) -> Result<Box<Found>, String> {
        let metainfo = Metainfo::parse(&raw).map_err(|why| why.to_string())?;
        Ok(Box::new(Found {
            raw,
            metainfo,
            folder: PathBuf::new(),
            incomplete: None,
            labels: Vec::new(),
            paused: false,
            sequential: false,
            first_last: false,
            goals: Goals::default(),
            queued: None,
            names: Names::default(),
            renamed: Vec::new(),
            have: None,
            known: Known::default(),
            suffix: None,
            notes: Vec::new(),
        }))
    }

    /// Pieces of the torrent.
    pub(super) fn pieces(&self) -> u32 {
        self.metainfo.info.layout.piece_count()
    }

    /// Files of the torrent.
    pub(super) fn files(&self) -> usize {
        self.metainfo.info.files.len()
    }

    /// The torrent, given up.
    pub(super) fn left(&self, why: impl Into<String>) -> Left {
        Left {
            label: self.metainfo.info.name.clone(),
            info_hash: Some(self.metainfo.hashes.canonical().to_string()),
            why: why.into(),
        }
    }
}

/// Reads a file of at most `limit` bytes.
pub(super) fn read(path: &Path, limit: u64) -> Result<Vec<u8>, String> {
    let read = || -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        fs::File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    match read() {
        Err(error) => Err(format!("cannot read {}: {error}", path.display())),
        Ok(bytes) if bytes.len() as u64 > limit => {
            Err(format!("{} has more than {limit} bytes, too many for what it is to be", path.display()))
        }
        Ok(bytes) => Ok(bytes),
    }
}

/// What a client keeps of a torrent beside the torrent file, and when it wrote that, in Unix seconds.
pub(super) struct State {
    bytes: Vec<u8>,
    path: PathBuf,
    pub(super) written: i64,
}

impl State {
    pub(super) fn read(path: &Path) -> Result<State, String> {
        let written =
            fs::metadata(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        Ok(State { bytes: read(path, MAX_STATE)?, path: path.to_owned(), written: written.mtime() })
    }

    /// The dictionary that it is.
    pub(super) fn dict(&self) -> Result<Dict<'_>, String> {
        let value = bencode::parse(&self.bytes)
            .map_err(|why| format!("{} is damaged: {why}", self.path.display()))?;
        value
            .as_dict()
            .ok_or_else(|| format!("{} is not what the client writes: no dictionary", self.path.display()))
    }
}

/// The files of a folder that end in `.ending`, by name.
pub(super) fn files_ending(folder: &Path, ending: &str) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder)?.take(MAX_ENTRIES) {
        let path = entry?.path();
        if path.extension().is_some_and(|found| found == ending) && path.is_file() {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// The path that a string of bytes names; `None` for an empty or relative one.
pub(super) fn absolute(bytes: &[u8]) -> Option<PathBuf> {
    let path = Path::new(std::ffi::OsStr::from_bytes(bytes));
    path.is_absolute().then(|| path.to_owned())
}

/// The integer at `key`, if it is there and not negative.
pub(super) fn count(dict: Dict<'_>, key: &str) -> Option<u64> {
    dict.int(key).and_then(|number| u64::try_from(number).ok())
}

/// A time in Unix seconds; clients write 0 and less for "never".
pub(super) fn time(dict: Dict<'_>, key: &str) -> Option<u64> {
    count(dict, key).filter(|time| *time > 0)
}

/// Whether the integer at `key` is there and not 0.
pub(super) fn is_set(dict: Dict<'_>, key: &str) -> bool {
    dict.int(key).is_some_and(|number| number != 0)
}

/// The strings of a list; others are passed over.
pub(super) fn texts(dict: Dict<'_>, key: &str) -> Vec<String> {
    let list = dict.get(key).and_then(|value| value.as_list());
    let texts = list.into_iter().flat_map(|list| list.iter());
    texts.filter_map(|value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)).collect()
}
