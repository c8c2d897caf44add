//! A child of a group: what each permit is answered with, as a protocol. Invariant 6.

use super::trace::{machine, played};
use super::{In, give, ms, t0};
use In::{Abort, Clean, Fail, Gone, Lost, Panic, Permanent, Permit, Start, Stop, StopWithin, Tick};
use RestartPolicy::{Always, Never, OnFailure};
use janus_supervisor::{RestartPolicy, ServicePhase};

fn check(policy: RestartPolicy, script: &[(u64, In)], expected: &[&str]) {
    let t0 = t0();
    assert_eq!(
        played(&mut machine(t0).gated(), t0, policy, script),
        expected,
        "{policy}"
    );
}

#[test]
fn a_first_run_waits_for_its_permit() {
    check(
        OnFailure,
        &[(0, Start), (50, Tick), (60, Permit(1, 0)), (61, Start)],
        &[
            "0 Start: wait",
            "50 Tick: wait",
            "60 Permit(1, 0): run | 1 running",
            "61 Start: wait",
        ],
    );
    check(
        OnFailure,
        &[(1, Stop)],
        &["1 Stop: finish | 1 stopping, terminated: cancelled"],
    );
}

#[test]
fn each_permit_is_good_for_one_run_and_comes_after_the_backoff() {
    let told = [
        "0 Permit(1, 0): run | 1 running",
        "5 Fail: wait | 1 failed with error boom after 5, backing off #1 100",
        "20 Permit(1, 0): wait",
        "30 Permit(2, 0): wait until 105",
        "105 Tick: run until 10105 | 2 restarting, running",
        "110 Fail: wait | 2 failed with error boom after 5, backing off #2 200",
        "400 Tick: wait",
        "500 Permit(3, 0): run until 10500 | 3 restarting, running",
    ];
    check(
        OnFailure,
        &[
            (0, Permit(1, 0)),
            (5, Fail),
            (20, Permit(1, 0)),
            (30, Permit(2, 0)),
            (105, Tick),
            (110, Fail),
            (400, Tick),
            (500, Permit(3, 0)),
        ],
        &told,
    );
}

/// Whatever the run returns, it was told to: nothing is counted, nothing is kept.
#[test]
fn a_halt_ends_the_run_and_neither_fails_nor_ends_the_service() {
    for policy in [Always, OnFailure, Never] {
        for (exit, outcome) in [
            (Clean, "cancelled after 15"),
            (Fail, "cancelled with boom after 15"),
            (Panic, "cancelled with ouch after 15"),
            (Permanent, "cancelled with boom after 15"),
        ] {
            let t0 = t0();
            let mut machine = machine(t0).gated();
            let script = [
                (0, Permit(1, 0)),
                (10, Permit(1, 1)),
                (15, exit),
                (99, Tick),
                (100, Permit(2, 1)),
            ];
            assert_eq!(
                played(&mut machine, t0, policy, &script),
                [
                    "0 Permit(1, 0): run | 1 running".to_owned(),
                    "10 Permit(1, 1): stop until 40".to_owned(),
                    format!("15 {exit:?}: wait | 1 {outcome}, backing off #0 0"),
                    "99 Tick: wait".to_owned(),
                    "100 Permit(2, 1): run | 2 restarting, running".to_owned(),
                ],
                "{policy}"
            );
            let lifecycle = machine.lifecycle();
            assert_eq!(lifecycle.start_count(), 2);
            assert_eq!(lifecycle.total_failures(), 0);
            assert_eq!(lifecycle.last_error(), None);
        }
    }
}

#[test]
fn the_failures_before_a_halt_are_remembered() {
    check(
        OnFailure,
        &[
            (0, Permit(1, 0)),
            (5, Fail),
            (10, Permit(2, 0)),
            (105, Tick),
            (110, Permit(2, 2)),
            (111, Clean),
            (112, Permit(3, 2)),
            (120, Fail),
        ],
        &[
            "0 Permit(1, 0): run | 1 running",
            "5 Fail: wait | 1 failed with error boom after 5, backing off #1 100",
            "10 Permit(2, 0): wait until 105",
            "105 Tick: run until 10105 | 2 restarting, running",
            "110 Permit(2, 2): stop until 140",
            "111 Clean: wait | 2 cancelled after 6, backing off #1 0",
            "112 Permit(3, 2): run until 10112 | 3 restarting, running",
            "120 Fail: wait | 3 failed with error boom after 8, backing off #2 200",
        ],
    );
}

/// The permit came first, but the period was over: it counts.
#[test]
fn a_halt_after_the_cooldown_recovers_before_it_halts() {
    let script = [
        (0, Permit(1, 0)),
        (5, Fail),
        (10, Permit(2, 0)),
        (105, Tick),
        (10_105, Permit(2, 2)),
        (10_106, Clean),
    ];
    let t0 = t0();
    let told = played(&mut machine(t0).gated(), t0, OnFailure, &script);
    assert_eq!(
        told[4..],
        [
            "10105 Permit(2, 2): stop until 10135 | 2 recovered",
            "10106 Clean: wait | 2 cancelled after 10001, backing off #0 0",
        ]
    );
}

#[test]
fn a_halt_that_takes_longer_than_the_grace_drops_the_run_and_not_the_service() {
    check(
        OnFailure,
        &[
            (0, Permit(1, 0)),
            (10, Permit(1, 1)),
            (39, Tick),
            (39, Abort),
            (40, Tick),
            (41, Permit(2, 1)),
            (47, Gone),
            (47, Tick),
        ],
        &[
            "0 Permit(1, 0): run | 1 running",
            "10 Permit(1, 1): stop until 40",
            "39 Tick: wait until 40",
            "39 Abort: wait until 40",
            "40 Tick: abort",
            "41 Permit(2, 1): wait",
            "47 Gone: wait until 47 | 1 aborted after 47, backing off #0 0",
            "47 Tick: run | 2 restarting, running",
        ],
    );
    // It ended by itself in the very moment.
    check(
        OnFailure,
        &[
            (0, Permit(1, 0)),
            (10, Permit(1, 1)),
            (40, Tick),
            (40, Fail),
        ],
        &[
            "0 Permit(1, 0): run | 1 running",
            "10 Permit(1, 1): stop until 40",
            "40 Tick: abort",
            "40 Fail: wait | 1 cancelled with boom after 40, backing off #0 0",
        ],
    );
}

/// It has no more time than the halt left it.
#[test]
fn a_stop_wins_over_a_halt() {
    check(
        OnFailure,
        &[
            (0, Permit(1, 0)),
            (10, Permit(1, 1)),
            (20, Stop),
            (21, Permit(2, 1)),
            (25, Clean),
        ],
        &[
            "0 Permit(1, 0): run | 1 running",
            "10 Permit(1, 1): stop until 40",
            "20 Stop: wait until 40 | 1 stopping",
            "21 Permit(2, 1): wait until 40",
            "25 Clean: finish | 1 cancelled after 25, terminated: cancelled",
        ],
    );
    let aborted = "aborted after 47, terminated: aborted: did not stop in time";
    check(
        OnFailure,
        &[
            (0, Permit(1, 0)),
            (10, Permit(1, 1)),
            (20, StopWithin(5)),
            (25, Tick),
            (47, Gone),
        ],
        &[
            "0 Permit(1, 0): run | 1 running",
            "10 Permit(1, 1): stop until 40",
            "20 StopWithin(5): wait until 25 | 1 stopping",
            "25 Tick: abort",
            &format!("47 Gone: finish | 1 {aborted}"),
        ],
    );
    // Also over one that has dropped the run already.
    check(
        OnFailure,
        &[
            (0, Permit(1, 0)),
            (10, Permit(2, 1)),
            (40, Tick),
            (41, Stop),
            (42, Stop),
            (47, Gone),
        ],
        &[
            "0 Permit(1, 0): run | 1 running",
            "10 Permit(2, 1): stop until 40",
            "40 Tick: abort",
            "41 Stop: wait | 1 stopping",
            "42 Stop: wait",
            &format!("47 Gone: finish | 1 {aborted}"),
        ],
    );
}

#[test]
fn a_permit_that_was_taken_back_before_it_was_used_begins_nothing() {
    check(
        OnFailure,
        &[(0, Start), (0, Permit(1, 1)), (1, Tick), (2, Permit(2, 1))],
        &[
            "0 Start: wait",
            "0 Permit(1, 1): wait",
            "1 Tick: wait",
            "2 Permit(2, 1): run | 1 running",
        ],
    );
    check(
        OnFailure,
        &[
            (0, Permit(1, 0)),
            (5, Fail),
            (10, Permit(2, 0)),
            (20, Permit(2, 2)),
            // It comes late.
            (21, Permit(2, 0)),
            (105, Tick),
            (200, Permit(3, 2)),
        ],
        &[
            "0 Permit(1, 0): run | 1 running",
            "5 Fail: wait | 1 failed with error boom after 5, backing off #1 100",
            "10 Permit(2, 0): wait until 105",
            "20 Permit(2, 2): wait",
            "21 Permit(2, 0): wait",
            "105 Tick: wait",
            "200 Permit(3, 2): run until 10200 | 2 restarting, running",
        ],
    );
}

/// The reader of a watch may see only the second of the two.
#[test]
fn a_halt_and_the_next_permit_at_once_are_a_halt_and_another_run() {
    check(
        OnFailure,
        &[
            (0, Permit(1, 0)),
            (10, Permit(2, 1)),
            (15, Clean),
            (15, Tick),
        ],
        &[
            "0 Permit(1, 0): run | 1 running",
            "10 Permit(2, 1): stop until 40",
            "15 Clean: wait until 15 | 1 cancelled after 15, backing off #0 0",
            "15 Tick: run | 2 restarting, running",
        ],
    );
}

#[test]
fn permits_that_are_late_or_repeated_change_nothing() {
    check(
        OnFailure,
        &[
            (0, Permit(1, 0)),
            (1, Permit(1, 0)),
            (2, Permit(0, 0)),
            (10, Permit(1, 1)),
            (11, Permit(1, 0)),
            (12, Permit(1, 1)),
            (15, Clean),
            (16, Permit(1, 0)),
            (17, Permit(2, 1)),
            (18, Permit(1, 1)),
            (20, Stop),
            (21, Permit(3, 1)),
            (22, Fail),
            (23, Permit(3, 1)),
        ],
        &[
            "0 Permit(1, 0): run | 1 running",
            "1 Permit(1, 0): wait",
            "2 Permit(0, 0): wait",
            "10 Permit(1, 1): stop until 40",
            "11 Permit(1, 0): wait until 40",
            "12 Permit(1, 1): wait until 40",
            "15 Clean: wait | 1 cancelled after 15, backing off #0 0",
            "16 Permit(1, 0): wait",
            "17 Permit(2, 1): run | 2 restarting, running",
            "18 Permit(1, 1): wait",
            "20 Stop: stop until 50 | 2 stopping",
            "21 Permit(3, 1): wait until 50",
            "22 Fail: finish | 2 cancelled with boom after 5, terminated: cancelled",
            "23 Permit(3, 1): finish",
        ],
    );
}

#[test]
fn a_service_that_needs_no_permit_takes_none() {
    let t0 = t0();
    let mut machine = machine(t0);
    let script = [
        (0, Permit(1, 1)),
        (0, Start),
        (1, Permit(1, 0)),
        (2, Permit(1, 1)),
        (5, Fail),
        (6, Permit(1, 1)),
        (105, Tick),
    ];
    let told = played(&mut machine, t0, OnFailure, &script);
    assert!(!machine.is_held());
    assert_eq!(
        told,
        [
            "0 Permit(1, 1): run | 1 running",
            "0 Start: wait",
            "1 Permit(1, 0): wait",
            "2 Permit(1, 1): wait",
            "5 Fail: wait until 105 | 1 failed with error boom after 5, backing off #1 100",
            "6 Permit(1, 1): wait until 105",
            "105 Tick: run until 10105 | 2 restarting, running",
        ]
    );
}

#[test]
fn a_service_is_held_when_it_is_down_and_has_no_permit() {
    let (t0, mut machine) = (t0(), machine(t0()).gated());
    let mut held = vec![machine.is_held()];
    for (at, input) in [
        (0, Permit(1, 0)),
        (10, Permit(1, 1)),
        (15, Clean),
        (16, Permit(2, 1)),
        (20, Fail),
        (21, Permit(3, 1)),
        (22, Permit(3, 3)),
        (23, Lost),
    ] {
        let _step = give(&mut machine, t0 + ms(at), OnFailure, input).unwrap();
        held.push(machine.is_held());
    }
    let expected = [true, false, false, true, false, true, false, true, false];
    assert_eq!(held, expected);
    assert_eq!(machine.lifecycle().phase(), ServicePhase::Terminated);
}
