//! Reads files to be hashed and leaves the page cache as it was: a torrent of a terabyte must not push what
//! the machine works with out of memory.
//!
//! What is cached is read through the cache, in stretches that the processor's caches still hold when they
//! are hashed. The rest is read directly and in long stretches; or, where the file system can't do that,
//! through the cache, and dropped from it.
use std::cell::{Cell, OnceCell};
use std::fs::{self, File};
use std::io;
use std::num::NonZeroU64;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::fs::{Advice, OFlags, fadvise, fstatfs};
use rustix::io::{Errno, ReadWriteFlags, pread, preadv2};

use super::walk::{Found, Stamp};
use crate::failure::Failure;

/// Bytes of one read through the cache. With those of other pieces that are hashed together they must fit into
/// the processor's caches.
const CACHED: usize = 128 * 1024;
/// Bytes of one read from the device.
const DIRECT: usize = 1024 * 1024;
/// What direct reads are aligned to: no device asks for more.
const ALIGN: usize = 4096;
/// File systems that are memory (`statfs(2)`): nothing of theirs is read from a device, or dropped.
const IN_MEMORY: [u32; 2] = [0x0102_1994, 0x8584_58f6];

/// A file that is being read.
pub(super) struct Opened {
    file: File,
    direct: OnceCell<Option<File>>,
    /// Direct reads are not refused.
    direct_works: Cell<bool>,
    /// The file system tells what is cached.
    tells: Cell<bool>,
    in_memory: bool,
}

/// Memory to read into, and what was read.
pub(super) struct Window {
    memory: Vec<u8>,
    /// Where in `memory` an aligned address is.
    base: usize,
    start: usize,
    end: usize,
}

/// What came from a device.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FromDevice {
    pub(super) bytes: u64,
    pub(super) took: Duration,
}

/// What went wrong with a file.
pub(super) enum Trouble {
    /// The system refused.
    Failed(io::Error),
    /// It is not as long as it was, or is another file.
    Changed,
}

impl Trouble {
    pub(super) fn of(self, path: &Path) -> Failure {
        match self {
            Trouble::Failed(source) => Failure::File { path: path.to_owned(), source },
            Trouble::Changed => changed(path),
        }
    }
}

/// What is said of a file that is not what it was.
pub(super) fn changed(path: &Path) -> Failure {
    let why = "changed while it was hashed, so nothing was written; wait until no program writes to it any more, \
               and try again";
    Failure::Unfit { path: path.to_owned(), why: why.to_owned() }
}

impl Opened {
    /// Opens the file that was found.
    pub(super) fn open(found: &Found) -> Result<Rc<Opened>, Trouble> {
        let file = File::open(&found.path).map_err(Trouble::Failed)?;
        if Stamp::of(&file.metadata().map_err(Trouble::Failed)?) != found.stamp {
            return Err(Trouble::Changed);
        }
        // A look at what is cached must bring nothing along.
        let _ = fadvise(&file, 0, None, Advice::Random);
        let kind = fstatfs(&file).map(|stat| stat.f_type);
        let in_memory = kind.is_ok_and(|kind| IN_MEMORY.contains(&(kind as u32)));
        Ok(Rc::new(Opened {
            file,
            direct: OnceCell::new(),
            direct_works: Cell::new(!in_memory),
            tells: Cell::new(!in_memory),
            in_memory,
        }))
    }

    /// Whether the byte at `offset` is in the page cache; `None` where nobody says.
    fn is_cached(&self, offset: u64) -> Option<bool> {
        if !self.tells.get() {
            return None;
        }
        let mut byte = [0];
        match preadv2(&self.file, &mut [io::IoSliceMut::new(&mut byte)], offset, ReadWriteFlags::NOWAIT) {
            Ok(_) => Some(true),
            Err(Errno::AGAIN) => Some(false),
            Err(_) => {
                self.tells.set(false);
                None
            }
        }
    }

    /// A second descriptor, past the cache.
    fn direct(&self, path: &Path) -> Option<&File> {
        let open =
            || fs::OpenOptions::new().read(true).custom_flags(OFlags::DIRECT.bits().cast_signed()).open(path);
        if !self.direct_works.get() {
            return None;
        }
        self.direct.get_or_init(|| open().ok()).as_ref()
    }

    fn drop_cached(&self, offset: u64, len: u64) {
        // Only advice: that it fails costs memory and nothing else.
        if let Some(len) = NonZeroU64::new(len.next_multiple_of(ALIGN as u64)) {
            let _ = fadvise(&self.file, offset, Some(len), Advice::DontNeed);
        }
    }
}

impl Window {
    pub(super) fn new() -> Window {
        let memory = vec![0; DIRECT + 2 * ALIGN];
        // Of bytes any address can be aligned by going on; if not, direct reads are refused, and that is all.
        let base = memory.as_ptr().align_offset(ALIGN).min(ALIGN);
        Window { memory, base, start: 0, end: 0 }
    }

    /// What was read and not yet taken.
    pub(super) fn bytes(&self) -> &[u8] {
        self.memory.get(self.start..self.end).unwrap_or_default()
    }

    /// Takes bytes off the front.
    pub(super) fn take(&mut self, len: usize) {
        self.start += len;
    }

    /// Reads from `offset` on, up to `most` bytes and at least one, in place of what is there.
    pub(super) fn fill(
        &mut self,
        opened: &Opened,
        path: &Path,
        offset: u64,
        most: u64,
        from_device: &mut FromDevice,
    ) -> Result<(), Trouble> {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        (self.start, self.end) = (0, 0);
        let cached = opened.is_cached(offset);
        if cached == Some(true) || opened.in_memory {
            return self.plain(opened, offset, most.min(CACHED));
        }
        let begun = Instant::now();
        let read = match opened.direct(path) {
            Some(direct) => self.direct(direct, offset, most),
            None => Err(Errno::OPNOTSUPP),
        };
        match read {
            Ok(()) if cached == Some(false) => opened.drop_cached(offset, 1),
            Ok(()) => {}
            Err(Errno::INVAL | Errno::OPNOTSUPP) => {
                opened.direct_works.set(false);
                self.plain(opened, offset, most.min(DIRECT))?;
                opened.drop_cached(offset, self.bytes().len() as u64);
            }
            Err(errno) => return Err(Trouble::Failed(errno.into())),
        }
        from_device.bytes += self.bytes().len() as u64;
        from_device.took += begun.elapsed();
        if self.bytes().is_empty() { Err(Trouble::Changed) } else { Ok(()) }
    }

    fn plain(&mut self, opened: &Opened, offset: u64, len: usize) -> Result<(), Trouble> {
        let memory = self.memory.get_mut(self.base..).unwrap_or_default();
        let len = len.min(memory.len());
        let read = loop {
            match pread(&opened.file, &mut memory[..len], offset) {
                Err(Errno::INTR) => {}
                read => break read.map_err(|errno| Trouble::Failed(errno.into()))?,
            }
        };
        (self.start, self.end) = (self.base, self.base + read);
        if read == 0 { Err(Trouble::Changed) } else { Ok(()) }
    }

    /// Reads whole pages around what is wanted.
    fn direct(&mut self, file: &File, offset: u64, most: usize) -> Result<(), Errno> {
        let head = (offset % ALIGN as u64) as usize;
        let most = most.min(DIRECT - head);
        let pages = (head + most).next_multiple_of(ALIGN);
        let memory = self.memory.get_mut(self.base..self.base + pages).ok_or(Errno::INVAL)?;
        let read = loop {
            match pread(file, &mut *memory, offset - head as u64) {
                Err(Errno::INTR) => {}
                read => break read?,
            }
        };
        let end = read.min(head + most).max(head);
        (self.start, self.end) = (self.base + head, self.base + end);
        Ok(())
    }
}
