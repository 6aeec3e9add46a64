//! A world in which many daemons' engines run against each other, deterministically: real wire bytes, simulated
//! links, disks, trackers and time, all from one seed.
//!
//! Each node is a real `Session` with real `Swarm`s, a `Limiter` and the choker; what the shell does
//! between them is done here, single-threaded and by the simulated clock. After every event the parts
//! that were called check their invariants, and the wire, the disks and the books are checked from outside.
//!
//! The scenarios of `tests/tests/sim` tell what happens in it.
#![allow(
    missing_docs,
    reason = "fields and steps that are named as in the engine and the shell, whose words say what they are"
)]

pub mod agenda;
pub mod books;
pub mod cast;
pub mod checks;
pub mod clock;
pub mod content;
pub mod daemon;
pub mod dialling;
pub mod disk;
pub mod efficiency;
pub mod generate;
pub mod jobs;
pub mod justice;
pub mod keeping;
pub mod lanes;
pub mod line;
pub mod link;
pub mod node;
pub mod opening;
pub mod outages;
pub mod plan;
pub mod play;
pub mod played;
pub mod power;
pub mod reading;
pub mod rogue;
pub mod scale;
pub mod shrink;
pub mod stream;
pub mod tracker;
pub mod watch;
pub mod weather;
pub mod world;
