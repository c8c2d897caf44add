//! Scrapes in the middle of things.

use crate::history::{Told, ms};
use crate::parser::Exposition;
use crate::scrape;
use janus_lifecycle::{FailureKind, Observer};
use janus_metrics_otel::{OtelObserver, PrometheusExporter};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

const THREADS: u64 = 3;
const SERVICES_EACH: u64 = 40;
const SCRAPES: usize = 40;

/// Services that fail and run again as fast as they can while `look` is shown one scrape after the other. None begins or ends.
fn storm(exporter: &PrometheusExporter, observer: &dyn Observer, look: impl Fn(Exposition)) -> u64 {
    let (over, restarts) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut fleets: Vec<Vec<Told<'_>>> = (0..THREADS)
        .map(|thread| {
            let ids = (0..SERVICES_EACH).map(|n| n * THREADS + thread);
            ids.map(|id| Told::new(&[observer], id, &format!("s{id}")))
                .collect()
        })
        .collect();
    for service in fleets.iter_mut().flatten() {
        service.registered().running();
    }
    std::thread::scope(|scope| {
        for fleet in &mut fleets {
            let (over, restarts) = (&over, &restarts);
            scope.spawn(move || {
                while !over.load(SeqCst) {
                    for service in &mut *fleet {
                        service.failed(FailureKind::Error, ms(1)).restarted(ms(1));
                        restarts.fetch_add(1, SeqCst);
                    }
                }
            });
        }
        // Also when `look` panics: the threads must end.
        struct Over<'a>(&'a AtomicBool);
        impl Drop for Over<'_> {
            fn drop(&mut self) {
                self.0.store(true, SeqCst);
            }
        }
        let _over = Over(&over);
        for _ in 0..SCRAPES {
            let before = restarts.load(SeqCst);
            look(scrape(exporter));
            // A scrape counts only if something happened meanwhile.
            while restarts.load(SeqCst) == before {
                std::thread::yield_now();
            }
        }
    });
    restarts.into_inner()
}

#[test]
fn scrape_in_a_storm_sees_every_service_in_exactly_one_phase() {
    let exporter = PrometheusExporter::new().unwrap();
    let observer = exporter.observer();
    let restarts = storm(&exporter, &*observer, |shown| {
        let mut phases: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        for sample in shown.samples("janus_supervisor_service_phase", &[]) {
            phases
                .entry(sample.label("service"))
                .or_default()
                .push(sample.value);
        }
        assert_eq!(phases.len() as u64, THREADS * SERVICES_EACH);
        for (service, phases) in phases {
            assert_eq!(phases.iter().sum::<f64>(), 1.0, "{service}: {phases:?}");
            assert_eq!(phases.len(), 5, "{service}: {phases:?}");
        }
    });
    let shown = scrape(&exporter);
    for name in ["restarts_total", "failures_total", "uptime_seconds_count"] {
        let name = format!("janus_supervisor_{name}");
        assert_eq!(shown.sum(&name, &[]), Some(restarts as f64), "{name}");
    }
}

/// None begins or ends, so there is one right number.
#[test]
fn scrape_in_a_storm_sees_every_service_active() {
    let exporter = PrometheusExporter::new().unwrap();
    let observer = exporter.observer();
    storm(&exporter, &*observer, |shown| {
        let active = shown.sum("janus_supervisor_active_services", &[]);
        assert_eq!(active, Some((THREADS * SERVICES_EACH) as f64));
    });
}

#[test]
fn scrape_of_the_whole_fleet_in_a_storm_misses_no_service_and_counts_none_twice() {
    let exporter = PrometheusExporter::new().unwrap();
    let observer = exporter.observer_with(OtelObserver::builder().without_service_label());
    storm(&exporter, &*observer, |shown| {
        let in_a_phase = shown.sum("janus_supervisor_service_phase", &[]);
        assert_eq!(in_a_phase, Some((THREADS * SERVICES_EACH) as f64));
    });
}

#[test]
fn scrapes_at_the_same_time_are_all_whole() {
    let exporter = PrometheusExporter::new().unwrap();
    let observer = exporter.observer();
    for id in 0..100 {
        Told::new(&[&*observer], id, &id.to_string())
            .registered()
            .running();
    }
    let expected = exporter.render().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..5 {
                    assert_eq!(scrape(&exporter).values_of("service").len(), 100);
                }
            });
        }
    });
    let lines = |text: &str| {
        text.lines()
            .map(str::to_owned)
            .collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(lines(&exporter.render().unwrap()), lines(&expected));
}
