//! One of our ports, and what the gateway gave for it.
use std::net::Ipv4Addr;
use std::time::Duration;

use wgo_proto::portmap::{Transport, pcp};

use super::Protocol;
use crate::Time;

/// A mapping is renewed after this at the latest, however long its lease: a gateway that restarted may have
/// forgotten it, and UPnP has no other way to tell.
pub(super) const LONGEST_TRUST: Duration = Duration::from_secs(10 * 60);
/// What a lease may last at most; more is taken for this.
const LONGEST_LEASE: Duration = Duration::from_secs(24 * 3600);

/// A port that is to be reached from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Want {
    /// What it carries.
    pub transport: Transport,
    /// Its number.
    pub port: u16,
    /// What PCP knows the mapping by: not to be guessed, and the same after a crash, since without it the mapping
    /// that was left behind can't be taken over.
    pub nonce: pcp::Nonce,
}

/// A mapping in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// How it was got.
    pub protocol: Protocol,
    /// The port outside.
    pub external: u16,
    /// The address outside, if the gateway told.
    pub address: Option<Ipv4Addr>,
    /// When it was given or renewed last.
    pub since: Time,
    /// When it ends; `None`: never by itself.
    pub until: Option<Time>,
}

#[derive(Clone, Debug)]
pub(super) struct Forward {
    pub(super) want: Want,
    /// The port outside that is asked for.
    pub(super) external: u16,
    pub(super) lease: Option<Lease>,
    /// When it is asked for next.
    pub(super) due: Time,
    /// Why it was refused last, while others weren't.
    pub(super) refusal: Option<String>,
    /// Ports outside that others had, in a row.
    pub(super) conflicts: u32,
}

impl Forward {
    pub(super) fn new(want: Want) -> Forward {
        Forward { want, external: want.port, lease: None, due: Time::ZERO, refusal: None, conflicts: 0 }
    }

    /// As if nothing had been asked for yet.
    pub(super) fn forget(&mut self) {
        *self = Forward::new(self.want);
    }

    /// It is asked for by a protocol from the beginning. The port outside that others know is preferred.
    pub(super) fn begin(&mut self, now: Time) {
        (self.due, self.refusal, self.conflicts) = (now, None, 0);
        self.external = self.lease.map_or(self.want.port, |lease| lease.external);
    }

    pub(super) fn expire(&mut self, now: Time) {
        if self.lease.and_then(|lease| lease.until).is_some_and(|until| until <= now) {
            self.lease = None;
        }
    }

    /// It was given for so long; `None`: for ever.
    pub(super) fn grant(
        &mut self,
        now: Time,
        protocol: Protocol,
        external: u16,
        address: Option<Ipv4Addr>,
        lifetime: Option<Duration>,
    ) {
        let lifetime = lifetime.map(|lifetime| lifetime.min(LONGEST_LEASE));
        let until = lifetime.map(|lifetime| now + lifetime);
        self.lease = Some(Lease { protocol, external, address, since: now, until });
        self.due = now + lifetime.map_or(LONGEST_TRUST, |lifetime| (lifetime / 2).min(LONGEST_TRUST));
        (self.external, self.refusal, self.conflicts) = (external, None, 0);
    }
}
