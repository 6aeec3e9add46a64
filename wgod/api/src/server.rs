//! The serving end's transport: HTTP POST and WebSocket over one Unix listener, by any [`ApiServer`].
//!
//! Knows nothing of torrents. The socket's mode decides who may connect, [`Access`] what those may do.
//! The bounds here are against broken and stuck clients: connections, calls, sizes and waiting are
//! limited for each socket, and a panicking handler costs that call only.
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{Either, select};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use hyper::body::Incoming;
use jsonrpsee::core::BoxError;
use jsonrpsee::server::middleware::rpc::RpcServiceBuilder;
use jsonrpsee::server::{
    BatchRequestConfig, HttpBody, HttpRequest, HttpResponse, Methods, PingConfig, Server, ServerConfig,
    StopHandle, serve_with_graceful_shutdown, stop_channel, ws,
};
use tokio::io::AsyncWrite;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tower::{Service, service_fn};

use crate::error::{ApiError, Kind};
use crate::rpc::ApiServer;

mod access;
mod body;
mod calls;
mod guests;
mod stream;

pub use access::{Access, Sockets, sockets_of};
use body::TimedBody;
use calls::{CallGate, CallLayer, Carrier};
use guests::{Guests, Seat};
use stream::{Activity, Watched};

/// Who asks: in the extensions of every call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// User id of the process at the other end, when it connected (`SO_PEERCRED`).
    pub uid: u32,
    /// Its group id.
    pub gid: u32,
    /// Its process id, where the system tells.
    pub pid: Option<i32>,
    /// Number of the connection of its socket, from 1.
    pub connection: u64,
    /// What its socket allows.
    pub access: Access,
}

/// Bounds of [`serve`].
#[derive(Clone, Debug)]
pub struct Limits {
    /// Open connections; one more takes the place of one that is idle, or is answered with 503 and kind `busy`.
    pub connections: usize,
    /// Of these, WebSockets, so that subscribers cannot lock out commands.
    pub websockets: usize,
    /// Calls under way; one more is answered with kind `busy`.
    pub calls: usize,
    /// Bytes of a request by HTTP. A batch of `.torrent` files in base64 has to fit.
    pub request_bytes: u32,
    /// Requests above [`LARGE_REQUEST`] that are read and answered at once; more of them take turns.
    pub large_requests: usize,
    /// Bytes of a message by WebSocket.
    pub message_bytes: u32,
    /// Bytes of an answer.
    pub answer_bytes: u32,
    /// Requests in a batch.
    pub batch: u32,
    /// Subscriptions of one WebSocket.
    pub subscriptions: u32,
    /// A connection on which nothing moves and no call is under way ends after this long,
    pub idle: Duration,
    /// and, unless it is a WebSocket, already after this long when another needs its place.
    pub spare: Duration,
    /// A request body of which nothing arrives for this long fails; the whole may take four times as long.
    pub body: Duration,
    /// A client that does not take its answer for this long is dropped.
    pub stall: Duration,
    /// How long calls under way may go on after `stop`.
    pub grace: Duration,
}

/// Requests of more bytes, or of unknown length, are large: memory for them is bounded by their number.
pub const LARGE_REQUEST: u64 = 1024 * 1024;

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections: 128,
            websockets: 32,
            calls: 512,
            request_bytes: 64 * 1024 * 1024,
            large_requests: 2,
            message_bytes: 1024 * 1024,
            answer_bytes: 256 * 1024 * 1024,
            batch: 64,
            subscriptions: 8,
            idle: Duration::from_secs(60),
            spare: Duration::from_secs(1),
            body: Duration::from_secs(15),
            stall: Duration::from_secs(60),
            grace: Duration::from_secs(5),
        }
    }
}

impl Limits {
    /// Bounds of a socket for lookers, who ask small questions; whatever they do, they take little of
    /// what the daemon has for the others.
    pub fn for_lookers() -> Self {
        Limits {
            connections: 64,
            websockets: 16,
            calls: 32,
            request_bytes: 1024 * 1024,
            batch: 16,
            subscriptions: 2,
            ..Limits::default()
        }
    }
}

/// Pause after a failed accept: out of descriptors, most likely, which no retry at once mends.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Connections beyond the limit that are told so at a time.
const REFUSALS: usize = 32;

/// How long a refused client may take to read that.
const REFUSAL_TIME: Duration = Duration::from_secs(1);

/// Serves `api` on `listener`, as far as `access` allows, until `stop`; then lets the calls under way finish, for `limits.grace`.
///
/// Every task but jsonrpsee's own for WebSockets belongs to the returned future: dropping it ends
/// all connections. WebSockets end with `stop`.
pub async fn serve<A: ApiServer>(
    listener: UnixListener,
    access: Access,
    api: A,
    limits: Limits,
    stop: impl Future<Output = ()>,
) {
    let (stop_handle, server) = stop_channel();
    let mut front = Front::new(access, api.into_rpc().into(), &limits, stop_handle);
    let mut connections = JoinSet::new();
    let mut stop = pin!(stop);
    let mut number = 0;
    let mut refusing = false;
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut stop => break,
            Some(ended) = connections.join_next() => {
                report(ended);
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((socket, _)) => {
                number += 1;
                refusing = false;
                front.connect(socket, number, &mut connections);
            }
            Err(error) => {
                if !std::mem::replace(&mut refusing, true) {
                    tracing::warn!(%error, "cannot accept control connections; trying on");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop((listener, front));
    // Nobody left to tell is as good as told.
    let _ = server.stop();
    let finish = async {
        while let Some(ended) = connections.join_next().await {
            report(ended);
        }
        server.stopped().await;
    };
    if tokio::time::timeout(limits.grace, finish).await.is_err() {
        tracing::info!("some control calls did not finish in time and were dropped");
    }
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a control connection ended by a defect");
    }
}

/// What every connection needs, made once.
struct Front {
    access: Access,
    methods: Methods,
    gate: CallGate,
    stop: StopHandle,
    limits: Arc<Limits>,
    connections: Arc<Semaphore>,
    guests: Guests,
    websockets: Arc<Semaphore>,
    large: Arc<Semaphore>,
    /// Refused connections that are told so; further ones are just closed.
    refusals: Arc<Semaphore>,
}

/// Held as long as its connection: by the task of an HTTP one, by the extensions of a WebSocket.
struct Place {
    _connection: Arc<Seat>,
    _websocket: Option<OwnedSemaphorePermit>,
}

impl Front {
    fn new(access: Access, methods: Methods, limits: &Limits, stop: StopHandle) -> Self {
        Self {
            access,
            gate: CallGate::new(access, methods.clone(), limits.calls),
            methods,
            stop,
            limits: Arc::new(limits.clone()),
            connections: Arc::new(Semaphore::new(limits.connections)),
            guests: Guests::new(limits.connections, limits.spare),
            websockets: Arc::new(Semaphore::new(limits.websockets)),
            large: Arc::new(Semaphore::new(limits.large_requests)),
            refusals: Arc::new(Semaphore::new(REFUSALS)),
        }
    }

    fn connect(&mut self, socket: UnixStream, connection: u64, tasks: &mut JoinSet<()>) {
        let free = Arc::clone(&self.connections).try_acquire_owned().ok();
        let Some(permit) = free.or_else(|| self.guests.make_room()) else {
            tracing::debug!(connection, "too many control connections");
            if let Ok(permit) = Arc::clone(&self.refusals).try_acquire_owned() {
                tasks.spawn(refuse(socket).map(move |()| drop(permit)));
            }
            return;
        };
        let caller = match socket.peer_cred() {
            Ok(cred) => {
                let (uid, gid, pid) = (cred.uid(), cred.gid(), cred.pid());
                Caller { uid, gid, pid, connection, access: self.access }
            }
            Err(error) => {
                tracing::warn!(%error, "cannot tell who connected to the control socket");
                return;
            }
        };
        let activity = Activity::new();
        let seat = self.guests.seat(permit, Arc::clone(&activity));
        let request = self.requests(caller, seat, Arc::clone(&activity));
        let socket = Watched::new(socket, Arc::clone(&activity), self.limits.stall);
        // This future must be spawned as it is: inside an `async` block it isn't provably `Send`.
        let serving = serve_with_graceful_shutdown(socket, service_fn(request), self.stop.clone().shutdown());
        let idle = activity.idle_for(self.limits.idle);
        tasks.spawn(select(Box::pin(serving), Box::pin(idle)).map(move |ended| match ended {
            Either::Left((Err(error), _)) => tracing::debug!(connection, %error, "control connection failed"),
            Either::Left((Ok(()), _)) => {}
            Either::Right(_) => tracing::debug!(connection, "idle control connection closed"),
        }));
    }

    /// The service of one connection.
    fn requests(
        &self,
        caller: Caller,
        seat: Arc<Seat>,
        activity: Arc<Activity>,
    ) -> impl FnMut(http::Request<Incoming>) -> Answer + Clone + Send + 'static {
        let limits = Arc::clone(&self.limits);
        let (websockets, large) = (Arc::clone(&self.websockets), Arc::clone(&self.large));
        let builder = |by, bytes| {
            Server::builder()
                .set_config(config(&self.limits, bytes))
                .set_rpc_middleware(RpcServiceBuilder::new().layer(CallLayer::new(self.gate.clone(), by)))
                .to_service_builder()
        };
        let by_http = builder(Carrier::Http, limits.request_bytes);
        let by_websocket = builder(Carrier::WebSocket, limits.message_bytes);
        let (methods, stop) = (self.methods.clone(), self.stop.clone());
        move |mut request| {
            let is_websocket = ws::is_upgrade_request(&request);
            let websocket = match is_websocket.then(|| Arc::clone(&websockets).try_acquire_owned()) {
                None => None,
                Some(Ok(permit)) => Some(permit),
                Some(Err(_)) => return std::future::ready(Ok(refusal("too many WebSockets"))).boxed(),
            };
            if is_websocket {
                activity.last();
            }
            let place = Place { _connection: Arc::clone(&seat), _websocket: websocket };
            request.extensions_mut().insert(caller);
            request.extensions_mut().insert(Arc::new(place));
            // `curl -d` says it sends a form; here is only one thing that it can mean.
            request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            let is_large = !is_websocket && body_len(&request).is_none_or(|bytes| bytes > LARGE_REQUEST);
            let large = is_large.then(|| Arc::clone(&large).acquire_owned());
            let request: HttpRequest = request.map(|body| HttpBody::new(TimedBody::new(body, limits.body)));
            let service = if is_websocket { &by_websocket } else { &by_http };
            let mut service = service.clone().build(methods.clone(), stop.clone());
            let under_way = activity.begin();
            async move {
                let _turn = match large {
                    Some(turn) => turn.await.ok(),
                    None => None,
                };
                let answer = service.call(request).await;
                drop(under_way);
                answer
            }
            .boxed()
        }
    }
}

type Answer = futures_util::future::BoxFuture<'static, Result<HttpResponse, BoxError>>;

fn config(limits: &Limits, request_bytes: u32) -> ServerConfig {
    ServerConfig::builder()
        .max_request_body_size(request_bytes)
        .max_response_body_size(limits.answer_bytes)
        // The semaphores at accept count connections; this counts requests by mistake.
        .max_connections(u32::MAX >> 4)
        .max_subscriptions_per_connection(limits.subscriptions)
        .set_batch_request_config(BatchRequestConfig::Limit(limits.batch))
        .set_message_buffer_capacity(64)
        .enable_ws_ping(PingConfig::new().ping_interval(limits.idle / 2).inactive_limit(limits.idle))
        .build()
}

/// Length of the body, if the request tells it.
fn body_len<B>(request: &http::Request<B>) -> Option<u64> {
    request.headers().get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// What a WebSocket beyond the limit gets.
fn refusal(why: &str) -> HttpResponse {
    let mut response = HttpResponse::new(HttpBody::from(busy(why)));
    *response.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Says "busy" and takes in the request: closing with unread bytes would reset the connection, and
/// the client might see that instead of the answer.
async fn refuse(mut socket: UnixStream) {
    // The answer fits the empty buffer of a fresh socket; if not, the client sees a hang-up.
    let _ = socket.try_write(busy_answer().as_bytes());
    let drain = async {
        std::future::poll_fn(|cx| Pin::new(&mut socket).poll_shutdown(cx)).await?;
        let mut unread = [0; 4096];
        loop {
            socket.readable().await?;
            match socket.try_read(&mut unread) {
                Ok(0) => return Ok(()),
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                _ => {}
            }
        }
    };
    // Either way the connection ends here.
    let _ = tokio::time::timeout(REFUSAL_TIME, drain).await;
}

/// What a connection beyond the limit gets, before anything is read from it.
fn busy_answer() -> String {
    let body = busy("too many control connections");
    let len = body.len();
    format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\ncontent-length: {len}\r\n\
         connection: close\r\n\r\n{body}"
    )
}

fn busy(why: &str) -> String {
    let error = ApiError::new(Kind::Busy, format!("wgod refuses: {why}; try again later"));
    let object = jsonrpsee::types::ErrorObjectOwned::from(error);
    serde_json::json!({"jsonrpc": "2.0", "id": null, "error": object}).to_string()
}
