//! Results of `list` and `show`: torrents, their files, peers, trackers and pieces.
use serde::{Deserialize, Serialize};

use crate::goals::{GoalSources, OwnGoals};
use crate::params::Part;
use crate::result::{DhtLookups, LabelLimits};
use crate::torrent::{FilePriority, Row, Torrent};

/// Result of `list` and item of `subscribe`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ListResult {
    /// Number of the state that this list shows, for the next `since`. It grows while the daemon runs, and begins
    /// elsewhere in each run.
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
    /// Copies of the rarest piece among connected peers, plus the share of pieces with one more; `null` when it
    /// isn't live.
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
    /// What it has of seeding goals of its own.
    #[serde(default)]
    pub own_goals: OwnGoals,
    /// Who says what each of its `goals` is.
    #[serde(default)]
    pub goals_by: GoalSources,
    /// The limits that it shares with all torrents of a label, for each of its labels that has any.
    #[serde(default)]
    pub label_limits: Vec<LabelLimits>,
    /// Seconds that it has run, over all sessions.
    #[serde(default)]
    pub active_secs: u64,
    /// Seconds of these as a seed.
    #[serde(default)]
    pub seeding_secs: u64,
    /// Seconds of these since the last upload.
    #[serde(default)]
    pub idle_secs: u64,
}

/// Result of `metainfo`: a torrent as a `.torrent` file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetainfoResult {
    /// Its canonical info-hash.
    pub info_hash: String,
    /// Its name.
    pub name: String,
    /// The bytes of the file, as they were added; base64.
    pub torrent: Part,
}

/// One file of a torrent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct File {
    /// Sanitised, relative to the torrent's folder, with `/`.
    pub path: String,
    /// The path that it has on disk while that is another one: until it is complete its name ends in
    /// `[storage] part_suffix`. `null` where it has its own name, and while nothing of it is on disk.
    #[serde(default)]
    pub path_on_disk: Option<String>,
    /// Its length.
    pub size_bytes: u64,
    /// Bytes of it that are stored and verified; `null` in what `wgoctl show FILE` prints.
    #[serde(default)]
    pub done_bytes: Option<u64>,
    /// Padding (BEP 47), not on disk.
    pub pad: bool,
    /// How much it is wanted; `null` in what `wgoctl show FILE` prints.
    #[serde(default)]
    pub priority: Option<FilePriority>,
}

/// Result of `files`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FilesResult {
    /// The torrent.
    pub info_hash: String,
    /// Its name.
    pub name: String,
    /// The first and last pieces of each file come before its others.
    pub first_last: bool,
    /// Its files, in order.
    pub files: Vec<File>,
}

/// Result of `trackers`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TrackersResult {
    /// The torrent.
    pub info_hash: String,
    /// Its name.
    pub name: String,
    /// Its trackers, tier by tier.
    pub trackers: Vec<Tracker>,
    /// What the DHT does for it.
    #[serde(default)]
    pub dht: DhtLookups,
}

/// What of a connection to a peer is encrypted on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PeerEncryption {
    /// Nothing.
    #[default]
    None,
    /// The handshake; what follows is plain.
    Handshake,
    /// All of it, by RC4.
    Rc4,
}

/// An address that a torrent has nothing to do with for a while.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ban {
    /// The address; of IPv6 the network, `/64`.
    pub address: String,
    /// Why, in words.
    pub reason: String,
    /// How often it was banned without pause.
    pub times: u32,
    /// When, in Unix seconds.
    pub banned_at: u64,
    /// When it ends by itself, in Unix seconds.
    pub until: u64,
}

/// One connected peer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Peer {
    /// `IP:PORT`.
    pub address: String,
    /// What it calls itself (BEP 10), else what its peer id says; hostile text.
    pub client: String,
    /// We dialled; else it did.
    pub outgoing: bool,
    /// Where we have its address from: `tracker`, `dht`, `pex` (other peers), `lsd`, `incoming` (it dialled us), `given`
    /// (by the operator or a magnet link), `saved`; `unknown` when that is forgotten.
    pub source: String,
    /// `tcp` or `utp`.
    pub transport: String,
    /// What of the connection is encrypted.
    pub encryption: PeerEncryption,
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
    /// `idle`, `announcing`, `ok`, `error`; `null` in what `wgoctl show FILE` prints.
    #[serde(default)]
    pub status: Option<String>,
    /// What went wrong, or the tracker's own words.
    #[serde(default)]
    pub message: Option<String>,
    /// Seconds to the next announce; `null` when none is planned.
    #[serde(default)]
    pub next_announce_secs: Option<u64>,
    /// Seconds since the last answer; `null` when there was none.
    #[serde(default)]
    pub last_announce_secs: Option<u64>,
    /// Peers with everything, by its count; `null` when it gave none.
    #[serde(default)]
    pub seeds: Option<u32>,
    /// Peers that lack something, by its count.
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
    /// The addresses that it has banned, if asked for its peers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bans: Option<Vec<Ban>>,
    /// Its trackers, if asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trackers: Option<Vec<Tracker>>,
    /// What the DHT does for it, if its trackers are asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dht: Option<DhtLookups>,
    /// Its map of pieces, if asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pieces: Option<Pieces>,
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
}
