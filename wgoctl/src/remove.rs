//! `wgoctl remove`: forgets torrents, and deletes their files only when told to.
use wgo_api::ApiClient;
use wgo_api::params::RemoveParams;

use crate::act::report;
use crate::context::Context;
use crate::failure::Failure;
use crate::units::count;

/// Torrents to remove.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  wgoctl remove 3fa9                  # the files stay
  wgoctl remove --data \"Debian 13\"    # and its files go
  wgoctl remove --all --yes")]
pub struct Args {
    /// Info-hashes, unique prefixes of them, or exact names
    #[arg(value_name = "ID", required_unless_present = "all", conflicts_with = "all")]
    ids: Vec<String>,
    /// Delete the files too
    #[arg(long)]
    data: bool,
    /// All torrents
    #[arg(long)]
    all: bool,
    /// Do not ask before removing all
    #[arg(long, short)]
    yes: bool,
}

pub(crate) async fn run(args: Args, context: &mut Context<'_, '_>) -> Result<u8, Failure> {
    if args.all && !args.yes && !confirm(args.data, context).await? {
        context.console.note("wgoctl: nothing removed");
        return Ok(wgo_api::Kind::Other.exit_code());
    }
    let params = RemoveParams { ids: args.ids, all: args.all, data: args.data };
    let result = context.client.remove(params).await?;
    report(context, &result, if args.data { "Removed with its data:" } else { "Removed" })
}

/// Asks the person at the terminal; without one, `--yes` is the only way.
async fn confirm(data: bool, context: &mut Context<'_, '_>) -> Result<bool, Failure> {
    if !context.terminal().can_ask {
        return Err(Failure::Usage("--all without a terminal to ask on: add --yes if you mean it".into()));
    }
    let status = context.client.status(Default::default()).await?;
    let torrents: u32 = status.daemon.torrents.values().sum();
    let what = if data { " AND DELETE ALL THEIR FILES" } else { "; their files stay" };
    let question = format!("Remove {}{what}? [y/N] ", count(torrents as usize, "torrent"));
    context.confirm(&question)
}
