//! Part of the result of `status`: what a gateway lets in.
use serde::{Deserialize, Serialize};

/// Whether a gateway that translates our address lets peers in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MappingState {
    /// It isn't asked to: `[network] port_mapping` is off, or no peers are listened for.
    #[default]
    Off,
    /// There is no need: our own address is a public one.
    Public,
    /// There is no gateway that could be asked.
    NoGateway,
    /// It is being asked.
    Trying,
    /// It does.
    Mapped,
    /// It doesn't; it is asked again later.
    Failed,
}

/// What a gateway is asked by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MappingProtocol {
    /// The Port Control Protocol (RFC 6887).
    Pcp,
    /// RFC 6886.
    NatPmp,
    /// The Internet Gateway Device of UPnP.
    Upnp,
}

impl MappingProtocol {
    /// How people write it.
    pub fn name(self) -> &'static str {
        match self {
            MappingProtocol::Pcp => "PCP",
            MappingProtocol::NatPmp => "NAT-PMP",
            MappingProtocol::Upnp => "UPnP",
        }
    }
}

/// What a protocol came to at the gateway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProtocolState {
    /// Not tried: one before it works, or nothing is asked for.
    #[default]
    Untried,
    /// Its answer is awaited.
    Trying,
    /// It is not answered.
    Silent,
    /// It is refused, or what came is of no use.
    Refused,
    /// It maps.
    Working,
}

/// A protocol, and what it came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TriedProtocol {
    /// Which one.
    pub protocol: MappingProtocol,
    /// What it came to.
    pub state: ProtocolState,
    /// Why it was refused, for people; `null` when it wasn't.
    pub error: Option<String>,
}

/// What a port carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PortTransport {
    /// Connections to peers.
    Tcp,
    /// Datagrams.
    Udp,
}

/// A port that a gateway lets in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MappedPort {
    /// What it carries.
    pub transport: PortTransport,
    /// Our port.
    pub port: u16,
    /// The port outside, which trackers and peers are told.
    pub external_port: u16,
    /// The gateway's address outside; `null` when it doesn't say.
    pub external_ip: Option<String>,
    /// Whether that address is one of the public internet: if not, another gateway is before this one.
    pub reachable: bool,
    /// How it was got.
    pub protocol: MappingProtocol,
    /// When it ends unless it is renewed, in seconds since 1970; `null` is never.
    pub expires_at: Option<u64>,
}

/// What a gateway lets in, and why it doesn't let in more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PortMapping {
    /// Whether it does.
    pub state: MappingState,
    /// Its address; `null` where there is none.
    pub gateway: Option<String>,
    /// Our address towards it; `null` where it isn't known.
    pub local: Option<String>,
    /// What is let in.
    pub ports: Vec<MappedPort>,
    /// What it was asked by, in the order in which that is tried.
    pub protocols: Vec<TriedProtocol>,
    /// Why something isn't let in, for people; `null` when all is.
    pub reason: Option<String>,
}
