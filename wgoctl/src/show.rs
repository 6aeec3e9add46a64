//! `wgoctl show`: one torrent in full, of the daemon or in a `.torrent` file.
use std::path::Path;

use wgo_api::ApiClient;
use wgo_api::params::ShowParams;
use wgo_api::result::{File, Pieces, ShowResult, Tracker};

use crate::console::Terminal;
use crate::context::Context;
use crate::failure::Failure;
use crate::torrent_file::{self, FileDocument};

mod pages;
pub(crate) use pages::{Facts, files_table, trackers_table};
use pages::{peers_table, pieces_map};

/// Which torrent, and what of it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
An ID that is the path of an existing file, and ends in .torrent or contains a /, is read as that file.

Examples:
  wgoctl show 3fa9
  wgoctl show --files --trackers 'Debian 13'
  wgoctl show ./new.torrent --json")]
pub struct Args {
    /// Info-hash, unique prefix of it, exact name, or the path of a .torrent file
    #[arg(value_name = "ID|FILE.torrent")]
    id: String,
    /// With its files
    #[arg(long)]
    files: bool,
    /// With its peers
    #[arg(long)]
    peers: bool,
    /// With its trackers
    #[arg(long)]
    trackers: bool,
    /// With the map of its pieces
    #[arg(long)]
    pieces: bool,
}

pub(crate) async fn run(args: Args, context: &mut Context<'_, '_>) -> Result<u8, Failure> {
    if is_file(&args.id) {
        let document = torrent_file::read(Path::new(&args.id))?;
        context.answer(&document, |document, terminal| of_file(document, terminal, &args))?;
        return Ok(0);
    }
    let Args { id, files, peers, trackers, pieces } = args;
    let result = context.client.show(ShowParams { id, files, peers, trackers, pieces }).await?;
    context.answer(&result, of_daemon)?;
    Ok(0)
}

/// Is this the path of a file, by the rule that `--help` gives?
fn is_file(id: &str) -> bool {
    (id.ends_with(".torrent") || id.contains('/')) && Path::new(id).is_file()
}

fn of_daemon(result: &ShowResult, terminal: Terminal) -> String {
    let mut text = Facts::of_torrent(&result.torrent).render(terminal);
    let mut section = |title: &str, body: String| {
        text.push_str(&format!("\n{title}\n{}", if body.is_empty() { "none\n".to_owned() } else { body }));
    };
    if let Some(files) = &result.files {
        section("Files", table_or_nothing(files_table(files), terminal));
    }
    if let Some(peers) = &result.peers {
        section("Peers", table_or_nothing(peers_table(peers), terminal));
    }
    if let Some(trackers) = &result.trackers {
        section("Trackers", table_or_nothing(trackers_table(trackers), terminal));
    }
    if let Some(pieces) = &result.pieces {
        section("Pieces", pieces_map(pieces, terminal));
    }
    text
}

fn of_file(document: &FileDocument, terminal: Terminal, args: &Args) -> String {
    let mut text = Facts::of_file(document).render(terminal);
    if args.files {
        let files: Vec<File> = document.files.iter().map(File::from).collect();
        text.push_str(&format!("\nFiles\n{}", files_table(&files).render(terminal, true)));
    }
    if args.trackers {
        let trackers: Vec<Tracker> = document.trackers.iter().map(Tracker::from).collect();
        text.push_str(&format!("\nTrackers\n{}", trackers_table(&trackers).render(terminal, true)));
    }
    if args.pieces {
        let pieces = Pieces { count: document.torrent.pieces, ..Pieces::default() };
        text.push_str(&format!("\nPieces\n{}", pieces_map(&pieces, terminal)));
    }
    text
}

fn table_or_nothing(table: crate::table::Table, terminal: Terminal) -> String {
    if table.is_empty() { String::new() } else { table.render(terminal, true) }
}
