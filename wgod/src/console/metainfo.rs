//! The call that gives a torrent's file back.
use wgo_api::error::{ApiError, Kind};
use wgo_api::params::{MetainfoParams, Part};
use wgo_api::result::MetainfoResult;

use super::{Console, stopping};
use crate::session::Command;

impl Console {
    /// A torrent as the file that it was added from.
    pub(super) async fn torrent_file(&self, params: MetainfoParams) -> Result<MetainfoResult, ApiError> {
        let MetainfoParams { id } = params;
        let named = self.inner.session.ask(|reply| Command::Name(id, reply)).await.ok_or_else(stopping)??;
        let failed = |kind, why: &str| ApiError::new(kind, why).torrent(named.info_hash.clone());
        match self.inner.engine.store.metainfo(named.id).await {
            Ok(Some(raw)) => {
                Ok(MetainfoResult { info_hash: named.info_hash, name: named.name, torrent: Part(raw) })
            }
            Ok(None) => {
                Err(failed(Kind::Unsupported, "its metadata is not known yet: there is no file to give"))
            }
            Err(error) => Err(failed(Kind::Disk, &format!("its metadata can't be read: {error}"))),
        }
    }
}
