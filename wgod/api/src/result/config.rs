//! Results of `config` and `reload`: settings and where they come from.
use serde::{Deserialize, Serialize};

/// Where the value of a setting comes from, the strongest last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Built in.
    #[default]
    Default,
    /// The TOML file.
    File,
    /// Set through the socket in an earlier run of the daemon.
    Override,
    /// A `WGOD_…` variable.
    Environment,
    /// The command line.
    CommandLine,
    /// Set through the socket in this run.
    Socket,
}

/// One setting of the daemon.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Setting {
    /// `section.key`.
    pub key: String,
    /// Its value, as the TOML file would have it.
    pub value: serde_json::Value,
    /// Where the value comes from.
    pub origin: Origin,
    /// Its default.
    pub default: serde_json::Value,
    /// A new value takes a restart.
    #[serde(default)]
    pub restart: bool,
    /// The value that the file gives but something stronger hides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadowed: Option<serde_json::Value>,
}

/// Result of `config`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ConfigResult {
    /// The file that was read; `null` when there is none.
    pub file: Option<String>,
    /// The settings in force.
    pub settings: Vec<Setting>,
    /// With `check`: what is wrong with the file now, each with line, key and what is allowed.
    #[serde(default)]
    pub problems: Vec<String>,
}

/// What became of a setting that was reset.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ResetSetting {
    /// `section.key`.
    pub key: String,
    /// Whether anything had been set over the socket, in this run or before; if not, nothing has changed.
    pub taken_back: bool,
    /// The value that was in force.
    pub was: serde_json::Value,
    /// The value in force now; `null` where there is none.
    pub value: serde_json::Value,
    /// What says so now, or says the value of `next_start`.
    pub origin: Origin,
    /// The value from the next start on, where `value` can't change while the daemon runs.
    pub next_start: Option<serde_json::Value>,
    /// It was stored by another version and is no setting of this one.
    #[serde(default)]
    pub unknown: bool,
}

/// Result of `config_reset`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ResetResult {
    /// Each setting that was asked for, in the order of the file.
    pub settings: Vec<ResetSetting>,
}

/// The IP filter in force.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IpFilter {
    /// Lists that it was read from.
    pub files: u32,
    /// Ranges of addresses that they come to, those that overlap or touch counted as one.
    pub ranges: u64,
    /// Lines that were left out since they name no addresses; the log says which.
    pub bad_lines: u64,
    /// When they were read, in Unix seconds.
    pub loaded_at: u64,
    /// Since the daemon's start: connections that were refused or closed, and addresses that were passed over.
    pub blocked: u64,
}

/// Result of `reload`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadResult {
    /// Keys whose new value is in force.
    pub applied: Vec<String>,
    /// Keys whose new value takes a restart.
    pub restart: Vec<String>,
    /// Keys whose new value is hidden by something stronger than the file.
    pub shadowed: Vec<String>,
    /// The IP filter, whose lists were read again; `null` if none is configured.
    #[serde(default)]
    pub ip_filter: Option<IpFilter>,
}
