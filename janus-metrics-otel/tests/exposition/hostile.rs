//! Names that try to be something else.

use crate::history::{Told, ms};
use crate::scrape;
use janus_lifecycle::{EventKind, FailureKind, Observer};
use janus_metrics_otel::{OtelObserver, PrometheusExporter};
use opentelemetry::KeyValue;

fn hostile() -> Vec<String> {
    let mut names: Vec<String> = [
        "quote\"",
        "back\\slash",
        "ends in one\\",
        "new\nline",
        "\\n",
        "\"} 1\njanus_supervisor_restarts_total{service=\"forged\"} 1000000",
        "\n# HELP janus_supervisor_forged Forged.\n# TYPE janus_supervisor_forged counter\njanus_supervisor_forged 1\n",
        "# HELP",
        "}",
        "{",
        "a=\"b\",service=\"c",
        ",",
        " ",
        "  two  ",
        "\t\r\u{0}\u{7f}\u{85}\u{2028}",
        "🦀 crab",
        "e\u{301}",
        "\u{202e}backwards",
        "\u{feff}",
        "le",
        "service",
        "+Inf",
        "NaN",
    ]
    .map(str::to_owned)
    .into();
    names.push("x".repeat(4096));
    names.push("\"\\\n".repeat(1365));
    names
}

fn one_of_each(observer: &dyn Observer, names: &[String]) {
    for (id, name) in (0..).zip(names) {
        let mut service = Told::new(&[observer], id, name);
        service.registered().running();
        service
            .failed(FailureKind::Error, ms(3))
            .restarted(ms(id + 1));
    }
}

#[test]
fn hostile_names_are_labels_and_nothing_else() {
    let exporter = PrometheusExporter::new().unwrap();
    let observer = exporter.observer();
    let names = hostile();
    one_of_each(&*observer, &names);

    let tame = PrometheusExporter::new().unwrap();
    let tamed = tame.observer();
    let numbers: Vec<String> = (0..names.len()).map(|n| n.to_string()).collect();
    one_of_each(&*tamed, &numbers);

    let (shown, expected) = (scrape(&exporter), scrape(&tame));
    let of = |all: &crate::parser::Exposition| {
        let families = all.families.iter();
        families
            .map(|(name, family)| (name.clone(), family.kind.clone(), family.samples.len()))
            .collect::<Vec<_>>()
    };
    assert_eq!(of(&shown), of(&expected), "the families and no other");
    assert_eq!(
        shown.values_of("service"),
        names.iter().map(String::as_str).collect()
    );
    for name in &names {
        let labels = [("service", name.as_str())];
        for (total, expected) in [
            ("restarts_total", 1.0),
            ("failures_total", 1.0),
            ("spawned_total", 1.0),
            ("service_phase", 1.0),
            ("uptime_seconds_count", 1.0),
            ("backoff_delay_seconds_count", 1.0),
        ] {
            let total = format!("janus_supervisor_{total}");
            assert_eq!(shown.sum(&total, &labels), Some(expected), "{name:?}");
        }
    }
}

#[test]
fn hostile_names_go_away_like_others() {
    let exporter = PrometheusExporter::new().unwrap();
    let observer = exporter.observer();
    for (id, name) in (0..).zip(hostile()) {
        let mut service = Told::new(&[&*observer], id, &name);
        service.registered().running();
        service.failed(FailureKind::Error, ms(3)).restarted(ms(7));
        service.stopped(ms(1)).tell(EventKind::Removed);
        assert_eq!(scrape(&exporter).values_of("service").len(), 0, "{name:?}");
    }
}

#[test]
fn hostile_attribute_values_and_resources_are_labels_and_nothing_else() {
    for value in hostile() {
        let exporter = PrometheusExporter::builder()
            .with_resource(KeyValue::new("service.name", value.clone()))
            .build()
            .unwrap();
        let observer = exporter
            .observer_with(
                OtelObserver::builder().with_attribute(KeyValue::new("fleet", value.clone())),
            )
            .unwrap();
        Told::new(&[&*observer], 0, "feed").registered();
        let shown = scrape(&exporter);
        assert_eq!(shown.families.len(), 10, "nine and target_info: {value:?}");
        let info: Vec<_> = shown.samples("target_info", &[]).collect();
        assert_eq!(info[0].label("service_name"), value);
        for (name, family) in &shown.families {
            for sample in &family.samples {
                let own = name == "target_info" || sample.label("fleet") == value;
                assert!(own, "{sample:?}");
            }
        }
    }
}
