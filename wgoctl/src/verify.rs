//! `wgoctl verify`: hashes anew what is on disk of torrents.
use wgo_api::ApiClient;

use crate::act::{Args, report};
use crate::context::Context;
use crate::failure::Failure;

pub(crate) async fn run(args: Args, context: &mut Context<'_, '_>) -> Result<u8, Failure> {
    let result = context.client.verify(args.params()).await?;
    report(context, &result, "Verifying")
}
