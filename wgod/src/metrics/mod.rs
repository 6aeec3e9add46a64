//! Figures for a monitoring system, served over HTTP in the text format of Prometheus (`[metrics] listen`).
//!
//! The parts of the daemon count into [`Counters`]; [`Server`] answers `GET /metrics` with a [`Snapshot`] of
//! them and of what the session shows at a glance, which `text` renders. There is no series for a torrent or
//! a peer: strangers could grow them without end, and reading them would cost as much as a full list.
mod counters;
mod serve;
mod snapshot;
mod text;

pub use counters::{Announces, Count, Counters, Handshakes, Lag, LagSnapshot, Trouble};
pub use serve::{CannotServe, Server};
pub use snapshot::Snapshot;
pub use text::render;
