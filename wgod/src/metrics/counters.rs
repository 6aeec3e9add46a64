//! What the parts of the daemon count for [`metrics`](super): each event is one relaxed addition, at most one
//! for each piece, round or announce.
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use wgo_core::peer::{Encryption, PeerInfo};

use crate::peer::{HandshakeFailed, NotEncrypted};
use crate::tracker::TrackerError;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// One more.
    pub fn one_more(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// How many there were.
    pub fn total(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Everything that is counted since the daemon started.
#[derive(Debug, Default)]
pub struct Counters {
    /// Received pieces that matched their hash and were written.
    pub pieces_stored: Count,
    /// Received pieces that did not match their hash.
    pub hash_failures: Count,
    /// Times that a file could not be read or written.
    pub disk_errors: Count,
    /// Rankings of all peers.
    pub choke_rounds: Count,
    /// Announces, by how they ended.
    pub announces: Announces,
    /// Handshakes with peers, by how they ended.
    pub handshakes: Handshakes,
    /// Local service discovery.
    pub lsd: Neighbours,
    /// How late the event loop ran what was due.
    pub lag: Lag,
}

/// What local service discovery did.
#[derive(Debug, Default)]
pub struct Neighbours {
    /// Announcements of ours, on each link.
    pub sent: Count,
    /// Announcements of neighbours that were of torrents of ours.
    pub heard: Count,
    /// Datagrams that were no announcements.
    pub malformed: Count,
    /// Announcements of who is no neighbour.
    pub foreign: Count,
}

/// Handshakes with peers by how they ended.
#[derive(Debug, Default)]
pub struct Handshakes {
    /// In the order of [`Handshakes::ENCRYPTIONS`].
    done: [Count; 3],
    failed: [Count; Handshakes::KINDS.len()],
}

impl Handshakes {
    /// What is encrypted of a connection: nothing, the handshake, all.
    pub const ENCRYPTIONS: [&str; 3] = ["none", "handshake", "rc4"];

    /// Why a handshake failed, as far as an alarm has to know: the connection broke or took too long; it was no
    /// BitTorrent; it was for a torrent that is not active here; it was for another torrent than the one asked
    /// for; it could not be encrypted; it was plain where encryption is required; it made
    /// room for others, as every place was taken.
    pub const KINDS: [&str; 7] =
        ["closed", "malformed", "unknown_torrent", "wrong_torrent", "encryption", "not_encrypted", "crowded"];

    /// Counts one that led to a connection.
    pub fn done(&self, info: &PeerInfo) {
        let encryption = match info.encryption {
            Encryption::None => 0,
            Encryption::Handshake => 1,
            Encryption::Rc4 => 2,
        };
        self.done[encryption].one_more();
    }

    /// Counts one that failed.
    pub fn failed(&self, why: &HandshakeFailed) {
        let kind = match why {
            HandshakeFailed::Io(_) => 0,
            HandshakeFailed::Malformed(_) => 1,
            HandshakeFailed::Unknown(_) | HandshakeFailed::NotEncrypted(NotEncrypted::Unknown) => 2,
            HandshakeFailed::WrongTorrent(_) => 3,
            HandshakeFailed::NotEncrypted(_) => 4,
            HandshakeFailed::Plain => 5,
        };
        self.failed[kind].one_more();
    }

    /// Counts one that was given up since others waited for its place.
    pub fn crowded_out(&self) {
        self.failed[6].one_more();
    }

    /// Those that led to a connection, in the order of [`ENCRYPTIONS`](Self::ENCRYPTIONS).
    pub fn totals(&self) -> [u64; 3] {
        std::array::from_fn(|encryption| self.done[encryption].total())
    }

    /// Those that failed, in the order of [`KINDS`](Self::KINDS).
    pub fn failures(&self) -> [u64; Handshakes::KINDS.len()] {
        std::array::from_fn(|kind| self.failed[kind].total())
    }
}

/// Announces by how they ended.
#[derive(Debug, Default)]
pub struct Announces {
    answered: Count,
    failed: [Count; Trouble::ALL.len()],
}

impl Announces {
    /// Counts one that ended. What the end of the daemon cut short is none.
    pub fn ended<T>(&self, result: &Result<T, TrackerError>) {
        match result {
            Ok(_) => self.answered.one_more(),
            Err(TrackerError::Stopping) => {}
            Err(error) => self.failed[Trouble::of(error) as usize].one_more(),
        }
    }

    /// Those that were answered.
    pub fn answered(&self) -> u64 {
        self.answered.total()
    }

    /// Those that failed, by the name of the trouble.
    pub fn failed(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Trouble::ALL.iter().zip(&self.failed).map(|(trouble, count)| (trouble.name(), count.total()))
    }
}

/// Why an announce failed, as far as an alarm has to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The tracker said no.
    Refused,
    /// It answered what makes no sense, or an HTTP status that is no success.
    BadAnswer,
    /// It did not answer in time.
    Timeout,
    /// No connection.
    Unreachable,
    /// Its name has no address, or none that we may use.
    Resolve,
    /// Its certificate, or the lack of authorities to judge it by.
    Tls,
    /// It was never asked: too many others wait.
    Busy,
    /// Its URL is of no use, or our side failed.
    Other,
}

impl Trouble {
    /// All, in the order in which they are counted.
    pub const ALL: [Trouble; 8] = [
        Trouble::Refused,
        Trouble::BadAnswer,
        Trouble::Timeout,
        Trouble::Unreachable,
        Trouble::Resolve,
        Trouble::Tls,
        Trouble::Busy,
        Trouble::Other,
    ];

    fn name(self) -> &'static str {
        match self {
            Trouble::Refused => "refused",
            Trouble::BadAnswer => "bad_answer",
            Trouble::Timeout => "timeout",
            Trouble::Unreachable => "unreachable",
            Trouble::Resolve => "resolve",
            Trouble::Tls => "tls",
            Trouble::Busy => "busy",
            Trouble::Other => "other",
        }
    }

    fn of(error: &TrackerError) -> Trouble {
        use wgo_proto::tracker::TrackerError as Answer;
        match error {
            TrackerError::Answer(Answer::Refused { .. }) => Trouble::Refused,
            TrackerError::Answer(_)
            | TrackerError::Broken { .. }
            | TrackerError::Redirect { .. }
            | TrackerError::Status { .. }
            | TrackerError::TooLarge { .. } => Trouble::BadAnswer,
            TrackerError::TimedOut { .. } => Trouble::Timeout,
            TrackerError::Connect { .. } | TrackerError::Closed { .. } | TrackerError::Proxy(_) => {
                Trouble::Unreachable
            }
            TrackerError::Resolve { .. }
            | TrackerError::ResolveTimedOut { .. }
            | TrackerError::NoAddress { .. } => Trouble::Resolve,
            TrackerError::Tls { .. } | TrackerError::NoAuthorities { .. } => Trouble::Tls,
            TrackerError::Busy { .. } => Trouble::Busy,
            TrackerError::Url { .. }
            | TrackerError::Baked { .. }
            | TrackerError::Forbidden { .. }
            | TrackerError::ProxysOwn { .. }
            | TrackerError::Scheme { .. }
            | TrackerError::NoScrape
            | TrackerError::System { .. }
            | TrackerError::Client { .. }
            | TrackerError::Changed
            | TrackerError::Stopping => Trouble::Other,
        }
    }
}

/// How late the event loop is: a histogram of the samples that `serve` takes.
#[derive(Debug, Default)]
pub struct Lag {
    within: [Count; Lag::BOUNDS.len()],
    samples: Count,
    nanos: AtomicU64,
}

impl Lag {
    /// Upper bounds of the histogram in seconds. A timer is late by up to a millisecond on an idle machine;
    /// a second is what connections begin to notice.
    pub const BOUNDS: [f64; 7] = [0.002, 0.005, 0.02, 0.1, 0.5, 1.0, 5.0];

    /// Counts a sample.
    pub fn observe(&self, late: Duration) {
        let secs = late.as_secs_f64();
        for (_, count) in Lag::BOUNDS.iter().zip(&self.within).filter(|(bound, _)| secs <= **bound) {
            count.one_more();
        }
        self.nanos.fetch_add(u64::try_from(late.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.samples.one_more();
    }

    /// The samples so far.
    pub fn read(&self) -> LagSnapshot {
        let samples = self.samples.total();
        LagSnapshot {
            within: std::array::from_fn(|bound| self.within[bound].total()),
            samples,
            sum: Duration::from_nanos(self.nanos.load(Ordering::Relaxed)),
        }
    }
}

/// The samples of [`Lag`] at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LagSnapshot {
    /// How many were within each of [`Lag::BOUNDS`].
    pub within: [u64; Lag::BOUNDS.len()],
    /// How many there were.
    pub samples: u64,
    /// All of them together.
    pub sum: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handshakes_are_counted_by_what_went_wrong() {
        use HandshakeFailed as F;
        let handshakes = Handshakes::default();
        let hash = wgo_proto::WireHash([0; 20]);
        let late = || std::io::Error::from(std::io::ErrorKind::TimedOut);
        let bad_key = NotEncrypted::Malformed(wgo_proto::mse::MseError::BadKey);
        for why in [
            F::Io(late()),
            F::Malformed(wgo_proto::wire::HandshakeError { found: [0; 20] }),
            F::Unknown(hash),
            F::NotEncrypted(NotEncrypted::Unknown),
            F::WrongTorrent(hash),
            F::NotEncrypted(NotEncrypted::Io(late())),
            F::NotEncrypted(bad_key),
            F::Plain,
        ] {
            handshakes.failed(&why);
        }
        handshakes.crowded_out();
        assert_eq!(handshakes.failures(), [1, 1, 2, 1, 2, 1, 1]);
    }

    #[test]
    fn announces_are_counted_by_what_went_wrong() {
        let announces = Announces::default();
        announces.ended(&Ok(()));
        let late = TrackerError::TimedOut { after: Duration::from_secs(1), doing: "connecting" };
        for error in
            [late.clone(), late, TrackerError::NoAuthorities { host: "t".into() }, TrackerError::Stopping]
        {
            announces.ended::<()>(&Err(error));
        }
        assert_eq!(announces.answered(), 1);
        let failed: Vec<_> = announces.failed().filter(|(_, count)| *count > 0).collect();
        assert_eq!(failed, [("timeout", 2), ("tls", 1)]);
    }

    #[test]
    fn every_trouble_has_a_place_and_a_name_of_its_own() {
        for (place, trouble) in Trouble::ALL.into_iter().enumerate() {
            assert_eq!(trouble as usize, place);
        }
        let mut names: Vec<_> = Trouble::ALL.iter().map(|trouble| trouble.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Trouble::ALL.len());
    }

    #[test]
    fn a_sample_counts_in_every_bound_that_it_is_within() {
        let lag = Lag::default();
        for millis in [1, 10, 10_000] {
            lag.observe(Duration::from_millis(millis));
        }
        let read = lag.read();
        assert_eq!(read.within, [1, 1, 2, 2, 2, 2, 2]);
        assert_eq!((read.samples, read.sum), (3, Duration::from_millis(10_011)));
    }
}
