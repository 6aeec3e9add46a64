//! The real daemon from the outside: started, driven by `wgoctl` or its socket, killed, looked at.
//!
//! One program for all of them: each test has its own network, folders and daemon, and most of the time it
//! waits, so they run side by side (`RUST_TEST_THREADS` says how many), and there is one thing to link.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "tests")]
mod alt;
mod backup;
mod bad_input;
mod bad_torrents;
mod changed;
mod choke;
mod confined;
mod credentials;
mod ctl;
mod curl;
mod day;
mod dht;
mod disk;
mod doctor;
mod files;
mod first_run;
mod hooks;
mod hostile;
mod incomplete;
mod interface;
mod ip_filter;
mod label_rules;
mod labels;
mod limits;
mod log;
mod lsd;
mod magnet;
mod metrics;
mod mounts;
mod moves;
mod names;
mod openrpc;
mod package;
mod pex;
mod pid1;
mod queue;
mod quit;
mod removal;
mod reset;
mod restart;
mod rpc;
mod start;
mod strain;
mod suffix;
mod systemd;
mod trackers;
mod watch;
