//! Tests of torrent parsing.
pub(super) mod build;
mod hostile;
pub(super) mod round_trip;
