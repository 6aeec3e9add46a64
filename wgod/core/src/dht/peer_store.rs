//! The peers that were announced to us (BEP 5), counted as BEP 33 wants it and sampled as BEP 51 does.
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use wgo_proto::WireHash;
use wgo_proto::compact::Family;
use wgo_proto::krpc::BloomFilter;

use super::address::{Host, host};
use crate::Time;

/// Peers announce every 15 to 30 minutes; whoever doesn't has left.
const EXPIRY: Duration = Duration::from_secs(30 * 60);

/// Torrents at most. A node of the public DHT is close to a few thousand.
const MAX_TORRENTS: usize = 8192;

/// Peers at most, of all torrents: 88 bytes each, so 3 MiB.
const MAX_PEERS: usize = 32_768;

/// Peers of one torrent. A response has room for a tenth of them, and more would displace other torrents'. Then
/// no token is given any more to newcomers (BEP 33), until some expire.
const MAX_OF_TORRENT: usize = 500;

/// Torrents that one host can be a peer of: nobody fills the store by himself. A client has thousands of torrents,
/// but few of them are close to one node.
const MAX_OF_HOST: u16 = 1000;

/// When there is no room, so many torrents are looked at and the one with the fewest peers goes.
const CONTENDERS: usize = 8;

/// Info-hashes in one sample (BEP 51).
const SAMPLE: usize = 20;

/// A sample stays the same for so long, so that asking again is of no use (BEP 51).
pub(super) const SAMPLE_INTERVAL: Duration = Duration::from_secs(60 * 60);

#[derive(Clone, Debug)]
struct Peer {
    host: Host,
    addr: SocketAddr,
    seed: bool,
    at: Time,
}

/// All torrents that have peers.
#[derive(Debug, Default)]
pub(super) struct PeerStore {
    /// At most [`MAX_TORRENTS`]; the peers by host (BEP 33), at least one, at most [`MAX_OF_TORRENT`].
    torrents: BTreeMap<WireHash, Vec<Peer>>,
    /// At most [`MAX_PEERS`].
    total: usize,
    /// In how many torrents a host is.
    of_host: BTreeMap<Host, u16>,
    sample: Vec<u8>,
    sampled_at: Option<Time>,
}

impl PeerStore {
    pub(super) fn torrents(&self) -> usize {
        self.torrents.len()
    }

    pub(super) fn peers(&self) -> usize {
        self.total
    }

    /// Whether an announce of this address would be taken: only then a token is of use.
    pub(super) fn accepts(&self, info_hash: WireHash, addr: SocketAddr) -> bool {
        let host = host(addr);
        let Some(peers) = self.torrents.get(&info_hash) else { return self.has_quota(host) };
        peers.binary_search_by_key(&host, |peer| peer.host).is_ok()
            || peers.len() < MAX_OF_TORRENT && self.has_quota(host)
    }

    /// An announce with a token that is right. `false` when there is no room for it.
    pub(super) fn announce(
        &mut self,
        now: Time,
        info_hash: WireHash,
        (addr, seed): (SocketAddr, bool),
        rng: &mut fastrand::Rng,
    ) -> bool {
        if !self.accepts(info_hash, addr) {
            return false;
        }
        let peer = Peer { host: host(addr), addr, seed, at: now };
        let found = |peers: &Vec<Peer>| peers.binary_search_by_key(&peer.host, |known| known.host);
        if let Some(peers) = self.torrents.get_mut(&info_hash)
            && let Ok(at) = found(peers)
        {
            peers[at] = peer;
            return true;
        }
        self.make_room(info_hash, rng);
        let peers = self.torrents.entry(info_hash).or_default();
        let Err(at) = found(peers) else { return true };
        *self.of_host.entry(peer.host).or_default() += 1;
        peers.insert(at, peer);
        self.total += 1;
        true
    }

    /// Up to `max` peers of a family, a random choice; `noseed` leaves out seeds (BEP 33).
    pub(super) fn choose(
        &self,
        info_hash: WireHash,
        family: Family,
        noseed: bool,
        max: usize,
        rng: &mut fastrand::Rng,
    ) -> Vec<SocketAddr> {
        let peers = self.torrents.get(&info_hash).into_iter().flatten();
        let mut fit: Vec<SocketAddr> = peers
            .filter(|peer| Family::of(&peer.addr) == family && !(noseed && peer.seed))
            .map(|peer| peer.addr)
            .collect();
        let max = max.min(fit.len());
        for at in 0..max {
            let other = rng.usize(at..fit.len());
            fit.swap(at, other);
        }
        fit.truncate(max);
        fit
    }

    /// Filters of a torrent's seeds and of its other peers (BEP 33), if it has any.
    pub(super) fn scrape(&self, info_hash: WireHash) -> Option<(BloomFilter, BloomFilter)> {
        let peers = self.torrents.get(&info_hash)?;
        let mut filters = (BloomFilter::default(), BloomFilter::default());
        for peer in peers {
            let filter = if peer.seed { &mut filters.0 } else { &mut filters.1 };
            filter.insert(peer.addr.ip());
        }
        Some(filters)
    }

    /// Some of the info-hashes, 20 bytes each (BEP 51), and after how long there will be others. When all fit,
    /// they are all there, and new ones at once.
    pub(super) fn sample(&mut self, now: Time, rng: &mut fastrand::Rng) -> (&[u8], Duration) {
        if self.torrents.len() <= SAMPLE {
            self.sample = self.torrents.keys().flat_map(|hash| hash.0).collect();
            self.sampled_at = None;
            return (&self.sample, Duration::ZERO);
        }
        let age = self.sampled_at.map(|at| now.since(at)).filter(|age| *age < SAMPLE_INTERVAL);
        if let Some(age) = age {
            return (&self.sample, SAMPLE_INTERVAL.saturating_sub(age));
        }
        let mut chosen: Vec<WireHash> = Vec::with_capacity(SAMPLE);
        for (seen, hash) in self.torrents.keys().enumerate() {
            match rng.usize(..=seen) {
                _ if chosen.len() < SAMPLE => chosen.push(*hash),
                at if at < SAMPLE => chosen[at] = *hash,
                _ => {}
            }
        }
        self.sample = chosen.into_iter().flat_map(|hash| hash.0).collect();
        self.sampled_at = Some(now);
        (&self.sample, SAMPLE_INTERVAL)
    }

    /// Drops peers that have not announced again. To be called every minute or so.
    pub(super) fn expire(&mut self, now: Time) {
        let (of_host, total) = (&mut self.of_host, &mut self.total);
        self.torrents.retain(|_, peers| {
            peers.retain(|peer| {
                let stays = now < peer.at + EXPIRY;
                if !stays {
                    forget(of_host, peer.host);
                    *total -= 1;
                }
                stays
            });
            peers.shrink_to(peers.len() * 2);
            !peers.is_empty()
        });
    }

    fn has_quota(&self, host: Host) -> bool {
        self.of_host.get(&host).is_none_or(|count| *count < MAX_OF_HOST)
    }

    /// Makes room for one more peer of a torrent.
    fn make_room(&mut self, info_hash: WireHash, rng: &mut fastrand::Rng) {
        let is_new = !self.torrents.contains_key(&info_hash);
        while self.total >= MAX_PEERS || is_new && self.torrents.len() >= MAX_TORRENTS {
            let mut contenders: Vec<(usize, WireHash)> = Vec::with_capacity(CONTENDERS);
            for _ in 0..CONTENDERS {
                let from = WireHash(std::array::from_fn(|_| rng.u8(..)));
                let next =
                    self.torrents.range(from..).chain(&self.torrents).find(|(hash, _)| **hash != info_hash);
                contenders.extend(next.map(|(hash, peers)| (peers.len(), *hash)));
            }
            let Some((_, least)) = contenders.into_iter().min() else { return };
            for peer in self.torrents.remove(&least).unwrap_or_default() {
                forget(&mut self.of_host, peer.host);
                self.total -= 1;
            }
        }
    }

    /// Panics when the state contradicts itself. For tests and simulations.
    pub(super) fn check_invariants(&self) {
        assert!(self.torrents.len() <= MAX_TORRENTS && self.total <= MAX_PEERS);
        assert!(self.sample.len() <= SAMPLE * 20);
        let mut of_host: BTreeMap<Host, u16> = BTreeMap::new();
        for peers in self.torrents.values() {
            assert!((1..=MAX_OF_TORRENT).contains(&peers.len()));
            assert!(peers.is_sorted_by(|a, b| a.host < b.host));
            peers.iter().for_each(|peer| *of_host.entry(peer.host).or_default() += 1);
        }
        assert_eq!(self.total, self.torrents.values().map(Vec::len).sum::<usize>());
        assert!(of_host.values().all(|count| *count <= MAX_OF_HOST));
        assert_eq!(of_host, self.of_host);
    }
}

fn forget(of_host: &mut BTreeMap<Host, u16>, host: Host) {
    if let Some(count) = of_host.get_mut(&host) {
        *count -= 1;
        if *count == 0 {
            of_host.remove(&host);
        }
    }
}

#[cfg(test)]
mod tests;
