//! `wgoctl announce`: asks the trackers at once for peers of torrents.
use wgo_api::ApiClient;

use crate::act::{Args, report};
use crate::context::Context;
use crate::failure::Failure;

pub(crate) async fn run(args: Args, context: &mut Context<'_, '_>) -> Result<u8, Failure> {
    let result = context.client.announce(args.params()).await?;
    report(context, &result, "Announced")
}
