//! Our addresses as others see them: what was learnt of them, for all who learn and all who ask.
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use wgo_core::external::{External, Voter};

/// The votes of the daemon. A leaf lock.
#[derive(Debug, Default)]
pub struct Outside {
    votes: Mutex<External>,
    changes: watch::Sender<()>,
}

impl Outside {
    /// `voter` says that we are at `ip`.
    pub fn vote(&self, voter: Voter, ip: IpAddr) {
        if let Some(addresses) = self.change(|external| external.vote(voter, ip)) {
            tracing::info!(?addresses, "seen from outside at other addresses");
        }
    }

    /// What the operator says, `[network] announce_ip`, instead of all votes; `None` leaves it to them.
    pub fn set(&self, ip: Option<IpAddr>) {
        let _told = self.change(|external| external.set(ip));
    }

    /// We are somewhere else in the network: what others saw of us counts no more.
    pub fn forget(&self) {
        if self.change(External::forget).is_some() {
            tracing::debug!("what others saw of our addresses is forgotten");
        }
    }

    /// What the operator says.
    pub fn chosen(&self) -> Option<IpAddr> {
        self.votes().chosen()
    }

    /// Our addresses, IPv4 before IPv6, as far as anybody said so.
    pub fn addresses(&self) -> Vec<IpAddr> {
        self.votes().addresses().collect()
    }

    /// Tells of every change of them from now on.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// Gives our addresses if they are others by this.
    fn change(&self, how: impl FnOnce(&mut External)) -> Option<Vec<IpAddr>> {
        let mut external = self.votes();
        let before: Vec<_> = external.addresses().collect();
        how(&mut external);
        let now: Vec<_> = external.addresses().collect();
        drop(external);
        (now != before).then(|| {
            self.changes.send_replace(());
            now
        })
    }

    fn votes(&self) -> MutexGuard<'_, External> {
        self.votes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
