//! The backups that the daemon makes by itself: files of a folder of their own, numbered as they come.
//!
//! Their order is that number, which is in each file, and no time: a clock that jumps must not make the
//! newest the oldest. Which file name a backup has says nothing; a free one is taken. What is no backup
//! of ours, or of a form that only a later release reads, is left alone.
use std::path::PathBuf;

use super::file::{self, FileReader, verify};
use super::format::{Frame, Header, Reader};
use super::load::Contents;
use crate::store::StoreError;
use crate::store::state_dir::StateDir;

/// The folder, in the state directory.
pub(in crate::store) const FOLDER: &str = "backups";
/// File names that there are. More than the configuration asks for, since some may be in other hands.
const SLOTS: u32 = 128;

/// The folder of automatic backups.
#[derive(Clone, Debug)]
pub(in crate::store) struct Slots {
    dir: StateDir,
}

/// A backup that is there, as far as its beginning tells.
#[derive(Debug)]
struct Kept {
    slot: u32,
    header: Header,
}

impl Slots {
    /// Opens the folder, which exists.
    pub(in crate::store) fn open(state: &StateDir) -> Result<Slots, StoreError> {
        Ok(Slots { dir: state.inside(FOLDER)? })
    }

    /// When the newest was made, by the wall clock of then in Unix seconds; `None` where there is none.
    pub(in crate::store) fn newest(&self) -> Result<Option<u64>, StoreError> {
        let kept = self.scan()?;
        Ok(kept.iter().max_by_key(|kept| kept.header.serial).map(|kept| kept.header.created_at))
    }

    /// Makes the next backup and then removes the oldest, so that `keep` are left. `page` gives its bytes
    /// when it is told the backup's number. Returns its path.
    pub(in crate::store) fn add(
        &self,
        keep: u32,
        page: impl FnOnce(u64) -> Result<Pages, StoreError>,
    ) -> Result<PathBuf, StoreError> {
        let mut kept = self.scan()?;
        kept.sort_unstable_by_key(|kept| kept.header.serial);
        let serial = kept.last().map_or(0, |newest| newest.header.serial).saturating_add(1);
        let slot = self.free_slot()?;
        let name = name_of(slot);
        file::write(&self.dir, &name, page(serial)?)?;
        let spare = (kept.len() + 1).saturating_sub(keep.max(1) as usize);
        for old in kept.iter().take(spare) {
            self.dir.unlink(&name_of(old.slot))?;
        }
        Ok(self.dir.path_of(&name))
    }

    /// The newest that is whole to its last byte.
    pub(in crate::store) fn newest_good(&self) -> Option<(PathBuf, Contents)> {
        let mut kept = self.scan().ok()?;
        kept.sort_unstable_by_key(|kept| std::cmp::Reverse(kept.header.serial));
        kept.iter().find_map(|kept| {
            let name = name_of(kept.slot);
            let file = self.dir.open_to_read(&name).ok()??;
            Some((self.dir.path_of(&name), verify(self.dir.disk(), &file).ok()?))
        })
    }

    fn scan(&self) -> Result<Vec<Kept>, StoreError> {
        let mut kept = Vec::new();
        for slot in 1..=SLOTS {
            let name = name_of(slot);
            let Some(file) = self.dir.open_to_read(&name)? else { continue };
            let len = self.dir.disk().len(&file).map_err(|e| self.dir.error("cannot read", &name, e))?;
            let begin = Reader::new(FileReader::new(self.dir.disk(), &file), len);
            let first = begin.and_then(|mut reader| reader.next_frame());
            if let Ok(Frame::Header(header)) = first
                && header.serial < u64::MAX
            {
                kept.push(Kept { slot, header });
            }
        }
        Ok(kept)
    }

    fn free_slot(&self) -> Result<u32, StoreError> {
        for slot in 1..=SLOTS {
            if self.dir.open_to_read(&name_of(slot))?.is_none() {
                return Ok(slot);
            }
        }
        let full = std::io::Error::other("every name for a backup is taken; remove what wgod did not make");
        Err(StoreError::io("cannot add to", self.dir.path_of(""), full))
    }
}

/// Gives the bytes of a backup, until there are no more.
pub(in crate::store) type Pages = Box<dyn FnMut() -> Result<Option<Vec<u8>>, StoreError>>;

fn name_of(slot: u32) -> String {
    format!("auto-{slot}.wgodbak")
}
