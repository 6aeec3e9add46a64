//! Parameters of `start`, `set` and `queue`: what runs when, and how.
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::error::{ApiError, Kind};
use crate::goals::{AfterGoal, Choice, check_ratio};
use crate::torrent::Priority;

/// Parameters of `start`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StartParams {
    /// Info-hashes, unique prefixes of them, or exact names.
    pub ids: Vec<String>,
    /// Every torrent. Not together with `ids`.
    pub all: bool,
    /// Run it outside of the queue: it neither waits nor counts, until it is started without this, or
    /// stopped.
    pub now: bool,
}

/// Parameters of `set`: what is absent stays as it is, and at least one thing is to be set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SetParams {
    /// Info-hashes, unique prefixes of them, or exact names.
    pub ids: Vec<String>,
    /// Every torrent. Not together with `ids`.
    pub all: bool,
    /// How it ranks in the queue.
    pub priority: Option<Priority>,
    /// Fetch pieces in order.
    pub sequential: Option<bool>,
    /// Uploaded bytes over its size after which it has been seeded enough; 0 is no goal, `"default"` as
    /// its labels, its trackers and `[seeding]` say.
    pub ratio: Option<Choice<f64>>,
    /// The same, in seconds spent seeding.
    pub seed_time_secs: Option<Choice<u64>>,
    /// The same, in seconds spent seeding without an upload.
    pub seed_idle_secs: Option<Choice<u64>>,
    /// What happens then.
    pub goal_action: Option<Choice<AfterGoal>>,
    /// Upload limit, bytes/s; 0 is unlimited.
    pub up: Option<u64>,
    /// Download limit, bytes/s; 0 is unlimited.
    pub down: Option<u64>,
    /// An address whose ban is lifted, as `show` gives it, or `"all"`.
    pub unban: Option<String>,
}

/// Whose ban is lifted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unban {
    /// Everybody's.
    All,
    /// That of this address; of IPv6 its /64's.
    Address(IpAddr),
}

impl SetParams {
    /// Whether a seeding goal is to be set.
    pub fn sets_goals(&self) -> bool {
        self.ratio.is_some()
            || self.seed_time_secs.is_some()
            || self.seed_idle_secs.is_some()
            || self.goal_action.is_some()
    }

    /// Whose ban is to be lifted.
    ///
    /// # Errors
    /// [`Kind::BadRequest`]: it is no address.
    pub fn unbanned(&self) -> Result<Option<Unban>, ApiError> {
        let Some(text) = &self.unban else { return Ok(None) };
        if text == "all" {
            return Ok(Some(Unban::All));
        }
        let address = text.strip_suffix("/64").unwrap_or(text).parse();
        address.map(|ip| Some(Unban::Address(ip))).map_err(|_| {
            ApiError::new(Kind::BadRequest, format!("`unban`: {text:?} is neither an address nor \"all\""))
        })
    }

    /// Checks that there is something to set, and that it can be.
    ///
    /// # Errors
    /// [`Kind::BadRequest`] says what is wrong.
    pub fn check(&self) -> Result<(), ApiError> {
        let sets = self.sets_goals()
            || self.priority.is_some()
            || self.sequential.is_some()
            || self.up.is_some()
            || self.down.is_some()
            || self.unban.is_some();
        if !sets {
            let message = "nothing to set: give `priority`, `sequential`, `ratio`, `seed_time_secs`, \
                           `seed_idle_secs`, `goal_action`, `up`, `down` or `unban`";
            return Err(ApiError::new(Kind::BadRequest, message));
        }
        self.unbanned()?;
        self.ratio.and_then(Choice::own).map_or(Ok(()), |ratio| check_ratio(ratio).map(drop))
    }
}

/// Where torrents go in the queue: `"top"`, `"bottom"`, `"up"`, `"down"`, or a position from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "none of \"top\", \"bottom\", \"up\", \"down\", and no position from 0")]
pub enum QueueTo {
    /// To an end, or by one.
    Word(QueueWord),
    /// So many others are before it then.
    Position(u32),
}

/// To an end of the queue, or by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum QueueWord {
    /// Before all others.
    Top,
    /// Behind all others.
    Bottom,
    /// Before the one that it is behind now.
    Up,
    /// Behind the one that it is before now.
    Down,
}

/// Parameters of `queue`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueueParams {
    /// Info-hashes, unique prefixes of them, or exact names: in the order in which they are to stand.
    pub ids: Vec<String>,
    /// Where they go.
    pub to: QueueTo,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_to_set_and_ratios_that_are_none_are_refused() {
        let check = |json: &str| serde_json::from_str::<SetParams>(json).unwrap().check();
        assert!(check(r#"{"all":true}"#).unwrap_err().to_string().contains("nothing to set"));
        assert!(
            check(r#"{"all":true,"unban":"him"}"#).unwrap_err().to_string().contains("neither an address")
        );
        assert!(check(r#"{"all":true,"ratio":-1}"#).unwrap_err().to_string().contains("can't be -1"));
        for good in [
            r#"{"ratio":2}"#,
            r#"{"ratio":"default"}"#,
            r#"{"up":0}"#,
            r#"{"priority":"high"}"#,
            r#"{"sequential":false}"#,
            r#"{"unban":"all"}"#,
            r#"{"unban":"192.0.2.7"}"#,
            r#"{"unban":"2001:db8::/64"}"#,
        ] {
            check(good).unwrap();
        }
        assert!(serde_json::from_str::<SetParams>(r#"{"ratio":"much"}"#).is_err());
        assert!(serde_json::from_str::<SetParams>(r#"{"seed_time_secs":-1}"#).is_err());
    }

    #[test]
    fn a_place_in_the_queue_is_a_word_or_a_number() {
        let read = |json: &str| serde_json::from_str::<QueueTo>(json);
        assert_eq!(read("\"top\"").unwrap(), QueueTo::Word(QueueWord::Top));
        assert_eq!(read("3").unwrap(), QueueTo::Position(3));
        for bad in ["-1", "\"first\"", "1.5", "null"] {
            assert!(read(bad).unwrap_err().to_string().contains("\"bottom\""), "{bad}");
        }
    }
}
