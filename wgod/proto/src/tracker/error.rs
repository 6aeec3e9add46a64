//! What a tracker can answer that isn't what we asked for.
use std::time::Duration;

use crate::bencode::BencodeError;

/// Why an answer, or a request, is not usable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrackerError {
    /// The tracker refuses and says why (BEP 3, 15, 31).
    #[error("the tracker refuses: {reason}")]
    Refused {
        /// In the tracker's words.
        reason: String,
        /// When it would be asked again, if it says so.
        retry: Option<Retry>,
    },
    /// The body of an HTTP answer isn't bencode (BEP 3).
    #[error("not a tracker's answer, {error}: \"{start}\"")]
    Nonsense {
        /// What is wrong with it.
        error: BencodeError,
        /// How it begins, made printable.
        start: String,
    },
    /// The body of an HTTP answer is bencode, but no dictionary (BEP 3).
    #[error("not a tracker's answer, no dictionary: \"{start}\"")]
    NotDict {
        /// How it begins, made printable.
        start: String,
    },
    /// A packet too short for what it claims to be (BEP 15).
    #[error("{what} of {found} bytes, it takes {expected}")]
    Truncated {
        /// Kind of packet.
        what: &'static str,
        /// Bytes that it has at least.
        expected: usize,
        /// Bytes that came.
        found: usize,
    },
    /// An answer to another request, a late one or a forged one: not to be acted upon (BEP 15).
    #[error("transaction {found:#010x}, expected {expected:#010x}")]
    WrongTransaction {
        /// The one of the request.
        expected: u32,
        /// The one that came.
        found: u32,
    },
    /// A packet of another kind than asked for (BEP 15).
    #[error("action {found}, expected {expected}")]
    WrongAction {
        /// The one of the request.
        expected: u32,
        /// The one that came.
        found: u32,
    },
    /// A connect request without the number that opens each (BEP 15).
    #[error("not a connect request, it begins with {found:#018x}")]
    WrongProtocol {
        /// Its first eight bytes.
        found: u64,
    },
}

/// When a tracker that refused may be asked again (BEP 31).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Not in this life.
    Never,
    /// After this long, at most [`MAX_INTERVAL`](super::MAX_INTERVAL).
    After(Duration),
}
