//! Tests of torrent parsing.
mod build;
mod hostile;
mod rename;
mod round_trip;
