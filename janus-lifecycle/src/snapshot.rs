//! A service at one instant, as plain data.

use crate::{FailureKind, ServicePhase};

/// A service at one instant, as plain data: for a status page, a table or a test.
///
/// Made by [`ServiceLifecycle::snapshot`](crate::ServiceLifecycle::snapshot). With the `serde` feature it is a flat
/// object whose field names are stable.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct ServiceLifecycleSnapshot {
    /// The service's name.
    pub service_name: String,
    /// What it is doing.
    pub phase: ServicePhase,
    /// How many runs have begun or are about to: 1 from the registration on.
    pub start_count: u32,
    /// Consecutive failures; back to 0 after a clean exit, and once a run has been up for the cooldown period.
    pub attempt: u32,
    /// Failures since the registration.
    pub total_failures: u32,
    /// The text of the last failure with its whole chain of sources, or of the error that a stop ended with.
    pub last_error: Option<String>,
    /// The kind of the last failure.
    pub last_failure_kind: Option<FailureKind>,
    /// Seconds spent in `running`, over all runs.
    pub cumulative_running_secs: f64,
    /// Seconds since the registration, up to the termination.
    pub age_secs: f64,
    /// Seconds since the last transition.
    pub time_in_phase_secs: f64,
    /// Seconds until the next run as actually drawn (after jitter), while `backing_off`; 0 when it is due.
    pub next_retry_secs: Option<f64>,
    /// Why it has terminated, once it has.
    pub termination_reason: Option<String>,
    /// What its run says that it is doing. Filled in by a supervisor.
    #[cfg_attr(feature = "serde", serde(default))]
    pub status: Option<String>,
    /// Its run blocks its thread, and cannot be dropped. Filled in by a supervisor, for services with a start timeout
    /// or a watchdog, and for those that a shutdown has waited for in vain.
    #[cfg_attr(feature = "serde", serde(default))]
    pub stuck: bool,
}
