//! The judge: compares what a daemon that came back says, and what is on the disks, with what was acknowledged.
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use wgo_api::result::ShowResult;
use wgo_api::torrent::FilePriority;
use wgo_api::{State, Torrent};

use super::known::{Known, World};
use super::operator::Operator;
use super::stock::{Item, Stock};
use crate::payload::files_below;
use crate::wait::{pause, try_until};

/// Checks, moves and renames that a crash interrupted have ended by then.
const SETTLED: Duration = Duration::from_secs(120);
/// What a disk kept from going on is tried again after 5 s, then less often, after a minute at most.
const HEALED: Duration = Duration::from_secs(150);
/// What lies in two places or under two names for a moment is looked at again so often.
const LOOKS: u32 = 100;
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// Of an info-hash, what names of the daemon's own files have.
const TAG: usize = 8;

/// What it judges by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Judge<'a> {
    pub(super) operator: &'a Operator,
    pub(super) stock: &'a Stock,
    pub(super) folders: &'a [PathBuf],
    pub(super) canaries: &'a [(PathBuf, Vec<u8>)],
    /// The disk has failed.
    pub(super) lenient: bool,
}

impl Judge<'_> {
    /// Looks at a daemon that has just come back.
    pub(super) fn look(self, world: &mut World) {
        let shown = self.listed();
        for (known, item) in world.torrents.iter_mut().zip(&self.stock.items) {
            let torrent = shown.get(&item.torrent.id());
            self.presence(known, item, torrent.is_some());
            match torrent {
                Some(torrent) => self.torrent(known, item, torrent),
                None => self.absent(known, item),
            }
        }
        let down = self.operator.down_limit();
        assert!(world.down.allows(&down), "the daemon's download limit is {down}, not {:?}", world.down);
        world.down.see(down, world.volatile);
    }

    fn listed(self) -> BTreeMap<String, Torrent> {
        let list = self.operator.list();
        let count = list.len();
        let shown: BTreeMap<_, _> = list.into_iter().map(|row| (row.info_hash.clone(), row)).collect();
        assert_eq!(shown.len(), count, "a torrent is there twice");
        for (id, torrent) in &shown {
            let ours = self.stock.items.iter().any(|item| item.torrent.id() == *id);
            assert!(ours, "nobody added {torrent:?}");
        }
        shown
    }

    fn presence(self, known: &mut Known, item: &Item, there: bool) {
        let name = &item.payload.name;
        let returned = there && known.may_return && !known.present.sure();
        if returned {
            known.leaving = true;
            known.gone.clear();
        }
        assert!(
            returned || known.present.allows(&there),
            "{name}: there: {there}, but known is {:?}",
            known.present
        );
        if !there && *known.present.sure() && !known.volatile {
            // What could not be deleted, or not durably, is there again: whoever asked was told.
            let deleted = known.leaving && !known.may_return;
            known.end(deleted);
        }
        known.present.see(there, known.volatile);
    }

    /// What a removal left, or did not leave.
    fn absent(self, known: &mut Known, item: &Item) {
        for path in &known.gone {
            assert!(!path.exists(), "{} is there, though its torrent was removed with it", path.display());
        }
        let Some(left) = &mut known.left else { return };
        let places: Vec<(&Path, &[PathBuf])> =
            left.folders.iter().map(|folder| (folder.as_path(), left.names.as_slice())).collect();
        let aside: Vec<bool> = (0..left.names.len()).map(|file| left.aside.contains(&file)).collect();
        let now = item.pieces_on_disk(&places, &aside);
        for (piece, before) in left.pieces.iter().flatten().enumerate() {
            let kept = now[piece] || !before || !left.promised;
            assert!(kept, "{}: piece {piece} of what was left is gone", item.payload.name);
        }
        left.pieces = Some(now);
    }

    /// One torrent that is there.
    fn torrent(self, known: &mut Known, item: &Item, torrent: &Torrent) {
        let name = &item.payload.name;
        let folder = PathBuf::from(&torrent.folder);
        assert!(known.folder.allows(&folder), "{name} is in {}: {known:?}", folder.display());
        assert!(known.labels.allows(&torrent.labels), "{name}: {:?}, {:?}", torrent.labels, known.labels);
        known.labels.see(torrent.labels.clone(), known.volatile);
        let limits = (torrent.limits.up, torrent.limits.down);
        assert!(known.limits.allows(&limits), "{name}: limits {limits:?}, {:?}", known.limits);
        known.limits.see(limits, known.volatile);
        assert!(known.sequential.allows(&torrent.sequential), "{name}: sequential, {:?}", known.sequential);
        known.sequential.see(torrent.sequential, known.volatile);
        let shown = self.pieces(known, item);
        let ratio = shown.torrent.own_goals.ratio.map(|ratio| ratio as u32);
        assert!(known.ratio.allows(&ratio), "{name}: ratio {ratio:?}, {:?}", known.ratio);
        known.ratio.see(ratio, known.volatile);
        self.started(known, item, torrent);
        if !known.unknown {
            self.selection(known, item, &shown);
        }
    }

    fn started(self, known: &mut Known, item: &Item, torrent: &Torrent) {
        let started = match torrent.state {
            State::Stopped => false,
            State::Downloading | State::Seeding | State::Metadata => true,
            // These say nothing of what was wanted.
            State::Checking | State::Moving | State::Queued | State::Error => return,
        };
        let name = &item.payload.name;
        assert!(known.started.allows(&started), "{name} is {}, {:?}", torrent.state, known.started);
        known.started.see(started, known.volatile);
    }

    fn selection(self, known: &mut Known, item: &Item, shown: &ShowResult) {
        let files = shown.files.as_deref().unwrap_or_default();
        let skips = |file: &wgo_api::result::File| file.priority == Some(FilePriority::Skip);
        let skipped: BTreeSet<usize> =
            files.iter().enumerate().filter(|(_, file)| skips(file)).map(|(at, _)| at).collect();
        let name = &item.payload.name;
        assert!(known.skipped.allows(&skipped), "{name} skips {skipped:?}, {:?}", known.skipped);
        // Half of a choice that waits for its bytes is settled by who settles the torrent.
        if known.skipped.is_certain() {
            known.skipped.see(skipped, known.volatile);
        }
        let names: Vec<PathBuf> = files.iter().map(|file| file.path.clone().into()).collect();
        assert!(known.names.allows(&names), "{name} has {names:?}, {:?}", known.names);
    }

    /// Whether each piece that it shows is there, and what is complete is whole.
    fn pieces(self, known: &mut Known, item: &Item) -> ShowResult {
        let id = item.torrent.id();
        for look in 0.. {
            let shown = self.operator.show(&id);
            let torrent = &shown.torrent.torrent;
            if torrent.size_bytes.is_none() {
                assert!(known.unknown, "{}: it has lost its metadata", item.payload.name);
                return shown;
            }
            known.unknown = false;
            if known.is_emptied() {
                return shown;
            }
            let problem = self.problem(known, item, &shown);
            let Some(problem) = problem else {
                // What a check found is believed also when it could not be stored.
                known.completed |= torrent.completed_at.is_some() && !self.lenient;
                return shown;
            };
            let moves = is_busy(torrent.state) || !known.folder.is_certain() || !known.names.is_certain();
            assert!(moves && look < LOOKS, "{problem}: {torrent:#?}\n{known:#?}");
            pause(LOOK_AGAIN);
        }
        unreachable!("it returns or panics")
    }

    fn problem(self, known: &Known, item: &Item, shown: &ShowResult) -> Option<String> {
        let torrent = &shown.torrent.torrent;
        let name = &item.payload.name;
        let folders = known.folders();
        let places: Vec<(&Path, &[PathBuf])> = folders
            .iter()
            .flat_map(|folder| known.names.values().map(move |names| (folder.as_path(), names.as_slice())))
            .collect();
        let aside: Vec<bool> =
            (0..item.payload.files.len()).map(|file| known.aside.contains(&file)).collect();
        let there = item.pieces_on_disk(&places, &aside);
        let claimed = claimed(shown);
        if let Some(piece) = claimed.iter().zip(&there).position(|(claimed, there)| *claimed && !there) {
            return Some(format!("{name}: piece {piece} is shown and not there"));
        }
        let whole = torrent.completed_at.is_some() && known.skipped.sure().is_empty();
        if let Some(piece) = there.iter().position(|there| whole && !there) {
            return Some(format!("{name}: it is complete, and piece {piece} is not there"));
        }
        let lost = known.completed && torrent.completed_at.is_none();
        lost.then(|| format!("{name}: that it was complete is lost"))
    }

    /// Waits until nothing stands in any torrent's way, nor may.
    pub(super) fn heal(self, world: &World) {
        let all = || world.torrents.iter().zip(&self.stock.items);
        let is_emptied = |id: &str| all().any(|(known, item)| known.is_emptied() && item.torrent.id() == id);
        // What is being checked or moved may have met the fault, and say so in a moment.
        let may_be = |state: State| state == State::Error || is_busy(state);
        let troubled = |torrent: &Torrent| may_be(torrent.state) && !is_emptied(&torrent.info_hash);
        let healed = try_until(HEALED, || (!self.operator.list().iter().any(troubled)).then_some(()));
        assert!(healed.is_some(), "it does not heal: {:#?}", self.operator.list());
    }

    /// Waits until what was interrupted has ended, and looks closely.
    pub(super) fn settle(self, world: &mut World) {
        let busy = |torrent: &Torrent| is_busy(torrent.state);
        let settled = try_until(SETTLED, || {
            let list = self.operator.list();
            (!list.iter().any(busy)).then_some(())
        });
        assert!(settled.is_some(), "something does not end: {:#?}", self.operator.list());
        self.look(world);
        let shown = self.listed();
        for (known, item) in world.torrents.iter_mut().zip(&self.stock.items) {
            if let Some(torrent) = shown.get(&item.torrent.id()) {
                self.settled(known, item, torrent);
            }
        }
        self.strangers(world);
    }

    fn settled(self, known: &mut Known, item: &Item, torrent: &Torrent) {
        let name = &item.payload.name;
        let failed = torrent.state == State::Error && !known.leaving;
        assert!(!failed, "{name}: {:?}", torrent.error);
        // A removal that was interrupted may have taken back what there was of a move.
        if let Some(target) = known.target.take().filter(|_| !known.leaving) {
            let folder = Path::new(&torrent.folder);
            assert_eq!(folder, target, "{name}: where it was to go: {:?}, {known:#?}", torrent.error);
        }
        known.folder.see(PathBuf::from(&torrent.folder), known.volatile);
        let complete = torrent.size_bytes.is_some_and(|size| size == torrent.done_bytes);
        // One that was stopped before the check that was asked for shows nothing until that is made.
        let owes = known.checks && torrent.state == State::Stopped;
        assert!(complete || !known.completed || known.leaving || owes, "{name} was complete: {torrent:#?}");
        known.checks &= !complete;
        known.selected_anew &= torrent.state == State::Stopped;
        if known.unknown {
            return;
        }
        let shown = self.operator.show(&item.torrent.id());
        let files = shown.files.unwrap_or_default();
        known.names.see(files.iter().map(|file| file.path.clone().into()).collect(), known.volatile);
        let skips = |file: &wgo_api::result::File| file.priority == Some(FilePriority::Skip);
        let skipped = files.iter().enumerate().filter(|(_, file)| skips(file)).map(|(at, _)| at);
        known.skipped.see(skipped.collect(), known.volatile);
    }

    /// Nothing is in the folders that nobody knows, and what is nobody's is as it was.
    fn strangers(self, world: &World) {
        let mut known: BTreeSet<PathBuf> = self.canaries.iter().map(|(path, _)| path.clone()).collect();
        let mut tags = Vec::new();
        for (torrent, item) in world.torrents.iter().zip(&self.stock.items) {
            let present = *torrent.present.sure();
            // What a move left behind and could not delete durably may be there again.
            let folders = match present {
                true if self.lenient => self.folders.to_vec(),
                true => torrent.folders(),
                false => Vec::new(),
            };
            let names: BTreeSet<&PathBuf> = torrent.names.values().flatten().collect();
            known.extend(folders.iter().flat_map(|folder| names.iter().map(move |name| folder.join(name))));
            let left =
                torrent.left.iter().flat_map(|left| left.folders.iter().map(|folder| (folder, &left.names)));
            known.extend(left.flat_map(|(folder, names)| names.iter().map(move |name| folder.join(name))));
            // A torrent that was removed without its files leaves those that it kept aside, too.
            if present || torrent.parts_left {
                tags.push(item.torrent.id()[..TAG].to_owned());
            }
        }
        for path in self.folders.iter().flat_map(|folder| files_below(folder)) {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            // Of a move that was refused because it could not be stored, an empty mark may stay.
            if self.lenient && name.starts_with(".wgod-") && name.ends_with("-move") {
                continue;
            }
            let aside = name.ends_with(".parts") && tags.iter().any(|tag| name.contains(tag.as_str()));
            assert!(aside || known.contains(&path), "nobody knows {}", path.display());
        }
        for (path, content) in self.canaries {
            let found = std::fs::read(path);
            assert!(found.as_ref().is_ok_and(|found| found == content), "{}: {found:?}", path.display());
        }
    }

    /// Waits until all torrents that are there are whole, and compares every byte.
    pub(super) fn complete(self, world: &mut World, within: Duration) {
        let end = Instant::now() + within;
        let missing = |torrent: &Torrent| torrent.state != State::Seeding || torrent.completed_at.is_none();
        loop {
            let list = self.operator.list();
            let Some(torrent) = list.iter().find(|torrent| missing(torrent)) else { break };
            assert!(Instant::now() < end, "it does not get complete: {torrent:#?}");
            let there = |item: &Item| list.iter().any(|row| row.info_hash == item.torrent.id());
            let items = self.stock.items.iter().enumerate().filter(|(_, item)| there(item));
            let there: Vec<usize> = items.map(|(at, _)| at).collect();
            self.operator.introduce(self.stock, &there, &self.folders[0]);
            pause(LOOK_AGAIN * 10);
        }
        self.settle(world);
        for (known, item) in world.torrents.iter_mut().zip(&self.stock.items) {
            if !known.present.sure() {
                continue;
            }
            let place = (known.folder.sure().as_path(), known.names.sure().as_slice());
            let right = item.pieces_on_disk(&[place], &[]);
            assert!(right.iter().all(|right| *right), "{}: wrong bytes in the end", item.payload.name);
            known.aside.clear();
        }
    }
}

/// Whether something of it has begun that has an end.
fn is_busy(state: State) -> bool {
    matches!(state, State::Moving | State::Checking | State::Queued)
}

/// The map of pieces that it says it has.
fn claimed(shown: &ShowResult) -> Vec<bool> {
    let Some(pieces) = &shown.pieces else { return Vec::new() };
    let bit = |at: u32| {
        let digit = pieces.have.as_bytes().get(at as usize / 4).map_or('0', |byte| *byte as char);
        digit.to_digit(16).unwrap_or(0) & 8 >> (at % 4) != 0
    };
    (0..pieces.count).map(bit).collect()
}
