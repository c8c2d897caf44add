//! Events in any order, of any services, at any time: a replay takes over those that can follow, and refuses the
//! others.

use crate::t0;
use bolero::{TypeGenerator, check};
use janus_supervisor::{
    EventKind, Failure, FailureKind, RunOutcome, ServiceEvent, ServiceLifecycle, TerminationReason,
};
use std::time::{Duration, Instant};

#[derive(Debug, Clone, TypeGenerator)]
enum Told {
    Registered,
    Running,
    Completed(Duration),
    Failed(u8, String),
    Cancelled(Option<String>),
    Aborted,
    BackingOff(u32, Duration),
    Restarting,
    Recovered,
    BreakerOpened(u32, u32),
    Stopping,
    Terminated(u8, String),
    Removed,
}

impl Told {
    fn kind(&self) -> EventKind {
        let ended = |outcome| EventKind::RunEnded {
            outcome,
            ran_for: Duration::MAX,
        };
        let failure = |kind: u8, text: &String| {
            let kind = FailureKind::ALL[usize::from(kind) % FailureKind::ALL.len()];
            Failure::new(kind, text.clone())
        };
        match self {
            Self::Registered => EventKind::Registered,
            Self::Running => EventKind::Running,
            Self::Completed(ran_for) => EventKind::RunEnded {
                outcome: RunOutcome::Completed,
                ran_for: *ran_for,
            },
            Self::Failed(kind, text) => ended(RunOutcome::Failed(failure(*kind, text))),
            Self::Cancelled(text) => ended(RunOutcome::Cancelled(
                text.as_ref().map(|text| failure(0, text)),
            )),
            Self::Aborted => ended(RunOutcome::Aborted),
            Self::BackingOff(attempt, delay) => EventKind::BackingOff {
                attempt: *attempt,
                delay: *delay,
            },
            Self::Restarting => EventKind::Restarting,
            Self::Recovered => EventKind::Recovered,
            Self::BreakerOpened(failures, max_retries) => EventKind::BreakerOpened {
                failures: *failures,
                max_retries: *max_retries,
            },
            Self::Stopping => EventKind::Stopping,
            Self::Terminated(reason, text) => EventKind::Terminated {
                reason: match reason % 5 {
                    0 => TerminationReason::Completed,
                    1 => TerminationReason::Cancelled,
                    2 => TerminationReason::Aborted,
                    3 => TerminationReason::Unrecoverable(text.clone()),
                    _ => TerminationReason::CircuitBreakerOpen {
                        failures: 3,
                        max_retries: 3,
                    },
                },
            },
            Self::Removed => EventKind::Removed,
        }
    }
}

/// A moment, perhaps a wrong one.
#[derive(Debug, Clone, Copy, TypeGenerator)]
enum When {
    Later(u16),
    Earlier(u16),
    Far(Duration),
    Unchanged,
}

impl When {
    /// From one moment to the next. There is none after the end of time.
    fn after(self, now: Instant) -> Instant {
        let moved = match self {
            Self::Later(by) => now.checked_add(Duration::from_millis(by.into())),
            Self::Earlier(by) => now.checked_sub(Duration::from_millis(by.into())),
            Self::Far(by) => now.checked_add(by),
            Self::Unchanged => None,
        };
        moved.unwrap_or(now)
    }
}

#[test]
fn a_replay_takes_over_what_can_follow_and_refuses_the_rest() {
    check!(name = "lifecycle")
        .with_iterations(10_000)
        .with_type::<Vec<(When, Told)>>()
        .for_each(|history| {
            let mut now = t0();
            let mut lifecycle = ServiceLifecycle::new(now, "it");
            for (seq, (when, told)) in (1..).zip(history) {
                now = when.after(now);
                let event = ServiceEvent::new(0, "it".into(), 1, seq, now, told.kind());
                let before = lifecycle.clone();
                let applied = lifecycle.apply(&event);
                check_step(&before, &event, applied.is_ok(), &lifecycle);
            }
        });
}

/// The invariants of `janus-lifecycle/src/lifecycle.rs`.
fn check_step(
    before: &ServiceLifecycle,
    event: &ServiceEvent,
    applied: bool,
    after: &ServiceLifecycle,
) {
    let to = event.kind.phase();
    let is_move = to.is_some() && !matches!(event.kind, EventKind::Registered);
    if is_move {
        let expected = to.is_some_and(|to| before.phase().can_become(to));
        assert_eq!(applied, expected, "{event:?} after {}", before.phase());
    } else {
        assert!(applied, "{event:?} moves nothing");
    }
    if !applied {
        assert_eq!(format!("{before:?}"), format!("{after:?}"));
        return;
    }
    let phase = to.filter(|_| is_move).unwrap_or(before.phase());
    assert_eq!(after.phase(), phase);
    assert!(after.phase_since() >= before.phase_since());
    let restarted = u32::from(matches!(event.kind, EventKind::Restarting));
    assert_eq!(after.start_count(), before.start_count() + restarted);
    assert_eq!(after.termination_reason().is_some(), phase.is_terminal());
    assert!(after.cumulative_running_time(event.at) <= after.age(event.at));
    let snapshot = after.snapshot(event.at);
    assert!(snapshot.age_secs >= 0.0 && snapshot.cumulative_running_secs >= 0.0);
    assert_eq!(snapshot.phase, phase);
}
