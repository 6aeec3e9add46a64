//! `wgoctl move`: brings torrents' files to another folder, or calls that off.
use std::path::PathBuf;

use wgo_api::ApiClient;
use wgo_api::params::MoveParams;

use crate::act::report_with;
use crate::context::Context;
use crate::failure::Failure;

/// Torrents to move, and where to.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Returns when the move is scheduled; `wgoctl list` shows how far it is. The old files are deleted when the
new ones are whole and known to be right, and files that other torrents use are copied. A torrent neither
downloads nor uploads while its files are copied.

A torrent that is kept in storage.incomplete_folder until it is complete stays there until then, and goes to
DIR instead of where it would have gone. If it is complete and can't get there, it goes to DIR at once.
With --cancel the files stay where they are for good.

Examples:
  wgoctl move 3fa9 --to /srv/films
  wgoctl move --all --to /mnt/new-disk
  wgoctl move 3fa9 --cancel           # they stay where they are")]
pub struct Args {
    /// Info-hashes, unique prefixes of them, or exact names
    #[arg(value_name = "ID", required_unless_present = "all", conflicts_with = "all")]
    ids: Vec<String>,
    /// Folder that the files go to; it is made if it is missing
    #[arg(long, value_name = "DIR", required_unless_present = "cancel", conflicts_with = "cancel")]
    to: Option<PathBuf>,
    /// Leave the files where they are after all
    #[arg(long)]
    cancel: bool,
    /// All torrents
    #[arg(long)]
    all: bool,
}

pub(crate) async fn run(args: Args, context: &mut Context<'_, '_>) -> Result<u8, Failure> {
    let folder = args.to.as_deref().map(|folder| context.folder(folder)).transpose()?;
    let params = MoveParams { ids: args.ids, all: args.all, folder, cancel: args.cancel };
    let result = context.client.relocate(params).await?;
    report_with(context, &result, if args.cancel { "Not moved:" } else { "Moving" }, "There already:")
}
