//! What can go wrong with a call: kinds, the JSON-RPC error object made of them, and exit codes.
//!
//! The daemon answers with [`ApiError`]; on the wire that is `{"code", "message", "data": {"kind",
//! "torrent", "path"}}`. Callers decide by `kind`, people read `message`.
use std::fmt;

use jsonrpsee::core::client::Error as ClientError;
use jsonrpsee::types::{ErrorObject, ErrorObjectOwned};
use serde::{Deserialize, Serialize};

/// JSON-RPC code of every failure that isn't one of the protocol's own: `kind` tells them apart.
const APPLICATION_CODE: i32 = -32000;
const PARSE_ERROR: i32 = -32700;
const INVALID_REQUEST: i32 = -32600;
const METHOD_NOT_FOUND: i32 = -32601;
const INVALID_PARAMS: i32 = -32602;
/// What the server says of a body, a batch or a number of subscriptions that is too large.
const TOO_LARGE: std::ops::RangeInclusive<i32> = -32011..=-32006;

/// What kind of failure: what a caller does next depends on this and on nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// No torrent has this id, prefix or name.
    NoMatch,
    /// Several torrents match; the message lists them.
    Ambiguous,
    /// The torrent is already here, and the call asked to fail then.
    Present,
    /// The source is no torrent or magnet link that this daemon can read.
    BadTorrent,
    /// A parameter is missing, unknown, of the wrong type or out of range.
    BadRequest,
    /// The configuration file has an error; nothing was applied.
    BadConfig,
    /// The file is no backup that this daemon can restore; nothing has changed.
    BadBackup,
    /// Another torrent or process owns what the call would change.
    Conflict,
    /// Reading or writing the disk failed.
    Disk,
    /// The disk is full, or nearer to full than `min_free_space` allows.
    DiskFull,
    /// The operating system or the configuration forbids it.
    Permission,
    /// It is done, but not all of it; the message says what isn't.
    Partly,
    /// A tracker, a web server or another host could not be reached.
    Network,
    /// The awaited state did not come in time.
    Timeout,
    /// This daemon does not know the method, or cannot do what was asked yet.
    Unsupported,
    /// Too many connections, calls or subscriptions, or too large a message: try again, with less.
    Busy,
    /// The daemon is shutting down.
    Stopping,
    /// Nobody answers on the socket. Made by the client, never sent by a daemon.
    Unreachable,
    /// A defect of the daemon; its log has the details.
    Internal,
    /// A kind that only a newer daemon knows.
    #[serde(other)]
    Other,
}

impl Kind {
    /// The exit code of `wgoctl` when this is what failed. The only place that maps the two.
    pub fn exit_code(self) -> u8 {
        match self {
            Kind::BadRequest => 2,
            Kind::Unreachable | Kind::Stopping => 3,
            Kind::NoMatch | Kind::Ambiguous => 4,
            Kind::Partly => EXIT_PARTLY,
            Kind::Present => 6,
            Kind::Timeout => 7,
            Kind::Permission => 8,
            Kind::BadTorrent
            | Kind::BadConfig
            | Kind::BadBackup
            | Kind::Conflict
            | Kind::Disk
            | Kind::DiskFull
            | Kind::Network
            | Kind::Unsupported
            | Kind::Busy
            | Kind::Internal
            | Kind::Other => 1,
        }
    }

    /// The JSON-RPC code that goes with it.
    pub fn code(self) -> i32 {
        match self {
            Kind::BadRequest => INVALID_PARAMS,
            _ => APPLICATION_CODE,
        }
    }

    /// What a code of the protocol itself means, for an answer without our `data`.
    fn of_code(code: i32) -> Kind {
        match code {
            METHOD_NOT_FOUND => Kind::Unsupported,
            PARSE_ERROR | INVALID_REQUEST | INVALID_PARAMS => Kind::BadRequest,
            code if TOO_LARGE.contains(&code) => Kind::Busy,
            _ => Kind::Internal,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// Exit code for a call on several torrents of which some failed, or on one that was done in part.
pub const EXIT_PARTLY: u8 = 5;

/// `error.data` of a failed call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorData {
    /// What kind of failure.
    pub kind: Kind,
    /// Info-hash or given id of the torrent it is about.
    #[serde(default)]
    pub torrent: Option<String>,
    /// File, folder or URL it is about.
    #[serde(default)]
    pub path: Option<String>,
}

/// A failed call, as the daemon's handlers return it and as the client reports it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// What kind of failure, and what it is about.
    pub data: ErrorData,
    /// What failed, why, and what to do next; for people.
    pub message: String,
}

impl ApiError {
    /// A failure that concerns no torrent and no path.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { data: ErrorData { kind, torrent: None, path: None }, message: message.into() }
    }

    /// Names the torrent it is about: an info-hash, or the id as it was given.
    pub fn torrent(mut self, id: impl Into<String>) -> Self {
        self.data.torrent = Some(id.into());
        self
    }

    /// Names the file, folder or URL it is about.
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.data.path = Some(path.into());
        self
    }

    /// What kind of failure.
    pub fn kind(&self) -> Kind {
        self.data.kind
    }
}

impl From<ApiError> for ErrorObjectOwned {
    fn from(error: ApiError) -> Self {
        ErrorObject::owned(error.data.kind.code(), error.message, Some(error.data))
    }
}

impl From<ErrorObject<'_>> for ApiError {
    /// Reads any JSON-RPC error; one without our `data` gets its kind from the protocol's code.
    fn from(error: ErrorObject<'_>) -> Self {
        let data = error.data().map(|raw| raw.get());
        match data.and_then(|raw| serde_json::from_str(raw).ok()) {
            Some(data) => ApiError { data, message: error.message().to_owned() },
            None => {
                // jsonrpsee puts the reason of a refused parameter into `data`, as a string.
                let reason = data.and_then(|raw| serde_json::from_str::<String>(raw).ok());
                let message = match reason {
                    Some(reason) => format!("{}: {reason}", error.message()),
                    None => error.message().to_owned(),
                };
                ApiError::new(Kind::of_code(error.code()), message)
            }
        }
    }
}

impl From<ClientError> for ApiError {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Call(object) => object.into(),
            ClientError::Transport(source) => match source.downcast::<ApiError>() {
                Ok(error) => *error,
                Err(source) => ApiError::new(Kind::Unreachable, source.to_string()),
            },
            ClientError::RequestTimeout => ApiError::new(Kind::Timeout, "no answer in time"),
            ClientError::RestartNeeded(source) => {
                ApiError::new(Kind::Unreachable, format!("the connection to wgod ended: {source}"))
            }
            ClientError::ParseError(source) => ApiError::new(
                Kind::Internal,
                format!(
                    "cannot read wgod's answer: {source}; are wgod and this command of the same version?"
                ),
            ),
            other => ApiError::new(Kind::Internal, other.to_string()),
        }
    }
}

impl From<ApiError> for ClientError {
    fn from(error: ApiError) -> Self {
        ClientError::Transport(Box::new(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_survives_the_wire_with_kind_torrent_and_path() {
        let error = ApiError::new(Kind::DiskFull, "no space").torrent("ab").path("/srv");
        let wire = serde_json::to_string(&ErrorObjectOwned::from(error.clone())).unwrap();
        assert_eq!(
            wire,
            r#"{"code":-32000,"message":"no space","data":{"kind":"disk_full","torrent":"ab","path":"/srv"}}"#
        );
        let back: ErrorObjectOwned = serde_json::from_str(&wire).unwrap();
        assert_eq!(ApiError::from(back), error);
    }

    #[test]
    fn protocol_errors_get_a_kind_from_their_code() {
        for (code, kind) in [
            (-32700, Kind::BadRequest),
            (-32601, Kind::Unsupported),
            (-32602, Kind::BadRequest),
            (-32007, Kind::Busy),
            (-32603, Kind::Internal),
        ] {
            let object = ErrorObject::owned(code, "text", None::<()>);
            assert_eq!(ApiError::from(object).kind(), kind, "{code}");
        }
        let object = ErrorObject::owned(-32602, "Invalid params", Some("unknown field `foo`"));
        assert_eq!(ApiError::from(object).message, "Invalid params: unknown field `foo`");
    }

    #[test]
    fn a_kind_of_a_newer_daemon_is_read_as_other() {
        let data: ErrorData = serde_json::from_str(r#"{"kind":"quantum_flux"}"#).unwrap();
        assert_eq!((data.kind, data.kind.exit_code()), (Kind::Other, 1));
        assert_eq!(Kind::DiskFull.to_string(), "disk_full");
    }
}
