//! One service: lifecycle + backoff + policy. The table of states and inputs is here; what its arms do is in `moves`.
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
//! 7. A limited service begins a run only when it was told that it is its turn: one turn, one run.

mod moves;

use super::gate::Gate;
use super::protocol::{Checks, Command, Input, Permit, Step};
use super::watch::Watch;
use arrayvec::ArrayVec;
use janus_backoff::BackoffState;
use janus_lifecycle::{
    EventKind, FailureKind, RunOutcome, ServiceLifecycle, TerminationReason, TransitionError,
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
        failed_at: Instant,
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
    gate: Gate,
    watch: Watch,
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
            gate: Gate::open(),
            watch: Watch::none(),
        }
    }

    /// The same for a service whose runs have to show something.
    #[must_use]
    pub fn checked(mut self, checks: Checks) -> Self {
        self.watch = Watch::new(checks, self.lifecycle.created_at());
        self
    }

    /// The same for a service that begins no run before [`Input::Permit`] allows it: a child of a group.
    #[must_use]
    pub fn gated(mut self) -> Self {
        self.gate.close();
        self
    }

    /// The same for a service that asks before it begins a run: [`Command::Ask`].
    #[must_use]
    pub fn limited(mut self) -> Self {
        self.gate.limit();
        self
    }

    /// Whether it asks before it begins a run.
    pub(crate) const fn is_limited(&self) -> bool {
        self.gate.is_limited()
    }

    /// Whether it has asked to begin a run and has not been answered, or has begun one that is not ready.
    #[must_use]
    pub fn is_starting(&self) -> bool {
        match self.state {
            State::New | State::BackingOff => self.gate.is_asking(),
            state => matches!(state, State::Starting { .. }),
        }
    }

    /// Whether it was put off, and waits for its turn.
    pub(crate) fn is_put_off(&self) -> bool {
        matches!(self.state, State::BackingOff) && self.gate.put_off_until().is_some()
    }

    /// The same service with nothing behind it, as newly made, and free to begin.
    #[must_use]
    pub fn anew(&self, now: Instant, seed: u64) -> Self {
        let backoff = BackoffState::new(self.backoff.config().clone(), seed);
        let name = Arc::clone(self.lifecycle.service_name());
        let mut anew = Self::new(now, name, backoff, self.grace).checked(self.checks());
        if self.is_limited() {
            anew.gate.limit();
        }
        anew
    }

    /// What its runs have to show, if anything.
    #[must_use]
    pub fn checks(&self) -> Checks {
        self.watch.checks()
    }

    /// Whether what was due so long ago has not been done: whoever drives this machine is held up.
    pub(crate) fn is_overdue(&self, now: Instant, by: Duration) -> bool {
        let since = match self.state {
            State::Failing { failed_at, .. } => Some(failed_at),
            _ => self.deadline(),
        };
        since.is_some_and(|at| now.saturating_duration_since(at) > by)
    }

    /// The permits that it knows of.
    #[must_use]
    pub const fn permit(&self) -> Permit {
        self.gate.permit()
    }

    /// Whether no run is in progress, and none will begin without another permit.
    #[must_use]
    pub const fn is_held(&self) -> bool {
        matches!(self.state, State::New | State::BackingOff) && !self.gate.may_begin()
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
            State::Starting { since } => self.watch.start_timeout_at(since),
            State::Running { .. } => earlier(self.backoff.cooldown_at(), self.watch.watchdog_at()),
            State::BackingOff if !self.gate.may_begin() || self.gate.is_asking() => None,
            State::BackingOff if self.gate.is_at_once() => Some(self.lifecycle.phase_since()),
            State::BackingOff => {
                let due = self.lifecycle.retry().map(|retry| retry.at);
                due.max(self.gate.put_off_until())
            }
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
                self.gate.note(permit);
                self.begin_if_allowed(now, step)
            }

            (State::New, Input::Turn(turn)) if self.gate.hear(turn) => {
                self.begin_if_allowed(now, step)
            }

            (State::New, Input::Restart) => Ok(()),

            (State::Starting { since }, Input::Ready) => {
                self.lifecycle.transition_to_running(now)?;
                self.tell(step, EventKind::Running);
                self.watch.begin(now);
                self.state = State::Running { since };
                Ok(())
            }
            (State::Starting { since }, Input::Tick) => {
                if self
                    .watch
                    .start_timeout_at(since)
                    .is_some_and(|at| at <= now)
                {
                    self.fail(now, since, FailureKind::StartTimeout, step);
                }
                Ok(())
            }
            (State::Running { .. }, Input::Heartbeat(at)) => {
                self.watch.beat(at.min(now));
                Ok(())
            }
            (State::Starting { since } | State::Failing { since, .. }, Input::Exited(ended)) => {
                self.run_ended(now, since, ended, step)
            }
            // It is being dropped already.
            (State::Failing { since, .. }, Input::Stop { .. }) => {
                self.enter_stopping(now, step)?;
                let then = Then::Terminate;
                self.state = State::Aborting { since, then };
                Ok(())
            }
            (State::Failing { .. }, Input::Permit(permit)) => {
                self.gate.note(permit);
                Ok(())
            }

            (State::New | State::BackingOff, Input::Stop { .. }) => {
                self.enter_stopping(now, step)?;
                self.terminate(now, step, TerminationReason::Cancelled)
            }

            (State::Running { since }, Input::Exited(ended)) => {
                self.cool_down(now, step);
                self.run_ended(now, since, ended, step)
            }
            (State::Starting { since } | State::Running { since }, Input::Stop { latest }) => {
                self.enter_stopping(now, step)?;
                step.command = Command::Stop;
                let abort_at = earlier(now.checked_add(self.grace), latest);
                self.state = State::Stopping { since, abort_at };
                self.abort_if_due(now, step);
                Ok(())
            }
            (State::Running { since }, Input::Tick) => {
                self.cool_down(now, step);
                if self.watch.watchdog_at().is_some_and(|at| at <= now) {
                    self.fail(now, since, FailureKind::Hang, step);
                }
                Ok(())
            }
            (State::Starting { since } | State::Running { since }, Input::Restart) => {
                self.forget_failures(now, step);
                self.gate.skip_turn(now);
                self.halt(now, since, step);
                Ok(())
            }

            (State::Starting { since } | State::Running { since }, Input::Permit(permit)) => {
                self.gate.note(permit);
                if self.gate.halts_run() {
                    if matches!(self.state, State::Running { .. }) {
                        self.cool_down(now, step);
                    }
                    self.halt(now, since, step);
                }
                Ok(())
            }
            (State::BackingOff, Input::Restart) => {
                self.forget_failures(now, step);
                self.gate.hurry();
                self.restart_if_due(now, step)
            }

            (State::BackingOff, Input::Tick) => self.restart_if_due(now, step),
            (State::BackingOff, Input::Permit(permit)) => {
                self.gate.note(permit);
                self.restart_if_due(now, step)
            }

            (State::BackingOff, Input::Turn(turn)) if self.gate.hear(turn) => {
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
                self.enter_stopping(now, step)?;
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
                self.gate.note(permit);
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
                self.enter_stopping(now, step)?;
                let then = Then::Terminate;
                self.state = State::Aborting { since, then };
                Ok(())
            }
            (State::Aborting { .. }, Input::Permit(permit)) => {
                self.gate.note(permit);
                Ok(())
            }
            (
                State::Starting { since }
                | State::Running { since }
                | State::Failing { since, .. }
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
                | State::Starting { .. }
                | State::Running { .. }
                | State::Failing { .. }
                | State::Halting { .. }
                | State::BackingOff
                | State::Stopping { .. }
                | State::Aborting { .. },
                Input::Turn(_),
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
                | Input::Turn(_)
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
}

/// The earlier of two deadlines, where none is never.
fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (at, None) | (None, at) => at,
    }
}

#[cfg(test)]
mod tests {
    use super::super::protocol::Ended;
    use super::*;
    use janus_backoff::BackoffConfig;
    use janus_lifecycle::{Exit, RestartPolicy};

    const S: Duration = Duration::from_secs(1);

    /// A run that was up for hours is not overdue in the moment that it is found to hang.
    #[test]
    fn a_run_that_is_being_dropped_is_overdue_only_when_that_takes_long()
    -> Result<(), TransitionError> {
        let t0 = crate::clock::now();
        let watched = Checks {
            watchdog: Some(S),
            ..Checks::default()
        };
        let backoff = BackoffState::new(BackoffConfig::default(), 1);
        let mut machine = ServiceMachine::new(t0, "it", backoff, S).checked(watched);
        let _runs = machine.handle(t0, Input::Start)?;
        let late = t0 + 3_600 * S;
        let _alive = machine.handle(late, Input::Heartbeat(late))?;
        let hung = late + S;
        assert!(!machine.is_overdue(hung, S));
        assert!(!machine.is_overdue(hung + S, S), "not for longer");
        assert!(machine.is_overdue(hung + 2 * S, S), "nobody looked");
        let step = machine.handle(hung, Input::Tick)?;
        assert_eq!(step.command, Command::Fail(FailureKind::Hang));
        assert!(!machine.is_overdue(hung, S));
        assert!(machine.is_overdue(hung + 2 * S, S), "nobody dropped it");
        Ok(())
    }

    /// `start_count` is 1 also before the first run.
    #[test]
    fn runs_are_counted_from_none() -> Result<(), TransitionError> {
        let t0 = crate::clock::now();
        let backoff = BackoffState::new(BackoffConfig::default(), 1);
        let mut machine = ServiceMachine::new(t0, "it", backoff, S);
        assert_eq!(machine.runs(), 0);
        let _runs = machine.handle(t0, Input::Start)?;
        assert_eq!(machine.runs(), 1);
        let _halts = machine.handle(t0, Input::Restart)?;
        let _gone = machine.handle(t0, Input::Exited(clean()))?;
        let step = machine.handle(t0, Input::Tick)?;
        assert_eq!((step.command, machine.runs()), (Command::Run, 2));
        Ok(())
    }

    fn clean() -> Ended {
        Ended::judge(RestartPolicy::Always, Exit::Clean)
    }
}
