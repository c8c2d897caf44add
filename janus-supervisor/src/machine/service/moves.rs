//! What the table's arms do: each a move of the lifecycle, with what there is to tell of it.

use super::{ServiceMachine, State, Then};
use crate::machine::gate::Pass;
use crate::machine::protocol::{Command, Ended, Happening, Step};
use janus_backoff::BackoffAction;
use janus_lifecycle::{
    AfterExit, EventKind, Exit, Failure, FailureKind, Retry, RunOutcome, TerminationReason,
    TransitionError,
};
use std::time::{Duration, Instant};

impl ServiceMachine {
    pub(super) fn begin_if_allowed(
        &mut self,
        now: Instant,
        step: &mut Step,
    ) -> Result<(), TransitionError> {
        if self.gate.may_begin() && self.passes(now, false, step) {
            self.begin_run(now, step)?;
        }
        Ok(())
    }

    /// Whether the limit lets a run begin. Asks, if that is still to be done.
    fn passes(&mut self, now: Instant, is_restart: bool, step: &mut Step) -> bool {
        match self.gate.pass(now, is_restart) {
            Pass::Begin => true,
            Pass::Ask { spread } => {
                step.command = Command::Ask { spread };
                false
            }
            Pass::Wait => false,
        }
    }

    pub(super) fn restart_if_due(
        &mut self,
        now: Instant,
        step: &mut Step,
    ) -> Result<(), TransitionError> {
        // It has asked only when it was due; what the clock of the answer says does not matter.
        let is_due = self.gate.is_at_once()
            || self.gate.is_granted()
            || self.lifecycle.retry().is_some_and(|retry| retry.at <= now);
        if is_due && self.gate.may_begin() && self.passes(now, true, step) {
            self.lifecycle.transition_to_restarting(now)?;
            self.tell(step, EventKind::Restarting);
            self.begin_run(now, step)?;
        }
        Ok(())
    }

    /// The run that was to halt is gone: waits for the next permit.
    pub(super) fn hold(
        &mut self,
        now: Instant,
        since: Instant,
        outcome: RunOutcome,
        step: &mut Step,
    ) -> Result<(), TransitionError> {
        self.tell_run_ended(now, since, outcome, step);
        self.back_off(now, Duration::ZERO, None, step)
    }

    pub(super) fn begin_run(
        &mut self,
        now: Instant,
        step: &mut Step,
    ) -> Result<(), TransitionError> {
        self.gate.begin();
        self.backoff.record_start(now);
        step.command = Command::Run;
        if self.watch.waits_for_ready() {
            self.state = State::Starting { since: now };
            return Ok(());
        }
        self.lifecycle.transition_to_running(now)?;
        self.tell(step, EventKind::Running);
        self.watch.begin(now);
        self.state = State::Running { since: now };
        Ok(())
    }

    pub(super) fn enter_stopping(
        &mut self,
        now: Instant,
        step: &mut Step,
    ) -> Result<(), TransitionError> {
        self.lifecycle.transition_to_stopping(now)?;
        self.tell(step, EventKind::Stopping);
        Ok(())
    }

    /// Has the run end, but not the service.
    pub(super) fn halt(&mut self, now: Instant, since: Instant, step: &mut Step) {
        let abort_at = now.checked_add(self.grace);
        self.state = State::Halting { since, abort_at };
        step.command = Command::Stop;
        self.abort_if_due(now, step);
    }

    /// Has the run dropped, and fail with that.
    pub(super) fn fail(
        &mut self,
        now: Instant,
        since: Instant,
        kind: FailureKind,
        step: &mut Step,
    ) {
        let failed_at = now;
        self.state = State::Failing { since, failed_at };
        step.command = Command::Fail(kind);
    }

    /// Somebody who wants another run wants it to begin without a past.
    pub(super) fn forget_failures(&mut self, now: Instant, step: &mut Step) {
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

    pub(super) fn run_ended(
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

    pub(super) fn back_off(
        &mut self,
        now: Instant,
        delay: Duration,
        failure: Option<Failure>,
        step: &mut Step,
    ) -> Result<(), TransitionError> {
        let attempt = self.backoff.attempt();
        let retry = Retry::after(now, delay, attempt);
        self.lifecycle
            .transition_to_backing_off(now, retry, failure)?;
        self.tell(step, EventKind::BackingOff { attempt, delay });
        self.state = State::BackingOff;
        step.command = Command::Wait;
        Ok(())
    }

    pub(super) fn terminate(
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

    pub(super) fn abort(
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

    pub(super) fn abort_if_due(&mut self, now: Instant, step: &mut Step) {
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
    pub(super) fn cool_down(&mut self, now: Instant, step: &mut Step) {
        if self.backoff.maybe_reset_on_cooldown(now) {
            self.lifecycle.record_recovery();
            self.tell(step, EventKind::Recovered);
        }
    }

    pub(super) fn count(&mut self, failure: Option<Failure>) {
        if let Some(failure) = failure {
            self.lifecycle.record_failure(failure);
        }
    }

    pub(super) fn tell_run_ended(
        &self,
        now: Instant,
        since: Instant,
        outcome: RunOutcome,
        step: &mut Step,
    ) {
        let ran_for = now.saturating_duration_since(since);
        self.tell(step, EventKind::RunEnded { outcome, ran_for });
    }

    pub(super) fn tell(&self, step: &mut Step, kind: EventKind) {
        let run = self.lifecycle.start_count();
        step.happened.push(Happening { run, kind });
    }
}
