//! What happened, as log lines that an operator would want: the table of levels is in the crate's documentation.
//!
//! A crash loop therefore, also one of a group, costs one line a minute for each service, which says how many failures
//! were left out since the one before it.

use crate::driver::{caught, logged};
use crate::machine::Happening;
use crate::{
    ErrorChain, EventKind, GroupError, PanicError, RunOutcome, ShutdownCause, ShutdownReport,
    TerminationReason,
};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};
use tracing::Span;

/// How long lines of one kind stay at debug level after one was shown.
const QUIET: Duration = Duration::from_secs(60);

/// Which lines of one service are shown. What is in a group is made anew whenever that runs again, and has one for all
/// its lives.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Quiet {
    failure: LastShown,
    suppressed: u64,
    /// What comes once in a life.
    beginning: LastShown,
    last_failure: LastShown,
    last_error: LastShown,
    dropped: LastShown,
    recovery: LastShown,
    breaker: LastShown,
    end: LastShown,
    bad_end: LastShown,
}

/// When a line was last shown, if one was.
#[derive(Debug, Clone, Copy, Default)]
struct LastShown(Option<Instant>);

impl LastShown {
    /// Whether to show one now.
    fn admit(&mut self, now: Instant) -> bool {
        let is_long_ago = |last| now.saturating_duration_since(last) >= QUIET;
        let admits = self.0.is_none_or(is_long_ago);
        if admits {
            self.0 = Some(now);
        }
        admits
    }
}

impl Quiet {
    /// Whether to show a failure now, and how many were left out before it.
    fn admit_failure(&mut self, now: Instant) -> Option<u64> {
        if self.failure.admit(now) {
            return Some(std::mem::take(&mut self.suppressed));
        }
        self.suppressed = self.suppressed.saturating_add(1);
        None
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

/// A line, at this level if it is to be shown, and otherwise at debug.
macro_rules! show {
    ($shown:expr, $level:ident, $($line:tt)*) => {
        if $shown {
            tracing::$level!($($line)*);
        } else {
            tracing::debug!($($line)*);
        }
    };
}

/// Logs what one step brought. An error's text is formatted only if somebody listens at that level.
pub(crate) fn step(service: &str, now: Instant, happened: &[Happening], quiet: &mut Quiet) {
    for (i, Happening { run, kind }) in happened.iter().enumerate() {
        let run = *run;
        match kind {
            EventKind::Running if run == 1 => {
                show!(quiet.beginning.admit(now), info, service, "service running");
            }
            EventKind::Running => tracing::debug!(service, run, "service running again"),
            EventKind::RunEnded { outcome, ran_for } => {
                let mut later = happened[i + 1..].iter().map(|next| &next.kind);
                let then = later.find(|kind| !matches!(kind, EventKind::BreakerOpened { .. }));
                run_ended(service, run, outcome, *ran_for, then, now, quiet);
            }
            EventKind::BreakerOpened {
                failures,
                max_retries,
            } => {
                let then = happened.get(i + 1).map(|next| &next.kind);
                if let Some(EventKind::BackingOff { delay, .. }) = then {
                    show!(quiet.breaker.admit(now), warn, service, run, failures, max_retries, trial_in = ?delay, "circuit breaker opened");
                }
            }
            EventKind::Recovered => {
                show!(
                    quiet.recovery.admit(now),
                    info,
                    service,
                    run,
                    "service recovered"
                );
            }
            EventKind::Reset => tracing::info!(service, run, "service reset"),
            EventKind::Stopping => tracing::debug!(service, run, "service stopping"),
            EventKind::Terminated { reason } => match reason {
                TerminationReason::Completed | TerminationReason::Cancelled => {
                    show!(quiet.end.admit(now), info, service, run, %reason, "service terminated");
                }
                TerminationReason::Aborted => {
                    show!(quiet.bad_end.admit(now), warn, service, run, %reason, "service terminated");
                }
                _ => {
                    show!(quiet.bad_end.admit(now), error, service, run, %reason, "service terminated");
                }
            },
            _ => {}
        }
    }
}

/// Logs that a shutdown begins.
pub(crate) fn shutting_down(cause: ShutdownCause, failure: Option<&GroupError>) {
    logged(|| match failure {
        Some(error) => tracing::error!(%cause, error = %ErrorChain(error), "shutting down"),
        None => tracing::info!(%cause, "shutting down"),
    });
}

/// Logs what came of a shutdown.
pub(crate) fn shut_down(report: &ShutdownReport) {
    logged(|| {
        if report.exit_code() == 0 {
            tracing::info!(%report, "supervisor shut down");
        } else {
            tracing::warn!(%report, "supervisor shut down");
        }
    });
}

/// Logs that a service does not let itself be dropped.
pub(crate) fn stuck(service: &str) {
    logged(|| {
        tracing::error!(
            service,
            "service stuck: it blocks its thread, and cannot be dropped"
        );
    });
}

/// Logs that a service has ended because its runtime has.
pub(crate) fn lost(service: &str) {
    logged(|| tracing::warn!(service, "service lost: its runtime has gone away"));
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
    quiet: &mut Quiet,
) {
    match (outcome, then) {
        (RunOutcome::Failed(error), Some(EventKind::BackingOff { attempt, delay })) => {
            let kind = error.kind();
            let admitted = quiet.admit_failure(now);
            let suppressed = admitted.unwrap_or_default();
            show!(admitted.is_some(), warn, service, run, %kind, %error, ?ran_for, attempt, next_run_in = ?delay, suppressed, "service failed");
        }
        (RunOutcome::Failed(error), _) => {
            let kind = error.kind();
            show!(quiet.last_failure.admit(now), error, service, run, %kind, %error, ?ran_for, "service failed for good");
        }
        (RunOutcome::Aborted, Some(EventKind::BackingOff { .. })) => {
            show!(
                quiet.dropped.admit(now),
                warn,
                service,
                run,
                ?ran_for,
                "run dropped: it did not end in time, and another follows"
            );
        }
        (RunOutcome::Cancelled(Some(error)), Some(EventKind::BackingOff { .. })) => {
            show!(quiet.last_error.admit(now), warn, service, run, %error, ?ran_for, "run stopped with an error, and another follows");
        }
        (RunOutcome::Cancelled(Some(error)), _) => {
            show!(quiet.last_error.admit(now), warn, service, run, %error, ?ran_for, "service stopped with an error");
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
        let mut quiet = Quiet::default();
        assert_eq!(quiet.admit_failure(at(0)), Some(0));
        assert_eq!(quiet.admit_failure(at(1)), None);
        assert_eq!(quiet.admit_failure(at(59)), None);
        assert_eq!(quiet.admit_failure(at(60)), Some(2));
        assert_eq!(quiet.admit_failure(at(61)), None);
        assert_eq!(quiet.admit_failure(at(200)), Some(1));
    }
}
