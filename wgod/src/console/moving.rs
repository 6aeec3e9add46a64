//! Moves: where torrents may be sent to.
use wgo_api::error::{ApiError, Kind};
use wgo_api::params::MoveParams;
use wgo_api::result::ActResult;

use super::{Console, stopping};
use crate::session::Command;

impl Console {
    /// Moves torrents, or calls that off.
    pub(super) async fn move_torrents(&self, params: MoveParams) -> Result<ActResult, ApiError> {
        match (&params.folder, params.cancel) {
            (Some(folder), false) => self.permit(folder).await?,
            (None, true) => {}
            (Some(_), true) => {
                return Err(ApiError::new(Kind::BadRequest, "either `folder` or `cancel`, not both"));
            }
            (None, false) => return Err(ApiError::new(Kind::BadRequest, "it needs `folder`, or `cancel`")),
        }
        self.inner.session.ask(|reply| Command::Move(params, reply)).await.ok_or_else(stopping)?
    }
}
