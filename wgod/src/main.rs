//! The `wgod` process: reads the command line and the configuration, then runs the daemon.
#![forbid(unsafe_code)]
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::Parser;
use wgo_api::units::human_date;
use wgod::cli::{Cli, TorrentSource};
use wgod::config::{self, Loaded, Surroundings};
use wgod::daemon::Ended;
use wgod::ending::NotClosed;
use wgod::files::RealDisk;
use wgod::ip_filter::Lists;
use wgod::store::{self, RestoreError, StoreError};
use wgod::systemd::activation;
use wgod::{confine, daemon, given, hooks, logging, manual};

/// Wrong arguments or configuration; clap uses the same.
const USAGE: u8 = 2;

/// It ended as it was told to, and could not close its state.
const NOT_CLOSED: u8 = 3;

/// Stopped to take up a restored backup: to be started again (`EX_TEMPFAIL` of sysexits(3)). An error to a
/// service manager, which therefore does so.
const START_AGAIN: u8 = 75;

fn main() -> ExitCode {
    let cli = Cli::parse();
    if cli.print_config {
        // A reader that closes the pipe early has seen what it wanted.
        let _ = io::stdout().write_all(config::document().as_bytes());
        return ExitCode::SUCCESS;
    }
    if cli.hook_helper {
        return match hooks::run_helper() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error.into(), USAGE),
        };
    }
    if let Some(page) = cli.print_man {
        return match manual::page(page).context("cannot make the page") {
            Ok(page) => {
                let _ = io::stdout().write_all(&page);
                ExitCode::SUCCESS
            }
            Err(error) => fail(&error, 1),
        };
    }
    let loaded = match load(&cli) {
        Ok(loaded) if cli.check_config => {
            let lists = match Lists::read(&loaded.places.ip_filter) {
                Ok(lists) => lists,
                Err(error) => return fail(&error.into(), USAGE),
            };
            let mut faults = hooks::faults(&loaded.resolved.config, &Surroundings::observe());
            if lists.bad_lines() > 0 {
                faults.push(format!(
                    "{} lines of the IP filter name no addresses in a notation that is known; they are left out",
                    lists.bad_lines()
                ));
            }
            loaded.warnings.iter().chain(&faults).for_each(|warning| say(&format!("warning: {warning}")));
            return ExitCode::SUCCESS;
        }
        Ok(loaded) => loaded,
        Err(error) => return fail(&error, USAGE),
    };
    if let Some(file) = &cli.restore {
        return match restore(&loaded, file) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error, 1),
        };
    }
    let torrents = cli.torrent.clone();
    match run(loaded, cli) {
        Ok(Ended::Stopped) => ExitCode::SUCCESS,
        Ok(Ended::Restored) => {
            say("stopped to take up the restored backup: start wgod again");
            ExitCode::from(START_AGAIN)
        }
        Err(error) => {
            let code = fail(&error, if error.is::<NotClosed>() { NOT_CLOSED } else { 1 });
            suggest_add(&error, &torrents);
            code
        }
    }
}

fn fail(error: &anyhow::Error, code: u8) -> ExitCode {
    let mut said = String::new();
    for cause in error.chain().map(ToString::to_string) {
        // Most errors say their cause themselves.
        if !said.contains(&cause) {
            said += if said.is_empty() { "" } else { ": " };
            said += &cause;
        }
    }
    say(&said);
    ExitCode::from(code)
}

fn say(text: &str) {
    // Nobody reads stderr: then nobody can be told.
    let _ = writeln!(io::stderr(), "wgod: {text}");
}

/// Restores a backup into the state directory of a daemon that doesn't run.
fn restore(loaded: &Loaded, file: &Path) -> anyhow::Result<()> {
    let (dir, socket) = (&loaded.places.state_dir, &loaded.places.socket);
    let restored = store::restore_offline(Arc::new(RealDisk), dir, socket, file);
    let (contents, before) = match restored {
        Err(RestoreError::Store(StoreError::Locked { .. })) => anyhow::bail!(
            "a wgod runs with the state directory {}; let it restore the backup: wgoctl --socket '{}' restore '{}'",
            dir.display(),
            socket.display(),
            file.display()
        ),
        restored => restored?,
    };
    let made = human_date(i64::try_from(contents.created_at).unwrap_or(i64::MAX));
    let kept = before.map(|path| format!("; the database before it is kept as {}", path.display()));
    let told = format!(
        "Restored to {}: {} torrents, as of {made}{}. Start wgod as usual.\n",
        dir.display(),
        contents.torrents,
        kept.unwrap_or_default()
    );
    // Only for the eye: it is done.
    let _ = io::stdout().write_all(told.as_bytes());
    Ok(())
}

/// Another daemon runs already: how to give the torrents to that one.
fn suggest_add(error: &anyhow::Error, torrents: &[TorrentSource]) {
    let Some(StoreError::Locked { socket: Some(socket), .. }) = error.downcast_ref() else { return };
    for torrent in torrents {
        let source = match torrent {
            TorrentSource::File(path) => path.display().to_string(),
            TorrentSource::Magnet(uri) => uri.clone(),
        };
        let _ = writeln!(io::stderr(), "  wgoctl --socket '{}' add '{source}'", socket.display());
    }
}

fn load(cli: &Cli) -> anyhow::Result<Loaded> {
    let command_line = cli.layer_here()??;
    Ok(Loaded::read(command_line, cli.config.as_deref(), &Surroundings::observe())?)
}

fn run(loaded: Loaded, cli: Cli) -> anyhow::Result<Ended> {
    // Before anything else opens a descriptor that could be taken for one of these.
    let inherited = activation::take()?;
    let logging = logging::start(&loaded.resolved.config.daemon.log)?;
    // What lies outside of the daemon's own folders is read and made before it confines itself, and that
    // comes before it has a second thread.
    let torrents = given::read_all(cli.torrent);
    daemon::make_folders(&loaded, &inherited)?;
    let helper = hooks::launch(&loaded.resolved.config, &Surroundings::observe())
        .context("the process that is to run hooks can't be started")?;
    let confinement = confine::enforce(&loaded);
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if loaded.resolved.config.storage.procs > 0 {
        builder.worker_threads(loaded.resolved.config.storage.procs as usize);
    }
    let runtime = builder.enable_all().thread_name("wgod").build().context("no runtime")?;
    let ended = runtime.block_on(daemon::run(loaded, logging, confinement, torrents, inherited, helper));
    // A look-up of the system's resolver can't be ended, and nobody waits for its result.
    runtime.shutdown_background();
    ended
}
