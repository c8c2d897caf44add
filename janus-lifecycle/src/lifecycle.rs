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
    BoxError, Displaced, Failure, FailureCounts, FailureKind, ServiceLifecycleSnapshot,
    ServicePhase, TerminationReason, TransitionError,
};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// When a service that is backing off will run again, and which attempt that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// The instant of the next run, as drawn: after jitter.
    pub at: Instant,
    /// Consecutive failures so far; 0 after a clean exit or a recovery.
    pub attempt: u32,
}

impl Retry {
    /// After this delay. One beyond the end of time is as good as never: a century, or as much of it as there is.
    #[must_use]
    #[inline]
    pub fn after(now: Instant, delay: Duration, attempt: u32) -> Self {
        const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
        let never = || {
            let mut halves = std::iter::successors(Some(CENTURY), |delay| Some(*delay / 2));
            // The last is none at all.
            halves
                .find_map(|delay| now.checked_add(delay))
                .unwrap_or(now)
        };
        let at = if delay.is_zero() {
            now
        } else {
            now.checked_add(delay).unwrap_or_else(never)
        };
        Self { at, attempt }
    }
}

/// A phase together with the data that only exists in it.
#[derive(Debug, Clone)]
enum State {
    Starting,
    Running,
    /// Until then.
    BackingOff(Instant),
    Stopping,
    Terminated(Plain),
    /// Behind a pointer, because it comes last and is large: a fleet is mostly of services that run.
    TerminatedFor(Box<TerminationReason>),
}

/// The commonest reasons to terminate: those without details.
#[derive(Debug, Clone, Copy)]
enum Plain {
    Completed,
    Cancelled,
    Aborted,
}

impl Plain {
    const fn reason(self) -> &'static TerminationReason {
        match self {
            Self::Completed => &TerminationReason::Completed,
            Self::Cancelled => &TerminationReason::Cancelled,
            Self::Aborted => &TerminationReason::Aborted,
        }
    }
}

impl From<TerminationReason> for State {
    #[inline]
    fn from(reason: TerminationReason) -> Self {
        match reason {
            TerminationReason::Completed => Self::Terminated(Plain::Completed),
            TerminationReason::Cancelled => Self::Terminated(Plain::Cancelled),
            TerminationReason::Aborted => Self::Terminated(Plain::Aborted),
            other => Self::TerminatedFor(Box::new(other)),
        }
    }
}

/// The time that a service has spent in `Running`, as one number, which a run that follows another at once need not
/// touch.
///
/// In nanoseconds, of which there are enough for five centuries. While it is running: how much of its age it has not
/// been. While it is not: how much it has been.
#[derive(Debug, Clone, Copy)]
struct Uptime(u64);

impl Uptime {
    /// The rest of its age: what it has been running while it is, and what counts from here on when it begins to or
    /// ends.
    fn rest(self, age: Duration) -> Self {
        let age = u64::try_from(age.as_nanos()).unwrap_or(u64::MAX);
        Self(age.saturating_sub(self.0))
    }

    const fn as_duration(self) -> Duration {
        Duration::from_nanos(self.0)
    }
}

/// The failures of one service. Most have none, and pay for no more than a pointer.
#[derive(Debug, Clone, Default)]
struct Failures {
    counts: FailureCounts,
    last: Option<Failure>,
}

impl State {
    #[inline]
    const fn phase(&self) -> ServicePhase {
        match self {
            Self::Starting => ServicePhase::Starting,
            Self::Running => ServicePhase::Running,
            Self::BackingOff(_) => ServicePhase::BackingOff,
            Self::Stopping => ServicePhase::Stopping,
            Self::Terminated(_) | Self::TerminatedFor(_) => ServicePhase::Terminated,
        }
    }
}

/// The life of one service, from its registration to its end.
///
/// Every transition takes the current time as its first argument and returns [`TransitionError`] if the table does not
/// allow it, in which case nothing has changed.
#[derive(Debug, Clone)]
pub struct ServiceLifecycle {
    name: Arc<str>,
    state: State,
    created_at: Instant,
    phase_since: Instant,
    uptime: Uptime,
    start_count: u32,
    attempt: u32,
    failures: Option<Box<Failures>>,
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
            uptime: Uptime(0),
            start_count: 1,
            attempt: 0,
            failures: None,
        }
    }

    /// A service of the same name that has just been registered.
    #[must_use]
    pub fn anew(&self, now: Instant) -> Self {
        Self::new(now, Arc::clone(&self.name))
    }

    /// `Starting` -> `Running`.
    ///
    /// # Errors
    /// [`TransitionError`] from any other phase.
    #[inline]
    pub fn transition_to_running(&mut self, now: Instant) -> Result<(), TransitionError> {
        self.enter(now, State::Running)
    }

    /// `Starting` or `Running` -> `BackingOff`: the run is over, the next begins at `retry.at`.
    ///
    /// With a `failure`, it is counted and kept as the last error; without one the run ended cleanly and nothing is
    /// counted.
    ///
    /// # Errors
    /// [`TransitionError`] from any other phase; the failure is then not counted.
    #[inline]
    pub fn transition_to_backing_off(
        &mut self,
        now: Instant,
        retry: Retry,
        failure: Option<Failure>,
    ) -> Result<(), TransitionError> {
        self.enter(now, State::BackingOff(retry.at))?;
        self.attempt = retry.attempt;
        if let Some(failure) = failure {
            let _dropped_here = self.count_failure(failure);
        }
        Ok(())
    }

    /// `BackingOff` -> `Starting`: another run begins, and the start count grows.
    ///
    /// # Errors
    /// [`TransitionError`] from any other phase.
    #[inline]
    pub fn transition_to_restarting(&mut self, now: Instant) -> Result<(), TransitionError> {
        self.enter(now, State::Starting)?;
        self.start_count = self.start_count.saturating_add(1);
        Ok(())
    }

    /// `Running` -> `BackingOff` -> `Starting` -> `Running`, all at this moment: a run has failed, and the next follows
    /// at once. As [`transition_to_backing_off`](Self::transition_to_backing_off) with a delay of zero,
    /// [`transition_to_restarting`](Self::transition_to_restarting) and
    /// [`transition_to_running`](Self::transition_to_running), and faster: the failure takes the memory of the last
    /// one, unless somebody else has that. Returns the error that is no longer the last one.
    ///
    /// # Errors
    /// [`TransitionError`] from any other phase; the failure is then not counted.
    ///
    /// ```
    /// use janus_lifecycle::{FailureKind, ServiceLifecycle};
    /// use std::time::Instant;
    ///
    /// let now = Instant::now();
    /// let mut life = ServiceLifecycle::new(now, "api");
    /// life.transition_to_running(now)?;
    /// drop(life.transition_to_next_run(now, 1, FailureKind::Error, "broken".into())?);
    /// assert_eq!((life.start_count(), life.attempt()), (2, 1));
    /// assert_eq!(life.last_error().as_deref(), Some("broken"));
    /// # Ok::<(), janus_lifecycle::TransitionError>(())
    /// ```
    #[inline]
    pub fn transition_to_next_run(
        &mut self,
        now: Instant,
        attempt: u32,
        kind: FailureKind,
        error: BoxError,
    ) -> Result<Displaced, TransitionError> {
        if !matches!(self.state, State::Running) {
            let from = self.phase();
            let to = ServicePhase::BackingOff;
            // As a failure, whose drop contains a panic of the error's.
            drop(Failure::new(kind, error));
            return Err(TransitionError { from, to });
        }
        // Its uptime goes on.
        self.phase_since = self.phase_since.max(now);
        self.attempt = attempt;
        self.start_count = self.start_count.saturating_add(1);
        let failures = self.failures.get_or_insert_default();
        failures.counts.record(kind);
        Ok(Failure::put(&mut failures.last, kind, error))
    }

    /// `Starting`, `Running` or `BackingOff` -> `Stopping`.
    ///
    /// # Errors
    /// [`TransitionError`] from any other phase.
    pub fn transition_to_stopping(&mut self, now: Instant) -> Result<(), TransitionError> {
        self.enter(now, State::Stopping)
    }

    /// Any phase but `Terminated` -> `Terminated`. One that has completed is no longer on any attempt.
    ///
    /// # Errors
    /// [`TransitionError`] if it has terminated already; the first reason stays.
    #[inline]
    pub fn transition_to_terminated(
        &mut self,
        now: Instant,
        reason: TerminationReason,
    ) -> Result<(), TransitionError> {
        let is_clean = matches!(reason, TerminationReason::Completed);
        self.enter(now, reason.into())?;
        if is_clean {
            self.attempt = 0;
        }
        Ok(())
    }

    /// Counts a failure, as one more in a row, and keeps it as the last error, without a move: for a failure that ends
    /// the service. Returns the error that is no longer the last one: dropping it runs the user's code.
    #[inline]
    pub fn record_failure(&mut self, failure: Failure) -> Option<Failure> {
        self.attempt = self.attempt.saturating_add(1);
        self.count_failure(failure)
    }

    #[inline]
    fn count_failure(&mut self, failure: Failure) -> Option<Failure> {
        let failures = self.failures.get_or_insert_default();
        failures.counts.record(failure.kind());
        failures.last.replace(failure)
    }

    /// Keeps an error as the last one without counting a failure: what a service returns after it was asked to stop.
    /// Returns the one before it.
    pub fn keep_error(&mut self, failure: Failure) -> Option<Failure> {
        self.failures.get_or_insert_default().last.replace(failure)
    }

    /// The service has run well for long enough: it is no longer on any attempt.
    pub const fn record_recovery(&mut self) {
        self.attempt = 0;
    }

    /// The only line that assigns a state.
    #[inline]
    fn enter(&mut self, now: Instant, next: State) -> Result<(), TransitionError> {
        let (from, to) = (self.phase(), next.phase());
        if !from.can_become(to) {
            return Err(TransitionError { from, to });
        }
        self.phase_since = self.phase_since.max(now);
        if from == ServicePhase::Running || to == ServicePhase::Running {
            let age = self.phase_since.saturating_duration_since(self.created_at);
            self.uptime = self.uptime.rest(age);
        }
        self.state = next;
        Ok(())
    }

    /// What the service is doing.
    #[must_use]
    #[inline]
    pub const fn phase(&self) -> ServicePhase {
        self.state.phase()
    }

    /// The service's name.
    #[must_use]
    pub fn service_name(&self) -> &str {
        &self.name
    }

    /// How many runs have begun or are about to: 1 from the registration on.
    #[must_use]
    #[inline]
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
        let attempt = self.attempt;
        match self.state {
            State::BackingOff(at) => Some(Retry { at, attempt }),
            State::Starting
            | State::Running
            | State::Stopping
            | State::Terminated(_)
            | State::TerminatedFor(_) => None,
        }
    }

    /// Failures since the registration, of all kinds.
    #[must_use]
    pub fn total_failures(&self) -> u32 {
        self.failures().total()
    }

    /// Failures since the registration, by kind.
    #[must_use]
    pub fn failures(&self) -> &FailureCounts {
        const NONE: &FailureCounts = &FailureCounts::none();
        self.failures
            .as_ref()
            .map_or(NONE, |failures| &failures.counts)
    }

    /// The last failure, or the error that a stop ended with.
    #[must_use]
    pub fn last_failure(&self) -> Option<&Failure> {
        self.failures.as_ref()?.last.as_ref()
    }

    /// The text of [`last_failure`](Self::last_failure) with its whole chain of sources.
    #[must_use]
    pub fn last_error(&self) -> Option<String> {
        self.last_failure().map(ToString::to_string)
    }

    /// Why it has terminated, once it has.
    #[must_use]
    pub const fn termination_reason(&self) -> Option<&TerminationReason> {
        match &self.state {
            State::Terminated(plain) => Some(plain.reason()),
            State::TerminatedFor(reason) => Some(reason),
            State::Starting | State::Running | State::BackingOff(_) | State::Stopping => None,
        }
    }

    /// Time spent in `Running`, over all runs, up to `now`.
    #[must_use]
    pub fn cumulative_running_time(&self, now: Instant) -> Duration {
        self.running_time_at(self.age(now))
    }

    fn running_time_at(&self, age: Duration) -> Duration {
        match self.state {
            State::Running => self.uptime.rest(age).as_duration(),
            State::Starting
            | State::BackingOff(_)
            | State::Stopping
            | State::Terminated(_)
            | State::TerminatedFor(_) => self.uptime.as_duration(),
        }
    }

    /// Time since the registration; it stops at the termination.
    #[must_use]
    pub fn age(&self, now: Instant) -> Duration {
        let until = match self.state {
            State::Terminated(_) | State::TerminatedFor(_) => self.phase_since,
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
        let mut snapshot = self.snapshot_without_error(now);
        snapshot.last_error = self.last_error();
        snapshot
    }

    /// As [`snapshot`](Self::snapshot), without the text of the last error: for where the error's own code must not
    /// run, as under a lock.
    #[must_use]
    pub fn snapshot_without_error(&self, now: Instant) -> ServiceLifecycleSnapshot {
        let age = self.age(now);
        ServiceLifecycleSnapshot {
            // Not `to_string`, which formats what an `Arc` points to.
            service_name: (*self.name).to_owned(),
            phase: self.phase(),
            start_count: self.start_count,
            attempt: self.attempt,
            total_failures: self.total_failures(),
            last_error: None,
            last_failure_kind: self.last_failure().map(Failure::kind),
            cumulative_running_secs: self.running_time_at(age).as_secs_f64(),
            age_secs: age.as_secs_f64(),
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
