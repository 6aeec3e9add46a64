//! What the settings say of labels and of trackers: limits that are set while the daemon runs, what torrents are
//! added with, and the rules that the session's driver goes by.
use std::collections::BTreeMap;
use std::path::PathBuf;

use wgo_api::error::{ApiError, Kind};
use wgo_api::result::{LabelLimits, LimitResult};
use wgo_api::suggest::nearest;
use wgo_api::torrent::RateLimits;
use wgo_core::ByteRate;
use wgo_core::piece_mgr::Priority;
use wgo_core::session::{ChosenGoals, Ratio};

use super::{Control, after_goal, expanded};
use crate::config::{self, Chosen, Config, GoalRatio, Label, Period, Rate, key_of};
use crate::session::Rules;

/// What a torrent is added with where whoever adds it says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Defaults {
    /// Where it goes.
    pub folder: Option<PathBuf>,
    /// How it ranks.
    pub priority: Option<Priority>,
    /// It does not start.
    pub paused: bool,
}

impl Control {
    /// Sets limits of a label (bytes/s, 0 is unlimited), durably, and reports them. `in_use` counts torrents by
    /// label.
    ///
    /// # Errors
    /// [`Kind::NoMatch`] when there is nothing to set nor to report: nobody knows the label.
    pub async fn limit_label(
        &self,
        label: &str,
        (up, down): (Option<u64>, Option<u64>),
        in_use: &BTreeMap<String, u32>,
    ) -> Result<LimitResult, ApiError> {
        wgo_api::labels::check(label)?;
        let mut state = self.state.lock().await;
        let known = &state.running.config.labels;
        let only_asks = up.is_none() && down.is_none();
        if only_asks && !known.contains_key(label) && !in_use.contains_key(label) {
            let all = known.keys().chain(in_use.keys()).map(String::as_str);
            let meant =
                nearest(label, all).map(|meant| format!("; did you mean {meant}?")).unwrap_or_default();
            let message =
                format!("no torrent has the label {label:?} and the configuration does not name it{meant}");
            return Err(ApiError::new(Kind::NoMatch, message));
        }
        self.set_rates(&mut state, [(key(label, "up"), up), (key(label, "down"), down)]).await?;
        let limits = state.running.config.labels.get(label).map(limits_of).unwrap_or_default();
        let torrents = in_use.get(label).copied().unwrap_or(0);
        let label = label.to_owned();
        let labels = Some(vec![LabelLimits { label: label.clone(), torrents, limits }]);
        Ok(LimitResult { label: Some(label), limits, labels, ..LimitResult::default() })
    }

    /// Every label that has limits.
    pub async fn limited_labels(&self, in_use: &BTreeMap<String, u32>) -> Vec<LabelLimits> {
        let state = self.state.lock().await;
        let each = state.running.config.labels.iter().map(|(label, rules)| LabelLimits {
            label: label.clone(),
            torrents: in_use.get(label).copied().unwrap_or(0),
            limits: limits_of(rules),
        });
        each.filter(|label| label.limits != RateLimits::default()).collect()
    }

    /// What the settings say of torrents that are added with these labels.
    pub async fn defaults_for(&self, labels: &[String]) -> Defaults {
        defaults(&self.state.lock().await.running.config, labels)
    }
}

fn defaults(config: &Config, labels: &[String]) -> Defaults {
    let rules = || labels.iter().filter_map(|label| config.labels.get(label));
    Defaults {
        folder: rules().find_map(|label| expanded(label.folder.as_deref())),
        priority: rules().find_map(|label| label.priority.0).map(rank),
        paused: rules().any(|label| label.paused),
    }
}

fn rank(priority: config::Priority) -> Priority {
    match priority {
        config::Priority::Low => Priority::Low,
        config::Priority::Normal => Priority::Normal,
        config::Priority::High => Priority::High,
    }
}

/// The key of a label's setting.
pub(super) fn key(label: &str, field: &str) -> String {
    key_of("labels", label, field)
}

fn limits_of(label: &Label) -> RateLimits {
    RateLimits { up: label.up.0, down: label.down.0 }
}

/// What the session's driver goes by.
pub(super) fn rules(config: &Config) -> Rules {
    let limit = |rate: Rate| (rate.0 > 0).then_some(ByteRate(rate.0));
    let limits = config.labels.iter().map(|(name, label)| (name, [limit(label.up), limit(label.down)]));
    let of_labels = config.labels.iter().map(|(name, label)| {
        let Label { ratio, time, idle, action, .. } = *label;
        (name, goals(ratio, time, idle, action))
    });
    let of_trackers = config.trackers.iter().map(|(host, tracker)| {
        let config::Tracker { ratio, time, idle, action } = *tracker;
        (host, goals(ratio, time, idle, action))
    });
    let named = |(name, goals): (&String, ChosenGoals)| (name.clone(), goals);
    let says = |(_, goals): &(&String, ChosenGoals)| *goals != ChosenGoals::default();
    Rules {
        limits: limits
            .filter(|(_, limits)| limits.iter().any(Option::is_some))
            .map(|(n, l)| (n.clone(), l))
            .collect(),
        labels: of_labels.filter(says).map(named).collect(),
        trackers: of_trackers.filter(says).map(named).collect(),
    }
}

fn goals(
    ratio: Chosen<GoalRatio>,
    time: Chosen<Period>,
    idle: Chosen<Period>,
    action: Chosen<config::AfterGoal>,
) -> ChosenGoals {
    ChosenGoals {
        // The bounds of the setting are those of a ratio.
        ratio: ratio.0.and_then(|ratio| Ratio::of(ratio.0)),
        time: time.0.map(|time| time.0),
        idle: idle.0.map(|idle| idle.0),
        action: action.0.map(after_goal),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;
    use wgo_core::session::AfterGoal;

    fn config(text: &str) -> Config {
        let file = config::file::parse(Path::new("/wgod.toml"), text).unwrap();
        config::resolve(&config::Layers { file, ..Default::default() }).unwrap().config
    }

    #[test]
    fn of_several_labels_the_first_counts_that_has_a_folder_or_a_priority() {
        let config = config(
            "[labels.a]\nfolder = \"/a\"\n[labels.b]\nfolder = \"/b\"\npriority = \"low\"\n\
             [labels.c]\npaused = true\npriority = \"high\"\n[labels.d]\nup = 1",
        );
        let of = |labels: &[&str]| {
            let labels: Vec<String> = labels.iter().map(|label| (*label).to_owned()).collect();
            let Defaults { folder, priority, paused } = defaults(&config, &labels);
            (folder.map(|folder| folder.display().to_string()), priority, paused)
        };
        let at = |folder: &str| Some(folder.to_owned());
        assert_eq!(of(&["a", "b"]), (at("/a"), Some(Priority::Low), false));
        assert_eq!(of(&["c", "b", "a"]), (at("/b"), Some(Priority::High), true));
        assert_eq!(of(&["d", "nobody"]), (None, None, false));
        assert_eq!(of(&[]), (None, None, false));
    }

    #[test]
    fn what_says_nothing_is_no_rule() {
        let rules = rules(&config(
            "[labels.a]\nup = 1\n[labels.b]\nratio = 0\naction = \"keep\"\n[labels.c]\npaused = true\n\
             [trackers.\"x.y\"]\ntime = 5\n[trackers.z]\nratio = \"default\"",
        ));
        let limits: Vec<_> = rules.limits.into_iter().collect();
        assert_eq!(limits, [("a".to_owned(), [Some(ByteRate(1000)), None])]);
        let none = ChosenGoals::default();
        let keep = ChosenGoals { ratio: Some(Ratio(0)), action: Some(AfterGoal::Keep), ..none };
        assert_eq!(rules.labels.into_iter().collect::<Vec<_>>(), [("b".to_owned(), keep)]);
        let time = ChosenGoals { time: Some(5), ..none };
        assert_eq!(rules.trackers.into_iter().collect::<Vec<_>>(), [("x.y".to_owned(), time)]);
    }
}
