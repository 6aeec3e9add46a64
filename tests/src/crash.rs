//! Kills and power cuts of the real daemon.
//!
//! An operator who has a seed (`plan`) adds, removes, moves, renames, checks and tunes torrents over the control
//! socket while they are fetched from a second daemon, and notes what was acknowledged and what is in doubt
//! (`known`). At some moment, mostly right behind a request, the daemon is killed, or the power fails: then what was
//! not synced is lost, down to single sectors (`disk`). When it is back, the judge looks at what it says and at every
//! byte (`judge`). `cargo run -p wgo-tests --bin crash -- --help` runs it for long.
use std::time::{Duration, Instant};

use crate::net::Net;

pub mod disk;
mod fact;
mod home;
mod judge;
mod known;
mod life;
mod operator;
mod plan;
mod stock;

use home::Power;
use life::Life;
use stock::Stock;

/// Deaths of one state directory before it is made whole, compared and left.
const DEATHS_OF_A_LIFE: u64 = 40;
/// Power cuts of one, which each take what many kills leave.
const CUTS_OF_A_LIFE: u64 = 15;

/// Power cuts of one whose disk fails, each after a time of that, unless another number is asked for.
const DEATHS_OF_A_SUFFERER: u64 = 4;
/// Where what wasn't synced is lost, in turn.
const CUTS: [Power; 3] = [Power::CutsAll, Power::CutsPayload, Power::CutsState];

/// What is run.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// At least so many kills with the power on.
    pub kills: u64,
    /// At least so many power cuts.
    pub cuts: u64,
    /// So many lives on a disk that fails operations.
    pub faults: u64,
    /// Power cuts of each of those; 4 if not said.
    pub deaths: u64,
    /// The operator waits between requests, for as long as a checkpoint by the clock takes to come, and syncs are slow.
    pub patient: bool,
    /// The first life's; each further one has the next.
    pub seed: u64,
}

/// What was done.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Times that the daemon was killed with the power on.
    pub kills: u64,
    /// Of these, before it answered.
    pub kills_at_start: u64,
    /// Of these, while it stopped.
    pub kills_at_stop: u64,
    /// Power cuts.
    pub cuts: u64,
    /// Clean stops in between.
    pub stops: u64,
    /// Requests that were acknowledged.
    pub acknowledged: u64,
    /// Requests that nobody answered.
    pub doubtful: u64,
    /// Requests that were refused.
    pub refused: u64,
    /// Operations that failed on purpose.
    pub failures: u64,
    /// State directories.
    pub lives: u64,
}

impl Tally {
    fn line(&self, begun: Instant) -> String {
        format!(
            "{} kills ({} at start, {} at stop), {} power cuts, {} clean stops; {} requests acknowledged, {} in doubt, \
             {} refused; {} failed operations; {} lives, {:.0} s",
            self.kills,
            self.kills_at_start,
            self.kills_at_stop,
            self.cuts,
            self.stops,
            self.acknowledged,
            self.doubtful,
            self.refused,
            self.failures,
            self.lives,
            begun.elapsed().as_secs_f64()
        )
    }
}

/// Why there are no power cuts here.
///
/// # Errors
/// What the system says when FUSE can't be mounted.
pub fn fuse() -> Result<(), String> {
    let at = tempfile::tempdir().map_err(|error| error.to_string())?;
    disk::Disk::mount(at.path()).map(drop).map_err(|error| format!("FUSE can't be mounted: {error}"))
}

/// Runs what `options` say; `say` hears how far it is.
///
/// # Panics
/// When anything that was acknowledged is lost, or anything that is shown is not there.
pub fn run(options: &Options, say: &mut dyn FnMut(String)) -> Tally {
    let begun = Instant::now();
    let mut net = Net::new();
    let at = net.home();
    let from = net.ip();
    let stock = Stock::new(from);
    let mut tally = Tally::default();
    let mut seed = options.seed;
    let mut live = |power: Option<Power>, tally: &mut Tally, deaths: u64, say: &mut dyn FnMut(String)| {
        let power = power.unwrap_or(CUTS[seed as usize % CUTS.len()]);
        let mut life = Life::new((seed, power, options.patient), at, &stock, stock.addr(from));
        life.run(tally, deaths);
        tally.lives += 1;
        say(format!("seed {seed}, {power:?}: {}", tally.line(begun)));
        seed += 1;
    };
    while tally.kills < options.kills {
        let deaths = DEATHS_OF_A_LIFE.min(options.kills - tally.kills);
        live(Some(Power::On), &mut tally, deaths, say);
    }
    while tally.cuts < options.cuts {
        let deaths = CUTS_OF_A_LIFE.min(options.cuts - tally.cuts);
        live(None, &mut tally, deaths, say);
    }
    for _ in 0..options.faults {
        let deaths = if options.deaths == 0 { DEATHS_OF_A_SUFFERER } else { options.deaths };
        live(Some(Power::Faults), &mut tally, deaths, say);
    }
    tally
}

/// Time in which whatever a life left unfinished gets complete.
const COMPLETE: Duration = Duration::from_secs(300);
