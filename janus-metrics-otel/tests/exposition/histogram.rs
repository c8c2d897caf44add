//! Buckets, sums and counts.

use crate::history::{Told, ms, secs};
use crate::scrape;
use janus_lifecycle::{EventKind, FailureKind, RunOutcome};
use janus_metrics_otel::{OtelObserver, PrometheusExporter};

/// The bounds of the buckets and their counts, of one service.
fn buckets(exporter: &PrometheusExporter, name: &str) -> Vec<(String, f64)> {
    let shown = scrape(exporter);
    let name = format!("janus_supervisor_{name}_bucket");
    shown
        .samples(&name, &[("service", "feed")])
        .map(|sample| (sample.label("le").to_owned(), sample.value))
        .collect()
}

fn pairs(expected: &[(&str, f64)]) -> Vec<(String, f64)> {
    let owned = expected.iter().map(|(le, n)| ((*le).to_owned(), *n));
    owned.collect()
}

#[test]
fn own_buckets_hold_before_and_after_the_first_value() {
    let exporter = PrometheusExporter::new().unwrap();
    let observer = exporter
        .observer_with(
            OtelObserver::builder()
                .with_uptime_buckets([0.5, 2.0])
                .with_backoff_buckets(vec![0.25, 1.0, 4.5]),
        )
        .unwrap();
    let mut feed = Told::new(&[&*observer], 0, "feed");
    feed.registered().running();
    assert_eq!(
        buckets(&exporter, "uptime_seconds"),
        pairs(&[("0.5", 0.0), ("2", 0.0), ("+Inf", 0.0)])
    );
    assert_eq!(
        buckets(&exporter, "backoff_delay_seconds"),
        pairs(&[("0.25", 0.0), ("1", 0.0), ("4.5", 0.0), ("+Inf", 0.0)])
    );
    feed.failed(FailureKind::Error, ms(2_000))
        .restarted(ms(600));
    feed.failed(FailureKind::Error, ms(2_001))
        .restarted(secs(9));
    assert_eq!(
        buckets(&exporter, "uptime_seconds"),
        pairs(&[("0.5", 0.0), ("2", 1.0), ("+Inf", 2.0)])
    );
    assert_eq!(
        buckets(&exporter, "backoff_delay_seconds"),
        pairs(&[("0.25", 0.0), ("1", 1.0), ("4.5", 1.0), ("+Inf", 2.0)])
    );
    let shown = scrape(&exporter);
    let sum = |name| shown.sum(name, &[("service", "feed")]);
    let uptime = sum("janus_supervisor_uptime_seconds_sum").unwrap();
    assert!((uptime - 4.001).abs() < 1e-9, "{uptime}");
    let delay = sum("janus_supervisor_backoff_delay_seconds_sum").unwrap();
    assert!((delay - 9.6).abs() < 1e-9, "{delay}");
}

/// However a run ended, it had an uptime; every wait had a delay, also one of nothing.
#[test]
fn every_run_and_every_wait_is_in_its_histogram() {
    let exporter = PrometheusExporter::new().unwrap();
    let observer = exporter.observer();
    let mut feed = Told::new(&[&*observer], 0, "feed");
    feed.registered().running();
    feed.ended(RunOutcome::Completed, secs(1)).restarted(ms(0));
    feed.failed(FailureKind::Hang, secs(1)).restarted(ms(1));
    feed.tell(EventKind::Stopping)
        .ended(RunOutcome::Aborted, secs(1));
    let shown = scrape(&exporter);
    let uptimes = shown.sum("janus_supervisor_uptime_seconds_count", &[]);
    let waits = shown.sum("janus_supervisor_backoff_delay_seconds_count", &[]);
    assert_eq!((uptimes, waits), (Some(3.0), Some(2.0)));
}
