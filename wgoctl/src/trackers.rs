//! `wgoctl trackers`: shows or changes whom a torrent is announced to.
use wgo_api::ApiClient;
use wgo_api::params::{Replacement, TrackersParams};

use crate::context::Context;
use crate::failure::Failure;
use crate::show::{lookups, trackers_table};

/// Which torrent, and what becomes of its trackers.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Trackers of one tier stand in for each other. What is changed here counts in place of what the
torrent names, at once and for good; a tracker that is removed hears that the torrent leaves.

Examples:
  wgoctl trackers 3fa9                                       # list them
  wgoctl trackers 3fa9 --add udp://tracker.example:1337
  wgoctl trackers 3fa9 --remove http://dead.example/announce
  wgoctl trackers 3fa9 --replace https://t.example/OLDKEY/announce https://t.example/NEWKEY/announce")]
pub struct Args {
    /// Info-hash, unique prefix of it, or exact name
    id: String,
    /// Announce to this URL, too: http, https or udp; may be repeated
    #[arg(long, value_name = "URL")]
    add: Vec<String>,
    /// Announce to this URL no longer; may be repeated
    #[arg(long, value_name = "URL")]
    remove: Vec<String>,
    /// Change this URL, as for a new passkey; may be repeated
    #[arg(long, num_args = 2, value_names = ["OLD", "NEW"])]
    replace: Vec<String>,
    /// The tier that added ones go to, from 0 [default: each a new one at the end]
    #[arg(long, value_name = "N", requires = "add")]
    tier: Option<u32>,
}

pub(crate) async fn run(args: Args, context: &mut Context<'_, '_>) -> Result<u8, Failure> {
    let Args { id, add, remove, replace, tier } = args;
    let pairs =
        replace.chunks_exact(2).map(|pair| Replacement { old: pair[0].clone(), new: pair[1].clone() });
    let params = TrackersParams { id, add, remove, replace: pairs.collect(), tier };
    let result = context.client.trackers(params).await?;
    context.answer(&result, |result, terminal| {
        let trackers = match &result.trackers[..] {
            [] => "no trackers\n".to_owned(),
            trackers => trackers_table(trackers).render(terminal, true),
        };
        format!("{trackers}DHT: {}\n", lookups(&result.dht))
    })?;
    Ok(0)
}
