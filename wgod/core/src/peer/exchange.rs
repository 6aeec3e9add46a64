//! Peer exchange with one peer (BEP 11): what it has been told, and how much of what it tells is listened to.
use std::time::Duration;

use crate::time::Time;

/// One message in this time is listened to. BEP 11 allows one a minute; clients that count loosely are a little early.
const MESSAGE_PACE: Duration = Duration::from_secs(45);
/// Messages that may come together: the first ones of a connection, and those that waited on their way.
const MESSAGES_AT_ONCE: u32 = 3;
/// One new address in this time is taken of one peer, which is more than a large swarm changes by; so whoever makes
/// addresses up needs hours, and a connection, for each thousand.
const ADDRESS_PACE: Duration = Duration::from_secs(4);
/// New addresses that may come together, when a connection begins.
const ADDRESSES_AT_ONCE: u32 = 400;

/// So many things at once, and one in a given time after that.
#[derive(Clone, Copy, Debug, Default)]
struct Allowance {
    /// When it would be full, if nothing more were taken.
    full_at: Time,
}

impl Allowance {
    fn is_open(self, now: Time, pace: Duration, at_once: u32) -> bool {
        self.full_at.max(now) + pace <= now + pace * at_once
    }

    fn take(&mut self, now: Time, pace: Duration) {
        self.full_at = self.full_at.max(now) + pace;
    }
}

/// Up to where somebody has been told of changes, of each kind: those before are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// Arrivals.
    pub came: u64,
    /// Departures.
    pub left: u64,
}

/// The state of the exchange with one peer.
#[derive(Debug, Default)]
pub struct Exchange {
    /// We said that we take part.
    pub offered: bool,
    /// Its own entry among those that others are told of; none while nobody knows where it listens.
    pub contact: Option<u64>,
    /// Up to where it has been told who came and who left.
    pub cursor: Cursor,
    /// Not before this it is told more.
    pub tell_at: Time,
    messages: Allowance,
    addresses: Allowance,
}

impl Exchange {
    /// Whether a message that it sent is listened to, which uses up some of what it may send.
    pub fn may_speak(&mut self, now: Time) -> bool {
        let open = self.messages.is_open(now, MESSAGE_PACE, MESSAGES_AT_ONCE);
        if open {
            self.messages.take(now, MESSAGE_PACE);
        }
        open
    }

    /// Whether an address that nobody named before would be taken of it.
    pub fn may_name(&self, now: Time) -> bool {
        self.addresses.is_open(now, ADDRESS_PACE, ADDRESSES_AT_ONCE)
    }

    /// One was taken.
    pub fn has_named(&mut self, now: Time) {
        self.addresses.take(now, ADDRESS_PACE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Time {
        Time::from_start(Duration::from_secs(secs))
    }

    #[test]
    fn a_peer_may_speak_about_once_a_minute_and_a_few_times_at_first() {
        let mut exchange = Exchange::default();
        assert_eq!((0..10).filter(|_| exchange.may_speak(at(1000))).count(), MESSAGES_AT_ONCE as usize);
        let each = |exchange: &mut Exchange, every: u64| {
            (0..100).filter(|n| exchange.may_speak(at(2000 + n * every))).count()
        };
        assert_eq!(each(&mut exchange, 59), 100);
        let mut hasty = Exchange::default();
        assert!((22..=26).contains(&each(&mut hasty, 10)), "a thousand seconds");
    }

    #[test]
    fn what_one_peer_names_is_bounded_in_the_long_run() {
        let mut exchange = Exchange::default();
        let mut taken = 0;
        for minute in 0..60 {
            for _ in 0..200 {
                if exchange.may_name(at(minute * 60)) {
                    exchange.has_named(at(minute * 60));
                    taken += 1;
                }
            }
        }
        assert!((1200..=1300).contains(&taken), "{taken}");
    }
}
