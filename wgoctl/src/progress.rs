//! Waiting for a torrent, with a line of progress where someone can see it.
use std::cmp::Ordering;
use std::time::Duration;

use wgo_api::params::{Goal, StatusParams, WaitParams};
use wgo_api::{ApiClient, State, Torrent};

use crate::clean::clean;
use crate::context::Context;
use crate::failure::Failure;
use crate::table::cut;
use crate::units::{human_bytes, human_rate, human_secs, known, percent};

/// How often the line is redrawn.
pub(crate) const PERIOD: Duration = Duration::from_millis(500);
/// Columns of the bar.
const BAR: usize = 20;
/// Lines of fewer columns have no bar.
const NARROW: usize = 60;
/// Columns of the line where standard output, whose width is known, is not the terminal.
pub(crate) const USUAL_COLUMNS: usize = 80;

/// Waits until the torrent reaches the goal; `None` waits for ever.
///
/// # Errors
/// Kind `timeout` when `patience` ends first, and the torrent's own trouble.
pub(crate) async fn wait_for(
    id: &str,
    goal: Goal,
    patience: Option<Duration>,
    context: &mut Context<'_, '_>,
) -> Result<Torrent, Failure> {
    let params = WaitParams { id: id.to_owned(), goal, timeout_secs: patience.map(whole_secs) };
    let waiter = context.waiting_client(patience);
    let mut waiting = std::pin::pin!(waiter.wait(params));
    if !context.terminal().can_redraw {
        return Ok(waiting.await?.torrent);
    }
    let asker = context.prompt_client();
    let mut ticks = tokio::time::interval(PERIOD);
    let done = loop {
        tokio::select! {
            done = &mut waiting => break done,
            _ = ticks.tick() => {
                // A failure here says nothing: `wait` will tell.
                let status = asker.status(StatusParams { ids: vec![id.to_owned()], torrents: false }).await;
                if let Some(torrent) = status.ok().and_then(|status| status.torrents?.into_iter().next()) {
                    let columns = context.terminal().columns.unwrap_or(USUAL_COLUMNS);
                    redraw(context, &cut(&line(&torrent, columns), columns.saturating_sub(1)));
                }
            }
        }
    };
    redraw(context, "");
    Ok(done?.torrent)
}

/// Seconds for the daemon to wait: a part of one that is left counts as one.
fn whole_secs(limit: Duration) -> u64 {
    limit.as_secs() + u64::from(limit.subsec_nanos() > 0)
}

/// Replaces the line on standard error (ECMA-48 EL).
pub(crate) fn redraw(context: &mut Context<'_, '_>, text: &str) {
    // A progress line that cannot be shown is no failure.
    let _ = write!(context.console.err, "\r\u{1b}[K{text}").and_then(|()| context.console.err.flush());
}

/// `=====>   `, for a share of 0 to 1.
pub(crate) fn bar(share: f64) -> String {
    let filled = (share.clamp(0.0, 1.0) * BAR as f64) as usize;
    let place = |i| match filled.cmp(&i) {
        Ordering::Greater => '=',
        Ordering::Equal => '>',
        Ordering::Less => ' ',
    };
    (0..BAR).map(place).collect()
}

/// `[=====>   ] 42.0%  1.2 GB of 2.9 GB  3.4 MB/s  8m 20s left  name`
fn line(torrent: &Torrent, columns: usize) -> String {
    // In a narrow line the figure says more than the bar.
    let bar = if columns < NARROW { String::new() } else { format!("[{}] ", bar(torrent.progress)) };
    let left = torrent.eta_secs.map(|secs| format!("{} left  ", human_secs(secs))).unwrap_or_default();
    // That a bar which grows is a download need not be said.
    let state =
        if torrent.state == State::Downloading { String::new() } else { format!("{}  ", torrent.state) };
    format!(
        "{bar}{}  {state}{} of {}  {}  {left}{}",
        percent(torrent.progress),
        human_bytes(torrent.done_bytes),
        known(torrent.size_bytes, human_bytes),
        human_rate(torrent.down_rate),
        clean(&torrent.name),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_shows_progress_and_survives_odd_figures() {
        let torrent = Torrent { progress: 0.5, name: "a\u{1b}".into(), ..Torrent::default() };
        let wide = line(&torrent, 80);
        assert!(wide.starts_with("[==========>         ] 50.0%  stopped"), "{wide}");
        assert!(!wide.contains('\u{1b}') && !wide.contains("left"));
        assert!(line(&torrent, 20).starts_with("50.0%  stopped"));
        let torrent = Torrent { state: State::Downloading, ..torrent };
        assert!(line(&torrent, 20).starts_with("50.0%  0 B of"));
        for progress in [f64::NAN, -1.0, 9.0, 1.0] {
            assert_eq!(line(&Torrent { progress, ..Torrent::default() }, 80).find(']'), Some(BAR + 1));
        }
    }
}
