//! The seeding goals of a torrent in words: which are in force, and who says so.
use wgo_api::goals::{AfterGoal, GoalBy, GoalSource, GoalSources, Goals};
use wgo_api::result::TorrentDetails;
use wgo_api::units::Period;

/// The goals in force, and where each comes from.
pub(super) fn goals_text(details: &TorrentDetails) -> String {
    let Goals { ratio, time_secs, idle_secs, action } = details.torrent.goals;
    let by = &details.goals_by;
    if action == AfterGoal::Keep {
        return format!("none, it is kept ({})", source(&by.action));
    }
    let goals = [
        (ratio.map(|ratio| format!("ratio {ratio:.2}")), &by.ratio),
        (time_secs.map(|secs| Period(secs).to_string()), &by.time_secs),
        (idle_secs.map(|secs| format!("{} without upload", Period(secs))), &by.idle_secs),
    ];
    let goals: Vec<(String, &GoalSource)> =
        goals.into_iter().filter_map(|(goal, by)| Some((goal?, by))).collect();
    if goals.is_empty() {
        return match first_refusal(by) {
            Some(who) => format!("none ({})", source(who)),
            None => "none".to_owned(),
        };
    }
    let then = match action {
        AfterGoal::Stop | AfterGoal::Keep => None,
        AfterGoal::Remove => Some((", then remove".to_owned(), &by.action)),
        AfterGoal::RemoveWithFiles => Some((", then remove with files".to_owned(), &by.action)),
    };
    join(&goals, then)
}

/// Who other than `[seeding]` says that there is none of a goal.
fn first_refusal(by: &GoalSources) -> Option<&GoalSource> {
    [&by.ratio, &by.time_secs, &by.idle_secs].into_iter().find(|who| who.by != GoalBy::Seeding)
}

/// Each with its source; what follows one another from the same source is said of all of it at its end.
fn join(goals: &[(String, &GoalSource)], then: Option<(String, &GoalSource)>) -> String {
    let mut parts: Vec<(String, &GoalSource)> = Vec::new();
    let alternatives = goals.iter().enumerate().map(|(at, (goal, by))| {
        let or = if at == 0 { "" } else { " or " };
        (format!("{or}{goal}"), *by)
    });
    for (part, by) in alternatives.chain(then) {
        match parts.last_mut() {
            Some((last, who)) if *who == by => last.push_str(&part),
            _ => parts.push((part, by)),
        }
    }
    parts.into_iter().map(|(part, by)| format!("{part} ({})", source(by))).collect()
}

fn source(source: &GoalSource) -> String {
    let name = source.name.as_deref().unwrap_or_default();
    match source.by {
        GoalBy::Torrent => "its own".to_owned(),
        GoalBy::Label => format!("label {name}"),
        GoalBy::Tracker => format!("tracker {name}"),
        GoalBy::Seeding => "[seeding]".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wgo_api::Torrent;

    #[test]
    fn goals_are_shown_with_who_says_so() {
        let label = || GoalSource::label("tv");
        let all = |by: GoalSource| GoalSources {
            ratio: by.clone(),
            time_secs: by.clone(),
            idle_secs: by.clone(),
            action: by,
        };
        let goals =
            Goals { ratio: Some(2.0), time_secs: Some(7200), idle_secs: None, action: AfterGoal::Stop };
        let remove = Goals { action: AfterGoal::Remove, ..goals };
        let none = Goals::default();
        let tracker = GoalSource::tracker("example.org");
        for (goals, by, text) in [
            (goals, all(GoalSource::TORRENT), "ratio 2.00 or 2 h (its own)"),
            (
                goals,
                GoalSources { ratio: label(), ..GoalSources::default() },
                "ratio 2.00 (label tv) or 2 h ([seeding])",
            ),
            (remove, all(tracker.clone()), "ratio 2.00 or 2 h, then remove (tracker example.org)"),
            (
                remove,
                GoalSources { action: label(), ..all(tracker) },
                "ratio 2.00 or 2 h (tracker example.org), then remove (label tv)",
            ),
            (none, GoalSources::default(), "none"),
            (none, GoalSources { ratio: label(), ..GoalSources::default() }, "none (label tv)"),
            (
                Goals { action: AfterGoal::Keep, ..goals },
                GoalSources { action: label(), ..GoalSources::default() },
                "none, it is kept (label tv)",
            ),
        ] {
            let torrent = Torrent { goals, ..Torrent::default() };
            let details = TorrentDetails { torrent, goals_by: by, ..TorrentDetails::default() };
            assert_eq!(goals_text(&details), text);
        }
    }
}
