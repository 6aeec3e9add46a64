//! What would become of a torrent of another client, found out by looking at its files without reading them.
use std::collections::BTreeSet;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use wgo_api::params::{AddParams, Check as ApiCheck, Known, Source};
use wgo_api::torrent::FilePriority;
use wgo_proto::{Bitfield, FileIndex, PieceIndex};

use super::found::{Found, Left};
use super::names::Renamed;
use crate::failure::Failure;
use crate::units::count;

/// How what is there is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Check {
    /// Not at all: no file was touched since the client looked at it.
    None,
    /// 16 pieces, and each other one before it is first served.
    Sample,
    /// The pieces that it had in files that were touched since.
    Touched,
    /// All that is there.
    Full,
}

impl Check {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Check::None => "none",
            Check::Sample => "sample",
            Check::Touched => "touched",
            Check::Full => "full",
        }
    }
}

/// A torrent that can be taken over.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) name: String,
    pub(super) info_hash: String,
    pub(super) params: AddParams,
    pub(super) check: Check,
    /// Share of the pieces that it had, as far as anybody says so.
    pub(super) progress: Option<f64>,
    /// Where it goes in the queue: those with smaller numbers come first.
    pub(super) queued: (u64, u64),
    /// Files that have other names than their maker's.
    pub(super) renamed: Vec<Renamed>,
    /// Files that get the names that they have when they are complete.
    pub(super) renames: Vec<(PathBuf, PathBuf)>,
    /// What the names of those end in now.
    pub(super) suffix: Option<&'static str>,
    notes: Vec<String>,
}

impl Plan {
    /// Looks at the files of a torrent.
    ///
    /// # Errors
    /// When they aren't where the client had them.
    pub(super) fn of(mut found: Found) -> Result<Plan, Left> {
        if let Some(incomplete) = found.incomplete.take()
            && !is_in(&found, &found.folder)
            && is_in(&found, &incomplete)
        {
            found.known.final_folder = Some(std::mem::replace(&mut found.folder, incomplete));
        }
        found.apply_names()?;
        if found.folder.to_str().is_none() {
            return Err(found.left(format!("{}: the name of a folder must be UTF-8", found.folder.display())));
        }
        let have = found.have.clone().filter(|have| !have.is_empty());
        let seen = look(&found, have.as_ref())?;
        let skips = found.known.priorities.contains(&FilePriority::Skip);
        let check = match &have {
            None if found.have.is_some() || !seen.anything => Check::Full,
            None => Check::Sample,
            Some(_) if seen.untrusted == 0 => Check::None,
            Some(have) if have.is_full() && !skips => Check::Sample,
            Some(_) => Check::Touched,
        };
        let progress = found.have.as_ref().map(|have| match have.len() {
            0 => 1.0,
            all => f64::from(have.count()) / f64::from(all),
        });
        let claimed = have.as_ref().and_then(|have| match have.is_full() {
            true => Known::all(),
            false => Known::some(&have.to_wire()),
        });
        let Found {
            raw,
            metainfo,
            folder,
            labels,
            paused,
            sequential,
            first_last,
            goals,
            queued,
            renamed,
            known,
            notes,
            suffix,
            ..
        } = found;
        let added_at = known.added_at.unwrap_or(u64::MAX);
        let params = AddParams {
            sources: vec![Source::of_file(&raw)],
            folder: Some(folder),
            paused,
            labels,
            check: if have.is_none() && check == Check::Sample { ApiCheck::Quick } else { ApiCheck::Full },
            sequential,
            first_last,
            ratio: goals.ratio,
            seed_time_secs: goals.time_secs,
            seed_idle_secs: goals.idle_secs,
            goal_action: goals.action,
            known: Some(Box::new(Known { have: claimed, ..known })),
            ..AddParams::default()
        };
        Ok(Plan {
            name: metainfo.info.name,
            info_hash: metainfo.hashes.canonical().to_string(),
            params,
            check,
            progress,
            queued: (queued.unwrap_or(u64::MAX), added_at),
            renamed,
            renames: seen.renames,
            suffix,
            notes,
        })
    }

    /// What else there is to know.
    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes = self.notes.clone();
        if let (1.., Some(suffix)) = (self.renames.len(), self.suffix) {
            let files = count(self.renames.len(), "file");
            notes.push(format!("{files} renamed, without {suffix} at the end"));
        }
        notes
    }

    /// Gives files the names that they have when they are complete; all of them or none.
    ///
    /// # Errors
    /// Says which could not be renamed, and why.
    pub(super) fn rename(&self) -> Result<(), String> {
        for (done, (from, to)) in self.renames.iter().enumerate() {
            if let Err(error) = move_to_free(from, to) {
                undo(&self.renames[..done]);
                return Err(format!("cannot rename {} to {}: {error}", from.display(), to.display()));
            }
        }
        Ok(())
    }

    /// Takes [`Plan::rename`] back.
    pub(super) fn undo_rename(&self) {
        undo(&self.renames);
    }
}

fn undo(renames: &[(PathBuf, PathBuf)]) {
    for (from, to) in renames.iter().rev() {
        // The client finds it under either name.
        let _ = move_to_free(to, from);
    }
}

/// Renames without putting anything in the place of another file.
fn move_to_free(from: &Path, to: &Path) -> std::io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Some file systems can't promise it.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) if to.symlink_metadata().is_err() => {
            std::fs::rename(from, to)
        }
        done => Ok(done?),
    }
}

/// Has all that was written to the file systems of these folders put on disk: clients end without that, and
/// what is taken over counts as durable.
///
/// # Errors
/// Says which folder's could not be.
pub(super) fn sync<'p>(
    folders: impl IntoIterator<Item = &'p Path>,
    synced: &mut BTreeSet<u64>,
) -> Result<(), Failure> {
    for folder in folders {
        let failed = |source: std::io::Error| Failure::Write { path: folder.to_owned(), source };
        // Nothing of a folder that isn't there can be lost.
        let Ok(metadata) = folder.metadata() else { continue };
        if synced.insert(metadata.dev()) {
            let folder = std::fs::File::open(folder).map_err(failed)?;
            rustix::fs::syncfs(&folder).map_err(|error| failed(error.into()))?;
        }
    }
    Ok(())
}

/// Whether any file of a torrent is in a folder, by the name that it has there.
fn is_in(found: &Found, folder: &Path) -> bool {
    found
        .on_disk()
        .any(|(_, path)| find(&folder.join(path.as_path()), found.suffix, &mut Vec::new()).is_some())
}

/// What there is of a torrent.
struct Seen {
    /// Any file at all.
    anything: bool,
    /// Files with claimed pieces that were touched since.
    untrusted: usize,
    renames: Vec<(PathBuf, PathBuf)>,
}

fn look(found: &Found, have: Option<&Bitfield>) -> Result<Seen, Left> {
    let info = &found.metainfo.info;
    let mut seen = Seen { anything: false, untrusted: 0, renames: Vec::new() };
    let mut missing: Vec<PathBuf> = Vec::new();
    for (index, path) in found.on_disk() {
        let Some(file) = info.files.get(index) else { continue };
        let path = found.folder.join(path.as_path());
        let is_had = |piece: PieceIndex| have.is_some_and(|have| have.get(piece.0));
        let is_claimed = info.pieces_in(FileIndex(index as u32)).any(is_had);
        let is_skipped = found.known.priorities.get(index) == Some(&FilePriority::Skip);
        let metadata = find(&path, found.suffix, &mut seen.renames);
        seen.anything |= metadata.is_some();
        match metadata {
            Some(metadata) => {
                let same = found.known.is_unmodified(index, metadata.mtime()) && metadata.len() <= file.len;
                seen.untrusted += usize::from(is_claimed && !same);
            }
            None if is_claimed && !is_skipped => missing.push(path),
            None => seen.untrusted += usize::from(is_claimed),
        }
    }
    let had_something = found.have.is_none() && found.known.downloaded_bytes > 0;
    if let Some(first) = missing.first() {
        return Err(found.left(format!(
            "{} {} missing: mount what isn't mounted, or, if the client saw it under another path, say so with \
            --map FROM=TO",
            first.display(),
            match missing.len() {
                1 => "is".to_owned(),
                n => format!("and {} more of its files are", n - 1),
            },
        )));
    }
    if had_something && !seen.anything {
        return Err(found.left(format!(
            "none of its files is in {}, and its state does not say what it had",
            found.folder.display()
        )));
    }
    Ok(seen)
}

/// The file at `path`, or the one with the suffix of what isn't complete, which is to be renamed then.
fn find(path: &Path, suffix: Option<&str>, renames: &mut Vec<(PathBuf, PathBuf)>) -> Option<Metadata> {
    if let Ok(metadata) = path.metadata() {
        return Some(metadata).filter(Metadata::is_file);
    }
    let mut partial = path.to_owned();
    partial.as_mut_os_string().push(suffix?);
    let metadata = partial.metadata().ok().filter(Metadata::is_file)?;
    renames.push((partial, path.to_owned()));
    Some(metadata)
}
