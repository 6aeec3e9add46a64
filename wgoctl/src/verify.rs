//! `wgoctl verify`: hashes anew what is on disk of torrents.
use wgo_api::ApiClient;
use wgo_api::params::VerifyParams;

use crate::act::report;
use crate::context::Context;
use crate::failure::Failure;

/// Torrents to hash.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  wgoctl verify debian-13.iso
  wgoctl verify --all
  wgoctl verify --start-over 3fa9")]
pub struct Args {
    /// Info-hashes, unique prefixes of them, or exact names
    #[arg(value_name = "ID", required_unless_present = "all", conflicts_with = "all")]
    ids: Vec<String>,
    /// All torrents
    #[arg(long)]
    all: bool,
    /// Give up what is missing: forget what was on disk, and start from what is there now. Without it a
    /// torrent whose mount, folder or files are missing waits until they are back
    #[arg(long)]
    start_over: bool,
}

pub(crate) async fn run(args: Args, context: &mut Context<'_, '_>) -> Result<u8, Failure> {
    let Args { ids, all, start_over } = args;
    let result = context.client.verify(VerifyParams { ids, all, start_over }).await?;
    report(context, &result, "Verifying")
}
