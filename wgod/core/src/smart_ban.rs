//! Who spoilt a piece that several peers had sent: for each of its blocks a digest is kept with the sender, and
//! compared when the piece came right at last.
//!
//! A piece has one hash (BEP 3), so its failing accuses all who had a part in it and convicts none. Once the right
//! bytes are there, whoever had sent others is convicted beyond doubt, and whoever had not never is. The
//! digests are keyed with a secret of this run: nobody can make a wrong block with the digest of the right one.
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use smallvec::SmallVec;
use wgo_proto::PieceIndex;

use crate::PeerKey;

/// Digests kept for one torrent, 16 bytes each. When there are more, the evidence of the piece whose verdict is
/// oldest goes, and who spoilt that one gets away with it.
const MAX_DIGESTS: usize = 16 * 1024;
/// Of one piece: four rounds of 16 MiB. Beyond it the first rounds count.
const MAX_OF_PIECE: usize = 4 * 1024;

/// A short keyed hash of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Digest(pub u64);

/// The digests of a piece's blocks, by number; none for those that aren't known to be as the peer sent them.
pub type Digests = [Option<Digest>];

/// A peer, for longer than it is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sender {
    /// Its connection.
    pub key: PeerKey,
    /// Where it was.
    pub ip: IpAddr,
}

/// What was received of pieces that failed their hash, until they pass it.
#[derive(Debug, Default)]
pub struct SmartBan {
    pieces: BTreeMap<PieceIndex, Evidence>,
    /// The same pieces by the number of their last verdict.
    by_age: BTreeSet<(u64, PieceIndex)>,
    verdicts: u64,
    kept: usize,
}

#[derive(Debug, Default)]
struct Evidence {
    verdict: u64,
    /// Named by their places; no more than there are blocks below.
    senders: SmallVec<[Sender; 2]>,
    blocks: BTreeSet<Sent>,
}

/// Who sends the same again is as guilty as before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Sent {
    digest: Digest,
    number: u32,
    sender: u32,
}

impl SmartBan {
    /// A piece is wrong: keeps who had sent what. `senders` go by block number, as the digests do.
    pub fn wrong(&mut self, piece: PieceIndex, digests: &Digests, senders: &[Option<Sender>]) {
        let mut evidence = self.take(piece).unwrap_or_default();
        for ((digest, sender), number) in digests.iter().zip(senders).zip(0..) {
            if let (Some(digest), Some(sender)) = (digest, sender) {
                evidence.add(*digest, number, *sender);
            }
        }
        while self.kept + evidence.blocks.len() > MAX_DIGESTS
            && let Some(&(_, oldest)) = self.by_age.first()
        {
            self.take(oldest);
        }
        if evidence.blocks.is_empty() {
            return;
        }
        self.verdicts += 1;
        evidence.verdict = self.verdicts;
        self.kept += evidence.blocks.len();
        self.by_age.insert((evidence.verdict, piece));
        self.pieces.insert(piece, evidence);
    }

    /// Whether a piece was wrong before, so that the digests of its right blocks are of use.
    pub fn doubts(&self, piece: PieceIndex) -> bool {
        self.pieces.contains_key(&piece)
    }

    /// A piece is right: returns who had sent other bytes before, each once, and forgets the rest.
    pub fn right(&mut self, piece: PieceIndex, digests: &Digests) -> Vec<Sender> {
        let Some(evidence) = self.take(piece) else { return Vec::new() };
        let differs = |sent: &&Sent| {
            let right = digests.get(sent.number as usize).copied().flatten();
            right.is_some_and(|right| right != sent.digest)
        };
        let guilty: BTreeSet<u32> = evidence.blocks.iter().filter(differs).map(|sent| sent.sender).collect();
        guilty.into_iter().filter_map(|sender| evidence.senders.get(sender as usize).copied()).collect()
    }

    /// Nothing is held against anybody any more for this piece.
    pub fn forget(&mut self, piece: PieceIndex) {
        self.take(piece);
    }

    fn take(&mut self, piece: PieceIndex) -> Option<Evidence> {
        let evidence = self.pieces.remove(&piece)?;
        self.by_age.remove(&(evidence.verdict, piece));
        self.kept -= evidence.blocks.len();
        Some(evidence)
    }

    /// Panics when the state contradicts itself. For tests and simulations.
    pub fn check_invariants(&self) {
        let by_age: BTreeSet<_> = self.pieces.iter().map(|(&piece, e)| (e.verdict, piece)).collect();
        assert_eq!(by_age, self.by_age);
        assert_eq!(self.kept, self.pieces.values().map(|e| e.blocks.len()).sum::<usize>());
        assert!(self.kept <= MAX_DIGESTS);
        for evidence in self.pieces.values() {
            assert!((1..=MAX_OF_PIECE).contains(&evidence.blocks.len()));
            assert!(evidence.senders.len() <= evidence.blocks.len());
        }
    }
}

impl Evidence {
    fn add(&mut self, digest: Digest, number: u32, sender: Sender) {
        let known = self.senders.iter().position(|known| *known == sender);
        let at = known.unwrap_or(self.senders.len()) as u32;
        if self.blocks.len() == MAX_OF_PIECE {
            return;
        }
        if known.is_none() {
            self.senders.push(sender);
        }
        self.blocks.insert(Sent { digest, number, sender: at });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::Ipv4Addr;

    fn sender(n: u32) -> Sender {
        let key = PeerKey { slot: n, generation: 0 };
        Sender { key, ip: Ipv4Addr::from_bits(n).into() }
    }

    fn keys(senders: &[Sender]) -> Vec<u32> {
        senders.iter().map(|sender| sender.key.slot).collect()
    }

    const PIECE: PieceIndex = PieceIndex(3);

    #[test]
    fn who_sent_other_bytes_than_the_right_ones_is_guilty_and_nobody_else() {
        let mut bans = SmartBan::default();
        let some = |n| Some(Digest(n));
        let (a, b, c) = (Some(sender(1)), Some(sender(2)), Some(sender(3)));
        bans.wrong(PIECE, &[some(1), some(99), None, some(4)], &[a, b, c, None]);
        bans.wrong(PIECE, &[some(98), some(2), some(3), some(4)], &[b, a, c, c]);
        bans.check_invariants();
        assert!(bans.doubts(PIECE) && !bans.doubts(PieceIndex(4)));
        assert_eq!(keys(&bans.right(PIECE, &[some(1), some(2), some(3), some(4)])), [2]);
        assert!(!bans.doubts(PIECE));
        assert_eq!(bans.right(PIECE, &[some(1)]), []);
    }

    #[test]
    fn a_block_that_is_not_known_to_be_right_convicts_nobody() {
        let mut bans = SmartBan::default();
        bans.wrong(PIECE, &[Some(Digest(1)), Some(Digest(2))], &[Some(sender(1)), Some(sender(2))]);
        assert_eq!(bans.right(PIECE, &[None]), []);
        bans.wrong(PIECE, &[Some(Digest(1))], &[Some(sender(1))]);
        bans.forget(PIECE);
        assert_eq!(bans.right(PIECE, &[Some(Digest(5))]), []);
        bans.wrong(PIECE, &[None], &[Some(sender(1))]);
        assert!(!bans.doubts(PIECE), "no evidence is kept of nothing");
    }

    #[test]
    fn evidence_is_bounded_and_the_oldest_gives_way() {
        let mut bans = SmartBan::default();
        for round in 0..20u64 {
            for piece in 0..40 {
                let digests: Vec<_> = (0..1024u64).map(|n| Some(Digest(round * 1024 + n))).collect();
                bans.wrong(PieceIndex(piece), &digests, &vec![Some(sender(piece)); 1024]);
            }
        }
        bans.check_invariants();
        assert!(!bans.doubts(PieceIndex(0)) && bans.doubts(PieceIndex(39)));
    }

    proptest! {
        /// Peers of which some lie, now and then, in rounds that go on until a piece is right.
        #[test]
        fn liars_are_found_and_the_honest_are_not(
            rounds in prop::collection::vec(prop::collection::vec((0u32..6, any::<bool>()), 8), 1..12),
        ) {
            let liars = [4, 5];
            let mut bans = SmartBan::default();
            let mut lied = BTreeSet::new();
            for round in &rounds {
                let wrong = |&(who, lies): &(u32, bool)| lies && liars.contains(&who);
                let digests: Vec<_> = round
                    .iter()
                    .zip(0u64..)
                    .map(|(sent, n)| Some(Digest(if wrong(sent) { n + 100 } else { n })))
                    .collect();
                if !round.iter().any(wrong) {
                    continue;
                }
                lied.extend(round.iter().filter(|sent| wrong(sent)).map(|sent| sent.0));
                let senders: Vec<_> = round.iter().map(|&(who, _)| Some(sender(who))).collect();
                bans.wrong(PIECE, &digests, &senders);
                bans.check_invariants();
            }
            let right: Vec<_> = (0u64..8).map(|n| Some(Digest(n))).collect();
            let guilty: BTreeSet<_> = keys(&bans.right(PIECE, &right)).into_iter().collect();
            prop_assert_eq!(guilty, lied);
        }
    }
}
