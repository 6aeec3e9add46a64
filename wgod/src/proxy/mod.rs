//! Proxy: peers and trackers by way of a SOCKS5 or HTTP proxy, and what must not go round it.
//!
//! A connection by the proxy is one of ours to the proxy, after a handshake: from then on it is like any other, so the
//! data path doesn't know. Names go to the proxy as they are. What the proxy is for never goes round it, whatever the
//! proxy can't do; `[network] proxy_only` lets nothing else go round it either, for which the engine's
//! [`Outlet`] makes no socket any more. The one with the sockets to the proxy is here.
mod error;
mod handshake;
mod health;
mod relay;
#[cfg(test)]
mod tests;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};
use wgo_api::result::{Proxy as Shown, ProxyState};
use wgo_proto::host_port::HostPort;
use wgo_proto::proxy::{Login, Target};

use crate::config::{Network, ProxyFor, ProxyKind};
use crate::outlet::Outlet;
use crate::tracker::{Resolver, Settings, TrackerError};
use crate::transport::{Transport, dial};

pub use error::{ProxyError, Why};
use health::{Health, News};
pub use relay::Relay;

/// How long the proxy may take for all that is between it and us: the connection and the login.
const REACH_LIMIT: Duration = Duration::from_secs(10);

/// What could go round a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direct {
    /// Connections to peers.
    Peers,
    /// Connections of peers to us, which show who we are.
    Incoming,
    /// Requests to trackers.
    Trackers,
    /// Questions to name servers, but for the proxy's own name.
    Names,
    /// The DHT.
    Dht,
    /// Announcements in the local network.
    LocalDiscovery,
    /// Port mapping.
    PortMapping,
}

/// Whether there is a proxy, and what it is for. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    set: Option<Set>,
}

#[derive(Clone, Debug)]
struct Set {
    proxy: Arc<Proxy>,
    purpose: ProxyFor,
    only: bool,
}

impl Proxies {
    /// As configured. Sockets to the proxy are made by `outlet`.
    pub fn new(network: &Network, login: Option<Login>, outlet: &Outlet) -> Proxies {
        let set = network.proxy.as_ref().map(|url| Set {
            proxy: Arc::new(
                Proxy::new(url.kind, url.at.clone(), login, outlet.clone())
                    .asking(network.dns.iter().map(|server| server.0).collect()),
            ),
            purpose: network.proxy_for,
            only: network.proxy_only,
        });
        Proxies { set }
    }

    /// Whether traffic of this kind must not leave, or come in, without the proxy. The one place to ask.
    pub fn forbids(&self, direct: Direct) -> bool {
        self.set.as_ref().is_some_and(|set| match direct {
            Direct::Peers => set.only || set.purpose != ProxyFor::Trackers,
            Direct::Trackers => set.only || set.purpose != ProxyFor::Peers,
            Direct::Incoming | Direct::Names | Direct::Dht | Direct::LocalDiscovery | Direct::PortMapping => {
                set.only
            }
        })
    }

    /// The proxy, if peers are reached by it.
    pub fn for_peers(&self) -> Option<&Arc<Proxy>> {
        self.set.as_ref().filter(|_| self.forbids(Direct::Peers)).map(|set| &set.proxy)
    }

    /// The proxy, if trackers are reached by it.
    pub fn for_trackers(&self) -> Option<&Arc<Proxy>> {
        self.set.as_ref().filter(|_| self.forbids(Direct::Trackers)).map(|set| &set.proxy)
    }

    /// The proxy, whatever it is for.
    pub fn proxy(&self) -> Option<&Arc<Proxy>> {
        self.set.as_ref().map(|set| &set.proxy)
    }

    /// For whoever looks: where it is, what it is for, how it does.
    pub fn shown(&self) -> Option<Shown> {
        let set = self.set.as_ref()?;
        let (state, error, retry_secs) = match set.proxy.health.shown(Instant::now()) {
            health::Shown::Unknown => (ProxyState::Unknown, None, None),
            health::Shown::Up => (ProxyState::Up, None, None),
            health::Shown::Down { why, again } => {
                (ProxyState::Down, Some(why.to_string()), Some(again.as_secs()))
            }
        };
        Some(Shown {
            url: set.proxy.shown.to_string(),
            peers: self.forbids(Direct::Peers),
            trackers: self.forbids(Direct::Trackers),
            only: set.only,
            state,
            error,
            retry_secs,
        })
    }
}

/// One proxy.
#[derive(Debug)]
pub struct Proxy {
    kind: ProxyKind,
    at: HostPort,
    login: Option<Login>,
    outlet: Outlet,
    names: Arc<Resolver>,
    /// Scheme, host and port.
    shown: Arc<str>,
    health: Health,
}

/// A connection to the proxy, logged in.
struct Reached {
    transport: Transport,
    ip: IpAddr,
}

impl Proxy {
    /// One at `at`, to be reached by `outlet`.
    pub fn new(kind: ProxyKind, at: HostPort, login: Option<Login>, outlet: Outlet) -> Proxy {
        let names = Resolver::new(&Settings { outlet: outlet.clone(), ..Settings::default() });
        let shown = format!("{}://{at}", kind.scheme()).into();
        Proxy { kind, at, login, outlet, names, shown, health: Health::default() }
    }

    /// The same, which asks these name servers for its address.
    fn asking(self, dns: Vec<SocketAddr>) -> Proxy {
        let names = Resolver::new(&Settings { outlet: self.outlet.clone(), dns, ..Settings::default() });
        Proxy { names, ..self }
    }

    /// A connection to `target` by the proxy, within `limit`.
    ///
    /// # Errors
    /// Names the proxy and tells its faults from what is beyond it.
    pub async fn connect(&self, target: &Target, limit: Duration) -> Result<Transport, ProxyError> {
        let what = format!("connect to {target}");
        let late = || Why::Late { what: what.clone(), after: limit };
        let asked = async |reached: &mut Transport| match self.kind {
            ProxyKind::Socks5 => handshake::connect_by_socks5(reached, target, &what).await,
            ProxyKind::Http => handshake::connect_by_http(reached, target, self.login.as_ref(), &what).await,
        };
        let using = async {
            let mut reached = self.reach().await?;
            timeout(limit, asked(&mut reached.transport)).await.map_err(|_| late())??;
            Ok(reached.transport)
        };
        self.used(using).await
    }

    /// Resolves when it isn't known to be down, or is to be tried again.
    pub async fn usable(&self) {
        self.health.usable().await;
    }

    /// Tries now whether it answers and takes our login, whatever is known of it.
    ///
    /// # Errors
    /// What fails.
    pub async fn check(&self) -> Result<(), ProxyError> {
        self.reach().await.map(drop).map_err(|why| self.error(why))
    }

    /// Tries now whether it relays UDP.
    ///
    /// # Errors
    /// What fails.
    pub async fn check_udp(&self) -> Result<(), ProxyError> {
        self.associate().await.map(drop).map_err(|why| self.error(why))
    }

    /// Does something with it if it is to be used, and notes how that went.
    async fn used<T>(&self, using: impl Future<Output = Result<T, Why>>) -> Result<T, ProxyError> {
        let turn = self.health.enter(Instant::now()).map_err(|why| self.error(why))?;
        let result = using.await;
        match self.health.ended(turn, Instant::now(), result.as_ref().err()) {
            News::None => {}
            News::Failed => {
                if let Err(why) = &result {
                    tracing::warn!(proxy = %self.shown, %why, "the proxy is down; what goes by it waits");
                }
            }
            News::Healed => tracing::info!(proxy = %self.shown, "the proxy works again"),
        }
        result.map_err(|why| self.error(why))
    }

    /// Connects to the proxy and logs in.
    async fn reach(&self) -> Result<Reached, Why> {
        let reaching = async {
            let ips = self.addresses().await?;
            let mut failure = Why::Family;
            // One that leads nowhere leaves the others time.
            let share = REACH_LIMIT / u32::try_from(ips.len()).unwrap_or(1).max(1);
            for &ip in ips.iter().filter(|ip| self.outlet.reaches(**ip)) {
                match dial(&self.outlet, SocketAddr::new(ip, self.at.port), share).await {
                    Ok(transport) => return self.greet(Reached { transport, ip }).await,
                    Err(error) => failure = Why::Connect(Arc::new(error)),
                }
            }
            // It may have moved.
            self.names.forget(&self.at.host);
            Err(failure)
        };
        timeout(REACH_LIMIT, reaching).await.unwrap_or(Err(Why::Silent(REACH_LIMIT)))
    }

    async fn greet(&self, mut reached: Reached) -> Result<Reached, Why> {
        if self.kind == ProxyKind::Socks5 {
            handshake::greet_socks5(&mut reached.transport, self.login.as_ref()).await?;
        }
        Ok(reached)
    }

    /// Where it is. Its name is the only one that is not left to the proxy; it is asked for as those of trackers are.
    async fn addresses(&self) -> Result<Arc<[IpAddr]>, Why> {
        let failed = |error: TrackerError| Why::Resolve(Arc::new(io::Error::other(error.to_string())));
        self.names.resolve(&self.at.host).await.map_err(failed)
    }

    /// A connection that lasts as long as it relays datagrams, and the port at which it takes them.
    async fn associate(&self) -> Result<(Reached, u16), Why> {
        if self.kind == ProxyKind::Http {
            return Err(Why::NoUdp);
        }
        let mut reached = self.reach().await?;
        let late = |_| Why::Late { what: "relay UDP".to_owned(), after: REACH_LIMIT };
        let asked = handshake::associate(&mut reached.transport, reached.ip);
        let port = timeout(REACH_LIMIT, asked).await.map_err(late)??;
        Ok((reached, port))
    }

    fn error(&self, why: Why) -> ProxyError {
        ProxyError { proxy: self.shown.clone(), why }
    }
}
