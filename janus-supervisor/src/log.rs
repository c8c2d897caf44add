//! What happened, as log lines that an operator would want: the table of levels is in the crate's documentation.
//!
//! A crash loop therefore costs one line a minute, which says how many failures were left out since the one before it.

use crate::driver::{caught, logged};
use crate::machine::Happening;
use crate::{EventKind, PanicError, RunOutcome, TerminationReason};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};
use tracing::Span;

/// How long the failures of one service stay at debug level after one was shown.
const QUIET: Duration = Duration::from_secs(60);

/// Which failures of one service are shown.
#[derive(Debug, Default)]
pub(crate) struct FailureLog {
    last_shown: Option<Instant>,
    suppressed: u64,
}

impl FailureLog {
    /// Whether to show a failure now, and how many were left out before it.
    fn admit(&mut self, now: Instant) -> Option<u64> {
        let quiet = self
            .last_shown
            .is_some_and(|last| now.saturating_duration_since(last) < QUIET);
        if quiet {
            self.suppressed = self.suppressed.saturating_add(1);
            return None;
        }
        self.last_shown = Some(now);
        Some(std::mem::take(&mut self.suppressed))
    }
}

/// Calls this inside a span. A subscriber that panics at its doors harms nothing else.
///
/// # Panics
/// As `act`.
pub(crate) fn within<R>(span: &Span, act: impl FnOnce() -> R) -> R {
    let entered = caught(|| span.enter()).ok();
    // Two panics at once would end the process.
    let result = catch_unwind(AssertUnwindSafe(act));
    logged(|| drop(entered));
    result.unwrap_or_else(|panic| resume_unwind(panic))
}

/// Logs what one step brought. An error's text is formatted only if somebody listens at that level.
pub(crate) fn step(service: &str, now: Instant, happened: &[Happening], failures: &mut FailureLog) {
    for (i, Happening { run, kind }) in happened.iter().enumerate() {
        let run = *run;
        match kind {
            EventKind::Running if run == 1 => tracing::info!(service, "service running"),
            EventKind::Running => tracing::debug!(service, run, "service running again"),
            EventKind::RunEnded { outcome, ran_for } => {
                let mut later = happened[i + 1..].iter().map(|next| &next.kind);
                let then = later.find(|kind| !matches!(kind, EventKind::BreakerOpened { .. }));
                run_ended(service, run, outcome, *ran_for, then, now, failures);
            }
            EventKind::BreakerOpened {
                failures,
                max_retries,
            } => {
                let then = happened.get(i + 1).map(|next| &next.kind);
                if let Some(EventKind::BackingOff { delay, .. }) = then {
                    tracing::warn!(service, run, failures, max_retries, trial_in = ?delay, "circuit breaker opened");
                }
            }
            EventKind::Recovered => tracing::info!(service, run, "service recovered"),
            EventKind::Reset => tracing::info!(service, run, "service reset"),
            EventKind::Stopping => tracing::debug!(service, run, "service stopping"),
            EventKind::Terminated { reason } => match reason {
                TerminationReason::Completed | TerminationReason::Cancelled => {
                    tracing::info!(service, run, %reason, "service terminated");
                }
                TerminationReason::Aborted => {
                    tracing::warn!(service, run, %reason, "service terminated");
                }
                _ => tracing::error!(service, run, %reason, "service terminated"),
            },
            _ => {}
        }
    }
}

/// Logs that something of the user's panicked while it was dropped.
pub(crate) fn drop_panicked(service: &str, what: &str, panic: &PanicError) {
    logged(|| tracing::warn!(service, error = %panic, "the drop of the {what} panicked"));
}

fn run_ended(
    service: &str,
    run: u32,
    outcome: &RunOutcome,
    ran_for: Duration,
    then: Option<&EventKind>,
    now: Instant,
    failures: &mut FailureLog,
) {
    match (outcome, then) {
        (RunOutcome::Failed(error), Some(EventKind::BackingOff { attempt, delay })) => {
            let kind = error.kind();
            if let Some(suppressed) = failures.admit(now) {
                tracing::warn!(service, run, %kind, %error, ?ran_for, attempt, next_run_in = ?delay, suppressed, "service failed");
            } else {
                tracing::debug!(service, run, %kind, %error, ?ran_for, attempt, next_run_in = ?delay, "service failed");
            }
        }
        (RunOutcome::Failed(error), _) => {
            let kind = error.kind();
            tracing::error!(service, run, %kind, %error, ?ran_for, "service failed for good");
        }
        (RunOutcome::Cancelled(Some(error)), _) => {
            tracing::warn!(service, run, %error, ?ran_for, "service stopped with an error");
        }
        (RunOutcome::Completed, Some(EventKind::BackingOff { delay, .. })) => {
            tracing::debug!(service, run, ?ran_for, next_run_in = ?delay, "run completed");
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failure_a_minute_is_shown_and_the_others_are_counted() {
        let t0 = crate::clock::now();
        let at = |secs| t0 + Duration::from_secs(secs);
        let mut log = FailureLog::default();
        assert_eq!(log.admit(at(0)), Some(0));
        assert_eq!(log.admit(at(1)), None);
        assert_eq!(log.admit(at(59)), None);
        assert_eq!(log.admit(at(60)), Some(2));
        assert_eq!(log.admit(at(61)), None);
        assert_eq!(log.admit(at(200)), Some(1));
    }
}
