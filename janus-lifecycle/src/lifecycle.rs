//! The transition table plus time and counters.
//!
//! Invariants, which the property tests in `tests/properties.rs` cite:
//!
//! 1. The phase only ever moves along [`ServicePhase::can_become`]. A refused move changes nothing at all.
//! 2. Time never runs backwards: a `now` earlier than the last transition counts as that transition's time.
//! 3. Running time is at most the age, and stands still unless the phase is `Running`.
//! 4. `start_count` is one more than the number of moves from `BackingOff` to `Starting`.
//! 5. A termination reason exists exactly when the phase is `Terminated`, and never changes.

use crate::{
    Failure, FailureCounts, ServiceLifecycleSnapshot, ServicePhase, TerminationReason,
    TransitionError,
};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// When a service that is backing off will run again, and which attempt that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// The instant of the next run, as drawn: after jitter.
    pub at: Instant,
    /// Consecutive failures so far; 0 after a clean exit.
    pub attempt: u32,
}

impl Retry {
    /// After this delay. One beyond the end of time is as good as never: a century, or as much of it as there is.
    #[must_use]
    pub fn after(now: Instant, delay: Duration, attempt: u32) -> Self {
        const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
        let never = || now.checked_add(CENTURY).unwrap_or(now);
        Self {
            at: now.checked_add(delay).unwrap_or_else(never),
            attempt,
        }
    }
}

/// A phase together with the data that only exists in it.
#[derive(Debug, Clone)]
enum State {
    Starting,
    Running,
    BackingOff(Retry),
    Stopping,
    Terminated(TerminationReason),
}

impl State {
    const fn phase(&self) -> ServicePhase {
        match self {
            Self::Starting => ServicePhase::Starting,
            Self::Running => ServicePhase::Running,
            Self::BackingOff(_) => ServicePhase::BackingOff,
            Self::Stopping => ServicePhase::Stopping,
            Self::Terminated(_) => ServicePhase::Terminated,
        }
    }
}

/// The life of one service, from its registration to its end.
///
/// Every transition takes the current time as its first argument and answers [`TransitionError`] if the table does not
/// allow it, in which case nothing has changed.
#[derive(Debug, Clone)]
pub struct ServiceLifecycle {
    name: Arc<str>,
    state: State,
    created_at: Instant,
    phase_since: Instant,
    running_before: Duration,
    start_count: u32,
    attempt: u32,
    failures: FailureCounts,
    last_failure: Option<Failure>,
}

impl ServiceLifecycle {
    /// A service that has just been registered: `Starting`, with a start count of 1.
    #[must_use]
    pub fn new(now: Instant, name: impl Into<Arc<str>>) -> Self {
        Self {
            name: name.into(),
            state: State::Starting,
            created_at: now,
            phase_since: now,
            running_before: Duration::ZERO,
            start_count: 1,
            attempt: 0,
            failures: FailureCounts::default(),
            last_failure: None,
        }
    }

    /// `Starting` -> `Running`.
    ///
    /// # Errors
    /// [`TransitionError`] from any other phase.
    pub fn transition_to_running(&mut self, now: Instant) -> Result<(), TransitionError> {
        self.enter(now, State::Running)
    }

    /// `Starting` or `Running` -> `BackingOff`: the run is over, the next begins at `retry.at`.
    ///
    /// With a `failure`, it is counted and kept as the last error; without one the run ended cleanly and nothing is counted.
    ///
    /// # Errors
    /// [`TransitionError`] from any other phase; the failure is then not counted.
    pub fn transition_to_backing_off(
        &mut self,
        now: Instant,
        retry: Retry,
        failure: Option<Failure>,
    ) -> Result<(), TransitionError> {
        self.enter(now, State::BackingOff(retry))?;
        self.attempt = retry.attempt;
        if let Some(failure) = failure {
            self.record_failure(failure);
        }
        Ok(())
    }

    /// `BackingOff` -> `Starting`: another run begins, and the start count grows.
    ///
    /// # Errors
    /// [`TransitionError`] from any other phase.
    pub fn transition_to_restarting(&mut self, now: Instant) -> Result<(), TransitionError> {
        self.enter(now, State::Starting)?;
        self.start_count = self.start_count.saturating_add(1);
        Ok(())
    }

    /// `Starting`, `Running` or `BackingOff` -> `Stopping`.
    ///
    /// # Errors
    /// [`TransitionError`] from any other phase.
    pub fn transition_to_stopping(&mut self, now: Instant) -> Result<(), TransitionError> {
        self.enter(now, State::Stopping)
    }

    /// Any phase but `Terminated` -> `Terminated`.
    ///
    /// # Errors
    /// [`TransitionError`] if it has terminated already; the first reason stays.
    pub fn transition_to_terminated(
        &mut self,
        now: Instant,
        reason: TerminationReason,
    ) -> Result<(), TransitionError> {
        self.enter(now, State::Terminated(reason))
    }

    /// Counts a failure and keeps it as the last error, without a move: for a failure that ends the service.
    pub fn record_failure(&mut self, failure: Failure) {
        self.failures.record(failure.kind());
        self.keep_error(failure);
    }

    /// Keeps an error as the last one without counting a failure: what a service returns after it was asked to stop.
    pub fn keep_error(&mut self, failure: Failure) {
        self.last_failure = Some(failure);
    }

    /// The service has run well for long enough: it is no longer on any attempt.
    pub const fn record_recovery(&mut self) {
        self.attempt = 0;
    }

    /// The only line that assigns a state.
    fn enter(&mut self, now: Instant, next: State) -> Result<(), TransitionError> {
        let (from, to) = (self.phase(), next.phase());
        if !from.can_become(to) {
            return Err(TransitionError { from, to });
        }
        self.running_before = self.cumulative_running_time(now);
        self.phase_since = self.phase_since.max(now);
        self.state = next;
        Ok(())
    }

    /// What the service is doing.
    #[must_use]
    pub const fn phase(&self) -> ServicePhase {
        self.state.phase()
    }

    /// The service's name.
    #[must_use]
    pub const fn service_name(&self) -> &Arc<str> {
        &self.name
    }

    /// How many runs have begun or are about to: 1 from the registration on.
    #[must_use]
    pub const fn start_count(&self) -> u32 {
        self.start_count
    }

    /// Consecutive failures, until a clean exit or a recovery sets it back to 0.
    #[must_use]
    pub const fn attempt(&self) -> u32 {
        self.attempt
    }

    /// When the next run begins, while the service is backing off.
    #[must_use]
    pub const fn retry(&self) -> Option<Retry> {
        match self.state {
            State::BackingOff(retry) => Some(retry),
            State::Starting | State::Running | State::Stopping | State::Terminated(_) => None,
        }
    }

    /// Failures since the registration, of all kinds.
    #[must_use]
    pub fn total_failures(&self) -> u32 {
        self.failures.total()
    }

    /// Failures since the registration, by kind.
    #[must_use]
    pub const fn failures(&self) -> &FailureCounts {
        &self.failures
    }

    /// The last failure, or the error that a stop ended with.
    #[must_use]
    pub const fn last_failure(&self) -> Option<&Failure> {
        self.last_failure.as_ref()
    }

    /// The text of [`last_failure`](Self::last_failure) with its whole chain of sources.
    #[must_use]
    pub fn last_error(&self) -> Option<String> {
        self.last_failure.as_ref().map(ToString::to_string)
    }

    /// Why it has terminated, once it has.
    #[must_use]
    pub const fn termination_reason(&self) -> Option<&TerminationReason> {
        match &self.state {
            State::Terminated(reason) => Some(reason),
            State::Starting | State::Running | State::BackingOff(_) | State::Stopping => None,
        }
    }

    /// Time spent in `Running`, over all runs, up to `now`.
    #[must_use]
    pub fn cumulative_running_time(&self, now: Instant) -> Duration {
        match self.state {
            State::Running => self
                .running_before
                .saturating_add(self.time_in_current_phase(now)),
            State::Starting | State::BackingOff(_) | State::Stopping | State::Terminated(_) => {
                self.running_before
            }
        }
    }

    /// Time since the registration; it stops at the termination.
    #[must_use]
    pub fn age(&self, now: Instant) -> Duration {
        let until = match self.state {
            State::Terminated(_) => self.phase_since,
            State::Starting | State::Running | State::BackingOff(_) | State::Stopping => {
                now.max(self.phase_since)
            }
        };
        until.saturating_duration_since(self.created_at)
    }

    /// Time since the last transition.
    #[must_use]
    pub fn time_in_current_phase(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.phase_since)
    }

    /// When the service was registered.
    #[must_use]
    pub const fn created_at(&self) -> Instant {
        self.created_at
    }

    /// When the current phase began.
    #[must_use]
    pub const fn phase_since(&self) -> Instant {
        self.phase_since
    }

    /// All of the above as plain data, for `now`. Formats the last error.
    #[must_use]
    pub fn snapshot(&self, now: Instant) -> ServiceLifecycleSnapshot {
        ServiceLifecycleSnapshot {
            service_name: self.name.to_string(),
            phase: self.phase(),
            start_count: self.start_count,
            attempt: self.attempt,
            total_failures: self.total_failures(),
            last_error: self.last_error(),
            last_failure_kind: self.last_failure.as_ref().map(Failure::kind),
            cumulative_running_secs: self.cumulative_running_time(now).as_secs_f64(),
            age_secs: self.age(now).as_secs_f64(),
            time_in_phase_secs: self.time_in_current_phase(now).as_secs_f64(),
            next_retry_secs: self.retry().map(|retry| {
                let now = now.max(self.phase_since);
                retry.at.saturating_duration_since(now).as_secs_f64()
            }),
            termination_reason: self.termination_reason().map(ToString::to_string),
            status: None,
            stuck: false,
        }
    }
}
