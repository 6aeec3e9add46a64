//! Sums over all torrents, kept in step by looking only at those that may have changed.
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use wgo_api::torrent::State;

use super::Driver;
use super::entry::Entry;
use super::render::api_state;
use crate::store::Totals;
use wgo_core::TorrentId;
use wgo_core::session::State as CoreState;

/// What one torrent adds to the sums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Share {
    /// Absent while it is being added or removed.
    state: Option<State>,
    /// The device of its files, once they were found.
    device: Option<u64>,
    downloaded: u64,
    uploaded: u64,
    down_rate: u64,
    up_rate: u64,
}

/// The sums.
#[derive(Debug, Default)]
pub(super) struct Tally {
    states: BTreeMap<State, u32>,
    /// How many torrents have files on a device, and the folder of one that had.
    devices: BTreeMap<u64, (u32, PathBuf)>,
    downloaded: u64,
    uploaded: u64,
    down_rate: u64,
    up_rate: u64,
    /// Torrents in state `error`.
    troubled: BTreeSet<TorrentId>,
}

impl Tally {
    /// Torrents by state.
    pub(super) fn states(&self) -> &BTreeMap<State, u32> {
        &self.states
    }

    /// A folder on each device that holds torrents.
    pub(super) fn folders(&self) -> BTreeMap<u64, PathBuf> {
        self.devices.iter().map(|(device, (_, folder))| (*device, folder.clone())).collect()
    }

    /// Payload bytes/s in and out.
    pub(super) fn rates(&self) -> (u64, u64) {
        (self.down_rate, self.up_rate)
    }

    fn add(&mut self, id: TorrentId, share: &Share, folder: impl FnOnce() -> PathBuf) {
        if let Some(state) = share.state {
            *self.states.entry(state).or_default() += 1;
        }
        if share.state == Some(State::Error) {
            self.troubled.insert(id);
        }
        if let Some(device) = share.device {
            self.devices.entry(device).or_insert_with(|| (0, folder())).0 += 1;
        }
        self.downloaded += share.downloaded;
        self.uploaded += share.uploaded;
        self.down_rate += share.down_rate;
        self.up_rate += share.up_rate;
    }

    /// Takes back what a torrent added.
    pub(super) fn remove(&mut self, id: TorrentId, share: &Share) {
        self.troubled.remove(&id);
        if let Some(state) = share.state
            && let Some(count) = self.states.get_mut(&state)
        {
            *count -= 1;
            if *count == 0 {
                self.states.remove(&state);
            }
        }
        if let Some(device) = share.device
            && let Some((count, _)) = self.devices.get_mut(&device)
        {
            *count -= 1;
            if *count == 0 {
                self.devices.remove(&device);
            }
        }
        self.downloaded -= share.downloaded;
        self.uploaded -= share.uploaded;
        self.down_rate -= share.down_rate;
        self.up_rate -= share.up_rate;
    }
}

impl Driver {
    /// Brings the sums up to date. Costs nothing for torrents that sleep.
    pub(super) fn reckon(&mut self) {
        let mut ids = self.entries.take_touched();
        ids.append(&mut self.session.take_touched());
        // Those that are gone are told of by `removed`.
        ids.retain(|id| self.entries.get(id).is_some());
        // Whether readers have to be told of these is found when they ask.
        self.unseen.extend(ids.iter().copied());
        ids.extend(self.session.live());
        for id in ids {
            let Some(entry) = self.entries.get(&id) else { continue };
            let share = self.share_of(entry);
            let old = entry.share;
            if share != old {
                let folder = entry.files.as_ref().map(|files| files.folder().to_owned());
                self.tally.remove(id, &old);
                self.tally.add(id, &share, || folder.unwrap_or_default());
                if let Some(entry) = self.entries.untouched_mut(&id) {
                    entry.share = share;
                }
            }
        }
    }

    fn share_of(&self, entry: &Entry) -> Share {
        let state = self.session.row(entry.id).map_or(CoreState::Stopped, |row| row.state());
        let view = entry.live.as_ref().and_then(|live| live.call(|swarm, now| swarm.view(now)).ok());
        let counters = view.as_ref().map_or((entry.counters.downloaded, entry.counters.uploaded), |view| {
            (view.counters.downloaded, view.counters.uploaded)
        });
        Share {
            state: (!entry.leaving).then(|| api_state(state)),
            device: entry.files.as_ref().map(|files| files.device()),
            downloaded: counters.0,
            uploaded: counters.1,
            down_rate: view.as_ref().map_or(0, |view| view.down.0),
            up_rate: view.as_ref().map_or(0, |view| view.up.0),
        }
    }

    /// Payload of all runs: of the torrents that are here, and of those that were removed.
    pub(super) fn all_totals(&mut self) -> Totals {
        self.reckon();
        let mut totals = self.totals;
        totals.downloaded += self.tally.downloaded;
        totals.uploaded += self.tally.uploaded;
        totals
    }

    /// What is wrong with the first torrent in state `error`.
    pub(super) fn trouble(&self) -> Option<String> {
        let fault = self.tally.troubled.iter().find_map(|id| self.session.row(*id)?.fault.as_ref());
        fault.map(|fault| fault.message.clone())
    }

    /// Torrents that look different to readers whatever happens: those that run, those that are hashed or
    /// moved.
    pub(super) fn restless(&self) -> Vec<TorrentId> {
        self.session.live().chain(self.session.working()).collect()
    }
}
