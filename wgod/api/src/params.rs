//! Parameters of each method. Absent members take their defaults; an unknown member is an error.
use std::net::SocketAddr;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

use crate::error::{ApiError, Kind};
use crate::goals::AfterGoal;
use crate::torrent::{Fields, Filter, Priority};

mod alt;
mod files;
mod known;
mod labels;
mod seen;
mod trackers;
mod tune;

pub use alt::*;
pub use files::*;
pub use known::*;
pub use labels::*;
pub use seen::*;
pub use trackers::*;
pub use tune::*;

/// One torrent to add: `{"torrent": BASE64}` or `{"uri": "magnet:?…"}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RawSource", into = "RawSource")]
pub enum Source {
    /// The bytes of a `.torrent` file, in base64.
    Torrent(String),
    /// A magnet link. The daemon fetches no URLs: `wgoctl` does that, and sends the file.
    Uri(String),
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawSource {
    #[serde(skip_serializing_if = "Option::is_none")]
    torrent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uri: Option<String>,
}

impl TryFrom<RawSource> for Source {
    type Error = &'static str;

    fn try_from(raw: RawSource) -> Result<Self, &'static str> {
        match (raw.torrent, raw.uri) {
            (Some(torrent), None) => Ok(Source::Torrent(torrent)),
            (None, Some(uri)) => Ok(Source::Uri(uri)),
            _ => Err("a source has either `torrent` (base64) or `uri`"),
        }
    }
}

impl From<Source> for RawSource {
    fn from(source: Source) -> Self {
        match source {
            Source::Torrent(torrent) => RawSource { torrent: Some(torrent), uri: None },
            Source::Uri(uri) => RawSource { torrent: None, uri: Some(uri) },
        }
    }
}

impl Source {
    /// The source that carries a `.torrent` file.
    pub fn of_file(bytes: &[u8]) -> Source {
        Source::Torrent(BASE64.encode(bytes))
    }

    /// The bytes of a [`Source::Torrent`]; `None` for a URI.
    ///
    /// # Errors
    /// [`Kind::BadTorrent`] when it isn't base64.
    pub fn bytes(&self) -> Result<Option<Vec<u8>>, ApiError> {
        match self {
            Source::Uri(_) => Ok(None),
            Source::Torrent(text) => match BASE64.decode(text) {
                Ok(bytes) => Ok(Some(bytes)),
                Err(why) => {
                    Err(ApiError::new(Kind::BadTorrent, format!("the torrent is not valid base64: {why}")))
                }
            },
        }
    }
}

/// How files that exist already are compared with the hashes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Check {
    /// Hashes every piece of the files that exist.
    #[default]
    Full,
    /// Sizes match and 16 sampled pieces hash; each other piece is hashed before it is first served.
    Quick,
}

/// Parameters of `add`. Only `sources` is needed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddParams {
    /// What to add. Each succeeds or fails by itself.
    pub sources: Vec<Source>,
    /// Absolute folder for the files; default: that of the first of its labels that has one in the
    /// configuration, else `[storage] folder`.
    #[serde(default)]
    pub folder: Option<PathBuf>,
    /// Add it stopped. So it is without this, too, if the configuration says so of one of its labels.
    #[serde(default)]
    pub paused: bool,
    /// Labels to give it: 32 at most, each of up to 100 bytes, without commas and control characters.
    #[serde(default)]
    pub labels: Vec<String>,
    /// How to compare files that exist already with the hashes.
    #[serde(default)]
    pub check: Check,
    /// Addresses of peers to try, `IP:PORT`.
    #[serde(default)]
    pub peers: Vec<SocketAddr>,
    /// A torrent that is here already is reported as `failed` with kind `present`, not as `present`.
    #[serde(default)]
    pub fail_if_exists: bool,
    /// Fetch pieces in order.
    #[serde(default)]
    pub sequential: bool,
    /// Which files are wanted; default: all.
    #[serde(default)]
    pub choose: Choice,
    /// Fetch the first and last pieces of each file before its others.
    #[serde(default)]
    pub first_last: bool,
    /// How it ranks in the queue; absent or `null`: as the first of its labels that says so in the
    /// configuration, else `normal`.
    #[serde(default)]
    pub priority: Option<Priority>,
    /// Its own seeding goal: uploaded bytes over its size, from 0, which is no goal, to 100,000. Absent or `null`:
    /// as its labels, its trackers and `[seeding]` say.
    #[serde(default)]
    pub ratio: Option<f64>,
    /// The same, in seconds spent seeding.
    #[serde(default)]
    pub seed_time_secs: Option<u64>,
    /// The same, in seconds spent seeding without an upload.
    #[serde(default)]
    pub seed_idle_secs: Option<u64>,
    /// What happens when it reaches a goal. Absent or `null`: as its labels, its trackers and
    /// `[seeding]` say.
    #[serde(default)]
    pub goal_action: Option<AfterGoal>,
    /// What another client knew of the torrent; then `sources` has one entry. It is nothing new then, so the
    /// priority that its labels say, and that they add what is new stopped, doesn't count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known: Option<Box<Known>>,
}

/// Parameters of `stop`, `announce` and `scrape`: either `ids` or `all`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SelectParams {
    /// Info-hashes, unique prefixes of them, or exact names.
    pub ids: Vec<String>,
    /// Every torrent. Not together with `ids`.
    pub all: bool,
}

/// Parameters of `verify`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VerifyParams {
    /// Info-hashes, unique prefixes of them, or exact names.
    pub ids: Vec<String>,
    /// Every torrent. Not together with `ids`.
    pub all: bool,
    /// Forget what was on disk, and take what is there for all that there is. Without it files, folders and
    /// mounts that are missing are waited for.
    pub start_over: bool,
}

/// Parameters of `remove`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RemoveParams {
    /// Info-hashes, unique prefixes of them, or exact names.
    pub ids: Vec<String>,
    /// Every torrent. Not together with `ids`.
    pub all: bool,
    /// Delete the files too. A file that another torrent uses is kept.
    pub data: bool,
}

/// Parameters of `move`: either `folder` or `cancel`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MoveParams {
    /// Info-hashes, unique prefixes of them, or exact names.
    pub ids: Vec<String>,
    /// Every torrent. Not together with `ids`.
    pub all: bool,
    /// Absolute folder that the files go to.
    pub folder: Option<PathBuf>,
    /// Leave the files where they are after all.
    pub cancel: bool,
}

/// Parameters of `rename`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RenameParams {
    /// Info-hash, unique prefix of it, or exact name.
    pub id: String,
    /// A file or folder of the torrent, as `show` lists files: relative, with `/`.
    pub path: String,
    /// Its whole new path. What lies below a folder goes along.
    pub to: String,
}

/// Checks that a call names torrents or says `all`, and not both.
///
/// # Errors
/// [`Kind::BadRequest`] when neither or both are given.
pub fn check_selection(ids: &[String], all: bool) -> Result<(), ApiError> {
    match (ids.is_empty(), all) {
        (true, false) => Err(ApiError::new(Kind::BadRequest, "no torrent named: give `ids`, or `all`")),
        (false, true) => Err(ApiError::new(Kind::BadRequest, "give either `ids` or `all`, not both")),
        _ => Ok(()),
    }
}

/// Parameters of `list` and of `subscribe`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ListParams {
    /// Which torrents.
    pub filter: Filter,
    /// Which members of each torrent; default: all. `info_hash` is always there.
    pub fields: Option<Fields>,
    /// Only what changed after the list that carried this `version`; absent, or of another run of the daemon: all.
    pub since: Option<u64>,
}

/// Parameters of `show`. Only `id` is needed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShowParams {
    /// Info-hash, unique prefix of it, or exact name.
    pub id: String,
    /// With the list of files.
    #[serde(default)]
    pub files: bool,
    /// With the connected peers.
    #[serde(default)]
    pub peers: bool,
    /// With the trackers.
    #[serde(default)]
    pub trackers: bool,
    /// With the map of pieces.
    #[serde(default)]
    pub pieces: bool,
}

/// Parameters of `metainfo`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetainfoParams {
    /// Info-hash, unique prefix of it, or exact name.
    pub id: String,
}

/// Parameters of `status`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StatusParams {
    /// With these torrents: info-hashes, unique prefixes of them, or exact names. One that does not match is an
    /// error.
    pub ids: Vec<String>,
    /// With all torrents.
    pub torrents: bool,
}

/// Parameters of `stats`: none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatsParams {}

/// Parameters of `limit`. Without `up` and `down` it only reports.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitParams {
    /// Upload limit, bytes/s; 0 is unlimited, absent or `null` leaves it.
    pub up: Option<u64>,
    /// Download limit, bytes/s; 0 is unlimited, absent or `null` leaves it.
    pub down: Option<u64>,
    /// The limits of this torrent; without, and without `label`: of the whole daemon.
    pub id: Option<String>,
    /// The limits that all torrents of this label share. Not together with `id`.
    pub label: Option<String>,
}

/// What `wait` waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Goal {
    /// The metadata of a magnet link is known.
    Metadata,
    /// All wanted pieces are stored, verified and durable on disk, and the files are in the folder where they
    /// stay: after those of a torrent that was kept elsewhere meanwhile have got there.
    #[default]
    Done,
}

/// Parameters of `wait`. Only `id` is needed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WaitParams {
    /// Info-hash, unique prefix of it, or exact name.
    pub id: String,
    /// What to wait for.
    #[serde(default, rename = "for")]
    pub goal: Goal,
    /// Give up after so many seconds, with kind `timeout`; default: never.
    #[serde(default)]
    pub timeout_secs: Option<u64>,
}

/// Bytes, in base64 on the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Part(pub Vec<u8>);

impl TryFrom<String> for Part {
    type Error = String;

    fn try_from(text: String) -> Result<Part, String> {
        BASE64.decode(text).map(Part).map_err(|why| format!("not valid base64: {why}"))
    }
}

impl From<Part> for String {
    fn from(part: Part) -> String {
        BASE64.encode(part.0)
    }
}

/// Parameters of `backup`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BackupParams {}

/// Parameters of `read_backup`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadBackupParams {
    /// As `backup` named it.
    pub id: String,
    /// First byte of the part.
    pub offset: u64,
}

/// Parameters of `write_backup`. Parts come in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WriteBackupParams {
    /// As the first part's result named it; absent for that one.
    #[serde(default)]
    pub id: Option<String>,
    /// First byte of the part.
    pub offset: u64,
    /// The bytes, some MiB at most.
    pub data: Part,
}

/// Parameters of `restore`. Only `id` is needed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestoreParams {
    /// As `write_backup` named it.
    pub id: String,
    /// Check it and say what is in it, and change nothing.
    #[serde(default)]
    pub check: bool,
}

/// Parameters of `config`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConfigParams {
    /// Only these settings, as `section.key` or a whole `section`; empty: all.
    pub keys: Vec<String>,
    /// Read the file again and report what is wrong with it, applying nothing.
    pub check: bool,
}

/// Parameters of `config_reset`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ResetParams {
    /// Which settings, each a `section.key` or a whole `section`.
    pub keys: Vec<String>,
    /// All that were set over the socket, in place of `keys`.
    pub all: bool,
}

/// Parameters of `reload`: none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReloadParams {}

/// Parameters of `quit`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QuitParams {
    /// Do not tell the trackers.
    pub now: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_a_torrent_or_a_uri_and_nothing_else() {
        let read = |json: &str| serde_json::from_str::<Source>(json);
        let file = read(r#"{"torrent":"ZGU="}"#).unwrap();
        assert_eq!(file.bytes().unwrap().unwrap(), b"de");
        assert_eq!(serde_json::to_string(&Source::of_file(b"de")).unwrap(), r#"{"torrent":"ZGU="}"#);
        assert_eq!(read(r#"{"uri":"magnet:?"}"#).unwrap(), Source::Uri("magnet:?".into()));
        for bad in [r#"{}"#, r#"{"uri":"a","torrent":"b"}"#, r#"{"url":"a"}"#, r#""a""#] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert_eq!(Source::Torrent("*".into()).bytes().unwrap_err().kind(), Kind::BadTorrent);
    }

    #[test]
    fn a_typo_in_a_parameter_is_an_error_that_names_it() {
        let wrong = serde_json::from_str::<LimitParams>(r#"{"upp":3}"#).unwrap_err();
        assert!(wrong.to_string().contains("unknown field `upp`"), "{wrong}");
        let wrong = serde_json::from_str::<AddParams>("{}").unwrap_err();
        assert!(wrong.to_string().contains("missing field `sources`"), "{wrong}");
        assert!(serde_json::from_str::<ReloadParams>(r#"{"now":true}"#).is_err());
    }

    #[test]
    fn acting_on_nothing_or_on_two_answers_at_once_is_refused() {
        assert!(check_selection(&[], false).is_err());
        assert!(check_selection(&["a".into()], true).is_err());
        assert!(check_selection(&["a".into()], false).is_ok());
        assert!(check_selection(&[], true).is_ok());
    }
}
