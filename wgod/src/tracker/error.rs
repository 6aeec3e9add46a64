//! Why an announce or a scrape failed, in words that tell the operator what to do.
//!
//! A tracker's URL often ends in a passkey, so no variant holds a path or a query: the host at most.
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use wgo_proto::tracker::{self as proto, Retry};

use crate::proxy::ProxyError;

/// What became of an announce or a scrape that got no answer of use. Cloned, since two address
/// families may share one.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TrackerError {
    /// The text isn't a URL.
    #[error("not a tracker's URL: {why}")]
    Url {
        /// What is wrong with it.
        why: String,
    },
    /// The URL is of a protocol that no tracker of ours speaks.
    #[error("a tracker's URL begins with http:, https: or udp:, not with {scheme}:")]
    Scheme {
        /// The protocol it names.
        scheme: String,
    },
    /// The URL says itself what an announce says.
    #[error("a tracker's URL may not say itself what is announced, as this one does with \"{parameter}=\"")]
    Baked {
        /// The parameter.
        parameter: &'static str,
    },
    /// It would have us ask a service of this machine that isn't a tracker.
    #[error("{host} is this machine: here a tracker's path must begin with /announce")]
    Forbidden {
        /// The tracker's name, or that of a redirect.
        host: String,
    },
    /// It would have the proxy ask a service of its own machine.
    #[error("{host} is the proxy's own machine, where no tracker is asked")]
    ProxysOwn {
        /// The tracker's name, or that of a redirect.
        host: String,
    },
    /// The proxy, or what it says of the tracker.
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    /// The URL doesn't follow the convention by which a scrape URL is made (BEP 48).
    #[error("this tracker can't be scraped: no part of its URL's path begins with \"announce\"")]
    NoScrape,
    /// The name has no address.
    #[error("cannot resolve {host}: {source}")]
    Resolve {
        /// The tracker's name, or that of a redirect.
        host: String,
        /// The resolver's answer.
        source: Arc<io::Error>,
    },
    /// The name server did not answer.
    #[error("cannot resolve {host}: no answer from the name server within {after:?}")]
    ResolveTimedOut {
        /// The tracker's name, or that of a redirect.
        host: String,
        /// How long we waited.
        after: Duration,
    },
    /// All addresses are of the family that `network.ip` leaves out, or a redirect led to such a host.
    #[error("{host} has no {wanted} address; network.ip or the redirect that led there allows no other")]
    NoAddress {
        /// The tracker's name, or that of a redirect.
        host: String,
        /// "IPv4" or "IPv6".
        wanted: &'static str,
    },
    /// What we are bound to is missing: nothing was sent.
    #[error("not asked: {why}")]
    Closed {
        /// What is missing, as in "interface wg0 is missing".
        why: String,
    },
    /// What we are bound to changed meanwhile.
    #[error("given up: the network changed meanwhile")]
    Changed,
    /// No connection, or the system refused to send: refused, no route, a local address that isn't ours.
    #[error("cannot reach {host}{}: {source}", .local.map(|ip| format!(" from {ip}")).unwrap_or_default())]
    Connect {
        /// The tracker.
        host: String,
        /// The address of `network.ip` that we were to use.
        local: Option<IpAddr>,
        /// The system's answer.
        source: Arc<io::Error>,
    },
    /// The TLS handshake failed, mostly for the tracker's certificate.
    #[error("no secure connection to {host}: {why}")]
    Tls {
        /// The tracker.
        host: String,
        /// What the TLS library says.
        why: String,
    },
    /// Nothing to judge a certificate by.
    #[error(
        "no secure connection to {host}: this system has no certificate authorities; install its \
         ca-certificates package or set SSL_CERT_FILE, and restart wgod"
    )]
    NoAuthorities {
        /// The tracker.
        host: String,
    },
    /// No answer in time.
    #[error("timed out after {after:?}, {doing}")]
    TimedOut {
        /// How long we waited.
        after: Duration,
        /// For what, as in "connecting".
        doing: &'static str,
    },
    /// Too many others want the same tracker, or any: it was never asked.
    #[error("no turn within {after:?}: too many announces to this tracker, or to slow ones, are waiting")]
    Busy {
        /// How long we waited.
        after: Duration,
    },
    /// The connection ended early, or what came isn't HTTP.
    #[error("no whole answer: {why}")]
    Broken {
        /// What the HTTP library says.
        why: String,
    },
    /// A redirect that isn't followed.
    #[error("redirect refused: {why}")]
    Redirect {
        /// Why not.
        why: String,
    },
    /// An answer that isn't a success, without a reason in bencode.
    #[error("HTTP status {status}{}", .reason.map(|text| format!(" {text}")).unwrap_or_default())]
    Status {
        /// Such as 404.
        status: u16,
        /// Its usual meaning.
        reason: Option<&'static str>,
        /// The tracker's `Retry-After`, in seconds on the wire.
        retry: Option<Duration>,
    },
    /// The body is longer than any honest answer.
    #[error("an answer of more than {limit} bytes")]
    TooLarge {
        /// The most we take.
        limit: usize,
    },
    /// The tracker's own refusal, or an answer that makes no sense.
    #[error(transparent)]
    Answer(#[from] proto::TrackerError),
    /// Our side failed before anything was sent.
    #[error("cannot {what}: {source}")]
    System {
        /// As in "open a socket at 192.0.2.1".
        what: String,
        /// The system's answer.
        source: Arc<io::Error>,
    },
    /// The HTTP client can't be set up.
    #[error("cannot set up the HTTP client for trackers: {why}")]
    Client {
        /// What it says.
        why: String,
    },
    /// The daemon is stopping.
    #[error("wgod is stopping")]
    Stopping,
}

impl TrackerError {
    /// When the tracker may be asked again: its own word, or never for a URL of no use. `None` leaves
    /// it to the caller's back-off.
    pub fn retry(&self) -> Option<Retry> {
        match self {
            Self::Answer(proto::TrackerError::Refused { retry, .. }) => *retry,
            Self::Status { retry, .. } => retry.map(Retry::After),
            Self::Url { .. } | Self::Scheme { .. } | Self::Baked { .. } => Some(Retry::Never),
            _ => None,
        }
    }

    /// How much this says about the tracker: of two failures, one by each address family, the operator
    /// sees the one that says more.
    pub(super) fn weight(&self) -> u8 {
        match self {
            Self::Answer(proto::TrackerError::Refused { .. }) => 4,
            Self::Answer(_)
            | Self::Status { .. }
            | Self::TooLarge { .. }
            | Self::Redirect { .. }
            | Self::ProxysOwn { .. }
            | Self::Forbidden { .. } => 3,
            Self::Tls { .. } | Self::NoAuthorities { .. } | Self::Broken { .. } => 2,
            Self::Connect { source, .. } if source.kind() != io::ErrorKind::NetworkUnreachable => 1,
            Self::TimedOut { .. } => 1,
            _ => 0,
        }
    }

    /// Whether all other requests to the same tracker would fail as well, this one having had no answer.
    pub(super) fn is_unreachable(&self) -> bool {
        let unresolved =
            matches!(self, Self::Resolve { .. } | Self::ResolveTimedOut { .. } | Self::NoAddress { .. });
        unresolved || matches!(self, Self::Proxy(_)) || self.blames_the_address()
    }

    /// Whether another address of the same name may do better.
    pub(super) fn blames_the_address(&self) -> bool {
        matches!(self, Self::Connect { .. } | Self::TimedOut { .. } | Self::Tls { .. } | Self::Broken { .. })
    }
}
