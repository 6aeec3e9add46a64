//! Which connections make room for others, and which never do.
use super::rig::*;
use crate::peer::CloseReason;
use crate::peer_mgr::Source;
use crate::swarm::turnover::{EVERY, share};
use crate::units::PeerKey;
use wgo_proto::wire::Message;

/// Ten places, all taken: peers 1 to 3 want nothing and have nothing, 4 to 6 want what we have, 7 to 9 have what we
/// want and keep it, 10 serves us. They are kept alive.
struct Full {
    rig: Rig,
    keys: Vec<PeerKey>,
}

impl Full {
    fn new() -> Full {
        let mut rig = Rig::with(4, &[0], &[], 10);
        let keys: Vec<_> = (1..=10).map(|n| rig.fast(n)).collect();
        for (n, &key) in (1..).zip(&keys) {
            match n {
                1..4 => rig.says_bits(key, &[0]),
                4..7 => {
                    rig.says(key, &Message::HaveNone);
                    rig.says(key, &Message::Interested);
                }
                7..10 => rig.says_bits(key, &[1, 2]),
                _ => {
                    rig.says_bits(key, &[0, 3]);
                    rig.says(key, &Message::Unchoke);
                }
            }
        }
        Full { rig, keys }
    }

    /// Lets time pass in which everybody stays.
    fn wait(&mut self, time: std::time::Duration) {
        let mut left = time;
        while left > secs(0) {
            let step = left.min(secs(5));
            self.rig.wait(step);
            left -= step;
            for (n, &key) in (1..).zip(&self.keys) {
                self.rig.says(key, &Message::KeepAlive);
                // One request is always unanswered, and not for long.
                if n == 10
                    && let Some(&(piece, number)) = self.rig.requests(key).first()
                {
                    self.rig.sends(key, piece, number);
                }
            }
        }
    }

    fn closing(&self) -> Vec<usize> {
        let closing = (1..).zip(&self.keys).filter(|(_, key)| self.rig.closing(**key).is_some());
        closing.map(|(n, _)| n).collect()
    }
}

#[test]
fn the_worst_makes_room_for_a_fresh_address_when_places_are_short() {
    let mut full = Full::new();
    full.rig.swarm.add_candidates(full.rig.now, [addr(100)], Source::Tracker);
    let mut spares = Vec::new();
    full.rig.swarm.spares(full.rig.now, &mut spares);
    assert_eq!(spares, [], "nobody has settled yet");
    full.wait(secs(130));
    full.rig.swarm.spares(full.rig.now, &mut spares);
    spares.sort_unstable();
    let order: Vec<_> =
        spares.iter().map(|spare| 1 + full.keys.iter().position(|key| *key == spare.key).unwrap()).collect();
    // Those that are of no use at all are gone by another rule, at once when there is no place left.
    assert_eq!(full.closing(), [1, 2, 3]);
    assert_eq!(order, [4, 5, 6, 7, 8, 9], "and never the one that serves us");
}

#[test]
fn turnover_takes_one_of_few_each_time_and_only_for_somebody() {
    let mut full = Full::new();
    let before = full.rig.now;
    for &key in &full.keys[..3] {
        full.rig.says(key, &Message::Interested);
    }
    full.wait(EVERY + secs(5));
    assert_eq!(full.closing(), [] as [usize; 0], "nobody waits for a place");
    full.rig.swarm.add_candidates(full.rig.now, [addr(100), addr(101)], Source::Tracker);
    full.wait(EVERY);
    let closing = full.closing();
    assert_eq!(closing.len(), 1, "a share of ten is one");
    assert!(closing[0] < 7, "{closing:?}: who only wants goes before who has something");
    assert_eq!(full.rig.closing(full.keys[closing[0] - 1]), Some(CloseReason::Useless));
    assert!(full.rig.now.since(before) > EVERY);
}

#[test]
fn who_was_just_unchoked_or_was_named_by_the_operator_stays() {
    let mut full = Full::new();
    full.wait(secs(130));
    let mut spares = Vec::new();
    full.rig.swarm.unchoke(full.rig.now, full.keys[3], false);
    full.rig.swarm.spares(full.rig.now, &mut spares);
    assert!(spares.iter().all(|spare| spare.key != full.keys[3]), "it may ask for something yet");
    full.wait(secs(70));
    spares.clear();
    full.rig.swarm.spares(full.rig.now, &mut spares);
    assert!(spares.iter().any(|spare| spare.key == full.keys[3]), "it did not");
}

#[test]
fn a_share_is_of_full_places_and_no_more_than_wait() {
    for (taken, places, waiting, want) in
        [(89, 100, 50, 0), (90, 100, 50, 3), (100, 100, 50, 4), (100, 100, 2, 2), (9, 10, 5, 1), (0, 0, 5, 0)]
    {
        assert_eq!(share(taken, places, waiting), want, "{taken} of {places}");
    }
}
