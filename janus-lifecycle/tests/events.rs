//! Events: which of them are transitions, and how they reach an observer.

use janus_lifecycle::{
    EventKind, Failure, FailureKind, Observer, RunOutcome, ServiceEvent, ServicePhase,
    TerminationReason,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

#[expect(
    clippy::disallowed_methods,
    reason = "a test needs one instant to count from"
)]
fn t0() -> Instant {
    Instant::now()
}

#[test]
fn an_event_that_is_a_transition_has_a_phase() {
    let outcome = RunOutcome::Failed(Failure::new(FailureKind::Error, "x"));
    let (delay, ran_for) = (Duration::from_secs(1), Duration::from_secs(2));
    let reason = TerminationReason::Completed;
    let table = [
        (EventKind::Registered, Some(ServicePhase::Starting)),
        (EventKind::Running, Some(ServicePhase::Running)),
        (EventKind::RunEnded { outcome, ran_for }, None),
        (
            EventKind::BackingOff { attempt: 1, delay },
            Some(ServicePhase::BackingOff),
        ),
        (EventKind::Restarting, Some(ServicePhase::Starting)),
        (EventKind::Recovered, None),
        (EventKind::Reset, None),
        (
            EventKind::BreakerOpened {
                failures: 3,
                max_retries: 3,
            },
            None,
        ),
        (EventKind::Stopping, Some(ServicePhase::Stopping)),
        (
            EventKind::Terminated { reason },
            Some(ServicePhase::Terminated),
        ),
        (EventKind::Removed, None),
    ];
    for (kind, phase) in table {
        assert_eq!(kind.phase(), phase, "{kind:?}");
    }
}

/// Counts what it is told, and adds up the sequence numbers.
#[derive(Default)]
struct Tally {
    events: AtomicU64,
    seqs: AtomicU64,
}

impl Observer for Tally {
    fn observe(&self, event: &ServiceEvent) {
        self.events.fetch_add(1, Ordering::Relaxed);
        self.seqs.fetch_add(event.seq, Ordering::Relaxed);
    }
}

#[test]
fn a_shared_observer_is_an_observer() {
    let tally = Arc::new(Tally::default());
    let observer: Arc<dyn Observer> = tally.clone();
    let twice_shared = Arc::new(observer);
    let event = ServiceEvent::new(1, "feed".into(), 1, 7, t0(), EventKind::Running);
    twice_shared.observe(&event);
    tally.observe(&event);
    assert_eq!(tally.events.load(Ordering::Relaxed), 2);
    assert_eq!(tally.seqs.load(Ordering::Relaxed), 14);
}

#[test]
fn an_event_is_put_together_field_by_field() {
    let at = t0();
    let event = ServiceEvent::new(9, "feed".into(), 3, 7, at, EventKind::Stopping);
    assert_eq!((event.id, &*event.service), (9, "feed"));
    assert_eq!((event.run, event.seq, event.at), (3, 7, at));
    assert!(matches!(event.kind, EventKind::Stopping));
}
