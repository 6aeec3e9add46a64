//! The files of a v1 or hybrid torrent, as `length` or `files` list them (BEP 3, pad files of BEP 47).
use super::MetainfoError;
use super::entry::{FileEntry, Paths, Properties, string, strings};
use crate::bencode::{Dict, Value};

/// A file whose name begins so is a pad file without saying so, by a convention older than BEP 47.
const OLD_PAD_NAME: &str = "_____padding_file_";

/// The files of `info`, whose name is `name`, in the order of their bytes.
pub(super) fn files(info: Dict<'_>, name: &[u8]) -> Result<Vec<FileEntry>, MetainfoError> {
    let at = info.value().span().start;
    let [attr, files, length, mtime, sha1, symlink_path] =
        info.pick(["attr", "files", "length", "mtime", "sha1", "symlink path"])?;
    if let Some(files) = files {
        return listed(files, name);
    }
    if length.is_none() {
        return Err(MetainfoError::Missing { key: "length` or `files", at });
    }
    let mut paths = Paths::in_folder(None);
    let path = paths.path(&[name], at)?;
    let properties = Properties { attr, length, mtime, sha1, symlink_path, at };
    Ok(vec![properties.entry(path, &mut paths)?])
}

fn listed(files: Value<'_>, name: &[u8]) -> Result<Vec<FileEntry>, MetainfoError> {
    let wrong = |value: Value<'_>, expected| {
        let at = value.span().start;
        MetainfoError::Invalid { key: "files", at, expected }
    };
    let list = files.as_list().ok_or(wrong(files, "a list"))?;
    let mut paths = Paths::in_folder(Some(name));
    list.iter().map(|file| entry(file.as_dict().ok_or(wrong(file, "a dictionary"))?, &mut paths)).collect()
}

fn entry(file: Dict<'_>, paths: &mut Paths<'_>) -> Result<FileEntry, MetainfoError> {
    let at = file.value().span().start;
    let [attr, length, mtime, path, path_utf8, sha1, symlink_path] =
        file.pick(["attr", "length", "mtime", "path", "path.utf-8", "sha1", "symlink path"])?;
    let properties = Properties { attr, length, mtime, sha1, symlink_path, at };
    let marked_pad = properties.has(b'p');
    let components = match (preferred(path, path_utf8), marked_pad) {
        (Some(path), _) => strings("path", path)?,
        (None, true) => Vec::new(),
        (None, false) => return Err(MetainfoError::Missing { key: "path", at }),
    };
    let path = match components.is_empty() && marked_pad {
        // The name that BEP 47 recommends; it allows to leave it out.
        true => paths.path(&[b".pad", properties.len()?.to_string().as_bytes()], at)?,
        false => paths.path(&components, at)?,
    };
    let mut entry = properties.entry(path, paths)?;
    entry.pad = entry.symlink.is_none() && (marked_pad || entry.path.file_name().starts_with(OLD_PAD_NAME));
    Ok(entry)
}

/// The `.utf-8` twin of a key if it is what it says, else the key itself.
fn preferred<'a>(plain: Option<Value<'a>>, utf8: Option<Value<'a>>) -> Option<Value<'a>> {
    let valid = |value: &Value<'a>| {
        value.as_list().is_some_and(|list| {
            let mut items = list.iter().peekable();
            items.peek().is_some() && items.all(|item| item.as_str().is_some())
        })
    };
    utf8.filter(valid).or(plain)
}

/// The torrent's name: `name.utf-8` if it is valid, else `name`.
pub(super) fn name<'a>(
    plain: Option<Value<'a>>,
    utf8: Option<Value<'a>>,
    at: usize,
) -> Result<&'a [u8], MetainfoError> {
    let preferred = utf8.filter(|value| value.as_str().is_some_and(|name| !name.is_empty()));
    string("name", preferred.or(plain).ok_or(MetainfoError::Missing { key: "name", at })?)
}
