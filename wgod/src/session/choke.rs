//! ChokeMgr in the shell: snapshots of all live torrents in, chokes first, then unchokes.
use std::collections::BTreeSet;
use std::sync::Arc;

use wgo_core::choke_mgr::{
    Automatic, Candidate, ChokeKey, SeedingRule, Settings, SlotCount, Trials, fill, rank,
};
use wgo_core::limiter::Direction;
use wgo_core::swarm::turnover::{self, Spare};
use wgo_core::{ByteRate, TorrentId};

use super::Driver;
use crate::torrent::Torrent;

/// The operator's choices (`[choke]`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ChokeTunables {
    /// Regular slots; `None` is automatic.
    pub slots: Option<u32>,
    /// Optimistic slots on top; `None` is automatic.
    pub optimistic: Option<u32>,
    /// How peers of complete torrents are ranked.
    pub seeding: SeedingRule,
}

/// What one round leaves for the next.
#[derive(Debug, Default)]
pub(super) struct ChokeState {
    slots: Option<u32>,
    trials: Trials,
    rounds: u64,
}

impl Driver {
    /// Ranks everyone anew.
    pub(super) fn choke_round(&mut self) {
        let (torrents, candidates) = self.choke_candidates();
        let rate = ByteRate(self.upload_rate(&torrents));
        let settings = self.choke_settings(rate);
        self.choke.rounds += 1;
        self.engine.counters.choke_rounds.one_more();
        let decision = rank(&candidates, &settings, self.choke.rounds ^ self.seed);
        (self.choke.slots, self.choke.trials) = (Some(decision.slots), decision.trials);
        if !candidates.is_empty() {
            tracing::debug!(
                candidates = candidates.len(),
                slots = decision.slots,
                regular = decision.regular.len(),
                optimistic = decision.optimistic.len(),
                "choke round"
            );
        }
        let kept: BTreeSet<ChokeKey> = decision.regular.iter().chain(&decision.optimistic).copied().collect();
        for candidate in candidates.iter().filter(|c| !kept.contains(&c.key)) {
            self.apply(&torrents, candidate.key, |torrent| {
                let _broken = torrent.call(|swarm, now| swarm.choke(now, candidate.key.1));
            });
        }
        for (keys, optimistic) in [(&decision.regular, false), (&decision.optimistic, true)] {
            for key in keys {
                self.apply(&torrents, *key, |torrent| {
                    let _broken = torrent.call(|swarm, now| swarm.unchoke(now, key.1, optimistic));
                });
            }
        }
    }

    /// Hands out regular slots that fell free since the last round.
    pub(super) fn choke_fill(&mut self) {
        let Some(slots) = self.choke.slots else { return self.choke_round() };
        let (torrents, candidates) = self.choke_candidates();
        let used: usize =
            torrents.iter().filter_map(|torrent| torrent.call(|swarm, _| swarm.unchoked().0).ok()).sum();
        let free = (slots as usize).saturating_sub(used);
        if free == 0 {
            return;
        }
        let settings = self.choke_settings(ByteRate(0));
        for key in fill(free, &candidates, &settings, self.choke.rounds ^ self.seed) {
            self.apply(&torrents, key, |torrent| {
                let _broken = torrent.call(|swarm, now| swarm.unchoke(now, key.1, false));
            });
        }
    }

    /// All places for connections are taken, and so many dials wait for one: the worst of all torrents' connections
    /// make room.
    pub(super) fn turn_over(&self, waiting: usize) {
        let torrents = self.live_torrents();
        let mut spares: Vec<Spare> = Vec::new();
        for torrent in &torrents {
            let _broken = torrent.call(|swarm, now| swarm.spares(now, &mut spares));
        }
        spares.sort_unstable();
        let places = &self.engine.connections;
        let room = turnover::share(places.taken(), places.limit(), waiting);
        for spare in spares.into_iter().take(room) {
            self.apply(&torrents, (spare.torrent, spare.key), |torrent| {
                let _broken = torrent.call(|swarm, _| swarm.let_go(spare.key));
            });
        }
    }

    fn choke_candidates(&self) -> (Vec<Arc<Torrent>>, Vec<Candidate>) {
        let torrents = self.live_torrents();
        let mut candidates = Vec::new();
        for torrent in &torrents {
            let _broken = torrent.call(|swarm, now| swarm.choke_candidates(now, &mut candidates));
        }
        (torrents, candidates)
    }

    fn upload_rate(&self, torrents: &[Arc<Torrent>]) -> u64 {
        torrents.iter().filter_map(|t| t.call(|swarm, now| swarm.view(now).up.0).ok()).sum()
    }

    fn choke_settings(&self, rate: ByteRate) -> Settings {
        let tunables = &self.tunables.choke;
        let automatic = Automatic {
            up_limit: self.engine.shaper.limit(None, Direction::Up),
            rate,
            now: self.engine.clock.now(),
            trials: self.choke.trials,
        };
        Settings {
            slots: tunables.slots.map_or(SlotCount::Automatic(automatic), SlotCount::Fixed),
            optimistic: tunables.optimistic,
            seeding: tunables.seeding,
        }
    }

    fn apply(&self, torrents: &[Arc<Torrent>], key: ChokeKey, f: impl FnOnce(&Arc<Torrent>)) {
        let id: TorrentId = key.0;
        if let Ok(at) = torrents.binary_search_by_key(&id, |torrent| torrent.id) {
            f(&torrents[at]);
        }
    }
}
