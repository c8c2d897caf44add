//! The data formats: what a snapshot, a phase, a policy and a reason look like, and that they come back.
#![cfg(feature = "serde")]

use janus_lifecycle::{
    Failure, FailureKind, RestartPolicy, Retry, ServiceLifecycle, ServiceLifecycleSnapshot,
    ServicePhase, TerminationReason,
};
use serde_json::json;
use std::time::{Duration, Instant};

const S: Duration = Duration::from_secs(1);

#[expect(
    clippy::disallowed_methods,
    reason = "a test needs one instant to count from"
)]
fn t0() -> Instant {
    Instant::now()
}

/// Behaviour G86: the names of the fields, their order and their types are stable.
#[test]
fn a_snapshot_is_a_flat_object() {
    let t0 = t0();
    let retry = Retry {
        at: t0 + 5 * S,
        attempt: 1,
    };
    let failure = Failure::new(FailureKind::StartTimeout, "not ready after 2s");
    let mut feed = ServiceLifecycle::new(t0, "feed");
    feed.transition_to_running(t0 + S).unwrap();
    feed.transition_to_backing_off(t0 + 3 * S, retry, Some(failure))
        .unwrap();
    let snapshot = feed.snapshot(t0 + 3 * S + S / 2);
    let text = concat!(
        r#"{"service_name":"feed","phase":"backing_off","start_count":1,"attempt":1,"total_failures":1,"#,
        r#""last_error":"not ready after 2s","last_failure_kind":"start_timeout","#,
        r#""cumulative_running_secs":2.0,"age_secs":3.5,"time_in_phase_secs":0.5,"#,
        r#""next_retry_secs":1.5,"termination_reason":null,"status":null,"stuck":false}"#,
    );
    assert_eq!(serde_json::to_string(&snapshot).unwrap(), text);
    let back: ServiceLifecycleSnapshot = serde_json::from_str(text).unwrap();
    assert_eq!(back, snapshot);
}

#[test]
fn what_there_is_not_is_null() {
    let t0 = t0();
    let mut feed = ServiceLifecycle::new(t0, "feed");
    feed.transition_to_terminated(t0 + S, TerminationReason::Unrecoverable("no disk".into()))
        .unwrap();
    let snapshot = feed.snapshot(t0 + 2 * S);
    let value = json!({
        "service_name": "feed",
        "phase": "terminated",
        "start_count": 1,
        "attempt": 0,
        "total_failures": 0,
        "last_error": null,
        "last_failure_kind": null,
        "cumulative_running_secs": 0.0,
        "age_secs": 1.0,
        "time_in_phase_secs": 1.0,
        "next_retry_secs": null,
        "termination_reason": "unrecoverable: no disk",
        "status": null,
        "stuck": false,
    });
    assert_eq!(serde_json::to_value(&snapshot).unwrap(), value);
    let back: ServiceLifecycleSnapshot = serde_json::from_value(value).unwrap();
    assert_eq!(back, snapshot);
}

/// One that was written before there were these fields.
#[test]
fn what_only_a_supervisor_fills_in_may_be_missing() {
    let t0 = t0();
    let mut snapshot = ServiceLifecycle::new(t0, "feed").snapshot(t0);
    let mut value = serde_json::to_value(&snapshot).unwrap();
    let fields = value.as_object_mut().unwrap();
    for name in ["status", "stuck"] {
        assert!(fields.remove(name).is_some(), "{name}");
    }
    let back: ServiceLifecycleSnapshot = serde_json::from_value(value).unwrap();
    assert_eq!(back, snapshot);

    snapshot.status = Some("warming up".into());
    snapshot.stuck = true;
    let value = serde_json::to_value(&snapshot).unwrap();
    assert_eq!(value["status"], json!("warming up"));
    assert_eq!(value["stuck"], json!(true));
    let back: ServiceLifecycleSnapshot = serde_json::from_value(value).unwrap();
    assert_eq!(back, snapshot);
}

#[test]
fn phases_policies_and_kinds_are_the_strings_that_they_print() {
    for phase in ServicePhase::ALL {
        let value = serde_json::to_value(phase).unwrap();
        assert_eq!(value, json!(phase.to_string()));
        assert_eq!(
            serde_json::from_value::<ServicePhase>(value).unwrap(),
            phase
        );
    }
    for policy in RestartPolicy::ALL {
        let value = serde_json::to_value(policy).unwrap();
        assert_eq!(value, json!(policy.to_string()));
        assert_eq!(
            serde_json::from_value::<RestartPolicy>(value).unwrap(),
            policy
        );
    }
    for kind in FailureKind::ALL {
        let value = serde_json::to_value(kind).unwrap();
        assert_eq!(value, json!(kind.to_string()));
        assert_eq!(serde_json::from_value::<FailureKind>(value).unwrap(), kind);
    }
}

#[test]
fn reasons_keep_their_details() {
    let table = [
        (TerminationReason::Completed, r#""completed""#),
        (TerminationReason::Cancelled, r#""cancelled""#),
        (
            TerminationReason::CircuitBreakerOpen {
                failures: 3,
                max_retries: 3,
            },
            r#"{"circuit_breaker_open":{"failures":3,"max_retries":3}}"#,
        ),
        (
            TerminationReason::Unrecoverable("no disk".into()),
            r#"{"unrecoverable":"no disk"}"#,
        ),
        (TerminationReason::Aborted, r#""aborted""#),
    ];
    for (reason, text) in table {
        assert_eq!(serde_json::to_string(&reason).unwrap(), text);
        let back: TerminationReason = serde_json::from_str(text).unwrap();
        assert_eq!(back, reason);
    }
}

#[test]
fn a_name_that_is_not_one_is_refused() {
    let error = serde_json::from_value::<ServicePhase>(json!("BackingOff")).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("unknown variant `BackingOff`, expected one of `starting`, `running`"),
        "{error}"
    );
    assert!(serde_json::from_value::<RestartPolicy>(json!("on-failure")).is_err());
    assert!(serde_json::from_value::<FailureKind>(json!("Hang")).is_err());
}
