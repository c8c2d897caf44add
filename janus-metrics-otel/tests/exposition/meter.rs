//! An observer on a `Meter`: the way through OpenTelemetry.

use crate::history::{Told, ms, secs};
use crate::parser::Exposition;
use crate::scrape;
use janus_lifecycle::{EventKind, FailureKind};
use janus_metrics_otel::{OtelObserver, PrometheusExporter};
use opentelemetry::metrics::MeterProvider as _;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData, ResourceMetrics};
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{SdkMeterProvider, Temporality};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const HISTOGRAMS: [&str; 2] = [
    "janus_supervisor_backoff_delay_seconds",
    "janus_supervisor_uptime_seconds",
];

fn families(shown: &Exposition) -> Vec<&str> {
    shown.families.keys().map(String::as_str).collect()
}

#[test]
fn on_a_meter_only_the_histograms_of_a_removed_service_stay() {
    let exporter = PrometheusExporter::new().unwrap();
    let observer = OtelObserver::new(&exporter.meter());
    let mut feed = Told::new(&[&observer], 0, "feed");
    feed.registered().running();
    feed.failed(FailureKind::Error, ms(3)).restarted(ms(7));
    feed.stopped(secs(1)).tell(EventKind::Removed);
    let shown = scrape(&exporter);
    let [delay, uptime] = HISTOGRAMS;
    let active = "janus_supervisor_active_services";
    assert_eq!(families(&shown), [active, delay, uptime]);
    assert_eq!(shown.sum(active, &[]), Some(0.0));

    drop(observer);
    assert_eq!(families(&scrape(&exporter)), HISTOGRAMS);
}

/// What the counters ignore, the histograms do, too.
#[test]
fn on_a_meter_what_is_not_counted_is_in_no_histogram() {
    let exporter = PrometheusExporter::new().unwrap();
    let observer = OtelObserver::new(&exporter.meter());
    let mut early = Told::new(&[&observer], 0, "early");
    early.running().failed(FailureKind::Panic, ms(3));
    early.restarted(ms(7));
    assert_eq!(scrape(&exporter).values_of("service").len(), 0);

    let mut old = Told::new(&[&observer], 1, "feed");
    old.registered().running().tell(EventKind::Stopping);
    Told::new(&[&observer], 2, "feed").registered().running();
    old.failed(FailureKind::Error, ms(3)).restarted(ms(7));
    let shown = scrape(&exporter);
    assert_eq!(shown.values_of("service").len(), 1);
    for name in HISTOGRAMS {
        assert!(!shown.families.contains_key(name), "{name}");
    }
}

#[test]
fn on_a_meter_a_histogram_without_boundaries_has_one_bucket() {
    let exporter = PrometheusExporter::new().unwrap();
    let settings = OtelObserver::builder().with_uptime_buckets([]);
    let observer = settings.build(&exporter.meter()).unwrap();
    let mut feed = Told::new(&[&observer], 0, "feed");
    feed.registered().running();
    feed.failed(FailureKind::Error, ms(3));
    let shown = scrape(&exporter);
    let buckets = shown.samples("janus_supervisor_uptime_seconds_bucket", &[]);
    assert_eq!(buckets.count(), 1);
}

#[test]
fn names_are_the_same_with_and_without_a_meter_whatever_the_prefix() {
    for prefix in ["a", "a_", "a.", "a-", "a__b", "a_total", "a_seconds", "A/b"] {
        let settings = OtelObserver::builder().with_prefix(prefix);
        let (ours, theirs) = (
            PrometheusExporter::new().unwrap(),
            PrometheusExporter::new().unwrap(),
        );
        let own = ours.observer_with(settings.clone()).unwrap();
        let through_otel = settings.build(&theirs.meter()).unwrap();
        let mut feed = Told::new(&[&*own, &through_otel], 0, "feed");
        feed.registered().running();
        feed.failed(FailureKind::Error, ms(3)).restarted(ms(7));
        let (ours, theirs) = (scrape(&ours), scrape(&theirs));
        assert_eq!(families(&ours), families(&theirs), "{prefix}");
    }
}

/// Keeps what one counter adds up to over all series, at each export, with delta temporality.
#[derive(Clone)]
struct Deltas {
    counter: &'static str,
    seen: Arc<Mutex<Vec<u64>>>,
}

impl PushMetricExporter for Deltas {
    async fn export(&self, exported: &ResourceMetrics) -> OTelSdkResult {
        let metrics = exported.scope_metrics().flat_map(|scope| scope.metrics());
        for metric in metrics.filter(|metric| metric.name() == self.counter) {
            if let AggregatedMetrics::U64(MetricData::Sum(sum)) = metric.data() {
                let values = sum.data_points().map(|point| point.value());
                self.seen.lock().unwrap().push(values.sum());
            }
        }
        Ok(())
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn temporality(&self) -> Temporality {
        Temporality::Delta
    }
}

/// With the label, the SDK would subtract three from zero: see the crate's documentation.
#[test]
fn deltas_without_the_service_label_are_right_when_a_name_is_used_again() {
    let deltas = Deltas {
        counter: "janus_supervisor.failures",
        seen: Arc::default(),
    };
    let provider = SdkMeterProvider::builder()
        .with_periodic_exporter(deltas.clone())
        .build();
    let settings = OtelObserver::builder().without_service_label();
    let observer = settings.build(&provider.meter("mine")).unwrap();
    for (id, failures) in [(0, 3), (1, 1), (2, 2)] {
        let mut feed = Told::new(&[&observer], id, "feed");
        feed.registered().running();
        for _ in 0..failures {
            feed.failed(FailureKind::Error, ms(3)).restarted(ms(7));
        }
        provider.force_flush().unwrap();
        feed.stopped(ms(1)).tell(EventKind::Removed);
    }
    assert_eq!(*deltas.seen.lock().unwrap(), [3, 1, 2]);
}
