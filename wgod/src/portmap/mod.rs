//! Drives the port mapping of core: its sockets, clock and surroundings, and who hears of what it got.
//!
//! Everything it sends goes to the gateway of the default route, but for the search for a UPnP gateway, which is a
//! multicast; and nothing that comes from another address is read.
mod route;
mod shown;
mod upnp;

use std::future::Future;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::net::UdpSocket;
use tokio::time::{Instant, MissedTickBehavior, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;
use wgo_core::external::Voter;
use wgo_core::portmap::{Action, PortMap, Told, Want};
use wgo_proto::portmap::{GATEWAY_PORT, HOST_PORT, Transport, pcp};

use crate::engine::Engine;
use crate::random;
use route::Way;
pub use shown::PortMapping;

/// How often it is looked whether the gateway or our address changed. It costs two small system calls.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);
/// At the end, the gateway has this long to answer that all mappings are gone; other parts take longer to end.
const GOODBYE: Duration = Duration::from_millis(1500);
/// What it is told by PCP and NAT-PMP it is told again after this.
const GOODBYE_WAIT: Duration = Duration::from_millis(250);
/// One byte more than the longest packet, which is how one that is too long is told.
const BUFFER: usize = pcp::MAX_PACKET + 1;
/// The group of all hosts, to which gateways say that they restarted.
const ALL_HOSTS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 1);
/// Makes what a machine's id is hashed to ours.
const NONCE_CONTEXT: &[u8] = b"wgod port mapping";

/// What came of UPnP, and the service that was found.
type Upnp = Pin<Box<dyn Future<Output = (u64, Told, Option<upnp::Found>)> + Send>>;

/// Maps the engine's port until `stopping`, then takes that back.
pub async fn run(engine: Arc<Engine>, stopping: CancellationToken) {
    let (wants, seed) = match (wants(&engine), random::bytes()) {
        (Ok(wants), Ok(seed)) if !wants.is_empty() => (wants, u64::from_le_bytes(seed)),
        (Ok(_), Ok(_)) => return,
        (Err(error), _) | (_, Err(error)) => {
            return tracing::error!(%error, "no port mapping without random numbers");
        }
    };
    let mut driver = Driver {
        map: PortMap::new(seed, &wants),
        engine,
        way: Way::Unknown,
        gateway: None,
        hosts: None,
        found: None,
        upnp: None,
    };
    driver.drive(stopping).await;
    driver.take_back().await;
}

/// The ports that are to be reached from outside.
fn wants(engine: &Engine) -> io::Result<Vec<Want>> {
    let mut wants = Vec::new();
    for &transport in engine.mapping.transports() {
        let nonce = nonce(transport, engine.port)?;
        wants.push(Want { transport, port: engine.port, nonce });
    }
    Ok(wants)
}

/// Nobody else can guess it, and it is the same after a crash: made of the machine's id as machine-id(5) has it.
/// Where there is none it is random.
fn nonce(transport: Transport, port: u16) -> io::Result<pcp::Nonce> {
    let machine = std::fs::read("/etc/machine-id").unwrap_or_default();
    if machine.len() < 32 {
        return random::bytes();
    }
    let mut hash = Sha256::new();
    hash.update(NONCE_CONTEXT);
    hash.update(&machine);
    hash.update([transport.number()]);
    hash.update(port.to_be_bytes());
    let hash = hash.finalize();
    Ok(std::array::from_fn(|nth| hash[nth]))
}

struct Driver {
    engine: Arc<Engine>,
    map: PortMap,
    /// How we get out.
    way: Way,
    /// Connected to the gateway, so that nothing else comes in.
    gateway: Option<UdpSocket>,
    /// Hears what the gateway says to all hosts.
    hosts: Option<UdpSocket>,
    /// What is called by UPnP.
    found: Option<upnp::Found>,
    /// What is under way by UPnP.
    upnp: Option<Upnp>,
}

impl Driver {
    async fn drive(&mut self, stopping: CancellationToken) {
        let clock = self.engine.clock;
        let mut look = tokio::time::interval(LOOK_INTERVAL);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut from_gateway, mut from_any) = ([0; BUFFER], [0; BUFFER]);
        loop {
            self.carry_out().await;
            self.publish();
            let wake = self.map.next_timeout().map(|at| clock.instant(at));
            tokio::select! {
                () = stopping.cancelled() => return,
                _ = look.tick() => self.look_around(),
                came = receive(self.gateway.as_ref(), &mut from_gateway) => match came {
                    Ok((packet, _)) => self.map.handle_packet(clock.now(), packet),
                    Err(error) => self.on_fault(&error),
                },
                came = receive(self.hosts.as_ref(), &mut from_any) => match came {
                    Ok((packet, from)) if self.is_gateway(from) => {
                        self.map.handle_announcement(clock.now(), packet);
                    }
                    Ok(_) => {}
                    Err(error) => {
                        tracing::debug!(%error, "what gateways say to all hosts isn't heard any more");
                        self.hosts = None;
                    }
                },
                (id, told, found) = progress(&mut self.upnp) => {
                    self.found = found.or_else(|| self.found.take());
                    self.map.handle_upnp(clock.now(), id, told);
                }
                () = until(wake) => self.map.handle_timeout(clock.now()),
            }
        }
    }

    /// Looks for the gateway and our address.
    fn look_around(&mut self) {
        let way = route::find(&self.engine.outlet);
        if way == self.way && (self.gateway.is_some() || way.link().is_none()) {
            return;
        }
        tracing::debug!(?way, "the way out");
        if way != self.way && self.way.link().is_some() {
            // Where nothing is bound, nobody else notices that this is another network.
            self.engine.outside.forget();
        }
        self.way = way;
        (self.gateway, self.hosts, self.found, self.upnp) = (None, None, None, None);
        if let Some(link) = self.way.link() {
            match self.open(link.local, link.gateway) {
                Ok(socket) => self.gateway = Some(socket),
                Err(error) => tracing::debug!(%error, "no socket to the gateway"),
            }
            let hosts = SocketAddr::new(ALL_HOSTS.into(), HOST_PORT);
            self.hosts = self.engine.outlet.udp_shared(hosts).ok();
        }
        let link = self.way.link().filter(|_| self.gateway.is_some());
        self.map.set_link(self.engine.clock.now(), link);
    }

    fn open(&self, local: Ipv4Addr, gateway: Ipv4Addr) -> io::Result<UdpSocket> {
        let socket = self.engine.outlet.udp(SocketAddr::new(local.into(), 0))?;
        let addr = SocketAddr::new(gateway.into(), GATEWAY_PORT);
        rustix::net::connect(&socket, &addr)?;
        Ok(socket)
    }

    fn is_gateway(&self, from: SocketAddr) -> bool {
        let gateway = self.map.link().map(|link| IpAddr::V4(link.gateway));
        gateway == Some(from.ip()) && from.port() == GATEWAY_PORT
    }

    /// The socket to the gateway failed, which is mostly the gateway's word that nobody listens there.
    fn on_fault(&mut self, error: &io::Error) {
        if error.kind() != ErrorKind::ConnectionRefused {
            // The next look around makes another one, if there is still a way.
            tracing::debug!(%error, "the gateway can't be reached");
            self.gateway = None;
        }
        self.map.handle_unreachable(self.engine.clock.now());
    }

    async fn carry_out(&mut self) {
        while let Some(action) = self.map.poll_action() {
            match action {
                Action::Send(packet) => {
                    // A fault may be that of the request before; what isn't sent isn't answered, and sent again.
                    if let Some(socket) = &self.gateway
                        && let Err(error) = socket.send(&packet).await
                    {
                        tracing::trace!(%error, "not sent to the gateway");
                    }
                }
                action => self.upnp = self.begin_upnp(&action),
            }
        }
    }

    fn begin_upnp(&self, action: &Action) -> Option<Upnp> {
        let (outlet, link) = (self.engine.outlet.clone(), self.map.link().or(self.way.link())?);
        match *action {
            Action::Send(_) => None,
            Action::Find(id) => Some(Box::pin(async move {
                match upnp::find(&outlet, link).await {
                    Ok(found) => (id, Told::Found, Some(found)),
                    Err(told) => (id, told, None),
                }
            })),
            Action::Call(id, call) => {
                let found = self.found.clone();
                Some(Box::pin(async move {
                    match found {
                        Some(found) => (id, upnp::call(&outlet, &found, &call).await, None),
                        None => (id, Told::Silent, None),
                    }
                }))
            }
        }
    }

    /// Tells everybody what changed.
    fn publish(&self) {
        let news = self.engine.mapping.update(&self.map, &self.way, self.engine.clock.now());
        if let Some(ip) = news.outside {
            self.engine.outside.vote(Voter::Gateway, ip.into());
        }
        let Some(port) = news.port else { return };
        for torrent in self.engine.registry.all_live() {
            self.engine.call(&torrent, |swarm, now| swarm.set_listen_port(now, port));
        }
    }

    /// Takes the mappings back. A gateway that doesn't answer isn't waited for: leases end by themselves.
    async fn take_back(mut self) {
        let actions = self.map.close();
        let (count, mut gone) = (actions.len(), 0);
        let deadline = Instant::now() + GOODBYE;
        for action in actions {
            let is_gone = match action {
                Action::Send(packet) => say_goodbye(self.gateway.as_ref(), &packet, deadline).await,
                action => match self.begin_upnp(&action) {
                    Some(call) => {
                        matches!(timeout_at(deadline, call).await, Ok((_, Told::Done(_), _)))
                    }
                    None => false,
                },
            };
            gone += usize::from(is_gone);
        }
        if gone < count {
            tracing::info!("the gateway did not say that what it mapped is gone; it ends with its lease");
        } else if count > 0 {
            tracing::info!("took back what the gateway mapped");
        }
    }
}

/// Whether the gateway answered that a mapping is gone. It is told twice.
async fn say_goodbye(socket: Option<&UdpSocket>, packet: &[u8], deadline: Instant) -> bool {
    let Some(socket) = socket else { return false };
    let mut answer = [0; BUFFER];
    for _ in 0..2 {
        let until = deadline.min(Instant::now() + GOODBYE_WAIT);
        if socket.send(packet).await.is_ok()
            && let Ok(Ok(_)) = timeout_at(until, socket.recv(&mut answer)).await
        {
            return true;
        }
    }
    false
}

/// The next datagram of a socket that fits; never, without one.
async fn receive<'a>(
    socket: Option<&UdpSocket>,
    buffer: &'a mut [u8; BUFFER],
) -> io::Result<(&'a [u8], SocketAddr)> {
    let Some(socket) = socket else { return std::future::pending().await };
    loop {
        let (len, from) = socket.recv_from(buffer).await?;
        if len < BUFFER {
            return Ok((&buffer[..len], from));
        }
    }
}

/// Carries on with what is under way; never ends while nothing is.
async fn progress(upnp: &mut Option<Upnp>) -> (u64, Told, Option<upnp::Found>) {
    let Some(work) = upnp else { return std::future::pending().await };
    let done = work.await;
    *upnp = None;
    done
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_stays_and_differs_by_transport_and_port() {
        if !std::fs::read("/etc/machine-id").is_ok_and(|id| id.len() >= 32) {
            return eprintln!("SKIPPED a_nonce_stays_…: this machine has no id");
        }
        let nonce = |transport, port| nonce(transport, port).unwrap();
        assert_eq!(nonce(Transport::Tcp, 1), nonce(Transport::Tcp, 1));
        assert_ne!(nonce(Transport::Tcp, 1), nonce(Transport::Udp, 1));
        assert_ne!(nonce(Transport::Tcp, 1), nonce(Transport::Tcp, 2));
    }
}
