//! Metadata: the info dictionary of a torrent of which only the info-hash is known, from peers (BEP 9).
//!
//! [`Fetch`] decides which piece of it is asked of whom, keeps what has come, and finds out who sent what is
//! wrong. Its Swarm calls it under its lock. Nothing but the hash of the whole says whether it is right: so
//! peers that name different sizes are different *variants*, each put together for itself, and a variant of many
//! peers that turns out wrong is fetched again from one peer at a time, until it is right or that peer is
//! proven a liar. A size costs nothing before its bytes come.
#[cfg(test)]
mod tests;
mod variant;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use smallvec::SmallVec;
use wgo_proto::wire::extended::handshake::MAX_METADATA_LEN;
use wgo_proto::wire::extended::ut_metadata::{metadata_piece_len, metadata_pieces};

use crate::time::Time;
use crate::units::PeerKey;
use variant::{Asked, Away, REST, Single, Source, Variant, WINDOW};

/// Asks that timed out and are remembered of a peer, since the answer may still come.
const MAX_LATE: usize = 8;
/// A piece that doesn't come in this time is asked of another peer, and its peer left alone for a while.
const PATIENCE: Duration = Duration::from_secs(10);
/// Two peers may be asked for one of the last pieces at once, and a further one after each such time.
const HEDGE: Duration = Duration::from_secs(1);
/// Different sizes that may be looked into. Peers of further ones are not asked.
const MAX_VARIANTS: usize = 64;
/// Bytes held of all variants together, unless the session allows less; when there are more, the largest variant
/// is dropped, and its peers with it.
const MAX_HELD: usize = 2 * MAX_METADATA_LEN as usize;
/// Bytes that all torrents together may hold of metadata that has not come whole.
const ALL_HELD: usize = MAX_HELD;
/// And each of them, however many there are: more than what is usual, a few hundred KiB.
const MIN_HELD: usize = 8 * 1024 * 1024;

/// What each torrent may hold when so many fetch their metadata.
pub fn share_held(fetching: usize) -> usize {
    (ALL_HELD / fetching.max(1)).max(MIN_HELD)
}

/// An info dictionary that has come whole. The caller hashes it, which the Swarm's lock is no place for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its bytes, in order.
    pub pieces: Vec<Box<[u8]>>,
    /// Which variant it is; for the verdict.
    pub size: u32,
}

/// Why a piece that came is no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// Nobody asked its sender for it.
    Unasked,
    /// It contradicts the size that its sender has named.
    Size {
        /// Bytes of the whole, as named first.
        said: u32,
        /// Bytes of the piece that came.
        came: usize,
    },
}

/// The fetching of one torrent's metadata.
#[derive(Debug)]
pub struct Fetch {
    /// Who says that it has the metadata. Bounded by the connections.
    sources: BTreeMap<PeerKey, Source>,
    /// By size, at most [`MAX_VARIANTS`].
    variants: BTreeMap<u32, Variant>,
    /// Bytes in all variants, those included that were handed out and await the verdict.
    held: usize,
    /// Bytes that may be held, at most [`MAX_HELD`]. Whoever has more metadata is not asked.
    limit: usize,
}

impl Default for Fetch {
    fn default() -> Fetch {
        Fetch { sources: BTreeMap::new(), variants: BTreeMap::new(), held: 0, limit: MAX_HELD }
    }
}

impl Fetch {
    /// A peer says that it has metadata of `size` bytes, 1 to [`MAX_METADATA_LEN`]. One that names another size again and
    /// again is asked no more.
    pub fn offer(&mut self, key: PeerKey, size: u32) {
        if self.sources.get(&key).is_some_and(|known| known.size == size) {
            return;
        }
        let changes = self.sources.get(&key).map_or(0, |known| known.changes.saturating_add(1));
        self.leave(key);
        if !self.variants.contains_key(&size) {
            if self.variants.len() >= MAX_VARIANTS && !self.drop_orphan() {
                return;
            }
            self.variants.insert(size, Variant::default());
        }
        let source = Source { size, asked: SmallVec::new(), strikes: 0, rests_until: Time::ZERO, changes };
        self.sources.insert(key, source);
    }

    /// A peer is gone, or has no metadata any more. What it sent stays.
    pub fn leave(&mut self, key: PeerKey) {
        let Some(source) = self.sources.remove(&key) else { return };
        for asked in source.asked.iter().filter(|asked| !asked.late) {
            self.release(source.size, asked.piece);
        }
        self.end_turn(source.size, key);
        let alone = !self.sources.values().any(|other| other.size == source.size);
        if let Some(variant) = self.variants.get(&source.size)
            && alone
            && variant.pieces.is_empty()
            && variant.away.is_none()
        {
            self.variants.remove(&source.size);
        }
    }

    /// Bytes that may be held, as the session shares them out.
    pub fn set_limit(&mut self, bytes: usize) {
        self.limit = bytes.min(MAX_HELD);
        self.relieve();
    }

    /// Puts what is to be asked now into `out`: pieces, each with the peer that is asked for it.
    pub fn requests(&mut self, now: Time, out: &mut Vec<(PeerKey, u32)>) {
        let keys: Vec<PeerKey> = self.sources.keys().copied().collect();
        for key in keys {
            self.requests_of(now, key, out);
        }
    }

    /// The same of one peer.
    pub fn requests_of(&mut self, now: Time, key: PeerKey, out: &mut Vec<(PeerKey, u32)>) {
        while let Some(piece) = self.next_for(now, key) {
            let Some(source) = self.sources.get_mut(&key) else { break };
            source.asked.push(Asked { piece, at: now, late: false });
            out.push((key, piece));
        }
    }

    fn next_for(&mut self, now: Time, key: PeerKey) -> Option<u32> {
        let source = self.sources.get(&key).filter(|source| source.may_be_asked(now))?;
        let size = source.size;
        if size as usize > self.limit {
            return None;
        }
        let variant = self.variants.get_mut(&size).filter(|variant| variant.away.is_none())?;
        if let Some(single) = &mut variant.single {
            let tried = |(key, other): (&PeerKey, &Source)| other.size != size || single.tried.contains(key);
            if single.who.is_none() && self.sources.iter().all(tried) {
                single.tried.clear();
            }
            if single.who.is_none() && !single.tried.contains(&key) {
                single.who = Some(key);
            }
            if single.who != Some(key) {
                return None;
            }
        }
        if let Some(piece) = variant.fresh(size) {
            return Some(piece);
        }
        self.to_hedge(now, key, size)
    }

    /// A piece that others were asked for and haven't sent.
    fn to_hedge(&self, now: Time, key: PeerKey, size: u32) -> Option<u32> {
        let mine = self.sources.get(&key)?;
        let come = &self.variants.get(&size)?.pieces;
        let mut askers: BTreeMap<u32, (usize, Time)> = BTreeMap::new();
        for source in self.sources.values().filter(|source| source.size == size) {
            for asked in source.asked.iter().filter(|asked| !asked.late && !come.contains_key(&asked.piece)) {
                let (count, newest) = askers.entry(asked.piece).or_insert((0, Time::ZERO));
                *count += 1;
                *newest = asked.at.max(*newest);
            }
        }
        let is_mine = |piece: u32| mine.asked.iter().any(|asked| asked.piece == piece);
        let due = |(count, newest): &(usize, Time)| *count < 2 || now.since(*newest) >= HEDGE;
        askers.into_iter().find(|(piece, state)| !is_mine(*piece) && due(state)).map(|(piece, _)| piece)
    }

    /// A piece came. Returns the whole when it was the last of it.
    ///
    /// # Errors
    /// [`Unfit`]: it is thrown away.
    pub fn on_piece(
        &mut self,
        key: PeerKey,
        piece: u32,
        total_size: Option<u32>,
        bytes: &[u8],
    ) -> Result<Option<Candidate>, Unfit> {
        let source = self.sources.get_mut(&key).ok_or(Unfit::Unasked)?;
        let at = source.asked.iter().position(|asked| asked.piece == piece).ok_or(Unfit::Unasked)?;
        let was_late = source.asked.remove(at).late;
        let size = source.size;
        let right_len = metadata_piece_len(size, piece).is_some_and(|len| len as usize == bytes.len());
        if !right_len || total_size.is_some_and(|total| total != size) {
            if !was_late {
                self.release(size, piece);
            }
            return Err(Unfit::Size { said: size, came: bytes.len() });
        }
        let Some(variant) = self.variants.get_mut(&size).filter(|variant| variant.away.is_none()) else {
            return Ok(None);
        };
        let others_turn = variant.single.as_ref().is_some_and(|single| single.who != Some(key));
        if others_turn || variant.pieces.contains_key(&piece) {
            return Ok(None);
        }
        variant.again.remove(&piece);
        variant.pieces.insert(piece, (key, bytes.into()));
        self.held += bytes.len();
        if variant.pieces.len() < metadata_pieces(size) as usize {
            self.relieve();
            return Ok(None);
        }
        let bytes = variant.bytes();
        let pieces = std::mem::take(&mut variant.pieces);
        variant.away = Some(Away { senders: pieces.values().map(|(from, _)| *from).collect(), bytes });
        Ok(Some(Candidate { pieces: pieces.into_values().map(|(_, bytes)| bytes).collect(), size }))
    }

    /// The peer won't send this piece.
    pub fn on_reject(&mut self, now: Time, key: PeerKey, piece: u32) -> Result<(), Unfit> {
        let source = self.sources.get_mut(&key).ok_or(Unfit::Unasked)?;
        let at = source.asked.iter().position(|asked| asked.piece == piece).ok_or(Unfit::Unasked)?;
        let was_late = source.asked.remove(at).late;
        source.strike(now);
        let size = source.size;
        if !was_late {
            self.release(size, piece);
        }
        self.end_turn(size, key);
        Ok(())
    }

    /// Gives up what didn't come in time. Once a second while anyone is connected.
    pub fn tick(&mut self, now: Time) {
        let mut gone = Vec::new();
        for (key, source) in &mut self.sources {
            let late = source.asked.iter_mut().filter(|asked| !asked.late);
            let late: Vec<&mut Asked> = late.filter(|asked| now.since(asked.at) >= PATIENCE).collect();
            if late.is_empty() {
                continue;
            }
            for asked in late {
                asked.late = true;
                gone.push((source.size, *key, asked.piece));
            }
            source.strike(now);
            let excess = source.asked.iter().filter(|asked| asked.late).count().saturating_sub(MAX_LATE);
            for _ in 0..excess {
                if let Some(at) = source.asked.iter().position(|asked| asked.late) {
                    source.asked.remove(at);
                }
            }
        }
        for (size, key, piece) in gone {
            self.release(size, piece);
            self.end_turn(size, key);
        }
    }

    /// What was handed out has a wrong hash. Returns the peer that all of it came from, if it is one.
    pub fn on_wrong(&mut self, size: u32) -> Option<PeerKey> {
        let variant = self.variants.get_mut(&size)?;
        variant.away.as_ref()?;
        let senders = variant.away.as_ref().map(|away| away.senders.clone()).unwrap_or_default();
        self.held -= variant.reset();
        self.forget_asked(size);
        let variant = self.variants.get_mut(&size)?;
        match senders.len() {
            1 => {
                let liar = senders.first().copied();
                if let (Some(single), Some(liar)) = (&mut variant.single, liar) {
                    single.who = None;
                    single.tried.insert(liar);
                }
                liar
            }
            _ => {
                variant.single = Some(Single::default());
                None
            }
        }
    }

    /// What was handed out was right and could not be kept: it is fetched again.
    pub fn again(&mut self, now: Time, size: u32) {
        if let Some(variant) = self.variants.get_mut(&size) {
            self.held -= variant.reset();
        }
        self.forget_asked(size);
        for source in self.sources.values_mut().filter(|source| source.size == size) {
            source.rests_until = source.rests_until.max(now + REST);
        }
    }

    /// Answers to what was asked of a variant are no longer waited for; those that come are let pass.
    fn forget_asked(&mut self, size: u32) {
        for source in self.sources.values_mut().filter(|source| source.size == size) {
            source.asked.iter_mut().for_each(|asked| asked.late = true);
            let excess = source.asked.len().saturating_sub(MAX_LATE);
            source.asked.drain(..excess);
        }
    }

    /// A request came to nothing: the piece is asked for again, unless somebody else was asked too.
    fn release(&mut self, size: u32, piece: u32) {
        let same = |source: &&Source| source.size == size;
        let wanted = |asked: &Asked| asked.piece == piece && !asked.late;
        if self.sources.values().filter(same).any(|source| source.asked.iter().any(wanted)) {
            return;
        }
        if let Some(variant) = self.variants.get_mut(&size)
            && variant.away.is_none()
            && piece < variant.next
            && !variant.pieces.contains_key(&piece)
        {
            variant.again.insert(piece);
        }
    }

    /// If the variant is that of one peer at a time, and of this one: the next one's turn comes.
    fn end_turn(&mut self, size: u32, key: PeerKey) {
        let Some(variant) = self.variants.get_mut(&size).filter(|variant| variant.away.is_none()) else {
            return;
        };
        let Some(single) = variant.single.as_mut().filter(|single| single.who == Some(key)) else { return };
        single.who = None;
        single.tried.insert(key);
        self.held -= variant.reset();
        self.forget_asked(size);
    }

    /// Drops a variant that nobody who is connected has.
    fn drop_orphan(&mut self) -> bool {
        let used: BTreeSet<u32> = self.sources.values().map(|source| source.size).collect();
        let orphan = |(size, variant): &(&u32, &Variant)| !used.contains(*size) && variant.away.is_none();
        let Some(size) = self.variants.iter().find(orphan).map(|(size, _)| *size) else { return false };
        self.drop_variant(size);
        true
    }

    fn drop_variant(&mut self, size: u32) {
        if let Some(variant) = self.variants.remove(&size) {
            self.held -= variant.bytes();
        }
        self.sources.retain(|_, source| source.size != size);
    }

    /// Keeps what is held within bounds.
    fn relieve(&mut self) {
        while self.held > self.limit {
            if self.drop_orphan() {
                continue;
            }
            // What was handed out comes back by itself.
            let here = self.variants.iter().filter(|(_, variant)| variant.away.is_none());
            let largest = here.max_by_key(|(_, variant)| variant.bytes()).map(|(size, _)| *size);
            let Some(size) = largest else { return };
            self.drop_variant(size);
        }
    }

    /// Bytes that came and wait for the rest, or for the verdict.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Peers that say they have the metadata.
    pub fn sources(&self) -> usize {
        self.sources.len()
    }

    /// Asserts what must always hold; for tests and simulations.
    pub fn check_invariants(&self) {
        let bytes: usize = self.variants.values().map(Variant::bytes).sum();
        assert_eq!(bytes, self.held, "bytes held");
        let away: usize = self.variants.values().filter_map(|v| v.away.as_ref()).map(|away| away.bytes).sum();
        assert!(self.held <= self.limit.max(away) && self.variants.len() <= MAX_VARIANTS);
        for source in self.sources.values() {
            assert!(self.variants.contains_key(&source.size), "{source:?} has no variant");
            assert!(source.outstanding() <= WINDOW && source.asked.len() <= WINDOW + MAX_LATE);
        }
        for (size, variant) in &self.variants {
            assert!(variant.again.iter().all(|piece| !variant.pieces.contains_key(piece)), "{variant:?}");
            assert!(variant.next <= metadata_pieces(*size), "{variant:?}");
            if variant.away.is_some() {
                assert!(variant.pieces.is_empty(), "{variant:?}");
                continue;
            }
            // Whatever is missing is asked for, or will be.
            let asked = |piece: &u32| {
                let mut sources = self.sources.values().filter(|source| source.size == *size);
                sources.any(|source| source.asked.iter().any(|asked| asked.piece == *piece && !asked.late))
            };
            let lost = |piece: &u32| {
                !variant.pieces.contains_key(piece) && !variant.again.contains(piece) && !asked(piece)
            };
            assert_eq!((0..variant.next).find(lost), None, "a piece is forgotten: {variant:?}");
        }
    }
}
