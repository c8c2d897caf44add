//! The table in the code, the exposition and the table in the docs say the same.

use crate::history::one_of_everything;
use crate::scrape;
use janus_metrics_otel::{INSTRUMENTS, InstrumentKind, PrometheusExporter};
use std::collections::BTreeSet;

const fn kind(kind: InstrumentKind) -> &'static str {
    match kind {
        InstrumentKind::Counter => "counter",
        InstrumentKind::Gauge => "gauge",
        InstrumentKind::Histogram => "histogram",
    }
}

#[test]
fn table_in_the_code_agrees_with_the_exposition() {
    let exporter = PrometheusExporter::new().unwrap();
    let observer = exporter.observer();
    one_of_everything(&[&*observer]);
    let mut shown = scrape(&exporter).families;
    for instrument in INSTRUMENTS {
        let name = format!("janus_supervisor_{}", instrument.prometheus_name);
        let family = shown.remove(&name).unwrap_or_default();
        assert_eq!(family.kind, kind(instrument.kind), "{name}");
        assert_eq!(family.help, instrument.description, "{name}");
        let labels: BTreeSet<&str> = family
            .samples
            .iter()
            .flat_map(|sample| sample.labels.keys().map(String::as_str))
            .filter(|label| *label != "le")
            .collect();
        assert_eq!(
            labels,
            instrument.labels.iter().copied().collect(),
            "{name}"
        );
    }
    assert!(shown.is_empty(), "not in the table: {:?}", shown.keys());
}

#[test]
fn table_in_the_docs_agrees_with_the_one_in_the_code() {
    let documented: Vec<&str> = include_str!("../../src/lib.rs")
        .lines()
        .filter_map(|line| line.strip_prefix("//! | `janus_supervisor_"))
        .collect();
    let expected: Vec<String> = INSTRUMENTS
        .iter()
        .map(|instrument| {
            let labels: Vec<String> = instrument
                .labels
                .iter()
                .map(|l| format!("`{l}` "))
                .collect();
            let labels = labels.join(", ").replace(" ,", ",");
            format!(
                "{}` | {} | {labels}|",
                instrument.prometheus_name,
                kind(instrument.kind)
            )
        })
        .collect();
    assert_eq!(documented, expected);
}

#[test]
fn names_units_and_descriptions_are_what_prometheus_advises() {
    for instrument in INSTRUMENTS {
        let name = instrument.prometheus_name;
        let counter = instrument.kind == InstrumentKind::Counter;
        assert_eq!(name.ends_with("_total"), counter, "{name}");
        assert_eq!(name.ends_with("_seconds"), instrument.unit == "s", "{name}");
        assert!(instrument.description.ends_with('.'), "{name}");
    }
    let names: BTreeSet<&str> = INSTRUMENTS.iter().map(|i| i.prometheus_name).collect();
    assert_eq!(names.len(), INSTRUMENTS.len());
}
