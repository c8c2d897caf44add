//! Which series there are, from the registration of a service to its removal.

use crate::history::{Told, ms, secs};
use crate::scrape;
use janus_lifecycle::{EventKind, FailureKind, RunOutcome, ServicePhase, TerminationReason};
use janus_metrics_otel::{INSTRUMENTS, InstrumentKind, PrometheusExporter};

/// All samples of a service in the order of their names, as `name{other labels}` and value.
fn of_service(exporter: &PrometheusExporter, service: &str) -> Vec<(String, f64)> {
    let shown = scrape(exporter);
    let mut found: Vec<(String, f64)> = shown
        .families
        .values()
        .flat_map(|family| &family.samples)
        .filter(|sample| sample.label("service") == service)
        .map(|sample| {
            let mut labels = sample.labels.clone();
            labels.remove("service");
            (format!("{}{labels:?}", sample.name), sample.value)
        })
        .collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

/// Those of the second that are not in the first, and the other way round.
fn changes(before: &[(String, f64)], after: &[(String, f64)]) -> Vec<(String, f64)> {
    let one_way = |a: &[(String, f64)], b: &[(String, f64)]| {
        let only = a.iter().filter(|series| !b.contains(series));
        only.cloned().collect::<Vec<_>>()
    };
    [one_way(after, before), one_way(before, after)].concat()
}

fn names(found: Vec<(String, f64)>) -> Vec<String> {
    found.into_iter().map(|(name, _)| name).collect()
}

#[test]
fn every_series_of_a_service_exists_at_zero_from_its_registration_on() {
    let exporter = PrometheusExporter::new().unwrap();
    let observer = exporter.observer();
    Told::new(&[&*observer], 0, "feed").registered();
    let shown = scrape(&exporter);

    let zero = |name: &str, label: &str, values: &[&str]| {
        for value in values {
            let labels = [("service", "feed"), (label, value)];
            assert_eq!(shown.sum(name, &labels), Some(0.0), "{name} {value}");
        }
        assert_eq!(shown.samples(name, &[]).count(), values.len(), "{name}");
    };
    zero("janus_supervisor_restarts_total", "", &[""]);
    zero("janus_supervisor_circuit_breaker_trips_total", "", &[""]);
    zero(
        "janus_supervisor_terminated_total",
        "reason",
        &TerminationReason::LABELS,
    );
    let kinds = FailureKind::ALL.map(FailureKind::as_str);
    zero("janus_supervisor_failures_total", "kind", &kinds);
    assert_eq!(
        shown.sum("janus_supervisor_spawned_total", &[]),
        Some(1.0),
        "the registration is what this counts"
    );
    for phase in ServicePhase::ALL {
        let labels = [("service", "feed"), ("phase", phase.as_str())];
        let expected = f64::from(u8::from(phase == ServicePhase::Starting));
        let value = shown.sum("janus_supervisor_service_phase", &labels);
        assert_eq!(value, Some(expected), "{phase}");
    }
    for (name, bounds) in [
        ("janus_supervisor_uptime_seconds", 12),
        ("janus_supervisor_backoff_delay_seconds", 14),
    ] {
        let labels = [("service", "feed")];
        let (buckets, sum, count) = (
            format!("{name}_bucket"),
            format!("{name}_sum"),
            format!("{name}_count"),
        );
        assert_eq!(shown.samples(&buckets, &labels).count(), bounds + 1);
        for sample in [buckets, sum, count] {
            assert_eq!(shown.sum(&sample, &labels), Some(0.0), "{sample}");
        }
    }
}

/// What happens to a service changes values and never adds a series: `increase()` sees the first of everything.
#[test]
fn series_are_the_same_from_the_registration_to_the_removal() {
    let exporter = PrometheusExporter::new().unwrap();
    let observer = exporter.observer();
    let mut feed = Told::new(&[&*observer], 0, "feed");
    feed.registered();
    let at_first = names(of_service(&exporter, "feed"));
    assert!(!at_first.is_empty());
    for kind in FailureKind::ALL {
        feed.running().failed(kind, ms(3)).restarted(ms(7));
        assert_eq!(names(of_service(&exporter, "feed")), at_first, "{kind}");
    }
    feed.failed(FailureKind::Error, ms(1)).tripped(5);
    assert_eq!(names(of_service(&exporter, "feed")), at_first);
    feed.tell(EventKind::Removed);
    assert_eq!(of_service(&exporter, "feed"), []);
}

#[test]
fn a_trip_is_counted_and_what_has_terminated_is_no_longer_active() {
    let exporter = PrometheusExporter::new().unwrap();
    let observer = exporter.observer();
    let [mut tripped, mut done, mut up] =
        [(0, "tripped"), (1, "done"), (2, "up")].map(|(id, name)| {
            let mut service = Told::new(&[&*observer], id, name);
            service.registered().running();
            service
        });
    let active = || scrape(&exporter).sum("janus_supervisor_active_services", &[]);
    assert_eq!(active(), Some(3.0));
    tripped.failed(FailureKind::Panic, ms(1)).tripped(1);
    assert_eq!(active(), Some(2.0));
    done.ended(RunOutcome::Completed, secs(1))
        .terminated(TerminationReason::Completed);
    assert_eq!(active(), Some(1.0));
    let trips = |service| {
        let name = "janus_supervisor_circuit_breaker_trips_total";
        scrape(&exporter).sum(name, &[("service", service)])
    };
    assert_eq!(trips("tripped"), Some(1.0));
    assert_eq!(trips("done"), Some(0.0));
    tripped.tell(EventKind::Removed);
    assert_eq!(active(), Some(1.0), "it was counted out when it terminated");
    up.stopped(secs(1));
    assert_eq!(active(), Some(0.0));
}

#[test]
fn series_go_away_when_the_service_is_removed() {
    let exporter = PrometheusExporter::new().unwrap();
    let observer = exporter.observer();
    let (mut short, mut long) = (
        Told::new(&[&*observer], 0, "short"),
        Told::new(&[&*observer], 1, "long"),
    );
    for service in [&mut short, &mut long] {
        service
            .registered()
            .running()
            .failed(FailureKind::Error, ms(3));
        service.restarted(ms(7));
    }
    let before = of_service(&exporter, "long");
    short.stopped(secs(1)).tell(EventKind::Removed);
    assert_eq!(of_service(&exporter, "short"), []);
    let after = of_service(&exporter, "long");
    assert_eq!(changes(&before, &after), [], "the others stay");

    long.stopped(secs(1)).tell(EventKind::Removed);
    let shown = scrape(&exporter);
    let left: Vec<&str> = shown.families.keys().map(String::as_str).collect();
    assert_eq!(left, ["janus_supervisor_active_services"]);
    assert_eq!(
        shown.sum("janus_supervisor_active_services", &[]),
        Some(0.0)
    );

    // And they come back.
    Told::new(&[&*observer], 2, "late").registered();
    let late = names(of_service(&exporter, "late"));
    assert_eq!(late, names(before));
}

#[test]
fn a_service_that_is_removed_alive_is_not_active() {
    let exporter = PrometheusExporter::new().unwrap();
    let observer = exporter.observer();
    Told::new(&[&*observer], 0, "feed")
        .registered()
        .running()
        .tell(EventKind::Removed);
    let shown = scrape(&exporter);
    assert_eq!(
        shown.sum("janus_supervisor_active_services", &[]),
        Some(0.0)
    );
}

#[test]
fn reused_name_has_its_counters_at_zero() {
    let exporter = PrometheusExporter::new().unwrap();
    let observer = exporter.observer();
    Told::new(&[&*observer], 0, "feed")
        .registered()
        .running()
        .failed(FailureKind::Error, ms(3))
        .restarted(ms(7))
        .stopped(secs(1))
        .tell(EventKind::Removed);
    Told::new(&[&*observer], 1, "feed").registered();
    let shown = scrape(&exporter);
    for (name, expected) in [("spawned", 1.0), ("restarts", 0.0), ("failures", 0.0)] {
        let name = format!("janus_supervisor_{name}_total");
        assert_eq!(shown.sum(&name, &[]), Some(expected), "{name}");
    }
}

/// The name of a removed service, used again: nothing of the old one is left.
#[test]
fn reused_name_begins_at_zero() {
    let exporter = PrometheusExporter::new().unwrap();
    let observer = exporter.observer();
    let mut old = Told::new(&[&*observer], 0, "feed");
    old.registered();
    let at_first = of_service(&exporter, "feed");
    old.running()
        .failed(FailureKind::Error, ms(3))
        .restarted(ms(7))
        .stopped(secs(1))
        .tell(EventKind::Removed);
    Told::new(&[&*observer], 1, "feed").registered();
    assert_eq!(changes(&at_first, &of_service(&exporter, "feed")), []);
}

/// The new service may be registered before the old one is removed: whatever their numbers, only the new one shows.
#[test]
fn of_two_services_of_one_name_the_newer_shows() {
    for (old_id, new_id) in [(0, 1), (0, 32), (31, 32), (5, 1_000)] {
        let exporter = PrometheusExporter::new().unwrap();
        let observer = exporter.observer();
        let mut old = Told::new(&[&*observer], old_id, "feed");
        old.registered();
        let at_first = of_service(&exporter, "feed");
        old.running()
            .failed(FailureKind::Error, ms(3))
            .restarted(ms(7))
            .stopped(secs(1));
        let mut new = Told::new(&[&*observer], new_id, "feed");
        new.registered();
        let now = of_service(&exporter, "feed");
        assert_eq!(changes(&at_first, &now), [], "{old_id} {new_id}");
        new.running();
        let with_both = of_service(&exporter, "feed");
        old.tell(EventKind::Removed);
        let with_one = of_service(&exporter, "feed");
        assert_eq!(changes(&with_both, &with_one), [], "{old_id} {new_id}");
        let running = (
            "janus_supervisor_service_phase{\"phase\": \"running\"}",
            1.0,
        );
        assert!(with_one.iter().any(|(n, v)| (n.as_str(), *v) == running));
    }
}

/// What the old service has yet to say when its name is already in use again is not said of the new one. It is not
/// shown at all.
#[test]
fn last_words_of_a_replaced_service_do_not_touch_its_successor() {
    let exporter = PrometheusExporter::new().unwrap();
    let observer = exporter.observer();
    let mut old = Told::new(&[&*observer], 31, "feed");
    old.registered().running().tell(EventKind::Stopping);
    Told::new(&[&*observer], 32, "feed").registered().running();
    old.ended(RunOutcome::Cancelled(None), ms(5))
        .terminated(TerminationReason::Cancelled)
        .tell(EventKind::Removed);
    let shown = scrape(&exporter);
    let value = |name: &str, label, value| {
        let name = format!("janus_supervisor_{name}");
        shown.sum(&name, &[("service", "feed"), (label, value)])
    };
    assert_eq!(value("terminated_total", "reason", "cancelled"), Some(0.0));
    assert_eq!(value("service_phase", "phase", "running"), Some(1.0));
    assert_eq!(value("uptime_seconds_count", "", ""), Some(0.0));
    assert_eq!(
        shown.sum("janus_supervisor_active_services", &[]),
        Some(1.0)
    );
}

#[test]
fn events_of_a_service_that_registered_before_the_observer_came_are_ignored() {
    let exporter = PrometheusExporter::new().unwrap();
    let late = exporter.observer();
    Told::new(&[&*late], 0, "early")
        .running()
        .failed(FailureKind::Panic, ms(3))
        .restarted(ms(7))
        .stopped(secs(1))
        .tell(EventKind::Removed);
    let shown = scrape(&exporter);
    assert_eq!(shown.values_of("service").len(), 0);
    assert_eq!(
        shown.sum("janus_supervisor_active_services", &[]),
        Some(0.0)
    );
}

/// Every instrument takes part in these tests: none may be forgotten when one is added.
#[test]
fn every_instrument_of_the_table_has_series_from_the_registration_on() {
    let exporter = PrometheusExporter::new().unwrap();
    let observer = exporter.observer();
    Told::new(&[&*observer], 0, "feed").registered();
    let shown = scrape(&exporter);
    for instrument in INSTRUMENTS {
        let family = &shown.families[&format!("janus_supervisor_{}", instrument.prometheus_name)];
        let least = if instrument.kind == InstrumentKind::Histogram {
            3
        } else {
            1
        };
        assert!(family.samples.len() >= least, "{}", instrument.name);
    }
}
