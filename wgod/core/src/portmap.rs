//! PortMap: has the gateway that translates our address let peers in, and keeps it so.
//!
//! A ladder of protocols is tried, one after the other, since each may answer for the same gateway and two mappings
//! of one port would be in each other's way: PCP (RFC 6887), NAT-PMP (RFC 6886), UPnP. What works is
//! kept: leases are renewed at half their time, and all of them when the gateway has forgotten them. When nothing
//! works the ladder is tried again, more and more rarely.
//!
//! One request is under way at a time (RFC 6886 section 3.1). The shell carries out [`Action`]s, and hands in what
//! comes from the gateway, and nothing from anybody else.
mod answers;
mod epoch;
mod forward;

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::time::Duration;

use wgo_proto::portmap::upnp::{Call, Fault};
use wgo_proto::portmap::{nat_pmp, pcp};

use crate::Time;
use epoch::Epoch;
use forward::Forward;
pub use forward::{Lease, Want};

/// What a lease is asked for: that of RFC 6886 section 3.3.
const LEASE: Duration = Duration::from_secs(7200);
/// A request is repeated after this, then after twice the time: a gateway is one hop away (RFC 6886 section 3.1).
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// Times that a request is sent before the next protocol is tried: for 1.75 s in all.
const TRIES: u32 = 3;
/// The same where the gateway has answered by this protocol before: for half a minute, as it may be busy.
const TRIES_WHERE_IT_WORKED: u32 = 7;
/// What UPnP takes at most; the shell has limits of its own, which are shorter.
const UPNP_LIMIT: Duration = Duration::from_secs(60);
/// The pause after nothing worked, at first and at last: each is twice the one before.
const FIRST_REST: Duration = Duration::from_secs(30);
const LONGEST_REST: Duration = Duration::from_secs(3600);
/// The pause after one of our ports was refused and another wasn't.
const REFUSED_PAUSE: Duration = Duration::from_secs(300);
/// How old the gateway's address outside may be when a mapping is renewed.
const ADDRESS_AGE: Duration = Duration::from_secs(10);
/// A gateway that says again and again that it restarted is believed this often.
const BELIEF_PAUSE: Duration = Duration::from_secs(10);
/// Hosts spread over this time what they ask of a gateway that restarted (RFC 6887 section 14.1.3).
const SPREAD_MILLIS: u64 = 5000;

/// How a port is mapped, in the order in which it is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// RFC 6887.
    Pcp,
    /// RFC 6886.
    NatPmp,
    /// An Internet Gateway Device.
    Upnp,
}

impl Protocol {
    /// All, in order.
    pub const ALL: [Protocol; 3] = [Protocol::Pcp, Protocol::NatPmp, Protocol::Upnp];

    fn next(self) -> Option<Protocol> {
        match self {
            Protocol::Pcp => Some(Protocol::NatPmp),
            Protocol::NatPmp => Some(Protocol::Upnp),
            Protocol::Upnp => None,
        }
    }
}

/// How we reach the network outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// The gateway.
    pub gateway: Ipv4Addr,
    /// Our address towards it.
    pub local: Ipv4Addr,
}

/// What is known of a protocol at this gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// Not tried: one before it works, or there is no gateway.
    #[default]
    Untried,
    /// Its answer is awaited for the first time.
    Trying,
    /// It is not answered.
    Silent,
    /// It is refused, or what came is of no use.
    Refused(String),
    /// It maps.
    Working,
}

/// Where the whole stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// There is nothing to do.
    Idle,
    /// This protocol is tried, or works.
    Active(Protocol),
    /// Nothing worked; the ladder is tried again then.
    Resting {
        /// Since when.
        since: Time,
        /// Until when.
        until: Time,
    },
}

/// What the shell does for us. A number is handed back with what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Sends a datagram to the gateway, to [`GATEWAY_PORT`](wgo_proto::portmap::GATEWAY_PORT).
    Send(Vec<u8>),
    /// Looks for the gateway by UPnP.
    Find(u64),
    /// Calls what was found.
    Call(u64, Call),
}

/// What came of UPnP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// The gateway was found.
    Found,
    /// A call was carried out; the address, where that was asked for.
    Done(Option<Ipv4Addr>),
    /// A call was refused.
    Refused(Fault),
    /// Nobody answered.
    Silent,
    /// What came is of no use.
    Failed(String),
}

/// What is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    Find,
    Address,
    Map(usize),
}

#[derive(Clone, Copy, Debug)]
struct Pending {
    work: Work,
    /// Times that it was sent.
    tries: u32,
    until: Time,
    /// Which answer of UPnP belongs to it.
    id: u64,
}

/// The port mapping of one daemon.
#[derive(Debug)]
pub struct PortMap {
    rng: fastrand::Rng,
    link: Option<Link>,
    forwards: Vec<Forward>,
    phase: Phase,
    standings: [Standing; Protocol::ALL.len()],
    pending: Option<Pending>,
    /// The gateway's address outside, if it said one, and when it was asked.
    address: Option<(Option<Ipv4Addr>, Time)>,
    epoch: Option<Epoch>,
    rest: Duration,
    /// Whether the protocol in use has mapped something.
    proven: bool,
    /// Whether the gateway was found by UPnP.
    found: bool,
    /// Whether the gateway knows mappings by UPnP without end only.
    permanent: bool,
    /// What the shell is to do: one request at most.
    outbox: VecDeque<Action>,
    last_id: u64,
}

impl PortMap {
    /// To map `wants`, once there is a link. `seed` makes what shall not be alike in all hosts.
    pub fn new(seed: u64, wants: &[Want]) -> PortMap {
        PortMap {
            rng: fastrand::Rng::with_seed(seed),
            link: None,
            forwards: wants.iter().map(|want| Forward::new(*want)).collect(),
            phase: Phase::Idle,
            standings: Default::default(),
            pending: None,
            address: None,
            epoch: None,
            rest: FIRST_REST,
            proven: false,
            found: false,
            permanent: false,
            outbox: VecDeque::new(),
            last_id: 0,
        }
    }

    /// How we reach the network outside now; `None`: there is no gateway that could be asked, or no need to.
    /// What another gateway or address was told is forgotten.
    pub fn set_link(&mut self, now: Time, link: Option<Link>) {
        if link == self.link {
            return;
        }
        self.link = link;
        self.standings = Default::default();
        self.rest = FIRST_REST;
        self.stop_waiting();
        for forward in &mut self.forwards {
            forward.forget();
        }
        match link {
            Some(_) => self.enter(now, Protocol::Pcp),
            None => self.phase = Phase::Idle,
        }
    }

    /// Something is due.
    pub fn handle_timeout(&mut self, now: Time) {
        for forward in &mut self.forwards {
            forward.expire(now);
        }
        if let Phase::Resting { until, .. } = self.phase
            && until <= now
        {
            self.enter(now, Protocol::Pcp);
        }
        if let (Phase::Active(_), true) = (self.phase, self.proven && !self.is_mapped()) {
            // All that there was has run out, refused again and again.
            self.begin_rest(now);
        }
        if let Some(pending) = self.pending.filter(|pending| pending.until <= now) {
            let tries = if self.proven { TRIES_WHERE_IT_WORKED } else { TRIES };
            match pending.work {
                Work::Map(_) | Work::Address if self.is_datagram() && pending.tries < tries => {
                    self.send(now, pending.work, pending.tries);
                }
                _ => self.on_silence(now),
            }
        }
        self.advance(now);
    }

    /// When something is due next.
    pub fn next_timeout(&self) -> Option<Time> {
        let pending = self.pending.map(|pending| pending.until);
        let phase = match (self.phase, pending) {
            (Phase::Resting { until, .. }, _) => Some(until),
            (Phase::Active(_), None) => self.forwards.iter().map(|forward| forward.due).min(),
            (Phase::Idle | Phase::Active(_), _) => None,
        };
        let ends = self.forwards.iter().filter_map(|forward| forward.lease?.until);
        ends.chain(pending).chain(phase).min()
    }

    /// What is to be done next.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.outbox.pop_front()
    }

    /// What is to be mapped.
    pub fn wants(&self) -> impl Iterator<Item = Want> {
        self.forwards.iter().map(|forward| forward.want)
    }

    /// What is mapped.
    pub fn leases(&self) -> impl Iterator<Item = (Want, Lease)> {
        self.forwards.iter().filter_map(|forward| Some((forward.want, forward.lease?)))
    }

    /// What is known of each protocol.
    pub fn standings(&self) -> impl Iterator<Item = (Protocol, &Standing)> {
        Protocol::ALL.into_iter().zip(&self.standings)
    }

    /// Why a port isn't mapped that another one's protocol was asked for.
    pub fn refusals(&self) -> impl Iterator<Item = (Want, &str)> {
        self.forwards.iter().filter_map(|forward| Some((forward.want, forward.refusal.as_deref()?)))
    }

    /// Where the whole stands.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// How we reach the network outside.
    pub fn link(&self) -> Option<Link> {
        self.link
    }

    /// What takes all mappings back. Nothing is done after it.
    pub fn close(&mut self) -> Vec<Action> {
        self.stop_waiting();
        self.phase = Phase::Idle;
        let Some(link) = self.link.take() else { return Vec::new() };
        let leases: Vec<(Want, Lease)> = self.leases().collect();
        for forward in &mut self.forwards {
            forward.forget();
        }
        leases.into_iter().map(|(want, lease)| self.removal(link, want, lease)).collect()
    }

    fn removal(&mut self, link: Link, want: Want, lease: Lease) -> Action {
        let Want { transport, port, nonce } = want;
        match lease.protocol {
            Protocol::Pcp => Action::Send(mapping(link, want, nonce, 0, Duration::ZERO).encode()),
            Protocol::NatPmp => Action::Send(
                nat_pmp::Request::Map { transport, internal: port, external: 0, lifetime_secs: 0 }.encode(),
            ),
            Protocol::Upnp => {
                self.last_id += 1;
                Action::Call(self.last_id, Call::Delete { transport, external: lease.external })
            }
        }
    }

    fn is_mapped(&self) -> bool {
        self.forwards.iter().any(|forward| forward.lease.is_some())
    }

    fn is_datagram(&self) -> bool {
        !matches!(self.phase, Phase::Active(Protocol::Upnp))
    }

    fn stop_waiting(&mut self) {
        self.pending = None;
        self.outbox.clear();
    }

    /// Begins with a protocol.
    fn enter(&mut self, now: Time, protocol: Protocol) {
        self.phase = Phase::Active(protocol);
        (self.address, self.epoch) = (None, None);
        (self.proven, self.found, self.permanent) = (false, false, false);
        self.stop_waiting();
        for forward in &mut self.forwards {
            forward.begin(now);
        }
        // What an earlier round said stands until this one says something.
        let standing = &mut self.standings[protocol as usize];
        if *standing == Standing::Untried {
            *standing = Standing::Trying;
        }
        self.advance(now);
    }

    /// This protocol leads nowhere.
    fn try_next(&mut self, now: Time, protocol: Protocol) {
        match protocol.next() {
            Some(next) => self.enter(now, next),
            None => self.begin_rest(now),
        }
    }

    fn begin_rest(&mut self, now: Time) {
        self.stop_waiting();
        self.proven = false;
        self.phase = Phase::Resting { since: now, until: now + self.rest };
        self.rest = (self.rest * 2).min(LONGEST_REST);
    }

    /// Begins what is due, unless something is under way.
    fn advance(&mut self, now: Time) {
        let (None, Phase::Active(protocol)) = (self.pending, self.phase) else { return };
        let due = self.forwards.iter().enumerate().filter(|(_, forward)| forward.due <= now);
        let Some((nth, _)) = due.min_by_key(|(_, forward)| forward.due) else { return };
        let has_address = self.address.is_some_and(|(_, asked)| now.since(asked) < ADDRESS_AGE);
        let work = match protocol {
            Protocol::Upnp if !self.found => Work::Find,
            Protocol::NatPmp | Protocol::Upnp if !has_address => Work::Address,
            _ => Work::Map(nth),
        };
        self.send(now, work, 0);
    }

    /// Sends a request that has been sent `tries` times before.
    fn send(&mut self, now: Time, work: Work, tries: u32) {
        let (Some(link), Phase::Active(protocol)) = (self.link, self.phase) else { return };
        self.stop_waiting();
        self.last_id += 1;
        let id = self.last_id;
        let wait = match protocol {
            Protocol::Upnp => UPNP_LIMIT,
            _ => FIRST_WAIT.saturating_mul(1 << tries.min(16)),
        };
        self.pending = Some(Pending { work, tries: tries + 1, until: now + wait, id });
        let action = match (work, protocol) {
            (Work::Find, _) => Action::Find(id),
            (Work::Address, Protocol::Upnp) => Action::Call(id, Call::ExternalAddress),
            (Work::Address, _) => Action::Send(nat_pmp::Request::Address.encode()),
            (Work::Map(nth), _) => {
                let Some(forward) = self.forwards.get(nth) else { return };
                self.map(link, protocol, id, forward)
            }
        };
        self.outbox.push_back(action);
    }

    fn map(&self, link: Link, protocol: Protocol, id: u64, forward: &Forward) -> Action {
        let Want { transport, port, nonce } = forward.want;
        match protocol {
            Protocol::Pcp => {
                Action::Send(mapping(link, forward.want, nonce, forward.external, LEASE).encode())
            }
            Protocol::NatPmp => {
                let lifetime_secs = secs(LEASE);
                let external = forward.external;
                Action::Send(
                    nat_pmp::Request::Map { transport, internal: port, external, lifetime_secs }.encode(),
                )
            }
            Protocol::Upnp => {
                let lease_secs = if self.permanent { 0 } else { secs(LEASE) };
                let client = (link.local, port);
                Action::Call(id, Call::Add { transport, external: forward.external, client, lease_secs })
            }
        }
    }
}

fn mapping(link: Link, want: Want, nonce: pcp::Nonce, external: u16, lifetime: Duration) -> pcp::Map {
    let client = link.local.into();
    pcp::Map {
        client,
        nonce,
        transport: want.transport,
        internal: want.port,
        external,
        address: pcp::any_address(client),
        lifetime_secs: secs(lifetime),
    }
}

fn secs(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
