//! What the driver keeps of each torrent, live or not.
use std::borrow::Cow;
use std::collections::{BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::oneshot;
use tracing::Span;
use wgo_core::dht::rounds::Need;
use wgo_core::swarm::TrackerMemory;
use wgo_core::tracker::Tiers;
use wgo_core::{Selection, TorrentId};
use wgo_proto::metainfo::{Info, Metainfo};
use wgo_proto::path::SafePath;
use wgo_proto::{Bitfield, FileIndex, PieceIndex};

use super::checking::CheckProgress;
use super::claims::Claims;
use super::goals::Activity;
use super::happened::Telling;
use super::moving::MoveProgress;
use super::ops::Op;
use super::renaming::Pending;
use super::save::Saving;
use super::scrape::Told;
use super::selecting::Wish;
use super::tally::Share;
use crate::files::disk::Mtime;
use crate::files::{Stamp, TorrentFiles};
use crate::logging::torrent_span;
use crate::store::{Change, CheckKind, Counters, FileStamp, Have, Move, MoveStage, OwedCheck, Settings};
use crate::torrent::Torrent;

/// One torrent.
pub struct Entry {
    /// Its number.
    pub id: TorrentId,
    /// What the operator decides.
    pub settings: Settings,
    /// What it consists of.
    pub info: Arc<Info>,
    /// What is wanted of it, unless it is all alike.
    pub selection: Option<Arc<Selection>>,
    /// What else its metainfo says that people want to see.
    pub about: Option<Box<About>>,
    /// Its trackers by tier.
    pub tiers: Tiers,
    /// Its files, once they were found.
    pub files: Option<Arc<TorrentFiles>>,
    /// Its Swarm, while it has one.
    pub live: Option<Arc<Torrent>>,
    /// The pieces that are stored and verified, while it has no Swarm.
    pub have: Bitfield,
    /// Pieces of `have` that a quick check believed without hashing them: each is hashed before it is
    /// first served.
    pub unverified: Bitfield,
    /// The pieces that the last checkpoint covers.
    pub durable: Bitfield,
    /// Blocks on disk of unfinished pieces, while it has no Swarm.
    pub partials: Vec<(PieceIndex, Bitfield)>,
    /// Length and time of each file at the last checkpoint.
    pub stamps: Vec<Option<FileStamp>>,
    /// Pieces to be hashed because the last run ended uncleanly.
    pub suspects: Vec<PieceIndex>,
    /// Where the file system that holds its files was mounted when it was last known.
    pub mount: Option<PathBuf>,
    /// Files were being written to when the last run ended, or are now.
    pub writing: bool,
    /// When the last wanted piece became durable.
    pub completed_at: Option<u64>,
    /// Totals, while it has no Swarm; times at all times, up to when they were last counted.
    pub counters: Counters,
    /// They were changed, which those that are announced to have yet to hear.
    pub(super) retiered: bool,
    /// Since when its time is not counted.
    pub(super) activity: Activity,
    /// What the trackers know, while it sleeps.
    pub(super) trackers: Option<Box<TrackerMemory>>,
    /// What trackers said of it when they were scraped; at most one for each.
    pub(super) told: Vec<Told>,
    /// The operator wants it checked without what was known of it, which is about to be forgotten.
    pub(super) starts_over: bool,
    /// The check that must end before `have` counts, as far as it is: not of the one under way.
    pub owed: Option<Box<OwedCheck>>,
    /// What another client knew of its files, until they were looked at.
    pub(super) claims: Option<Arc<Claims>>,
    /// The check under way.
    pub check: Option<Arc<CheckProgress>>,
    /// The first half of a move under way.
    pub(super) moving: Option<Arc<MoveProgress>>,
    /// A rename that is neither done nor undone.
    pub(super) renaming: Option<Box<Pending>>,
    /// Why the last move was given up.
    pub(super) move_error: Option<String>,
    /// What is to be wanted of it, once its turn comes.
    pub(super) wish: Option<Box<Wish>>,
    /// How much its files are wanted changed while it had no Swarm, or while that was made.
    pub(super) ranked_anew: bool,
    /// Peers of it were named meanwhile.
    pub(super) named_anew: bool,
    /// Operations that wait for the one under way.
    pub(super) lane: VecDeque<Op>,
    /// An operation is under way.
    pub(super) busy: bool,
    /// It makes metadata durable that has just come, and files where the torrent belongs.
    pub(super) learns: bool,
    /// It is being added or removed: it is not listed.
    pub(super) leaving: bool,
    /// It is being removed.
    pub(super) removing: bool,
    /// Callers to be answered when the operator's wishes are on disk. As many as there are calls under
    /// way, which the console bounds.
    pub(super) saving: Saving,
    /// What goes into the store together with the next save.
    pub(super) unsaved: Vec<Change>,
    /// Who is told when the next save to begin has ended.
    pub(super) awaiting_save: Vec<oneshot::Sender<Result<(), String>>>,
    /// Whether its completion is being told.
    pub(super) telling: Telling,
    /// What the last list showed of it.
    pub(super) shown: Shown,
    /// What it adds to the sums over all torrents.
    pub(super) share: Share,
}

/// What readers were last shown of a torrent.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Shown {
    /// The version in which it changed.
    pub(super) version: u64,
    /// Of all that is shown; 0 before it was.
    pub(super) digest: u64,
}

/// What a metainfo says beside its `info`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// `comment`.
    pub comment: Option<String>,
    /// `created by`.
    pub created_by: Option<String>,
    /// `creation date`.
    pub created_at: Option<i64>,
}

impl About {
    /// Taken from a metainfo; `None` when it says nothing more.
    pub fn of(metainfo: &Metainfo) -> Option<Box<About>> {
        let Metainfo { comment, created_by, creation_date: created_at, .. } = metainfo;
        let (comment, created_by) = (comment.clone(), created_by.clone());
        let about = About { comment, created_by, created_at: *created_at };
        (about != About::default()).then(|| Box::new(about))
    }
}

impl Entry {
    /// The pieces that are stored, whether it has a Swarm or not.
    pub fn have_now(&self) -> Bitfield {
        match &self.live {
            Some(live) => live.call(|swarm, _| swarm.have_copy()).unwrap_or_else(|_| self.have.clone()),
            None => self.have.clone(),
        }
    }

    /// The span of what is said of it.
    pub(super) fn span(&self) -> Span {
        match &self.live {
            Some(live) => live.span.clone(),
            None => torrent_span(&self.settings.hashes.canonical(), &self.settings.name),
        }
    }

    /// Has the files compared with what they are now known to be, whenever they are opened.
    pub(super) fn watch_files(&self) {
        let Some(files) = &self.files else { return };
        let known = (0..).zip(&self.stamps);
        files.watch(known.filter_map(|(file, stamp)| stamp.map(|stamp| from_file_stamp(file, stamp))));
    }

    /// Whether the folder has files of it, or is to have them, and that stays so.
    pub(super) fn has_files_in(&self, folder: &Path) -> bool {
        !self.removing && self.settings.places().any(|place| place == folder)
    }

    /// Whether it has files in a folder that have the paths of another torrent's, or is to have them there.
    pub(super) fn has_paths_of(&self, info: &Info, folder: &Path) -> bool {
        let paths: Vec<(FileIndex, Cow<'_, str>)> = paths_in(info, true).collect();
        let paths: BTreeSet<&str> = paths.iter().map(|(_, path)| &**path).collect();
        self.first_of(&paths, folder).is_some()
    }

    /// The first of its paths that is one of `paths` in a folder where it has files, or is to have them.
    pub(super) fn first_of(&self, paths: &BTreeSet<&str>, folder: &Path) -> Option<Cow<'_, str>> {
        if !self.has_files_in(folder) {
            return None;
        }
        self.paths().find(|path| paths.contains(&**path))
    }

    /// The paths of its files on disk, and those that they are to get.
    pub(super) fn paths(&self) -> impl Iterator<Item = Cow<'_, str>> {
        let new = self.renaming.as_ref().map(|pending| &*pending.info);
        let infos = std::iter::once(&*self.info).chain(new);
        infos.flat_map(|info| self.paths_of(info)).map(|(_, path)| path)
    }

    /// The paths that its files may have on disk, if they are called as in `info`.
    pub(super) fn paths_of<'a>(&self, info: &'a Info) -> impl Iterator<Item = (FileIndex, Cow<'a, str>)> {
        let seconds = !self.is_finished() || self.stamps.iter().flatten().any(|stamp| stamp.suffixed);
        paths_in(info, seconds)
    }

    /// Metadata of it has come, and what is made of it isn't done yet.
    pub(super) fn is_learning(&self) -> bool {
        self.learns || self.lane.iter().any(|op| matches!(op, Op::Learn(_)))
    }

    /// The path that a file has on disk, if it ends in the suffix of those that aren't complete.
    pub(super) fn suffixed_path(&self, file: FileIndex) -> Option<SafePath> {
        let known =
            || self.stamps.get(file.0 as usize).copied().flatten().is_some_and(|stamp| stamp.suffixed);
        let suffixed = self.files.as_ref().map_or_else(known, |files| files.is_suffixed(file));
        if suffixed { self.info.suffixed_path(file) } else { None }
    }

    /// Whoever waits for it to stop learns that not all of it is durable.
    pub(super) fn tell_stopped(&mut self, why: &str) {
        for op in std::mem::take(&mut self.lane) {
            match op {
                // Whoever asked may have hung up.
                Op::Tell(reply) => drop(reply.send(Err(why.to_owned()))),
                op => self.lane.push_back(op),
            }
        }
    }

    /// How far its move is, 0…1: of the first half, since the second takes a moment.
    pub(super) fn moved_share(&self) -> f64 {
        let switched = |moving: &Move| moving.stage == MoveStage::Switched;
        match &self.moving {
            Some(moving) => moving.share(),
            None => f64::from(u8::from(self.settings.moving.as_ref().is_some_and(switched))),
        }
    }

    /// What was known of its files counts no longer: what is there is all that there is.
    pub(super) fn start_over(&mut self) {
        let none = Bitfield::new(self.have.len());
        self.have = none.clone();
        self.durable = none.clone();
        self.unverified = none;
        self.partials.clear();
        self.stamps.clear();
        self.suspects.clear();
        self.writing = false;
        self.mount = None;
        self.files = None;
        self.claims = None;
    }

    /// A checkpoint covers these pieces.
    pub(super) fn on_checkpointed(&mut self, durable: Bitfield, stamps: Vec<Option<FileStamp>>) {
        let finished = is_met(self.selection.as_deref(), &durable);
        self.writing = !finished;
        if finished {
            self.have = durable.clone();
        }
        self.durable = durable;
        self.stamps = stamps;
        self.watch_files();
    }

    /// Whether a check must end before `have` counts.
    pub fn owes_check(&self) -> bool {
        self.check.is_some() || self.owed.is_some()
    }

    /// The pieces to show as stored: while a check is owed, none that it has still to look at.
    pub fn have_shown(&self) -> Bitfield {
        match (&self.check, &self.owed) {
            (Some(check), _) => check.found(),
            (None, Some(owed)) if owed.kind != CheckKind::Suspects => {
                from_stored(&owed.good, self.have.len())
            }
            _ => self.have_now(),
        }
    }

    /// How much it needs peers, as far as is known without its Swarm.
    pub(super) fn need(&self) -> Need {
        Need::of(self.is_known(), self.is_finished())
    }

    /// Whether every wanted piece is stored, as far as is known without its Swarm.
    pub fn is_finished(&self) -> bool {
        is_met(self.selection.as_deref(), &self.have)
    }

    /// The name and the canonical hash.
    pub fn hash_text(&self) -> String {
        self.settings.hashes.canonical().to_string()
    }
}

/// The paths of a torrent's files by their own names, and by those that they have until they are complete, if
/// these count.
fn paths_in(info: &Info, seconds: bool) -> impl Iterator<Item = (FileIndex, Cow<'_, str>)> {
    let files = (0..).map(FileIndex).zip(&info.files).filter(|(_, entry)| !entry.pad);
    files.flat_map(move |(file, entry)| {
        let second = if seconds { info.suffixed_path(file) } else { None };
        let second = second.map(|path| (file, Cow::Owned(path.to_string())));
        std::iter::once((file, Cow::Borrowed(entry.path.as_str()))).chain(second)
    })
}

/// Whether `have` holds all that is wanted.
pub(super) fn is_met(selection: Option<&Selection>, have: &Bitfield) -> bool {
    match (have.len(), selection) {
        // Its pieces are not known, so none is had.
        (0, _) => false,
        (_, None) => have.is_full(),
        (_, Some(selection)) => selection.is_met(have),
    }
}

/// What is wanted of a torrent, as its settings say by file.
pub(super) fn selection_of(info: &Info, settings: &Settings) -> Option<Arc<Selection>> {
    let is_pad = |file: FileIndex| info.files.get(file.0 as usize).is_none_or(|file| file.pad);
    Selection::new(&info.layout, &settings.file_priorities, is_pad, settings.ends_first).map(Arc::new)
}

/// The torrent's files as they lie on disk: with its part file, if it has one, and with the names that they have
/// until they are complete.
pub(super) fn on_disk(info: Info, settings: &Settings) -> Info {
    let info = match &settings.parted {
        Some(parted) => info.with_parts(&settings.hashes.canonical().to_string(), parted.iter().copied()),
        None => info,
    };
    match &settings.part_suffix {
        Some(suffix) => info.with_suffix(Some(suffix)),
        None => info,
    }
}

/// What a file was at a checkpoint, as the store keeps it.
pub fn to_file_stamp(stamp: &Stamp) -> FileStamp {
    let nanos = stamp.mtime.secs.saturating_mul(NANOS).saturating_add(i64::from(stamp.mtime.nanos));
    FileStamp { len: stamp.len, mtime_nanos: nanos, suffixed: stamp.suffixed }
}

/// The same, as the file system says it.
pub(super) fn from_file_stamp(file: u32, stamp: FileStamp) -> Stamp {
    let (secs, nanos) = (stamp.mtime_nanos.div_euclid(NANOS), stamp.mtime_nanos.rem_euclid(NANOS));
    let mtime = Mtime { secs, nanos: nanos as u32 };
    Stamp { file: FileIndex(file), len: stamp.len, mtime, suffixed: stamp.suffixed }
}

/// In a second.
const NANOS: i64 = 1_000_000_000;

/// A set of pieces as the store keeps it.
pub fn to_stored(pieces: &Bitfield) -> Have {
    if pieces.is_full() {
        Have::All
    } else if pieces.is_empty() {
        Have::Nothing
    } else {
        Have::Some { pieces: pieces.len(), bits: pieces.to_wire() }
    }
}

/// A stored set of pieces, for a torrent of `count` pieces. One that does not fit counts as empty: the
/// worst that follows is a check.
pub fn from_stored(have: &Have, count: u32) -> Bitfield {
    match have {
        Have::Nothing => Bitfield::new(count),
        Have::All => Bitfield::full(count),
        Have::Some { bits, .. } => Bitfield::from_wire(bits, count).unwrap_or_else(|_| Bitfield::new(count)),
    }
}
