//! The control API of wgod: one JSON-RPC trait and its types, for both ends of the socket.
//!
//! JSON-RPC 2.0 over HTTP POST or WebSocket on one Unix socket. Methods are the verbs of `wgoctl`;
//! parameters are named and every one is optional unless its documentation says otherwise, so that
//! `{"jsonrpc":"2.0","id":1,"method":"status"}` is a complete request. Results are objects with raw
//! bytes, bytes per second and seconds; `null` means unknown; states are lowercase words; hashes
//! are lowercase hexadecimal.
//!
//! * [`rpc`]: the trait, [`ApiServer`] for wgod and [`ApiClient`] for callers;
//!   [`params`] and [`result`] hold what goes in and out, [`torrent`] the object both talk about.
//! * [`error`]: kinds of failure and their exit codes. [`ids`]: which torrent an operator means.
//!   [`labels`]: what a label may be. [`units`]: rates, sizes and durations as people write them.
//!   [`suggest`]: names that were meant.
//! * [`OPENRPC`]: all of it for programs; `README.md` beside this crate has it for people.
//! * [`socket`], [`server`], [`client`]: the transport, which knows nothing of torrents.
#![forbid(unsafe_code)]

pub mod client;
pub mod doctor;
pub mod error;
pub mod goals;
pub mod group;
pub mod ids;
pub mod labels;
#[cfg(feature = "mock")]
pub mod mock;
pub mod params;
pub mod result;
#[expect(clippy::disallowed_methods, reason = "jsonrpsee's macro answers a refused subscription in a task")]
pub mod rpc;
pub mod server;
pub mod socket;
pub mod suggest;
pub mod torrent;
pub mod units;

pub use error::{ApiError, ErrorData, Kind};
pub use rpc::{ApiClient, ApiServer};
pub use torrent::{State, Torrent};

/// The API as an OpenRPC document, generated from the trait and its types like `README.md`.
pub const OPENRPC: &str = include_str!("../openrpc.json");

/// What the jsonrpsee macros hand to implementations of [`ApiServer`], so that wgod names one crate.
pub use jsonrpsee::{
    Extensions, PendingSubscriptionSink, SubscriptionMessage, core::SubscriptionResult, core::async_trait,
};

/// What the generated client fails with; converts into [`ApiError`].
pub use jsonrpsee::core::ClientError;
