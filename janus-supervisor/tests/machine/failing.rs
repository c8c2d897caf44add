//! How a run ends that is not ready yet, or that has failed without an end of its own, as a protocol.

use super::checks::{STRICT, check, check_with};
use super::trace::machine;
use super::{In, t0};
use FailureKind::{Hang, StartTimeout};
use In::{
    Abort, Beat, Clean, Fail, Failed, Gone, Lost, Permanent, Permit, Ready, Restart, Start, Stop,
    StopWithin, Tick,
};
use RestartPolicy::{Always, Never, OnFailure};
use janus_supervisor::{FailureKind, RestartPolicy, ServicePhase};

/// One end, and it has never been running.
#[test]
fn an_exit_while_starting_ends_the_run_that_began() {
    check(
        OnFailure,
        &[
            (0, Start),
            (2, Fail),
            (102, Tick),
            (103, Permanent),
            (104, Lost),
        ],
        &[
            "0 Start: run until 4",
            "2 Fail: wait until 102 | 1 failed with error boom after 2, backing off #1 100",
            "102 Tick: run until 106 | 2 restarting",
            "103 Permanent: finish | 2 failed with error boom after 1, terminated: unrecoverable: boom",
            "104 Lost: finish",
        ],
    );
}

/// A run that is done need not have been ready.
#[test]
fn a_clean_exit_while_starting_is_one_like_any_other() {
    check(
        Always,
        &[(0, Start), (2, Clean), (102, Tick)],
        &[
            "0 Start: run until 4",
            "2 Clean: wait until 102 | 1 completed after 2, backing off #0 100",
            "102 Tick: run until 106 | 2 restarting",
        ],
    );
    for policy in [OnFailure, Never] {
        check(
            policy,
            &[(0, Start), (2, Clean)],
            &[
                "0 Start: run until 4",
                "2 Clean: finish | 1 completed after 2, terminated: completed",
            ],
        );
    }
}

#[test]
fn a_stop_while_starting_ends_the_run_within_its_grace() {
    for (exit, outcome) in [(Clean, "cancelled"), (Fail, "cancelled with boom")] {
        check(
            OnFailure,
            &[(0, Start), (2, Stop), (3, Ready), (4, Tick), (12, exit)],
            &[
                "0 Start: run until 4",
                "2 Stop: stop until 32 | 1 stopping",
                // The start timeout has no more to say.
                "3 Ready: wait until 32",
                "4 Tick: wait until 32",
                &format!("12 {exit:?}: finish | 1 {outcome} after 12, terminated: cancelled"),
            ],
        );
    }
    check(
        OnFailure,
        &[(0, Start), (2, StopWithin(5)), (7, Tick), (8, Gone)],
        &[
            "0 Start: run until 4",
            "2 StopWithin(5): stop until 7 | 1 stopping",
            "7 Tick: abort",
            "8 Gone: finish | 1 aborted after 8, terminated: aborted: did not stop in time",
        ],
    );
}

/// It is being dropped already: there is nothing to ask it for, and no grace. What it failed with is kept.
#[test]
fn a_stop_while_failing_ends_the_service_when_the_run_is_gone() {
    let machine = check(
        OnFailure,
        &[
            (0, Start),
            (4, Tick),
            (5, Stop),
            (6, StopWithin(0)),
            (7, Abort),
            (500, Tick),
            (501, Failed(StartTimeout)),
        ],
        &[
            "0 Start: run until 4",
            "4 Tick: fail with start_timeout",
            "5 Stop: wait | 1 stopping",
            "6 StopWithin(0): wait",
            "7 Abort: wait",
            "500 Tick: wait",
            "501 Failed(StartTimeout): finish | 1 cancelled with late after 501, terminated: cancelled",
        ],
    );
    let lifecycle = machine.lifecycle();
    assert_eq!(lifecycle.last_error().as_deref(), Some("late"));
    assert_eq!(lifecycle.total_failures(), 0);
}

#[test]
fn a_run_that_is_failing_hears_of_nothing_but_a_stop_and_its_end() {
    let machine = check(
        OnFailure,
        &[
            (0, Start),
            (0, Ready),
            (3, Tick),
            (4, Abort),
            (4, Gone),
            (5, Start),
            (6, Restart),
            (100, Tick),
            (101, Beat),
            (102, Failed(Hang)),
        ],
        &[
            "0 Start: run until 4",
            "0 Ready: wait until 3 | 1 running",
            "3 Tick: fail with hang",
            "4 Abort: wait",
            "4 Gone: wait",
            "5 Start: wait",
            "6 Restart: wait",
            "100 Tick: wait",
            "101 Beat: wait",
            "102 Failed(Hang): wait until 202 | 1 failed with hang late after 102, backing off #1 100",
        ],
    );
    assert_eq!(machine.lifecycle().phase(), ServicePhase::BackingOff);
}

#[test]
fn a_lost_task_is_told_as_aborted_while_starting_and_while_failing() {
    let aborted = "terminated: aborted: did not stop in time";
    check(
        OnFailure,
        &[(0, Start), (3, Lost), (4, Lost)],
        &[
            "0 Start: run until 4",
            &format!("3 Lost: finish | 1 aborted after 3, {aborted}"),
            "4 Lost: finish",
        ],
    );
    check(
        OnFailure,
        &[(0, Start), (4, Tick), (6, Lost), (6, Failed(StartTimeout))],
        &[
            "0 Start: run until 4",
            "4 Tick: fail with start_timeout",
            &format!("6 Lost: finish | 1 aborted after 6, {aborted}"),
            "6 Failed(StartTimeout): finish",
        ],
    );
}

/// A child of a group: it fails in the very moment that it is told to halt, and the next permit comes early.
#[test]
fn a_permit_while_failing_is_taken_note_of() {
    check_with(
        machine(t0()).checked(STRICT).gated(),
        OnFailure,
        &[
            (0, Permit(1, 0)),
            (4, Tick),
            (5, Permit(1, 1)),
            (6, Failed(StartTimeout)),
            (106, Tick),
            (107, Permit(2, 1)),
            (111, Tick),
            (112, Permit(3, 2)),
            (113, Failed(StartTimeout)),
            (313, Tick),
        ],
        &[
            "0 Permit(1, 0): run until 4",
            "4 Tick: fail with start_timeout",
            "5 Permit(1, 1): wait",
            "6 Failed(StartTimeout): wait | 1 failed with start_timeout late after 6, backing off #1 100",
            "106 Tick: wait",
            "107 Permit(2, 1): run until 111 | 2 restarting",
            "111 Tick: fail with start_timeout",
            "112 Permit(3, 2): wait",
            "113 Failed(StartTimeout): wait until 313 | 2 failed with start_timeout late after 6, backing off #2 200",
            "313 Tick: run until 317 | 3 restarting",
        ],
    );
}

#[test]
fn a_halt_while_starting_ends_the_run_and_not_the_service() {
    check_with(
        machine(t0()).checked(STRICT).gated(),
        OnFailure,
        &[
            (0, Permit(1, 0)),
            (2, Permit(2, 1)),
            (3, Ready),
            (4, Tick),
            (5, Fail),
            (5, Tick),
        ],
        &[
            "0 Permit(1, 0): run until 4",
            "2 Permit(2, 1): stop until 32",
            "3 Ready: wait until 32",
            "4 Tick: wait until 32",
            "5 Fail: wait until 5 | 1 cancelled with boom after 5, backing off #0 0",
            "5 Tick: run until 9 | 2 restarting",
        ],
    );
}
