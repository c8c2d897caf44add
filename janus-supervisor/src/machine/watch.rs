//! Whether a run shows what it has to: that it is ready in time, and alive.

use super::protocol::{Checks, Readiness};
use std::time::Instant;

/// The checks of one service, if it has any.
#[derive(Debug)]
pub(super) struct Watch(Option<Watched>);

#[derive(Debug)]
struct Watched {
    checks: Checks,
    /// When the present run has last shown that it is alive.
    alive_at: Instant,
}

impl Watch {
    pub(super) const fn none() -> Self {
        Self(None)
    }

    /// `never` stands for a sign of life until there is one.
    pub(super) fn new(checks: Checks, never: Instant) -> Self {
        let alive_at = never;
        Self((checks != Checks::default()).then_some(Watched { checks, alive_at }))
    }

    pub(super) fn checks(&self) -> Checks {
        let watched = self.0.as_ref();
        watched.map_or_else(Checks::default, |watched| watched.checks)
    }

    /// Whether a run has to say that it is ready.
    pub(super) fn waits_for_ready(&self) -> bool {
        self.checks().readiness == Readiness::Notify
    }

    /// When a run that began `since` must be ready.
    pub(super) fn start_timeout_at(&self, since: Instant) -> Option<Instant> {
        since.checked_add(self.0.as_ref()?.checks.start_timeout?)
    }

    /// When the present run must have shown again that it is alive.
    pub(super) fn watchdog_at(&self) -> Option<Instant> {
        let watched = self.0.as_ref()?;
        watched.alive_at.checked_add(watched.checks.watchdog?)
    }

    /// From now on the run has to show that it is alive.
    pub(super) fn begin(&mut self, now: Instant) {
        if let Some(watched) = &mut self.0 {
            watched.alive_at = now;
        }
    }

    /// The run has shown that it is alive.
    pub(super) fn beat(&mut self, at: Instant) {
        if let Some(watched) = &mut self.0 {
            watched.alive_at = watched.alive_at.max(at);
        }
    }
}
