//! What a report says, to the letter: operators and scripts read it.

use janus_supervisor::{DrainReport, JanusSupervisor, ShutdownCause};
use janus_tests::{Recorder, config, ms};
use std::sync::Arc;
use std::time::Duration;

fn drain(drained: usize, aborted: &[&str], stuck: &[&str], took: Duration) -> DrainReport {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let mut report = DrainReport::default();
    report.drained = drained;
    report.aborted = names(aborted);
    report.stuck = names(stuck);
    report.took = took;
    report
}

/// F75: an outer supervisor must notice.
#[test]
fn the_exit_code_is_0_only_after_a_clean_drain() {
    for (aborted, stuck, code) in [
        (&[][..], &[][..], 0),
        (&["a"], &[], 1),
        (&[], &["b"], 1),
        (&["a"], &["b"], 1),
    ] {
        let report = drain(1, aborted, stuck, ms(1));
        assert_eq!(report.exit_code(), code);
        assert_eq!(report.is_clean(), code == 0);
    }
}

/// F61
#[test]
fn a_drain_is_told_in_one_line() {
    for (report, text) in [
        (DrainReport::default(), "0 drained in 0ms"),
        (drain(7, &[], &[], ms(12)), "7 drained in 12ms"),
        (drain(7, &[], &[], ms(999)), "7 drained in 999ms"),
        (drain(7, &[], &[], ms(1000)), "7 drained in 1.0s"),
        (
            drain(7, &["feed", "mail"], &[], ms(30_040)),
            "7 drained, aborted: feed mail in 30.0s",
        ),
        (
            drain(0, &[], &["api"], ms(31_000)),
            "0 drained, stuck: api in 31.0s",
        ),
        (
            drain(5, &["feed"], &["api", "db"], ms(90_500)),
            "5 drained, aborted: feed, stuck: api db in 90.5s",
        ),
    ] {
        assert_eq!(report.to_string(), text);
    }
}

/// F61, F75
#[tokio::test(start_paused = true)]
async fn a_shutdown_is_told_with_its_cause() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    supervisor.trigger_shutdown();
    let mut report = supervisor.run_until_shutdown().await.unwrap();
    assert_eq!(report.to_string(), "shutdown (requested): 0 drained in 0ms");
    report.drain = drain(1, &["feed"], &[], ms(2000));
    for (cause, text) in [
        (ShutdownCause::Requested, "requested"),
        (ShutdownCause::Terminate, "SIGTERM"),
        (ShutdownCause::Interrupt, "SIGINT"),
        (ShutdownCause::Dropped, "supervisor dropped"),
    ] {
        report.cause = cause;
        assert_eq!(cause.to_string(), text);
        assert_eq!(
            report.to_string(),
            format!("shutdown ({text}): 1 drained, aborted: feed in 2.0s")
        );
        assert_eq!(report.exit_code(), 1);
    }
}

/// As plain data, for whoever writes it to a file.
#[tokio::test(start_paused = true)]
async fn a_report_is_serialized_under_stable_names() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    supervisor.trigger_shutdown();
    let mut report = supervisor.run_until_shutdown().await.unwrap();
    report.cause = ShutdownCause::Terminate;
    report.drain = drain(1, &["feed"], &["api"], ms(2500));
    assert_eq!(
        serde_json::to_value(&report).unwrap(),
        serde_json::json!({
            "cause": "terminate",
            "drain": { "drained": 1, "aborted": ["feed"], "stuck": ["api"], "took_secs": 2.5 },
        })
    );
}
