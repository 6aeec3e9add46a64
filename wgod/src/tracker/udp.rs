//! Trackers over UDP (BEP 15, 41): connection ids, retransmission, and the sockets.
//!
//! All trackers share one socket for each address family, opened at first use, and anew when the [`Outlet`] is
//! bound to something else, and read by a task of ours; or the relay of the proxy, if trackers are asked by one, which
//! then finds them, too. An announce runs in its caller's future; dropping that leaves nothing behind.
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use wgo_proto::compact::Family;
use wgo_proto::proxy::Target as Far;
use wgo_proto::tracker::MAX_PEERS;
use wgo_proto::tracker::udp::{Request, Response, transaction_of};

use super::resolve::any;
use super::transactions::{ANSWERS_KEPT, Packet, Source, Transaction, Transactions};
use super::{Settings, TrackerError};
use crate::outlet::Outlet;
use crate::proxy::Relay;

/// How long a connection id may be used after it came (BEP 15).
const CONNECTION_LIFETIME: Duration = Duration::from_secs(60);

/// Connection ids kept. When full, the ones that have expired go; if all are good, new ones aren't kept
/// and each further announce asks for its own.
const MAX_CONNECTIONS: usize = 1024;

/// Bytes of the longest answer of use: an announce's of [`MAX_PEERS`] over IPv6.
const MAX_PACKET: usize = 20 + MAX_PEERS * Family::V6.entry_len();

/// The pause of the reading task after the system failed to receive, so that it never spins.
const AFTER_FAULT: Duration = Duration::from_millis(200);

/// The UDP half of one daemon's trackers.
pub(super) struct Udp {
    v4: Mutex<Option<Open>>,
    v6: Mutex<Option<Open>>,
    relay: Option<Relay>,
    outlet: Outlet,
    first_wait: Duration,
    transactions: Arc<Transactions>,
    connections: Mutex<HashMap<Whom, Connection>>,
    tasks: TaskTracker,
    stopping: CancellationToken,
}

/// Whom a request goes to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Whom {
    /// Straight there.
    Direct(SocketAddr),
    /// By the proxy's relay.
    Proxied(Far),
}

impl Whom {
    /// Where its answers come from.
    fn source(&self) -> Source {
        match self {
            Whom::Direct(addr) => Source::Addr(*addr),
            Whom::Proxied(_) => Source::Relay,
        }
    }
}

#[derive(Clone, Copy)]
struct Connection {
    id: u64,
    since: Instant,
}

/// A socket in use, and what ends the task that reads it.
struct Open {
    socket: Arc<UdpSocket>,
    /// That of the outlet when it was made.
    generation: u64,
    _reading: DropGuard,
}

/// An answer and the transaction that it belongs to.
pub(super) struct Answer {
    pub(super) response: Response,
    pub(super) transaction: u32,
}

impl Udp {
    /// Tasks are tracked by `tasks` and end with `stopping`.
    pub(super) fn new(settings: &Settings, tasks: TaskTracker, stopping: CancellationToken) -> Udp {
        let transactions: Arc<Transactions> = Arc::default();
        let relay = settings.proxies.for_trackers().map(|proxy| {
            let transactions = transactions.clone();
            let heard = move |from: Option<SocketAddr>, packet: &[u8]| {
                // By which family the proxy reached a tracker, only it knows.
                let family = from.map_or(Family::V4, |from| Family::of(&from));
                transactions.deliver(Source::Relay, family, packet);
            };
            Relay::new(proxy.clone(), MAX_PACKET, heard, tasks.clone(), stopping.clone())
        });
        Udp {
            v4: Mutex::default(),
            v6: Mutex::default(),
            relay,
            outlet: settings.outlet.clone(),
            first_wait: settings.udp_first_wait,
            transactions,
            connections: Mutex::default(),
            tasks,
            stopping,
        }
    }

    /// The answer of `tracker` to the request that `request` makes of a connection id and a
    /// transaction, within `limit`.
    pub(super) async fn ask(
        &self,
        tracker: Whom,
        limit: Duration,
        request: impl Fn(u64, u32) -> Request,
    ) -> Result<Answer, TrackerError> {
        let timed_out = |_| TrackerError::TimedOut { after: limit, doing: "waiting for an answer by UDP" };
        timeout(limit, self.converse(tracker, request)).await.map_err(timed_out)?
    }

    /// Sends what is due next, a connect or the request itself, until the request is answered. What isn't
    /// answered is sent again, each time after twice the wait (BEP 15).
    async fn converse(
        &self,
        tracker: Whom,
        request: impl Fn(u64, u32) -> Request,
    ) -> Result<Answer, TrackerError> {
        let (sender, mut answers) = mpsc::channel(ANSWERS_KEPT);
        let open = || {
            self.transactions.open(tracker.source(), &sender).map_err(|err| fault("get random numbers", err))
        };
        let mut talk = Talk { connect: open()?, request: open()?, tracker: &tracker, connected: false };
        let mut wait = self.first_wait;
        let mut packet = Vec::new();
        loop {
            let connection = self.connection(&tracker);
            packet.clear();
            match connection {
                Some(id) => request(id, talk.request.id).encode(&mut packet),
                None => {
                    talk.connected = false;
                    Request::Connect { transaction: talk.connect.id }.encode(&mut packet);
                }
            }
            self.send(&tracker, &packet).await?;
            let until = Instant::now() + wait;
            let next = loop {
                match timeout_at(until, answers.recv()).await {
                    Ok(Some(packet)) => match self.heed(&mut talk, &packet)? {
                        None => {}
                        news => break news,
                    },
                    // We hold a sender: the channel can't have ended.
                    Ok(None) => return Err(TrackerError::Stopping),
                    Err(_) => break None,
                }
            };
            match next {
                Some(News::Answered(answer)) => return Ok(answer),
                Some(News::Connected) => wait = self.first_wait,
                Some(News::StaleConnection) => {
                    self.disconnect(&tracker, connection);
                    talk.request = open()?;
                }
                None => {
                    wait = wait.saturating_mul(2);
                    // A tracker that restarted may pass over the ids that it gave before.
                    if !talk.connected {
                        self.disconnect(&tracker, connection);
                    }
                }
            }
        }
    }

    async fn send(&self, tracker: &Whom, packet: &[u8]) -> Result<(), TrackerError> {
        let addr = match (tracker, &self.relay) {
            (Whom::Proxied(far), Some(relay)) => return Ok(relay.send(far, packet).await?),
            (Whom::Direct(addr), None) => addr,
            // Nobody mixes them: what goes by a proxy never goes round it.
            _ => return Err(TrackerError::Stopping),
        };
        let unsent = |source| TrackerError::Connect {
            host: addr.ip().to_string(),
            local: self.outlet.source(addr.ip()),
            source: Arc::new(source),
        };
        let socket = self.socket(Family::of(addr))?;
        socket.send_to(packet, addr).await.map(drop).map_err(unsent)
    }

    /// Makes sense of one packet to one of our transactions; `None` if it brings nothing new.
    fn heed(&self, talk: &mut Talk<'_>, packet: &Packet) -> Result<Option<News>, TrackerError> {
        let Packet { family, bytes: packet } = packet;
        let response = Response::decode(packet, *family)?;
        if transaction_of(packet) == Some(talk.request.id) {
            let stale = matches!(response, Response::Error { .. }) && !talk.connected;
            let answer = Answer { response, transaction: talk.request.id };
            return Ok(Some(if stale { News::StaleConnection } else { News::Answered(answer) }));
        }
        if talk.connected {
            // The same again, to a connect that was sent twice.
            return Ok(None);
        }
        let id = response.into_connect(talk.connect.id)?;
        talk.connected = true;
        self.keep(talk.tracker.clone(), Connection { id, since: Instant::now() });
        Ok(Some(News::Connected))
    }

    /// The socket of a family, opened when first asked for, and anew when the outlet is bound to something else.
    fn socket(&self, family: Family) -> Result<Arc<UdpSocket>, TrackerError> {
        let slot = match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        };
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        let generation = self.outlet.standing().generation();
        if let Some(open) = &*slot
            && open.generation == generation
        {
            return Ok(open.socket.clone());
        }
        if slot.take().is_some() {
            // Trackers give these to an address, which may be another one now.
            self.connections.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
        let local = self.outlet.from_anywhere(any(family), 0);
        let failed = |err: io::Error| match err.kind() {
            io::ErrorKind::NetworkDown => TrackerError::Closed { why: err.to_string() },
            _ => fault(&format!("open a UDP socket for trackers at {}", local.ip()), err),
        };
        let socket = Arc::new(self.outlet.udp(local).map_err(failed)?);
        let stopping = self.stopping.child_token();
        self.tasks.spawn(receive(socket.clone(), self.transactions.clone(), stopping.clone()));
        *slot = Some(Open { socket: socket.clone(), generation, _reading: stopping.drop_guard() });
        Ok(socket)
    }

    fn connection(&self, tracker: &Whom) -> Option<u64> {
        let connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        connections.get(tracker).filter(|kept| kept.since.elapsed() < CONNECTION_LIFETIME).map(|kept| kept.id)
    }

    fn keep(&self, tracker: Whom, connection: Connection) {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        if connections.len() >= MAX_CONNECTIONS {
            connections.retain(|_, kept| kept.since.elapsed() < CONNECTION_LIFETIME);
        }
        if connections.len() < MAX_CONNECTIONS {
            connections.insert(tracker, connection);
        }
    }

    /// Forgets the id that was used, not a newer one that another announce has got meanwhile.
    fn disconnect(&self, tracker: &Whom, used: Option<u64>) {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        if connections.get(tracker).map(|kept| kept.id) == used {
            connections.remove(tracker);
        }
    }

    #[cfg(test)]
    pub(super) fn under_way(&self) -> usize {
        self.transactions.len()
    }
}

/// The transactions of one request: its own, and that of the connect before it.
struct Talk<'a> {
    tracker: &'a Whom,
    connect: Transaction,
    request: Transaction,
    /// Whether the connection id in use was got by this very talk; an older one may be stale.
    connected: bool,
}

/// What an answer changes.
enum News {
    /// The request is answered.
    Answered(Answer),
    /// There is a connection id now.
    Connected,
    /// The tracker refuses a request with an id from before, most likely for the id.
    StaleConnection,
}

fn fault(what: &str, source: io::Error) -> TrackerError {
    TrackerError::System { what: what.to_owned(), source: Arc::new(source) }
}

/// Hands what comes to those who wait for it, until told to stop.
async fn receive(socket: Arc<UdpSocket>, transactions: Arc<Transactions>, stopping: CancellationToken) {
    let mut packet = vec![0; MAX_PACKET];
    let reading = async {
        loop {
            match socket.recv_from(&mut packet).await {
                Ok((len, from)) => {
                    if !transactions.deliver(
                        Source::Addr(from),
                        Family::of(&from),
                        packet.get(..len).unwrap_or(&packet),
                    ) {
                        tracing::trace!(%from, len, "no answer that we wait for");
                    }
                }
                Err(err) => {
                    tracing::warn!(error = %err, "cannot receive from UDP trackers");
                    tokio::time::sleep(AFTER_FAULT).await;
                }
            }
        }
    };
    let _: Option<std::convert::Infallible> = stopping.run_until_cancelled(reading).await;
}
