//! Delays, the breaker and the cooldown by example.

use janus_backoff::{BackoffAction, BackoffConfig, BackoffState, Jitter, SlidingWindow};
use std::sync::Arc;
use std::time::{Duration, Instant};

use BackoffAction::Retry;

const NS: Duration = Duration::from_nanos(1);
const MS: Duration = Duration::from_millis(1);
const S: Duration = Duration::from_secs(1);
const MIN: Duration = Duration::from_secs(60);

const JITTERS: [Jitter; 4] = [
    Jitter::None,
    Jitter::Full,
    Jitter::Equal,
    Jitter::Decorrelated,
];

#[expect(
    clippy::disallowed_methods,
    reason = "a test needs one instant to count from"
)]
fn t0() -> Instant {
    Instant::now()
}

/// No breaker, no jitter: the bare delays.
fn bare(base: Duration, max: Duration) -> BackoffConfig {
    BackoffConfig::new(base, max)
        .with_jitter(Jitter::None)
        .without_circuit_breaker()
}

/// A breaker, and delays that play no part.
fn breaker(max_retries: u32, window: Duration) -> BackoffConfig {
    bare(MS, MS).with_circuit_breaker(max_retries, window)
}

const fn open(n: u32) -> BackoffAction {
    BackoffAction::CircuitOpen {
        failures: n,
        max_retries: n,
    }
}

/// The delays of `n` failures in a row.
fn delays(config: &BackoffConfig, seed: u64, n: usize) -> Vec<Duration> {
    let (t0, mut backoff) = (t0(), BackoffState::new(config.clone(), seed));
    let delay = |action| match action {
        Retry(delay) => Some(delay),
        BackoffAction::CircuitOpen { .. } => None,
    };
    std::iter::repeat_with(|| backoff.next_backoff(t0))
        .map_while(delay)
        .take(n)
        .collect()
}

mod delay {
    use super::*;

    /// Behaviour B11.
    #[test]
    fn the_first_is_the_base_and_each_doubles_up_to_the_cap() {
        let config = bare(100 * MS, S);
        let expected = [100, 200, 400, 800, 1000, 1000, 1000].map(Duration::from_millis);
        assert_eq!(delays(&config, 0, 7), expected);
        assert_eq!(config.preview(7), expected);
        assert_eq!(config.preview(0), []);
    }

    #[test]
    fn precision_is_a_nanosecond() {
        let base = Duration::new(1, 1);
        assert_eq!(
            delays(&bare(base, Duration::MAX), 0, 3),
            [base, 2 * base, 4 * base]
        );
    }

    /// Behaviour B12.
    #[test]
    fn what_overflows_is_the_cap() {
        for jitter in JITTERS {
            let huge = bare(Duration::MAX, Duration::MAX).with_jitter(jitter);
            assert_eq!(huge.preview(3), [Duration::MAX; 3], "{jitter:?}");
            let doubled = bare(NS, Duration::MAX).with_jitter(jitter).preview(500);
            assert_eq!(doubled.last(), Some(&Duration::MAX), "{jitter:?}");
            assert!(doubled.is_sorted(), "{jitter:?}");
            assert_eq!(delays(&huge, 7, 500).len(), 500, "{jitter:?}");
        }
        assert_eq!(
            delays(&bare(Duration::MAX, Duration::MAX), 7, 2),
            [Duration::MAX; 2]
        );
        assert_eq!(
            delays(&bare(Duration::MAX, MIN), 7, 2),
            [MIN; 2],
            "even a base above the cap"
        );
    }

    #[test]
    fn a_configured_zero_stays_zero() {
        for jitter in JITTERS {
            let config = bare(Duration::ZERO, MIN).with_jitter(jitter);
            assert_eq!(delays(&config, 7, 40), [Duration::ZERO; 40], "{jitter:?}");
            let config = bare(MIN, Duration::ZERO).with_jitter(jitter);
            assert_eq!(delays(&config, 7, 40), [Duration::ZERO; 40], "{jitter:?}");
        }
    }

    /// Behaviour B13.
    #[test]
    fn a_base_below_a_millisecond_is_kept_and_still_doubles() {
        let config = bare(100_000 * NS, S);
        assert_eq!(
            delays(&config, 0, 3),
            [100_000, 200_000, 400_000].map(Duration::from_nanos)
        );
    }

    /// Behaviour B13: nothing that is drawn lets a crash loop spin.
    #[test]
    fn jitter_never_draws_less_than_a_millisecond_or_the_base() {
        for (base, least) in [
            (NS, NS),
            (500_000 * NS, 500_000 * NS),
            (MS, MS),
            (20 * MS, MS),
        ] {
            for jitter in JITTERS {
                let config = bare(base, base).with_jitter(jitter);
                for seed in 0..50 {
                    let shortest = delays(&config, seed, 50).into_iter().min();
                    assert!(shortest >= Some(least), "{base:?} {jitter:?} {shortest:?}");
                }
            }
        }
    }

    /// The millisecond is no lower bound where the base is below it, however long the delay has grown.
    #[test]
    fn a_base_below_a_millisecond_is_the_least_that_is_drawn() {
        let config = bare(100_000 * NS, S).with_jitter(Jitter::Full);
        let fifth = (0..1_000).filter_map(|seed| delays(&config, seed, 5).pop());
        let shortest = fifth.min().unwrap();
        assert!(shortest >= 100_000 * NS, "{shortest:?}");
        assert!(shortest < 200_000 * NS, "{shortest:?}");
    }

    #[test]
    fn an_initial_delay_replaces_the_first_only() {
        let config = bare(S, 5 * S);
        let at_once = config.clone().with_initial_delay(Duration::ZERO);
        assert_eq!(
            delays(&at_once, 0, 5),
            [0, 2, 4, 5, 5].map(Duration::from_secs)
        );
        let late = config.clone().with_initial_delay(3 * S);
        assert_eq!(delays(&late, 0, 4), [3, 2, 4, 5].map(Duration::from_secs));
        let too_late = config.with_initial_delay(MIN);
        assert_eq!(
            delays(&too_late, 0, 2),
            [5, 2].map(Duration::from_secs),
            "capped"
        );
    }

    #[test]
    fn an_immediate_first_retry_is_immediate_with_any_jitter_and_holds_no_later_one_down() {
        for jitter in JITTERS {
            let config = bare(S, MIN)
                .with_jitter(jitter)
                .with_initial_delay(Duration::ZERO);
            for seed in 0..50 {
                let drawn = delays(&config, seed, 3);
                assert_eq!(drawn[0], Duration::ZERO, "{jitter:?}");
                assert!(drawn[1] >= MS && drawn[2] >= MS, "{jitter:?} {drawn:?}");
            }
        }
    }

    /// Behaviour B18.
    #[test]
    fn a_reset_starts_over() {
        let (t0, mut backoff) = (t0(), BackoffState::new(breaker(3, MIN), 0));
        for attempt in 1..=2 {
            assert_eq!(backoff.next_backoff(t0), Retry(MS));
            assert_eq!(backoff.attempt(), attempt);
        }
        assert_eq!(backoff.recent_failures(t0), 2);
        backoff.reset();
        assert_eq!((backoff.attempt(), backoff.recent_failures(t0)), (0, 0));
        assert_eq!(backoff.next_backoff(t0), Retry(MS));
        assert_eq!(backoff.next_backoff(t0), Retry(MS));
        assert_eq!(backoff.next_backoff(t0), open(3));
    }

    #[test]
    fn the_random_sequence_goes_on_after_a_reset() {
        let config = bare(S, S).with_jitter(Jitter::Full);
        let unbroken = delays(&config, 42, 4);
        let (t0, mut backoff) = (t0(), BackoffState::new(config, 42));
        for delay in unbroken {
            assert_eq!(backoff.next_backoff(t0), Retry(delay));
            backoff.reset();
        }
    }

    #[test]
    fn one_configuration_serves_many() {
        let config = Arc::new(bare(S, MIN));
        let states: [BackoffState; 3] =
            std::array::from_fn(|_| BackoffState::new(Arc::clone(&config), 1));
        assert_eq!(Arc::strong_count(&config), 4);
        assert_eq!(states[0].config(), &*config);
    }
}

mod seed {
    use super::*;

    /// Part of the crate's promise: a seed means the same schedule in every version. These numbers were worked out
    /// apart from the crate, from the published algorithms.
    #[test]
    fn a_schedule_never_changes() {
        let table: [(Jitter, [u64; 12]); 4] = [
            (
                Jitter::None,
                [
                    100_000_000,
                    200_000_000,
                    400_000_000,
                    800_000_000,
                    1_600_000_000,
                    3_200_000_000,
                    6_400_000_000,
                    12_800_000_000,
                    25_600_000_000,
                    51_200_000_000,
                    60_000_000_000,
                    60_000_000_000,
                ],
            ),
            (
                Jitter::Full,
                [
                    74_414_923,
                    32_822_168,
                    112_161_851,
                    276_008_382,
                    61_810_239,
                    2_778_461_617,
                    1_398_574_834,
                    10_248_287_390,
                    8_702_894_665,
                    31_666_663_315,
                    12_294_905_006,
                    29_579_858_158,
                ],
            ),
            (
                Jitter::Equal,
                [
                    87_078_244,
                    115_991_039,
                    255_720_226,
                    537_676_286,
                    830_424_134,
                    2_989_164_923,
                    3_898_896_620,
                    11_524_044_011,
                    17_151_117_298,
                    41_433_140_899,
                    36_147_054_954,
                    44_789_675_574,
                ],
            ),
            (
                Jitter::Decorrelated,
                [
                    248_312_976,
                    203_132_437,
                    241_918_666,
                    315_379_405,
                    132_178_778,
                    357_461_171,
                    312_373_609,
                    770_225_619,
                    851_477_681,
                    1_618_022_820,
                    1_074_117_336,
                    1_639_285_774,
                ],
            ),
        ];
        for (jitter, nanos) in table {
            let config = BackoffConfig::default()
                .with_jitter(jitter)
                .without_circuit_breaker();
            assert_eq!(
                delays(&config, 42, 12),
                nanos.map(Duration::from_nanos),
                "{jitter:?}"
            );
        }
    }

    /// As Brooker has it: what is drawn beyond the longest delay is the longest delay, so that of a long series about half
    /// are.
    #[test]
    fn decorrelated_jitter_is_cut_off_at_the_longest_delay() {
        let config = bare(100 * MS, S).with_jitter(Jitter::Decorrelated);
        let drawn = delays(&config, 42, 10_000);
        let longest = drawn.iter().filter(|delay| **delay == S).count();
        assert!((4_500..5_200).contains(&longest), "{longest}");
        assert!(drawn.iter().all(|delay| (100 * MS..=S).contains(delay)));
    }

    /// It is what comes instead of the first, and not what the second grows from.
    #[test]
    fn a_long_initial_delay_does_not_bring_decorrelated_delays_together() {
        let config = bare(100 * MS, MIN)
            .with_jitter(Jitter::Decorrelated)
            .with_initial_delay(5 * S);
        let mut second: Vec<_> = (0..1_000).map(|seed| delays(&config, seed, 2)[1]).collect();
        second.sort_unstable();
        second.dedup();
        assert!(second.len() > 900, "{}", second.len());
        assert!(
            second
                .iter()
                .all(|delay| (100 * MS..=300 * MS).contains(delay))
        );
    }

    /// Behaviour B15: services that failed together do not come back together.
    #[test]
    fn two_seeds_are_two_schedules() {
        for jitter in [Jitter::Full, Jitter::Equal, Jitter::Decorrelated] {
            let config = bare(S, MIN).with_jitter(jitter);
            let mut first: Vec<_> = (0..100).flat_map(|seed| delays(&config, seed, 1)).collect();
            first.sort_unstable();
            first.dedup();
            assert_eq!(first.len(), 100, "{jitter:?}");
        }
    }

    #[test]
    fn a_clone_goes_on_as_the_original_does() {
        let (t0, config) = (t0(), bare(S, MIN).with_jitter(Jitter::Decorrelated));
        let mut original = BackoffState::new(config, 1);
        for _ in 0..5 {
            let mut clone = original.clone();
            assert_eq!(clone.next_backoff(t0), original.next_backoff(t0));
        }
    }

    /// Behaviour B14: where each jitter draws from.
    #[test]
    fn each_jitter_uses_the_whole_of_its_band_and_no_more() {
        let table = [
            // After one failure and after two, with a base of 1 s.
            (Jitter::None, S..=S, 2 * S..=2 * S),
            (Jitter::Full, MS..=S, MS..=2 * S),
            (Jitter::Equal, S / 2..=S, S..=2 * S),
            (Jitter::Decorrelated, S..=3 * S, S..=9 * S),
        ];
        for (jitter, first, second) in table {
            let config = bare(S, MIN).with_jitter(jitter);
            let drawn: Vec<_> = (0..2_000).map(|seed| delays(&config, seed, 2)).collect();
            for (n, band) in [first, second].into_iter().enumerate() {
                let (low, high) = band.into_inner();
                let slack = (high - low) / 20;
                let least = drawn.iter().map(|delays| delays[n]).min().unwrap();
                let most = drawn.iter().map(|delays| delays[n]).max().unwrap();
                assert!(low <= least && least <= low + slack, "{jitter:?} {least:?}");
                assert!(most <= high, "{jitter:?} {most:?}");
                // 9 s takes two long draws in a row.
                assert!(most >= high - 4 * slack, "{jitter:?} {most:?}");
            }
        }
    }

    #[test]
    fn decorrelated_jitter_is_capped() {
        let config = bare(S, 4 * S).with_jitter(Jitter::Decorrelated);
        assert_eq!(config.preview(3), [3 * S, 4 * S, 4 * S]);
        let longest = (0..50).flat_map(|seed| delays(&config, seed, 20)).max();
        assert!(longest <= Some(4 * S), "{longest:?}");
    }
}

mod cooldown {
    use super::*;

    /// Behaviour B16.
    #[test]
    fn resets_at_exactly_the_period_and_not_a_nanosecond_earlier() {
        let t0 = t0();
        let config = bare(S, MIN)
            .with_circuit_breaker(5, 60 * MIN)
            .with_cooldown(5 * MIN);
        let mut backoff = BackoffState::new(config, 0);
        assert_eq!(backoff.next_backoff(t0), Retry(S));
        assert_eq!(backoff.next_backoff(t0), Retry(2 * S));
        backoff.record_start(t0 + S);
        let due = t0 + S + 5 * MIN;
        assert_eq!(backoff.cooldown_at(), Some(due));
        assert!(!backoff.maybe_reset_on_cooldown(due - NS));
        assert_eq!((backoff.attempt(), backoff.recent_failures(due)), (2, 2));
        assert!(backoff.maybe_reset_on_cooldown(due));
        assert_eq!((backoff.attempt(), backoff.recent_failures(due)), (0, 0));
        assert_eq!(backoff.next_backoff(due), Retry(S));
        assert_eq!(backoff.attempt(), 1);
    }

    #[test]
    fn there_is_nothing_to_clear_without_a_failure() {
        let t0 = t0();
        let mut backoff = BackoffState::new(breaker(5, MIN).with_cooldown(MIN), 0);
        backoff.record_start(t0);
        assert_eq!(backoff.cooldown_at(), None);
        assert!(!backoff.maybe_reset_on_cooldown(t0 + MIN));
    }

    #[test]
    fn clears_once() {
        let t0 = t0();
        let mut backoff = BackoffState::new(breaker(5, MIN).with_cooldown(MIN), 0);
        _ = backoff.next_backoff(t0);
        backoff.record_start(t0);
        assert!(backoff.maybe_reset_on_cooldown(t0 + MIN));
        assert!(!backoff.maybe_reset_on_cooldown(t0 + MIN));
        assert_eq!(backoff.cooldown_at(), None);
    }

    /// After a clean exit no attempt is counted any more, but the window still holds failures.
    #[test]
    fn a_window_alone_is_worth_clearing() {
        let t0 = t0();
        let config = breaker(5, 60 * MIN).with_cooldown(MIN);
        let mut backoff = BackoffState::new(config, 0);
        _ = backoff.next_backoff(t0);
        backoff.record_clean_exit();
        backoff.record_start(t0);
        assert_eq!(backoff.cooldown_at(), Some(t0 + MIN));
        assert!(backoff.maybe_reset_on_cooldown(t0 + MIN));
        assert_eq!(backoff.recent_failures(t0 + MIN), 0);
    }

    /// Without a breaker there is no window, but there are attempts.
    #[test]
    fn attempts_alone_are_worth_clearing() {
        let t0 = t0();
        let mut backoff = BackoffState::new(bare(S, MIN).with_cooldown(MIN), 0);
        _ = backoff.next_backoff(t0);
        backoff.record_start(t0);
        assert!(backoff.maybe_reset_on_cooldown(t0 + MIN));
        assert_eq!(backoff.attempt(), 0);
    }

    /// Behaviour B17: what one run has lasted does not count for the next.
    #[test]
    fn counts_from_the_latest_start() {
        let t0 = t0();
        let mut backoff = BackoffState::new(breaker(5, MIN).with_cooldown(MIN), 0);
        backoff.record_start(t0);
        _ = backoff.next_backoff(t0 + MIN - S);
        backoff.record_start(t0 + MIN - S);
        assert!(!backoff.maybe_reset_on_cooldown(t0 + MIN));
        assert_eq!(backoff.cooldown_at(), Some(t0 + 2 * MIN - S));
    }

    #[test]
    fn nothing_counts_before_the_first_start() {
        let t0 = t0();
        let mut backoff = BackoffState::new(breaker(5, MIN).with_cooldown(MIN), 0);
        _ = backoff.next_backoff(t0);
        assert_eq!(backoff.cooldown_at(), None);
        assert!(!backoff.maybe_reset_on_cooldown(t0 + 60 * MIN));
    }

    /// Behaviour B12.
    #[test]
    fn a_period_beyond_the_end_of_time_never_comes() {
        let t0 = t0();
        let config = breaker(5, MIN).with_cooldown(Duration::MAX);
        let mut backoff = BackoffState::new(config, 0);
        _ = backoff.next_backoff(t0);
        backoff.record_start(t0);
        assert_eq!(backoff.cooldown_at(), None);
        assert!(!backoff.maybe_reset_on_cooldown(t0 + 60 * MIN));
    }

    /// Behaviour B22.
    #[test]
    fn a_clock_that_goes_backwards_clears_nothing() {
        let t0 = t0() + 60 * MIN;
        let mut backoff = BackoffState::new(breaker(5, MIN).with_cooldown(MIN), 0);
        _ = backoff.next_backoff(t0);
        backoff.record_start(t0);
        assert!(!backoff.maybe_reset_on_cooldown(t0 - 30 * MIN));
    }
}

mod clean_exit {
    use super::*;

    /// Behaviour B19.
    #[test]
    fn sets_the_delay_back_to_the_base() {
        for jitter in JITTERS {
            let config = bare(S, MIN).with_jitter(jitter).with_initial_delay(3 * S);
            let (t0, mut backoff) = (t0(), BackoffState::new(config, 3));
            for _ in 0..5 {
                _ = backoff.next_backoff(t0);
            }
            assert_eq!(backoff.record_clean_exit(), S, "{jitter:?}");
            assert_eq!(backoff.attempt(), 0, "{jitter:?}");
        }
        let (t0, mut backoff) = (t0(), BackoffState::new(bare(S, MIN), 3));
        for expected in [S, 2 * S, 4 * S] {
            assert_eq!(backoff.next_backoff(t0), Retry(expected));
        }
        assert_eq!(backoff.record_clean_exit(), S);
        assert_eq!(backoff.next_backoff(t0), Retry(S));
    }

    /// What decorrelated jitter grows from is set back as well, by both ways to set back.
    #[test]
    fn decorrelated_jitter_starts_over() {
        let config = bare(S, 1_000 * MIN).with_jitter(Jitter::Decorrelated);
        for seed in 0..200 {
            let (t0, mut backoff) = (t0(), BackoffState::new(config.clone(), seed));
            for set_back in [
                |backoff: &mut BackoffState| _ = backoff.record_clean_exit(),
                BackoffState::reset,
            ] {
                for _ in 0..20 {
                    _ = backoff.next_backoff(t0);
                }
                set_back(&mut backoff);
                for longest in [3 * S, 9 * S] {
                    let action = backoff.next_backoff(t0);
                    assert!(
                        matches!(action, Retry(delay) if delay <= longest),
                        "{action:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn leaves_the_window_so_that_alternating_ends_trip_the_breaker() {
        let t0 = t0();
        let mut backoff = BackoffState::new(breaker(3, MIN), 0);
        let trace: Vec<_> = (0..3)
            .map(|secs| {
                let action = backoff.next_backoff(t0 + secs * S);
                backoff.record_clean_exit();
                action
            })
            .collect();
        assert_eq!(trace, [Retry(MS), Retry(MS), open(3)]);
    }

    /// Behaviour A7.
    #[test]
    fn feeds_no_breaker() {
        let (t0, mut backoff) = (t0(), BackoffState::new(breaker(2, MIN), 0));
        for _ in 0..1_000 {
            assert_eq!(backoff.record_clean_exit(), MS);
        }
        assert_eq!(backoff.recent_failures(t0), 0);
        assert_eq!(backoff.next_backoff(t0), Retry(MS));
    }
}

mod breaker {
    use super::*;

    /// Behaviour B23: `max_retries` is the number of the failure that opens it, not of those that are tolerated.
    #[test]
    fn opens_on_the_nth_failure() {
        let (t0, mut backoff) = (t0(), BackoffState::new(breaker(3, MIN), 0));
        assert_eq!(backoff.next_backoff(t0), Retry(MS));
        assert_eq!(backoff.next_backoff(t0 + S), Retry(MS));
        assert_eq!(backoff.next_backoff(t0 + 2 * S), open(3));
        assert_eq!(backoff.attempt(), 3);
        assert_eq!(backoff.next_backoff(t0 + 3 * S), open(3), "and stays open");
    }

    /// Behaviour B24.
    #[test]
    fn of_one_opens_at_once() {
        let (t0, mut backoff) = (t0(), BackoffState::new(breaker(1, MIN), 0));
        assert_eq!(backoff.next_backoff(t0), open(1));
        assert_eq!(
            backoff.next_backoff(t0 + 60 * MIN),
            open(1),
            "whenever it is"
        );
    }

    /// Behaviour B27.
    #[test]
    fn without_one_nothing_is_remembered_and_nothing_opens() {
        for config in [
            bare(MS, MS),
            bare(MS, MS).with_circuit_breaker(0, Duration::MAX),
        ] {
            assert!(!config.has_circuit_breaker());
            let (t0, mut backoff) = (t0(), BackoffState::new(config, 0));
            for _ in 0..10_000 {
                assert_eq!(backoff.next_backoff(t0), Retry(MS));
                assert_eq!(backoff.recent_failures(t0), 0);
            }
            assert_eq!(backoff.attempt(), 10_000);
        }
    }

    /// Behaviour B25.
    #[test]
    fn failures_wider_apart_than_the_window_never_open_it() {
        let (t0, mut backoff) = (t0(), BackoffState::new(breaker(2, MIN), 0));
        for n in 0..1_000 {
            assert_eq!(backoff.next_backoff(t0 + n * (MIN + NS)), Retry(MS));
        }
    }

    #[test]
    fn a_failure_exactly_the_window_ago_still_counts() {
        let (t0, mut backoff) = (t0(), BackoffState::new(breaker(2, MIN), 0));
        assert_eq!(backoff.next_backoff(t0), Retry(MS));
        assert_eq!(backoff.next_backoff(t0 + MIN), open(2));
    }

    /// Behaviour B26.
    #[test]
    fn a_limit_above_32_is_kept() {
        let (t0, mut backoff) = (t0(), BackoffState::new(breaker(1_000, MIN), 0));
        for _ in 1..1_000 {
            assert_eq!(backoff.next_backoff(t0), Retry(MS));
        }
        assert_eq!(backoff.recent_failures(t0), 999);
        assert_eq!(backoff.next_backoff(t0), open(1_000));
    }

    /// Behaviour B28: 2^32 ms are not quite fifty days.
    #[test]
    fn a_window_of_more_than_u32_milliseconds_is_kept() {
        let days = |n: u32| n * (24 * 60 * MIN);
        let (t0, mut backoff) = (t0(), BackoffState::new(breaker(3, days(100)), 0));
        assert_eq!(backoff.next_backoff(t0), Retry(MS));
        assert_eq!(backoff.next_backoff(t0 + days(99)), Retry(MS));
        assert_eq!(backoff.recent_failures(t0 + days(100)), 2);
        assert_eq!(backoff.next_backoff(t0 + days(101)), Retry(MS));
        assert_eq!(backoff.next_backoff(t0 + days(199)), open(3));
    }

    #[test]
    fn recent_failures_fade_with_time() {
        let (t0, mut backoff) = (t0(), BackoffState::new(breaker(9, MIN), 0));
        _ = backoff.next_backoff(t0);
        _ = backoff.next_backoff(t0 + 10 * S);
        assert_eq!(backoff.recent_failures(t0 + 10 * S), 2);
        assert_eq!(backoff.recent_failures(t0 + MIN), 2);
        assert_eq!(backoff.recent_failures(t0 + MIN + NS), 1);
        assert_eq!(backoff.recent_failures(t0 + MIN + 10 * S + NS), 0);
        assert_eq!(backoff.attempt(), 2, "attempts do not fade");
    }
}

#[test]
fn a_window_answers_whether_there_are_as_many_as_the_limit() {
    let (t0, mut window) = (t0(), SlidingWindow::new());
    assert!(window.is_empty());
    let counts: Vec<_> = (0..5).map(|n| window.record(t0 + n * S, MIN, 3)).collect();
    assert_eq!(counts, [1, 2, 3, 3, 3]);
    assert_eq!(
        window.count(t0 + 2 * S + MIN, MIN),
        3,
        "the oldest two are forgotten"
    );
    assert!(!window.is_empty());
    window.clear();
    assert!(window.is_empty());
    assert_eq!(window.count(t0, MIN), 0);
}
