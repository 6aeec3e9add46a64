//! `backup` and `restore`: files go to and from callers by parts, since the daemon may run as another user
//! than who owns them, and see another file system.
use wgo_api::error::{ApiError, Kind};
use wgo_api::params::{Part, ReadBackupParams, RestoreParams, WriteBackupParams};
use wgo_api::result::{Backup, BackupResult, ReadBackupResult, RestoreResult, WriteBackupResult};

use super::Console;
use crate::store::{BackupError, Contents, StoreError, TransferError};
use crate::systemd;

impl Console {
    pub(super) async fn make_backup(&self) -> Result<BackupResult, ApiError> {
        let (transfer, contents) = self.inner.engine.store.export().await.map_err(refusal)?;
        Ok(BackupResult { id: transfer.id, backup: described(&contents) })
    }

    pub(super) async fn part_of_backup(
        &self,
        params: ReadBackupParams,
    ) -> Result<ReadBackupResult, ApiError> {
        let part = self.inner.engine.store.read_transfer(params.id, params.offset).await;
        Ok(ReadBackupResult { data: Part(part.map_err(refusal)?) })
    }

    pub(super) async fn take_part(&self, params: WriteBackupParams) -> Result<WriteBackupResult, ApiError> {
        let WriteBackupParams { id, offset, data } = params;
        let transfer = self.inner.engine.store.append_transfer(id, offset, data.0).await.map_err(refusal)?;
        Ok(WriteBackupResult { id: transfer.id, size_bytes: transfer.len })
    }

    /// Once the restored database is in place for the next start, the daemon stops, whether or not the caller
    /// still listens: what it does from then on would be lost.
    pub(super) async fn put_back(&self, params: RestoreParams) -> Result<RestoreResult, ApiError> {
        let (pid, restarts, socket_stays) =
            (std::process::id(), systemd::restarts(), self.inner.socket_stays);
        let store = &self.inner.engine.store;
        if params.check {
            let backup = described(&store.inspect(params.id).await.map_err(refusal)?);
            return Ok(RestoreResult { backup, replaced: None, pid, restarts, socket_stays });
        }
        let restored = self.inner.restored.clone();
        let quit = self.inner.quit.clone();
        let when_staged = move || {
            tracing::info!("a backup is ready to be taken up by the next start; stopping for it");
            restored.cancel();
            quit.cancel();
        };
        let (contents, before) = store.restore(params.id, when_staged).await.map_err(refusal)?;
        let backup = described(&contents);
        Ok(RestoreResult {
            backup,
            replaced: Some(before.display().to_string()),
            pid,
            restarts,
            socket_stays,
        })
    }
}

fn described(contents: &Contents) -> Backup {
    Backup {
        created_at: contents.created_at,
        release: contents.release.clone(),
        torrents: contents.torrents,
        size_bytes: contents.size,
        sha256: contents.sum.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

fn refusal(error: TransferError) -> ApiError {
    let kind = match &error {
        TransferError::Gone => Kind::NoMatch,
        TransferError::Offset { .. } => Kind::BadRequest,
        TransferError::Backup(BackupError::Read(_)) => Kind::Disk,
        TransferError::Backup(_) => Kind::BadBackup,
        TransferError::Store(StoreError::Closed) => Kind::Stopping,
        TransferError::Store(error) if error.is_disk_full() => Kind::DiskFull,
        TransferError::Store(_) => Kind::Disk,
    };
    let message = match kind {
        Kind::BadBackup => format!("this backup can't be restored: {error}"),
        _ => error.to_string(),
    };
    ApiError::new(kind, message)
}
