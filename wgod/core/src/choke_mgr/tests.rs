//! Rules of ranking, and what holds for every decision over many rounds.
use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const ROUND: Duration = Duration::from_secs(10);

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn key(torrent: u64, slot: u32) -> ChokeKey {
    (TorrentId(torrent), PeerKey { slot, generation: 0 })
}

/// An interested peer of a downloading torrent that waits since just now.
fn peer(torrent: u64, slot: u32) -> Candidate {
    Candidate {
        key: key(torrent, slot),
        seeding: false,
        interested: true,
        standing: Standing::Waiting(Duration::ZERO),
        from_peer: ByteRate(0),
        to_peer: ByteRate(0),
        snubbed: false,
        newcomer: false,
        progress_permille: 0,
    }
}

fn seeded(torrent: u64, slot: u32) -> Candidate {
    Candidate { seeding: true, ..peer(torrent, slot) }
}

fn fixed(slots: u32) -> Settings {
    Settings { slots: SlotCount::Fixed(slots), optimistic: None, seeding: SeedingRule::RoundRobin }
}

fn slots_of(keys: &[ChokeKey]) -> Vec<u32> {
    let mut slots: Vec<u32> = keys.iter().map(|key| key.1.slot).collect();
    slots.sort_unstable();
    slots
}

fn turn(age: u64, taken: u64) -> Turn {
    Turn { age: secs(age), taken }
}

#[test]
fn downloading_torrents_reward_who_gives_most_and_never_snubbed_or_uninterested_peers() {
    let mut peers: Vec<_> =
        (0..8).map(|n| Candidate { from_peer: ByteRate(n.into()), ..peer(1, n) }).collect();
    peers[7].snubbed = true;
    peers[6].interested = false;
    let decision = rank(&peers, &fixed(3), 0);
    assert_eq!(decision.regular, [key(1, 5), key(1, 4), key(1, 3)]);
    assert_eq!(decision.optimistic.len(), 1);
    assert!(!decision.optimistic.contains(&key(1, 6)));
    assert!(!decision.reserve.contains(&key(1, 7)) && !decision.reserve.contains(&key(1, 6)));
}

#[test]
fn a_snubbed_peer_can_still_be_tried_optimistically() {
    let snubbed = Candidate { snubbed: true, ..peer(1, 0) };
    let decision = rank(&[snubbed], &fixed(4), 0);
    assert_eq!((decision.regular, decision.optimistic), (vec![], vec![key(1, 0)]));
}

#[test]
fn seven_of_ten_slots_go_to_downloading_torrents_while_both_kinds_want_them() {
    let downloading = (0..20).map(|n| peer(1, n));
    let peers: Vec<_> = downloading.chain((20..40).map(|n| seeded(2, n))).collect();
    let count = |decision: &Decision, torrent| {
        decision.regular.iter().filter(|key| key.0 == TorrentId(torrent)).count()
    };
    let both = rank(&peers, &Settings { optimistic: Some(0), ..fixed(10) }, 0);
    assert_eq!((count(&both, 1), count(&both, 2)), (7, 3));
    assert_eq!(count(&rank(&peers[18..], &fixed(10), 0), 2), 8, "two downloaders leave eight slots");
    let next: Vec<_> = both.reserve[..10].iter().filter(|key| key.0 == TorrentId(1)).collect();
    assert_eq!(next.len(), 7, "the reserve keeps the proportion");
}

#[test]
fn a_seeding_turn_ends_by_time_or_bytes_but_only_for_someone_who_waits() {
    let cases = [
        (turn(10, 1 << 40), true),
        (turn(20, 32 << 20), false),
        (turn(50, 1000), true),
        (turn(60, 0), false),
        // A slow one in the midst of its first pieces.
        (turn(60, 1 << 20), true),
        (turn(60, 4 << 20), false),
        (turn(179, 1 << 20), true),
        (turn(180, 1 << 20), false),
    ];
    for (turn, stays) in cases {
        let holder = Candidate { standing: Standing::Regular(turn), ..seeded(1, 0) };
        let settings = Settings { optimistic: Some(0), ..fixed(1) };
        assert_eq!(rank(&[holder], &settings, 0).regular, [key(1, 0)], "alone it stays");
        let decision = rank(&[holder, seeded(1, 1)], &settings, 0);
        assert_eq!(decision.regular == [key(1, 0)], stays, "{turn:?}");
    }
}

#[test]
fn the_other_seeding_rules_rank_by_upload_and_by_nearness_to_an_end() {
    let peers: Vec<_> = (0..5u16)
        .map(|n| Candidate {
            to_peer: ByteRate(u64::from(n) * 100),
            progress_permille: [480, 20, 700, 510, 990][usize::from(n)],
            ..seeded(1, n.into())
        })
        .collect();
    let ranked = |seeding| rank(&peers, &Settings { seeding, ..fixed(2) }, 7).regular;
    assert_eq!(ranked(SeedingRule::FastestUpload), [key(1, 4), key(1, 3)]);
    assert_eq!(ranked(SeedingRule::AntiLeech), [key(1, 4), key(1, 1)]);
}

#[test]
fn optimistic_slots_rotate_after_30_s_to_the_longest_waiting_newcomers_counting_threefold() {
    let waits = |slot, wait, newcomer| Candidate {
        standing: Standing::Waiting(secs(wait)),
        newcomer,
        snubbed: true,
        ..peer(1, slot)
    };
    let holds = |age| Candidate { standing: Standing::Optimistic(turn(age, 0)), snubbed: true, ..peer(1, 9) };
    let cases = [
        (vec![holds(20), waits(0, 500, false)], 9),
        (vec![holds(30), waits(0, 5, false)], 0),
        (vec![holds(30)], 9),
        (vec![waits(0, 29, false), waits(1, 10, true)], 1),
        (vec![waits(0, 31, false), waits(1, 10, true)], 0),
        (vec![waits(0, 31, false), waits(1, 40, false)], 1),
        (vec![waits(0, 31, false), waits(1, u64::MAX, true)], 1),
    ];
    for (peers, expected) in cases {
        assert_eq!(rank(&peers, &fixed(4), 1).optimistic, [key(1, expected)], "{peers:?}");
    }
}

#[test]
fn an_optimistic_peer_that_gives_well_becomes_regular() {
    let mut peers: Vec<_> = (0..4).map(|n| Candidate { from_peer: ByteRate(100), ..peer(1, n) }).collect();
    peers[0].standing = Standing::Optimistic(turn(10, 0));
    peers[0].from_peer = ByteRate(900);
    let decision = rank(&peers, &fixed(2), 0);
    assert_eq!(decision.regular[0], key(1, 0));
    assert!(!decision.optimistic.contains(&key(1, 0)));
}

#[test]
fn automatic_slots_leave_no_torrent_without_one() {
    let fast = (0..30).map(|n| Candidate { from_peer: ByteRate(1000), ..peer(0, n) });
    let slow = (1..=12).map(|torrent| peer(torrent, 50));
    let peers: Vec<_> = fast.chain(slow).collect();
    let automatic = Automatic { up_limit: Some(ByteRate(1000)), ..Automatic::default() };
    let settings = Settings { slots: SlotCount::Automatic(automatic), ..fixed(0) };
    let decision = rank(&peers, &settings, 0);
    assert_eq!(decision.slots, 13);
    let torrents: BTreeSet<_> = decision.regular.iter().map(|key| key.0).collect();
    assert_eq!(torrents.len(), 13);
    assert_eq!(slots_of(&rank(&peers, &fixed(8), 0).regular).last(), Some(&29), "fixed slots rank by merit");
}

#[test]
fn no_slots_means_nobody_and_nobody_is_no_trouble() {
    assert_eq!(rank(&[], &fixed(4), 0).regular, []);
    let decision = rank(&[peer(1, 1), seeded(2, 2)], &fixed(0), 0);
    assert_eq!((decision.regular, decision.optimistic), (vec![], vec![]));
}

#[test]
fn a_free_slot_goes_to_the_best_waiting_peer_of_the_kind_that_has_fewer() {
    let holder = |torrent, slot| Candidate { standing: Standing::Regular(turn(5, 0)), ..peer(torrent, slot) };
    let mut peers = vec![holder(1, 0), holder(1, 1), peer(1, 2), seeded(2, 3), seeded(2, 4)];
    peers[4].standing = Standing::Waiting(secs(9));
    assert_eq!(fill(1, &peers, &fixed(3), 0), [key(2, 4)]);
    assert_eq!(slots_of(&fill(9, &peers, &fixed(9), 0)), [2, 3, 4]);
    assert_eq!(fill(0, &peers, &fixed(3), 0), []);
    peers[0].seeding = true;
    peers[1].seeding = true;
    assert_eq!(fill(1, &peers, &fixed(3), 0), [key(1, 2)]);
}

/// Plays rounds: applies each decision, counts time and bytes, and remembers when each peer was first
/// unchoked.
struct Rounds {
    peers: Vec<Candidate>,
    settings: Settings,
    first_turn: BTreeMap<ChokeKey, Duration>,
}

impl Rounds {
    fn new(peers: Vec<Candidate>, settings: Settings) -> Self {
        Self { peers, settings, first_turn: BTreeMap::new() }
    }

    fn play(&mut self, rounds: u32, rate: impl Fn(&Candidate) -> u64) {
        for round in 0..rounds {
            let decision = rank(&self.peers, &self.settings, round.into());
            check(&self.peers, &self.settings, &decision);
            for peer in &mut self.peers {
                let was = peer.standing;
                let turn = match was {
                    Standing::Waiting(_) => Turn::default(),
                    Standing::Regular(turn) | Standing::Optimistic(turn) => turn,
                };
                let regular = decision.regular.contains(&peer.key);
                if !regular && !decision.optimistic.contains(&peer.key) {
                    let waited = if let Standing::Waiting(wait) = was { wait } else { Duration::ZERO };
                    peer.standing = Standing::Waiting(waited + ROUND);
                    continue;
                }
                self.first_turn.entry(peer.key).or_insert(ROUND * round);
                peer.newcomer = false;
                let taken = turn.taken + rate(peer) * ROUND.as_secs();
                let turn = Turn { age: turn.age + ROUND, taken };
                peer.standing = if regular { Standing::Regular(turn) } else { Standing::Optimistic(turn) };
            }
        }
    }
}

/// What holds for every decision.
fn check(peers: &[Candidate], settings: &Settings, decision: &Decision) {
    let slots = settings.slots.count(peers).0;
    assert_eq!(decision.slots, slots);
    assert!(decision.regular.len() <= slots as usize);
    assert!(decision.optimistic.len() <= settings.optimistic_count(slots));
    let all: Vec<_> =
        [&decision.regular, &decision.optimistic, &decision.reserve].into_iter().flatten().collect();
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len(), "nobody is named twice");
    let by_key: BTreeMap<_, _> = peers.iter().map(|peer| (peer.key, peer)).collect();
    assert!(all.iter().all(|key| by_key[*key].interested));
    assert!(decision.regular.iter().all(|key| by_key[key].seeding || !by_key[key].snubbed));
    let able = peers.iter().filter(|p| p.interested && (p.seeding || !p.snubbed)).count();
    assert_eq!(decision.regular.len(), able.min(slots as usize), "no slot stays empty while someone waits");
}

#[test]
fn twelve_peers_of_three_seeding_torrents_all_get_one_of_four_slots_within_three_minutes() {
    let uneven = [(1, 10), (2, 1), (3, 1)];
    for torrents in [[(1, 4), (2, 4), (3, 4)], uneven] {
        for optimistic in [None, Some(0)] {
            let peers =
                torrents.iter().flat_map(|&(torrent, count)| (0..count).map(move |n| seeded(torrent, n)));
            let mut rounds = Rounds::new(peers.collect(), Settings { optimistic, ..fixed(4) });
            rounds.play(18, |peer| [100, 10_000_000, 500_000][peer.key.1.slot as usize % 3]);
            assert_eq!(rounds.first_turn.len(), 12);
        }
    }
}

#[test]
fn every_rule_gives_everyone_a_turn_through_the_optimistic_slots() {
    for seeding in [SeedingRule::RoundRobin, SeedingRule::FastestUpload, SeedingRule::AntiLeech] {
        let mut peers: Vec<_> = (0..20).map(|n| seeded(1, n)).collect();
        peers.extend((20..40).map(|n| Candidate { from_peer: ByteRate(n.into()), ..peer(2, n) }));
        peers.extend((40..44).map(|n| Candidate { snubbed: true, ..peer(2, n) }));
        let mut rounds = Rounds::new(peers, Settings { seeding, ..fixed(4) });
        // 44 peers, 30 s of one optimistic slot each.
        rounds.play(44 * 3, |_| 1_000_000);
        assert_eq!(rounds.first_turn.len(), 44, "{seeding:?}");
    }
}

#[test]
fn an_old_peer_is_not_starved_by_a_stream_of_newcomers() {
    let old = (0..5).map(|n| Candidate { snubbed: true, ..peer(1, n) });
    let mut rounds = Rounds::new(old.collect(), fixed(1));
    for minute in 1..=15u32 {
        rounds.play(6, |_| 0);
        rounds.peers.retain(|peer| !peer.newcomer && peer.key.1.slot < 5);
        let newcomers =
            (0..5).map(|n| Candidate { newcomer: true, snubbed: true, ..peer(1, minute * 10 + n) });
        rounds.peers.extend(newcomers);
    }
    assert!((0..5).all(|n| rounds.first_turn.contains_key(&key(1, n))));
}

fn any_candidate(slot: u32) -> impl Strategy<Value = Candidate> {
    let standing = (0..3u8, 0..200u64, 0..80u64).prop_map(|(kind, age, mib)| match kind {
        0 => Standing::Waiting(secs(age)),
        1 => Standing::Regular(turn(age, mib << 20)),
        _ => Standing::Optimistic(turn(age, mib << 20)),
    });
    // Whether a torrent is seeded is one fact for all its peers.
    (0..6u64, standing, prop::array::uniform3(any::<bool>()), 0..4u64, 0..1000u16).prop_map(
        move |(torrent, standing, [interested, snubbed, newcomer], rate, progress_permille)| Candidate {
            key: key(torrent, slot),
            seeding: torrent % 2 == 0,
            interested,
            standing,
            from_peer: ByteRate(rate * 1000),
            to_peer: ByteRate(rate * 500),
            snubbed,
            newcomer,
            progress_permille,
        },
    )
}

fn any_candidates() -> impl Strategy<Value = Vec<Candidate>> {
    (0..40u32).prop_flat_map(|count| (0..count).map(any_candidate).collect::<Vec<_>>())
}

fn any_settings() -> impl Strategy<Value = Settings> {
    let limit = prop::option::of(0..1_000_000u64);
    (prop::option::of(0..12u32), limit, prop::option::of(0..4u32), 0..3u8).prop_map(
        |(slots, limit, optimistic, rule)| Settings {
            slots: slots.map_or(
                SlotCount::Automatic(Automatic { up_limit: limit.map(ByteRate), ..Automatic::default() }),
                SlotCount::Fixed,
            ),
            optimistic,
            seeding: [SeedingRule::RoundRobin, SeedingRule::FastestUpload, SeedingRule::AntiLeech]
                [usize::from(rule)],
        },
    )
}

proptest! {
    #[test]
    fn every_decision_keeps_to_the_slots_and_uses_them(
        peers in any_candidates(), settings in any_settings(), seed: u64,
    ) {
        let decision = rank(&peers, &settings, seed);
        check(&peers, &settings, &decision);
        prop_assert_eq!(&decision, &rank(&peers, &settings, seed));
    }

    #[test]
    fn a_fill_unchokes_only_waiting_peers_and_as_many_as_are_free(
        peers in any_candidates(), settings in any_settings(), seed: u64, free in 0..9usize,
    ) {
        let chosen = fill(free, &peers, &settings, seed);
        let waiting = peers.iter().filter(|p| {
            p.interested && (p.seeding || !p.snubbed) && matches!(p.standing, Standing::Waiting(_))
        });
        let waiting: BTreeSet<_> = waiting.map(|p| p.key).collect();
        prop_assert_eq!(chosen.iter().collect::<BTreeSet<_>>().len(), chosen.len());
        prop_assert!(chosen.iter().all(|key| waiting.contains(key)));
        prop_assert_eq!(chosen.len(), waiting.len().min(free));
    }
}
