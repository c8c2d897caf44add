//! What comes in the middle of a restart, as a protocol.

use super::trace::{check_up, group};
use super::{In, PLAIN, TEMPORARY, give, t0};
use In::{Completed, Down, Failed, Halted, Ready, Start, Stop, Stopped, Tick};
use Strategy::{OneForAll, RestForOne};
use janus_supervisor::machine::{AutoShutdown::Never, GroupCommand, Strategy};
use std::collections::VecDeque;

/// The restart that is under way is its restart, too: it is not counted, and the longest backoff is waited for.
#[test]
fn a_failure_of_a_child_that_is_to_come_down_anyway_is_not_another_restart() {
    check_up(
        OneForAll,
        Never,
        [PLAIN; 3],
        &[
            (5, Down(2, 100), "halt 1"),
            // Before it was told to come down.
            (6, Down(0, 10), "wait"),
            // Just before it was told to halt.
            (7, Down(1, 300), "wait until 307"),
            // What it has to say to that comes later.
            (8, Halted(1), "wait until 307"),
            (307, Tick, "start 0"),
            (308, Ready(0), "start 1"),
            (310, Ready(1), "start 2"),
            (311, Ready(2), "wait"),
            // Two more are tolerated: one was counted.
            (400, Down(0, 0), "halt 2"),
            (401, Down(2, 0), "halt 1"),
            (402, Halted(1), "start 0"),
            (403, Down(0, 0), "stop 2"),
        ],
    );
}

#[test]
fn a_failure_before_those_that_restart_widens_the_restart_and_counts() {
    check_up(
        RestForOne,
        Never,
        [PLAIN; 3],
        &[
            (5, Down(1, 100), "halt 2"),
            (6, Down(0, 10), "wait"),
            (7, Halted(2), "wait until 105"),
            (105, Tick, "start 0"),
            (106, Ready(0), "start 1"),
            (107, Ready(1), "start 2"),
            (108, Ready(2), "wait"),
            (109, Down(2, 0), "stop 2"),
        ],
    );
    // Also when they are down already.
    check_up(
        RestForOne,
        Never,
        [PLAIN; 3],
        &[
            (5, Down(2, 100), "wait until 105"),
            (6, Down(0, 10), "halt 1"),
            (7, Halted(1), "wait until 105"),
            (105, Tick, "start 0"),
        ],
    );
}

#[test]
fn an_end_in_the_middle_of_a_restart_is_one_child_less() {
    check_up(
        OneForAll,
        Never,
        [PLAIN; 3],
        &[
            (5, Down(1, 100), "halt 2"),
            // It was done before it was told to halt.
            (6, Completed(2), "halt 0"),
            (7, Halted(0), "wait until 105"),
            // An operator.
            (8, Stopped(0), "wait until 105"),
            (105, Tick, "start 1"),
            (106, Ready(1), "wait"),
        ],
    );
    check_up(
        OneForAll,
        Never,
        [PLAIN; 3],
        &[
            (5, Down(1, 100), "halt 2"),
            (6, Failed(2), "stop 1"),
            (7, Stopped(1), "stop 0"),
            (8, Stopped(0), "finish: 2 lost"),
        ],
    );
}

#[test]
fn a_stop_in_the_middle_of_a_restart_wins() {
    // While they come down.
    check_up(
        OneForAll,
        Never,
        [PLAIN; 3],
        &[
            (5, Down(0, 100), "halt 2"),
            (6, Stop, "stop 2"),
            (7, Halted(2), "wait"),
            (8, Stopped(2), "stop 1"),
            (9, Down(1, 0), "wait"),
            (9, Stopped(1), "stop 0"),
            (9, Stopped(0), "finish: stopped"),
            (105, Tick, "wait"),
        ],
    );
    // While the backoff lasts.
    check_up(
        RestForOne,
        Never,
        [PLAIN; 3],
        &[
            (5, Down(2, 100), "wait until 105"),
            (6, Stop, "stop 2"),
            (6, Stopped(2), "stop 1"),
            (105, Tick, "wait"),
            (106, Stopped(1), "stop 0"),
            (107, Stopped(0), "finish: stopped"),
        ],
    );
    // While they come up.
    check_up(
        OneForAll,
        Never,
        [PLAIN; 3],
        &[
            (5, Down(2, 0), "halt 1"),
            (6, Halted(1), "halt 0"),
            (7, Halted(0), "start 0"),
            (8, Stop, "stop 2"),
            (8, Stopped(2), "stop 1"),
            (9, Ready(0), "wait"),
            (9, Stopped(1), "stop 0"),
            (9, Stopped(0), "finish: stopped"),
        ],
    );
}

/// Its own machine drops it when its grace is over. Until then nobody else is touched, and no backoff is over.
#[test]
fn a_child_that_will_not_stop_holds_up_the_restart_but_not_the_reports_of_the_others() {
    check_up(
        OneForAll,
        Never,
        [PLAIN, PLAIN, TEMPORARY],
        &[
            (5, Down(1, 100), "stop 2"),
            (1_000, Tick, "wait"),
            (2_000, Ready(2), "wait"),
            (3_000, Down(0, 10), "wait"),
            (30_005, Stopped(2), "start 0"),
            (30_006, Ready(0), "start 1"),
        ],
    );
    check_up(
        OneForAll,
        Never,
        [PLAIN; 3],
        &[
            (5, Down(1, 100), "halt 2"),
            (30_005, Halted(2), "halt 0"),
            (40_000, Stop, "stop 2"),
            (40_000, Stopped(2), "stop 1"),
            (40_000, Stopped(1), "stop 0"),
            // Dropped as what it was told first.
            (60_005, Halted(0), "wait"),
            (60_005, Stopped(0), "finish: stopped"),
        ],
    );
}

#[test]
fn a_restart_that_comes_late_begins_with_whatever_is_told_next() {
    check_up(
        RestForOne,
        Never,
        [PLAIN; 3],
        &[
            (5, Down(1, 100), "halt 2"),
            (6, Halted(2), "wait until 105"),
            (200, Completed(0), "start 1"),
            (201, Ready(1), "start 2"),
        ],
    );
}

/// Each of them down once and up once, in one pass, and in order.
#[test]
fn a_thousand_children_restart_with_no_child_left_behind() {
    const MANY: usize = 1_000;
    let mut machine = group(OneForAll, Never, &[PLAIN; MANY]);
    let now = t0();
    let mut pass = |first| {
        let (mut told, mut inputs) = (Vec::new(), VecDeque::from([first]));
        while let Some(input) = inputs.pop_front() {
            let command = give(&mut machine, now, input);
            match command {
                GroupCommand::Start(child) => inputs.push_back(Ready(child)),
                GroupCommand::Halt(child) => inputs.push_back(Halted(child)),
                GroupCommand::Stop(child) => inputs.push_back(Stopped(child)),
                GroupCommand::Wait | GroupCommand::Finish(_) => {}
            }
            told.push(command);
        }
        told
    };
    let up: Vec<_> = (0..MANY).map(GroupCommand::Start).collect();
    let reversed = |but: usize| (0..MANY).rev().filter(move |child| *child != but);

    assert_eq!(pass(Start), [&up[..], &[GroupCommand::Wait]].concat());

    let mut expected: Vec<_> = reversed(500).map(GroupCommand::Halt).collect();
    expected.extend(&up);
    expected.push(GroupCommand::Wait);
    assert_eq!(pass(Down(500, 0)), expected);

    let stopped = pass(Stop);
    let mut expected: Vec<_> = reversed(MANY).map(GroupCommand::Stop).collect();
    expected.extend(stopped.last());
    assert_eq!(stopped, expected);
    assert!(matches!(stopped.last(), Some(GroupCommand::Finish(_))));
}
