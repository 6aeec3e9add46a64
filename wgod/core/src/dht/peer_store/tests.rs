//! Tests of the store of peers.
use super::*;

fn mins(mins: u64) -> Time {
    Time::from_start(Duration::from_secs(mins * 60))
}

fn hash(n: u32) -> WireHash {
    WireHash(std::array::from_fn(|i| (n.wrapping_mul(2_654_435_761) >> (i % 4 * 8)) as u8 ^ i as u8))
}

fn peer(n: u32) -> SocketAddr {
    SocketAddr::from(((0x1400_0000 + n).to_be_bytes(), 6881))
}

struct Rig(PeerStore, fastrand::Rng);

impl Rig {
    fn new() -> Rig {
        Rig(PeerStore::default(), fastrand::Rng::with_seed(1))
    }

    fn announce(&mut self, at: u64, torrent: u32, addr: SocketAddr, seed: bool) -> bool {
        self.0.announce(mins(at), hash(torrent), (addr, seed), &mut self.1)
    }

    fn choose(&mut self, torrent: u32, noseed: bool, max: usize) -> Vec<SocketAddr> {
        self.0.choose(hash(torrent), Family::V4, noseed, max, &mut self.1)
    }
}

#[test]
fn a_peer_is_there_for_half_an_hour_after_its_last_announce() {
    let mut rig = Rig::new();
    rig.announce(0, 1, peer(1), false);
    rig.announce(0, 1, peer(2), false);
    rig.announce(20, 1, SocketAddr::new(peer(1).ip(), 7), true);
    for (at, count) in [(29, 2), (30, 1), (49, 1), (50, 0)] {
        rig.0.expire(mins(at));
        rig.0.check_invariants();
        assert_eq!(rig.choose(1, false, 9).len(), count, "after {at} minutes");
    }
    assert_eq!((rig.0.torrents(), rig.0.peers(), rig.0.of_host.len()), (0, 0, 0));
}

#[test]
fn one_host_is_one_peer_whose_port_and_state_may_change() {
    let mut rig = Rig::new();
    rig.announce(0, 1, peer(1), false);
    rig.announce(0, 1, SocketAddr::new(peer(1).ip(), 7), true);
    assert_eq!(rig.choose(1, false, 9), [SocketAddr::new(peer(1).ip(), 7)]);
    assert!(rig.choose(1, true, 9).is_empty(), "it is a seed now");
    let six = "[2001:470::1]:5".parse().unwrap();
    rig.announce(0, 1, six, false);
    assert_eq!(rig.0.choose(hash(1), Family::V6, false, 9, &mut rig.1), [six]);
    let (seeds, peers) = rig.0.scrape(hash(1)).unwrap();
    assert!(
        seeds.may_contain(peer(1).ip()) && !peers.may_contain(peer(1).ip()) && peers.may_contain(six.ip())
    );
    assert!(rig.0.scrape(hash(2)).is_none());
}

#[test]
fn peers_are_chosen_at_random_and_none_twice() {
    let mut rig = Rig::new();
    (0..100).for_each(|n| _ = rig.announce(0, 1, peer(n), false));
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..50 {
        let mut chosen = rig.choose(1, false, 10);
        seen.extend(chosen.clone());
        chosen.sort();
        chosen.dedup();
        assert_eq!(chosen.len(), 10);
    }
    assert!(seen.len() > 90, "{}", seen.len());
}

#[test]
fn a_full_torrent_takes_only_those_it_knows() {
    let mut rig = Rig::new();
    assert!((0..MAX_OF_TORRENT as u32).all(|n| rig.announce(0, 1, peer(n), false)));
    assert!(!rig.0.accepts(hash(1), peer(9999)) && !rig.announce(0, 1, peer(9999), false));
    assert!(rig.announce(10, 1, peer(3), true));
    rig.0.check_invariants();
}

#[test]
fn one_host_cannot_fill_the_store() {
    let mut rig = Rig::new();
    let taken = (0..5000).filter(|n| rig.announce(0, *n, peer(1), false)).count();
    assert_eq!(taken, usize::from(MAX_OF_HOST));
    assert!(rig.announce(0, 4999, peer(2), false));
    rig.0.check_invariants();
}

#[test]
fn a_hundred_thousand_announces_take_bounded_room_and_small_torrents_give_way() {
    let mut rig = Rig::new();
    (0..400).for_each(|n| _ = rig.announce(0, 7, peer(n), false));
    for n in 0..100_000 {
        assert!(rig.announce(0, n % 30_000 + 100, peer(n + 1000), false));
    }
    rig.0.check_invariants();
    assert!(rig.0.torrents() <= MAX_TORRENTS && rig.0.peers() <= MAX_PEERS);
    assert_eq!(rig.choose(7, false, 1000).len(), 400, "the swarm that many are in survives");
}

#[test]
fn a_sample_is_all_of_few_torrents_and_a_lasting_choice_of_many() {
    let mut rig = Rig::new();
    assert_eq!(rig.0.sample(mins(0), &mut rig.1), (&b""[..], Duration::ZERO));
    (0..20).for_each(|n| _ = rig.announce(0, n, peer(n), false));
    let (all, wait) = rig.0.sample(mins(0), &mut rig.1);
    assert_eq!((all.len(), wait), (400, Duration::ZERO));
    (20..200).for_each(|n| _ = rig.announce(0, n, peer(n), false));
    let first = rig.0.sample(mins(1), &mut rig.1).0.to_vec();
    assert_eq!(first.len(), 400);
    assert_eq!(rig.0.sample(mins(31), &mut rig.1), (&first[..], SAMPLE_INTERVAL / 2));
    assert_ne!(rig.0.sample(mins(61), &mut rig.1).0, first);
}
