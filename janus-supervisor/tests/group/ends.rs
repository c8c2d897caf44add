//! What the end of a child is to its group, as a protocol.

use super::trace::{check, check_up, group};
use super::{BOTH, In, PLAIN, SIGNIFICANT, TEMPORARY};
use AutoShutdown::{AllSignificant, AllTerminated, AnySignificant, Never};
use In::{Completed, Down, Failed, Ready, Start, Stopped};
use Strategy::{OneForAll, OneForOne, RestForOne};
use janus_supervisor::machine::{AutoShutdown, Strategy};

/// OTP: `significant_temporary`.
#[test]
fn a_significant_child_that_ends_by_itself_ends_the_group() {
    for strategy in [OneForOne, OneForAll, RestForOne] {
        check_up(
            strategy,
            AnySignificant,
            [PLAIN, BOTH, BOTH],
            &[
                (5, Completed(1), "stop 2"),
                (6, Stopped(2), "stop 0"),
                (7, Stopped(0), "finish: done"),
            ],
        );
        check_up(
            strategy,
            AnySignificant,
            [PLAIN, BOTH, BOTH],
            &[
                (5, Failed(2), "stop 1"),
                (6, Stopped(1), "stop 0"),
                (7, Stopped(0), "finish: done with failure of 2"),
            ],
        );
        check_up(
            strategy,
            AllSignificant,
            [PLAIN, BOTH, BOTH],
            &[
                (5, Failed(2), "wait"),
                (6, Completed(1), "stop 0"),
                (7, Stopped(0), "finish: done with failure of 2"),
            ],
        );
    }
}

/// OTP: `significant_transient`.
#[test]
fn a_significant_child_that_is_restarted_has_not_ended() {
    check_up(
        OneForOne,
        AnySignificant,
        [PLAIN, SIGNIFICANT, PLAIN],
        &[
            (5, Down(1, 0), "start 1"),
            (6, Ready(1), "wait"),
            (7, Completed(1), "stop 2"),
            (8, Stopped(2), "stop 0"),
            (9, Stopped(0), "finish: done"),
        ],
    );
}

/// OTP: `significant_bystander`.
#[test]
fn a_significant_child_that_was_stopped_for_its_siblings_does_not_end_the_group() {
    for rule in [AnySignificant, AllSignificant] {
        check_up(
            RestForOne,
            rule,
            [PLAIN, PLAIN, BOTH],
            &[
                (5, Down(1, 0), "stop 2"),
                // However it looks.
                (6, Completed(2), "start 1"),
                (7, Ready(1), "wait"),
            ],
        );
        // By an operator, neither.
        check_up(
            OneForAll,
            rule,
            [PLAIN, PLAIN, BOTH],
            &[(5, Stopped(2), "wait")],
        );
    }
}

#[test]
fn the_last_end_of_all_is_the_end_of_the_group_whoever_wanted_it() {
    check_up(
        OneForOne,
        AllTerminated,
        [PLAIN; 3],
        &[
            (5, Failed(0), "wait"),
            (6, Completed(2), "wait"),
            (7, Stopped(1), "finish: done with failure of 0"),
        ],
    );
}

/// The others cannot go on without it. Under `OneForOne` they can, once it has been ready.
#[test]
fn a_child_that_has_given_up_for_good_is_the_end_of_those_that_need_it() {
    for strategy in [OneForAll, RestForOne] {
        check_up(
            strategy,
            Never,
            [PLAIN; 3],
            &[
                (5, Failed(1), "stop 2"),
                (6, Stopped(2), "stop 0"),
                (7, Stopped(0), "finish: 1 lost"),
            ],
        );
    }
    check_up(OneForOne, Never, [PLAIN; 3], &[(5, Failed(1), "wait")]);
    for strategy in [OneForOne, OneForAll, RestForOne] {
        check_up(
            strategy,
            Never,
            [PLAIN, TEMPORARY, PLAIN],
            &[(5, Failed(1), "wait"), (6, Completed(2), "wait")],
        );
    }
}

/// The group has not come up.
#[test]
fn a_child_that_fails_for_good_before_it_was_ready_once_takes_down_what_was_started() {
    for (strategy, kind) in [
        (OneForOne, PLAIN),
        (OneForAll, TEMPORARY),
        (RestForOne, PLAIN),
    ] {
        check(
            group(strategy, Never, &[PLAIN, kind, PLAIN]),
            &[
                (0, Start, "start 0"),
                (1, Ready(0), "start 1"),
                (2, Failed(1), "stop 2"),
                // It has never run.
                (2, Stopped(2), "stop 0"),
                (3, Stopped(0), "finish: 1 lost"),
            ],
        );
        // One that is done already is no reason to wait.
        check(
            group(strategy, Never, &[PLAIN, kind, PLAIN]),
            &[
                (0, Start, "start 0"),
                (1, Ready(0), "start 1"),
                (2, Completed(1), "start 2"),
            ],
        );
    }
}
