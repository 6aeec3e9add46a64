//! How well a swarm of our engines uses its lines: crowds of simulated nodes, and what is measured of them.
//!
//! `crowd` lets nodes come and go and notes what becomes of each, `scenarios` has those that are looked at, `table`
//! runs them over several seeds and prints what came out. The command is `swarm-table`; some of it, small, is asserted
//! in the scenarios of `tests/tests/sim`.
pub mod crowd;
pub mod measure;
pub mod scenarios;
pub mod table;
