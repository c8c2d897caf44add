//! The transition table, pair by pair: what it says, and what a lifecycle makes of it.

use janus_lifecycle::{
    Failure, FailureKind, RestartPolicy, Retry, ServiceLifecycle, ServicePhase, TerminationReason,
    TransitionError,
};
use std::fmt::Write as _;
use std::time::{Duration, Instant};

const S: Duration = Duration::from_secs(1);

/// When every move under test is tried: after all that [`driven_to`] does.
const TRY_AT: Duration = Duration::from_secs(10);

#[expect(
    clippy::disallowed_methods,
    reason = "a test needs one instant to count from"
)]
fn t0() -> Instant {
    Instant::now()
}

fn failure(text: &'static str) -> Failure {
    Failure::new(FailureKind::Error, text)
}

/// A lifecycle in `phase`, with a past: two runs, three seconds of running time, one failure.
fn driven_to(phase: ServicePhase, t0: Instant) -> Result<ServiceLifecycle, TransitionError> {
    let (at, attempt) = (t0 + 4 * S, 1);
    let mut feed = ServiceLifecycle::new(t0, "feed");
    feed.transition_to_running(t0 + S)?;
    feed.transition_to_backing_off(t0 + 3 * S, Retry { at, attempt }, Some(failure("first")))?;
    feed.transition_to_restarting(at)?;
    match phase {
        ServicePhase::Starting => {}
        ServicePhase::Running => feed.transition_to_running(t0 + 5 * S)?,
        ServicePhase::BackingOff => {
            feed.transition_to_running(t0 + 5 * S)?;
            let retry = Retry {
                at: t0 + 20 * S,
                attempt: 0,
            };
            feed.transition_to_backing_off(t0 + 6 * S, retry, None)?;
        }
        ServicePhase::Stopping => feed.transition_to_stopping(t0 + 5 * S)?,
        ServicePhase::Terminated => {
            feed.transition_to_terminated(t0 + 5 * S, TerminationReason::Completed)?;
        }
    }
    Ok(feed)
}

/// The call that asks for `to`.
fn try_move(
    feed: &mut ServiceLifecycle,
    now: Instant,
    to: ServicePhase,
) -> Result<(), TransitionError> {
    match to {
        ServicePhase::Starting => feed.transition_to_restarting(now),
        ServicePhase::Running => feed.transition_to_running(now),
        ServicePhase::BackingOff => {
            let retry = Retry {
                at: now + 8 * S,
                attempt: 7,
            };
            feed.transition_to_backing_off(now, retry, Some(failure("second")))
        }
        ServicePhase::Stopping => feed.transition_to_stopping(now),
        ServicePhase::Terminated => {
            feed.transition_to_terminated(now, TerminationReason::Cancelled)
        }
    }
}

fn pairs() -> impl Iterator<Item = (ServicePhase, ServicePhase)> {
    ServicePhase::ALL
        .into_iter()
        .flat_map(|from| ServicePhase::ALL.into_iter().map(move |to| (from, to)))
}

/// The table as text: a row for the phase a service is in, a column for the phase it may move to.
fn drawn_table() -> String {
    let mut table = String::from("from / to   ");
    for to in ServicePhase::ALL {
        _ = write!(table, "{to:^13}");
    }
    for from in ServicePhase::ALL {
        table.truncate(table.trim_end().len());
        _ = write!(table, "\n{from:<12}");
        for to in ServicePhase::ALL {
            let legal = if from.can_become(to) { "yes" } else { "-" };
            _ = write!(table, "{legal:^13}");
        }
    }
    table.truncate(table.trim_end().len());
    table.push('\n');
    table
}

/// Behaviour G79. After a wanted change of the table: `UPDATE_GOLDEN=1 cargo test -p janus-lifecycle --test
/// transitions`.
#[test]
fn the_table_is_the_golden_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/transitions.golden");
    let drawn = drawn_table();
    if std::env::var("UPDATE_GOLDEN").is_ok_and(|value| value == "1") {
        std::fs::write(path, &drawn).unwrap();
    }
    let golden = std::fs::read_to_string(path).unwrap();
    assert_eq!(drawn, golden, "\ndrawn:\n{drawn}\ngolden:\n{golden}");
}

#[test]
fn a_legal_move_is_made() {
    let t0 = t0();
    let mut legal = 0;
    for (from, to) in pairs().filter(|(from, to)| from.can_become(*to)) {
        let mut feed = driven_to(from, t0).unwrap();
        assert_eq!(feed.phase(), from);
        assert_eq!(
            try_move(&mut feed, t0 + TRY_AT, to),
            Ok(()),
            "{from} → {to}"
        );
        assert_eq!(feed.phase(), to, "{from} → {to}");
        assert_eq!(feed.phase_since(), t0 + TRY_AT, "{from} → {to}");
        assert_eq!(
            feed.time_in_current_phase(t0 + TRY_AT + S),
            S,
            "{from} → {to}"
        );
        legal += 1;
    }
    assert_eq!(legal, 11);
}

/// Behaviour G79.
#[test]
fn an_illegal_move_is_an_error_and_changes_nothing() {
    let t0 = t0();
    let mut illegal = 0;
    for (from, to) in pairs().filter(|(from, to)| !from.can_become(*to)) {
        let mut feed = driven_to(from, t0).unwrap();
        let later = t0 + 30 * S;
        let (snapshot, debug) = (feed.snapshot(later), format!("{feed:?}"));
        assert_eq!(
            try_move(&mut feed, t0 + TRY_AT, to),
            Err(TransitionError { from, to })
        );
        assert_eq!(feed.snapshot(later), snapshot, "{from} → {to}");
        assert_eq!(format!("{feed:?}"), debug, "{from} → {to}");
        illegal += 1;
    }
    assert_eq!(illegal, 14);
}

#[test]
fn the_next_run_is_three_moves_in_one_and_follows_only_a_run() {
    let t0 = t0();
    let (now, later) = (t0 + TRY_AT, t0 + 30 * S);
    for from in ServicePhase::ALL {
        let (mut one, mut three) = (driven_to(from, t0).unwrap(), driven_to(from, t0).unwrap());
        let error = "second".into();
        let told = one.transition_to_next_run(now, 2, FailureKind::Panic, error);
        if from == ServicePhase::Running {
            drop(told.unwrap());
            let retry = Retry {
                at: now,
                attempt: 2,
            };
            let failure = Failure::new(FailureKind::Panic, "second");
            three
                .transition_to_backing_off(now, retry, Some(failure))
                .unwrap();
            three.transition_to_restarting(now).unwrap();
            three.transition_to_running(now).unwrap();
        } else {
            let to = ServicePhase::BackingOff;
            assert_eq!(told.unwrap_err(), TransitionError { from, to });
        }
        assert_eq!(one.snapshot(later), three.snapshot(later), "{from}");
        assert_eq!(one.failures(), three.failures(), "{from}");
        assert_eq!(format!("{one:?}"), format!("{three:?}"), "{from}");
    }
}

#[test]
fn a_second_termination_does_not_change_the_reason() {
    let t0 = t0();
    let mut feed = driven_to(ServicePhase::Terminated, t0).unwrap();
    let again = feed.transition_to_terminated(t0 + TRY_AT, TerminationReason::Aborted);
    assert_eq!(
        again.unwrap_err().to_string(),
        "invalid lifecycle transition: terminated → terminated"
    );
    assert_eq!(
        feed.termination_reason(),
        Some(&TerminationReason::Completed)
    );
}

#[test]
fn a_service_is_alive_until_it_is_asked_to_stop() {
    let alive = ServicePhase::ALL.map(ServicePhase::is_alive);
    assert_eq!(alive, [true, true, true, false, false]);
    let terminal = ServicePhase::ALL.map(ServicePhase::is_terminal);
    assert_eq!(terminal, [false, false, false, false, true]);
}

#[test]
fn phases_are_written_in_snake_case() {
    let names = [
        "starting",
        "running",
        "backing_off",
        "stopping",
        "terminated",
    ];
    assert_eq!(ServicePhase::ALL.map(ServicePhase::as_str), names);
    assert_eq!(ServicePhase::ALL.map(|phase| phase.to_string()), names);
    assert_eq!(format!("{:>12}|", ServicePhase::Running), "     running|");
}

#[test]
fn failure_kinds_are_written_in_snake_case() {
    let names = ["error", "panic", "start_timeout", "hang"];
    assert_eq!(FailureKind::ALL.map(FailureKind::as_str), names);
    assert_eq!(FailureKind::ALL.map(|kind| kind.to_string()), names);
    assert_eq!(format!("{:<6}|", FailureKind::Hang), "hang  |");
}

#[test]
fn policies_are_written_in_snake_case() {
    let names = ["always", "on_failure", "never"];
    assert_eq!(RestartPolicy::ALL.map(RestartPolicy::as_str), names);
    assert_eq!(RestartPolicy::ALL.map(|policy| policy.to_string()), names);
    assert_eq!(format!("{:>7}|", RestartPolicy::Never), "  never|");
}

#[test]
fn reasons_are_written_for_people_and_as_labels() {
    use TerminationReason::{Aborted, Cancelled, CircuitBreakerOpen, Completed, Unrecoverable};
    let open = CircuitBreakerOpen {
        failures: 3,
        max_retries: 3,
    };
    let table = [
        (Completed, "completed", "completed"),
        (Cancelled, "cancelled", "cancelled"),
        (
            open,
            "circuit breaker open (3/3 failures)",
            "circuit_breaker_open",
        ),
        (
            Unrecoverable("no such table: trades".into()),
            "unrecoverable: no such table: trades",
            "unrecoverable",
        ),
        (Aborted, "aborted: did not stop in time", "aborted"),
    ];
    for (reason, text, label) in table {
        assert_eq!(reason.to_string(), text);
        assert_eq!(reason.as_str(), label);
    }
}

#[test]
fn a_refused_move_is_explained() {
    let error = TransitionError {
        from: ServicePhase::Terminated,
        to: ServicePhase::Running,
    };
    assert_eq!(
        error.to_string(),
        "invalid lifecycle transition: terminated → running"
    );
}
