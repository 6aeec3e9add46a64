//! The node's UDP sockets: one for each family, made anew when it fails.
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::net::UdpSocket;
use wgo_core::Time;
use wgo_core::dht::Transmit;
use wgo_proto::compact::Family;

use super::{FAMILIES, index_of};
use crate::outlet::Outlet;

/// A socket that failed is made anew after this, then after twice as long, up to the longest.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(60);

/// Our global IPv6 address may come, go and change.
const LOOK: Duration = Duration::from_secs(60);

/// When so many datagrams in a row can't be sent, the socket is no good: its address is gone, say.
const MAX_UNSENT: u32 = 16;

/// Where packets to the whole of IPv6 would go; nothing is sent there (RFC 3849).
const ANYWHERE: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)), 9);

/// Both sockets.
pub(super) struct Sockets {
    outlet: Outlet,
    /// The port that we would like to have.
    port: u16,
    slots: [Slot; 2],
}

/// One of them.
struct Slot {
    family: Family,
    socket: Option<UdpSocket>,
    addr: Option<SocketAddr>,
    /// When it is made, or looked after, next.
    due: Option<Time>,
    wait: Duration,
    unsent: u32,
    /// Why there is none, or nothing goes out.
    trouble: Option<String>,
}

impl Sockets {
    /// None yet: they are made by [`tend`](Self::tend).
    pub(super) fn new(outlet: Outlet, port: u16, now: Time) -> Sockets {
        let slots = FAMILIES.map(|family| Slot {
            family,
            socket: None,
            addr: None,
            due: outlet.reaches(any(family)).then_some(now),
            wait: FIRST_RETRY,
            unsent: 0,
            trouble: None,
        });
        Sockets { outlet, port, slots }
    }

    /// Drops them all, to be made anew at once.
    pub(super) fn renew(&mut self, now: Time) {
        for slot in &mut self.slots {
            slot.socket = None;
            slot.unsent = 0;
            slot.wait = FIRST_RETRY;
            slot.due = self.outlet.reaches(any(slot.family)).then_some(now);
        }
    }

    /// When [`tend`](Self::tend) has something to do.
    pub(super) fn due(&self) -> Option<Time> {
        self.slots.iter().filter_map(|slot| slot.due).min()
    }

    /// Makes the sockets that are to be made now; whether any was.
    pub(super) async fn tend(&mut self, now: Time) -> bool {
        let (outlet, port) = (self.outlet.clone(), self.port);
        let mut made = false;
        for slot in &mut self.slots {
            if slot.due.is_some_and(|at| at <= now) {
                made |= slot.tend(&outlet, port, now).await;
            }
        }
        made
    }

    /// Where the node is.
    pub(super) fn addrs(&self) -> impl Iterator<Item = SocketAddr> {
        self.slots.iter().filter(|slot| slot.socket.is_some()).filter_map(|slot| slot.addr)
    }

    /// Families that have a socket.
    pub(super) fn families(&self) -> Vec<Family> {
        self.slots.iter().filter(|slot| slot.socket.is_some()).map(|slot| slot.family).collect()
    }

    /// What is wrong with the sockets, in words. That the machine has no IPv6 is nothing wrong.
    pub(super) fn trouble(&self) -> Option<String> {
        self.slots.iter().find_map(|slot| slot.trouble.clone())
    }

    /// Waits until a datagram has come; never, without sockets.
    pub(super) async fn readable(&self) -> Family {
        let [v4, v6] = &self.slots;
        tokio::select! {
            () = v4.readable() => v4.family,
            () = v6.readable() => v6.family,
        }
    }

    /// A datagram that has come, if there is another.
    pub(super) fn receive(
        &mut self,
        now: Time,
        family: Family,
        buf: &mut [u8],
    ) -> Option<(usize, SocketAddr)> {
        let slot = &mut self.slots[index_of(family)];
        match slot.socket.as_ref()?.try_recv_from(buf) {
            Ok(received) => Some(received),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            Err(error) => {
                slot.fail(now, &error);
                None
            }
        }
    }

    /// Sends a datagram, or drops it as the network may.
    pub(super) fn send(&mut self, now: Time, transmit: &Transmit) {
        let slot = &mut self.slots[index_of(Family::of(&transmit.to))];
        let Some(socket) = &slot.socket else { return };
        match socket.try_send_to(&transmit.datagram, transmit.to) {
            Ok(_) => {
                slot.unsent = 0;
                slot.trouble = None;
            }
            // What waits to be sent is as much as the system keeps.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // One destination may be out of reach; that all are is another matter.
            Err(error) => {
                slot.unsent += 1;
                if slot.unsent >= MAX_UNSENT {
                    slot.fail(now, &error);
                }
            }
        }
    }
}

impl Slot {
    async fn readable(&self) {
        match &self.socket {
            // A failure shows when it is read from.
            Some(socket) => drop(socket.readable().await),
            None => std::future::pending().await,
        }
    }

    async fn tend(&mut self, outlet: &Outlet, port: u16, now: Time) -> bool {
        let ip = match self.family {
            Family::V4 => Ok(outlet.from_anywhere(any(self.family), 0).ip()),
            Family::V6 => v6_address(outlet).await,
        };
        self.due = Some(now + LOOK);
        let ip = match ip {
            Ok(ip) => ip,
            // No IPv6 here, or none now.
            Err(_) => {
                (self.socket, self.addr, self.trouble) = (None, None, None);
                return false;
            }
        };
        if self.socket.is_some() && self.addr.is_some_and(|addr| addr.ip() == ip) {
            self.due = (self.family == Family::V6).then(|| now + LOOK);
            return false;
        }
        let wanted = self.addr.map_or(port, |addr| addr.port());
        match bind(outlet, SocketAddr::new(ip, wanted)).await {
            Ok((socket, addr)) => {
                if addr.port() != port && port != 0 && self.addr.is_none() {
                    tracing::info!(%addr, taken = port, "the DHT has another port, as the usual one is taken");
                }
                tracing::debug!(%addr, "the DHT is there");
                (self.socket, self.addr, self.trouble) = (Some(socket), Some(addr), None);
                (self.wait, self.unsent) = (FIRST_RETRY, 0);
                self.due = (self.family == Family::V6).then(|| now + LOOK);
                true
            }
            Err(error) => {
                self.complain(&format!("no UDP socket at {ip}: {error}"));
                self.retry(now);
                false
            }
        }
    }

    /// The socket is of no use: another one is made after a while.
    fn fail(&mut self, now: Time, error: &io::Error) {
        let addr = self.addr.map(|addr| addr.to_string()).unwrap_or_default();
        self.complain(&format!("nothing can be sent from {addr}: {error}"));
        self.socket = None;
        self.unsent = 0;
        self.retry(now);
    }

    fn retry(&mut self, now: Time) {
        self.due = Some(now + self.wait);
        self.wait = (self.wait * 2).min(LONGEST_RETRY);
    }

    /// Says what is wrong, once.
    fn complain(&mut self, what: &str) {
        if self.trouble.as_deref() != Some(what) {
            tracing::warn!(error = what, "the DHT waits for the network; it tries on");
        }
        self.trouble = Some(what.to_owned());
    }
}

fn any(family: Family) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
        Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// One address, as BEP 32 wants it: nodes that answer from another address than they were asked at are strangers. It
/// is the one that the system would use.
async fn v6_address(outlet: &Outlet) -> io::Result<IpAddr> {
    if let Some(source) = outlet.source(any(Family::V6)) {
        return Ok(source);
    }
    let probe = outlet.udp(SocketAddr::new(any(Family::V6), 0))?;
    // It sends nothing.
    probe.connect(ANYWHERE).await?;
    let ip = probe.local_addr()?.ip();
    if ip.is_unspecified() || ip.is_loopback() {
        return Err(io::ErrorKind::AddrNotAvailable.into());
    }
    Ok(ip)
}

/// A socket at an address, or at another port where that is taken.
async fn bind(outlet: &Outlet, addr: SocketAddr) -> io::Result<(UdpSocket, SocketAddr)> {
    let socket = match outlet.udp(addr) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            outlet.udp(SocketAddr::new(addr.ip(), 0))?
        }
        made => made?,
    };
    // Else the first datagrams would seem to be too many.
    socket.writable().await?;
    let addr = socket.local_addr()?;
    Ok((socket, addr))
}
