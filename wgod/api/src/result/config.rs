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

/// Result of `reload`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadResult {
    /// Keys whose new value is in force.
    pub applied: Vec<String>,
    /// Keys whose new value takes a restart.
    pub restart: Vec<String>,
    /// Keys whose new value is hidden by something stronger than the file.
    pub shadowed: Vec<String>,
}
