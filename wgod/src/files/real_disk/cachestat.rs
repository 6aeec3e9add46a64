//! How much of a file is in the page cache, told without a trace in it (`cachestat(2)`, since Linux 6.5).
#![allow(unsafe_code, reason = "one system call without a safe wrapper")]
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd};

/// The call's number, the same on every architecture that Rust and Linux have in common but Alpha.
const CACHESTAT: libc::c_long = 451;

/// What the kernel is asked for: `struct cachestat_range`.
#[repr(C)]
struct Asked {
    offset: u64,
    len: u64,
}

/// Its answer, in pages: `struct cachestat`.
#[repr(C)]
#[derive(Default)]
struct Pages {
    cached: u64,
    dirty: u64,
    writeback: u64,
    evicted: u64,
    recently_evicted: u64,
}

/// Whether no byte of the range is cached; `None` if the kernel, or a filter before it, doesn't tell.
pub(super) fn is_empty(file: BorrowedFd<'_>, range: Range<u64>) -> Option<bool> {
    // A length of 0 stands for all the rest of the file.
    let len = range.end.checked_sub(range.start).filter(|len| *len > 0);
    let Some(len) = len else { return Some(true) };
    let asked = Asked { offset: range.start, len };
    let mut pages = Pages::default();
    let flags: libc::c_uint = 0;
    // SAFETY: both pointers are to live values laid out as the kernel's, of which it reads the first and writes
    // the second; a kernel without the call touches neither.
    let result =
        unsafe { libc::syscall(CACHESTAT, file.as_raw_fd(), &raw const asked, &raw mut pages, flags) };
    (result == 0).then_some(pages.cached == 0)
}
