//! `wgoctl rename`: gives a torrent, or a file or folder in it, another name.
use wgo_api::ApiClient;
use wgo_api::params::RenameParams;

use crate::clean::clean;
use crate::context::Context;
use crate::failure::Failure;
use crate::units::count;

/// What to rename.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Paths are those of `wgoctl show ID --files`: relative, with the name of the torrent in front. A
folder takes along what the torrent has in it, and nothing else. When OLD is all of the torrent,
its name in lists changes, too. The files of a torrent stay in one folder; to bring them to another
place there is `wgoctl move`. The torrent goes on at once, and nothing is hashed again.

Examples:
  wgoctl rename 3fa9 Old.Name-GRP 'A film'                  # the torrent and its folder
  wgoctl rename 3fa9 Show/E01.mkv 'Show/Season 1/E01.mkv'
  wgoctl rename 3fa9 Show/CD1 Show/extras")]
pub struct Args {
    /// Info-hash, unique prefix of it, or exact name
    id: String,
    /// A file or folder of the torrent
    #[arg(value_name = "OLD")]
    old: String,
    /// Its whole new path
    #[arg(value_name = "NEW")]
    new: String,
}

pub(crate) async fn run(args: Args, context: &mut Context<'_, '_>) -> Result<u8, Failure> {
    let params = RenameParams { id: args.id, path: args.old, to: args.new };
    let result = context.client.rename(params).await?;
    context.answer(&result, |result, _| {
        let files = count(usize::try_from(result.files).unwrap_or(usize::MAX), "file");
        format!("Renamed {} to {} ({files})\n", clean(&result.path), clean(&result.to))
    })?;
    Ok(0)
}
