//! Names on a simulated disk: folders whose entries are durable when they are synced, and not before.
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Component, Path};

use rustix::io::Errno;

use crate::sim::disk::pages::{Ending, Pages};

/// A file or folder, by number.
pub(super) type Inode = usize;

/// The folder of all folders.
pub(super) const ROOT: Inode = 0;

/// What is under a number.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    Folder(Folder),
    File(Pages),
}

#[derive(Clone, Debug, Default)]
pub(super) struct Folder {
    now: BTreeMap<OsString, Inode>,
    synced: BTreeMap<OsString, Inode>,
}

/// One change of names, done whole or not at all: what an entry leads to now.
#[derive(Clone, Debug)]
struct Step(Vec<(Inode, OsString, Option<Inode>)>);

impl Step {
    fn folders(&self) -> impl Iterator<Item = Inode> + '_ {
        self.0.iter().map(|(folder, _, _)| *folder)
    }
}

/// All of them.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    inodes: Vec<(u64, Kind)>,
    /// Changes that are not durable, oldest first.
    steps: Vec<Step>,
}

impl Default for Tree {
    fn default() -> Tree {
        Tree { inodes: vec![(u64::MAX, Kind::Folder(Folder::default()))], steps: Vec::new() }
    }
}

impl Tree {
    pub(super) fn device(&self, inode: Inode) -> u64 {
        self.inodes[inode].0
    }

    pub(super) fn kind(&self, inode: Inode) -> &Kind {
        &self.inodes[inode].1
    }

    /// The bytes of a file; `EISDIR` for a folder.
    pub(super) fn file(&self, inode: Inode) -> io::Result<&Pages> {
        match &self.inodes[inode].1 {
            Kind::File(pages) => Ok(pages),
            Kind::Folder(_) => Err(Errno::ISDIR.into()),
        }
    }

    pub(super) fn file_mut(&mut self, inode: Inode) -> io::Result<&mut Pages> {
        match &mut self.inodes[inode].1 {
            Kind::File(pages) => Ok(pages),
            Kind::Folder(_) => Err(Errno::ISDIR.into()),
        }
    }

    fn folder(&self, inode: Inode) -> io::Result<&Folder> {
        match &self.inodes[inode].1 {
            Kind::Folder(folder) => Ok(folder),
            Kind::File(_) => Err(Errno::NOTDIR.into()),
        }
    }

    /// Pages that the files of a device take; those that no name leads to any more have given theirs back.
    pub(super) fn used(&self, device: u64) -> u64 {
        let mut named = BTreeSet::new();
        for (_, kind) in self.inodes.iter().filter(|(on, _)| *on == device || *on == u64::MAX) {
            if let Kind::Folder(folder) = kind {
                named.extend(folder.now.values().copied());
            }
        }
        let files = named.into_iter().filter(|inode| self.inodes[*inode].0 == device);
        files.filter_map(|inode| Some(self.file(inode).ok()?.used())).sum()
    }

    /// What a path leads to, from a folder on.
    pub(super) fn find(&self, from: Inode, path: &Path) -> io::Result<Inode> {
        let mut at = from;
        for part in path.components() {
            match part {
                Component::RootDir => at = ROOT,
                Component::Normal(name) => {
                    let found = self.folder(at)?.now.get(name).copied();
                    at = found.ok_or(Errno::NOENT)?;
                }
                // Nobody here says `.` or `..`.
                _ => return Err(Errno::INVAL.into()),
            }
        }
        Ok(at)
    }

    /// The folder that has, or is to have, an entry for a path, and the entry's name.
    pub(super) fn place<'a>(&self, from: Inode, path: &'a Path) -> io::Result<(Inode, &'a OsStr)> {
        let name = path.file_name().ok_or(Errno::INVAL)?;
        let parent = path.parent().unwrap_or(Path::new(""));
        let folder = self.find(from, parent)?;
        self.folder(folder)?;
        Ok((folder, name))
    }

    pub(super) fn entry(&self, folder: Inode, name: &OsStr) -> Option<Inode> {
        self.folder(folder).ok()?.now.get(name).copied()
    }

    /// Makes something; the device is the folder's unless that is the root.
    pub(super) fn make(&mut self, folder: Inode, name: &OsStr, kind: Kind, device: u64) -> io::Result<Inode> {
        if self.folder(folder)?.now.contains_key(name) {
            return Err(Errno::EXIST.into());
        }
        self.inodes.push((device, kind));
        let made = self.inodes.len() - 1;
        self.change(Step(vec![(folder, name.to_owned(), Some(made))]));
        Ok(made)
    }

    /// Another name for a file.
    pub(super) fn link(&mut self, file: Inode, folder: Inode, name: &OsStr) -> io::Result<()> {
        if self.folder(folder)?.now.contains_key(name) {
            return Err(Errno::EXIST.into());
        }
        self.change(Step(vec![(folder, name.to_owned(), Some(file))]));
        Ok(())
    }

    pub(super) fn rename(
        &mut self,
        from: (Inode, &OsStr),
        to: (Inode, &OsStr),
        replaces: bool,
    ) -> io::Result<()> {
        let moved = self.entry(from.0, from.1).ok_or(Errno::NOENT)?;
        if self.device(moved) != self.device(to.0) {
            return Err(Errno::XDEV.into());
        }
        if !replaces && self.entry(to.0, to.1).is_some() {
            return Err(Errno::EXIST.into());
        }
        self.change(Step(vec![(from.0, from.1.to_owned(), None), (to.0, to.1.to_owned(), Some(moved))]));
        Ok(())
    }

    /// Removes an entry: of a file, or of an empty folder.
    pub(super) fn remove(&mut self, folder: Inode, name: &OsStr, is_folder: bool) -> io::Result<()> {
        let gone = self.entry(folder, name).ok_or(Errno::NOENT)?;
        match (self.kind(gone), is_folder) {
            (Kind::Folder(inner), true) if !inner.now.is_empty() => return Err(Errno::NOTEMPTY.into()),
            (Kind::Folder(_), false) => return Err(Errno::ISDIR.into()),
            (Kind::File(_), true) => return Err(Errno::NOTDIR.into()),
            _ => {}
        }
        self.change(Step(vec![(folder, name.to_owned(), None)]));
        Ok(())
    }

    fn change(&mut self, step: Step) {
        self.apply(&step, false);
        self.steps.push(step);
    }

    fn apply(&mut self, step: &Step, durably: bool) {
        for (folder, name, leads) in &step.0 {
            let Kind::Folder(folder) = &mut self.inodes[*folder].1 else { continue };
            let entries = if durably { &mut folder.synced } else { &mut folder.now };
            match leads {
                Some(inode) => drop(entries.insert(name.clone(), *inode)),
                None => drop(entries.remove(name)),
            }
        }
    }

    /// Makes durable what a folder's entries are, with every change that these follow from.
    pub(super) fn sync_folder(&mut self, folder: Inode) {
        let mut folders = BTreeSet::from([folder]);
        let mut due = vec![false; self.steps.len()];
        for (step, due) in self.steps.iter().zip(&mut due).rev() {
            *due = step.folders().any(|folder| folders.contains(&folder));
            if *due {
                folders.extend(step.folders());
            }
        }
        let steps = std::mem::take(&mut self.steps);
        for (step, due) in steps.into_iter().zip(due) {
            if due {
                self.apply(&step, true);
            } else {
                self.steps.push(step);
            }
        }
    }

    /// Makes everything on a device durable.
    pub(super) fn sync_device(&mut self, device: u64) {
        for folder in 0..self.inodes.len() {
            match &mut self.inodes[folder] {
                (on, Kind::File(pages)) if *on == device => pages.sync(),
                (on, Kind::Folder(_)) if *on == device => self.sync_folder(folder),
                _ => {}
            }
        }
    }

    /// Files of a device.
    pub(super) fn files_mut(&mut self, device: u64) -> impl Iterator<Item = &mut Pages> {
        self.inodes.iter_mut().filter(move |(on, _)| *on == device).filter_map(|(_, kind)| match kind {
            Kind::File(pages) => Some(pages),
            Kind::Folder(_) => None,
        })
    }

    /// The power of some devices goes. Of the changes of names that are not durable a part is done: those up to some
    /// time, as where they are kept in a journal, or any.
    pub(super) fn cut(&mut self, rng: &mut fastrand::Rng, ending: Ending, is_cut: impl Fn(u64) -> bool) {
        let journal = rng.bool();
        let upto = match rng.u32(..100) < ending.kept {
            true => self.steps.len(),
            false if ending.torn == 0 => 0,
            false => rng.usize(..=self.steps.len()),
        };
        let steps = std::mem::take(&mut self.steps);
        for (at, step) in steps.into_iter().enumerate() {
            if !step.folders().any(|folder| is_cut(self.device(folder))) {
                self.steps.push(step);
                continue;
            }
            let kept = if journal || ending.torn == 0 { at < upto } else { rng.bool() };
            if kept {
                self.apply(&step, true);
            }
        }
        for (device, kind) in &mut self.inodes {
            match kind {
                Kind::File(pages) if is_cut(*device) => pages.cut(rng, ending),
                Kind::Folder(folder) if is_cut(*device) => folder.now.clone_from(&folder.synced),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Ending = Ending { kept: 0, torn: 0 };

    fn name(text: &str) -> &OsStr {
        OsStr::new(text)
    }

    /// A folder, durable, with a folder in it that isn't.
    fn tree() -> (Tree, Inode, Inode) {
        let mut tree = Tree::default();
        let disk = tree.make(ROOT, name("0"), Kind::Folder(Folder::default()), 0).unwrap();
        tree.sync_folder(ROOT);
        let inner = tree.make(disk, name("a"), Kind::Folder(Folder::default()), 0).unwrap();
        (tree, disk, inner)
    }

    fn cut(mut tree: Tree) -> Tree {
        tree.cut(&mut fastrand::Rng::with_seed(1), NOTHING, |_| true);
        tree
    }

    #[test]
    fn an_entry_is_durable_when_its_folder_was_synced_and_not_before() {
        let (mut tree, disk, inner) = tree();
        tree.make(inner, name("f"), Kind::File(Pages::default()), 0).unwrap();
        tree.sync_folder(inner);
        assert!(cut(tree.clone()).find(ROOT, Path::new("/0/a")).is_err(), "its own folder was not");
        tree.sync_folder(disk);
        assert!(cut(tree).find(ROOT, Path::new("/0/a/f")).is_ok());
    }

    #[test]
    fn a_rename_is_done_in_both_folders_or_in_none() {
        let (mut tree, disk, inner) = tree();
        tree.make(disk, name("f"), Kind::File(Pages::default()), 0).unwrap();
        tree.sync_folder(disk);
        tree.rename((disk, name("f")), (inner, name("g")), true).unwrap();
        let lost = cut(tree.clone());
        assert!(lost.find(ROOT, Path::new("/0/f")).is_ok() && lost.find(ROOT, Path::new("/0/a/g")).is_err());
        tree.sync_folder(inner);
        let kept = cut(tree);
        assert!(kept.find(ROOT, Path::new("/0/f")).is_err() && kept.find(ROOT, Path::new("/0/a/g")).is_ok());
    }

    #[test]
    fn what_was_removed_does_not_come_back_when_something_older_is_synced() {
        let (mut tree, disk, inner) = tree();
        tree.make(disk, name("f"), Kind::File(Pages::default()), 0).unwrap();
        tree.rename((disk, name("f")), (inner, name("f")), true).unwrap();
        tree.sync_folder(inner);
        tree.sync_folder(disk);
        let kept = cut(tree);
        assert!(kept.find(ROOT, Path::new("/0/f")).is_err() && kept.find(ROOT, Path::new("/0/a/f")).is_ok());
    }
}
