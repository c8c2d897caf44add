//! What makes a configuration invalid, in which words, and that the answer comes at once.

use janus_backoff::{BackoffConfig, ConfigError, Jitter};
use std::time::Duration;

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

#[test]
fn the_defaults_are_the_documented_ones_and_valid() {
    let config = BackoffConfig {
        base_delay: 100 * MS,
        max_delay: 60 * S,
        cooldown_period: 5 * MIN,
        max_retries: 10,
        circuit_breaker_window: 10 * MIN,
        jitter: Jitter::Full,
        initial_delay: None,
        half_open_after: None,
    };
    assert_eq!(BackoffConfig::default(), config);
    assert_eq!(config.validate(), Ok(()));
    assert!(config.has_circuit_breaker());
    for jitter in JITTERS {
        assert_eq!(config.clone().with_jitter(jitter).validate(), Ok(()));
    }
}

#[test]
fn each_setter_sets_its_field_and_leaves_the_others() {
    let default = BackoffConfig::default;
    assert_eq!(
        BackoffConfig::new(S, MIN),
        BackoffConfig {
            base_delay: S,
            max_delay: MIN,
            ..default()
        }
    );
    assert_eq!(
        default().with_cooldown(S),
        BackoffConfig {
            cooldown_period: S,
            ..default()
        }
    );
    assert_eq!(
        default().with_circuit_breaker(3, S),
        BackoffConfig {
            max_retries: 3,
            circuit_breaker_window: S,
            ..default()
        }
    );
    assert_eq!(
        default().without_circuit_breaker(),
        BackoffConfig {
            max_retries: 0,
            ..default()
        }
    );
    assert_eq!(
        default().with_jitter(Jitter::Equal),
        BackoffConfig {
            jitter: Jitter::Equal,
            ..default()
        }
    );
    assert_eq!(
        default().with_initial_delay(S),
        BackoffConfig {
            initial_delay: Some(S),
            ..default()
        }
    );
}

#[test]
fn every_error_names_the_fields_their_values_and_the_rule() {
    let config = BackoffConfig::default;
    let table = [
        (
            BackoffConfig::new(2 * S, S),
            "base_delay (2s) must not be longer than max_delay (1s)",
        ),
        (
            BackoffConfig::new(S, MIN).with_initial_delay(MIN + MS),
            "initial_delay (60.001s) must not be longer than max_delay (60s)",
        ),
        (
            config().with_cooldown(Duration::ZERO),
            "cooldown_period (0s) must be longer than zero: every run would clear the failures before it",
        ),
        (
            config().with_circuit_breaker(3, Duration::ZERO),
            "circuit_breaker_window (0s) must be longer than zero while max_retries is 3; \
             for no breaker set max_retries to 0",
        ),
        (
            BackoffConfig::new(S, MIN)
                .with_jitter(Jitter::None)
                .with_circuit_breaker(5, 10 * S),
            "the circuit breaker can never open: 5 failures (max_retries) are up to 15s of delays apart, \
             which does not fit into circuit_breaker_window (10s)",
        ),
    ];
    for (config, text) in table {
        assert_eq!(config.validate().unwrap_err().to_string(), text);
    }
}

#[test]
fn errors_carry_their_values() {
    assert_eq!(
        BackoffConfig::new(2 * S, S).validate(),
        Err(ConfigError::BaseAboveMax {
            base_delay: 2 * S,
            max_delay: S
        })
    );
    let never = BackoffConfig::new(S, MIN)
        .with_jitter(Jitter::Equal)
        .with_circuit_breaker(5, 7 * S);
    assert_eq!(
        never.validate(),
        Err(ConfigError::BreakerNeverOpens {
            max_retries: 5,
            window: 7 * S,
            delays: 15 * S
        })
    );
}

#[test]
fn limits_are_allowed() {
    assert_eq!(BackoffConfig::new(S, S).validate(), Ok(()));
    assert_eq!(
        BackoffConfig::new(S, MIN)
            .with_initial_delay(MIN)
            .validate(),
        Ok(())
    );
    assert_eq!(
        BackoffConfig::default().with_cooldown(NS).validate(),
        Ok(())
    );
    let no_breaker = BackoffConfig::default().with_circuit_breaker(0, Duration::ZERO);
    assert_eq!(no_breaker.validate(), Ok(()));
}

/// Whether a breaker of so many failures inside that window can open.
#[test]
fn reachable_and_unreachable_breakers() {
    use Jitter::{Decorrelated, Equal, Full, None};
    let flat = BackoffConfig::new(MIN, MIN);
    let steep = BackoffConfig::new(S, 1_000 * MIN);
    let prompt = steep.clone().with_initial_delay(Duration::ZERO);
    let tiny = BackoffConfig::new(MS, MS);
    let zero = BackoffConfig::new(Duration::ZERO, MIN);
    let table = [
        // All delays are one minute, at least half of one, or anything up to one.
        (&flat, None, 11, 10 * MIN, true),
        (&flat, None, 12, 10 * MIN, false),
        (&flat, None, 11, 10 * MIN - NS, false),
        (&flat, Equal, 21, 10 * MIN, true),
        (&flat, Equal, 22, 10 * MIN, false),
        (&flat, Decorrelated, 11, 10 * MIN, true),
        (&flat, Decorrelated, 12, 10 * MIN, false),
        (&flat, Full, 20, 10 * MIN, true),
        (&flat, Full, 40, 10 * MIN, false),
        (&flat, Full, 2, NS, false),
        // Four delays of 1, 2, 4 and 8 s; decorrelated ones may be 1 s each.
        (&steep, None, 5, 15 * S, true),
        (&steep, None, 5, 15 * S - NS, false),
        (&steep, Equal, 5, 15 * S / 2, true),
        (&steep, Equal, 5, 15 * S / 2 - NS, false),
        (&steep, Decorrelated, 5, 4 * S, true),
        (&steep, Decorrelated, 5, 4 * S - NS, false),
        (&steep, Full, 5, 8 * S, true),
        (&steep, Full, 5, S, false),
        (&steep, Full, 15, MIN, false),
        // The first of them at once.
        (&prompt, None, 5, 14 * S, true),
        (&prompt, None, 5, 14 * S - NS, false),
        (&prompt, None, 2, NS, true),
        (&prompt, Equal, 5, 7 * S, true),
        (&prompt, Equal, 5, 7 * S - NS, false),
        // Full jitter draws no less than a millisecond.
        (&tiny, Full, 1_000, 999 * MS, true),
        (&tiny, Full, 1_000, 998 * MS, false),
        // No delays at all.
        (&zero, None, u32::MAX, NS, true),
        (&zero, Full, u32::MAX, NS, true),
        (&zero, Equal, u32::MAX, NS, true),
        (&zero, Decorrelated, u32::MAX, NS, true),
    ];
    for (config, jitter, max_retries, window, reachable) in table {
        let config = config
            .clone()
            .with_jitter(jitter)
            .with_circuit_breaker(max_retries, window);
        assert_eq!(config.validate().is_ok(), reachable, "{config:?}");
    }
}

#[test]
fn a_breaker_of_one_can_always_open() {
    for jitter in JITTERS {
        let config = BackoffConfig::new(Duration::MAX, Duration::MAX)
            .with_jitter(jitter)
            .with_circuit_breaker(1, NS);
        assert_eq!(config.validate(), Ok(()), "{jitter:?}");
    }
}

/// Behaviour B12. Four billion delays are added up without being counted one by one.
#[test]
fn extreme_settings_are_answered_at_once() {
    let n = u32::MAX;
    let apart = (n - 1) * NS;
    for jitter in JITTERS {
        let tight = BackoffConfig::new(NS, NS).with_jitter(jitter);
        for (window, reachable) in [(Duration::MAX, true), (S, false)] {
            let config = tight.clone().with_circuit_breaker(n, window);
            assert_eq!(config.validate().is_ok(), reachable, "{config:?}");
        }
        for (base, max) in [
            (NS, Duration::MAX),
            (Duration::MAX, Duration::MAX),
            (Duration::ZERO, Duration::MAX),
        ] {
            for window in [NS, S, Duration::MAX] {
                // Whatever the answer is, it comes and does not overflow.
                _ = BackoffConfig::new(base, max)
                    .with_jitter(jitter)
                    .with_circuit_breaker(n, window)
                    .with_cooldown(Duration::MAX)
                    .validate();
            }
        }
    }
    let exact = BackoffConfig::new(NS, NS).with_jitter(Jitter::None);
    assert_eq!(
        exact.clone().with_circuit_breaker(n, apart).validate(),
        Ok(())
    );
    assert_eq!(
        exact.with_circuit_breaker(n, apart - NS).validate(),
        Err(ConfigError::BreakerNeverOpens {
            max_retries: n,
            window: apart - NS,
            delays: apart
        })
    );
}

/// Full jitter may always draw short delays; "never" means less than once in a thousand times. The last delays are the
/// long ones: the short ones before them must not hide that.
#[test]
fn full_jitter_that_fits_less_than_once_in_a_thousand_times_is_refused() {
    for (max_delay, max_retries) in [(86_400 * S, 21), (3_600 * S, 20)] {
        let config =
            BackoffConfig::new(100 * MS, max_delay).with_circuit_breaker(max_retries, 10 * MIN);
        assert!(
            matches!(
                config.validate(),
                Err(ConfigError::BreakerNeverOpens { .. })
            ),
            "{config:?}"
        );
    }
}

/// Four delays of up to `Duration::MAX` fit into `Duration::MAX` once in 24 times; delays of zero always do.
#[test]
fn full_jitter_that_fits_now_and_then_is_accepted() {
    let longest = BackoffConfig::new(Duration::MAX, Duration::MAX);
    let config = longest.with_circuit_breaker(5, Duration::MAX);
    assert_eq!(config.validate(), Ok(()));
    let zero = BackoffConfig::new(Duration::ZERO, MIN).with_circuit_breaker(1_000, NS);
    assert_eq!(zero.validate(), Ok(()));
}
