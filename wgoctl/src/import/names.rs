//! Names that a torrent and its files have in another client, where they aren't those that its maker gave.
//!
//! What a client keeps of a rename are the paths that files have now, below a folder. Here all files of a torrent
//! lie in one folder of that folder; where a client has them loose in it, that folder itself is taken for the
//! torrent's own, so nothing on disk has to change.
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use wgo_proto::FileIndex;
use wgo_proto::metainfo::Info;
use wgo_proto::path::SafePath;

use super::found::{Found, Left};

/// A file that has another path than its maker's.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub(super) struct Renamed {
    /// As its maker called it.
    pub(super) from: String,
    /// Where it is.
    pub(super) to: String,
}

impl Renamed {
    fn of(from: &SafePath, to: &SafePath) -> Renamed {
        Renamed { from: from.to_string(), to: to.to_string() }
    }
}

/// The paths of files, below the torrent's folder, that aren't their maker's.
#[derive(Debug, Default)]
pub(super) struct Names(BTreeMap<FileIndex, SafePath>);

impl Found {
    /// A file has this path in the client, relative to the torrent's folder or absolute and in it.
    pub(super) fn rename(&mut self, file: usize, path: &[u8]) -> Result<(), Left> {
        let impossible = |found: &Found, why: String| {
            let path = String::from_utf8_lossy(path).into_owned();
            Err(found.left(format!("a file was renamed to {path:?}, which can't be used: {why}")))
        };
        let Ok(text) = std::str::from_utf8(path) else {
            return impossible(self, "it is not UTF-8".to_owned());
        };
        let relative = match Path::new(text).strip_prefix(&self.folder) {
            Ok(below) if text.starts_with('/') => below.to_str().unwrap_or_default(),
            _ => text,
        };
        match SafePath::exact(relative) {
            Ok(path) => {
                self.names.0.insert(FileIndex(file as u32), path);
                Ok(())
            }
            Err(_) if relative.starts_with('/') => {
                impossible(self, format!("it is not in {}", self.folder.display()))
            }
            Err(why) => impossible(self, why.to_string()),
        }
    }

    /// The files that take room on a disk, by number, with the paths that they have in the client.
    pub(super) fn on_disk(&self) -> impl Iterator<Item = (usize, &SafePath)> {
        let files = self.metainfo.info.files.iter().enumerate();
        let files = files.filter(|(_, file)| !file.pad && file.len > 0 && file.symlink.is_none());
        files.map(|(index, file)| (index, self.names.0.get(&FileIndex(index as u32)).unwrap_or(&file.path)))
    }

    /// The client calls the torrent so.
    pub(super) fn called(&mut self, name: &str) {
        let name = SafePath::sanitise([name]).map(|name| name.as_str().to_owned());
        if let Some(name) = name.ok().filter(|name| *name != self.metainfo.info.name) {
            self.metainfo.info.name.clone_from(&name);
            self.known.name = Some(name);
        }
    }

    /// Gives the files the names that the client has for them. This is done when it is known where the torrent's
    /// folder is.
    ///
    /// # Errors
    /// When they can't be together in one folder here.
    pub(super) fn apply_names(&mut self) -> Result<(), Left> {
        let names: Vec<_> = std::mem::take(&mut self.names.0).into_iter().collect();
        if names.is_empty() {
            return Ok(());
        }
        let impossible =
            |found: &Found, why: String| found.left(format!("its renamed files can't be taken over: {why}"));
        let info = &self.metainfo.info;
        let mut renamed = info.with_paths(&names).map_err(|why| impossible(self, why.to_string()))?;
        if !renamed.has_one_place() {
            let (folder, top) = own_folder(&self.folder).map_err(|why| impossible(self, why))?;
            renamed = below(&renamed, top).map_err(|why| impossible(self, why))?;
            self.notes.push("its files lie loose in a folder, which counts as its own here".to_owned());
            if let Some(last) = self.known.final_folder.take() {
                match last.file_name() == self.folder.file_name() {
                    true => self.known.final_folder = last.parent().map(Path::to_owned),
                    false => self.notes.push(format!("isn't moved to {} when complete", last.display())),
                }
            }
            self.folder = folder;
        }
        let pairs = info.files.iter().zip(&renamed.files);
        let changed = pairs.clone().filter(|(old, new)| old.path != new.path && !old.pad);
        self.renamed = changed.map(|(old, new)| Renamed::of(&old.path, &new.path)).collect();
        let paths = pairs.map(|(old, new)| (old.path != new.path).then(|| new.path.to_string()));
        self.known.paths = paths.collect();
        self.metainfo.info = renamed;
        Ok(())
    }
}

/// A folder as one that holds a torrent's own: the folder above it, and its name.
fn own_folder(folder: &Path) -> Result<(PathBuf, &str), String> {
    let shown = folder.display();
    let name = folder.file_name().and_then(|name| name.to_str());
    let (Some(above), Some(name)) = (folder.parent(), name) else {
        return Err(format!("they lie loose in {shown}; have the client put them in a folder of their own"));
    };
    let device = |path: &Path| path.metadata().ok().map(|metadata| metadata.dev());
    // The folder above is where wgod would look whether its disk is mounted.
    if device(folder).is_some() && device(folder) != device(above) {
        return Err(format!(
            "they lie loose in {shown}, where a disk is mounted; have the client put them in a folder of their own"
        ));
    }
    Ok((above.to_owned(), name))
}

fn below(info: &Info, top: &str) -> Result<Info, String> {
    let paths: Result<Vec<_>, _> = (0..)
        .map(FileIndex)
        .zip(&info.files)
        .map(|(file, entry)| Ok((file, SafePath::exact(&format!("{top}/{}", entry.path))?)))
        .collect();
    let paths = paths.map_err(|why: wgo_proto::path::PathError| why.to_string())?;
    info.with_paths(&paths).map_err(|why| why.to_string())
}
