//! Who is unchoked (BEP 3), round after round, whatever peers do between: beside what a decision must have by the
//! plainest reading.
use std::collections::BTreeSet;
use std::time::Duration;

use wgo_core::choke_mgr::{
    Automatic, Candidate, ChokeKey, Decision, SeedingRule, Settings, SlotCount, Standing, Turn, fill, rank,
};
use wgo_core::{ByteRate, PeerKey, TorrentId};

use super::Reader;

const PEERS: u8 = 24;
const ROUND: Duration = Duration::from_secs(10);

/// Rounds of decisions: no more slots than there are, none for who wants nothing, none free while somebody waits,
/// and who gives more comes first.
pub(super) fn choker(data: &[u8]) {
    let mut reader = Reader::new(data);
    let rule = [SeedingRule::RoundRobin, SeedingRule::FastestUpload, SeedingRule::AntiLeech];
    let slots = match reader.byte() {
        slots @ ..192 => SlotCount::Fixed(u32::from(slots % 12)),
        _ => SlotCount::Automatic(Automatic {
            up_limit: Some(ByteRate(u64::from(reader.short()) * 100)),
            ..Automatic::default()
        }),
    };
    let optimistic = Some(u32::from(reader.byte() % 5)).filter(|count| *count < 4);
    let settings = Settings { slots, optimistic, seeding: rule[usize::from(reader.byte()) % rule.len()] };
    let mut peers: Vec<Candidate> = (0..reader.byte() % PEERS).map(|n| newcomer(n, &mut reader)).collect();
    let mut seed = 0;
    while !reader.is_empty() {
        seed += 1;
        for peer in &mut peers {
            change(peer, reader.byte());
        }
        let decision = rank(&peers, &settings, seed);
        assert_eq!(decision, rank(&peers, &settings, seed), "equal inputs give equal decisions");
        assert_sound(&peers, &settings, &decision);
        apply(&mut peers, &decision);
        let free = usize::from(reader.byte() % 4);
        let more = fill(free, &peers, &settings, seed);
        assert!(more.len() <= free && distinct(&more).len() == more.len());
        for key in more {
            let peer = peers.iter().find(|peer| peer.key == key).expect("it is one of them");
            assert!(peer.interested && matches!(peer.standing, Standing::Waiting(_)));
        }
    }
}

fn newcomer(n: u8, reader: &mut Reader<'_>) -> Candidate {
    let kind = reader.byte();
    Candidate {
        key: (TorrentId(u64::from(kind % 4)), PeerKey { slot: n.into(), generation: 0 }),
        seeding: kind % 4 >= 2,
        interested: true,
        standing: Standing::Waiting(Duration::ZERO),
        from_peer: ByteRate(0),
        to_peer: ByteRate(0),
        snubbed: false,
        newcomer: kind >= 128,
        progress_permille: u16::from(kind) * 3,
    }
}

/// What a peer does until the next round.
fn change(peer: &mut Candidate, how: u8) {
    let rate = ByteRate(u64::from(how >> 4) * 1000);
    match how % 8 {
        0 => peer.interested = !peer.interested,
        1 => peer.snubbed = !peer.snubbed,
        2..=4 => peer.from_peer = rate,
        5 | 6 => peer.to_peer = rate,
        _ => peer.newcomer = false,
    }
    let used = |turn: Turn| Turn { age: turn.age + ROUND, taken: turn.taken + rate.over(ROUND) };
    peer.standing = match peer.standing {
        Standing::Waiting(wait) => Standing::Waiting(wait + ROUND),
        Standing::Regular(turn) => Standing::Regular(used(turn)),
        Standing::Optimistic(turn) => Standing::Optimistic(used(turn)),
    };
}

fn apply(peers: &mut [Candidate], decision: &Decision) {
    for peer in peers {
        let turn = match peer.standing {
            Standing::Waiting(_) => Turn::default(),
            Standing::Regular(turn) | Standing::Optimistic(turn) => turn,
        };
        peer.standing = match peer.standing {
            _ if decision.regular.contains(&peer.key) => Standing::Regular(turn),
            _ if decision.optimistic.contains(&peer.key) => Standing::Optimistic(turn),
            Standing::Waiting(wait) => Standing::Waiting(wait),
            Standing::Regular(_) | Standing::Optimistic(_) => Standing::Waiting(Duration::ZERO),
        };
    }
}

fn distinct(keys: &[ChokeKey]) -> BTreeSet<ChokeKey> {
    keys.iter().copied().collect()
}

fn assert_sound(peers: &[Candidate], settings: &Settings, decision: &Decision) {
    let Decision { regular, optimistic, reserve, slots, trials: _ } = decision;
    if let SlotCount::Fixed(count) = settings.slots {
        assert_eq!(*slots, count);
    }
    let all = [&regular[..], optimistic, reserve].concat();
    assert_eq!(distinct(&all).len(), all.len(), "nobody has two places");
    let of = |key: &ChokeKey| peers.iter().find(|peer| peer.key == *key).expect("it is one of them");
    assert!(all.iter().all(|key| of(key).interested), "a slot for who wants nothing");
    let takers: Vec<&Candidate> =
        peers.iter().filter(|peer| peer.interested && (peer.seeding || !peer.snubbed)).collect();
    assert!(regular.iter().all(|key| takers.iter().any(|taker| taker.key == *key)), "a slot for a snub");
    assert_eq!(regular.len(), takers.len().min(*slots as usize), "no slot is free while somebody waits");
    let most = match (settings.optimistic, *slots) {
        (_, 0) => 0,
        (Some(count), _) => count,
        (None, slots) => (slots / 5).max(1),
    };
    let left = peers.iter().filter(|peer| peer.interested).count() - regular.len();
    assert_eq!(optimistic.len(), left.min(most as usize), "no optimistic slot is free while somebody waits");
    // With automatic slots each torrent's best comes first, whatever others give.
    let SlotCount::Fixed(_) = settings.slots else { return };
    for inside in regular.iter().map(of) {
        for outside in takers.iter().filter(|taker| !regular.contains(&taker.key)) {
            let merit = |peer: &Candidate| match (peer.seeding, settings.seeding) {
                (false, _) => peer.from_peer.0,
                (true, SeedingRule::RoundRobin) => 0,
                (true, SeedingRule::FastestUpload) => peer.to_peer.0,
                (true, SeedingRule::AntiLeech) => u64::from(peer.progress_permille.abs_diff(500)),
            };
            let fair = inside.seeding != outside.seeding || merit(inside) >= merit(outside);
            assert!(fair, "{outside:?} waits while {inside:?} has a slot");
        }
    }
}
