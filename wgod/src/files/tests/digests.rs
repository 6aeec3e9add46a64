//! Digests of blocks: told of wrong pieces, and of right ones when they are asked for.
use std::hash::RandomState;
use std::sync::{Arc, Mutex};

use wgo_core::smart_ban::Digest;
use wgo_proto::PieceIndex;

use super::rig::*;
use crate::files::{BlockBuf, Job, StoreOutcome, TorrentFiles, Witness};

type Told = Vec<(bool, Vec<Option<Digest>>)>;

/// Stores piece 0 and returns what the witness heard.
fn store(
    rig: &Rig,
    files: &Arc<TorrentFiles>,
    (key, always): (&RandomState, bool),
    blocks: Vec<Option<BlockBuf>>,
) -> (StoreOutcome, Told) {
    let told = Arc::new(Mutex::new(Told::new()));
    let inside = told.clone();
    let witness = Witness::new(key.clone(), always, move |right, digests| {
        inside.lock().unwrap().push((right, digests.to_vec()));
    });
    let (torrent, piece) = (files.clone(), PieceIndex(0));
    let outcome = rig.ask(|done| Job::Store { torrent, piece, blocks, witness: Some(witness), done });
    let told = told.lock().unwrap().clone();
    (outcome, told)
}

#[test]
fn digests_differ_where_blocks_do_and_are_told_only_if_they_matter() {
    let rig = Rig::new();
    let torrent = multi("d", 65_536, &[file("a", 65_536)]);
    let files = rig.open(&torrent);
    rig.prepare(&files);
    let blocks = || torrent.blocks(rig.storage.pool(), 0);
    let key = RandomState::new();
    let mut wrong = blocks();
    wrong[2].as_mut().unwrap()[7] ^= 1;
    let (outcome, told) = store(&rig, &files, (&key, false), wrong);
    assert_eq!(outcome, StoreOutcome::BadHash);
    let [(false, wrong)] = &told[..] else { panic!("{told:?}") };
    assert_eq!(store(&rig, &files, (&key, false), blocks()), (StoreOutcome::Stored, vec![]));
    let (outcome, told) = store(&rig, &files, (&key, true), blocks());
    assert_eq!(outcome, StoreOutcome::Stored);
    let [(true, right)] = &told[..] else { panic!("{told:?}") };
    let differ: Vec<_> = (0..4).filter(|&n| wrong[n] != right[n]).collect();
    assert_eq!((wrong.len(), right.iter().all(Option::is_some), differ), (4, true, vec![2]));
    let (_, told) = store(&rig, &files, (&RandomState::new(), true), blocks());
    assert_ne!(told[0].1, *right, "another run has other digests");
}

#[test]
fn of_a_right_piece_spilled_blocks_have_digests_too_and_of_a_wrong_one_they_have_none() {
    let rig = Rig::new();
    let torrent = multi("d", 65_536, &[file("a", 65_536)]);
    let files = rig.open(&torrent);
    rig.prepare(&files);
    let key = RandomState::new();
    let (outcome, told) = store(&rig, &files, (&key, true), torrent.blocks(rig.storage.pool(), 0));
    assert_eq!(outcome, StoreOutcome::Stored);
    let right = told[0].1.clone();
    // Blocks 1 and 3 are there from before.
    let spilled = || {
        let mut blocks = torrent.blocks(rig.storage.pool(), 0);
        (blocks[1], blocks[3]) = (None, None);
        blocks
    };
    let (outcome, told) = store(&rig, &files, (&key, true), spilled());
    assert_eq!((outcome, &told[0]), (StoreOutcome::Stored, &(true, right)));
    let mut wrong = spilled();
    wrong[2].as_mut().unwrap()[7] ^= 1;
    let (outcome, told) = store(&rig, &files, (&key, true), wrong);
    assert_eq!(outcome, StoreOutcome::BadHash);
    assert_eq!((told[0].1[1], told[0].1[3]), (None, None), "a disk may have changed them");
}
