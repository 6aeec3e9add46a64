//! Trackers over HTTP and HTTPS: one GET, its body or why there is none (BEP 3, 48).
//!
//! A thin wrapper of `reqwest`: one client for each address family, since an announce is to reach the
//! tracker from both (BEP 7), and for each [`Reach`], since what may be asked depends on it. A client gets no
//! other addresses of a name than those of its family and reach, so a name that changes its address between
//! the look at it and the connection leads nowhere (DNS rebinding). By a proxy there is one client for all
//! (`proxied.rs`). The URLs and the bodies are `wgo_proto`'s.
use std::error::Error;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{HeaderMap, LOCATION, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, Url};
use rustls::{ClientConfig, RootCertStore};
use wgo_proto::compact::Family;
use wgo_proto::tracker::{self as proto, MAX_INTERVAL};

use super::guard::{Reach, may_ask, may_redirect};
use super::proxied::{self, ByProxy};
use super::resolve::{Resolver, any, family_name, family_of};
use super::target::{Protocol, Target};
use super::{Settings, TrackerError, Via};

/// What trackers see. Some of them admit clients by it.
pub(super) const USER_AGENT: &str = concat!("wgod/", env!("CARGO_PKG_VERSION"));

/// Bytes of a body at most, unpacked. A thousand peers take 18 KB, in the old form of dictionaries
/// 100 KB; a scrape is smaller.
const MAX_BODY: usize = 1024 * 1024;

/// Redirects followed for one request.
const MAX_REDIRECTS: usize = 5;

/// How long a connection is kept for the next announce to the same tracker: a daemon with hundreds of torrents
/// at one tracker announces every few seconds.
pub(super) const IDLE_TIME: Duration = Duration::from_secs(60);

/// The HTTP clients of one daemon.
pub(super) struct Http {
    settings: Settings,
    tls: ClientConfig,
    /// Made at first use, and anew when the outlet is bound to something else.
    clients: Mutex<Option<Clients>>,
    proxied: Option<ByProxy>,
    resolver: Arc<Resolver>,
    has_authorities: bool,
}

/// Those of one generation of the outlet.
struct Clients {
    generation: u64,
    v4: Result<Arc<FamilyClient>, TrackerError>,
    v6: Result<Arc<FamilyClient>, TrackerError>,
}

/// The clients that connect by one address family, one for each reach.
struct FamilyClient {
    clients: [Client; Reach::ALL.len()],
    local: Option<IpAddr>,
}

/// By what requests go.
#[derive(Clone, Copy)]
enum By<'a> {
    Family(Family),
    Proxy(&'a ByProxy),
}

/// One request of those that redirects string together.
struct Hop {
    url: Url,
    target: Target,
    reach: Reach,
}

impl Http {
    /// Certificates will be judged by `authorities`.
    pub(super) fn new(
        settings: &Settings,
        resolver: &Arc<Resolver>,
        authorities: RootCertStore,
    ) -> Result<Http, TrackerError> {
        let has_authorities = !authorities.is_empty();
        let tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|err| TrackerError::Client { why: err.to_string() })?
            .with_root_certificates(authorities)
            .with_no_client_auth();
        let (settings, resolver) = (settings.clone(), resolver.clone());
        let proxied =
            settings.proxies.for_trackers().map(|proxy| ByProxy::new(proxy, &settings, tls.clone()));
        Ok(Http { settings, tls, clients: Mutex::default(), proxied, resolver, has_authorities })
    }

    /// The clients of a family.
    fn by(&self, family: Family) -> Result<Arc<FamilyClient>, TrackerError> {
        let generation = self.settings.outlet.standing().generation();
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let current = clients.take().filter(|clients| clients.generation == generation);
        let current = clients.insert(current.unwrap_or_else(|| Clients {
            generation,
            v4: self.of_family(Family::V4).map(Arc::new),
            v6: self.of_family(Family::V6).map(Arc::new),
        }));
        match family {
            Family::V4 => current.v4.clone(),
            Family::V6 => current.v6.clone(),
        }
    }

    fn of_family(&self, family: Family) -> Result<FamilyClient, TrackerError> {
        let outlet = &self.settings.outlet;
        let closed = |err: io::Error| TrackerError::Closed { why: err.to_string() };
        let interface = outlet.interface(any(family)).map_err(closed)?;
        let local = outlet.source(any(family));
        let [global, near, loopback] = Reach::ALL.map(|reach| self.client(family, reach, local, &interface));
        Ok(FamilyClient { clients: [global?, near?, loopback?], local })
    }

    fn client(
        &self,
        family: Family,
        reach: Reach,
        local: Option<IpAddr>,
        interface: &Option<Arc<str>>,
    ) -> Result<Client, TrackerError> {
        let mut builder = Client::builder();
        if let Some(interface) = interface {
            builder = builder.interface(interface);
        }
        builder
            .user_agent(USER_AGENT)
            .tls_backend_preconfigured(self.tls.clone())
            .http1_only()
            .no_proxy()
            // They are followed here, where it is known how near they lead.
            .redirect(Policy::none())
            .connect_timeout(self.settings.connect_timeout)
            // As many as are used at once: with less, some are closed after each announce.
            .pool_max_idle_per_host(self.settings.per_tracker)
            .pool_idle_timeout(IDLE_TIME)
            .local_address(local)
            .dns_resolver(NarrowResolver { family, reach, resolver: self.resolver.clone() })
            .build()
            .map_err(|err| TrackerError::Client { why: chain(&err.without_url()) })
    }

    /// The body of a successful answer to GET `url`, asked from the host of `target` by `via`.
    pub(super) async fn get(&self, target: &Target, via: Via, url: &str) -> Result<Vec<u8>, TrackerError> {
        let limit = self.settings.http_timeout;
        let timed_out = |_| TrackerError::TimedOut { after: limit, doing: "waiting for the whole answer" };
        let (by, reach) = match via {
            Via::Ip(ip) => (By::Family(family_of(ip)), Reach::of(ip)),
            Via::Proxy => {
                (By::Proxy(self.proxied.as_ref().ok_or(TrackerError::Stopping)?), proxied::reach(target))
            }
        };
        let url = Url::parse(url).map_err(|err| TrackerError::Url { why: err.to_string() })?;
        let whole = self.follow(by, Hop { url, target: target.clone(), reach });
        tokio::time::timeout(limit, whole).await.map_err(timed_out)?
    }

    async fn follow(&self, by: By<'_>, mut hop: Hop) -> Result<Vec<u8>, TrackerError> {
        for _ in 0..=MAX_REDIRECTS {
            if hop.target.protocol == Protocol::Https && !self.has_authorities {
                return Err(TrackerError::NoAuthorities { host: hop.target.host });
            }
            let direct = match by {
                By::Family(family) => {
                    may_ask(&hop.url, hop.reach)?;
                    Some(self.by(family)?)
                }
                By::Proxy(_) => None,
            };
            let local = direct.as_ref().and_then(|client| client.local);
            let explain = |err| self.explain(err, &hop.target, local);
            let mut response = match (by, &direct) {
                (By::Proxy(client), _) => {
                    proxied::may_ask(&hop.target, hop.reach)?;
                    client.send(&hop.url, &hop.target).await?
                }
                (By::Family(_), Some(client)) => {
                    let request = client.clients[hop.reach as usize].get(hop.url.clone());
                    request.send().await.map_err(explain)?
                }
                (By::Family(_), None) => return Err(TrackerError::Stopping),
            };
            if let Some(next) = redirect(&response, &hop.url)? {
                hop = self.next_hop(next, &hop, by).await?;
                continue;
            }
            let body = read(&mut response, explain).await?;
            return match response.status() {
                status if status.is_success() => Ok(body),
                _ => Err(unsuccessful(&response, &body)),
            };
        }
        Err(TrackerError::Redirect { why: format!("more than {MAX_REDIRECTS} in a row") })
    }

    /// Where a redirect leads, if we follow it.
    async fn next_hop(&self, url: Url, from: &Hop, by: By<'_>) -> Result<Hop, TrackerError> {
        let refused = |why: String| TrackerError::Redirect { why };
        if !matches!(url.scheme(), "http" | "https") {
            return Err(refused(format!("to {}:, neither http: nor https:", url.scheme())));
        }
        let target = Target::of(&url).map_err(|err| refused(err.to_string()))?;
        let reach = match by {
            By::Family(family) => {
                let ips = self.resolver.resolve(&target.host).await?;
                let Some(&ip) = ips.iter().find(|&&ip| family_of(ip) == family) else {
                    return Err(TrackerError::NoAddress { host: target.host, wanted: family_name(family) });
                };
                Reach::of(ip)
            }
            By::Proxy(_) => proxied::reach(&target),
        };
        may_redirect(from.reach, reach)?;
        Ok(Hop { url, target, reach })
    }

    #[cfg(test)]
    pub(super) fn has_authorities(&self) -> bool {
        self.has_authorities
    }

    /// Translates what `reqwest` says; its own text and its `Debug` may hold the URL.
    fn explain(&self, err: reqwest::Error, target: &Target, local: Option<IpAddr>) -> TrackerError {
        let host = || target.host.clone();
        let err = err.without_url();
        if let Some(ours) = find::<TrackerError>(&err) {
            return ours.clone();
        }
        if let Some(tls) = find::<rustls::Error>(&err) {
            return TrackerError::Tls { host: host(), why: tls.to_string() };
        }
        if err.is_connect() {
            if err.is_timeout() {
                return TrackerError::TimedOut { after: self.settings.connect_timeout, doing: "connecting" };
            }
            if let Some(source) = find::<io::Error>(&err) {
                // An `io::Error` can't be cloned; its kind and its text are what people read.
                let source = source.raw_os_error().map_or_else(
                    || io::Error::new(source.kind(), source.to_string()),
                    io::Error::from_raw_os_error,
                );
                return TrackerError::Connect { host: host(), local, source: Arc::new(source) };
            }
        }
        TrackerError::Broken { why: chain(&err) }
    }
}

/// The body, unpacked; given up as soon as it is too long, or says that it will be.
async fn read(
    response: &mut Response,
    explain: impl Fn(reqwest::Error) -> TrackerError,
) -> Result<Vec<u8>, TrackerError> {
    let too_large = || TrackerError::TooLarge { limit: MAX_BODY };
    if response.content_length().is_some_and(|len| len > MAX_BODY as u64) {
        return Err(too_large());
    }
    let mut body = Vec::new();
    while let Some(part) = response.chunk().await.map_err(&explain)? {
        if body.len() + part.len() > MAX_BODY {
            return Err(too_large());
        }
        body.extend_from_slice(&part);
    }
    Ok(body)
}

/// What an answer with a status other than success means. Many trackers give their reason in bencode
/// all the same.
fn unsuccessful(response: &Response, body: &[u8]) -> TrackerError {
    match proto::http::decode_announce(body) {
        Err(refused @ proto::TrackerError::Refused { .. }) => refused.into(),
        // Redirects that could be followed have been, or were refused with a reason.
        _ if redirects(response) => {
            let why = format!("status {} without a usable Location", response.status().as_u16());
            TrackerError::Redirect { why }
        }
        _ => TrackerError::Status {
            status: response.status().as_u16(),
            reason: response.status().canonical_reason(),
            retry: retry_after(response.headers()),
        },
    }
}

/// `Retry-After` in seconds; its other form, a date, depends on clocks that agree.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds: u64 = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(MAX_INTERVAL)).filter(|wait| !wait.is_zero())
}

/// Where the answer redirects to, if it does and says where.
fn redirect(response: &Response, from: &Url) -> Result<Option<Url>, TrackerError> {
    let location = response.headers().get(LOCATION).filter(|_| redirects(response));
    let Some(location) = location.and_then(|location| location.to_str().ok()) else { return Ok(None) };
    let broken = |_| TrackerError::Redirect { why: "to what is no URL".to_owned() };
    from.join(location).map(Some).map_err(broken)
}

fn redirects(response: &Response) -> bool {
    matches!(response.status().as_u16(), 301..=303 | 307 | 308)
}

/// Gives a client the addresses of its family and reach only.
struct NarrowResolver {
    family: Family,
    reach: Reach,
    resolver: Arc<Resolver>,
}

impl Resolve for NarrowResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (family, reach, resolver) = (self.family, self.reach, self.resolver.clone());
        Box::pin(async move {
            let ips = resolver.resolve(name.as_str()).await?;
            let wanted = ips.iter().copied().filter(|&ip| family_of(ip) == family && Reach::of(ip) == reach);
            // Port 0 stands for the URL's.
            let addresses: Vec<_> = wanted.map(|ip| SocketAddr::new(ip, 0)).collect();
            if addresses.is_empty() {
                let host = name.as_str().to_owned();
                return Err(TrackerError::NoAddress { host, wanted: family_name(family) }.into());
            }
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// The first error of type `E` below `err`.
pub(super) fn find<'a, E: Error + 'static>(err: &'a (dyn Error + 'static)) -> Option<&'a E> {
    causes(err).find_map(|cause| cause.downcast_ref())
}

/// The causes of an error as one text, the outermost of which says nothing.
pub(super) fn chain(err: &(dyn Error + 'static)) -> String {
    let mut texts: Vec<_> = causes(err).map(ToString::to_string).collect();
    if texts.len() > 1 {
        texts.remove(0);
    }
    // One that wraps another often repeats its text.
    texts.dedup();
    texts.join(": ")
}

/// An error and its causes. An `io::Error` hides the error that it wraps from `source`.
fn causes<'a>(err: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(err), |&err| {
        match err.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => err.source(),
        }
    })
}
