//! A restart by hand: the next run at once, and nothing held against it, as a protocol.

use super::checks::{STRICT, check_with};
use super::trace::{machine, played};
use super::{In, ms, t0};
use FailureKind::StartTimeout;
use In::{
    Abort, Clean, Fail, Failed, Gone, Lost, Panic, Permanent, Ready, Restart, Start, Stop,
    StopWithin, Tick,
};
use RestartPolicy::{Always, Never, OnFailure};
use janus_supervisor::machine::ServiceMachine;
use janus_supervisor::{BackoffConfig, BackoffState, FailureKind, Jitter, RestartPolicy};

fn check(policy: RestartPolicy, script: &[(u64, In)], expected: &[&str]) -> ServiceMachine {
    check_with(machine(t0()), policy, script, expected)
}

/// Whatever the run returns, it was told to.
#[test]
fn a_run_is_asked_to_end_and_the_next_begins_at_once() {
    for policy in [Always, OnFailure, Never] {
        for (exit, outcome) in [
            (Clean, "cancelled after 15"),
            (Fail, "cancelled with boom after 15"),
            (Panic, "cancelled with ouch after 15"),
            (Permanent, "cancelled with boom after 15"),
        ] {
            let machine = check(
                policy,
                &[(0, Start), (10, Restart), (15, exit), (15, Tick)],
                &[
                    "0 Start: run | 1 running",
                    "10 Restart: stop until 40",
                    &format!("15 {exit:?}: wait until 15 | 1 {outcome}, backing off #0 0"),
                    "15 Tick: run | 2 restarting, running",
                ],
            );
            let lifecycle = machine.lifecycle();
            assert_eq!(lifecycle.start_count(), 2);
            assert_eq!(lifecycle.total_failures(), 0);
            assert_eq!(lifecycle.last_error(), None);
        }
    }
}

/// Attempts, the breaker's window, and the cooldown that would have cleared them.
#[test]
fn earlier_failures_are_forgotten() {
    let machine = check(
        OnFailure,
        &[
            (0, Start),
            (0, Fail),
            (100, Tick),
            (100, Fail),
            (300, Tick),
            (310, Restart),
            (315, Fail),
            (315, Tick),
            (320, Fail),
            (420, Tick),
            (420, Fail),
        ],
        &[
            "0 Start: run | 1 running",
            "0 Fail: wait until 100 | 1 failed with error boom after 0, backing off #1 100",
            "100 Tick: run until 10100 | 2 restarting, running",
            "100 Fail: wait until 300 | 2 failed with error boom after 0, backing off #2 200",
            "300 Tick: run until 10300 | 3 restarting, running",
            "310 Restart: stop until 340 | 3 reset",
            "315 Fail: wait until 315 | 3 cancelled with boom after 15, backing off #0 0",
            "315 Tick: run | 4 restarting, running",
            // The third within the window, were it not for the restart.
            "320 Fail: wait until 420 | 4 failed with error boom after 5, backing off #1 100",
            "420 Tick: run until 10420 | 5 restarting, running",
            "420 Fail: wait until 620 | 5 failed with error boom after 0, backing off #2 200",
        ],
    );
    assert_eq!(machine.lifecycle().total_failures(), 4);
}

/// A clean exit sets the attempts back, but not the breaker's window.
#[test]
fn a_failure_that_only_the_breaker_remembers_is_forgotten_too() {
    let script = [
        (0, Start),
        (0, Fail),
        (100, Tick),
        (100, Fail),
        (300, Tick),
        (300, Clean),
        (400, Tick),
        (400, Restart),
        (400, Clean),
        (400, Tick),
        (400, Fail),
    ];
    let t0 = t0();
    let told = played(&mut machine(t0), t0, Always, &script);
    assert_eq!(
        told[7..],
        [
            "400 Restart: stop until 430 | 4 reset",
            "400 Clean: wait until 400 | 4 cancelled after 0, backing off #0 0",
            "400 Tick: run | 5 restarting, running",
            "400 Fail: wait until 500 | 5 failed with error boom after 0, backing off #1 100",
        ]
    );
}

/// A breaker that lets one run try: after a restart by hand it is closed.
#[test]
fn a_half_open_breaker_is_closed() {
    let config = BackoffConfig::new(ms(100), ms(400))
        .with_jitter(Jitter::None)
        .with_circuit_breaker(2, ms(1_000))
        .with_cooldown(ms(500_000))
        .with_half_open_after(ms(5_000));
    let t0 = t0();
    let backoff = BackoffState::new(config, 1);
    let mut machine = ServiceMachine::new(t0, "it", backoff, ms(30));
    let script = [
        (0, Start),
        (0, Fail),
        (100, Tick),
        (100, Fail),
        // The failures are out of the window, the attempts at zero, and the breaker is half-open still.
        (5_100, Tick),
        (5_200, Clean),
        (5_300, Tick),
        (5_310, Restart),
        (5_310, Clean),
        (5_310, Tick),
        (5_320, Fail),
    ];
    let told = played(&mut machine, t0, Always, &script);
    assert_eq!(
        told[7..],
        [
            "5310 Restart: stop until 5340 | 4 reset",
            "5310 Clean: wait until 5310 | 4 cancelled after 10, backing off #0 0",
            "5310 Tick: run | 5 restarting, running",
            "5320 Fail: wait until 5420 | 5 failed with error boom after 10, backing off #1 100",
        ],
        "{told:#?}"
    );
}

#[test]
fn a_backoff_is_over() {
    check(
        OnFailure,
        &[
            (0, Start),
            (5, Fail),
            (50, Restart),
            (105, Tick),
            (110, Fail),
        ],
        &[
            "0 Start: run | 1 running",
            "5 Fail: wait until 105 | 1 failed with error boom after 5, backing off #1 100",
            "50 Restart: run | 1 reset, 2 restarting, running",
            "105 Tick: wait",
            "110 Fail: wait until 210 | 2 failed with error boom after 60, backing off #1 100",
        ],
    );
    // So is the pause after a clean exit, with nothing to forget.
    check(
        Always,
        &[(0, Start), (5, Clean), (50, Restart)],
        &[
            "0 Start: run | 1 running",
            "5 Clean: wait until 105 | 1 completed after 5, backing off #0 100",
            "50 Restart: run | 2 restarting, running",
        ],
    );
    check_with(
        machine(t0()).checked(STRICT),
        OnFailure,
        &[(0, Start), (3, Fail), (50, Restart), (52, Ready)],
        &[
            "0 Start: run until 4",
            "3 Fail: wait until 103 | 1 failed with error boom after 3, backing off #1 100",
            "50 Restart: run until 54 | 1 reset, 2 restarting",
            "52 Ready: wait until 55 | 2 running",
        ],
    );
}

#[test]
fn a_run_that_is_not_ready_yet_is_restarted_as_well() {
    check_with(
        machine(t0()).checked(STRICT),
        OnFailure,
        &[
            (0, Start),
            (2, Restart),
            (3, Ready),
            (4, Tick),
            (6, Clean),
            (6, Tick),
            (10, Tick),
        ],
        &[
            "0 Start: run until 4",
            "2 Restart: stop until 32",
            "3 Ready: wait until 32",
            // It is no longer expected to become ready.
            "4 Tick: wait until 32",
            "6 Clean: wait until 6 | 1 cancelled after 6, backing off #0 0",
            "6 Tick: run until 10 | 2 restarting",
            "10 Tick: fail with start_timeout",
        ],
    );
}

/// The first is still under way: it is one restart.
#[test]
fn two_restarts_in_a_row_are_one() {
    check(
        OnFailure,
        &[
            (0, Start),
            (10, Restart),
            (12, Restart),
            (15, Clean),
            (15, Tick),
            (15, Tick),
        ],
        &[
            "0 Start: run | 1 running",
            "10 Restart: stop until 40",
            "12 Restart: wait until 40",
            "15 Clean: wait until 15 | 1 cancelled after 15, backing off #0 0",
            "15 Tick: run | 2 restarting, running",
            "15 Tick: wait",
        ],
    );
    // Between the two runs, it is due anyway.
    check(
        OnFailure,
        &[
            (0, Start),
            (10, Restart),
            (15, Clean),
            (15, Restart),
            (15, Tick),
        ],
        &[
            "0 Start: run | 1 running",
            "10 Restart: stop until 40",
            "15 Clean: wait until 15 | 1 cancelled after 15, backing off #0 0",
            "15 Restart: run | 2 restarting, running",
            "15 Tick: wait",
        ],
    );
}

#[test]
fn a_run_that_does_not_end_within_its_grace_is_dropped_and_followed_by_another() {
    let machine = check(
        OnFailure,
        &[
            (0, Start),
            (10, Restart),
            (39, Tick),
            (40, Tick),
            (41, Restart),
            (47, Gone),
            (47, Tick),
        ],
        &[
            "0 Start: run | 1 running",
            "10 Restart: stop until 40",
            "39 Tick: wait until 40",
            "40 Tick: abort",
            "41 Restart: wait",
            "47 Gone: wait until 47 | 1 aborted after 47, backing off #0 0",
            "47 Tick: run | 2 restarting, running",
        ],
    );
    assert_eq!(machine.lifecycle().total_failures(), 0);
}

#[test]
fn a_stop_wins_over_a_restart() {
    check(
        OnFailure,
        &[
            (0, Start),
            (10, Restart),
            (12, StopWithin(5)),
            (13, Restart),
            (14, Fail),
            (15, Restart),
        ],
        &[
            "0 Start: run | 1 running",
            "10 Restart: stop until 40",
            "12 StopWithin(5): wait until 17 | 1 stopping",
            "13 Restart: wait until 17",
            "14 Fail: finish | 1 cancelled with boom after 14, terminated: cancelled",
            "15 Restart: finish",
        ],
    );
    check(
        OnFailure,
        &[
            (0, Start),
            (10, Stop),
            (40, Tick),
            (41, Restart),
            (47, Gone),
        ],
        &[
            "0 Start: run | 1 running",
            "10 Stop: stop until 40 | 1 stopping",
            "40 Tick: abort",
            "41 Restart: wait",
            "47 Gone: finish | 1 aborted after 47, terminated: aborted: did not stop in time",
        ],
    );
}

/// It ends already, and will be judged.
#[test]
fn a_run_that_is_failing_is_not_restarted() {
    check_with(
        machine(t0()).checked(STRICT),
        OnFailure,
        &[
            (0, Start),
            (4, Tick),
            (5, Restart),
            (6, Failed(StartTimeout)),
            (7, Restart),
        ],
        &[
            "0 Start: run until 4",
            "4 Tick: fail with start_timeout",
            "5 Restart: wait",
            "6 Failed(StartTimeout): wait until 106 | 1 failed with start_timeout late after 6, backing off #1 100",
            "7 Restart: run until 11 | 1 reset, 2 restarting",
        ],
    );
}

#[test]
fn a_restart_before_the_first_run_or_after_the_last_changes_nothing() {
    check(
        OnFailure,
        &[(0, Restart), (1, Start), (2, Lost), (3, Restart)],
        &[
            "0 Restart: wait",
            "1 Start: run | 1 running",
            "2 Lost: finish | 1 aborted after 1, terminated: aborted: did not stop in time",
            "3 Restart: finish",
        ],
    );
    check(
        OnFailure,
        &[(0, Start), (10, Abort), (11, Restart), (12, Abort)],
        &[
            "0 Start: run | 1 running",
            "10 Abort: wait",
            "11 Restart: stop until 41",
            "12 Abort: wait until 41",
        ],
    );
}
