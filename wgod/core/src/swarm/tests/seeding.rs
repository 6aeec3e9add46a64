//! Serving: what is accepted, pulled, refused and taken back (BEP 3, 6), and the choker's view.
use super::rig::*;
use crate::choke_mgr::Standing;
use crate::peer::PeerFault;
use crate::peer::uploads::MAX_QUEUED;
use crate::swarm::Action;
use crate::units::PeerKey;
use wgo_proto::wire::Message;
use wgo_proto::{BLOCK_LEN, Block, PieceIndex};

/// A seed of `pieces` with one interested peer that is unchoked.
fn seeding(pieces: u32, is_fast: bool) -> (Rig, PeerKey) {
    let all: Vec<u32> = (0..pieces).collect();
    let mut rig = Rig::new(pieces, &all);
    let key = if is_fast { rig.fast(1) } else { rig.plain(1) };
    rig.says(key, &Message::Interested);
    rig.swarm.unchoke(rig.now, key, false);
    rig.heard(key);
    (rig, key)
}

fn request(piece: u32, number: u32) -> Message<'static> {
    Message::Request(block(piece, number))
}

#[test]
fn requests_are_pulled_in_order_to_the_budget() {
    let (mut rig, key) = seeding(2, true);
    for number in 0..3 {
        rig.says(key, &request(1, number));
    }
    assert_eq!(rig.swarm.upload_backlog(key), u64::from(3 * BLOCK_LEN));
    assert_eq!(rig.pulled(key, 1), (vec![], vec![block(1, 0)]));
    assert_eq!(rig.pulled(key, 1 << 20).1, [block(1, 1), block(1, 2)]);
    rig.swarm.on_uploaded(rig.now, key, 100);
    assert_eq!(rig.swarm.view(rig.now).counters.uploaded, 100);
}

#[test]
fn requests_outside_of_the_torrent_are_a_fault() {
    for wrong in [
        Block { piece: PieceIndex(9), ..block(0, 0) },
        Block { len: 0, ..block(0, 0) },
        Block { len: 128 * 1024 + 1, ..block(0, 0) },
        Block { offset: BLOCKS * BLOCK_LEN - 1, len: 2, ..block(0, 0) },
        Block { offset: u32::MAX, len: u32::MAX, ..block(0, 0) },
    ] {
        let (mut rig, key) = seeding(2, true);
        assert!(matches!(rig.try_say(key, &Message::Request(wrong)), Err(PeerFault::OutOfRange { .. })));
    }
}

#[test]
fn a_choked_peers_requests_are_rejected_and_many_are_a_fault() {
    let mut rig = Rig::new(40, &(0..40).collect::<Vec<_>>());
    let (with, without) = (rig.fast(1), rig.plain(2));
    let allowed: Vec<Said> = rig.heard(with);
    let choked = (0..40).find(|piece| !allowed.contains(&Said::AllowedFast(*piece))).expect("ten are");
    rig.says(with, &request(choked, 0));
    rig.says(without, &request(choked, 0));
    assert_eq!(rig.heard(with), [Said::Reject(choked, 0)]);
    rig.heard(without);
    assert_eq!(rig.swarm.upload_backlog(without), 0);
    rig.wait(secs(11));
    let fault = (0..1000).find_map(|_| rig.try_say(without, &request(choked, 0)).err());
    assert!(matches!(fault, Some(PeerFault::Nuisance(_))));
}

#[test]
fn a_choke_drops_what_was_not_pulled() {
    let (mut rig, key) = seeding(40, true);
    let allowed: Vec<u32> =
        (0..40).filter(|p| is_allowed(&mut Rig::new(40, &(0..40).collect::<Vec<_>>()), *p)).collect();
    let piece = (0..40).find(|p| !allowed.contains(p)).expect("ten are allowed");
    rig.says(key, &request(piece, 0));
    rig.says(key, &request(piece, 1));
    assert_eq!(rig.pulled(key, 1).1, [block(piece, 0)]);
    rig.swarm.choke(rig.now, key);
    assert_eq!(rig.pulled(key, 1 << 20), (vec![Said::Choke, Said::Reject(piece, 1)], vec![]));
    for _ in 0..600 {
        rig.says(key, &request(piece, 2));
    }
    assert_eq!(rig.closing(key), None, "requests that cross the choke are no nuisance");
}

fn is_allowed(rig: &mut Rig, piece: u32) -> bool {
    let key = rig.fast(1);
    rig.heard(key).contains(&Said::AllowedFast(piece))
}

#[test]
fn allowed_pieces_are_served_while_choked_but_not_for_ever() {
    let mut rig = Rig::new(40, &(0..40).collect::<Vec<_>>());
    let key = rig.fast(1);
    let allowed: Vec<u32> = rig
        .heard(key)
        .into_iter()
        .filter_map(|said| if let Said::AllowedFast(piece) = said { Some(piece) } else { None })
        .collect();
    assert_eq!(allowed.len(), 10);
    let mut served = 0u64;
    for _ in 0..100 {
        for piece in &allowed {
            rig.says(key, &request(*piece, 0));
        }
        served += rig.pulled(key, u64::MAX).1.len() as u64;
    }
    assert_eq!(served, u64::from(2 * 10 * BLOCKS), "two copies of each");
}

#[test]
fn a_cancel_takes_back_what_was_not_pulled() {
    let (mut rig, key) = seeding(2, true);
    rig.says(key, &request(0, 0));
    rig.says(key, &request(0, 1));
    rig.says(key, &Message::Cancel(block(0, 0)));
    assert_eq!(rig.pulled(key, 1 << 20), (vec![Said::Reject(0, 0)], vec![block(0, 1)]));
    rig.says(key, &Message::Cancel(block(0, 1)));
    assert_eq!(rig.pulled(key, 1 << 20), (vec![], vec![]), "it has left");
}

#[test]
fn the_queue_of_a_peer_is_bounded() {
    let (mut rig, key) = seeding(2, true);
    for _ in 0..MAX_QUEUED + 5 {
        rig.says(key, &request(0, 0));
    }
    assert_eq!(rig.pulled(key, u64::MAX).1.len(), MAX_QUEUED);
    assert_eq!(rig.heard(key).len(), 0, "the rejects came with the blocks");
}

#[test]
fn a_block_that_can_not_be_read_is_refused() {
    let (mut rig, key) = seeding(1, true);
    rig.says(key, &request(0, 0));
    let pulled = rig.pulled(key, 1).1;
    rig.swarm.on_upload_failed(key, pulled[0]);
    assert_eq!(rig.heard(key), [Said::Reject(0, 0)]);
}

#[test]
fn what_was_pulled_of_a_piece_that_is_lost_meanwhile_is_refused() {
    let (mut rig, key) = seeding(2, true);
    (0..2).for_each(|piece| rig.says(key, &request(piece, 0)));
    let mut pulled = rig.pulled(key, u64::MAX).1;
    assert_eq!(pulled.len(), 2);
    rig.swarm.lose(rig.now, [PieceIndex(0)]);
    rig.swarm.refuse_lost(key, &mut pulled);
    assert_eq!(pulled.iter().map(|block| block.piece.0).collect::<Vec<_>>(), [1]);
    assert!(rig.heard(key).contains(&Said::Reject(0, 0)));
    // And what waits to be sent when more is pulled.
    rig.swarm.lose(rig.now, [PieceIndex(1)]);
    let (now, mut control) = (rig.now, Vec::new());
    rig.swarm.poll_transmit(now, key, 0, &mut control, &mut pulled);
    assert!(pulled.is_empty());
    assert_eq!(control.get(4), Some(&16), "a reject");
}

#[test]
fn paused_uploads_choke_everyone_and_blame_nobody() {
    let (mut rig, key) = seeding(2, true);
    for _ in 0..600 {
        rig.says(key, &request(0, 0));
    }
    rig.swarm.set_uploads_paused(rig.now, true);
    rig.check();
    let (control, blocks) = rig.pulled(key, u64::MAX);
    assert_eq!((control[0].clone(), control.len(), blocks.len()), (Said::Choke, 601, 0));
    for _ in 0..600 {
        rig.says(key, &request(0, 1));
    }
    assert_eq!(rig.closing(key), None);
    let mut candidates = Vec::new();
    rig.swarm.choke_candidates(rig.now, &mut candidates);
    assert!(candidates.iter().all(|candidate| !candidate.interested), "nobody gets a slot");
    rig.swarm.set_uploads_paused(rig.now, false);
    rig.swarm.unchoke(rig.now, key, false);
    rig.says(key, &request(0, 1));
    assert_eq!(rig.pulled(key, u64::MAX).1, [block(0, 1)]);
}

#[test]
fn the_choker_sees_who_waits_and_who_has_a_slot() {
    let mut rig = Rig::new(2, &[0, 1]);
    let (a, b, c) = (rig.fast(1), rig.fast(2), rig.fast(3));
    rig.says(a, &Message::Interested);
    rig.says(b, &Message::Interested);
    rig.wait(secs(5));
    rig.swarm.unchoke(rig.now, b, true);
    let mut seen = Vec::new();
    rig.swarm.choke_candidates(rig.now, &mut seen);
    assert_eq!(seen.len(), 2, "{c:?} wants nothing");
    assert!(matches!(seen[0].standing, Standing::Waiting(d) if d == secs(5)));
    assert!(matches!(seen[1].standing, Standing::Optimistic(_)));
    assert_eq!(rig.swarm.unchoked(), (0, 1));
    rig.swarm.unchoke(rig.now, b, false);
    assert_eq!(rig.swarm.unchoked(), (1, 0));
    let unchokes = rig.heard(b).iter().filter(|said| **said == Said::Unchoke).count();
    assert_eq!(unchokes, 1, "moving between slots is not told");
}

#[test]
fn the_choker_hears_of_interest_and_of_free_slots() {
    let mut rig = Rig::new(2, &[0, 1]);
    let key = rig.fast(1);
    let changes = |rig: &mut Rig| rig.count(|a| matches!(a, Action::InterestChanged));
    assert_eq!(changes(&mut rig), 0);
    rig.says(key, &Message::Interested);
    assert_eq!(changes(&mut rig), 1);
    for _ in 0..50 {
        rig.says(key, &Message::NotInterested);
        rig.says(key, &Message::Interested);
    }
    assert_eq!(changes(&mut rig), 0, "one that flaps waits for the next round");
    rig.wait(secs(10));
    rig.says(key, &Message::KeepAlive);
    rig.says(key, &Message::NotInterested);
    rig.says(key, &Message::Interested);
    assert_eq!(changes(&mut rig), 1);
    rig.swarm.unchoke(rig.now, key, false);
    rig.leaves(key);
    assert_eq!(changes(&mut rig), 1, "its slot is free");
}
