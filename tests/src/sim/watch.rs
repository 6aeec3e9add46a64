//! What one end of a connection may say, judged by what it has said and heard: the rules of BEP 3
//! and BEP 6 as seen on the wire, without looking into the Swarm.
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use wgo_core::Time;
use wgo_proto::wire::{ExtMessage, Limits, Message};
use wgo_proto::{Bitfield, Block, PieceIndex};

/// One end's view of its connection.
pub struct Watch {
    /// Both ends speak BEP 6.
    fast: bool,
    /// The other end chokes us, as far as we have heard.
    peer_choking: bool,
    am_choking: bool,
    am_interested: bool,
    peer_has: Bitfield,
    allowed_fast: BTreeSet<PieceIndex>,
    /// Pieces of ours that the other end was told of.
    told: Bitfield,
    spoke_of_pieces: bool,
    /// Requests heard and not answered.
    asked: BTreeMap<Block, u32>,
    /// Requests made and not answered, each once.
    pub asking: BTreeSet<Block>,
    ever_asked: BTreeSet<Block>,
    /// Requests heard and called off before they were pulled: such a block is not sent any more.
    called_off: BTreeSet<Block>,
    /// When the connection began, by this end's clock, and how often it has told of others since (BEP 11).
    began: Time,
    exchanged: u32,
}

/// Between two messages of BEP 11 to one peer.
const EXCHANGE_PACE: Duration = Duration::from_secs(60);

impl Watch {
    pub fn new(pieces: u32, fast: bool, began: Time) -> Watch {
        Watch {
            fast,
            peer_choking: true,
            am_choking: true,
            am_interested: false,
            peer_has: Bitfield::new(pieces),
            allowed_fast: BTreeSet::new(),
            told: Bitfield::new(pieces),
            spoke_of_pieces: false,
            asked: BTreeMap::new(),
            asking: BTreeSet::new(),
            ever_asked: BTreeSet::new(),
            called_off: BTreeSet::new(),
            began,
            exchanged: 0,
        }
    }

    /// This end sends a message; returns the pieces that it claims to have.
    pub fn sends(&mut self, message: &Message<'_>) -> Vec<PieceIndex> {
        let fast_only = matches!(
            message,
            Message::HaveAll | Message::HaveNone | Message::Reject(_) | Message::AllowedFast(_)
        );
        assert!(self.fast || !fast_only, "{} without the fast extension", message.name());
        let claimed = match *message {
            Message::Bitfield(bytes) => {
                let bits =
                    Bitfield::from_wire(bytes, self.told.len()).expect("our bitfields are well-formed");
                assert!(
                    !self.fast || !bits.is_empty() && !bits.is_full(),
                    "have-all and have-none are shorter"
                );
                bits.iter_ones().map(PieceIndex).collect()
            }
            Message::HaveAll => (0..self.told.len()).map(PieceIndex).collect(),
            Message::Have(piece) => vec![piece],
            _ => Vec::new(),
        };
        if matches!(message, Message::Bitfield(_) | Message::HaveAll | Message::HaveNone) {
            assert!(!self.spoke_of_pieces, "{} comes first or not at all", message.name());
        }
        self.spoke_of_pieces |= !claimed.is_empty() || matches!(message, Message::HaveNone);
        for piece in &claimed {
            assert!(self.told.set(piece.0), "{piece:?} was told twice");
        }
        match *message {
            Message::Choke => assert!(!std::mem::replace(&mut self.am_choking, true), "choked twice"),
            Message::Unchoke => assert!(std::mem::replace(&mut self.am_choking, false), "unchoked twice"),
            Message::Interested => {
                assert!(!std::mem::replace(&mut self.am_interested, true), "interested twice");
            }
            Message::NotInterested => {
                assert!(std::mem::replace(&mut self.am_interested, false), "not interested twice");
            }
            Message::Request(block) => self.requests(block),
            Message::Cancel(block) => {
                // The block may have come while the message waited to be pulled.
                assert!(self.ever_asked.contains(&block), "cancelled what was never asked for: {block:?}");
            }
            Message::Reject(block) => self.answers(block),
            Message::Extended { id, body } => {
                if let Some(piece) = lost(id, body) {
                    self.told.clear(piece.0);
                }
            }
            _ => {}
        }
        claimed
    }

    /// This end lost pieces: when it has them again it says so again.
    pub fn loses(&mut self, pieces: &[PieceIndex]) {
        for piece in pieces {
            self.told.clear(piece.0);
        }
    }

    fn requests(&mut self, block: Block) {
        let allowed = !self.peer_choking || self.allowed_fast.contains(&block.piece);
        assert!(allowed, "asked for {block:?} while choked");
        assert!(self.peer_has.get(block.piece.0), "asked for {block:?}, which the peer lacks");
        assert!(self.am_interested, "asked without interest");
        self.asking.insert(block);
        self.ever_asked.insert(block);
    }

    /// This end sends a block.
    pub fn sends_block(&mut self, block: Block) {
        assert!(!self.called_off.contains(&block), "sent {block:?}, which was called off");
        assert!(self.told.get(block.piece.0), "sent {block:?} without having announced the piece");
        self.answers(block);
    }

    fn answers(&mut self, block: Block) {
        match self.asked.get_mut(&block) {
            Some(count) if *count > 1 => *count -= 1,
            Some(_) => drop(self.asked.remove(&block)),
            None => panic!("answered a request for {block:?} that never came, or twice"),
        }
    }

    /// This end hears a message.
    pub fn hears(&mut self, message: &Message<'_>) {
        match *message {
            Message::Choke => {
                self.peer_choking = true;
                if !self.fast {
                    self.asking.clear();
                }
            }
            Message::Unchoke => self.peer_choking = false,
            Message::Have(piece) if piece.0 < self.told.len() => drop(self.peer_has.set(piece.0)),
            Message::HaveAll => self.peer_has.set_all(),
            Message::Bitfield(bytes) => {
                // One that isn't well-formed ends the connection; a second one adds to the first.
                if let Ok(field) = Bitfield::from_wire(bytes, self.told.len()) {
                    self.peer_has.union_with(&field);
                }
            }
            Message::Extended { id, body } => {
                if let Some(piece) = lost(id, body) {
                    self.peer_has.clear(piece.0);
                }
            }
            Message::AllowedFast(piece) => drop(self.allowed_fast.insert(piece)),
            Message::Request(block) => {
                self.called_off.remove(&block);
                *self.asked.entry(block).or_default() += 1;
            }
            Message::Reject(block) => drop(self.asking.remove(&block)),
            _ => {}
        }
    }

    /// This end hears a block; whether it had asked for it.
    pub fn hears_block(&mut self, block: Block) -> bool {
        self.asking.remove(&block)
    }

    /// This end hears that a request of which nothing was `pulled` yet is called off.
    pub fn hears_cancel(&mut self, block: Block, pulled: bool) {
        if !pulled && self.asked.get(&block) == Some(&1) {
            self.called_off.insert(block);
            if !self.fast {
                self.asked.remove(&block);
            }
        }
    }

    /// This end tells of others, at a time by its clock. One message may have waited for the line, so that the next
    /// follows sooner; all together are never too many.
    pub fn exchanges(&mut self, now: Time) {
        let (times, age) = (self.exchanged, now.since(self.began));
        assert!(age >= EXCHANGE_PACE * times, "told of others {times} times in {age:?}, and again");
        self.exchanged += 1;
    }

    /// Requests heard and not answered, of a fast peer: each must be answered some day (BEP 6).
    pub fn unanswered(&self) -> usize {
        if self.fast { self.asked.len() } else { 0 }
    }

    /// The payload of those.
    pub fn unanswered_bytes(&self) -> Option<u64> {
        let bytes = |(block, count): (&Block, &u32)| u64::from(block.len) * u64::from(*count);
        self.fast.then(|| self.asked.iter().map(bytes).sum())
    }
}

/// The piece that an extension message says is lost (BEP 54), to somebody with our ids.
fn lost(id: u8, body: &[u8]) -> Option<PieceIndex> {
    match ExtMessage::decode(id, body, &Limits::new(None)) {
        Ok(ExtMessage::DontHave(piece)) => Some(piece),
        _ => None,
    }
}
