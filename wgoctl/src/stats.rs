//! `wgoctl stats`: how much was moved, in this run of the daemon and in all.
use wgo_api::ApiClient;
use wgo_api::params::StatsParams;
use wgo_api::result::{StatsResult, Traffic};

use crate::console::Terminal;
use crate::context::Context;
use crate::failure::Failure;
use crate::table::{Align, Cell, Table};
use crate::units::{count, human_bytes, human_secs, known};

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
    format!("{torrents}, up {}\n{}", human_secs(result.uptime_secs), table.render(terminal, true))
}
