//! The design's table "what happens when": a module for each row, a test for each cell.
//!
//! Every cell is checked for its phase, reason, counters, last error, attempt and events. A run ends 5 ms after it
//! began, unless the row says otherwise; the next, if there is one, goes on until it is cancelled.

use janus_supervisor::{
    JanusSupervisor, RestartPolicy, ServicePhase, SpawnOptions, TerminationReason,
};
use janus_tests::{Recorder, Script, Turn, backoff, config, ms, secs, settle, within_an_hour};
use std::sync::Arc;
use tokio::time::Instant;

/// What the service does, and what is done to it.
pub(super) struct Case {
    /// One for each run; the last one repeats.
    turns: Vec<Turn>,
    /// The breaker opens on that many failures.
    breaker: u32,
    /// When somebody stops it.
    stop_at: Option<u64>,
}

impl Case {
    /// Nobody asks it to stop.
    pub(super) fn ends(turn: Turn) -> Self {
        Self {
            turns: vec![turn, Turn::until_cancelled()],
            breaker: 10,
            stop_at: None,
        }
    }

    /// Somebody stops it, at 5 ms.
    fn stopped(turn: Turn) -> Self {
        Self {
            stop_at: Some(5),
            ..Self::ends(turn)
        }
    }

    /// Somebody stops it when its first run has been over for 50 ms.
    fn stopped_while_waiting(turn: Turn) -> Self {
        Self {
            stop_at: Some(55),
            ..Self::ends(turn)
        }
    }

    /// Every run ends like that, under a breaker.
    fn always_ends(turn: Turn, breaker: u32) -> Self {
        Self {
            turns: vec![turn],
            breaker,
            stop_at: None,
        }
    }
}

/// What the case comes to, a second later.
pub(super) struct Outcome {
    reason: Option<TerminationReason>,
    starts: u32,
    failures: u32,
    attempt: u32,
    last_error: Option<&'static str>,
    /// After `0 run 1 registered` and `0 run 1 running`.
    events: Vec<&'static str>,
}

/// The second run is up.
pub(super) fn again<const N: usize>(attempt: u32, events: [&'static str; N]) -> Outcome {
    Outcome {
        reason: None,
        starts: 2,
        failures: attempt,
        attempt,
        last_error: None,
        events: events.into(),
    }
}

/// The first run was the last one.
pub(super) fn ended<const N: usize>(
    reason: TerminationReason,
    events: [&'static str; N],
) -> Outcome {
    Outcome {
        reason: Some(reason),
        starts: 1,
        failures: 0,
        attempt: 0,
        last_error: None,
        events: events.into(),
    }
}

impl Outcome {
    pub(super) fn error(mut self, last_error: &'static str) -> Self {
        self.last_error = Some(last_error);
        self
    }

    /// So many in a row.
    pub(super) fn failures(mut self, failures: u32) -> Self {
        self.failures = failures;
        self.attempt = failures;
        self
    }

    fn starts(mut self, starts: u32) -> Self {
        self.starts = starts;
        self
    }
}

pub(super) fn unrecoverable(message: &str) -> TerminationReason {
    TerminationReason::Unrecoverable(message.into())
}

/// Plays the case, and compares.
#[expect(clippy::unwrap_used, reason = "nothing is wrong with these services")]
pub(super) async fn check(policy: RestartPolicy, case: Case, expected: Outcome) {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    let sibling = supervisor
        .spawn_service(Script::new("sibling", []))
        .unwrap();
    let t0 = Instant::now();
    let script = Script::new("it", case.turns).policy(policy);
    let log = script.log();
    let breaker = backoff().with_circuit_breaker(case.breaker, secs(60));
    let options = SpawnOptions::with_backoff(breaker).with_shutdown_grace(ms(20));
    let it = supervisor
        .spawn_service_with_options(script, options)
        .unwrap();
    if let Some(millis) = case.stop_at {
        tokio::time::sleep_until(t0 + ms(millis)).await;
        let reason = within_an_hour(it.stop()).await;
        assert_eq!(Some(reason), expected.reason);
    }
    tokio::time::sleep_until(t0 + secs(1)).await;

    let mut events = vec!["0 run 1 registered", "0 run 1 running"];
    events.extend(expected.events);
    assert_eq!(recorder.trace_of("it", t0.into_std()), events);
    let ended = expected.reason.is_some();
    let phase = if ended {
        ServicePhase::Terminated
    } else {
        ServicePhase::Running
    };
    let snapshot = it.snapshot();
    assert_eq!(snapshot.phase, phase);
    assert_eq!(it.termination_reason(), expected.reason);
    let reason = expected.reason.as_ref().map(ToString::to_string);
    assert_eq!(snapshot.termination_reason, reason);
    assert_eq!(snapshot.start_count, expected.starts, "start_count");
    assert_eq!(snapshot.total_failures, expected.failures, "failures");
    assert_eq!(snapshot.attempt, expected.attempt, "attempt");
    assert_eq!(snapshot.last_error.as_deref(), expected.last_error);
    assert_eq!(
        (log.starts(), log.in_progress(), log.overlaps()),
        (expected.starts as usize, u32::from(!ended), 0)
    );

    let metrics = supervisor.metrics().snapshot();
    assert_eq!(metrics.restarts_total, u64::from(expected.starts - 1));
    assert_eq!(metrics.active_services, 1 + u64::from(!ended));
    assert_eq!(metrics.terminated_total, u64::from(ended));
    let tripped = matches!(
        expected.reason,
        Some(TerminationReason::CircuitBreakerOpen { .. })
    );
    assert_eq!(metrics.circuit_breaker_trips, u64::from(tripped));

    // The sibling has noticed nothing; and however it ended, the whole still drains.
    assert_eq!(sibling.phase(), ServicePhase::Running);
    assert_eq!(sibling.snapshot().start_count, 1);
    supervisor.trigger_shutdown();
    assert!(supervisor.wait_for_drain().await.is_clean());
    settle().await;
    assert_eq!(log.starts(), expected.starts as usize, "no run after it");
}

/// A row: what happens, and what each policy makes of it. Each case of a row comes to the same.
macro_rules! row {
    ($(#[$doc:meta])* $row:ident, $cases:expr => { $($policy:ident: $expected:expr,)+ }) => {
        $(#[$doc])*
        mod $row {
            use super::*;
            $(#[tokio::test(start_paused = true)]
            async fn $policy() {
                for case in $cases {
                    check(stringify!($policy).parse().unwrap(), case, $expected).await;
                }
            })+
        }
    };
}
pub(super) use row;

row! {
    /// A1, A2, A3, A7
    clean, [Case::ends(Turn::Complete.after(ms(5)))] => {
        always: again(0, [
            "5 run 1 completed",
            "5 run 1 backing off #0 for 100ms",
            "105 run 2 restarting",
            "105 run 2 running",
        ]),
        on_failure: ended(TerminationReason::Completed, [
            "5 run 1 completed",
            "5 run 1 terminated: completed",
        ]),
        never: ended(TerminationReason::Completed, [
            "5 run 1 completed",
            "5 run 1 terminated: completed",
        ]),
    }
}

row! {
    /// A1, A2, A3
    error, [Case::ends(Turn::Fail("boom").after(ms(5)))] => {
        always: again(1, [
            "5 run 1 failed (error): boom",
            "5 run 1 backing off #1 for 100ms",
            "105 run 2 restarting",
            "105 run 2 running",
        ]).error("boom"),
        on_failure: again(1, [
            "5 run 1 failed (error): boom",
            "5 run 1 backing off #1 for 100ms",
            "105 run 2 restarting",
            "105 run 2 running",
        ]).error("boom"),
        never: ended(unrecoverable("boom"), [
            "5 run 1 failed (error): boom",
            "5 run 1 terminated: unrecoverable: boom",
        ]).error("boom").failures(1),
    }
}

row! {
    /// A1, A2, A3
    panic, [Case::ends(Turn::Panic("boom").after(ms(5)))] => {
        always: again(1, [
            "5 run 1 failed (panic): panicked: boom",
            "5 run 1 backing off #1 for 100ms",
            "105 run 2 restarting",
            "105 run 2 running",
        ]).error("panicked: boom"),
        on_failure: again(1, [
            "5 run 1 failed (panic): panicked: boom",
            "5 run 1 backing off #1 for 100ms",
            "105 run 2 restarting",
            "105 run 2 running",
        ]).error("panicked: boom"),
        never: ended(unrecoverable("panicked: boom"), [
            "5 run 1 failed (panic): panicked: boom",
            "5 run 1 terminated: unrecoverable: panicked: boom",
        ]).error("panicked: boom").failures(1),
    }
}

row! {
    /// A6
    permanent, [Case::ends(Turn::FailForGood("no key").after(ms(5)))] => {
        always: ended(unrecoverable("no key"), [
            "5 run 1 failed (error): no key",
            "5 run 1 terminated: unrecoverable: no key",
        ]).error("no key").failures(1),
        on_failure: ended(unrecoverable("no key"), [
            "5 run 1 failed (error): no key",
            "5 run 1 terminated: unrecoverable: no key",
        ]).error("no key").failures(1),
        never: ended(unrecoverable("no key"), [
            "5 run 1 failed (error): no key",
            "5 run 1 terminated: unrecoverable: no key",
        ]).error("no key").failures(1),
    }
}

/// Three of three failures.
fn breaker_open() -> TerminationReason {
    TerminationReason::CircuitBreakerOpen {
        failures: 3,
        max_retries: 3,
    }
}

/// How three failures end, 100 ms and 200 ms apart. Two of them were retried.
fn tripped() -> Outcome {
    ended(
        breaker_open(),
        [
            "5 run 1 failed (error): boom",
            "5 run 1 backing off #1 for 100ms",
            "105 run 2 restarting",
            "105 run 2 running",
            "110 run 2 failed (error): boom",
            "110 run 2 backing off #2 for 200ms",
            "310 run 3 restarting",
            "310 run 3 running",
            "315 run 3 failed (error): boom",
            "315 run 3 breaker opened 3/3",
            "315 run 3 terminated: circuit breaker open (3/3 failures)",
        ],
    )
    .error("boom")
    .failures(3)
    .starts(3)
}

row! {
    /// C23, C31
    breaker, [Case::always_ends(Turn::Fail("boom").after(ms(5)), 3)] => {
        always: tripped(),
        on_failure: tripped(),
    }
}

row! {
    /// Not the breaker's business, however sensitive it is.
    breaker_of_one, [Case::always_ends(Turn::Fail("boom").after(ms(5)), 1)] => {
        never: ended(unrecoverable("boom"), [
            "5 run 1 failed (error): boom",
            "5 run 1 terminated: unrecoverable: boom",
        ]).error("boom").failures(1),
    }
}

/// A4: nobody cancelled it, whatever it says.
fn not_cancelled() -> Outcome {
    again(
        1,
        [
            "5 run 1 failed (error): cancelled",
            "5 run 1 backing off #1 for 100ms",
            "105 run 2 restarting",
            "105 run 2 running",
        ],
    )
    .error("cancelled")
}

row! {
    /// A4
    says_cancelled, [Case::ends(Turn::Fail("cancelled").after(ms(5)))] => {
        always: not_cancelled(),
        on_failure: not_cancelled(),
        never: ended(unrecoverable("cancelled"), [
            "5 run 1 failed (error): cancelled",
            "5 run 1 terminated: unrecoverable: cancelled",
        ]).error("cancelled").failures(1),
    }
}

/// A5: asked to stop, and did.
fn stopped() -> Outcome {
    ended(
        TerminationReason::Cancelled,
        [
            "5 run 1 stopping",
            "15 run 1 cancelled",
            "15 run 1 terminated: cancelled",
        ],
    )
}

row! {
    /// A5
    stopped_and_clean, [Case::stopped(Turn::Complete.after(ms(10)).when_cancelled())] => {
        always: stopped(),
        on_failure: stopped(),
        never: stopped(),
    }
}

/// Asked to stop, and failed on the way out: kept, not counted.
fn stopped_with(error: &'static str, event: &'static str) -> Outcome {
    ended(
        TerminationReason::Cancelled,
        ["5 run 1 stopping", event, "15 run 1 terminated: cancelled"],
    )
    .error(error)
}

row! {
    stopped_with_an_error, [Case::stopped(Turn::Fail("flush failed").after(ms(10)).when_cancelled())] => {
        always: stopped_with("flush failed", "15 run 1 cancelled, with flush failed"),
        on_failure: stopped_with("flush failed", "15 run 1 cancelled, with flush failed"),
        never: stopped_with("flush failed", "15 run 1 cancelled, with flush failed"),
    }
}

row! {
    stopped_with_a_permanent_error, [Case::stopped(Turn::FailForGood("no key").after(ms(10)).when_cancelled())] => {
        always: stopped_with("no key", "15 run 1 cancelled, with no key"),
        on_failure: stopped_with("no key", "15 run 1 cancelled, with no key"),
        never: stopped_with("no key", "15 run 1 cancelled, with no key"),
    }
}

row! {
    stopped_with_a_panic, [Case::stopped(Turn::Panic("boom").after(ms(10)).when_cancelled())] => {
        always: stopped_with("panicked: boom", "15 run 1 cancelled, with panicked: boom"),
        on_failure: stopped_with("panicked: boom", "15 run 1 cancelled, with panicked: boom"),
        never: stopped_with("panicked: boom", "15 run 1 cancelled, with panicked: boom"),
    }
}

/// B20: stopped at once, in the middle of a delay. What it failed with before is not forgotten.
fn stopped_while_waiting() -> Outcome {
    ended(
        TerminationReason::Cancelled,
        [
            "5 run 1 failed (error): boom",
            "5 run 1 backing off #1 for 100ms",
            "55 run 1 stopping",
            "55 run 1 terminated: cancelled",
        ],
    )
    .error("boom")
    .failures(1)
}

row! {
    /// B20. Under `Never` there is no delay to be stopped in.
    stopped_during_a_backoff, [Case::stopped_while_waiting(Turn::Fail("boom").after(ms(5)))] => {
        always: stopped_while_waiting(),
        on_failure: stopped_while_waiting(),
    }
}

row! {
    /// B20
    stopped_during_the_pause_after_a_clean_exit, [Case::stopped_while_waiting(Turn::Complete.after(ms(5)))] => {
        always: ended(TerminationReason::Cancelled, [
            "5 run 1 completed",
            "5 run 1 backing off #0 for 100ms",
            "55 run 1 stopping",
            "55 run 1 terminated: cancelled",
        ]),
    }
}

/// Its grace is 20 ms.
fn aborted() -> Outcome {
    ended(
        TerminationReason::Aborted,
        [
            "5 run 1 stopping",
            "25 run 1 dropped",
            "25 run 1 terminated: aborted: did not stop in time",
        ],
    )
}

row! {
    grace_over, [
        Case::stopped(Turn::Hang),
        Case::stopped(Turn::Fail("too late").after(ms(21)).when_cancelled())
    ] => {
        always: aborted(),
        on_failure: aborted(),
        never: aborted(),
    }
}
