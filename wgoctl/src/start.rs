//! `wgoctl start`: starts torrents.
use wgo_api::ApiClient;
use wgo_api::params::StartParams;

use crate::act::report;
use crate::context::Context;
use crate::failure::Failure;

/// Torrents to start.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Where [queue] limits how many run, a torrent waits for its place: `wgoctl queue` shows the order. With
--now it runs outside of the queue until it is started without it, or stopped. One that reached a
seeding goal goes on until its goals change (wgoctl set).

Examples:
  wgoctl start debian-13.iso
  wgoctl start 3fa9 77c2
  wgoctl start 3fa9 --now
  wgoctl start --all")]
pub struct Args {
    /// Info-hashes, unique prefixes of them, or exact names
    #[arg(value_name = "ID", required_unless_present = "all", conflicts_with = "all")]
    ids: Vec<String>,
    /// All torrents
    #[arg(long)]
    all: bool,
    /// Run it whatever the queue says: it neither waits nor counts
    #[arg(long)]
    now: bool,
}

pub(crate) async fn run(args: Args, context: &mut Context<'_, '_>) -> Result<u8, Failure> {
    let Args { ids, all, now } = args;
    let result = context.client.start(StartParams { ids, all, now }).await?;
    report(context, &result, "Started")
}
