//! What observers are told of services with any names and errors: Prometheus reads it, and reads the same names.

use crate::edits::Word;
use crate::exposition::parse;
use bolero::{TypeGenerator, check};
use janus_metrics_otel::PrometheusExporter;
use janus_supervisor::{
    EventKind, Failure, FailureKind, Observer, RunOutcome, ServiceEvent, TerminationReason,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The name of a service, or the text of an error.
#[derive(Debug, Clone, TypeGenerator)]
enum Text {
    Words(Vec<Word>),
    Hostile(Vec<u8>),
    Long(char, u16),
}

/// What the format itself is made of.
const HOSTILE: &[&str] = &[
    "\"",
    "\\",
    "\n",
    "\\n",
    "{",
    "}",
    "=",
    ",",
    " ",
    "# HELP ",
    "# TYPE ",
    "\0",
    "\r",
    "\t",
    "\u{85}",
    "\u{2028}",
    "\u{feff}",
    "} 1\njanus_supervisor_forged 1\n",
    "service",
    "le",
    "+Inf",
    "NaN",
];

impl Text {
    fn text(&self) -> String {
        match self {
            Self::Words(words) => words.iter().map(Word::text).collect(),
            Self::Hostile(parts) => parts
                .iter()
                .map(|n| crate::edits::pick(HOSTILE, *n))
                .collect(),
            Self::Long(letter, times) => letter.to_string().repeat(usize::from(*times % 5_000)),
        }
    }
}

/// A service, and the runs it has had.
#[derive(Debug, Clone, TypeGenerator)]
struct Service {
    name: Text,
    failures: Vec<(u8, Text, Duration, Duration)>,
    end: Option<Text>,
    removed: bool,
}

#[test]
fn any_names_and_errors_are_labels_and_nothing_else() {
    check!(name = "metrics")
        .with_iterations(200)
        .with_type::<Vec<Service>>()
        .for_each(|services| {
            let exporter = PrometheusExporter::new().unwrap();
            let observer = exporter.observer();
            let mut shown = BTreeMap::new();
            for (id, service) in (0..).zip(&services[..services.len().min(8)]) {
                let name = service.name.text();
                // A name can be used again only when its service is gone.
                if shown.contains_key(&name) {
                    continue;
                }
                let restarts = service.live(&*observer, id, &name);
                if !service.removed {
                    shown.insert(name, restarts);
                }
            }
            let text = exporter.render().unwrap();
            let found = parse(&text).unwrap_or_else(|what| panic!("{what}\n{text}"));
            let names: Vec<&str> = found.values_of("service").into_iter().collect();
            assert_eq!(names, shown.keys().collect::<Vec<_>>());
            for (name, restarts) in &shown {
                let labels = [("service", name.as_str())];
                let counted = found.sum("janus_supervisor_restarts_total", &labels);
                assert_eq!(counted, Some(f64::from(*restarts)), "{name:?}");
                let counted = found.sum("janus_supervisor_failures_total", &labels);
                assert_eq!(counted, Some(f64::from(*restarts)), "{name:?}");
            }
        });
}

impl Service {
    /// Tells its whole life. Answers how often it was restarted.
    fn live(&self, observer: &dyn Observer, id: u64, name: &str) -> u32 {
        let (name, at): (Arc<str>, _) = (name.into(), crate::t0());
        let (mut run, mut seq) = (1, 0);
        let mut tell = |kind| {
            if matches!(kind, EventKind::Restarting) {
                run += 1;
            }
            observer.observe(&ServiceEvent::new(
                id,
                Arc::clone(&name),
                run,
                seq,
                at,
                kind,
            ));
            seq += 1;
        };
        let mut restarts = 0;
        tell(EventKind::Registered);
        tell(EventKind::Running);
        for (kind, error, ran_for, delay) in self.failures.iter().take(4) {
            let kind = FailureKind::ALL[usize::from(*kind) % FailureKind::ALL.len()];
            tell(EventKind::RunEnded {
                outcome: RunOutcome::Failed(Failure::new(kind, error.text())),
                ran_for: *ran_for,
            });
            restarts += 1;
            tell(EventKind::BackingOff {
                attempt: restarts,
                delay: *delay,
            });
            tell(EventKind::Restarting);
            tell(EventKind::Running);
        }
        if let Some(error) = &self.end {
            tell(EventKind::Stopping);
            tell(EventKind::RunEnded {
                outcome: RunOutcome::Cancelled(Some(Failure::new(
                    FailureKind::Error,
                    error.text(),
                ))),
                ran_for: Duration::MAX,
            });
            let reason = TerminationReason::Unrecoverable(error.text());
            tell(EventKind::Terminated { reason });
        }
        if self.removed {
            tell(EventKind::Removed);
        }
        restarts
    }
}
