//! What is simulated, and what must come of it.
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use wgo_core::dht::{Announce, LookupId, PeersWanted, secure_id_of};
use wgo_proto::krpc::Contact;
use wgo_proto::{NodeId, WireHash};

use super::net::{Net, Weather};
use super::sybil::{Gang, Sybil};
use crate::scenarios::chosen_seeds;

/// Loss of one datagram in twenty, nodes that can't be reached, no churn.
const FAIR: Weather = Weather { loss: 50, churn_every: None, read_only: 15 };

const ANNOUNCED: PeersWanted =
    PeersWanted { announce: Some(Announce { port: Some(6868), seed: false }), noseed: false, scrape: false };

/// As many nodes as the environment says, else `default`.
fn nodes(default: usize) -> usize {
    std::env::var("WGOD_SIM_NODES")
        .map_or(default, |count| count.parse().expect("WGOD_SIM_NODES is a number"))
}

fn seeds(name: &str, count: u64, scenario: impl Fn(u64)) {
    for seed in chosen_seeds(count) {
        eprintln!("seed {seed}; to replay: WGOD_SIM_SEED={seed} cargo test -p wgo-tests --test sim {name}");
        scenario(seed);
    }
}

/// In half an hour, as long as an announce lasts, every third node is replaced by another.
fn churn(count: usize) -> Duration {
    Duration::from_secs(30 * 60 * 3) / count as u32
}

fn any_hash(net: &mut Net) -> WireHash {
    WireHash(std::array::from_fn(|_| net.rng.u8(..)))
}

/// A torrent and where its peer was announced.
struct Announced {
    hash: WireHash,
    peer: SocketAddr,
}

/// Has random nodes announce torrents, and waits for the end of it.
fn announce(net: &mut Net, hashes: Vec<WireHash>) -> Vec<Announced> {
    let begun: Vec<_> = hashes
        .into_iter()
        .map(|hash| {
            let by = net.anybody();
            (hash, by, net.get_peers(by, hash, ANNOUNCED))
        })
        .collect();
    net.run_for(Duration::from_secs(60));
    let stored: u32 =
        begun.iter().filter_map(|(_, by, id)| net.done.get(&(*by, *id))).map(|o| o.stored).sum();
    eprintln!(
        "  announced {} torrents at {:.1} nodes each",
        begun.len(),
        f64::from(stored) / begun.len() as f64
    );
    begun.into_iter().map(|(hash, by, _)| Announced { hash, peer: SocketAddr::new(by.ip(), 6868) }).collect()
}

/// Has random nodes look for each torrent; prints what that took, and returns how many of a hundred found the peer.
fn look(net: &mut Net, what: &str, announced: &[Announced], times: usize) -> f64 {
    let mut begun: Vec<(SocketAddr, LookupId, SocketAddr)> = Vec::new();
    for torrent in announced {
        for _ in 0..times {
            let by = net.anybody();
            begun.push((by, net.get_peers(by, torrent.hash, PeersWanted::default()), torrent.peer));
        }
        net.run_for(Duration::from_secs(1));
    }
    net.run_for(Duration::from_secs(60));
    let mut found = 0;
    let (mut asked, mut took, mut ended) = (0, Duration::ZERO, 0);
    // Whoever left while it looked doesn't count.
    begun.retain(|(by, ..)| net.dht(*by).is_some());
    for (by, id, peer) in &begun {
        found += u32::from(net.found.get(&(*by, *id)).is_some_and(|found| found.contains(peer)));
        let Some(outcome) = net.done.get(&(*by, *id)) else { continue };
        ended += 1;
        asked += outcome.asked;
        took += outcome.took;
    }
    assert_eq!(ended, begun.len(), "every lookup ends within a minute");
    let count = begun.len() as f64;
    let share = f64::from(found) * 100.0 / count;
    eprintln!(
        "  {what}: {share:.1} % of {count} lookups found the peer; {:.1} queries and {:.2} s each",
        f64::from(asked) / count,
        took.as_secs_f64() / count
    );
    share
}

fn report(net: &Net) {
    let known: Vec<_> =
        net.honest().iter().filter_map(|addr| net.dht(*addr)).map(|d| d.stats().nodes_v4).collect();
    let mean = known.iter().sum::<usize>() as f64 / known.len() as f64;
    eprintln!(
        "  {:?}: {} nodes, {mean:.0} in the mean table ({} to {}), {} datagrams, {} lost",
        net.now.since_start(),
        known.len(),
        known.iter().min().unwrap_or(&0),
        known.iter().max().unwrap_or(&0),
        net.datagrams,
        net.lost
    );
}

#[test]
fn peers_are_found_among_thousands_of_nodes_that_come_and_go() {
    seeds("peers_are_found_among_thousands_of_nodes_that_come_and_go", 1, |seed| {
        let count = nodes(2000);
        let mut net = Net::new(seed, count, Weather { churn_every: Some(churn(count)), ..FAIR });
        net.run_for(Duration::from_secs(180));
        report(&net);
        let hashes = (0..20).map(|_| any_hash(&mut net)).collect();
        let announced = announce(&mut net, hashes);
        let fresh = look(&mut net, "at once", &announced, 5);
        net.run_for(Duration::from_secs(15 * 60));
        let later = look(&mut net, "after 15 minutes", &announced, 5);
        report(&net);
        assert!(fresh >= 98.0 && later >= 95.0, "{fresh} % at once, {later} % later");
    });
}

/// Half of the attacker's nodes have ids that fit their addresses: the best that he found for each, in networks of
/// 8. The others are each somewhere else, with ids that he chose freely. He has a sixth of all nodes, and his stay.
#[test]
fn peers_are_found_although_a_sixth_of_all_nodes_lies_around_the_torrent_and_lies() {
    seeds("peers_are_found_although_a_sixth_of_all_nodes_lies_around_the_torrent_and_lies", 1, |seed| {
        let count = nodes(1000);
        let mut net = Net::new(seed, count, Weather { churn_every: Some(churn(count)), ..FAIR });
        net.run_for(Duration::from_secs(120));
        let hash = any_hash(&mut net);
        let target = NodeId::from(hash);
        let mut members = Vec::new();
        for number in 0..count / 5 {
            let network = net.free_addr();
            for _ in 0..if number % 16 == 0 { 8 } else { 0 } {
                let IpAddr::V4(v4) = network.ip() else { continue };
                let [a, b, c, _] = v4.octets();
                let addr = SocketAddr::from(([a, b, c, net.rng.u8(1..255)], 6881));
                let ids = (0..64).map(|_| secure_id_of(addr.ip(), &mut net.rng));
                let id = ids.min_by_key(|id| id.distance(target)).expect("64 are tried");
                members.push(Contact { id, addr });
            }
            if number % 2 == 0 {
                let mut id = target;
                id.0[18..].copy_from_slice(&(number as u16).to_be_bytes());
                members.push(Contact { id, addr: network });
            }
        }
        members.sort_by_key(|contact| contact.id.distance(target));
        let gang = Rc::new(Gang { members: members.clone(), victims: net.honest() });
        for own in members {
            net.add_sybil(own.addr, Sybil::new(own, target, Rc::clone(&gang)));
        }
        net.run_for(Duration::from_secs(120));
        report(&net);
        let others = (0..10).map(|_| any_hash(&mut net)).collect();
        let attacked = announce(&mut net, vec![hash; 10]);
        let untouched = announce(&mut net, others);
        let attacked = look(&mut net, "the torrent that is attacked", &attacked, 10);
        let untouched = look(&mut net, "others", &untouched, 5);
        assert!(
            attacked >= 90.0 && untouched >= 95.0,
            "{attacked} % of the attacked, {untouched} % of others"
        );
    });
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = |seed| {
        let weather = Weather { churn_every: Some(Duration::from_secs(3)), ..FAIR };
        let mut net = Net::new(seed, 100, weather);
        net.run_for(Duration::from_secs(120));
        let hash = any_hash(&mut net);
        announce(&mut net, vec![hash; 3]);
        (net.trace, net.datagrams)
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}
