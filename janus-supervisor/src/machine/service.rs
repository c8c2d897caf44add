//! One service: lifecycle + backoff + policy.
//!
//! Invariants, which the tests cite:
//!
//! 1. [`Command::Run`] is answered only when no run is in progress, and none is after [`Command::Finish`].
//! 2. Every run that began ends with exactly one `RunEnded`, before the transition that follows from it.
//! 3. A stop request wins at any point: after it no run begins, and with none in progress the service terminates at once.
//! 4. An input that is late, early, repeated or stale changes nothing and says so with [`Command::Wait`] (or
//!    [`Command::Finish`], when all is over).
//! 5. `deadline` is when something will be due. A [`Input::Tick`] before it changes nothing.
//! 6. A gated service begins a run only with a permit that is newer than the one of the run before, and that was not taken back.

use super::protocol::{Checks, Command, Ended, Happening, Input, Permit, Readiness, Step};
use arrayvec::ArrayVec;
use janus_backoff::{BackoffAction, BackoffState};
use janus_lifecycle::{
    AfterExit, EventKind, Exit, Failure, FailureKind, Retry, RunOutcome, ServiceLifecycle,
    TerminationReason, TransitionError,
};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Where the service stands: what the phase says, and what only the machine needs to know.
#[derive(Debug, Clone, Copy)]
enum State {
    /// Registered; its task has not begun.
    New,
    /// A run is in progress, and has not said that it is ready.
    Starting {
        since: Instant,
    },
    Running {
        since: Instant,
    },
    /// The run has failed without an end of its own, and is being dropped.
    Failing {
        since: Instant,
    },
    /// Told to end the run, but not the service.
    Halting {
        since: Instant,
        abort_at: Option<Instant>,
    },
    /// Between two runs. The lifecycle knows until when.
    BackingOff,
    Stopping {
        since: Instant,
        /// `None`: it may take for ever.
        abort_at: Option<Instant>,
    },
    /// Dropped, but perhaps not gone yet.
    Aborting {
        since: Instant,
        then: Then,
    },
    Finished,
}

/// What follows when a run that was dropped is gone.
#[derive(Debug, Clone, Copy)]
enum Then {
    Terminate,
    /// The run was to halt.
    Hold,
}

/// The decisions about one service.
///
/// The same configuration, seed and inputs give the same answers: a whole history can be replayed.
#[derive(Debug)]
pub struct ServiceMachine {
    lifecycle: ServiceLifecycle,
    backoff: BackoffState,
    grace: Duration,
    state: State,
    next_seq: u64,
    permit: Permit,
    /// The permit of the last run that began; 0 if none did, or if none is needed.
    used: u32,
    /// Somebody wants the next run at once, whatever is left of the backoff.
    at_once: bool,
    /// What the runs have to show, and when the present one has last shown that it is alive.
    checks: Option<Box<(Checks, Instant)>>,
}

impl ServiceMachine {
    /// A service that has just been registered. `grace` is how long it may take to stop.
    ///
    /// The event that says so, `Registered`, is the caller's to send: see [`take_seq`](Self::take_seq).
    #[must_use]
    pub fn new(
        now: Instant,
        name: impl Into<Arc<str>>,
        backoff: BackoffState,
        grace: Duration,
    ) -> Self {
        Self {
            lifecycle: ServiceLifecycle::new(now, name),
            backoff,
            grace,
            state: State::New,
            next_seq: 0,
            permit: Permit::OPEN,
            used: 0,
            at_once: false,
            checks: None,
        }
    }

    /// The same for a service whose runs have to show something.
    #[must_use]
    pub fn checked(mut self, checks: Checks) -> Self {
        let never = self.lifecycle.created_at();
        self.checks = (checks != Checks::default()).then(|| Box::new((checks, never)));
        self
    }

    /// The same for a service that begins no run before [`Input::Permit`] allows it: a child of a group.
    #[must_use]
    pub fn gated(mut self) -> Self {
        self.permit = Permit::default();
        self
    }

    /// What its runs have to show, if anything.
    #[must_use]
    pub fn checks(&self) -> Checks {
        self.checks
            .as_ref()
            .map_or_else(Checks::default, |checks| checks.0)
    }

    /// Whether what was due so long ago has not been done: whoever drives this machine is held up.
    pub(crate) fn is_overdue(&self, now: Instant, by: Duration) -> bool {
        let since = match self.state {
            State::Failing { .. } => Some(self.lifecycle.phase_since()),
            _ => self.deadline(),
        };
        since.is_some_and(|at| now.saturating_duration_since(at) > by)
    }

    /// The permits that it knows of.
    #[must_use]
    pub const fn permit(&self) -> Permit {
        self.permit
    }

    /// Whether no run is in progress, and none will begin without another permit.
    #[must_use]
    pub const fn is_held(&self) -> bool {
        matches!(self.state, State::New | State::BackingOff) && !self.may_begin()
    }

    /// How many runs have begun. (`start_count` is 1 also before the first.)
    pub(crate) const fn runs(&self) -> u32 {
        match self.state {
            State::New => 0,
            _ => self.lifecycle.start_count(),
        }
    }

    /// The service as the outside sees it.
    #[must_use]
    pub const fn lifecycle(&self) -> &ServiceLifecycle {
        &self.lifecycle
    }

    /// When the next [`Input::Tick`] is due, if time alone will change anything.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::New | State::Failing { .. } | State::Aborting { .. } | State::Finished => None,
            State::Starting { since } => self.start_timeout_at(since),
            State::Running { .. } => earlier(self.backoff.cooldown_at(), self.watchdog_at()),
            State::BackingOff if !self.may_begin() => None,
            State::BackingOff if self.at_once => Some(self.lifecycle.phase_since()),
            State::BackingOff => self.lifecycle.retry().map(|retry| retry.at),
            State::Halting { abort_at, .. } | State::Stopping { abort_at, .. } => abort_at,
        }
    }

    /// The number for an event that is the caller's to send, such as `Removed`.
    pub const fn take_seq(&mut self) -> u64 {
        let seq = self.next_seq;
        self.next_seq += 1;
        seq
    }

    /// Takes one input and decides.
    ///
    /// # Errors
    /// [`TransitionError`] if the machine asked its lifecycle for a move that the table does not have. That would be a fault
    /// of this machine; no input leads to it.
    pub fn handle(&mut self, now: Instant, input: Input) -> Result<Step, TransitionError> {
        let mut step = Step {
            command: Command::Wait,
            deadline: None,
            happened: ArrayVec::new(),
            first_seq: self.next_seq,
            displaced: None,
        };
        self.decide(now, input, &mut step)?;
        self.next_seq += step.happened.len() as u64;
        step.deadline = self.deadline();
        Ok(step)
    }

    /// The machine: every state, every input.
    fn decide(
        &mut self,
        now: Instant,
        input: Input,
        step: &mut Step,
    ) -> Result<(), TransitionError> {
        match (self.state, input) {
            (State::New, Input::Start) => self.begin_if_allowed(now, step),
            (State::New, Input::Permit(permit)) => {
                self.note(permit);
                self.begin_if_allowed(now, step)
            }

            (State::New, Input::Restart) => Ok(()),

            (State::Starting { since }, Input::Ready) => {
                self.lifecycle.transition_to_running(now)?;
                self.tell(step, EventKind::Running);
                self.begin_watch(now);
                self.state = State::Running { since };
                Ok(())
            }
            (State::Starting { since }, Input::Tick) => {
                if self.start_timeout_at(since).is_some_and(|at| at <= now) {
                    self.fail(since, FailureKind::StartTimeout, step);
                }
                Ok(())
            }
            (State::Running { .. }, Input::Heartbeat(at)) => {
                self.beat(at.min(now));
                Ok(())
            }
            (State::Starting { since } | State::Failing { since }, Input::Exited(ended)) => {
                self.run_ended(now, since, ended, step)
            }
            // It is being dropped already.
            (State::Failing { since }, Input::Stop { .. }) => {
                self.lifecycle.transition_to_stopping(now)?;
                self.tell(step, EventKind::Stopping);
                let then = Then::Terminate;
                self.state = State::Aborting { since, then };
                Ok(())
            }
            (State::Failing { .. }, Input::Permit(permit)) => {
                self.note(permit);
                Ok(())
            }

            (State::New | State::BackingOff, Input::Stop { .. }) => {
                self.lifecycle.transition_to_stopping(now)?;
                self.tell(step, EventKind::Stopping);
                self.terminate(now, step, TerminationReason::Cancelled)
            }

            (State::Running { since }, Input::Exited(ended)) => {
                self.cool_down(now, step);
                self.run_ended(now, since, ended, step)
            }
            (State::Starting { since } | State::Running { since }, Input::Stop { latest }) => {
                self.lifecycle.transition_to_stopping(now)?;
                self.tell(step, EventKind::Stopping);
                step.command = Command::Stop;
                let abort_at = earlier(now.checked_add(self.grace), latest);
                self.state = State::Stopping { since, abort_at };
                self.abort_if_due(now, step);
                Ok(())
            }
            (State::Running { since }, Input::Tick) => {
                self.cool_down(now, step);
                if self.watchdog_at().is_some_and(|at| at <= now) {
                    self.fail(since, FailureKind::Hang, step);
                }
                Ok(())
            }
            (State::Starting { since } | State::Running { since }, Input::Restart) => {
                self.forget_failures(now, step);
                self.halt(now, since, step);
                Ok(())
            }

            (State::Starting { since } | State::Running { since }, Input::Permit(permit)) => {
                self.note(permit);
                if self.used > 0 && self.permit.halt >= self.used {
                    if matches!(self.state, State::Running { .. }) {
                        self.cool_down(now, step);
                    }
                    self.halt(now, since, step);
                }
                Ok(())
            }
            (State::BackingOff, Input::Restart) => {
                self.forget_failures(now, step);
                self.at_once = true;
                self.restart_if_due(now, step)
            }

            (State::BackingOff, Input::Tick) => self.restart_if_due(now, step),
            (State::BackingOff, Input::Permit(permit)) => {
                self.note(permit);
                self.restart_if_due(now, step)
            }

            // Whatever it returned, it was told to.
            (State::Halting { since, .. }, Input::Exited(ended))
            | (
                State::Aborting {
                    since,
                    then: Then::Hold,
                },
                Input::Exited(ended),
            ) => {
                let outcome = RunOutcome::Cancelled(ended.exit.into_failure());
                self.hold(now, since, outcome, step)
            }
            (State::Halting { since, abort_at }, Input::Stop { latest }) => {
                self.lifecycle.transition_to_stopping(now)?;
                self.tell(step, EventKind::Stopping);
                let abort_at = earlier(abort_at, latest);
                self.state = State::Stopping { since, abort_at };
                self.abort_if_due(now, step);
                Ok(())
            }
            (State::Halting { .. }, Input::Tick) => {
                self.abort_if_due(now, step);
                Ok(())
            }
            (State::Halting { .. }, Input::Permit(permit)) => {
                self.note(permit);
                Ok(())
            }

            // Also when it is being dropped: it ended by itself in the very moment that the grace did.
            (
                State::Stopping { since, .. }
                | State::Aborting {
                    since,
                    then: Then::Terminate,
                },
                Input::Exited(ended),
            ) => {
                let failure = ended.exit.into_failure();
                self.tell_run_ended(now, since, RunOutcome::Cancelled(failure.clone()), step);
                if let Some(failure) = failure {
                    step.displaced = self.lifecycle.last_failure().cloned();
                    self.lifecycle.keep_error(failure);
                }
                self.terminate(now, step, TerminationReason::Cancelled)
            }
            (State::Stopping { since, abort_at }, Input::Stop { latest }) => {
                // A shutdown may leave less time than the stop before it.
                let abort_at = earlier(abort_at, latest);
                self.state = State::Stopping { since, abort_at };
                self.abort_if_due(now, step);
                Ok(())
            }
            (State::Stopping { .. }, Input::Tick) => {
                self.abort_if_due(now, step);
                Ok(())
            }
            (State::Stopping { since, .. }, Input::Abort) => {
                let then = Then::Terminate;
                self.state = State::Aborting { since, then };
                step.command = Command::Abort;
                Ok(())
            }

            (State::Aborting { since, then }, Input::Gone) => match then {
                Then::Terminate => self.abort(now, Some(since), step),
                Then::Hold => self.hold(now, since, RunOutcome::Aborted, step),
            },
            (
                State::Aborting {
                    since,
                    then: Then::Hold,
                },
                Input::Stop { .. },
            ) => {
                self.lifecycle.transition_to_stopping(now)?;
                self.tell(step, EventKind::Stopping);
                let then = Then::Terminate;
                self.state = State::Aborting { since, then };
                Ok(())
            }
            (State::Aborting { .. }, Input::Permit(permit)) => {
                self.note(permit);
                Ok(())
            }
            (
                State::Starting { since }
                | State::Running { since }
                | State::Failing { since }
                | State::Halting { since, .. }
                | State::Stopping { since, .. }
                | State::Aborting { since, .. },
                Input::Lost,
            ) => self.abort(now, Some(since), step),
            (State::New | State::BackingOff, Input::Lost) => self.abort(now, None, step),

            // Late, early, repeated or stale: invariant 4.
            (State::New, Input::Exited(_) | Input::Abort | Input::Gone | Input::Tick)
            | (State::Starting { .. } | State::Running { .. }, Input::Start | Input::Abort)
            | (State::Starting { .. } | State::Running { .. }, Input::Gone)
            | (State::Starting { .. }, Input::Heartbeat(_))
            | (State::Running { .. }, Input::Ready)
            | (State::BackingOff, Input::Start | Input::Exited(_) | Input::Abort | Input::Gone)
            | (
                State::Failing { .. },
                Input::Start | Input::Restart | Input::Abort | Input::Gone | Input::Tick,
            )
            | (State::Halting { .. }, Input::Start | Input::Abort | Input::Gone)
            | (State::Stopping { .. }, Input::Start | Input::Permit(_) | Input::Gone)
            | (State::Aborting { .. }, Input::Start | Input::Abort | Input::Tick)
            | (
                State::Halting { .. } | State::Stopping { .. } | State::Aborting { .. },
                Input::Restart,
            )
            | (
                State::New
                | State::BackingOff
                | State::Failing { .. }
                | State::Halting { .. }
                | State::Stopping { .. }
                | State::Aborting { .. },
                Input::Ready | Input::Heartbeat(_),
            )
            | (
                State::Aborting {
                    then: Then::Terminate,
                    ..
                },
                Input::Stop { .. },
            ) => Ok(()),
            (
                State::Finished,
                Input::Start
                | Input::Ready
                | Input::Heartbeat(_)
                | Input::Restart
                | Input::Permit(_)
                | Input::Exited(_)
                | Input::Stop { .. }
                | Input::Abort
                | Input::Gone
                | Input::Tick
                | Input::Lost,
            ) => {
                step.command = Command::Finish;
                Ok(())
            }
        }
    }

    /// Takes note of a permit. Both numbers only grow, so one that comes late changes nothing.
    fn note(&mut self, permit: Permit) {
        if self.permit != Permit::OPEN {
            self.permit.go = self.permit.go.max(permit.go);
            self.permit.halt = self.permit.halt.max(permit.halt);
        }
    }

    /// Whether there is a permit for another run.
    const fn may_begin(&self) -> bool {
        self.permit.go > self.used && self.permit.go > self.permit.halt
    }

    fn begin_if_allowed(&mut self, now: Instant, step: &mut Step) -> Result<(), TransitionError> {
        if self.may_begin() {
            self.begin_run(now, step)
        } else {
            Ok(())
        }
    }

    fn restart_if_due(&mut self, now: Instant, step: &mut Step) -> Result<(), TransitionError> {
        let is_due = self.at_once || self.lifecycle.retry().is_some_and(|retry| retry.at <= now);
        if is_due && self.may_begin() {
            self.lifecycle.transition_to_restarting(now)?;
            self.tell(step, EventKind::Restarting);
            self.begin_run(now, step)?;
        }
        Ok(())
    }

    /// The run that was to halt is gone: waits for the next permit.
    fn hold(
        &mut self,
        now: Instant,
        since: Instant,
        outcome: RunOutcome,
        step: &mut Step,
    ) -> Result<(), TransitionError> {
        self.tell_run_ended(now, since, outcome, step);
        self.back_off(now, Duration::ZERO, None, step)
    }

    fn begin_run(&mut self, now: Instant, step: &mut Step) -> Result<(), TransitionError> {
        if self.permit != Permit::OPEN {
            self.used = self.permit.go;
        }
        self.at_once = false;
        self.backoff.record_start(now);
        step.command = Command::Run;
        if self.waits_for_ready() {
            self.state = State::Starting { since: now };
            return Ok(());
        }
        self.lifecycle.transition_to_running(now)?;
        self.tell(step, EventKind::Running);
        self.begin_watch(now);
        self.state = State::Running { since: now };
        Ok(())
    }

    /// Has the run end, but not the service.
    fn halt(&mut self, now: Instant, since: Instant, step: &mut Step) {
        let abort_at = now.checked_add(self.grace);
        self.state = State::Halting { since, abort_at };
        step.command = Command::Stop;
        self.abort_if_due(now, step);
    }

    /// Has the run dropped, and fail with that.
    fn fail(&mut self, since: Instant, kind: FailureKind, step: &mut Step) {
        self.state = State::Failing { since };
        step.command = Command::Fail(kind);
    }

    fn waits_for_ready(&self) -> bool {
        let checks = self.checks.as_ref();
        checks.is_some_and(|checks| checks.0.readiness == Readiness::Notify)
    }

    fn start_timeout_at(&self, since: Instant) -> Option<Instant> {
        since.checked_add(self.checks.as_ref()?.0.start_timeout?)
    }

    fn watchdog_at(&self) -> Option<Instant> {
        let (checks, alive_at) = &**self.checks.as_ref()?;
        alive_at.checked_add(checks.watchdog?)
    }

    /// From now on the run has to show that it is alive.
    fn begin_watch(&mut self, now: Instant) {
        if let Some(checks) = &mut self.checks {
            checks.1 = now;
        }
    }

    /// The run has shown that it is alive.
    fn beat(&mut self, at: Instant) {
        if let Some(checks) = &mut self.checks {
            checks.1 = checks.1.max(at);
        }
    }

    /// Somebody who wants another run wants it to begin without a past.
    fn forget_failures(&mut self, now: Instant, step: &mut Step) {
        let backoff = &self.backoff;
        if backoff.attempt() > 0
            || backoff.trial_after().is_some()
            || backoff.recent_failures(now) > 0
        {
            self.backoff.reset();
            self.lifecycle.record_recovery();
            self.tell(step, EventKind::Recovered);
        }
    }

    fn run_ended(
        &mut self,
        now: Instant,
        since: Instant,
        ended: Ended,
        step: &mut Step,
    ) -> Result<(), TransitionError> {
        let failure = match ended.exit {
            Exit::Clean => None,
            Exit::Failed(failure) | Exit::Permanent(failure) => Some(failure),
        };
        let outcome = match &failure {
            None => RunOutcome::Completed,
            Some(failure) => RunOutcome::Failed(failure.clone()),
        };
        self.tell_run_ended(now, since, outcome, step);
        if failure.is_some() {
            step.displaced = self.lifecycle.last_failure().cloned();
        }
        match ended.after {
            AfterExit::RunAgain => {
                let delay = self.backoff.record_clean_exit();
                self.back_off(now, delay, None, step)
            }
            AfterExit::Complete => self.terminate(now, step, TerminationReason::Completed),
            AfterExit::BackOff => match self.backoff.next_backoff(now) {
                BackoffAction::Retry(delay) => self.back_off(now, delay, failure, step),
                BackoffAction::CircuitOpen {
                    failures,
                    max_retries,
                } => {
                    let opened = EventKind::BreakerOpened {
                        failures,
                        max_retries,
                    };
                    if let Some(delay) = self.backoff.trial_after() {
                        self.tell(step, opened);
                        return self.back_off(now, delay, failure, step);
                    }
                    self.count(failure);
                    self.tell(step, opened);
                    let reason = TerminationReason::CircuitBreakerOpen {
                        failures,
                        max_retries,
                    };
                    self.terminate(now, step, reason)
                }
            },
            AfterExit::GiveUp => {
                self.count(failure);
                let message = ended.message.unwrap_or_default();
                self.terminate(now, step, TerminationReason::Unrecoverable(message))
            }
        }
    }

    fn back_off(
        &mut self,
        now: Instant,
        delay: Duration,
        failure: Option<Failure>,
        step: &mut Step,
    ) -> Result<(), TransitionError> {
        let attempt = self.backoff.attempt();
        // A delay beyond the end of time is as good as never.
        let at = now.checked_add(delay).unwrap_or(now + FAR_FUTURE);
        self.lifecycle
            .transition_to_backing_off(now, Retry { at, attempt }, failure)?;
        self.tell(step, EventKind::BackingOff { attempt, delay });
        self.state = State::BackingOff;
        step.command = Command::Wait;
        Ok(())
    }

    fn terminate(
        &mut self,
        now: Instant,
        step: &mut Step,
        reason: TerminationReason,
    ) -> Result<(), TransitionError> {
        self.lifecycle
            .transition_to_terminated(now, reason.clone())?;
        self.tell(step, EventKind::Terminated { reason });
        self.state = State::Finished;
        step.command = Command::Finish;
        Ok(())
    }

    fn abort(
        &mut self,
        now: Instant,
        since: Option<Instant>,
        step: &mut Step,
    ) -> Result<(), TransitionError> {
        if let Some(since) = since {
            self.tell_run_ended(now, since, RunOutcome::Aborted, step);
        }
        self.terminate(now, step, TerminationReason::Aborted)
    }

    fn abort_if_due(&mut self, now: Instant, step: &mut Step) {
        let (since, abort_at, then) = match self.state {
            State::Stopping { since, abort_at } => (since, abort_at, Then::Terminate),
            State::Halting { since, abort_at } => (since, abort_at, Then::Hold),
            _ => return,
        };
        if abort_at.is_some_and(|at| at <= now) {
            self.state = State::Aborting { since, then };
            step.command = Command::Abort;
        }
    }

    /// Forgets earlier failures if the run has lasted long enough.
    fn cool_down(&mut self, now: Instant, step: &mut Step) {
        if self.backoff.maybe_reset_on_cooldown(now) {
            self.lifecycle.record_recovery();
            self.tell(step, EventKind::Recovered);
        }
    }

    fn count(&mut self, failure: Option<Failure>) {
        if let Some(failure) = failure {
            self.lifecycle.record_failure(failure);
        }
    }

    fn tell_run_ended(&self, now: Instant, since: Instant, outcome: RunOutcome, step: &mut Step) {
        let ran_for = now.saturating_duration_since(since);
        self.tell(step, EventKind::RunEnded { outcome, ran_for });
    }

    fn tell(&self, step: &mut Step, kind: EventKind) {
        let run = self.lifecycle.start_count();
        step.happened.push(Happening { run, kind });
    }
}

/// A century: further than any process lives, and near enough for every clock.
const FAR_FUTURE: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// The earlier of two deadlines, where none is never.
fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (at, None) | (None, at) => at,
    }
}
