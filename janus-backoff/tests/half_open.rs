//! An open breaker that lets one run try.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use janus_backoff::{BackoffAction, BackoffConfig, BackoffState, ConfigError, Jitter};
use std::time::{Duration, Instant};

const S: Duration = Duration::from_secs(1);

#[expect(
    clippy::disallowed_methods,
    reason = "a test needs one instant to count from"
)]
fn t0() -> Instant {
    Instant::now()
}

/// Delays of a second; three failures inside a minute open it, for ten seconds.
fn backoff() -> BackoffState {
    let config = BackoffConfig::new(S, S)
        .with_jitter(Jitter::None)
        .with_cooldown(5 * S)
        .with_circuit_breaker(3, 60 * S)
        .with_half_open_after(10 * S);
    config.validate().unwrap();
    BackoffState::new(config, 1)
}

const fn open(failures: u32) -> BackoffAction {
    BackoffAction::CircuitOpen {
        failures,
        max_retries: 3,
    }
}

#[test]
fn it_opens_on_the_nth_failure_and_then_on_each() {
    let (t0, mut backoff) = (t0(), backoff());
    assert_eq!(backoff.next_backoff(t0), BackoffAction::Retry(S));
    assert_eq!(backoff.next_backoff(t0), BackoffAction::Retry(S));
    assert_eq!(backoff.trial_after(), None);
    assert_eq!(backoff.next_backoff(t0), open(3));
    assert_eq!(backoff.trial_after(), Some(10 * S));
    assert_eq!(backoff.next_backoff(t0 + 10 * S), open(3));
    // Also when the window has forgotten all others: nothing has closed it.
    assert_eq!(backoff.next_backoff(t0 + 1000 * S), open(1));
}

#[test]
fn a_run_that_lasts_closes_it() {
    let (t0, mut backoff) = (t0(), backoff());
    for _ in 0..3 {
        let _action = backoff.next_backoff(t0);
    }
    backoff.record_start(t0 + 10 * S);
    assert_eq!(backoff.cooldown_at(), Some(t0 + 15 * S));
    assert!(!backoff.maybe_reset_on_cooldown(t0 + 14 * S));
    assert!(backoff.maybe_reset_on_cooldown(t0 + 15 * S));
    assert_eq!(backoff.trial_after(), None);
    assert_eq!(backoff.next_backoff(t0 + 16 * S), BackoffAction::Retry(S));
}

#[test]
fn a_clean_exit_does_not_close_it_and_a_reset_does() {
    let (t0, mut backoff) = (t0(), backoff());
    for _ in 0..3 {
        let _action = backoff.next_backoff(t0);
    }
    assert_eq!(backoff.record_clean_exit(), S);
    assert_eq!(backoff.trial_after(), Some(10 * S));
    backoff.record_start(t0 + 900 * S);
    assert_eq!(
        backoff.cooldown_at(),
        Some(t0 + 905 * S),
        "there is something to clear"
    );
    assert_eq!(backoff.next_backoff(t0 + 900 * S), open(1));
    backoff.reset();
    assert_eq!(backoff.next_backoff(t0 + 900 * S), BackoffAction::Retry(S));
}

#[test]
fn settings_that_make_no_sense_are_named() {
    let zero = BackoffConfig::default().with_half_open_after(Duration::ZERO);
    assert_eq!(zero.validate(), Err(ConfigError::ZeroHalfOpen));
    let without = BackoffConfig::default()
        .without_circuit_breaker()
        .with_half_open_after(S);
    assert_eq!(
        without.validate().unwrap_err().to_string(),
        "half_open_after (1s) needs a circuit breaker, and max_retries is 0: none"
    );
}
