//! Local service discovery (BEP 14): announces torrents to the neighbours by multicast, and hears of theirs.
//!
//! Which torrent is announced when says the `Announcer` of core; here are the links that it goes over. On each
//! network interface with neighbours there is a `Member` for each address family that the operator lets us use.
//! They are compared with the machine's interfaces every few seconds, so that one which comes, goes, or gets
//! another address is noticed whatever brought it about.
mod links;
mod member;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use wgo_api::result::LocalDiscovery;
use wgo_core::Time;
use wgo_core::lsd::Announcer;
use wgo_proto::lsd::{Announcement, GROUP_V4, GROUP_V6};
use wgo_proto::{InfoHashes, WireHash};

use crate::engine::Engine;
use crate::random;
use links::Link;
use member::{Hearing, Member};

/// How often the machine's interfaces are looked at: two questions to the kernel.
const LOOK: Duration = Duration::from_secs(5);

/// What all tasks know of it.
#[derive(Debug)]
pub struct Lsd {
    /// A leaf lock.
    announcer: Mutex<Announcer>,
    /// Something may be due sooner.
    sooner: Notify,
    on: watch::Sender<bool>,
    /// The interfaces that it works on. A leaf lock.
    interfaces: Mutex<Vec<String>>,
}

impl Default for Lsd {
    fn default() -> Lsd {
        Lsd::new(0)
    }
}

impl Lsd {
    /// Off, without torrents. `seed` is of its random decisions.
    pub fn new(seed: u64) -> Lsd {
        Lsd {
            announcer: Mutex::new(Announcer::new(seed)),
            sooner: Notify::new(),
            on: watch::Sender::new(false),
            interfaces: Mutex::default(),
        }
    }

    /// Turns it on or off. While it is off nothing is open.
    pub fn switch(&self, on: bool) {
        self.on.send_if_modified(|before| std::mem::replace(before, on) != on);
    }

    /// Neighbours may know of a torrent from now on.
    pub fn join(&self, now: Time, hashes: &InfoHashes, needs_peers: bool) {
        let mut announcer = self.announcer();
        hashes.wire().for_each(|hash| announcer.join(now, hash, needs_peers));
        drop(announcer);
        self.sooner.notify_one();
    }

    /// They hear of it no longer.
    pub fn leave(&self, hashes: &InfoHashes) {
        let mut announcer = self.announcer();
        hashes.wire().for_each(|hash| announcer.leave(hash));
    }

    /// How it stands.
    pub fn shown(&self) -> LocalDiscovery {
        let interfaces = self.interfaces.lock().unwrap_or_else(PoisonError::into_inner).clone();
        LocalDiscovery { on: *self.on.borrow(), interfaces }
    }

    /// Whether the torrent is one of ours that neighbours may know of; see [`Announcer::heard`].
    fn heard(&self, now: Time, hash: WireHash, from: SocketAddr, dialled: bool) -> bool {
        let ours = self.announcer().heard(now, hash, from, dialled);
        if ours {
            self.sooner.notify_one();
        }
        ours
    }

    fn announcer(&self) -> MutexGuard<'_, Announcer> {
        // Its state is right after every call.
        self.announcer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs it, while it is on, until `stopping`.
pub async fn run(engine: Arc<Engine>, stopping: CancellationToken) {
    let mut on = engine.lsd.on.subscribe();
    loop {
        tokio::select! {
            () = stopping.cancelled() => return,
            _ = on.wait_for(|on| *on) => {}
        }
        let Ok(mut links) = Links::new(&engine).inspect_err(|error| tracing::error!(%error, "not started"))
        else {
            return;
        };
        tokio::select! {
            () = stopping.cancelled() => {}
            _ = on.wait_for(|on| !*on) => {}
            () = links.run() => {}
        }
        links.end().await;
    }
}

/// Which membership: of which group, over which interface, from which address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    name: String,
    index: u32,
    source: IpAddr,
}

impl Key {
    fn family(&self) -> &'static str {
        if self.source.is_ipv4() { "IPv4" } else { "IPv6" }
    }
}

/// The links that there are.
struct Links {
    engine: Arc<Engine>,
    hearing: Arc<Hearing>,
    members: BTreeMap<Key, Member>,
    /// Those that could not be joined, as was said.
    failed: BTreeSet<Key>,
    /// What hears the neighbours.
    tasks: JoinSet<()>,
}

impl Links {
    fn new(engine: &Arc<Engine>) -> std::io::Result<Links> {
        let cookie = format!("{:016x}", u64::from_le_bytes(random::bytes()?));
        Ok(Links {
            engine: engine.clone(),
            hearing: Arc::new(Hearing { engine: engine.clone(), cookie }),
            members: BTreeMap::new(),
            failed: BTreeSet::new(),
            tasks: JoinSet::new(),
        })
    }

    async fn run(&mut self) {
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let engine = self.engine.clone();
        loop {
            // Without a port nobody could connect: then we only hear of others.
            let speaks = engine.port != 0 && !self.members.is_empty();
            let due = if speaks { engine.lsd.announcer().poll_timeout() } else { None };
            let timer = async {
                match due {
                    Some(at) => tokio::time::sleep_until(engine.clock.instant(at)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = look.tick() => self.look(),
                () = engine.lsd.sooner.notified() => {}
                () = timer => self.announce(),
                Some(_ended) = self.tasks.join_next() => {}
            }
        }
    }

    /// Closes everything.
    async fn end(mut self) {
        self.members.clear();
        while self.tasks.join_next().await.is_some() {}
        self.show();
    }

    /// Leaves what is gone, joins what has come.
    fn look(&mut self) {
        let links = match links::links() {
            Ok(links) => links,
            Err(error) => {
                return tracing::warn!(%error, "network interfaces can't be listed; they are taken to be the same");
            }
        };
        let wanted = wanted(&links, |name, ips, v4| self.engine.outlet.source_on(name, ips, v4));
        self.failed.retain(|key| wanted.contains_key(key));
        let gone: Vec<Key> = self.members.keys().filter(|key| !wanted.contains_key(key)).cloned().collect();
        for key in &gone {
            self.members.remove(key);
            tracing::info!(interface = key.name, family = key.family(), "left the local network");
        }
        let mut news = false;
        for (key, link) in wanted {
            // Its other addresses may have changed, which say who is a neighbour.
            if self.members.get(&key).is_some_and(|member| member.link == *link) {
                continue;
            }
            news |= self.members.remove(&key).is_none();
            self.join(key, link);
        }
        if news {
            self.engine.lsd.announcer().announce_all(self.engine.clock.now());
        }
        self.show();
    }

    fn join(&mut self, key: Key, link: &Link) {
        let group = if key.source.is_ipv4() { GROUP_V4 } else { GROUP_V6 };
        let (interface, family) = (&key.name, key.family());
        match self.engine.outlet.group(group, &key.name, key.index, key.source) {
            Ok(sockets) => {
                tracing::info!(interface, family, "looking for peers in the local network");
                let (member, hearing) = Member::new(link.clone(), group, sockets, self.hearing.clone());
                self.tasks.spawn(hearing);
                self.failed.remove(&key);
                self.members.insert(key, member);
            }
            // It is tried again at each look.
            Err(error) if self.failed.insert(key.clone()) => {
                tracing::warn!(
                    interface, family, %error,
                    "no local discovery there, until it is possible; does another program keep UDP port 6771 to itself?"
                );
            }
            Err(_) => {}
        }
    }

    /// Says what is due on every link.
    fn announce(&mut self) {
        let Some(port) = NonZeroU16::new(self.engine.port) else { return };
        let hashes = self.engine.lsd.announcer().take(self.engine.clock.now());
        if hashes.is_empty() {
            return;
        }
        let announcement = Announcement { port, hashes, cookie: &self.hearing.cookie };
        for member in self.members.values_mut() {
            if member.send(&announcement) {
                self.engine.counters.lsd.sent.one_more();
            }
        }
    }

    fn show(&self) {
        let mut names: Vec<String> = self.members.keys().map(|key| key.name.clone()).collect();
        names.dedup();
        *self.engine.lsd.interfaces.lock().unwrap_or_else(PoisonError::into_inner) = names;
    }
}

/// What is to be joined on these links, where `source` says by which address of theirs, for each family.
fn wanted(
    links: &[Link],
    source: impl Fn(&str, Vec<IpAddr>, bool) -> Option<IpAddr>,
) -> BTreeMap<Key, &Link> {
    let mut wanted = BTreeMap::new();
    for link in links {
        for v4 in [true, false] {
            let ips = link.addresses.iter().map(|(ip, _)| *ip).collect();
            if let Some(source) = source(&link.name, ips, v4) {
                let key = Key { name: link.name.clone(), index: link.index, source };
                wanted.insert(key, link);
            }
        }
    }
    wanted
}

#[cfg(test)]
mod tests;
