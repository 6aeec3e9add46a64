//! `wgoctl queue`: shows in which order torrents wait, or changes it.
use wgo_api::ApiClient;
use wgo_api::params::{ListParams, QueueParams, QueueTo, QueueWord};
use wgo_api::torrent::{Fields, Torrent};

use crate::act::report;
use crate::context::Context;
use crate::failure::Failure;
use crate::list::{columns, tabulate};

/// Torrents to move in the queue, and where to; without any, the queue is shown.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
How many torrents run at once is set in [queue] of the configuration; without limits nobody waits.
Those of a higher priority (wgoctl set --priority) go before all others, whatever their position.
Several IDs end up in the order in which they are given. `wgoctl start --now` runs a torrent outside
of the queue.

Examples:
  wgoctl queue                     # who runs, who waits, in which order
  wgoctl queue 3fa9 --top
  wgoctl queue 3fa9 77c2 --bottom
  wgoctl queue 3fa9 --position 4   # four others before it")]
pub struct Args {
    /// Info-hashes, unique prefixes of them, or exact names
    #[arg(value_name = "ID", requires = "to")]
    ids: Vec<String>,
    #[command(flatten)]
    to: To,
}

/// Where they go.
#[derive(Debug, clap::Args)]
#[group(id = "to", required = false, multiple = false)]
struct To {
    /// Before all others
    #[arg(long, requires = "ids")]
    top: bool,
    /// Behind all others
    #[arg(long, requires = "ids")]
    bottom: bool,
    /// Before the one that each is behind now
    #[arg(long, requires = "ids")]
    up: bool,
    /// Behind the one that each is before now
    #[arg(long, requires = "ids")]
    down: bool,
    /// So many others before it, from 0
    #[arg(long, value_name = "N", requires = "ids")]
    position: Option<u32>,
}

impl To {
    fn place(&self) -> Option<QueueTo> {
        let words = [
            (self.top, QueueWord::Top),
            (self.bottom, QueueWord::Bottom),
            (self.up, QueueWord::Up),
            (self.down, QueueWord::Down),
        ];
        let word = words.into_iter().find(|(given, _)| *given).map(|(_, word)| QueueTo::Word(word));
        word.or(self.position.map(QueueTo::Position))
    }
}

const COLUMNS: &str = "queue,id,name,priority,state,progress,down,up";

pub(crate) async fn run(args: Args, context: &mut Context<'_, '_>) -> Result<u8, Failure> {
    match args.to.place() {
        Some(to) => {
            let result = context.client.queue(QueueParams { ids: args.ids, to }).await?;
            report(context, &result, "Moved in the queue:")
        }
        None => show(context).await,
    }
}

async fn show(context: &mut Context<'_, '_>) -> Result<u8, Failure> {
    let shown = columns(COLUMNS)?;
    let fields = shown.iter().flat_map(|column| column.fields).copied();
    let fields = Fields::from_names(fields.chain(["forced"])).ok();
    let mut result = context.client.list(ListParams { fields, ..ListParams::default() }).await?;
    result.torrents.sort_by_key(|row| {
        let torrent = &row.torrent;
        // What runs outside of the queue comes first, then who ranks first.
        (torrent.queue_position.is_some(), std::cmp::Reverse(torrent.priority), torrent.queue_position)
    });
    context.answer(&result, |result, terminal| {
        let torrents: Vec<&Torrent> = result.torrents.iter().map(|row| &row.torrent).collect();
        tabulate(&shown, &torrents).expendable(&["ID", "PRIORITY", "UP", "DOWN"]).render(terminal, true)
    })?;
    Ok(0)
}
