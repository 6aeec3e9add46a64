//! Rows of the tables `torrents`, `progress`, `counters` and `dht`: which field has which tag.
//!
//! A tag, once given, keeps its meaning for ever. A field at its default isn't written.
use std::os::unix::ffi::OsStrExt;

use wgo_core::ByteRate;
use wgo_core::dht::snapshot::Snapshot;
use wgo_proto::{FileIndex, InfoHashV1, InfoHashV2, PieceIndex};

use wgo_core::piece_mgr::Priority;
use wgo_core::session::Ratio;

use super::codec::{Field, RowError, RowReader, RowWriter};
use super::fields::{
    action, action_byte, addr, awaited, check, fault, files, final_folder, have_some, mark, moving, priority,
    priority_byte, put_addr, put_awaited, put_check, put_fault, put_files, put_final_folder, put_move,
    put_reached, put_rename, put_renames, put_runs, put_stamp, put_tiers, reached, rename, renames, runs,
    stamp, suffix, texts, tiers,
};
use super::record::{Counters, Have, NewerFields, Partial, Progress, Settings, Wanted};

mod settings {
    pub(super) const HASH_V1: u64 = 1;
    pub(super) const HASH_V2: u64 = 2;
    pub(super) const NAME: u64 = 3;
    pub(super) const FOLDER: u64 = 4;
    pub(super) const ADDED_AT: u64 = 5;
    pub(super) const STOPPED: u64 = 6;
    pub(super) const ERROR: u64 = 7;
    pub(super) const LABELS: u64 = 8;
    pub(super) const SEQUENTIAL: u64 = 9;
    pub(super) const UP_LIMIT: u64 = 10;
    pub(super) const DOWN_LIMIT: u64 = 11;
    pub(super) const PRIORITY: u64 = 12;
    pub(super) const FILE_PRIORITIES: u64 = 13;
    pub(super) const TRACKERS: u64 = 14;
    pub(super) const USER_PEERS: u64 = 15;
    pub(super) const CHECK_ASKED: u64 = 16;
    pub(super) const MOVE: u64 = 17;
    pub(super) const RENAMES: u64 = 18;
    pub(super) const FINAL_FOLDER: u64 = 19;
    pub(super) const RENAMING: u64 = 20;
    pub(super) const QUEUE_KEY: u64 = 21;
    pub(super) const RATIO: u64 = 22;
    pub(super) const SEED_TIME: u64 = 23;
    pub(super) const SEED_IDLE: u64 = 24;
    pub(super) const GOAL_ACTION: u64 = 25;
    pub(super) const GOAL_REACHED: u64 = 26;
    pub(super) const FORCED: u64 = 27;
    pub(super) const COMPLETION_OWED: u64 = 28;
    pub(super) const PARTED: u64 = 30;
    pub(super) const ENDS_FIRST: u64 = 31;
    pub(super) const PART_SUFFIX: u64 = 32;
    pub(super) const AWAITED: u64 = 40;
}

pub(super) fn encode_settings(s: &Settings) -> Vec<u8> {
    use settings::*;
    let mut row = RowWriter::new();
    if let Some(hash) = s.hashes.v1 {
        row.field(HASH_V1, |p| p.rest(&hash.0));
    }
    if let Some(hash) = s.hashes.v2 {
        row.field(HASH_V2, |p| p.rest(&hash.0));
    }
    row.field(NAME, |p| p.rest(s.name.as_bytes()));
    row.field(FOLDER, |p| p.rest(s.folder.as_os_str().as_bytes()));
    row.number(ADDED_AT, s.added_at);
    row.mark(STOPPED, s.wanted == Wanted::Stopped);
    if let Some(fault) = &s.error {
        row.field(ERROR, |p| put_fault(p, fault));
    }
    if !s.labels.is_empty() {
        row.field(LABELS, |p| s.labels.iter().for_each(|l| p.bytes(l.as_bytes())));
    }
    row.mark(SEQUENTIAL, s.sequential);
    for (tag, limit) in [(UP_LIMIT, s.up_limit), (DOWN_LIMIT, s.down_limit)] {
        if let Some(rate) = limit {
            row.field(tag, |p| p.varint(rate.0));
        }
    }
    if s.place.priority != Priority::Normal {
        row.field(PRIORITY, |p| p.rest(&[priority_byte(s.place.priority)]));
    }
    if !s.file_priorities.is_empty() {
        row.field(FILE_PRIORITIES, |p| put_runs(p, &s.file_priorities));
    }
    if let Some(tiers) = &s.trackers {
        row.field(TRACKERS, |p| put_tiers(p, tiers));
    }
    if !s.user_peers.is_empty() {
        row.field(USER_PEERS, |p| s.user_peers.iter().for_each(|peer| put_addr(p, peer)));
    }
    row.mark(CHECK_ASKED, s.check_asked);
    if let Some(moving) = &s.moving {
        row.field(MOVE, |p| put_move(p, moving));
    }
    if !s.renames.is_empty() {
        row.field(RENAMES, |p| put_renames(p, &s.renames));
    }
    if let Some(folder) = &s.final_folder {
        row.field(FINAL_FOLDER, |p| put_final_folder(p, folder));
    }
    if let Some(renaming) = &s.renaming {
        row.field(RENAMING, |p| put_rename(p, renaming));
    }
    encode_tuned(&mut row, s);
    row.mark(COMPLETION_OWED, s.completion_owed);
    if let Some(parted) = &s.parted {
        row.field(PARTED, |p| put_files(p, parted));
    }
    row.mark(ENDS_FIRST, s.ends_first);
    if let Some(suffix) = &s.part_suffix {
        row.field(PART_SUFFIX, |p| p.rest(suffix.as_str().as_bytes()));
    }
    if let Some(awaited) = &s.awaited {
        row.field(AWAITED, |p| put_awaited(p, awaited));
    }
    row.finish(&s.newer)
}

/// Place in the queue and seeding goals.
fn encode_tuned(row: &mut RowWriter, s: &Settings) {
    use settings::*;
    if let Some(key) = s.place.key {
        row.field(QUEUE_KEY, |p| p.rest(&key.to_le_bytes()));
    }
    if let Some(ratio) = s.goals.ratio {
        row.field(RATIO, |p| p.varint(u64::from(ratio.0)));
    }
    for (tag, secs) in [(SEED_TIME, s.goals.time), (SEED_IDLE, s.goals.idle)] {
        if let Some(secs) = secs {
            row.field(tag, |p| p.varint(secs));
        }
    }
    if let Some(action) = s.goals.action {
        row.field(GOAL_ACTION, |p| p.rest(&[action_byte(action)]));
    }
    if let Some(reached) = &s.goal_reached {
        row.field(GOAL_REACHED, |p| put_reached(p, reached));
    }
    row.mark(FORCED, s.place.forced);
}

fn decode_tuned(f: &mut Field<'_>, s: &mut Settings) -> Result<(), RowError> {
    use settings::*;
    match f.tag {
        QUEUE_KEY => s.place.key = Some(i64::from_le_bytes(f.array()?)),
        RATIO => s.goals.ratio = Some(Ratio(f.varint_u32()?)),
        SEED_TIME => s.goals.time = Some(f.varint()?),
        SEED_IDLE => s.goals.idle = Some(f.varint()?),
        GOAL_ACTION => s.goals.action = Some(action(f)?),
        GOAL_REACHED => s.goal_reached = Some(reached(f)?),
        _ => {
            mark(f)?;
            s.place.forced = true;
        }
    }
    Ok(())
}

/// Where its files are, how they are called, which of them are kept apart.
fn decode_files(f: &mut Field<'_>, s: &mut Settings) -> Result<(), RowError> {
    use settings::*;
    match f.tag {
        MOVE => s.moving = Some(moving(f)?),
        RENAMES => s.renames = renames(f)?,
        FINAL_FOLDER => s.final_folder = Some(final_folder(f)?),
        RENAMING => s.renaming = Some(rename(f)?),
        PARTED => s.parted = Some(files(f)?),
        PART_SUFFIX => s.part_suffix = Some(suffix(f)?),
        AWAITED => s.awaited = Some(Box::new(awaited(f)?)),
        _ => {
            mark(f)?;
            s.ends_first = true;
        }
    }
    Ok(())
}

pub(super) fn decode_settings(row: &[u8]) -> Result<Settings, RowError> {
    use settings::*;
    let mut row = RowReader::new(row)?;
    let (mut name, mut folder) = (None, None);
    let mut s = Settings::blank();
    while let Some(mut f) = row.next_field()? {
        match f.tag {
            HASH_V1 => s.hashes.v1 = Some(InfoHashV1(f.array()?)),
            HASH_V2 => s.hashes.v2 = Some(InfoHashV2(f.array()?)),
            NAME => {
                let bytes = f.rest();
                name = Some(f.text(bytes)?);
            }
            FOLDER => folder = Some(f.path()),
            ADDED_AT => s.added_at = f.varint()?,
            STOPPED => {
                mark(&mut f)?;
                s.wanted = Wanted::Stopped;
            }
            ERROR => s.error = Some(fault(&mut f)?),
            LABELS => s.labels = texts(&mut f)?,
            SEQUENTIAL => {
                mark(&mut f)?;
                s.sequential = true;
            }
            UP_LIMIT => s.up_limit = Some(ByteRate(f.varint()?)),
            DOWN_LIMIT => s.down_limit = Some(ByteRate(f.varint()?)),
            PRIORITY => s.place.priority = priority(&mut f)?,
            FILE_PRIORITIES => s.file_priorities = runs(&mut f)?,
            TRACKERS => s.trackers = Some(tiers(&mut f)?),
            USER_PEERS => {
                while !f.is_empty() {
                    s.user_peers.push(addr(&mut f)?);
                }
            }
            CHECK_ASKED => {
                mark(&mut f)?;
                s.check_asked = true;
            }
            MOVE | RENAMES | FINAL_FOLDER | RENAMING | PARTED | ENDS_FIRST | PART_SUFFIX | AWAITED => {
                decode_files(&mut f, &mut s)?;
            }
            COMPLETION_OWED => {
                mark(&mut f)?;
                s.completion_owed = true;
            }
            QUEUE_KEY..=FORCED => decode_tuned(&mut f, &mut s)?,
            _ => {
                row.keep(&f);
                f.rest();
            }
        }
        f.done()?;
    }
    if s.hashes.v1.is_none() && s.hashes.v2.is_none() {
        return Err(RowError::Missing { tag: HASH_V1 });
    }
    s.name = name.ok_or(RowError::Missing { tag: NAME })?;
    s.folder = folder.ok_or(RowError::Missing { tag: FOLDER })?;
    s.newer = row.into_newer();
    Ok(s)
}

mod progress {
    pub(super) const HAVE_ALL: u64 = 1;
    pub(super) const HAVE_SOME: u64 = 2;
    pub(super) const PARTIALS: u64 = 3;
    pub(super) const WRITING: u64 = 4;
    pub(super) const COMPLETED_AT: u64 = 5;
    pub(super) const FILES: u64 = 6;
    pub(super) const CHECK: u64 = 7;
    pub(super) const MOUNT: u64 = 8;
    pub(super) const SUFFIXED: u64 = 9;
}

pub(super) fn encode_progress(p: &Progress) -> Vec<u8> {
    use progress::*;
    let mut row = RowWriter::new();
    row.mark(HAVE_ALL, p.have == Have::All);
    if let Have::Some { pieces, bits } = &p.have {
        row.field(HAVE_SOME, |f| {
            f.varint(u64::from(*pieces));
            f.rest(bits);
        });
    }
    if !p.partials.is_empty() {
        row.field(PARTIALS, |f| {
            for partial in &p.partials {
                f.varint(u64::from(partial.piece.0));
                f.bytes(&partial.blocks);
            }
        });
    }
    row.mark(WRITING, p.writing);
    if let Some(at) = p.completed_at {
        row.field(COMPLETED_AT, |f| f.varint(at));
    }
    if !p.files.is_empty() {
        row.field(FILES, |f| p.files.iter().for_each(|stamp| put_stamp(f, stamp.as_ref())));
    }
    if let Some(check) = &p.check {
        row.field(CHECK, |f| put_check(f, check));
    }
    if let Some(mount) = &p.mount {
        row.field(MOUNT, |f| f.rest(mount.as_os_str().as_bytes()));
    }
    let stamps = (0..).map(FileIndex).zip(&p.files);
    let suffixed: Vec<FileIndex> =
        stamps.filter(|(_, stamp)| stamp.is_some_and(|stamp| stamp.suffixed)).map(|(file, _)| file).collect();
    if !suffixed.is_empty() {
        row.field(SUFFIXED, |f| put_files(f, &suffixed));
    }
    row.finish(&p.newer)
}

pub(super) fn decode_progress(row: &[u8]) -> Result<Progress, RowError> {
    use progress::*;
    let mut row = RowReader::new(row)?;
    let mut p = Progress::default();
    while let Some(mut f) = row.next_field()? {
        match f.tag {
            HAVE_ALL => {
                mark(&mut f)?;
                p.have = Have::All;
            }
            HAVE_SOME => {
                let pieces = f.varint_u32()?;
                let bits = f.rest();
                p.have = have_some(&f, pieces, bits)?;
            }
            PARTIALS => {
                while !f.is_empty() {
                    let piece = PieceIndex(f.varint_u32()?);
                    p.partials.push(Partial { piece, blocks: f.bytes()?.to_vec() });
                }
            }
            WRITING => {
                mark(&mut f)?;
                p.writing = true;
            }
            COMPLETED_AT => p.completed_at = Some(f.varint()?),
            FILES => {
                while !f.is_empty() {
                    p.files.push(stamp(&mut f)?);
                }
            }
            CHECK => p.check = Some(Box::new(check(&mut f)?)),
            MOUNT => p.mount = Some(f.path()),
            SUFFIXED => {
                for file in files(&mut f)? {
                    let stamp = p.files.get_mut(file.0 as usize).and_then(Option::as_mut);
                    stamp.ok_or_else(|| f.malformed("no such file was there"))?.suffixed = true;
                }
            }
            _ => {
                row.keep(&f);
                f.rest();
            }
        }
        f.done()?;
    }
    p.newer = row.into_newer();
    Ok(p)
}

/// Field of the one row of the DHT: a snapshot in its own form.
const KNOWN: u64 = 1;

pub(super) fn encode_dht(known: &Snapshot) -> Vec<u8> {
    let mut row = RowWriter::new();
    row.field(KNOWN, |p| p.rest(&known.encode()));
    row.finish(&NewerFields::default())
}

pub(super) fn decode_dht(row: &[u8]) -> Result<Snapshot, RowError> {
    let mut row = RowReader::new(row)?;
    let mut known = Snapshot::default();
    while let Some(mut field) = row.next_field()? {
        match field.tag {
            KNOWN => known = Snapshot::decode(field.rest()),
            _ => drop(field.rest()),
        }
    }
    Ok(known)
}

mod counters {
    pub(super) const DOWNLOADED: u64 = 1;
    pub(super) const UPLOADED: u64 = 2;
    pub(super) const WASTED: u64 = 3;
    pub(super) const ACTIVE_SECS: u64 = 4;
    pub(super) const SEEDING_SECS: u64 = 5;
    pub(super) const IDLE_SECS: u64 = 6;
}

pub(super) fn encode_counters(c: &Counters) -> Vec<u8> {
    use counters::*;
    let mut row = RowWriter::new();
    row.number(DOWNLOADED, c.downloaded);
    row.number(UPLOADED, c.uploaded);
    row.number(WASTED, c.wasted);
    row.number(ACTIVE_SECS, c.active_secs);
    row.number(SEEDING_SECS, c.seeding_secs);
    row.number(IDLE_SECS, c.idle_secs);
    row.finish(&c.newer)
}

pub(super) fn decode_counters(row: &[u8]) -> Result<Counters, RowError> {
    use counters::*;
    let mut row = RowReader::new(row)?;
    let mut c = Counters::default();
    while let Some(mut f) = row.next_field()? {
        match f.tag {
            DOWNLOADED => c.downloaded = f.varint()?,
            UPLOADED => c.uploaded = f.varint()?,
            WASTED => c.wasted = f.varint()?,
            ACTIVE_SECS => c.active_secs = f.varint()?,
            SEEDING_SECS => c.seeding_secs = f.varint()?,
            IDLE_SECS => c.idle_secs = f.varint()?,
            _ => {
                row.keep(&f);
                f.rest();
            }
        }
        f.done()?;
    }
    c.newer = row.into_newer();
    Ok(c)
}
