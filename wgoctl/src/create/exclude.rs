//! `--exclude`: patterns of files and folders that stay out of a torrent.
use std::cell::Cell;

use glob::{MatchOptions, Pattern};

/// `*` and `?` stop at a `/`; a leading dot is a character like any other.
const HOW: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: false,
};

/// One pattern. Without a `/` it is compared with names, else with paths below the folder.
#[derive(Clone, Debug)]
pub(super) struct Exclude {
    text: String,
    pattern: Pattern,
    whole_path: bool,
}

/// All patterns of a run.
pub(super) struct Excludes<'a> {
    patterns: &'a [Exclude],
    /// Which of them were for something.
    hits: Vec<Cell<bool>>,
}

/// Reads a pattern of the command line.
pub(super) fn parse(text: &str) -> Result<Exclude, String> {
    // What is written like a folder means the folder.
    let trimmed = text.trim_end_matches('/');
    let from_root = trimmed.trim_start_matches('/');
    let pattern = Pattern::new(from_root).map_err(|error| error.msg.to_owned())?;
    if from_root.is_empty() {
        return Err("it is empty".to_owned());
    }
    Ok(Exclude { text: text.to_owned(), pattern, whole_path: trimmed.contains('/') })
}

impl Excludes<'_> {
    pub(super) fn new(patterns: &[Exclude]) -> Excludes<'_> {
        Excludes { patterns, hits: vec![Cell::new(false); patterns.len()] }
    }

    /// Whether one of the patterns is for what lies at `path` below the folder.
    pub(super) fn has(&self, path: &str) -> bool {
        let name = path.rsplit('/').next().unwrap_or(path);
        let mut excluded = false;
        for (exclude, hit) in self.patterns.iter().zip(&self.hits) {
            if exclude.pattern.matches_with(if exclude.whole_path { path } else { name }, HOW) {
                hit.set(true);
                excluded = true;
            }
        }
        excluded
    }

    /// The patterns that were for nothing: likely mistyped.
    pub(super) fn idle(&self) -> impl Iterator<Item = &str> {
        let idle = self.patterns.iter().zip(&self.hits).filter(|(_, hit)| !hit.get());
        idle.map(|(exclude, _)| exclude.text.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_anywhere_and_paths_from_the_top() {
        for (pattern, path, wanted) in [
            ("*.nfo", "a.nfo", true),
            ("*.nfo", "deep/er/a.nfo", true),
            ("*.nfo", "a.nfo.txt", false),
            ("sample", "deep/sample", true),
            ("sample/", "sample", true),
            ("/sample", "deep/sample", false),
            ("deep/*.txt", "deep/a.txt", true),
            ("deep/*.txt", "deep/er/a.txt", false),
            ("deep/**/*.txt", "deep/er/a.txt", true),
            (".*", ".hidden", true),
            ("[ab]?", "dir/b1", true),
            ("é*", "était", true),
        ] {
            let patterns = [parse(pattern).unwrap()];
            let excludes = Excludes::new(&patterns);
            assert_eq!(excludes.has(path), wanted, "{pattern} {path}");
            assert_eq!(excludes.idle().count(), usize::from(!wanted));
        }
        for bad in ["", "/", "a[", "***"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
