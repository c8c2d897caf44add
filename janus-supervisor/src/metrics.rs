//! The supervisor's own counters: an observer made of atomics.

use crate::machine::Tally;
use crate::{Observer, ServiceEvent};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counters over all services of one supervisor, fed by the same events as every other [`Observer`].
///
/// Each is exact by itself; read together while services come and go, they may be a moment apart. As an observer of
/// one's own it must be there from the start: the end of a service whose registration it has not seen would count as
/// well, and have `active_services` wrap around.
#[derive(Debug, Default)]
pub struct SupervisorMetrics {
    /// Runs that were begun again after an earlier one had ended.
    pub restarts_total: AtomicU64,
    /// Services that are registered and have not terminated.
    pub active_services: AtomicU64,
    /// Services that were ever spawned.
    pub spawned_total: AtomicU64,
    /// Services that have terminated, for whatever reason.
    pub terminated_total: AtomicU64,
    /// How often a circuit breaker opened.
    pub circuit_breaker_trips: AtomicU64,
}

impl SupervisorMetrics {
    /// All counters as plain data.
    #[must_use]
    pub fn snapshot(&self) -> MetricsSnapshot {
        MetricsSnapshot {
            restarts_total: self.restarts_total.load(Relaxed),
            active_services: self.active_services.load(Relaxed),
            spawned_total: self.spawned_total.load(Relaxed),
            terminated_total: self.terminated_total.load(Relaxed),
            circuit_breaker_trips: self.circuit_breaker_trips.load(Relaxed),
        }
    }

    /// Adds what has happened. Of most steps of a service that is little, so nothing is written that does not change.
    #[inline]
    pub(crate) fn add(&self, tally: Tally) {
        let add = |to: &AtomicU64, n: u8| {
            if n > 0 {
                to.fetch_add(n.into(), Relaxed);
            }
        };
        add(&self.spawned_total, tally.registered);
        add(&self.active_services, tally.registered);
        add(&self.restarts_total, tally.restarts);
        add(&self.circuit_breaker_trips, tally.breaker_trips);
        add(&self.terminated_total, tally.terminated);
        if tally.terminated > 0 {
            self.active_services
                .fetch_sub(tally.terminated.into(), Relaxed);
        }
    }
}

impl Observer for SupervisorMetrics {
    fn observe(&self, event: &ServiceEvent) {
        let mut tally = Tally::none();
        tally.count((&event.kind).into());
        self.add(tally);
    }
}

/// [`SupervisorMetrics`] at one instant, under the same names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct MetricsSnapshot {
    /// Runs that were begun again after an earlier one had ended.
    pub restarts_total: u64,
    /// Services that are registered and have not terminated.
    pub active_services: u64,
    /// Services that were ever spawned.
    pub spawned_total: u64,
    /// Services that have terminated, for whatever reason.
    pub terminated_total: u64,
    /// How often a circuit breaker opened.
    pub circuit_breaker_trips: u64,
}
