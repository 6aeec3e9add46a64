//! What becomes of the torrents when the network goes and when it comes back.
use tokio::sync::watch;
use wgo_core::TorrentId;

use super::Driver;
use crate::outlet::{Outlet, Standing};

/// How the outlet stands, as far as the driver has heard.
pub(super) struct Network {
    heard: Standing,
    follower: watch::Receiver<Standing>,
}

impl Network {
    pub(super) fn of(outlet: &Outlet) -> Network {
        let mut follower = outlet.follow();
        let heard = follower.borrow_and_update().clone();
        Network { heard, follower }
    }

    /// How it stood before and after its next change.
    pub(super) async fn changed(&mut self) -> (Standing, Standing) {
        if self.follower.changed().await.is_err() {
            return std::future::pending().await;
        }
        let now = self.follower.borrow_and_update().clone();
        (std::mem::replace(&mut self.heard, now.clone()), now)
    }
}

impl Driver {
    /// The outlet stands otherwise than `before`.
    pub(super) fn on_network(&mut self, before: &Standing, after: &Standing) {
        let (was_open, open) = (before.closed().is_none(), after.closed().is_none());
        match (was_open, open) {
            (false, false) => {}
            // There is another way besides, as of the second address family: trackers are to see us there as well.
            (true, true) if after.keeps(before) => self.announce_all(),
            _ => {
                self.engine.outside.forget();
                if was_open {
                    self.set_online(false);
                }
                if open {
                    self.set_online(true);
                }
            }
        }
    }

    /// Whether there is a network now.
    pub(super) fn is_online(&self) -> bool {
        self.engine.outlet.standing().closed().is_none()
    }

    fn set_online(&mut self, online: bool) {
        let now = self.engine.clock.now();
        let mut asleep: Vec<TorrentId> = Vec::new();
        for id in self.entries.ids() {
            let Some(entry) = self.entries.get_mut(&id) else { continue };
            if let Some(live) = entry.live.clone() {
                self.engine.call(&live, |swarm, now| swarm.set_online(now, online));
            } else if let Some(trackers) = &mut entry.trackers {
                trackers.set_online(now, online);
                asleep.push(id);
            }
        }
        if online {
            self.session.rouse(now, asleep);
        }
        self.touch();
    }

    fn announce_all(&mut self) {
        for live in self.entries.values().filter_map(|entry| entry.live.clone()) {
            self.engine.call(&live, |swarm, now| swarm.announce_now(now));
        }
    }
}
