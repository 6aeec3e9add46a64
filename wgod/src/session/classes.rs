//! Limits that the torrents of a label share: which labels have any, and which torrents that concerns.
//!
//! To the limiter a label is a class. Labels without limits are none, and torrents without labels are in none, so
//! neither costs anything while bytes move.
use std::collections::BTreeMap;

use wgo_api::result::LabelLimits;
use wgo_api::torrent::RateLimits;
use wgo_core::ByteRate;
use wgo_core::limiter::{ClassId, Direction};

use super::Driver;
use super::entry::Entry;

/// The labels that have limits.
#[derive(Debug, Default)]
pub(super) struct Classes {
    /// Bounded by the configuration.
    ids: BTreeMap<String, ClassId>,
    /// The number for the next one. None is given twice.
    next: u32,
}

impl Driver {
    /// Puts the limits of labels in force that the settings say.
    pub(super) fn limit_labels(&mut self) {
        let shaper = &self.engine.shaper;
        let (wanted, Classes { ids, next }) = (&self.tunables.rules.limits, &mut self.classes);
        let before: Vec<ClassId> = ids.values().copied().collect();
        for (_, class) in ids.extract_if(.., |label, _| !wanted.contains_key(label)) {
            for direction in [Direction::Up, Direction::Down] {
                shaper.set_class(class, direction, None);
            }
        }
        for (label, [up, down]) in wanted {
            let class = *ids.entry(label.clone()).or_insert_with(|| {
                *next += 1;
                ClassId(*next)
            });
            shaper.set_class(class, Direction::Up, *up);
            shaper.set_class(class, Direction::Down, *down);
        }
        if !ids.values().eq(&before) {
            let labelled = self.entries.values().filter(|entry| !entry.settings.labels.is_empty());
            labelled.for_each(|entry| self.classify(entry));
        }
    }

    /// Has a torrent share the limits of the labels that it has now.
    pub(super) fn classify(&self, entry: &Entry) {
        let class = |label| self.classes.ids.get(label).copied();
        let classes: Vec<ClassId> = entry.settings.labels.iter().filter_map(class).collect();
        self.engine.shaper.set_classes(entry.id, &classes);
    }

    /// Whether some label has limits.
    pub(super) fn has_classes(&self) -> bool {
        !self.classes.ids.is_empty()
    }

    /// The limits of a torrent's labels, and how many torrents share each.
    pub(super) fn label_limits(&self, entry: &Entry) -> Vec<LabelLimits> {
        let limits = &self.tunables.rules.limits;
        let mut labels: Vec<&String> =
            entry.settings.labels.iter().filter(|label| limits.contains_key(*label)).collect();
        if labels.is_empty() {
            return Vec::new();
        }
        labels.sort();
        let (in_use, rate) = (self.labels_in_use(), |limit: Option<ByteRate>| limit.map_or(0, |rate| rate.0));
        let of = |label: &String| LabelLimits {
            label: label.clone(),
            torrents: in_use.get(label).copied().unwrap_or(0),
            limits: limits.get(label).map_or_else(RateLimits::default, |[up, down]| RateLimits {
                up: rate(*up),
                down: rate(*down),
            }),
        };
        labels.into_iter().map(of).collect()
    }

    /// How many torrents have each label.
    pub(super) fn labels_in_use(&self) -> BTreeMap<String, u32> {
        let mut count = BTreeMap::new();
        for label in self.entries.listed().flat_map(|entry| &entry.settings.labels) {
            *count.entry(label.clone()).or_default() += 1;
        }
        count
    }
}
