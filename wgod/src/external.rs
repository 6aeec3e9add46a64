//! Our addresses as others see them: what was learnt of them, for all who learn and all who ask.
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use wgo_core::external::{External, Voter};

/// The votes of the daemon. A leaf lock.
#[derive(Debug, Default)]
pub struct Outside(Mutex<External>);

impl Outside {
    /// `voter` says that we are at `ip`.
    pub fn vote(&self, voter: Voter, ip: IpAddr) {
        let mut external = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before: Vec<_> = external.addresses().collect();
        external.vote(voter, ip);
        let now: Vec<_> = external.addresses().collect();
        drop(external);
        if now != before {
            tracing::info!(addresses = ?now, "seen from outside at other addresses");
        }
    }

    /// What the operator says, `[network] announce_ip`, instead of all votes; `None` leaves it to them.
    pub fn set(&self, ip: Option<IpAddr>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).set(ip);
    }

    /// What the operator says.
    pub fn chosen(&self) -> Option<IpAddr> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).chosen()
    }

    /// Our addresses, IPv4 before IPv6, as far as anybody said so.
    pub fn addresses(&self) -> Vec<IpAddr> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).addresses().collect()
    }
}
