//! The connections of a socket: when all places are taken, the one that has been idle longest makes room.
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::stream::Activity;

/// A connection's place.
pub(super) struct Seat {
    /// `None` once it is another's.
    permit: Mutex<Option<OwnedSemaphorePermit>>,
    activity: Arc<Activity>,
}

impl Seat {
    fn permit(&self) -> std::sync::MutexGuard<'_, Option<OwnedSemaphorePermit>> {
        self.permit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Since when its connection could go without harm.
    fn idle_since(&self) -> Option<Instant> {
        self.permit().as_ref()?;
        self.activity.idle_since()
    }
}

/// Who has a place.
pub(super) struct Guests {
    /// Twice the places at most: those that have ended are dropped now and then.
    seats: Vec<Weak<Seat>>,
    places: usize,
    idle: Duration,
}

impl Guests {
    /// Of so many places; a connection is idle after `idle`.
    pub(super) fn new(places: usize, idle: Duration) -> Guests {
        Guests { seats: Vec::new(), places, idle }
    }

    /// A connection takes a place.
    pub(super) fn seat(&mut self, permit: OwnedSemaphorePermit, activity: Arc<Activity>) -> Arc<Seat> {
        if self.seats.len() >= 2 * self.places {
            self.seats.retain(|seat| seat.strong_count() > 0);
        }
        let seat = Arc::new(Seat { permit: Mutex::new(Some(permit)), activity });
        self.seats.push(Arc::downgrade(&seat));
        seat
    }

    /// Ends the connection that has been idle longest, and gives its place.
    pub(super) fn make_room(&mut self) -> Option<OwnedSemaphorePermit> {
        let seats = self.seats.iter().filter_map(Weak::upgrade);
        let (since, seat) =
            seats.filter_map(|seat| Some((seat.idle_since()?, seat))).min_by_key(|(since, _)| *since)?;
        if since.elapsed() < self.idle {
            return None;
        }
        seat.activity.give_up();
        seat.permit().take()
    }
}
