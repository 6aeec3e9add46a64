//! What another client knew of a torrent, checked and applied when the torrent is added.
//!
//! Which pieces it had is a claim. It is committed together with a check that is owed, so that nothing
//! counts before its files were looked at (`ops/check.rs`), whatever comes between, and files that are missing
//! then are waited for as those of any torrent. After a restart nobody vouches for the files any more, and the
//! claimed pieces are hashed.
use std::sync::Arc;

use wgo_api::error::{ApiError, Kind};
use wgo_api::params::{Check as ApiCheck, Choice, Claimed, Known};
use wgo_api::torrent::FilePriority;
use wgo_core::ByteRate;
use wgo_core::piece_mgr::Priority;
use wgo_core::session::Check;
use wgo_proto::metainfo::Info;
use wgo_proto::path::SafePath;
use wgo_proto::{Bitfield, FileIndex, urls};

use super::checking::kind_of;
use super::entry::{is_met, selection_of, to_stored};
use crate::store::{Counters, FileStamp, OwedCheck, Progress, Settings};

/// Trackers of a torrent, and the length of each: far beyond what a torrent has, and little memory.
const MAX_TRACKERS: usize = 1000;
/// Bytes of a tracker's URL.
const MAX_URL: usize = 8192;
/// The last second of the year 9999: what lies beyond breaks formatting.
const LAST_SECOND: u64 = 253_402_300_799;
/// In a second.
const NANOS: i64 = 1_000_000_000;

/// What is taken over.
pub(super) struct Taken {
    known: Known,
    priorities: Vec<Priority>,
    trackers: Option<Vec<Vec<String>>>,
    /// Which pieces are there, as far as anybody said so.
    claims: Option<Claims>,
}

impl Taken {
    /// Checks what a caller knows of a torrent.
    ///
    /// # Errors
    /// [`Kind::BadRequest`], naming the member that does not fit the torrent.
    pub(super) fn of(known: &Known, info: &Info, choose: &Choice) -> Result<Taken, ApiError> {
        let refuse = |message: String| Err(ApiError::new(Kind::BadRequest, message));
        check_len("modified", known.modified.len(), info)?;
        check_len("priorities", known.priorities.len(), info)?;
        if !known.priorities.is_empty() && !choose.is_empty() {
            return refuse("`known.priorities` and `choose` both say which files are wanted".to_owned());
        }
        for (name, time) in [("added_at", known.added_at), ("completed_at", known.completed_at)] {
            if time.is_some_and(|time| time > LAST_SECOND) {
                return refuse(format!("`known.{name}` is no time in Unix seconds"));
            }
        }
        let count = info.layout.piece_count();
        let pieces = match known.pieces()? {
            Claimed::Unknown => None,
            Claimed::All => Some(Bitfield::full(count)),
            Claimed::Some(bitmap) => match Bitfield::from_wire(&bitmap, count) {
                Ok(pieces) => Some(pieces),
                Err(why) => return refuse(format!("`known.have` is no bitmap of {count} pieces: {why}")),
            },
        };
        Ok(Taken {
            known: known.clone(),
            priorities: priorities(&known.priorities),
            trackers: known.trackers.as_deref().map(trackers).transpose()?,
            claims: pieces.map(|pieces| Claims { pieces, known: known.clone() }),
        })
    }

    /// Everything but which pieces are there.
    fn apply(&self, settings: &mut Settings, counters: &mut Counters) {
        let known = &self.known;
        settings.added_at = known.added_at.unwrap_or(settings.added_at);
        settings.up_limit = known.up_limit.filter(|rate| *rate > 0).map(ByteRate);
        settings.down_limit = known.down_limit.filter(|rate| *rate > 0).map(ByteRate);
        settings.trackers = self.trackers.clone();
        if !self.priorities.is_empty() {
            settings.file_priorities = self.priorities.clone();
        }
        counters.downloaded = known.downloaded_bytes;
        counters.uploaded = known.uploaded_bytes;
        counters.active_secs = known.active_secs.max(known.seeding_secs);
        counters.seeding_secs = known.seeding_secs;
    }
}

/// Gives a torrent the names that another client had for it; gives the files whose paths are other ones now.
///
/// # Errors
/// [`Kind::BadRequest`] when a name or path can't be.
pub(super) fn rename(known: &Known, info: &mut Info) -> Result<Vec<(FileIndex, SafePath)>, ApiError> {
    check_len("paths", known.paths.len(), info)?;
    let refuse = |what: &str, why: &str| {
        Err(ApiError::new(Kind::BadRequest, format!("`known.{what}` can't be used: {why}")))
    };
    let mut paths = Vec::new();
    for (file, (path, entry)) in (0..).map(FileIndex).zip(known.paths.iter().zip(&info.files)) {
        match path.as_deref().map(SafePath::exact) {
            None => {}
            Some(Ok(path)) if path == entry.path => {}
            Some(Ok(path)) => paths.push((file, path)),
            Some(Err(why)) => return refuse("paths", &why.to_string()),
        }
    }
    if !paths.is_empty() {
        match info.with_paths(&paths) {
            Ok(renamed) if renamed.has_one_place() => *info = renamed,
            Ok(_) => return refuse("paths", "all files of a torrent lie in one folder"),
            Err(why) => return refuse("paths", &why.to_string()),
        }
    }
    match known.name.as_deref().map(SafePath::exact) {
        None => {}
        Some(Ok(name)) if name.parent().is_none() => info.name = name.as_str().to_owned(),
        Some(Ok(_)) => return refuse("name", "it is a path"),
        Some(Err(why)) => return refuse("name", &why.to_string()),
    }
    Ok(paths)
}

fn check_len(name: &str, len: usize, info: &Info) -> Result<(), ApiError> {
    let files = info.layout.file_count() as usize;
    if len == 0 || len == files {
        return Ok(());
    }
    let message = format!("`known.{name}` has {len} entries for the {files} files of the torrent");
    Err(ApiError::new(Kind::BadRequest, message))
}

/// Where a new torrent begins.
pub(super) struct Begun {
    /// The check that it needs.
    pub(super) check: Check,
    pub(super) progress: Progress,
    pub(super) counters: Counters,
    pub(super) claims: Option<Arc<Claims>>,
}

impl Begun {
    /// With what another client knew, if anything. `asked` is the check that it needs otherwise.
    pub(super) fn of(taken: Option<Taken>, asked: ApiCheck, info: &Info, settings: &mut Settings) -> Begun {
        let asked = match asked {
            _ if info.layout.piece_count() == 0 => Check::None,
            ApiCheck::Quick => Check::Quick,
            ApiCheck::Full => Check::Full,
        };
        let (progress, counters) = (Progress::default(), Counters::default());
        let mut begun = Begun { check: asked, progress, counters, claims: None };
        if let Some(taken) = taken {
            taken.apply(settings, &mut begun.counters);
            if let Some(claims) = taken.claims.filter(|_| asked != Check::None) {
                begun.check = Check::Suspects;
                claims.write(info, settings, &mut begun.progress);
                begun.claims = Some(Arc::new(claims));
            }
        }
        begun.progress.check = kind_of(begun.check).map(OwedCheck::anew).map(Box::new);
        begun
    }
}

/// The priorities as the picker has them; empty when all are alike.
fn priorities(files: &[FilePriority]) -> Vec<Priority> {
    if files.iter().all(|priority| *priority == FilePriority::Normal) {
        return Vec::new();
    }
    let of = |priority: &FilePriority| match priority {
        FilePriority::Skip => Priority::Skip,
        FilePriority::Low => Priority::Low,
        FilePriority::Normal => Priority::Normal,
        FilePriority::High => Priority::High,
    };
    files.iter().map(of).collect()
}

fn trackers(tiers: &[Vec<String>]) -> Result<Vec<Vec<String>>, ApiError> {
    let count: usize = tiers.iter().map(Vec::len).sum();
    if count > MAX_TRACKERS || tiers.iter().flatten().any(|url| url.len() > MAX_URL) {
        let message = format!(
            "`known.trackers` has more than {MAX_TRACKERS} URLs, or one of more than {MAX_URL} bytes"
        );
        return Err(ApiError::new(Kind::BadRequest, message));
    }
    Ok(urls::tiers(tiers))
}

/// Which pieces another client had, and what tells whether their files were changed since.
#[derive(Debug)]
pub(super) struct Claims {
    pieces: Bitfield,
    known: Known,
}

impl Claims {
    /// What is committed of them: as if a run of ours had ended in the middle, with files of a time that no
    /// file has.
    fn write(&self, info: &Info, settings: &Settings, progress: &mut Progress) {
        progress.have = to_stored(&self.pieces);
        let has_claims = |file: FileIndex| info.pieces_in(file).any(|piece| self.pieces.get(piece.0));
        let stamp = |(index, file): (u32, &wgo_proto::metainfo::FileEntry)| {
            let on_disk = !file.pad && file.len > 0 && file.symlink.is_none();
            (on_disk && has_claims(FileIndex(index))).then_some(FileStamp {
                len: file.len,
                mtime_nanos: 0,
                suffixed: false,
            })
        };
        progress.files = (0..).zip(&info.files).map(stamp).collect();
        if is_met(selection_of(info, settings).as_deref(), &self.pieces) {
            progress.completed_at = self.known.completed_at;
        }
    }

    /// Whether a file is what the other client left, as far as can be seen from outside.
    pub(super) fn vouch(
        &self,
        info: &Info,
        have: &Bitfield,
        file: FileIndex,
        found: Option<FileStamp>,
    ) -> bool {
        let Some(FileStamp { len, mtime_nanos, .. }) = found else { return false };
        let Some(whole) = info.files.get(file.0 as usize).map(|file| file.len) else { return false };
        let secs = mtime_nanos.div_euclid(NANOS);
        let in_time = self.known.is_unmodified(file.0 as usize, secs);
        in_time && (len == whole || (len < whole && len >= self.reach(info, have, file)))
    }

    /// Bytes that a file must have for the pieces that are claimed of it.
    fn reach(&self, info: &Info, have: &Bitfield, file: FileIndex) -> u64 {
        let layout = &info.layout;
        let start = layout.file_start(file);
        let last = layout.pieces_of(file).rev().find(|piece| have.get(*piece));
        let end = last.map_or(0, |piece| (u64::from(piece) + 1) * u64::from(layout.nominal_piece_len()));
        end.saturating_sub(start).min(layout.file_len(file))
    }
}
