//! Progress on the terminal of someone who runs the daemon by hand: one line per torrent, redrawn.
//!
//! On anything but a terminal nothing is drawn; the log tells what changes.
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use wgo_api::torrent::{State, Torrent};
use wgo_api::units::{Period, Rate, Size};

use crate::session::{Command, SessionHandle};

/// The lines are redrawn this often.
const INTERVAL: Duration = Duration::from_secs(1);
/// Torrents shown; the others are counted.
const MAX_LINES: usize = 10;
/// Characters of a name that are shown.
const NAME_WIDTH: usize = 36;

/// Draws until `stopping`, if stdout is a terminal.
pub async fn run(session: SessionHandle, stopping: CancellationToken) {
    if !io::stdout().is_terminal() {
        return;
    }
    let mut drawn = 0;
    let mut tick = tokio::time::interval(INTERVAL);
    loop {
        tokio::select! {
            () = stopping.cancelled() => return,
            _ = tick.tick() => {}
        }
        let Some(Ok(glance)) = session.ask(|reply| Command::Glance(Some(Vec::new()), reply)).await else {
            return;
        };
        let torrents = glance.torrents.unwrap_or_default();
        let mut text = String::new();
        if drawn > 0 {
            // Up to the first line of the last drawing, and clear from there (ECMA-48: CUU, ED).
            text.push_str(&format!("\x1b[{drawn}A\x1b[J"));
        }
        let lines: Vec<String> = torrents.iter().take(MAX_LINES).map(line).collect();
        drawn = lines.len();
        for line in lines {
            text.push_str(&line);
            text.push('\n');
        }
        if torrents.len() > MAX_LINES {
            text.push_str(&format!("… and {} more\n", torrents.len() - MAX_LINES));
            drawn += 1;
        }
        let mut out = io::stdout().lock();
        // A terminal that is gone ends the daemon by its own signal.
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }
}

/// One torrent in one line.
fn line(torrent: &Torrent) -> String {
    let name: String = torrent.name.chars().filter(|c| !c.is_control()).take(NAME_WIDTH).collect();
    let mut line = format!("{name:<NAME_WIDTH$} {:>5.1} % {:<11}", torrent.progress * 100.0, torrent.state);
    match torrent.state {
        State::Error => line.push_str(torrent.error.as_deref().unwrap_or_default()),
        State::Downloading | State::Seeding => {
            line.push_str(&format!(
                " ↓ {:>11} ↑ {:>11}  {} peers",
                Rate(torrent.down_rate).to_string(),
                Rate(torrent.up_rate).to_string(),
                torrent.peers
            ));
            if let Some(secs) = torrent.eta_secs {
                line.push_str(&format!("  {} left", Period(secs)));
            }
        }
        _ => line.push_str(&format!(" {}", Size(torrent.size_bytes.unwrap_or(0)))),
    }
    line
}
