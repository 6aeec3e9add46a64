//! Smart ban: peers of which some send wrong blocks, in whatever order things happen. The liars are found by the
//! digests of what they sent, and nobody else is ever held for one.
use std::collections::BTreeSet;

use proptest::prelude::*;
use wgo_proto::PieceIndex;
use wgo_proto::wire::Message;

use super::rig::*;
use crate::peer::{CloseReason, PeerFault};
use crate::piece_mgr::{BadBlocks, Complete};
use crate::smart_ban::Digest;
use crate::swarm::{Action, PieceOutcome};
use crate::units::PeerKey;

/// A block's buffer is a number, and this one is right.
const RIGHT: u32 = 0;

/// What a storage thread does with a piece. Returns whether it was right.
fn hash(rig: &mut Rig, complete: &Complete<u32>) -> bool {
    let right = complete.blocks.iter().all(|block| block.unwrap_or(RIGHT) == RIGHT);
    if !right || complete.doubted {
        // What was read back counts too once it is known to be right.
        let known = |block: &Option<u32>| block.or(right.then_some(RIGHT));
        let digests: Vec<_> =
            complete.blocks.iter().map(|b| known(b).map(|b| Digest(u64::from(b) + 7))).collect();
        rig.swarm.on_digests(rig.now, complete.piece, right, &digests);
    }
    let outcome = if right { PieceOutcome::Stored } else { PieceOutcome::BadHash(BadBlocks::All) };
    rig.swarm.on_piece(rig.now, complete.piece, outcome);
    rig.check();
    right
}

fn send(rig: &mut Rig, key: PeerKey, at: (u32, u32), buf: u32) -> Option<Complete<u32>> {
    let sent = rig.swarm.on_block(rig.now, key, block(at.0, at.1), buf).expect("it was asked for");
    rig.check();
    sent
}

/// The peer answers all that it is asked for, rightly.
fn serve(rig: &mut Rig, key: PeerKey) {
    loop {
        let asked = rig.requests(key);
        if asked.is_empty() {
            return;
        }
        for at in asked {
            if let Some(complete) = send(rig, key, at, RIGHT) {
                assert!(hash(rig, &complete), "nobody lies any more");
            }
        }
    }
}

fn is_banned(rig: &Rig, n: u8) -> bool {
    rig.swarm.peer_mgr.is_banned(addr(n).ip())
}

/// Peer 1 sends one wrong block of the only piece and leaves or chokes us; peer 2 sends the rest rightly.
fn spoil(rig: &mut Rig) -> (PeerKey, PeerKey) {
    let (liar, honest) = (rig.seed(1), rig.fast(2));
    let first = rig.requests(liar)[0];
    assert!(send(rig, liar, first, 66).is_none());
    rig.says(liar, &Message::Choke);
    rig.says(honest, &Message::HaveAll);
    rig.says(honest, &Message::Unchoke);
    rig.wait(secs(1));
    for at in rig.requests(honest) {
        if let Some(complete) = send(rig, honest, at, RIGHT) {
            assert!(!hash(rig, &complete));
        }
    }
    assert!(!is_banned(rig, 1) && !is_banned(rig, 2), "it may be either");
    (liar, honest)
}

#[test]
fn a_liar_among_several_is_banned_when_the_piece_is_right() {
    let mut rig = Rig::new(1, &[]);
    let (liar, honest) = spoil(&mut rig);
    rig.wait(secs(1));
    serve(&mut rig, honest);
    assert!(rig.swarm.have().get(0));
    assert_eq!(rig.closing(liar), Some(CloseReason::Fault(PeerFault::Poisoned(PieceIndex(0)))));
    assert!(is_banned(&rig, 1) && !is_banned(&rig, 2));
    rig.leaves(liar);
    let bans: Vec<_> = rig.swarm.peer_mgr.bans(rig.now).map(|(_, ban)| ban.times).collect();
    assert_eq!(bans, [1], "once is once");
}

#[test]
fn a_liar_that_left_is_banned_all_the_same() {
    let mut rig = Rig::new(1, &[]);
    let (liar, honest) = spoil(&mut rig);
    rig.leaves(liar);
    // More come and go than are remembered.
    for n in 0..100 {
        let key = rig.fast(10 + n);
        rig.leaves(key);
    }
    rig.wait(secs(1));
    serve(&mut rig, honest);
    assert!(is_banned(&rig, 1) && !is_banned(&rig, 2));
}

#[test]
fn what_a_banned_peer_sent_of_other_pieces_is_fetched_again() {
    let mut rig = Rig::new(2, &[]);
    let (liar, honest) = (rig.seed(1), rig.fast(2));
    let mut of_first = rig.requests(liar);
    let last = of_first.pop().expect("a piece is asked for");
    of_first.into_iter().for_each(|at| assert!(send(&mut rig, liar, at, 66).is_none()));
    let other = rig.requests(liar)[0];
    assert_ne!(other.0, last.0);
    assert!(send(&mut rig, liar, other, 66).is_none());
    let complete = send(&mut rig, liar, last, 66).expect("the first piece is whole");
    assert!(!hash(&mut rig, &complete));
    assert!(is_banned(&rig, 1), "it alone had sent that piece");
    assert_eq!(rig.swarm.held_blocks(), 0, "the other block is worth nothing");
    rig.leaves(liar);
    rig.says(honest, &Message::HaveAll);
    rig.says(honest, &Message::Unchoke);
    serve(&mut rig, honest);
    assert_eq!(rig.swarm.view(rig.now).hash_failures, 1);
    assert!(rig.swarm.view(rig.now).complete);
}

/// Peers that answer or not, choke, leave and come back, and liars among them.
#[derive(Debug, Clone, Copy)]
struct Step {
    who: u8,
    what: u8,
    answers: usize,
    lies: bool,
}

fn step() -> impl Strategy<Value = Step> {
    (0u8..5, 0u8..12, 1usize..6, any::<bool>()).prop_map(|(who, what, answers, lies)| Step {
        who,
        what,
        answers,
        lies,
    })
}

const LIARS: [u8; 2] = [3, 4];

fn act(rig: &mut Rig, step: Step, lied: &mut BTreeSet<u8>, spills: &mut Vec<PieceIndex>) {
    let key = rig.key_of(step.who);
    match (step.what, key) {
        (_, None) if !is_banned(rig, step.who) => _ = rig.seed(step.who),
        (_, None) => {}
        (0, Some(key)) => rig.says(key, &Message::Choke),
        (1 | 2, Some(key)) => rig.says(key, &Message::Unchoke),
        (3, Some(key)) => rig.leaves(key),
        (4, _) => rig.wait(secs(15)),
        (_, Some(key)) => {
            for at in rig.requests(key).into_iter().take(step.answers) {
                let lies = step.lies && LIARS.contains(&step.who);
                if rig.closing(key).is_none() && lies {
                    lied.insert(step.who);
                }
                if let Some(complete) = send(rig, key, at, if lies { 66 } else { RIGHT }) {
                    hash(rig, &complete);
                }
            }
        }
    }
    for action in rig.actions() {
        match action {
            Action::Spill(spill) => spills.push(spill.piece),
            Action::Store(complete) => _ = hash(rig, &complete),
            _ => {}
        }
    }
    for n in 0..5 {
        if let Some(key) = rig.key_of(n).filter(|key| rig.closing(*key).is_some()) {
            rig.leaves(key);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever happens, only who lied is banned; and with an honest peer to fetch from, all gets right.
    #[test]
    fn only_who_lied_is_ever_banned(steps in prop::collection::vec(step(), 1..120)) {
        let mut rig = Rig::new(3, &[]);
        let (mut lied, mut spills) = (BTreeSet::new(), Vec::new());
        for step in steps {
            act(&mut rig, step, &mut lied, &mut spills);
            for n in 0..5 {
                prop_assert!(!is_banned(&rig, n) || lied.contains(&n), "{} never lied", n);
            }
        }
        // An honest peer that has time for us brings it to an end, whoever else sits there in silence.
        let mut rounds = 0;
        while !rig.swarm.view(rig.now).complete {
            rounds += 1;
            prop_assert!(rounds < 200, "it comes to an end");
            act(&mut rig, Step { who: 0, what: 1, answers: 1, lies: false }, &mut lied, &mut spills);
            act(&mut rig, Step { who: 0, what: 9, answers: 100, lies: false }, &mut lied, &mut spills);
            rig.wait(secs(5));
        }
        for n in 0..5 {
            prop_assert!(!is_banned(&rig, n) || lied.contains(&n), "{} never lied", n);
        }
        prop_assert!(spills.is_empty(), "there is memory for all");
    }
}
