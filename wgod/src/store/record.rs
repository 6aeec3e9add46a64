//! What the store keeps of a torrent, in the three parts that change at different times.
//!
//! `Settings` changes when somebody says so, `Progress` at checkpoints, `Counters` at checkpoints and
//! while seeding. Each part is one row, so a checkpoint rewrites neither the trackers of a torrent
//! nor, of a seeding one, its bitmap; and two writers of different parts can't undo each other.
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use wgo_api::params::Choice;
use wgo_core::piece_mgr::Priority;
use wgo_core::session::{ChosenGoals, Goals, Place, Reached};
use wgo_core::{ByteRate, TorrentId};
use wgo_proto::metainfo::PartSuffix;
use wgo_proto::path::SafePath;
use wgo_proto::{FileIndex, InfoHashes, PieceIndex};

/// A torrent as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TorrentRecord {
    /// The key.
    pub id: TorrentId,
    /// What the operator and the life cycle decide.
    pub settings: Settings,
    /// What is on disk, durably.
    pub progress: Progress,
    /// Totals since the torrent was added.
    pub counters: Counters,
}

/// What the operator and the torrent's life cycle decide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The torrent's hashes; those not known yet (a hybrid's second one, from a magnet) are absent.
    pub hashes: InfoHashes,
    /// Shown name, sanitised.
    pub name: String,
    /// Absolute folder that holds the torrent's files; any bytes, as paths are.
    pub folder: PathBuf,
    /// Unix seconds.
    pub added_at: u64,
    /// What the operator wants of it.
    pub wanted: Wanted,
    /// The operator asked for the check that is owed: it goes on though the torrent is stopped.
    pub check_asked: bool,
    /// Why the torrent is stopped, where it isn't by wish.
    pub error: Option<TorrentFault>,
    /// Labels, in the operator's order.
    pub labels: Vec<String>,
    /// Pieces are asked for in order.
    pub sequential: bool,
    /// Upload limit.
    pub up_limit: Option<ByteRate>,
    /// Download limit.
    pub down_limit: Option<ByteRate>,
    /// Where it stands in the queue.
    pub place: Place,
    /// Its own seeding goals.
    pub goals: ChosenGoals,
    /// The seeding goal that it has reached.
    pub goal_reached: Option<GoalReached>,
    /// One per file of the torrent, or empty: all `Normal`.
    pub file_priorities: Vec<Priority>,
    /// The ends of each file come before its middle.
    pub ends_first: bool,
    /// Files of which the bytes that they share pieces with others are in the part file. `None`: there is no
    /// part file; an empty list: one that is to be removed.
    pub parted: Option<Vec<FileIndex>>,
    /// What was chosen of it before its metadata was known, which is to be done about it then (BEP 9). `None`: it
    /// was known, or that is done. It stays where it came to no file at all, until the operator chooses or starts it.
    pub awaited: Option<Box<Awaited>>,
    /// Tiers that replace those of the metainfo.
    pub trackers: Option<Vec<Vec<String>>>,
    /// Peers that the operator named.
    pub user_peers: Vec<SocketAddr>,
    /// The files are on their way to another folder.
    pub moving: Option<Move>,
    /// The files are in `folder` only until the torrent is complete, or have just left there.
    pub final_folder: Option<FinalFolder>,
    /// Paths of files that were renamed, by ascending number; the others have those of the metainfo.
    pub renames: Vec<(FileIndex, SafePath)>,
    /// Files are being renamed.
    pub renaming: Option<Rename>,
    /// What the names of its files end in on disk until they are complete.
    pub part_suffix: Option<PartSuffix>,
    /// When it completes, or since it has, the operator's program is to hear of it.
    pub completion_owed: bool,
    /// Fields of a newer release, kept as they came.
    pub newer: NewerFields,
}

impl Settings {
    /// Those of a torrent of which nothing is known.
    pub fn blank() -> Settings {
        Settings {
            hashes: InfoHashes { v1: None, v2: None },
            name: String::new(),
            folder: PathBuf::new(),
            added_at: 0,
            wanted: Wanted::Started,
            check_asked: false,
            error: None,
            labels: Vec::new(),
            sequential: false,
            up_limit: None,
            down_limit: None,
            place: Place::default(),
            goals: ChosenGoals::default(),
            goal_reached: None,
            file_priorities: Vec::new(),
            ends_first: false,
            parted: None,
            awaited: None,
            trackers: None,
            user_peers: Vec::new(),
            moving: None,
            final_folder: None,
            renames: Vec::new(),
            renaming: None,
            part_suffix: None,
            completion_owed: false,
            newer: Default::default(),
        }
    }

    /// About how many bytes its row takes beside its fixed part.
    pub(super) fn weight(&self) -> usize {
        let renames: usize = self.renames.iter().map(|(_, path)| path.as_str().len() + 8).sum();
        renames + self.awaited.as_ref().map_or(0, |awaited| awaited.weight())
    }

    /// Every folder that has files of the torrent, or is to have them.
    pub fn places(&self) -> impl Iterator<Item = &Path> {
        let moving = self.moving.as_ref().map(|moving| moving.other.as_path());
        let last = self.final_folder.as_ref().map(|folder| folder.path.as_path());
        std::iter::once(self.folder.as_path()).chain(moving).chain(last)
    }

    /// The final folder is where its files are.
    pub fn begin_in_place(&mut self) {
        if let Some(folder) = self.final_folder.take() {
            self.folder = folder.path;
        }
    }
}

/// What was chosen of a torrent before it was known what it consists of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Awaited {
    /// The only files to download, by number: `so` of a magnet link (BEP 53); empty for all.
    pub select: Vec<RangeInclusive<u32>>,
    /// What the operator chose on top of that.
    pub choose: Choice,
    /// What is on the disk of it is to be checked by a sample.
    pub quick: bool,
}

impl Awaited {
    /// The lists of `choose`, in the order in which they are stored.
    pub(super) fn patterns(choose: &Choice) -> [&Vec<String>; 5] {
        let Choice { only, normal, low, high, skip } = choose;
        [only, normal, low, high, skip]
    }

    /// About how many bytes it takes.
    fn weight(&self) -> usize {
        let patterns = Awaited::patterns(&self.choose).into_iter().flatten();
        self.select.len() * 10 + patterns.map(|pattern| pattern.len() + 4).sum::<usize>()
    }
}

/// A rename that has not ended: until `renames` has its outcome each file has either path on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rename {
    /// The file or folder of the torrent, by the paths in force.
    pub from: SafePath,
    /// What it is to become.
    pub to: SafePath,
}

/// Where a torrent's files go when it is complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FinalFolder {
    /// The folder, absolute.
    pub path: PathBuf,
    /// Where the file system that holds it was mounted when it was chosen: without that mount it is not to be
    /// made.
    pub mount: Option<PathBuf>,
}

/// A seeding goal that was reached. As long as its goals stay the same, none of them counts any more: who starts
/// the torrent again wants it to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GoalReached {
    /// Which.
    pub reached: Reached,
    /// The goals that were in force.
    pub goals: Goals,
    /// Somebody has started the torrent since.
    pub started_again: bool,
}

/// A move that has not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// The other place beside [`Settings::folder`]: where the files are to go, or where they came from.
    pub other: PathBuf,
    /// How far it is.
    pub stage: MoveStage,
}

/// How far a move is, which says what the next start does about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MoveStage {
    /// Files are being placed in `other`, under names that nothing else has: to be gone on with.
    Placing,
    /// It was called off: those files are to be removed.
    Undoing,
    /// `folder` is the new place, where files have to be given their names; then those in `other` go.
    Switched,
}

/// What the operator wants of a torrent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wanted {
    /// Run it.
    #[default]
    Started,
    /// Leave it alone.
    Stopped,
}

/// Why a torrent stopped by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TorrentFault {
    /// Short word for programs, such as `disk_full`.
    pub kind: String,
    /// What failed, why, and what to do, for people.
    pub message: String,
    /// The path that it is about.
    pub path: Option<PathBuf>,
}

/// What of a torrent is durably on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Pieces whose bytes are durable and hashed.
    pub have: Have,
    /// Pieces that are partly on disk, by ascending index.
    pub partials: Vec<Partial>,
    /// Files are being written to: after an unclean end the stored log says what to hash. Committed
    /// before the first write, cleared by the checkpoint that follows the last one.
    pub writing: bool,
    /// Unix seconds at which the last wanted piece became durable.
    pub completed_at: Option<u64>,
    /// The check that must end before any of `have` counts.
    pub check: Option<Box<OwedCheck>>,
    /// Size and time of each file of the torrent at this checkpoint, or empty: not recorded.
    pub files: Vec<Option<FileStamp>>,
    /// Where the file system that holds them was mounted.
    pub mount: Option<PathBuf>,
    /// Fields of a newer release, kept as they came.
    pub newer: NewerFields,
}

impl Progress {
    /// About how many bytes its row takes.
    pub(super) fn weight(&self) -> usize {
        let have = self.have.weight();
        let partials: usize = self.partials.iter().map(|p| p.blocks.len() + 8).sum();
        let check = self.check.as_ref().map_or(0, |check| check.weight());
        let mount = self.mount.as_ref().map_or(0, |mount| mount.as_os_str().len());
        64 + have + partials + self.files.len() * 16 + check + mount
    }
}

/// A check that has not ended: what it is to find out, and how far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwedCheck {
    /// What is to be checked.
    pub kind: CheckKind,
    /// Pieces that were hashed.
    pub checked: Have,
    /// Those of them that are right.
    pub good: Have,
    /// Size and time of each file when its pieces were hashed: of one that is different now, nothing
    /// counts as checked. Empty where nothing was.
    pub files: Vec<Option<FileStamp>>,
}

impl OwedCheck {
    /// A check of which nothing is done.
    pub fn anew(kind: CheckKind) -> OwedCheck {
        OwedCheck { kind, checked: Have::Nothing, good: Have::Nothing, files: Vec::new() }
    }

    /// About how many bytes it takes.
    pub(super) fn weight(&self) -> usize {
        32 + self.checked.weight() + self.good.weight() + self.files.len() * 16
    }
}

/// What an unfinished check is to find out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckKind {
    /// Which of all pieces are there.
    Full,
    /// Whether sizes and a sample of pieces are right.
    Quick,
    /// Whether the pieces are there that the stored state leaves in doubt.
    Suspects,
}

/// A set of pieces, cheap for the common ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Have {
    /// None of them, or the number of pieces isn't known yet.
    #[default]
    Nothing,
    /// Every piece.
    All,
    /// Some of them.
    Some {
        /// Pieces of the torrent.
        pieces: u32,
        /// Their bitmap as in the `bitfield` message: highest bit first, spare bits 0 (BEP 3).
        bits: Vec<u8>,
    },
}

impl Have {
    /// Whether `piece` is in the set.
    pub fn has(&self, piece: PieceIndex) -> bool {
        match self {
            Have::Nothing => false,
            Have::All => true,
            Have::Some { pieces, bits } => {
                let byte = bits.get(piece.0 as usize / 8).copied().unwrap_or(0);
                piece.0 < *pieces && byte & (0x80 >> (piece.0 % 8)) != 0
            }
        }
    }

    fn weight(&self) -> usize {
        match self {
            Have::Some { bits, .. } => bits.len(),
            Have::Nothing | Have::All => 0,
        }
    }

    /// Whether `piece` may be a piece of this torrent, as far as the set knows.
    pub(super) fn covers(&self, piece: PieceIndex) -> bool {
        match self {
            Have::Some { pieces, .. } => piece.0 < *pieces,
            Have::Nothing | Have::All => true,
        }
    }
}

/// A piece of which some blocks are on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partial {
    /// The piece.
    pub piece: PieceIndex,
    /// One bit per block of the piece, highest bit first.
    pub blocks: Vec<u8>,
}

/// What tells whether somebody else changed a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileStamp {
    /// Bytes.
    pub len: u64,
    /// Modification time, nanoseconds from the Unix epoch.
    pub mtime_nanos: i64,
    /// On disk its name ends in the torrent's suffix for files that aren't complete. Says where it is, and
    /// nothing about its content.
    pub suffixed: bool,
}

impl FileStamp {
    /// Whether the file is what it was, whatever it is called.
    pub fn is_like(&self, other: &FileStamp) -> bool {
        (self.len, self.mtime_nanos) == (other.len, other.mtime_nanos)
    }
}

/// Totals of a torrent since it was added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Payload bytes received.
    pub downloaded: u64,
    /// Payload bytes sent.
    pub uploaded: u64,
    /// Payload bytes thrown away: duplicates and bad pieces.
    pub wasted: u64,
    /// Seconds started.
    pub active_secs: u64,
    /// Seconds of those as a seed.
    pub seeding_secs: u64,
    /// Seconds of those since the last upload.
    pub idle_secs: u64,
    /// Fields of a newer release, kept as they came.
    pub newer: NewerFields,
}

/// Payload bytes of the whole daemon, over all its runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Received.
    pub downloaded: u64,
    /// Sent.
    pub uploaded: u64,
}

/// Encoded fields that a newer release wrote, carried along unread. `default()` for a new record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewerFields(pub(super) Vec<u8>);
