//! Why something did not go by the proxy, in words that name it.
use std::io;
use std::sync::Arc;
use std::time::Duration;

use wgo_proto::proxy::{connect, socks5};

/// What went wrong with a proxy, or beyond it. Cloned, since many may wait for the same proxy.
#[derive(Clone, Debug, thiserror::Error)]
#[error("proxy {proxy}: {why}")]
pub struct ProxyError {
    /// The proxy, without user and password.
    pub proxy: Arc<str>,
    /// What it was.
    pub why: Why,
}

/// What went wrong.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Why {
    /// Its own name has no address.
    #[error("its name can't be looked up: {0}")]
    Resolve(Arc<io::Error>),
    /// All its addresses are of a family that `network.ip` leaves out.
    #[error("it has no address that may be reached from those of `[network] ip`")]
    Family,
    /// No connection to it.
    #[error("it can't be reached: {0}")]
    Connect(Arc<io::Error>),
    /// It is there and says nothing.
    #[error("it doesn't answer within {0:?}")]
    Silent(Duration),
    /// The connection ended before it was asked for anything.
    #[error("it hung up during the handshake: {0}")]
    HungUp(Arc<io::Error>),
    /// It speaks another protocol, or doesn't take our login.
    #[error("{0}")]
    Socks5(socks5::Fault),
    /// The same of an HTTP proxy.
    #[error("{0}")]
    Http(connect::Fault),
    /// It would not do what was asked, or could not.
    #[error("can't {what}: {why}")]
    Refused {
        /// As in "connect to 192.0.2.1:6881".
        what: String,
        /// In its own terms.
        why: String,
    },
    /// Nothing was heard of what was asked.
    #[error("can't {what}: no answer within {after:?}")]
    Late {
        /// As above.
        what: String,
        /// How long we waited.
        after: Duration,
    },
    /// It was asked, and then the connection ended.
    #[error("can't {what}: it hung up instead of an answer: {error}")]
    Unanswered {
        /// As above.
        what: String,
        /// How it ended.
        error: Arc<io::Error>,
    },
    /// UDP and an HTTP proxy.
    #[error(
        "an HTTP proxy carries no UDP, and what it is for doesn't go round it; a SOCKS5 proxy may carry it"
    )]
    NoUdp,
    /// Our side failed.
    #[error("cannot {what}: {error}")]
    System {
        /// As in "open a socket".
        what: &'static str,
        /// The system's answer.
        error: Arc<io::Error>,
    },
    /// It failed a moment ago, and isn't asked yet again.
    #[error("{why}; it is tried again in {} s", .again.as_secs() + 1)]
    Down {
        /// How it failed.
        why: Box<Why>,
        /// When it is tried.
        again: Duration,
    },
}

impl Why {
    /// Whether anything else would fail as well that goes by the proxy.
    pub fn is_the_proxys(&self) -> bool {
        match self {
            Why::Resolve(_)
            | Why::Family
            | Why::Connect(_)
            | Why::Silent(_)
            | Why::HungUp(_)
            | Why::Down { .. } => true,
            Why::Socks5(fault) => !matches!(fault, socks5::Fault::Refused(_)),
            Why::Http(fault) => !matches!(fault, connect::Fault::Refused(_)),
            Why::Refused { .. }
            | Why::Late { .. }
            | Why::Unanswered { .. }
            | Why::NoUdp
            | Why::System { .. } => false,
        }
    }
}
