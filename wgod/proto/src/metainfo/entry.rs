//! One file of a torrent, and what v1 and v2 file entries have in common (BEP 3, BEP 47).
use super::{MAX_PATHS_LEN, MetainfoError};
use crate::bencode::{Kind, Value};
use crate::merkle::Hash;
use crate::path::{PathError, SafePath};

/// One file, as it is to lie on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileEntry {
    /// Where, relative to the download folder; begins with the torrent's name if it has several files.
    /// Distinct from every other file's path, and no folder of another file.
    pub path: SafePath,
    /// Bytes.
    pub len: u64,
    /// Zero bytes between two files, never stored on disk (BEP 47).
    pub pad: bool,
    /// To be made executable.
    pub executable: bool,
    /// Hidden on systems that have such an attribute.
    pub hidden: bool,
    /// For a symbolic link, which has no bytes: its target, relative to the download folder. It lies
    /// inside the torrent but need not exist.
    pub symlink: Option<SafePath>,
    /// Time of last modification, in Unix seconds.
    pub mtime: Option<i64>,
    /// SHA-1 of the file's content: a hint for finding equal files, never a check (BEP 47).
    pub sha1: Option<[u8; 20]>,
    /// Root of the file's Merkle tree, for a v2 file with data (BEP 52).
    pub pieces_root: Option<Hash>,
}

/// The keys of a file entry that v1 and v2 share.
pub(super) struct Properties<'a> {
    pub(super) attr: Option<Value<'a>>,
    pub(super) length: Option<Value<'a>>,
    pub(super) mtime: Option<Value<'a>>,
    pub(super) sha1: Option<Value<'a>>,
    pub(super) symlink_path: Option<Value<'a>>,
    /// Where the entry begins.
    pub(super) at: usize,
}

/// What the files' paths begin with, and how much they may still cost: a short torrent must not become
/// long in memory because its files share a long folder.
pub(super) struct Paths<'a> {
    folder: Option<&'a [u8]>,
    left: usize,
}

impl<'a> Paths<'a> {
    /// `folder` is the torrent's name if its files lie in a folder of that name.
    pub(super) fn in_folder(folder: Option<&'a [u8]>) -> Self {
        Paths { folder, left: MAX_PATHS_LEN }
    }

    pub(super) fn path(&mut self, components: &[&[u8]], at: usize) -> Result<SafePath, MetainfoError> {
        if components.is_empty() {
            return Err(MetainfoError::Path { error: PathError::Empty, at });
        }
        let all = self.folder.iter().chain(components);
        let path = SafePath::sanitise(all).map_err(|error| MetainfoError::Path { error, at })?;
        self.left = self.left.checked_sub(path.as_str().len()).ok_or(MetainfoError::PathsTooLong)?;
        Ok(path)
    }

    /// The target of a link: unlike a file's path it is refused where it would have to be bent, because it
    /// says where it wants to go.
    fn target(&mut self, link: &SafePath, value: Value<'_>) -> Result<Option<SafePath>, MetainfoError> {
        let at = value.span().start;
        let key = "symlink path";
        let components = strings(key, value)?;
        if components.is_empty() {
            return Ok(None);
        }
        let leaves = |name: &&[u8]| matches!(*name, b"" | b"." | b"..") || name.contains(&b'/');
        if components.iter().any(leaves) {
            let reason = "leads out of the torrent";
            return Err(MetainfoError::Symlink { path: link.to_string(), reason });
        }
        self.path(&components, at).map(Some)
    }
}

/// The strings of a list of strings, such as a path.
pub(super) fn strings<'a>(key: &'static str, value: Value<'a>) -> Result<Vec<&'a [u8]>, MetainfoError> {
    let wrong = |at| MetainfoError::Invalid { key, at, expected: "a list of strings" };
    let list = value.as_list().ok_or(wrong(value.span().start))?;
    list.iter().map(|item| item.as_bytes().ok_or(wrong(item.span().start))).collect()
}

/// The bytes of a string.
pub(super) fn string<'a>(key: &'static str, value: Value<'a>) -> Result<&'a [u8], MetainfoError> {
    let at = value.span().start;
    value.as_bytes().ok_or(MetainfoError::Invalid { key, at, expected: "a string" })
}

impl Properties<'_> {
    /// Whether `attr` has a flag; unknown flags are no fault.
    pub(super) fn has(&self, flag: u8) -> bool {
        self.attr.and_then(|attr| attr.as_bytes()).is_some_and(|attr| attr.contains(&flag))
    }

    pub(super) fn len(&self) -> Result<u64, MetainfoError> {
        let key = "length";
        let value = self.length.ok_or(MetainfoError::Missing { key, at: self.at })?;
        let expected = "a number of bytes, 0 or more";
        let wrong = MetainfoError::Invalid { key, at: value.span().start, expected };
        value.as_int().and_then(|len| u64::try_from(len).ok()).ok_or(wrong)
    }

    /// The entry at `path`, without what only v1 or v2 has.
    pub(super) fn entry(&self, path: SafePath, paths: &mut Paths<'_>) -> Result<FileEntry, MetainfoError> {
        let target = self.symlink_path.filter(|_| self.has(b'l'));
        let symlink = match target {
            Some(target) => paths.target(&path, target)?,
            None => None,
        };
        let len = match (&symlink, self.length) {
            (Some(_), None) => 0,
            _ => self.len()?,
        };
        if symlink.is_some() && len != 0 {
            let reason = "claims to have data (its `length` is not 0)";
            return Err(MetainfoError::Symlink { path: path.to_string(), reason });
        }
        Ok(FileEntry {
            path,
            len,
            pad: false,
            executable: self.has(b'x'),
            hidden: self.has(b'h'),
            symlink,
            mtime: self.mtime.filter(|value| value.kind() == Kind::Int).and_then(|value| value.as_int()),
            sha1: self.sha1.and_then(|value| value.as_bytes()).and_then(|hash| hash.try_into().ok()),
            pieces_root: None,
        })
    }
}
