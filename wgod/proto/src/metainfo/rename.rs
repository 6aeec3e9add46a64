//! Other paths for a torrent's files than its maker gave them, which is an operator's wish: the files keep
//! their places in the pieces, and the info-hash knows nothing of it.
use std::collections::{HashMap, HashSet};

use super::{FileEntry, Info, MAX_PATHS_LEN};
use crate::path::{PathError, SafePath, first_clash};
use crate::units::FileIndex;

/// Why files can't have other paths.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RenameError {
    /// Nothing of the torrent has this path.
    #[error("the torrent has no file or folder “{path}”")]
    NoSuchPath {
        /// The path.
        path: SafePath,
    },
    /// What it is called on disk is not what it is called in the torrent.
    #[error(
        "“{path}” is what “{own}” is called until it is complete; give “{own}”, of which the suffix is no part"
    )]
    Suffixed {
        /// The path.
        path: SafePath,
        /// That of the file in the torrent.
        own: SafePath,
    },
    /// It has no file of this number.
    #[error("the torrent has no file {}", file.0)]
    NoSuchFile {
        /// The number.
        file: FileIndex,
    },
    /// It is not on disk.
    #[error("“{path}” is padding between files, which is on no disk")]
    Padding {
        /// The path.
        path: SafePath,
    },
    /// A file would have the path of another one, or that of a folder.
    #[error("“{path}” can't be the path of a file: “{other}” is another of the torrent's files")]
    Clash {
        /// A path that a file would get.
        path: SafePath,
        /// That of the other file.
        other: SafePath,
    },
    /// A file would have the name that another one has on disk until it is complete.
    #[error("“{path}” is the name that “{other}” has until it is complete; choose another one")]
    Reserved {
        /// A path that a file would get.
        path: SafePath,
        /// That of the other file.
        other: SafePath,
    },
    /// On the way a file would be where another one still is.
    #[error(
        "“{from}” can't become “{to}” in one step, since one of its files lies where another is to go; rename it to something else first, and that to “{to}”"
    )]
    Tangled {
        /// What was to be renamed.
        from: SafePath,
        /// Its new path.
        to: SafePath,
    },
    /// All files of a torrent that has several are in one folder.
    #[error(
        "“{to}” is outside of “{root}”, where all files of the torrent lie; give the whole new path, such as “{root}/{to}”"
    )]
    Outside {
        /// The new path.
        to: SafePath,
        /// The torrent's folder.
        root: String,
    },
    /// A file's new path can't be.
    #[error("the new path of “{path}” is impossible: {error}")]
    Path {
        /// Its present one.
        path: SafePath,
        /// Why.
        error: PathError,
    },
    /// All paths together take too much memory.
    #[error("the paths of all files together would have more than {MAX_PATHS_LEN} bytes")]
    TooLong,
}

/// Second names of files, of which some are to have other paths.
#[derive(Default)]
struct SecondNames<'a> {
    /// Of those, old and new ones.
    changing: Vec<SafePath>,
    /// Of the others, with their own.
    staying: HashMap<String, &'a SafePath>,
}

impl Info {
    /// The paths that files get when the file or folder `from` becomes `to`, by ascending number; none where
    /// nothing changes. Padding in a folder goes along.
    pub fn renamed(&self, from: &SafePath, to: &SafePath) -> Result<Vec<(FileIndex, SafePath)>, RenameError> {
        let concerned = |entry: &&FileEntry| entry.path == *from || entry.path.is_below(from);
        let mut found = self.files.iter().filter(concerned).peekable();
        if found.peek().is_none() {
            let path = from.clone();
            let files = (0..).map(FileIndex).zip(&self.files);
            let mut called = files.filter(|(file, _)| self.suffixed_path(*file).as_ref() == Some(from));
            return Err(match called.next() {
                Some((_, entry)) => RenameError::Suffixed { path, own: entry.path.clone() },
                None => RenameError::NoSuchPath { path },
            });
        }
        if found.all(|entry| entry.pad) {
            return Err(RenameError::Padding { path: from.clone() });
        }
        self.check_root(from, to)?;
        let mut paths = Vec::new();
        for (file, entry) in (0..).map(FileIndex).zip(&self.files).filter(|(_, entry)| concerned(entry)) {
            let rest = entry.path.as_str().strip_prefix(from.as_str()).unwrap_or_default();
            let path = SafePath::exact(&format!("{to}{rest}"));
            let path = path.map_err(|error| RenameError::Path { path: entry.path.clone(), error })?;
            if path != entry.path {
                paths.push((file, path));
            }
        }
        self.check_distinct(&paths)?;
        self.check_steps(from, to, &paths)?;
        Ok(paths)
    }

    /// The same content with other paths for some files. What links lead to follows.
    pub fn with_paths(&self, paths: &[(FileIndex, SafePath)]) -> Result<Info, RenameError> {
        let number = |file: &FileIndex| file.0 as usize;
        if let Some((file, _)) = paths.iter().find(|(file, _)| number(file) >= self.files.len()) {
            return Err(RenameError::NoSuchFile { file: *file });
        }
        self.check_distinct(paths)?;
        let mut info = self.clone();
        for (file, path) in paths {
            if let Some(entry) = info.files.get_mut(number(file)) {
                entry.path = path.clone();
            }
        }
        let has_links = info.files.iter().any(|entry| entry.symlink.is_some());
        if has_links && !paths.is_empty() {
            let new: Vec<SafePath> = info.files.iter().map(|entry| entry.path.clone()).collect();
            let links = info.files.iter_mut().filter_map(|entry| entry.symlink.as_mut());
            links.for_each(|target| *target = self.target(target, &new));
        }
        // Which second names are taken depends on the paths.
        Ok(match self.suffix() {
            Some(suffix) => info.with_suffix(Some(suffix)),
            None => info,
        })
    }

    /// Whether all files lie in one folder, or there is but one: a torrent has one place.
    pub fn has_one_place(&self) -> bool {
        let mut tops = self.files.iter().map(|entry| entry.path.components().next());
        let first = tops.next();
        tops.all(|top| Some(top) == first)
    }

    /// Whether renaming `from` renames the torrent: its only file, or the folder that all its files lie in
    /// and that it is named after.
    pub fn is_named_after(&self, from: &SafePath) -> bool {
        from.file_name() == self.name
            && self.files.iter().all(|entry| entry.path == *from || entry.path.is_below(from))
    }

    /// The files of a torrent stay in one folder, so that its place is one.
    fn check_root(&self, from: &SafePath, to: &SafePath) -> Result<(), RenameError> {
        let Some(root) = self.root() else { return Ok(()) };
        let all = self.files.iter().all(|entry| entry.path == *from || entry.path.is_below(from));
        match all || to.components().next() == Some(root) {
            true => Ok(()),
            false => Err(RenameError::Outside { to: to.clone(), root: root.to_owned() }),
        }
    }

    /// The folder that all files lie in; `None` if the torrent is a file by itself.
    fn root(&self) -> Option<&str> {
        let has_folder = self.files.iter().any(|entry| entry.path.components().nth(1).is_some());
        self.files.first().filter(|_| has_folder)?.path.components().next()
    }

    /// No file has another's path, nor that of a folder, if some get these.
    fn check_distinct(&self, paths: &[(FileIndex, SafePath)]) -> Result<(), RenameError> {
        let new: HashMap<FileIndex, &SafePath> = paths.iter().map(|(file, path)| (*file, path)).collect();
        let files = (0..).map(FileIndex).zip(&self.files);
        let all: Vec<&SafePath> =
            files.map(|(file, entry)| new.get(&file).copied().unwrap_or(&entry.path)).collect();
        if all.iter().map(|path| path.as_str().len()).sum::<usize>() > MAX_PATHS_LEN {
            return Err(RenameError::TooLong);
        }
        let Some((path, other)) = first_clash(&all) else { return Ok(()) };
        let is_new = |path: &SafePath| paths.iter().any(|(_, new)| new == path);
        let (path, other) = if is_new(path) { (path, other) } else { (other, path) };
        Err(RenameError::Clash { path: path.clone(), other: other.clone() })
    }

    /// Whatever was renamed so far, each file that is found is known by its path.
    fn check_steps(
        &self,
        from: &SafePath,
        to: &SafePath,
        paths: &[(FileIndex, SafePath)],
    ) -> Result<(), RenameError> {
        let old = paths.iter().filter_map(|(file, _)| Some(&self.files.get(file.0 as usize)?.path));
        let seconds = self.second_names(paths)?;
        let both: Vec<&SafePath> =
            old.chain(paths.iter().map(|(_, path)| path)).chain(&seconds.changing).collect();
        if first_clash(&both).is_some() {
            return Err(RenameError::Tangled { from: from.clone(), to: to.clone() });
        }
        let taken = |path: &SafePath| {
            let ends = path.as_str().match_indices('/').map(|(at, _)| at).chain([path.as_str().len()]);
            let mut names = ends.filter_map(|end| path.as_str().get(..end));
            names.find_map(|name| seconds.staying.get(name).copied())
        };
        match paths.iter().find_map(|(_, path)| Some((path, taken(path)?))) {
            None => Ok(()),
            Some((path, other)) => Err(RenameError::Reserved { path: path.clone(), other: other.clone() }),
        }
    }

    /// The names that files have while they aren't complete, if they have such.
    fn second_names(&self, paths: &[(FileIndex, SafePath)]) -> Result<SecondNames<'_>, RenameError> {
        let mut seconds = SecondNames::default();
        if self.suffix().is_none() {
            return Ok(seconds);
        }
        let new = self.with_paths(paths)?;
        let changed: HashSet<FileIndex> = paths.iter().map(|(file, _)| *file).collect();
        for (file, entry) in (0..).map(FileIndex).zip(&self.files) {
            let (old, new) = (self.suffixed_path(file), new.suffixed_path(file));
            match changed.contains(&file) {
                true => seconds.changing.extend(old.into_iter().chain(new)),
                false => seconds.staying.extend(old.map(|path| (path.to_string(), &entry.path))),
            }
        }
        Ok(seconds)
    }

    /// What a link leads to, when the files have the paths of `new`: the same file, or the folder that the
    /// first file in it lies in now.
    fn target(&self, target: &SafePath, new: &[SafePath]) -> SafePath {
        let pairs = || self.files.iter().map(|entry| &entry.path).zip(new);
        if let Some((_, path)) = pairs().find(|(old, _)| *old == target) {
            return path.clone();
        }
        let inside = pairs().find(|(old, _)| old.is_below(target)).and_then(|(old, path)| {
            let rest = old.as_str().strip_prefix(target.as_str())?;
            SafePath::exact(path.as_str().strip_suffix(rest)?).ok()
        });
        inside.unwrap_or_else(|| target.clone())
    }
}
