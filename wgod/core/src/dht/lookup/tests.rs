//! Tests of a lookup, against a network that answers at once.
use super::*;
use crate::dht::secure_id::{random_id, secure_id};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Nodes by address, each of which knows all others.
struct Net {
    nodes: BTreeMap<SocketAddr, NodeId>,
    rng: fastrand::Rng,
}

impl Net {
    fn new(seed: u64) -> Net {
        Net { nodes: BTreeMap::new(), rng: fastrand::Rng::with_seed(seed) }
    }

    fn honest(&mut self, count: u32) {
        for n in 0..count {
            let addr = SocketAddr::from(((0x1400_0000 + n * 1021).to_be_bytes(), 6881));
            self.nodes.insert(addr, secure_id(addr.ip(), &mut self.rng));
        }
    }

    fn closest(&self, target: NodeId, count: usize, of: impl Fn(SocketAddr) -> bool) -> Vec<Contact> {
        let mut all: Vec<_> = self.nodes.iter().map(|(addr, id)| Contact { id: *id, addr: *addr }).collect();
        all.retain(|contact| of(contact.addr));
        all.sort_by_key(|contact| contact.id.distance(target));
        all.truncate(count);
        all
    }

    /// Runs a lookup. Nodes for which `liar` says so name what it says.
    fn run(&self, lookup: &mut Lookup, liar: impl Fn(SocketAddr) -> Option<Vec<Contact>>) {
        while let Some(addr) = lookup.next() {
            lookup.check_invariants();
            let Some(id) = self.nodes.get(&addr) else {
                lookup.on_late(addr);
                assert!(lookup.answers() >= K as u32 || !lookup.is_settled(), "it may still answer");
                lookup.on_failure(addr);
                continue;
            };
            lookup.on_answer(addr, *id, Some(b"token"));
            let honest = || self.closest(lookup.target(), K, |addr| liar(addr).is_none());
            let named = liar(addr).unwrap_or_else(honest);
            lookup.named(addr, named.into_iter());
            lookup.check_invariants();
        }
        assert!(lookup.is_settled());
    }
}

#[test]
fn the_closest_nodes_are_found_and_take_the_announce() {
    let mut net = Net::new(1);
    net.honest(500);
    let target = random_id(&mut net.rng);
    let mut lookup = Lookup::new(target, false);
    net.nodes.iter().take(8).for_each(|(addr, id)| lookup.seed(*addr, Some(*id)));
    net.run(&mut lookup, |_| None);
    let found: Vec<_> = lookup.storers().iter().map(|storer| storer.addr).collect();
    let expected: Vec<_> = net.closest(target, K, |_| true).iter().map(|contact| contact.addr).collect();
    assert_eq!(found, expected);
    assert!(lookup.requests() < 40, "{}", lookup.requests());
}

#[test]
fn a_lookup_that_knows_only_an_address_begins_there() {
    let mut net = Net::new(2);
    net.honest(50);
    let target = random_id(&mut net.rng);
    let mut lookup = Lookup::new(target, true);
    lookup.seed(*net.nodes.keys().next().unwrap(), None);
    lookup.seed("99.9.9.9:9".parse().unwrap(), None);
    net.run(&mut lookup, |_| None);
    assert_eq!(lookup.storers().len(), K);
}

#[test]
fn nodes_that_chose_their_ids_do_not_keep_a_lookup_from_the_others() {
    let mut net = Net::new(3);
    net.honest(300);
    let target = random_id(&mut net.rng);
    let sybil = |addr: SocketAddr| addr.ip().to_string().starts_with("66.");
    for n in 0..200u8 {
        let mut id = target;
        id.0[19] ^= n;
        net.nodes.insert(SocketAddr::from(([66, n, 1, 1], 1)), id);
    }
    let mut lookup = Lookup::new(target, false);
    let seeds = net.closest(target.flipped(0), 7, |addr| !sybil(addr));
    seeds.iter().for_each(|contact| lookup.seed(contact.addr, Some(contact.id)));
    lookup.seed("66.1.1.1:1".parse().unwrap(), net.nodes.get(&"66.1.1.1:1".parse().unwrap()).copied());
    let gang = net.closest(target, 20, sybil);
    net.run(&mut lookup, |addr| sybil(addr).then(|| gang.clone()));
    let honest = net.closest(target, K, |addr| !sybil(addr));
    let found: Vec<_> = lookup.storers().iter().map(|storer| storer.addr).collect();
    assert_eq!(found, honest.iter().map(|contact| contact.addr).collect::<Vec<_>>());
    assert!(lookup.insecure_requests <= MAX_INSECURE, "{}", lookup.insecure_requests);
}

/// Anybody can find addresses whose secure ids are near the target, as long as nobody need be there.
#[test]
fn a_liar_who_names_nodes_that_do_not_exist_leads_one_path_astray_only() {
    let mut net = Net::new(4);
    net.honest(300);
    let target = random_id(&mut net.rng);
    let mut rng = fastrand::Rng::with_seed(9);
    let mut fakes: Vec<Contact> = Vec::new();
    while fakes.len() < 400 {
        let addr = SocketAddr::from(([90, rng.u8(..), rng.u8(..), 1], 1));
        let id = secure_id(addr.ip(), &mut rng);
        if id.common_prefix(target) >= 8 {
            fakes.push(Contact { id, addr });
        }
    }
    let first = net.closest(target.flipped(0), 8, |_| true);
    let liar = first[0].addr;
    let mut lookup = Lookup::new(target, false);
    first.iter().for_each(|contact| lookup.seed(contact.addr, Some(contact.id)));
    let calls = std::cell::Cell::new(0);
    net.run(&mut lookup, |addr| {
        (addr == liar).then(|| {
            calls.set(calls.get() + 1);
            fakes[..20].to_vec()
        })
    });
    let honest: Vec<_> = net.closest(target, K, |addr| addr != liar).iter().map(|c| c.addr).collect();
    let found: Vec<_> = lookup.storers().iter().map(|storer| storer.addr).collect();
    assert!(honest.iter().all(|addr| found.contains(addr)), "{found:?} {honest:?}");
    assert!(calls.get() > 0 && lookup.requests() < 60, "{}", lookup.requests());
}

/// The gang has as many networks as a lookup waits for nodes, and ids that fit, nearer than anybody.
#[test]
fn a_gang_that_surrounds_the_target_does_not_end_a_lookup_before_others_were_asked() {
    let mut net = Net::new(8);
    net.honest(300);
    let target = random_id(&mut net.rng);
    let mut gang = Vec::new();
    while gang.len() < 12 {
        let addr = SocketAddr::from(([66, net.rng.u8(..), net.rng.u8(..), 1], 1));
        let id = secure_id(addr.ip(), &mut net.rng);
        if id.common_prefix(target) >= 10 {
            gang.push(Contact { id, addr });
            net.nodes.insert(addr, id);
        }
    }
    let sybil = |addr: SocketAddr| gang.iter().any(|contact| contact.addr == addr);
    let mut lookup = Lookup::new(target, false);
    gang.iter().take(8).for_each(|contact| lookup.seed(contact.addr, Some(contact.id)));
    let honest = net.closest(target.flipped(3), 16, |addr| !sybil(addr));
    honest.iter().for_each(|contact| lookup.seed(contact.addr, Some(contact.id)));
    net.run(&mut lookup, |addr| sybil(addr).then(|| gang.clone()));
    let answered = |known: &&Candidate| known.state == State::Answered && !sybil(known.addr);
    let reached = lookup.candidates.iter().filter(answered).map(|known| known.distance.leading_zeros());
    let nearest = net.closest(target, 1, |addr| !sybil(addr))[0].id.common_prefix(target);
    assert_eq!(reached.max(), Some(nearest), "the nearest of the others was asked");
}

#[test]
fn nobody_hides_a_node_by_naming_its_id_or_its_network_first() {
    let mut net = Net::new(9);
    net.honest(300);
    let target = random_id(&mut net.rng);
    let honest = net.closest(target, K, |_| true);
    let mut lookup = Lookup::new(target, false);
    let first = net.closest(target.flipped(0), K, |_| true);
    lookup.seed("66.6.6.6:6".parse().unwrap(), Some(NodeId([6; 20])));
    for (n, contact) in honest.iter().enumerate() {
        lookup.seed(SocketAddr::from(([67, n as u8, 1, 1], 1)), Some(contact.id));
        let IpAddr::V4(ip) = contact.addr.ip() else { panic!() };
        let [a, b, c, d] = ip.octets();
        for last in [d ^ 1, d ^ 2, d ^ 3] {
            let addr = SocketAddr::from(([a, b, c, last], 1));
            lookup.seed(addr, Some(secure_id(addr.ip(), &mut net.rng)));
        }
    }
    first.iter().for_each(|contact| lookup.seed(contact.addr, Some(contact.id)));
    net.run(&mut lookup, |_| None);
    let found: Vec<_> = lookup.storers().iter().map(|storer| storer.addr).collect();
    assert_eq!(found, honest.iter().map(|contact| contact.addr).collect::<Vec<_>>());
}

#[test]
fn an_old_network_without_secure_ids_still_works() {
    let mut net = Net::new(5);
    for n in 0..200u8 {
        let id = random_id(&mut net.rng);
        net.nodes.insert(SocketAddr::from(([50, n, 1, 1], 1)), id);
    }
    let target = random_id(&mut net.rng);
    let seeds = net.closest(target.flipped(0), 8, |_| true);
    let mut lax = Lookup::new(target, false);
    seeds.iter().for_each(|contact| lax.seed(contact.addr, Some(contact.id)));
    net.run(&mut lax, |_| None);
    let found: Vec<_> = lax.storers().iter().map(|storer| storer.addr).collect();
    let expected = net.closest(target, K, |_| true);
    let secure = |contact: &Contact| is_secure(contact.id, contact.addr.ip());
    assert!(expected.iter().filter(|contact| !secure(contact)).all(|contact| found.contains(&contact.addr)));
    let mut strict = Lookup::new(target, true);
    seeds.iter().filter(|c| !secure(c)).for_each(|contact| strict.seed(contact.addr, Some(contact.id)));
    assert_eq!(strict.next(), None);
}

#[test]
fn one_network_and_one_host_have_few_candidates() {
    let mut rng = fastrand::Rng::with_seed(6);
    let mut lookup = Lookup::new(random_id(&mut rng), false);
    for n in 1..=200u8 {
        lookup.seed(SocketAddr::from(([8, 8, 8, n], 1)), Some(random_id(&mut rng)));
        lookup.seed(SocketAddr::from(([9, 9, n, 9], u16::from(n))), Some(NodeId([n / 2; 20])));
        lookup.seed(SocketAddr::from(([7, 7, 7, 7], u16::from(n))), Some(random_id(&mut rng)));
    }
    lookup.check_invariants();
    let of = |prefix: &str| {
        lookup.candidates.iter().filter(|c| c.addr.ip().to_string().starts_with(prefix)).count()
    };
    assert_eq!((of("8.8."), of("7.7.")), (MAX_OF_SUBNET, 1));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_lookup_ends_whatever_the_nodes_answer(
        answers in prop::collection::vec((0u8..5, prop::collection::vec(any::<[u8; 3]>(), 0..20)), 1..300),
        seed: u64,
    ) {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut lookup = Lookup::new(random_id(&mut rng), rng.bool());
        (1..9u8).for_each(|n| lookup.seed(SocketAddr::from(([20, n, 1, 1], 1)), None));
        let mut waiting = Vec::new();
        for (what, named) in answers {
            while let Some(addr) = lookup.next() {
                waiting.push(addr);
                lookup.check_invariants();
            }
            let Some(addr) = waiting.pop() else { break };
            match what {
                0 => lookup.on_failure(addr),
                1 => {
                    lookup.on_late(addr);
                    waiting.insert(0, addr);
                }
                _ => {
                    let id = secure_id(addr.ip(), &mut rng);
                    lookup.on_answer(addr, id, None);
                    let contacts = named.iter().map(|[a, b, c]| {
                        let addr = SocketAddr::from(([a / 8 + 1, *b, *c, 1], 1));
                        Contact { id: secure_id(addr.ip(), &mut rng), addr }
                    });
                    lookup.named(addr, contacts.collect::<Vec<_>>().into_iter());
                }
            }
            lookup.check_invariants();
        }
        prop_assert!(lookup.requests() <= MAX_REQUESTS);
    }
}
