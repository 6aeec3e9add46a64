//! The method `limit`: limits of the daemon, of a label, of a torrent.
use std::collections::BTreeMap;

use wgo_api::error::{ApiError, Kind};
use wgo_api::params::LimitParams;
use wgo_api::result::LimitResult;
use wgo_core::limiter::Direction;

use super::{Inner, stopping};
use crate::session::Command;

pub(super) async fn limit(inner: &Inner, params: LimitParams) -> Result<LimitResult, ApiError> {
    let LimitParams { up, down, id, label } = params;
    match (id, label) {
        (Some(_), Some(_)) => {
            let message =
                "give `id` or `label`, not both: a limit is of one torrent, or of all that have a label";
            Err(ApiError::new(Kind::BadRequest, message))
        }
        (Some(id), None) => {
            let limits = [up.map(|bytes| (Direction::Up, bytes)), down.map(|bytes| (Direction::Down, bytes))];
            let ask = |reply| Command::LimitTorrent(id, limits, reply);
            inner.session.ask(ask).await.ok_or_else(stopping)?
        }
        (None, Some(label)) => {
            let in_use = labels_in_use(inner).await?;
            inner.control.limit_label(&label, (up, down), &in_use).await
        }
        (None, None) => {
            let in_use = labels_in_use(inner).await?;
            let limits = inner.control.limit(up, down).await?;
            let alternative = inner.control.alternative_now().await;
            let alternative = alternative.on.then_some(alternative.limits);
            let labels = Some(inner.control.limited_labels(&in_use).await);
            Ok(LimitResult { limits, alternative, labels, ..LimitResult::default() })
        }
    }
}

/// How many torrents have each label.
async fn labels_in_use(inner: &Inner) -> Result<BTreeMap<String, u32>, ApiError> {
    inner.session.ask(Command::Labels).await.ok_or_else(stopping)
}
