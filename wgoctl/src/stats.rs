//! `wgoctl stats`: how much was moved, in this run of the daemon and in all.
use wgo_api::ApiClient;
use wgo_api::params::StatsParams;
use wgo_api::result::{FailedHandshakes, Handshakes, StatsResult, Traffic};

use crate::console::Terminal;
use crate::context::Context;
use crate::failure::Failure;
use crate::table::{Align, Cell, Table, Tone};
use crate::units::{count, human_bytes, human_secs, known};
use crate::wrap::fact;

/// Columns of the names beside the counts of peers.
const NAMES: usize = 9;

/// Nothing to choose.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Torrents that were removed since count, too.

Examples:
  wgoctl stats
  wgoctl --json stats | jq .all_time.ratio")]
pub struct Args {}

pub(crate) async fn run(_args: Args, context: &mut Context<'_, '_>) -> Result<u8, Failure> {
    let result = context.client.stats(StatsParams {}).await?;
    context.answer(&result, page)?;
    Ok(0)
}

fn page(result: &StatsResult, terminal: Terminal) -> String {
    let mut table = Table::new()
        .column("", Align::Left, false)
        .column("DOWN", Align::Right, false)
        .column("UP", Align::Right, false)
        .column("RATIO", Align::Right, false);
    for (name, traffic) in [("this run", result.session), ("all time", result.all_time)] {
        let Traffic { downloaded_bytes, uploaded_bytes, ratio } = traffic;
        table.row(vec![
            Cell::from(name),
            human_bytes(downloaded_bytes).into(),
            human_bytes(uploaded_bytes).into(),
            known(ratio, |ratio| format!("{ratio:.2}")).into(),
        ]);
    }
    let torrents = count(result.torrents as usize, "torrent");
    let mut text =
        format!("{torrents}, up {}\n{}", human_secs(result.uptime_secs), table.render(terminal, true));
    let mut line = |name: &str, counts: &[(u64, &str)]| {
        let counts: Vec<String> =
            counts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
        let said = if counts.is_empty() { "none".to_owned() } else { counts.join(", ") };
        text.push_str(&fact(name, NAMES, &said, Tone::Plain, terminal));
    };
    let Handshakes { none, handshake, rc4, failed } = result.handshakes;
    line("peers met", &[(none, "plain"), (handshake, "with an encrypted handshake"), (rc4, "encrypted")]);
    line("in vain", &reasons(&failed));
    text
}

/// Why peers were met in vain.
fn reasons(failed: &FailedHandshakes) -> [(u64, &'static str); 7] {
    let FailedHandshakes {
        closed,
        malformed,
        unknown_torrent,
        wrong_torrent,
        encryption,
        not_encrypted,
        crowded,
    } = *failed;
    [
        (closed, "closed or silent"),
        (malformed, "no BitTorrent"),
        (unknown_torrent, "for a torrent that is not active here"),
        (wrong_torrent, "for another torrent"),
        (encryption, "not to be encrypted"),
        (not_encrypted, "plain though encryption is required"),
        (crowded, "of too many at a time"),
    ]
}
