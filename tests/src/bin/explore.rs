//! Explores simulated worlds, one for each seed, on all cores, for a given time, and prints what fails, made small.
//!
//! `cargo run --profile explore -p wgo-tests --bin explore -- --minutes 10`
//!
//! | argument | meaning |
//! |---|---|
//! | `--minutes M` | explores for so long; else 1 |
//! | `--from N` | the first seed; else 1 |
//! | `--count N` | so many seeds at most |
//! | `--jobs N` | threads; else as many as there are cores |
//! | `--seed N` | plays that seed alone |
//! | `--keep A,B,…`, `--absent A,B,…` | of its happenings only these; without these nodes |
//! | `--trace` | prints all that happens in it |
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::panic, reason = "it says what it finds")]
use std::collections::BTreeMap;
use std::fmt::Write;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use wgo_tests::sim::generate::generate;
use wgo_tests::sim::plan::Plan;
use wgo_tests::sim::play::{Played, play};
use wgo_tests::sim::shrink::{keep_panics, place_of, shrink};

/// Time that one failure may take to be made small.
const PATIENCE: Duration = Duration::from_secs(60);
/// One in so many seeds is played twice, and must be the same.
const TWICE_ONE_IN: u64 = 100;
/// Failures in one place that are made small and printed in full.
const EACH_PLACE: u32 = 1;

/// What was found so far.
#[derive(Default)]
struct Found {
    seeds: u64,
    steps: u64,
    simulated: Duration,
    failures: u64,
    places: BTreeMap<String, u32>,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let after = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        Some(arguments.get(at + 1).unwrap_or_else(|| panic!("{name} wants a value")).clone())
    };
    let number = |name: &str| after(name).map(|text| text.parse::<u64>().expect("a number"));
    let list = |name: &str| {
        after(name)
            .map(|text| text.split(',').filter(|t| !t.is_empty()).map(|t| t.parse().unwrap()).collect())
    };
    keep_panics();
    if let Some(seed) = number("--seed") {
        let trace = arguments.iter().any(|argument| argument == "--trace");
        return one(seed, list("--keep"), list("--absent"), trace);
    }
    let end = Instant::now() + Duration::from_secs(number("--minutes").unwrap_or(1) * 60);
    let first = number("--from").unwrap_or(1);
    let last = number("--count").map_or(u64::MAX, |count| first + count);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let jobs = number("--jobs").map_or(cores, |jobs| jobs as usize);
    explore(first, last, jobs, end)
}

/// Plays one seed, as it is or made small.
fn one(seed: u64, keep: Option<Vec<usize>>, absent: Option<Vec<usize>>, trace: bool) -> ExitCode {
    let mut plan = generate(seed);
    if let Some(keep) = keep {
        plan.happenings.retain(|planned| keep.contains(&planned.number));
    }
    for node in absent.unwrap_or_default() {
        plan.nodes[node].absent = true;
    }
    println!("{plan}");
    let played = play(&plan, trace, &|_, _| {});
    for line in played.world.log.iter().flatten() {
        println!("{line}");
    }
    let (steps, time) = (played.world.steps, played.world.now.since_start());
    println!("{steps} steps, {time:?}, trace {:016x}", played.world.trace);
    match played.failure {
        Some(failure) => {
            println!("FAILED {failure}");
            ExitCode::FAILURE
        }
        None => ExitCode::SUCCESS,
    }
}

fn explore(first: u64, last: u64, jobs: usize, end: Instant) -> ExitCode {
    let (next, found, began) = (AtomicU64::new(first), Mutex::new(Found::default()), Instant::now());
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while Instant::now() < end {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= last {
                        return;
                    }
                    try_seed(seed, &found);
                }
            });
        }
    });
    let found = found.into_inner().unwrap();
    let took = began.elapsed().as_secs_f64();
    println!(
        "{} seeds from {first}, {:.1} a second, {:.1} simulated hours, {} steps, {} failures",
        found.seeds,
        found.seeds as f64 / took,
        found.simulated.as_secs_f64() / 3600.0,
        found.steps,
        found.failures
    );
    for (place, times) in &found.places {
        println!("{times:6} × {place}");
    }
    if found.failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn quiet(plan: &Plan) -> Played {
    play(plan, false, &|_, _| {})
}

fn try_seed(seed: u64, found: &Mutex<Found>) {
    let plan = generate(seed);
    let mut played = quiet(&plan);
    if seed.is_multiple_of(TWICE_ONE_IN) && played.failure.is_none() {
        let again = quiet(&plan);
        let same = (again.world.trace, again.world.steps) == (played.world.trace, played.world.steps);
        played.failure = (!same).then(|| "twice the same seed: two runs differ".to_owned());
    }
    let mut found_now = found.lock().unwrap();
    found_now.seeds += 1;
    found_now.steps += played.world.steps;
    found_now.simulated += played.world.now.since_start();
    let Some(failure) = played.failure else { return };
    found_now.failures += 1;
    let place = place_of(&failure).to_owned();
    let times = found_now.places.entry(place.clone()).or_default();
    *times += 1;
    let in_full = *times <= EACH_PLACE;
    drop(found_now);
    println!("FAILED seed {seed}: {}", failure.lines().take(3).collect::<Vec<_>>().join(" | "));
    if !in_full {
        return;
    }
    let fails = |plan: &Plan| quiet(plan).failure.is_some_and(|failure| place_of(&failure) == place);
    let small = shrink(&plan, PATIENCE, fails);
    println!("{}", replay(seed, &small));
}

/// What is left of a plan, and the command that plays it.
fn replay(seed: u64, small: &Plan) -> String {
    let join = |numbers: Vec<usize>| {
        let texts: Vec<String> = numbers.into_iter().map(|number| number.to_string()).collect();
        texts.join(",")
    };
    let keep = join(small.happenings.iter().map(|planned| planned.number).collect());
    let absent = join((0..small.nodes.len()).filter(|node| small.nodes[*node].absent).collect());
    let mut text = format!("{small}");
    let command = "cargo run --profile explore -p wgo-tests --bin explore --";
    write!(text, "{command} --seed {seed} --keep '{keep}' --absent '{absent}' --trace").unwrap();
    text
}
