//! (delay, previous delay, random number) -> delay.

use std::time::Duration;

/// How a delay is spread, so that services which failed together do not try again together.
///
/// The names and the formulas are those of Marc Brooker, "Exponential backoff and jitter" (AWS Architecture Blog, 2015).
///
/// Whatever is drawn is at least `min(1 ms, base_delay)`: jitter never turns a backoff into a hot loop. A delay that is
/// configured to be shorter, as `initial_delay` or `max_delay`, stays so, and zero stays zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum Jitter {
    /// The delay as it is.
    None,
    /// Uniform in `0..=delay`, above that least: spreads best.
    #[default]
    Full,
    /// Half fixed, half random: uniform in `delay/2..=delay`.
    Equal,
    /// Uniform in `base_delay..=3 * previous delay`, and `max_delay` where that is longer: grows by chance rather than by
    /// count.
    Decorrelated,
}

/// What jitter never goes below, unless the configured delay itself does.
pub(crate) const FLOOR: Duration = Duration::from_millis(1);

/// Uniform in `low..=high`; `low` if they are the wrong way round. `random` is uniform over all of `u64`.
pub(crate) fn uniform(low: Duration, high: Duration, random: u64) -> Duration {
    let span = high.saturating_sub(low).as_nanos();
    // Multiply and shift instead of a remainder: Lemire, "Fast random integer generation in an interval", 2019. A span
    // that does not fit 64 bits (584 years) gives up its low bits, so that the product fits 128.
    let offset = if span < u128::from(u64::MAX) {
        ((span + 1) * u128::from(random)) >> 64
    } else {
        ((span >> 32) * u128::from(random)) >> 32
    };
    low.saturating_add(duration_from_nanos(offset))
}

/// `Duration::from_nanos_u128` is newer than this crate's oldest compiler.
pub(crate) fn duration_from_nanos(nanos: u128) -> Duration {
    const NANOS: u128 = 1_000_000_000;
    match u64::try_from(nanos / NANOS) {
        // The remainder is below 10^9, so it fits.
        Ok(secs) => Duration::new(secs, u32::try_from(nanos % NANOS).unwrap_or(0)),
        Err(_) => Duration::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn both_ends_are_reached() {
        assert_eq!(uniform(MS, 5 * MS, 0), MS);
        assert_eq!(uniform(MS, 5 * MS, u64::MAX), 5 * MS);
        assert_eq!(
            uniform(Duration::ZERO, Duration::ZERO, u64::MAX),
            Duration::ZERO
        );
    }

    #[test]
    fn a_two_value_range_splits_in_the_middle() {
        let nano = Duration::from_nanos(1);
        assert_eq!(uniform(Duration::ZERO, nano, (1 << 63) - 1), Duration::ZERO);
        assert_eq!(uniform(Duration::ZERO, nano, 1 << 63), nano);
    }

    #[test]
    fn the_longest_span_does_not_overflow() {
        let drawn = uniform(Duration::ZERO, Duration::MAX, u64::MAX);
        assert!(drawn > Duration::MAX / 2, "{drawn:?}");
        assert_eq!(uniform(Duration::MAX, Duration::MAX, 7), Duration::MAX);
        assert_eq!(uniform(5 * MS, MS, 7), 5 * MS);
    }

    /// A seed means the same delays in every version, also at the edge between the two ways to draw.
    #[test]
    fn a_span_that_just_fits_64_bits_is_drawn_in_steps() {
        let drawn = |span| uniform(Duration::ZERO, Duration::from_nanos(span), u64::MAX);
        assert_eq!(drawn(u64::MAX - 1), Duration::from_nanos(u64::MAX - 1));
        assert_eq!(drawn(u64::MAX), Duration::from_nanos(0xffff_fffe_ffff_ffff));
    }

    #[test]
    fn nanos_round_trip() {
        assert_eq!(duration_from_nanos(Duration::MAX.as_nanos()), Duration::MAX);
        assert_eq!(duration_from_nanos(u128::MAX), Duration::MAX);
        assert_eq!(
            duration_from_nanos(1_500_000_001),
            Duration::new(1, 500_000_001)
        );
    }
}
