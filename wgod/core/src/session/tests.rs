//! What a Session decides: commands, events and the clock in, effects out.
mod checkpoints;
mod checks;
mod choking;
mod commands;
mod faults;
mod metadata;
mod moves;
mod names;
mod network;
mod queue;
mod random;
mod ranks;
mod rig;
mod selecting;
mod simulated;
