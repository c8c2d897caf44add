//! What each input is answered with, as a protocol.

use super::{In, command, event, give, ms, t0};
use In::{
    Abort, Clean, Fail, Gone, Lost, Panic, Permanent, Restart, Start, Stop, StopWithin, Tick,
};
use RestartPolicy::{Always, Never, OnFailure};
use janus_supervisor::machine::ServiceMachine;
use janus_supervisor::{
    BackoffConfig, BackoffState, FailureKind, Jitter, RestartPolicy, ServicePhase,
};
use std::time::{Duration, Instant};

/// 100 ms, 200 ms, 400 ms; the third failure in a minute opens the breaker; ten seconds of running clear all that.
fn config() -> BackoffConfig {
    BackoffConfig::new(ms(100), ms(400))
        .with_jitter(Jitter::None)
        .with_circuit_breaker(3, ms(60_000))
        .with_cooldown(ms(10_000))
}

/// A machine with a grace of 30 ms.
pub(crate) fn machine(t0: Instant) -> ServiceMachine {
    machine_with(t0, config(), ms(30))
}

fn machine_with(t0: Instant, config: BackoffConfig, grace: Duration) -> ServiceMachine {
    ServiceMachine::new(t0, "it", BackoffState::new(config, 1), grace)
}

/// Plays the script, in milliseconds from the beginning, and compares line by line:
/// `time input: command [until time] | run event, event`.
fn check(policy: RestartPolicy, script: &[(u64, In)], expected: &[&str]) {
    let t0 = t0();
    assert_eq!(
        played(&mut machine(t0), t0, policy, script),
        expected,
        "{policy}"
    );
}

pub(crate) fn played(
    machine: &mut ServiceMachine,
    t0: Instant,
    policy: RestartPolicy,
    script: &[(u64, In)],
) -> Vec<String> {
    let mut lines = Vec::new();
    for (at, input) in script {
        let step = match give(machine, t0 + ms(*at), policy, *input) {
            Ok(step) => step,
            Err(error) => {
                lines.push(format!("{at} {input:?}: {error}"));
                continue;
            }
        };
        let mut line = format!("{at} {input:?}: {}", command(step.command));
        if let Some(deadline) = step.deadline {
            let until = deadline.saturating_duration_since(t0).as_millis();
            line.push_str(&format!(" until {until}"));
        }
        let mut run = 0;
        for (i, happened) in step.happened.iter().enumerate() {
            match i {
                0 => line.push_str(" |"),
                _ => line.push(','),
            }
            if happened.run != run {
                run = happened.run;
                line.push_str(&format!(" {run}"));
            }
            line.push_str(&format!(" {}", event(&happened.kind)));
        }
        lines.push(line);
    }
    lines
}

#[test]
fn a_run_that_is_never_disturbed_waits_for_nothing() {
    check(
        OnFailure,
        &[(0, Start), (1, Tick), (1_000_000, Tick)],
        &[
            "0 Start: run | 1 running",
            "1 Tick: wait",
            "1000000 Tick: wait",
        ],
    );
}

#[test]
fn a_clean_exit_is_followed_by_another_run_only_under_always() {
    check(
        Always,
        &[(0, Start), (5, Clean), (104, Tick), (105, Tick)],
        &[
            "0 Start: run | 1 running",
            "5 Clean: wait until 105 | 1 completed after 5, backing off #0 100",
            "104 Tick: wait until 105",
            "105 Tick: run | 2 restarting, running",
        ],
    );
    for policy in [OnFailure, Never] {
        check(
            policy,
            &[(0, Start), (5, Clean)],
            &[
                "0 Start: run | 1 running",
                "5 Clean: finish | 1 completed after 5, terminated: completed",
            ],
        );
    }
}

#[test]
fn a_failure_is_followed_by_another_run_unless_the_policy_is_never() {
    for policy in [Always, OnFailure] {
        check(
            policy,
            &[(0, Start), (5, Fail), (105, Tick), (110, Panic)],
            &[
                "0 Start: run | 1 running",
                "5 Fail: wait until 105 | 1 failed with error boom after 5, backing off #1 100",
                "105 Tick: run until 10105 | 2 restarting, running",
                "110 Panic: wait until 310 | 2 failed with panic ouch after 5, backing off #2 200",
            ],
        );
    }
    check(
        Never,
        &[(0, Start), (5, Panic)],
        &[
            "0 Start: run | 1 running",
            "5 Panic: finish | 1 failed with panic ouch after 5, terminated: unrecoverable: ouch",
        ],
    );
}

#[test]
fn a_permanent_failure_is_final_under_every_policy() {
    for policy in RestartPolicy::ALL {
        check(
            policy,
            &[(0, Start), (5, Permanent)],
            &[
                "0 Start: run | 1 running",
                "5 Permanent: finish | 1 failed with error boom after 5, terminated: unrecoverable: boom",
            ],
        );
    }
}

#[test]
fn the_breaker_opens_in_the_step_of_the_last_failure() {
    let mut machine = {
        let t0 = t0();
        let mut machine = machine(t0);
        let script = [
            (0, Start),
            (0, Fail),
            (100, Tick),
            (100, Fail),
            (300, Tick),
            (300, Panic),
        ];
        assert_eq!(
            played(&mut machine, t0, Always, &script)[4..],
            [
                "300 Tick: run until 10300 | 3 restarting, running",
                "300 Panic: finish | 3 failed with panic ouch after 0, breaker 3/3, terminated: circuit breaker open (3/3 failures)",
            ]
        );
        machine
    };
    let lifecycle = machine.lifecycle();
    assert_eq!(lifecycle.total_failures(), 3);
    assert_eq!(lifecycle.failures().of(FailureKind::Panic), 1);
    assert_eq!(lifecycle.last_error().as_deref(), Some("ouch"));
    assert_eq!(machine.take_seq(), 12, "after 0..=11");
}

#[test]
fn a_cooldown_is_a_deadline_of_the_run_that_is_up() {
    check(
        OnFailure,
        &[
            (0, Start),
            (5, Fail),
            (105, Tick),
            (10_104, Tick),
            (10_105, Tick),
            (10_106, Fail),
        ],
        &[
            "0 Start: run | 1 running",
            "5 Fail: wait until 105 | 1 failed with error boom after 5, backing off #1 100",
            "105 Tick: run until 10105 | 2 restarting, running",
            "10104 Tick: wait until 10105",
            "10105 Tick: wait | 2 recovered",
            "10106 Fail: wait until 10206 | 2 failed with error boom after 10001, backing off #1 100",
        ],
    );
}

/// The exit came first, but the period was over: it counts.
#[test]
fn an_exit_after_the_cooldown_recovers_before_it_fails() {
    check(
        OnFailure,
        &[(0, Start), (5, Fail), (105, Tick), (10_105, Fail)],
        &[
            "0 Start: run | 1 running",
            "5 Fail: wait until 105 | 1 failed with error boom after 5, backing off #1 100",
            "105 Tick: run until 10105 | 2 restarting, running",
            "10105 Fail: wait until 10205 | 2 recovered, failed with error boom after 10000, backing off #1 100",
        ],
    );
}

#[test]
fn a_stop_ends_a_run_within_its_grace() {
    for (exit, told) in [
        (Clean, "cancelled after 25"),
        (Fail, "cancelled with boom after 25"),
        (Permanent, "cancelled with boom after 25"),
        (Panic, "cancelled with ouch after 25"),
    ] {
        for policy in RestartPolicy::ALL {
            let exited = format!("25 {exit:?}: finish | 1 {told}, terminated: cancelled");
            check(
                policy,
                &[(0, Start), (10, Stop), (25, exit)],
                &[
                    "0 Start: run | 1 running",
                    "10 Stop: stop until 40 | 1 stopping",
                    &exited,
                ],
            );
        }
    }
}

#[test]
fn a_grace_that_is_over_aborts_and_the_end_is_told_when_the_run_is_gone() {
    check(
        OnFailure,
        &[(0, Start), (10, Stop), (39, Tick), (40, Tick), (47, Gone)],
        &[
            "0 Start: run | 1 running",
            "10 Stop: stop until 40 | 1 stopping",
            "39 Tick: wait until 40",
            "40 Tick: abort",
            "47 Gone: finish | 1 aborted after 47, terminated: aborted: did not stop in time",
        ],
    );
}

#[test]
fn an_end_in_the_moment_of_the_abort_is_an_end() {
    check(
        OnFailure,
        &[(0, Start), (10, Stop), (40, Abort), (40, Fail)],
        &[
            "0 Start: run | 1 running",
            "10 Stop: stop until 40 | 1 stopping",
            "40 Abort: abort",
            "40 Fail: finish | 1 cancelled with boom after 40, terminated: cancelled",
        ],
    );
}

#[test]
fn of_two_stops_the_shorter_grace_counts() {
    check(
        OnFailure,
        &[
            (0, Start),
            (10, Stop),
            (11, StopWithin(50)),
            (12, StopWithin(5)),
            (13, Stop),
        ],
        &[
            "0 Start: run | 1 running",
            "10 Stop: stop until 40 | 1 stopping",
            "11 StopWithin(50): wait until 40",
            "12 StopWithin(5): wait until 17",
            "13 Stop: wait until 17",
        ],
    );
    check(
        OnFailure,
        &[(0, Start), (10, StopWithin(0)), (10, Tick), (10, Gone)],
        &[
            "0 Start: run | 1 running",
            "10 StopWithin(0): stop until 10 | 1 stopping",
            "10 Tick: abort",
            "10 Gone: finish | 1 aborted after 10, terminated: aborted: did not stop in time",
        ],
    );
    check(
        OnFailure,
        &[(0, Start), (10, Stop), (20, StopWithin(0))],
        &[
            "0 Start: run | 1 running",
            "10 Stop: stop until 40 | 1 stopping",
            "20 StopWithin(0): abort",
        ],
    );
}

#[test]
fn also_without_any_grace_a_run_is_asked_before_it_is_dropped() {
    let t0 = t0();
    let script = [
        (0, Start),
        (10, Restart),
        (10, Tick),
        (10, Gone),
        (10, Tick),
    ];
    assert_eq!(
        played(
            &mut machine_with(t0, config(), ms(0)),
            t0,
            OnFailure,
            &script
        ),
        [
            "0 Start: run | 1 running",
            "10 Restart: stop until 10",
            "10 Tick: abort",
            "10 Gone: wait until 10 | 1 aborted after 10, backing off #0 0",
            "10 Tick: run | 2 restarting, running",
        ]
    );
}

#[test]
fn a_stop_between_two_runs_or_before_the_first_is_immediate() {
    check(
        OnFailure,
        &[(3, Stop), (3, Start)],
        &[
            "3 Stop: finish | 1 stopping, terminated: cancelled",
            "3 Start: finish",
        ],
    );
    check(
        OnFailure,
        &[(0, Start), (5, Fail), (50, Stop), (105, Tick)],
        &[
            "0 Start: run | 1 running",
            "5 Fail: wait until 105 | 1 failed with error boom after 5, backing off #1 100",
            "50 Stop: finish | 1 stopping, terminated: cancelled",
            "105 Tick: finish",
        ],
    );
}

#[test]
fn a_lost_task_is_told_as_aborted_wherever_it_stood() {
    let aborted = "terminated: aborted: did not stop in time";
    check(
        OnFailure,
        &[(7, Lost)],
        &[&format!("7 Lost: finish | 1 {aborted}")],
    );
    check(
        OnFailure,
        &[(0, Start), (7, Lost), (8, Lost)],
        &[
            "0 Start: run | 1 running",
            &format!("7 Lost: finish | 1 aborted after 7, {aborted}"),
            "8 Lost: finish",
        ],
    );
    check(
        OnFailure,
        &[(0, Start), (5, Fail), (7, Lost)],
        &[
            "0 Start: run | 1 running",
            "5 Fail: wait until 105 | 1 failed with error boom after 5, backing off #1 100",
            &format!("7 Lost: finish | 1 {aborted}"),
        ],
    );
    check(
        OnFailure,
        &[(0, Start), (5, Stop), (7, Lost)],
        &[
            "0 Start: run | 1 running",
            "5 Stop: stop until 35 | 1 stopping",
            &format!("7 Lost: finish | 1 aborted after 7, {aborted}"),
        ],
    );
}

/// B12: what is beyond the end of time is far away, and not an overflow.
#[test]
fn settings_beyond_the_end_of_time_overflow_nothing() {
    let t0 = t0();
    let for_ever = BackoffConfig::new(Duration::MAX, Duration::MAX)
        .with_jitter(Jitter::None)
        .with_cooldown(Duration::MAX);
    let mut machine = machine_with(t0, for_ever, Duration::MAX);
    let script = [(0, Start), (5, Fail), (1_000_000_000, Tick)];
    let lines = played(&mut machine, t0, Always, &script);
    assert!(
        lines[2].starts_with("1000000000 Tick: wait until "),
        "{lines:?}"
    );
    assert_eq!(machine.lifecycle().phase(), ServicePhase::BackingOff);

    let mut machine = machine_with(t0, config(), Duration::MAX);
    let script = [
        (0, Start),
        (5, Stop),
        (1_000_000_000, Tick),
        (1_000_000_000, Clean),
    ];
    assert_eq!(
        played(&mut machine, t0, Always, &script)[1..],
        [
            "5 Stop: stop | 1 stopping",
            "1000000000 Tick: wait",
            "1000000000 Clean: finish | 1 cancelled after 1000000000, terminated: cancelled",
        ]
    );
}

/// B22: nothing is due earlier or for longer because a clock went backwards.
#[test]
fn a_clock_that_goes_backwards_neither_hurries_nor_stalls() {
    check(
        OnFailure,
        &[
            (500, Start),
            (300, Fail),
            (399, Tick),
            (400, Tick),
            (100, Stop),
            (129, Tick),
            (130, Tick),
            (0, Gone),
        ],
        &[
            "500 Start: run | 1 running",
            "300 Fail: wait until 400 | 1 failed with error boom after 0, backing off #1 100",
            "399 Tick: wait until 400",
            "400 Tick: run until 10400 | 2 restarting, running",
            "100 Stop: stop until 130 | 2 stopping",
            "129 Tick: wait until 130",
            "130 Tick: abort",
            "0 Gone: finish | 2 aborted after 0, terminated: aborted: did not stop in time",
        ],
    );
}

/// Dropping an error runs the user's code, which the driver's lock must not see.
#[test]
fn the_error_that_another_one_displaces_is_handed_out() {
    let t0 = t0();
    let mut machine = machine(t0);
    let mut displaced = Vec::new();
    for (at, input) in [
        (0, Start),
        (0, Fail),
        (100, Tick),
        (100, Panic),
        (300, Tick),
        (310, Stop),
        (320, Fail),
    ] {
        let step = give(&mut machine, t0 + ms(at), OnFailure, input).unwrap();
        displaced.push(step.displaced.map(|failure| failure.to_string()));
    }
    let (boom, ouch) = (Some("boom".to_owned()), Some("ouch".to_owned()));
    assert_eq!(displaced, [None, None, None, boom, None, None, ouch]);
    assert_eq!(machine.lifecycle().total_failures(), 2);
    assert_eq!(machine.lifecycle().last_error().as_deref(), Some("boom"));
}

/// The same of one that is kept nowhere: the run was told to end.
#[test]
fn the_error_of_a_run_that_was_told_to_end_is_handed_out() {
    let t0 = t0();
    let mut machine = machine(t0);
    let mut give = |input| give(&mut machine, t0, OnFailure, input).unwrap();
    assert!(give(Start).displaced.is_none());
    assert!(give(Restart).displaced.is_none());
    let displaced = give(Fail).displaced.map(|failure| failure.to_string());
    assert_eq!(displaced.as_deref(), Some("boom"));
    assert_eq!(machine.lifecycle().total_failures(), 0);
}

/// A clean exit clears the attempts and not the breaker's window; a restart by hand clears that, too.
#[test]
fn a_restart_by_hand_after_a_clean_exit_forgets_the_failures_before_it() {
    check(
        Always,
        &[
            (0, Start),
            (5, Fail),
            (105, Tick),
            (110, Clean),
            (120, Restart),
        ],
        &[
            "0 Start: run | 1 running",
            "5 Fail: wait until 105 | 1 failed with error boom after 5, backing off #1 100",
            "105 Tick: run until 10105 | 2 restarting, running",
            "110 Clean: wait until 210 | 2 completed after 5, backing off #0 100",
            "120 Restart: run | 2 reset, 3 restarting, running",
        ],
    );
}

#[test]
fn a_restart_by_hand_forgets_the_attempts_of_a_service_without_a_breaker() {
    let t0 = t0();
    let mut machine = machine_with(t0, config().without_circuit_breaker(), ms(30));
    let script = [(0, Start), (5, Fail), (20, Restart), (30, Fail)];
    assert_eq!(
        played(&mut machine, t0, OnFailure, &script)[2..],
        [
            "20 Restart: run | 1 reset, 2 restarting, running",
            "30 Fail: wait until 130 | 2 failed with error boom after 10, backing off #1 100",
        ]
    );
}

#[test]
fn the_number_of_an_event_is_given_once_whoever_sends_it() {
    let t0 = t0();
    let mut machine = machine(t0);
    assert_eq!((machine.take_seq(), machine.take_seq()), (0, 1));
    let running = give(&mut machine, t0, OnFailure, Start).unwrap();
    assert_eq!((running.first_seq, running.happened.len()), (2, 1));
    let stopping = give(&mut machine, t0, OnFailure, Stop).unwrap();
    assert_eq!((stopping.first_seq, stopping.happened.len()), (3, 1));
    assert_eq!(machine.take_seq(), 4);
}

#[test]
fn the_same_seed_and_inputs_are_the_same_history() {
    let history = |seed| {
        let t0 = t0();
        let jittered = BackoffConfig::new(ms(1_000), ms(60_000)).without_circuit_breaker();
        let backoff = BackoffState::new(jittered, seed);
        let mut machine = ServiceMachine::new(t0, "it", backoff, ms(30));
        let mut now = t0;
        let mut starts = Vec::new();
        for _ in 0..20 {
            for input in [Start, Fail, Tick] {
                if input == Tick {
                    now = machine.deadline().unwrap();
                }
                let _step = give(&mut machine, now, OnFailure, input).unwrap();
            }
            starts.push(now - t0);
        }
        starts
    };
    assert_eq!(history(1), history(1));
    assert_ne!(history(1), history(2));
}
