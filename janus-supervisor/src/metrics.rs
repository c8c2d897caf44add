//! The supervisor's own counters: an observer made of atomics.

use crate::{EventKind, Observer, ServiceEvent};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counters over all services of one supervisor, fed by the same events as every other [`Observer`].
///
/// Each is exact by itself; read together while services come and go, they may be a moment apart.
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

    /// Counts one event.
    pub(crate) fn count(&self, kind: &EventKind) {
        match kind {
            EventKind::Registered => {
                self.spawned_total.fetch_add(1, Relaxed);
                self.active_services.fetch_add(1, Relaxed);
            }
            EventKind::Restarting => {
                self.restarts_total.fetch_add(1, Relaxed);
            }
            EventKind::BreakerOpened { .. } => {
                self.circuit_breaker_trips.fetch_add(1, Relaxed);
            }
            EventKind::Terminated { .. } => {
                self.terminated_total.fetch_add(1, Relaxed);
                self.active_services.fetch_sub(1, Relaxed);
            }
            _ => {}
        }
    }
}

impl Observer for SupervisorMetrics {
    fn observe(&self, event: &ServiceEvent) {
        self.count(&event.kind);
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
