//! The words in which the Swarm and the PeerMgr talk.
use std::net::SocketAddr;

/// Where an address was heard of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// The operator, or a magnet link's `x.pe`: tried without end, never pushed out.
    User,
    /// Local service discovery (BEP 14).
    Lsd,
    /// It connected to us and told its port.
    Incoming,
    /// An announce.
    Tracker,
    /// The distributed hash table (BEP 5).
    Dht,
    /// Another peer (BEP 11).
    Pex,
    /// An earlier session.
    Saved,
}

impl Source {
    /// How many there are.
    pub(super) const COUNT: usize = Source::Saved as usize + 1;
}

/// The limits that the Swarm sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Addresses to remember. When full, the worst-ranked candidate falls out, or the newcomer if it is
    /// that.
    pub candidates: usize,
    /// Dials under way at a time.
    pub half_open: usize,
    /// Connections, those being dialled included.
    pub connections: usize,
    /// Only one connection to each IP address, loopback excepted.
    pub one_per_ip: bool,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { candidates: 4_000, half_open: 20, connections: 100, one_per_ip: true }
    }
}

/// What became of an address that was added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// A candidate from now on.
    New,
    /// It was one already.
    Known,
    /// No peer can be there, or not one that this source may name.
    Invalid,
    /// It is ourselves.
    Own,
    /// Its address is banned.
    Banned,
    /// The operator's IP filter has its address.
    Filtered,
    /// The table is full of better ones, or of others of the same IP address.
    Full,
}

/// Who made a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// They did. Their port is not the one they listen at.
    Incoming,
    /// We did; `next_dial` had named the address.
    Outgoing,
}

/// How a connection of ours is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Greeting {
    /// As BEP 3 has it.
    Plain,
    /// With message stream encryption.
    Encrypted,
}

/// Why a connection that completed its handshake must be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The address is banned.
    #[error("its address is banned")]
    Banned,
    /// The operator's IP filter has its address.
    #[error("the IP filter has its address")]
    Filtered,
    /// It has our own peer id.
    #[error("it is ourselves")]
    Myself,
    /// Another connection has the same peer id.
    #[error("it is connected already")]
    SamePeer,
    /// Another connection has the same IP address.
    #[error("its address is connected already")]
    SameIp,
    /// There are as many connections as allowed.
    #[error("there are enough connections")]
    Full,
    /// Its address was forgotten while it was dialled.
    #[error("its address was forgotten meanwhile")]
    Forgotten,
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// They closed it, it broke, or it went silent.
    Ended,
    /// Both have everything that the other could want.
    BothSeeds,
    /// We dropped it for a better one.
    Replaced,
    /// They broke the protocol.
    Misbehaved,
    /// We leave the swarm; nothing is held against them.
    Stopping,
}

/// A candidate that waits for a free connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contender {
    /// Where it is.
    pub addr: SocketAddr,
    /// To be compared with [`super::PeerMgr::priority`] of the connections there are.
    pub priority: u32,
}

/// How many of each, for the operator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// All known addresses.
    pub candidates: usize,
    /// May be dialled now.
    pub ready: usize,
    /// Back off.
    pub waiting: usize,
    /// Seeds that we do not need.
    pub resting: usize,
    /// Being dialled.
    pub dialing: usize,
    /// Connections, in both directions.
    pub connected: usize,
    /// Those that they made.
    pub incoming: usize,
    /// Banned addresses.
    pub banned: usize,
}
