//! An operator restarts a child, as a protocol: nobody has failed, so nothing is counted, and its siblings go on.

use super::trace::{check, check_up, group};
use super::{In, PLAIN, TEMPORARY, give, t0};
use In::{Down, Failed, Halted, Ready, Start, Stop, Stopped, Tick};
use Strategy::{OneForAll, OneForOne, RestForOne};
use janus_supervisor::machine::{AutoShutdown::Never, Strategy};

const STRATEGIES: [Strategy; 3] = [OneForOne, OneForAll, RestForOne];

/// Two restarts are tolerated, and these are more.
#[test]
fn a_child_of_a_group_that_is_up_is_started_again_and_nothing_is_counted() {
    for strategy in STRATEGIES {
        check_up(
            strategy,
            Never,
            [PLAIN; 3],
            &[
                (5, Halted(1), "start 1"),
                (6, Ready(1), "wait"),
                (7, Halted(1), "start 1"),
                // Again before it is ready.
                (8, Halted(1), "start 1"),
                (9, Ready(1), "wait"),
                // Two at once.
                (10, Halted(0), "start 0"),
                (11, Halted(2), "start 2"),
                (12, Ready(2), "wait"),
                (13, Ready(0), "wait"),
            ],
        );
    }
}

#[test]
fn failures_after_a_restart_by_hand_are_counted_as_before() {
    check_up(
        OneForOne,
        Never,
        [PLAIN; 3],
        &[
            (5, Down(1, 100), "start 1"),
            (6, Halted(1), "start 1"),
            (7, Down(1, 0), "start 1"),
            (8, Halted(1), "start 1"),
            (9, Down(1, 0), "stop 2"),
        ],
    );
    check_up(
        OneForAll,
        Never,
        [PLAIN; 3],
        &[
            (5, Halted(1), "start 1"),
            // It does not come up: its siblings go down with it as ever.
            (6, Down(1, 0), "halt 2"),
            (7, Halted(2), "halt 0"),
            (8, Halted(0), "start 0"),
        ],
    );
}

#[test]
fn a_temporary_child_is_started_again_by_hand() {
    for strategy in STRATEGIES {
        check_up(
            strategy,
            Never,
            [PLAIN, TEMPORARY, PLAIN],
            &[(5, Halted(1), "start 1"), (6, Ready(1), "wait")],
        );
    }
}

/// The one that is being started, or one before it.
#[test]
fn a_restart_while_the_others_come_up_holds_up_nobody_but_those_after_the_next() {
    for strategy in STRATEGIES {
        check(
            group(strategy, Never, &[PLAIN; 3]),
            &[
                (0, Start, "start 0"),
                (1, Halted(0), "start 0"),
                (2, Ready(0), "start 1"),
                (3, Halted(0), "start 0"),
                (4, Halted(1), "start 1"),
                // It has had its turn.
                (5, Ready(1), "start 2"),
                (6, Ready(2), "wait"),
                (7, Ready(0), "wait"),
            ],
        );
    }
}

/// One that was not started yet has nothing to say.
#[test]
fn a_child_that_is_down_is_not_started_before_its_turn() {
    for strategy in STRATEGIES {
        check(
            group(strategy, Never, &[PLAIN; 3]),
            &[
                (0, Halted(1), "wait"),
                (0, Start, "start 0"),
                (1, Halted(2), "wait"),
                (2, Ready(0), "start 1"),
                (3, Ready(1), "start 2"),
            ],
        );
    }
}

/// It is down already when its turn to be halted comes, and comes up with all.
#[test]
fn a_restart_of_a_child_that_is_to_come_down_is_part_of_the_restart_under_way() {
    check_up(
        OneForAll,
        Never,
        [PLAIN; 3],
        &[
            (5, Down(2, 100), "halt 1"),
            (6, Halted(0), "wait"),
            (7, Halted(1), "wait until 105"),
            (105, Tick, "start 0"),
            (106, Ready(0), "start 1"),
            (107, Ready(1), "start 2"),
            (108, Ready(2), "wait"),
        ],
    );
    // One that is down already, and waits for the backoff of all.
    check_up(
        OneForAll,
        Never,
        [PLAIN; 3],
        &[
            (5, Down(2, 100), "halt 1"),
            (6, Halted(2), "wait"),
            (7, Halted(1), "halt 0"),
            (8, Halted(1), "wait"),
            (9, Halted(0), "wait until 105"),
            (10, Halted(0), "wait until 105"),
            (105, Tick, "start 0"),
        ],
    );
    // Nothing was counted but the failures: two are tolerated.
    check_up(
        OneForAll,
        Never,
        [PLAIN; 3],
        &[
            (5, Down(2, 0), "halt 1"),
            (6, Halted(0), "wait"),
            (7, Halted(1), "start 0"),
            (8, Down(0, 0), "start 0"),
            (9, Down(0, 0), "stop 2"),
        ],
    );
}

/// The restart does not concern it.
#[test]
fn a_child_before_those_that_restart_is_started_again_at_once() {
    // While they come down.
    check_up(
        RestForOne,
        Never,
        [PLAIN; 3],
        &[
            (5, Down(1, 100), "halt 2"),
            (6, Halted(0), "start 0"),
            (7, Halted(2), "wait until 105"),
            (8, Ready(0), "wait until 105"),
            (105, Tick, "start 1"),
            (106, Ready(1), "start 2"),
            (107, Ready(2), "wait"),
        ],
    );
    // While their backoff lasts.
    check_up(
        RestForOne,
        Never,
        [PLAIN; 3],
        &[
            (5, Down(2, 100), "wait until 105"),
            (6, Halted(1), "start 1 until 105"),
            (7, Halted(0), "start 0 until 105"),
            (8, Ready(1), "wait until 105"),
            // Those that restart are not held up by one before them that is not ready again.
            (105, Tick, "start 2"),
            (106, Ready(2), "wait"),
            (107, Ready(0), "wait"),
        ],
    );
    // In the very moment that it is over: the tick is yet to come.
    check_up(
        RestForOne,
        Never,
        [PLAIN; 3],
        &[
            (5, Down(2, 100), "wait until 105"),
            (105, Halted(0), "start 0 until 105"),
            (105, Ready(0), "wait until 105"),
            (105, Tick, "start 2"),
        ],
    );
}

/// It is neither ready nor failed yet, and the restart of those after it becomes one of it.
#[test]
fn a_failure_of_a_child_that_was_restarted_beside_a_restart_widens_it() {
    check_up(
        RestForOne,
        Never,
        [PLAIN; 3],
        &[
            (5, Down(2, 100), "wait until 105"),
            (6, Halted(0), "start 0 until 105"),
            (7, Down(0, 50), "halt 1"),
            (8, Halted(1), "wait until 105"),
            (105, Tick, "start 0"),
            (106, Ready(0), "start 1"),
            (107, Ready(1), "start 2"),
            (108, Down(2, 0), "stop 2"),
        ],
    );
}

#[test]
fn a_child_that_does_not_come_back_from_a_restart_by_hand_is_lost() {
    check_up(
        OneForAll,
        Never,
        [PLAIN; 3],
        &[(5, Halted(1), "start 1"), (6, Failed(1), "stop 2")],
    );
    check_up(
        OneForOne,
        Never,
        [PLAIN; 3],
        &[
            (5, Halted(1), "start 1"),
            (6, Failed(1), "wait"),
            (7, Stop, "stop 2"),
        ],
    );
}

#[test]
fn a_restart_while_the_group_stops_starts_nobody() {
    for strategy in STRATEGIES {
        check_up(
            strategy,
            Never,
            [PLAIN; 3],
            &[
                (5, Stop, "stop 2"),
                (6, Halted(0), "wait"),
                (6, Halted(2), "wait"),
                (7, Stopped(2), "stop 1"),
                (8, Halted(1), "wait"),
                (9, Stopped(1), "stop 0"),
                (9, Halted(0), "wait"),
                (10, Stopped(0), "finish: stopped"),
                (11, Halted(0), "wait"),
            ],
        );
    }
    // The child was on its way up again.
    check_up(
        RestForOne,
        Never,
        [PLAIN; 3],
        &[
            (5, Halted(2), "start 2"),
            (6, Stop, "stop 2"),
            (7, Halted(2), "wait"),
            (8, Stopped(2), "stop 1"),
        ],
    );
}

/// Whoever waits for the group to be up has waited enough.
#[test]
fn a_group_stays_up_while_a_child_is_restarted_by_hand() {
    let (t0, mut machine) = (t0(), group(OneForAll, Never, &[PLAIN; 2]));
    let mut up = Vec::new();
    for input in [
        Start,
        Ready(0),
        Halted(1),
        Ready(1),
        Halted(0),
        Ready(0),
        Down(0, 0),
        Halted(0),
        Halted(1),
        Ready(0),
        Ready(1),
        Stop,
    ] {
        let _command = give(&mut machine, t0, input);
        up.push(machine.is_up());
    }
    let (yes, no) = (true, false);
    assert_eq!(
        up,
        [no, no, no, yes, yes, yes, no, no, no, no, yes, no],
        "{machine:?}"
    );
}
