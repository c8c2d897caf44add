//! What came of a shutdown.

use std::fmt;
use std::time::Duration;

/// How the services ended: what [`wait_for_drain`](crate::JanusSupervisor::wait_for_drain) returns.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct DrainReport {
    /// How many services ended by themselves after the shutdown began.
    pub drained: usize,
    /// Services that did not end within their grace and were dropped, or were lost with their runtime at any time, in the
    /// order they were spawned.
    pub aborted: Vec<String>,
    /// Services that could not even be dropped, because they block their thread. They still hold it.
    pub stuck: Vec<String>,
    /// From the beginning of the shutdown to the end of the drain. With serde: `took_secs`, a number of seconds.
    #[cfg_attr(
        feature = "serde",
        serde(rename = "took_secs", serialize_with = "as_secs")
    )]
    pub took: Duration,
}

#[cfg(feature = "serde")]
fn as_secs<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

impl DrainReport {
    /// Whether every service ended by itself.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.aborted.is_empty() && self.stuck.is_empty()
    }

    /// The exit code for the process: 0 if the drain was clean, otherwise 1.
    #[must_use]
    pub fn exit_code(&self) -> i32 {
        i32::from(!self.is_clean())
    }
}

/// `7 drained in 12ms`, and who was not: `6 drained, aborted: feed, stuck: api in 30.0s`.
impl fmt::Display for DrainReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} drained", self.drained)?;
        for (what, names) in [("aborted", &self.aborted), ("stuck", &self.stuck)] {
            if !names.is_empty() {
                write!(f, ", {what}: {}", names.join(" "))?;
            }
        }
        match self.took.as_millis() {
            millis @ ..1000 => write!(f, " in {millis}ms"),
            _ => write!(f, " in {:.1}s", self.took.as_secs_f64()),
        }
    }
}

/// What began a shutdown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum ShutdownCause {
    /// The program: [`trigger_shutdown`](crate::JanusSupervisor::trigger_shutdown), or its token was cancelled.
    Requested,
    /// SIGTERM.
    Terminate,
    /// SIGINT, or Ctrl-C.
    Interrupt,
    /// The last [`JanusSupervisor`](crate::JanusSupervisor) of the fleet was dropped.
    Dropped,
    /// The supervisor's work is done: [`AutoShutdown`](crate::AutoShutdown).
    WorkDone,
    /// As [`WorkDone`](Self::WorkDone), but a service that mattered has failed for good.
    WorkFailed,
    /// The supervisor's [`Intensity`](crate::Intensity) was exceeded.
    GaveUp,
}

impl fmt::Display for ShutdownCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Requested => "requested",
            Self::Terminate => "SIGTERM",
            Self::Interrupt => "SIGINT",
            Self::Dropped => "supervisor dropped",
            Self::WorkDone => "work done",
            Self::WorkFailed => "work failed",
            Self::GaveUp => "gave up",
        })
    }
}

/// What began the shutdown and how it went: what
/// [`run_until_shutdown`](crate::JanusSupervisor::run_until_shutdown) returns.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ShutdownReport {
    /// What began it.
    pub cause: ShutdownCause,
    /// How the services ended.
    pub drain: DrainReport,
    /// What has failed, if that began it: which service, and with what. With serde it is left out otherwise.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub failure: Option<String>,
}

impl ShutdownReport {
    /// The exit code for the process: 0 if every service stopped in time, unless a failure began the shutdown.
    /// Otherwise 1, so that an outer supervisor notices. Services that had ended before do not matter, unless they were
    /// lost with their runtime, nor do errors on the way out.
    ///
    /// Give it to [`std::process::exit`]: a `main` that returns drops its runtime, which waits for the threads of stuck
    /// services.
    #[must_use]
    pub fn exit_code(&self) -> i32 {
        let failed = matches!(
            self.cause,
            ShutdownCause::WorkFailed | ShutdownCause::GaveUp
        );
        i32::from(failed).max(self.drain.exit_code())
    }
}

/// `shutdown (SIGTERM): 7 drained in 12ms`, or `shutdown (work failed: api has failed for good: the port is 0): ..`.
impl fmt::Display for ShutdownReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.failure {
            Some(failure) => write!(f, "shutdown ({}: {failure}): {}", self.cause, self.drain),
            None => write!(f, "shutdown ({}): {}", self.cause, self.drain),
        }
    }
}
