//! Every tunable of wgod: one typed tree with its defaults, and how files, environment, command
//! line and control socket fill it.
//!
//! `settings.rs` is the single place where a setting is declared; its doc comment becomes the rustdoc
//! of the field and the comment in `config/wgod.toml`. Each source of values is read into a
//! [`Layer`] of checked values (the file, the environment, the command line), [`resolve()`] lays the
//! layers over each other, and [`plan()`] says what a change of layers would do to a running daemon.
//! All of it is pure but [`Loaded`], which reads the file and the environment.
mod allowed_folders;
mod choices;
mod chosen;
mod endpoint;
pub mod environment;
pub mod file;
mod hook_command;
mod key;
mod layers;
mod load;
mod log_spec;
mod modes;
mod name_server;
mod names;
mod places;
mod plan;
mod print;
mod problem;
mod proxy;
mod schedule;
mod setting;
mod settings;
mod units;
mod values;
mod watch_folder;

pub use allowed_folders::AllowedFolders;
pub use choices::{AfterGoal, AfterImport, Encryption, Preallocate, Priority, ProxyFor, SeedingOrder, Slots};
pub use chosen::{Chosen, GoalRatio};
pub use endpoint::Endpoint;
pub use hook_command::HookCommand;
pub use key::{Effect, Key, KeyId, Section, key_of};
pub use layers::{Given, Layer, Layers, Origin, Resolved, resolve};
pub use load::{LoadError, Loaded, read_file};
pub use log_spec::{COMPONENTS, Component, LogLevel, LogSpec};
pub use modes::{FileMode, FolderMode};
pub(crate) use name_server::DNS_PORT;
pub use name_server::NameServer;
pub use names::{Names, host_in};
pub use places::{NoPlace, Places, Surroundings};
pub use plan::{Change, Plan, Shadowed, plan, reset, set, set_all};
pub use print::document;
pub use problem::{Fault, Problem, Problems};
pub use proxy::{ProxyKind, ProxyUrl};
pub use schedule::{Alternative, Decision, Schedule};

pub use setting::Raw;
pub use settings::{
    Choke, Config, Daemon, Dht, Discovery, Hooks, KEYS, Label, Limits, Metrics, Network, Queue, SECTIONS,
    Seeding, Storage, Tracker, Watch,
};
pub use watch_folder::{WatchFolder, WatchFolders};
pub use wgo_api::units::{Period, Rate, Size};

#[cfg(test)]
mod tests;
