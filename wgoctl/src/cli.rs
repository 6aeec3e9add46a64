//! The command line: global options and the list of verbs. Each verb's options are in its own file.
use std::path::PathBuf;

use clap::{Parser, Subcommand};
use wgo_api::units::Period;

/// Drives wgod, the BitTorrent daemon.
#[derive(Debug, Parser)]
#[command(name = "wgoctl", version, max_term_width = 100, after_help = AFTER)]
pub struct Cli {
    /// The daemon's control socket, or ssh://USER@HOST:PORT/PATH of one elsewhere [default: that of your own wgod, else /run/wgod/wgod.sock, else the read-only one beside it] [env: WGOD_SOCKET]
    #[arg(long, global = true, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Print one JSON document instead of text
    #[arg(long, global = true)]
    pub json: bool,
    /// Give up after this long, like "10 s" or "5 min"; 0 waits for ever [default: 30 s for an answer, no limit to wait for a torrent]
    #[arg(long, global = true, value_name = "TIME")]
    pub timeout: Option<Period>,
    /// What to do
    #[command(subcommand)]
    pub verb: Verb,
}

const AFTER: &str = "\
A torrent's ID is its info-hash, a unique prefix of it (4 digits or more), or its exact name.
Rates: \"20 MB/s\", \"1 MiB/s\", \"500000 B/s\"; a bare number is in KB/s; 0 is unlimited.
Understood as well: ls, rm, mv, info, resume, pause, recheck.

Exit codes: 0 ok, 1 failed, 2 usage, 3 daemon unreachable, 4 no or ambiguous match, 5 partly done,
6 already present (with --fail-if-exists), 7 wait timed out, 8 permission denied.

Examples:
  wgoctl add debian.torrent --wait done
  wgoctl status
  wgoctl --json list | jq '.torrents[].name'
  wgoctl --socket ssh://seedbox top";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Add torrents: files, folders of .torrent files, magnet links, URLs, - for standard input
    Add(crate::add::Args),
    /// Remove torrents; their files stay unless --data is given
    #[command(alias = "rm")]
    Remove(crate::remove::Args),
    /// The daemon and its torrents at a glance
    Status(crate::status::Args),
    /// How much was moved since the daemon's start, and in all
    Stats(crate::stats::Args),
    /// Stop the daemon
    Quit(crate::quit::Args),
    /// List torrents
    #[command(alias = "ls")]
    List(crate::list::Args),
    /// Show one torrent, or what is in a .torrent file
    #[command(alias = "info")]
    Show(crate::show::Args),
    /// Show or choose which files of a torrent are wanted
    Files(crate::files::Args),
    /// Show or change the trackers of a torrent
    Trackers(crate::trackers::Args),
    /// Give torrents labels, or take them away
    Label(crate::label::Args),
    /// Start torrents
    #[command(alias = "resume")]
    Start(crate::start::Args),
    /// Stop torrents; returns when they have stopped and all they stored is on disk
    #[command(alias = "pause")]
    Stop(crate::act::Args),
    /// Set a torrent's priority, order of pieces, seeding goals and limits
    Set(crate::set::Args),
    /// Show or change the order in which torrents wait
    Queue(crate::queue::Args),
    /// Move torrents' files to another folder
    #[command(alias = "mv")]
    Move(crate::r#move::Args),
    /// Rename a torrent, or a file or folder in it
    Rename(crate::rename::Args),
    /// Hash what is on disk anew
    #[command(alias = "recheck")]
    Verify(crate::verify::Args),
    /// Ask the trackers for peers now
    Announce(crate::act::Args),
    /// Ask the trackers how large torrents' swarms are
    Scrape(crate::scrape::Args),
    /// Show or set rate limits, of the daemon, of a label or of one torrent
    Limit(crate::limit::Args),
    /// Show or switch the alternative limits
    Alt(crate::alt::Args),
    /// Wait until a torrent is complete, or its metadata is known
    Wait(crate::wait::Args),
    /// Watch torrents on the whole terminal, and act on them by keys
    Top(crate::top::Args),
    /// Tell what happens to torrents, as lines of JSON
    Events(crate::events::Args),
    /// Show the settings in force, check a configuration file, or take back what was set by wgoctl
    Config(crate::config::Args),
    /// Make the daemon read its configuration again
    Reload(crate::reload::Args),
    /// Write a backup of the whole session to a file
    Backup(crate::backup::Args),
    /// Put the session of a backup in place of the present one
    Restore(crate::restore::Args),
    /// Show or change what the daemon logs
    Log(crate::log::Args),
    /// Look for what is wrong, and say what to do about it
    Doctor(crate::doctor::Args),
    /// Make a .torrent file of a file or a folder
    Create(crate::create::Args),
    /// Take over the torrents of another client, with their files where they are
    Import(crate::import::Args),
    /// Print a script that completes wgoctl's arguments in a shell
    Completions(crate::completions::Args),
    /// Print the manual, or write its pages to a folder
    Man(crate::man::Args),
}

impl Verb {
    /// Whether it talks to a daemon, or may.
    pub(crate) fn needs_daemon(&self) -> bool {
        !matches!(self, Verb::Completions(_) | Verb::Man(_))
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_verb_has_examples() {
        for verb in Cli::command().get_subcommands() {
            let help = verb.clone().render_long_help().to_string();
            assert!(help.contains("Examples:\n  wgoctl "), "{}:\n{help}", verb.get_name());
        }
    }
}
