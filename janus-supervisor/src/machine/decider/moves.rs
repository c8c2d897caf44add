//! What the table's arms do: each a move of the lifecycle, with what there is to tell of it.

use super::{Decider, State, Then};
use crate::machine::gate::Pass;
use crate::machine::protocol::{Command, Ended, Step};
use crate::machine::tally::Counted;
use janus_backoff::BackoffAction;
use janus_lifecycle::{
    AfterExit, EventKind, Failure, FailureKind, Retry, RunOutcome, ServiceLifecycle,
    TerminationReason, TransitionError,
};
use std::time::{Duration, Instant};

impl Decider {
    pub(super) fn begin_if_allowed(
        &mut self,
        life: &mut ServiceLifecycle,
        now: Instant,
        step: &mut Step,
    ) -> Result<(), TransitionError> {
        if self.gate().may_begin() && self.passes(now, false, step) {
            self.begin_run(life, now, step)?;
        }
        Ok(())
    }

    /// Whether the limit lets a run begin. Asks, if that is still to be done.
    fn passes(&mut self, now: Instant, is_restart: bool, step: &mut Step) -> bool {
        let Some(extra) = &mut self.extra else {
            return true;
        };
        match extra.gate.pass(now, is_restart) {
            Pass::Begin => true,
            Pass::Ask { spread } => {
                step.command = Command::Ask { spread };
                false
            }
            Pass::Wait => false,
        }
    }

    /// Begins another run, if its time has come. `due` is when that is.
    pub(super) fn restart_if_due(
        &mut self,
        life: &mut ServiceLifecycle,
        due: Instant,
        now: Instant,
        step: &mut Step,
    ) -> Result<(), TransitionError> {
        let gate = self.gate();
        // It has asked only when it was due; what the clock of the answer says does not matter.
        let is_due = due <= now || gate.is_at_once() || gate.is_granted();
        if is_due && gate.may_begin() && self.passes(now, true, step) {
            life.transition_to_restarting(now)?;
            tell(step, life, Counted::Restart, || EventKind::Restarting);
            self.begin_run(life, now, step)?;
        }
        Ok(())
    }

    /// The run that was to halt is gone: waits for the next permit.
    pub(super) fn hold(
        &mut self,
        life: &mut ServiceLifecycle,
        now: Instant,
        outcome: RunOutcome,
        step: &mut Step,
    ) -> Result<(), TransitionError> {
        self.tell_run_ended(life, now, || outcome.clone(), step);
        // It was told to end, so that what it returns is no failure; but dropping that runs the user's code.
        if let RunOutcome::Cancelled(error) = outcome {
            step.displaced = error;
        }
        self.back_off(life, now, Duration::ZERO, None, step)
    }

    pub(super) fn begin_run(
        &mut self,
        life: &mut ServiceLifecycle,
        now: Instant,
        step: &mut Step,
    ) -> Result<(), TransitionError> {
        self.since = now;
        step.command = Command::Run;
        if let Some(extra) = &mut self.extra {
            extra.gate.begin();
            if extra.watch.waits_for_ready() {
                self.state = State::Starting;
                return Ok(());
            }
        }
        self.run(life, now, step)
    }

    /// The run is ready.
    pub(super) fn run(
        &mut self,
        life: &mut ServiceLifecycle,
        now: Instant,
        step: &mut Step,
    ) -> Result<(), TransitionError> {
        life.transition_to_running(now)?;
        // Not from its beginning: a run that takes as long as that to become ready has shown nothing yet.
        self.retries.record_start(now);
        tell(step, life, Counted::Otherwise, || EventKind::Running);
        if let Some(extra) = &mut self.extra {
            extra.watch.begin(now);
        }
        self.state = State::Running;
        Ok(())
    }

    /// Asks a run to end, and the service with it. A grace that is over by then ends with the next look at the time:
    /// the run gets to see its token first.
    pub(super) fn stop(
        &mut self,
        life: &mut ServiceLifecycle,
        now: Instant,
        abort_at: Option<Instant>,
        step: &mut Step,
    ) -> Result<(), TransitionError> {
        enter_stopping(life, now, step)?;
        self.state = State::Stopping { abort_at };
        Ok(())
    }

    /// The service stops, and its run is being dropped already.
    pub(super) fn stop_dropped(
        &mut self,
        life: &mut ServiceLifecycle,
        now: Instant,
        step: &mut Step,
    ) -> Result<(), TransitionError> {
        // It is due for as long as before: a stop brings nobody who blocks a thread any nearer to the end.
        let since = self.due().unwrap_or(now);
        enter_stopping(life, now, step)?;
        let then = Then::Terminate;
        self.state = State::Aborting { then, since };
        Ok(())
    }

    /// The service stops with no run in progress.
    pub(super) fn cancel(
        &mut self,
        life: &mut ServiceLifecycle,
        now: Instant,
        step: &mut Step,
    ) -> Result<(), TransitionError> {
        enter_stopping(life, now, step)?;
        self.terminate(life, now, step, TerminationReason::Cancelled)
    }

    /// When a run that is told now to end must have done so.
    pub(super) fn end_of_grace(&self, now: Instant) -> Option<Instant> {
        self.grace.end(now)
    }

    /// Has the run end, but not the service. As with [`stop`](Self::stop), it gets to see its token.
    pub(super) fn halt(&mut self, now: Instant, step: &mut Step) {
        let abort_at = self.end_of_grace(now);
        self.state = State::Halting { abort_at };
        step.command = Command::Stop;
    }

    /// Has the run dropped, and fail with that.
    pub(super) fn fail(&mut self, now: Instant, kind: FailureKind, step: &mut Step) {
        self.state = State::Failing { failed_at: now };
        step.command = Command::Fail(kind);
    }

    /// Somebody who wants another run wants it to begin without a past.
    pub(super) fn forget_failures(
        &mut self,
        life: &mut ServiceLifecycle,
        now: Instant,
        step: &mut Step,
    ) {
        if self.retries.have_failed(now) {
            self.retries.reset();
            life.record_recovery();
            tell(step, life, Counted::Otherwise, || EventKind::Reset);
        }
    }

    #[inline]
    pub(super) fn run_ended(
        &mut self,
        life: &mut ServiceLifecycle,
        now: Instant,
        ended: &mut Ended,
        step: &mut Step,
    ) -> Result<(), TransitionError> {
        let failure = ended.take_failure();
        let outcome = || match &failure {
            None => RunOutcome::Completed,
            Some(failure) => RunOutcome::Failed(failure.clone()),
        };
        self.tell_run_ended(life, now, outcome, step);
        match ended.after {
            AfterExit::RunAgain => {
                let delay = self.retries.record_clean_exit();
                self.back_off(life, now, delay, None, step)
            }
            AfterExit::Complete => self.terminate(life, now, step, TerminationReason::Completed),
            AfterExit::BackOff => match self.retries.next_backoff(now) {
                BackoffAction::Retry(delay) => self.back_off(life, now, delay, failure, step),
                BackoffAction::CircuitOpen {
                    failures,
                    max_retries,
                } => {
                    let opened = EventKind::BreakerOpened {
                        failures,
                        max_retries,
                    };
                    if let Some(delay) = self.retries.trial_after() {
                        tell(step, life, Counted::BreakerTrip, || opened);
                        return self.back_off(life, now, delay, failure, step);
                    }
                    count(life, failure, step);
                    tell(step, life, Counted::BreakerTrip, || opened);
                    let reason = TerminationReason::CircuitBreakerOpen {
                        failures,
                        max_retries,
                    };
                    self.terminate(life, now, step, reason)
                }
            },
            AfterExit::GiveUp => {
                count(life, failure, step);
                let message = ended.message.take().unwrap_or_default();
                self.terminate(life, now, step, TerminationReason::Unrecoverable(message))
            }
        }
    }

    /// The run has ended, and it was told to: whatever it returned. The service is over.
    pub(super) fn cancelled(
        &mut self,
        life: &mut ServiceLifecycle,
        now: Instant,
        failure: Option<Failure>,
        step: &mut Step,
    ) -> Result<(), TransitionError> {
        self.tell_run_ended(life, now, || RunOutcome::Cancelled(failure.clone()), step);
        if let Some(failure) = failure {
            step.displaced = life.keep_error(failure);
        }
        self.terminate(life, now, step, TerminationReason::Cancelled)
    }

    #[inline]
    fn back_off(
        &mut self,
        life: &mut ServiceLifecycle,
        now: Instant,
        delay: Duration,
        failure: Option<Failure>,
        step: &mut Step,
    ) -> Result<(), TransitionError> {
        let attempt = self.retries.attempt();
        let retry = Retry::after(now, delay, attempt);
        // First, because it knows only that there is one more in a row.
        count(life, failure, step);
        life.transition_to_backing_off(now, retry, None)?;
        tell(step, life, Counted::Otherwise, || EventKind::BackingOff {
            attempt,
            delay,
        });
        self.state = State::BackingOff { due: retry.at };
        Ok(())
    }

    /// What there is to tell when this run has failed and the next has followed at once.
    pub(super) fn tell_again(
        &self,
        life: &ServiceLifecycle,
        now: Instant,
        run: u32,
        step: &mut Step,
    ) {
        let (next, attempt, delay) = (life.start_count(), life.attempt(), Duration::ZERO);
        let ran_for = now.saturating_duration_since(self.since);
        if let Some(failure) = life.last_failure() {
            step.tell(run, Counted::Otherwise, || EventKind::RunEnded {
                outcome: RunOutcome::Failed(failure.clone()),
                ran_for,
            });
        }
        step.tell(run, Counted::Otherwise, || EventKind::BackingOff {
            attempt,
            delay,
        });
        step.tell(next, Counted::Restart, || EventKind::Restarting);
        step.tell(next, Counted::Otherwise, || EventKind::Running);
        step.command = Command::Run;
    }

    fn terminate(
        &mut self,
        life: &mut ServiceLifecycle,
        now: Instant,
        step: &mut Step,
        reason: TerminationReason,
    ) -> Result<(), TransitionError> {
        life.transition_to_terminated(now, reason.clone())?;
        tell(step, life, Counted::Termination, || EventKind::Terminated {
            reason,
        });
        self.state = State::Finished;
        step.command = Command::Finish;
        Ok(())
    }

    /// The run was dropped, and the service is over.
    pub(super) fn abort_run(
        &mut self,
        life: &mut ServiceLifecycle,
        now: Instant,
        step: &mut Step,
    ) -> Result<(), TransitionError> {
        self.tell_run_ended(life, now, || RunOutcome::Aborted, step);
        self.abort(life, now, step)
    }

    /// The service is over, because the task is.
    pub(super) fn abort(
        &mut self,
        life: &mut ServiceLifecycle,
        now: Instant,
        step: &mut Step,
    ) -> Result<(), TransitionError> {
        self.terminate(life, now, step, TerminationReason::Aborted)
    }

    pub(super) fn abort_if_due(&mut self, now: Instant, step: &mut Step) {
        let (abort_at, then) = match self.state {
            State::Stopping { abort_at } => (abort_at, Then::Terminate),
            State::Halting { abort_at } => (abort_at, Then::Hold),
            _ => return,
        };
        if abort_at.is_some_and(|at| at <= now) {
            self.drop_run(now, then, step);
        }
    }

    /// Has the run dropped.
    pub(super) fn drop_run(&mut self, since: Instant, then: Then, step: &mut Step) {
        self.state = State::Aborting { then, since };
        step.command = Command::Abort;
    }

    /// Forgets earlier failures if the run has lasted long enough.
    #[inline]
    pub(super) fn cool_down(&mut self, life: &mut ServiceLifecycle, now: Instant, step: &mut Step) {
        if self.retries.maybe_reset_on_cooldown(now) {
            life.record_recovery();
            tell(step, life, Counted::Otherwise, || EventKind::Recovered);
        }
    }

    fn tell_run_ended(
        &self,
        life: &ServiceLifecycle,
        now: Instant,
        outcome: impl FnOnce() -> RunOutcome,
        step: &mut Step,
    ) {
        tell(step, life, Counted::Otherwise, || EventKind::RunEnded {
            outcome: outcome(),
            ran_for: now.saturating_duration_since(self.since),
        });
    }
}

/// Something has happened in the present run, or the last.
#[inline]
fn tell(
    step: &mut Step,
    life: &ServiceLifecycle,
    counts_as: Counted,
    kind: impl FnOnce() -> EventKind,
) {
    step.tell(life.start_count(), counts_as, kind);
}

fn enter_stopping(
    life: &mut ServiceLifecycle,
    now: Instant,
    step: &mut Step,
) -> Result<(), TransitionError> {
    life.transition_to_stopping(now)?;
    tell(step, life, Counted::Otherwise, || EventKind::Stopping);
    Ok(())
}

fn count(life: &mut ServiceLifecycle, failure: Option<Failure>, step: &mut Step) {
    if let Some(failure) = failure {
        step.displaced = life.record_failure(failure);
    }
}
