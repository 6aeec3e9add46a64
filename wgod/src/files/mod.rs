//! All access to torrents' payload files.
//!
//! The flow: the session opens a torrent ([`Job::Open`] gives a [`TorrentFiles`]), checks what is on
//! disk ([`Job::Check`]) and makes its folder ([`Job::Prepare`]). Then, for each block that arrives:
//!
//! 1. A peer task receives it into a [`BlockBuf`] of the [`BufPool`].
//! 2. The last block of a piece makes a [`Job::Store`]: a storage thread hashes the piece from memory
//!    and writes it in one run. Under memory pressure [`Job::Spill`] writes blocks early.
//! 3. The session's checkpoint makes a [`Job::Sync`]: what was stored becomes durable, then the store
//!    commits have-bits. The last one seals the torrent: its files are only read from then on.
//!
//! For upload, a peer task reads what is in memory itself ([`TorrentFiles::read_run_nowait`]: the piece
//! cache, then what the system caches) and leaves the rest to [`Job::Read`]. [`Job::Close`] and [`Job::Remove`] end a torrent.
//!
//! [`Storage`] routes jobs to one bounded queue and a few threads for each device (`device`), which do
//! them (`job`) with files from one bounded cache (`cache`), opened safely beneath the torrent's folder
//! (`beneath`), through one seam ([`Disk`]). Paths are held by reference (`refs`). What a file is called on disk
//! depends on whether it is complete (`names`, `naming`).

mod allowed;
mod beneath;
mod blocking_disk;
pub mod buf;
pub mod bufs;
mod cache;
mod check;
mod device;
pub mod disk;
mod error;
mod examine;
mod gather;
mod job;
mod modes;
mod mounts;
mod names;
mod naming;
mod parts;
mod piece;
mod piece_cache;
mod piece_reader;
mod place;
mod prepare;
mod pulled;
mod real_disk;
mod refs;
mod relocate;
mod remove;
mod rename;
mod runs;
mod scratch;
mod slab;
mod storage;
mod sync;
#[cfg(test)]
mod tests;
mod torrent;
mod upload;
mod volumes;
mod watch;
mod witness;

pub(crate) use allowed::real_path;
pub use allowed::{Allowed, AllowedFolder};
pub use blocking_disk::BlockingDisk;
pub use buf::{BlockBuf, BufPool};
pub use bufs::{Buf, Bufs};
pub use cache::DEFAULT_OPEN_FILES;
pub use check::{Check, CheckOutcome, CheckPieces, Checked, OnChecked};
pub use device::DeviceStatus;
pub use disk::{Disk, Handle, Mtime, Op};
pub use error::{DiskError, DiskErrorKind, DiskOp};
pub use examine::{Folder, FsKind};
pub use job::{Done, Job, ReadOutcome, Unfinished, Work};
pub use modes::Modes;
pub use mounts::{Mount, Mounts};
pub use names::Name;
pub use naming::NamingError;
pub use piece::StoreOutcome;
pub use place::{Presence, Space, Whereabouts};
pub use real_disk::RealDisk;
pub use refs::SecondWriter;
pub use relocate::{MoveError, MoveWatch, Placed, RelocateWork, Relocation, RelocationSpec, Settled};
pub use remove::RemoveOutcome;
pub use rename::{Renaming, RenamingError, RenamingSpec, RenamingWork};
pub use storage::{Storage, StorageLimits};
pub use sync::{Stamp, SyncOutcome};
pub use torrent::{OpenError, Preallocate, TorrentFiles, TorrentSpec};
pub use upload::{HEADER_LEN, Nowait, wire_len};
pub use witness::Witness;
