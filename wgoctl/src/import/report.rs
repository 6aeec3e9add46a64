//! What became, or would become, of each torrent of another client.
use std::collections::BTreeMap;

use serde::Serialize;
use wgo_api::Kind;
use wgo_api::goals::{AfterGoal, OwnGoals};
use wgo_api::params::AddParams;
use wgo_api::result::{AddStatus, Added};
use wgo_api::torrent::FilePriority;
use wgo_api::units::Period;

use super::found::Left;
use super::names::Renamed;
use super::plan::{Check, Plan};
use crate::clean::{clean, clean_lines};
use crate::console::Terminal;
use crate::table::{Align, Cell, Table, Tone};
use crate::units::{count, known, percent};
use crate::wrap::wrap_lines;

/// What became of a torrent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Status {
    /// It would be added.
    WouldAdd,
    /// It is added.
    Added,
    /// It was there before, and nothing was changed.
    Present,
    /// It is not taken over.
    Failed,
}

/// One torrent.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    info_hash: Option<String>,
    name: String,
    folder: Option<String>,
    labels: Vec<String>,
    paused: bool,
    progress: Option<f64>,
    check: Option<Check>,
    /// What of its own it brings along, in words.
    keeps: Vec<String>,
    /// Files that have other names than their maker's.
    renamed: Vec<Renamed>,
    goals: OwnGoals,
    pub(super) status: Status,
    error: Option<String>,
    /// What is not taken over of it, and other things to know.
    notes: Vec<String>,
    #[serde(skip)]
    pub(super) kind: Option<Kind>,
}

/// All of them.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) dry_run: bool,
    pub(super) torrents: Vec<Row>,
}

impl Row {
    pub(super) fn left(left: Left) -> Row {
        Row {
            info_hash: left.info_hash,
            name: left.label,
            folder: None,
            labels: Vec::new(),
            paused: false,
            progress: None,
            check: None,
            keeps: Vec::new(),
            renamed: Vec::new(),
            goals: OwnGoals::default(),
            status: Status::Failed,
            error: Some(left.why),
            notes: Vec::new(),
            kind: Some(Kind::Other),
        }
    }

    pub(super) fn planned(plan: &Plan) -> Row {
        Row {
            info_hash: Some(plan.info_hash.clone()),
            name: plan.name.clone(),
            folder: plan.params.folder.as_ref().map(|folder| folder.display().to_string()),
            labels: plan.params.labels.clone(),
            paused: plan.params.paused,
            progress: plan.progress,
            check: Some(plan.check),
            keeps: keeps(plan),
            renamed: plan.renamed.clone(),
            goals: goals(&plan.params),
            status: Status::WouldAdd,
            error: None,
            notes: plan.notes(),
            kind: None,
        }
    }

    /// What the daemon made of it.
    pub(super) fn answered(&mut self, added: Added) {
        self.status = match added.status {
            AddStatus::Added => Status::Added,
            AddStatus::Present => Status::Present,
            AddStatus::Failed => Status::Failed,
        };
        if self.status == Status::Failed {
            self.failed(added.error.unwrap_or_else(|| "failed for no given reason".to_owned()), added.kind);
        }
    }

    pub(super) fn failed(&mut self, why: String, kind: Option<Kind>) {
        self.status = Status::Failed;
        self.error = Some(why);
        self.kind = Some(kind.unwrap_or(Kind::Other));
    }

    /// The info-hash, if it was added just now.
    pub(super) fn added(&self) -> Option<&str> {
        self.info_hash.as_deref().filter(|_| self.status == Status::Added)
    }

    fn result(&self) -> (&'static str, Tone) {
        match self.status {
            Status::WouldAdd => ("to add", Tone::Good),
            Status::Added => ("added", Tone::Good),
            Status::Present => ("present", Tone::Faint),
            Status::Failed => ("left out", Tone::Bad),
        }
    }
}

/// What a torrent has of its own, in a few words each.
fn keeps(plan: &Plan) -> Vec<String> {
    let params = &plan.params;
    let Some(known) = params.known.as_deref() else { return Vec::new() };
    let mut words = Vec::new();
    if known.name.is_some() {
        words.push("its name".to_owned());
    }
    if !plan.renamed.is_empty() {
        words.push(count(plan.renamed.len(), "renamed file"));
    }
    words.extend(goal_words(&goals(params)));
    let flags = [
        (known.priorities.iter().any(|priority| *priority != FilePriority::Normal), "chosen files"),
        (known.up_limit.is_some() || known.down_limit.is_some(), "limits"),
        (known.trackers.is_some(), "trackers"),
        (params.sequential, "sequential"),
        (params.first_last, "first and last pieces"),
        (known.final_folder.is_some(), "final folder"),
    ];
    words.extend(flags.into_iter().filter(|(is, _)| *is).map(|(_, word)| word.to_owned()));
    words
}

fn goals(params: &AddParams) -> OwnGoals {
    OwnGoals {
        ratio: params.ratio,
        time_secs: params.seed_time_secs,
        idle_secs: params.seed_idle_secs,
        action: params.goal_action,
    }
}

fn goal_words(goals: &OwnGoals) -> Vec<String> {
    let ratio = goals.ratio.map(|ratio| match ratio > 0.0 {
        true => format!("ratio {ratio:.2}"),
        false => "no ratio goal".to_owned(),
    });
    let time = goals.time_secs.map(|secs| match secs {
        0 => "no time goal".to_owned(),
        secs => format!("seeds for {}", Period(secs)),
    });
    let idle = goals.idle_secs.map(|secs| match secs {
        0 => "no idle goal".to_owned(),
        secs => format!("{} without upload", Period(secs)),
    });
    let then = match goals.action {
        None => None,
        Some(AfterGoal::Stop) => Some("then stop"),
        Some(AfterGoal::Remove) => Some("then remove"),
        Some(AfterGoal::RemoveWithFiles) => Some("then remove with files"),
        Some(AfterGoal::Keep) => Some("then go on"),
    };
    [ratio, time, idle, then.map(str::to_owned)].into_iter().flatten().collect()
}

impl Report {
    /// The table, what to know of its torrents, and the sum.
    pub(super) fn text(&self, terminal: Terminal) -> String {
        let mut table = Table::new()
            .column("NAME", Align::Left, true)
            .column("DONE", Align::Right, false)
            .column("CHECK", Align::Left, false)
            .column("STATE", Align::Left, false)
            .column("LABELS", Align::Left, true)
            .column("FOLDER", Align::Left, true)
            .column("RESULT", Align::Left, false)
            .expendable(&["LABELS", "FOLDER", "STATE", "CHECK"]);
        for row in &self.torrents {
            let (result, tone) = row.result();
            let taken = row.status != Status::Failed;
            let state = if row.paused { "stopped" } else { "started" };
            table.row(vec![
                Cell::from(&row.name),
                Cell::from(known(row.progress, percent)),
                Cell::from(row.check.map_or("", Check::as_str)),
                Cell::from(if taken { state } else { "" }),
                Cell::from(row.labels.join(", ")),
                Cell::path(row.folder.as_deref().unwrap_or_default()),
                Cell::toned(result, tone),
            ]);
            if !row.keeps.is_empty() {
                table.under(&format!("keeps {}", row.keeps.join(", ")));
            }
        }
        let mut text = table.render(terminal, true);
        let mut notes: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for row in self.torrents.iter().filter(|row| row.status != Status::Failed) {
            for note in &row.notes {
                notes.entry(note).or_default().push(&row.name);
            }
        }
        if !notes.is_empty() {
            text.push('\n');
        }
        for (note, names) in notes {
            let whose = match names.as_slice() {
                [name] => clean(name),
                names => count(names.len(), "torrent"),
            };
            let line = wrap_lines(&format!("{whose}: {}", clean(note)), terminal.columns);
            text.push_str(&format!("{line}\n"));
        }
        let of = |status| self.torrents.iter().filter(|row| row.status == status).count();
        let done = if self.dry_run { (of(Status::WouldAdd), "to add") } else { (of(Status::Added), "added") };
        let mut sums = vec![format!("{} {}", count(done.0, "torrent"), done.1)];
        for (number, word) in [(of(Status::Present), "present before"), (of(Status::Failed), "left out")] {
            if number > 0 {
                sums.push(format!("{number} {word}"));
            }
        }
        let nothing = if self.dry_run { "; nothing was changed" } else { "" };
        let sums = wrap_lines(&format!("{}{nothing}", sums.join(", ")), terminal.columns);
        text.push_str(&format!("\n{sums}\n"));
        text
    }

    /// Why torrents were left out, a line each.
    pub(super) fn complaints(&self) -> Vec<String> {
        let left = self.torrents.iter().filter_map(|row| Some((row, row.error.as_ref()?)));
        left.map(|(row, why)| {
            let (name, why) = (clean(&row.name), clean_lines(why));
            if why.contains(name.as_str()) { why } else { format!("{name}: {why}") }
        })
        .collect()
    }
}
