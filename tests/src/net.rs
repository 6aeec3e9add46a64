//! A network of its own for each test.
//!
//! As root, the thread of the test moves into a fresh network namespace that has only `lo`, with
//! addresses of 198.18.0.0/16 (RFC 2544, for benchmarks: some peers refuse 127.0.0.0/8) and of a
//! private IPv6 prefix on it. Threads and processes that the test starts are in it too, so nothing
//! leaks and tests can't meet. Without that right the machine's own loopback serves, with all ports
//! ephemeral; what needs more says so with [`Net::required`].
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// What sets up the namespace, and holds it until its standard input ends.
const SETUP: &str = "ip link set lo up && ip addr add 198.18.0.1/16 dev lo && for n in 1 2 3 4 5 6 7 8 9; do \
    ip addr add fd77::1$n/128 dev lo nodad; done && echo ready && exec cat";

/// Makes what a socket holds small, so that what the counterpart counts is what a limit let through.
const SHORT_BUFFERS: &str = "ip link set lo mtu 1500 && echo '4096 131072 131072' > /proc/sys/net/ipv4/tcp_rmem && \
    echo '4096 65536 131072' > /proc/sys/net/ipv4/tcp_wmem";

/// The network of one test. Its first address is the daemon's, each further one another peer's.
#[derive(Debug)]
pub struct Net {
    isolated: bool,
    used: u8,
}

/// Whether what is missing fails a test instead of skipping it.
pub fn is_strict() -> bool {
    let set =
        |name| std::env::var(name).is_ok_and(|value| !value.is_empty() && value != "0" && value != "false");
    set("WGOD_REQUIRE_PEERS") || set("CI")
}

/// Says loudly that a test did not run, or fails it where that is not acceptable.
pub fn skip(test: &str, why: &str) {
    assert!(!is_strict(), "{test}: {why}");
    eprintln!("SKIPPED {test}: {why}");
}

impl Net {
    /// A network of its own if possible, else the machine's loopback.
    pub fn new() -> Net {
        match isolate() {
            Ok(()) => Net { isolated: true, used: 0 },
            Err(why) => {
                assert!(!is_strict(), "no network namespace: {why}");
                eprintln!("no network namespace ({why}): using the loopback of this machine");
                Net { isolated: false, used: 0 }
            }
        }
    }

    /// A network of its own; `None`, said loudly, where that can't be.
    pub fn required(test: &str) -> Option<Net> {
        match isolate() {
            Ok(()) => Some(Net { isolated: true, used: 0 }),
            Err(why) => {
                skip(test, &format!("no network namespace: {why}"));
                None
            }
        }
    }

    /// The address for the daemon under test, alike in every call.
    pub fn home(&self) -> IpAddr {
        if self.isolated { v4(11) } else { IpAddr::V4(Ipv4Addr::LOCALHOST) }
    }

    /// The daemon's IPv6 address.
    pub fn home6(&self) -> IpAddr {
        if self.isolated { v6(0x11) } else { IpAddr::V6(Ipv6Addr::LOCALHOST) }
    }

    /// The next unused IPv4 address.
    pub fn ip(&mut self) -> IpAddr {
        self.used += 1;
        assert!(self.used < 80, "a test has few peers");
        match self.isolated {
            // All of 198.18.0.0/16 is local to `lo`: addresses need not be listed one by one.
            true => v4(100 + self.used),
            false => IpAddr::V4(Ipv4Addr::new(127, 0, 0, 1 + self.used)),
        }
    }

    /// The next unused IPv6 address.
    pub fn ip6(&mut self) -> IpAddr {
        self.used += 1;
        assert!(self.used < 8, "add more addresses to SETUP");
        if self.isolated { v6(0x11 + u16::from(self.used)) } else { IpAddr::V6(Ipv6Addr::LOCALHOST) }
    }

    /// Cuts socket buffers down to a tenth of a second of the rates that limits are tested with.
    pub fn short_buffers(&self) {
        if self.isolated {
            let status = Command::new("sh").args(["-ec", SHORT_BUFFERS]).status().unwrap();
            assert!(status.success(), "socket buffers of the namespace");
        }
    }
}

impl Default for Net {
    fn default() -> Self {
        Self::new()
    }
}

fn v4(host: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(198, 18, 0, host))
}

fn v6(host: u16) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, host))
}

/// A port at `ip` that is free now. For peers that can't say which port they got.
pub fn free_port(ip: IpAddr) -> u16 {
    TcpListener::bind(SocketAddr::new(ip, 0)).unwrap().local_addr().unwrap().port()
}

/// Moves this thread into a new network namespace.
fn isolate() -> Result<(), String> {
    let mut holder = Command::new("unshare")
        .args(["-n", "sh", "-c", SETUP])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("unshare: {error}"))?;
    let mut line = String::new();
    let said = BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line);
    let entered = match (said, line.as_str()) {
        (Ok(_), "ready\n") => enter(holder.id()),
        _ => Err("cannot set it up".to_owned()),
    };
    drop(holder.stdin.take());
    let output = holder.wait_with_output().map_err(|error| error.to_string())?;
    entered.map_err(|why| format!("{why} {}", String::from_utf8_lossy(&output.stderr).trim()))
}

/// Moves this thread into the network namespace of a process.
pub(crate) fn enter(pid: u32) -> Result<(), String> {
    let namespace = File::open(format!("/proc/{pid}/ns/net")).map_err(|error| error.to_string())?;
    enter_namespace(&namespace)
}

/// Moves this thread into a network namespace.
pub(crate) fn enter_namespace(namespace: &File) -> Result<(), String> {
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
        .map_err(|error| format!("setns: {error}"))
}

/// The network namespace of this thread.
pub(crate) fn namespace() -> File {
    File::open("/proc/thread-self/ns/net").unwrap()
}
