//! What a group is told: who restarts with whom, how often, and when its work is done.

use janus_backoff::SlidingWindow;
use janus_lifecycle::TerminationReason;
use std::fmt;
use std::time::{Duration, Instant};

/// Who restarts when one child of a group fails and is to run again. Erlang/OTP's strategies.
///
/// A sibling that is stopped for another's sake has not failed: no failure is counted, no error kept; its start count
/// grows. One that is never restarted ([`RestartPolicy::Never`](crate::RestartPolicy::Never)) then ends, as cancelled;
/// one that has completed is not started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum Strategy {
    /// Only the child itself, after its backoff. A child that has given up for good leaves its siblings alone.
    #[default]
    OneForOne,
    /// All: the siblings stop, last started first, and after the child's backoff all start in order. A child that has
    /// given up for good is the end of the group.
    OneForAll,
    /// The child and those after it: they stop, last started first, and after the child's backoff it and they start in
    /// order. A child that has given up for good is the end of the group.
    RestForOne,
}

impl Strategy {
    /// The snake_case name, as `Display` and serde write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OneForOne => "one_for_one",
            Self::OneForAll => "one_for_all",
            Self::RestForOne => "rest_for_one",
        }
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How many restarts inside a period are tolerated: one more gives up. (The circuit breaker counts otherwise: its
/// `max_retries`-th failure opens it.)
///
/// Erlang/OTP's `intensity` and `period`. A restart counts once, however many children it moves, and so does one after
/// a clean exit. A restart that is exactly `within` old still counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Intensity {
    /// How many are tolerated. With 0, the first gives up; with [`u32::MAX`] none does.
    pub max_restarts: u32,
    /// Inside which period. Must not be zero.
    pub within: Duration,
}

impl Intensity {
    /// Tolerates `max_restarts` inside `within`.
    #[must_use]
    pub const fn new(max_restarts: u32, within: Duration) -> Self {
        Self {
            max_restarts,
            within,
        }
    }

    /// Tolerates any number.
    #[must_use]
    pub const fn unlimited() -> Self {
        Self::new(u32::MAX, Duration::MAX)
    }

    /// Records a restart. Returns whether it is one too many.
    pub(crate) fn is_exceeded_by(&self, window: &mut SlidingWindow, now: Instant) -> bool {
        let Some(limit) = self.max_restarts.checked_add(1) else {
            return false; // nothing to remember
        };
        window.record(now, self.within, limit) > self.max_restarts
    }
}

/// Three restarts inside five seconds, as Elixir has it.
impl Default for Intensity {
    fn default() -> Self {
        Self::new(3, Duration::from_secs(5))
    }
}

impl fmt::Display for Intensity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.max_restarts == 1 { "" } else { "s" };
        let (n, within) = (self.max_restarts, self.within);
        write!(f, "{n} restart{plural} within {within:?}")
    }
}

/// When a group, or the whole supervisor, shuts down by itself because its work is done.
///
/// Erlang/OTP's `auto_shutdown`, and [`AllTerminated`](Self::AllTerminated). A child that was stopped, for a sibling's
/// sake or by an operator, has not ended by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum AutoShutdown {
    /// Never by itself.
    #[default]
    Never,
    /// When a significant child has ended by itself.
    AnySignificant,
    /// When a significant child has ended by itself and no other is left.
    AllSignificant,
    /// When a child has ended, by itself or not, and no other is left.
    AllTerminated,
}

impl AutoShutdown {
    /// The snake_case name, as `Display` and serde write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::AnySignificant => "any_significant",
            Self::AllSignificant => "all_significant",
            Self::AllTerminated => "all_terminated",
        }
    }

    /// Whether there can be significant children.
    pub(crate) const fn knows_significance(self) -> bool {
        matches!(self, Self::AnySignificant | Self::AllSignificant)
    }
}

impl fmt::Display for AutoShutdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How a child ended for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChildEnd {
    /// By itself, cleanly.
    Completed,
    /// By itself: its failure is not retried, or no longer.
    Failed,
    /// It was stopped.
    Stopped,
}

impl ChildEnd {
    /// What a termination comes to. Without a reason, its runtime has gone away.
    #[must_use]
    pub const fn of(reason: Option<&TerminationReason>) -> Self {
        match reason {
            Some(TerminationReason::Completed) => Self::Completed,
            Some(TerminationReason::Cancelled | TerminationReason::Aborted) | None => Self::Stopped,
            Some(_) => Self::Failed,
        }
    }
}

/// Who is left of a group's children, and whether that ends the group.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Remaining<C> {
    rule: AutoShutdown,
    all: usize,
    significant: usize,
    lost: Option<C>,
}

impl<C> Remaining<C> {
    pub(crate) const fn new(rule: AutoShutdown) -> Self {
        Self {
            rule,
            all: 0,
            significant: 0,
            lost: None,
        }
    }

    pub(crate) const fn add(&mut self, significant: bool) {
        self.all += 1;
        self.significant += significant as usize;
    }

    /// A child has ended. Returns whether the work is done with that. `child` says who it is, if that matters.
    pub(crate) fn end(
        &mut self,
        significant: bool,
        end: ChildEnd,
        child: impl FnOnce() -> C,
    ) -> bool {
        self.all -= 1;
        self.significant -= usize::from(significant);
        let matters = significant || self.rule == AutoShutdown::AllTerminated;
        if matters && end == ChildEnd::Failed {
            // Not the last: what that would displace is dropped here, under a lock, and may hold an error of the user's.
            self.lost.get_or_insert_with(child);
        }
        let by_itself = end != ChildEnd::Stopped;
        match self.rule {
            AutoShutdown::Never => false,
            AutoShutdown::AnySignificant => significant && by_itself,
            AutoShutdown::AllSignificant => significant && by_itself && self.significant == 0,
            AutoShutdown::AllTerminated => self.all == 0,
        }
    }

    /// The first child that has failed for good, of those that matter: the significant ones, or under `AllTerminated`
    /// all.
    pub(crate) const fn lost(&self) -> Option<&C> {
        self.lost.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_significant_rules_know_significance() {
        assert!(AutoShutdown::AnySignificant.knows_significance());
        assert!(AutoShutdown::AllSignificant.knows_significance());
        assert!(!AutoShutdown::Never.knows_significance());
        assert!(!AutoShutdown::AllTerminated.knows_significance());
    }
}
