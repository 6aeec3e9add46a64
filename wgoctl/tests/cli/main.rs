//! `wgoctl` as a whole, in this process, against a mock daemon over a real socket.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, reason = "helpers of tests fail the test")]

mod add;
mod alt;
mod console;
mod create;
mod events;
mod fetch;
mod harness;
mod import;
mod label;
mod remote;
mod seen;
mod shells;
mod stats;
mod trackers;
mod verbs;
