//! Backups as files of the state directory, through the `Disk` seam.
use std::io::{self, Read};

use sha2::{Digest, Sha256};

use super::BackupError;
use super::load::{Contents, walk};
use crate::files::{BlockingDisk, Bufs, Handle};
use crate::store::StoreError;
use crate::store::state_dir::StateDir;

/// Bytes read at a time.
const READ_BYTES: usize = 256 << 10;

/// A file that is written from its beginning to its end.
pub(super) struct FileWriter {
    disk: BlockingDisk,
    file: Handle,
    len: u64,
    hash: Sha256,
}

impl FileWriter {
    pub(super) fn new(disk: &BlockingDisk, file: &Handle) -> FileWriter {
        FileWriter { disk: disk.clone(), file: file.clone(), len: 0, hash: Sha256::new() }
    }

    /// Appends `bytes`.
    pub(super) fn append(&mut self, bytes: Vec<u8>) -> io::Result<()> {
        self.hash.update(&bytes);
        self.put(bytes)
    }

    /// Appends the sum of what was written; returns the length of the whole.
    pub(super) fn seal(mut self) -> io::Result<u64> {
        let sum: [u8; 32] = self.hash.finalize_reset().into();
        self.put(sum.to_vec())?;
        Ok(self.len)
    }

    fn put(&mut self, bytes: Vec<u8>) -> io::Result<()> {
        let len = bytes.len() as u64;
        self.disk.write_all_at(&self.file, self.len, Bufs::bytes(bytes)).1?;
        self.len += len;
        Ok(())
    }
}

/// A file, read from its beginning.
pub(super) struct FileReader {
    disk: BlockingDisk,
    file: Handle,
    offset: u64,
    ahead: Vec<u8>,
    taken: usize,
}

impl FileReader {
    pub(super) fn new(disk: &BlockingDisk, file: &Handle) -> FileReader {
        FileReader { disk: disk.clone(), file: file.clone(), offset: 0, ahead: Vec::new(), taken: 0 }
    }
}

impl Read for FileReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.taken == self.ahead.len() {
            let bufs = Bufs::bytes(vec![0; READ_BYTES]);
            let (bufs, read) = self.disk.read_full_at(&self.file, self.offset, bufs);
            let read = read?;
            self.ahead = bufs.into_bytes();
            self.ahead.truncate(read);
            (self.taken, self.offset) = (0, self.offset + read as u64);
        }
        let rest = self.ahead.get(self.taken..).unwrap_or_default();
        let len = rest.len().min(into.len());
        into[..len].copy_from_slice(&rest[..len]);
        self.taken += len;
        Ok(len)
    }
}

/// Checks every byte of a backup.
pub(super) fn verify(disk: &BlockingDisk, file: &Handle) -> Result<Contents, BackupError> {
    let len = disk.len(file).map_err(BackupError::read)?;
    walk(FileReader::new(disk, file), len, &mut |_, _, _| Ok(()))
}

/// Writes a backup under `name` in `dir`, durably, so that the name never leads to a part of one. `page`
/// gives the bytes until there are no more.
pub(super) fn write(
    dir: &StateDir,
    name: &str,
    mut page: impl FnMut() -> Result<Option<Vec<u8>>, StoreError>,
) -> Result<(), StoreError> {
    let unborn = format!("{name}.new");
    let file = dir.create(&unborn)?;
    let mut put_all = || {
        let mut writer = FileWriter::new(dir.disk(), &file);
        while let Some(bytes) = page()? {
            writer.append(bytes).map_err(|e| dir.error("cannot write", &unborn, e))?;
        }
        writer.seal().map_err(|e| dir.error("cannot write", &unborn, e))?;
        dir.disk().sync_all(&file).map_err(|e| dir.error("cannot sync", &unborn, e))
    };
    if let Err(error) = put_all() {
        // It takes room, most likely where there is none. If it can't be removed, the next one replaces it.
        let _ = dir.unlink(&unborn);
        return Err(error);
    }
    dir.rename(&unborn, name)?;
    dir.sync()
}
