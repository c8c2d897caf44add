//! Scrapes in the middle of things.

use crate::history::Told;
use crate::parser::{Sample, parse_sample};
use crate::scrape;
use janus_lifecycle::{EventKind, Failure, FailureKind, Observer, RunOutcome};
use janus_metrics_otel::{OtelObserver, PrometheusExporter};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

const THREADS: u64 = 2;
const SERVICES_EACH: u64 = 50;
const SERVICES: u64 = THREADS * SERVICES_EACH;
const SCRAPES: usize = 12;

/// The next step of a service that fails and runs again for ever.
fn step(service: &mut Told<'_>, n: u64) {
    let (attempt, delay, ran_for) = (1, Duration::from_millis(1), Duration::from_millis(1));
    let failure = || Failure::new(FailureKind::Error, "no route");
    let outcome = || RunOutcome::Failed(failure());
    service.tell(match n % 4 {
        0 => EventKind::RunEnded {
            outcome: outcome(),
            ran_for,
        },
        1 => EventKind::BackingOff { attempt, delay },
        2 => EventKind::Restarting,
        _ => EventKind::Running,
    });
}

/// Ends the other threads, also when a look panics.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

/// Services that fail and run again as fast as they can while `look` is shown one scrape after the other. At any moment
/// they are in all phases of that; none begins or ends. Answers how many restarts there were.
fn storm(exporter: &PrometheusExporter, observer: &dyn Observer, look: impl Fn(&str)) -> u64 {
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
                for round in 0.. {
                    for (n, service) in (0..).zip(&mut *fleet) {
                        // Each begins a little later than the one before it.
                        if let Some(n) = u64::checked_sub(round, n % 4) {
                            step(service, n);
                            restarts.fetch_add(u64::from(n % 4 == 2), SeqCst);
                        }
                    }
                    if over.load(SeqCst) {
                        return;
                    }
                }
            });
        }
        let _over = Over(&over);
        for _ in 0..SCRAPES {
            let before = restarts.load(SeqCst);
            look(&exporter.render().unwrap());
            // The next one sees something else.
            while restarts.load(SeqCst) == before {
                std::thread::yield_now();
            }
        }
    });
    restarts.into_inner()
}

/// All samples of one metric. A whole parse would take most of the time.
fn samples(text: &str, name: &str) -> Vec<Sample> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let lines = lines.filter(|line| line.split(['{', ' ']).next() == Some(name));
    lines.map(|line| parse_sample(line).unwrap()).collect()
}

fn sum(text: &str, name: &str) -> u64 {
    let samples = samples(text, &format!("janus_supervisor_{name}"));
    samples.iter().map(|sample| sample.value as u64).sum()
}

#[test]
fn scrape_in_a_storm_sees_every_service_in_exactly_one_phase() {
    let exporter = PrometheusExporter::new().unwrap();
    let observer = exporter.observer();
    let restarts = storm(&exporter, &*observer, |text| {
        let all = samples(text, "janus_supervisor_service_phase");
        let mut phases: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        for sample in &all {
            let of_one = phases.entry(sample.label("service")).or_default();
            of_one.push(sample.value);
        }
        assert_eq!(phases.len() as u64, SERVICES);
        for (service, mut phases) in phases {
            phases.sort_by(f64::total_cmp);
            assert_eq!(phases, [0.0, 0.0, 0.0, 0.0, 1.0], "{service}");
        }
    });
    let text = exporter.render().unwrap();
    assert_eq!(sum(&text, "restarts_total"), restarts);
    let failures = sum(&text, "failures_total");
    assert_eq!(sum(&text, "uptime_seconds_count"), failures);
    assert!((restarts..=restarts + SERVICES).contains(&failures));
}

/// None begins or ends, so there is one right number.
#[test]
fn scrape_in_a_storm_sees_every_service_active() {
    let exporter = PrometheusExporter::new().unwrap();
    let observer = exporter.observer();
    storm(&exporter, &*observer, |text| {
        assert_eq!(sum(text, "active_services"), SERVICES);
    });
}

#[test]
fn scrape_of_the_whole_fleet_in_a_storm_misses_no_service_and_counts_none_twice() {
    let exporter = PrometheusExporter::new().unwrap();
    let observer = exporter
        .observer_with(OtelObserver::builder().without_service_label())
        .unwrap();
    storm(&exporter, &*observer, |text| {
        assert_eq!(sum(text, "service_phase"), SERVICES);
    });
}

#[test]
fn scrapes_at_the_same_time_are_all_whole() {
    let exporter = PrometheusExporter::new().unwrap();
    let observer = exporter.observer();
    for id in 0..20 {
        Told::new(&[&*observer], id, &id.to_string())
            .registered()
            .running();
    }
    let expected = exporter.render().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..5 {
                    assert_eq!(scrape(&exporter).values_of("service").len(), 20);
                }
            });
        }
    });
    let sorted = |text: &str| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
    let text = exporter.render().unwrap();
    assert_eq!(sorted(&text), sorted(&expected));
}

/// Looks so many times while another thread does `act` again and again; no two looks see the same.
fn meanwhile(mut act: impl FnMut() + Send, looks: usize, look: impl Fn()) {
    let (over, acts) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let (_over, acts) = (Over(&over), &acts);
        let over = &over;
        let thread = scope.spawn(move || {
            while !over.load(SeqCst) {
                act();
                acts.fetch_add(1, SeqCst);
            }
        });
        for _ in 0..looks {
            let before = acts.load(SeqCst);
            look();
            while acts.load(SeqCst) == before && !thread.is_finished() {
                std::thread::yield_now();
            }
        }
    });
}

/// Removed services of the name follow each other as fast as they can. The others make a scrape long.
#[test]
fn scrape_while_a_name_passes_on_shows_exactly_one_of_its_services() {
    let exporter = PrometheusExporter::new().unwrap();
    let observer = exporter.observer();
    for id in 1..SERVICES {
        Told::new(&[&*observer], id, &format!("s{id}")).registered();
    }
    let mut old = Told::new(&[&*observer], 0, "feed");
    old.registered();
    let mut ids = SERVICES..;
    let pass_on = || {
        let id = ids.next().unwrap();
        let mut new = Told::new(&[&*observer], id, "feed");
        old.stopped(Duration::ZERO);
        new.registered().running();
        old.tell(EventKind::Removed);
        old = new;
    };
    meanwhile(pass_on, SCRAPES, || {
        let text = exporter.render().unwrap();
        let spawned = samples(&text, "janus_supervisor_spawned_total");
        let of_feed = spawned.iter().filter(|s| s.label("service") == "feed");
        assert_eq!(of_feed.count(), 1);
        assert_eq!(spawned.len() as u64, SERVICES);
    });
}

/// Each begins before the one before it ends.
#[test]
fn scrape_while_services_take_turns_never_sees_none_or_three_active() {
    let exporter = PrometheusExporter::new().unwrap();
    let settings = OtelObserver::builder().without_service_label();
    let observer = exporter.observer_with(settings).unwrap();
    let service = |id: u64| Told::new(&[&*observer], id, &format!("s{}", id % SERVICES));
    let mut old = service(0);
    old.registered();
    let mut ids = 1..;
    let take_turns = || {
        let mut new = service(ids.next().unwrap());
        new.registered();
        old.stopped(Duration::ZERO).tell(EventKind::Removed);
        old = new;
    };
    meanwhile(take_turns, 600, || {
        let active = sum(&exporter.render().unwrap(), "active_services");
        assert!((1..=2).contains(&active), "{active}");
    });
}
