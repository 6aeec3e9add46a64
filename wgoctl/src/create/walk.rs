//! What is in a folder, as it becomes a torrent: every regular file, hidden ones too, and what links lead to.
//!
//! Links are followed, to files and to folders, as libtorrent, mktorrent and Transmission do; one that leads
//! nowhere, a device, a socket or a pipe is skipped, and told of. A name that no client could use as it is
//! (not UTF-8, or with characters that clients replace) is refused: nobody would find the file again.
use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, accessat};
use wgo_proto::metainfo::draft::NewFile;
use wgo_proto::path::{MAX_COMPONENTS, SafePath};

use super::exclude::Excludes;
use crate::failure::Failure;

/// Execution by the owner: what BEP 47's attribute stands for.
const EXECUTABLE: u32 = 0o100;

/// A file as it was when it was found. It must still be so when all is hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    pub(super) len: u64,
    modified: (i64, i64),
}

/// A file of the torrent.
#[derive(Debug)]
pub(super) struct Found {
    /// Where it is.
    pub(super) path: PathBuf,
    pub(super) stamp: Stamp,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) found: Vec<Found>,
    /// The same files, as the torrent has them.
    pub(super) files: Vec<NewFile>,
    /// What has been left out without being asked to, and why.
    pub(super) skipped: Vec<(PathBuf, &'static str)>,
}

/// What is to be listed, and how.
pub(super) struct Walk<'a> {
    pub(super) exclude: &'a Excludes<'a>,
    /// Record who may be executed.
    pub(super) attributes: bool,
    /// The torrent file of an earlier run, which is to be replaced: never a part of itself.
    pub(super) output: Option<Stamp>,
}

/// A folder inside a folder.
struct Level<'l> {
    above: Option<&'l Level<'l>>,
    device: u64,
    inode: u64,
    depth: usize,
}

impl Stamp {
    pub(super) fn of(meta: &Metadata) -> Stamp {
        Stamp {
            device: meta.dev(),
            inode: meta.ino(),
            len: meta.len(),
            modified: (meta.mtime(), meta.mtime_nsec()),
        }
    }

    pub(super) fn device(&self) -> u64 {
        self.device
    }

    /// Whether it is the same file, changed or not.
    fn is_file(&self, other: &Stamp) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }
}

impl Walk<'_> {
    /// Lists what is at `root`, which becomes a torrent called `name`.
    pub(super) fn list(&self, root: &Path, name: &str) -> Result<Listing, Failure> {
        let mut listing = Listing::default();
        let meta = fs::metadata(root).map_err(|source| Failure::File { path: root.to_owned(), source })?;
        if meta.is_dir() {
            let level = Level { above: None, device: meta.dev(), inode: meta.ino(), depth: 1 };
            self.folder(root, "", &level, &mut listing)?;
        } else if let Some(what) = odd_kind(&meta) {
            return Err(Failure::Unfit {
                path: root.to_owned(),
                why: format!("is {what}, neither a file nor a folder"),
            });
        } else {
            self.file(root.to_owned(), name, &meta, &mut listing)?;
        }
        Ok(listing)
    }

    fn folder(
        &self,
        folder: &Path,
        below: &str,
        level: &Level<'_>,
        listing: &mut Listing,
    ) -> Result<(), Failure> {
        let failed = |source| Failure::File { path: folder.to_owned(), source };
        let entries = fs::read_dir(folder).map_err(failed)?.collect::<Result<Vec<_>, io::Error>>();
        // In an order of their own, so that of two faults the same is told each time.
        let mut names: Vec<_> = entries.map_err(failed)?.into_iter().map(|entry| entry.file_name()).collect();
        names.sort_unstable();
        for name in names {
            self.entry(folder, below, &name, level, listing)?;
        }
        Ok(())
    }

    fn entry(
        &self,
        folder: &Path,
        below: &str,
        name: &OsStr,
        level: &Level<'_>,
        listing: &mut Listing,
    ) -> Result<(), Failure> {
        let path = folder.join(name);
        let lossy = format!("{below}{}", name.to_string_lossy());
        if self.exclude.has(&lossy) {
            return Ok(());
        }
        let meta = match fs::metadata(&path) {
            Ok(meta) => meta,
            Err(_) if path.is_symlink() => {
                listing.skipped.push((path, "a link that leads nowhere"));
                return Ok(());
            }
            Err(source) => return Err(Failure::File { path, source }),
        };
        if let Some(what) = odd_kind(&meta) {
            listing.skipped.push((path, what));
            return Ok(());
        }
        let Some(name) = name.to_str() else {
            let why =
                "its name is not UTF-8, as names in torrents are; rename it, or leave it out with --exclude";
            return Err(Failure::Unfit { path, why: why.to_owned() });
        };
        let inside = format!("{below}{name}");
        if !meta.is_dir() {
            return self.file(path, &inside, &meta, listing);
        }
        if level.depth == MAX_COMPONENTS {
            let why = format!("lies deeper than {MAX_COMPONENTS} folders; a torrent has no room for that");
            return Err(Failure::Unfit { path, why });
        }
        let next =
            Level { above: Some(level), device: meta.dev(), inode: meta.ino(), depth: level.depth + 1 };
        if next.is_a_loop() {
            let why = "is a link to a folder that it lies in; leave it out with --exclude".to_owned();
            return Err(Failure::Unfit { path, why });
        }
        self.folder(&path, &format!("{inside}/"), &next, listing)
    }

    fn file(
        &self,
        path: PathBuf,
        inside: &str,
        meta: &Metadata,
        listing: &mut Listing,
    ) -> Result<(), Failure> {
        let stamp = Stamp::of(meta);
        if self.output.is_some_and(|output| output.is_file(&stamp)) {
            listing.skipped.push((path, "the torrent file itself"));
            return Ok(());
        }
        let Ok(name) = SafePath::exact(inside) else {
            let why = "clients would store it under another name: it is too long, or has a \\, a control character \
                       or a mark that changes the direction of text; rename it, or leave it out with --exclude";
            return Err(Failure::Unfit { path, why: why.to_owned() });
        };
        // Told now, not after an hour of hashing.
        if let Err(errno) = accessat(CWD, &path, Access::READ_OK, AtFlags::EACCESS) {
            return Err(Failure::File { path, source: errno.into() });
        }
        let executable = self.attributes && meta.mode() & EXECUTABLE != 0;
        listing.files.push(NewFile { path: name, len: stamp.len, executable });
        listing.found.push(Found { path, stamp });
        Ok(())
    }
}

impl Level<'_> {
    fn is_a_loop(&self) -> bool {
        let mut above = self.above;
        while let Some(level) = above {
            if (level.device, level.inode) == (self.device, self.inode) {
                return true;
            }
            above = level.above;
        }
        false
    }
}

/// What no torrent can have.
fn odd_kind(meta: &Metadata) -> Option<&'static str> {
    let kind = meta.file_type();
    match () {
        () if kind.is_file() || kind.is_dir() => None,
        () if kind.is_fifo() => Some("a pipe"),
        () if kind.is_socket() => Some("a socket"),
        () => Some("a device"),
    }
}
