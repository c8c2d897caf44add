//! What most services do most of the time, each in one move: to begin, to fail and begin again at once, to stop when
//! they are asked to.
//!
//! The long way is the table's. A short cut is open only where nothing else can come in between, and leads where the
//! long way does, which `parity.rs` tests; there is less to look at on it, and to tell.

use super::{Decider, State};
use crate::machine::protocol::Step;
use crate::machine::tally::Tally;
use janus_lifecycle::{
    BoxError, Displaced, Exit, Failure, FailureKind, ServiceLifecycle, TerminationReason,
    TransitionError,
};
use std::time::Instant;

/// Whether a short cut was open.
#[derive(Debug)]
pub(crate) enum Shortcut<T, Given> {
    /// It was, and this is what has come of it.
    Taken(T),
    /// It was not: nothing has changed, and what was given is given back.
    Closed(Given),
}

impl Decider {
    /// How much happens where a first run [begins](Self::begin).
    pub(crate) const BEGIN: Tally = Tally {
        events: 1,
        ..Tally::none()
    };

    /// How much happens where a run [follows at once](Self::again): the one before it ends, backs off, and begins again
    /// as one that is ready.
    pub(crate) const AGAIN: Tally = Tally {
        events: 4,
        restarts: 1,
        ..Tally::none()
    };

    /// How much happens where a run [ends as it was asked to](Self::finish): it stops, the run ends, the service with
    /// it.
    pub(crate) const FINISH: Tally = Tally {
        events: 3,
        terminated: 1,
        ..Tally::none()
    };

    /// The task has begun, and so does the first run: the same as [`Input::Start`](crate::machine::Input::Start).
    ///
    /// # Errors
    /// As [`decide`](Self::decide).
    #[inline]
    pub(crate) fn begin(
        &mut self,
        life: &mut ServiceLifecycle,
        now: Instant,
    ) -> Result<Shortcut<(), ()>, TransitionError> {
        if !self.is_new() || self.has_extras() {
            return Ok(Shortcut::Closed(()));
        }
        life.transition_to_running(now)?;
        self.retries.record_start(now);
        self.since = now;
        self.state = State::Running;
        Ok(Shortcut::Taken(()))
    }

    /// A run has failed, and the next follows at once, as in a crash loop without a delay: the same as
    /// [`Input::Exited`](crate::machine::Input::Exited) and, in the same moment,
    /// [`Input::Tick`](crate::machine::Input::Tick). Returns the error that is no longer the last one: dropping it runs
    /// the user's code.
    ///
    /// # Errors
    /// As [`decide`](Self::decide).
    #[inline]
    pub(crate) fn again(
        &mut self,
        life: &mut ServiceLifecycle,
        now: Instant,
        kind: FailureKind,
        error: BoxError,
        step: Option<&mut Step>,
    ) -> Result<Shortcut<Displaced, BoxError>, TransitionError> {
        if !self.is_plain_run() || !self.retries.retry_at_once(now) {
            return Ok(Shortcut::Closed(error));
        }
        let (run, attempt) = (life.start_count(), self.retries.attempt());
        let displaced = life.transition_to_next_run(now, attempt, kind, error)?;
        if let Some(step) = step {
            self.tell_again(life, now, run, step);
        }
        self.retries.record_start(now);
        self.since = now;
        Ok(Shortcut::Taken(displaced))
    }

    /// A run has ended that was asked to, before that was decided: the same as
    /// [`Input::Stop`](crate::machine::Input::Stop) and, in the same moment,
    /// [`Input::Exited`](crate::machine::Input::Exited). Returns as [`again`](Self::again).
    ///
    /// # Errors
    /// As [`decide`](Self::decide).
    #[inline]
    pub(crate) fn finish(
        &mut self,
        life: &mut ServiceLifecycle,
        now: Instant,
        exit: Exit,
    ) -> Result<Shortcut<Option<Failure>, Exit>, TransitionError> {
        if !self.is_plain_run() {
            return Ok(Shortcut::Closed(exit));
        }
        life.transition_to_terminated(now, TerminationReason::Cancelled)?;
        self.state = State::Finished;
        let error = exit.into_failure();
        Ok(Shortcut::Taken(
            error.and_then(|error| life.keep_error(error)),
        ))
    }

    /// Whether a run is in progress that has nothing to show and nobody to ask.
    #[inline]
    const fn is_plain_run(&self) -> bool {
        matches!(self.state, State::Running) && !self.has_extras()
    }
}
