//! What `stop`, `announce` and others share: which torrents, and what became of each.
use wgo_api::params::SelectParams;
use wgo_api::result::{ActResult, ActStatus};

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
    context.answer(result, |result, _| {
        let ok: Vec<_> = result.torrents.iter().filter(|acted| acted.status == ActStatus::Ok).collect();
        match ok[..] {
            [] => String::new(),
            [one] => format!("{done} {}\n", clean(one.name.as_deref().unwrap_or(&one.id))),
            _ => format!("{done} {}\n", count(ok.len(), "torrent")),
        }
    })?;
    let failed = |acted: &&wgo_api::result::Acted| acted.status == ActStatus::Failed;
    for acted in result.torrents.iter().filter(failed) {
        let why = clean_lines(acted.error.as_deref().unwrap_or("failed for no given reason"));
        context.console.note(&format!("wgoctl: {}: {why}", clean(&acted.id)));
    }
    Ok(exit_code_of(result.torrents.iter().map(|acted| match acted.status {
        ActStatus::Ok => None,
        ActStatus::Failed => Some(acted.kind.unwrap_or(wgo_api::Kind::Other)),
    })))
}
