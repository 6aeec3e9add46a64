//! The drivers of trackers over HTTP, HTTPS and UDP (BEP 3, 7, 15, 41, 48): one announce or scrape out,
//! one answer back.
//!
//! Whom to ask and when is `wgo_core`'s decision, the bytes are `wgo_proto`'s. [`Trackers`] is one for
//! the daemon; its callers are the tasks that carry out a torrent's actions. An announce lives in its
//! caller's future and ends when that is dropped, wherever it is.
//!
//! A tracker that has addresses of both families is asked by both at the same time (BEP 7), for it sees no
//! other address of ours than the one we come from; the answers become one. Addresses in `network.ip` are
//! used as the source, the first of each family; a family without any is left out, and one that the machine
//! doesn't have fails at once.
//!
//! With a proxy for trackers all of that is left to the proxy: names, families, and UDP by its relay.
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use wgo_core::address::may_name;
use wgo_core::external::Voter;
use wgo_proto::compact::Family;
use wgo_proto::tracker::http::{self as http_form, AnnounceQuery};
use wgo_proto::tracker::udp::{self as udp_form, Request};
use wgo_proto::tracker::{AnnounceReply, SwarmCounts};
use wgo_proto::units::WireHash;

mod dns;
mod error;
mod families;
mod gate;
mod guard;
mod http;
mod proxied;
mod resolve;
mod secrets;
mod target;
#[cfg(test)]
mod tests;
mod transactions;
mod udp;

use crate::external::Outside;
use crate::outlet::Outlet;
use crate::proxy::{Direct, Proxies};

pub use error::TrackerError;
pub use target::{check_url, shown};

use families::{Late, telling};
use gate::Gate;
use http::Http;
pub(crate) use resolve::Resolver;
use resolve::{any, family_name, family_of};
use target::{Protocol, Target};
use udp::{Udp, Whom};

/// How the drivers behave. The defaults are right for a daemon, other values are for tests.
///
/// However an announce goes, it is over within `turn_timeout`, `resolve_timeout`, and the larger of
/// `http_timeout` and `udp_timeout`: 670 s, less than the 900 s that `wgo_core` waits.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What requests leave by.
    pub outlet: Outlet,
    /// Name servers to ask; none: see [`Outlet`] and `[network] dns`.
    pub dns: Vec<SocketAddr>,
    /// By which proxy they go, if by any.
    pub proxies: Proxies,
    /// Learns how trackers see us (BEP 24).
    pub outside: Arc<Outside>,
    /// Requests to one tracker at once.
    pub per_tracker: usize,
    /// HTTP requests at once. A tracker that never answers has one of them.
    pub http_requests: usize,
    /// UDP requests at once. They cost little, and many public trackers are dead.
    pub udp_requests: usize,
    /// How long to wait for a turn among those: as thousands of torrents do that begin at one tracker.
    pub turn_timeout: Duration,
    /// How long to wait for the name server.
    pub resolve_timeout: Duration,
    /// How long a connection may take, TLS included.
    pub connect_timeout: Duration,
    /// How long an HTTP request may take in all, to the last byte.
    pub http_timeout: Duration,
    /// How long to wait for a UDP answer before the first retransmission; doubled each time (BEP 15).
    pub udp_first_wait: Duration,
    /// How long a UDP request may take in all. BEP 15 would go on for more than an hour.
    pub udp_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            outlet: Outlet::default(),
            dns: Vec::new(),
            proxies: Proxies::default(),
            outside: Arc::default(),
            per_tracker: 4,
            http_requests: 128,
            udp_requests: 1024,
            turn_timeout: Duration::from_secs(600),
            resolve_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(10),
            http_timeout: Duration::from_secs(30),
            udp_first_wait: Duration::from_secs(15),
            udp_timeout: Duration::from_secs(60),
        }
    }
}

impl Settings {
    /// Whether the operator lets us use this family.
    fn allows(&self, family: Family) -> bool {
        self.outlet.reaches(any(family))
    }
}

/// By what a tracker is asked.
#[derive(Clone, Copy, Debug)]
enum Via {
    /// Directly, at this address.
    Ip(IpAddr),
    /// By the proxy, which finds it.
    Proxy,
}

impl Via {
    fn name(self) -> &'static str {
        match self {
            Via::Ip(ip) => family_name(family_of(ip)),
            Via::Proxy => "proxy",
        }
    }

    /// Whom a request over UDP goes to.
    fn whom(self, target: &Target) -> Result<Whom, TrackerError> {
        Ok(match self {
            Via::Ip(ip) => Whom::Direct((ip, target.port).into()),
            Via::Proxy => Whom::Proxied(proxied::far(&target.host, target.port)?),
        })
    }
}

/// The way to all trackers. Cheap to clone; one for the daemon.
#[derive(Clone)]
pub struct Trackers {
    inner: Arc<Inner>,
}

struct Inner {
    settings: Settings,
    resolver: Arc<Resolver>,
    http: Http,
    http_gate: Arc<Gate>,
    udp: Udp,
    udp_gate: Arc<Gate>,
    late: Late,
    tasks: TaskTracker,
    stopping: CancellationToken,
    /// Ends the tasks when the last clone goes without [`Trackers::stop`].
    _stop: DropGuard,
}

impl Trackers {
    /// Sets the drivers up; reads the system's certificate authorities from disk. Sockets are opened when
    /// first needed. Must be called inside the runtime.
    pub fn start(settings: Settings) -> Result<Trackers, TrackerError> {
        Trackers::with_authorities(settings, system_authorities())
    }

    fn with_authorities(settings: Settings, authorities: RootCertStore) -> Result<Trackers, TrackerError> {
        let (tasks, stopping) = (TaskTracker::new(), CancellationToken::new());
        let resolver = Resolver::new(&settings);
        let gate = |requests| Gate::new(settings.per_tracker, requests, settings.turn_timeout);
        let inner = Inner {
            http: Http::new(&settings, &resolver, authorities)?,
            http_gate: gate(settings.http_requests),
            udp: Udp::new(&settings, tasks.clone(), stopping.clone()),
            udp_gate: gate(settings.udp_requests),
            late: Late::default(),
            resolver,
            tasks,
            _stop: stopping.clone().drop_guard(),
            stopping,
            settings,
        };
        Ok(Trackers { inner: Arc::new(inner) })
    }

    /// Announces to the tracker at `url` and returns what it answers. Over UDP only the IPv4 address of
    /// `query` can be told, and no `tracker_id`.
    pub async fn announce(
        &self,
        url: &str,
        query: &AnnounceQuery<'_>,
    ) -> Result<AnnounceReply, TrackerError> {
        // Torrents are written by hand, too: our parameters go right behind the last letter.
        let url = url.trim();
        let target = Target::parse(url)?;
        guard::brings_nothing_along(url)?;
        let result = self.unless_stopping(self.inner.announce(&target, url, query)).await;
        // A tracker may repeat the passkey in what it says.
        let result = match result {
            Ok(reply) => {
                let warning = reply.warning.map(|warning| secrets::without(warning, url));
                Ok(AnnounceReply { warning, ..reply })
            }
            Err(failure) => Err(secrets::without_in(failure, url)),
        };
        match &result {
            Ok(reply) => tracing::debug!(tracker = %target, peers = reply.peers.len(), "announced"),
            Err(err) => tracing::debug!(tracker = %target, error = %err, "announce failed"),
        }
        result
    }

    /// Asks the tracker at `url` for the size of swarms: one for each of `hashes`, in order, `None` where
    /// it says nothing. Of more than [`MAX_SCRAPE`](udp_form::MAX_SCRAPE) hashes only the first count over
    /// UDP.
    pub async fn scrape(
        &self,
        url: &str,
        hashes: &[WireHash],
    ) -> Result<Vec<Option<SwarmCounts>>, TrackerError> {
        let url = url.trim();
        let target = Target::parse(url)?;
        guard::brings_nothing_along(url)?;
        let result = self.unless_stopping(self.inner.scrape(&target, url, hashes)).await;
        result.map_err(|failure| secrets::without_in(failure, url))
    }

    /// The addresses of `host`, as trackers' hosts are looked up; never none.
    ///
    /// # Errors
    /// It has none, or the system's resolver doesn't say.
    pub async fn resolve(&self, host: &str) -> Result<Arc<[IpAddr]>, TrackerError> {
        self.unless_stopping(self.inner.resolver.resolve(host)).await
    }

    /// Why no name can be looked up, if that is plain to see.
    pub fn no_names(&self) -> Option<String> {
        self.inner.resolver.trouble()
    }

    /// Ends everything under way with [`TrackerError::Stopping`], and all that is asked from now on.
    pub async fn stop(&self) {
        self.inner.stopping.cancel();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }

    /// The result of `work`, unless it is cut short: by the end of the daemon, or since it goes by a way that is no
    /// more.
    async fn unless_stopping<T>(
        &self,
        work: impl Future<Output = Result<T, TrackerError>>,
    ) -> Result<T, TrackerError> {
        let work = async {
            tokio::select! {
                // Before anything is looked up or sent.
                biased;
                error = lost(&self.inner.settings.outlet) => Err(error),
                result = work => result,
            }
        };
        self.inner.stopping.run_until_cancelled(work).await.unwrap_or(Err(TrackerError::Stopping))
    }
}

/// Ends when no way out is there, or one that was is no more.
async fn lost(outlet: &Outlet) -> TrackerError {
    let mut follower = outlet.follow();
    let before = follower.borrow_and_update().clone();
    loop {
        let now = follower.borrow_and_update().clone();
        if let Some(why) = now.closed() {
            return TrackerError::Closed { why: why.to_owned() };
        }
        if !now.keeps(&before) {
            return TrackerError::Changed;
        }
        if follower.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Inner {
    async fn announce(
        &self,
        target: &Target,
        url: &str,
        query: &AnnounceQuery<'_>,
    ) -> Result<AnnounceReply, TrackerError> {
        let turn = self.gate(target).turn(target.to_string()).await?;
        // Boxed from here on, as a request is long: thousands wait for their turns.
        let result = Box::pin(self.announce_by_all(target, url, query)).await;
        turn.went(&result);
        self.blame(target, &result);
        result
    }

    /// One announce, from each family.
    async fn announce_by_all(
        &self,
        target: &Target,
        url: &str,
        query: &AnnounceQuery<'_>,
    ) -> Result<AnnounceReply, TrackerError> {
        let ask = |ip| self.announce_to(target, Via::Ip(ip), url, query);
        if self.is_by_proxy() {
            return self.announce_to(target, Via::Proxy, url, query).await;
        }
        match self.addresses(target).await?[..] {
            [first, second] => self.late.ask_both(&target.to_string(), [first, second], ask).await,
            [only, ..] => ask(only).await,
            // There is one at least.
            [] => Err(TrackerError::Stopping),
        }
    }

    /// One announce from one family, or by the proxy.
    async fn announce_to(
        &self,
        target: &Target,
        via: Via,
        url: &str,
        query: &AnnounceQuery<'_>,
    ) -> Result<AnnounceReply, TrackerError> {
        let mut answer = self.ask(target, via, url, query).await;
        if let (Ok(reply), Via::Ip(ip)) = (&mut answer, via) {
            let named = reply.peers.len();
            reply.peers.retain(|peer| may_name(ip, peer.ip()));
            let dropped = named - reply.peers.len();
            if dropped > 0 {
                tracing::debug!(tracker = %target, dropped, "peers nearer to us than their tracker are not tried");
            }
        }
        if let Err(err) = &answer {
            let by = via.name();
            tracing::debug!(tracker = %target, by, error = %err, "no answer to an announce");
        }
        answer
    }

    async fn ask(
        &self,
        target: &Target,
        via: Via,
        url: &str,
        query: &AnnounceQuery<'_>,
    ) -> Result<AnnounceReply, TrackerError> {
        let told = |own: &IpAddr| match via {
            // Of the other family it would be taken for where this one is seen.
            Via::Ip(ip) => own.is_ipv4() == ip.is_ipv4(),
            Via::Proxy => !self.settings.proxies.forbids(Direct::Incoming),
        };
        let query = &AnnounceQuery { ip: query.ip.filter(told), ..*query };
        if target.protocol != Protocol::Udp {
            let body = self.http.get(target, via, &http_form::announce_url(url, query)).await?;
            let reply = http_form::decode_announce(&body)?;
            // By the proxy it is the proxy's address.
            if let (Some(seen), Via::Ip(ip)) = (reply.external_ip, via) {
                self.settings.outside.vote(Voter::Tracker(ip), seen);
            }
            return Ok(reply);
        }
        let own_ip = query.ip.into_iter().chain(query.ipv4.map(IpAddr::V4)).find_map(|ip| match ip {
            IpAddr::V4(v4) => Some(v4),
            IpAddr::V6(_) => None,
        });
        let url_data = Some(udp_form::url_data(url)).filter(|data| !data.is_empty());
        let request = |connection, transaction| Request::Announce {
            connection,
            transaction,
            announce: query.announce.clone(),
            // Over IPv6 the field means nothing (BEP 15).
            ip: own_ip.filter(|_| !matches!(via, Via::Ip(IpAddr::V6(_)))),
            url_data: url_data.map(|data| data.as_bytes().to_vec()),
        };
        let answer = self.udp.ask(via.whom(target)?, self.settings.udp_timeout, request).await?;
        Ok(answer.response.into_announce(answer.transaction)?)
    }

    async fn scrape(
        &self,
        target: &Target,
        url: &str,
        hashes: &[WireHash],
    ) -> Result<Vec<Option<SwarmCounts>>, TrackerError> {
        let turn = self.gate(target).turn(target.to_string()).await?;
        let result = Box::pin(self.scrape_by_any(target, url, hashes)).await;
        turn.went(&result);
        self.blame(target, &result);
        result
    }

    /// The size of a swarm doesn't depend on who asks: the second family is only asked if the first fails.
    async fn scrape_by_any(
        &self,
        target: &Target,
        url: &str,
        hashes: &[WireHash],
    ) -> Result<Vec<Option<SwarmCounts>>, TrackerError> {
        if self.is_by_proxy() {
            return self.scrape_from(target, Via::Proxy, self.settings.udp_timeout, url, hashes).await;
        }
        let addresses = self.addresses(target).await?;
        let share = self.settings.udp_timeout / u32::try_from(addresses.len()).unwrap_or(1);
        let mut failure = TrackerError::Stopping;
        for ip in addresses {
            match self.scrape_from(target, Via::Ip(ip), share, url, hashes).await {
                Ok(counts) => return Ok(counts),
                Err(err) => failure = telling(failure, err),
            }
        }
        Err(failure)
    }

    async fn scrape_from(
        &self,
        target: &Target,
        via: Via,
        udp_limit: Duration,
        url: &str,
        hashes: &[WireHash],
    ) -> Result<Vec<Option<SwarmCounts>>, TrackerError> {
        if target.protocol != Protocol::Udp {
            let url = http_form::scrape_url(url, hashes).ok_or(TrackerError::NoScrape)?;
            let body = self.http.get(target, via, &url).await?;
            return Ok(http_form::decode_scrape(&body, hashes)?);
        }
        let request =
            |connection, transaction| Request::Scrape { connection, transaction, hashes: hashes.to_vec() };
        let answer = self.udp.ask(via.whom(target)?, udp_limit, request).await?;
        let mut counts: Vec<_> =
            answer.response.into_scrape(answer.transaction)?.into_iter().map(Some).collect();
        counts.resize(hashes.len(), None);
        Ok(counts)
    }

    fn is_by_proxy(&self) -> bool {
        self.settings.proxies.for_trackers().is_some()
    }

    fn gate(&self, target: &Target) -> &Arc<Gate> {
        if target.protocol == Protocol::Udp { &self.udp_gate } else { &self.http_gate }
    }

    /// The first address of each family that we may use, IPv4 before IPv6; never none.
    async fn addresses(&self, target: &Target) -> Result<Vec<IpAddr>, TrackerError> {
        let all = self.resolver.resolve(&target.host).await?;
        let first = |family| all.iter().copied().find(|&ip| family_of(ip) == family);
        let allowed = [Family::V4, Family::V6].into_iter().filter(|&family| self.settings.allows(family));
        let usable: Vec<_> = allowed.filter_map(first).collect();
        if usable.is_empty() {
            let wanted = if self.settings.allows(Family::V4) { Family::V4 } else { Family::V6 };
            return Err(TrackerError::NoAddress { host: target.host.clone(), wanted: family_name(wanted) });
        }
        Ok(usable)
    }

    /// After a failure that another address might cure, the name is resolved anew.
    fn blame<T>(&self, target: &Target, result: &Result<T, TrackerError>) {
        if target.ip().is_none() && result.as_ref().err().is_some_and(TrackerError::blames_the_address) {
            self.resolver.forget(&target.host);
        }
    }
}

/// The authorities that the system trusts; without any, HTTPS trackers fail with an error that says so.
fn system_authorities() -> RootCertStore {
    let mut authorities = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    let (_, unreadable) = authorities.add_parsable_certificates(found.certs);
    if unreadable > 0 || !found.errors.is_empty() {
        let errors: Vec<_> = found.errors.iter().map(ToString::to_string).collect();
        tracing::warn!(unreadable, ?errors, "some certificate authorities of the system can't be used");
    }
    if authorities.is_empty() {
        tracing::warn!("no certificate authorities found: trackers over https: will fail");
    }
    authorities
}
