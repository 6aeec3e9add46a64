//! `wgoctl`, the command that drives wgod: one verb per file, each a call over the control socket.
//!
//! [`run`] is the whole command, with its input and output as arguments, so that tests call it.
//! Shared by the verbs: [`console`] (where text goes), [`failure`] (exit codes), [`table`],
//! [`units`], [`clean`] (hostile names), `context` (the daemon and how to answer).
#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Parser;

pub mod clean;
pub mod cli;
pub mod console;
pub mod failure;
pub mod table;
pub mod units;

mod act;
mod add;
mod alt;
mod announce;
mod backup;
mod completions;
mod config;
mod context;
mod create;
mod doctor;
mod events;
mod feed;
mod fetch;
mod files;
mod import;
mod label;
mod limit;
mod list;
mod log;
mod man;
mod r#move;
mod nearby;
mod new_file;
mod progress;
mod queue;
mod quit;
mod reload;
mod remove;
mod rename;
mod restore;
mod scrape;
mod set;
mod show;
mod socket;
mod sources;
mod start;
mod stats;
mod status;
mod stop;
mod top;
mod torrent_file;
mod trackers;
mod tunnel;
mod verify;
mod wait;
mod wrap;

pub use import::taken;

use cli::{Cli, Verb};
use console::Console;
use context::Context;
use failure::Failure;
use tunnel::Tunnel;

/// Runs the command line `args`, the program's name first, and returns the exit code.
pub fn run<I, A>(args: I, console: &mut Console<'_>) -> u8
where
    I: IntoIterator<Item = A>,
    A: Into<OsString> + Clone,
{
    let args: Vec<OsString> = args.into_iter().map(Into::into).collect();
    let cli = match Cli::try_parse_from(&args) {
        // Not by clap: it would have it in the usage of each error, as if it had been written.
        Ok(cli) => Cli { socket: cli.socket.or_else(|| nonempty(std::env::var_os("WGOD_SOCKET"))), ..cli },
        Err(error) => return refuse(&error, args.iter().any(|arg| arg == "--json"), console),
    };
    let json = cli.json;
    let done = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => {
            let done = runtime.block_on(dispatch(cli, console));
            // A name that is still being looked up keeps nobody waiting.
            runtime.shutdown_background();
            done
        }
        Err(error) => Err(Failure::System("cannot start: the asynchronous runtime", error)),
    };
    let done = done.and_then(|code| console.out.flush().map(|()| code).map_err(Failure::Output));
    match done {
        Ok(code) => code,
        // Who closed our output has seen enough: `wgoctl list | head` is no failure.
        Err(Failure::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => 0,
        Err(failure) => {
            console.complain(&failure, json);
            failure.exit_code()
        }
    }
}

fn nonempty(path: Option<OsString>) -> Option<PathBuf> {
    path.filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// Help, version, or a usage error.
fn refuse(error: &clap::Error, json: bool, console: &mut Console<'_>) -> u8 {
    let text =
        if console.terminal.color { error.render().ansi().to_string() } else { error.render().to_string() };
    if error.use_stderr() {
        console.note(text.trim_end());
        if json {
            let first = error.render().to_string().lines().next().unwrap_or_default().to_owned();
            console.complain_json(&Failure::Usage(first));
        }
    } else {
        // A reader that is gone does not miss the help.
        let _ = console.out.write_all(text.as_bytes()).and_then(|()| console.out.flush());
    }
    u8::try_from(error.exit_code()).unwrap_or(2)
}

async fn dispatch(mut cli: Cli, console: &mut Console<'_>) -> Result<u8, Failure> {
    let tunnel = match &cli.socket {
        Some(socket) if Tunnel::is_for(socket) && cli.verb.needs_daemon() => {
            let patience = cli.timeout.filter(|period| period.0 > 0).map(Into::into);
            Some(Tunnel::open(socket, patience, console.terminal.can_ask).await?)
        }
        _ => None,
    };
    if let Some(tunnel) = &tunnel {
        cli.socket = Some(tunnel.socket());
    }
    let tunneled = tunnel.is_some();
    let mut context = Context::new(&cli, console).through(tunnel);
    let done = tokio::select! {
        done = perform(cli.verb, &mut context) => done,
        code = tunnel::interrupted(), if tunneled => return Ok(code),
    };
    match done {
        Ok(code) => Ok(code),
        Err(failure) => {
            let failure = nearby::name(failure, &context).await;
            Err(context.explain(failure))
        }
    }
}

async fn perform(verb: Verb, context: &mut Context<'_, '_>) -> Result<u8, Failure> {
    match verb {
        Verb::Add(args) => add::run(args, context).await,
        Verb::Remove(args) => remove::run(args, context).await,
        Verb::List(args) => list::run(args, context).await,
        Verb::Show(args) => show::run(args, context).await,
        Verb::Status(args) => status::run(args, context).await,
        Verb::Stats(args) => stats::run(args, context).await,
        Verb::Files(args) => files::run(args, context).await,
        Verb::Trackers(args) => trackers::run(args, context).await,
        Verb::Label(args) => label::run(args, context).await,
        Verb::Start(args) => start::run(args, context).await,
        Verb::Stop(args) => stop::run(args, context).await,
        Verb::Set(args) => set::run(args, context).await,
        Verb::Queue(args) => queue::run(args, context).await,
        Verb::Move(args) => r#move::run(args, context).await,
        Verb::Rename(args) => rename::run(args, context).await,
        Verb::Verify(args) => verify::run(args, context).await,
        Verb::Announce(args) => announce::run(args, context).await,
        Verb::Scrape(args) => scrape::run(args, context).await,
        Verb::Limit(args) => limit::run(args, context).await,
        Verb::Alt(args) => alt::run(args, context).await,
        Verb::Wait(args) => wait::run(args, context).await,
        Verb::Top(args) => top::run(args, context).await,
        Verb::Events(args) => events::run(args, context).await,
        Verb::Config(args) => config::run(args, context).await,
        Verb::Log(args) => log::run(args, context).await,
        Verb::Doctor(args) => doctor::run(args, context).await,
        Verb::Reload(args) => reload::run(args, context).await,
        Verb::Quit(args) => quit::run(args, context).await,
        Verb::Backup(args) => backup::run(args, context).await,
        Verb::Restore(args) => restore::run(args, context).await,
        Verb::Create(args) => create::run(args, context).await,
        Verb::Man(args) => man::run(args, context),
        Verb::Import(args) => import::run(args, context).await,
        Verb::Completions(args) => completions::run(args, context),
    }
}
