//! A service whose runs have to show something: readiness, and that they are alive, as a protocol.

use super::trace::{machine, played};
use super::{In, ms, t0};
use FailureKind::{Hang, StartTimeout};
use In::{Beat, BeatAgo, BeatIn, Clean, Fail, Failed, Permit, Ready, Start, Tick};
use RestartPolicy::{Always, Never, OnFailure};
use janus_supervisor::machine::{Checks, Readiness, ServiceMachine};
use janus_supervisor::{FailureKind, RestartPolicy, ServicePhase};

/// Ready when it says so.
pub(crate) const NOTIFY: Checks = Checks {
    readiness: Readiness::Notify,
    start_timeout: None,
    watchdog: None,
};

/// Within four milliseconds, and alive at least every three.
pub(crate) const STRICT: Checks = Checks {
    start_timeout: Some(ms(4)),
    watchdog: Some(ms(3)),
    ..NOTIFY
};

pub(crate) fn check_with(
    mut machine: ServiceMachine,
    policy: RestartPolicy,
    script: &[(u64, In)],
    expected: &[&str],
) -> ServiceMachine {
    // Counted from when the machine was made.
    let t0 = machine.lifecycle().created_at();
    assert_eq!(
        played(&mut machine, t0, policy, script),
        expected,
        "{policy}"
    );
    machine
}

/// Both checks.
pub(crate) fn check(
    policy: RestartPolicy,
    script: &[(u64, In)],
    expected: &[&str],
) -> ServiceMachine {
    check_with(machine(t0()).checked(STRICT), policy, script, expected)
}

#[test]
fn a_run_that_is_not_ready_in_time_is_dropped_and_has_failed() {
    for policy in [Always, OnFailure] {
        let machine = check(
            policy,
            &[
                (0, Start),
                (3, Tick),
                (4, Tick),
                (9, Failed(StartTimeout)),
                (109, Tick),
                (113, Tick),
                (113, Failed(StartTimeout)),
            ],
            &[
                "0 Start: run until 4",
                "3 Tick: wait until 4",
                "4 Tick: fail with start_timeout",
                "9 Failed(StartTimeout): wait until 109 | 1 failed with start_timeout late after 9, backing off #1 100",
                "109 Tick: run until 113 | 2 restarting",
                "113 Tick: fail with start_timeout",
                "113 Failed(StartTimeout): wait until 313 | 2 failed with start_timeout late after 4, backing off #2 200",
            ],
        );
        let lifecycle = machine.lifecycle();
        assert_eq!(lifecycle.failures().of(StartTimeout), 2);
        assert_eq!(lifecycle.start_count(), 2);
    }
    check(
        Never,
        &[(0, Start), (4, Tick), (4, Failed(StartTimeout))],
        &[
            "0 Start: run until 4",
            "4 Tick: fail with start_timeout",
            "4 Failed(StartTimeout): finish | 1 failed with start_timeout late after 4, terminated: unrecoverable: late",
        ],
    );
}

/// Also at the last moment: whoever drives the machine tells what has happened before the time.
#[test]
fn a_run_that_is_ready_in_time_is_running() {
    for at in [0, 3, 4] {
        let machine = check(
            OnFailure,
            &[(0, Start), (at, Ready)],
            &[
                "0 Start: run until 4",
                &format!("{at} Ready: wait until {} | 1 running", at + 3),
            ],
        );
        assert_eq!(machine.lifecycle().phase(), ServicePhase::Running);
    }
}

#[test]
fn a_run_is_starting_until_it_is_ready() {
    let machine = check_with(
        machine(t0()).checked(NOTIFY),
        OnFailure,
        &[(0, Start), (1_000_000, Tick), (1_000_000, Start)],
        &["0 Start: run", "1000000 Tick: wait", "1000000 Start: wait"],
    );
    assert_eq!(machine.lifecycle().phase(), ServicePhase::Starting);
    assert_eq!(machine.checks(), NOTIFY);
}

#[test]
fn a_run_is_ready_once() {
    check(
        OnFailure,
        &[(0, Start), (1, Ready), (2, Ready)],
        &[
            "0 Start: run until 4",
            "1 Ready: wait until 4 | 1 running",
            // It is no heartbeat either.
            "2 Ready: wait until 4",
        ],
    );
}

#[test]
fn a_run_that_is_ready_too_late_has_failed_all_the_same() {
    check(
        OnFailure,
        &[
            (0, Start),
            (4, Tick),
            (4, Ready),
            (5, Beat),
            (6, Failed(StartTimeout)),
            (7, Ready),
        ],
        &[
            "0 Start: run until 4",
            "4 Tick: fail with start_timeout",
            "4 Ready: wait",
            "5 Beat: wait",
            "6 Failed(StartTimeout): wait until 106 | 1 failed with start_timeout late after 6, backing off #1 100",
            "7 Ready: wait until 106",
        ],
    );
}

/// The period counts from the beginning of the run, but a run that is not ready has not run well.
#[test]
fn a_run_that_is_not_ready_has_no_cooldown() {
    let script = [
        (0, Start),
        (5, Fail),
        (105, Tick),
        (20_000, Tick),
        (20_001, Fail),
        (20_201, Tick),
        (40_000, Ready),
        (40_000, Tick),
    ];
    check_with(
        machine(t0()).checked(NOTIFY),
        OnFailure,
        &script,
        &[
            "0 Start: run",
            "5 Fail: wait until 105 | 1 failed with error boom after 5, backing off #1 100",
            "105 Tick: run | 2 restarting",
            "20000 Tick: wait",
            "20001 Fail: wait until 20201 | 2 failed with error boom after 19896, backing off #2 200",
            "20201 Tick: run | 3 restarting",
            "40000 Ready: wait until 30201 | 3 running",
            "40000 Tick: wait | 3 recovered",
        ],
    );
    // Nor has one that its group ends.
    check_with(
        machine(t0()).checked(NOTIFY).gated(),
        OnFailure,
        &[
            (0, Permit(1, 0)),
            (5, Fail),
            (10, Permit(2, 0)),
            (105, Tick),
            (20_000, Permit(2, 2)),
            (20_001, Clean),
        ],
        &[
            "0 Permit(1, 0): run",
            "5 Fail: wait | 1 failed with error boom after 5, backing off #1 100",
            "10 Permit(2, 0): wait until 105",
            "105 Tick: run | 2 restarting",
            "20000 Permit(2, 2): stop until 20030",
            "20001 Clean: wait | 2 cancelled after 19896, backing off #1 0",
        ],
    );
}

#[test]
fn a_run_without_a_heartbeat_hangs() {
    let machine = check(
        OnFailure,
        &[
            (0, Start),
            (2, Ready),
            (4, Tick),
            (5, Tick),
            (9, Failed(Hang)),
            (109, Tick),
        ],
        &[
            "0 Start: run until 4",
            "2 Ready: wait until 5 | 1 running",
            "4 Tick: wait until 5",
            "5 Tick: fail with hang",
            "9 Failed(Hang): wait until 109 | 1 failed with hang late after 9, backing off #1 100",
            "109 Tick: run until 113 | 2 restarting",
        ],
    );
    assert_eq!(machine.lifecycle().failures().of(Hang), 1);
}

/// What it has shown before counts for nothing.
#[test]
fn the_watchdog_begins_when_the_run_is_ready_and_anew_with_each_run() {
    check(
        OnFailure,
        &[
            (0, Start),
            (1, Beat),
            (4, Ready),
            (6, Beat),
            (7, Fail),
            (107, Tick),
            (108, Beat),
            (110, Ready),
            (113, Tick),
        ],
        &[
            "0 Start: run until 4",
            "1 Beat: wait until 4",
            "4 Ready: wait until 7 | 1 running",
            "6 Beat: wait until 9",
            "7 Fail: wait until 107 | 1 failed with error boom after 7, backing off #1 100",
            "107 Tick: run until 111 | 2 restarting",
            "108 Beat: wait until 111",
            "110 Ready: wait until 113 | 2 running",
            "113 Tick: fail with hang",
        ],
    );
    // One that is ready as soon as it has begun.
    let immediate = Checks {
        readiness: Readiness::Immediate,
        ..STRICT
    };
    check_with(
        machine(t0()).checked(immediate),
        OnFailure,
        &[(0, Start), (1, Ready), (3, Tick)],
        &[
            "0 Start: run until 3 | 1 running",
            "1 Ready: wait until 3",
            "3 Tick: fail with hang",
        ],
    );
}

#[test]
fn a_heartbeat_puts_the_watchdog_off_and_never_brings_it_forward() {
    check(
        OnFailure,
        &[
            (0, Start),
            (0, Ready),
            (2, Beat),
            (3, Tick),
            (4, BeatAgo(1)),
            (4, BeatAgo(3)),
            (5, BeatAgo(50)),
            (5, BeatIn(50)),
            (7, BeatAgo(1)),
            (9, Tick),
        ],
        &[
            "0 Start: run until 4",
            "0 Ready: wait until 3 | 1 running",
            "2 Beat: wait until 5",
            "3 Tick: wait until 5",
            "4 BeatAgo(1): wait until 6",
            "4 BeatAgo(3): wait until 6",
            "5 BeatAgo(50): wait until 6",
            // From the future: as good as now.
            "5 BeatIn(50): wait until 8",
            "7 BeatAgo(1): wait until 9",
            "9 Tick: fail with hang",
        ],
    );
}

/// It was alive in time, and this is only heard late.
#[test]
fn a_heartbeat_that_is_told_before_the_time_counts_also_after_the_deadline() {
    check(
        OnFailure,
        &[
            (0, Start),
            (0, Ready),
            (4, BeatAgo(2)),
            (4, Tick),
            (5, Tick),
            (5, Beat),
        ],
        &[
            "0 Start: run until 4",
            "0 Ready: wait until 3 | 1 running",
            "4 BeatAgo(2): wait until 5",
            "4 Tick: wait until 5",
            "5 Tick: fail with hang",
            "5 Beat: wait",
        ],
    );
}

#[test]
fn a_service_without_checks_needs_no_heartbeat() {
    for checks in [
        Checks::default(),
        Checks {
            start_timeout: Some(ms(4)),
            ..Checks::default()
        },
    ] {
        check_with(
            machine(t0()).checked(checks),
            OnFailure,
            &[(0, Start), (1, Beat), (2, Ready), (1_000_000, Tick)],
            &[
                "0 Start: run | 1 running",
                "1 Beat: wait",
                "2 Ready: wait",
                "1000000 Tick: wait",
            ],
        );
    }
}

/// It has run well for long enough, and then it hangs: the first failure of a new series.
#[test]
fn a_cooldown_that_is_due_with_the_watchdog_comes_first() {
    let script = [
        (0, Start),
        (0, Ready),
        (0, Fail),
        (100, Tick),
        (100, Ready),
        // Alive three milliseconds before the cooldown.
        (10_099, BeatAgo(2)),
        (10_100, Tick),
        (10_100, Failed(Hang)),
    ];
    let t0 = t0();
    let told = played(&mut machine(t0).checked(STRICT), t0, OnFailure, &script);
    assert_eq!(
        told[4..],
        [
            "100 Ready: wait until 103 | 2 running",
            "10099 BeatAgo(2): wait until 10100",
            "10100 Tick: fail with hang | 2 recovered",
            "10100 Failed(Hang): wait until 10200 | 2 failed with hang late after 10000, backing off #1 100",
        ]
    );
}

#[test]
fn of_cooldown_and_watchdog_the_earlier_is_the_deadline() {
    let script = [
        (0, Start),
        (0, Ready),
        (0, Fail),
        (100, Tick),
        (100, Ready),
        (10_098, Beat),
        (10_100, Tick),
        (10_101, Tick),
    ];
    let t0 = t0();
    let told = played(&mut machine(t0).checked(STRICT), t0, OnFailure, &script);
    assert_eq!(
        told[5..],
        [
            "10098 Beat: wait until 10100",
            "10100 Tick: wait until 10101 | 2 recovered",
            "10101 Tick: fail with hang",
        ]
    );
}

#[test]
fn hangs_and_timeouts_open_the_breaker_as_other_failures_do() {
    let script = [
        (0, Start),
        (4, Tick),
        (4, Failed(StartTimeout)),
        (104, Tick),
        (105, Ready),
        (108, Tick),
        (108, Failed(Hang)),
        (308, Tick),
        (312, Tick),
        (312, Failed(StartTimeout)),
    ];
    let t0 = t0();
    let told = played(&mut machine(t0).checked(STRICT), t0, OnFailure, &script);
    assert_eq!(
        told.last().map(String::as_str),
        Some(
            "312 Failed(StartTimeout): finish | 3 failed with start_timeout late after 4, breaker 3/3, terminated: circuit breaker open (3/3 failures)"
        )
    );
}
