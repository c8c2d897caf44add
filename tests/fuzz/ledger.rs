//! Who counts failures along with the machine: attempts and the breaker, by the book.

use janus_supervisor::machine::Happening;
use janus_supervisor::{BackoffConfig, EventKind, RunOutcome};
use std::time::Instant;

/// What is known from the events of one service alone.
pub(crate) struct Ledger {
    config: BackoffConfig,
    /// Consecutive failures.
    attempt: u32,
    /// When runs have failed; no clock goes backwards here.
    failures: Vec<Instant>,
    half_open: bool,
}

impl Ledger {
    pub(crate) fn new(config: BackoffConfig) -> Self {
        Self {
            config,
            attempt: 0,
            failures: Vec::new(),
            half_open: false,
        }
    }

    /// Books what one step has told, and compares.
    pub(crate) fn book(&mut self, now: Instant, happened: &[Happening]) {
        let mut must_open = false;
        for what in happened {
            match &what.kind {
                EventKind::RunEnded { outcome, .. } => match outcome {
                    RunOutcome::Completed => self.attempt = 0,
                    RunOutcome::Failed(_) => must_open = self.fail(now),
                    _ => {}
                },
                EventKind::Recovered | EventKind::Reset => {
                    (self.attempt, self.half_open) = (0, false);
                    self.failures.clear();
                }
                EventKind::BreakerOpened {
                    failures,
                    max_retries,
                } => {
                    assert!(must_open, "too early, at {failures} of {max_retries}");
                    assert_eq!(*max_retries, self.config.max_retries);
                    assert!(failures <= max_retries);
                    must_open = false;
                    self.half_open = self.config.half_open_after.is_some();
                }
                EventKind::BackingOff { attempt, delay } => {
                    assert!(!must_open, "too late, at attempt {attempt}");
                    assert_eq!(*attempt, self.attempt);
                    let trial = self.config.half_open_after.filter(|_| self.half_open);
                    let longest = self.config.max_delay.max(trial.unwrap_or_default());
                    assert!(*delay <= longest, "{delay:?}");
                }
                _ => {}
            }
        }
    }

    /// A run has failed. Answers whether the breaker is to open, if another run would follow.
    fn fail(&mut self, now: Instant) -> bool {
        let now = self.failures.last().map_or(now, |last| now.max(*last));
        self.failures.push(now);
        self.attempt += 1;
        let window = self.config.circuit_breaker_window;
        let inside = |at: &&Instant| now.duration_since(**at) <= window;
        let failures = self.failures.iter().filter(inside).count();
        let enough = u32::try_from(failures).unwrap() >= self.config.max_retries;
        self.config.has_circuit_breaker() && (enough || self.half_open)
    }
}
