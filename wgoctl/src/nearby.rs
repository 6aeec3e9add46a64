//! What else was meant by an id that matches no torrent: those that have it in their names.
use wgo_api::params::ListParams;
use wgo_api::torrent::{Fields, Filter};
use wgo_api::{ApiClient, Kind};

use crate::context::Context;
use crate::failure::Failure;

/// Torrents that are named; more of them are no help.
const NAMED: usize = 5;

/// Adds to a failure that nothing has this id which torrents have it in their names.
pub(crate) async fn name(failure: Failure, context: &Context<'_, '_>) -> Failure {
    let Failure::Api(mut error) = failure else { return failure };
    let id = error.data.torrent.clone().filter(|id| error.kind() == Kind::NoMatch && !id.is_empty());
    if let Some(id) = id {
        let filter = Filter { text: Some(id), ..Filter::default() };
        let fields = Fields::from_names(["name"]).ok();
        let asked = context.client.list(ListParams { filter, fields, since: None }).await;
        // Without an answer the failure is still told.
        let found = asked.map(|list| list.torrents).unwrap_or_default();
        if (1..=NAMED).contains(&found.len()) {
            error.message.push_str("\nThis occurs in the name of:");
            for row in found {
                error.message.push_str(&format!("\n  {}  {}", row.torrent.info_hash, row.torrent.name));
            }
        }
    }
    Failure::Api(error)
}
