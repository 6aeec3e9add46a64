//! The daemon's side of the helper: hands it what waits, and logs what it reports.
use std::process::{Child, ExitStatus};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::launch::Helper;
use super::wire::{self, How, Order, Report};
use super::{Event, HELPER_ENDED, Happening, Hooks, Shared};
use crate::logging::torrent_span;
use crate::session::Event as SessionEvent;

/// When the daemon ends, programs that run have so long to end. With what the helper takes to end them then,
/// this is within the time of the daemon's tasks (`ending.rs`).
const PATIENCE: Duration = Duration::from_millis(2500);
/// The helper has so long to end.
const HELPER_ENDS: Duration = Duration::from_millis(1500);
/// How often it is looked at whether it has.
const LOOK: Duration = Duration::from_millis(10);

/// Why the runner is done.
enum End {
    /// The daemon ends.
    Stopped,
    /// The helper has ended, or says what can't be understood.
    HelperGone,
}

/// Has the helper run programs until the daemon ends; tells the session, by `told`, what came of completions.
pub(crate) async fn run(
    hooks: Hooks,
    helper: Helper,
    told: impl Fn(SessionEvent),
    stopping: CancellationToken,
) {
    let Some(shared) = hooks.0 else { return };
    let Helper { stream, mut child, time_limit, .. } = helper;
    let end = match UnixStream::from_std(stream) {
        Ok(stream) => {
            let (reader, writer) = stream.into_split();
            let runner = Runner { shared: &shared, writer, told, time_limit };
            runner.serve(reader, &stopping).await
        }
        Err(error) => {
            tracing::error!(%error, "the process that runs hooks can't be reached");
            End::HelperGone
        }
    };
    // What is told from now on would wait for nobody.
    shared.alive.store(false, Ordering::Release);
    let lost = shared.queue.lock().unwrap_or_else(PoisonError::into_inner).clear();
    let status = ended(&mut child).await;
    match end {
        End::Stopped if lost > 0 => {
            tracing::warn!(lost, "hooks were not run to their end, because the daemon ends");
        }
        End::Stopped => {}
        End::HelperGone => {
            let status = status.map_or_else(|| "it doesn't answer".to_owned(), |status| status.to_string());
            tracing::error!(status, lost, "{HELPER_ENDED}");
        }
    }
}

/// How the helper ended; `None` if it doesn't.
async fn ended(child: &mut Child) -> Option<ExitStatus> {
    let deadline = Instant::now() + HELPER_ENDS;
    loop {
        match child.try_wait() {
            Ok(None) if Instant::now() < deadline => sleep(LOOK).await,
            Ok(status) => return status,
            Err(_) => return None,
        }
    }
}

struct Runner<'a, T> {
    shared: &'a Arc<Shared>,
    writer: OwnedWriteHalf,
    told: T,
    time_limit: u64,
}

impl<T: Fn(SessionEvent)> Runner<'_, T> {
    async fn serve(mut self, mut reader: OwnedReadHalf, stopping: &CancellationToken) -> End {
        // A frame that was read in part must not be dropped, so reading is one future for each frame.
        let mut frame = Box::pin(next(&mut reader));
        let mut deadline: Option<Instant> = None;
        loop {
            if deadline.is_none() && !self.begin_all().await {
                return End::HelperGone;
            }
            let under_way = self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner).under_way();
            if deadline.is_some() && under_way == 0 {
                return End::Stopped;
            }
            let late = async {
                match deadline {
                    Some(deadline) => sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                (report, reader) = &mut frame => {
                    let Some(report) = report else { return End::HelperGone };
                    self.hear(report);
                    frame = Box::pin(next(reader));
                }
                () = self.shared.woken.notified(), if deadline.is_none() => {}
                () = stopping.cancelled(), if deadline.is_none() => deadline = Some(Instant::now() + PATIENCE),
                () = late => return End::Stopped,
            }
        }
    }

    /// Gives the helper all that may run; whether it hears it.
    async fn begin_all(&mut self) -> bool {
        loop {
            let next = self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner).begin();
            let Some((run, happening)) = next else { return true };
            let Happening { event, hash, name, fields, .. } = happening;
            torrent_span(&hash, &name).in_scope(|| tracing::debug!(run, "{} begins", event.key()));
            let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
            let order = Order::Run { run, event, fields };
            if wire::write(&mut self.writer, &order.encode()).await.is_err() {
                return false;
            }
        }
    }

    fn hear(&self, report: Report) {
        let mut queue = self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner);
        match report {
            Report::Line { run, text } => {
                let Some(Happening { event, hash, name, .. }) = queue.running(run) else { return };
                torrent_span(hash, name).in_scope(|| tracing::info!("{}: {text}", self.what(*event)));
            }
            Report::Ended { run, how, hidden } => {
                let Some(happening) = queue.end(run) else { return };
                drop(queue);
                let Happening { event, torrent, hash, name, .. } = happening;
                torrent_span(&hash, &name).in_scope(|| self.log_end(event, &how, hidden));
                // What the end of the daemon cut short is run again.
                if event == Event::Completed && how != How::Stopped {
                    (self.told)(SessionEvent::CompletionTold(torrent));
                }
            }
        }
    }

    /// The setting and its program.
    fn what(&self, event: Event) -> String {
        format!("{} ({})", event.key(), self.shared.program(event).unwrap_or_default())
    }

    fn log_end(&self, event: Event, how: &How, hidden: u64) {
        let what = self.what(event);
        if hidden > 0 {
            tracing::info!("{what}: {hidden} more lines are not shown");
        }
        match how {
            How::Exited(0) => tracing::debug!("{what} is done"),
            How::Exited(code) => tracing::warn!("{what}: failed with exit status {code}"),
            How::Signalled(signal) => tracing::warn!("{what}: was ended by signal {signal}"),
            How::Late => tracing::warn!(
                "{what}: ran for more than {} s and was ended; hooks.time_limit is how long one may take",
                self.time_limit
            ),
            How::Stopped => tracing::warn!("{what}: was ended, because the daemon ends"),
            How::Unstarted(why) => tracing::error!("{what}: could not be started: {why}"),
        }
    }
}

/// The next report, and the reader for the one after it.
async fn next(reader: &mut OwnedReadHalf) -> (Option<Report>, &mut OwnedReadHalf) {
    let frame = wire::read(reader).await;
    let report = frame.and_then(|frame| Report::decode(&frame).ok());
    (report, reader)
}
