//! Tests of torrent parsing.
mod build;
mod hostile;
mod round_trip;
