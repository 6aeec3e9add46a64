//! What the configuration says of torrents by their labels and trackers: limits that they share, and seeding
//! goals.
//!
//! A goal of a torrent's own wins over those of its labels, these over those of its trackers, and these over
//! `[seeding]`; each goal by itself. Labels have no order that anybody sees, so of several the strictest goal counts, and
//! the mildest action: what one of them keeps is not deleted for another. Trackers have one, so of these the first
//! counts that says something.
use std::collections::BTreeMap;

use wgo_core::ByteRate;
use wgo_core::session::{AfterGoal, ChosenGoals};

use crate::config::host_in;

/// What the configuration says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Of labels that have any, up and down: what all their torrents may move together.
    pub limits: BTreeMap<String, [Option<ByteRate>; 2]>,
    /// Goals of labels that have any.
    pub labels: BTreeMap<String, ChosenGoals>,
    /// Goals by host of a tracker, in lower case.
    pub trackers: BTreeMap<String, ChosenGoals>,
}

/// Who says what a goal is, or that there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By<'a> {
    /// The torrent.
    Torrent,
    /// A label of it.
    Label(&'a str),
    /// The host of a tracker of it, or one above that.
    Tracker(&'a str),
    /// `[seeding]`.
    Seeding,
}

/// The goals of a torrent, and who says so of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Decided<'a> {
    pub(super) goals: ChosenGoals,
    pub(super) ratio: By<'a>,
    pub(super) time: By<'a>,
    pub(super) idle: By<'a>,
    pub(super) action: By<'a>,
}

/// All that has a say.
struct Voices<'a> {
    own: ChosenGoals,
    labels: Vec<(&'a str, ChosenGoals)>,
    trackers: Vec<(&'a str, ChosenGoals)>,
    seeding: ChosenGoals,
}

impl Rules {
    /// The goals of a torrent with these of its own, these labels and trackers.
    pub(super) fn decide<U: AsRef<str>>(
        &self,
        own: ChosenGoals,
        labels: &[String],
        tiers: &[Vec<U>],
        seeding: ChosenGoals,
    ) -> Decided<'_> {
        let of_label = |label| self.labels.get_key_value(label).map(|(name, goals)| (name.as_str(), *goals));
        let labels = match self.labels.is_empty() {
            true => Vec::new(),
            false => labels.iter().filter_map(of_label).collect(),
        };
        let voices = Voices { own, labels, trackers: self.of_trackers(tiers), seeding };
        // None is the least strict.
        let least = |value: u64| if value == 0 { u64::MAX } else { value };
        let (ratio, ratio_by) = voices.first(|goals| goals.ratio, |ratio| least(ratio.0.into()));
        let (time, time_by) = voices.first(|goals| goals.time, |secs| least(*secs));
        let (idle, idle_by) = voices.first(|goals| goals.idle, |secs| least(*secs));
        let (action, action_by) = voices.first(|goals| goals.action, |action| mildness(*action));
        Decided {
            goals: ChosenGoals { ratio, time, idle, action },
            ratio: ratio_by,
            time: time_by,
            idle: idle_by,
            action: action_by,
        }
    }

    /// What is said of these trackers: in their order, and of each the longest host first.
    fn of_trackers<U: AsRef<str>>(&self, tiers: &[Vec<U>]) -> Vec<(&str, ChosenGoals)> {
        let mut found: Vec<(&str, ChosenGoals)> = Vec::new();
        if self.trackers.is_empty() {
            return found;
        }
        for url in tiers.iter().flatten() {
            let Some(host) = host_in(url.as_ref()) else { continue };
            for host in hosts_above(&host) {
                if let Some((name, goals)) = self.trackers.get_key_value(host)
                    && !found.iter().any(|(known, _)| known == name)
                {
                    found.push((name, *goals));
                }
            }
        }
        found
    }
}

impl<'a> Voices<'a> {
    /// What the first says that says something; of labels the one whose rank is least.
    fn first<T: Copy, R: Ord>(
        &self,
        goal: impl Fn(&ChosenGoals) -> Option<T>,
        rank: impl Fn(&T) -> R,
    ) -> (Option<T>, By<'a>) {
        if let Some(own) = goal(&self.own) {
            return (Some(own), By::Torrent);
        }
        let of_labels = self.labels.iter().filter_map(|(label, goals)| Some((goal(goals)?, *label)));
        if let Some((value, label)) = of_labels.min_by_key(|(value, label)| (rank(value), *label)) {
            return (Some(value), By::Label(label));
        }
        let mut of_trackers = self.trackers.iter().filter_map(|(host, goals)| Some((goal(goals)?, *host)));
        match of_trackers.next() {
            Some((value, host)) => (Some(value), By::Tracker(host)),
            None => (goal(&self.seeding), By::Seeding),
        }
    }
}

/// The less is left of a torrent, the larger.
fn mildness(action: AfterGoal) -> u8 {
    match action {
        AfterGoal::Keep => 0,
        AfterGoal::Stop => 1,
        AfterGoal::Remove => 2,
        AfterGoal::RemoveWithFiles => 3,
    }
}

/// A host and those that it is below; an address is below none.
fn hosts_above(host: &str) -> impl Iterator<Item = &str> {
    let is_address = host.contains(':') || host.ends_with(|c: char| c.is_ascii_digit());
    std::iter::successors(Some(host), move |host| match is_address {
        true => None,
        false => host.split_once('.').map(|(_, above)| above),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use wgo_core::session::Ratio;

    fn ratio(thousandths: u32) -> ChosenGoals {
        ChosenGoals { ratio: Some(Ratio(thousandths)), ..ChosenGoals::default() }
    }

    fn then(action: AfterGoal) -> ChosenGoals {
        ChosenGoals { action: Some(action), ..ChosenGoals::default() }
    }

    fn map(rules: &[(&str, ChosenGoals)]) -> BTreeMap<String, ChosenGoals> {
        rules.iter().map(|(name, goals)| ((*name).to_owned(), *goals)).collect()
    }

    fn labels(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    const NONE: ChosenGoals = ChosenGoals { ratio: None, time: None, idle: None, action: None };

    #[test]
    fn who_is_nearer_to_the_torrent_wins_goal_by_goal() {
        let rules = Rules {
            labels: map(&[("tv", ratio(2000))]),
            trackers: map(&[("example.org", ChosenGoals { time: Some(60), ..ratio(3000) })]),
            ..Rules::default()
        };
        let seeding = ChosenGoals { idle: Some(7), time: Some(8), ..ratio(4000) };
        let tiers = [vec!["http://example.org/announce"]];
        let decide = |own, with: &[&str], tiers: &[Vec<&str>]| {
            let with = labels(with);
            let decided = rules.decide(own, &with, tiers, seeding);
            let source = |by: By<'_>| format!("{by:?}");
            (
                decided.goals.ratio.map(|r| r.0),
                source(decided.ratio),
                decided.goals.time,
                source(decided.time),
            )
        };
        let tracker = "Tracker(\"example.org\")".to_owned();
        for (own, with, tiers, want) in [
            (ratio(1000), &["tv"][..], &tiers[..], (Some(1000), "Torrent", Some(60), tracker.as_str())),
            (ratio(0), &["tv"], &tiers, (Some(0), "Torrent", Some(60), &tracker)),
            (NONE, &["tv"], &tiers, (Some(2000), "Label(\"tv\")", Some(60), &tracker)),
            (NONE, &["films"], &tiers, (Some(3000), &tracker, Some(60), &tracker)),
            (NONE, &[], &[], (Some(4000), "Seeding", Some(8), "Seeding")),
        ] {
            let (ratio, by, time, time_by) = decide(own, with, tiers);
            assert_eq!((ratio, by.as_str(), time, time_by.as_str()), want);
        }
        let decided = rules.decide(NONE, &[], &tiers, seeding);
        assert_eq!((decided.goals.idle, decided.idle), (Some(7), By::Seeding));
        assert_eq!((decided.goals.action, decided.action), (None, By::Seeding));
    }

    #[test]
    fn of_several_labels_the_strictest_goal_counts_and_the_mildest_action() {
        let rules = Rules {
            labels: map(&[
                ("a", ChosenGoals { time: Some(50), ..ratio(2000) }),
                ("b", ChosenGoals { time: Some(90), ..ratio(1000) }),
                ("none", ratio(0)),
                ("same", ratio(1000)),
                ("archive", then(AfterGoal::Keep)),
                ("wipe", then(AfterGoal::RemoveWithFiles)),
                ("drop", then(AfterGoal::Remove)),
            ]),
            ..Rules::default()
        };
        let decide = |with: &[&str]| rules.decide(NONE, &labels(with), &[] as &[Vec<&str>], ratio(5)).goals;
        let by = |with: &[&str]| rules.decide(NONE, &labels(with), &[] as &[Vec<&str>], ratio(5)).ratio;
        for order in [["a", "b"], ["b", "a"]] {
            assert_eq!((decide(&order).ratio, decide(&order).time), (Some(Ratio(1000)), Some(50)));
            assert_eq!(by(&order), By::Label("b"));
        }
        assert_eq!(by(&["same", "b"]), By::Label("b"), "the same is said of the same label always");
        assert_eq!(decide(&["none", "a"]).ratio, Some(Ratio(2000)));
        assert_eq!(decide(&["none"]).ratio, Some(Ratio(0)), "none is said, so [seeding] isn't asked");
        assert_eq!(decide(&["wipe", "drop"]).action, Some(AfterGoal::Remove));
        assert_eq!(decide(&["wipe", "archive", "drop"]).action, Some(AfterGoal::Keep));
        assert_eq!(decide(&["archive", "a"]).in_force().reached(&Default::default()), None);
    }

    #[test]
    fn the_first_tracker_that_has_a_rule_counts_and_the_longest_host() {
        let rules = Rules {
            trackers: map(&[
                ("example.org", ChosenGoals { time: Some(1), ..ratio(1000) }),
                ("tracker.example.org", ratio(2000)),
                ("other.net", ratio(3000)),
                ("192.0.2.1", ratio(4000)),
                ("2001:db8::1", ratio(5000)),
                ("2.1", ratio(6000)),
            ]),
            ..Rules::default()
        };
        let decide = |tiers: &[&[&str]]| {
            let tiers: Vec<Vec<&str>> = tiers.iter().map(|tier| tier.to_vec()).collect();
            let decided = rules.decide(NONE, &[], &tiers, NONE);
            (decided.goals.ratio.map_or(0, |ratio| ratio.0), decided.goals.time)
        };
        for (tiers, want) in [
            (&[&["http://example.org/x"][..]][..], (1000, Some(1))),
            (&[&["https://TRACKER.Example.org:443/PASSKEY/announce"]], (2000, Some(1))),
            (&[&["udp://a.b.tracker.example.org:6969"]], (2000, Some(1))),
            (&[&["http://notexample.org/"]], (0, None)),
            (&[&["http://example.org.evil.net/"]], (0, None)),
            (&[&["http://evil.net/?http://example.org/"]], (0, None)),
            (&[&["http://example.org@evil.net/"]], (0, None)),
            (&[&["http://nobody.net/", "udp://other.net:1/"], &["http://example.org/"]], (3000, Some(1))),
            (&[&["http://example.org/"], &["http://other.net/"]], (1000, Some(1))),
            (&[&["http://192.0.2.1:80/announce"]], (4000, None)),
            (&[&["http://10.2.2.1/announce"]], (0, None)),
            (&[&["http://[2001:DB8:0::1]:80/announce"]], (5000, None)),
            (&[&["", "no url", "http://", "http:///", "[", "http://["]], (0, None)),
            (&[], (0, None)),
        ] {
            assert_eq!(decide(tiers), want, "{tiers:?}");
        }
    }
}
