//! Nodes that are known by name: the bootstrap list of the configuration, and what torrents name.
use std::net::SocketAddr;
use std::time::Duration;

use tokio::task::JoinSet;
use wgo_core::Time;
use wgo_proto::host_port::HostPort;

use crate::tracker::Trackers;

/// The list is looked up again after this while nobody is known, then after twice as long, up to the longest.
const FIRST_RETRY: Duration = Duration::from_secs(5);
const LONGEST_RETRY: Duration = Duration::from_secs(10 * 60);

/// Names looked up at a time for torrents; more are forgotten.
const MAX_LOOKUPS: usize = 8;

/// Names on their way to be addresses.
pub(super) struct Names {
    trackers: Trackers,
    list: Vec<HostPort>,
    /// What the list has come to, so far.
    addrs: Vec<SocketAddr>,
    due: Time,
    wait: Duration,
    /// At most [`MAX_LOOKUPS`] and one for each of the list.
    under_way: JoinSet<Resolved>,
    trouble: Option<String>,
}

struct Resolved {
    from_list: bool,
    name: HostPort,
    found: Result<Vec<SocketAddr>, String>,
}

/// What a name has come to.
pub(super) enum Found {
    /// These are all addresses of the list now.
    Routers(Vec<SocketAddr>),
    /// A torrent named these.
    Nodes(Vec<SocketAddr>),
}

impl Names {
    /// The list is looked up at `due`, if anybody is needed then.
    pub(super) fn new(trackers: Trackers, list: Vec<HostPort>, due: Time) -> Names {
        Names {
            trackers,
            list,
            addrs: Vec::new(),
            due,
            wait: FIRST_RETRY,
            under_way: JoinSet::new(),
            trouble: None,
        }
    }

    /// Another list, which counts at once.
    pub(super) fn set_list(&mut self, now: Time, list: Vec<HostPort>) {
        if self.list != list {
            (self.list, self.due, self.wait) = (list, now, FIRST_RETRY);
            self.addrs.clear();
        }
    }

    /// When [`look_up`](Self::look_up) is due.
    pub(super) fn due(&self) -> Option<Time> {
        (!self.list.is_empty()).then_some(self.due)
    }

    /// Looks the list up; it is due again later.
    pub(super) fn look_up(&mut self, now: Time) {
        self.due = now + self.wait;
        self.wait = (self.wait * 2).min(LONGEST_RETRY);
        self.addrs.clear();
        if self.under_way.len() <= MAX_LOOKUPS {
            self.list.clone().into_iter().for_each(|name| self.begin(name, true));
        }
    }

    /// Nobody is needed: it is looked at again when it may be otherwise.
    pub(super) fn put_off(&mut self, now: Time) {
        (self.due, self.wait) = (now + LONGEST_RETRY, FIRST_RETRY);
    }

    /// Everybody is gone: the list is needed soon.
    pub(super) fn hurry(&mut self, now: Time) {
        (self.due, self.wait) = (self.due.min(now), FIRST_RETRY);
    }

    /// A torrent names a node.
    pub(super) fn add(&mut self, name: HostPort) {
        if self.under_way.len() < MAX_LOOKUPS {
            self.begin(name, false);
        }
    }

    fn begin(&mut self, name: HostPort, from_list: bool) {
        let trackers = self.trackers.clone();
        self.under_way.spawn(async move {
            let found = match trackers.resolve(&name.host).await {
                Ok(ips) => Ok(ips.iter().map(|ip| SocketAddr::new(*ip, name.port)).collect()),
                Err(error) => Err(error.to_string()),
            };
            Resolved { from_list, name, found }
        });
    }

    /// The next name that has come to something; never, while none is under way.
    pub(super) async fn found(&mut self) -> Found {
        loop {
            match self.under_way.join_next().await {
                Some(Ok(resolved)) => {
                    if let Some(found) = self.take(resolved) {
                        return found;
                    }
                }
                // Nobody aborts them, and what they call doesn't panic.
                Some(Err(_)) => {}
                None => std::future::pending().await,
            }
        }
    }

    fn take(&mut self, resolved: Resolved) -> Option<Found> {
        let Resolved { from_list, name, found } = resolved;
        match found {
            // A list that was replaced meanwhile counts no more.
            Ok(addrs) if from_list && self.list.contains(&name) => {
                self.trouble = None;
                self.addrs.extend(addrs);
                Some(Found::Routers(self.addrs.clone()))
            }
            Ok(_) if from_list => None,
            Ok(addrs) => Some(Found::Nodes(addrs)),
            Err(error) => {
                tracing::debug!(node = %name, error, "no address of a node of the DHT");
                if from_list && self.addrs.is_empty() {
                    self.trouble = Some(format!("none of [dht] bootstrap has an address: {error}"));
                }
                None
            }
        }
    }

    /// Why the list came to nothing.
    pub(super) fn trouble(&self) -> Option<String> {
        match (self.list.is_empty(), &self.trouble) {
            (true, _) => Some("[dht] bootstrap names nobody to begin with".to_owned()),
            (false, trouble) => trouble.clone(),
        }
    }
}
