//! Datagrams by a SOCKS5 proxy (RFC 1928, UDP ASSOCIATE): for the trackers over UDP.
//!
//! The proxy relays for as long as a connection lasts. It is made for the first datagram, and made anew for the next
//! one after it ended. What is sent meanwhile is lost, as datagrams may be; whoever sent it sends again.
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::UdpSocket;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wgo_proto::proxy::Target;
use wgo_proto::proxy::socks5::{self, MAX_HEADER};

use super::{Proxy, ProxyError, Why};
use crate::transport::Transport;

/// An association by which nothing came for so long though something was sent is made anew: the proxy may have gone
/// without a word. Trackers that don't answer cost one in that time.
const SILENCE: Duration = Duration::from_secs(120);

/// Who gets what comes: the sender, if the proxy names its address, and the payload.
type Heard = Arc<dyn Fn(Option<SocketAddr>, &[u8]) + Send + Sync>;

/// The way of datagrams by one proxy.
pub struct Relay {
    proxy: Arc<Proxy>,
    heard: Heard,
    longest: usize,
    /// Held while one is made: others wait for the same.
    current: Mutex<Option<Association>>,
    tasks: TaskTracker,
    stopping: CancellationToken,
}

/// One association.
#[derive(Clone)]
pub(super) struct Association {
    socket: Arc<UdpSocket>,
    pub(super) over: CancellationToken,
    /// When the first was sent of those since something came.
    unanswered: Arc<std::sync::Mutex<Option<Instant>>>,
}

impl Association {
    fn is_of_use(&self) -> bool {
        let silent = self.unanswered().is_some_and(|since| since.elapsed() >= SILENCE);
        if silent {
            self.over.cancel();
        }
        !self.over.is_cancelled()
    }

    fn unanswered(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.unanswered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Relay {
    /// What comes goes to `heard`, cut off after `longest` bytes of payload. Tasks are tracked by `tasks` and end with
    /// `stopping`.
    pub fn new(
        proxy: Arc<Proxy>,
        longest: usize,
        heard: impl Fn(Option<SocketAddr>, &[u8]) + Send + Sync + 'static,
        tasks: TaskTracker,
        stopping: CancellationToken,
    ) -> Relay {
        Relay { proxy, heard: Arc::new(heard), longest, current: Mutex::default(), tasks, stopping }
    }

    /// Sends one datagram.
    ///
    /// # Errors
    /// There is no association, and none can be had; or the system refuses to send.
    pub async fn send(&self, target: &Target, payload: &[u8]) -> Result<(), ProxyError> {
        let association = self.association().await?;
        let mut datagram = Vec::with_capacity(MAX_HEADER + payload.len());
        socks5::datagram(target, payload, &mut datagram);
        association.unanswered().get_or_insert_with(Instant::now);
        match association.socket.send(&datagram).await {
            Ok(_) => Ok(()),
            Err(error) => {
                // The relay's port may be closed: the next one gets another.
                association.over.cancel();
                let what = "send to its relay for UDP";
                Err(self.proxy.error(Why::System { what, error: Arc::new(error) }))
            }
        }
    }

    pub(super) async fn association(&self) -> Result<Association, ProxyError> {
        let mut current = self.current.lock().await;
        if let Some(association) = current.as_ref().filter(|association| association.is_of_use()) {
            return Ok(association.clone());
        }
        let (association, control) = self.proxy.used(self.associate()).await?;
        let serving = serve(association.clone(), control, self.heard.clone(), self.longest);
        let stopping = self.stopping.clone();
        self.tasks.spawn(async move { stopping.run_until_cancelled_owned(serving).await });
        Ok(current.insert(association).clone())
    }

    async fn associate(&self) -> Result<(Association, Transport), Why> {
        let (reached, port) = self.proxy.associate().await?;
        let outlet = &self.proxy.outlet;
        let failed = |error| Why::System { what: "open a UDP socket to it", error: Arc::new(error) };
        let socket = outlet.udp(outlet.from_anywhere(reached.ip, 0)).map_err(failed)?;
        // Nobody else is heard. The address is the one that we know the proxy by, not the one that it names: behind a
        // translator it can't know better, and it has no business to send us elsewhere.
        socket.connect((reached.ip, port)).await.map_err(failed)?;
        let (socket, over) = (Arc::new(socket), CancellationToken::new());
        let association = Association { socket, over, unanswered: Arc::default() };
        Ok((association, reached.transport))
    }
}

/// Passes on what comes until the proxy ends the association.
async fn serve(association: Association, mut control: Transport, heard: Heard, longest: usize) {
    let mut packet = vec![0; MAX_HEADER + longest];
    let mut said = [0; 64];
    loop {
        tokio::select! {
            () = association.over.cancelled() => break,
            // Nothing is to be said any more: it is read to see the end.
            read = control.read(&mut said) => if !matches!(read, Ok(1..)) { break },
            received = association.socket.recv(&mut packet) => match received {
                Ok(len) => match socks5::received(packet.get(..len).unwrap_or(&packet)) {
                    Ok((from, payload)) => {
                        *association.unanswered() = None;
                        heard(from, payload);
                    }
                    Err(fault) => tracing::trace!(%fault, "no datagram of the proxy's relay"),
                },
                // The relay's port is closed.
                Err(error) => {
                    tracing::debug!(%error, "the proxy's relay is gone");
                    break;
                }
            },
        }
    }
    association.over.cancel();
}
