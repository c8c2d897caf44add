//! What a lifecycle remembers: times, counts, errors.

use janus_lifecycle::{
    Failure, FailureKind, Retry, ServiceLifecycle, ServicePhase, TerminationReason,
};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

const S: Duration = Duration::from_secs(1);

#[expect(
    clippy::disallowed_methods,
    reason = "a test needs one instant to count from"
)]
fn t0() -> Instant {
    Instant::now()
}

#[test]
fn a_new_service_is_starting_for_the_first_time() {
    let t0 = t0();
    let name: Arc<str> = Arc::from("feed");
    let feed = ServiceLifecycle::new(t0, Arc::clone(&name));
    assert_eq!(feed.phase(), ServicePhase::Starting);
    assert_eq!(feed.service_name(), "feed");
    let same = feed.anew(t0);
    assert!(
        std::ptr::eq(feed.service_name(), &*name),
        "a name is shared"
    );
    assert!(std::ptr::eq(same.service_name(), &*name));
    assert_eq!((feed.start_count(), feed.attempt()), (1, 0));
    assert_eq!(feed.total_failures(), 0);
    assert_eq!(feed.last_error(), None);
    assert!(feed.last_failure().is_none());
    assert_eq!(feed.retry(), None);
    assert_eq!(feed.termination_reason(), None);
    assert_eq!((feed.created_at(), feed.phase_since()), (t0, t0));
    assert_eq!(feed.age(t0 + S), S);
    assert_eq!(feed.time_in_current_phase(t0 + S), S);
    assert_eq!(feed.cumulative_running_time(t0 + S), Duration::ZERO);
}

/// The line of seconds: starting 0..1, running 1..4, backing off 4..6, starting 6..7, running 7..9, stopping 9..10.
#[test]
fn only_running_is_running_time() {
    let t0 = t0();
    let at = |secs: u32| t0 + secs * S;
    let retry = Retry {
        at: at(6),
        attempt: 1,
    };
    let mut feed = ServiceLifecycle::new(t0, "feed");
    feed.transition_to_running(at(1)).unwrap();
    assert_eq!(feed.cumulative_running_time(at(3)), 2 * S);
    feed.transition_to_backing_off(at(4), retry, Some(Failure::new(FailureKind::Panic, "x")))
        .unwrap();
    assert_eq!(feed.cumulative_running_time(at(5)), 3 * S);
    feed.transition_to_restarting(at(6)).unwrap();
    feed.transition_to_running(at(7)).unwrap();
    assert_eq!(feed.cumulative_running_time(at(8)), 4 * S);
    feed.transition_to_stopping(at(9)).unwrap();
    assert_eq!(feed.cumulative_running_time(at(10)), 5 * S);
    assert_eq!(feed.age(at(10)), 10 * S);
    feed.transition_to_terminated(at(10), TerminationReason::Cancelled)
        .unwrap();
    assert_eq!(feed.age(at(99)), 10 * S, "the age ends with the service");
    assert_eq!(feed.cumulative_running_time(at(99)), 5 * S);
    assert_eq!(feed.time_in_current_phase(at(99)), 89 * S);
    assert_eq!(feed.created_at(), t0);
}

/// Behaviour B22.
#[test]
fn a_clock_that_goes_backwards_stands_still() {
    let t0 = t0() + 100 * S;
    let mut feed = ServiceLifecycle::new(t0, "feed");
    feed.transition_to_running(t0 - 50 * S).unwrap();
    assert_eq!(feed.phase_since(), t0);
    assert_eq!(feed.age(t0 - 20 * S), Duration::ZERO);
    assert_eq!(feed.time_in_current_phase(t0 - 20 * S), Duration::ZERO);
    assert_eq!(feed.cumulative_running_time(t0 + 3 * S), 3 * S);
    feed.transition_to_stopping(t0 + 3 * S).unwrap();
    feed.transition_to_terminated(t0 + S, TerminationReason::Aborted)
        .unwrap();
    assert_eq!(feed.age(t0), 3 * S);
    assert_eq!(feed.cumulative_running_time(t0), 3 * S);
}

#[test]
fn a_clean_end_counts_nothing_and_a_failure_counts_by_kind() {
    let t0 = t0();
    let mut feed = ServiceLifecycle::new(t0, "feed");
    let mut fail = |attempt, failure: Option<Failure>| {
        let retry = Retry { at: t0, attempt };
        feed.transition_to_backing_off(t0, retry, failure).unwrap();
        assert_eq!(feed.retry(), Some(retry));
        assert_eq!(feed.attempt(), attempt);
        feed.transition_to_restarting(t0).unwrap();
        assert_eq!(feed.attempt(), attempt, "kept while it is starting");
    };
    fail(0, None);
    fail(1, Some(Failure::new(FailureKind::Panic, "first")));
    fail(2, Some(Failure::new(FailureKind::StartTimeout, "second")));
    fail(3, Some(Failure::new(FailureKind::Panic, "third")));
    fail(0, None);
    assert_eq!(feed.start_count(), 6);
    assert_eq!(feed.total_failures(), 3);
    let counts = FailureKind::ALL.map(|kind| feed.failures().of(kind));
    assert_eq!(counts, [0, 2, 1, 0]);
    assert_eq!(feed.failures().total(), 3);
    assert_eq!(feed.last_error().as_deref(), Some("third"));
    assert_eq!(
        feed.snapshot(t0).last_failure_kind,
        Some(FailureKind::Panic)
    );
    assert_eq!(feed.retry(), None);
}

#[test]
fn a_failure_that_ends_the_service_is_counted_and_an_error_on_the_way_out_is_only_kept() {
    let t0 = t0();
    let mut feed = ServiceLifecycle::new(t0, "feed");
    feed.record_failure(Failure::new(FailureKind::Error, "broken"));
    assert_eq!((feed.total_failures(), feed.attempt()), (1, 1));
    assert_eq!(
        feed.last_failure().map(Failure::kind),
        Some(FailureKind::Error)
    );
    assert_eq!(feed.phase(), ServicePhase::Starting);
    feed.keep_error(Failure::new(FailureKind::Error, "could not flush"));
    assert_eq!(feed.total_failures(), 1);
    assert_eq!(feed.last_error().as_deref(), Some("could not flush"));
}

#[test]
fn a_recovery_ends_the_series_of_attempts() {
    let t0 = t0();
    let mut feed = ServiceLifecycle::new(t0, "feed");
    let retry = Retry { at: t0, attempt: 4 };
    feed.transition_to_backing_off(t0, retry, Some(Failure::new(FailureKind::Error, "x")))
        .unwrap();
    feed.transition_to_restarting(t0).unwrap();
    feed.transition_to_running(t0).unwrap();
    assert_eq!(feed.snapshot(t0).attempt, 4);
    feed.record_recovery();
    assert_eq!(feed.attempt(), 0);
    assert_eq!(feed.total_failures(), 1, "what has happened has happened");
}

#[test]
fn the_next_retry_is_shown_while_it_is_awaited_and_is_0_when_it_is_due() {
    let t0 = t0();
    let mut feed = ServiceLifecycle::new(t0, "feed");
    assert_eq!(feed.snapshot(t0).next_retry_secs, None);
    let retry = Retry {
        at: t0 + Duration::from_millis(2_500),
        attempt: 1,
    };
    feed.transition_to_backing_off(t0, retry, None).unwrap();
    assert_eq!(feed.snapshot(t0 + S).next_retry_secs, Some(1.5));
    assert_eq!(feed.snapshot(t0 + 3 * S).next_retry_secs, Some(0.0));
    feed.transition_to_restarting(t0 + 3 * S).unwrap();
    assert_eq!(feed.snapshot(t0 + 3 * S).next_retry_secs, None);
}

#[test]
fn a_snapshot_says_what_the_accessors_say() {
    let t0 = t0();
    let retry = Retry {
        at: t0 + 5 * S,
        attempt: 2,
    };
    let mut feed = ServiceLifecycle::new(t0, "feed");
    feed.transition_to_running(t0 + S).unwrap();
    feed.transition_to_backing_off(
        t0 + 3 * S,
        retry,
        Some(Failure::new(FailureKind::Hang, "h")),
    )
    .unwrap();
    let open = TerminationReason::CircuitBreakerOpen {
        failures: 3,
        max_retries: 3,
    };
    feed.transition_to_terminated(t0 + 4 * S, open).unwrap();
    let snapshot = feed.snapshot(t0 + 6 * S);
    assert_eq!(snapshot.service_name, "feed");
    assert_eq!(snapshot.phase, ServicePhase::Terminated);
    assert_eq!((snapshot.start_count, snapshot.attempt), (1, 2));
    assert_eq!(snapshot.total_failures, 1);
    assert_eq!(snapshot.last_error.as_deref(), Some("h"));
    assert_eq!(snapshot.last_failure_kind, Some(FailureKind::Hang));
    assert_eq!(snapshot.cumulative_running_secs, 2.0);
    assert_eq!(snapshot.age_secs, 4.0);
    assert_eq!(snapshot.time_in_phase_secs, 2.0);
    assert_eq!(snapshot.next_retry_secs, None);
    assert_eq!(
        snapshot.termination_reason.as_deref(),
        Some("circuit breaker open (3/3 failures)")
    );
    let mut without = feed.snapshot_without_error(t0 + 6 * S);
    assert_eq!(without.last_error.take(), None);
    without.last_error = feed.last_error();
    assert_eq!(without, snapshot);
}

#[test]
fn a_failure_shows_its_kind_and_its_error_in_debug_output() {
    let failure = Failure::new(FailureKind::Error, "connection reset");
    assert_eq!(
        format!("{failure:?}"),
        "Failure { kind: Error, error: connection reset }"
    );
    assert_eq!(format!("{failure:>20}|"), "    connection reset|");
}

#[test]
fn the_error_behind_a_failure_can_be_downcast_and_is_shared_by_its_clones() {
    let shared = Arc::new(io::Error::from(io::ErrorKind::AddrInUse));
    let failure = Failure::from_shared(FailureKind::Error, shared.clone());
    let clone = failure.clone();
    assert_eq!(Arc::strong_count(&shared), 2, "by both");
    let inner = clone.error().downcast_ref::<io::Error>().unwrap();
    assert_eq!(inner.kind(), io::ErrorKind::AddrInUse);
    drop((failure, clone));
    assert_eq!(Arc::strong_count(&shared), 1);
}

/// Invariant 2, for what lies ahead: a `now` before the transition counts as the transition's time.
#[test]
fn the_wait_for_a_retry_does_not_grow_when_the_clock_goes_backwards() {
    let t0 = t0() + 100 * S;
    let mut feed = ServiceLifecycle::new(t0, "feed");
    let retry = Retry {
        at: t0 + 5 * S,
        attempt: 1,
    };
    feed.transition_to_backing_off(t0, retry, None).unwrap();
    assert_eq!(feed.snapshot(t0 - 50 * S).next_retry_secs, Some(5.0));
}

/// Where there is not even a century left, it is as late as can be, and no hot loop before the last moment.
#[test]
fn a_retry_near_the_end_of_time_is_as_far_away_as_there_is_time() {
    let mut last = t0();
    let mut step = Duration::MAX;
    while !step.is_zero() {
        match last.checked_add(step) {
            Some(later) => last = later,
            None => step /= 2,
        }
    }
    assert_eq!(Retry::after(last, S, 1).at, last);
    let (day, year) = (86_400 * S, 365 * 86_400 * S);
    let near = last - year;
    assert!(Retry::after(near, 2 * year, 1).at > near + 100 * day);
}

#[test]
fn a_retry_beyond_the_end_of_time_is_a_century_away() {
    let t0 = t0();
    let never = Retry::after(t0, Duration::MAX, 7);
    assert_eq!((never.at - t0, never.attempt), (36_500 * 86_400 * S, 7));
    assert_eq!(Retry::after(t0, 5 * S, 1).at, t0 + 5 * S);
}
