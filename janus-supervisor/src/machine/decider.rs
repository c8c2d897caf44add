//! What to do about one service: lifecycle + backoff + policy. The table of states and inputs is here; what its arms do
//! is in `moves`.
//!
//! What others may see of a service, its lifecycle, is not in here, but is handed in with each input: whoever drives
//! the service keeps this to itself, and the lifecycle where others can read it.
//! [`ServiceMachine`](super::ServiceMachine) is both together.
//!
//! Invariants, which the tests cite:
//!
//! 1. [`Command::Run`] is answered only when no run is in progress, and none is after [`Command::Finish`].
//! 2. Every run that began ends with exactly one `RunEnded`, before the transition that follows from it.
//! 3. A stop request wins at any point: after it no run begins, and with none in progress the service terminates at
//!    once.
//! 4. An input that is late, early, repeated or stale changes nothing and says so with [`Command::Wait`] (or
//!    [`Command::Finish`], when all is over).
//! 5. `deadline` is when something will be due. A [`Input::Tick`] before it changes nothing.
//! 6. A gated service begins a run only with a permit that is newer than the one of the run before, and that was not
//!    taken back.
//! 7. A limited service begins a run only when it was told that it is its turn: one turn, one run.

#[cfg(test)]
mod asked;
mod moves;
#[cfg(test)]
mod parity;
mod retries;
mod shortcuts;

pub(crate) use retries::Retries;
pub(crate) use shortcuts::Shortcut;

use super::gate::Gate;
use super::protocol::{Checks, Command, Ended, Input, Permit, Step, Turn};
use super::watch::Watch;
use janus_lifecycle::{FailureKind, RunOutcome, ServiceLifecycle, TransitionError};
use std::time::{Duration, Instant};

/// Where the service stands: what the phase says, and what only the decisions need to know.
#[derive(Debug, Clone, Copy)]
enum State {
    /// Registered; its task has not begun.
    New,
    /// A run is in progress, and has not said that it is ready.
    Starting,
    Running,
    /// The run has failed without an end of its own, and is being dropped.
    Failing {
        failed_at: Instant,
    },
    /// Told to end the run, but not the service.
    Halting {
        abort_at: Option<Instant>,
    },
    /// Between two runs.
    BackingOff {
        due: Instant,
    },
    Stopping {
        /// `None`: it may take for ever.
        abort_at: Option<Instant>,
    },
    /// Dropped, but perhaps not gone yet.
    Aborting {
        then: Then,
        since: Instant,
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
#[derive(Debug)]
pub(crate) struct Decider {
    state: State,
    /// When the run that began last did so.
    since: Instant,
    retries: Retries,
    grace: Grace,
    /// Few services have any of it.
    extra: Option<Box<Extra>>,
}

/// How long a service may take to stop, in nanoseconds; `u64::MAX` is for ever.
#[derive(Debug, Clone, Copy)]
struct Grace(u64);

impl Grace {
    /// More than five centuries are for ever.
    fn new(grace: Duration) -> Self {
        Self(u64::try_from(grace.as_nanos()).unwrap_or(u64::MAX))
    }

    /// When it is over, if it begins now.
    fn end(self, now: Instant) -> Option<Instant> {
        let grace = (self.0 < u64::MAX).then(|| Duration::from_nanos(self.0));
        now.checked_add(grace?)
    }
}

/// What is asked of a service besides to run, and to run again.
#[derive(Debug)]
struct Extra {
    gate: Gate,
    watch: Watch,
}

impl Extra {
    const NONE: &Self = &Self {
        gate: Gate::open(),
        watch: Watch::none(),
    };
}

impl Decider {
    /// For a service that has just been registered. `grace` is how long it may take to stop.
    pub(crate) fn new(now: Instant, retries: Retries, grace: Duration) -> Self {
        Self {
            state: State::New,
            since: now,
            retries,
            grace: Grace::new(grace),
            extra: None,
        }
    }

    /// From now on its runs have to show something.
    pub(crate) fn check(&mut self, checks: Checks) {
        if checks != Checks::default() {
            self.extra_mut().watch = Watch::new(checks, self.since);
        }
    }

    /// From now on it begins no run before [`Input::Permit`] allows it.
    pub(crate) fn close(&mut self) {
        self.extra_mut().gate.close();
    }

    /// From now on it asks before it begins a run.
    pub(crate) fn limit(&mut self) {
        self.extra_mut().gate.limit();
    }

    /// Whether it asks before it begins a run.
    pub(crate) fn is_limited(&self) -> bool {
        self.gate().is_limited()
    }

    /// Whether it has to ask or to show anything.
    pub(crate) const fn has_extras(&self) -> bool {
        self.extra.is_some()
    }

    fn extra(&self) -> &Extra {
        self.extra.as_deref().unwrap_or(Extra::NONE)
    }

    fn extra_mut(&mut self) -> &mut Extra {
        self.extra.get_or_insert_with(|| {
            Box::new(Extra {
                gate: Gate::open(),
                watch: Watch::none(),
            })
        })
    }

    /// Takes note of a permit. Whoever needs none has nothing to note.
    fn note(&mut self, permit: Permit) {
        if let Some(extra) = &mut self.extra {
            extra.gate.note(permit);
        }
    }

    /// Takes note of what the limit says. Returns whether it was asked.
    fn hear(&mut self, turn: Turn) -> bool {
        let extra = self.extra.as_mut();
        extra.is_some_and(|extra| extra.gate.hear(turn))
    }

    fn gate(&self) -> &Gate {
        &self.extra().gate
    }

    fn watch(&self) -> &Watch {
        &self.extra().watch
    }

    /// Whether it has asked to begin a run and has not been answered, or has begun one that is not ready.
    pub(crate) fn is_starting(&self) -> bool {
        match self.state {
            State::New | State::BackingOff { .. } => self.gate().is_asking(),
            state => matches!(state, State::Starting),
        }
    }

    /// Whether it was put off, and waits for its turn.
    pub(crate) fn is_put_off(&self) -> bool {
        matches!(self.state, State::BackingOff { .. }) && self.gate().put_off_until().is_some()
    }

    /// The same with nothing behind it, and free to begin.
    pub(crate) fn anew(&self, now: Instant, seed: u64) -> Self {
        let mut anew = Self {
            state: State::New,
            since: now,
            retries: self.retries.anew(seed),
            grace: self.grace,
            extra: None,
        };
        anew.check(self.checks());
        if self.is_limited() {
            anew.limit();
        }
        anew
    }

    /// What its runs have to show, if anything.
    pub(crate) fn checks(&self) -> Checks {
        self.watch().checks()
    }

    /// Since when there is something to do that has not been done, if there will be.
    pub(crate) fn due(&self) -> Option<Instant> {
        match self.state {
            State::Failing { failed_at: since } | State::Aborting { since, .. } => Some(since),
            _ => self.deadline(),
        }
    }

    /// Whether nothing has been decided yet.
    #[inline]
    pub(crate) const fn is_new(&self) -> bool {
        matches!(self.state, State::New)
    }

    /// Whether all is over.
    pub(crate) const fn is_finished(&self) -> bool {
        matches!(self.state, State::Finished)
    }

    /// Whether it was ever asked how long to back off, also if that has been forgotten.
    pub(crate) const fn has_backed_off(&self) -> bool {
        self.retries.tried().is_some()
    }

    /// The permits that it knows of.
    pub(crate) fn permit(&self) -> Permit {
        self.gate().permit()
    }

    /// Whether no run is in progress, and none will begin without another permit.
    pub(crate) fn is_held(&self) -> bool {
        matches!(self.state, State::New | State::BackingOff { .. }) && !self.gate().may_begin()
    }

    /// When the next [`Input::Tick`] is due, if time alone will change anything.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::New | State::Failing { .. } | State::Aborting { .. } | State::Finished => None,
            State::Starting => self.watch().start_timeout_at(self.since),
            State::Running => earlier(self.retries.cooldown_at(), self.watch().watchdog_at()),
            State::BackingOff { due } => self.gate().due(due),
            State::Halting { abort_at } | State::Stopping { abort_at } => abort_at,
        }
    }

    /// Takes the commonest input, [`Input::Exited`], and decides.
    ///
    /// # Errors
    /// As [`decide`](Self::decide).
    #[inline]
    pub(crate) fn ended(
        &mut self,
        life: &mut ServiceLifecycle,
        now: Instant,
        ended: &mut Ended,
        step: &mut Step,
    ) -> Result<(), TransitionError> {
        match self.state {
            State::Running => {
                self.cool_down(life, now, step);
                self.run_ended(life, now, ended, step)
            }
            State::Starting | State::Failing { .. } => self.run_ended(life, now, ended, step),
            // Whatever it returned, it was told to.
            State::Halting { .. }
            | State::Aborting {
                then: Then::Hold, ..
            } => {
                let outcome = RunOutcome::Cancelled(ended.take_failure());
                self.hold(life, now, outcome, step)
            }
            // Also when it is being dropped: it ended by itself in the very moment that the grace did.
            State::Stopping { .. }
            | State::Aborting {
                then: Then::Terminate,
                ..
            } => self.cancelled(life, now, ended.take_failure(), step),
            // Stale: invariant 4.
            State::New | State::BackingOff { .. } => Ok(()),
            State::Finished => {
                step.command = Command::Finish;
                Ok(())
            }
        }
    }

    /// Takes one input and decides.
    ///
    /// # Errors
    /// [`TransitionError`] if the lifecycle was asked for a move that its table does not have. That would be a fault of
    /// this one; no input leads to it.
    pub(crate) fn decide(
        &mut self,
        life: &mut ServiceLifecycle,
        now: Instant,
        input: Input,
        step: &mut Step,
    ) -> Result<(), TransitionError> {
        match (self.state, input) {
            (_, Input::Exited(mut ended)) => self.ended(life, now, &mut ended, step),

            (State::New, Input::Start) => self.begin_if_allowed(life, now, step),
            (State::New, Input::Permit(permit)) => {
                self.note(permit);
                self.begin_if_allowed(life, now, step)
            }

            (State::New, Input::Turn(turn)) => {
                if self.hear(turn) {
                    self.begin_if_allowed(life, now, step)?;
                }
                Ok(())
            }

            (State::New, Input::Restart) => Ok(()),

            (State::Starting, Input::Ready) => self.run(life, now, step),
            (State::Starting, Input::Tick) => {
                let latest = self.watch().start_timeout_at(self.since);
                if latest.is_some_and(|at| at <= now) {
                    self.fail(now, FailureKind::StartTimeout, step);
                }
                Ok(())
            }
            (State::Running, Input::Heartbeat(at)) => {
                if let Some(extra) = &mut self.extra {
                    extra.watch.beat(at.min(now));
                }
                Ok(())
            }
            // It is being dropped already.
            (State::Failing { .. }, Input::Stop { .. }) => self.stop_dropped(life, now, step),
            (State::Failing { .. }, Input::Permit(permit)) => {
                self.note(permit);
                Ok(())
            }

            (State::New | State::BackingOff { .. }, Input::Stop { .. }) => {
                self.cancel(life, now, step)
            }

            (State::Starting | State::Running, Input::Stop { latest }) => {
                step.command = Command::Stop;
                let abort_at = earlier(self.end_of_grace(now), latest);
                self.stop(life, now, abort_at, step)
            }
            (State::Running, Input::Tick) => {
                self.cool_down(life, now, step);
                if self.watch().watchdog_at().is_some_and(|at| at <= now) {
                    self.fail(now, FailureKind::Hang, step);
                }
                Ok(())
            }
            (State::Starting | State::Running, Input::Restart) => {
                self.forget_failures(life, now, step);
                if let Some(extra) = &mut self.extra {
                    extra.gate.skip_turn(now);
                }
                self.halt(now, step);
                Ok(())
            }

            (State::Starting | State::Running, Input::Permit(permit)) => {
                self.note(permit);
                if self.gate().halts_run() {
                    if matches!(self.state, State::Running) {
                        self.cool_down(life, now, step);
                    }
                    self.halt(now, step);
                }
                Ok(())
            }
            (State::BackingOff { .. }, Input::Restart) => {
                self.forget_failures(life, now, step);
                // Whatever is left of the backoff.
                let due = life.phase_since().min(now);
                self.state = State::BackingOff { due };
                if let Some(extra) = &mut self.extra {
                    extra.gate.hurry();
                }
                self.restart_if_due(life, due, now, step)
            }

            (State::BackingOff { due }, Input::Tick) => self.restart_if_due(life, due, now, step),
            (State::BackingOff { due }, Input::Permit(permit)) => {
                self.note(permit);
                self.restart_if_due(life, due, now, step)
            }

            (State::BackingOff { due }, Input::Turn(turn)) => {
                if self.hear(turn) {
                    self.restart_if_due(life, due, now, step)?;
                }
                Ok(())
            }

            (State::Halting { abort_at }, Input::Stop { latest }) => {
                self.stop(life, now, earlier(abort_at, latest), step)
            }
            (State::Halting { .. }, Input::Tick) => {
                self.abort_if_due(now, step);
                Ok(())
            }
            (State::Halting { .. }, Input::Permit(permit)) => {
                self.note(permit);
                Ok(())
            }

            (State::Stopping { abort_at }, Input::Stop { latest }) => {
                // A shutdown may leave less time than the stop before it.
                let abort_at = earlier(abort_at, latest);
                self.state = State::Stopping { abort_at };
                self.abort_if_due(now, step);
                Ok(())
            }
            (State::Stopping { .. }, Input::Tick) => {
                self.abort_if_due(now, step);
                Ok(())
            }
            (State::Stopping { .. }, Input::Abort) => {
                self.drop_run(now, Then::Terminate, step);
                Ok(())
            }

            (State::Aborting { then, .. }, Input::Gone) => match then {
                Then::Terminate => self.abort_run(life, now, step),
                Then::Hold => self.hold(life, now, RunOutcome::Aborted, step),
            },
            (
                State::Aborting {
                    then: Then::Hold, ..
                },
                Input::Stop { .. },
            ) => self.stop_dropped(life, now, step),
            (State::Aborting { .. }, Input::Permit(permit)) => {
                self.note(permit);
                Ok(())
            }
            (
                State::Starting
                | State::Running
                | State::Failing { .. }
                | State::Halting { .. }
                | State::Stopping { .. }
                | State::Aborting { .. },
                Input::Lost,
            ) => self.abort_run(life, now, step),
            (State::New | State::BackingOff { .. }, Input::Lost) => self.abort(life, now, step),

            // Late, early, repeated or stale: invariant 4.
            (State::New, Input::Abort | Input::Gone | Input::Tick)
            | (State::Starting | State::Running, Input::Start | Input::Abort)
            | (State::Starting | State::Running, Input::Gone)
            | (State::Starting, Input::Heartbeat(_))
            | (State::Running, Input::Ready)
            | (State::BackingOff { .. }, Input::Start | Input::Abort | Input::Gone)
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
                State::Starting
                | State::Running
                | State::Failing { .. }
                | State::Halting { .. }
                | State::Stopping { .. }
                | State::Aborting { .. },
                Input::Turn(_),
            )
            | (
                State::New
                | State::BackingOff { .. }
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
