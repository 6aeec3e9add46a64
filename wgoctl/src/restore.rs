//! `wgoctl restore`: puts the session of a backup in place of the daemon's.
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use wgo_api::params::{Part, RestoreParams, WriteBackupParams};
use wgo_api::result::{Backup, RestoreResult};
use wgo_api::{ApiClient, ApiError, Kind};

use crate::clean::clean;
use crate::context::Context;
use crate::failure::Failure;
use crate::quit;
use crate::units::{count, date};

/// Which backup.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
wgod checks all of the backup before it changes anything. Then it stops, and its next start takes
up the restored session; under systemd that comes by itself. The database before it is kept beside
the new one. Files are not touched: those that are as they were at the time of the backup are not
hashed again, others are.

Where no wgod runs, or its database is damaged: wgod --restore FILE

Examples:
  wgoctl restore --check wgod.backup     # is it good? what is in it?
  wgoctl restore wgod.backup
  wgoctl restore --yes - < wgod.backup")]
pub struct Args {
    /// The backup; - for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Only check it, and say what is in it
    #[arg(long, conflicts_with = "yes")]
    check: bool,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

/// Bytes sent at a time.
const PART: u64 = 4 << 20;
/// A service manager waits some seconds before it starts the daemon again, which then loads its torrents.
const BACK_AGAIN: Duration = Duration::from_secs(90);
/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(200);

pub(crate) async fn run(args: Args, context: &mut Context<'_, '_>) -> Result<u8, Failure> {
    let stdin = args.file.as_os_str() == "-";
    if !args.check && !args.yes && (stdin || !context.terminal().can_ask) {
        let why = "restoring replaces the whole session, and there is nobody to ask";
        return Err(Failure::Usage(format!("{why}: add --yes if you mean it")));
    }
    let id = send(&args, context).await?;
    let client = context.waiting_client(context.patience());
    let name = clean(&args.file.display().to_string());
    let refused = |error| about(ApiError::from(error), &name);
    let ask = |check| RestoreParams { id: id.clone(), check };
    if args.check || !args.yes {
        let checked = client.restore(ask(true)).await.map_err(refused)?;
        if args.check {
            context.answer(&checked.backup, |backup, _| format!("{name}: whole; {}\n", described(backup)))?;
            return Ok(0);
        }
        if !confirm(&checked.backup, context).await? {
            context.console.note("wgoctl: nothing restored");
            return Ok(Kind::Other.exit_code());
        }
    }
    let result = client.restore(ask(false)).await.map_err(refused)?;
    quit::wait_until_gone(result.pid, result.socket_stays, context).await?;
    let back = if result.restarts { wait_until_back(&result, context).await } else { None };
    context.answer(&result, |result, _| told(result, back))?;
    Ok(0)
}

/// Sends the file; the daemon's name for it.
async fn send(args: &Args, context: &mut Context<'_, '_>) -> Result<String, Failure> {
    let client = context.waiting_client(context.patience());
    let failed = |source| Failure::File { path: args.file.clone(), source };
    let mut file = match args.file.as_os_str() == "-" {
        true => None,
        false => Some(File::open(&args.file).map_err(failed)?),
    };
    let (mut id, mut offset) = (None, 0);
    loop {
        let mut part = Vec::new();
        let from: &mut dyn Read = match &mut file {
            Some(file) => file,
            None => &mut context.console.input,
        };
        from.take(PART).read_to_end(&mut part).map_err(failed)?;
        let read = part.len() as u64;
        // An empty file is sent too: the daemon says what it thinks of it.
        if read > 0 || id.is_none() {
            let params = WriteBackupParams { id, offset, data: Part(part) };
            id = Some(client.write_backup(params).await?.id);
            offset += read;
        }
        if read < PART {
            return id.ok_or_else(|| failed(io::ErrorKind::UnexpectedEof.into()));
        }
    }
}

fn about(error: ApiError, name: &str) -> ApiError {
    let message = format!("{name}: {}", error.message);
    ApiError { message, ..error }.path(name)
}

fn described(backup: &Backup) -> String {
    let made = date(i64::try_from(backup.created_at).unwrap_or(i64::MAX));
    format!("{} as of {made}, by wgod {}", count(backup.torrents as usize, "torrent"), clean(&backup.release))
}

/// Asks the person at the terminal.
async fn confirm(backup: &Backup, context: &mut Context<'_, '_>) -> Result<bool, Failure> {
    let status = context.client.status(Default::default()).await?;
    let torrents: u32 = status.daemon.torrents.values().sum();
    let question = format!(
        "Replace the present session ({}) by the backup ({})? wgod stops for it. [y/N] ",
        count(torrents as usize, "torrent"),
        described(backup)
    );
    context.confirm(&question)
}

/// Waits for the daemon's successor; its pid, if it comes.
async fn wait_until_back(result: &RestoreResult, context: &Context<'_, '_>) -> Option<u32> {
    let end = Instant::now() + context.patience().unwrap_or(BACK_AGAIN);
    let client = context.prompt_client();
    while Instant::now() < end {
        match client.status(Default::default()).await {
            Ok(status) if status.daemon.pid != result.pid => return Some(status.daemon.pid),
            _ => sleep(PAUSE).await,
        }
    }
    None
}

fn told(result: &RestoreResult, back: Option<u32>) -> String {
    let next = match (result.restarts, back) {
        (true, Some(pid)) => format!("wgod runs again (pid {pid}) and has taken it up."),
        (true, None) => "wgod has stopped and is not back yet, see `systemctl status wgod`; \
            its next start takes it up."
            .to_owned(),
        (false, _) => "wgod has stopped: start it again, and it takes it up.".to_owned(),
    };
    let kept = result.replaced.as_deref().map(clean).unwrap_or_default();
    format!(
        "Restored: {}. {next}\nThe database before it will be kept as {kept}\n",
        described(&result.backup)
    )
}
