//! The values inside the fields of a row: how lists, sets, addresses and the like are written.
use std::net::{IpAddr, SocketAddr};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use wgo_api::params::Choice;
use wgo_core::piece_mgr::Priority;
use wgo_core::session::{AfterGoal, Goals, Ratio, Reached};
use wgo_proto::FileIndex;
use wgo_proto::metainfo::{MAX_PATHS_LEN, PartSuffix};
use wgo_proto::path::SafePath;

use super::codec::{Field, Payload, RowError};
use super::record::{
    Awaited, CheckKind, FileStamp, FinalFolder, GoalReached, Have, Move, MoveStage, OwedCheck, Rename,
    TorrentFault,
};

pub(super) fn mark(f: &mut Field<'_>) -> Result<(), RowError> {
    match f.varint()? {
        1 => Ok(()),
        _ => Err(f.malformed("a mark is 1 or absent")),
    }
}

pub(super) fn texts(f: &mut Field<'_>) -> Result<Vec<String>, RowError> {
    let mut out = Vec::new();
    while !f.is_empty() {
        let bytes = f.bytes()?;
        out.push(f.text(bytes)?);
    }
    Ok(out)
}

pub(super) fn put_fault(p: &mut Payload, fault: &TorrentFault) {
    p.bytes(fault.kind.as_bytes());
    p.bytes(fault.message.as_bytes());
    if let Some(path) = &fault.path {
        p.bytes(path.as_os_str().as_bytes());
    }
}

pub(super) fn fault(f: &mut Field<'_>) -> Result<TorrentFault, RowError> {
    let (kind, message) = (f.bytes()?, f.bytes()?);
    let path = match f.is_empty() {
        true => None,
        false => Some(PathBuf::from(std::ffi::OsStr::from_bytes(f.bytes()?))),
    };
    Ok(TorrentFault { kind: f.text(kind)?, message: f.text(message)?, path })
}

/// Count of tiers, then of each tier its count of trackers and those.
pub(super) fn put_tiers(p: &mut Payload, tiers: &[Vec<String>]) {
    for tier in tiers {
        p.varint(tier.len() as u64);
        tier.iter().for_each(|url| p.bytes(url.as_bytes()));
    }
}

pub(super) fn tiers(f: &mut Field<'_>) -> Result<Vec<Vec<String>>, RowError> {
    let mut out = Vec::new();
    while !f.is_empty() {
        // Each tracker takes a byte at least, so the count can't ask for more than the row holds.
        let count = f.varint()?;
        if count > f.len() as u64 {
            return Err(f.malformed("more trackers than bytes"));
        }
        let mut tier = Vec::new();
        for _ in 0..count {
            let url = f.bytes()?;
            tier.push(f.text(url)?);
        }
        out.push(tier);
    }
    Ok(out)
}

pub(super) fn priority_byte(priority: Priority) -> u8 {
    match priority {
        Priority::Skip => 0,
        Priority::Low => 1,
        Priority::Normal => 2,
        Priority::High => 3,
    }
}

pub(super) fn priority(f: &mut Field<'_>) -> Result<Priority, RowError> {
    let [byte] = f.array()?;
    match byte {
        0 => Ok(Priority::Skip),
        1 => Ok(Priority::Low),
        2 => Ok(Priority::Normal),
        3 => Ok(Priority::High),
        _ => Err(f.malformed("no such priority")),
    }
}

/// Files beyond this count are no torrent: a damaged run length must not claim memory.
const MAX_FILES: usize = 1 << 22;

/// Run lengths: most torrents give long runs of files one priority.
pub(super) fn put_runs(p: &mut Payload, priorities: &[Priority]) {
    for run in priorities.chunk_by(|a, b| a == b) {
        p.rest(&[priority_byte(run[0])]);
        p.varint(run.len() as u64);
    }
}

pub(super) fn runs(f: &mut Field<'_>) -> Result<Vec<Priority>, RowError> {
    let mut out = Vec::new();
    while !f.is_empty() {
        let (priority, len) = (priority(f)?, f.varint()?);
        let len = usize::try_from(len).ok().filter(|&len| len > 0 && out.len() + len <= MAX_FILES);
        let len = len.ok_or_else(|| f.malformed("a run of files is empty or too long"))?;
        out.resize(out.len() + len, priority);
    }
    Ok(out)
}

pub(super) fn put_awaited(p: &mut Payload, awaited: &Awaited) {
    p.varint(awaited.select.len() as u64);
    for range in &awaited.select {
        p.varint(u64::from(*range.start()));
        p.varint(u64::from(*range.end()));
    }
    for patterns in Awaited::patterns(&awaited.choose) {
        p.varint(patterns.len() as u64);
        patterns.iter().for_each(|pattern| p.bytes(pattern.as_bytes()));
    }
    p.varint(u64::from(awaited.quick));
}

pub(super) fn awaited(f: &mut Field<'_>) -> Result<Awaited, RowError> {
    let mut select = Vec::new();
    for _ in 0..count(f)? {
        select.push(f.varint_u32()?..=f.varint_u32()?);
    }
    let mut choose = Choice::default();
    let Choice { only, normal, low, high, skip } = &mut choose;
    for patterns in [only, normal, low, high, skip] {
        for _ in 0..count(f)? {
            let pattern = f.bytes()?;
            patterns.push(f.text(pattern)?);
        }
    }
    Ok(Awaited { select, choose, quick: f.varint()? != 0 })
}

/// How many of something follow, each of which takes a byte at least.
fn count(f: &mut Field<'_>) -> Result<u64, RowError> {
    let count = f.varint()?;
    if count > f.len() as u64 { Err(f.malformed("more of a list than there are bytes")) } else { Ok(count) }
}

/// Files by number, ascending: each as the distance from the one before.
pub(super) fn put_files(p: &mut Payload, files: &[FileIndex]) {
    let mut next = 0;
    for file in files {
        p.varint(u64::from(file.0.saturating_sub(next)));
        next = file.0.saturating_add(1);
    }
}

pub(super) fn files(f: &mut Field<'_>) -> Result<Vec<FileIndex>, RowError> {
    let mut out = Vec::new();
    let mut next = 0u32;
    while !f.is_empty() {
        let file = u32::try_from(f.varint()?).ok().and_then(|gap| next.checked_add(gap));
        let file = file.filter(|file| (*file as usize) < MAX_FILES);
        let file = file.ok_or_else(|| f.malformed("no torrent has so many files"))?;
        out.push(FileIndex(file));
        next = file + 1;
    }
    Ok(out)
}

pub(super) fn put_addr(p: &mut Payload, peer: &SocketAddr) {
    match peer.ip() {
        IpAddr::V4(ip) => p.bytes(&ip.octets()),
        IpAddr::V6(ip) => p.bytes(&ip.octets()),
    }
    p.varint(u64::from(peer.port()));
}

pub(super) fn addr(f: &mut Field<'_>) -> Result<SocketAddr, RowError> {
    let ip = f.bytes()?;
    let ip = match (<[u8; 4]>::try_from(ip), <[u8; 16]>::try_from(ip)) {
        (Ok(v4), _) => IpAddr::from(v4),
        (_, Ok(v6)) => IpAddr::from(v6),
        _ => return Err(f.malformed("an address has 4 or 16 bytes")),
    };
    let port = f.varint()?;
    let port = u16::try_from(port).map_err(|_| f.malformed("no such port"))?;
    Ok(SocketAddr::new(ip, port))
}

pub(super) fn have_some(f: &Field<'_>, pieces: u32, bits: &[u8]) -> Result<Have, RowError> {
    let spare = bits.len() as u64 * 8;
    let spare = spare.checked_sub(u64::from(pieces)).filter(|&s| s < 8);
    let spare = spare.ok_or_else(|| f.malformed("the bitmap doesn't fit the number of pieces"))?;
    if bits.last().is_some_and(|last| last.trailing_zeros() < spare as u32) {
        return Err(f.malformed("a bit behind the last piece is set"));
    }
    Ok(Have::Some { pieces, bits: bits.to_vec() })
}

/// 0 for none, 1 for all, else the number of pieces + 2 and the bitmap.
pub(super) fn put_set(p: &mut Payload, set: &Have) {
    match set {
        Have::Nothing => p.varint(0),
        Have::All => p.varint(1),
        Have::Some { pieces, bits } => {
            p.varint(u64::from(*pieces) + 2);
            p.bytes(bits);
        }
    }
}

pub(super) fn set(f: &mut Field<'_>) -> Result<Have, RowError> {
    match f.varint()? {
        0 => Ok(Have::Nothing),
        1 => Ok(Have::All),
        n => {
            let pieces = u32::try_from(n - 2).map_err(|_| f.malformed("a number is above 2^32"))?;
            let bits = f.bytes()?;
            have_some(f, pieces, bits)
        }
    }
}

/// The stage, then the path to the end of the field.
pub(super) fn put_move(p: &mut Payload, moving: &Move) {
    p.varint(match moving.stage {
        MoveStage::Placing => 0,
        MoveStage::Undoing => 1,
        MoveStage::Switched => 2,
    });
    p.rest(moving.other.as_os_str().as_bytes());
}

pub(super) fn moving(f: &mut Field<'_>) -> Result<Move, RowError> {
    let stage = match f.varint()? {
        0 => MoveStage::Placing,
        1 => MoveStage::Undoing,
        2 => MoveStage::Switched,
        _ => return Err(f.malformed("no such stage of a move")),
    };
    Ok(Move { other: f.path(), stage })
}

/// The path, then the mount point, if one is known.
pub(super) fn put_final_folder(p: &mut Payload, folder: &FinalFolder) {
    p.bytes(folder.path.as_os_str().as_bytes());
    if let Some(mount) = &folder.mount {
        p.bytes(mount.as_os_str().as_bytes());
    }
}

pub(super) fn final_folder(f: &mut Field<'_>) -> Result<FinalFolder, RowError> {
    let path = |bytes: &[u8]| PathBuf::from(std::ffi::OsStr::from_bytes(bytes));
    let folder = path(f.bytes()?);
    let mount = if f.is_empty() { None } else { Some(path(f.bytes()?)) };
    Ok(FinalFolder { path: folder, mount })
}

/// Of each file how far its number is from the one before, how many bytes its path begins with that the
/// path before has too, and the rest of it: a folder's name takes room once.
pub(super) fn put_renames(p: &mut Payload, renames: &[(FileIndex, SafePath)]) {
    let (mut next, mut last) = (0, "");
    for (file, path) in renames {
        let path = path.as_str();
        let same = last.bytes().zip(path.bytes()).take_while(|(a, b)| a == b).count();
        let shared = path.floor_char_boundary(same);
        p.varint(u64::from(file.0.saturating_sub(next)));
        p.varint(shared as u64);
        p.bytes(&path.as_bytes()[shared..]);
        (next, last) = (file.0.saturating_add(1), path);
    }
}

pub(super) fn renames(f: &mut Field<'_>) -> Result<Vec<(FileIndex, SafePath)>, RowError> {
    let (mut out, mut next, mut last, mut total) = (Vec::new(), 0_u64, String::new(), 0);
    while !f.is_empty() {
        let (skipped, shared) = (f.varint()?, f.varint()?);
        let rest = f.bytes()?;
        let rest = f.text(rest)?;
        let file = next.checked_add(skipped).and_then(|file| u32::try_from(file).ok());
        let file = file.ok_or_else(|| f.malformed("a file's number is above 2^32"))?;
        let shared = usize::try_from(shared).ok().filter(|&shared| last.is_char_boundary(shared));
        last.truncate(shared.ok_or_else(|| f.malformed("a path shares more than there is"))?);
        last.push_str(&rest);
        // What is shared takes no room in the row: a damaged one must not claim memory.
        total += last.len();
        let path = SafePath::exact(&last).ok().filter(|_| total <= MAX_PATHS_LEN);
        out.push((FileIndex(file), path.ok_or_else(|| f.malformed("no such path can be"))?));
        next = u64::from(file) + 1;
    }
    Ok(out)
}

/// The two paths.
pub(super) fn put_rename(p: &mut Payload, rename: &Rename) {
    p.bytes(rename.from.as_str().as_bytes());
    p.bytes(rename.to.as_str().as_bytes());
}

pub(super) fn rename(f: &mut Field<'_>) -> Result<Rename, RowError> {
    let mut path = || {
        let bytes = f.bytes()?;
        let text = f.text(bytes)?;
        SafePath::exact(&text).map_err(|_| f.malformed("no such path can be"))
    };
    Ok(Rename { from: path()?, to: path()? })
}

/// The kind, the two sets, the stamps to the end of the field.
pub(super) fn put_check(p: &mut Payload, check: &OwedCheck) {
    p.varint(match check.kind {
        CheckKind::Full => 0,
        CheckKind::Quick => 1,
        CheckKind::Suspects => 2,
    });
    put_set(p, &check.checked);
    put_set(p, &check.good);
    check.files.iter().for_each(|file| put_stamp(p, file.as_ref()));
}

pub(super) fn check(f: &mut Field<'_>) -> Result<OwedCheck, RowError> {
    let kind = match f.varint()? {
        0 => CheckKind::Full,
        1 => CheckKind::Quick,
        2 => CheckKind::Suspects,
        _ => return Err(f.malformed("no such check")),
    };
    let (checked, good, mut files) = (set(f)?, set(f)?, Vec::new());
    while !f.is_empty() {
        files.push(stamp(f)?);
    }
    Ok(OwedCheck { kind, checked, good, files })
}

pub(super) fn suffix(f: &mut Field<'_>) -> Result<PartSuffix, RowError> {
    let bytes = f.rest();
    f.text(bytes)?.parse().map_err(|_| f.malformed("no suffix of a file name"))
}

/// Length + 1, then the time; a lone 0 for a file that isn't there.
pub(super) fn put_stamp(p: &mut Payload, stamp: Option<&FileStamp>) {
    match stamp {
        None => p.varint(0),
        Some(stamp) => {
            p.varint(stamp.len.saturating_add(1));
            p.signed(stamp.mtime_nanos);
        }
    }
}

pub(super) fn stamp(f: &mut Field<'_>) -> Result<Option<FileStamp>, RowError> {
    match f.varint()?.checked_sub(1) {
        None => Ok(None),
        Some(len) => Ok(Some(FileStamp { len, mtime_nanos: f.signed()?, suffixed: false })),
    }
}

pub(super) fn action_byte(action: AfterGoal) -> u8 {
    match action {
        AfterGoal::Stop => 0,
        AfterGoal::Remove => 1,
        AfterGoal::RemoveWithFiles => 2,
        AfterGoal::Keep => 3,
    }
}

pub(super) fn action(f: &mut Field<'_>) -> Result<AfterGoal, RowError> {
    let [byte] = f.array()?;
    match byte {
        0 => Ok(AfterGoal::Stop),
        1 => Ok(AfterGoal::Remove),
        2 => Ok(AfterGoal::RemoveWithFiles),
        3 => Ok(AfterGoal::Keep),
        _ => Err(f.malformed("nothing that happens at a goal")),
    }
}

/// Which goal, whether the torrent was started since, the action, the goal's value; then each goal that was in force, plus one, 0 for none.
pub(super) fn put_reached(p: &mut Payload, done: &GoalReached) {
    let (kind, value) = match done.reached {
        Reached::Ratio(ratio) => (0, u64::from(ratio.0)),
        Reached::Time(secs) => (1, secs),
        Reached::Idle(secs) => (2, secs),
    };
    let Goals { ratio, time, idle, action } = done.goals;
    p.rest(&[kind, u8::from(done.started_again), action_byte(action)]);
    p.varint(value);
    for goal in [ratio.map(|ratio| u64::from(ratio.0)), time, idle] {
        p.varint(goal.map_or(0, |goal| goal.saturating_add(1)));
    }
}

pub(super) fn reached(f: &mut Field<'_>) -> Result<GoalReached, RowError> {
    let [kind, again] = f.array()?;
    let action = action(f)?;
    let value = f.varint()?;
    let ratio =
        |f: &Field<'_>, n: u64| u32::try_from(n).map(Ratio).map_err(|_| f.malformed("a ratio is above 2^32"));
    let reached = match kind {
        0 => Reached::Ratio(ratio(f, value)?),
        1 => Reached::Time(value),
        2 => Reached::Idle(value),
        _ => return Err(f.malformed("no such goal")),
    };
    let [first, time, idle] = [f.varint()?, f.varint()?, f.varint()?].map(|goal| goal.checked_sub(1));
    let ratio = first.map(|n| ratio(f, n)).transpose()?;
    let started_again = match again {
        0 | 1 => again == 1,
        _ => return Err(f.malformed("a mark is 0 or 1")),
    };
    Ok(GoalReached { reached, goals: Goals { ratio, time, idle, action }, started_again })
}
