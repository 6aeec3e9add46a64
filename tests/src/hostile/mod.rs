//! Attackers: peers, nodes, trackers, proxies and callers that do wrong to a real daemon, and what that may cost it.
//!
//! Each attack is a small function with a name and a bound. They run one after another on a [`Stage`], which is a
//! daemon with two honest transfers of a known rate, one each way; while an attack goes on these must keep four
//! fifths of what they had before it, and the daemon may take so much more memory, so many more descriptors, and so
//! much processor time for each thing that the attacker does. Nobody else is in the network of a stage.
//!
//! `tests/tests/hostile` judges them in their short form; `cargo run -p wgo-tests --bin hostile-table` runs the long
//! one, without any pace, and prints a table.
pub mod attack;
pub mod callers;
pub mod connecting;
pub mod control;
pub mod extensions;
pub mod flood;
pub mod good;
pub mod held;
pub mod measure;
pub mod messages;
pub mod metadata;
pub mod neighbours;
pub mod nodes;
pub mod proxies;
pub mod requests;
pub mod sources;
pub mod stage;
pub mod trackers;
pub mod web;

pub use attack::{Attack, Bound, Field};
pub use stage::Stage;

/// The stages, each with its attacks.
pub fn all() -> Vec<(&'static str, stage::Kind, Vec<Attack>)> {
    vec![
        ("connecting", stage::Kind::Plain, connecting::attacks()),
        ("messages", stage::Kind::Plain, messages::attacks()),
        ("requests", stage::Kind::Plain, requests::attacks()),
        ("extensions", stage::Kind::Plain, extensions::attacks()),
        ("metadata", stage::Kind::Plain, metadata::attacks()),
        ("sources", stage::Kind::Plain, sources::attacks()),
        ("nodes", stage::Kind::Dht, nodes::attacks()),
        ("neighbours", stage::Kind::Lan, neighbours::attacks()),
        ("trackers", stage::Kind::Plain, trackers::attacks()),
        ("control", stage::Kind::Plain, control::attacks()),
        ("callers", stage::Kind::Plain, callers::attacks()),
        ("proxies", stage::Kind::Proxy, proxies::attacks()),
    ]
}
