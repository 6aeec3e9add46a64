//! Cold data brought into memory by the kernel's own read-ahead, for a check that is about to hash it.
//!
//! The kernel reads ahead into large stretches of memory that lie together, in the longest requests that the
//! device takes. Where it is told to read far ahead, as for arrays and for virtual disks, that is quicker
//! than direct reads are: here 1.8 to 2.2 GB/s against 1.0 to 1.4, for as little time (`POSIX_FADV_WILLNEED`
//! isn't: it takes single pages, 0.9 GB/s for four times the time). Elsewhere direct reads, of which
//! several are under way at once, are better, and a device keeps them.
//!
//! A range is pulled only if nothing of it is cached, so that all of it can be dropped afterwards.
use std::num::NonZeroU64;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, OnceLock, PoisonError};

use rustix::fs::{self, Advice, Mode, OFlags, fadvise, sendfile};
use rustix::io::Errno;

use super::{RealFile, cachestat};

/// Devices for which the kernel reads at least so far ahead are read that way. Its default is 128 KiB.
const FAR: u64 = 1024 * 1024;

/// What a file remembers from one pull to the next.
#[derive(Default)]
pub(super) struct Pulled {
    /// How far the kernel reads ahead, if that is [`FAR`].
    window: OnceLock<Option<u64>>,
    /// What the kernel may have read ahead of the last pull. Nothing of it was cached before.
    ahead: Mutex<Range<u64>>,
}

/// Reads the range into the page cache; not if some of it is there, or if direct reads are quicker. Whether
/// it did.
pub(super) fn pull(file: &RealFile, range: Range<u64>) -> bool {
    let Some(window) = *file.pulled.window.get_or_init(|| window(file)) else { return false };
    let Some(null) = null() else { return false };
    // While a window is read the next one is asked for.
    let reach = range.end.saturating_add(2 * window);
    let mut ahead = file.pulled.ahead.lock().unwrap_or_else(PoisonError::into_inner);
    let unknown = if ahead.start == range.start { ahead.end } else { range.start };
    if cachestat::is_empty(file.fd.as_fd(), unknown..reach) != Some(true) {
        *ahead = 0..0;
        return false;
    }
    *ahead = range.end..reach;
    drop(ahead);
    let mut at = range.start;
    while let Some(left) = range.end.checked_sub(at).filter(|left| *left > 0) {
        match sendfile(null, &file.fd, Some(&mut at), usize::try_from(left).unwrap_or(usize::MAX)) {
            Err(Errno::INTR) | Ok(1..) => {}
            // What can't be read is told by those who read it.
            Ok(0) | Err(_) => break,
        }
    }
    true
}

/// Drops what was pulled. Only advice: that it fails costs memory and nothing else.
pub(super) fn release(file: &RealFile, range: Range<u64>) {
    if let Some(len) = range.end.checked_sub(range.start).and_then(NonZeroU64::new) {
        let _ = fadvise(&file.fd, range.start, Some(len), Advice::DontNeed);
    }
}

/// Bytes that the kernel reads ahead of a reader of the file, if that is far.
fn window(file: &RealFile) -> Option<u64> {
    if file.is_in_memory() {
        return None;
    }
    let device = fs::fstat(&file.fd).ok()?.st_dev;
    let (major, minor) = (fs::major(device), fs::minor(device));
    let says = std::fs::read_to_string(format!("/sys/class/bdi/{major}:{minor}/read_ahead_kb")).ok()?;
    let bytes = says.trim().parse::<u64>().ok()?.checked_mul(1024)?;
    (bytes >= FAR).then_some(bytes)
}

/// Where pulled bytes go, without a copy.
fn null() -> Option<&'static OwnedFd> {
    static NULL: OnceLock<Option<OwnedFd>> = OnceLock::new();
    let open = || fs::open("/dev/null", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()).ok();
    NULL.get_or_init(open).as_ref()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::files::disk::{At, OpenHow, OpenMode};
    use crate::files::{BlockingDisk, Handle, RealDisk};

    const M: u64 = 1 << 20;

    /// A file of 32 MiB, on the device and not in memory, of which the kernel may read 16 MiB ahead.
    /// `None` where that can't be had.
    fn cold_file(dir: &std::path::Path) -> Option<Handle> {
        let path = dir.join("f");
        std::fs::write(&path, vec![7; 32 << 20]).unwrap();
        let how = OpenHow { mode: OpenMode::Read, follow: false };
        let handle = BlockingDisk::new(Arc::new(RealDisk)).open(At::path(path), how).unwrap();
        let file: &RealFile = handle.inner().unwrap();
        fs::fdatasync(&file.fd).unwrap();
        release(file, 0..32 * M);
        file.pulled.window.set(Some(16 * M)).unwrap();
        let can = !file.is_in_memory() && is_empty(file, 0..32 * M);
        if !can {
            println!("SKIPPED: the temp folder doesn't tell what it caches");
        }
        can.then_some(handle)
    }

    fn is_empty(file: &RealFile, range: Range<u64>) -> bool {
        cachestat::is_empty(file.fd.as_fd(), range) == Some(true)
    }

    #[test]
    fn pulled_bytes_are_in_memory_until_they_are_released() {
        let dir = tempfile::tempdir().unwrap();
        let Some(handle) = cold_file(dir.path()) else { return };
        let file: &RealFile = handle.inner().unwrap();
        for n in 0..4 {
            let range = 8 * M * n..8 * M * (n + 1);
            assert!(pull(file, range.clone()), "{n}: what was read ahead doesn't count as cached");
            for page in range.clone().step_by(4096) {
                assert!(!is_empty(file, page..page + 1), "{n} {page}");
            }
            release(file, range);
        }
        assert!(is_empty(file, 0..32 * M));
        assert!(pull(file, 24 * M..40 * M), "the end of the file is no fault");
    }

    #[test]
    fn nothing_is_pulled_beside_what_is_cached() {
        let dir = tempfile::tempdir().unwrap();
        let Some(handle) = cold_file(dir.path()) else { return };
        let file: &RealFile = handle.inner().unwrap();
        // What is read from now on brings nothing along.
        fadvise(&file.fd, 0, None, Advice::Random).unwrap();
        rustix::io::pread(&file.fd, &mut [0][..], 10 * M).unwrap();
        assert!(!pull(file, 0..8 * M), "the kernel could reach it");
        assert!(!pull(file, 8 * M..16 * M));
        assert!(
            is_empty(file, 0..10 * M) && !is_empty(file, 10 * M..11 * M) && is_empty(file, 11 * M..32 * M)
        );
        assert!(pull(file, 16 * M..24 * M));
    }

    #[test]
    fn files_in_memory_are_not_pulled() {
        let Ok(dir) = tempfile::tempdir_in("/dev/shm") else { return println!("SKIPPED: no /dev/shm") };
        std::fs::write(dir.path().join("f"), [7; 9000]).unwrap();
        let how = OpenHow { mode: OpenMode::Read, follow: false };
        let handle = BlockingDisk::new(Arc::new(RealDisk)).open(At::path(dir.path().join("f")), how).unwrap();
        assert!(!pull(handle.inner().unwrap(), 0..9000));
    }
}
