//! The files of a v2 or hybrid torrent, as `file tree` lists them (BEP 52).
//!
//! The tree is walked by its tokens, so that its depth costs nothing. The order of its keys is the order
//! of the pieces; libtorrent and this program refuse a tree that is not in byte order, because programs
//! that sort and programs that don't would see different torrents.
use super::MetainfoError;
use super::entry::{FileEntry, Paths, Properties};
use crate::bencode::{Dict, Token, Tokens, Value};
use crate::merkle::Hash;
use crate::path::SafePath;

/// The files of `tree`, in the order of their pieces. They lie in a folder `name`, unless the tree is one
/// file; in a hybrid such a file still lies in the folder if its v1 half says so by its list of `files`.
pub(super) fn files(tree: Value<'_>, name: &[u8], listed: bool) -> Result<Vec<FileEntry>, MetainfoError> {
    let at = tree.span().start;
    let root = tree.as_dict().ok_or(MetainfoError::Tree { at, reason: "it is not a dictionary" })?;
    let paths = Paths::in_folder((listed || !is_single_file(root)).then_some(name));
    let mut walk = Walk { paths, files: Vec::new(), folders: Vec::new(), last_keys: Vec::new() };
    walk.run(tree.tokens())?;
    Ok(walk.files)
}

fn is_single_file(root: Dict<'_>) -> bool {
    let mut entries = root.iter();
    let first = entries.next().and_then(|(_, value)| value.as_dict());
    first.is_some_and(|dict| dict.iter().next().is_some_and(|(key, _)| key.is_empty()))
        && entries.next().is_none()
}

struct Walk<'a, 'n> {
    paths: Paths<'n>,
    files: Vec<FileEntry>,
    /// The keys that lead to the current dictionary.
    folders: Vec<&'a [u8]>,
    /// The last key of each open dictionary; one more than `folders`.
    last_keys: Vec<Option<&'a [u8]>>,
}

impl<'a> Walk<'a, '_> {
    fn run(&mut self, mut tokens: Tokens<'a>) -> Result<(), MetainfoError> {
        tokens.next();
        self.last_keys.push(None);
        loop {
            let at = tokens.at();
            let wrong = |reason| Err(MetainfoError::Tree { at, reason });
            let key = match tokens.next() {
                Some(Token::Bytes(key)) => key,
                // The end of a dictionary; the validator leaves no other choice.
                _ => {
                    self.last_keys.pop();
                    if self.folders.pop().is_none() {
                        return Ok(());
                    }
                    continue;
                }
            };
            match self.last_keys.last_mut().and_then(|last| last.replace(key)) {
                Some(last) if last >= key => return Err(MetainfoError::TreeOrder { at }),
                Some(b"") => return wrong("a file has entries beside it"),
                _ => {}
            }
            if key.is_empty() {
                if self.folders.is_empty() {
                    return wrong("the root is a file");
                }
                let file = tokens.next_value().and_then(|value| value.as_dict());
                let Some(file) = file else { return wrong("a file is not a dictionary") };
                let entry = self.entry(file)?;
                self.files.push(entry);
            } else {
                let Some(Token::Dict) = tokens.next() else { return wrong("an entry is not a dictionary") };
                self.folders.push(key);
                self.last_keys.push(None);
            }
        }
    }

    fn entry(&mut self, file: Dict<'a>) -> Result<FileEntry, MetainfoError> {
        let at = file.value().span().start;
        let [attr, length, mtime, root, sha1, symlink_path] =
            file.pick(["attr", "length", "mtime", "pieces root", "sha1", "symlink path"])?;
        let properties = Properties { attr, length, mtime, sha1, symlink_path, at };
        let path = self.paths.path(&self.folders, at)?;
        let mut entry = properties.entry(path, &mut self.paths)?;
        if properties.has(b'p') {
            return Err(MetainfoError::PadInTree { path: entry.path.to_string() });
        }
        if entry.len > 0 {
            entry.pieces_root = Some(pieces_root(&entry.path, root)?);
        }
        Ok(entry)
    }
}

fn pieces_root(path: &SafePath, value: Option<Value<'_>>) -> Result<Hash, MetainfoError> {
    // Zeros are the hash of what is not there, so no root of data.
    let root = value.and_then(|value| value.as_bytes()).and_then(|root| Hash::try_from(root).ok());
    root.filter(|root| *root != [0; 32]).ok_or_else(|| MetainfoError::NoRoot { path: path.to_string() })
}
