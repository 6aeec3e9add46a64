//! In which of two ways a peer is greeted: encrypted or not, in whatever order they are preferred.
use std::net::SocketAddr;

use super::address::normal;
use super::table::State;
use super::{Greeting, PeerMgr};
use crate::Time;

impl PeerMgr {
    /// How to greet the peer at an address that `next_dial` gave, where there are two ways.
    pub fn greeting(&self, addr: SocketAddr) -> Greeting {
        self.table.get(normal(addr)).map_or(Greeting::First, |known| known.greeting)
    }

    /// There was a connection, but the peer did not take the greeting, and there is another: that one is tried at
    /// once, and remembered if the peer takes it. A peer that took this greeting before is given a second chance
    /// to do so: it is full, most likely.
    pub fn on_greeting_refused(&mut self, now: Time, addr: SocketAddr) {
        let addr = normal(addr);
        let Some(known) = self.table.get(addr).filter(|known| known.state == State::Dialing) else { return };
        if known.took_it && known.failures == 0 {
            return self.failed(now, addr);
        }
        let at_once = !known.tried_both;
        self.table.update(addr, |candidate| {
            candidate.greeting = match candidate.greeting {
                Greeting::First => Greeting::Other,
                Greeting::Other => Greeting::First,
            };
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
