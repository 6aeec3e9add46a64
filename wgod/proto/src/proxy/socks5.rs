//! SOCKS5, the client's end (RFC 1928), with user and password (RFC 1929).
//!
//! ```text
//! greeting → method → (login → verdict) → request → reply: 4 bytes, 1, and as many as these say
//! ```
//! The reply is read in these parts because what follows it belongs to the other end. Datagrams of an association
//! have a header of their own each way (section 7).
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Login, MAX_NAME, Target};
use crate::host_port::HostPort;

const VERSION: u8 = 5;
/// The version of the exchange of user and password.
const LOGIN_VERSION: u8 = 1;
const NO_LOGIN: u8 = 0;
const BY_LOGIN: u8 = 2;
const NO_METHOD: u8 = 0xff;
const V4: u8 = 1;
const NAME: u8 = 3;
const V6: u8 = 4;

/// Bytes in front of a datagram's payload at most: reserved, fragment, a kind of address, the longest name, a port.
pub const MAX_HEADER: usize = 3 + 1 + 1 + MAX_NAME + 2;

/// What is asked of a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// A connection.
    Connect = 1,
    /// A relay of datagrams, for as long as the connection lasts.
    UdpAssociate = 3,
}

/// How the proxy wants to know who we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Not at all.
    None,
    /// By user and password.
    Login,
}

/// Why a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// 1: no reason.
    General,
    /// 2: its rules.
    NotAllowed,
    /// 3.
    NetworkUnreachable,
    /// 4.
    HostUnreachable,
    /// 5: by the target.
    ConnectionRefused,
    /// 6: mostly a time-out.
    TtlExpired,
    /// 7.
    CommandNotSupported,
    /// 8.
    AddressNotSupported,
    /// A code that no standard knows.
    Unknown(u8),
}

impl Refusal {
    fn of(code: u8) -> Option<Refusal> {
        Some(match code {
            0 => return None,
            1 => Refusal::General,
            2 => Refusal::NotAllowed,
            3 => Refusal::NetworkUnreachable,
            4 => Refusal::HostUnreachable,
            5 => Refusal::ConnectionRefused,
            6 => Refusal::TtlExpired,
            7 => Refusal::CommandNotSupported,
            8 => Refusal::AddressNotSupported,
            other => Refusal::Unknown(other),
        })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::General => "it failed and gives no reason",
            Refusal::NotAllowed => "its rules don't allow it",
            Refusal::NetworkUnreachable => "network unreachable",
            Refusal::HostUnreachable => "host unreachable",
            Refusal::ConnectionRefused => "connection refused",
            Refusal::TtlExpired => "no answer (TTL expired)",
            Refusal::CommandNotSupported => "it doesn't support the command",
            Refusal::AddressNotSupported => "it doesn't support the kind of address",
            Refusal::Unknown(code) => return write!(f, "it failed with the unknown code {code}"),
        })
    }
}

/// What a proxy answered other than what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Not this protocol: a proxy of another kind, or something else altogether.
    #[error("it doesn't speak SOCKS5: its answer begins with byte {found}, not {expected}")]
    Version {
        /// What came.
        found: u8,
        /// What should have come.
        expected: u8,
    },
    /// It wants a login that we don't have, or another kind of it.
    #[error("it takes none of the ways we have to log in")]
    NoMethod,
    /// It chose a way to log in that was not offered.
    #[error("it chose way {0} to log in, which was not offered")]
    Method(u8),
    /// The login is wrong.
    #[error("it refused user and password")]
    Login,
    /// It won't do what was asked.
    #[error("{0}")]
    Refused(Refusal),
    /// It names an address that can't be read.
    #[error("its answer has an address of the unknown kind {0}")]
    AddressKind(u8),
    /// It names something else than an address.
    #[error("its answer has a name that is none, or is too short")]
    Address,
    /// A datagram in pieces, which nobody sends and we don't put together.
    #[error("a datagram in fragments")]
    Fragment,
}

/// Offers the ways to log in.
pub fn greeting(with_login: bool, out: &mut Vec<u8>) {
    match with_login {
        true => out.extend([VERSION, 2, NO_LOGIN, BY_LOGIN]),
        false => out.extend([VERSION, 1, NO_LOGIN]),
    }
}

/// Which of the ways the proxy chose.
///
/// # Errors
/// [`Fault::Version`], [`Fault::NoMethod`], [`Fault::Method`].
pub fn method(answer: [u8; 2], with_login: bool) -> Result<Method, Fault> {
    match answer {
        [VERSION, NO_LOGIN] => Ok(Method::None),
        [VERSION, BY_LOGIN] if with_login => Ok(Method::Login),
        [VERSION, NO_METHOD] => Err(Fault::NoMethod),
        [VERSION, other] => Err(Fault::Method(other)),
        [found, _] => Err(Fault::Version { found, expected: VERSION }),
    }
}

/// User and password.
pub fn login(login: &Login, out: &mut Vec<u8>) {
    out.push(LOGIN_VERSION);
    for word in [login.user(), login.password()] {
        // A `Login` has no longer words.
        out.push(word.len() as u8);
        out.extend(word.as_bytes());
    }
}

/// Whether user and password are right.
///
/// # Errors
/// [`Fault::Version`], [`Fault::Login`].
pub fn verdict(answer: [u8; 2]) -> Result<(), Fault> {
    match answer {
        [LOGIN_VERSION, 0] => Ok(()),
        // Some answer with the number of the protocol itself, whose meaning is beyond doubt all the same.
        [VERSION, 0] => Ok(()),
        [LOGIN_VERSION | VERSION, _] => Err(Fault::Login),
        [found, _] => Err(Fault::Version { found, expected: LOGIN_VERSION }),
    }
}

/// Asks for something.
pub fn request(command: Command, target: &Target, out: &mut Vec<u8>) {
    out.extend([VERSION, command as u8, 0]);
    address(target, out);
}

/// Whether the first four bytes of a reply grant what was asked; then gives the kind of the address that follows.
///
/// # Errors
/// [`Fault::Version`], [`Fault::Refused`].
pub fn granted(head: [u8; 4]) -> Result<u8, Fault> {
    match head {
        [VERSION, code, _, kind] => {
            Refusal::of(code).map_or(Ok(kind), |refusal| Err(Fault::Refused(refusal)))
        }
        [found, ..] => Err(Fault::Version { found, expected: VERSION }),
    }
}

/// How many bytes the address and port of this kind have behind `first`, the byte after the first four.
///
/// # Errors
/// [`Fault::AddressKind`].
pub fn rest_len(kind: u8, first: u8) -> Result<usize, Fault> {
    match kind {
        V4 => Ok(4 - 1 + 2),
        V6 => Ok(16 - 1 + 2),
        NAME => Ok(usize::from(first) + 2),
        other => Err(Fault::AddressKind(other)),
    }
}

/// The port at which a relay waits for our datagrams, from `first` and the bytes behind it. Its address is not
/// read: where the proxy is we know, and one behind a translator doesn't.
///
/// # Errors
/// [`Fault::Address`].
pub fn relay_port(rest: &[u8]) -> Result<u16, Fault> {
    match rest {
        [.., high, low] if (*high, *low) != (0, 0) => Ok(u16::from_be_bytes([*high, *low])),
        _ => Err(Fault::Address),
    }
}

/// A datagram to `target`.
pub fn datagram(target: &Target, payload: &[u8], out: &mut Vec<u8>) {
    out.extend([0, 0, 0]);
    address(target, out);
    out.extend(payload);
}

/// Whom a datagram is from, and what is in it. `None` for a sender whose name isn't an address.
///
/// # Errors
/// [`Fault::Fragment`], [`Fault::AddressKind`], [`Fault::Address`].
pub fn received(datagram: &[u8]) -> Result<(Option<SocketAddr>, &[u8]), Fault> {
    match datagram {
        [_, _, 0, kind, rest @ ..] => read_address(*kind, rest),
        [_, _, _, _, ..] => Err(Fault::Fragment),
        _ => Err(Fault::Address),
    }
}

fn address(target: &Target, out: &mut Vec<u8>) {
    match target {
        Target::Addr(addr) => {
            match addr.ip().to_canonical() {
                IpAddr::V4(ip) => {
                    out.push(V4);
                    out.extend(ip.octets());
                }
                IpAddr::V6(ip) => {
                    out.push(V6);
                    out.extend(ip.octets());
                }
            }
            out.extend(addr.port().to_be_bytes());
        }
        Target::Name(HostPort { host, port }) => {
            let name = host.as_bytes().get(..MAX_NAME).unwrap_or(host.as_bytes());
            out.extend([NAME, name.len() as u8]);
            out.extend(name);
            out.extend(port.to_be_bytes());
        }
    }
}

fn read_address(kind: u8, bytes: &[u8]) -> Result<(Option<SocketAddr>, &[u8]), Fault> {
    let (ip, rest) = match kind {
        V4 => {
            let (octets, rest) = bytes.split_first_chunk::<4>().ok_or(Fault::Address)?;
            (Some(IpAddr::V4(Ipv4Addr::from(*octets))), rest)
        }
        V6 => {
            let (octets, rest) = bytes.split_first_chunk::<16>().ok_or(Fault::Address)?;
            (Some(IpAddr::V6(Ipv6Addr::from(*octets)).to_canonical()), rest)
        }
        NAME => {
            let (len, rest) = bytes.split_first().ok_or(Fault::Address)?;
            let (name, rest) = rest.split_at_checked(usize::from(*len)).ok_or(Fault::Address)?;
            (std::str::from_utf8(name).ok().and_then(|name| name.parse().ok()), rest)
        }
        other => return Err(Fault::AddressKind(other)),
    };
    let (port, rest) = rest.split_first_chunk::<2>().ok_or(Fault::Address)?;
    Ok((ip.map(|ip| SocketAddr::new(ip, u16::from_be_bytes(*port))), rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn out(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out);
        out
    }

    #[test]
    fn what_is_sent_is_as_the_standard_has_it() {
        assert_eq!(out(|out| greeting(false, out)), [5, 1, 0]);
        assert_eq!(out(|out| greeting(true, out)), [5, 2, 0, 2]);
        let me = Login::new("me", "pw").unwrap();
        assert_eq!(out(|out| login(&me, out)), b"\x01\x02me\x02pw");
        let v4 = Target::new("192.0.2.1", 258).unwrap();
        assert_eq!(out(|out| request(Command::Connect, &v4, out)), [5, 1, 0, 1, 192, 0, 2, 1, 1, 2]);
        let mapped = Target::new("::ffff:192.0.2.1", 258).unwrap();
        assert_eq!(out(|out| request(Command::Connect, &mapped, out)), [5, 1, 0, 1, 192, 0, 2, 1, 1, 2]);
        let name = Target::new("t.example", 80).unwrap();
        assert_eq!(
            out(|out| request(Command::UdpAssociate, &name, out)),
            b"\x05\x03\x00\x03\x09t.example\x00\x50"
        );
        let v6 = Target::new("2001:db8::1", 80).unwrap();
        let sent = out(|out| datagram(&v6, b"hi", out));
        assert_eq!(sent[..4], [0, 0, 0, 4]);
        assert_eq!(sent[20..], [0, 80, b'h', b'i']);
    }

    #[test]
    fn every_answer_has_its_meaning() {
        assert_eq!(method([5, 0], false), Ok(Method::None));
        assert_eq!(method([5, 2], true), Ok(Method::Login));
        assert_eq!(method([5, 2], false), Err(Fault::Method(2)), "it was not offered");
        assert_eq!(method([5, 255], true), Err(Fault::NoMethod));
        assert_eq!(method([b'H', b'T'], true), Err(Fault::Version { found: b'H', expected: 5 }));
        assert_eq!(verdict([1, 0]), Ok(()));
        assert_eq!(verdict([5, 0]), Ok(()));
        assert_eq!(verdict([1, 1]), Err(Fault::Login));
        assert_eq!(verdict([4, 0]), Err(Fault::Version { found: 4, expected: 1 }));
        assert_eq!(granted([5, 0, 9, 1]), Ok(1));
        assert_eq!(granted([4, 0, 0, 1]), Err(Fault::Version { found: 4, expected: 5 }));
        let texts: Vec<String> =
            (1..=9).map(|code| granted([5, code, 0, 1]).unwrap_err().to_string()).collect();
        assert_eq!(
            texts,
            [
                "it failed and gives no reason",
                "its rules don't allow it",
                "network unreachable",
                "host unreachable",
                "connection refused",
                "no answer (TTL expired)",
                "it doesn't support the command",
                "it doesn't support the kind of address",
                "it failed with the unknown code 9",
            ]
        );
        assert_eq!((rest_len(V4, 9), rest_len(V6, 9), rest_len(NAME, 9)), (Ok(5), Ok(17), Ok(11)));
        assert_eq!(rest_len(2, 9), Err(Fault::AddressKind(2)));
        assert_eq!(relay_port(&[0, 0, 0, 1, 2]), Ok(258));
        assert_eq!(relay_port(&[0, 0, 0, 0, 0]), Err(Fault::Address));
        assert_eq!(relay_port(&[1]), Err(Fault::Address));
    }

    #[test]
    fn a_datagram_that_is_none_is_told_as_such() {
        for (bytes, fault) in [
            (&b""[..], Fault::Address),
            (&[0, 0, 0], Fault::Address),
            (&[0, 0, 1, 1, 1, 2, 3, 4, 0, 80], Fault::Fragment),
            (&[0, 0, 0, 1, 1, 2, 3], Fault::Address),
            (&[0, 0, 0, 1, 1, 2, 3, 4, 0], Fault::Address),
            (&[0, 0, 0, 3, 9, b'a'], Fault::Address),
            (&[0, 0, 0, 7, 9, b'a'], Fault::AddressKind(7)),
        ] {
            assert_eq!(received(bytes), Err(fault), "{bytes:?}");
        }
        assert_eq!(received(b"\0\0\0\x03\x01a\0\x50hi"), Ok((None, &b"hi"[..])));
        let of_name = received(b"\0\0\0\x03\x09192.0.2.1\0\x50hi");
        assert_eq!(of_name, Ok((Some("192.0.2.1:80".parse().unwrap()), &b"hi"[..])));
    }

    proptest! {
        #[test]
        fn a_datagram_reads_back_as_sent(ip: IpAddr, port: u16, payload in prop::collection::vec(any::<u8>(), 0..99)) {
            let addr = SocketAddr::new(ip.to_canonical(), port);
            let sent = out(|out| datagram(&Target::Addr(addr), &payload, out));
            prop_assert!(sent.len() <= MAX_HEADER + payload.len());
            prop_assert_eq!(received(&sent), Ok((Some(addr), &payload[..])));
        }

        #[test]
        fn any_bytes_are_taken_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            if let Ok((_, payload)) = received(&bytes) {
                prop_assert!(bytes.ends_with(payload));
            }
            let _ = relay_port(&bytes);
        }
    }
}
