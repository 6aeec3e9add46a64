//! Paths of a torrent's files, made safe: whatever a stranger writes into a torrent, a [`SafePath`] names
//! a place below the folder it is put in (BEP 3, BEP 52 "Interpreting paths").
//!
//! Names are kept as they are wherever Linux can store them, leading and trailing dots and spaces
//! included, so that a download made by another client is found again. What is replaced, by `_`: `/`,
//! `\` (a separator to whoever mounts the folder elsewhere), NUL and other control characters, and the
//! invisible characters that reverse the direction of text and so disguise an extension. Bytes that are
//! not UTF-8 become U+FFFD. What then falls together, [`dedupe`] keeps apart.
use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::Path;

use crate::metainfo::PartSuffix;

/// Bytes of one component: what Linux file systems store.
pub const MAX_COMPONENT_LEN: usize = 255;
/// Bytes of a whole path: leaves a quarter of Linux's 4096 to the folder it lies in.
pub const MAX_PATH_LEN: usize = 3072;
/// Components of a path; bounds the work of creating folders.
pub const MAX_COMPONENTS: usize = 128;

/// Stands for what cannot be kept.
const REPLACEMENT: char = '_';
/// Bytes of the longest extension that is kept when a name is shortened or numbered, with its dot.
const MAX_EXTENSION_LEN: usize = 16;
/// Room for `.` and any number that [`dedupe`] may add.
const NUMBER_LEN: usize = 11;

/// A relative path of safe components joined by `/`: none is empty, `.`, `..`, longer than
/// [`MAX_COMPONENT_LEN`] bytes, or contains `/`, `\`, a control or a direction-changing character.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SafePath(Box<str>);

/// Why components give no path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// There is no component.
    #[error("the path has no components")]
    Empty,
    /// Above [`MAX_PATH_LEN`].
    #[error("the path has more than {MAX_PATH_LEN} bytes")]
    TooLong,
    /// Above [`MAX_COMPONENTS`].
    #[error("the path has more than {MAX_COMPONENTS} components")]
    TooDeep,
    /// Only from [`SafePath::exact`]: a component would have to be changed.
    #[error("{component:?} cannot be part of a path here")]
    Unsafe {
        /// The component.
        component: String,
    },
}

impl SafePath {
    /// The path of `components`, each replaced by what [`safe_component`] makes of it.
    pub fn sanitise<C: AsRef<[u8]>>(components: impl IntoIterator<Item = C>) -> Result<SafePath, PathError> {
        let mut path = String::new();
        for (index, component) in components.into_iter().enumerate() {
            if index >= MAX_COMPONENTS {
                return Err(PathError::TooDeep);
            }
            if index > 0 {
                path.push('/');
            }
            path.push_str(&safe_component(component.as_ref()));
            if path.len() > MAX_PATH_LEN {
                return Err(PathError::TooLong);
            }
        }
        match path.is_empty() {
            true => Err(PathError::Empty),
            false => Ok(SafePath(path.into())),
        }
    }

    /// Reads a path that must be safe as it is: what [`SafePath::as_str`] gave, or an operator wrote.
    pub fn exact(path: &str) -> Result<SafePath, PathError> {
        if path.is_empty() {
            return Err(PathError::Empty);
        }
        let changed = path.split('/').find(|component| safe_component(component.as_bytes()) != *component);
        match changed {
            Some(component) => Err(PathError::Unsafe { component: component.to_owned() }),
            None => SafePath::sanitise(path.split('/')),
        }
    }

    /// The components joined by `/`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path as one to append to a folder.
    pub fn as_path(&self) -> &Path {
        Path::new(&*self.0)
    }

    /// The components, at least one.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/')
    }

    /// The last component.
    pub fn file_name(&self) -> &str {
        self.split_name().1
    }

    /// Everything but the last component, if there is more than one.
    pub fn parent(&self) -> Option<SafePath> {
        self.0.rsplit_once('/').map(|(parent, _)| SafePath(parent.into()))
    }

    /// Whether `self` lies below `folder`.
    pub fn is_below(&self, folder: &SafePath) -> bool {
        is_below(&self.0, &folder.0)
    }

    /// The same with `suffix` behind it; `None` if that is too long.
    pub(crate) fn with_suffix(&self, suffix: &PartSuffix) -> Option<SafePath> {
        let suffix = suffix.as_str();
        let fits = self.file_name().len() + suffix.len() <= MAX_COMPONENT_LEN
            && self.0.len() + suffix.len() <= MAX_PATH_LEN;
        fits.then(|| SafePath(format!("{self}{suffix}").into()))
    }

    /// The part up to and with the last `/`, and the last component.
    fn split_name(&self) -> (&str, &str) {
        self.0.split_at(self.0.rfind('/').map_or(0, |slash| slash + 1))
    }
}

impl AsRef<Path> for SafePath {
    fn as_ref(&self) -> &Path {
        self.as_path()
    }
}

impl fmt::Display for SafePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SafePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// A safe component from any bytes; see the head of this file for what is replaced. A name that is too
/// long is cut so that its extension stays.
pub fn safe_component(bytes: &[u8]) -> String {
    let lossy = String::from_utf8_lossy(bytes);
    let mut name: String = lossy.chars().map(|c| if is_refused(c) { REPLACEMENT } else { c }).collect();
    if name.len() > MAX_COMPONENT_LEN {
        let (stem, extension) = split_extension(&name);
        name = format!("{}{extension}", cut(stem, MAX_COMPONENT_LEN - extension.len()));
    }
    match name.as_str() {
        "" | "." | ".." => REPLACEMENT.to_string(),
        _ => name,
    }
}

fn is_refused(c: char) -> bool {
    let changes_direction = matches!(c,
        '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    matches!(c, '/' | '\\') || c.is_control() || changes_direction
}

/// A name's stem, and its extension with the dot (empty when there is none worth keeping).
fn split_extension(name: &str) -> (&str, &str) {
    match name.rfind('.') {
        Some(dot) if dot > 0 && name.len() - dot <= MAX_EXTENSION_LEN => name.split_at(dot),
        _ => (name, ""),
    }
}

/// The first `max` bytes, or fewer, so that no character is cut.
fn cut(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

/// Makes the paths of one torrent's files distinct, and none a folder of another.
///
/// The first of equal paths keeps its name; the others, and a file that is also a folder of another file,
/// get a number before the extension (`bar.1.txt`) that no file of the torrent has. `paths` is in order
/// of precedence; its order and the folders of the files stay. Upper and lower case are different.
pub fn dedupe(paths: &mut [&mut SafePath]) {
    let renamed = {
        let paths: Vec<&SafePath> = paths.iter().map(|path| &**path).collect();
        renames(&paths)
    };
    for (index, path) in renamed {
        if let Some(slot) = paths.get_mut(index) {
            **slot = path;
        }
    }
}

/// Two of the paths that can't be those of two files: they are equal, or the second lies below the first.
pub fn first_clash<'a>(paths: &[&'a SafePath]) -> Option<(&'a SafePath, &'a SafePath)> {
    let mut sorted = paths.to_vec();
    sorted.sort_unstable_by(|a, b| by_component(a.as_str(), b.as_str()));
    // Files below a folder come right after where the folder itself would stand.
    sorted.windows(2).find_map(|pair| match *pair {
        [a, b] if a == b || b.is_below(a) => Some((a, b)),
        _ => None,
    })
}

fn renames(paths: &[&SafePath]) -> Vec<(usize, SafePath)> {
    if first_clash(paths).is_none() {
        return Vec::new();
    }
    let mut original: Vec<&str> = paths.iter().map(|path| path.as_str()).collect();
    original.sort_unstable_by(|a, b| by_component(a, b));
    let first_at = |path: &str| original.partition_point(|other| by_component(other, path).is_lt());
    let exists = |path: &str| original.get(first_at(path)).is_some_and(|o| *o == path || is_below(o, path));
    let is_folder = |path: &str| {
        let after = original.partition_point(|other| by_component(other, path).is_le());
        original.get(after).is_some_and(|other| is_below(other, path))
    };
    let (mut kept, mut given) = (HashSet::new(), HashSet::new());
    // Numbers go on where the last file of the same stem stopped, so that a million equal names stay linear.
    let mut last_number: HashMap<String, u32> = HashMap::new();
    let mut renamed = Vec::new();
    for (index, path) in paths.iter().enumerate() {
        if !is_folder(path.as_str()) && kept.insert(path.as_str()) {
            continue;
        }
        let (folder, name) = path.split_name();
        let (stem, extension) = split_extension(name);
        let stem = cut(stem, MAX_COMPONENT_LEN - NUMBER_LEN - extension.len());
        let number = last_number.entry(format!("{folder}{stem}/{extension}")).or_default();
        let free = loop {
            *number += 1;
            let candidate = format!("{folder}{stem}.{number}{extension}");
            if !exists(&candidate) && !given.contains(&candidate) {
                break candidate;
            }
        };
        given.insert(free.clone());
        renamed.push((index, SafePath(free.into())));
    }
    renamed
}

/// Byte order with `/` first, so that a folder's files stand together. No component has a byte below `/`
/// that could be mistaken for it: control characters are refused.
pub(crate) fn by_component(a: &str, b: &str) -> Ordering {
    if a == b {
        return Ordering::Equal;
    }
    let rank = |byte: u8| if byte == b'/' { 0 } else { byte };
    a.bytes().map(rank).cmp(b.bytes().map(rank))
}

fn is_below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

#[cfg(test)]
mod tests;
