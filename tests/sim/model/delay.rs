//! What the design says of delays and breakers, counted by the model itself.

use crate::script::{Backoff, ms};
use crate::trace::At;
use janus_supervisor::Jitter;
use std::time::Duration;

/// The failures of one service so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Failures {
    /// Consecutive ones.
    pub(crate) attempt: u32,
    /// When they happened, for the breaker.
    window: Vec<At>,
    half_open: bool,
    /// The last delay that was drawn.
    previous: Duration,
}

/// What has to follow a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AfterFailure {
    /// A delay within these bounds.
    Wait(Duration, Duration),
    /// The breaker opens on this many failures; then a trial after so long, or the end.
    Open(u32, Option<Duration>),
}

impl Failures {
    /// A run has failed.
    pub(crate) fn fail(&mut self, now: At, backoff: &Backoff) -> AfterFailure {
        self.attempt += 1;
        if let Some((max_retries, window)) = backoff.breaker {
            self.window.push(now);
            let recent = self.recent(now, ms(window)).min(max_retries);
            if recent == max_retries || self.half_open {
                self.half_open = backoff.half_open.is_some();
                return AfterFailure::Open(recent, backoff.half_open.map(ms));
            }
        }
        let (low, high) = bounds(backoff, self.attempt, self.previous);
        AfterFailure::Wait(low, high)
    }

    /// A delay was drawn.
    pub(crate) fn drew(&mut self, delay: Duration, backoff: &Backoff) {
        self.previous = delay.max(ms(backoff.base));
    }

    /// A run has ended cleanly.
    pub(crate) const fn clean(&mut self) {
        self.attempt = 0;
    }

    /// A run has lasted long enough, or somebody wants another: all is forgotten.
    pub(crate) fn forget(&mut self) {
        (self.attempt, self.half_open) = (0, false);
        self.window.clear();
    }

    /// Whether a run that lasts has anything to clear.
    pub(crate) fn has_any(&self) -> bool {
        self.attempt > 0 || self.half_open || !self.window.is_empty()
    }

    /// Whether a restart by hand has.
    pub(crate) fn counts_any(&self, now: At, backoff: &Backoff) -> bool {
        let window = backoff
            .breaker
            .map_or(Duration::ZERO, |(_, window)| ms(window));
        self.attempt > 0 || self.half_open || self.recent(now, window) > 0
    }

    fn recent(&self, now: At, window: Duration) -> u32 {
        count(&self.window, now, window)
    }
}

/// How many of these are at most so old. One that is exactly so old counts.
pub(crate) fn count(times: &[At], now: At, within: Duration) -> u32 {
    let recent = times.iter().filter(|at| now.saturating_sub(**at) <= within);
    u32::try_from(recent.count()).unwrap_or(u32::MAX)
}

/// The shortest and the longest that the delay after this attempt can be.
fn bounds(backoff: &Backoff, attempt: u32, previous: Duration) -> (Duration, Duration) {
    let (base, max) = (ms(backoff.base), ms(backoff.max));
    let grown = |factor: u32, times: u32| {
        let factor = factor.checked_pow(times).unwrap_or(u32::MAX);
        base.saturating_mul(factor).min(max)
    };
    let first = backoff.initial.filter(|_| attempt == 1);
    let high = match (first, backoff.jitter) {
        (Some(initial), _) => ms(initial).min(max),
        (None, Jitter::Decorrelated) if attempt == 1 => grown(3, 1),
        (None, Jitter::Decorrelated) => previous.saturating_mul(3).min(grown(3, attempt)),
        (None, _) => grown(2, attempt - 1),
    };
    let low = match backoff.jitter {
        Jitter::None => high,
        Jitter::Full => Duration::ZERO,
        Jitter::Equal => high / 2,
        Jitter::Decorrelated => base,
    };
    // Jitter never makes a hot loop of a backoff.
    let floor = ms(1).min(base);
    (low.max(floor).min(high), high)
}

/// When a timer that is set to then goes off: the clock counts milliseconds.
pub(crate) fn tick(at: At) -> At {
    let nanos = at.subsec_nanos() % 1_000_000;
    match nanos {
        0 => at,
        _ => at + Duration::from_nanos(u64::from(1_000_000 - nanos)),
    }
}
