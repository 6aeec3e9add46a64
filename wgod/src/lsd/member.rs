//! One link by one address family: what is sent there, and what is made of what comes.
use std::net::{SocketAddr, UdpSocket as Sender};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use wgo_core::peer_mgr::Source;
use wgo_proto::lsd::{Announcement, MAX_DATAGRAM};

use super::links::Link;
use crate::engine::Engine;
use crate::outlet::Group;

/// Datagrams of a link that are looked at in a second; the kernel drops what is beyond that and its buffer. A
/// hundred clients that each say as much as we do are below it.
const MAX_HEARD: u32 = 100;
/// Failures in a row to send that are worth a word: a new IPv6 address isn't in use for the first second or two.
const WORTH_SAYING: u32 = 5;

/// A membership; its task ends when this is dropped.
pub(super) struct Member {
    pub(super) link: Link,
    group: SocketAddr,
    sender: Sender,
    failures: u32,
    _stop: DropGuard,
}

/// What those who hear share.
pub(super) struct Hearing {
    pub(super) engine: Arc<Engine>,
    /// What our own announcements are known by.
    pub(super) cookie: String,
}

impl Member {
    /// A membership, and the task that hears the neighbours.
    pub(super) fn new(
        link: Link,
        group: SocketAddr,
        sockets: Group,
        hearing: Arc<Hearing>,
    ) -> (Member, impl Future<Output = ()> + Send + 'static) {
        let stop = CancellationToken::new();
        let (stopped, heard_on) = (stop.clone(), link.clone());
        let hear = async move {
            tokio::select! {
                () = stopped.cancelled() => {}
                () = hear(&hearing, &heard_on, sockets.receiver) => {}
            }
        };
        let member = Member { link, group, sender: sockets.sender, failures: 0, _stop: stop.drop_guard() };
        (member, hear)
    }

    /// Sends it, if the link takes it now.
    pub(super) fn send(&mut self, announcement: &Announcement<'_>) -> bool {
        match self.sender.send_to(&announcement.encode(self.group), self.group) {
            Ok(_) => self.failures = 0,
            Err(error) => {
                self.failures += 1;
                let (interface, group) = (&self.link.name, self.group);
                if self.failures == WORTH_SAYING {
                    tracing::warn!(interface, %group, %error, "announcements to the local network fail: is it a firewall?");
                } else {
                    tracing::debug!(interface, %group, %error, "announcement not sent");
                }
            }
        }
        self.failures == 0
    }
}

async fn hear(hearing: &Hearing, link: &Link, receiver: UdpSocket) {
    // A byte more, by which what is too long is known.
    let mut datagram = [0; MAX_DATAGRAM + 1];
    let (mut begun, mut heard) = (Instant::now(), 0);
    loop {
        // Errors are of a link that goes, which is noticed elsewhere.
        if let Ok((len, from)) = receiver.recv_from(&mut datagram).await {
            hearing.heed(link, from, &datagram[..len]);
        }
        heard += 1;
        let second = begun + Duration::from_secs(1);
        if heard >= MAX_HEARD {
            tokio::time::sleep_until(second).await;
        }
        if Instant::now() >= second {
            (begun, heard) = (Instant::now(), 0);
        }
    }
}

impl Hearing {
    /// What came from `from` over `link`.
    pub(super) fn heed(&self, link: &Link, from: SocketAddr, datagram: &[u8]) {
        let counters = &self.engine.counters.lsd;
        if !link.may_have(from.ip()) {
            tracing::trace!(%from, interface = link.name, "not a neighbour");
            return counters.foreign.one_more();
        }
        let announcement = match Announcement::parse(datagram) {
            Ok(announcement) => announcement,
            Err(why) => {
                tracing::trace!(%from, interface = link.name, %why, "not an announcement");
                return counters.malformed.one_more();
            }
        };
        if announcement.cookie == self.cookie {
            return;
        }
        // Whoever is on a link has the scope of that in an address of the link alone.
        let mut addr = from;
        addr.set_port(announcement.port.get());
        let mut any = false;
        for hash in announcement.hashes {
            let live = self.engine.registry.find(&hash).and_then(|id| self.engine.registry.live(id));
            if !self.engine.lsd.heard(self.engine.clock.now(), hash, addr, live.is_some()) {
                continue;
            }
            any = true;
            // One that sleeps wants nothing; it is announced, and whoever wants it comes.
            let Some(torrent) = live else {
                tracing::debug!(%addr, interface = link.name, info_hash = %hash, "a neighbour has one that sleeps");
                continue;
            };
            torrent.span.in_scope(|| tracing::debug!(%addr, interface = link.name, "a neighbour has it"));
            self.engine.call(&torrent, |swarm, now| swarm.add_candidates(now, [addr], Source::Lsd));
        }
        if any {
            counters.heard.one_more();
        }
    }
}
