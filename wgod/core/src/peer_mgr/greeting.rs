//! In which of two ways a peer is greeted, encrypted or not: what is known of what it takes. Which way comes first
//! for a stranger is a matter of the settings, not of this.
use std::net::SocketAddr;

use super::address::normal;
use super::table::State;
use super::{Greeting, PeerMgr};
use crate::Time;

impl Greeting {
    /// The other way.
    pub(super) fn other(self) -> Greeting {
        match self {
            Greeting::Plain => Greeting::Encrypted,
            Greeting::Encrypted => Greeting::Plain,
        }
    }
}

impl PeerMgr {
    /// How to greet the peer at an address that `next_dial` gave, as far as that is known.
    pub fn greeting(&self, addr: SocketAddr) -> Option<Greeting> {
        self.table.get(normal(addr))?.greeting
    }

    /// The peer at a candidate's address is said to want encryption, by others (BEP 11) or by having encrypted a
    /// connection that it made. What it took itself is worth more than that.
    pub fn wants_encryption(&mut self, addr: SocketAddr) {
        self.table.update(normal(addr), |candidate| {
            candidate.greeting.get_or_insert(Greeting::Encrypted);
        });
    }

    /// A candidate that was dialled took this greeting.
    pub fn on_greeted(&mut self, addr: SocketAddr, greeting: Greeting) {
        self.table.update(normal(addr), |candidate| {
            (candidate.greeting, candidate.took_it, candidate.tried_both) = (Some(greeting), true, false);
        });
    }

    /// There was a connection, but the peer did not take this greeting, and there is another: that one is tried at
    /// once, and remembered if the peer takes it. A peer that took this greeting before is given a second chance
    /// to do so: it is full, most likely.
    pub fn on_greeting_refused(&mut self, now: Time, addr: SocketAddr, greeting: Greeting) {
        let addr = normal(addr);
        let Some(known) = self.table.get(addr).filter(|known| known.state == State::Dialing) else {
            return self.on_failed(now, addr);
        };
        if known.took_it && known.greeting == Some(greeting) && known.failures == 0 {
            return self.failed(now, addr);
        }
        let at_once = !known.tried_both;
        self.table.update(addr, |candidate| {
            candidate.greeting = Some(greeting.other());
            (candidate.took_it, candidate.tried_both) = (false, at_once);
            if at_once {
                candidate.state = State::Ready;
            }
        });
        if !at_once {
            self.failed(now, addr);
        }
    }
}
