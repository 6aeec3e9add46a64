//! Parameters of `trackers`.
use serde::{Deserialize, Serialize};

/// A tracker that takes the place of another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Replacement {
    /// Its URL now.
    pub old: String,
    /// Its URL from then on.
    pub new: String,
}

/// Parameters of `trackers`. Only `id` is needed; without anything to change it reports. What is replaced comes
/// first, then what is removed, then what is added; all of it is done, or nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrackersParams {
    /// Info-hash, unique prefix of it, or exact name.
    pub id: String,
    /// URLs to announce to from now on: `http`, `https` or `udp`. One that is there already is fine.
    #[serde(default)]
    pub add: Vec<String>,
    /// URLs to be no longer announced to. One that isn't there is an error.
    #[serde(default)]
    pub remove: Vec<String>,
    /// URLs that change, in their place. An old one that isn't there is an error.
    #[serde(default)]
    pub replace: Vec<Replacement>,
    /// The tier that added ones go to, from 0 (BEP 12); default: a new one at the end for each.
    #[serde(default)]
    pub tier: Option<u32>,
}

impl TrackersParams {
    /// Whether it changes nothing.
    pub fn only_asks(&self) -> bool {
        self.add.is_empty() && self.remove.is_empty() && self.replace.is_empty()
    }
}
