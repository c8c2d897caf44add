//! A service that asks before it begins a run. Invariant 7.

use super::checks::{NOTIFY, check_with};
use super::trace::machine;
use super::{In, give, ms, t0};
use In::{Clean, Fail, Go, Permit, PutOff, Ready, Restart, Start, Stop, Tick};
use RestartPolicy::{Always, OnFailure};
use janus_supervisor::machine::{Command, ServiceMachine, Step};
use janus_supervisor::{RestartPolicy, TransitionError};
use std::time::Instant;

#[test]
fn each_run_is_asked_for_and_a_restart_is_one_of_those_that_are_apart() {
    check_with(
        machine(t0()).limited(),
        OnFailure,
        &[
            (0, Start),
            (3, Tick),
            (7, Go),
            (10, Fail),
            (109, Tick),
            (110, Tick),
            (110, PutOff(40)),
            (149, Tick),
            (150, Tick),
            (160, Go),
        ],
        &[
            "0 Start: ask",
            "3 Tick: wait",
            "7 Go: run | 1 running",
            "10 Fail: wait until 110 | 1 failed with error boom after 3, backing off #1 100",
            "109 Tick: wait until 110",
            "110 Tick: ask for a turn",
            "110 PutOff(40): wait until 150",
            "149 Tick: wait until 150",
            "150 Tick: ask",
            "160 Go: run until 10160 | 2 restarting, running",
        ],
    );
}

/// A turn is good for one run, and one that was not asked for is good for none.
#[test]
fn a_turn_that_nobody_asked_for_changes_nothing() {
    check_with(
        machine(t0()).limited(),
        Always,
        &[
            (0, Go),
            (0, Start),
            (1, Go),
            (2, Go),
            (5, PutOff(10)),
            (6, Clean),
            (7, Go),
            (106, Tick),
            (107, Stop),
            (108, Go),
        ],
        &[
            "0 Go: wait",
            "0 Start: ask",
            "1 Go: run | 1 running",
            "2 Go: wait",
            "5 PutOff(10): wait",
            "6 Clean: wait until 106 | 1 completed after 5, backing off #0 100",
            "7 Go: wait until 106",
            "106 Tick: ask for a turn",
            "107 Stop: finish | 1 stopping, terminated: cancelled",
            "108 Go: finish",
        ],
    );
}

/// It does not wait for a turn, but for a place it does.
#[test]
fn a_restart_by_hand_is_not_put_off() {
    check_with(
        machine(t0()).limited(),
        OnFailure,
        &[
            (0, Start),
            (0, Go),
            (10, Fail),
            (20, Restart),
            (21, Restart),
            (30, Go),
            (40, Fail),
            (140, Tick),
            (140, PutOff(500)),
            (150, Restart),
            (160, Go),
        ],
        &[
            "0 Start: ask",
            "0 Go: run | 1 running",
            "10 Fail: wait until 110 | 1 failed with error boom after 10, backing off #1 100",
            "20 Restart: ask | 1 reset",
            "21 Restart: wait",
            "30 Go: run | 2 restarting, running",
            "40 Fail: wait until 140 | 2 failed with error boom after 10, backing off #1 100",
            "140 Tick: ask for a turn",
            "140 PutOff(500): wait until 640",
            "150 Restart: ask | 2 reset",
            "160 Go: run | 3 restarting, running",
        ],
    );
}

/// Its clock may be a little behind the one that said that it was due.
#[test]
fn a_turn_is_taken_whatever_the_clock_of_the_answer_says() {
    check_with(
        machine(t0()).limited(),
        OnFailure,
        &[(0, Start), (0, Go), (10, Fail), (110, Tick), (109, Go)],
        &[
            "0 Start: ask",
            "0 Go: run | 1 running",
            "10 Fail: wait until 110 | 1 failed with error boom after 10, backing off #1 100",
            "110 Tick: ask for a turn",
            "109 Go: run until 10109 | 2 restarting, running",
        ],
    );
}

/// The run that somebody has ended for another one is followed by that, whenever others have their turn.
#[test]
fn a_restart_by_hand_of_a_running_one_is_not_put_off_either() {
    check_with(
        machine(t0()).limited(),
        OnFailure,
        &[(0, Start), (0, Go), (10, Restart), (12, Clean), (12, Tick)],
        &[
            "0 Start: ask",
            "0 Go: run | 1 running",
            "10 Restart: stop until 40",
            "12 Clean: wait until 12 | 1 cancelled after 12, backing off #0 0",
            "12 Tick: ask",
        ],
    );
}

/// It asks when its group lets it run, and its place is not its own any more when the group takes that back.
#[test]
fn a_gated_service_asks_when_it_is_permitted_to_run() {
    let mut machine = machine(t0()).limited().gated();
    let t0 = t0();
    let mut say = |at, input| give(&mut machine, t0 + ms(at), OnFailure, input).unwrap();
    let asked = Command::Ask { spread: false };
    assert_eq!(say(0, Start).command, Command::Wait);
    assert_eq!(say(1, Permit(1, 0)).command, asked);
    assert_eq!(say(2, Permit(1, 1)).command, Command::Wait);
    assert_eq!(say(3, Go).command, Command::Wait, "too late");
    assert_eq!(say(4, Permit(2, 1)).command, asked);
    assert_eq!(say(5, Go).command, Command::Run);
}

/// What its group says again is no reason to ask again.
#[test]
fn a_permit_that_comes_twice_is_asked_about_once() {
    let mut machine = machine(t0()).limited().gated();
    let t0 = t0();
    let mut say = |at, input| give(&mut machine, t0 + ms(at), OnFailure, input).unwrap();
    assert_eq!(say(0, Start).command, Command::Wait);
    let asked = Command::Ask { spread: false };
    assert_eq!(say(1, Permit(1, 0)).command, asked);
    assert_eq!(say(2, Permit(1, 0)).command, Command::Wait);
    assert_eq!(say(3, Go).command, Command::Run);
}

#[test]
fn it_is_starting_from_the_question_until_it_is_ready() {
    let mut machine = machine(t0()).checked(NOTIFY).limited();
    let t0 = t0();
    let mut seen = Vec::new();
    for (at, input) in [(0, Start), (1, Go), (2, Ready), (3, Fail), (103, Tick)] {
        let _command = give(&mut machine, t0 + ms(at), OnFailure, input).unwrap();
        seen.push(machine.is_starting());
    }
    assert_eq!(seen, [true, true, false, false, true]);
    let _stopped = give(&mut machine, t0 + ms(104), OnFailure, Stop).unwrap();
    assert!(!machine.is_starting());
}

#[test]
fn a_service_that_begins_anew_is_limited_if_it_was() {
    let first = |mut machine: ServiceMachine| {
        let step = give(&mut machine, t0(), OnFailure, Start).unwrap();
        step.command
    };
    let limited = machine(t0()).limited().anew(t0(), 1);
    assert_eq!(first(limited), Command::Ask { spread: false });
    assert_eq!(first(machine(t0()).anew(t0(), 1)), Command::Run);
}

/// Gives an input, and the turn at once that it may ask for.
fn answered(
    machine: &mut ServiceMachine,
    now: Instant,
    input: In,
) -> Result<Step, TransitionError> {
    let mut step = give(machine, now, OnFailure, input)?;
    if matches!(step.command, Command::Ask { .. }) {
        let asked = std::mem::take(&mut step.happened);
        step = give(machine, now, OnFailure, Go)?;
        let answered = std::mem::replace(&mut step.happened, asked);
        step.happened.extend(answered);
    }
    Ok(step)
}

/// Whoever is always given its turn at once does what one does that is not limited, in every short history.
#[test]
fn a_limit_that_limits_nobody_changes_nothing() {
    const INPUTS: [In; 8] = [
        Start,
        Clean,
        Fail,
        Restart,
        Stop,
        Tick,
        Permit(1, 0),
        Permit(2, 1),
    ];
    const LENGTH: u32 = 5;
    let t0 = t0();
    for gated in [false, true] {
        for history in 0..INPUTS.len().pow(LENGTH) {
            let gate = |machine: ServiceMachine| if gated { machine.gated() } else { machine };
            let mut limited = gate(machine(t0)).limited();
            let mut free = gate(machine(t0));
            for i in 0..LENGTH {
                let input = INPUTS[history / INPUTS.len().pow(i) % INPUTS.len()];
                let now = t0 + ms(60 * u64::from(i));
                let a = give(&mut free, now, OnFailure, input).unwrap();
                let b = answered(&mut limited, now, input).unwrap();
                assert_eq!(a.command, b.command, "{input:?} in history {history}");
                assert_eq!(a.deadline, b.deadline, "{input:?} in history {history}");
                let told = |step: &Step| format!("{:?}", step.happened);
                assert_eq!(told(&a), told(&b), "{input:?} in history {history}");
            }
        }
    }
}
