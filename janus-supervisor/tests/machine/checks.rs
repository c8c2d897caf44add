//! A service whose runs have to say that they are ready, as a protocol.

use super::trace::{machine, played};
use super::{In, ms, t0};
use FailureKind::{Hang, StartTimeout};
use In::{Beat, Clean, Fail, Failed, Permit, Ready, Start, Tick};
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

/// A run that is not ready has not run well, however long it has taken.
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
        (49_999, Tick),
        (50_000, Tick),
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
            "40000 Ready: wait until 50000 | 3 running",
            "49999 Tick: wait until 50000",
            "50000 Tick: wait | 3 recovered",
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
