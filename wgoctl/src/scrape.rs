//! `wgoctl scrape`: asks the trackers how large the swarms of torrents are.
use wgo_api::ApiClient;
use wgo_api::params::SelectParams;
use wgo_api::result::{ScrapeResult, Scraped};

use crate::clean::{clean, clean_lines};
use crate::console::Terminal;
use crate::context::Context;
use crate::failure::{Failure, exit_code_of};
use crate::table::{Align, Cell, Table};
use crate::units::known;

/// Which torrents.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Torrents may be stopped: a scrape joins nothing. Those that share a tracker share requests to it. What is
heard is shown by `wgoctl trackers`, too, until an announce says something newer.

Examples:
  wgoctl scrape 3fa9 77c2
  wgoctl scrape --all
  wgoctl --json scrape 3fa9 | jq '[.torrents[].trackers[].seeds | numbers] | max'")]
pub struct Args {
    /// Info-hashes, unique prefixes of them, or exact names
    #[arg(value_name = "ID", required_unless_present = "all", conflicts_with = "all")]
    ids: Vec<String>,
    /// All torrents
    #[arg(long)]
    all: bool,
}

pub(crate) async fn run(args: Args, context: &mut Context<'_, '_>) -> Result<u8, Failure> {
    let result = context.client.scrape(SelectParams { ids: args.ids, all: args.all }).await?;
    context.answer(&result, table)?;
    for torrent in &result.torrents {
        if let Some(why) = &torrent.error {
            let why = clean_lines(why);
            let name = name(torrent);
            let line = if why.contains(name.as_str()) { why } else { format!("{name}: {why}") };
            context.console.note(&format!("wgoctl: {line}"));
        }
    }
    Ok(exit_code_of(result.torrents.iter().map(|torrent| torrent.kind)))
}

fn name(torrent: &Scraped) -> String {
    clean(torrent.name.as_deref().unwrap_or(&torrent.id))
}

fn table(result: &ScrapeResult, terminal: Terminal) -> String {
    let mut table = Table::new()
        .column("NAME", Align::Left, true)
        .column("TRACKER", Align::Left, true)
        .column("SEEDS", Align::Right, false)
        .column("LEECHES", Align::Right, false)
        .column("COMPLETED", Align::Right, false)
        .column("MESSAGE", Align::Left, true);
    let mut rows = 0;
    for torrent in &result.torrents {
        for tracker in &torrent.trackers {
            rows += 1;
            let number = |n: Option<u32>| Cell::from(known(n, |n| n.to_string()));
            table.row(vec![
                Cell::from(name(torrent)),
                Cell::from(&tracker.url),
                number(tracker.seeds),
                number(tracker.leeches),
                number(tracker.completed),
                Cell::from(tracker.error.as_deref().unwrap_or_default()),
            ]);
        }
    }
    if rows == 0 { String::new() } else { table.render(terminal, true) }
}
