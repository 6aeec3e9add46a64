//! The second name of a file: the one that it has on disk until it is complete, which ends in a suffix such as
//! `.part`. Whoever indexes a folder by the names in it passes over such files.
//!
//! Which of its two names a file has at a moment is not known here, only what they are.
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::Info;
use crate::path::{SafePath, safe_component};
use crate::units::FileIndex;

/// What the name of a file that isn't complete ends in: a dot and up to 15 bytes, all of which may be part of
/// a file name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartSuffix(Arc<str>);

/// A text can't be the end of a file name, or none that sets files apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a suffix begins with a dot, has at most {} bytes, and no slash, backslash or control character, as in \".part\"",
    PartSuffix::MAX_LEN
)]
pub struct SuffixError;

impl PartSuffix {
    /// Bytes of the longest, with the dot: those of a long name are better left to the name.
    pub const MAX_LEN: usize = 16;

    /// The suffix with its dot.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PartSuffix {
    type Err = SuffixError;

    fn from_str(text: &str) -> Result<PartSuffix, SuffixError> {
        let named = format!("x{text}");
        let fits = text.len() <= PartSuffix::MAX_LEN && safe_component(named.as_bytes()) == named;
        // Dots and blanks alone are not seen, and Windows takes them off.
        let visible = !text.ends_with(['.', ' ']);
        match text.starts_with('.') && fits && visible {
            true => Ok(PartSuffix(text.into())),
            false => Err(SuffixError),
        }
    }
}

impl fmt::Display for PartSuffix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The suffix of a torrent's files, and which paths with it are taken by other files of the torrent.
#[derive(Debug, PartialEq, Eq)]
pub struct Suffixed {
    suffix: PartSuffix,
    /// Paths of files and of their folders that end in the suffix, ascending: hardly ever any.
    taken: Box<[Box<str>]>,
}

impl Info {
    /// The same torrent with second names that end in `suffix`, or without any.
    pub fn with_suffix(&self, suffix: Option<&PartSuffix>) -> Info {
        let mut info = self.clone();
        info.suffixed = suffix.map(|suffix| {
            let mut taken: Vec<Box<str>> = Vec::new();
            for path in info.files.iter().map(|entry| entry.path.as_str()) {
                let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
                let names = ends.filter_map(|end| path.get(..end));
                taken.extend(names.filter(|name| name.ends_with(suffix.as_str())).map(Box::from));
            }
            taken.sort_unstable();
            taken.dedup();
            Arc::new(Suffixed { suffix: suffix.clone(), taken: taken.into() })
        });
        info
    }

    /// What the second names of its files end in, if they have any.
    pub fn suffix(&self) -> Option<&PartSuffix> {
        self.suffixed.as_ref().map(|suffixed| &suffixed.suffix)
    }

    /// The path that a file has while it isn't complete. `None` for one that has its own from the start: what
    /// has no content of its own (empty files, links, padding, the part file), and a file whose name would be
    /// too long with the suffix or be that of another file or folder of the torrent.
    pub fn suffixed_path(&self, file: FileIndex) -> Option<SafePath> {
        let Suffixed { suffix, taken } = self.suffixed.as_deref()?;
        let entry = self.files.get(file.0 as usize)?;
        if entry.pad || entry.len == 0 || entry.symlink.is_some() || self.part_file() == Some(file) {
            return None;
        }
        let path = entry.path.with_suffix(suffix)?;
        let is_free = taken.binary_search_by(|name| (**name).cmp(path.as_str())).is_err();
        is_free.then_some(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metainfo::Metainfo;

    fn suffix(text: &str) -> PartSuffix {
        text.parse().unwrap()
    }

    fn info(files: &[(&str, u64)]) -> Info {
        let mut list = String::new();
        for (path, len) in files {
            let names: String = path.split('/').map(|name| format!("{}:{name}", name.len())).collect();
            list.push_str(&format!("d6:lengthi{len}e4:pathl{names}ee"));
        }
        let total: u64 = files.iter().map(|(_, len)| len).sum();
        let pieces = "x".repeat(total.div_ceil(16384) as usize * 20);
        let torrent = format!(
            "d4:infod5:filesl{list}e4:name1:t12:piece lengthi16384e6:pieces{}:{pieces}ee",
            pieces.len()
        );
        Metainfo::parse(torrent.as_bytes()).unwrap().info
    }

    fn second_names(info: &Info) -> Vec<Option<String>> {
        let files = (0..info.files.len() as u32).map(FileIndex);
        files.map(|file| info.suffixed_path(file).map(|path| path.to_string())).collect()
    }

    #[test]
    fn a_suffix_begins_with_a_dot_and_may_end_a_name() {
        for good in [".part", ".!qB", ".p", ".äöü", "..part", ".in progress"] {
            assert_eq!(suffix(good).to_string(), good);
        }
        let long = format!(".{}", "x".repeat(PartSuffix::MAX_LEN));
        for bad in ["", ".", "..", "part", "!qB", "./x", ".a/b", ".a\\b", ".a\nb", ".\u{202e}x", ". ", &long]
        {
            assert_eq!(bad.parse::<PartSuffix>(), Err(SuffixError), "{bad:?}");
        }
        assert!(long[..PartSuffix::MAX_LEN].parse::<PartSuffix>().is_ok());
    }

    #[test]
    fn what_has_content_has_a_second_name() {
        let plain = info(&[("a", 10), ("empty", 0), ("d/b", 20_000), ("d/c", 5)]);
        assert_eq!(second_names(&plain), [const { None }; 4]);
        let named = plain.with_suffix(Some(&suffix(".part")));
        let path = |path: &str| Some(path.to_owned());
        assert_eq!(second_names(&named), [path("t/a.part"), None, path("t/d/b.part"), path("t/d/c.part")]);
        assert_eq!(named.with_suffix(None), plain);
        let parted = named.with_parts("tag", [FileIndex(0)]).with_suffix(named.suffix());
        assert_eq!(parted.suffixed_path(FileIndex(4)), None, "the part file");
        assert_eq!(parted.suffixed_path(FileIndex(0)), named.suffixed_path(FileIndex(0)));
    }

    #[test]
    fn a_name_that_another_file_or_folder_has_is_nobodys_second_name() {
        let files = [("a", 1), ("a.part", 1), ("b", 1), ("b.part/x", 1), ("c.part", 1), ("a.PART", 1)];
        let named = info(&files).with_suffix(Some(&suffix(".part")));
        let names = second_names(&named);
        let path = |path: &str| Some(path.to_owned());
        assert_eq!(names[..2], [None, path("t/a.part.part")]);
        assert_eq!(names[2..4], [None, path("t/b.part/x.part")]);
        assert_eq!(names[4..], [path("t/c.part.part"), path("t/a.PART.part")]);
    }

    #[test]
    fn a_name_that_would_be_too_long_has_its_own_from_the_start() {
        let fits = "x".repeat(250);
        let long = "y".repeat(251);
        let named = info(&[(&fits, 1), (&long, 1)]).with_suffix(Some(&suffix(".part")));
        assert_eq!(second_names(&named), [Some(format!("t/{fits}.part")), None]);
    }

    #[test]
    fn other_paths_have_other_second_names() {
        let named = info(&[("a", 1), ("b", 1)]).with_suffix(Some(&suffix(".part")));
        let safe = |path: &str| SafePath::exact(path).unwrap();
        let renamed = named.with_paths(&[(FileIndex(1), safe("t/c.part"))]).unwrap();
        let path = |path: &str| Some(path.to_owned());
        assert_eq!(second_names(&renamed), [path("t/a.part"), path("t/c.part.part")]);
        let renamed = renamed.with_paths(&[(FileIndex(0), safe("t/c"))]).unwrap();
        assert_eq!(second_names(&renamed), [None, path("t/c.part.part")]);
    }
}
