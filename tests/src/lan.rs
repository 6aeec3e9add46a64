//! Two machines on one cable: a network namespace for the daemon and one for its neighbours, joined so that
//! multicast crosses a link. And an ear at the neighbours' end.
//!
//! Control sockets of daemons are files, so a test starts its daemons at our end, crosses over, and does the rest
//! from there.
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::process::Command;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use wgo_proto::lsd::{Announcement, GROUP_V4, GROUP_V6};

use crate::net::{Net, enter_namespace, namespace, skip};
use crate::space::Space;

/// The interface at either end.
pub const INTERFACE: &str = "lan0";

/// A running cable.
#[derive(Debug)]
pub struct Lan {
    ours: File,
    theirs: File,
    holder: Space,
}

impl Lan {
    /// Moves this thread to our end; `None`, said loudly, where that can't be.
    pub fn required(test: &str) -> Option<Lan> {
        let net = Net::required(test)?;
        Lan::beside(&net, test)
    }

    /// The same for a thread that has a network of its own.
    pub fn beside(_net: &Net, test: &str) -> Option<Lan> {
        let holder = Space::new();
        let ours = namespace();
        let theirs = File::open(format!("/proc/{}/ns/net", holder.pid())).unwrap();
        let lan = Lan { ours, theirs, holder };
        if !lan.lay() {
            skip(test, "no pair of veth interfaces here");
            return None;
        }
        Some(lan)
    }

    /// Lays the cable; false where that can't be. To be called at our end, as is `cut`.
    pub fn lay(&self) -> bool {
        let pair =
            format!("link add {INTERFACE} type veth peer name {INTERFACE} netns {}", self.holder.pid());
        if !Command::new("ip").args(pair.split(' ')).status().unwrap().success() {
            return false;
        }
        configure(1, "");
        self.cross();
        // Some peers ask the routes where multicast leaves.
        configure(2, &format!("ip route add 224.0.0.0/4 dev {INTERFACE}"));
        self.back();
        true
    }

    /// Takes the cable away, with both interfaces.
    pub fn cut(&self) {
        shell(&format!("ip link del {INTERFACE}"));
    }

    /// Whether the way to everywhere else leads over the cable, through the neighbour.
    pub fn lead(&self, on: bool) {
        let verb = if on { "replace" } else { "del" };
        let (ours, gateway) = (&self.ours, self.theirs(true));
        // Whoever calls it may be at either end.
        std::thread::scope(|scope| {
            scope.spawn(|| {
                enter_namespace(ours).unwrap();
                shell(&format!("ip route {verb} default via {gateway}"));
            });
        });
    }

    /// Moves this thread to the neighbours' end.
    pub fn cross(&self) {
        enter_namespace(&self.theirs).unwrap();
    }

    /// Moves it back to ours.
    pub fn back(&self) {
        enter_namespace(&self.ours).unwrap();
    }

    /// Our address.
    pub fn ours(&self, v4: bool) -> IpAddr {
        address(v4, 1)
    }

    /// The neighbours' address.
    pub fn theirs(&self, v4: bool) -> IpAddr {
        address(v4, 2)
    }
}

fn address(v4: bool, host: u8) -> IpAddr {
    match v4 {
        true => Ipv4Addr::new(10, 77, 0, host).into(),
        false => Ipv6Addr::new(0xfd77, 0, 0, 1, 0, 0, 0, host.into()).into(),
    }
}

/// Gives the end where this thread is its addresses.
fn configure(host: u8, more: &str) {
    let (v4, v6) = (address(true, host), address(false, host));
    shell(&format!(
        "echo 0 > /proc/sys/net/ipv6/conf/{INTERFACE}/accept_dad
        ip addr add {v4}/24 dev {INTERFACE}
        ip addr add {v6}/64 dev {INTERFACE} nodad
        ip link set {INTERFACE} up
        {more}"
    ));
}

fn shell(script: &str) {
    let status = Command::new("sh").args(["-ec", script]).status().unwrap();
    assert!(status.success(), "{script}");
}

/// Someone who listens to the group of one family, and says what the test wants. Other programs at its end may
/// listen, too.
#[derive(Debug)]
pub struct Ear {
    socket: UdpSocket,
    group: SocketAddr,
}

impl Ear {
    /// Listens at the end where this thread is.
    pub fn open(v4: bool) -> Ear {
        let group = if v4 { GROUP_V4 } else { GROUP_V6 };
        let socket = Socket::new(Domain::for_address(group), Type::DGRAM, Some(Protocol::UDP)).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.bind_device(Some(INTERFACE.as_bytes())).unwrap();
        socket.bind(&group.into()).unwrap();
        match group.ip() {
            IpAddr::V4(ip) => socket.join_multicast_v4(&ip, &Ipv4Addr::UNSPECIFIED).unwrap(),
            IpAddr::V6(ip) => socket.join_multicast_v6(&ip, 0).unwrap(),
        }
        let socket = UdpSocket::from(socket);
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        Ear { socket, group }
    }

    /// The next datagram, if one comes in a moment: who sent it, and what.
    pub fn next(&self) -> Option<(SocketAddr, Vec<u8>)> {
        let mut datagram = [0; 2000];
        let (len, from) = self.socket.recv_from(&mut datagram).ok()?;
        Some((from, datagram[..len].to_vec()))
    }

    /// Says so.
    pub fn announce(&self, announcement: &Announcement<'_>) {
        self.say(&announcement.encode(self.group));
    }

    /// Sends any bytes.
    pub fn say(&self, datagram: &[u8]) {
        self.socket.send_to(datagram, self.group).unwrap();
    }
}
