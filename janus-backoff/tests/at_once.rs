//! [`BackoffState::retry_at_once`] is a short cut: where it is open it leads where `next_backoff` does, and it is open
//! wherever a failure clearly costs no delay.

use janus_backoff::{BackoffAction, BackoffConfig, BackoffState, Jitter};
use proptest::prelude::*;
use std::time::{Duration, Instant};

const MS: Duration = Duration::from_millis(1);

#[expect(
    clippy::disallowed_methods,
    reason = "a test needs one instant to count from"
)]
fn t0() -> Instant {
    Instant::now()
}

/// No delay, and no breaker.
fn at_once() -> BackoffConfig {
    BackoffConfig::new(Duration::ZERO, Duration::ZERO)
        .with_cooldown(10 * MS)
        .without_circuit_breaker()
}

/// Whether a first failure is followed at once, of a run that began so long before.
fn is_open(config: BackoffConfig, ran_for: Duration) -> bool {
    let (t0, mut state) = (t0(), BackoffState::new(config, 7));
    state.record_start(t0);
    let is_open = state.retry_at_once(t0 + ran_for);
    assert_eq!(state.attempt(), u32::from(is_open));
    is_open
}

#[test]
fn it_is_open_where_there_is_no_delay() {
    for jitter in [
        Jitter::None,
        Jitter::Full,
        Jitter::Equal,
        Jitter::Decorrelated,
    ] {
        assert!(is_open(at_once().with_jitter(jitter), Duration::ZERO));
    }
    let slow = BackoffConfig::new(MS, MS).without_circuit_breaker();
    assert!(!is_open(slow, Duration::ZERO));
}

#[test]
fn it_is_closed_for_a_run_that_may_have_lasted_long_enough() {
    assert!(is_open(at_once(), 10 * MS - Duration::from_nanos(1)));
    assert!(!is_open(at_once(), 10 * MS));
}

#[test]
fn an_initial_delay_closes_it_once() {
    let config = BackoffConfig {
        initial_delay: Some(MS),
        ..BackoffConfig::new(Duration::ZERO, MS).without_circuit_breaker()
    };
    let (t0, mut state) = (t0(), BackoffState::new(config, 7));
    assert!(!state.retry_at_once(t0));
    let _delay = state.next_backoff(t0);
    assert!(state.retry_at_once(t0));
    assert_eq!(state.attempt(), 2);
}

#[test]
fn a_breaker_closes_it_before_it_opens_and_as_long_as_it_is_half_open() {
    let mut config = at_once().with_circuit_breaker(3, 10 * MS);
    config.half_open_after = Some(MS);
    let (t0, mut state) = (t0(), BackoffState::new(config, 7));
    assert!(state.retry_at_once(t0));
    assert!(state.retry_at_once(t0));
    // It counts nothing, and leaves that to the long way.
    assert!(!state.retry_at_once(t0));
    let opened = state.next_backoff(t0);
    assert!(matches!(opened, BackoffAction::CircuitOpen { .. }));
    // Those before are forgotten by then.
    assert!(!state.retry_at_once(t0 + 100 * MS));
    state.reset();
    assert!(state.retry_at_once(t0 + 100 * MS));
}

fn any_config() -> impl Strategy<Value = BackoffConfig> {
    let delay = prop_oneof![3 => Just(Duration::ZERO), 1 => Just(MS)];
    let jitter = prop_oneof![
        Just(Jitter::None),
        Just(Jitter::Full),
        Just(Jitter::Decorrelated)
    ];
    let rare = || prop::option::weighted(0.3, prop_oneof![Just(Duration::ZERO), Just(MS)]);
    (delay, jitter, 0..9_u32, rare(), rare()).prop_map(
        |(base, jitter, limit, initial, half_open)| {
            let mut config = BackoffConfig::new(base, 10 * MS)
                .with_jitter(jitter)
                .with_cooldown(20 * MS)
                .with_circuit_breaker(limit, 15 * MS);
            config.initial_delay = initial;
            config.half_open_after = half_open;
            config
        },
    )
}

proptest! {
    #[test]
    fn where_it_is_open_it_leads_where_the_long_way_does(
        config in any_config(),
        seed in any::<u64>(),
        runs in prop::collection::vec(prop_oneof![Just(0_u32), 1..40_u32], 1..60),
    ) {
        let mut now = t0();
        let mut short = BackoffState::new(config, seed);
        let mut long = short.clone();
        for ran_for in runs {
            short.record_start(now);
            long.record_start(now);
            now += ran_for * MS;
            if short.retry_at_once(now) {
                prop_assert!(!long.maybe_reset_on_cooldown(now));
                prop_assert_eq!(long.next_backoff(now), BackoffAction::Retry(Duration::ZERO));
            } else {
                prop_assert_eq!(short.maybe_reset_on_cooldown(now), long.maybe_reset_on_cooldown(now));
                prop_assert_eq!(short.next_backoff(now), long.next_backoff(now));
            }
            let shown = |state: &BackoffState| {
                (state.attempt(), state.recent_failures(now), state.trial_after(), state.cooldown_at())
            };
            prop_assert_eq!(shown(&short), shown(&long));
        }
    }
}
