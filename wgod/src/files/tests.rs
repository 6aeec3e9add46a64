//! Tests of the storage as a whole, on real file systems.
mod checks;
mod descriptors;
mod digests;
mod faults;
mod naming;
mod parts;
mod payload;
mod relocate;
mod removal;
mod rename;
mod rig;
mod runs;
mod safety;
mod sending;
mod threads;
mod v2;
