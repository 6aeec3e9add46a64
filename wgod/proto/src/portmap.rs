//! Port mapping: what is said to a gateway that translates addresses, so that it lets peers in.
//!
//! Three protocols do the same: [`pcp`] (RFC 6887), [`nat_pmp`] (RFC 6886), which came before it and shares its
//! port, and [`upnp`], which is HTTP and XML. What comes from a gateway may come from anybody in the local
//! network.
pub mod nat_pmp;
pub mod pcp;
pub mod upnp;

use std::fmt;

/// The port of a gateway at which PCP and NAT-PMP are spoken.
pub const GATEWAY_PORT: u16 = 5351;
/// The port at which hosts hear a gateway that has restarted, at the group of all hosts (RFC 6886 section 3.2.1,
/// RFC 6887 section 14.1).
pub const HOST_PORT: u16 = 5350;

/// What a mapped port carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// Connections to peers.
    Tcp,
    /// DHT and the like.
    Udp,
}

impl Transport {
    /// Its number among IP protocols.
    pub const fn number(self) -> u8 {
        match self {
            Transport::Tcp => 6,
            Transport::Udp => 17,
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Transport::Tcp => "TCP",
            Transport::Udp => "UDP",
        })
    }
}

/// Why a datagram of a gateway is no answer of PCP or NAT-PMP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It ends too early.
    #[error("{len} bytes are too few")]
    Short {
        /// Bytes that it has.
        len: usize,
    },
    /// It is of another version.
    #[error("version {0}")]
    Version(u8),
    /// It answers no request that there is, or is a request.
    #[error("operation {0}")]
    Operation(u8),
}

/// So many bytes at an offset; callers have looked at the length.
fn bytes_at<const N: usize>(packet: &[u8], at: usize) -> Result<[u8; N], Malformed> {
    let bytes = packet.get(at..at + N).and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or(Malformed::Short { len: packet.len() })
}

fn u16_at(packet: &[u8], at: usize) -> Result<u16, Malformed> {
    Ok(u16::from_be_bytes(bytes_at(packet, at)?))
}

fn u32_at(packet: &[u8], at: usize) -> Result<u32, Malformed> {
    Ok(u32::from_be_bytes(bytes_at(packet, at)?))
}
