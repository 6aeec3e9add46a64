//! Tests of the stored log.
