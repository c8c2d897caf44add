//! How a run ended, and why a service ended for good.

use crate::Failure;
use std::fmt;

/// How a run ended by itself: what a [`RestartPolicy`](crate::RestartPolicy) judges.
#[derive(Debug, Clone)]
pub enum Exit {
    /// It returned `Ok(())`: not a failure.
    Clean,
    /// It failed, and another try may succeed.
    Failed(Failure),
    /// It failed and said that another try is pointless.
    Permanent(Failure),
}

impl Exit {
    /// The failure, if it was one.
    #[must_use]
    pub const fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Clean => None,
            Self::Failed(failure) | Self::Permanent(failure) => Some(failure),
        }
    }

    /// Takes the failure out, if it was one.
    #[must_use]
    pub fn into_failure(self) -> Option<Failure> {
        match self {
            Self::Clean => None,
            Self::Failed(failure) | Self::Permanent(failure) => Some(failure),
        }
    }
}

/// Why a service ended for good.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum TerminationReason {
    /// Its last run returned `Ok(())`, and the policy wants no other.
    Completed,
    /// It was asked to stop, and did.
    Cancelled,
    /// It failed too often.
    CircuitBreakerOpen {
        /// Failures inside the breaker's window when it opened.
        failures: u32,
        /// How many the breaker was set to open at.
        max_retries: u32,
    },
    /// It failed in a way that is not retried: a permanent error, or any failure under `RestartPolicy::Never`.
    Unrecoverable(String),
    /// It was asked to stop, did not do so within its grace, and was dropped. Also: its runtime was dropped, and it was
    /// lost with that, asked or not.
    Aborted,
}

impl TerminationReason {
    /// What [`as_str`](Self::as_str) can answer: for whoever has to announce every label beforehand.
    pub const LABELS: [&'static str; 5] = [
        "completed",
        "cancelled",
        "circuit_breaker_open",
        "unrecoverable",
        "aborted",
    ];

    /// Which reason, without its details: a label for metrics and logs.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
            Self::CircuitBreakerOpen { .. } => "circuit_breaker_open",
            Self::Unrecoverable(_) => "unrecoverable",
            Self::Aborted => "aborted",
        }
    }
}

impl fmt::Display for TerminationReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Completed => f.write_str("completed"),
            Self::Cancelled => f.write_str("cancelled"),
            Self::CircuitBreakerOpen {
                failures,
                max_retries,
            } => write!(
                f,
                "circuit breaker open ({failures}/{max_retries} failures)"
            ),
            Self::Unrecoverable(message) => write!(f, "unrecoverable: {message}"),
            Self::Aborted => f.write_str("aborted: did not stop in time"),
        }
    }
}
