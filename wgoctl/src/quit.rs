//! `wgoctl quit`: stops the daemon and returns when it is gone.
use std::io::ErrorKind;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::time::{Instant, sleep};
use wgo_api::params::QuitParams;
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
/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(50);

pub(crate) async fn run(args: Args, context: &mut Context<'_, '_>) -> Result<u8, Failure> {
    let result = context.client.quit(QuitParams { now: args.now }).await?;
    let end = Instant::now() + context.patience().unwrap_or(PATIENCE);
    let mut gone = None;
    loop {
        match UnixStream::connect(context.socket()).await {
            Ok(_) => gone = None,
            // It listens no more, and takes its socket away next.
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                let since = *gone.get_or_insert_with(Instant::now);
                if since.elapsed() >= LEFT_BEHIND || Instant::now() >= end {
                    break;
                }
            }
            Err(_) => break,
        }
        if Instant::now() >= end {
            let message =
                format!("wgod (pid {}) was told to stop and still answers; see its log", result.pid);
            return Err(ApiError::new(Kind::Timeout, message).into());
        }
        sleep(PAUSE).await;
    }
    context.answer(&result, |_, _| "wgod has stopped\n".to_owned())?;
    Ok(0)
}
