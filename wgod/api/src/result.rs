//! Results of each method: objects with raw bytes, bytes/s and seconds; `null` is unknown.
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::{ApiError, Kind};
use crate::torrent::{RateLimits, Row, State, Torrent};

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
    /// Why it failed.
    pub error: Option<String>,
    /// What kind of failure.
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

/// What became of one torrent of `remove`, `start`, `stop`, `verify` or `announce`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ActStatus {
    /// Done.
    Ok,
    /// Not done; `error` and `kind` say why.
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
    /// Why it failed.
    pub error: Option<String>,
    /// What kind of failure.
    #[serde(default)]
    pub kind: Option<Kind>,
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
        }
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
        }
    }
}

/// Result of `remove`, `start`, `stop`, `verify` and `announce`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActResult {
    /// One per id in their order, or one per torrent with `all`.
    pub torrents: Vec<Acted>,
}

/// Result of `list` and item of `subscribe`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ListResult {
    /// State of the daemon that this list shows; for the next `since`. Starts anew with the daemon.
    pub version: u64,
    /// This is the whole list: replace what you hold. Else apply it to what you hold.
    #[serde(default)]
    pub full: bool,
    /// Torrents that pass the filter; with `since`, those that changed.
    pub torrents: Vec<Row>,
    /// Info-hashes of torrents that went away, or do not pass the filter any more, after `since`.
    pub removed: Vec<String>,
}

/// One torrent in full.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TorrentDetails {
    /// What `list` shows.
    #[serde(flatten)]
    pub torrent: Torrent,
    /// Bytes of a piece, the last may be shorter; `null` before the metadata is known.
    #[serde(default)]
    pub piece_length: Option<u32>,
    /// Number of pieces.
    #[serde(default)]
    pub pieces: Option<u32>,
    /// Number of pieces that are stored and verified.
    #[serde(default)]
    pub pieces_done: Option<u32>,
    /// Copies of the rarest piece among connected peers, plus the share of pieces with one more.
    #[serde(default)]
    pub availability: Option<f64>,
    /// The torrent's comment.
    #[serde(default)]
    pub comment: Option<String>,
    /// What made the torrent.
    #[serde(default)]
    pub created_by: Option<String>,
    /// When it was made, Unix seconds.
    #[serde(default)]
    pub created_at: Option<i64>,
    /// A magnet link for it.
    #[serde(default)]
    pub magnet: Option<String>,
}

/// One file of a torrent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct File {
    /// Sanitised, relative to the torrent's folder, with `/`.
    pub path: String,
    /// Its length.
    pub size_bytes: u64,
    /// Bytes of it that are stored and verified; `null` without a daemon.
    #[serde(default)]
    pub done_bytes: Option<u64>,
    /// Padding (BEP 47), not on disk.
    pub pad: bool,
}

/// One connected peer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Peer {
    /// `IP:PORT`.
    pub address: String,
    /// What its peer id says it is; hostile text.
    pub client: String,
    /// We dialled; else it did.
    pub outgoing: bool,
    /// Where we have its address from: `tracker`, `dht`, `pex`, `lsd`, `incoming`, `given`.
    pub source: String,
    /// `tcp` or `utp`.
    pub transport: String,
    /// The connection is encrypted.
    pub encrypted: bool,
    /// Share of the torrent that it has, 0 to 1.
    pub progress: f64,
    /// Payload bytes/s from it.
    pub down_rate: u64,
    /// Payload bytes/s to it.
    pub up_rate: u64,
    /// Payload bytes from it, on this connection.
    pub downloaded_bytes: u64,
    /// Payload bytes to it, on this connection.
    pub uploaded_bytes: u64,
    /// We want pieces that it has.
    pub we_interested: bool,
    /// It lets us wait.
    pub we_choked: bool,
    /// It wants pieces that we have.
    pub peer_interested: bool,
    /// We let it wait.
    pub peer_choked: bool,
    /// It promised pieces and sent none for a minute.
    pub snubbed: bool,
    /// Seconds since the handshake.
    pub connected_secs: u64,
}

/// One tracker of a torrent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tracker {
    /// Its URL.
    pub url: String,
    /// Tier, from 0 (BEP 12).
    pub tier: u32,
    /// `idle`, `announcing`, `ok`, `error`; `null` without a daemon.
    #[serde(default)]
    pub status: Option<String>,
    /// What went wrong, or the tracker's own words.
    #[serde(default)]
    pub message: Option<String>,
    /// Seconds to the next announce.
    #[serde(default)]
    pub next_announce_secs: Option<u64>,
    /// Seconds since the last answer.
    #[serde(default)]
    pub last_announce_secs: Option<u64>,
    /// Peers with everything, by its count.
    #[serde(default)]
    pub seeds: Option<u32>,
    /// Peers without, by its count.
    #[serde(default)]
    pub leeches: Option<u32>,
    /// Completed downloads, by its count.
    #[serde(default)]
    pub completed: Option<u32>,
    /// Peers in its last answer.
    #[serde(default)]
    pub peers: Option<u32>,
}

/// Which pieces are there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pieces {
    /// Number of pieces.
    pub count: u32,
    /// Stored and verified pieces: hexadecimal, first piece in the highest bit, as on the wire (BEP 3).
    pub have: String,
    /// Copies among connected peers, by piece.
    pub availability: Vec<u32>,
}

/// Result of `show`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ShowResult {
    /// The torrent.
    pub torrent: TorrentDetails,
    /// Its files, if asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<Vec<File>>,
    /// Its peers, if asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peers: Option<Vec<Peer>>,
    /// Its trackers, if asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trackers: Option<Vec<Tracker>>,
    /// Its map of pieces, if asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pieces: Option<Pieces>,
}

/// A file system that holds torrents.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Disk {
    /// A folder on it that torrents use.
    pub path: String,
    /// Free bytes; `null` when it does not answer.
    pub free_bytes: Option<u64>,
    /// Size in bytes.
    pub size_bytes: Option<u64>,
    /// Requests that wait for it.
    pub queue: u32,
    /// What is wrong with it: full, hung, failing.
    pub error: Option<String>,
}

/// Can other peers reach our port?
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PortState {
    /// A peer came in from outside.
    Open,
    /// Nobody came in though many could have.
    Closed,
    /// No telling yet.
    #[default]
    Unknown,
}

/// The daemon itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Daemon {
    /// Its version.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// Seconds since its start.
    pub uptime_secs: u64,
    /// Payload bytes/s coming in, of all torrents.
    pub down_rate: u64,
    /// Payload bytes/s going out, of all torrents.
    pub up_rate: u64,
    /// Payload bytes received since the start.
    pub downloaded_bytes: u64,
    /// Payload bytes sent since the start.
    pub uploaded_bytes: u64,
    /// Global limits, bytes/s; 0 is unlimited.
    pub limits: RateLimits,
    /// Number of torrents by state; states without torrents may be absent.
    pub torrents: BTreeMap<State, u32>,
    /// Connected peers.
    pub peers: u32,
    /// File systems in use.
    pub disks: Vec<Disk>,
    /// Addresses it listens on, `IP:PORT`.
    pub listen: Vec<String>,
    /// Can other peers reach it?
    pub port_state: PortState,
}

/// Result of `status`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StatusResult {
    /// The daemon.
    pub daemon: Daemon,
    /// The torrents, if asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub torrents: Option<Vec<Torrent>>,
}

/// Result of `limit`: the limits as they stand now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitResult {
    /// The torrent that they belong to; `null`: the whole daemon.
    pub info_hash: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// Bytes/s; 0 is unlimited.
    pub limits: RateLimits,
}

/// Result of `wait`: the torrent, at the moment the goal was reached.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WaitResult {
    /// The torrent.
    pub torrent: Torrent,
}

/// Where the value of a setting comes from, the strongest last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Built in.
    #[default]
    Default,
    /// The TOML file.
    File,
    /// Set through the socket earlier and stored.
    Override,
    /// A `WGOD_…` variable.
    Environment,
    /// The command line.
    CommandLine,
    /// Set through the socket; lasts until the daemon restarts.
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

/// Result of `quit`: the daemon has begun to shut down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuitResult {
    /// Process id of the daemon that stops.
    pub pid: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_are_one_flat_object() {
        let details = TorrentDetails {
            torrent: Torrent { name: "a".into(), ..Torrent::default() },
            pieces: Some(3),
            ..TorrentDetails::default()
        };
        let value = serde_json::to_value(&details).unwrap();
        assert_eq!((&value["name"], &value["pieces"]), (&"a".into(), &3.into()));
        assert_eq!(serde_json::from_value::<TorrentDetails>(value).unwrap(), details);
    }

    #[test]
    fn a_failed_source_has_status_error_and_kind() {
        let failed = Added::failed(None, None, ApiError::new(Kind::BadTorrent, "no `info`"));
        assert_eq!(
            serde_json::to_string(&failed).unwrap(),
            r#"{"info_hash":null,"name":null,"status":"failed","error":"no `info`","kind":"bad_torrent"}"#
        );
    }
}
