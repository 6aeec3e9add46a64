//! `wgoctl wait`: returns when a torrent is complete, or its metadata is known.
use wgo_api::result::WaitResult;

use crate::add::GoalArg;
use crate::clean::clean;
use crate::context::Context;
use crate::failure::Failure;
use crate::progress::wait_for;

/// What to wait for.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A torrent is done when all of it is safe on the disk, and in the folder where it stays: one that is kept in
storage.incomplete_folder meanwhile, when its files have got from there to their final folder. If they can't,
that is an error.

Examples:
  wgoctl wait 3fa9
  wgoctl wait 3fa9 --for metadata --timeout '5 min' || echo 'no metadata yet'")]
pub struct Args {
    /// Info-hash, unique prefix of it, or exact name
    id: String,
    /// What to wait for; --timeout limits the wait
    #[arg(long = "for", value_enum, value_name = "WHAT", default_value_t = GoalArg::Done)]
    goal: GoalArg,
}

pub(crate) async fn run(args: Args, context: &mut Context<'_, '_>) -> Result<u8, Failure> {
    let torrent = wait_for(&args.id, args.goal.into(), context.patience(), context).await?;
    let result = WaitResult { torrent };
    context.answer(&result, |result, _| {
        format!("{}: {}\n", clean(&result.torrent.name), result.torrent.state)
    })?;
    Ok(0)
}
