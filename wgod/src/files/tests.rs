//! Tests of the storage as a whole, on real file systems.
mod checks;
mod faults;
mod payload;
mod removal;
mod rig;
mod safety;
mod threads;
mod v2;
