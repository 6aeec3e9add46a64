//! Why a run failed, and its exit code.
use std::io;
use std::path::{Path, PathBuf};

use wgo_api::error::EXIT_PARTLY;
use wgo_api::{ApiError, ClientError, Kind};

/// Why a run failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The daemon refused, or could not be reached.
    #[error("{0}")]
    Api(#[from] ApiError),
    /// The command line asks for what cannot be.
    #[error("{0}")]
    Usage(String),
    /// A file could not be read.
    #[error("cannot read {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file was read and is no usable torrent.
    #[error("{}: {why}", path.display())]
    BadTorrent {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A web server gave no torrent.
    #[error("{url}: {why}")]
    Fetch {
        /// Where it was to come from, without what may be secret.
        url: String,
        /// What kind of failure.
        kind: Kind,
        /// What went wrong, and what to do about it.
        why: String,
    },
    /// A file or folder cannot become a torrent, or part of one.
    #[error("{}: {why}", escaped(path))]
    Unfit {
        /// The file or folder.
        path: PathBuf,
        /// What stands in the way, and what to do about it.
        why: String,
    },
    /// Something of the operating system did not work.
    #[error("{0}: {1}")]
    System(&'static str, io::Error),
    /// The result could not be written.
    #[error("cannot write the result: {0}")]
    Output(io::Error),
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Failure::Api(error.into())
    }
}

impl Failure {
    /// What kind of failure.
    pub fn kind(&self) -> Kind {
        match self {
            Failure::Api(error) => error.kind(),
            Failure::Usage(_) => Kind::BadRequest,
            Failure::File { source, .. } | Failure::Write { source, .. }
                if source.kind() == io::ErrorKind::PermissionDenied =>
            {
                Kind::Permission
            }
            Failure::Write { source, .. } if source.kind() == io::ErrorKind::StorageFull => Kind::DiskFull,
            Failure::BadTorrent { .. } => Kind::BadTorrent,
            Failure::Fetch { kind, .. } => *kind,
            Failure::Unfit { .. } => Kind::Other,
            Failure::File { .. } | Failure::Write { .. } | Failure::Output(_) => Kind::Disk,
            Failure::System(..) => Kind::Internal,
        }
    }

    /// The exit code that goes with it.
    pub fn exit_code(&self) -> u8 {
        self.kind().exit_code()
    }

    /// `{"kind", "message", "torrent", "path"}`.
    pub fn to_json(&self) -> serde_json::Value {
        let (torrent, path) = match self {
            Failure::Api(error) => (error.data.torrent.clone(), error.data.path.clone()),
            Failure::File { path, .. } | Failure::Write { path, .. } | Failure::BadTorrent { path, .. } => {
                (None, Some(path.display().to_string()))
            }
            Failure::Unfit { path, .. } => (None, Some(escaped(path))),
            _ => (None, None),
        };
        serde_json::json!({
            "kind": self.kind(), "message": self.to_string(), "torrent": torrent, "path": path,
        })
    }
}

/// The path; one that isn't UTF-8 with its odd bytes as `\xff`, so that it can be told which file is meant.
fn escaped(path: &Path) -> String {
    match path.to_str() {
        Some(path) => path.to_owned(),
        None => path.as_os_str().as_encoded_bytes().escape_ascii().to_string(),
    }
}

/// The exit code of a run on several torrents, each of which succeeded (`None`) or failed: 0 when
/// all went well, 5 when some did, the code of the failure when all failed alike, else 1.
pub fn exit_code_of(outcomes: impl IntoIterator<Item = Option<Kind>>) -> u8 {
    let (mut ok, mut codes) = (0, Vec::new());
    for outcome in outcomes {
        match outcome {
            None => ok += 1,
            Some(kind) => codes.push(kind.exit_code()),
        }
    }
    match codes.first() {
        None => 0,
        Some(_) if ok > 0 => EXIT_PARTLY,
        Some(&first) if codes.iter().all(|&code| code == first) => first,
        Some(_) => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_of_several_tells_all_some_and_none_apart() {
        for (outcomes, code) in [
            (vec![], 0),
            (vec![None, None], 0),
            (vec![None, Some(Kind::NoMatch)], 5),
            (vec![Some(Kind::NoMatch), Some(Kind::Ambiguous)], 4),
            (vec![Some(Kind::Present)], 6),
            (vec![Some(Kind::Present), Some(Kind::Permission)], 1),
        ] {
            assert_eq!(exit_code_of(outcomes.clone()), code, "{outcomes:?}");
        }
    }
}
