//! Paths that a request names: judged before anything is done with them.
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::oneshot;
use wgo_api::error::{ApiError, Kind};

use super::Console;
use crate::files::{Allowed, DiskError, Done, Job};

/// A file system that doesn't say for so long where a path leads is not used.
const PATIENCE: Duration = Duration::from_secs(10);

impl Console {
    /// The folder that a request puts torrents into: the one that is named, by it or by a label, or the usual
    /// one.
    pub(super) async fn folder_for(&self, named: Option<&Path>) -> Result<PathBuf, ApiError> {
        let folder = match named {
            Some(folder) => folder.to_owned(),
            None => self.inner.control.folder().await.unwrap_or_else(|| self.inner.default_folder.clone()),
        };
        self.permit(&folder).await.map(|()| folder)
    }

    /// Whether torrents may be put at `path`, which a request names: it is absolute and lies in one of the
    /// folders of `storage.allowed_folders`, as it is written and where it really leads. Every request that
    /// names a path asks this first.
    ///
    /// # Errors
    /// `bad_request` if it isn't absolute, `permission` if it lies elsewhere, `disk` if that can't be found out.
    pub(super) async fn permit(&self, path: &Path) -> Result<(), ApiError> {
        let shown = path.display().to_string();
        if !path.is_absolute() {
            return Err(
                ApiError::new(Kind::BadRequest, format!("the folder {shown} is not absolute")).path(shown)
            );
        }
        let engine = &self.inner.engine;
        let allowed = &engine.confinement.allowed;
        if allowed.folders().is_none() {
            return Ok(());
        }
        if !allowed.names(path) {
            return Err(refused(allowed, path, None));
        }
        let (sender, answer) = oneshot::channel();
        let done = Done::new(move |found: Result<PathBuf, DiskError>| drop(sender.send(found)));
        engine.storage.submit_now(Job::Locate { folder: path.to_owned(), done });
        let failed = |message: String| ApiError::new(Kind::Disk, message).path(shown.clone());
        match tokio::time::timeout(PATIENCE, answer).await {
            Ok(Ok(Ok(real))) if allowed.holds(&real) => Ok(()),
            Ok(Ok(Ok(real))) => Err(refused(allowed, path, Some(&real))),
            Ok(Ok(Err(error))) => Err(failed(error.to_string())),
            Ok(Err(_)) | Err(_) => Err(failed(format!(
                "{shown}: its file system did not answer within {} s; try again when it does",
                PATIENCE.as_secs()
            ))),
        }
    }
}

/// Names the path, the folders and the key; `real` is where the path leads, if that is the trouble.
fn refused(allowed: &Allowed, path: &Path, real: Option<&Path>) -> ApiError {
    let shown = path.display().to_string();
    let leads = real.map(|real| format!(" leads to {}, which", real.display())).unwrap_or_default();
    let message = format!(
        "{shown}{leads} is in none of the folders of storage.allowed_folders ({allowed}); choose one in these, or add it there in the configuration and restart wgod"
    );
    ApiError::new(Kind::Permission, message).path(shown)
}
