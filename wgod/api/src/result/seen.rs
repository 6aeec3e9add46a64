//! Results of the methods that show the daemon from outside: `log` and `doctor`.
use serde::{Deserialize, Serialize};

use super::Origin;
use crate::doctor::Finding;

/// Result of `doctor`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoctorResult {
    /// Everything that was looked at, in the order in which a person would.
    pub findings: Vec<Finding>,
}

/// Result of `log`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogResult {
    /// What is logged now, as `[daemon] log` would say it.
    pub spec: String,
    /// The level of what has none of its own.
    pub level: String,
    /// Where that comes from.
    pub origin: Origin,
    /// Every component, in the order in which they are documented.
    pub components: Vec<LogComponent>,
}

/// A part of the daemon that logs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogComponent {
    /// Its name.
    pub name: String,
    /// What it logs: `off`, `error`, `warn`, `info`, `debug` or `trace`.
    pub level: String,
    /// Whether the level was set for it alone.
    pub own: bool,
}
