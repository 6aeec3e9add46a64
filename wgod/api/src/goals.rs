//! Seeding goals as the API shows and takes them: when a torrent has been seeded enough, and what happens
//! then.
use serde::{Deserialize, Serialize};

use crate::error::{ApiError, Kind};

/// The largest ratio that can be a goal.
pub const MAX_RATIO: f64 = 100_000.0;

/// What happens to a torrent that reached a goal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AfterGoal {
    /// It stops and stays in the list.
    #[default]
    Stop,
    /// It leaves the list; its files stay.
    Remove,
    /// It leaves the list and its files are deleted.
    RemoveWithFiles,
    /// Nothing: it goes on.
    Keep,
}

impl AfterGoal {
    /// The word that stands for it in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            AfterGoal::Stop => "stop",
            AfterGoal::Remove => "remove",
            AfterGoal::RemoveWithFiles => "remove-with-files",
            AfterGoal::Keep => "keep",
        }
    }
}

/// The goals in force for a torrent; `null`: no such goal. The first that it reaches counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Goals {
    /// Uploaded bytes over the torrent's size.
    pub ratio: Option<f64>,
    /// Seconds spent seeding.
    pub time_secs: Option<u64>,
    /// Seconds spent seeding without an upload.
    pub idle_secs: Option<u64>,
    /// What happens then.
    pub action: AfterGoal,
}

/// Who may say what a goal of a torrent is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GoalBy {
    /// The torrent itself.
    Torrent,
    /// A label of it: `[labels.NAME]` of the configuration.
    Label,
    /// A tracker of it: `[trackers."HOST"]` of the configuration.
    Tracker,
    /// `[seeding]` of the configuration.
    #[default]
    Seeding,
}

/// Who says what a goal of a torrent is, or that there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoalSource {
    /// Who.
    pub by: GoalBy,
    /// The label, or the tracker's host.
    pub name: Option<String>,
}

impl GoalSource {
    /// The torrent itself.
    pub const TORRENT: GoalSource = GoalSource { by: GoalBy::Torrent, name: None };
    /// `[seeding]`.
    pub const SEEDING: GoalSource = GoalSource { by: GoalBy::Seeding, name: None };

    /// This label.
    pub fn label(name: &str) -> GoalSource {
        GoalSource { by: GoalBy::Label, name: Some(name.to_owned()) }
    }

    /// The tracker of this host.
    pub fn tracker(host: &str) -> GoalSource {
        GoalSource { by: GoalBy::Tracker, name: Some(host.to_owned()) }
    }
}

/// Who says what each goal of a torrent is, or that there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoalSources {
    /// Of the ratio.
    pub ratio: GoalSource,
    /// Of the time spent seeding.
    pub time_secs: GoalSource,
    /// Of the time without an upload.
    pub idle_secs: GoalSource,
    /// Of what happens then.
    pub action: GoalSource,
}

/// What a torrent has of its own; `null`: as its labels, its trackers and `[seeding]` say; 0: no such goal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OwnGoals {
    /// Uploaded bytes over the torrent's size.
    pub ratio: Option<f64>,
    /// Seconds spent seeding.
    pub time_secs: Option<u64>,
    /// Seconds spent seeding without an upload.
    pub idle_secs: Option<u64>,
    /// What happens then.
    pub action: Option<AfterGoal>,
}

/// A value, or `"default"`: as the configuration says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "neither \"default\" nor a value that can be used here")]
pub enum Choice<T> {
    /// As the configuration says.
    Default(DefaultWord),
    /// This one.
    Own(T),
}

/// The word `"default"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DefaultWord {
    /// As the configuration says.
    Default,
}

impl<T> Choice<T> {
    /// As the configuration says.
    pub const DEFAULT: Choice<T> = Choice::Default(DefaultWord::Default);

    /// The value, if it is not the configuration's.
    pub fn own(self) -> Option<T> {
        match self {
            Choice::Default(_) => None,
            Choice::Own(value) => Some(value),
        }
    }
}

/// Checks a ratio that is to be a goal.
///
/// # Errors
/// [`Kind::BadRequest`] when it is negative, no number, or larger than [`MAX_RATIO`].
pub fn check_ratio(ratio: f64) -> Result<f64, ApiError> {
    if (0.0..=MAX_RATIO).contains(&ratio) {
        return Ok(ratio);
    }
    let message =
        format!("`ratio` can't be {ratio}: a ratio is a number from 0, which is no goal, to {MAX_RATIO}");
    Err(ApiError::new(Kind::BadRequest, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_is_a_value_or_the_default() {
        let read = |json: &str| serde_json::from_str::<Choice<f64>>(json);
        assert_eq!(read("2.5").unwrap().own(), Some(2.5));
        assert_eq!(read("0").unwrap().own(), Some(0.0));
        assert_eq!(read("\"default\"").unwrap(), Choice::DEFAULT);
        assert!(read("\"none\"").unwrap_err().to_string().contains("neither \"default\" nor a value"));
        assert_eq!(serde_json::to_string(&Choice::<u64>::DEFAULT).unwrap(), "\"default\"");
        let action = serde_json::from_str::<Choice<AfterGoal>>("\"remove-with-files\"").unwrap();
        assert_eq!(action.own(), Some(AfterGoal::RemoveWithFiles));
    }

    #[test]
    fn a_ratio_is_a_number_that_makes_sense() {
        assert_eq!(check_ratio(0.0).unwrap(), 0.0);
        assert_eq!(check_ratio(1.5).unwrap(), 1.5);
        for bad in [-1.0, f64::NAN, f64::INFINITY, MAX_RATIO * 2.0] {
            assert_eq!(check_ratio(bad).unwrap_err().kind(), Kind::BadRequest, "{bad}");
        }
    }
}
