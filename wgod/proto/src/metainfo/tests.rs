//! Tests of torrent parsing.
mod fixtures;
