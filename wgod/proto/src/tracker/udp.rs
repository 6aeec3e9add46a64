//! The packets of UDP trackers, in both directions (BEP 15), with the options of BEP 41.
//!
//! The shell's driver encodes [`Request`]s and decodes [`Response`]s; the other directions are for the
//! trackers of the tests. Packets may be longer than they must be: what follows is ignored.
use std::net::{Ipv4Addr, SocketAddr};

use super::{Announce, AnnounceReply, Event, MAX_TEXT, SwarmCounts, TrackerError, interval, keep_peers};
use crate::compact::{self, Family};
use crate::text;
use crate::units::{PeerId, WireHash};

/// What a connect request begins with, in place of a connection id.
pub const PROTOCOL_ID: u64 = 0x417_2710_1980;

/// Torrents that one scrape request can name.
pub const MAX_SCRAPE: usize = 74;

const CONNECT: u32 = 0;
const ANNOUNCE: u32 = 1;
const SCRAPE: u32 = 2;
const ERROR: u32 = 3;

/// Option types of BEP 41. Any other is followed by a length byte and as many bytes.
const END_OF_OPTIONS: u8 = 0;
const NOP: u8 = 1;
const URL_DATA: u8 = 2;

/// What a client sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Asks for a connection id.
    Connect {
        /// Chosen at random by the client, comes back in the answer.
        transaction: u32,
    },
    /// Announces one torrent.
    Announce {
        /// From the last connect response, good for a minute.
        connection: u64,
        /// Chosen at random by the client, comes back in the answer.
        transaction: u32,
        /// The torrent and our state of it.
        announce: Announce,
        /// Our address, if not the one that the packet comes from; always `None` over IPv6.
        ip: Option<Ipv4Addr>,
        /// Path and query of the tracker's URL, `None` to leave the option out (BEP 41).
        url_data: Option<Vec<u8>>,
    },
    /// Asks for the size of swarms.
    Scrape {
        /// From the last connect response, good for a minute.
        connection: u64,
        /// Chosen at random by the client, comes back in the answer.
        transaction: u32,
        /// At most [`MAX_SCRAPE`]; those after are neither sent nor read.
        hashes: Vec<WireHash>,
    },
}

/// What a tracker sends. The numbers are as they came; [`Response::into_announce`] makes sense of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// Answers a connect request.
    Connect {
        /// The request's.
        transaction: u32,
        /// To be put into the following requests.
        connection: u64,
    },
    /// Answers an announce.
    Announce {
        /// The request's.
        transaction: u32,
        /// Seconds until the next announce.
        interval: u32,
        /// Peers that are not complete.
        leechers: u32,
        /// Peers that are.
        seeders: u32,
        /// All of the family of the socket; at most [`MAX_PEERS`](super::MAX_PEERS) are read.
        peers: Vec<SocketAddr>,
    },
    /// Answers a scrape.
    Scrape {
        /// The request's.
        transaction: u32,
        /// One for each hash asked for, in that order; at most [`MAX_SCRAPE`] are read.
        swarms: Vec<ScrapedSwarm>,
    },
    /// Answers any request.
    Error {
        /// The request's.
        transaction: u32,
        /// Why, in the tracker's words.
        message: String,
    },
}

/// One torrent in a scrape response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScrapedSwarm {
    /// Peers that are complete.
    pub seeders: u32,
    /// Downloads that ever completed.
    pub completed: u32,
    /// Peers that are not complete.
    pub leechers: u32,
}

/// Path and query of a `udp:` URL, what an announce carries by BEP 41: `/announce?a=b` of
/// `udp://host:80/announce?a=b#c`. Empty when the URL ends with the host.
pub fn url_data(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = rest.split_once('#').map_or(rest, |(before, _)| before);
    rest.find(['/', '?']).map_or("", |at| &rest[at..])
}

/// The transaction that a response answers, for telling responses on one socket apart; `None` for a
/// packet that is too short to be one.
pub fn transaction_of(response: &[u8]) -> Option<u32> {
    Reader::new("response", response, 8).ok()?.skip(4).u32().into()
}

impl Request {
    /// Appends the packet.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Connect { transaction } => put_head(out, PROTOCOL_ID, CONNECT, *transaction),
            Self::Announce { connection, transaction, announce, ip, url_data } => {
                put_head(out, *connection, ANNOUNCE, *transaction);
                put_announce(out, announce, ip.unwrap_or(Ipv4Addr::UNSPECIFIED));
                if let Some(url_data) = url_data {
                    put_url_data(out, url_data);
                }
            }
            Self::Scrape { connection, transaction, hashes } => {
                put_head(out, *connection, SCRAPE, *transaction);
                out.extend(hashes.iter().take(MAX_SCRAPE).flat_map(|hash| hash.0));
            }
        }
    }

    /// Reads a packet, as a tracker does. Fails on one too short, of an unknown action, or a connect
    /// request without [`PROTOCOL_ID`].
    pub fn decode(packet: &[u8]) -> Result<Self, TrackerError> {
        let mut reader = Reader::new("request", packet, 16)?;
        let (connection, action, transaction) = (reader.u64(), reader.u32(), reader.u32());
        match action {
            CONNECT if connection != PROTOCOL_ID => Err(TrackerError::WrongProtocol { found: connection }),
            CONNECT => Ok(Self::Connect { transaction }),
            ANNOUNCE => {
                let mut reader = Reader::new("announce request", packet, 98)?.skip(16);
                let (announce, ip) = take_announce(&mut reader);
                let url_data = take_url_data(reader.rest);
                Ok(Self::Announce { connection, transaction, announce, ip, url_data })
            }
            SCRAPE => {
                let hashes = reader.rest.as_chunks::<20>().0.iter().take(MAX_SCRAPE);
                Ok(Self::Scrape { connection, transaction, hashes: hashes.map(|h| WireHash(*h)).collect() })
            }
            found => Err(TrackerError::WrongAction { expected: ANNOUNCE, found }),
        }
    }
}

impl Response {
    /// Appends the packet. Of an announce's peers, those of the first one's family are sent.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut put = |numbers: &[u32]| out.extend(numbers.iter().flat_map(|number| number.to_be_bytes()));
        match self {
            Self::Connect { transaction, connection } => {
                put(&[CONNECT, *transaction, (connection >> 32) as u32, *connection as u32]);
            }
            Self::Announce { transaction, interval, leechers, seeders, peers } => {
                put(&[ANNOUNCE, *transaction, *interval, *leechers, *seeders]);
                let family = peers.first().map(Family::of);
                peers
                    .iter()
                    .filter(|peer| Some(Family::of(peer)) == family)
                    .for_each(|p| compact::put(p, out));
            }
            Self::Scrape { transaction, swarms } => {
                put(&[SCRAPE, *transaction]);
                swarms.iter().for_each(|swarm| put(&[swarm.seeders, swarm.completed, swarm.leechers]));
            }
            Self::Error { transaction, message } => {
                put(&[ERROR, *transaction]);
                out.extend(message.as_bytes());
            }
        }
    }

    /// Reads a packet that came by a socket of `family`. Fails on one too short or of an unknown
    /// action; what is left of a truncated last peer or swarm is ignored.
    pub fn decode(packet: &[u8], family: Family) -> Result<Self, TrackerError> {
        let mut reader = Reader::new("response", packet, 8)?;
        let (action, transaction) = (reader.u32(), reader.u32());
        match action {
            CONNECT => {
                let connection = Reader::new("connect response", packet, 16)?.skip(8).u64();
                Ok(Self::Connect { transaction, connection })
            }
            ANNOUNCE => {
                let mut reader = Reader::new("announce response", packet, 20)?.skip(8);
                let (interval, leechers, seeders) = (reader.u32(), reader.u32(), reader.u32());
                let mut peers = Vec::new();
                keep_peers(&mut peers, compact::addrs(reader.rest, family));
                Ok(Self::Announce { transaction, interval, leechers, seeders, peers })
            }
            SCRAPE => {
                let swarms = reader.rest.as_chunks::<12>().0.iter().take(MAX_SCRAPE).map(|entry| {
                    let mut numbers = Reader { rest: entry };
                    let (seeders, completed, leechers) = (numbers.u32(), numbers.u32(), numbers.u32());
                    ScrapedSwarm { seeders, completed, leechers }
                });
                Ok(Self::Scrape { transaction, swarms: swarms.collect() })
            }
            ERROR => Ok(Self::Error { transaction, message: text::printable(reader.rest, MAX_TEXT) }),
            found => Err(TrackerError::WrongAction { expected: ERROR, found }),
        }
    }

    /// The connection id, when this answers our connect request.
    pub fn into_connect(self, transaction: u32) -> Result<u64, TrackerError> {
        match self.answering(transaction)? {
            Self::Connect { connection, .. } => Ok(connection),
            other => Err(other.unexpected(CONNECT)),
        }
    }

    /// The answer to our announce, in the form that both protocols share.
    pub fn into_announce(self, transaction: u32) -> Result<AnnounceReply, TrackerError> {
        match self.answering(transaction)? {
            Self::Announce { interval: seconds, leechers, seeders, peers, .. } => Ok(AnnounceReply {
                interval: interval(i64::from(seconds.cast_signed())),
                counts: SwarmCounts {
                    seeders: count(seeders),
                    leechers: count(leechers),
                    ..SwarmCounts::default()
                },
                peers,
                ..AnnounceReply::default()
            }),
            other => Err(other.unexpected(ANNOUNCE)),
        }
    }

    /// The answer to our scrape, in the order of its hashes; shorter when the tracker says less.
    pub fn into_scrape(self, transaction: u32) -> Result<Vec<SwarmCounts>, TrackerError> {
        let counts = |swarm: ScrapedSwarm| SwarmCounts {
            seeders: count(swarm.seeders),
            leechers: count(swarm.leechers),
            completed: count(swarm.completed),
            downloaders: None,
        };
        match self.answering(transaction)? {
            Self::Scrape { swarms, .. } => Ok(swarms.into_iter().map(counts).collect()),
            other => Err(other.unexpected(SCRAPE)),
        }
    }

    fn answering(self, expected: u32) -> Result<Self, TrackerError> {
        match self.head().1 {
            found if found == expected => Ok(self),
            found => Err(TrackerError::WrongTransaction { expected, found }),
        }
    }

    fn unexpected(self, expected: u32) -> TrackerError {
        match self {
            Self::Error { message, .. } => TrackerError::Refused { reason: message, retry: None },
            other => TrackerError::WrongAction { expected, found: other.head().0 },
        }
    }

    fn head(&self) -> (u32, u32) {
        match self {
            Self::Connect { transaction, .. } => (CONNECT, *transaction),
            Self::Announce { transaction, .. } => (ANNOUNCE, *transaction),
            Self::Scrape { transaction, .. } => (SCRAPE, *transaction),
            Self::Error { transaction, .. } => (ERROR, *transaction),
        }
    }
}

/// A count, none where it would be negative: the numbers of BEP 15 are signed to many trackers.
fn count(number: u32) -> Option<u32> {
    (number <= i32::MAX as u32).then_some(number)
}

fn put_head(out: &mut Vec<u8>, connection: u64, action: u32, transaction: u32) {
    out.extend(connection.to_be_bytes());
    out.extend(action.to_be_bytes());
    out.extend(transaction.to_be_bytes());
}

fn put_announce(out: &mut Vec<u8>, announce: &Announce, ip: Ipv4Addr) {
    let event: u32 = match announce.event {
        None | Some(Event::Paused) => 0,
        Some(Event::Completed) => 1,
        Some(Event::Started) => 2,
        Some(Event::Stopped) => 3,
    };
    let num_want = announce.num_want.map_or(-1, |n| i32::try_from(n).unwrap_or(i32::MAX));
    out.extend(announce.hash.0);
    out.extend(announce.peer_id.0);
    for number in [announce.downloaded, announce.left, announce.uploaded] {
        out.extend(number.to_be_bytes());
    }
    out.extend(event.to_be_bytes());
    out.extend(ip.octets());
    out.extend(announce.key.to_be_bytes());
    out.extend(num_want.to_be_bytes());
    out.extend(announce.port.to_be_bytes());
}

fn take_announce(reader: &mut Reader<'_>) -> (Announce, Option<Ipv4Addr>) {
    let (hash, peer_id) = (WireHash(reader.array()), PeerId(reader.array()));
    let (downloaded, left, uploaded) = (reader.u64(), reader.u64(), reader.u64());
    let event = match reader.u32() {
        1 => Some(Event::Completed),
        2 => Some(Event::Started),
        3 => Some(Event::Stopped),
        _ => None,
    };
    let ip = Ipv4Addr::from(reader.u32());
    let (key, num_want) = (reader.u32(), reader.u32());
    let port = u16::from_be_bytes(reader.array());
    let num_want = count(num_want);
    let announce = Announce { hash, peer_id, port, uploaded, downloaded, left, event, key, num_want };
    (announce, Some(ip).filter(|ip| !ip.is_unspecified()))
}

fn put_url_data(out: &mut Vec<u8>, url_data: &[u8]) {
    if url_data.is_empty() {
        out.extend([URL_DATA, 0]);
    }
    for part in url_data.chunks(255) {
        out.extend([URL_DATA, part.len() as u8]);
        out.extend(part);
    }
}

/// The URL data among the options, joined; other options are skipped, a truncated one ends them.
fn take_url_data(mut options: &[u8]) -> Option<Vec<u8>> {
    let mut data = None;
    while let Some((&kind, rest)) = options.split_first() {
        options = match kind {
            END_OF_OPTIONS => break,
            NOP => rest,
            _ => {
                let Some((body, after)) =
                    rest.split_first().and_then(|(&len, rest)| rest.split_at_checked(len.into()))
                else {
                    break;
                };
                if kind == URL_DATA {
                    data.get_or_insert_with(Vec::new).extend_from_slice(body);
                }
                after
            }
        };
    }
    data
}

/// Takes numbers off the front of a packet whose length has been looked at first.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn new(what: &'static str, packet: &'a [u8], expected: usize) -> Result<Self, TrackerError> {
        if packet.len() < expected {
            return Err(TrackerError::Truncated { what, expected, found: packet.len() });
        }
        Ok(Self { rest: packet })
    }

    fn skip(mut self, bytes: usize) -> Self {
        self.rest = self.rest.get(bytes..).unwrap_or(&[]);
        self
    }

    /// The next `N` bytes; zeros past the end, which `new` has ruled out.
    fn array<const N: usize>(&mut self) -> [u8; N] {
        let (front, rest) = self.rest.split_first_chunk().unwrap_or((&[0; N], &[]));
        self.rest = rest;
        *front
    }

    fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.array())
    }

    fn u64(&mut self) -> u64 {
        u64::from_be_bytes(self.array())
    }
}

#[cfg(test)]
mod tests;
