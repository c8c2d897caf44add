//! A service whose runs have to show that they are alive, as a protocol.

use super::checks::{STRICT, check, check_with};
use super::trace::{machine, played};
use super::{In, ms, t0};
use FailureKind::Hang;
use In::{Beat, BeatAgo, BeatAhead, Fail, Failed, Ready, Start, Tick};
use janus_supervisor::FailureKind;
use janus_supervisor::RestartPolicy::OnFailure;
use janus_supervisor::machine::{Checks, Readiness};

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
            (5, BeatAhead(50)),
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
            "5 BeatAhead(50): wait until 8",
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

/// B22: nothing is due for longer because a clock went backwards between two runs.
#[test]
fn a_clock_that_goes_backwards_does_not_put_the_watchdog_off() {
    check(
        OnFailure,
        &[
            (500, Start),
            (501, Ready),
            (502, Fail),
            (300, Tick),
            (602, Tick),
            (400, Ready),
            (401, BeatAhead(200)),
            (403, Tick),
            (404, Tick),
        ],
        &[
            "500 Start: run until 504",
            "501 Ready: wait until 504 | 1 running",
            "502 Fail: wait until 602 | 1 failed with error boom after 2, backing off #1 100",
            "300 Tick: wait until 602",
            "602 Tick: run until 606 | 2 restarting",
            "400 Ready: wait until 403 | 2 running",
            "401 BeatAhead(200): wait until 404",
            "403 Tick: wait until 404",
            "404 Tick: fail with hang",
        ],
    );
}
