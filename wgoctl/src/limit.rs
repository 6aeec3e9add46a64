//! `wgoctl limit`: shows or sets rate limits, of the daemon or of one torrent.
use wgo_api::ApiClient;
use wgo_api::params::LimitParams;
use wgo_api::torrent::RateLimits;
use wgo_api::units::Rate;

use crate::clean::clean;
use crate::context::Context;
use crate::failure::Failure;
use crate::units::limit;
use crate::wrap::wrap_lines;

/// Limits to set; without any they are shown.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Limits stay. Those of the daemon give way, at its next start, to what its command line or the environment says,
and `wgoctl config reset limits` takes them back.

Examples:
  wgoctl limit                          # show
  wgoctl limit --up '2 MB/s' --down 0   # 0 is unlimited
  wgoctl limit --up 500 3fa9            # 500 KB/s for one torrent")]
pub struct Args {
    /// Upload limit, like "2 MB/s"; a bare number is in KB/s, 0 is unlimited
    #[arg(long, value_name = "RATE", allow_hyphen_values = true)]
    up: Option<Rate>,
    /// Download limit
    #[arg(long, value_name = "RATE", allow_hyphen_values = true)]
    down: Option<Rate>,
    /// The limits of this torrent: info-hash, unique prefix of it, or exact name
    id: Option<String>,
}

pub(crate) async fn run(args: Args, context: &mut Context<'_, '_>) -> Result<u8, Failure> {
    let params =
        LimitParams { up: args.up.map(|rate| rate.0), down: args.down.map(|rate| rate.0), id: args.id };
    let result = context.client.limit(params).await?;
    context.answer(&result, |result, terminal| {
        let of = result.name.as_deref().map(|name| format!("{}: ", clean(name))).unwrap_or_default();
        let limits = |limits: RateLimits| format!("up {}, down {}", limit(limits.up), limit(limits.down));
        let instead = result.alternative.map(|alternative| {
            format!("The alternative limits count instead: {}; see `wgoctl alt`\n", limits(alternative))
        });
        let text = format!("{of}{}\n{}", limits(result.limits), instead.unwrap_or_default());
        wrap_lines(&text, terminal.columns)
    })?;
    Ok(0)
}
