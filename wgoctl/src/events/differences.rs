//! What happened to a torrent between two looks at it.
use serde::Serialize;
use serde_json::{Map, Value, json};
use wgo_api::torrent::{State, Torrent, Trouble};

/// What an event is about.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum What {
    Present,
    Connected { torrents: usize },
    Disconnected { error: String },
    Added,
    Removed,
    State { from: State, to: State },
    Metadata,
    Completed,
    Error { error: String, kind: Option<Trouble> },
    Recovered,
    Changed { changes: Map<String, Value> },
    Progress,
}

/// Fields that change by themselves while a torrent runs.
const FIGURES: &[&str] = &[
    "done_bytes",
    "downloaded_bytes",
    "uploaded_bytes",
    "wasted_bytes",
    "down_rate",
    "up_rate",
    "progress",
    "eta_secs",
    "ratio",
    "peers",
    "seeds",
];
/// Fields that have events of their own.
const TOLD: &[&str] = &["state", "error", "error_kind", "completed_at"];

/// What happened, in the order in which it is told; `progress` with what changes all the time.
pub(super) fn differences(before: &Torrent, now: &Torrent, progress: bool) -> Vec<What> {
    let mut found = Vec::new();
    let (mut changes, mut moved) = (Map::new(), false);
    // Compared as they are written, so that a field which is new to the API is not forgotten here.
    if let (Ok(Value::Object(old)), Ok(Value::Object(new))) =
        (serde_json::to_value(before), serde_json::to_value(now))
    {
        for (name, to) in new {
            let from = old.get(&name).cloned().unwrap_or_default();
            match name.as_str() {
                _ if from == to => {}
                name if FIGURES.contains(&name) => moved = true,
                name if TOLD.contains(&name) => {}
                _ => {
                    changes.insert(name, json!({ "from": from, "to": to }));
                }
            }
        }
    }
    if !changes.is_empty() {
        found.push(What::Changed { changes });
    }
    if before.size_bytes.is_none() && now.size_bytes.is_some() {
        found.push(What::Metadata);
    }
    if before.state != now.state {
        found.push(What::State { from: before.state, to: now.state });
    }
    match (&before.error, &now.error) {
        (Some(_), None) => found.push(What::Recovered),
        (before, Some(error)) if before.as_ref() != Some(error) => {
            found.push(What::Error { error: error.clone(), kind: now.error_kind });
        }
        _ => {}
    }
    if now.completed_at.is_some() && now.completed_at != before.completed_at {
        found.push(What::Completed);
    }
    if moved && progress {
        found.push(What::Progress);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_difference_is_told_once_and_in_order() {
        let before = Torrent { state: State::Downloading, name: "a".into(), ..Torrent::default() };
        let done = Torrent { state: State::Seeding, completed_at: Some(7), up_rate: 5, ..before.clone() };
        let state = What::State { from: State::Downloading, to: State::Seeding };
        assert_eq!(differences(&before, &done, false), [state.clone(), What::Completed]);
        assert_eq!(differences(&before, &done, true), [state, What::Completed, What::Progress]);
        assert_eq!(differences(&done, &done, true), []);

        let failed =
            Torrent { error: Some("full".into()), error_kind: Some(Trouble::DiskFull), ..done.clone() };
        let error = What::Error { error: "full".into(), kind: Some(Trouble::DiskFull) };
        assert_eq!(differences(&done, &failed, false), [error]);
        assert_eq!(differences(&failed, &done, false), [What::Recovered]);
    }

    #[test]
    fn what_an_operator_set_is_told_with_both_values() {
        let before = Torrent { folder: "/a".into(), ..Torrent::default() };
        let after =
            Torrent { folder: "/b".into(), labels: vec!["tv".into()], peers: 3, ..Torrent::default() };
        let told = differences(&before, &after, false);
        let line = serde_json::to_value(&told[0]).unwrap();
        assert_eq!(told.len(), 1);
        assert_eq!(
            line,
            json!({
                "event": "changed",
                "changes": {"folder": {"from": "/a", "to": "/b"}, "labels": {"from": [], "to": ["tv"]}}
            })
        );
    }

    #[test]
    fn it_is_told_when_metadata_has_come() {
        let before = Torrent { state: State::Metadata, name: "a".into(), ..Torrent::default() };
        let now = Torrent { state: State::Downloading, size_bytes: Some(7), ..before.clone() };
        let told = differences(&before, &now, false);
        let state = What::State { from: State::Metadata, to: State::Downloading };
        assert_eq!(told[1..], [What::Metadata, state]);
        assert_eq!(differences(&now, &now, false), []);
    }

    #[test]
    fn every_field_that_is_set_apart_exists() {
        let torrent = serde_json::to_value(Torrent::default()).unwrap();
        for name in FIGURES.iter().chain(TOLD) {
            assert!(torrent.get(name).is_some(), "{name}");
        }
    }
}
