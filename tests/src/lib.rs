//! What the tests of the whole share: payloads and torrents of them, daemons under test, real and
//! scripted peers, trackers, a network of their own.
//!
//! All of it is blocking and fails by panicking, with what was awaited and the logs of the processes
//! involved: each test is one thread with its own network namespace (where the machine allows that),
//! temporary folders and children, none of which outlives it.
//!
//! | variable | meaning |
//! |---|---|
//! | `WGOD_REQUIRE_PEERS=1` | a peer or a right that is missing fails a test; else it says `SKIPPED`. `CI=1` does the same |
//! | `WGOD_LT_PYTHON` | the interpreter that can import `libtorrent`; else `python3` |
//! | `WGOD_LONG=1` | the long forms: 20 kills, 100 of a move, 30 torrents under a limit measured to 1 %, faults of a disk |
//! | `WGOD_FUZZ_RUNS` | mutated inputs of each target of `fuzz`; else 300 |
//! | `WGOD_TEST_BINARIES` | the folder of `wgod` and `wgoctl`; else they are built as the test was |
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "what goes wrong fails the test")]

pub mod api_doc;
pub mod behind;
pub mod binaries;
pub mod crash;
pub mod ctl;
pub mod daemon;
pub mod dht;
pub mod disk;
pub mod dns;
pub mod exchange;
pub mod fuzz;
pub mod gateway;
pub mod hostile;
pub mod http;
pub mod lan;
pub mod leecher;
pub mod machine;
pub mod maker;
pub mod net;
pub mod notify;
pub mod payload;
pub mod peers;
pub mod process;
pub mod procfs;
pub mod prometheus;
pub mod proxies;
pub mod relay;
pub mod seeder;
pub mod sim;
pub mod space;
pub mod tracker;
pub mod wait;
pub mod ways;
pub mod wire;

pub use daemon::{Daemon, Settings};
pub use maker::{Maker, Torrent};
pub use net::Net;
pub use payload::Payload;
pub use tracker::Tracker;
