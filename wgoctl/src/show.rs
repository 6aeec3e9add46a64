//! `wgoctl show`: one torrent in full, of the daemon or in a `.torrent` file.
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::json;
use wgo_api::ApiClient;
use wgo_api::params::{MetainfoParams, ShowParams};
use wgo_api::result::{File, Pieces, ShowResult, Tracker};

use crate::clean::clean;
use crate::console::Terminal;
use crate::context::Context;
use crate::failure::Failure;
use crate::torrent_file::{self, FileDocument};

mod dht;
mod goals;
pub(crate) mod pages;
pub(crate) use dht::lookups;
pub(crate) use pages::{Facts, files_table, trackers_table};
use pages::{bans_table, peers_table, pieces_map};

/// Which torrent, and what of it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
An ID that is the path of an existing file, and ends in .torrent or contains a /, is read as that file.

Examples:
  wgoctl show 3fa9
  wgoctl show --files --trackers 'Debian 13'
  wgoctl show 3fa9 --save debian.torrent
  wgoctl show ./new.torrent --json")]
pub struct Args {
    /// Info-hash, unique prefix of it, exact name, or the path of a .torrent file
    #[arg(value_name = "ID|FILE.torrent")]
    id: String,
    /// With its files
    #[arg(long)]
    files: bool,
    /// With its peers. FLAGS: D we download, d we would; U it downloads, u it would; O we dialled; E encrypted, e only the
    /// handshake;
    /// S it sends nothing although asked
    #[arg(long)]
    peers: bool,
    /// With its trackers
    #[arg(long)]
    trackers: bool,
    /// With the map of its pieces
    #[arg(long)]
    pieces: bool,
    /// Write the torrent to this .torrent file, which must not exist; - is standard output
    #[arg(long, value_name = "FILE", conflicts_with_all = ["files", "peers", "trackers", "pieces"])]
    save: Option<PathBuf>,
}

pub(crate) async fn run(args: Args, context: &mut Context<'_, '_>) -> Result<u8, Failure> {
    if let Some(file) = args.save {
        return save(args.id, &file, context).await;
    }
    if is_file(&args.id) {
        let document = torrent_file::read(Path::new(&args.id))?;
        context.answer(&document, |document, terminal| of_file(document, terminal, &args))?;
        return Ok(0);
    }
    let Args { id, files, peers, trackers, pieces, save: _ } = args;
    let result = context.client.show(ShowParams { id, files, peers, trackers, pieces }).await?;
    context.answer(&result, of_daemon)?;
    Ok(0)
}

/// Writes the torrent as a file; one that is there stays as it is.
async fn save(id: String, file: &Path, context: &mut Context<'_, '_>) -> Result<u8, Failure> {
    let result = context.client.metainfo(MetainfoParams { id }).await?;
    let bytes = &result.torrent.0;
    if file == Path::new("-") {
        if context.json {
            return Err(Failure::Usage("--save - writes the file itself: leave out --json".into()));
        }
        context.console.out.write_all(bytes).map_err(Failure::Output)?;
        return Ok(0);
    }
    let failed = |source| Failure::Write { path: file.to_owned(), source };
    let mut made = fs::File::create_new(file).map_err(failed)?;
    let written = made.write_all(bytes).and_then(|()| made.sync_all());
    if let Err(error) = written {
        // Half a torrent is worse than none.
        let _ = fs::remove_file(file);
        return Err(failed(error));
    }
    let path = file.display().to_string();
    let document = json!({
        "info_hash": result.info_hash, "name": result.name, "file": path, "size_bytes": bytes.len(),
    });
    context.answer(&document, |_, _| format!("Wrote {} to {}\n", clean(&result.name), clean(&path)))?;
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
    if let Some(bans) = result.bans.as_ref().filter(|bans| !bans.is_empty()) {
        section("Banned", table_or_nothing(bans_table(bans, crate::alt::unix_now()), terminal));
    }
    if let Some(trackers) = &result.trackers {
        section("Trackers", table_or_nothing(trackers_table(trackers), terminal));
    }
    if let Some(dht) = &result.dht {
        section("DHT", format!("{}\n", lookups(dht)));
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
