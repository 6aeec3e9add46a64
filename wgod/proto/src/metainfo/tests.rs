//! Tests of torrent parsing.
pub(super) mod build;
mod hostile;
mod rename;
pub(super) mod round_trip;
