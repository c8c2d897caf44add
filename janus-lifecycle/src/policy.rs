//! Restart policy x how the run ended -> what next.

use crate::Exit;
use std::fmt;
use std::str::FromStr;

/// Which ends of a run are followed by another run.
///
/// Erlang/OTP's `permanent`, `transient` and `temporary`, in that order.
/// `Display`, [`FromStr`] and serde use snake_case: `on_failure`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum RestartPolicy {
    /// Every end, also a clean one.
    Always,
    /// Failures only; a clean end completes the service.
    #[default]
    OnFailure,
    /// None: one run, however it ends.
    Never,
}

/// What follows the end of a run that nobody asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AfterExit {
    /// Run again after the base delay: the end was clean.
    RunAgain,
    /// Run again after a backoff, unless the breaker opens: the end was a failure.
    BackOff,
    /// Terminate as completed.
    Complete,
    /// Terminate as unrecoverable.
    GiveUp,
}

impl RestartPolicy {
    /// Every policy.
    pub const ALL: [Self; 3] = [Self::Always, Self::OnFailure, Self::Never];

    /// What this policy says of a run that ended like that.
    #[must_use]
    pub const fn after(self, exit: &Exit) -> AfterExit {
        match (self, exit) {
            (Self::Always, Exit::Clean) => AfterExit::RunAgain,
            (Self::OnFailure | Self::Never, Exit::Clean) => AfterExit::Complete,
            (_, Exit::Failed(_)) if self.retries() => AfterExit::BackOff,
            (_, Exit::Failed(_)) => AfterExit::GiveUp,
            (Self::Always | Self::OnFailure | Self::Never, Exit::Permanent(_)) => AfterExit::GiveUp,
        }
    }

    /// Whether it says [`AfterExit::BackOff`] of a run that failed.
    #[must_use]
    #[inline]
    pub const fn retries(self) -> bool {
        match self {
            Self::Always | Self::OnFailure => true,
            Self::Never => false,
        }
    }

    /// The snake_case name, as `Display` and serde write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::OnFailure => "on_failure",
            Self::Never => "never",
        }
    }
}

impl fmt::Display for RestartPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A text that names no [`RestartPolicy`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown restart policy {0:?}: expected \"always\", \"on_failure\" or \"never\"")]
pub struct ParsePolicyError(String);

impl FromStr for RestartPolicy {
    type Err = ParsePolicyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|policy| policy.as_str() == text)
            .ok_or_else(|| ParsePolicyError(text.to_owned()))
    }
}
