//! The parts that need no runtime, each by itself.

use crate::services::FeedError;
use janus_supervisor::{
    BackoffAction, BackoffConfig, BackoffState, ConfigError, Failure, FailureKind, Jitter,
    RestartPolicy, Retry, ServiceError, ServiceLifecycle, ServicePhase, SlidingWindow,
    TerminationReason, TransitionError,
};
use std::error::Error;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);
const S: Duration = Duration::from_secs(1);

pub fn backoff() -> Result<(), ConfigError> {
    let default = BackoffConfig::default();
    assert_eq!(default.base_delay, 100 * MS);
    assert_eq!(default.max_delay, 60 * S);
    assert_eq!(default.cooldown_period, 300 * S);
    assert_eq!(
        (default.max_retries, default.circuit_breaker_window),
        (10, 600 * S)
    );
    assert_eq!(default.jitter, Jitter::Full);
    default.validate()?;

    let config = BackoffConfig::new(S, 3 * S)
        .with_cooldown(10 * S)
        .with_circuit_breaker(5, 60 * S)
        .with_jitter(Jitter::None)
        .with_initial_delay(MS);
    config.validate()?;
    assert_eq!(config.preview(4), [MS, 2 * S, 3 * S, 3 * S]);

    let t0 = tokio::time::Instant::now().into_std();
    let mut state = BackoffState::new(config.clone(), 42);
    state.record_start(t0);
    for delay in [MS, 2 * S] {
        assert_eq!(state.next_backoff(t0), BackoffAction::Retry(delay));
    }
    assert_eq!((state.attempt(), state.recent_failures(t0)), (2, 2));
    assert!(!state.maybe_reset_on_cooldown(t0 + 9 * S));
    assert!(state.maybe_reset_on_cooldown(t0 + 10 * S));
    assert_eq!(
        (state.attempt(), state.recent_failures(t0 + 10 * S)),
        (0, 0)
    );
    for _ in 0..4 {
        assert!(matches!(state.next_backoff(t0), BackoffAction::Retry(_)));
    }
    let open = BackoffAction::CircuitOpen {
        failures: 5,
        max_retries: 5,
    };
    assert_eq!(state.next_backoff(t0), open);
    state.reset();
    assert_eq!(state.attempt(), 0);

    let endless = config.without_circuit_breaker();
    assert_eq!(endless.max_retries, 0);
    for jitter in [Jitter::Full, Jitter::Equal, Jitter::Decorrelated] {
        let mut state = BackoffState::new(endless.clone().with_jitter(jitter), 1);
        for _ in 0..100 {
            let BackoffAction::Retry(delay) = state.next_backoff(t0) else {
                unreachable!("there is no breaker");
            };
            assert!((MS..=3 * S).contains(&delay), "{jitter:?}: {delay:?}");
        }
    }

    let nonsense = BackoffConfig::new(2 * S, S);
    let Err(error @ ConfigError::BaseAboveMax { .. }) = nonsense.validate() else {
        unreachable!("the first delay is above the largest");
    };
    assert!(error.to_string().contains("base_delay (2s)"));

    let mut window = SlidingWindow::new();
    assert_eq!(window.record(t0, S, 3), 1);
    assert_eq!(window.record(t0 + 5 * S, S, 3), 1);
    Ok(())
}

pub fn lifecycle() -> Result<(), TransitionError> {
    let t0 = tokio::time::Instant::now().into_std();
    let at = |secs| t0 + Duration::from_secs(secs);
    let mut feed = ServiceLifecycle::new(t0, "feed");
    assert_eq!(feed.phase(), ServicePhase::Starting);
    feed.transition_to_running(at(1))?;
    let failure = Failure::new(FailureKind::Error, "reset by peer");
    let retry = Retry {
        at: at(6),
        attempt: 1,
    };
    feed.transition_to_backing_off(at(5), retry, Some(failure))?;
    let refused = feed
        .transition_to_running(at(5))
        .map_err(|e| (e.from, e.to));
    assert_eq!(
        refused,
        Err((ServicePhase::BackingOff, ServicePhase::Running))
    );
    let snapshot = feed.snapshot(at(5));
    assert_eq!(snapshot.service_name, "feed");
    assert_eq!(snapshot.phase.to_string(), "backing_off");
    assert_eq!(snapshot.next_retry_secs, Some(1.0));
    assert_eq!(snapshot.last_failure_kind, Some(FailureKind::Error));

    feed.transition_to_restarting(at(6))?;
    feed.transition_to_running(at(6))?;
    feed.transition_to_stopping(at(9))?;
    assert!(!feed.phase().is_alive());
    feed.transition_to_terminated(at(10), TerminationReason::Cancelled)?;
    assert!(feed.phase().is_terminal());
    assert_eq!(feed.service_name(), "feed");
    assert_eq!((feed.start_count(), feed.total_failures()), (2, 1));
    assert_eq!(feed.last_error().as_deref(), Some("reset by peer"));
    assert_eq!(
        feed.termination_reason(),
        Some(&TerminationReason::Cancelled)
    );
    assert_eq!(feed.cumulative_running_time(at(99)), 7 * S);
    assert_eq!(feed.age(at(99)), 10 * S);
    assert_eq!(feed.time_in_current_phase(at(12)), 2 * S);
    let again = feed.transition_to_terminated(at(99), TerminationReason::Completed);
    let text = again.map_err(|error| error.to_string());
    let expected = "invalid lifecycle transition: terminated → terminated";
    assert_eq!(text, Err(expected.to_owned()));
    Ok(())
}

pub fn texts() -> Result<(), Box<dyn Error>> {
    for policy in ["always", "on_failure", "never"] {
        assert_eq!(policy.parse::<RestartPolicy>()?.to_string(), policy);
    }
    assert!("sometimes".parse::<RestartPolicy>().is_err());
    assert_eq!(RestartPolicy::default(), RestartPolicy::OnFailure);
    for (reason, text) in [
        (TerminationReason::Completed, "completed"),
        (TerminationReason::Cancelled, "cancelled"),
        (
            TerminationReason::CircuitBreakerOpen {
                failures: 3,
                max_retries: 3,
            },
            "circuit breaker open (3/3 failures)",
        ),
        (
            TerminationReason::Unrecoverable("no key".into()),
            "unrecoverable: no key",
        ),
        (TerminationReason::Aborted, "aborted: did not stop in time"),
    ] {
        assert_eq!(reason.to_string(), text);
    }

    let error: ServiceError = FeedError::Closed.into();
    assert!(!error.is_permanent());
    assert!(error.error().downcast_ref::<FeedError>().is_some());
    let error = ServiceError::permanent("no key");
    assert!(error.is_permanent());
    assert_eq!(error.to_string(), "no key");
    Ok(())
}
