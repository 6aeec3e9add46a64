//! One connection of one torrent: who is at the other end, the choke and interest state of both
//! sides, what each has asked of the other, and what waits to be sent (BEP 3, 6, 10).
//!
//! The Swarm owns every `Peer` and is the only one to touch it.
pub mod exchange;
pub mod fault;
mod pacing;
pub mod pipeline;
pub mod uploads;

use std::net::SocketAddr;
use std::time::Duration;

use smallvec::SmallVec;
use wgo_proto::wire::{ExtensionIds, Message, Reserved};
use wgo_proto::{PeerId, PieceIndex};

use crate::peer_mgr::Greeting;
use crate::piece_mgr::PeerHave;
use crate::status::Traffic;
use crate::time::Time;

use exchange::Exchange;
pub use fault::{CloseReason, PeerFault};
use pipeline::Pipeline;
use uploads::Uploads;

/// Control bytes that may wait for a peer that does not read; one more message closes it. Twice the
/// largest bitfield (2²¹ pieces).
pub const MAX_OUTBOX: usize = 512 * 1024;
/// Pieces that we accept as allowed-fast from one peer (BEP 6 suggests 10).
pub const MAX_ALLOWED_FAST: usize = 32;
/// Suggested pieces that we keep, the newest ones (BEP 6).
pub const MAX_SUGGESTED: usize = 16;

/// Most bytes of a connection at rest, those of its bitfield left out.
const _: () = assert!(size_of::<Peer>() <= 1024);

/// Which side opened the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// They dialled us.
    Incoming,
    /// We dialled them.
    Outgoing,
}

/// What a completed handshake tells of a peer.
#[derive(Clone, Debug)]
pub struct PeerInfo {
    /// The address of the connection.
    pub addr: SocketAddr,
    /// Who opened it.
    pub direction: Direction,
    /// The id of its handshake.
    pub id: PeerId,
    /// The extensions of its handshake.
    pub reserved: Reserved,
    /// What of it is encrypted on the wire.
    pub encryption: Encryption,
}

/// What of a connection is encrypted on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// Nothing.
    None,
    /// The handshake; what follows is plain.
    Handshake,
    /// All of it, by RC4.
    Rc4,
}

impl Encryption {
    /// The greeting that such a connection began with.
    pub fn greeting(self) -> Greeting {
        match self {
            Encryption::None => Greeting::Plain,
            Encryption::Handshake | Encryption::Rc4 => Greeting::Encrypted,
        }
    }
}

/// One connection.
#[derive(Debug)]
pub struct Peer {
    /// Who it is.
    pub info: PeerInfo,
    /// The name and version it gives itself, else what its id says.
    pub client: String,
    /// The extensions that it speaks, with its ids for them (BEP 10).
    pub extensions: ExtensionIds,
    /// It said that it downloads nothing (BEP 21), or has everything.
    pub upload_only: bool,
    /// The port it listens on, if known (`p` of BEP 10, or the one we dialled).
    pub listen_port: Option<u16>,
    /// What is exchanged with it about others (BEP 11).
    pub exchange: Exchange,
    /// It has said where it sees us (BEP 10, `yourip`), for which it has one vote.
    pub has_voted: bool,

    /// We refuse its requests.
    pub am_choking: bool,
    /// Whether the slot it holds, when we don't, is an optimistic one.
    pub optimistic: bool,
    /// We told it that it has pieces we want.
    pub am_interested: bool,
    /// It refuses our requests.
    pub peer_choking: bool,
    /// It wants pieces of ours.
    pub peer_interested: bool,

    /// The pieces it has.
    pub has: PeerHave,
    /// It has said what it has, with `have` or a whole set.
    pub has_announced: bool,
    /// How many pieces it has that we still want.
    pub interesting: u32,
    /// Pieces that it serves us while it chokes us (BEP 6).
    pub allowed_fast: SmallVec<[PieceIndex; 8]>,
    /// Pieces that we serve it while we choke it (BEP 6).
    pub allowed_by_us: SmallVec<[PieceIndex; 10]>,
    /// Pieces that it would like us to ask for (BEP 6).
    pub suggested: SmallVec<[PieceIndex; 8]>,
    /// Pieces that we would like it to ask for, and it hasn't yet; bounded by whoever suggests.
    pub suggested_by_us: SmallVec<[PieceIndex; 2]>,

    /// Our requests to it.
    pub pipeline: Pipeline,
    /// Its requests to us.
    pub uploads: Uploads,
    /// Payload bytes that it may still ask for while choked (BEP 6).
    pub fast_budget: u64,
    /// Encoded control messages waiting to be pulled.
    pub outbox: Vec<u8>,
    /// Position in the Swarm's log of gained pieces up to which it has been told.
    pub have_cursor: u64,

    /// Payload of this connection, both ways.
    pub traffic: Traffic,

    /// When the connection was made.
    pub connected_at: Time,
    /// When anything last came from it.
    pub received_at: Time,
    /// When anything last went to it.
    pub sent_at: Time,
    /// When it was last unchoked, or last choked, by us.
    pub choke_changed_at: Time,
    /// Since when it has waited: interested and choked.
    pub waiting_since: Option<Time>,
    /// When the choker was last told that its interest changed.
    pub interest_told_at: Option<Time>,
    /// Payload sent since it was unchoked.
    pub sent_since_unchoke: u64,
    /// Whether it was ever unchoked.
    pub ever_unchoked: bool,
    /// Messages that made no sense but did no harm; see [`PeerFault::Nuisance`].
    pub nuisances: u32,
    /// It said where its node of the DHT is (BEP 5).
    pub told_dht_port: bool,
    /// Pieces of metadata that are on their way to it (BEP 9).
    pub metadata_owed: u32,
    /// Requests that we gave up after they had been sent: their blocks may still come.
    pub given_up: u32,

    /// Set when the connection is to end; the peer's task sees it at its next call.
    pub closing: Option<CloseReason>,
    /// Its task was told that there is something to send, and has not come yet.
    pub woken: bool,
}

impl Peer {
    /// A connection just made: both sides choke, nobody is interested (BEP 3).
    pub fn new(now: Time, info: PeerInfo) -> Peer {
        let listen_port = (info.direction == Direction::Outgoing).then(|| info.addr.port());
        Peer {
            client: wgo_proto::wire::peer_id::client_name(&info.id),
            extensions: ExtensionIds::default(),
            upload_only: false,
            listen_port,
            exchange: Exchange::default(),
            has_voted: false,
            am_choking: true,
            optimistic: false,
            am_interested: false,
            peer_choking: true,
            peer_interested: false,
            has: PeerHave::None,
            has_announced: false,
            interesting: 0,
            allowed_fast: SmallVec::new(),
            allowed_by_us: SmallVec::new(),
            suggested: SmallVec::new(),
            suggested_by_us: SmallVec::new(),
            pipeline: Pipeline::new(now),
            uploads: Uploads::default(),
            fast_budget: 0,
            outbox: Vec::new(),
            have_cursor: 0,
            traffic: Traffic::default(),
            connected_at: now,
            received_at: now,
            sent_at: now,
            choke_changed_at: now,
            waiting_since: None,
            interest_told_at: None,
            sent_since_unchoke: 0,
            ever_unchoked: false,
            nuisances: 0,
            told_dht_port: false,
            metadata_owed: 0,
            given_up: 0,
            closing: None,
            woken: false,
            info,
        }
    }

    /// Both ends speak the fast extension (BEP 6); we always offer it.
    pub fn fast(&self) -> bool {
        self.info.reserved.fast()
    }

    /// Queues a control message.
    pub fn send(&mut self, message: &Message<'_>) {
        message.encode(&mut self.outbox);
        if self.outbox.len() > MAX_OUTBOX {
            self.close(CloseReason::NotReading);
        }
    }

    /// Gives back the memory of queues that are empty: a connection at rest is its own size, about half
    /// a KiB, and a bit for each piece unless the peer has all or none.
    pub fn trim(&mut self) {
        self.pipeline.trim();
        self.uploads.trim();
        if self.outbox.is_empty() {
            self.outbox = Vec::new();
        }
    }

    /// Ends the connection for the first reason given.
    pub fn close(&mut self, reason: CloseReason) {
        self.closing.get_or_insert(reason);
    }

    /// How long it has been since it sent anything.
    pub fn silent_for(&self, now: Time) -> Duration {
        now.since(self.received_at)
    }
}
