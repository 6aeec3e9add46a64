//! A second network that has no way out but through the test's own: what a daemon in there sends is seen, whatever it is
//! and wherever it was to go.
use std::collections::BTreeSet;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use crate::net::Net;
use crate::space::Space;

/// The address of the network outside, as seen from in there: the next hop of everything.
pub const OUTSIDE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
/// Likewise.
const OUTSIDE6: Ipv6Addr = Ipv6Addr::new(0xfd78, 0, 0, 0, 0, 0, 0, 1);
/// The addresses in there.
const INSIDE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
const INSIDE6: Ipv6Addr = Ipv6Addr::new(0xfd78, 0, 0, 0, 0, 0, 0, 2);

/// All protocols, in the byte order of the network (`ETH_P_ALL`).
const ALL: u16 = 3_u16.to_be();
/// What the kernel itself says over IPv6: of neighbours, routers and groups.
const ICMPV6: u8 = 58;
const TCP: u8 = 6;
const UDP: u8 = 17;
/// Between two looks at whether to end.
const TICK: Duration = Duration::from_millis(50);

/// The network, until it is dropped.
#[derive(Debug)]
pub struct Behind(Space);

impl Behind {
    /// One that is joined to `net`.
    pub fn of(_net: &Net) -> Behind {
        let behind = Behind(Space::new());
        let pid = behind.0.pid();
        shell(&format!(
            "ip link add out0 type veth peer name in0 netns {pid} && ip addr add {OUTSIDE}/24 dev out0 && \
             ip -6 addr add {OUTSIDE6}/64 dev out0 nodad && ip link set out0 up"
        ));
        behind.run(|| {
            shell(&format!(
                "ip addr add {INSIDE}/24 dev in0 && ip -6 addr add {INSIDE6}/64 dev in0 nodad && \
                 ip link set in0 up && ip route add default via {OUTSIDE} && \
                 ip -6 route add default via {OUTSIDE6}"
            ));
        });
        behind
    }

    /// Does something in there: sockets and processes that it makes are there to stay.
    pub fn run<T>(&self, work: impl FnOnce() -> T) -> T {
        self.0.there(work)
    }

    /// Looks at all that is sent in there from now on.
    pub fn capture(&self) -> Capture {
        let socket = self
            .run(|| Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(i32::from(ALL)))))
            .unwrap();
        socket.set_read_timeout(Some(TICK)).unwrap();
        // What waits is not to be dropped while the machine is busy.
        socket.set_recv_buffer_size(8 << 20).unwrap();
        let (sent, stop): (Arc<Mutex<BTreeSet<Sent>>>, Arc<AtomicBool>) = Default::default();
        let (to, until) = (sent.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            let mut frame = vec![0; 65536];
            loop {
                match (&socket).read(&mut frame) {
                    Ok(len) => to.lock().unwrap().extend(Sent::of(&frame[..len])),
                    // Only when nothing waits any more.
                    Err(_) if until.load(Ordering::Relaxed) => return,
                    Err(_) => {}
                }
            }
        });
        Capture { sent, stop, thread: Some(thread) }
    }
}

/// A kind of packet that was sent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sent {
    /// TCP, UDP or what else, by its number.
    pub protocol: u8,
    /// Where to; of what has no ports, port 0.
    pub to: SocketAddr,
    /// How a datagram begins.
    pub begin: Vec<u8>,
}

impl Sent {
    /// What a frame is, if it was sent in there and not by the kernel itself.
    fn of(frame: &[u8]) -> Option<Sent> {
        let packet = frame.get(14..)?;
        let (from, to, protocol, rest): (IpAddr, IpAddr, u8, &[u8]) =
            match u16::from_be_bytes([frame[12], frame[13]]) {
                0x0800 => {
                    let ip = |at: usize| -> Option<IpAddr> {
                        Some(Ipv4Addr::from(<[u8; 4]>::try_from(packet.get(at..at + 4)?).ok()?).into())
                    };
                    (ip(12)?, ip(16)?, packet[9], packet.get(usize::from(packet[0] & 15) * 4..)?)
                }
                0x86dd => {
                    let ip = |at: usize| -> Option<IpAddr> {
                        Some(Ipv6Addr::from(<[u8; 16]>::try_from(packet.get(at..at + 16)?).ok()?).into())
                    };
                    // Of groups the kernel speaks behind a header of options.
                    let protocol = if packet[6] == 0 { packet[40] } else { packet[6] };
                    (ip(8)?, ip(24)?, protocol, packet.get(40..)?)
                }
                _ => return None,
            };
        let outside = from == IpAddr::V4(OUTSIDE) || from == IpAddr::V6(OUTSIDE6);
        if outside || protocol == ICMPV6 {
            return None;
        }
        let has_ports = matches!(protocol, TCP | UDP) && rest.len() >= 8;
        let port = if has_ports { u16::from_be_bytes([rest[2], rest[3]]) } else { 0 };
        let begin = if protocol == UDP { rest.iter().skip(8).take(3).copied().collect() } else { Vec::new() };
        Some(Sent { protocol, to: SocketAddr::new(to, port), begin })
    }

    /// Whether it is a connection to this proxy, or a datagram to its relay.
    fn is_to(&self, proxy: SocketAddr) -> bool {
        match self.protocol {
            TCP => self.to == proxy,
            UDP => self.to.ip() == proxy.ip() && self.begin == [0, 0, 0],
            _ => false,
        }
    }
}

/// Looks at what is sent; ends when dropped.
#[derive(Debug)]
pub struct Capture {
    sent: Arc<Mutex<BTreeSet<Sent>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Capture {
    /// What was sent so far, each kind once.
    pub fn sent(&self) -> Vec<Sent> {
        self.sent.lock().unwrap().iter().cloned().collect()
    }

    /// Of all that was sent, what went to anybody but this proxy.
    pub fn leaks(mut self, proxy: SocketAddr) -> Vec<Sent> {
        self.end();
        let sent = self.sent();
        assert!(sent.iter().any(|sent| sent.is_to(proxy)), "nothing went to {proxy}: {sent:?}");
        sent.into_iter().filter(|sent| !sent.is_to(proxy)).collect()
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // A panic there has been printed.
        self.thread.take().map(JoinHandle::join);
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.end();
    }
}

fn shell(script: &str) {
    let status = Command::new("sh").args(["-ec", script]).status().unwrap();
    assert!(status.success(), "{script}");
}
