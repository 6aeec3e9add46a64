//! What an attack is, what it finds, and what it may cost.
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::held::Held;
use super::measure::Measured;
use super::proxies::Liar;
use crate::daemon::Daemon;
use crate::lan::Lan;
use crate::wait::pause;

/// A built without optimisations, with every invariant of the engine asserted at every message, takes so much longer.
const UNOPTIMISED: u32 = 20;
/// Processor time that is no fault: the clock of processes ticks a hundred times a second, and the daemon's own
/// chores come when they come.
const UNNOTICED: Duration = Duration::from_millis(400);
/// Resident memory that is no fault: an allocator keeps what it once had, and the pool of buffers what was used.
const KEPT: u64 = 6 << 20;
/// Bytes that a stranger may have the daemon log: nobody must fill a disk.
const LOGGED: u64 = 64 * 1024;
/// Of what an honest transfer had undisturbed it keeps at least so much.
const KEPT_SPEED: f64 = 0.8;

/// What an attack may cost the daemon.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    /// Resident memory beyond what it had, in bytes.
    pub memory: u64,
    /// Open descriptors beyond those it had.
    pub descriptors: usize,
    /// Processor time for each unit, of a build with optimisations.
    pub each: Duration,
    /// Bytes of its log.
    pub log: u64,
}

impl Bound {
    /// So many MiB, descriptors, and microseconds for each unit.
    pub const fn new(mib: u64, descriptors: usize, each_micros: u64) -> Bound {
        Bound { memory: mib << 20, descriptors, each: Duration::from_micros(each_micros), log: LOGGED }
    }

    /// The same for those of whom each call is logged, with what it was about.
    pub const fn logged(self, kib: u64) -> Bound {
        Bound { log: kib << 10, ..self }
    }

    /// What of `measured` is more than it may be, or less; nothing is well.
    pub fn exceeded(&self, measured: &Measured) -> Vec<String> {
        let mut faults = self.spent(measured);
        for (kept, which) in measured.kept.iter().zip(["upload", "download"]) {
            if *kept < KEPT_SPEED {
                faults.push(format!("the honest {which} had {:.0} % of its speed", kept * 100.0));
            }
        }
        faults
    }

    /// What it cost that it may not.
    pub fn spent(&self, measured: &Measured) -> Vec<String> {
        let mut faults = Vec::new();
        let memory = self.memory + KEPT;
        if measured.memory > memory {
            faults.push(format!("{} KiB of memory, bound {}", measured.memory >> 10, memory >> 10));
        }
        if measured.descriptors > self.descriptors {
            faults.push(format!("{} descriptors, bound {}", measured.descriptors, self.descriptors));
        }
        let factor = if cfg!(debug_assertions) { UNOPTIMISED } else { 1 };
        let units = u32::try_from(measured.units).unwrap_or(u32::MAX);
        let cpu = self.each.saturating_mul(units).saturating_mul(factor).max(Duration::ZERO) + UNNOTICED;
        if measured.cpu > cpu {
            let cost = measured.cpu;
            faults.push(format!("{cost:?} of processor time for {units} units, bound {cpu:?}"));
        }
        if measured.logged > self.log {
            faults.push(format!("{} KiB of log, bound {}", measured.logged >> 10, self.log >> 10));
        }
        if measured.units == 0 {
            faults.push("nothing came of the attack: it tells nothing".to_owned());
        }
        if measured.panicked {
            faults.push("the daemon's log tells of a panic".to_owned());
        }
        faults
    }
}

/// Datagrams a second in the short form.
const PACE: f64 = 4_000.0;
/// Sent in one go before it is looked at the clock.
const BURST: usize = 50;

/// One way to do wrong.
#[derive(Clone, Copy)]
pub struct Attack {
    /// What it does, in a few words.
    pub name: &'static str,
    /// What is counted of it.
    pub unit: &'static str,
    /// What it may cost.
    pub bound: Bound,
    /// Does it until the field's time is over; gives how many units it did.
    pub run: fn(&Field<'_>) -> u64,
}

impl std::fmt::Debug for Attack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// What an attacker finds.
pub struct Field<'a> {
    /// The daemon.
    pub daemon: &'a Daemon,
    /// Where peers reach it.
    pub to: SocketAddr,
    /// A torrent that it seeds.
    pub seeded: &'a Held,
    /// A torrent that it downloads.
    pub fetched: &'a Held,
    /// The proxy that the daemon connects by, where it has one.
    pub proxy: Option<&'a Liar>,
    /// The cable to its neighbours, where it has any.
    pub lan: Option<&'a Lan>,
    /// Whether this is the long form, without any pace.
    pub long: bool,
    /// Which run this is; what is added must have a name of its own.
    pub run: u32,
    /// When the attack is to end.
    pub end: Instant,
}

impl Field<'_> {
    /// Whether the time is over.
    pub fn over(&self) -> bool {
        Instant::now() >= self.end
    }

    /// How many of something there are in the short and in the long form.
    pub fn many(&self, short: usize, long: usize) -> usize {
        if self.long { long } else { short }
    }

    /// Has datagrams sent until the time is over, each by its number, in the short form at a pace. Gives how many.
    pub fn paced(&self, mut send: impl FnMut(usize)) -> u64 {
        let (mut sent, began) = (0, Instant::now());
        while !self.over() {
            if !self.long && sent as f64 > began.elapsed().as_secs_f64() * PACE {
                pause(Duration::from_millis(1));
                continue;
            }
            (sent..sent + BURST).for_each(&mut send);
            sent += BURST;
        }
        sent as u64
    }

    /// The daemon's control socket.
    pub fn socket(&self) -> PathBuf {
        self.daemon.socket()
    }

    /// The address of an attacker; all of 198.18.0.0/16 is local.
    pub fn attacker(&self, number: usize) -> IpAddr {
        const OF_NET: usize = 250;
        let (net, host) = (1 + number / OF_NET % OF_NET, 1 + number % OF_NET);
        IpAddr::V4(Ipv4Addr::new(198, 18, net as u8, host as u8))
    }
}
