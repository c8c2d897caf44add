//! What the machine of a service is told, and what it returns.

use super::tally::{Counted, Tally};
use arrayvec::ArrayVec;
use janus_lifecycle::{AfterExit, EventKind, Exit, Failure, FailureKind, RestartPolicy};
use std::time::{Duration, Instant};

/// What can happen to a service.
#[derive(Debug)]
pub enum Input {
    /// Its task has begun.
    Start,
    /// The run ended by itself.
    Exited(Ended),
    /// The run has said that it is ready.
    Ready,
    /// When the run has last shown that it is alive.
    Heartbeat(Instant),
    /// Somebody wants it to run anew, at once: the present run is to end, a backoff is over. Earlier failures are
    /// forgotten.
    Restart,
    /// Its group has changed its mind: what it wants now. Only for a [gated](super::ServiceMachine::gated) service.
    Permit(Permit),
    /// The answer to [`Command::Ask`], perhaps a late one. Only for a [limited](super::ServiceMachine::limited)
    /// service.
    Turn(Turn),
    /// Somebody wants it to end.
    Stop {
        /// When it must be gone, if that is sooner than its own grace allows.
        latest: Option<Instant>,
    },
    /// The grace ends now, even if time is left.
    Abort,
    /// The run that [`Command::Abort`] dropped is gone, and all that it left behind.
    Gone,
    /// Time has passed.
    Tick,
    /// The task was dropped from outside: its runtime is gone.
    Lost,
}

/// What the runs of a service have to show, besides not ending. systemd's `Type=notify`, `TimeoutStartSec` and
/// `WatchdogSec`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Checks {
    /// When a run counts as ready.
    pub readiness: Readiness,
    /// A run that is not ready by then has failed.
    pub start_timeout: Option<Duration>,
    /// A run that is ready and does not show for so long that it is alive has failed: it hangs.
    pub watchdog: Option<Duration>,
}

/// When a run counts as ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum Readiness {
    /// As soon as it has been polled once.
    #[default]
    Immediate,
    /// When it says so: [`notify::ready`](crate::notify::ready).
    Notify,
}

/// Which runs of a gated service its group wants. Each permit, numbered from 1, is good for one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Permit {
    /// Up to this number, a run may begin.
    pub go: u64,
    /// Up to this number, a run must end, or must not begin. The service has not failed, and waits for the next permit.
    pub halt: u64,
}

impl Permit {
    /// For a service that needs none, or none any longer.
    pub const OPEN: Self = Self {
        go: u64::MAX,
        halt: 0,
    };
}

/// What the supervisor's limit says to a service that would begin a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// It may begin.
    Go,
    /// It is to ask again then.
    At(Instant),
}

/// What to do now. After any of them: wait for the next input, at most until
/// [`ServiceMachine::deadline`](super::ServiceMachine::deadline).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Command {
    /// Begin a run.
    Run,
    /// Ask whether a run may begin, and say [`Input::Turn`] when that is known.
    Ask {
        /// Whether it is one of those that are to be apart from one another: a restart that nobody has asked for.
        spread: bool,
    },
    /// Nothing but wait.
    Wait,
    /// Ask the run to end: cancel its token.
    Stop,
    /// Drop the run, and say [`Input::Gone`] when it is.
    Abort,
    /// Drop the run, which has failed in this way, and say [`Input::Exited`] when it is gone.
    Fail(FailureKind),
    /// All is over.
    Finish,
}

/// How a run ended, judged by the service's policy.
///
/// Separate from [`Input`] because judging may format an error, which is the user's code, and a driver that keeps the
/// machine behind a lock must not do that inside.
#[derive(Debug)]
pub struct Ended {
    exit: Exit,
    pub(super) after: AfterExit,
    /// The text of the failure, if it ends the service.
    pub(super) message: Option<String>,
}

impl Ended {
    /// Judges. Formats the failure if the service ends with it.
    #[must_use]
    #[inline]
    pub fn judge(policy: RestartPolicy, exit: Exit) -> Self {
        let after = policy.after(&exit);
        let message = match after {
            AfterExit::GiveUp => exit.failure().map(ToString::to_string),
            AfterExit::RunAgain | AfterExit::BackOff | AfterExit::Complete => None,
        };
        Self {
            exit,
            after,
            message,
        }
    }

    /// What the run failed with, or the error that it ended with after it was told to end.
    pub(super) fn take_failure(&mut self) -> Option<Failure> {
        std::mem::replace(&mut self.exit, Exit::Clean).into_failure()
    }
}

/// Something that happened, and in which run.
#[derive(Debug, Clone)]
pub struct Happening {
    /// The number of the run.
    pub run: u32,
    /// What happened.
    pub kind: EventKind,
}

/// The answer to one input.
#[derive(Debug)]
#[must_use]
pub struct Step {
    /// What to do now.
    pub command: Command,
    /// Until when to wait after that: [`ServiceMachine::deadline`](super::ServiceMachine::deadline).
    pub deadline: Option<Instant>,
    /// What happened, in order.
    pub happened: ArrayVec<Happening, 6>,
    /// The number of the first of them among the service's events.
    pub first_seq: u64,
    /// The error that is no longer the last one. Dropping it runs the user's code, so it is handed out.
    pub displaced: Option<Failure>,
    /// How many things happened, and of which kinds.
    pub(crate) tally: Tally,
    /// Whether anybody wants to know what happened, and not only how much.
    is_detailed: bool,
}

impl Step {
    /// Nothing has happened so far. Without `is_detailed`, what happens is only counted.
    pub(crate) const fn new(is_detailed: bool) -> Self {
        Self {
            command: Command::Wait,
            deadline: None,
            happened: ArrayVec::new_const(),
            first_seq: 0,
            displaced: None,
            tally: Tally::none(),
            is_detailed,
        }
    }

    /// Whether it says what happened, and not only how much.
    pub(crate) const fn is_detailed(&self) -> bool {
        self.is_detailed
    }

    /// Something has happened in this run of a service. What that is, is asked for only if somebody wants to know.
    #[inline]
    pub(super) fn tell(&mut self, run: u32, counts_as: Counted, kind: impl FnOnce() -> EventKind) {
        self.tally.count(counts_as);
        if self.is_detailed {
            let kind = kind();
            debug_assert_eq!(Counted::from(&kind), counts_as, "{kind:?}");
            self.happened.push(Happening { run, kind });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_is_counted_and_told_only_to_one_who_asks() {
        for asks in [false, true] {
            let mut step = Step::new(asks);
            step.tell(1, (&EventKind::Running).into(), || {
                assert!(asks, "nobody has asked");
                EventKind::Running
            });
            assert_eq!(step.is_detailed(), asks);
            assert_eq!(step.happened.len(), usize::from(asks));
            assert_eq!(step.tally.events, 1);
        }
    }
}
