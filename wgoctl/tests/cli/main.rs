//! `wgoctl` as a whole, in this process, against a mock daemon over a real socket.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, reason = "helpers of tests fail the test")]

mod add;
mod console;
mod create;
mod events;
mod harness;
mod import;
mod remote;
mod seen;
mod shells;
mod verbs;
