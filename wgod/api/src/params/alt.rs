//! Parameters of `alt`.
use serde::{Deserialize, Serialize};

/// Whether the alternative limits are on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AltMode {
    /// When the schedule says so.
    #[default]
    Auto,
    /// Until the schedule changes something next; without a schedule for good.
    On,
    /// As `on`.
    Off,
}

/// Parameters of `alt`. Without any of them it only reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AltParams {
    /// On, off, or by the schedule; absent or `null` leaves it.
    pub mode: Option<AltMode>,
    /// Alternative upload limit, bytes/s; 0 is unlimited, absent or `null` leaves it.
    pub up: Option<u64>,
    /// Alternative download limit, bytes/s; 0 is unlimited, absent or `null` leaves it.
    pub down: Option<u64>,
}
