//! Restart policy x how the run ended: what follows.

use janus_lifecycle::{AfterExit, Exit, Failure, FailureKind, ParsePolicyError, RestartPolicy};

/// Behaviours A1, A2, A3 and A6. How a run failed makes no difference to the policy, so a panic is an error here.
#[test]
fn policy_x_exit() {
    use AfterExit::{BackOff, Complete, GiveUp, RunAgain};
    use RestartPolicy::{Always, Never, OnFailure};
    let table = [
        // policy, clean, failed, permanent
        (Always, RunAgain, BackOff, GiveUp),
        (OnFailure, Complete, BackOff, GiveUp),
        (Never, Complete, GiveUp, GiveUp),
    ];
    assert_eq!(RestartPolicy::ALL, table.map(|(policy, ..)| policy));
    for (policy, clean, failed, permanent) in table {
        assert_eq!(policy.after(&Exit::Clean), clean, "{policy}");
        for kind in FailureKind::ALL {
            let failure = || Failure::new(kind, "x");
            assert_eq!(policy.after(&Exit::Failed(failure())), failed, "{policy}");
            assert_eq!(
                policy.after(&Exit::Permanent(failure())),
                permanent,
                "{policy}"
            );
        }
    }
}

/// Behaviour A4: how a run ended is judged by what it returned, never by the text of an error.
#[test]
fn an_error_that_says_cancelled_is_a_failure() {
    let exit = Exit::Failed(Failure::new(FailureKind::Error, "cancelled"));
    assert_eq!(RestartPolicy::OnFailure.after(&exit), AfterExit::BackOff);
    assert_eq!(RestartPolicy::Never.after(&exit), AfterExit::GiveUp);
}

#[test]
fn an_exit_has_a_failure_unless_it_is_clean() {
    let failure = || Failure::new(FailureKind::Hang, "no heartbeat");
    for (exit, expected) in [
        (Exit::Clean, None),
        (Exit::Failed(failure()), Some(FailureKind::Hang)),
        (Exit::Permanent(failure()), Some(FailureKind::Hang)),
    ] {
        assert_eq!(exit.failure().map(Failure::kind), expected);
        assert_eq!(exit.into_failure().as_ref().map(Failure::kind), expected);
    }
}

#[test]
fn failures_are_retried_by_default() {
    assert_eq!(RestartPolicy::default(), RestartPolicy::OnFailure);
}

#[test]
fn a_policy_is_read_as_it_is_written() {
    for policy in RestartPolicy::ALL {
        assert_eq!(policy.to_string().parse(), Ok(policy));
    }
}

#[test]
fn any_other_text_is_refused_and_quoted() {
    for text in [
        "",
        "Always",
        "on-failure",
        "on_failure ",
        "permanent",
        "say \"no\"",
    ] {
        let error: ParsePolicyError = text.parse::<RestartPolicy>().unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "unknown restart policy {text:?}: expected \"always\", \"on_failure\" or \"never\""
            )
        );
    }
}
