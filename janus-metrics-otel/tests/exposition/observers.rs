//! Several observers on one exporter: several supervisors in one process.

use crate::history::{Told, ms, secs};
use crate::parser::Exposition;
use crate::scrape;
use janus_lifecycle::{EventKind, FailureKind};
use janus_metrics_otel::{OtelObserver, OtelObserverBuilder, PrometheusError, PrometheusExporter};
use opentelemetry::KeyValue;

fn named(name: &'static str) -> OtelObserverBuilder {
    OtelObserver::builder().with_attribute(KeyValue::new("supervisor", name))
}

fn fails(service: &mut Told<'_>, times: u64) {
    for n in 1..=times {
        service.failed(FailureKind::Error, ms(n)).restarted(ms(n));
    }
}

/// The same ids and names on both sides.
#[test]
fn two_supervisors_are_told_apart_by_an_attribute() {
    let exporter = PrometheusExporter::new().unwrap();
    let (edge, core) = (
        exporter.observer_with(named("edge")).unwrap(),
        exporter.observer_with(named("core")).unwrap(),
    );
    let mut a = Told::new(&[&*edge], 0, "feed");
    let mut b = Told::new(&[&*core], 0, "feed");
    Told::new(&[&*edge], 1, "idle").registered();
    a.registered().running();
    b.registered().running();
    fails(&mut a, 2);
    fails(&mut b, 5);

    let check = |shown: &Exposition, supervisor: &str, failures: Option<f64>| {
        let labels = [("service", "feed"), ("supervisor", supervisor)];
        for name in [
            "failures_total",
            "restarts_total",
            "uptime_seconds_count",
            "backoff_delay_seconds_count",
        ] {
            let name = format!("janus_supervisor_{name}");
            assert_eq!(shown.sum(&name, &labels), failures, "{supervisor} {name}");
        }
    };
    let active = |shown: &Exposition, supervisor| {
        let labels = [("supervisor", supervisor)];
        shown.sum("janus_supervisor_active_services", &labels)
    };
    let shown = scrape(&exporter);
    check(&shown, "edge", Some(2.0));
    check(&shown, "core", Some(5.0));
    let idle = [("service", "idle")];
    let uptimes = "janus_supervisor_uptime_seconds_count";
    assert_eq!(shown.samples(uptimes, &idle).count(), 1, "edge's only");
    assert_eq!(
        (active(&shown, "edge"), active(&shown, "core")),
        (Some(2.0), Some(1.0))
    );

    a.stopped(secs(1)).tell(EventKind::Removed);
    let shown = scrape(&exporter);
    check(&shown, "edge", None);
    check(&shown, "core", Some(5.0));
    assert_eq!(
        (active(&shown, "edge"), active(&shown, "core")),
        (Some(1.0), Some(1.0))
    );
}

#[test]
fn two_supervisors_are_told_apart_by_their_prefix() {
    let exporter = PrometheusExporter::new().unwrap();
    let edge = exporter
        .observer_with(OtelObserver::builder().with_prefix("edge"))
        .unwrap();
    let core = exporter
        .observer_with(OtelObserver::builder().with_prefix("core"))
        .unwrap();
    let mut a = Told::new(&[&*edge], 0, "feed");
    let mut b = Told::new(&[&*core], 0, "feed");
    a.registered().running();
    b.registered().running();
    fails(&mut a, 2);
    fails(&mut b, 5);
    a.stopped(secs(1)).tell(EventKind::Removed);
    let shown = scrape(&exporter);
    for name in ["failures_total", "uptime_seconds_count"] {
        assert_eq!(shown.sum(&format!("edge_{name}"), &[]), None);
        assert_eq!(shown.sum(&format!("core_{name}"), &[]), Some(5.0));
    }
}

#[test]
fn counters_and_gauges_of_a_dropped_observer_are_no_longer_reported() {
    let exporter = PrometheusExporter::new().unwrap();
    let observer = exporter.observer();
    Told::new(&[&*observer], 0, "feed").registered();
    assert_eq!(scrape(&exporter).values_of("service").len(), 1);
    drop(observer);
    assert_eq!(scrape(&exporter).values_of("service").len(), 0);
}

#[test]
fn an_observer_that_is_dropped_is_no_longer_reported() {
    let exporter = PrometheusExporter::new().unwrap();
    let stays = exporter.observer_with(named("stays")).unwrap();
    let goes = exporter.observer_with(named("goes")).unwrap();
    for (observer, times) in [(&stays, 1), (&goes, 2)] {
        let mut feed = Told::new(&[&**observer], 0, "feed");
        feed.registered().running();
        fails(&mut feed, times);
    }
    assert_eq!(
        scrape(&exporter).values_of("supervisor").len(),
        2,
        "both, before"
    );
    drop(goes);
    let shown = scrape(&exporter);
    assert_eq!(Vec::from_iter(shown.values_of("supervisor")), ["stays"]);
    drop(stays);
    let text = exporter.render().unwrap();
    assert_eq!(text, "");
}

/// As when a supervisor is replaced by a new one, with the same settings.
#[test]
fn an_observer_in_the_place_of_a_dropped_one_begins_at_zero() {
    let exporter = PrometheusExporter::new().unwrap();
    let old = exporter.observer();
    let mut feed = Told::new(&[&*old], 0, "feed");
    feed.registered().running();
    fails(&mut feed, 3);
    drop(feed);
    drop(old);
    let new = exporter.observer();
    Told::new(&[&*new], 0, "feed").registered();
    let shown = scrape(&exporter);
    for name in ["failures_total", "restarts_total", "uptime_seconds_count"] {
        let name = format!("janus_supervisor_{name}");
        assert_eq!(shown.sum(&name, &[]), Some(0.0), "{name}");
    }
}

/// Otherwise Prometheus would refuse the whole scrape.
#[test]
fn of_observers_with_the_same_series_the_newest_shows() {
    let plain = OtelObserver::builder;
    let with = |attributes: &[(&'static str, &'static str)]| {
        attributes.iter().fold(plain(), |settings, (key, value)| {
            settings.with_attribute(KeyValue::new(*key, *value))
        })
    };
    for (old, new) in [
        (plain(), plain()),
        (
            plain().with_prefix("my.fleet"),
            plain().with_prefix("my-fleet"),
        ),
        (with(&[("my.zone", "a")]), with(&[("my_zone", "a")])),
        (
            with(&[("a", "1"), ("b", "2")]),
            with(&[("b", "2"), ("a", "1")]),
        ),
        (plain(), with(&[("zone", "")])),
        (plain(), plain().without_service_label()),
    ] {
        let exporter = PrometheusExporter::new().unwrap();
        let old = exporter.observer_with(old).unwrap();
        Told::new(&[&*old], 0, "old").registered();
        Told::new(&[&*old], 1, "feed").registered();
        let shown = |active: f64, old: bool| {
            let shown = scrape(&exporter);
            let families = shown.families.values().flat_map(|family| &family.samples);
            let of_active = families.filter(|sample| sample.name.ends_with("_active_services"));
            let of_active: Vec<f64> = of_active.map(|sample| sample.value).collect();
            assert_eq!(of_active, [active], "{exporter:?}");
            assert_eq!(shown.values_of("service").contains("old"), old);
        };
        shown(2.0, true);
        let new = exporter.observer_with(new).unwrap();
        Told::new(&[&*new], 0, "feed").registered();
        shown(1.0, false);
        drop(new);
        shown(2.0, true);
    }
}

#[test]
fn observers_with_other_values_of_an_attribute_are_all_shown() {
    let exporter = PrometheusExporter::new().unwrap();
    let plain = exporter.observer();
    let (edge, core) = (
        exporter.observer_with(named("edge")).unwrap(),
        exporter.observer_with(named("core")).unwrap(),
    );
    for observer in [&plain, &edge, &core] {
        Told::new(&[&**observer], 0, "feed").registered();
    }
    let shown = scrape(&exporter);
    let active = "janus_supervisor_active_services";
    assert_eq!(shown.samples(active, &[]).count(), 3);
}

/// Not what it is for: each supervisor gives the same numbers to its services. Nothing goes wrong for good all the
/// same.
#[test]
fn one_observer_of_several_supervisors_comes_back_to_none_active() {
    for names in [["a", "b", "c"], ["a"; 3], ["a", "b", "a"]] {
        for room in [0, 1, 10] {
            let exporter = PrometheusExporter::builder().with_max_services(room);
            let exporter = exporter.build().unwrap();
            let observer = exporter.observer();
            let [mut first, mut second, mut third] =
                names.map(|name| Told::new(&[&*observer], 0, name));
            first.registered().running();
            second.registered();
            first.stopped(ms(1));
            second.running();
            first.tell(EventKind::Removed);
            third.registered();
            second.failed(FailureKind::Error, ms(1)).stopped(ms(1));
            third.running().stopped(ms(1));
            second.tell(EventKind::Removed);
            third.tell(EventKind::Removed);
            let shown = scrape(&exporter);
            let active = shown.sum("janus_supervisor_active_services", &[]);
            assert_eq!(active, Some(0.0), "{names:?}, room for {room}");
            let phases = shown.sum("janus_supervisor_service_phase", &[]);
            assert_eq!(phases.unwrap_or(0.0), 0.0, "{names:?}, room for {room}");
        }
    }
}

/// The numbers are the same, the names are not: none is taken for the other.
#[test]
fn services_with_the_same_number_and_other_names_are_all_active() {
    let exporter = PrometheusExporter::new().unwrap();
    let observer = exporter.observer();
    for name in 0..100 {
        let mut service = Told::new(&[&*observer], 0, &name.to_string());
        service.registered().running();
    }
    let shown = scrape(&exporter);
    let active = shown.sum("janus_supervisor_active_services", &[]);
    assert_eq!(active, Some(100.0));
    assert_eq!(shown.values_of("service").len(), 100);
}

#[test]
fn service_that_registers_twice_is_active_once() {
    let exporter = PrometheusExporter::new().unwrap();
    let observer = exporter.observer();
    let mut feed = Told::new(&[&*observer], 0, "feed");
    feed.registered().running().registered();
    let active = || scrape(&exporter).sum("janus_supervisor_active_services", &[]);
    assert_eq!(active(), Some(1.0));
    feed.stopped(ms(1));
    assert_eq!(active(), Some(0.0));
}

/// In the text, a histogram has more names than one.
#[test]
fn a_metric_of_ones_own_may_not_have_the_name_of_a_sample() {
    for (own, taken) in [
        (
            "janus_supervisor_spawned_total",
            "janus_supervisor_spawned_total",
        ),
        (
            "janus_supervisor_uptime_seconds",
            "janus_supervisor_uptime_seconds",
        ),
        (
            "janus_supervisor_uptime_seconds_count",
            "janus_supervisor_uptime_seconds_count",
        ),
    ] {
        let exporter = PrometheusExporter::new().unwrap();
        let observer = exporter.observer();
        Told::new(&[&*observer], 0, "feed").registered().running();
        let counter = prometheus::IntCounter::new(own, "one's own").unwrap();
        exporter.registry().register(Box::new(counter)).unwrap();
        let error = exporter.render().unwrap_err();
        assert!(
            matches!(&error, PrometheusError::NameTaken(name) if name == taken),
            "{own}: {error}"
        );
    }
}
