//! A tracker over UDP that answers what it is told to, and remembers what it was asked.
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use wgo_proto::tracker::udp::{Request, Response, ScrapedSwarm};

use super::{PASSKEY, peers};

/// One packet that the tracker sends.
pub(super) enum Out {
    /// As it should.
    Reply(Response),
    /// From another port.
    FromElsewhere(Response),
    /// Anything.
    Raw(Vec<u8>),
}

/// A packet that came, and when.
#[derive(Clone)]
pub(super) struct Asked {
    pub(super) at: Instant,
    pub(super) from: SocketAddr,
    pub(super) request: Request,
}

/// Ends when dropped.
pub(super) struct FakeUdp {
    pub(super) address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    arrived: watch::Receiver<usize>,
    _tasks: JoinSet<()>,
}

impl FakeUdp {
    /// Listens on a free port of `on`; `plan` says what to send for the n-th packet, counted from 0.
    pub(super) async fn start(
        on: SocketAddr,
        plan: impl Fn(usize, &Request) -> Vec<Out> + Send + Sync + 'static,
    ) -> FakeUdp {
        let socket = UdpSocket::bind(on).await.unwrap();
        let elsewhere = UdpSocket::bind((on.ip(), 0)).await.unwrap();
        let address = socket.local_addr().unwrap();
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let seen = asked.clone();
        let (arrivals, arrived) = watch::channel(0);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut packet = vec![0; 2048];
            for n in 0.. {
                let (len, from) = socket.recv_from(&mut packet).await.unwrap();
                let request = Request::decode(&packet[..len]).unwrap();
                seen.lock().unwrap().push(Asked { at: Instant::now(), from, request: request.clone() });
                for out in plan(n, &request) {
                    let mut bytes = Vec::new();
                    let by = match out {
                        Out::Reply(response) => {
                            response.encode(&mut bytes);
                            &socket
                        }
                        Out::FromElsewhere(response) => {
                            response.encode(&mut bytes);
                            &elsewhere
                        }
                        Out::Raw(raw) => {
                            bytes = raw;
                            &socket
                        }
                    };
                    by.send_to(&bytes, from).await.unwrap();
                }
                arrivals.send_replace(n + 1);
            }
        });
        FakeUdp { address, asked, arrived, _tasks: tasks }
    }

    /// A tracker without faults.
    pub(super) async fn good(on: SocketAddr) -> FakeUdp {
        FakeUdp::start(on, |_, request| vec![Out::Reply(good(request))]).await
    }

    pub(super) fn url(&self) -> String {
        format!("udp://{}/{PASSKEY}/announce", self.address)
    }

    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// What came, in short: `c`onnect, `a`nnounce, `s`crape.
    pub(super) fn kinds(&self) -> String {
        let kind = |asked: &Asked| match asked.request {
            Request::Connect { .. } => 'c',
            Request::Announce { .. } => 'a',
            Request::Scrape { .. } => 's',
        };
        self.asked().iter().map(kind).collect()
    }

    /// Waits until so many packets have come in all, and were answered.
    pub(super) async fn arrivals(&mut self, count: usize) {
        self.arrived.wait_for(|arrived| *arrived >= count).await.unwrap();
    }
}

/// The connection id that [`good`] gives.
pub(super) const CONNECTION: u64 = 0x0123_4567_89AB_CDEF;

/// The right answer.
pub(super) fn good(request: &Request) -> Response {
    match request {
        Request::Connect { transaction } => {
            Response::Connect { transaction: *transaction, connection: CONNECTION }
        }
        Request::Announce { transaction, .. } => Response::Announce {
            transaction: *transaction,
            interval: 1800,
            leechers: 4,
            seeders: 5,
            peers: peers(),
        },
        Request::Scrape { transaction, hashes, .. } => {
            let swarms =
                (0..).zip(hashes).map(|(n, _)| ScrapedSwarm { seeders: n, completed: n, leechers: n });
            Response::Scrape { transaction: *transaction, swarms: swarms.collect() }
        }
    }
}

/// A refusal.
pub(super) fn refusal(request: &Request, message: &str) -> Out {
    Out::Reply(Response::Error { transaction: transaction(request), message: message.into() })
}

pub(super) fn transaction(request: &Request) -> u32 {
    match request {
        Request::Connect { transaction }
        | Request::Announce { transaction, .. }
        | Request::Scrape { transaction, .. } => *transaction,
    }
}
