//! What the builders change.

use crate::history::{Told, ms, one_of_everything, secs};
use crate::parser::Exposition;
use crate::scrape;
use janus_lifecycle::{EventKind, FailureKind};
use janus_metrics_otel::{INSTRUMENTS, OtelObserver, OtelObserverBuilder, PrometheusExporter};
use opentelemetry::KeyValue;
use opentelemetry::metrics::MeterProvider as _;
use std::collections::BTreeMap;

/// The names of the families, for a service that has failed once.
fn families(settings: OtelObserverBuilder) -> Exposition {
    let exporter = PrometheusExporter::new().unwrap();
    let observer = exporter.observer_with(settings).unwrap();
    Told::new(&[&*observer], 0, "new").registered();
    let mut old = Told::new(&[&*observer], 1, "old");
    old.registered().running();
    old.failed(FailureKind::Error, ms(3)).restarted(ms(7));
    scrape(&exporter)
}

#[test]
fn prefix_stands_before_every_name_as_prometheus_allows_it() {
    for (prefix, expected) in [
        ("fleet", "fleet"),
        ("acme.edge", "acme_edge"),
        ("Acme_Edge-2/b", "Acme_Edge_2_b"),
    ] {
        let shown = families(OtelObserver::builder().with_prefix(prefix));
        let names: Vec<&str> = shown.families.keys().map(String::as_str).collect();
        let mut wanted: Vec<String> = INSTRUMENTS
            .iter()
            .map(|instrument| format!("{expected}_{}", instrument.prometheus_name))
            .collect();
        wanted.sort();
        assert_eq!(names, wanted, "{prefix}");
        for name in ["uptime_seconds_count", "backoff_delay_seconds_count"] {
            let name = format!("{expected}_{name}");
            assert_eq!(shown.samples(&name, &[]).count(), 2, "{prefix}");
            assert_eq!(shown.sum(&name, &[]), Some(1.0), "{prefix}");
        }
    }
}

#[test]
fn attribute_is_a_label_of_every_series() {
    let shown = families(
        OtelObserver::builder()
            .with_attribute(KeyValue::new("fleet.name", "edge"))
            .with_attribute(KeyValue::new("zone", 7)),
    );
    assert_eq!(shown.families.len(), INSTRUMENTS.len());
    for sample in shown.families.values().flat_map(|family| &family.samples) {
        assert_eq!(
            (sample.label("fleet_name"), sample.label("zone")),
            ("edge", "7"),
            "{sample:?}"
        );
    }
    let uptimes = "janus_supervisor_uptime_seconds_count";
    assert_eq!(shown.samples(uptimes, &[]).count(), 2);
    assert_eq!(shown.sum(uptimes, &[]), Some(1.0));
}

#[test]
fn without_the_service_label_the_fleet_is_one_series() {
    let (with, without) = (
        PrometheusExporter::new().unwrap(),
        PrometheusExporter::new().unwrap(),
    );
    let each = with.observer();
    let all = without
        .observer_with(OtelObserver::builder().without_service_label())
        .unwrap();
    one_of_everything(&[&*each, &*all]);
    let (each, all) = (scrape(&with), scrape(&without));
    assert_eq!(all.values_of("service").len(), 0);
    let mut compared = 0;
    for sample in all.families.values().flat_map(|family| &family.samples) {
        let labels: Vec<(&str, &str)> = sample
            .labels
            .iter()
            .map(|(k, v)| (k.as_str(), v.as_str()))
            .collect();
        let sum = each.sum(&sample.name, &labels).unwrap();
        assert!((sample.value - sum).abs() < 1e-6, "{sample:?}: {sum}");
        compared += 1;
    }
    assert_eq!(
        compared,
        3 + 5 + 4 + 1 + 5 + (12 + 3) + (14 + 3),
        "one series for each counter, reason, kind, gauge, phase and bucket"
    );
}

#[test]
fn without_the_service_label_every_series_exists_from_the_beginning() {
    let exporter = PrometheusExporter::new().unwrap();
    let _observer = exporter
        .observer_with(OtelObserver::builder().without_service_label())
        .unwrap();
    let shown = scrape(&exporter);
    assert_eq!(shown.families.len(), INSTRUMENTS.len());
    for family in shown.families.values() {
        assert!(family.samples.iter().all(|sample| sample.value == 0.0));
    }
}

#[test]
fn fleet_without_the_service_label_is_counted_by_phase_until_removed() {
    let exporter = PrometheusExporter::new().unwrap();
    let observer = exporter
        .observer_with(OtelObserver::builder().without_service_label())
        .unwrap();
    let mut services: Vec<Told<'_>> = (0..3)
        .map(|id| Told::new(&[&*observer], id, &id.to_string()))
        .collect();
    for service in &mut services {
        service.registered().running();
    }
    let phases = || {
        let shown = scrape(&exporter);
        ["running", "terminated"].map(|phase| {
            let labels = [("phase", phase)];
            shown
                .sum("janus_supervisor_service_phase", &labels)
                .unwrap()
        })
    };
    assert_eq!(phases(), [3.0, 0.0]);
    services[0].stopped(secs(1));
    assert_eq!(phases(), [2.0, 1.0]);
    services[0].tell(EventKind::Removed);
    assert_eq!(phases(), [2.0, 0.0]);
    assert_eq!(
        scrape(&exporter).sum("janus_supervisor_terminated_total", &[]),
        Some(1.0)
    );
}

#[test]
fn resource_is_target_info_and_no_label_elsewhere() {
    let exporter = PrometheusExporter::builder()
        .with_resource(KeyValue::new("service.name", "shop"))
        .with_resource(KeyValue::new("service.version", "1.2.3"))
        .build()
        .unwrap();
    let observer = exporter.observer();
    Told::new(&[&*observer], 0, "feed").registered();
    let shown = scrape(&exporter);
    let info = &shown.families["target_info"].samples;
    assert_eq!(info.len(), 1);
    assert_eq!(info[0].label("service_name"), "shop");
    assert_eq!(info[0].label("service_version"), "1.2.3");
    for label in ["service_name", "service_version"] {
        assert_eq!(shown.values_of(label).len(), 1, "only there");
    }
}

/// By default there is nothing that a Prometheus user has not asked for.
#[test]
fn labels_are_those_of_the_table_and_no_scope_or_target() {
    let shown = families(OtelObserver::builder());
    for instrument in INSTRUMENTS {
        let name = format!("janus_supervisor_{}", instrument.prometheus_name);
        for sample in &shown.families[&name].samples {
            let mut labels: Vec<&str> = sample.labels.keys().map(String::as_str).collect();
            labels.retain(|label| *label != "le");
            let mut expected = instrument.labels.to_vec();
            expected.sort_unstable();
            assert_eq!(labels, expected, "{sample:?}");
        }
    }
    assert!(!shown.families.contains_key("target_info"));
}

#[test]
fn metrics_of_ones_own_are_shown_beside() {
    let exporter = PrometheusExporter::new().unwrap();
    let observer = exporter.observer();
    let meter = exporter.meter();
    let orders = meter.u64_counter("orders").with_description("Orders.");
    orders.build().add(3, &[KeyValue::new("shop", "a")]);
    Told::new(&[&*observer], 0, "feed").registered();
    let shown = scrape(&exporter);
    assert_eq!(shown.families.len(), INSTRUMENTS.len() + 1);
    assert_eq!(shown.sum("orders_total", &[("shop", "a")]), Some(3.0));
}

/// Any meter will do, also one without the exporter of this crate.
#[test]
fn meter_of_another_provider_works_without_the_exporter() {
    let provider = opentelemetry_sdk::metrics::SdkMeterProvider::builder().build();
    let observer = OtelObserver::new(&provider.meter("mine"));
    one_of_everything(&[&observer]);
}

/// The whole way through OpenTelemetry shows what the exporter's own way shows, but for the histograms without a value,
/// which OpenTelemetry does not know.
#[test]
fn observer_on_a_meter_shows_the_same_numbers() {
    let exporter = PrometheusExporter::new().unwrap();
    let own = exporter.observer();
    let settings = OtelObserver::builder().with_prefix("through_otel");
    let through_otel = settings.build(&exporter.meter()).unwrap();
    one_of_everything(&[&*own, &through_otel]);

    let shown = scrape(&exporter);
    let samples = |prefix: &'static str| {
        let samples = shown.families.values().flat_map(|family| &family.samples);
        samples.filter_map(move |sample| {
            let name = sample.name.strip_prefix(prefix)?.to_owned();
            Some(((name, sample.labels.clone()), sample.value))
        })
    };
    let ours: BTreeMap<_, _> = samples("janus_supervisor_").collect();
    let theirs: BTreeMap<_, _> = samples("through_otel_").collect();
    assert!(theirs.len() > 150, "{}", theirs.len());
    for (series, value) in &theirs {
        assert_eq!(ours.get(series), Some(value), "{series:?}");
    }
    for ((name, labels), value) in ours {
        if !theirs.contains_key(&(name.clone(), labels.clone())) {
            assert!(name.contains("_seconds") && value == 0.0, "{name}");
        }
    }
}

#[test]
fn metric_of_ones_own_with_the_name_of_ours_is_refused() {
    let exporter = PrometheusExporter::new().unwrap();
    let observer = exporter.observer();
    let meter = exporter.meter();
    let own = meter.u64_counter("janus_supervisor_restarts").build();
    own.add(1, &[]);
    Told::new(&[&*observer], 0, "feed").registered();
    let error = exporter.render().unwrap_err().to_string();
    assert!(error.contains("janus_supervisor_restarts_total"), "{error}");
}

/// Otherwise OpenTelemetry drops the metrics without a word, or Prometheus refuses the whole scrape.
#[test]
fn settings_that_no_metric_can_have_are_refused_by_name() {
    let refused = |settings: OtelObserverBuilder, by_name: &str| {
        let exporter = PrometheusExporter::new().unwrap();
        let error = exporter.observer_with(settings.clone()).unwrap_err();
        assert!(error.to_string().starts_with(by_name), "{error}");
        let provider = opentelemetry_sdk::metrics::SdkMeterProvider::builder().build();
        assert_eq!(settings.build(&provider.meter("mine")).err(), Some(error));
    };
    for prefix in ["", "my fleet", "9lives", "a:b", "ä", "_x", &"p".repeat(201)] {
        let settings = OtelObserver::builder().with_prefix(prefix);
        refused(settings, &format!("{prefix:?}"));
    }
    for key in [
        "a:b",
        "1a",
        "",
        "ä",
        "service",
        "reason",
        "kind",
        "phase",
        "le",
        "otel.metric.overflow",
    ] {
        let settings = OtelObserver::builder().with_attribute(KeyValue::new(key, "x"));
        refused(settings, &format!("{key:?}"));
    }
    // Two that Prometheus cannot tell apart.
    for key in ["a.b", "a_b"] {
        let settings = OtelObserver::builder()
            .with_attribute(KeyValue::new("a.b", "1"))
            .with_attribute(KeyValue::new(key, "2"));
        refused(settings, &format!("{key:?}"));
    }
    for buckets in [
        vec![2.0, 1.0],
        vec![1.0, 1.0],
        vec![f64::NAN],
        vec![1.0, f64::INFINITY],
    ] {
        let name = format!("{buckets:?}");
        let settings = OtelObserver::builder().with_uptime_buckets(buckets.clone());
        let error = PrometheusExporter::new().unwrap().observer_with(settings);
        assert!(error.unwrap_err().to_string().starts_with(&name));
        let settings = OtelObserver::builder().with_backoff_buckets(buckets);
        let error = PrometheusExporter::new().unwrap().observer_with(settings);
        assert!(error.unwrap_err().to_string().starts_with(&name));
    }
}

#[test]
fn histogram_without_boundaries_still_has_a_sum_and_a_count() {
    let shown = families(OtelObserver::builder().with_uptime_buckets([]));
    let name = "janus_supervisor_uptime_seconds";
    assert_eq!(shown.sum(&format!("{name}_count"), &[]), Some(1.0));
    assert_eq!(shown.samples(&format!("{name}_bucket"), &[]).count(), 2);
}
