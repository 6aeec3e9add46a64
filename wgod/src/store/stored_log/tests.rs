//! The stored log on a disk in memory: damage, old runs, covering, truncation and replacement.
use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::store::record::Have;
use crate::store::tests::power_disk::{PowerDisk, Survives};
use crate::store::tests::writing;

const ONE: TorrentId = TorrentId(1);
const TWO: TorrentId = TorrentId(2);

fn dir(disk: &PowerDisk) -> StateDir {
    StateDir::open(Arc::new(disk.clone()), Path::new("/state")).unwrap()
}

fn log(disk: &PowerDisk, epoch: u32) -> StoredLog {
    StoredLog::begin(&dir(disk), epoch, Pieces::new()).unwrap()
}

fn pieces(id: TorrentId, pieces: impl IntoIterator<Item = u32>) -> Vec<(TorrentId, PieceIndex)> {
    pieces.into_iter().map(|piece| (id, PieceIndex(piece))).collect()
}

/// What a restart would find, in order.
fn found(disk: &PowerDisk, epoch: u32) -> Vec<(u64, u32)> {
    let leftover = leftover(&dir(disk), epoch).unwrap();
    leftover.pieces.iter().flat_map(|(id, set)| set.iter().map(|piece| (id.0, piece.0))).collect()
}

fn len(disk: &PowerDisk) -> usize {
    disk.content(FILE).unwrap().len()
}

#[test]
fn entries_are_found_again_without_a_sync_and_only_of_this_run_or_later_ones() {
    let disk = PowerDisk::new();
    log(&disk, 5).append(&[pieces(ONE, [3, 1]), pieces(TWO, [7])].concat()).unwrap();
    let restarted = disk.restart(Survives::All);
    for (epoch, want) in [(4, 3), (5, 3), (6, 0)] {
        assert_eq!(found(&restarted, epoch).len(), want, "epoch {epoch}");
    }
    assert_eq!(found(&restarted, 5), [(1, 1), (1, 3), (2, 7)]);
    assert_eq!(found(&PowerDisk::new(), 0), []);
}

#[test]
fn damage_costs_the_entries_that_it_hits_and_no_others() {
    let disk = PowerDisk::new();
    log(&disk, 1).append(&pieces(ONE, 0..6)).unwrap();
    disk.edit(FILE, |content| {
        content[ENTRY_LEN + 8] ^= 1;
        content[3 * ENTRY_LEN..4 * ENTRY_LEN].fill(0);
        content.truncate(5 * ENTRY_LEN + 7);
    });
    let leftover = leftover(&dir(&disk), 1).unwrap();
    let left: Vec<u32> = leftover.pieces[&ONE].iter().map(|piece| piece.0).collect();
    assert_eq!((left, leftover.damaged), (vec![0, 2, 4], 3));
}

#[test]
fn garbage_of_any_length_is_counted_and_ignored() {
    let mut random = fastrand::Rng::with_seed(1);
    for len in [1, 19, 20, 21, 5000, ENTRY_LEN * READ_ENTRIES + 3] {
        let disk = PowerDisk::new();
        drop(log(&disk, 1));
        disk.edit(FILE, |content| *content = (0..len).map(|_| random.u8(..)).collect());
        let leftover = leftover(&dir(&disk), 0).unwrap();
        assert!(leftover.pieces.is_empty(), "{len}");
        assert_eq!(leftover.damaged as usize, len.div_ceil(ENTRY_LEN));
    }
}

#[test]
fn a_log_longer_than_one_read_is_read_whole() {
    let disk = PowerDisk::new();
    let count = READ_ENTRIES as u32 + 9;
    log(&disk, 1).append(&pieces(ONE, 0..count)).unwrap();
    assert_eq!(found(&disk, 1).len() as u32, count);
}

#[test]
fn the_log_is_emptied_when_all_is_covered_and_not_before() {
    let disk = PowerDisk::new();
    let mut log = log(&disk, 1);
    log.append(&[pieces(ONE, [1, 2]), pieces(TWO, [3])].concat()).unwrap();
    log.cover(ONE, &writing(8, &[1, 2]));
    log.shrink().unwrap();
    assert_eq!(len(&disk), 3 * ENTRY_LEN, "nothing is gained by replacing so little");
    // Stored after the bitmap of the next checkpoint was taken, logged before that was committed.
    log.append(&pieces(TWO, [4])).unwrap();
    log.cover(TWO, &writing(8, &[3]));
    log.shrink().unwrap();
    assert!(found(&disk, 1).contains(&(2, 4)));
    log.cover(TWO, &writing(8, &[3, 4]));
    log.shrink().unwrap();
    assert_eq!(len(&disk), 0);
    log.append(&pieces(ONE, [5])).unwrap();
    assert_eq!(found(&disk, 1), [(1, 5)]);
}

#[test]
fn a_torrent_that_is_done_gone_or_refuted_leaves_no_entries() {
    let disk = PowerDisk::new();
    let mut log = log(&disk, 1);
    log.append(&[pieces(ONE, 0..9), pieces(TWO, 0..9), pieces(TorrentId(3), [1])].concat()).unwrap();
    log.cover(ONE, &Progress { have: Have::All, ..Progress::default() });
    log.forget(TWO);
    log.refute(TorrentId(3), PieceIndex(1));
    log.shrink().unwrap();
    assert_eq!(len(&disk), 0);
}

#[test]
fn a_long_log_is_replaced_by_its_uncovered_entries_and_survives_a_crash_at_any_point() {
    let ops = |disk: &PowerDisk| disk.ops();
    let mut at = None;
    loop {
        let disk = PowerDisk::new();
        let mut log = log(&disk, 1);
        log.append(&pieces(ONE, 0..5000)).unwrap();
        let have: Vec<u32> = (0..4990).collect();
        log.cover(ONE, &writing(5000, &have));
        let start = ops(&disk);
        let cut = at.unwrap_or(start);
        disk.cut_at(cut);
        let result = log.shrink();
        let left = found(&disk.restart(Survives::All), 1);
        let last_ten: Vec<_> = (4990..5000).map(|piece| (1, piece)).collect();
        assert!(left.ends_with(&last_ten), "cut at {cut}: {} entries", left.len());
        if result.is_ok() {
            assert_eq!(left, last_ten);
            assert!(cut >= start + 3, "{}", cut - start);
            break;
        }
        at = Some(cut + 1);
    }
}

#[test]
fn suspects_are_durable_before_their_old_log_is_given_up() {
    let disk = PowerDisk::new();
    let suspects = Pieces::from([(ONE, BTreeSet::from([PieceIndex(4)]))]);
    StoredLog::begin(&dir(&disk), 2, suspects).unwrap();
    assert_eq!(found(&disk.restart(Survives::Nothing), 2), [(1, 4)]);
}

#[test]
fn the_writer_keeps_the_order_of_pieces_and_checkpoints() {
    use crate::store::log_thread::{LogWork, perform};
    let disk = PowerDisk::new();
    let mut log = log(&disk, 1);
    let stored = |piece| LogWork::Stored(ONE, PieceIndex(piece));
    let done = || LogWork::Cover(ONE, Box::new(Progress { have: Have::All, ..Progress::default() }));
    perform(&mut log, vec![stored(1), stored(2), done()]).unwrap();
    assert_eq!(len(&disk), 0);
    perform(&mut log, vec![stored(3), done(), stored(4)]).unwrap();
    assert!(found(&disk, 1).contains(&(1, 4)), "stored after the checkpoint");
}
