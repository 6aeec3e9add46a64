//! What is to happen in a simulated world, in one order: by time, and what was scheduled first comes first.
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use wgo_core::Time;

/// Events that are to happen.
pub struct Agenda<E> {
    queue: BinaryHeap<Reverse<Scheduled<E>>>,
    scheduled: u64,
}

/// When, a number that makes the order one, and what.
struct Scheduled<E>(Time, u64, E);

impl<E> PartialEq for Scheduled<E> {
    fn eq(&self, other: &Scheduled<E>) -> bool {
        self.cmp(other).is_eq()
    }
}
impl<E> Eq for Scheduled<E> {}
impl<E> PartialOrd for Scheduled<E> {
    fn partial_cmp(&self, other: &Scheduled<E>) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl<E> Ord for Scheduled<E> {
    fn cmp(&self, other: &Scheduled<E>) -> Ordering {
        (self.0, self.1).cmp(&(other.0, other.1))
    }
}

impl<E> Default for Agenda<E> {
    fn default() -> Agenda<E> {
        Agenda::new()
    }
}

impl<E> Agenda<E> {
    pub fn new() -> Agenda<E> {
        Agenda { queue: BinaryHeap::new(), scheduled: 0 }
    }

    pub fn push(&mut self, at: Time, event: E) {
        self.scheduled += 1;
        self.queue.push(Reverse(Scheduled(at, self.scheduled, event)));
    }

    /// The next event, its time and number; `None` if there is none up to `end`.
    pub fn pop_until(&mut self, end: Time) -> Option<(Time, u64, E)> {
        if self.queue.peek().is_none_or(|Reverse(next)| next.0 > end) {
            return None;
        }
        self.queue.pop().map(|Reverse(Scheduled(at, number, event))| (at, number, event))
    }
}
