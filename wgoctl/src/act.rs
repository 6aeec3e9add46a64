//! What `stop`, `announce` and others share: which torrents, and what became of each.
use wgo_api::params::SelectParams;
use wgo_api::result::{ActResult, ActStatus, Acted};

use crate::clean::{clean, clean_lines};
use crate::context::Context;
use crate::failure::{Failure, exit_code_of};
use crate::units::count;

/// Torrents to act on.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  wgoctl stop 3fa9 77c2
  wgoctl stop --all
  wgoctl announce 3fa9")]
pub struct Args {
    /// Info-hashes, unique prefixes of them, or exact names
    #[arg(value_name = "ID", required_unless_present = "all", conflicts_with = "all")]
    ids: Vec<String>,
    /// All torrents
    #[arg(long)]
    all: bool,
}

impl Args {
    pub(crate) fn params(self) -> SelectParams {
        SelectParams { ids: self.ids, all: self.all }
    }
}

/// Prints what became of each torrent and returns the exit code. `done` is the verb's past form.
pub(crate) fn report(context: &mut Context<'_, '_>, result: &ActResult, done: &str) -> Result<u8, Failure> {
    report_with(context, result, done, "Unchanged:")
}

/// The same; `before` is said of those that were so before.
pub(crate) fn report_with(
    context: &mut Context<'_, '_>,
    result: &ActResult,
    done: &str,
    before: &str,
) -> Result<u8, Failure> {
    let name = |acted: &Acted| clean(acted.name.as_deref().unwrap_or(&acted.id));
    context.answer(result, |result, _| {
        let told = |status, verb: &str| {
            let all = result.torrents.iter().filter(|acted| acted.status == status && acted.note.is_none());
            let all: Vec<_> = all.collect();
            match all[..] {
                [] => String::new(),
                [one] => format!("{verb} {}\n", name(one)),
                _ => format!("{verb} {}\n", count(all.len(), "torrent")),
            }
        };
        let noted = result.torrents.iter().filter_map(|acted| Some((acted, acted.note.as_deref()?)));
        let notes: String =
            noted.map(|(acted, note)| format!("{}: {}\n", name(acted), clean(note))).collect();
        told(ActStatus::Ok, done) + &notes + &told(ActStatus::Unchanged, before)
    })?;
    let failed = |acted: &&wgo_api::result::Acted| acted.status == ActStatus::Failed;
    for acted in result.torrents.iter().filter(failed) {
        let why = clean_lines(acted.error.as_deref().unwrap_or("failed for no given reason"));
        let id = clean(&acted.id);
        let line = if why.contains(id.as_str()) { why } else { format!("{id}: {why}") };
        context.console.note(&format!("wgoctl: {line}"));
    }
    Ok(exit_code_of(result.torrents.iter().map(|acted| match acted.status {
        ActStatus::Ok | ActStatus::Unchanged => None,
        ActStatus::Failed => Some(acted.kind.unwrap_or(wgo_api::Kind::Other)),
    })))
}
