//! Session, the shell's side: one task drives the sans-IO [`Session`](wgo_core::session::Session) and carries out its effects.
//!
//! It owns every torrent's [`Entry`]. Whatever waits for a disk, a tracker or a peer runs as an
//! operation in a task of its own and reports back; a torrent's operations run one after the other, in
//! the order in which they were asked for, so a stop never overtakes a check and a restart never
//! meets the leftovers of the last run.
mod add;
mod arrival;
mod banned;
mod checking;
mod choke;
mod claims;
mod classes;
mod commands;
mod dht;
mod doubt;
mod driver;
mod effects;
mod entries;
mod entry;
mod fault;
mod goals;
mod happened;
mod labels;
mod metadata;
mod moving;
mod named;
mod network;
mod ops;
mod patterns;
mod renaming;
mod render;
mod rules;
mod save;
mod scrape;
mod selecting;
mod space;
mod tally;
#[cfg(test)]
mod tests;
mod trackers;
mod tune;
mod urls;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use wgo_api::error::ApiError;
use wgo_api::params::{
    Check, Choice, FilesParams, Known, LabelParams, ListParams, MoveParams, QueueParams, RemoveParams,
    RenameParams, SelectParams, SetParams, ShowParams, TrackersParams,
};
use wgo_api::result::{
    ActResult, Added, FilesResult, LimitResult, ListResult, RenameResult, ScrapeResult, ShowResult,
    TrackersResult,
};
use wgo_api::torrent::{State, Torrent as TorrentRow};
use wgo_core::TorrentId;
use wgo_core::limiter::Direction;
use wgo_core::piece_mgr::Priority;
use wgo_core::session::{ChosenGoals, QueueLimits};
use wgo_proto::host_port::HostPort;
use wgo_proto::metainfo::{Metainfo, PartSuffix};

use crate::files::{DiskError, Preallocate, Space};
use crate::torrent::Torrent;

pub use doubt::{doubted, is_unchanged};
pub use driver::{Driver, Start};
pub use entry::{Entry, from_stored, to_file_stamp, to_stored};
pub use fault::{of_disk, of_open};
pub use rules::Rules;
pub use tune::goals_of_add;
pub(crate) use tune::rank;

/// What tasks report to the driver.
pub enum Event {
    /// All places for connections are taken, and so many dials wait for one.
    Crowded(usize),
    /// A file of the torrent could not be read or written.
    DiskFailed(TorrentId, DiskError),
    /// The store was asked again to forget torrents that were removed; whether it did.
    Forgot(Vec<TorrentId>, bool),
    /// A device has this room, or can't say.
    Room(u64, Result<Space, DiskError>),
    /// A check has looked at all that it has to, and saves what it found.
    Hashed(TorrentId, Arc<checking::CheckProgress>),
    /// A piece that a quick check believed is wrong.
    Doubt(TorrentId, wgo_proto::PieceIndex),
    /// The operator's program has heard that the torrent completed.
    CompletionTold(TorrentId),
    /// Someone needs the torrent awake; answered when it is, with `None` if it can't be.
    Wake(TorrentId, oneshot::Sender<Option<Arc<Torrent>>>),
    /// Trackers said how large swarms are.
    Scraped(Vec<(TorrentId, scrape::Told)>),
    /// The host of a peer that a link names has these addresses.
    PeerFound(TorrentId, Vec<SocketAddr>),
}

/// What callers ask of the driver. Every answer may be dropped: the work is done all the same.
pub enum Command {
    /// Adds a torrent.
    Add(Box<AddRequest>, oneshot::Sender<Added>),
    /// Removes torrents.
    Remove(RemoveParams, oneshot::Sender<Result<ActResult, ApiError>>),
    /// Starts, stops, verifies or announces torrents.
    Act(Verb, SelectParams, oneshot::Sender<Result<ActResult, ApiError>>),
    /// Asks trackers how large swarms are.
    Scrape(SelectParams, oneshot::Sender<Result<ScrapeResult, ApiError>>),
    /// Moves torrents, or calls that off.
    Move(MoveParams, oneshot::Sender<Result<ActResult, ApiError>>),
    /// Shows or changes which files of a torrent are wanted.
    Files(FilesParams, oneshot::Sender<Result<FilesResult, ApiError>>),
    /// Gives labels, or takes them away.
    Label(LabelParams, oneshot::Sender<Result<ActResult, ApiError>>),
    /// Shows or changes the trackers of a torrent.
    Trackers(TrackersParams, oneshot::Sender<Result<TrackersResult, ApiError>>),
    /// Renames a file or folder of a torrent.
    Rename(RenameParams, oneshot::Sender<Result<RenameResult, ApiError>>),
    /// Sets what torrents have of their own.
    Set(Box<SetParams>, oneshot::Sender<Result<ActResult, ApiError>>),
    /// How many torrents have each label.
    Labels(oneshot::Sender<BTreeMap<String, u32>>),
    /// Moves torrents in the queue.
    Queue(QueueParams, oneshot::Sender<Result<ActResult, ApiError>>),
    /// Lists torrents.
    List(ListParams, oneshot::Sender<ListResult>),
    /// Shows one torrent.
    Show(ShowParams, oneshot::Sender<Result<ShowResult, ApiError>>),
    /// Finds the torrent that an id names.
    Name(String, oneshot::Sender<Result<Named, ApiError>>),
    /// The torrents named, or all; and the counts of the daemon.
    Glance(Option<Vec<String>>, oneshot::Sender<Result<Glance, ApiError>>),
    /// Sets limits of a torrent (bytes/s, 0 is unlimited) and reports them.
    LimitTorrent(String, [Option<(Direction, u64)>; 2], oneshot::Sender<Result<LimitResult, ApiError>>),
    /// New settings are in force.
    Settings(Box<Tunables>),
}

/// A torrent that an id names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Its number.
    pub id: TorrentId,
    /// Its canonical info-hash.
    pub info_hash: String,
    /// Its name.
    pub name: String,
}

/// What `start`, `stop`, `verify` and `announce` do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Run it, when the queue has a place for it.
    Start,
    /// Run it outside of the queue.
    StartNow,
    /// Leave it alone.
    Stop,
    /// Hash everything anew.
    Verify,
    /// The same, and forget what was known to be there: what is missing is given up.
    StartOver,
    /// Ask the trackers now.
    Announce,
}

/// A torrent to add, parsed.
pub struct AddRequest {
    /// What it is; of a magnet link what that says.
    pub metainfo: Metainfo,
    /// The raw file; empty for a magnet link.
    pub raw: Vec<u8>,
    /// The only files that the magnet link wants, by number; empty for all.
    pub select: Vec<RangeInclusive<u32>>,
    /// Absolute folder.
    pub folder: PathBuf,
    /// Not to be started.
    pub paused: bool,
    /// Labels.
    pub labels: Vec<String>,
    /// What to do about files that exist.
    pub check: Check,
    /// Peers to try.
    pub peers: Vec<SocketAddr>,
    /// Peers to try whose host is a name.
    pub hosts: Vec<HostPort>,
    /// It is an error if it is here already.
    pub fail_if_exists: bool,
    /// In order.
    pub sequential: bool,
    /// Which files are wanted.
    pub choose: Choice,
    /// The ends of each file first.
    pub first_last: bool,
    /// How it ranks in the queue.
    pub priority: Priority,
    /// Its own seeding goals.
    pub goals: ChosenGoals,
    /// What another client knew of it.
    pub known: Option<Box<Known>>,
}

/// The daemon's figures that the driver knows.
#[derive(Clone, Debug, Default)]
pub struct Glance {
    /// Torrents by state.
    pub states: BTreeMap<State, u32>,
    /// What is wrong with the first torrent in state `error`.
    pub trouble: Option<String>,
    /// Payload bytes/s in and out.
    pub rates: (u64, u64),
    /// Payload bytes of all runs in and out.
    pub totals: (u64, u64),
    /// The same, of this run.
    pub session: (u64, u64),
    /// A folder on each device that holds torrents.
    pub folders: BTreeMap<u64, PathBuf>,
    /// What is wrong with a device.
    pub troubles: BTreeMap<u64, String>,
    /// The torrents asked for.
    pub torrents: Option<Vec<TorrentRow>>,
}

/// Settings that can change while the daemon runs, as the driver uses them.
#[derive(Clone, Debug, PartialEq)]
pub struct Tunables {
    /// Connections of one torrent.
    pub max_peers_per_torrent: u32,
    /// Peers tell each other of peers.
    pub pex: bool,
    /// Bytes to leave free on a file system.
    pub min_free_space: u64,
    /// Where torrents are kept until they are complete.
    pub incomplete_folder: Option<PathBuf>,
    /// What the names of new torrents' files end in until they are complete.
    pub part_suffix: Option<PartSuffix>,
    /// How the space of files is reserved.
    pub preallocate: Preallocate,
    /// Slots, optimistic slots and the rule for seeds.
    pub choke: choke::ChokeTunables,
    /// Payload memory for pieces on their way to disk, in blocks.
    pub memory_blocks: usize,
    /// How many torrents run at once.
    pub queue: QueueLimits,
    /// When torrents have been seeded enough of which nobody else says so.
    pub goals: ChosenGoals,
    /// What is said of torrents by their labels and trackers.
    pub rules: Rules,
}

pub use choke::ChokeTunables;

/// The way to the driver. Cheap to clone.
#[derive(Clone)]
pub struct SessionHandle(mpsc::Sender<Command>);

impl SessionHandle {
    /// Commands that may wait; callers beyond them wait for room.
    pub const QUEUE: usize = 256;

    /// Asks the driver and waits for its answer. `None` when the daemon is stopping.
    pub async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
        self.begin(command).await?.await.ok()
    }

    /// Asks the driver without waiting for its answer; `None` when the daemon is stopping.
    pub async fn begin<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Option<oneshot::Receiver<T>> {
        let (reply, answer) = oneshot::channel();
        self.0.send(command(reply)).await.ok()?;
        Some(answer)
    }

    /// Tells the driver of new settings.
    pub async fn apply(&self, tunables: Tunables) {
        // A daemon that is stopping needs no settings.
        let _ = self.0.send(Command::Settings(Box::new(tunables))).await;
    }
}
