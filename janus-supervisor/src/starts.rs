//! The supervisor's limit on starts, as all its services share it.

use crate::cell::ServiceCell;
use crate::machine::{StartLimit, Ticket, Turn};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Who starts, and who waits for that.
#[derive(Debug)]
pub(crate) struct Starts(Mutex<StartLimit<Arc<ServiceCell>>>);

impl Starts {
    /// None, if nothing is limited.
    pub(crate) fn new(places: Option<usize>, spread: Duration) -> Option<Self> {
        let is_limited = places.is_some() || !spread.is_zero();
        let limit = || StartLimit::new(places.unwrap_or(usize::MAX), spread);
        is_limited.then(|| Self(Mutex::new(limit())))
    }

    /// Whether nothing can start at all.
    pub(crate) fn is_closed(&self) -> bool {
        self.limit().is_closed()
    }

    /// When it is a restart's turn.
    pub(crate) fn take_turn(&self, now: Instant) -> Turn {
        self.limit().take_turn(now)
    }

    /// Somebody else may have this turn.
    pub(crate) fn give_back(&self, turn: Instant, now: Instant) {
        self.limit().give_back(turn, now);
    }

    /// A place for this service, or one in the queue; returns whether it is the former. Otherwise the service hears
    /// when it is.
    pub(crate) fn enter(&self, cell: &Arc<ServiceCell>) -> (Ticket, bool) {
        self.limit().enter(Arc::clone(cell))
    }

    /// Gives up a place, or one in the queue.
    pub(crate) fn leave(&self, ticket: Ticket) {
        let next = self.limit().leave(ticket);
        if let Some((ticket, cell)) = next {
            cell.grant_start(ticket);
        }
    }

    fn limit(&self) -> MutexGuard<'_, StartLimit<Arc<ServiceCell>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
