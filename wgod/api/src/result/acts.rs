//! Results of the methods that act on torrents: what became of each.
use serde::{Deserialize, Serialize};

use crate::error::{ApiError, Kind};
use crate::torrent::{RateLimits, Torrent};

/// What became of one source of `add`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AddStatus {
    /// It is new, and durable.
    Added,
    /// It was here before; nothing changed but peers and trackers that it brought along.
    Present,
    /// It was not added; `error` and `kind` say why.
    Failed,
}

/// One source of `add`, in the order of the sources.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Added {
    /// 40 hexadecimal digits; `null` when the source could not be read.
    pub info_hash: Option<String>,
    /// The torrent's name, as far as it is known.
    pub name: Option<String>,
    /// What became of it.
    pub status: AddStatus,
    /// Why it failed, for people; `null` when it did not.
    pub error: Option<String>,
    /// What kind of failure, for programs; `null` when it did not fail.
    #[serde(default)]
    pub kind: Option<Kind>,
}

impl Added {
    /// A source that failed.
    pub fn failed(info_hash: Option<String>, name: Option<String>, error: ApiError) -> Added {
        let kind = Some(error.kind());
        Added { info_hash, name, status: AddStatus::Failed, error: Some(error.message), kind }
    }
}

/// Result of `add`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddResult {
    /// One per source, in their order.
    pub torrents: Vec<Added>,
}

/// What became of one torrent of a call that acts on several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ActStatus {
    /// Done.
    Ok,
    /// It was so before: nothing is done.
    Unchanged,
    /// Not done, or not all of it; `error` and `kind` say why.
    Failed,
}

/// One torrent of a call that acts on several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acted {
    /// The id as it was given; with `all`, the info-hash.
    pub id: String,
    /// 40 hexadecimal digits; `null` when no single torrent matched.
    pub info_hash: Option<String>,
    /// The torrent's name.
    pub name: Option<String>,
    /// What became of it.
    pub status: ActStatus,
    /// Why it failed, for people; `null` when it did not.
    pub error: Option<String>,
    /// What kind of failure, for programs; `null` when it did not fail.
    #[serde(default)]
    pub kind: Option<Kind>,
    /// For people: what is special about the success, such as that it comes later.
    #[serde(default)]
    pub note: Option<String>,
}

impl Acted {
    /// A torrent on which the call succeeded.
    pub fn ok(id: impl Into<String>, info_hash: impl Into<String>, name: impl Into<String>) -> Acted {
        Acted {
            id: id.into(),
            info_hash: Some(info_hash.into()),
            name: Some(name.into()),
            status: ActStatus::Ok,
            error: None,
            kind: None,
            note: None,
        }
    }

    /// The same of a torrent that was as the call wants it.
    pub fn unchanged(self) -> Acted {
        Acted { status: ActStatus::Unchanged, ..self }
    }

    /// An id for which the call failed.
    pub fn failed(id: impl Into<String>, error: ApiError) -> Acted {
        Acted {
            id: id.into(),
            info_hash: None,
            name: None,
            status: ActStatus::Failed,
            kind: Some(error.kind()),
            error: Some(error.message),
            note: None,
        }
    }
}

/// What became of each torrent of a call that acts on several.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActResult {
    /// One per id in their order, or one per torrent with `all`.
    pub torrents: Vec<Acted>,
}

/// Result of `rename`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenameResult {
    /// The torrent.
    pub info_hash: String,
    /// Its name, which may be new.
    pub name: String,
    /// The path that the file or folder had.
    pub path: String,
    /// The one that it has now.
    pub to: String,
    /// Files that have other paths than before.
    pub files: u64,
}

/// The limits of a label, which all its torrents share.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelLimits {
    /// The label.
    pub label: String,
    /// How many torrents have it.
    pub torrents: u32,
    /// Bytes/s of all of them together; 0 is unlimited.
    pub limits: RateLimits,
}

/// Result of `limit`: the limits as they stand now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitResult {
    /// The torrent that they belong to; `null`: the whole daemon, or a label.
    pub info_hash: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// The label that they belong to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Bytes/s; 0 is unlimited.
    pub limits: RateLimits,
    /// Of the whole daemon: the alternative limits, while they are in force in place of these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alternative: Option<RateLimits>,
    /// With the whole daemon: every label that has limits; with a label: that one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<Vec<LabelLimits>>,
}

/// Result of `wait`: the torrent, at the moment the goal was reached.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WaitResult {
    /// The torrent.
    pub torrent: Torrent,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_source_has_status_error_and_kind() {
        let failed = Added::failed(None, None, ApiError::new(Kind::BadTorrent, "no `info`"));
        assert_eq!(
            serde_json::to_string(&failed).unwrap(),
            r#"{"info_hash":null,"name":null,"status":"failed","error":"no `info`","kind":"bad_torrent"}"#
        );
    }
}
