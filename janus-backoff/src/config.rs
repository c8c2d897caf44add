//! The settings of a backoff, and what makes them invalid.

use crate::Jitter;
use crate::jitter::{FLOOR, duration_from_nanos};
use std::time::Duration;

/// How long to wait after a failure, and after how many to give up.
///
/// The n-th consecutive failure waits `min(max_delay, base_delay * 2^(n-1))`, then [`Jitter`] is applied. The circuit
/// breaker opens **on** the `max_retries`-th failure inside the window (a supervisor's restart intensity, by contrast,
/// tolerates its maximum and gives up one later, as Erlang/OTP does). With [`Jitter::Decorrelated`], each delay grows
/// from the one before it instead, at most to `base_delay * 3^n`.
///
/// ```
/// use janus_backoff::BackoffConfig;
/// use std::time::Duration;
///
/// let config = BackoffConfig::new(Duration::from_secs(1), Duration::from_secs(5)).with_initial_delay(Duration::ZERO);
/// assert_eq!(config.preview(5), [0, 2, 4, 5, 5].map(Duration::from_secs));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackoffConfig {
    /// The delay after the first failure, and the pause after a clean exit. Default: 100 ms.
    pub base_delay: Duration,
    /// No delay is longer. Default: 60 s.
    pub max_delay: Duration,
    /// A run that has been up for this long clears the attempts and the breaker's window: counted, under a supervisor,
    /// from when it is ready. Default: 5 min.
    pub cooldown_period: Duration,
    /// The breaker opens on this many failures inside the window; 0 means no breaker. Default: 10.
    pub max_retries: u32,
    /// How far back the breaker looks. Default: 10 min.
    pub circuit_breaker_window: Duration,
    /// How delays are spread. Default: [`Jitter::Full`].
    pub jitter: Jitter,
    /// The delay after the first failure, where it is to differ from `base_delay`: zero for an immediate first retry.
    /// The delays after it stay what they are. Default: none.
    pub initial_delay: Option<Duration>,
    /// How long the breaker, once open, waits before it lets one run try: half-open. If that fails, it waits anew; once
    /// a run has been up for `cooldown_period`, it closes. Default: none, an open breaker is the end.
    pub half_open_after: Option<Duration>,
}

impl Default for BackoffConfig {
    fn default() -> Self {
        Self {
            base_delay: Duration::from_millis(100),
            max_delay: Duration::from_secs(60),
            cooldown_period: Duration::from_secs(5 * 60),
            max_retries: 10,
            circuit_breaker_window: Duration::from_secs(10 * 60),
            jitter: Jitter::Full,
            initial_delay: None,
            half_open_after: None,
        }
    }
}

impl BackoffConfig {
    /// The defaults, with these two delays.
    #[must_use]
    pub fn new(base_delay: Duration, max_delay: Duration) -> Self {
        Self {
            base_delay,
            max_delay,
            ..Self::default()
        }
    }

    /// Sets how long a run must be up to clear what came before it.
    #[must_use]
    pub const fn with_cooldown(mut self, period: Duration) -> Self {
        self.cooldown_period = period;
        self
    }

    /// Sets the breaker: it opens on the `max_retries`-th failure inside `window`. With 0 there is none.
    #[must_use]
    pub const fn with_circuit_breaker(mut self, max_retries: u32, window: Duration) -> Self {
        self.max_retries = max_retries;
        self.circuit_breaker_window = window;
        self
    }

    /// No breaker: tries for ever.
    #[must_use]
    pub const fn without_circuit_breaker(mut self) -> Self {
        self.max_retries = 0;
        self
    }

    /// Sets how delays are spread.
    #[must_use]
    pub const fn with_jitter(mut self, jitter: Jitter) -> Self {
        self.jitter = jitter;
        self
    }

    /// Sets the delay after the first failure only; zero retries at once.
    #[must_use]
    pub const fn with_initial_delay(mut self, delay: Duration) -> Self {
        self.initial_delay = Some(delay);
        self
    }

    /// Has an open breaker let one run try after `delay`, instead of giving up for good.
    #[must_use]
    pub const fn with_half_open_after(mut self, delay: Duration) -> Self {
        self.half_open_after = Some(delay);
        self
    }

    /// Whether there is a breaker.
    #[must_use]
    pub const fn has_circuit_breaker(&self) -> bool {
        self.max_retries > 0
    }

    /// The longest that the first `n` delays can be: what they are without jitter, and a bound for what jitter draws
    /// (with [`Jitter::Decorrelated`], `base_delay * 3^n`).
    #[must_use]
    pub fn preview(&self, n: u32) -> Vec<Duration> {
        (1..=n).map(|attempt| self.ceiling(attempt)).collect()
    }

    /// The longest that the `attempt`-th delay (from 1) can be.
    pub(crate) fn ceiling(&self, attempt: u32) -> Duration {
        let factor = match (attempt, self.initial_delay, self.jitter) {
            (1, Some(initial), _) => return initial.min(self.max_delay),
            _ if self.base_delay.is_zero() => return Duration::ZERO,
            (_, _, Jitter::Decorrelated) => saturating_power(3, attempt),
            (_, _, Jitter::None | Jitter::Full | Jitter::Equal) => {
                saturating_power(2, attempt.saturating_sub(1))
            }
        };
        let nanos = self.base_delay.as_nanos().saturating_mul(factor);
        duration_from_nanos(nanos).min(self.max_delay)
    }

    /// The shortest that a delay with this ceiling can be.
    pub(crate) fn floor(&self, ceiling: Duration) -> Duration {
        let shortest = match self.jitter {
            Jitter::None => ceiling,
            Jitter::Full => Duration::ZERO,
            Jitter::Equal => ceiling / 2,
            Jitter::Decorrelated => self.base_delay,
        };
        shortest.max(FLOOR.min(self.base_delay)).min(ceiling)
    }

    /// Checks the settings, and says what is wrong with them or pointless about them.
    ///
    /// A breaker is pointless if the delays before its last failure take longer than its window: it would look set, and
    /// never open. With full jitter, which may always draw short delays, "never" is less than once in a thousand times.
    ///
    /// # Errors
    /// [`ConfigError`] for the first rule that is broken. It names the fields, their values and the rule.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let (base_delay, max_delay) = (self.base_delay, self.max_delay);
        if base_delay > max_delay {
            return Err(ConfigError::BaseAboveMax {
                base_delay,
                max_delay,
            });
        }
        if let Some(initial_delay) = self.initial_delay.filter(|initial| *initial > max_delay) {
            return Err(ConfigError::InitialAboveMax {
                initial_delay,
                max_delay,
            });
        }
        if self.cooldown_period.is_zero() {
            return Err(ConfigError::ZeroCooldown);
        }
        if let Some(half_open_after) = self.half_open_after {
            if half_open_after.is_zero() {
                return Err(ConfigError::ZeroHalfOpen);
            }
            if !self.has_circuit_breaker() {
                return Err(ConfigError::HalfOpenWithoutBreaker { half_open_after });
            }
        }
        if self.has_circuit_breaker() {
            if self.circuit_breaker_window.is_zero() {
                return Err(ConfigError::ZeroWindow {
                    max_retries: self.max_retries,
                });
            }
            if !self.breaker_can_open() {
                return Err(ConfigError::BreakerNeverOpens {
                    max_retries: self.max_retries,
                    window: self.circuit_breaker_window,
                    delays: self.total_ceiling(self.max_retries - 1),
                });
            }
        }
        Ok(())
    }

    /// Whether the delays between `max_retries` failures can fit the breaker's window.
    fn breaker_can_open(&self) -> bool {
        let delays = self.max_retries - 1;
        let window = self.circuit_breaker_window;
        if self.total(delays, |ceiling| self.floor(ceiling)) > window {
            return false;
        }
        self.jitter != Jitter::Full || self.odds_that_full_jitter_fits(delays) > 0
    }

    fn total_ceiling(&self, n: u32) -> Duration {
        self.total(n, |ceiling| ceiling)
    }

    /// The sum of `part(ceiling)` over the first `n` delays. From some point on the ceilings are all the same.
    fn total(&self, n: u32, part: impl Fn(Duration) -> Duration) -> Duration {
        let steps = n.min(GROWING_STEPS);
        let last = part(self.ceiling(n));
        (1..=steps)
            .map(|attempt| part(self.ceiling(attempt)))
            .fold(Duration::ZERO, Duration::saturating_add)
            .saturating_add(last.saturating_mul(n - steps))
    }

    /// An upper bound, in thousandths, of the odds that `n` delays drawn by full jitter fit the window.
    ///
    /// The delays are a point in a box with the ceilings as sides; those that sum to at most `w` are a simplex of
    /// volume `w^n / n!`. So the odds are at most the product of `w / (i * ceiling_i)`.
    fn odds_that_full_jitter_fits(&self, n: u32) -> u128 {
        const ONE: u128 = 1_000_000_000;
        let window = self.circuit_breaker_window.as_nanos();
        // The longest first: the delays that fit are fewer with each, so the least of the products is a bound, too.
        let longest_first = (n.saturating_sub(GROWING_STEPS) + 1..=n).rev();
        let ceilings = longest_first.map(|attempt| self.ceiling(attempt).as_nanos());
        // A delay that is surely zero takes up nothing.
        let sides = ceilings.filter(|side| *side > 0);
        let odds = sides
            .zip(1..)
            .scan(ONE, |odds, (side, i)| {
                *odds = odds.saturating_mul(window) / side / i;
                Some(*odds)
            })
            .fold(ONE, u128::min);
        odds / (ONE / 1_000)
    }
}

/// After this many doublings every delay that is not zero has reached `Duration::MAX`.
const GROWING_STEPS: u32 = 128;

fn saturating_power(base: u128, exponent: u32) -> u128 {
    base.saturating_pow(exponent)
}

/// What is wrong with a [`BackoffConfig`], or pointless about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The first delay is above the largest.
    #[error("base_delay ({base_delay:?}) must not be longer than max_delay ({max_delay:?})")]
    BaseAboveMax {
        /// As configured.
        base_delay: Duration,
        /// As configured.
        max_delay: Duration,
    },
    /// The initial delay is above the largest.
    #[error("initial_delay ({initial_delay:?}) must not be longer than max_delay ({max_delay:?})")]
    InitialAboveMax {
        /// As configured.
        initial_delay: Duration,
        /// As configured.
        max_delay: Duration,
    },
    /// Every run would clear the failures before it.
    #[error(
        "cooldown_period (0s) must be longer than zero: every run would clear the failures before it"
    )]
    ZeroCooldown,
    /// The breaker would look at no time at all.
    #[error(
        "circuit_breaker_window (0s) must be longer than zero while max_retries is {max_retries}; for no breaker set max_retries to 0"
    )]
    ZeroWindow {
        /// As configured.
        max_retries: u32,
    },
    /// An open breaker would let the next run try at once.
    #[error(
        "half_open_after (0s) must be longer than zero: the breaker would not hold anything up"
    )]
    ZeroHalfOpen,
    /// There is nothing that could be half-open.
    #[error(
        "half_open_after ({half_open_after:?}) needs a circuit breaker, and max_retries is 0: none"
    )]
    HalfOpenWithoutBreaker {
        /// As configured.
        half_open_after: Duration,
    },
    /// The breaker would never open.
    #[error(
        "the circuit breaker can never open: {max_retries} failures (max_retries) are up to {delays:?} of delays apart, which does not fit into circuit_breaker_window ({window:?})"
    )]
    BreakerNeverOpens {
        /// As configured.
        max_retries: u32,
        /// As configured.
        window: Duration,
        /// The sum of the ceilings of the delays between the first failure and the last.
        delays: Duration,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_last_attempt_there_can_be_has_the_cap_as_its_ceiling() {
        for jitter in [
            Jitter::None,
            Jitter::Full,
            Jitter::Equal,
            Jitter::Decorrelated,
        ] {
            for max in [Duration::ZERO, MS, Duration::MAX] {
                let config = BackoffConfig::new(MS, max).with_jitter(jitter);
                assert_eq!(config.ceiling(u32::MAX), max, "{jitter:?}");
                let nothing = BackoffConfig::new(Duration::ZERO, max).with_jitter(jitter);
                assert_eq!(nothing.ceiling(u32::MAX), Duration::ZERO, "{jitter:?}");
            }
        }
    }
}
