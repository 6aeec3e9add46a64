//! Results of the methods that show the daemon from outside: `log`, `doctor` and `rpc.discover`.
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Origin;
use crate::doctor::Finding;
use crate::error::{ApiError, Kind};

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

/// Result of `rpc.discover`: the OpenRPC document.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OpenRpc(pub Box<RawValue>);

impl OpenRpc {
    /// The document of this version of the API.
    ///
    /// # Errors
    /// [`Kind::Internal`] when the document is not JSON, which a test excludes.
    pub fn document() -> Result<OpenRpc, ApiError> {
        let raw = RawValue::from_string(crate::OPENRPC.to_owned());
        let broken = |why| ApiError::new(Kind::Internal, format!("the OpenRPC document is not JSON: {why}"));
        raw.map(OpenRpc).map_err(broken)
    }
}
