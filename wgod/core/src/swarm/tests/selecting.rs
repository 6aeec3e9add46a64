//! What the operator wants of a torrent, and its change while peers serve us.
use super::rig::*;
use crate::piece_mgr::Priority::{self, High, Low, Normal, Skip};
use crate::selection::Selection;
use crate::swarm::Action;
use wgo_proto::layout::Layout;
use wgo_proto::wire::Message;
use wgo_proto::{BLOCK_LEN, PieceIndex};

/// Files of one piece each.
fn selection(pieces: u32, files: &[Priority]) -> Option<Selection> {
    let lens = vec![u64::from(BLOCKS * BLOCK_LEN); pieces as usize];
    let layout = Layout::v1(BLOCKS * BLOCK_LEN, &lens).expect("a plain layout");
    Selection::new(&layout, files, |_| false, false)
}

pub(super) fn select(rig: &mut Rig, pieces: u32, files: &[Priority]) {
    rig.swarm.select(rig.now, selection(pieces, files).as_ref());
    rig.check();
}

fn is_finished(action: &Action<u32>) -> bool {
    matches!(action, Action::Finished)
}

#[test]
fn what_is_skipped_is_never_asked_for_and_not_missed() {
    let mut rig = Rig::new(4, &[]);
    select(&mut rig, 4, &[Skip, Normal, Skip, Normal]);
    let key = rig.seed(1);
    rig.serve_all(key);
    let have: Vec<u32> = rig.swarm.have().iter_ones().collect();
    assert_eq!(have, [1, 3]);
    assert_eq!(rig.count(is_finished), 1);
    let view = rig.swarm.view(rig.now);
    assert!(view.finished && !view.complete && view.left_bytes == 0);
    assert!(rig.closing(key).is_some(), "two that want nothing of each other part");
}

#[test]
fn a_peer_with_skipped_pieces_only_is_of_no_interest() {
    let mut rig = Rig::new(4, &[]);
    select(&mut rig, 4, &[Skip, Normal, Normal, Normal]);
    let key = rig.fast(1);
    rig.says_bits(key, &[0]);
    assert!(!rig.heard(key).contains(&Said::Interested));
    select(&mut rig, 4, &[]);
    assert!(rig.heard(key).contains(&Said::Interested));
    select(&mut rig, 4, &[Skip]);
    assert!(rig.heard(key).contains(&Said::NotInterested));
}

#[test]
fn a_torrent_may_be_finished_by_wanting_less_and_go_on_by_wanting_more() {
    let mut rig = Rig::new(3, &[0]);
    let key = rig.connect(1, wgo_proto::wire::Reserved([0, 0, 0, 0, 0, 0x10, 0, 0x04]));
    rig.extend(key, |_| {});
    rig.says_bits(key, &[1, 2]);
    rig.says(key, &Message::Unchoke);
    assert!(!rig.requests(key).is_empty());
    rig.actions();
    select(&mut rig, 3, &[Normal, Skip, Skip]);
    assert_eq!(rig.count(is_finished), 1);
    let heard = rig.heard(key);
    assert!(heard.contains(&Said::UploadOnly(true)) && heard.contains(&Said::NotInterested), "{heard:?}");
    assert!(heard.contains(&Said::Cancel(1, 0)) || heard.contains(&Said::Cancel(2, 0)), "{heard:?}");
    select(&mut rig, 3, &[]);
    let heard = rig.heard(key);
    assert!(heard.contains(&Said::UploadOnly(false)) && heard.contains(&Said::Interested), "{heard:?}");
    for said in heard {
        if let Said::Request(piece, number) = said
            && let Some(complete) = rig.sends(key, piece, number)
        {
            rig.stored(complete.piece.0);
        }
    }
    rig.serve_all(key);
    assert_eq!(rig.count(is_finished), 1);
    assert!(rig.swarm.view(rig.now).complete);
}

#[test]
fn what_is_wanted_most_comes_first() {
    let mut rig = Rig::new(6, &[]);
    select(&mut rig, 6, &[Low, Normal, Normal, Normal, High, Skip]);
    let key = rig.seed(1);
    let mut order = Vec::new();
    loop {
        let asked = rig.requests(key);
        if asked.is_empty() {
            break;
        }
        for (piece, number) in asked {
            order.extend((order.last() != Some(&piece)).then_some(piece));
            if let Some(complete) = rig.sends(key, piece, number) {
                rig.stored(complete.piece.0);
            }
        }
    }
    assert_eq!((order.first(), order.last(), order.len()), (Some(&4), Some(&0), 5), "{order:?}");
}

#[test]
fn a_torrent_begins_with_its_selection() {
    let layout = Layout::v1(BLOCKS * BLOCK_LEN, &[u64::from(BLOCKS * BLOCK_LEN); 2]).expect("plain");
    let selection = Selection::new(&layout, &[Skip], |_| false, false).map(std::sync::Arc::new);
    let rig = Rig::new(2, &[]);
    let start = crate::swarm::Start {
        id: crate::TorrentId(2),
        hash: wgo_proto::WireHash([8; 20]),
        layout,
        have: bits(2, &[1]),
        selection,
        counters: Default::default(),
        tiers: Vec::new().into(),
        seed: 1,
    };
    let config = crate::swarm::SwarmConfig {
        peer_id: wgo_proto::PeerId([1; 20]),
        listen_port: 0,
        max_peers: 5,
        private: false,
        pex: true,
        metadata_len: 0,
    };
    let swarm: crate::swarm::Swarm<u32> = crate::swarm::Swarm::new(rig.now, config, start);
    swarm.check_invariants();
    let view = swarm.view(rig.now);
    assert!(view.finished && !view.complete);
    assert_eq!(view.left_bytes, 0);
    assert_eq!(swarm.have().first_one().map(PieceIndex), Some(PieceIndex(1)));
}
