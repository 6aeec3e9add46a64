//! The lease of payload memory: what is asked for within it, what is spilled, who goes on afterwards.
use super::rig::*;
use crate::swarm::{Action, MIN_MEMORY_BLOCKS};
use wgo_proto::PieceIndex;
use wgo_proto::wire::Message;

fn spills(rig: &mut Rig) -> Vec<PieceIndex> {
    let spilled = |action| if let Action::Spill(spill) = action { Some(spill.piece) } else { None };
    rig.actions().into_iter().filter_map(spilled).collect()
}

#[test]
fn the_least_lease_still_makes_progress() {
    let mut rig = Rig::new(8, &[]);
    rig.swarm.set_memory(rig.now, 0);
    let key = rig.seed(1);
    assert!((1..=MIN_MEMORY_BLOCKS).contains(&rig.requests(key).len()));
    rig.swarm.disconnect(rig.now, key, crate::peer::CloseReason::Stopped);
    let key = rig.seed(2);
    rig.serve_all(key);
    for _ in 0..20 {
        rig.wait(secs(1));
        rig.serve_all(key);
    }
    assert!(rig.swarm.view(rig.now).complete);
}

#[test]
fn no_more_is_asked_for_than_fits() {
    let mut rig = Rig::new(100, &[]);
    rig.swarm.set_memory(rig.now, 8);
    let keys: Vec<_> = (1..=5).map(|n| rig.seed(n)).collect();
    let asked: usize = keys.iter().map(|key| rig.requests(*key).len()).sum();
    assert!((4..=8).contains(&asked), "{asked}");
}

#[test]
fn a_starved_peer_goes_on_when_a_piece_completes() {
    let mut rig = Rig::new(100, &[]);
    rig.swarm.set_memory(rig.now, 4);
    let (a, b) = (rig.seed(1), rig.seed(2));
    let of_a = rig.requests(a);
    assert_eq!((of_a.len(), rig.requests(b).len()), (4, 0), "all the memory is one peer's");
    rig.swarm.set_memory(rig.now, 8);
    for (piece, number) in of_a {
        rig.sends(a, piece, number);
    }
    assert!(!rig.requests(b).is_empty(), "without waiting for the clock");
}

#[test]
fn a_piece_that_waits_for_the_disk_still_takes_its_memory() {
    let mut rig = Rig::new(100, &[]);
    rig.swarm.set_memory(rig.now, 8);
    let key = rig.seed(1);
    let mut complete = Vec::new();
    for _ in 0..5 {
        for (piece, number) in rig.requests(key) {
            complete.extend(rig.sends(key, piece, number));
        }
    }
    assert_eq!((complete.len(), rig.swarm.held_blocks()), (2, 8), "two pieces, and no more is asked for");
    rig.stored(complete[0].piece.0);
    assert_eq!((rig.requests(key).len(), rig.swarm.held_blocks()), (4, 4));
    rig.check();
}

#[test]
fn the_piece_that_stands_is_spilled_and_completes_from_the_disk() {
    let mut rig = Rig::new(4, &[]);
    rig.swarm.set_memory(rig.now, 4);
    let a = rig.seed(1);
    let of_a = rig.requests(a);
    for (piece, number) in &of_a[..3] {
        rig.sends(a, *piece, *number);
    }
    rig.leaves(a);
    let piece = of_a[0].0;
    let b = rig.fast(2);
    let others: Vec<u32> = (0..4).filter(|other| *other != piece).collect();
    rig.says_bits(b, &others);
    rig.says(b, &Message::Unchoke);
    rig.wait(secs(2));
    rig.requests(b);
    for _ in 0..30 {
        rig.wait(secs(1));
        rig.says(b, &Message::KeepAlive);
        for (piece, number) in rig.requests(b) {
            if let Some(complete) = rig.sends(b, piece, number) {
                rig.stored(complete.piece.0);
            }
        }
        for piece in spills(&mut rig) {
            rig.swarm.on_spilled(rig.now, piece, true);
            rig.check();
        }
    }
    assert_eq!(rig.swarm.partials().len(), usize::from(rig.swarm.held_blocks() == 0));
    let c = rig.seed(3);
    rig.serve_all(c);
    for _ in 0..5 {
        rig.wait(secs(1));
        rig.serve_all(c);
    }
    assert!(rig.swarm.view(rig.now).complete);
}

#[test]
fn what_an_end_spills_is_taken_up_by_the_next_life() {
    let mut rig = Rig::new(2, &[]);
    let key = rig.seed(1);
    let asked = rig.requests(key);
    rig.sends(key, asked[0].0, asked[0].1);
    let spilled: Vec<PieceIndex> = rig.swarm.spill_all().into_iter().map(|spill| spill.piece).collect();
    assert_eq!(spilled, [PieceIndex(asked[0].0)]);
    rig.swarm.on_spilled(rig.now, spilled[0], true);
    let partials = rig.swarm.partials();
    assert_eq!(partials.len(), 1);
    let mut next = Rig::new(2, &[]);
    next.swarm.restore_partials(&partials);
    next.check();
    let key = next.seed(1);
    let mut again = Vec::new();
    loop {
        let more = next.requests(key);
        if more.is_empty() {
            break;
        }
        for (piece, number) in more {
            again.push((piece, number));
            if let Some(complete) = next.sends(key, piece, number) {
                next.stored(complete.piece.0);
            }
        }
    }
    assert!(!again.contains(&asked[0]) && next.swarm.view(next.now).complete);
}

#[test]
fn a_failed_spill_loses_its_blocks_only() {
    let mut rig = Rig::new(2, &[]);
    let key = rig.seed(1);
    let asked = rig.requests(key);
    rig.sends(key, asked[0].0, asked[0].1);
    for spill in rig.swarm.spill_all() {
        rig.swarm.on_spilled(rig.now, spill.piece, false);
    }
    rig.check();
    for (piece, number) in &asked[1..] {
        if let Some(complete) = rig.sends(key, *piece, *number) {
            rig.stored(complete.piece.0);
        }
    }
    rig.serve_all(key);
    assert!(rig.swarm.view(rig.now).complete);
}

#[test]
fn after_a_failed_sync_nothing_counts_that_was_written_since_the_checkpoint() {
    let mut rig = Rig::new(4, &[]);
    let key = rig.seed(1);
    let mut complete = Vec::new();
    let (mut spilled, mut late) = (None, Vec::new());
    for _ in 0..20 {
        for (piece, number) in rig.requests(key) {
            match (complete.len(), spilled) {
                (0 | 1, _) => complete.extend(rig.sends(key, piece, number)),
                (_, None) => {
                    spilled = Some(piece);
                    drop(rig.sends(key, piece, number));
                }
                _ => late.push((piece, number)),
            }
        }
    }
    assert_eq!(complete.len(), 2);
    let spills = rig.swarm.spill_all();
    spills.iter().for_each(|spill| rig.swarm.on_spilled(rig.now, spill.piece, true));
    let (stored, verifying) = (complete[0].piece, complete[1].piece);
    rig.stored(stored.0);
    assert!(!rig.swarm.partials().is_empty(), "blocks are on disk");
    let none = wgo_proto::Bitfield::new(4);
    assert_eq!(rig.swarm.lose_unsynced(rig.now, &none), [stored]);
    assert!(rig.swarm.partials().is_empty(), "blocks on disk are fetched again");
    rig.stored(verifying.0);
    assert!(rig.swarm.have().is_empty(), "what was being written meanwhile doesn't count");
    rig.check();
    for (piece, number) in late {
        if let Some(complete) = rig.sends(key, piece, number) {
            rig.stored(complete.piece.0);
        }
    }
    for _ in 0..20 {
        rig.serve_all(key);
        rig.wait(secs(1));
    }
    assert!(rig.swarm.view(rig.now).complete);
}
