//! Parameters of `files`, and the choice of files that `add` knows too.
use serde::{Deserialize, Serialize};

/// Which files of a torrent are wanted, and how much: lists of patterns, applied in this order. A pattern is a
/// path of a file or folder with or without the torrent's own folder, with `*`, `?`, `[…]` and `**`; without a
/// `/` also the name of a file or folder anywhere; or the number of a file, or `FIRST-LAST`, from 1. One that
/// names no file is an error, and nothing changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Choice {
    /// These, and no others.
    pub only: Vec<String>,
    /// As usual.
    pub normal: Vec<String>,
    /// After the others.
    pub low: Vec<String>,
    /// Before the others.
    pub high: Vec<String>,
    /// Not at all.
    pub skip: Vec<String>,
}

impl Choice {
    /// Whether it leaves everything as it is.
    pub fn is_empty(&self) -> bool {
        *self == Choice::default()
    }
}

/// Parameters of `files`. Only `id` is needed; without the others it reports.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FilesParams {
    /// Info-hash, unique prefix of it, or exact name.
    pub id: String,
    /// What is wanted from now on; what no pattern names stays as it is, unless there is `only`.
    #[serde(default)]
    pub choose: Choice,
    /// Fetch the first and last pieces of each file before its others; absent or `null` leaves it.
    #[serde(default)]
    pub first_last: Option<bool>,
}
