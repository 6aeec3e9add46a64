//! What the kernel says that an attack cost the daemon, and what the honest transfers had meanwhile.
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::setpriority_process;

use super::good::{Good, RATE};
use crate::daemon::Daemon;
use crate::prometheus::Scrape;
use crate::wait::{SOON, TRANSFER, pause, try_until, until};
use crate::{http, procfs};

/// Between two looks at the descriptors.
const LOOK: Duration = Duration::from_millis(20);
/// Of the rate that the honest transfers have, what is enough to compare with.
const ENOUGH: f64 = 0.85;
/// An attack that is over sooner is watched for so long: of a shorter time a block more or less would make half.
const LEAST: Duration = Duration::from_millis(500);
/// Descriptors that may be left when an attack is over: what was opened for the honest peers meanwhile.
const LEFT: usize = 24;
/// The niceness of attackers; what they start inherits it.
const ATTACKERS: i32 = 10;
/// Where the figures are served, in a network namespace that has nobody else.
pub const FIGURES: &str = "127.0.0.1:9868";

/// What one attack did.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// The most resident memory beyond what it was before, in bytes.
    pub memory: u64,
    /// The most open descriptors beyond those of before.
    pub descriptors: usize,
    /// Processor time beyond what the honest transfers take.
    pub cpu: Duration,
    /// How much the attacker did.
    pub units: u64,
    /// What the upload and the download had, in parts of what they had undisturbed.
    pub kept: [f64; 2],
    /// How long it took.
    pub span: Duration,
    /// What the daemon counted: figures that grew.
    pub said: Vec<(String, f64)>,
    /// Time that its threads waited for a processor, in parts of the span.
    pub waited: f64,
    /// Bytes that it wrote to its log.
    pub logged: u64,
    /// Whether its log tells of a panic.
    pub panicked: bool,
}

/// What the daemon and the honest peers had done up to a moment.
struct Sample {
    at: Instant,
    cpu: Duration,
    waited: Duration,
    bytes: [u64; 2],
}

impl Sample {
    fn take(pid: u32, good: &[Good; 2]) -> Sample {
        let bytes = [good[0].bytes(), good[1].bytes()];
        let (cpu, waited) = (procfs::processor_time(pid), procfs::waited(pid));
        Sample { at: Instant::now(), cpu, waited, bytes }
    }
}

/// Runs `attack` beside the honest transfers, after a `calm` in which nothing else goes on.
pub fn measure(
    daemon: &Daemon,
    good: &[Good; 2],
    calm: Duration,
    attack: impl FnOnce() -> u64 + Send,
) -> Measured {
    let pid = daemon.pid();
    let (begin, before) = undisturbed(pid, good, calm);
    let figures = figures();
    procfs::forget_peak(pid);
    let (memory, open) = (procfs::resident(pid), procfs::descriptors(pid));
    let (most, done) = (AtomicUsize::new(open), AtomicBool::new(false));
    let units = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                most.fetch_max(procfs::descriptors(pid), Ordering::Relaxed);
                pause(LOOK);
            }
        });
        let attacker = scope.spawn(|| {
            // It has a machine of its own: here at least it doesn't take the daemon's processors.
            let _lower = setpriority_process(None, ATTACKERS);
            attack()
        });
        let units = attacker.join();
        pause(LEAST.saturating_sub(before.at.elapsed()));
        done.store(true, Ordering::Relaxed);
        units.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    let after = Sample::take(pid, good);
    let (calm, span) = ((before.at - begin.at).as_secs_f64(), (after.at - before.at).as_secs_f64());
    let idle = (before.cpu - begin.cpu).as_secs_f64() / calm * span;
    let kept = [0, 1].map(|n| {
        // What it makes up for is no speed of its own.
        let undisturbed = ((before.bytes[n] - begin.bytes[n]) as f64 / calm).min(RATE as f64);
        (after.bytes[n] - before.bytes[n]) as f64 / span / undisturbed
    });
    Measured {
        memory: procfs::peak(pid).saturating_sub(memory),
        descriptors: most.load(Ordering::Relaxed).saturating_sub(open),
        cpu: Duration::from_secs_f64(((after.cpu - before.cpu).as_secs_f64() - idle).max(0.0)),
        units,
        kept,
        span: after.at - before.at,
        said: grown(&figures, &self::figures()),
        waited: after.waited.saturating_sub(before.waited).as_secs_f64() / span,
        logged: 0,
        panicked: daemon.log().contains("panicked"),
    }
}

/// The begin and the end of a `calm` in which the honest transfers have the speed that is theirs: else there is nothing
/// to compare with, as the machine has too much to do elsewhere.
fn undisturbed(pid: u32, good: &[Good; 2], calm: Duration) -> (Sample, Sample) {
    until("the honest transfers have their speed", TRANSFER, || {
        let begin = Sample::take(pid, good);
        pause(calm);
        let end = Sample::take(pid, good);
        let least = RATE as f64 * ENOUGH * (end.at - begin.at).as_secs_f64();
        (0..2).all(|n| (end.bytes[n] - begin.bytes[n]) as f64 >= least).then_some((begin, end))
    })
}

/// Waits until what the attack had opened is closed again; how many descriptors are left if it isn't.
pub fn settle(daemon: &Daemon, open: usize) -> Result<(), usize> {
    let left = || procfs::descriptors(daemon.pid()).saturating_sub(open);
    try_until(SOON, || (left() <= LEFT).then_some(())).ok_or_else(left)
}

/// What the daemon counts now.
fn figures() -> BTreeMap<String, f64> {
    // On a busy machine the session may not answer it in time, and it says so.
    let answer = until("the daemon tells its figures", TRANSFER, || {
        http::get(FIGURES.parse().unwrap(), "/metrics").ok().filter(|answer| answer.status == 200)
    });
    Scrape::read(&String::from_utf8(answer.body).unwrap()).series
}

/// The counters of trouble that grew, without what they are called alike.
fn grown(before: &BTreeMap<String, f64>, after: &BTreeMap<String, f64>) -> Vec<(String, f64)> {
    let told = ["errors_total", "dropped_total", "failures_total"];
    let grown = |(name, value): (&String, &f64)| {
        let more = value - before.get(name).unwrap_or(&0.0);
        let short = name.trim_start_matches("wgod_").replace("_total", "");
        (more > 0.0 && told.iter().any(|part| name.contains(part))).then_some((short, more))
    };
    after.iter().filter_map(grown).collect()
}
