//! The files of a watched folder that were dealt with and are still there, remembered over restarts: a torrent
//! that was removed must not come back because its file lies where it lay.
//!
//! One file of lines in the state directory for each folder, appended to and not synced: what a power cut loses
//! of it, the session still has as torrents, unless they were removed in the last seconds.
use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use sha1::{Digest, Sha1};

use super::folder::Stamp;

/// Where they lie in the state directory.
const DIR: &str = "watch";
/// Files that are remembered of a folder; beyond them the oldest are forgotten at the next start.
const REMEMBERED: usize = 100_000;
/// Bytes that are read of such a file, more than that many lines take.
const MAX_LEN: u64 = 16 << 20;

/// Files that were dealt with.
#[derive(Debug)]
pub(super) struct Kept {
    stamps: HashSet<Stamp>,
    path: PathBuf,
    /// `None`: it can't be written, which was said.
    file: Option<File>,
}

impl Kept {
    /// What is remembered of the folder.
    pub(super) fn load(state_dir: &Path, folder: &Path) -> Kept {
        let hash = Sha1::digest(folder.as_os_str().as_bytes());
        let name: String = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let path = state_dir.join(DIR).join(name);
        match open(&path) {
            Ok((stamps, file)) => Kept { stamps, path, file: Some(file) },
            Err(error) => {
                warn(&path, &error);
                Kept { stamps: HashSet::new(), path, file: None }
            }
        }
    }

    /// The files that were dealt with.
    pub(super) fn stamps(&self) -> &HashSet<Stamp> {
        &self.stamps
    }

    /// Remembers that the file was dealt with.
    pub(super) fn keep(&mut self, stamp: Stamp) {
        if !self.stamps.insert(stamp) {
            return;
        }
        if let Some(Err(error)) = self.file.as_mut().map(|file| file.write_all(line(&stamp).as_bytes())) {
            warn(&self.path, &error);
            self.file = None;
        }
    }
}

fn warn(path: &Path, error: &io::Error) {
    tracing::warn!(
        "{}: {error}; .torrent files that stay in watched folders may be added again at the next start",
        path.display()
    );
}

fn open(path: &Path) -> io::Result<(HashSet<Stamp>, File)> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    let mut text = Vec::new();
    match File::open(path) {
        Ok(file) => _ = file.take(MAX_LEN).read_to_end(&mut text)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    // A line that a crash cut short says nothing.
    let text = String::from_utf8_lossy(&text);
    let mut stamps: Vec<Stamp> = text.lines().filter_map(stamp).collect();
    if stamps.len() > REMEMBERED {
        stamps.drain(..stamps.len() - REMEMBERED);
        let fresh = path.with_extension("new");
        fs::write(&fresh, stamps.iter().map(line).collect::<String>())?;
        fs::rename(&fresh, path)?;
    }
    let mut file = OpenOptions::new().append(true).create(true).open(path)?;
    if !text.is_empty() && !text.ends_with('\n') {
        file.write_all(b"\n")?;
    }
    Ok((stamps.into_iter().collect(), file))
}

fn line(stamp: &Stamp) -> String {
    format!("{} {} {} {}\n", stamp.inode, stamp.len, stamp.secs, stamp.nanos)
}

fn stamp(line: &str) -> Option<Stamp> {
    let mut words = line.split(' ');
    let stamp = Stamp {
        inode: words.next()?.parse().ok()?,
        len: words.next()?.parse().ok()?,
        secs: words.next()?.parse().ok()?,
        nanos: words.next()?.parse().ok()?,
    };
    words.next().is_none().then_some(stamp)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(inode: u64) -> Stamp {
        Stamp { inode, len: 7, secs: -1, nanos: 999_999_999 }
    }

    fn only_file(dir: &Path) -> PathBuf {
        let mut entries = fs::read_dir(dir.join(DIR)).unwrap();
        let path = entries.next().unwrap().unwrap().path();
        assert!(entries.next().is_none());
        path
    }

    #[test]
    fn what_was_dealt_with_is_known_after_a_restart_whatever_a_crash_left() {
        let dir = tempfile::tempdir().unwrap();
        let load = || Kept::load(dir.path(), Path::new("/srv/w"));
        let mut kept = load();
        kept.keep(number(1));
        kept.keep(number(1));
        drop(kept);
        let file = only_file(dir.path());
        assert_eq!(fs::read_to_string(&file).unwrap(), "1 7 -1 999999999\n");
        fs::write(&file, [&fs::read(&file).unwrap()[..], b"2 7 -1 9999\n\xff\xfe\n3 7\n4 7 -1 99"].concat())
            .unwrap();
        let mut kept = load();
        assert!(kept.stamps().contains(&number(1)) && !kept.stamps().contains(&number(3)));
        kept.keep(number(5));
        drop(kept);
        assert!(load().stamps().contains(&number(5)), "it begins a line of its own");
        assert!(!Kept::load(dir.path(), Path::new("/srv/x")).stamps().contains(&number(1)), "another folder");
    }

    #[test]
    fn a_bounded_number_is_remembered_the_newest() {
        let dir = tempfile::tempdir().unwrap();
        drop(Kept::load(dir.path(), Path::new("/w")));
        let lines: String = (0..=REMEMBERED as u64).map(|inode| line(&number(inode))).collect();
        fs::write(only_file(dir.path()), lines).unwrap();
        let kept = Kept::load(dir.path(), Path::new("/w"));
        assert!(
            !kept.stamps().contains(&number(0))
                && kept.stamps().contains(&number(1))
                && kept.stamps().contains(&number(REMEMBERED as u64))
        );
        let text = fs::read_to_string(only_file(dir.path())).unwrap();
        assert_eq!(text.lines().count(), REMEMBERED);
    }

    #[test]
    fn one_that_cannot_be_kept_is_known_until_the_end_of_the_run() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(DIR), "in the way").unwrap();
        let mut kept = Kept::load(dir.path(), Path::new("/w"));
        kept.keep(number(1));
        assert!(kept.stamps().contains(&number(1)));
    }
}
