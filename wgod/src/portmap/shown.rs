//! What is known of the port mapping, for all who ask, and the log of what changes.
use std::fmt::Write;
use std::net::Ipv4Addr;
use std::sync::{Mutex, PoisonError};

use wgo_api::result::{
    MappedPort, MappingProtocol, MappingState, PortMapping as Shown, PortTransport, ProtocolState,
    TriedProtocol,
};
use wgo_core::Time;
use wgo_core::address::{is_host, is_local};
use wgo_core::portmap::{Lease, Phase, PortMap, Protocol, Standing, Want};
use wgo_proto::portmap::Transport;

use super::route::Way;
use crate::clock::unix_now;

/// The port mapping of the daemon. A leaf lock.
#[derive(Debug, Default)]
pub struct PortMapping {
    transports: Vec<Transport>,
    now: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    shown: Shown,
    leases: Vec<(Want, Lease)>,
    /// Why nothing is mapped, as it was logged.
    trouble: Option<String>,
}

/// What others are to hear.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct News {
    /// The address outside, when it is another than before.
    pub(super) outside: Option<Ipv4Addr>,
    /// The port that peers reach us on, when it is another than before.
    pub(super) port: Option<u16>,
}

impl PortMapping {
    /// Maps the port of TCP, if `wanted`, and with `udp` that of UDP.
    pub fn new(wanted: bool, udp: bool) -> PortMapping {
        let transports = [(wanted, Transport::Tcp), (wanted && udp, Transport::Udp)];
        let transports = transports.into_iter().filter(|(on, _)| *on).map(|(_, transport)| transport);
        PortMapping { transports: transports.collect(), now: Mutex::default() }
    }

    /// What is to be mapped.
    pub(super) fn transports(&self) -> &[Transport] {
        &self.transports
    }

    /// The port outside that leads to ours by TCP, if one does.
    pub fn external_port(&self) -> Option<u16> {
        external_port(&self.lock().leases)
    }

    /// All of it, for people and programs.
    pub fn shown(&self) -> Shown {
        self.lock().shown.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over how things stand; logs what is new of it, and gives what others are to hear.
    pub(super) fn update(&self, map: &PortMap, way: &Way, now: Time) -> News {
        let leases: Vec<_> = map.leases().collect();
        let shown = show(map, way, &leases, now);
        let mut known = self.lock();
        let known = &mut *known;
        log_changes(&known.leases, &leases);
        if shown.state == MappingState::Failed && known.trouble != shown.reason {
            known.trouble.clone_from(&shown.reason);
            let reason = shown.reason.as_deref().unwrap_or_default();
            tracing::info!("peers may not get in: {reason}");
        } else if shown.state == MappingState::Mapped {
            known.trouble = None;
        }
        let (before, after) = (external_port(&known.leases), external_port(&leases));
        let own = map_port(map);
        let news = News {
            outside: outside(&leases).filter(|ip| outside(&known.leases) != Some(*ip)),
            port: own.map(|own| after.unwrap_or(own)).filter(|port| before.or(own) != Some(*port)),
        };
        (known.shown, known.leases) = (shown, leases);
        news
    }
}

/// Our own port.
fn map_port(map: &PortMap) -> Option<u16> {
    map.wants().find(|want| want.transport == Transport::Tcp).map(|want| want.port)
}

fn external_port(leases: &[(Want, Lease)]) -> Option<u16> {
    leases.iter().find(|(want, _)| want.transport == Transport::Tcp).map(|(_, lease)| lease.external)
}

fn outside(leases: &[(Want, Lease)]) -> Option<Ipv4Addr> {
    leases.iter().find_map(|(_, lease)| lease.address)
}

/// What makes a lease another one for people; its time doesn't.
fn essence((want, lease): &(Want, Lease)) -> (Transport, u16, Option<Ipv4Addr>, Protocol) {
    (want.transport, lease.external, lease.address, lease.protocol)
}

fn log_changes(before: &[(Want, Lease)], after: &[(Want, Lease)]) {
    let is_in =
        |one: &(Want, Lease), all: &[(Want, Lease)]| all.iter().any(|other| essence(one) == essence(other));
    for (want, lease) in after.iter().filter(|one| !is_in(one, before)) {
        let (transport, port, external) = (want.transport, want.port, shown_external(lease));
        tracing::info!(
            "the gateway maps {transport} port {port} to {external}, by {}",
            name(lease.protocol).name()
        );
    }
    let is_wanted = |want: &Want| after.iter().any(|(other, _)| other == want);
    for (want, _) in before.iter().filter(|(want, _)| !is_wanted(want)) {
        tracing::info!("the gateway maps {} port {} no longer", want.transport, want.port);
    }
}

fn shown_external(lease: &Lease) -> String {
    match lease.address {
        Some(ip) => format!("{ip}:{}", lease.external),
        None => format!("port {} of an address it does not tell", lease.external),
    }
}

fn name(protocol: Protocol) -> MappingProtocol {
    match protocol {
        Protocol::Pcp => MappingProtocol::Pcp,
        Protocol::NatPmp => MappingProtocol::NatPmp,
        Protocol::Upnp => MappingProtocol::Upnp,
    }
}

fn show(map: &PortMap, way: &Way, leases: &[(Want, Lease)], now: Time) -> Shown {
    let state = match (way, map.phase()) {
        (_, _) if !leases.is_empty() => MappingState::Mapped,
        (Way::Public(_), _) => MappingState::Public,
        (Way::Unknown, _) | (_, Phase::Active(_)) => MappingState::Trying,
        (Way::NoIpv4 | Way::NoRoute | Way::NoGateway(_), _) => MappingState::NoGateway,
        (Way::Through(_), Phase::Idle | Phase::Resting { .. }) => MappingState::Failed,
    };
    let local = match way {
        Way::Public(local) | Way::NoGateway(local) => Some(*local),
        way => way.link().map(|link| link.local),
    };
    let protocols: Vec<TriedProtocol> = map.standings().map(tried).collect();
    Shown {
        state,
        gateway: way.link().map(|link| link.gateway.to_string()),
        local: local.map(|local| local.to_string()),
        ports: leases.iter().map(|(want, lease)| port(want, lease, now)).collect(),
        reason: reason(state, map, way, &protocols),
        protocols,
    }
}

fn port(want: &Want, lease: &Lease, now: Time) -> MappedPort {
    let left = lease.until.map(|until| until.since(now).as_secs());
    MappedPort {
        transport: match want.transport {
            Transport::Tcp => PortTransport::Tcp,
            Transport::Udp => PortTransport::Udp,
        },
        port: want.port,
        external_port: lease.external,
        external_ip: lease.address.map(|ip| ip.to_string()),
        // One that doesn't say may well be.
        reachable: lease.address.is_none_or(|ip| is_host(ip.into()) && !is_local(ip.into())),
        protocol: name(lease.protocol),
        expires_at: left.map(|left| u64::try_from(unix_now()).unwrap_or_default() + left),
    }
}

fn tried((protocol, standing): (Protocol, &Standing)) -> TriedProtocol {
    let (state, error) = match standing {
        Standing::Untried => (ProtocolState::Untried, None),
        Standing::Trying => (ProtocolState::Trying, None),
        Standing::Silent => (ProtocolState::Silent, None),
        Standing::Refused(why) => (ProtocolState::Refused, Some(why.clone())),
        Standing::Working => (ProtocolState::Working, None),
    };
    TriedProtocol { protocol: name(protocol), state, error }
}

/// Why not all is mapped.
fn reason(state: MappingState, map: &PortMap, way: &Way, protocols: &[TriedProtocol]) -> Option<String> {
    match (state, way) {
        (MappingState::Public, Way::Public(local)) => Some(format!("{local} is a public address")),
        (MappingState::NoGateway, Way::NoIpv4) => Some("[network] ip has no IPv4 address".to_owned()),
        (MappingState::NoGateway, Way::NoRoute) => Some("there is no way out by IPv4".to_owned()),
        (MappingState::NoGateway, Way::NoGateway(local)) => Some(format!(
            "no default gateway is in the network of {local}, which is where connections leave from"
        )),
        (MappingState::Failed, Way::Through(link)) => Some(complaint(link.gateway, protocols)),
        (MappingState::Mapped, _) => {
            let refused: Vec<String> =
                map.refusals().map(|(want, why)| format!("{} is refused: {why}", want.transport)).collect();
            (!refused.is_empty()).then(|| refused.join("; "))
        }
        _ => None,
    }
}

fn complaint(gateway: Ipv4Addr, protocols: &[TriedProtocol]) -> String {
    let mut text = format!("the gateway {gateway} maps no ports");
    for (nth, tried) in protocols.iter().enumerate() {
        // Writing to a `String` can't fail.
        let _ = write!(text, "{}{} ", if nth == 0 { ": " } else { "; " }, tried.protocol.name());
        let _ = match (tried.state, &tried.error) {
            (_, Some(why)) => write!(text, "is refused ({why})"),
            (ProtocolState::Silent, None) => write!(text, "is not answered"),
            (ProtocolState::Working, None) => write!(text, "worked before"),
            (ProtocolState::Untried | ProtocolState::Trying | ProtocolState::Refused, None) => {
                write!(text, "is not tried")
            }
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use wgo_core::portmap::{Action, Link};

    use super::*;

    const NOW: Time = Time::from_start(Duration::from_secs(10));

    fn way() -> Way {
        Way::Through(Link { gateway: Ipv4Addr::new(10, 0, 0, 1), local: Ipv4Addr::new(10, 0, 0, 5) })
    }

    /// NAT-PMP's answer to the request under way; `None` is silence.
    fn answer(map: &mut PortMap, external: u16) {
        let Some(Action::Send(request)) = map.poll_action() else { panic!("nothing is asked") };
        if request[0] == 2 {
            map.handle_unreachable(NOW);
            return answer(map, external);
        }
        let mut packet = vec![0, 0x80 | request[1], 0, 0, 0, 0, 0, 9];
        match request[1] {
            0 => packet.extend([203, 0, 113, 9]),
            _ => {
                packet.extend(&request[4..6]);
                packet.extend(external.to_be_bytes());
                packet.extend(7200_u32.to_be_bytes());
            }
        }
        map.handle_packet(NOW, &packet);
    }

    #[test]
    fn others_hear_once_what_changed() {
        let want = Want { transport: Transport::Tcp, port: 6868, nonce: [7; 12] };
        let (mapping, mut map) = (PortMapping::new(true, false), PortMap::new(1, &[want]));
        assert_eq!(mapping.update(&map, &Way::Unknown, NOW), News::default());
        assert_eq!(mapping.shown().state, MappingState::Trying);
        map.set_link(NOW, way().link());
        answer(&mut map, 0);
        answer(&mut map, 7000);
        let outside = Some(Ipv4Addr::new(203, 0, 113, 9));
        assert_eq!(mapping.update(&map, &way(), NOW), News { outside, port: Some(7000) });
        assert_eq!(mapping.external_port(), Some(7000));
        assert_eq!(mapping.update(&map, &way(), NOW), News::default());
        let shown = mapping.shown();
        assert_eq!((shown.state, &shown.reason), (MappingState::Mapped, &None));
        assert!(shown.ports[0].reachable && shown.ports[0].expires_at.is_some(), "{shown:?}");
        // Gone, it is our own port again.
        map.set_link(NOW, None);
        let none = Way::NoRoute;
        assert_eq!(mapping.update(&map, &none, NOW), News { outside: None, port: Some(6868) });
        assert_eq!(mapping.external_port(), None);
    }

    #[test]
    fn it_says_why_nothing_is_mapped() {
        let want = Want { transport: Transport::Tcp, port: 6868, nonce: [7; 12] };
        let (mapping, mut map) = (PortMapping::new(true, false), PortMap::new(1, &[want]));
        map.set_link(NOW, way().link());
        let mut now = NOW;
        while !matches!(map.phase(), Phase::Resting { .. }) {
            if let Some(Action::Find(id)) = map.poll_action() {
                map.handle_upnp(now, id, wgo_core::portmap::Told::Failed("no XML".to_owned()));
                continue;
            }
            now = map.next_timeout().unwrap();
            map.handle_timeout(now);
        }
        mapping.update(&map, &way(), now);
        let reason = "the gateway 10.0.0.1 maps no ports: PCP is not answered; NAT-PMP is not answered; UPnP is \
            refused (no XML)";
        let shown = mapping.shown();
        assert_eq!((shown.state, shown.reason.as_deref()), (MappingState::Failed, Some(reason)));
        mapping.update(&map, &Way::Public(Ipv4Addr::new(203, 0, 113, 5)), now);
        assert_eq!(mapping.shown().state, MappingState::Public);
        assert_eq!(PortMapping::new(false, true).transports(), []);
        assert_eq!(PortMapping::new(true, true).transports(), [Transport::Tcp, Transport::Udp]);
    }
}
