//! Rows of the tables `torrents`, `progress` and `counters`: which field has which tag.
//!
//! A tag, once given, keeps its meaning for ever. A field at its default isn't written.
use std::net::{IpAddr, SocketAddr};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use wgo_core::ByteRate;
use wgo_proto::{InfoHashV1, InfoHashV2, InfoHashes, PieceIndex};

use super::codec::{Field, Payload, RowError, RowReader, RowWriter};
use wgo_core::piece_mgr::Priority;

use super::record::{
    CheckKind, Counters, FileStamp, Have, OwedCheck, Partial, Progress, Settings, TorrentFault, Wanted,
};

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
    if s.priority != Priority::Normal {
        row.field(PRIORITY, |p| p.rest(&[priority_byte(s.priority)]));
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
    row.finish(&s.newer)
}

pub(super) fn decode_settings(row: &[u8]) -> Result<Settings, RowError> {
    use settings::*;
    let mut row = RowReader::new(row)?;
    let (mut name, mut folder) = (None, None);
    let mut s = Settings {
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
        priority: Priority::Normal,
        file_priorities: Vec::new(),
        trackers: None,
        user_peers: Vec::new(),
        newer: Default::default(),
    };
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
            PRIORITY => s.priority = priority(&mut f)?,
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

mod counters {
    pub(super) const DOWNLOADED: u64 = 1;
    pub(super) const UPLOADED: u64 = 2;
    pub(super) const WASTED: u64 = 3;
    pub(super) const ACTIVE_SECS: u64 = 4;
    pub(super) const SEEDING_SECS: u64 = 5;
}

pub(super) fn encode_counters(c: &Counters) -> Vec<u8> {
    use counters::*;
    let mut row = RowWriter::new();
    row.number(DOWNLOADED, c.downloaded);
    row.number(UPLOADED, c.uploaded);
    row.number(WASTED, c.wasted);
    row.number(ACTIVE_SECS, c.active_secs);
    row.number(SEEDING_SECS, c.seeding_secs);
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

fn mark(f: &mut Field<'_>) -> Result<(), RowError> {
    match f.varint()? {
        1 => Ok(()),
        _ => Err(f.malformed("a mark is 1 or absent")),
    }
}

fn texts(f: &mut Field<'_>) -> Result<Vec<String>, RowError> {
    let mut out = Vec::new();
    while !f.is_empty() {
        let bytes = f.bytes()?;
        out.push(f.text(bytes)?);
    }
    Ok(out)
}

fn put_fault(p: &mut Payload, fault: &TorrentFault) {
    p.bytes(fault.kind.as_bytes());
    p.bytes(fault.message.as_bytes());
    if let Some(path) = &fault.path {
        p.bytes(path.as_os_str().as_bytes());
    }
}

fn fault(f: &mut Field<'_>) -> Result<TorrentFault, RowError> {
    let (kind, message) = (f.bytes()?, f.bytes()?);
    let path = match f.is_empty() {
        true => None,
        false => Some(PathBuf::from(std::ffi::OsStr::from_bytes(f.bytes()?))),
    };
    Ok(TorrentFault { kind: f.text(kind)?, message: f.text(message)?, path })
}

/// Count of tiers, then of each tier its count of trackers and those.
fn put_tiers(p: &mut Payload, tiers: &[Vec<String>]) {
    for tier in tiers {
        p.varint(tier.len() as u64);
        tier.iter().for_each(|url| p.bytes(url.as_bytes()));
    }
}

fn tiers(f: &mut Field<'_>) -> Result<Vec<Vec<String>>, RowError> {
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

fn priority_byte(priority: Priority) -> u8 {
    match priority {
        Priority::Skip => 0,
        Priority::Low => 1,
        Priority::Normal => 2,
        Priority::High => 3,
    }
}

fn priority(f: &mut Field<'_>) -> Result<Priority, RowError> {
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
fn put_runs(p: &mut Payload, priorities: &[Priority]) {
    for run in priorities.chunk_by(|a, b| a == b) {
        p.rest(&[priority_byte(run[0])]);
        p.varint(run.len() as u64);
    }
}

fn runs(f: &mut Field<'_>) -> Result<Vec<Priority>, RowError> {
    let mut out = Vec::new();
    while !f.is_empty() {
        let (priority, len) = (priority(f)?, f.varint()?);
        let len = usize::try_from(len).ok().filter(|&len| len > 0 && out.len() + len <= MAX_FILES);
        let len = len.ok_or_else(|| f.malformed("a run of files is empty or too long"))?;
        out.resize(out.len() + len, priority);
    }
    Ok(out)
}

fn put_addr(p: &mut Payload, peer: &SocketAddr) {
    match peer.ip() {
        IpAddr::V4(ip) => p.bytes(&ip.octets()),
        IpAddr::V6(ip) => p.bytes(&ip.octets()),
    }
    p.varint(u64::from(peer.port()));
}

fn addr(f: &mut Field<'_>) -> Result<SocketAddr, RowError> {
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

fn have_some(f: &Field<'_>, pieces: u32, bits: &[u8]) -> Result<Have, RowError> {
    let spare = bits.len() as u64 * 8;
    let spare = spare.checked_sub(u64::from(pieces)).filter(|&s| s < 8);
    let spare = spare.ok_or_else(|| f.malformed("the bitmap doesn't fit the number of pieces"))?;
    if bits.last().is_some_and(|last| last.trailing_zeros() < spare as u32) {
        return Err(f.malformed("a bit behind the last piece is set"));
    }
    Ok(Have::Some { pieces, bits: bits.to_vec() })
}

/// 0 for none, 1 for all, else the number of pieces + 2 and the bitmap.
fn put_set(p: &mut Payload, set: &Have) {
    match set {
        Have::Nothing => p.varint(0),
        Have::All => p.varint(1),
        Have::Some { pieces, bits } => {
            p.varint(u64::from(*pieces) + 2);
            p.bytes(bits);
        }
    }
}

fn set(f: &mut Field<'_>) -> Result<Have, RowError> {
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

/// The kind, the two sets, the stamps to the end of the field.
fn put_check(p: &mut Payload, check: &OwedCheck) {
    p.varint(match check.kind {
        CheckKind::Full => 0,
        CheckKind::Quick => 1,
        CheckKind::Suspects => 2,
    });
    put_set(p, &check.checked);
    put_set(p, &check.good);
    check.files.iter().for_each(|file| put_stamp(p, file.as_ref()));
}

fn check(f: &mut Field<'_>) -> Result<OwedCheck, RowError> {
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

/// Length + 1, then the time; a lone 0 for a file that isn't there.
fn put_stamp(p: &mut Payload, stamp: Option<&FileStamp>) {
    match stamp {
        None => p.varint(0),
        Some(stamp) => {
            p.varint(stamp.len.saturating_add(1));
            p.signed(stamp.mtime_nanos);
        }
    }
}

fn stamp(f: &mut Field<'_>) -> Result<Option<FileStamp>, RowError> {
    match f.varint()?.checked_sub(1) {
        None => Ok(None),
        Some(len) => Ok(Some(FileStamp { len, mtime_nanos: f.signed()? })),
    }
}
