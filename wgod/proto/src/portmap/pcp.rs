//! PCP, the Port Control Protocol (RFC 6887), as far as mappings of our own ports need it: the operation MAP,
//! and what a server that restarted announces.
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Malformed, Transport, bytes_at, u16_at, u32_at};

/// The version of the packets.
pub const VERSION: u8 = 2;
/// Bytes of the longest packet (section 7).
pub const MAX_PACKET: usize = 1100;

/// What a mapping is known by between us and the server.
pub type Nonce = [u8; 12];

const ANSWER: u8 = 0x80;
const ANNOUNCE: u8 = 0;
const MAP: u8 = 1;

/// A request for a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Map {
    /// Our address, from which it is sent.
    pub client: IpAddr,
    /// Who knows it may change the mapping.
    pub nonce: Nonce,
    /// What it carries.
    pub transport: Transport,
    /// Our port.
    pub internal: u16,
    /// The port outside that we would like.
    pub external: u16,
    /// The address outside that we would like, of our family; unspecified is any.
    pub address: IpAddr,
    /// For how long; 0 ends the mapping.
    pub lifetime_secs: u32,
}

impl Map {
    /// The bytes of it.
    pub fn encode(&self) -> Vec<u8> {
        let mut packet = Vec::with_capacity(60);
        packet.extend([VERSION, MAP, 0, 0]);
        packet.extend(self.lifetime_secs.to_be_bytes());
        packet.extend(in_sixteen(self.client));
        packet.extend(self.nonce);
        packet.extend([self.transport.number(), 0, 0, 0]);
        packet.extend(self.internal.to_be_bytes());
        packet.extend(self.external.to_be_bytes());
        packet.extend(in_sixteen(self.address));
        packet
    }
}

/// Addresses of both families take 16 bytes (section 5).
fn in_sixteen(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// Why a server refuses (section 7.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It speaks another version only.
    #[error("it does not speak PCP")]
    Version,
    /// Not to us.
    #[error("not authorized; port mapping may be turned off there, or the port belongs to somebody else")]
    NotAuthorized,
    /// It can't at present.
    #[error("it has no connection to the network outside")]
    NetworkFailure,
    /// It has no port left.
    #[error("it is out of resources")]
    NoResources,
    /// It doesn't know MAP, or not for this transport.
    #[error("it does not support this")]
    Unsupported,
    /// We have enough.
    #[error("this machine has all the mappings it may have")]
    Quota,
    /// Another one has the port or the address outside.
    #[error("it cannot give the port")]
    CannotProvide,
    /// Somebody between us and the server translates addresses, too.
    #[error("our address is another one to it: somebody translates addresses on the way")]
    AddressMismatch,
    /// Another number.
    #[error("result code {0}")]
    Other(u8),
}

impl Refusal {
    fn of(code: u8) -> Option<Refusal> {
        Some(match code {
            0 => return None,
            1 => Refusal::Version,
            2 => Refusal::NotAuthorized,
            4 | 5 | 9 => Refusal::Unsupported,
            7 => Refusal::NetworkFailure,
            8 => Refusal::NoResources,
            10 => Refusal::Quota,
            11 => Refusal::CannotProvide,
            12 => Refusal::AddressMismatch,
            other => Refusal::Other(other),
        })
    }
}

/// What a server says of a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// The nonce of the request.
    pub nonce: Nonce,
    /// The transport's number.
    pub protocol: u8,
    /// Our port.
    pub internal: u16,
    /// The port outside.
    pub external: u16,
    /// The address outside.
    pub address: IpAddr,
}

/// What a server says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It has begun anew.
    Announced,
    /// It maps, for so long.
    Mapped(Mapping, u32),
    /// It won't. A refusal for the version comes without the request.
    Refused(Refusal, Option<Mapping>),
}

/// A datagram of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Seconds since it has forgotten its mappings last (section 8.5).
    pub epoch: u32,
    /// What it says.
    pub outcome: Outcome,
}

impl Answer {
    /// Reads a datagram. Options that follow are ignored: none is asked for.
    ///
    /// # Errors
    /// It is no answer of PCP.
    pub fn decode(packet: &[u8]) -> Result<Answer, Malformed> {
        let &[version, operation, _, code, ..] = packet else {
            return Err(Malformed::Short { len: packet.len() });
        };
        if version != VERSION {
            return Err(Malformed::Version(version));
        }
        let (lifetime, epoch) = (u32_at(packet, 4)?, u32_at(packet, 8)?);
        if packet.len() < 24 {
            return Err(Malformed::Short { len: packet.len() });
        }
        let outcome = match (operation ^ ANSWER, Refusal::of(code)) {
            (ANNOUNCE, None) => Outcome::Announced,
            (MAP, None) => Outcome::Mapped(mapping(packet)?, lifetime),
            (MAP, Some(refusal)) => Outcome::Refused(refusal, mapping(packet).ok()),
            (other, Some(refusal)) if other < ANSWER => Outcome::Refused(refusal, None),
            _ => return Err(Malformed::Operation(operation)),
        };
        Ok(Answer { epoch, outcome })
    }
}

fn mapping(packet: &[u8]) -> Result<Mapping, Malformed> {
    Ok(Mapping {
        nonce: bytes_at(packet, 24)?,
        protocol: bytes_at::<1>(packet, 36)?[0],
        internal: u16_at(packet, 40)?,
        external: u16_at(packet, 42)?,
        address: IpAddr::V6(Ipv6Addr::from(bytes_at::<16>(packet, 44)?)).to_canonical(),
    })
}

/// Any address, as it is asked for in the family of `like`.
pub fn any_address(like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn request() -> Map {
        Map {
            client: "192.168.1.5".parse().unwrap(),
            nonce: *b"abcdefghijkl",
            transport: Transport::Tcp,
            internal: 6868,
            external: 81,
            address: any_address("192.168.1.5".parse().unwrap()),
            lifetime_secs: 7200,
        }
    }

    /// A server's answer to a request: the same mapping behind a header of its own.
    fn answer(code: u8, lifetime: u32, epoch: u32, request: &Map) -> Vec<u8> {
        let mut packet = vec![VERSION, ANSWER | MAP, 0, code];
        packet.extend(lifetime.to_be_bytes());
        packet.extend(epoch.to_be_bytes());
        packet.extend([0; 12]);
        packet.extend(&request.encode()[24..]);
        packet
    }

    #[test]
    fn a_request_has_the_bytes_of_the_rfc() {
        let packet = request().encode();
        let mapped = |ip: [u8; 4]| [&[0; 10][..], &[255, 255], &ip].concat();
        let want = [
            &[2, 1, 0, 0, 0, 0, 0x1c, 0x20][..],
            &mapped([192, 168, 1, 5]),
            b"abcdefghijkl",
            &[6, 0, 0, 0, 0x1a, 0xd4, 0, 81],
            &mapped([0; 4]),
        ];
        assert_eq!(packet, want.concat());
        assert_eq!(packet.len(), 60);
    }

    #[test]
    fn a_request_for_udp_over_ipv6_has_its_protocol_and_whole_addresses() {
        let client: IpAddr = "2001:db8::5".parse().unwrap();
        let asked = Map { client, transport: Transport::Udp, address: any_address(client), ..request() };
        let packet = asked.encode();
        let IpAddr::V6(client) = client else { unreachable!() };
        assert_eq!((&packet[8..24], packet[36], &packet[44..]), (&client.octets()[..], 17, &[0; 16][..]));
    }

    #[test]
    fn answers_are_read_and_those_to_others_can_be_told() {
        let asked = Map { address: "203.0.113.9".parse().unwrap(), ..request() };
        let mapping =
            Mapping { nonce: asked.nonce, protocol: 6, internal: 6868, external: 81, address: asked.address };
        let packet = answer(0, 3600, 5, &asked);
        let outcome = Outcome::Mapped(mapping, 3600);
        assert_eq!(Answer::decode(&packet), Ok(Answer { epoch: 5, outcome }));
        for (code, refusal) in [
            (1, Refusal::Version),
            (2, Refusal::NotAuthorized),
            (4, Refusal::Unsupported),
            (7, Refusal::NetworkFailure),
            (8, Refusal::NoResources),
            (10, Refusal::Quota),
            (11, Refusal::CannotProvide),
            (12, Refusal::AddressMismatch),
            (99, Refusal::Other(99)),
        ] {
            let outcome = Outcome::Refused(refusal, Some(mapping));
            assert_eq!(Answer::decode(&answer(code, 30, 5, &asked)), Ok(Answer { epoch: 5, outcome }));
        }
        // A server of another version may not know where the mapping lies in a request.
        let outcome = Outcome::Refused(Refusal::Version, None);
        assert_eq!(Answer::decode(&answer(1, 0, 5, &asked)[..24]), Ok(Answer { epoch: 5, outcome }));
        // What we never ask for may be refused as well.
        let outcome = Outcome::Refused(Refusal::Unsupported, None);
        let peer = [&[2, ANSWER | 2, 0, 4], &answer(4, 0, 5, &asked)[4..24]].concat();
        assert_eq!(Answer::decode(&peer), Ok(Answer { epoch: 5, outcome }));
        let announced = [&[2, 128, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9][..], &[0; 12]].concat();
        assert_eq!(Answer::decode(&announced), Ok(Answer { epoch: 9, outcome: Outcome::Announced }));
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        let whole = answer(0, 3600, 5, &request());
        assert_eq!(Answer::decode(&whole[..59]), Err(Malformed::Short { len: 59 }));
        assert_eq!(Answer::decode(&whole[..20]), Err(Malformed::Short { len: 20 }));
        assert_eq!(Answer::decode(&[2, 129]), Err(Malformed::Short { len: 2 }));
        assert_eq!(Answer::decode(&request().encode()), Err(Malformed::Operation(1)));
        assert_eq!(Answer::decode(&[0, 129, 0, 1, 0, 0, 0, 0]), Err(Malformed::Version(0)));
    }

    proptest! {
        #[test]
        fn no_bytes_break_it(packet in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = Answer::decode(&packet);
        }
    }
}
