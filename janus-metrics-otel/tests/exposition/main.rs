//! What Prometheus is shown: the whole text, read back by a strict parser. The events are made by hand; there is no
//! supervisor.

#![cfg(feature = "prometheus")]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod histogram;
mod history;
mod hostile;
mod meter;
mod observers;
mod overflow;
mod parser;
mod series;
mod settings;
mod storm;
mod table;

use history::one_of_everything;
use janus_metrics_otel::PrometheusExporter;
use parser::{Exposition, parse};
use std::fmt::Write as _;
use std::path::Path;

/// What the exporter shows now; a failure if it is not valid.
fn scrape(exporter: &PrometheusExporter) -> Exposition {
    let text = exporter.render().unwrap();
    if text.is_empty() {
        return Exposition::default();
    }
    parse(&text).unwrap_or_else(|what| panic!("{what}\n{text}"))
}

/// The golden file is sorted, so that the order, which means nothing, does not matter.
#[test]
fn exposition_of_one_of_everything_is_the_golden_file() {
    let exporter = PrometheusExporter::new().unwrap();
    let observer = exporter.observer();
    one_of_everything(&[&*observer]);

    let mut shown = String::new();
    for (name, family) in scrape(&exporter).families {
        writeln!(shown, "# HELP {name} {}", family.help).unwrap();
        writeln!(shown, "# TYPE {name} {}", family.kind).unwrap();
        let text = exporter.render().unwrap();
        let mut lines: Vec<&str> = text
            .lines()
            .filter(|line| {
                let series = line.split(['{', ' ']).next();
                family.samples.iter().any(|s| Some(&*s.name) == series)
            })
            .collect();
        lines.sort_unstable();
        shown.extend(lines.iter().flat_map(|line| [line, "\n"]));
    }

    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/exposition/exposition.golden");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&file, &shown).unwrap();
    }
    let golden = std::fs::read_to_string(&file).unwrap();
    assert!(
        shown == golden,
        "another exposition than in {}; UPDATE_GOLDEN=1 rewrites it:\n{}",
        file.display(),
        difference(&golden, &shown)
    );
}

fn difference(old: &str, new: &str) -> String {
    let only = |a: &str, b: &str, sign: char| {
        let lines = a.lines().filter(|line| !b.lines().any(|l| l == *line));
        lines.fold(String::new(), |all, line| format!("{all}{sign} {line}\n"))
    };
    only(old, new, '-') + &only(new, old, '+')
}
