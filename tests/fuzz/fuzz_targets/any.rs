//! Any target of `wgo_tests::fuzz`: the one that `WGOD_FUZZ_TARGET` names. One program for all of them, since each
//! would hold the whole engine.
#![no_main]
use std::sync::LazyLock;

use wgo_tests::fuzz::{TARGETS, Target, target};

static CHOSEN: LazyLock<Target> = LazyLock::new(|| {
    let name = std::env::var("WGOD_FUZZ_TARGET").unwrap_or_default();
    let names = || TARGETS.iter().map(|target| target.name).collect::<Vec<_>>().join(" ");
    target(&name).unwrap_or_else(|| panic!("WGOD_FUZZ_TARGET is {name:?}, not one of: {}", names()))
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| (CHOSEN.body)(data));
