//! Names to addresses, by the system's resolver or by name servers that are asked through the outlet, remembered
//! for a while.
//!
//! Called before each announce by UDP or HTTP, and by the HTTP client for redirects.
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;
use wgo_proto::compact::Family;

use super::dns::Dns;
use super::{Settings, TrackerError};

/// How long an answer is used. The system doesn't tell its lifetime; five minutes is what most names of
/// trackers have. A host that can't be reached is looked up again at once.
const LIFETIME: Duration = Duration::from_secs(300);

/// Names remembered. When full, the ones that have expired go; if all are young, new ones aren't kept.
const MAX_NAMES: usize = 1024;

/// Look-ups at once: each may hold a thread until the system's resolver gives up, the others wait.
const MAX_LOOKUPS: usize = 16;

/// The resolver of one daemon.
pub(crate) struct Resolver {
    timeout: Duration,
    /// `None`: the system's resolver.
    dns: Option<Dns>,
    lookups: Semaphore,
    names: Mutex<HashMap<String, Name>>,
}

struct Name {
    until: Instant,
    ips: Arc<[IpAddr]>,
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resolver").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

impl Resolver {
    pub(crate) fn new(settings: &Settings) -> Arc<Resolver> {
        Arc::new(Resolver {
            timeout: settings.resolve_timeout,
            dns: Dns::of(&settings.outlet, &settings.dns),
            lookups: Semaphore::new(MAX_LOOKUPS),
            names: Mutex::default(),
        })
    }

    /// The addresses of `host`, in the resolver's order, never none.
    pub(crate) async fn resolve(&self, host: &str) -> Result<Arc<[IpAddr]>, TrackerError> {
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok(Arc::new([ip]));
        }
        if let Some(ips) = self.remembered(host) {
            return Ok(ips);
        }
        let lookup = async {
            // Nobody closes the semaphore; without a permit the look-up would only be unbounded.
            let _permit = self.lookups.acquire().await;
            match &self.dns {
                Some(dns) => dns.lookup(host).await,
                None => by_system(host).await,
            }
        };
        let timed_out = |_| TrackerError::ResolveTimedOut { host: host.to_owned(), after: self.timeout };
        let found = tokio::time::timeout(self.timeout, lookup).await.map_err(timed_out)?;
        let failed = |source| TrackerError::Resolve { host: host.to_owned(), source: Arc::new(source) };
        let ips: Arc<[IpAddr]> = found.map_err(failed)?.into();
        if ips.is_empty() {
            return Err(failed(std::io::ErrorKind::NotFound.into()));
        }
        self.remember(host, &ips);
        Ok(ips)
    }

    /// Why no look-up can succeed, as far as that is known without one.
    pub(super) fn trouble(&self) -> Option<String> {
        self.dns.as_ref().and_then(Dns::trouble)
    }

    /// Makes the next look-up of `host` ask the system again.
    pub(crate) fn forget(&self, host: &str) {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).remove(host);
    }

    fn remembered(&self, host: &str) -> Option<Arc<[IpAddr]>> {
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.get(host).filter(|name| name.until > Instant::now()).map(|name| name.ips.clone())
    }

    pub(super) fn remember(&self, host: &str, ips: &Arc<[IpAddr]>) {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if names.len() >= MAX_NAMES {
            names.retain(|_, name| name.until > now);
        }
        if names.len() < MAX_NAMES {
            names.insert(host.to_owned(), Name { until: now + LIFETIME, ips: ips.clone() });
        }
    }
}

async fn by_system(host: &str) -> std::io::Result<Vec<IpAddr>> {
    Ok(tokio::net::lookup_host((host, 0)).await?.map(|addr| addr.ip()).collect())
}

/// The family's name for people.
pub(super) fn family_name(family: Family) -> &'static str {
    match family {
        Family::V4 => "IPv4",
        Family::V6 => "IPv6",
    }
}

/// The family of an address.
pub(super) fn family_of(ip: IpAddr) -> Family {
    if ip.is_ipv4() { Family::V4 } else { Family::V6 }
}

/// Any address of the family.
pub(super) fn any(family: Family) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
        Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolver(secs: u64) -> Arc<Resolver> {
        Resolver::new(&Settings { resolve_timeout: Duration::from_secs(secs), ..Settings::default() })
    }

    #[tokio::test]
    async fn a_name_is_remembered_until_it_expires_or_is_forgotten() {
        let resolver = resolver(60);
        let ips = resolver.resolve("localhost").await.unwrap();
        assert!(ips.iter().all(IpAddr::is_loopback) && !ips.is_empty());
        let kept = resolver.remembered("localhost").expect("remembered");
        assert!(Arc::ptr_eq(&ips, &kept));
        assert!(resolver.remembered("other").is_none());
        tokio::time::pause();
        tokio::time::advance(LIFETIME).await;
        assert!(resolver.remembered("localhost").is_none());
        resolver.remember("localhost", &ips);
        resolver.forget("localhost");
        assert!(resolver.remembered("localhost").is_none());
    }

    #[tokio::test]
    async fn a_name_that_does_not_exist_is_named_in_the_error() {
        // RFC 6761 keeps this name from existing; without any name server it fails as well.
        let err = resolver(60).resolve("tracker.invalid").await.unwrap_err();
        assert!(err.to_string().starts_with("cannot resolve tracker.invalid: "), "{err}");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let resolver = resolver(0);
        let ips: Arc<[IpAddr]> = Arc::new([IpAddr::from([127, 0, 0, 1])]);
        (0..MAX_NAMES + 10).for_each(|n| resolver.remember(&n.to_string(), &ips));
        assert_eq!(resolver.names.lock().unwrap().len(), MAX_NAMES);
    }
}
