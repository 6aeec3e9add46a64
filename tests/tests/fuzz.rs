//! Every decoder and some state machines on their corpus, and on mutations of it: `wgo_tests::fuzz` without
//! libFuzzer. `WGOD_FUZZ_RUNS` says how many mutations each target gets.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "tests")]
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use wgo_tests::fuzz::mutate::mutated;
use wgo_tests::fuzz::{TARGETS, Target, target};

/// Mutations of each target unless `WGOD_FUZZ_RUNS` says otherwise: a second of all.
const RUNS: u64 = 300;

/// One input; names it when it fails.
fn run(target: Target, input: &[u8]) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (target.body)(input))) {
        let hex: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
        let folder = target.corpus_folder();
        eprintln!("{} fails on these bytes, to be kept in {}:\n{hex}", target.name, folder.display());
        resume_unwind(panic);
    }
}

fn try_out(name: &str) {
    let target = target(name).unwrap();
    let corpus = target.corpus();
    assert!(!corpus.is_empty(), "nothing in {}", target.corpus_folder().display());
    corpus.iter().for_each(|input| run(target, input));
    run(target, &[]);
    let runs = std::env::var("WGOD_FUZZ_RUNS").map_or(RUNS, |runs| runs.parse().expect("a number"));
    // The same each time: what fails here fails on the next machine.
    let mut rng = fastrand::Rng::with_seed(0x5eed);
    for _ in 0..runs.div_ceil(target.cost) {
        run(target, &mutated(&mut rng, &corpus));
    }
}

macro_rules! tests {
    ($($name:ident)*) => {
        $(#[test] fn $name() { try_out(stringify!($name)); })*
    };
}

wgo_tests::each_fuzz_target!(tests);

#[test]
fn every_corpus_has_a_target() {
    let folder = TARGETS[0].corpus_folder();
    let entries = std::fs::read_dir(folder.parent().unwrap()).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let strays: Vec<_> = names.filter(|name| target(name).is_none()).collect();
    assert!(strays.is_empty(), "{strays:?}");
}
