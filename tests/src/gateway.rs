//! A home network: the test's namespace is the machine inside; a router with miniupnpd, which translates its
//! address; and a namespace that is the Internet.
//!
//! The addresses outside are public ones: miniupnpd maps nothing for a router that has others.
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::net::{Net, enter, skip};
use crate::process::Process;
use crate::space::{Space, run};
use crate::wait::{SOON, until};

/// The machine inside.
pub const INSIDE: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 2);
/// Another machine inside, which is the same one.
pub const NEIGHBOUR: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 3);
/// The router, from inside.
pub const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 1);
/// The router, from outside.
pub const FRONT: Ipv4Addr = Ipv4Addr::new(11, 0, 0, 1);
/// Somebody outside.
pub const OUTSIDE: Ipv4Addr = Ipv4Addr::new(11, 0, 0, 2);

/// What the router does: it lets out and translates, lets nothing in but what miniupnpd says, and counts what
/// it is asked by those who want more.
const RULES: &str = "
table inet filter {
    chain miniupnpd { }
    chain prerouting_miniupnpd { }
    chain postrouting_miniupnpd { }
    chain deaf { }
    chain input {
        type filter hook input priority 0; policy accept;
        iifname \"lan0\" udp dport { 5351, 1900 } counter comment \"asked\"
        jump deaf
    }
    chain forward {
        type filter hook forward priority 0; policy drop;
        iifname \"lan0\" accept
        ct state established,related accept
        jump miniupnpd
    }
    chain prerouting { type nat hook prerouting priority dstnat; jump prerouting_miniupnpd; }
    chain postrouting {
        type nat hook postrouting priority srcnat;
        jump postrouting_miniupnpd
        oifname \"wan0\" masquerade
    }
}";

/// What the router answers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaks {
    /// PCP, NAT-PMP and UPnP.
    Everything,
    /// All but PCP.
    NoPcp,
    /// UPnP alone.
    Upnp,
    /// Nothing.
    Nothing,
}

impl Speaks {
    /// What it doesn't hear. miniupnpd has PCP and NAT-PMP on one port and one switch; what follows the header of
    /// UDP begins with the version.
    fn rules(self) -> &'static str {
        match self {
            Speaks::Everything => "",
            Speaks::NoPcp => "add rule inet filter deaf udp dport 5351 @th,64,8 2 drop",
            Speaks::Upnp => "add rule inet filter deaf udp dport 5351 drop",
            Speaks::Nothing => "add rule inet filter deaf iifname \"lan0\" drop",
        }
    }
}

/// The router and what is behind it. All of it ends when dropped.
#[derive(Debug)]
pub struct Gateway {
    // Before the namespaces, in which it runs.
    daemon: Option<Process>,
    router: Space,
    outside: Space,
    home: TempDir,
    /// The longest lease that it gives, in seconds.
    pub max_lifetime: u32,
}

impl Gateway {
    /// Makes the test's namespace a machine behind a router. `None`, said loudly, where that can't be.
    pub fn before(_net: &Net, test: &str) -> Option<Gateway> {
        for program in ["miniupnpd", "nft"] {
            let paths = std::env::var_os("PATH").unwrap_or_default();
            if !std::env::split_paths(&paths).any(|folder| folder.join(program).is_file()) {
                skip(test, &format!("{program} not found: install miniupnpd-nftables and nftables"));
                return None;
            }
        }
        let (router, outside) = (Space::new(), Space::new());
        let (router_pid, outside_pid) = (router.pid().to_string(), outside.pid().to_string());
        let net = |ip: Ipv4Addr| format!("{ip}/24");
        run(&["ip", "link", "add", "lan0", "type", "veth", "peer", "name", "lan0", "netns", &router_pid]);
        router.run(&[
            "ip",
            "link",
            "add",
            "wan0",
            "type",
            "veth",
            "peer",
            "name",
            "wan0",
            "netns",
            &outside_pid,
        ]);
        run(&["ip", "addr", "add", &net(INSIDE), "dev", "lan0"]);
        run(&["ip", "addr", "add", &net(NEIGHBOUR), "dev", "lan0"]);
        run(&["ip", "link", "set", "lan0", "up"]);
        for (space, device, ip) in
            [(&router, "lan0", ROUTER), (&router, "wan0", FRONT), (&outside, "wan0", OUTSIDE)]
        {
            space.run(&["ip", "addr", "add", &net(ip), "dev", device]);
            space.run(&["ip", "link", "set", device, "up"]);
        }
        run(&["ip", "route", "add", "default", "via", &ROUTER.to_string()]);
        router.run(&["sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"]);
        router.run(&["nft", RULES]);
        let home = tempfile::Builder::new().prefix("wgod-router-").tempdir().unwrap();
        Some(Gateway { daemon: None, router, outside, home, max_lifetime: 86_400 })
    }

    /// Starts miniupnpd, which knows no mappings.
    pub fn start(&mut self) {
        let (home, max) = (self.home.path(), self.max_lifetime);
        let config = format!(
            "ext_ifname=wan0\nlistening_ip=lan0\nenable_natpmp=yes\nenable_upnp=yes\nmin_lifetime=10\nmax_lifetime={max}\n\
            secure_mode=yes\nsystem_uptime=no\nuuid=5e5a3b2c-0000-4000-8000-000000000001\nlease_file={home}/leases\n\
            allow 1024-65535 192.168.77.0/24 1024-65535\ndeny 0-65535 0.0.0.0/0 0-65535\n",
            home = home.display()
        );
        std::fs::write(home.join("conf"), config).unwrap();
        let log = home.join("log");
        let before = std::fs::read_to_string(&log).unwrap_or_default().len();
        let pid = self.router.pid().to_string();
        self.daemon = Some(Process::spawn("miniupnpd", Path::new("nsenter"), &log, |command| {
            command.args(["-t", &pid, "-n", "miniupnpd", "-d", "-f"]).arg(home.join("conf"));
            command.arg("-P").arg(home.join("pid"));
        }));
        until("miniupnpd listens", SOON, || {
            let log = std::fs::read_to_string(&log).unwrap_or_default();
            log.get(before..)?.contains("Listening for NAT-PMP/PCP").then_some(())
        });
    }

    /// What the router answers to from now on.
    pub fn speak(&self, speaks: Speaks) {
        self.router.run(&["nft", "flush chain inet filter deaf"]);
        if !speaks.rules().is_empty() {
            self.router.run(&["nft", speaks.rules()]);
        }
    }

    /// A power cut: it ends, and all that was mapped is lost.
    pub fn forget(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            daemon.kill9();
        }
        for left in ["leases", "pid"] {
            // It need not have written any.
            let _ = std::fs::remove_file(self.home.path().join(left));
        }
        for chain in ["miniupnpd", "prerouting_miniupnpd", "postrouting_miniupnpd"] {
            self.router.run(&["nft", &format!("flush chain inet filter {chain}")]);
        }
    }

    /// Has it say to all hosts that it has begun anew, which it does when its address changes.
    pub fn announce(&self) {
        self.daemon.as_ref().expect("it was started").signal(Signal::USR1);
    }

    /// Whether the router lets what comes to its port `external` in to `port` at `ip`.
    pub fn maps(&self, external: u16, (ip, port): (Ipv4Addr, u16)) -> bool {
        let rules = self.rules();
        let mut rules = rules.lines();
        rules.any(|rule| {
            rule.contains(&format!("dport {external} ")) && rule.contains(&format!("to {ip}:{port}"))
        })
    }

    /// The rules of what it has mapped.
    pub fn rules(&self) -> String {
        self.router.run(&["nft", "list", "chain", "inet", "filter", "prerouting_miniupnpd"])
    }

    /// Datagrams that ask it for something.
    pub fn asked(&self) -> u32 {
        let rules = self.router.run(&["nft", "list", "chain", "inet", "filter", "input"]);
        let counter = rules.lines().find(|line| line.contains("\"asked\"")).unwrap();
        let count = counter.split("packets ").nth(1).and_then(|rest| rest.split(' ').next());
        count.unwrap().parse().unwrap()
    }

    /// Does something in the Internet.
    pub fn outside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let pid = self.outside.pid();
        let there = move || {
            enter(pid).unwrap();
            work()
        };
        std::thread::scope(|scope| scope.spawn(there).join()).unwrap()
    }

    /// Has the port outside mapped to another machine inside, as NAT-PMP does (RFC 6886 section 3.3).
    pub fn take(&self, port: u16) {
        let socket = UdpSocket::bind((NEIGHBOUR, 0)).unwrap();
        socket.connect((ROUTER, 5351)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let [high, low] = port.to_be_bytes();
        socket.send(&[0, 2, 0, 0, high, low, high, low, 0, 0, 0x1c, 0x20]).unwrap();
        let mut answer = [0; 16];
        assert_eq!(socket.recv(&mut answer).unwrap(), 16);
        assert_eq!(answer[10..12], [high, low], "miniupnpd gave it: {answer:?}");
    }

    /// Where the Internet finds a mapped port.
    pub fn front(&self, external: u16) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(FRONT), external)
    }
}
