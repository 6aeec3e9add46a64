//! NAT-PMP (RFC 6886): requests of 2 or 12 bytes, answers of 8 to 16.
use std::net::Ipv4Addr;

use super::{Malformed, Transport, bytes_at, u16_at, u32_at};

/// The version of all its packets; an answer of this version to a PCP request says that PCP isn't spoken.
pub const VERSION: u8 = 0;

/// The bit of operations that makes them answers.
const ANSWER: u8 = 0x80;
const ADDRESS: u8 = 0;

/// What is asked of a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Its address outside.
    Address,
    /// That what comes to a port outside comes to one of ours.
    Map {
        /// Which of the two.
        transport: Transport,
        /// Our port.
        internal: u16,
        /// The port outside that we would like; another one may be given.
        external: u16,
        /// For how long; 0 ends the mapping.
        lifetime_secs: u32,
    },
}

impl Request {
    /// The bytes of it.
    pub fn encode(&self) -> Vec<u8> {
        match *self {
            Request::Address => vec![VERSION, ADDRESS],
            Request::Map { transport, internal, external, lifetime_secs } => {
                let mut packet = vec![VERSION, operation(transport), 0, 0];
                packet.extend(internal.to_be_bytes());
                packet.extend(external.to_be_bytes());
                packet.extend(lifetime_secs.to_be_bytes());
                packet
            }
        }
    }
}

const fn operation(transport: Transport) -> u8 {
    match transport {
        Transport::Udp => 1,
        Transport::Tcp => 2,
    }
}

/// Why a gateway refuses (section 3.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It doesn't speak this version.
    #[error("it does not speak NAT-PMP")]
    Version,
    /// Its owner turned it off.
    #[error("not authorized; port mapping may be turned off there")]
    NotAuthorized,
    /// It has no address of its own.
    #[error("it has no connection to the network outside")]
    NetworkFailure,
    /// It has no port left.
    #[error("it is out of resources")]
    OutOfResources,
    /// It doesn't know the operation.
    #[error("it does not know this operation")]
    Operation,
    /// A number that nobody has defined.
    #[error("result code {0}")]
    Other(u16),
}

impl Refusal {
    fn of(code: u16) -> Option<Refusal> {
        Some(match code {
            0 => return None,
            1 => Refusal::Version,
            2 => Refusal::NotAuthorized,
            3 => Refusal::NetworkFailure,
            4 => Refusal::OutOfResources,
            5 => Refusal::Operation,
            other => Refusal::Other(other),
        })
    }
}

/// What a request was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The address outside. A gateway that has none yet says 0.0.0.0.
    Address(Ipv4Addr),
    /// A mapping.
    Mapped {
        /// Of which transport.
        transport: Transport,
        /// Our port.
        internal: u16,
        /// The port outside; 0 when the mapping has ended.
        external: u16,
        /// For how long.
        lifetime_secs: u32,
    },
    /// It won't.
    Refused {
        /// What was asked: `None` is the address.
        transport: Option<Transport>,
        /// Why.
        refusal: Refusal,
    },
}

/// An answer of a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Seconds since it has forgotten its mappings last (section 3.6).
    pub epoch: u32,
    /// What it says.
    pub outcome: Outcome,
}

impl Answer {
    /// Reads a datagram. What follows the answer in it is ignored, as later versions may append something.
    ///
    /// # Errors
    /// It is no answer of NAT-PMP.
    pub fn decode(packet: &[u8]) -> Result<Answer, Malformed> {
        let &[version, operation, ..] = packet else { return Err(Malformed::Short { len: packet.len() }) };
        if version != VERSION {
            return Err(Malformed::Version(version));
        }
        let transport = match operation ^ ANSWER {
            ADDRESS => None,
            1 => Some(Transport::Udp),
            2 => Some(Transport::Tcp),
            _ => return Err(Malformed::Operation(operation)),
        };
        let (code, epoch) = (u16_at(packet, 2)?, u32_at(packet, 4)?);
        let outcome = match (Refusal::of(code), transport) {
            // Refusals end here in some gateways.
            (Some(refusal), transport) => Outcome::Refused { transport, refusal },
            (None, None) => Outcome::Address(Ipv4Addr::from(bytes_at::<4>(packet, 8)?)),
            (None, Some(transport)) => Outcome::Mapped {
                transport,
                internal: u16_at(packet, 8)?,
                external: u16_at(packet, 10)?,
                lifetime_secs: u32_at(packet, 12)?,
            },
        };
        Ok(Answer { epoch, outcome })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn requests_have_the_bytes_of_the_rfc() {
        assert_eq!(Request::Address.encode(), [0, 0]);
        let map = |transport| Request::Map { transport, internal: 6868, external: 80, lifetime_secs: 7200 };
        assert_eq!(map(Transport::Tcp).encode(), [0, 2, 0, 0, 0x1a, 0xd4, 0, 80, 0, 0, 0x1c, 0x20]);
        assert_eq!(map(Transport::Udp).encode()[..4], [0, 1, 0, 0]);
    }

    #[test]
    fn answers_are_read() {
        let address = [0, 128, 0, 0, 0, 0, 1, 0, 203, 0, 113, 9];
        let ip = Ipv4Addr::new(203, 0, 113, 9);
        assert_eq!(Answer::decode(&address), Ok(Answer { epoch: 256, outcome: Outcome::Address(ip) }));
        let mapped = [0, 130, 0, 0, 0, 0, 0, 7, 0x1a, 0xd4, 0, 81, 0, 0, 0, 60, 99];
        let outcome =
            Outcome::Mapped { transport: Transport::Tcp, internal: 6868, external: 81, lifetime_secs: 60 };
        assert_eq!(Answer::decode(&mapped), Ok(Answer { epoch: 7, outcome }));
        for (code, refusal) in [
            (1, Refusal::Version),
            (2, Refusal::NotAuthorized),
            (3, Refusal::NetworkFailure),
            (4, Refusal::OutOfResources),
            (5, Refusal::Operation),
            (77, Refusal::Other(77)),
        ] {
            let outcome = Outcome::Refused { transport: Some(Transport::Udp), refusal };
            assert_eq!(Answer::decode(&[0, 129, 0, code, 0, 0, 0, 1]), Ok(Answer { epoch: 1, outcome }));
        }
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        for (packet, why) in [
            (&[][..], Malformed::Short { len: 0 }),
            (&[0, 128, 0, 0, 0, 0, 0, 1, 1, 2, 3], Malformed::Short { len: 11 }),
            (&[0, 130, 0, 0, 0, 0, 0, 1], Malformed::Short { len: 8 }),
            (&[2, 129, 0, 0, 0, 0, 0, 1], Malformed::Version(2)),
            (&[0, 2, 0, 0, 0, 0, 0, 1, 1, 2, 3, 4], Malformed::Operation(2)),
            (&[0, 131, 0, 0, 0, 0, 0, 1], Malformed::Operation(131)),
        ] {
            assert_eq!(Answer::decode(packet), Err(why), "{packet:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_break_it(packet in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = Answer::decode(&packet);
        }
    }
}
