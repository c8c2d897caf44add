//! The phases of a service, and the table of legal moves between them.

use std::fmt;

/// What a service is doing.
///
/// Written in snake_case by [`Display`](fmt::Display) and by serde: `backing_off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum ServicePhase {
    /// Registered, or about to begin another run; not ready yet.
    Starting,
    /// A run is in progress, and the service is ready.
    Running,
    /// Between two runs, waiting for the next one.
    BackingOff,
    /// Asked to stop; the run has not ended yet.
    Stopping,
    /// Ended for good. No phase follows.
    Terminated,
}

impl ServicePhase {
    /// Every phase, in the order in which a service usually meets them.
    pub const ALL: [Self; 5] = [
        Self::Starting,
        Self::Running,
        Self::BackingOff,
        Self::Stopping,
        Self::Terminated,
    ];

    /// The transition table: whether a service in this phase may move to `next`.
    ///
    /// This is the only place that says so.
    #[must_use]
    pub const fn can_become(self, next: Self) -> bool {
        use ServicePhase::{BackingOff, Running, Starting, Stopping, Terminated};
        match self {
            Starting => matches!(next, Running | BackingOff | Stopping | Terminated),
            Running => matches!(next, BackingOff | Stopping | Terminated),
            BackingOff => matches!(next, Starting | Stopping | Terminated),
            Stopping => matches!(next, Terminated),
            Terminated => false,
        }
    }

    /// Whether the service has ended for good.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Terminated)
    }

    /// Whether the service is meant to go on: starting, running or waiting for its next run.
    #[must_use]
    pub const fn is_alive(self) -> bool {
        matches!(self, Self::Starting | Self::Running | Self::BackingOff)
    }

    /// The snake_case name, as `Display` and serde write it: a label for metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::BackingOff => "backing_off",
            Self::Stopping => "stopping",
            Self::Terminated => "terminated",
        }
    }
}

impl fmt::Display for ServicePhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A move that the transition table does not allow. Whatever was asked to make it has not changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[error("invalid lifecycle transition: {from} → {to}")]
pub struct TransitionError {
    /// The phase the service was and is in.
    pub from: ServicePhase,
    /// The phase that was asked for.
    pub to: ServicePhase,
}
