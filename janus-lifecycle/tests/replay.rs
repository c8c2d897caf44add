//! Events lead to the state that they tell of.

use janus_lifecycle::{
    EventKind, Failure, FailureKind, RunOutcome, ServiceEvent, ServiceLifecycle, ServicePhase,
    TerminationReason,
};
use std::time::{Duration, Instant};

const S: Duration = Duration::from_secs(1);

#[expect(
    clippy::disallowed_methods,
    reason = "a test needs one instant to count from"
)]
fn t0() -> Instant {
    Instant::now()
}

fn event(at: Instant, kind: EventKind) -> ServiceEvent {
    ServiceEvent::new(7, "feed".into(), 1, 0, at, kind)
}

fn ended(outcome: RunOutcome) -> EventKind {
    let ran_for = S;
    EventKind::RunEnded { outcome, ran_for }
}

fn error(text: &str) -> Failure {
    Failure::new(FailureKind::Error, text.to_owned())
}

/// A service that has gone through this, one event a second.
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
fn after(t0: Instant, kinds: impl IntoIterator<Item = EventKind>) -> ServiceLifecycle {
    let mut feed = ServiceLifecycle::from_event(&event(t0, EventKind::Registered)).unwrap();
    for (second, kind) in (1..).zip(kinds) {
        feed.apply(&event(t0 + second * S, kind)).unwrap();
    }
    feed
}

#[test]
fn a_replay_begins_with_the_registration_and_with_nothing_else() {
    let t0 = t0();
    let feed = ServiceLifecycle::from_event(&event(t0, EventKind::Registered)).unwrap();
    assert_eq!(feed.service_name(), "feed");
    assert_eq!(
        (feed.phase(), feed.created_at()),
        (ServicePhase::Starting, t0)
    );
    assert!(ServiceLifecycle::from_event(&event(t0, EventKind::Running)).is_none());
}

#[test]
fn a_replay_counts_what_a_supervisor_counts() {
    let t0 = t0();
    let attempt = 1;
    let feed = after(
        t0,
        [
            EventKind::Running,
            ended(RunOutcome::Failed(error("no route"))),
            EventKind::BackingOff {
                attempt,
                delay: 5 * S,
            },
        ],
    );
    assert_eq!(feed.phase(), ServicePhase::BackingOff);
    assert_eq!(feed.retry().map(|retry| retry.at), Some(t0 + 8 * S));
    assert_eq!((feed.attempt(), feed.total_failures()), (1, 1));
    assert_eq!(feed.last_error().as_deref(), Some("no route"));
    let feed = after(
        t0,
        [
            EventKind::BackingOff {
                attempt,
                delay: 5 * S,
            },
            EventKind::Restarting,
            EventKind::Running,
            EventKind::Recovered,
            EventKind::Stopping,
            EventKind::Terminated {
                reason: TerminationReason::Cancelled,
            },
            EventKind::Removed,
        ],
    );
    assert_eq!((feed.start_count(), feed.attempt()), (2, 0));
    let reason = feed.termination_reason();
    assert_eq!(reason, Some(&TerminationReason::Cancelled));
}

/// The error of a run that ended because it was told to: kept if the service is to end, and never counted.
#[test]
fn an_error_on_the_way_out_is_kept_only_when_the_service_ends_with_it() {
    let cancelled = || ended(RunOutcome::Cancelled(Some(error("closed"))));
    let t0 = t0();
    let stopped = after(t0, [EventKind::Running, EventKind::Stopping, cancelled()]);
    assert_eq!(stopped.last_error().as_deref(), Some("closed"));
    assert_eq!(stopped.total_failures(), 0);
    let halted = after(t0, [EventKind::Running, cancelled()]);
    assert_eq!(halted.last_error(), None);
    assert_eq!(halted.total_failures(), 0);
}

#[test]
fn an_event_that_cannot_follow_is_refused_and_changes_nothing() {
    let t0 = t0();
    let mut feed = after(t0, [EventKind::Running]);
    let before = format!("{feed:?}");
    let refused = feed.apply(&event(t0 + 9 * S, EventKind::Restarting));
    let error = refused.unwrap_err();
    assert_eq!(
        (error.from, error.to),
        (ServicePhase::Running, ServicePhase::Starting)
    );
    assert_eq!(format!("{feed:?}"), before);
}
