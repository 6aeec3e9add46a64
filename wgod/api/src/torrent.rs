//! The torrent object of `list`, `show`, `status` and subscriptions; its states, filter and projection.
use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::ser::{SerializeSeq, SerializeStruct};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::goals::Goals;
use crate::suggest::hint;

/// What a torrent is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Waits for its turn, because of a queue limit.
    Queued,
    /// Compares what is on disk with the hashes.
    Checking,
    /// Asks peers for the metadata of a magnet link.
    Metadata,
    /// Fetches pieces.
    Downloading,
    /// Has all wanted pieces and uploads.
    Seeding,
    /// Does nothing until it is started.
    #[default]
    Stopped,
    /// Its files are on their way to another folder.
    Moving,
    /// Stopped because of `error`.
    Error,
}

impl State {
    /// All of them, in the order in which they are shown.
    pub const ALL: [State; 8] = [
        State::Downloading,
        State::Seeding,
        State::Metadata,
        State::Checking,
        State::Queued,
        State::Moving,
        State::Stopped,
        State::Error,
    ];

    /// The word that stands for it in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Queued => "queued",
            State::Checking => "checking",
            State::Metadata => "metadata",
            State::Downloading => "downloading",
            State::Seeding => "seeding",
            State::Stopped => "stopped",
            State::Moving => "moving",
            State::Error => "error",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for State {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        State::ALL.into_iter().find(|state| state.as_str() == s).ok_or_else(|| {
            let all = State::ALL.map(State::as_str);
            format!("unknown state {s:?}{}", hint(s, all, &format!("states are {}", all.join(", "))))
        })
    }
}

/// What kind of thing stands in a torrent's way, for programs; `error` says it for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trouble {
    /// No room for what it downloads, or for its state: it uploads what it has, and goes on by itself.
    DiskFull,
    /// Its files or its state can't be written: it uploads what it has.
    NotWritable,
    /// Its files can't be reached: a mount is missing, a disk fails. They are waited for.
    Unavailable,
    /// The engine failed it: it stays down until it is started.
    Broken,
}

impl Trouble {
    /// The word that stands for it in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Trouble::DiskFull => "disk_full",
            Trouble::NotWritable => "not_writable",
            Trouble::Unavailable => "unavailable",
            Trouble::Broken => "broken",
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Which torrent goes first when there are more than may run at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// After all others.
    Low,
    /// As usual.
    #[default]
    Normal,
    /// Before all others.
    High,
}

/// How much a file of a torrent is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FilePriority {
    /// Not at all: what of it comes along with its neighbours' pieces is kept aside.
    Skip,
    /// After the others.
    Low,
    /// As usual.
    #[default]
    Normal,
    /// Before the others.
    High,
}

impl FilePriority {
    /// The word that stands for it in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            FilePriority::Skip => "skip",
            FilePriority::Low => "low",
            FilePriority::Normal => "normal",
            FilePriority::High => "high",
        }
    }
}

/// Rate limits in bytes per second; 0 is unlimited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateLimits {
    /// Upload limit, bytes/s; 0 is unlimited.
    pub up: u64,
    /// Download limit, bytes/s; 0 is unlimited.
    pub down: u64,
}

/// Declares [`Torrent`] once: the struct, the names of its fields, and a serialiser that can leave fields out.
macro_rules! torrent {
    ($($(#[$doc:meta])* $name:ident: $type:ty,)*) => {
        /// One torrent as the API shows it. A field that a projection left out reads as its default.
        #[derive(Clone, Debug, Default, PartialEq, Deserialize)]
        #[serde(default)]
        pub struct Torrent {
            $($(#[$doc])* pub $name: $type,)*
        }

        /// Position of each field in [`FIELDS`], for the bits of [`Fields`].
        #[allow(non_camel_case_types)]
        enum Index { $($name),* }

        /// Names of all fields of [`Torrent`], in the order in which they are written.
        pub const FIELDS: &[&str] = &[$(stringify!($name)),*];

        impl Torrent {
            fn serialize_fields<S: Serializer>(&self, fields: Fields, to: S) -> Result<S::Ok, S::Error> {
                let mut out = to.serialize_struct("Torrent", fields.0.count_ones() as usize)?;
                $(if fields.has(Index::$name) {
                    out.serialize_field(stringify!($name), &self.$name)?;
                })*
                out.end()
            }
        }
    };
}

torrent! {
    /// 40 hexadecimal digits: the v1 hash, else the v2 one truncated. Never changes once shown.
    info_hash: String,
    /// 64 hexadecimal digits, for v2 and hybrid torrents.
    info_hash_v2: Option<String>,
    /// Name as its metadata gives it; before that the magnet link's, or the info-hash.
    name: String,
    /// What it is doing.
    state: State,
    /// Why it stands in state `error`, or what troubles it otherwise; after a start of the daemon what did
    /// before, until it is known whether it still does.
    error: Option<String>,
    /// What kind of thing `error` is about: `disk_full`, `not_writable`, `unavailable` or `broken`.
    error_kind: Option<Trouble>,
    /// Bytes of all wanted files; `null` before the metadata is known.
    size_bytes: Option<u64>,
    /// Bytes of these that are stored and verified; while a check runs or is paused, those that it found.
    done_bytes: u64,
    /// Payload bytes received, over all sessions.
    downloaded_bytes: u64,
    /// Payload bytes sent, over all sessions.
    uploaded_bytes: u64,
    /// Received bytes that were thrown away: duplicates and failed pieces.
    wasted_bytes: u64,
    /// Payload bytes/s coming in.
    down_rate: u64,
    /// Payload bytes/s going out.
    up_rate: u64,
    /// 0 to 1, of the check in state `checking`, of the wanted bytes else.
    progress: f64,
    /// Seconds to completion, of the check in state `checking`, at the present rate; `null` when there is no
    /// telling.
    eta_secs: Option<u64>,
    /// `uploaded_bytes` over the larger of `downloaded_bytes` and the bytes stored, which a check does not
    /// change before its end; `null` when that is 0.
    ratio: Option<f64>,
    /// Connected peers.
    peers: u32,
    /// Connected peers that have everything.
    seeds: u32,
    /// Absolute folder that holds its files.
    folder: String,
    /// Absolute folder that its files go to when it is complete, until they are there; `null` if `folder` is
    /// where they stay.
    final_folder: Option<String>,
    /// Labels, sorted.
    labels: Vec<String>,
    /// BEP 27; `null` before the metadata is known.
    private: Option<bool>,
    /// When it was added, Unix seconds.
    added_at: u64,
    /// When it became complete, Unix seconds; its files may have to get to `final_folder` yet.
    completed_at: Option<u64>,
    /// Its own limits, bytes/s; 0 is unlimited.
    limits: RateLimits,
    /// Its rank in the queue.
    priority: Priority,
    /// How many torrents are before it in the queue, whatever they do; it decides among those of the same
    /// priority. `null` when it runs outside of the queue.
    queue_position: Option<u32>,
    /// It was started with `now`, and runs outside of the queue.
    forced: bool,
    /// Pieces are fetched in order.
    sequential: bool,
    /// The seeding goals in force for it.
    goals: Goals,
    /// The seeding goal that stopped it, in words; `null` when none did, and once it was started again.
    done_reason: Option<String>,
}

impl Serialize for Torrent {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.serialize_fields(Fields::ALL, to)
    }
}

/// Which members of [`Torrent`] are asked for: a list of their names. One that isn't known is an error;
/// `info_hash` is always among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fields(u64);

impl Fields {
    /// Every field.
    pub const ALL: Fields = Fields(u64::MAX >> (64 - FIELDS.len()));

    fn has(self, index: Index) -> bool {
        self.0 & 1 << index as u32 != 0
    }

    /// The set of these names; `info_hash` is always in it.
    ///
    /// # Errors
    /// The first name that is no field of [`Torrent`].
    pub fn from_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Fields, String> {
        let mut bits = 1 << Index::info_hash as u32;
        for name in names {
            let Some(index) = FIELDS.iter().position(|field| *field == name) else {
                let fields = format!("fields are {}", FIELDS.join(", "));
                return Err(format!("unknown field {name:?}{}", hint(name, FIELDS.iter().copied(), &fields)));
            };
            bits |= 1 << index;
        }
        Ok(Fields(bits))
    }

    /// The names in the set.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        FIELDS.iter().enumerate().filter(move |(i, _)| self.0 & 1 << i != 0).map(|(_, name)| *name)
    }
}

impl Default for Fields {
    fn default() -> Self {
        Fields::ALL
    }
}

impl Serialize for Fields {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut out = to.serialize_seq(Some(self.0.count_ones() as usize))?;
        for name in self.names() {
            out.serialize_element(name)?;
        }
        out.end()
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let names = Vec::<String>::deserialize(from)?;
        Fields::from_names(names.iter().map(String::as_str)).map_err(D::Error::custom)
    }
}

/// A torrent in a list: written with the fields that were asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The torrent.
    pub torrent: Torrent,
    /// What is written of it. Not known to the reader, which sees [`Fields::ALL`].
    pub fields: Fields,
}

impl Serialize for Row {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.torrent.serialize_fields(self.fields, to)
    }
}

impl<'de> Deserialize<'de> for Row {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Torrent::deserialize(from).map(|torrent| Row { torrent, fields: Fields::ALL })
    }
}

/// Which torrents a list holds. Every criterion that is given must hold; an empty filter takes all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Filter {
    /// In one of these states; empty: in any.
    pub states: Vec<State>,
    /// With all of these labels.
    pub labels: Vec<String>,
    /// This text occurs in the name, in any case.
    pub text: Option<String>,
}

impl Filter {
    /// Does the torrent pass?
    pub fn matches(&self, torrent: &Torrent) -> bool {
        (self.states.is_empty() || self.states.contains(&torrent.state))
            && self.labels.iter().all(|label| torrent.labels.contains(label))
            && self
                .text
                .as_deref()
                .is_none_or(|text| torrent.name.to_lowercase().contains(&text.to_lowercase()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torrent_round_trips_with_every_field_named() {
        let torrent =
            Torrent { name: "a".into(), state: State::Seeding, size_bytes: Some(3), ..Torrent::default() };
        let value = serde_json::to_value(&torrent).unwrap();
        let mut names: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
        let mut expected = FIELDS.to_vec();
        names.sort_unstable();
        expected.sort_unstable();
        assert_eq!(names, expected);
        assert_eq!(value["state"], "seeding");
        assert_eq!(value["eta_secs"], serde_json::Value::Null);
        assert_eq!(serde_json::from_value::<Torrent>(value).unwrap(), torrent);
    }

    #[test]
    fn a_projection_writes_its_fields_and_the_info_hash() {
        let fields: Fields = serde_json::from_str(r#"["name","up_rate"]"#).unwrap();
        let row = Row { torrent: Torrent { name: "a".into(), ..Torrent::default() }, fields };
        assert_eq!(serde_json::to_string(&row).unwrap(), r#"{"info_hash":"","name":"a","up_rate":0}"#);
        assert_eq!(serde_json::to_string(&fields).unwrap(), r#"["info_hash","name","up_rate"]"#);
        let wrong = serde_json::from_str::<Fields>(r#"["nmae"]"#).unwrap_err();
        assert!(
            wrong.to_string().contains("unknown field \"nmae\", did you mean name? Fields are"),
            "{wrong}"
        );
    }

    #[test]
    fn a_filter_needs_every_criterion() {
        let torrent = Torrent {
            name: "Debian 13".into(),
            state: State::Seeding,
            labels: vec!["iso".into(), "linux".into()],
            ..Torrent::default()
        };
        let filter = |json: &str| serde_json::from_str::<Filter>(json).unwrap().matches(&torrent);
        assert!(filter("{}"));
        assert!(filter(r#"{"states":["seeding","error"],"labels":["iso"],"text":"debian"}"#));
        assert!(!filter(r#"{"states":["error"]}"#));
        assert!(!filter(r#"{"labels":["iso","tv"]}"#));
        assert!(!filter(r#"{"text":"ubuntu"}"#));
        assert!(serde_json::from_str::<Filter>(r#"{"state":["error"]}"#).is_err());
    }
}
