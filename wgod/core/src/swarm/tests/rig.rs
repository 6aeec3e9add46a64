//! A Swarm with peers that a test speaks for. Buffers are numbers; every call checks the invariants.
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use wgo_proto::layout::Layout;
use wgo_proto::wire::extended::Pex;
use wgo_proto::wire::{
    ExtHandshake, ExtMessage, Extension, ExtensionIds, Frame, Limits, Message, MetadataMessage, Reserved,
    next_frame,
};
use wgo_proto::{BLOCK_LEN, Bitfield, Block, PeerId, PieceIndex, WireHash};

use crate::peer::{CloseReason, Direction, Encryption, PeerFault, PeerInfo};
use crate::piece_mgr::Complete;
use crate::status::Counters;
use crate::swarm::{Action, PieceOutcome, Start, Swarm, SwarmConfig};
use crate::time::Time;
use crate::units::{PeerKey, TorrentId};

/// Blocks of each piece.
pub(super) const BLOCKS: u32 = 4;

/// What a Swarm said to a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    KeepAlive,
    Choke,
    Unchoke,
    Interested,
    NotInterested,
    Have(u32),
    Bitfield(Vec<u8>),
    HaveAll,
    HaveNone,
    Request(u32, u32),
    Cancel(u32, u32),
    Reject(u32, u32),
    AllowedFast(u32),
    Suggest(u32),
    Handshake(Box<ExtHandshake>),
    UploadOnly(bool),
    Pex(Pex),
    DontHave(u32),
    AsksMetadata(u32),
    Metadata(u32, Vec<u8>),
    RefusesMetadata(u32),
    Other(&'static str),
}

pub(super) struct Rig {
    pub(super) swarm: Swarm<u32>,
    pub(super) now: Time,
    pieces: u32,
}

pub(super) fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub(super) fn block(piece: u32, number: u32) -> Block {
    Block { piece: PieceIndex(piece), offset: number * BLOCK_LEN, len: BLOCK_LEN }
}

pub(super) fn fast() -> Reserved {
    Reserved(Reserved::FAST.0)
}

/// The pieces named, as a bitfield of `count`.
pub(super) fn bits(count: u32, ones: &[u32]) -> Bitfield {
    let mut bits = Bitfield::new(count);
    ones.iter().for_each(|one| assert!(bits.set(*one)));
    bits
}

pub(super) fn addr(n: u8) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(81, n, 0, 1)), 7000)
}

impl Rig {
    /// A torrent of `pieces` pieces of four blocks of which `have` are stored, with ample memory.
    pub(super) fn new(pieces: u32, have: &[u32]) -> Rig {
        Rig::with(pieces, have, &[], 50)
    }

    pub(super) fn with(pieces: u32, have: &[u32], trackers: &[&str], max_peers: u32) -> Rig {
        Rig::of(pieces, have, trackers, max_peers, Rig::layout(pieces), 0)
    }

    /// One of `pieces` pieces whose metadata has to come.
    pub(super) fn unknown(pieces: u32, trackers: &[&str]) -> Rig {
        Rig::of(pieces, &[], trackers, 50, Layout::unknown(), 0)
    }

    /// One whose metadata has so many bytes.
    pub(super) fn telling(pieces: u32, metadata_len: u32) -> Rig {
        Rig::of(pieces, &[], &[], 50, Rig::layout(pieces), metadata_len)
    }

    pub(super) fn layout(pieces: u32) -> Layout {
        let len = u64::from(pieces * BLOCKS * BLOCK_LEN);
        Layout::v1(BLOCKS * BLOCK_LEN, &[len]).expect("a plain layout")
    }

    fn of(
        pieces: u32,
        have: &[u32],
        trackers: &[&str],
        max_peers: u32,
        layout: Layout,
        metadata_len: u32,
    ) -> Rig {
        let now = Time::from_start(secs(1000));
        let start = Start {
            id: TorrentId(1),
            hash: WireHash([7; 20]),
            have: if layout.is_known() { bits(pieces, have) } else { Bitfield::new(0) },
            layout,
            selection: None,
            counters: Counters::default(),
            tiers: trackers.iter().map(|url| vec![(*url).into()]).collect(),
            seed: 3,
        };
        let config = SwarmConfig {
            peer_id: PeerId([1; 20]),
            listen_port: 6868,
            max_peers,
            private: false,
            pex: true,
            metadata_len,
        };
        let mut swarm = Swarm::new(now, config, start);
        swarm.set_memory(now, 10_000);
        Rig { swarm, now, pieces }
    }

    pub(super) fn check(&mut self) {
        self.swarm.check_invariants();
    }

    pub(super) fn info(n: u8, reserved: Reserved) -> PeerInfo {
        PeerInfo {
            addr: addr(n),
            direction: Direction::Incoming,
            id: PeerId([n + 100; 20]),
            reserved,
            encryption: Encryption::None,
        }
    }

    /// A peer without any extension that has said nothing, and what it was told.
    pub(super) fn plain(&mut self, n: u8) -> PeerKey {
        self.connect(n, Reserved::default())
    }

    /// One that speaks the fast extension.
    pub(super) fn fast(&mut self, n: u8) -> PeerKey {
        self.connect(n, fast())
    }

    pub(super) fn connect(&mut self, n: u8, reserved: Reserved) -> PeerKey {
        let key = self.swarm.connect(self.now, Rig::info(n, reserved)).expect("there is room");
        self.check();
        key
    }

    /// A fast peer that has everything and serves us, with our first requests out.
    pub(super) fn seed(&mut self, n: u8) -> PeerKey {
        let key = self.fast(n);
        self.says(key, &Message::HaveAll);
        self.says(key, &Message::Unchoke);
        key
    }

    pub(super) fn try_say(&mut self, key: PeerKey, message: &Message<'_>) -> Result<(), PeerFault> {
        let result = self.swarm.on_message(self.now, key, message);
        self.check();
        result
    }

    pub(super) fn says(&mut self, key: PeerKey, message: &Message<'_>) {
        self.try_say(key, message).expect("nothing is wrong with it");
    }

    pub(super) fn says_bits(&mut self, key: PeerKey, ones: &[u32]) {
        let wire = bits(self.pieces, ones).to_wire();
        self.says(key, &Message::Bitfield(&wire));
    }

    /// An extension handshake that assigns us ids, with `change` made to it.
    pub(super) fn extend(&mut self, key: PeerKey, change: impl FnOnce(&mut ExtHandshake)) {
        let extensions = ExtensionIds::local(Extension::ALL);
        let mut handshake = ExtHandshake { extensions, ..ExtHandshake::default() };
        change(&mut handshake);
        self.says_ext(key, &ExtMessage::Handshake(Box::new(handshake)));
    }

    pub(super) fn says_ext(&mut self, key: PeerKey, message: &ExtMessage<'_>) {
        self.try_say_ext(key, message).expect("nothing is wrong with it");
    }

    pub(super) fn try_say_ext(&mut self, key: PeerKey, message: &ExtMessage<'_>) -> Result<(), PeerFault> {
        let ids = ExtensionIds::local(Extension::ALL);
        let mut bytes = Vec::new();
        assert!(message.encode(&ids, &mut bytes));
        match next_frame(&bytes, &Limits::new(Some(self.pieces))) {
            Ok(Frame::Message { message, .. }) => self.try_say(key, &message),
            other => panic!("{other:?}"),
        }
    }

    /// The connection of a peer.
    pub(super) fn key_of(&self, n: u8) -> Option<PeerKey> {
        self.swarm.peers.iter().find(|(_, peer)| peer.info.addr == addr(n)).map(|(key, _)| key)
    }

    /// Everything that waits for the peer, control messages decoded.
    pub(super) fn heard(&mut self, key: PeerKey) -> Vec<Said> {
        self.pulled(key, 0).0
    }

    /// The same with the blocks that a budget pulls.
    pub(super) fn pulled(&mut self, key: PeerKey, budget: u64) -> (Vec<Said>, Vec<Block>) {
        let (mut control, mut blocks) = (Vec::new(), Vec::new());
        self.swarm.poll_transmit(self.now, key, budget, &mut control, &mut blocks);
        self.check();
        (decode(&control, self.pieces), blocks)
    }

    pub(super) fn requests(&mut self, key: PeerKey) -> Vec<(u32, u32)> {
        let asked = |said| if let Said::Request(piece, number) = said { Some((piece, number)) } else { None };
        self.heard(key).into_iter().filter_map(asked).collect()
    }

    pub(super) fn try_send(
        &mut self,
        key: PeerKey,
        block: Block,
    ) -> Result<Option<Complete<u32>>, PeerFault> {
        let result = self.swarm.on_block(self.now, key, block, 0);
        self.check();
        result
    }

    pub(super) fn sends(&mut self, key: PeerKey, piece: u32, number: u32) -> Option<Complete<u32>> {
        self.try_send(key, block(piece, number)).expect("nothing is wrong with it")
    }

    pub(super) fn stored(&mut self, piece: u32) {
        self.swarm.on_piece(self.now, PieceIndex(piece), PieceOutcome::Stored);
        self.check();
    }

    /// The peer answers every request until it gets none; whole pieces are stored at once.
    pub(super) fn serve_all(&mut self, key: PeerKey) {
        loop {
            let asked = self.requests(key);
            if asked.is_empty() {
                return;
            }
            for (piece, number) in asked {
                if let Some(complete) = self.sends(key, piece, number) {
                    self.stored(complete.piece.0);
                }
            }
        }
    }

    pub(super) fn actions(&mut self) -> Vec<Action<u32>> {
        std::iter::from_fn(|| self.swarm.poll_action()).collect()
    }

    /// How many of the actions that wait are of a kind.
    pub(super) fn count(&mut self, of: impl Fn(&Action<u32>) -> bool) -> usize {
        self.actions().iter().filter(|action| of(action)).count()
    }

    pub(super) fn woken(&mut self) -> Vec<PeerKey> {
        let mut woken = Vec::new();
        self.swarm.take_wakes(&mut woken);
        woken
    }

    /// Lets time pass, with every deadline on the way.
    pub(super) fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.swarm.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.swarm.handle_timeout(self.now);
            self.check();
        }
        self.now = end;
    }

    pub(super) fn leaves(&mut self, key: PeerKey) {
        self.swarm.disconnect(self.now, key, CloseReason::Gone("left".into()));
        self.check();
    }

    pub(super) fn closing(&self, key: PeerKey) -> Option<CloseReason> {
        self.swarm.closing(key)
    }
}

fn decode(mut bytes: &[u8], pieces: u32) -> Vec<Said> {
    let limits = Limits::new(Some(pieces));
    let mut said = Vec::new();
    while !bytes.is_empty() {
        match next_frame(bytes, &limits).expect("the Swarm keeps to the protocol") {
            Frame::Message { message, consumed } => {
                said.push(said_of(&message, &limits));
                bytes = &bytes[consumed..];
            }
            other => panic!("half a message in the outbox: {other:?}"),
        }
    }
    said
}

fn said_of(message: &Message<'_>, limits: &Limits) -> Said {
    let number = |block: &Block| block.offset / BLOCK_LEN;
    match message {
        Message::KeepAlive => Said::KeepAlive,
        Message::Choke => Said::Choke,
        Message::Unchoke => Said::Unchoke,
        Message::Interested => Said::Interested,
        Message::NotInterested => Said::NotInterested,
        Message::Have(piece) => Said::Have(piece.0),
        Message::Bitfield(bytes) => Said::Bitfield(bytes.to_vec()),
        Message::HaveAll => Said::HaveAll,
        Message::HaveNone => Said::HaveNone,
        Message::Request(b) => Said::Request(b.piece.0, number(b)),
        Message::Cancel(b) => Said::Cancel(b.piece.0, number(b)),
        Message::Reject(b) => Said::Reject(b.piece.0, number(b)),
        Message::AllowedFast(piece) => Said::AllowedFast(piece.0),
        Message::Suggest(piece) => Said::Suggest(piece.0),
        Message::Extended { id, body } => match ExtMessage::decode(*id, body, limits) {
            Ok(ExtMessage::Handshake(handshake)) => Said::Handshake(handshake),
            Ok(ExtMessage::Pex(pex)) => Said::Pex(pex),
            Ok(ExtMessage::UploadOnly(on)) => Said::UploadOnly(on),
            Ok(ExtMessage::DontHave(piece)) => Said::DontHave(piece.0),
            Ok(ExtMessage::Metadata(MetadataMessage::Request { piece })) => Said::AsksMetadata(piece),
            Ok(ExtMessage::Metadata(MetadataMessage::Reject { piece })) => Said::RefusesMetadata(piece),
            Ok(ExtMessage::Metadata(MetadataMessage::Data { piece, data, .. })) => {
                Said::Metadata(piece, data.to_vec())
            }
            other => panic!("{other:?}"),
        },
        other => Said::Other(other.name()),
    }
}
