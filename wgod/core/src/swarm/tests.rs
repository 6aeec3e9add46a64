//! What a Swarm does, seen from outside: messages in, messages and actions out.
mod bad_pieces;
mod clock;
mod connecting;
mod dht;
mod downloading;
mod extensions;
mod having;
mod hostile;
mod memory;
mod metadata;
mod network;
mod pex;
mod random;
mod rig;
mod seeding;
mod selecting;
mod simulated;
