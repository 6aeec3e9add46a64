//! `wgoctl limit`: shows or sets rate limits, of the daemon, of a label or of one torrent.
use wgo_api::ApiClient;
use wgo_api::params::LimitParams;
use wgo_api::result::LimitResult;
use wgo_api::torrent::RateLimits;
use wgo_api::units::Rate;

use crate::clean::clean;
use crate::context::Context;
use crate::failure::Failure;
use crate::units::{count, limit};
use crate::wrap::wrap_lines;

/// Limits to set; without any they are shown.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Limits stay. Those of the daemon and of labels give way, at its next start, to what its command line or the
environment says, and `wgoctl config reset limits labels` takes them back. Every limit holds: a torrent is never
faster than its own, than those of its labels, which all torrents of a label share, and than the daemon's.

Examples:
  wgoctl limit                          # show the daemon's, and those of labels
  wgoctl limit --up '2 MB/s' --down 0   # 0 is unlimited
  wgoctl limit --label tv --up '1 MB/s' # all torrents with this label together
  wgoctl limit --up 500 3fa9            # 500 KB/s for one torrent")]
pub struct Args {
    /// Upload limit, like "2 MB/s"; a bare number is in KB/s, 0 is unlimited
    #[arg(long, value_name = "RATE", allow_hyphen_values = true)]
    up: Option<Rate>,
    /// Download limit
    #[arg(long, value_name = "RATE", allow_hyphen_values = true)]
    down: Option<Rate>,
    /// The limits of all torrents with this label together
    #[arg(long, value_name = "NAME", value_parser = crate::label::label, conflicts_with = "id")]
    label: Option<String>,
    /// The limits of this torrent: info-hash, unique prefix of it, or exact name
    id: Option<String>,
}

pub(crate) async fn run(args: Args, context: &mut Context<'_, '_>) -> Result<u8, Failure> {
    let Args { up, down, label, id } = args;
    let params = LimitParams { up: up.map(|rate| rate.0), down: down.map(|rate| rate.0), id, label };
    let result = context.client.limit(params).await?;
    context.answer(&result, |result, terminal| wrap_lines(&text(result), terminal.columns))?;
    Ok(0)
}

fn text(result: &LimitResult) -> String {
    let mut text = String::new();
    if result.label.is_none() {
        let of = result.name.as_deref().map(|name| format!("{}: ", clean(name))).unwrap_or_default();
        text.push_str(&format!("{of}{}\n", up_and_down(result.limits)));
    }
    if let Some(alternative) = result.alternative {
        text.push_str(&format!(
            "The alternative limits count instead: {}; see `wgoctl alt`\n",
            up_and_down(alternative)
        ));
    }
    for label in result.labels.iter().flatten() {
        text.push_str(&format!(
            "Label {}, {}: {}\n",
            clean(&label.label),
            count(label.torrents as usize, "torrent"),
            up_and_down(label.limits)
        ));
    }
    text
}

/// Both limits in words.
pub(crate) fn up_and_down(limits: RateLimits) -> String {
    format!("up {}, down {}", limit(limits.up), limit(limits.down))
}
