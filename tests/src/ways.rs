//! Two ways from the daemon to the world, and a look at what takes the second one.
//!
//! The world is another network namespace, joined to the test's by two pairs of links: `wg0`, as a VPN's would be,
//! and `eth1`, which has the better route. What isn't bound to `wg0` leaves by `eth1`, where [`Capture`] sees it.
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use nix::net::if_::if_nametoindex;
use nix::sys::socket::{
    AddressFamily, LinkAddr, SockFlag, SockProtocol, SockType, recvfrom, setsockopt, socket, sockopt,
};
use nix::sys::time::TimeVal;

use crate::net::{Net, enter};
use crate::space::Space;

/// The address of everything in the world.
pub const WORLD: Ipv4Addr = Ipv4Addr::new(198, 19, 0, 1);
/// The same of IPv6.
pub const WORLD6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0x99, 0, 0, 0, 0, 0, 1);

/// How the world has them.
const ADDRESSES: &str = "ip addr add 198.19.0.1/32 dev lo && ip addr add fd77:99::1/128 dev lo nodad";

/// What a link needs to be a way (and that Linux takes answers also from where it would not send): `$1` its name, `$2` its number, `$3` the world's process, `$4` the metric of its
/// routes, `$5` our host number there.
const JOIN: &str = "ip link add $1 type veth peer name $1 address 02:00:00:00:00:0$2 netns $3
    world=$3
    there() { nsenter -t $world -n ip \"$@\"; }
    there addr add 198.19.$2.1/24 dev $1
    there addr add fd77:$2::1/64 dev $1 nodad
    there link set $1 up
    ip link set $1 up
    ip addr add 198.19.$2.$5/24 dev $1
    ip addr add fd77:$2::$5/64 dev $1 nodad
    ip neigh add 198.19.$2.1 lladdr 02:00:00:00:00:0$2 dev $1 nud permanent
    ip route add default via 198.19.$2.1 dev $1 metric $4
    ip -6 route add default via fd77:$2::1 dev $1 metric $4
    for at in all $1; do echo 0 > /proc/sys/net/ipv4/conf/$at/rp_filter; done";

const HOP_BY_HOP: u8 = 0;
const TCP: u8 = 6;
const ICMPV6: u8 = 58;
/// The one flag of a TCP segment that answers for no socket.
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

/// The two ways.
#[derive(Debug)]
pub struct Ways {
    world: Space,
}

impl Ways {
    /// Both, in the network of a test; not `wg0` yet.
    pub fn new(_net: &Net) -> Ways {
        let ways = Ways { world: Space::with(ADDRESSES) };
        ways.join("eth1", 2, 10, 2);
        ways
    }

    /// Makes `wg0` and gives us `host` of its networks.
    pub fn open(&self, host: u8) {
        self.join("wg0", 1, 100, host);
    }

    /// Our IPv4 address on `wg0` when it was opened with `host`.
    pub fn ours(host: u8) -> IpAddr {
        Ipv4Addr::new(198, 19, 1, host).into()
    }

    /// The same of IPv6.
    pub fn ours6(host: u8) -> IpAddr {
        let host = u16::from_str_radix(&host.to_string(), 16).unwrap();
        Ipv6Addr::new(0xfd77, 1, 0, 0, 0, 0, 0, host).into()
    }

    /// `ip` with these words, on our side.
    pub fn ip(&self, words: &str) {
        let status = Command::new("ip").args(words.split(' ')).status().unwrap();
        assert!(status.success(), "ip {words}");
    }

    /// Has `make` done in the world: what it starts lives there.
    pub fn there<T: Send>(&self, make: impl FnOnce() -> T + Send) -> T {
        let pid = self.world.pid();
        std::thread::scope(|scope| {
            let made = scope.spawn(move || {
                enter(pid).unwrap();
                make()
            });
            made.join().unwrap()
        })
    }

    fn join(&self, name: &str, number: u8, metric: u16, host: u8) {
        let pid = self.world.pid();
        let numbers = [number.to_string(), pid.to_string(), metric.to_string(), host.to_string()];
        let status = Command::new("sh").args(["-ec", JOIN, "sh", name]).args(numbers).status().unwrap();
        assert!(status.success(), "the link {name}");
    }
}

/// Everything that comes by an interface or leaves by it, but for what the kernel says itself there: of neighbours and
/// multicast groups, in ICMPv6; and that a connection is no more, to whoever still talks to it. The latter goes by the
/// routes of the machine, as it belongs to no socket. A connection of ours that left there would say more.
#[derive(Debug)]
pub struct Capture {
    seen: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Capture {
    /// Of this interface of the test's network, from now on.
    pub fn of(interface: &str) -> Capture {
        let index = if_nametoindex(interface).unwrap() as usize;
        let socket =
            socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll)
                .unwrap();
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::new(0, 20_000)).unwrap();
        setsockopt(&socket, sockopt::RcvBufForce, &(16 << 20)).unwrap();
        let (seen, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (to, until) = (seen.clone(), stop.clone());
        let reading = move || {
            let mut frame = [0; 2048];
            while !until.load(Ordering::Relaxed) {
                let Ok((len, from)) = recvfrom::<LinkAddr>(socket.as_raw_fd(), &mut frame) else { continue };
                let frame = &frame[..len];
                if from.is_some_and(|from| from.ifindex() == index) && !is_the_kernels(frame) {
                    to.lock().unwrap().push(shown(frame));
                }
            }
        };
        Capture { seen, stop, thread: Some(std::thread::spawn(reading)) }
    }

    /// What there was so far.
    pub fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn is_the_kernels(frame: &[u8]) -> bool {
    let byte = |at: usize| frame.get(at).copied().unwrap_or_default();
    let (protocol, payload) = match frame.get(12..14) {
        Some([0x08, 0x00]) => (byte(23), 14 + usize::from(byte(14) & 0x0f) * 4),
        Some([0x86, 0xdd]) => (byte(20), 14 + 40),
        _ => return false,
    };
    match protocol {
        // Reports of multicast groups have a header more.
        ICMPV6 | HOP_BY_HOP => byte(12) == 0x86,
        // A socket that is closed with data in it sends one with ACK.
        TCP => match byte(payload + 13) & 0x3f {
            RST => true,
            // Of IPv6, what is left of a connection that we closed first acknowledges the other end's, without a socket.
            ACK => byte(12) == 0x86 && payload + usize::from(byte(payload + 12) >> 4) * 4 == frame.len(),
            _ => false,
        },
        _ => false,
    }
}

/// A frame for whoever reads why a test failed: type, protocol and the beginning.
fn shown(frame: &[u8]) -> String {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let kind = frame.get(12..14).unwrap_or_default();
    format!("ethertype {} {}", hex(kind), hex(frame.get(14..74.min(frame.len())).unwrap_or_default()))
}
