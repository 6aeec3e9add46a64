//! What the state directory keeps, however a crash or somebody else left it.
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use wgo_core::TorrentId;
use wgo_proto::PieceIndex;
use wgod::store::{Have, Progress, leave, recover, rewritten, rewritten_backup};

use super::Reader;
use super::memory_disk::MemoryDisk;

/// A row says the same when it is written and read again.
pub(super) fn rows(data: &[u8]) {
    let Some((kind, fields)) = data.split_first() else { return };
    let Some(row) = rewritten(*kind, fields) else { return };
    // Its version and checksum are put around it again.
    let fields = &row[1..row.len() - 4];
    assert_eq!(rewritten(*kind, fields).as_ref(), Some(&row), "written once, it stays");
}

/// A backup that can be restored from holds the same when it is written again, and is no longer for it.
pub(super) fn backup(data: &[u8]) {
    let Some(written) = rewritten_backup(data) else { return };
    assert!(written.len() <= data.len(), "{} bytes from {}", written.len(), data.len());
    assert_eq!(rewritten_backup(&written).as_ref(), Some(&written), "written once, it stays");
}

/// Any rows and any log: the start claims no piece, doubts those that the log names and no row covers, and a start
/// after it doubts the same.
pub(super) fn recovery(data: &[u8]) {
    let mut reader = Reader::new(data);
    let rows: Vec<(TorrentId, Vec<u8>)> = (0..reader.byte() % 3)
        .map(|n| (TorrentId(u64::from(n) + 1), reader.sized().to_vec()))
        .filter(|(_, fields)| rewritten(1, fields).is_some())
        .collect();
    let (mut log, mut entries, mut bad) = (Vec::new(), Vec::new(), 0);
    for _ in 0..reader.byte() % 16 {
        let (id, piece, epoch) =
            (u64::from(reader.byte() % 4), u32::from(reader.byte()), u32::from(reader.byte() % 4));
        let damage = u32::from(reader.byte() < 64);
        log.extend(entry(id, piece, epoch, damage));
        match damage {
            0 => entries.push((TorrentId(id), PieceIndex(piece), epoch)),
            _ => bad += 1,
        }
    }
    let torn = usize::from(reader.byte() % 20);
    let torn = reader.bytes(torn);
    log.extend(torn);
    bad += u64::from(!torn.is_empty());
    let (disk, dir) = (MemoryDisk::shared(), Path::new("/state"));
    leave(disk.clone(), dir, &rows, &log).expect("nothing is wrong with the disk");
    let ids: Vec<TorrentId> = rows.iter().map(|(id, _)| *id).collect();
    let (recovery, known) = recover(disk.clone(), dir, &ids).expect("every row can be read");
    assert!(!recovery.clean && recovery.damaged_entries == bad, "{recovery:?}, but {bad} are damaged");
    assert_eq!(recovery.suspect, doubted(&known, &entries));
    let (again, same) = recover(disk, dir, &ids).expect("it was just written");
    assert_eq!((again.suspect, again.damaged_entries), (recovery.suspect, 0));
    assert_eq!(same, known, "a start changes nothing of what is had");
}

/// What the entries of this run name of torrents that were written to, and that their rows don't have.
fn doubted(
    known: &BTreeMap<TorrentId, Progress>,
    entries: &[(TorrentId, PieceIndex, u32)],
) -> BTreeMap<TorrentId, Vec<PieceIndex>> {
    let mut doubted: BTreeMap<TorrentId, BTreeSet<PieceIndex>> = BTreeMap::new();
    for (id, piece, epoch) in entries {
        let Some(progress) = known.get(id).filter(|progress| progress.writing) else { continue };
        let lacks = match &progress.have {
            Have::Nothing => true,
            Have::All => false,
            Have::Some { pieces, bits } => {
                let byte = bits.get(piece.0 as usize / 8).copied().unwrap_or(0);
                piece.0 < *pieces && byte & (0x80 >> (piece.0 % 8)) == 0
            }
        };
        // The first run has the number 1; what an earlier one noted counts no more.
        if *epoch >= 1 && lacks {
            doubted.entry(*id).or_default().insert(*piece);
        }
    }
    doubted.into_iter().map(|(id, pieces)| (id, pieces.into_iter().collect())).collect()
}

/// An entry of the log, as the module's text describes it; with `damage` its checksum is wrong.
fn entry(id: u64, piece: u32, epoch: u32, damage: u32) -> Vec<u8> {
    let body = [&id.to_le_bytes()[..], &piece.to_le_bytes(), &epoch.to_le_bytes()].concat();
    let crc = crc32(&body) ^ damage;
    [body, crc.to_le_bytes().to_vec()].concat()
}

/// The checksum of Ethernet and zip, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 != 0 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}
