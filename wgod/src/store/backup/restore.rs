//! Restoring: a backup is loaded into a new database beside the live one, wholly and durably, and takes its
//! place at the next start, before anything is opened.
//!
//! ```text
//! state.redb.restoring   being loaded; of no meaning
//! state.redb.restored    loaded: the next start takes it
//! state.redb.before-restore   what it replaced, until the next restore
//! ```
//!
//! From the rename to `restored` on, whatever ends the daemon, the backup is what the next start finds;
//! before it, nothing has happened.
use std::io::Read;

use redb::{ReadableTable, WriteTransaction};

use super::load::{Contents, LoadError, load};
use crate::store::StoreError;
use crate::store::database::{self, Database};
use crate::store::record::{CheckKind, Have, OwedCheck, Progress};
use crate::store::rows;
use crate::store::schema::{META, META_CLEAN, META_NEXT_ID, Migration, PROGRESS, TORRENTS, number};
use crate::store::state_dir::StateDir;

/// A database that is being made of a backup.
pub(in crate::store) const RESTORING: &str = "state.redb.restoring";
/// One that is ready.
pub(in crate::store) const RESTORED: &str = "state.redb.restored";
/// The database that a restored one replaced.
pub(in crate::store) const BEFORE: &str = "state.redb.before-restore";

/// Makes a database of a backup of `len` bytes, for the next start.
pub(super) fn stage(
    dir: &StateDir,
    from: impl Read,
    len: u64,
    migrations: &[Migration],
) -> Result<Contents, LoadError> {
    let mut database = Database::create_empty(dir, RESTORING)?;
    let contents = match load(from, len, &mut database, migrations) {
        Ok(contents) => contents,
        Err(error) => {
            drop(database);
            // Of no use to anybody. If it stays, the next one replaces it.
            let _ = dir.unlink(RESTORING);
            return Err(error);
        }
    };
    database.commit(settle)?;
    database.close_durably()?;
    dir.rename(RESTORING, RESTORED)?;
    if let Err(error) = dir.sync() {
        // The caller is told that nothing happened, so nothing may.
        let _ = dir.unlink(RESTORED);
        return Err(error.into());
    }
    Ok(contents)
}

/// Puts a database that waits in its place; whether there was one. Whatever interrupts it, the next call
/// goes on.
pub(in crate::store) fn swap(dir: &StateDir) -> Result<bool, StoreError> {
    if dir.open_existing(RESTORED)?.is_none() {
        return Ok(false);
    }
    // Absent after an earlier call that got so far, and where there was none.
    if dir.open_existing(database::FILE)?.is_some() {
        dir.rename(database::FILE, BEFORE)?;
        dir.sync()?;
    }
    dir.rename(RESTORED, database::FILE)?;
    dir.sync()?;
    Ok(true)
}

/// Makes the state of the time of the backup one that can be begun with now: what the files hold is found
/// out, where they are not as they were then.
fn settle(txn: &WriteTransaction) -> Result<(), redb::Error> {
    let mut table = txn.open_table(PROGRESS)?;
    let mut settled = Vec::new();
    for entry in table.iter()? {
        let (id, row) = entry?;
        // A row that can't be read stays; its torrent is left out, as it was before.
        let Ok(progress) = rows::decode_progress(row.value()) else { continue };
        if let Some(progress) = doubted(progress) {
            settled.push((id.value(), rows::encode_progress(&progress)));
        }
    }
    for (id, row) in settled {
        table.insert(id, row.as_slice())?;
    }
    let mut meta = txn.open_table(META)?;
    let last = txn.open_table(TORRENTS)?.last()?.map_or(0, |(id, _)| id.value());
    let next = number(&meta, META_NEXT_ID)?.max(last.saturating_add(1));
    meta.insert(META_NEXT_ID, next)?;
    // The run that was under way is not this one: it leaves no crash to recover from.
    meta.insert(META_CLEAN, 1)?;
    Ok(())
}

/// The progress of an unfinished torrent, restored; `None` where nothing about it changes.
///
/// It may have got further since the backup, or its files may have been replaced by ones of the same
/// length. So a check of all of it is owed, of which those files count as done that still have the size
/// and time of the backup's last checkpoint. One that is complete needs no more than the comparison
/// that each start makes.
fn doubted(progress: Progress) -> Option<Progress> {
    if progress.have == Have::All && !progress.writing {
        return None;
    }
    let check = progress.check.clone().unwrap_or_else(|| {
        Box::new(OwedCheck {
            kind: CheckKind::Full,
            checked: Have::All,
            good: progress.have.clone(),
            files: progress.files.clone(),
        })
    });
    Some(Progress { writing: false, partials: Vec::new(), check: Some(check), ..progress })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::FileStamp;
    use crate::store::tests::writing;

    #[test]
    fn an_unfinished_torrent_is_checked_where_its_files_changed_and_a_seed_is_left_alone() {
        let files = vec![Some(FileStamp { len: 1, mtime_nanos: 2, suffixed: false }), None];
        let seed = Progress { have: Have::All, files: files.clone(), ..Progress::default() };
        assert_eq!(doubted(seed.clone()), None);
        assert!(doubted(Progress { writing: true, ..seed }).is_some());

        let leech = Progress { files: files.clone(), ..writing(9, &[3]) };
        let have = leech.have.clone();
        let doubted_leech = doubted(leech).unwrap();
        assert!(!doubted_leech.writing, "size and time are both compared");
        let check = doubted_leech.check.clone().unwrap();
        assert_eq!((check.kind, check.checked, check.good), (CheckKind::Full, Have::All, have));
        assert_eq!(check.files, files);

        let owed = Box::new(OwedCheck::anew(CheckKind::Quick));
        let checking = Progress { check: Some(owed.clone()), ..doubted_leech };
        assert_eq!(doubted(checking).unwrap().check, Some(owed), "a check that was under way goes on");
    }
}
