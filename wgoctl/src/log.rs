//! `wgoctl log`: what the daemon logs, shown and changed while it runs.
use wgo_api::ApiClient;
use wgo_api::params::LogParams;
use wgo_api::result::{LogResult, Origin};

use crate::console::Terminal;
use crate::context::Context;
use crate::failure::Failure;
use crate::table::{Align, Cell, Table, Tone};

/// Levels to set; without any they are shown.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Levels: off, error, warn, info, debug, trace. A level alone is that of every component that has none of its
own. What is set here lasts until the daemon restarts; `[daemon] log` in its file is for good.

Examples:
  wgoctl log                        # show
  wgoctl log peer=debug tracker=trace
  wgoctl log warn                   # everything else
  wgoctl log --reset                # as it was configured")]
pub struct Args {
    /// A level, or a component and its level
    #[arg(value_name = "[TARGET=]LEVEL")]
    levels: Vec<String>,
    /// First take back what was set here before
    #[arg(long)]
    reset: bool,
}

pub(crate) async fn run(args: Args, context: &mut Context<'_, '_>) -> Result<u8, Failure> {
    let spec = (!args.levels.is_empty()).then(|| args.levels.join(","));
    let result = context.client.log(LogParams { spec, reset: args.reset }).await?;
    context.answer(&result, page)?;
    Ok(0)
}

fn page(result: &LogResult, terminal: Terminal) -> String {
    let mut table = Table::new().column("COMPONENT", Align::Left, false).column("LEVEL", Align::Left, true);
    table.row(vec![Cell::toned("(all others)", Tone::Strong), Cell::toned(&result.level, Tone::Strong)]);
    for component in &result.components {
        let tone = if component.own { Tone::Plain } else { Tone::Faint };
        table.row(vec![Cell::toned(&component.name, tone), Cell::toned(&component.level, tone)]);
    }
    format!("{}{}", table.render(terminal, true), origin(result.origin))
}

fn origin(origin: Origin) -> &'static str {
    match origin {
        Origin::Default => "As it is by default.\n",
        Origin::File => "As the configuration file says.\n",
        Origin::Override => "As set over the socket in an earlier run.\n",
        Origin::Environment => "As $WGOD_DAEMON_LOG says.\n",
        Origin::CommandLine => "As the command line says.\n",
        Origin::Socket => "Set by wgoctl until the daemon restarts; `wgoctl log --reset` takes it back.\n",
    }
}
