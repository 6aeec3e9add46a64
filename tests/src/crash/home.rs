//! Where a daemon under test lives: its folders, some of them on the disk that loses what wasn't synced.
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::disk::Disk;
use crate::binaries;
use crate::process::Process;

/// What happens to the power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Power {
    /// It stays on: the daemon alone is killed.
    On,
    /// State and payload are on a disk of which it is cut.
    CutsAll,
    /// Payload alone is.
    CutsPayload,
    /// State alone is.
    CutsState,
    /// It stays on, and operations of the disk fail.
    Faults,
}

impl Power {
    /// Whether there is a disk of ours.
    pub(super) fn has_disk(self) -> bool {
        self != Power::On
    }

    /// Whether it is cut.
    pub(super) fn is_cut(self) -> bool {
        matches!(self, Power::CutsAll | Power::CutsPayload | Power::CutsState)
    }
}

/// A folder on another file system, where there is one.
const MEMORY: &str = "/dev/shm";
/// Levels at which nothing may be logged in a run without faults.
const BAD: [&str; 2] = [" ERROR ", "panicked at"];

/// What the daemon logs when it does so, with the number behind it.
const HASHED: &str = "hashing what the last checkpoint does not cover pieces=";
/// Before the info-hash of the torrent that a line is about, and its digits.
const NAMED: &str = "info_hash=";
const HASH_DIGITS: usize = 40;
/// Bytes of an entry of the log of stored pieces; torrent and piece are the first of them.
const LOG_ENTRY: usize = 20;
const LOG_PIECE: usize = 12;

/// The folders.
#[derive(Debug)]
pub(super) struct Home {
    // Before the folder that it is mounted in.
    pub(super) disk: Option<Disk>,
    dir: TempDir,
    other: Option<TempDir>,
    pub(super) folders: Vec<PathBuf>,
    /// Files of nobody, and what is in them.
    pub(super) canaries: Vec<(PathBuf, Vec<u8>)>,
    log_seen: u64,
    state: PathBuf,
    /// Pieces that the log of stored ones named before this run of the daemon.
    suspects: usize,
}

impl Home {
    /// Makes the folders, and the configuration of a daemon at `ip` that fetches `down` bytes/s.
    pub(super) fn new(power: Power, ip: IpAddr, down: u64) -> Home {
        let dir = tempfile::Builder::new().prefix("wgod-crash-").tempdir().unwrap();
        let mount = dir.path().join("disk");
        fs::create_dir(&mount).unwrap();
        let disk = power.has_disk().then(|| Disk::mount(&mount).unwrap());
        let home = dir.path();
        let on_disk = |on: bool| if on { mount.as_path() } else { home };
        let payload = on_disk(power.has_disk() && power != Power::CutsState).to_owned();
        let state = on_disk(power.has_disk() && power != Power::CutsPayload).join("state");
        let other = tempfile::Builder::new().prefix("wgod-crash-").tempdir_in(MEMORY).ok();
        let mut folders = vec![payload.join("a")];
        folders.push(other.as_ref().map_or_else(|| home.join("c"), |other| other.path().join("c")));
        let mut canaries = Vec::new();
        for folder in &folders {
            // One beside the torrents, and one in the folder of one.
            for path in [folder.join("nobody's"), folder.join("few/nobody's")] {
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                let content = path.to_string_lossy().into_owned().into_bytes();
                fs::write(&path, &content).unwrap();
                sync(&path);
                canaries.push((path, content));
            }
            sync(folder);
            sync(&folder.join("few"));
            sync(folder.parent().unwrap());
        }
        // One that the daemon makes.
        folders.push(payload.join("new/b"));
        let config = format!(
            "[daemon]\nsocket = \"{home}/s\"\nstate_dir = \"{state}\"\nlog = \"info\"\n[storage]\nfolder = \"{folder}\"\n\
            [network]\nip = [\"{ip}\"]\nport = 0\n[discovery]\ndht = false\nlsd = false\n[limits]\ndown = \"{down} B/s\"\n",
            home = home.display(),
            state = state.display(),
            folder = folders[0].display(),
        );
        fs::write(home.join("wgod.toml"), config).unwrap();
        Home { disk, dir, other, folders, canaries, log_seen: 0, state, suspects: 0 }
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.dir.path().join("s")
    }

    /// Starts the daemon.
    pub(super) fn launch(&mut self) -> Process {
        let (home, log) = (self.dir.path(), self.dir.path().join("log"));
        self.suspects = logged(&self.state);
        self.log_seen = fs::metadata(&log).map_or(0, |meta| meta.len());
        Process::spawn("wgod", &binaries::wgod(), &log, |command| {
            command.arg("--config").arg(home.join("wgod.toml")).env("HOME", home);
        })
    }

    /// What this run of the daemon logged.
    pub(super) fn log(&self) -> String {
        let mut text = String::new();
        if let Ok(mut file) = File::open(self.dir.path().join("log")) {
            file.seek(SeekFrom::Start(self.log_seen)).unwrap();
            file.read_to_string(&mut text).unwrap();
        }
        text
    }

    /// # Panics
    /// When this run of the daemon logged an error.
    pub(super) fn assert_no_error(&self) {
        let log = self.log();
        let bad = log.lines().find(|line| BAD.iter().any(|bad| line.contains(bad)));
        assert!(bad.is_none(), "the daemon logged an error: {bad:?}");
    }

    /// # Panics
    /// When this run of the daemon hashed more than the pieces that were stored after the last checkpoint, in torrents
    /// other than those of the info-hashes `but`.
    pub(super) fn assert_hashed_little(&self, but: &BTreeSet<String>) {
        let log = self.log();
        // One that is interrupted says so again when it goes on.
        let mut of_each: BTreeMap<&str, usize> = BTreeMap::new();
        for line in log.lines() {
            let Some((before, pieces)) = line.split_once(HASHED) else { continue };
            let torrent =
                before.split_once(NAMED).map_or("", |(_, rest)| rest.get(..HASH_DIGITS).unwrap_or(rest));
            if but.contains(torrent) {
                continue;
            }
            let most = of_each.entry(torrent).or_default();
            *most = pieces.trim().parse().map_or(*most, |pieces: usize| pieces.max(*most));
        }
        let (hashed, suspects) = (of_each.values().sum::<usize>(), self.suspects);
        assert!(
            hashed <= suspects,
            "{hashed} pieces were hashed, and the log of stored ones names {suspects}"
        );
    }

    /// Keeps the folders, with `report` in them; where they are.
    pub(super) fn keep(&mut self, report: &str) -> PathBuf {
        let at = self.dir.path().to_owned();
        // A disk in memory ends with this process.
        if self.disk.is_some() {
            copy(&at.join("disk"), &at.join("disk-copy"));
        }
        fs::write(at.join("plan"), report).unwrap();
        self.dir.disable_cleanup(true);
        if let Some(other) = &mut self.other {
            other.disable_cleanup(true);
        }
        at
    }
}

/// Pieces that the log of stored ones in a state directory names.
fn logged(state: &Path) -> usize {
    let log = fs::read(state.join("stored.log")).unwrap_or_default();
    let pieces: BTreeSet<&[u8]> = log.chunks_exact(LOG_ENTRY).map(|entry| &entry[..LOG_PIECE]).collect();
    pieces.len()
}

/// Makes a file or folder of the test's own durable.
fn sync(path: &Path) {
    OpenOptions::new().read(true).open(path).unwrap().sync_all().unwrap();
}

fn copy(from: &Path, to: &Path) {
    let _ = fs::create_dir_all(to);
    for entry in fs::read_dir(from).into_iter().flatten().flatten() {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        match from.is_dir() {
            true => copy(&from, &to),
            false => drop(fs::copy(&from, &to)),
        }
    }
}
