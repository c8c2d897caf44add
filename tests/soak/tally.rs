//! What has happened in the storm: a soak in which nothing happened proves nothing.

use anyhow::{Result, ensure};
use janus_supervisor::{
    EventKind, FailureKind, Observer, RunOutcome, ServiceEvent, TerminationReason,
};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// What is counted, in the order of the numbers.
const WHAT: [&str; 11] = [
    "errors",
    "panics",
    "hangs",
    "late starts",
    "aborted runs",
    "recoveries",
    "breakers opened",
    "completed for good",
    "given up for good",
    "removed",
    "events missed by slow subscribers",
];

/// An observer that counts.
#[derive(Debug, Default)]
pub(crate) struct Tally([AtomicU64; WHAT.len()]);

impl Tally {
    /// A subscriber was too slow for so many events.
    pub(crate) fn missed(&self, events: u64) {
        self.add(10, events);
    }

    fn add(&self, what: usize, n: u64) {
        if let Some(count) = self.0.get(what) {
            count.fetch_add(n, Ordering::Relaxed);
        }
    }

    /// Whether everything that should happen in a storm has.
    pub(crate) fn check(&self) -> Result<()> {
        for (count, what) in self.0.iter().zip(WHAT) {
            ensure!(
                count.load(Ordering::Relaxed) > 0,
                "this was no storm: no {what}"
            );
        }
        Ok(())
    }
}

impl Observer for Tally {
    fn observe(&self, event: &ServiceEvent) {
        let what = match &event.kind {
            EventKind::RunEnded { outcome, .. } => match outcome {
                RunOutcome::Failed(failure) => match failure.kind() {
                    FailureKind::Error => 0,
                    FailureKind::Panic => 1,
                    FailureKind::Hang => 2,
                    FailureKind::StartTimeout => 3,
                    _ => return,
                },
                RunOutcome::Aborted => 4,
                _ => return,
            },
            EventKind::Recovered | EventKind::Reset => 5,
            EventKind::BreakerOpened { .. } => 6,
            EventKind::Terminated { reason } => match reason {
                TerminationReason::Completed => 7,
                TerminationReason::Unrecoverable(_) => 8,
                _ => return,
            },
            EventKind::Removed => 9,
            _ => return,
        };
        self.add(what, 1);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (count, what)) in self.0.iter().zip(WHAT).enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}{} {what}", count.load(Ordering::Relaxed))?;
        }
        Ok(())
    }
}
