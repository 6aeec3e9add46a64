//! How operators name files of a torrent: by number, by name, by path, by folder, with wildcards.
use std::fmt;
use std::ops::RangeInclusive;

use glob::{MatchOptions, Pattern as Glob};
use wgo_proto::FileIndex;
use wgo_proto::metainfo::Info;

/// Bytes of a pattern: as long as a path may be.
const MAX_LEN: usize = wgo_proto::path::MAX_PATH_LEN;
/// `*` doesn't reach across folders, upper and lower case are the same.
const OPTIONS: MatchOptions = MatchOptions {
    case_sensitive: false,
    require_literal_separator: true,
    require_literal_leading_dot: false,
};

/// A pattern that can't be used; nothing is chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PatternError {
    /// It can't be read.
    Malformed { pattern: String, why: String },
    /// No file is meant.
    NoMatch { pattern: String, torrent: String },
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PatternError::Malformed { pattern, why } => {
                write!(f, "{pattern:?} is no pattern for files: {why}; * and ? stand for any characters")
            }
            PatternError::NoMatch { pattern, torrent } => write!(
                f,
                "no file of {torrent:?} matches {pattern:?}; `wgoctl files` lists them with their numbers"
            ),
        }
    }
}

/// The files that `pattern` names, at least one:
/// - a path of a file or a folder, with or without the torrent's own folder, in which `*` and `?` stand for
///   characters but `/`, `**` for folders, `[…]` for a choice;
/// - without a `/`, also the name of a file or folder anywhere;
/// - the number of a file, or `FIRST-LAST`, from 1, where none has such a name.
///
/// # Errors
/// A pattern that can't be read, or names none.
pub(super) fn files(info: &Info, pattern: &str) -> Result<Vec<FileIndex>, PatternError> {
    let malformed = |why: String| PatternError::Malformed { pattern: pattern.to_owned(), why };
    if pattern.len() > MAX_LEN {
        return Err(malformed("it is too long".to_owned()));
    }
    let wanted = pattern.trim_end_matches('/');
    let glob = Glob::new(wanted).map_err(|error| malformed(error.msg.to_owned()))?;
    let matches = |path: &str| {
        names(path).any(|name| glob.matches_with(name, OPTIONS))
            || (!wanted.contains('/') && path.split('/').any(|name| glob.matches_with(name, OPTIONS)))
    };
    let count = info.layout.file_count();
    let all = (0..count).map(FileIndex).zip(&info.files).filter(|(_, file)| !file.pad);
    let mut found: Vec<FileIndex> =
        all.clone().filter(|(_, file)| matches(file.path.as_str())).map(|(file, _)| file).collect();
    if found.is_empty()
        && let Some(range) = numbers(wanted)
    {
        found = all.filter(|(file, _)| range.contains(&(file.0 + 1))).map(|(file, _)| file).collect();
    }
    match found.is_empty() {
        true => {
            let torrent = info.name.clone();
            Err(PatternError::NoMatch { pattern: pattern.to_owned(), torrent })
        }
        false => Ok(found),
    }
}

/// The path of a file and of each folder that it is in, with the torrent's own folder and without.
fn names(path: &str) -> impl Iterator<Item = &str> {
    let inner = path.split_once('/').map(|(_, inner)| inner);
    [Some(path), inner].into_iter().flatten().flat_map(|path| {
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        ends.map(|end| &path[..end])
    })
}

/// `7` or `3-5`.
fn numbers(text: &str) -> Option<RangeInclusive<u32>> {
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<u32>().ok())?;
    match text.split_once('-') {
        None => number(text).map(|only| only..=only),
        Some((first, last)) => Some(number(first)?..=number(last)?),
    }
}

#[cfg(test)]
mod tests {
    use wgo_proto::layout::Layout;
    use wgo_proto::metainfo::Metainfo;

    use super::*;

    fn info(paths: &[&str]) -> Info {
        let list: String = paths
            .iter()
            .map(|path| {
                let path: String = path.split('/').map(|name| format!("{}:{name}", name.len())).collect();
                format!("d6:lengthi10e4:pathl{path}ee")
            })
            .collect();
        let torrent =
            format!("d4:infod5:filesl{list}e4:name1:T12:piece lengthi16384e6:pieces20:{}ee", "x".repeat(20));
        let info = Metainfo::parse(torrent.as_bytes()).unwrap().info;
        assert_eq!(info.layout, Layout::v1(16384, &vec![10; paths.len()]).unwrap());
        info
    }

    fn found(pattern: &str) -> Vec<u32> {
        let info = info(&["a.mkv", "Sub/b.mkv", "Sub/deep/c.srt", "7", "[x] d.nfo", "Sub/Extra/e.mkv"]);
        files(&info, pattern).map(|files| files.iter().map(|file| file.0).collect()).unwrap_or_default()
    }

    #[test]
    fn files_go_by_path_name_folder_and_number() {
        for (pattern, want) in [
            ("*", &[0, 1, 2, 3, 4, 5][..]),
            ("*.mkv", &[0, 1, 5]),
            ("*.MKV", &[0, 1, 5]),
            ("T/*.mkv", &[0]),
            ("Sub/*.mkv", &[1]),
            ("Sub/**/*.mkv", &[1, 5]),
            ("**/*.srt", &[2]),
            ("Sub", &[1, 2, 5]),
            ("sub/", &[1, 2, 5]),
            ("T/Sub/deep", &[2]),
            ("deep", &[2]),
            ("Sub/deep/c.srt", &[2]),
            ("?.mkv", &[0, 1, 5]),
            ("[[]x] d.nfo", &[4]),
            ("7", &[3]),
            ("1", &[0]),
            ("2-3", &[1, 2]),
            ("5-99", &[4, 5]),
            ("T", &[0, 1, 2, 3, 4, 5]),
            ("0", &[]),
            ("8", &[]),
            ("3-2", &[]),
            ("-2", &[]),
            ("+1", &[]),
            ("99999999999", &[]),
            ("*.avi", &[]),
            ("b", &[]),
            ("", &[]),
        ] {
            assert_eq!(found(pattern), want, "{pattern}");
        }
    }

    #[test]
    fn a_pattern_that_names_nothing_or_cannot_be_read_says_so() {
        let info = info(&["a", "b"]);
        assert_eq!(
            files(&info, "*.avi").unwrap_err().to_string(),
            "no file of \"T\" matches \"*.avi\"; `wgoctl files` lists them with their numbers"
        );
        let why = files(&info, "[a").unwrap_err().to_string();
        assert!(why.contains("\"[a\" is no pattern for files: "), "{why}");
        assert!(files(&info, &"a".repeat(MAX_LEN + 1)).unwrap_err().to_string().contains("too long"));
    }

    #[test]
    fn what_is_literal_may_be_long_and_strange_without_harm() {
        let name = format!("{}.mkv", "a".repeat(200));
        let info = info(&[&name, "b"]);
        let stars = "*a".repeat(60);
        assert_eq!(files(&info, &format!("{stars}.mkv")).unwrap().len(), 1);
    }
}
