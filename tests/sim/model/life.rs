//! One service or group as the model knows it.

use super::delay::Failures;
use super::ends::OwnEnd;
use super::family::Family;
use crate::script::{Backoff, End, Node, ServiceSpec, ms};
use crate::trace::At;
use janus_supervisor::{RestartPolicy, ServicePhase, TerminationReason};
use std::time::Duration;

/// From its registration to its end.
#[derive(Debug)]
pub(crate) struct Life<'h> {
    pub(crate) id: u64,
    pub(crate) path: String,
    pub(crate) node: &'h Node,
    /// Its group, and its place there.
    pub(crate) parent: Option<(u64, usize)>,
    /// Those it starts after.
    pub(crate) after: Vec<Dependency>,
    pub(crate) registered_at: At,
    pub(crate) phase: ServicePhase,
    pub(crate) next_seq: u64,
    /// The number of the present run, or of the last, or of the first.
    pub(crate) run: u32,
    pub(crate) has_begun: bool,
    /// How often it has become ready.
    pub(crate) ups: u32,
    pub(crate) present: Option<Present>,
    /// A scripted run is in progress, by its own account.
    pub(crate) is_playing: bool,
    pub(crate) failures: Failures,
    /// How the last run has ended, if by itself.
    pub(crate) own_end: Option<OwnEnd>,
    pub(crate) due: Option<At>,
    /// Its group lets it run, and since when.
    pub(crate) permitted: Option<At>,
    /// When it ceased to.
    pub(crate) revoked_at: Option<At>,
    pub(crate) stop_asked: Option<At>,
    /// Somebody wants another run.
    pub(crate) restart_asked: Option<At>,
    pub(crate) stopping_at: Option<At>,
    pub(crate) end: Option<(At, TerminationReason)>,
    pub(crate) is_removed: bool,
    /// What has to come next, now.
    pub(crate) expected: Vec<Expected>,
    /// Of a group: those in it.
    pub(crate) family: Family,
}

/// Somebody to start after.
#[derive(Debug)]
pub(crate) struct Dependency {
    pub(crate) id: u64,
    /// It was up or over already, and how often it had become ready by then.
    pub(crate) was_up: bool,
    /// It was stopping, and had never been up: the design does not say what that is.
    pub(crate) is_unclear: bool,
    pub(crate) ups: u32,
}

/// A run in progress.
#[derive(Debug, Clone)]
pub(crate) struct Present {
    pub(crate) began: At,
    pub(crate) called: bool,
    pub(crate) polled: bool,
    pub(crate) said_ready: bool,
    /// `Running`, and since when.
    pub(crate) running: Option<At>,
    pub(crate) alive: At,
    /// It is to end, though the service is not, since then.
    pub(crate) told: Option<At>,
    /// It has seen that it is to end.
    pub(crate) knows: bool,
    pub(crate) cancelled_itself: bool,
    pub(crate) drop_panicked: bool,
    pub(crate) ends: Option<(At, End)>,
}

/// An event that has to come next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Expected {
    BackingOff(Wait),
    Opened(u32),
    Terminated(Ending),
}

/// A delay, and its bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wait {
    pub(crate) attempt: u32,
    pub(crate) low: Duration,
    pub(crate) high: Duration,
    /// It follows from the delay before it, and the next from it.
    pub(crate) is_drawn: bool,
    pub(crate) why: Why,
}

impl Expected {
    /// This very delay.
    pub(crate) const fn wait(attempt: u32, delay: Duration, why: Why) -> Self {
        Self::BackingOff(Wait {
            attempt,
            low: delay,
            high: delay,
            is_drawn: false,
            why,
        })
    }

    /// A delay after a failure.
    pub(crate) const fn drawn(attempt: u32, low: Duration, high: Duration) -> Self {
        Self::BackingOff(Wait {
            attempt,
            low,
            high,
            is_drawn: true,
            why: Why::Down,
        })
    }
}

/// Why it is to run again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// It has ended by itself.
    Down,
    /// It was told to.
    Halted,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    Completed,
    Cancelled,
    BreakerOpen,
    Unrecoverable,
    Aborted,
}

impl Ending {
    pub(crate) const fn of(reason: &TerminationReason) -> Option<Self> {
        Some(match reason {
            TerminationReason::Completed => Self::Completed,
            TerminationReason::Cancelled => Self::Cancelled,
            TerminationReason::CircuitBreakerOpen { .. } => Self::BreakerOpen,
            TerminationReason::Unrecoverable(_) => Self::Unrecoverable,
            TerminationReason::Aborted => Self::Aborted,
            _ => return None,
        })
    }

    /// It has ended by itself, though not well.
    pub(crate) const fn is_failure(self) -> bool {
        matches!(self, Self::BreakerOpen | Self::Unrecoverable)
    }

    pub(crate) const fn is_by_itself(self) -> bool {
        !matches!(self, Self::Cancelled | Self::Aborted)
    }
}

impl<'h> Life<'h> {
    pub(crate) fn new(
        id: u64,
        path: String,
        node: &'h Node,
        parent: Option<(u64, usize)>,
        now: At,
    ) -> Self {
        Self {
            id,
            path,
            node,
            parent,
            after: Vec::new(),
            registered_at: now,
            phase: ServicePhase::Starting,
            next_seq: 1,
            run: 1,
            has_begun: false,
            ups: 0,
            present: None,
            is_playing: false,
            failures: Failures::default(),
            own_end: None,
            due: None,
            permitted: None,
            revoked_at: None,
            stop_asked: None,
            restart_asked: None,
            stopping_at: None,
            end: None,
            is_removed: false,
            expected: Vec::new(),
            family: Family::default(),
        }
    }

    pub(crate) const fn backoff(&self) -> &'h Backoff {
        &self.node.common().backoff
    }

    pub(crate) const fn policy(&self) -> RestartPolicy {
        self.node.common().policy
    }

    pub(crate) const fn is_group(&self) -> bool {
        matches!(self.node, Node::Group(_))
    }

    pub(crate) const fn service(&self) -> Option<&'h ServiceSpec> {
        match self.node {
            Node::Service(spec) => Some(spec),
            Node::Group(_) => None,
        }
    }

    /// Never started again.
    pub(crate) fn is_temporary(&self) -> bool {
        self.policy() == RestartPolicy::Never
    }

    pub(crate) const fn is_over(&self) -> bool {
        self.end.is_some()
    }

    /// No run is in progress, but there may be another.
    pub(crate) const fn is_down(&self) -> bool {
        self.present.is_none() && self.end.is_none()
    }

    /// It is to end for good.
    pub(crate) const fn is_stopping(&self) -> bool {
        self.stopping_at.is_some()
    }

    /// Since when its run is to end.
    pub(crate) fn told_at(&self) -> Option<At> {
        let told = self.present.as_ref().and_then(|run| run.told);
        told.or(self.stopping_at)
    }

    /// How long it may take to stop. None: for ever.
    pub(crate) fn grace(&self, shutdown_timeout: Duration) -> Option<Duration> {
        match (self.node.common().grace, self.is_group()) {
            (Some(grace), _) => Some(ms(grace)),
            (None, true) => None,
            (None, false) => Some(shutdown_timeout),
        }
    }

    /// Its group does not let it run any more, but it may have begun before it heard of that.
    pub(crate) fn revoke(&mut self, now: At) {
        if self.permitted.take().is_some() {
            self.revoked_at = Some(now);
        }
    }

    /// A group that may have begun, or not: that is seen only when a child does.
    pub(crate) const fn is_unseen(&self) -> bool {
        self.is_group() && !self.has_begun
    }

    /// How many runs have begun.
    pub(crate) const fn runs(&self) -> u32 {
        if self.has_begun { self.run } else { 0 }
    }

    /// Whether a run that begins is ready at once.
    pub(crate) fn is_ready_at_once(&self) -> bool {
        self.service().is_some_and(|spec| !spec.notify)
    }
}

impl Present {
    pub(crate) const fn new(now: At) -> Self {
        Self {
            began: now,
            called: false,
            polled: false,
            said_ready: false,
            running: None,
            alive: now,
            told: None,
            knows: false,
            cancelled_itself: false,
            drop_panicked: false,
            ends: None,
        }
    }
}
