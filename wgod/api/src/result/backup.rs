//! Results of `backup` and `restore`, and of the calls that pass a backup by parts.
use serde::{Deserialize, Serialize};

use crate::error::{ApiError, Kind};
use crate::params::Part;

/// A backup, all of which was checked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backup {
    /// When it was made by the clock of that machine, Unix seconds.
    pub created_at: u64,
    /// The release that made it.
    pub release: String,
    /// Torrents in it.
    pub torrents: u64,
    /// Bytes of it.
    pub size_bytes: u64,
    /// SHA-256 of all but its last 32 bytes, which are the same; lowercase hex.
    pub sha256: String,
}

/// Result of `backup`: what was made, to be fetched by `read_backup`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupResult {
    /// Names it for `read_backup`, for some minutes.
    pub id: String,
    /// What is in it.
    pub backup: Backup,
}

/// Result of `read_backup`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadBackupResult {
    /// The bytes from the asked offset on, a few MiB at most; none at the end.
    pub data: Part,
}

/// Result of `write_backup`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriteBackupResult {
    /// Names it for the calls that follow, for some minutes.
    pub id: String,
    /// Bytes of it so far: where the next part begins.
    pub size_bytes: u64,
}

/// Result of `restore`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreResult {
    /// What is in the backup.
    pub backup: Backup,
    /// Where the database is kept that the restored one replaces; `null` when it was only checked.
    pub replaced: Option<String>,
    /// Process id of the daemon that stops.
    pub pid: u32,
    /// A service manager runs the daemon, which starts it again. Where there is none, somebody has to.
    pub restarts: bool,
    /// The socket does not go with it; see `quit`.
    #[serde(default)]
    pub socket_stays: bool,
}

impl Backup {
    /// Checks that `last` bytes, the end of a file of `len` bytes, are those of this backup.
    ///
    /// # Errors
    /// [`Kind::BadBackup`].
    pub fn check_end(&self, len: u64, last: &[u8]) -> Result<(), ApiError> {
        let hex: String = last.iter().map(|byte| format!("{byte:02x}")).collect();
        match len == self.size_bytes && hex.ends_with(&self.sha256) && !self.sha256.is_empty() {
            true => Ok(()),
            false => {
                let message =
                    format!("the backup did not arrive whole: {len} of {} bytes; try again", self.size_bytes);
                Err(ApiError::new(Kind::BadBackup, message))
            }
        }
    }
}
