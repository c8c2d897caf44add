//! More services than there is room for.

use crate::history::{Told, ms};
use crate::parser::Exposition;
use crate::scrape;
use janus_lifecycle::{EventKind, FailureKind};
use janus_metrics_otel::PrometheusExporter;

const ROOM: u64 = 3;
const SERVICES: u64 = 10;
/// What is 1 for each service that was told to [`fail_once`].
const PER_SERVICE: [&str; 6] = [
    "spawned_total",
    "restarts_total",
    "failures_total",
    "service_phase",
    "uptime_seconds_count",
    "backoff_delay_seconds_count",
];
const OVERFLOW: [(&str, &str); 1] = [("otel_metric_overflow", "true")];

fn small() -> PrometheusExporter {
    let builder = PrometheusExporter::builder().with_max_services(ROOM as usize);
    builder.build().unwrap()
}

fn fail_once(service: &mut Told<'_>) {
    service.running();
    service.failed(FailureKind::Error, ms(3)).restarted(ms(7));
}

fn total(shown: &Exposition, name: &str) -> Option<f64> {
    shown.sum(&format!("janus_supervisor_{name}"), &[])
}

#[test]
fn a_fleet_that_just_fits_has_no_overflow() {
    let exporter = small();
    let observer = exporter.observer();
    for id in 0..ROOM {
        fail_once(Told::new(&[&*observer], id, &id.to_string()).registered());
    }
    let shown = scrape(&exporter);
    assert_eq!(shown.values_of("otel_metric_overflow").len(), 0);
    assert_eq!(shown.values_of("service").len(), ROOM as usize);
}

/// Every service that has no series of its own is seen to be missing.
#[test]
fn what_does_not_fit_is_in_an_overflow_series() {
    let exporter = small();
    let observer = exporter.observer();
    for id in 0..SERVICES {
        fail_once(Told::new(&[&*observer], id, &id.to_string()).registered());
    }
    let shown = scrape(&exporter);
    for name in PER_SERVICE {
        let name = format!("janus_supervisor_{name}");
        assert!(shown.samples(&name, &OVERFLOW).count() > 0, "{name}");
        let own = shown
            .samples(&name, &[])
            .filter(|sample| sample.value > 0.0);
        assert!(own.count() as u64 <= ROOM + 1, "{name}");
    }
    let all = Some(SERVICES as f64);
    for name in [
        "active_services",
        "uptime_seconds_count",
        "backoff_delay_seconds_count",
    ] {
        assert_eq!(total(&shown, name), all, "{name}");
    }
}

#[test]
fn no_total_is_lost_beyond_the_room() {
    let exporter = small();
    let observer = exporter.observer();
    for id in 0..SERVICES {
        fail_once(Told::new(&[&*observer], id, &id.to_string()).registered());
    }
    let shown = scrape(&exporter);
    for name in PER_SERVICE {
        assert_eq!(total(&shown, name), Some(SERVICES as f64), "{name}");
    }
}

/// Which services have series of their own may not change from one scrape to the next: counters would fall.
#[test]
fn counters_never_fall_while_a_fleet_outgrows_its_room() {
    let exporter = small();
    let observer = exporter.observer();
    let mut services: Vec<Told<'_>> = Vec::new();
    let mut before = Exposition::default();
    for id in 0..40 {
        let mut service = Told::new(&[&*observer], id, &id.to_string());
        service.registered().running();
        services.push(service);
        for service in &mut services {
            service.failed(FailureKind::Error, ms(3)).restarted(ms(7));
        }
        let now = scrape(&exporter);
        for family in before.families.values().filter(|f| f.kind != "gauge") {
            for old in &family.samples {
                let labels: Vec<(&str, &str)> = old
                    .labels
                    .iter()
                    .map(|(k, v)| (k.as_str(), v.as_str()))
                    .collect();
                let new = now.sum(&old.name, &labels);
                assert!(new >= Some(old.value), "{old:?}, then {new:?}");
            }
        }
        before = now;
    }
}

/// Services come and go, never more than there is room for: each is shown as if it were the first.
#[test]
fn removed_services_take_up_no_room() {
    let exporter = small();
    let observer = exporter.observer();
    for id in 0..SERVICES {
        let name = id.to_string();
        let mut service = Told::new(&[&*observer], id, &name);
        fail_once(service.registered());
        let shown = scrape(&exporter);
        assert_eq!(shown.values_of("otel_metric_overflow").len(), 0, "{name}");
        for total in ["service_phase", "uptime_seconds_count"] {
            let total = format!("janus_supervisor_{total}");
            assert_eq!(shown.sum(&total, &[("service", &name)]), Some(1.0));
        }
        service.stopped(ms(1)).tell(EventKind::Removed);
    }
}

/// A whole fleet makes way for the next between two scrapes.
#[test]
fn a_fleet_in_the_place_of_another_has_room_at_once() {
    let exporter = small();
    let observer = exporter.observer();
    for round in 0..3 {
        let mut fleet: Vec<Told<'_>> = (0..ROOM)
            .map(|n| Told::new(&[&*observer], round * ROOM + n, &format!("{round}-{n}")))
            .collect();
        for service in &mut fleet {
            fail_once(service.registered());
        }
        let shown = scrape(&exporter);
        assert_eq!(shown.values_of("otel_metric_overflow").len(), 0, "{round}");
        assert_eq!(total(&shown, "service_phase"), Some(ROOM as f64));
        for service in &mut fleet {
            service.stopped(ms(1)).tell(EventKind::Removed);
        }
    }
}

/// As when a supervisor is replaced by a new one, whose services have the same names or others.
#[test]
fn room_of_a_dropped_observer_is_there_for_the_next() {
    let exporter = small();
    for round in 0..3 {
        let observer = exporter.observer();
        for id in 0..ROOM {
            let name = format!("{}-{id}", round % 2);
            fail_once(Told::new(&[&*observer], id, &name).registered());
        }
        let shown = scrape(&exporter);
        assert_eq!(shown.values_of("otel_metric_overflow").len(), 0, "{round}");
        assert_eq!(shown.values_of("service").len(), ROOM as usize, "{round}");
    }
}

#[test]
fn room_does_not_grow_when_names_are_used_again() {
    let exporter = small();
    let old = exporter.observer();
    for id in 0..SERVICES {
        Told::new(&[&*old], id, "feed").registered();
    }
    drop(old);
    let new = exporter.observer();
    for id in 0..=ROOM {
        Told::new(&[&*new], id, &id.to_string()).registered();
    }
    let shown = scrape(&exporter);
    let spawned = shown.sum("janus_supervisor_spawned_total", &OVERFLOW);
    assert_eq!(spawned, Some(1.0));
}

/// The series of a name pass on when it is used again, also if there is no room for more, and nobody else's.
#[test]
fn successor_in_a_full_fleet_takes_over_the_series_of_its_name() {
    let exporter = small();
    let observer = exporter.observer();
    let mut services: Vec<Told<'_>> = (0..=ROOM)
        .map(|id| Told::new(&[&*observer], id, &id.to_string()))
        .collect();
    for service in &mut services {
        fail_once(service.registered());
    }
    let old = &mut services[0];
    old.stopped(ms(1));
    let mut new = Told::new(&[&*observer], SERVICES, "0");
    new.registered();
    for removed in [false, true] {
        if removed {
            old.tell(EventKind::Removed);
            new.running();
        }
        let shown = scrape(&exporter);
        let spawned = |labels| shown.sum("janus_supervisor_spawned_total", labels);
        assert_eq!(spawned(&[("service", "0")]), Some(1.0), "{removed}");
        assert_eq!(spawned(&OVERFLOW), Some(1.0), "{removed}");
        let failures = "janus_supervisor_failures_total";
        assert_eq!(shown.sum(failures, &[("service", "0")]), Some(0.0));
    }

    // What it took over it gives back.
    new.stopped(ms(1)).tell(EventKind::Removed);
    Told::new(&[&*observer], SERVICES + 1, "late").registered();
    let shown = scrape(&exporter);
    assert!(shown.values_of("service").contains("late"));
}

#[test]
fn room_for_nobody_or_for_everybody_is_no_panic() {
    for room in [0, 1, usize::MAX] {
        let Ok(exporter) = PrometheusExporter::builder()
            .with_max_services(room)
            .build()
        else {
            continue; // Refusing is fine.
        };
        let observer = exporter.observer();
        Told::new(&[&*observer], 0, "feed").registered();
        assert_eq!(
            total(&scrape(&exporter), "spawned_total"),
            Some(1.0),
            "{room}"
        );
    }
}
