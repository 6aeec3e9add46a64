//! Where attacks run: a daemon with two honest transfers, alone in its network.
use std::fs;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tempfile::TempDir;
use wgo_api::State;

use super::attack::{Attack, Field};
use super::good::Good;
use super::held::Held;
use super::measure::{FIGURES, Measured, measure, settle};
use super::proxies::Liar;
use crate::daemon::{Daemon, Settings};
use crate::lan::Lan;
use crate::net::Net;
use crate::procfs;
use crate::wait::{SOON, until};

/// Pieces of the torrents in the short form, in which the daemon looks at each of them after every message, as its
/// invariants are asserted; and in the long one, in which what costs time for each of them would be seen.
const FEW_PIECES: u32 = 128;
const MANY_PIECES: u32 = 65_536;
/// Bytes of what is seeded, and of what is downloaded, which lasts for as long as a stage does.
const SEEDED: u64 = 64 << 20;
const FETCHED: u64 = 512 << 20;
const LONG_SEEDED: u64 = 1 << 30;
const LONG_FETCHED: u64 = 4 << 30;
/// How long an attack takes in either form, and the calm before it.
const SHORT: Duration = Duration::from_millis(1000);
const LONG: Duration = Duration::from_secs(5);
const SHORT_CALM: Duration = Duration::from_millis(500);
const LONG_CALM: Duration = Duration::from_secs(2);
/// The honest transfers are well under way when each has moved so much.
const UNDER_WAY: u64 = 1 << 20;
/// An attack is tried so often at most.
const TRIES: u32 = 4;
/// Of the time of an attack, what the daemon may have waited for a processor for its speed to be its own.
const WAITED: f64 = 0.15;
/// What happens to peers, honest ones and others.
const DISTURBANCES: [&str; 5] = [
    "honest leecher choked",
    "honest leecher connected again",
    "honest seed connected again",
    "bans of the seeded torrent",
    "bans of the other one",
];
/// Descriptors that a test needs for itself.
const DESCRIPTORS: u64 = 16_384;

/// How the daemon is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Peers and trackers.
    Plain,
    /// With a node of the DHT.
    Dht,
    /// Connecting by a proxy that lies.
    Proxy,
    /// With neighbours on a cable, and a gateway among them.
    Lan,
}

/// A running stage.
#[derive(Debug)]
pub struct Stage {
    // The transfers end before the daemon does.
    good: [Good; 2],
    daemon: Daemon,
    seeded: Held,
    fetched: Held,
    long: bool,
    runs: u32,
    proxy: Option<Liar>,
    lan: Option<Lan>,
    _folder: TempDir,
    net: Net,
}

impl Stage {
    /// Starts one; `None`, said loudly, where there can be no network of its own.
    pub fn start(name: &str, kind: Kind, long: bool) -> Option<Stage> {
        raise_descriptors();
        let mut net = Net::required(name)?;
        let (pieces, seeded, fetched) = match long {
            true => (MANY_PIECES, LONG_SEEDED, LONG_FETCHED),
            false => (FEW_PIECES, SEEDED, FETCHED),
        };
        let of = |name: &str, len: u64| Held::new(name, pieces, (len / u64::from(pieces)) as u32, &[]);
        let (seeded, fetched) = (of("seeded.bin", seeded), of("fetched.bin", fetched));
        let proxy = (kind == Kind::Proxy).then(|| Liar::start(net.ip()));
        let lan = match kind {
            Kind::Lan => Some(Lan::beside(&net, name)?),
            _ => None,
        };
        let daemon = Daemon::with(settings(&net, kind, proxy.as_ref(), lan.as_ref()));
        let folder = folder();
        seeded.write(folder.path());
        let seeds = daemon.add(&seeded.torrent, folder.path(), &[]);
        daemon.wait_seeding(&seeds);
        let fetches = daemon.add(&fetched.torrent, folder.path(), &[]);
        daemon.wait_state(&fetches, State::Downloading, SOON);
        let to = daemon.listens(net.home());
        let good = [Good::taking(net.ip(), to, seeded.clone()), Good::giving(net.ip(), to, fetched.clone())];
        until("the honest transfers are under way", SOON, || {
            good.iter().all(|good| good.bytes() >= UNDER_WAY).then_some(())
        });
        Some(Stage { good, daemon, seeded, fetched, long, runs: 0, proxy, lan, _folder: folder, net })
    }

    /// Runs an attack and says what it cost.
    ///
    /// # Panics
    /// When what it opened isn't closed afterwards, or the daemon doesn't answer.
    pub fn run(&mut self, attack: &Attack) -> Measured {
        let open = procfs::descriptors(self.daemon.pid());
        let log = self.log_len();
        let (calm, span) = if self.long { (LONG_CALM, LONG) } else { (SHORT_CALM, SHORT) };
        self.runs += 1;
        let (daemon, run) = (&self.daemon, self.runs);
        let before = self.disturbances();
        let mut measured = measure(daemon, &self.good, calm, || {
            let to = daemon.listens(self.net.home());
            let field = Field {
                daemon,
                to,
                seeded: &self.seeded,
                fetched: &self.fetched,
                proxy: self.proxy.as_ref(),
                lan: self.lan.as_ref(),
                long: self.long,
                run,
                end: Instant::now() + span,
            };
            (attack.run)(&field)
        });
        if let Err(left) = settle(daemon, open) {
            panic!("{}: {left} descriptors are left open", attack.name);
        }
        for (name, (now, before)) in DISTURBANCES.into_iter().zip(self.disturbances().into_iter().zip(before))
        {
            if now > before {
                measured.said.push((name.to_owned(), (now - before) as f64));
            }
        }
        measured.logged = self.log_len() - log;
        measured
    }

    /// Runs the attacks and fails if one costs more than it may, twice.
    #[track_caller]
    pub fn judge(&mut self, attacks: &[Attack]) {
        let faults: Vec<String> = attacks.iter().filter_map(|attack| self.verdict(attack)).collect();
        assert!(faults.is_empty(), "{faults:#?}");
    }

    /// What is wrong with an attack, if it is so twice: the machine may have been busy elsewhere. When the daemon had
    /// to wait for a processor, what is slow tells nothing of the daemon, and it is tried again.
    fn verdict(&mut self, attack: &Attack) -> Option<String> {
        let (mut faults, mut tries) = (Vec::new(), 0);
        while faults.len() < 2 && tries < TRIES {
            let measured = self.run(attack);
            tell(attack, &measured);
            tries += 1;
            let exceeded = attack.bound.exceeded(&measured);
            let tells = measured.waited < WAITED || !attack.bound.spent(&measured).is_empty();
            match exceeded.is_empty() {
                true => return None,
                false if tells => faults.push(exceeded.join("; ")),
                false => {}
            }
        }
        if faults.len() < 2 {
            eprintln!("{}: this machine is too busy to tell what becomes of honest transfers", attack.name);
            return None;
        }
        Some(format!("{}: {}", attack.name, faults.join(", then ")))
    }

    fn log_len(&self) -> u64 {
        fs::metadata(self.daemon.home().join("log")).unwrap().len()
    }

    /// How much of that happened so far.
    fn disturbances(&self) -> [u64; 5] {
        let bans = |held: &Held| self.daemon.show(&held.torrent.id()).bans.unwrap_or_default().len() as u64;
        let [taking, giving] = &self.good;
        let (seeded, fetched) = (bans(&self.seeded), bans(&self.fetched));
        [taking.chokes(), taking.connections(), giving.connections(), seeded, fetched]
    }
}

/// One line of what an attack did.
pub fn tell(attack: &Attack, measured: &Measured) {
    let Measured { memory, descriptors, cpu, units, kept, span, said, waited, .. } = measured;
    let each = cpu.as_secs_f64() * 1e6 / (*units).max(1) as f64;
    eprintln!(
        "{}: {} KiB, {descriptors} descriptors, {:.2} s of processor time in {:.1} s, {units} {} of {each:.1} µs, \
         transfers at {:.0} % and {:.0} %, waited {:.0} %; {said:?}",
        attack.name,
        memory >> 10,
        cpu.as_secs_f64(),
        span.as_secs_f64(),
        attack.unit,
        kept[0] * 100.0,
        kept[1] * 100.0,
        waited * 100.0,
    );
}

/// Where the honest torrents lie: in memory, where there is such a place, as disks have moods of their own.
fn folder() -> TempDir {
    let mut builder = tempfile::Builder::new();
    let builder = builder.prefix("wgod-hostile-");
    builder.tempdir_in("/dev/shm").or_else(|_| builder.tempdir()).unwrap()
}

fn settings(net: &Net, kind: Kind, proxy: Option<&Liar>, lan: Option<&Lan>) -> Settings {
    let network = match proxy {
        Some(proxy) => format!("proxy = \"socks5://{}\"\nport_mapping = false", proxy.addr()),
        None if lan.is_some() => String::new(),
        None => "port_mapping = false".to_owned(),
    };
    Settings {
        // The way out is by the first.
        ips: lan.map(|lan| lan.ours(true)).into_iter().chain([net.home()]).collect(),
        network,
        // Slots are for everybody: who is interested gets one, and that is no attack.
        slots: Some(1000),
        dht: (kind == Kind::Dht).then(|| "bootstrap = []".to_owned()),
        // Files of zeros stay without room.
        storage: "preallocate = \"sparse\"".to_owned(),
        sections: format!("[metrics]\nlisten = \"{FIGURES}\"\n"),
        // As daemons are run: what is logged of each refused connection would be most of its cost.
        env: vec![("WGOD_DAEMON_LOG".to_owned(), "info".to_owned())],
        ..Settings::default()
    }
}

/// Thousands of connections are open at both ends.
fn raise_descriptors() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = maximum.map_or(DESCRIPTORS, |most| most.min(DESCRIPTORS));
    if current.is_some_and(|current| current < wanted) {
        let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum });
        raised.expect("up to the maximum anybody may have");
    }
}
