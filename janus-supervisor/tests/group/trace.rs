//! What each input is answered with, as a protocol. `OTP:` names the case of `supervisor_SUITE` that a test stands for.

use super::{In, PLAIN, TEMPORARY, give, ms, t0};
use AutoShutdown::Never;
use In::{Completed, Down, Halted, Ready, Start, Stop, Stopped, Tick};
use Strategy::{OneForAll, OneForOne, RestForOne};
use janus_supervisor::machine::{
    AutoShutdown, ChildRules, GroupCommand, GroupEnd, GroupMachine, Intensity, Strategy,
};

/// A group that tolerates two restarts in ten seconds.
pub(crate) fn group(
    strategy: Strategy,
    rule: AutoShutdown,
    children: &[ChildRules],
) -> GroupMachine {
    let intensity = Intensity::new(2, ms(10_000));
    GroupMachine::new(strategy, intensity, rule, children.iter().copied())
}

fn command(command: GroupCommand) -> String {
    let end = |end| match end {
        GroupEnd::Stopped => "stopped".to_owned(),
        GroupEnd::Done => "done".to_owned(),
        GroupEnd::DoneWithFailure(child) => format!("done with failure of {child}"),
        GroupEnd::IntensityExceeded(child) => format!("intensity exceeded by {child}"),
        GroupEnd::ChildLost(child) => format!("{child} lost"),
    };
    match command {
        GroupCommand::Wait => "wait".to_owned(),
        GroupCommand::Start(child) => format!("start {child}"),
        GroupCommand::Halt(child) => format!("halt {child}"),
        GroupCommand::Stop(child) => format!("stop {child}"),
        GroupCommand::Finish(how) => format!("finish: {}", end(how)),
    }
}

/// Plays the script, in milliseconds from the beginning, and compares with the answers: `command [until time]`.
pub(crate) fn check(mut machine: GroupMachine, script: &[(u64, In, &str)]) {
    let t0 = t0();
    let (mut answered, mut expected) = (Vec::new(), Vec::new());
    for (at, input, answer) in script {
        let mut line = command(give(&mut machine, t0 + ms(*at), *input));
        if let Some(deadline) = machine.deadline() {
            let until = deadline.duration_since(t0).as_millis();
            line.push_str(&format!(" until {until}"));
        }
        answered.push(format!("{at} {input:?}: {line}"));
        expected.push(format!("{at} {input:?}: {answer}"));
    }
    assert_eq!(answered, expected);
}

/// The same for a group of three that is up already.
pub(crate) fn check_up(
    strategy: Strategy,
    rule: AutoShutdown,
    children: [ChildRules; 3],
    script: &[(u64, In, &str)],
) {
    let up = [
        (0, Start, "start 0"),
        (0, Ready(0), "start 1"),
        (0, Ready(1), "start 2"),
        (0, Ready(2), "wait"),
    ];
    check(
        group(strategy, rule, &children),
        &[&up[..], script].concat(),
    );
}

/// OTP: `order_of_children`. Invariant 1.
#[test]
fn children_start_in_order_and_stop_in_reverse_one_by_one() {
    for strategy in [OneForOne, OneForAll, RestForOne] {
        check_up(
            strategy,
            Never,
            [PLAIN; 3],
            &[
                (9, Stop, "stop 2"),
                (9, Stop, "wait"),
                (10, Stopped(2), "stop 1"),
                (11, Stopped(1), "stop 0"),
                (12, Stopped(0), "finish: stopped"),
                (13, Stopped(0), "wait"),
                (13, Stop, "wait"),
                (13, Start, "wait"),
            ],
        );
    }
}

/// Invariant 1: the next one waits for the one before it, whatever those say that had their turn.
#[test]
fn nothing_but_the_child_that_is_starting_lets_the_next_one_start() {
    let children = || group(OneForOne, Never, &[PLAIN; 3]);
    check(
        children(),
        &[
            (0, Start, "start 0"),
            (1, Ready(0), "start 1"),
            (2, Down(0, 5), "start 0"),
            (7, Ready(0), "wait"),
            (8, Ready(1), "start 2"),
        ],
    );
    check(
        children(),
        &[
            (0, Start, "start 0"),
            (1, Ready(0), "start 1"),
            (2, Completed(0), "wait"),
            (3, Ready(1), "start 2"),
        ],
    );
    check(
        children(),
        &[(0, Start, "start 0"), (1, Completed(0), "start 1")],
    );
}

/// OTP: `one_for_one`.
#[test]
fn one_for_one_starts_only_the_failed_one_again() {
    check_up(
        OneForOne,
        Never,
        [PLAIN; 3],
        &[
            // Its own machine waits for its backoff.
            (5, Down(1, 100), "start 1"),
            (105, Ready(1), "wait"),
        ],
    );
}

#[test]
fn one_for_one_restarts_beside_the_start_of_the_others() {
    check(
        group(OneForOne, Never, &[PLAIN; 3]),
        &[
            (0, Start, "start 0"),
            (1, Ready(0), "start 1"),
            (2, Down(0, 100), "start 0"),
            (3, Ready(1), "start 2"),
            (4, Down(2, 100), "start 2"),
            (102, Ready(0), "wait"),
            (104, Ready(2), "wait"),
        ],
    );
}

/// OTP: `one_for_all`.
#[test]
fn one_for_all_lowers_all_in_reverse_and_starts_all_in_order_after_the_backoff() {
    check_up(
        OneForAll,
        Never,
        [PLAIN; 3],
        &[
            (5, Down(1, 100), "halt 2"),
            (7, Halted(2), "halt 0"),
            (9, Halted(0), "wait until 105"),
            (104, Tick, "wait until 105"),
            (105, Tick, "start 0"),
            (106, Ready(0), "start 1"),
            (107, Ready(1), "start 2"),
            (108, Ready(2), "wait"),
        ],
    );
}

/// OTP: `rest_for_one`.
#[test]
fn rest_for_one_leaves_those_before_the_failed_one_alone() {
    check_up(
        RestForOne,
        Never,
        [PLAIN; 3],
        &[
            (5, Down(1, 0), "halt 2"),
            (7, Halted(2), "start 1"),
            (8, Ready(1), "start 2"),
            (9, Ready(2), "wait"),
        ],
    );
}

/// OTP: `one_for_all_other_child_fails_restart`. A restart that fails is another one, and counts.
#[test]
fn one_for_all_begins_anew_when_another_child_fails_to_come_up() {
    check_up(
        OneForAll,
        Never,
        [PLAIN; 3],
        &[
            (5, Down(0, 0), "halt 2"),
            (6, Halted(2), "halt 1"),
            (7, Halted(1), "start 0"),
            (8, Ready(0), "start 1"),
            (9, Down(1, 50), "halt 0"),
            (10, Halted(0), "wait until 59"),
            (59, Tick, "start 0"),
            (60, Ready(0), "start 1"),
            (61, Down(1, 50), "stop 2"),
            (61, Stopped(2), "stop 1"),
            (61, Stopped(1), "stop 0"),
            (62, Stopped(0), "finish: intensity exceeded by 1"),
        ],
    );
}

/// OTP: `rest_for_one_other_child_fails_restart`.
#[test]
fn rest_for_one_goes_on_from_the_child_that_fails_to_come_up() {
    check_up(
        RestForOne,
        Never,
        [PLAIN; 3],
        &[
            (5, Down(0, 0), "halt 2"),
            (6, Halted(2), "halt 1"),
            (7, Halted(1), "start 0"),
            (8, Ready(0), "start 1"),
            (9, Down(1, 50), "wait until 59"),
            (59, Tick, "start 1"),
            (60, Ready(1), "start 2"),
            (61, Ready(2), "wait"),
        ],
    );
}

/// OTP: `temporary_bystander`.
#[test]
fn a_temporary_child_does_not_come_back_with_its_siblings() {
    check_up(
        OneForAll,
        Never,
        [PLAIN, TEMPORARY, PLAIN],
        &[
            (5, Down(0, 0), "halt 2"),
            (6, Halted(2), "stop 1"),
            (7, Stopped(1), "start 0"),
            (8, Ready(0), "start 2"),
            (9, Ready(2), "wait"),
        ],
    );
    // The same one that comes before the failed one is untouched under `RestForOne`.
    check_up(
        RestForOne,
        Never,
        [TEMPORARY, PLAIN, TEMPORARY],
        &[
            (5, Down(1, 0), "stop 2"),
            (7, Stopped(2), "start 1"),
            (8, Ready(1), "wait"),
        ],
    );
}

/// A restart of its siblings is not its own: it has not had its turn.
#[test]
fn a_temporary_child_that_has_not_been_started_yet_is_started_after_a_restart() {
    check(
        group(OneForAll, Never, &[PLAIN, PLAIN, TEMPORARY]),
        &[
            (0, Start, "start 0"),
            (1, Ready(0), "start 1"),
            (2, Down(0, 0), "halt 1"),
            (3, Halted(1), "start 0"),
            (4, Ready(0), "start 1"),
            (5, Ready(1), "start 2"),
        ],
    );
}

/// OTP: `one_for_all_escalation`.
#[test]
fn a_restart_too_many_stops_all_for_good() {
    let again = [
        (5, Down(2, 0), "halt 1"),
        (5, Halted(1), "halt 0"),
        (5, Halted(0), "start 0"),
        (6, Ready(0), "start 1"),
        (6, Ready(1), "start 2"),
        (6, Ready(2), "wait"),
    ];
    let too_many = [
        (7, Down(0, 0), "stop 2"),
        (7, Stopped(2), "stop 1"),
        (7, Stopped(1), "stop 0"),
        (7, Stopped(0), "finish: intensity exceeded by 0"),
    ];
    let script = [&again[..], &again, &too_many].concat();
    check_up(OneForAll, Never, [PLAIN; 3], &script);
}

/// OTP: `multiple_restarts`. One that is exactly as old as the period still counts.
#[test]
fn the_window_of_the_intensity_slides() {
    check_up(
        OneForOne,
        Never,
        [PLAIN; 3],
        &[
            (1_000, Down(0, 0), "start 0"),
            (6_000, Down(1, 0), "start 1"),
            (11_001, Down(2, 0), "start 2"),
            (16_000, Down(0, 0), "stop 2"),
        ],
    );
}
