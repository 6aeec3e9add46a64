//! The calling end's transport: the typed [`ApiClient`](crate::rpc::ApiClient) over a Unix socket.
//!
//! [`UnixHttpClient`] makes one connection per call, which costs a tenth of a millisecond and takes
//! requests as large as a `.torrent` can be. [`connect_websocket`] is for subscriptions. Both fail
//! with errors that convert into [`ApiError`] with a [`Kind`].
use std::fmt;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::{Either, select};
use http::header::{CONTENT_TYPE, HOST};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use jsonrpsee::client_transport::ws::{Url, WsTransportClientBuilder};
use jsonrpsee::core::client::{BatchResponse, ClientBuilder, ClientT, Error, SubscriptionClientT};
use jsonrpsee::core::params::BatchRequestBuilder;
use jsonrpsee::core::traits::ToRpcParams;
use jsonrpsee::types::ErrorObject;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::net::UnixStream;

use crate::error::{ApiError, Kind};
use crate::group;

/// What [`connect_websocket`] makes, and what subscriptions over it are.
pub use jsonrpsee::core::client::{Client, Subscription};

/// Bytes of a request that a daemon takes; see [`crate::server::Limits::request_bytes`].
pub const MAX_REQUEST: usize = 64 * 1024 * 1024;

/// Bytes of an answer that are read: somewhat above what a daemon sends.
const MAX_ANSWER: u32 = 300 * 1024 * 1024;

/// Bytes of a request by WebSocket; see [`crate::server::Limits::message_bytes`].
const MAX_MESSAGE: u32 = 1024 * 1024;

/// Pause before connecting again when the daemon's queue of connections is full.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// A client that sends each call as one HTTP POST.
#[derive(Debug)]
pub struct UnixHttpClient {
    path: PathBuf,
    timeout: Option<Duration>,
    next_id: AtomicU64,
}

/// The request on the wire.
#[derive(Serialize)]
struct Call<'a> {
    jsonrpc: &'static str,
    id: u64,
    method: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    params: Option<Box<RawValue>>,
}

/// The answer on the wire.
#[derive(Deserialize)]
#[serde(bound(deserialize = "R: Deserialize<'de>"))]
struct Answer<'a, R> {
    #[serde(default = "none")]
    result: Option<R>,
    #[serde(borrow, default)]
    error: Option<ErrorObject<'a>>,
}

/// A default that `R` needs none for.
fn none<R>() -> Option<R> {
    None
}

impl UnixHttpClient {
    /// A client for the daemon at `path`. Nothing is connected yet.
    ///
    /// A call fails with kind `timeout` when its answer takes longer than `timeout`; `None` waits.
    pub fn new(path: impl Into<PathBuf>, timeout: Option<Duration>) -> Self {
        Self { path: path.into(), timeout, next_id: AtomicU64::new(1) }
    }

    /// The daemon's socket.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The same daemon with another time-out.
    pub fn with_timeout(&self, timeout: Option<Duration>) -> Self {
        Self::new(self.path.clone(), timeout)
    }

    async fn call<R: DeserializeOwned>(
        &self,
        method: &str,
        params: Option<Box<RawValue>>,
    ) -> Result<R, Error> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let call = Call { jsonrpc: "2.0", id, method, params: params.map(without_list).transpose()? };
        let body = serde_json::to_vec(&call)?;
        if body.len() > MAX_REQUEST {
            let message = format!(
                "the request has {} bytes and wgod takes {MAX_REQUEST}: send less at once",
                body.len()
            );
            return Err(ApiError::new(Kind::BadRequest, message).into());
        }
        let (status, body) = within(self.timeout, method, exchange(&self.path, body)).await?;
        // Nearly always it is what was asked for: then its megabytes are looked at once.
        if let Ok(Answer { result: Some(result), error: None }) = serde_json::from_slice(&body) {
            return Ok(result);
        }
        match serde_json::from_slice::<Answer<'_, &RawValue>>(&body) {
            Ok(Answer { error: Some(error), .. }) => Err(ApiError::from(error).into()),
            Ok(Answer { result: Some(result), .. }) => Ok(serde_json::from_str(result.get())?),
            Ok(Answer { result: None, error: None }) | Err(_) => {
                Err(not_json_rpc(&self.path, status, &body).into())
            }
        }
    }
}

/// The named parameters out of the list of one that the generated client makes; see [`crate::rpc`].
fn without_list(params: Box<RawValue>) -> Result<Box<RawValue>, serde_json::Error> {
    match serde_json::from_str::<[&RawValue; 1]>(params.get()) {
        Ok([named]) => Ok(named.to_owned()),
        Err(_) => Ok(params),
    }
}

async fn within<T>(
    timeout: Option<Duration>,
    what: &str,
    call: impl Future<Output = Result<T, ApiError>>,
) -> Result<T, ApiError> {
    let Some(limit) = timeout else { return call.await };
    match tokio::time::timeout(limit, call).await {
        Ok(result) => result,
        Err(_) => {
            let message = format!("wgod did not answer `{what}` within {limit:?}; --timeout allows for more");
            Err(ApiError::new(Kind::Timeout, message))
        }
    }
}

/// Sends one request on a connection of its own and reads the answer.
async fn exchange(path: &Path, body: Vec<u8>) -> Result<(StatusCode, Bytes), ApiError> {
    let stream = connect(path).await?;
    let broken = |error: &dyn fmt::Display| hung_up(path, error);
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| broken(&e))?;
    let request = Request::post("/")
        .header(HOST, "localhost")
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body)))
        .map_err(|e| broken(&e))?;
    let answer = pin!(async {
        let response = sender.send_request(request).await.map_err(|e| broken(&e))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER as usize).collect().await;
        Ok((status, body.map_err(|e| broken(&e))?.to_bytes()))
    });
    // The connection has no task of its own: it moves while its answer is awaited.
    match select(answer, pin!(connection)).await {
        Either::Left((answer, _)) => answer,
        Either::Right((_, answer)) => answer.await,
    }
}

async fn connect(path: &Path) -> Result<UnixStream, ApiError> {
    loop {
        match UnixStream::connect(path).await {
            Ok(stream) => return Ok(stream),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => tokio::time::sleep(RETRY_PAUSE).await,
            Err(error) => return Err(unreachable_socket(path, &error)),
        }
    }
}

/// Why nobody answers at `path`, and what to do about it.
fn unreachable_socket(path: &Path, error: &io::Error) -> ApiError {
    let shown = path.display();
    let (kind, message) = match error.kind() {
        io::ErrorKind::NotFound => (
            Kind::Unreachable,
            format!(
                "no wgod here: the socket {shown} does not exist; start wgod, or name its socket with --socket"
            ),
        ),
        io::ErrorKind::ConnectionRefused => (
            Kind::Unreachable,
            format!(
                "no wgod answers on {shown}: it has died, or is just starting; start it again and see its log"
            ),
        ),
        io::ErrorKind::PermissionDenied => return no_permission(path),
        io::ErrorKind::InvalidInput => (
            Kind::Unreachable,
            format!("{shown} is too long for the path of a socket, which may have 107 bytes"),
        ),
        _ => (Kind::Unreachable, format!("cannot connect to wgod on {shown}: {error}")),
    };
    ApiError::new(kind, message).path(path.display().to_string())
}

/// That this process may not use the socket at `path`, who may, and how to become one of them.
pub fn no_permission(path: &Path) -> ApiError {
    let shown = path.display();
    let message = format!("no permission to use {shown}: {}", group::advice(path));
    ApiError::new(Kind::Permission, message).path(shown.to_string())
}

fn hung_up(path: &Path, error: &dyn fmt::Display) -> ApiError {
    let message = format!(
        "wgod on {} hung up before it answered ({error}); it may have stopped, or have too many connections",
        path.display()
    );
    ApiError::new(Kind::Unreachable, message).path(path.display().to_string())
}

fn not_json_rpc(path: &Path, status: StatusCode, body: &[u8]) -> ApiError {
    let start: String = String::from_utf8_lossy(body).chars().take(200).collect();
    let message =
        format!("what answers on {} does not speak JSON-RPC: HTTP {status}: {start:?}", path.display());
    ApiError::new(Kind::Internal, message).path(path.display().to_string())
}

impl ClientT for UnixHttpClient {
    /// Not offered: nothing in the API is a notification.
    async fn notification<Params: ToRpcParams + Send>(&self, _: &str, _: Params) -> Result<(), Error> {
        Err(Error::HttpNotImplemented)
    }

    async fn request<R: DeserializeOwned, Params: ToRpcParams + Send>(
        &self,
        method: &str,
        params: Params,
    ) -> Result<R, Error> {
        self.call(method, params.to_rpc_params()?).await
    }

    /// Not offered: the calls that act on several torrents take them all at once.
    async fn batch_request<'a, R: DeserializeOwned + fmt::Debug + 'a>(
        &self,
        _: BatchRequestBuilder<'a>,
    ) -> Result<BatchResponse<'a, R>, Error> {
        Err(Error::HttpNotImplemented)
    }
}

impl SubscriptionClientT for UnixHttpClient {
    /// Not offered over HTTP: use [`connect_websocket`].
    async fn subscribe<'a, Notif: DeserializeOwned, Params: ToRpcParams + Send>(
        &self,
        _: &'a str,
        _: Params,
        _: &'a str,
    ) -> Result<Subscription<Notif>, Error> {
        Err(Error::HttpNotImplemented)
    }

    /// Not offered over HTTP: use [`connect_websocket`].
    async fn subscribe_to_method<Notif: DeserializeOwned>(
        &self,
        _: &str,
    ) -> Result<Subscription<Notif>, Error> {
        Err(Error::HttpNotImplemented)
    }
}

/// A WebSocket to the daemon at `path`, for [`subscribe_changes`](crate::rpc::ApiClient::subscribe_changes).
/// Connecting may take `timeout`, and so may each call.
///
/// # Errors
/// The same kinds as calls: `unreachable`, `permission`, `timeout`.
pub async fn connect_websocket(path: &Path, timeout: Duration) -> Result<Client, ApiError> {
    let transport = WsTransportClientBuilder {
        max_request_size: MAX_MESSAGE,
        // A larger message kills jsonrpsee's client.
        max_response_size: MAX_ANSWER,
        ..Default::default()
    };
    let url = Url::parse("ws://localhost/")
        .map_err(|error| ApiError::new(Kind::Internal, format!("ws://localhost/: {error}")))?;
    let connecting = async {
        let stream = connect(path).await?;
        transport.build_with_stream(url, stream).await.map_err(|error| hung_up(path, &error))
    };
    let (sender, receiver) = within(Some(timeout), "subscribe", connecting).await?;
    Ok(ClientBuilder::default().request_timeout(timeout).build_with_tokio(sender, receiver))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn named_parameters_go_out_as_an_object() {
        let raw = |text: &str| RawValue::from_string(text.to_owned()).unwrap();
        assert_eq!(without_list(raw(r#"[{"id":"a"}]"#)).unwrap().get(), r#"{"id":"a"}"#);
        assert_eq!(without_list(raw("[1,2]")).unwrap().get(), "[1,2]");
    }

    #[test]
    fn each_way_to_be_unreachable_has_its_kind_and_names_the_socket() {
        let path = Path::new("/run/wgod/wgod.sock");
        for (kind, expected) in [
            (io::ErrorKind::NotFound, Kind::Unreachable),
            (io::ErrorKind::ConnectionRefused, Kind::Unreachable),
            (io::ErrorKind::PermissionDenied, Kind::Permission),
            (io::ErrorKind::Other, Kind::Unreachable),
        ] {
            let error = unreachable_socket(path, &io::Error::from(kind));
            assert_eq!(error.kind(), expected);
            assert!(error.message.contains("/run/wgod/wgod.sock"), "{error}");
        }
    }
}
