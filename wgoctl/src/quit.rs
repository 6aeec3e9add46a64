//! `wgoctl quit`: stops the daemon and returns when it is gone.
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep};
use wgo_api::params::{QuitParams, StatusParams};
use wgo_api::{ApiClient, ApiError, Kind};

use crate::context::Context;
use crate::failure::Failure;

/// How to stop.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  wgoctl quit
  wgoctl quit --now    # does not tell the trackers")]
pub struct Args {
    /// Do not wait for trackers to hear of it
    #[arg(long)]
    now: bool,
}

/// Writing down what was received can take this long on a slow disk.
const PATIENCE: Duration = Duration::from_secs(60);
/// A socket that nobody listens on for so long was left behind.
const LEFT_BEHIND: Duration = Duration::from_secs(1);
/// After its socket has gone a daemon ends within so long.
const LINGERS: Duration = Duration::from_secs(6);
/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(50);

pub(crate) async fn run(args: Args, context: &mut Context<'_, '_>) -> Result<u8, Failure> {
    let result = context.client.quit(QuitParams { now: args.now }).await?;
    wait_until_gone(result.pid, result.socket_stays, context).await?;
    let socket =
        context.tunnel().map_or(context.socket().display().to_string(), |tunnel| tunnel.url().to_owned());
    context.answer(&result, |result, _| match result.socket_stays {
        true => format!(
            "wgod has stopped; the service manager listens on {socket} and starts it again for whoever connects\n"
        ),
        false => "wgod has stopped\n".to_owned(),
    })?;
    Ok(0)
}

/// Waits until the daemon that was told to stop is gone; its socket may stay.
///
/// # Errors
/// Kind `timeout` when it still runs after `--timeout`, or a minute.
pub(crate) async fn wait_until_gone(
    pid: u32,
    socket_stays: bool,
    context: &Context<'_, '_>,
) -> Result<(), Failure> {
    let end = Instant::now() + context.patience().unwrap_or(PATIENCE);
    let gone = match socket_stays {
        // Its process can't be seen from here, and to connect would start the next.
        true if context.tunnel().is_some() => true,
        false if context.tunnel().is_some() => answers_no_more(context, end).await,
        true => process_ends(pid, end).await,
        false => {
            let goes = socket_goes(context.socket(), end).await;
            // Then the state directory is free, too. One in a container may have a number that is another
            // process's here.
            let _ended = process_ends(pid, end.min(Instant::now() + LINGERS)).await;
            goes
        }
    };
    if gone {
        return Ok(());
    }
    let message = format!("wgod (pid {pid}) was told to stop and still runs; see its log");
    Err(ApiError::new(Kind::Timeout, message).into())
}

/// Waits until nobody answers at the far end of a tunnel, which itself takes every connection.
async fn answers_no_more(context: &Context<'_, '_>, end: Instant) -> bool {
    let client = context.prompt_client();
    while client.status(StatusParams::default()).await.is_ok() {
        if Instant::now() >= end {
            return false;
        }
        sleep(PAUSE).await;
    }
    true
}

/// Waits until nobody answers at `socket`; false when somebody still does at the `end`.
async fn socket_goes(socket: &Path, end: Instant) -> bool {
    let mut gone = None;
    let mut first = None;
    loop {
        match UnixStream::connect(socket).await {
            Ok(stream) => {
                let process = stream.peer_cred().ok().and_then(|them| them.pid());
                // Somebody has started the next already.
                if *first.get_or_insert(process) != process {
                    return true;
                }
                gone = None;
            }
            // It listens no more, and takes its socket away next.
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                let since = *gone.get_or_insert_with(Instant::now);
                if since.elapsed() >= LEFT_BEHIND || Instant::now() >= end {
                    return true;
                }
            }
            Err(_) => return true,
        }
        if Instant::now() >= end {
            return false;
        }
        sleep(PAUSE).await;
    }
}

/// Waits until the process has ended. Its socket can't tell: to connect there would start the next.
async fn process_ends(pid: u32, end: Instant) -> bool {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return true };
    // A process of another user may not be signalled, so it is there.
    while test_kill_process(pid) != Err(Errno::SRCH) && !is_zombie(pid) {
        if Instant::now() >= end {
            return false;
        }
        sleep(PAUSE).await;
    }
    true
}

/// Whether it has ended, and whoever started it has not asked how (proc_pid_stat(5)).
fn is_zombie(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    // The state follows the name, which is in parentheses and may hold any.
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(['Z', 'X']))
}
