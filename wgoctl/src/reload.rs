//! `wgoctl reload`: the daemon reads its configuration again, all of it or nothing.
use wgo_api::ApiClient;
use wgo_api::params::ReloadParams;

use crate::context::Context;
use crate::failure::Failure;

/// No options of its own.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  wgoctl reload
  wgoctl config check && wgoctl reload")]
pub struct Args {}

pub(crate) async fn run(_: Args, context: &mut Context<'_, '_>) -> Result<u8, Failure> {
    let result = context.client.reload(ReloadParams {}).await?;
    context.answer(&result, |result, _| {
        let mut text = String::new();
        for (keys, what) in [
            (&result.applied, "In force now"),
            (&result.restart, "Takes a restart of wgod"),
            (&result.shadowed, "Hidden by the command line, the environment or a value set over the socket"),
        ] {
            if !keys.is_empty() {
                text.push_str(&format!("{what}: {}\n", keys.join(", ")));
            }
        }
        if let Some(filter) = &result.ip_filter {
            text.push_str(&format!("IP filter: {}\n", crate::status::ip_filter(filter)));
        }
        if text.is_empty() { "Nothing changed\n".to_owned() } else { text }
    })?;
    Ok(0)
}
