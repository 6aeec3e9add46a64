//! Backups of the whole session: made of one consistent snapshot while the daemon runs, checked to the
//! last byte before anything is restored from them.
//!
//! `format` is the file's form, `export` makes it of a snapshot, `load` makes a database of it, `file`
//! reads and writes files of the state directory. Those that the daemon makes by itself are in `slots`
//! (which there are, which one goes) and `schedule` (when). `transfer` passes files to and from callers
//! of the API; `restore` swaps a loaded database in.
use std::io::{self, Read};
use std::sync::Arc;

use sha2::{Digest, Sha256};

mod export;
mod file;
pub(super) mod format;
pub(super) mod load;
pub(super) mod restore;
mod schedule;
mod slots;
mod transfer;

pub(super) use export::Export;
use format::Frame;
pub use load::Contents;
use load::{LoadError, walk};
pub use schedule::{Age, is_due};
pub(super) use slots::{FOLDER, Pages, Slots};
pub use transfer::{Transfer, TransferError};
pub(super) use transfer::{Transfers, append as append_part, read as read_part};

use super::schema::Migration;
use super::state_dir::StateDir;
use transfer::Held;

/// Why a file can't be restored from. Nothing has been changed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BackupError {
    /// It has no content.
    #[error("it is empty: what wrote it did not finish; use another backup")]
    Empty,
    /// It begins as no backup does.
    #[error(
        "it is no backup of wgod; those are made by `wgoctl backup FILE`, and by wgod itself in `backups` of its state directory"
    )]
    NotABackup,
    /// It has a form of a later release.
    #[error(
        "it has form {found}, this wgod reads up to {}: use the wgod that made it, or a newer one",
        format::FORM
    )]
    Form {
        /// Its form.
        found: u8,
    },
    /// It is whole, and has tables of a later release.
    #[error(
        "wgod {release} made it, with schema {found}, and this wgod reads up to {known}: install that wgod, or a newer one"
    )]
    Newer {
        /// Its schema.
        found: u64,
        /// The newest schema that this release reads.
        known: u64,
        /// The release that made it.
        release: String,
    },
    /// It ends before its end.
    #[error("it ends in the middle: it was cut short, or is damaged; use another backup")]
    CutShort,
    /// The bytes aren't those that were written.
    #[error("its checksum does not match: it is damaged; use another backup")]
    Checksum,
    /// Its checksum may be right, its content makes no sense.
    #[error("it is malformed ({0}): it is damaged, or was not made by wgod; use another backup")]
    Malformed(&'static str),
    /// The disk refused.
    #[error("it can't be read: {0}")]
    Read(Arc<io::Error>),
}

impl BackupError {
    fn read(error: io::Error) -> BackupError {
        BackupError::Read(Arc::new(error))
    }
}

impl From<LoadError> for TransferError {
    fn from(error: LoadError) -> TransferError {
        match error {
            LoadError::Backup(error) => TransferError::Backup(error),
            LoadError::Store(error) => TransferError::Store(error),
        }
    }
}

/// Checks every byte of a backup.
pub(super) fn verify(from: impl Read, len: u64) -> Result<Contents, BackupError> {
    walk(from, len, &mut |_, _, _| Ok(()))
}

/// A backup whose checksum is put behind it, read and written again; `None` if it can't be restored from.
pub(super) fn rewritten(body: &[u8]) -> Option<Vec<u8>> {
    let whole = [body, &Sha256::digest(body)].concat();
    let len = whole.len() as u64;
    verify(&whole[..], len).ok()?;
    let mut reader = format::Reader::new(&whole[..], len).ok()?;
    let mut out = Vec::new();
    format::put_magic(&mut out);
    loop {
        let frame = reader.next_frame().ok()?;
        frame.put(&mut out);
        if let Frame::End(_) = frame {
            return Some(out);
        }
    }
}

/// The same of one that was transferred.
pub(super) fn verify_held(dir: &StateDir, held: &Held) -> Result<Contents, BackupError> {
    file::verify(dir.disk(), &held.file)
}

/// Makes a database of a backup, for the next start.
pub(super) fn stage(
    dir: &StateDir,
    from: impl Read,
    len: u64,
    migrations: &[Migration],
) -> Result<Contents, TransferError> {
    Ok(restore::stage(dir, from, len, migrations)?)
}

/// The same of one that was transferred.
pub(super) fn stage_held(
    dir: &StateDir,
    held: &Held,
    migrations: &[Migration],
) -> Result<Contents, TransferError> {
    stage(dir, file::FileReader::new(dir.disk(), &held.file), held.len, migrations)
}

/// Fills a file that goes to a caller; it needn't outlive the daemon.
pub(super) fn fill(dir: &StateDir, held: &mut Held, mut page: Pages) -> Result<Contents, TransferError> {
    let mut writer = file::FileWriter::new(dir.disk(), &held.file);
    let failed = |e| dir.error("cannot keep a backup in", "", e);
    while let Some(bytes) = page()? {
        writer.append(bytes).map_err(failed)?;
    }
    held.len = writer.seal().map_err(failed)?;
    Ok(verify_held(dir, held)?)
}
