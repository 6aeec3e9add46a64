//! All access to torrents' payload files.
#![forbid(unsafe_code)]

pub mod buf;
pub mod bufs;
pub mod disk;
mod real_disk;

pub use buf::{BlockBuf, BufPool};
pub use bufs::{Buf, Bufs};
pub use disk::{BlockingDisk, Disk, Handle, Op};
pub use real_disk::RealDisk;
