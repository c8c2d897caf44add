//! What a series of failures comes to: the next delay, or the end.
//!
//! Invariants, which the property tests in `tests/properties.rs` cite:
//!
//! 1. A delay is at most `max_delay`, and at most the ceiling that `preview` shows for its attempt.
//! 2. A delay is at least `min(1 ms, base_delay)`, unless `initial_delay` or `max_delay` is shorter.
//! 3. The breaker opens exactly on the `max_retries`-th failure inside the window; while it is half-open, on the first.
//! 4. Memory is bounded by `max_retries` instants; without a breaker there are none.
//! 5. The same config, seed and calls give the same results.

use crate::jitter::uniform;
use crate::random::SplitMix64;
use crate::{BackoffConfig, Jitter, SlidingWindow};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What to do after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum BackoffAction {
    /// Try again after this delay.
    Retry(Duration),
    /// Give up: too many failures inside the window. Or let one run try later: [`BackoffState::trial_after`].
    CircuitOpen {
        /// Failures inside the window, this one included, and no more than `max_retries`. Where a breaker that lets one run
        /// try opens again, earlier ones may have left the window, and this is less.
        failures: u32,
        /// How many the breaker was set to open at.
        max_retries: u32,
    },
}

/// The failures of one service so far.
///
/// Configurations can be shared: [`new`](Self::new) takes a [`BackoffConfig`] or an `Arc` of one.
#[derive(Debug, Clone)]
pub struct BackoffState {
    config: Arc<BackoffConfig>,
    random: SplitMix64,
    attempt: u32,
    /// The last delay drawn: what decorrelated jitter grows from, after the first attempt.
    previous: Duration,
    window: SlidingWindow,
    run_started: Option<Instant>,
    /// The breaker is open, and lets one run try: the next failure opens it again.
    half_open: bool,
}

impl BackoffState {
    /// No failures yet. The seed decides every delay to come.
    ///
    /// The configuration is taken as it is; check it with [`BackoffConfig::validate`] where it comes from.
    #[must_use]
    pub fn new(config: impl Into<Arc<BackoffConfig>>, seed: u64) -> Self {
        let config = config.into();
        Self {
            random: SplitMix64::new(seed),
            attempt: 0,
            previous: Duration::ZERO,
            window: SlidingWindow::new(),
            run_started: None,
            half_open: false,
            config,
        }
    }

    /// A run is up: the cooldown counts from here. Whoever does not tell a beginning from being ready calls it when a run
    /// begins.
    #[inline]
    pub const fn record_start(&mut self, now: Instant) {
        self.run_started = Some(now);
    }

    /// When the run that began last will have lasted the cooldown period, if there is anything to clear by then.
    #[inline]
    #[must_use]
    pub fn cooldown_at(&self) -> Option<Instant> {
        if self.is_clear() {
            return None;
        }
        self.cooled_down_at()
    }

    /// Clears attempts and window if the run that began last has lasted the cooldown period. Returns whether it cleared
    /// anything. For a run that is up, or has ended this very moment.
    #[inline]
    pub fn maybe_reset_on_cooldown(&mut self, now: Instant) -> bool {
        let due = self.cooldown_at().is_some_and(|at| at <= now);
        if due {
            self.reset();
        }
        due
    }

    /// A run has failed: counts it, and returns what to do.
    ///
    /// A run that lasted the cooldown period should first be given to
    /// [`maybe_reset_on_cooldown`](Self::maybe_reset_on_cooldown).
    pub fn next_backoff(&mut self, now: Instant) -> BackoffAction {
        self.attempt = self.attempt.saturating_add(1);
        let max_retries = self.config.max_retries;
        if self.config.has_circuit_breaker() {
            let period = self.config.circuit_breaker_window;
            let failures = self.window.record(now, period, max_retries);
            if failures >= max_retries || self.half_open {
                self.half_open = self.config.half_open_after.is_some();
                return BackoffAction::CircuitOpen {
                    failures,
                    max_retries,
                };
            }
        }
        BackoffAction::Retry(self.draw())
    }

    /// As [`next_backoff`](Self::next_backoff) where that clearly returns a delay of zero, and faster: for a crash loop
    /// without a delay. Everywhere else, and where the run may have lasted the cooldown period, it changes nothing, and
    /// returns `false`.
    #[inline]
    pub fn retry_at_once(&mut self, now: Instant) -> bool {
        let config = &*self.config;
        let attempt = self.attempt.saturating_add(1);
        let has_delay =
            !config.base_delay.is_zero() || (attempt == 1 && config.initial_delay.is_some());
        let has_cooled_down = self.cooled_down_at().is_some_and(|at| at <= now);
        if has_delay || self.half_open || has_cooled_down {
            return false;
        }
        let (limit, period) = (config.max_retries, config.circuit_breaker_window);
        if config.has_circuit_breaker() && !self.window.record_below(now, period, limit) {
            return false;
        }
        self.attempt = attempt;
        true
    }

    /// After how long an open breaker lets one run try: [`BackoffConfig::half_open_after`]. None while it is closed.
    #[inline]
    #[must_use]
    pub fn trial_after(&self) -> Option<Duration> {
        self.config.half_open_after.filter(|_| self.half_open)
    }

    /// A run has ended cleanly: the delay starts over at `base_delay`, which is also how long to pause before another
    /// run. The breaker's window stays, so a service that alternates between success and failure still trips it;
    /// half-open it stays, too.
    pub fn record_clean_exit(&mut self) -> Duration {
        self.attempt = 0;
        self.config.base_delay
    }

    /// Forgets every failure. The random sequence goes on.
    pub fn reset(&mut self) {
        self.attempt = 0;
        self.half_open = false;
        self.window.clear();
    }

    /// Consecutive failures so far.
    #[inline]
    #[must_use]
    pub const fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Failures inside the breaker's window at `now`; 0 without a breaker.
    #[must_use]
    pub fn recent_failures(&self, now: Instant) -> u32 {
        self.window.count(now, self.config.circuit_breaker_window)
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &BackoffConfig {
        &self.config
    }

    /// The configuration, to share.
    #[must_use]
    pub const fn shared_config(&self) -> &Arc<BackoffConfig> {
        &self.config
    }

    /// When the run that began last will have lasted the cooldown period.
    #[inline]
    fn cooled_down_at(&self) -> Option<Instant> {
        self.run_started?.checked_add(self.config.cooldown_period)
    }

    #[inline]
    fn is_clear(&self) -> bool {
        self.attempt == 0 && !self.half_open && self.window.is_empty()
    }

    fn draw(&mut self) -> Duration {
        let config = &self.config;
        let ceiling = config.ceiling(self.attempt);
        if ceiling.is_zero() {
            // Nothing to draw.
            self.previous = config.base_delay;
            return ceiling;
        }
        let high = match (config.jitter, self.attempt) {
            (Jitter::None, _) => return ceiling,
            (Jitter::Decorrelated, 2..) => self.previous.saturating_mul(3),
            (Jitter::Decorrelated, _) if config.initial_delay.is_none() => {
                config.base_delay.saturating_mul(3)
            }
            (Jitter::Decorrelated | Jitter::Full | Jitter::Equal, _) => ceiling,
        };
        let low = config.floor(high);
        // Only decorrelated jitter goes beyond.
        let delay = uniform(low, high, self.random.next()).min(ceiling);
        // An initial delay has nothing to do with all later ones.
        let is_initial = self.attempt == 1 && config.initial_delay.is_some();
        self.previous = if is_initial { config.base_delay } else { delay };
        delay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Four billion failures in a row take too long to count one by one.
    #[test]
    fn attempts_saturate() {
        #[expect(
            clippy::disallowed_methods,
            reason = "a test needs one instant to count from"
        )]
        let t0 = Instant::now();
        let (base, max) = (Duration::from_millis(1), Duration::from_secs(1));
        let config = BackoffConfig::new(base, max)
            .with_jitter(Jitter::None)
            .without_circuit_breaker();
        let mut backoff = BackoffState::new(config, 0);
        backoff.attempt = u32::MAX - 1;
        for _ in 0..2 {
            assert_eq!(backoff.next_backoff(t0), BackoffAction::Retry(max));
            assert_eq!(backoff.attempt(), u32::MAX);
        }
    }
}
