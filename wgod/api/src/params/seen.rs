//! Parameters of the methods that show the daemon from outside: `log`, `doctor` and `rpc.discover`.
use serde::{Deserialize, Serialize};

/// Parameters of `doctor`: none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DoctorParams {}

/// Parameters of `log`. Without any of them it only reports.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogParams {
    /// What to change, as in `debug` or `peer=trace,tracker=info`; the rest stays as it is.
    pub spec: Option<String>,
    /// First take back what was changed through the socket.
    pub reset: bool,
}

/// Parameters of `rpc.discover`: none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiscoverParams {}
