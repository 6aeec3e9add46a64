//! What the gateway says, and what follows from it.
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use wgo_proto::portmap::upnp::Fault;
use wgo_proto::portmap::{nat_pmp, pcp};

use super::epoch::Epoch;
use super::{
    BELIEF_PAUSE, FIRST_REST, LEASE, Phase, PortMap, Protocol, REFUSED_PAUSE, SPREAD_MILLIS, Standing, Told,
    Work,
};
use crate::Time;

/// A lease that is shorter would have to be renewed all the time.
const SHORTEST_LEASE: Duration = Duration::from_secs(10);
/// Ports outside that are tried when others have them.
const MAX_CONFLICTS: u32 = 8;
/// Where those are looked for: above what services use.
const OTHER_PORTS: std::ops::Range<u16> = 10_000..60_000;

impl PortMap {
    /// A datagram of the gateway, from the port that ours went to. What isn't the answer to the request under way
    /// changes nothing.
    pub fn handle_packet(&mut self, now: Time, packet: &[u8]) {
        let (Some(pending), Phase::Active(protocol)) = (self.pending, self.phase) else { return };
        match protocol {
            Protocol::Pcp => self.handle_pcp(now, pending.work, packet),
            Protocol::NatPmp => self.handle_nat_pmp(now, pending.work, packet),
            Protocol::Upnp => {}
        }
        self.advance(now);
    }

    fn handle_pcp(&mut self, now: Time, work: Work, packet: &[u8]) {
        if packet.first() == Some(&nat_pmp::VERSION) {
            // How one answers that speaks NAT-PMP alone (RFC 6887 section 9).
            let answer = nat_pmp::Answer::decode(packet).map(|answer| answer.outcome);
            if let Ok(nat_pmp::Outcome::Refused { refusal: nat_pmp::Refusal::Version, .. }) = answer {
                self.on_refused(now, work, pcp::Refusal::Version.to_string());
            }
            return;
        }
        let Ok(answer) = pcp::Answer::decode(packet) else { return };
        let Work::Map(nth) = work else { return };
        let Some(want) = self.forwards.get(nth).map(|forward| forward.want) else { return };
        let is_ours = |mapping: &pcp::Mapping| {
            let asked = (want.nonce, want.transport.number(), want.port);
            (mapping.nonce, mapping.protocol, mapping.internal) == asked
        };
        match answer.outcome {
            pcp::Outcome::Mapped(mapping, lifetime) if is_ours(&mapping) => {
                self.hear(now, answer.epoch);
                let address = match mapping.address {
                    IpAddr::V4(v4) => Some(v4).filter(|v4| !v4.is_unspecified()),
                    IpAddr::V6(_) => None,
                };
                let lifetime = Duration::from_secs(lifetime.into());
                self.on_granted(now, nth, mapping.external, address, Some(lifetime));
            }
            // Without the nonce, as only this is: anybody could send it, and has us ask by NAT-PMP.
            pcp::Outcome::Refused(pcp::Refusal::Version, None) => {
                self.on_refused(now, work, pcp::Refusal::Version.to_string());
            }
            pcp::Outcome::Refused(refusal, Some(mapping)) if is_ours(&mapping) => {
                self.on_refused(now, work, refusal.to_string());
            }
            _ => {}
        }
    }

    fn handle_nat_pmp(&mut self, now: Time, work: Work, packet: &[u8]) {
        use nat_pmp::Outcome;
        let Ok(answer) = nat_pmp::Answer::decode(packet) else { return };
        let want = match work {
            Work::Map(nth) => self.forwards.get(nth).map(|forward| forward.want),
            Work::Find | Work::Address => None,
        };
        match (answer.outcome, work) {
            (Outcome::Address(ip), Work::Address) => {
                self.hear(now, answer.epoch);
                self.on_address(now, Some(ip));
            }
            (Outcome::Mapped { transport, internal, external, lifetime_secs }, Work::Map(nth))
                if want.is_some_and(|want| (want.transport, want.port) == (transport, internal)) =>
            {
                self.hear(now, answer.epoch);
                let lifetime = Duration::from_secs(lifetime_secs.into());
                self.on_granted(now, nth, external, self.outside(), Some(lifetime));
            }
            (Outcome::Refused { transport, refusal }, work)
                if transport == want.map(|want| want.transport) || refusal == nat_pmp::Refusal::Version =>
            {
                self.on_refused(now, work, refusal.to_string());
            }
            _ => {}
        }
    }

    /// The gateway says that nobody listens at the port our request went to.
    pub fn handle_unreachable(&mut self, now: Time) {
        // It may be restarting, where something did listen.
        if self.pending.is_some() && self.is_datagram() && !self.proven {
            self.on_silence(now);
        }
    }

    /// A datagram of the gateway to all hosts: it begins anew, or has another address.
    pub fn handle_announcement(&mut self, now: Time, packet: &[u8]) {
        let nat_pmp = nat_pmp::Answer::decode(packet).ok().and_then(|answer| match answer.outcome {
            nat_pmp::Outcome::Address(ip) => Some((answer.epoch, ip)),
            _ => None,
        });
        let pcp = pcp::Answer::decode(packet).ok().filter(|answer| answer.outcome == pcp::Outcome::Announced);
        match self.phase {
            Phase::Resting { since, .. }
                if now.since(since) >= BELIEF_PAUSE && (nat_pmp.is_some() || pcp.is_some()) =>
            {
                self.enter(now, Protocol::Pcp);
            }
            Phase::Active(Protocol::Pcp) if self.proven => {
                if let Some(answer) = pcp {
                    self.hear_after_all(now, answer.epoch);
                }
            }
            Phase::Active(Protocol::NatPmp) if self.proven => {
                let Some((epoch, ip)) = nat_pmp else { return };
                self.hear_after_all(now, epoch);
                if self.outside() != Some(ip) {
                    self.address = None;
                    self.renew_all(now, Duration::ZERO);
                }
            }
            _ => {}
        }
        self.advance(now);
    }

    /// What came of an [`Action`](super::Action) of UPnP.
    pub fn handle_upnp(&mut self, now: Time, id: u64, told: Told) {
        let Some(pending) = self.pending.filter(|pending| pending.id == id) else { return };
        match (pending.work, told) {
            (Work::Find, Told::Found) => {
                self.pending = None;
                self.found = true;
            }
            (Work::Address, Told::Done(address)) => self.on_address(now, address),
            // Not all know it, and one can do without.
            (Work::Address, Told::Refused(_)) => self.on_address(now, None),
            (Work::Map(nth), Told::Done(_)) => {
                let external = self.forwards.get(nth).map_or(0, |forward| forward.external);
                let lifetime = (!self.permanent).then_some(LEASE);
                self.on_granted(now, nth, external, self.outside(), lifetime);
            }
            (Work::Map(nth), Told::Refused(fault)) => self.on_fault(now, nth, &fault),
            // It may have moved to another port since it was found.
            (Work::Address | Work::Map(_), Told::Silent | Told::Failed(_)) if self.proven && self.found => {
                self.pending = None;
                self.found = false;
            }
            (_, Told::Silent) => self.on_silence(now),
            (work, Told::Failed(why)) => self.on_refused(now, work, why),
            (Work::Find, _) | (_, Told::Found) => {}
        }
        self.advance(now);
    }

    fn on_fault(&mut self, now: Time, nth: usize, fault: &Fault) {
        let Some(forward) = self.forwards.get_mut(nth) else { return };
        match fault.code {
            Fault::CONFLICT if forward.conflicts < MAX_CONFLICTS => {
                forward.conflicts += 1;
                forward.external = self.rng.u16(OTHER_PORTS);
                self.pending = None;
            }
            Fault::ONLY_PERMANENT if !self.permanent => {
                self.permanent = true;
                self.pending = None;
            }
            _ => self.on_refused(now, Work::Map(nth), fault.to_string()),
        }
    }

    fn outside(&self) -> Option<Ipv4Addr> {
        self.address.and_then(|(address, _)| address)
    }

    fn on_address(&mut self, now: Time, address: Option<Ipv4Addr>) {
        self.pending = None;
        self.address = Some((address.filter(|ip| !ip.is_unspecified()), now));
    }

    fn on_granted(
        &mut self,
        now: Time,
        nth: usize,
        external: u16,
        address: Option<Ipv4Addr>,
        lifetime: Option<Duration>,
    ) {
        let (Phase::Active(protocol), Some(forward)) = (self.phase, self.forwards.get_mut(nth)) else {
            return;
        };
        let is_short = lifetime.is_some_and(|lifetime| lifetime < SHORTEST_LEASE);
        if external == 0 || is_short {
            let why = match is_short {
                true => {
                    format!("it maps for {} s, which is of no use", lifetime.unwrap_or_default().as_secs())
                }
                false => "it gives no port".to_owned(),
            };
            return self.on_refused(now, Work::Map(nth), why);
        }
        forward.grant(now, protocol, external, address, lifetime);
        self.pending = None;
        self.standings[protocol as usize] = Standing::Working;
        self.proven = true;
        self.rest = FIRST_REST;
    }

    /// A request was refused. Where another port of ours is mapped, this one is asked for again later; else the
    /// next protocol is.
    fn on_refused(&mut self, now: Time, work: Work, why: String) {
        let Phase::Active(protocol) = self.phase else { return };
        self.pending = None;
        match work {
            Work::Map(nth) if self.proven => {
                if let Some(forward) = self.forwards.get_mut(nth) {
                    forward.refusal = Some(why);
                    forward.due = now + REFUSED_PAUSE;
                }
            }
            Work::Address if self.proven => self.on_address(now, None),
            _ => {
                self.standings[protocol as usize] = Standing::Refused(why);
                if self.proven { self.begin_rest(now) } else { self.try_next(now, protocol) }
            }
        }
    }

    /// A request was not answered.
    pub(super) fn on_silence(&mut self, now: Time) {
        let Phase::Active(protocol) = self.phase else { return };
        self.pending = None;
        self.standings[protocol as usize] = Standing::Silent;
        // A gateway that worked comes back with what it had, more likely than with something else.
        if self.proven { self.begin_rest(now) } else { self.try_next(now, protocol) }
    }

    /// The gateway's clock, in an answer to us.
    fn hear(&mut self, now: Time, secs: u32) {
        if self.has_restarted(now, secs) {
            self.renew_all(now, Duration::ZERO);
        }
    }

    /// The gateway's clock, as all hosts heard it.
    fn hear_after_all(&mut self, now: Time, secs: u32) {
        if self.has_restarted(now, secs) {
            let spread = Duration::from_millis(self.rng.u64(0..=SPREAD_MILLIS));
            self.renew_all(now, spread);
        }
    }

    fn has_restarted(&mut self, now: Time, secs: u32) -> bool {
        let may_jump = self.phase == Phase::Active(Protocol::NatPmp);
        let epoch = Epoch::new(secs, now);
        let before = self.epoch.replace(epoch);
        before.is_some_and(|before| !before.runs_on(epoch, may_jump))
    }

    /// All mappings are asked for again, after `spread`, but for those that were just given.
    fn renew_all(&mut self, now: Time, spread: Duration) {
        for forward in &mut self.forwards {
            let at = forward.lease.map_or(now, |lease| (lease.since + BELIEF_PAUSE).max(now));
            forward.due = forward.due.min(at + spread);
        }
    }
}
