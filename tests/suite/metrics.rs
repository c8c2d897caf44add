//! What the metrics say, against what the supervisor itself says.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../janus-metrics-otel/tests/exposition/parser.rs"]
mod exposition;
#[path = "../../janus-metrics-otel/tests/exposition/history.rs"]
mod history;
#[path = "../../examples/second_backend/backend.rs"]
mod second_backend;

use exposition::{Exposition, Sample, parse, parse_sample};
use janus_metrics_otel::{OtelObserver, PrometheusExporter};
use janus_supervisor::{
    BackoffConfig, EventKind, FailureKind, JanusSupervisor, Observer, RestartPolicy, RunOutcome,
    ServiceHandle, ServicePhase, SpawnOptions, TerminationReason,
};
use janus_tests::{Recorder, Script, Turn, config, ms, secs};
use prometheus_client::registry::Registry;
use second_backend::SecondBackend;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

const SERVICES: usize = 1_000;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }

    /// Some runs that end, and a last one: for ever, or again and again until a breaker opens.
    fn script(&mut self, name: String) -> Script {
        let mut turns = Vec::new();
        for _ in 0..self.below(5) {
            let end = match self.below(4) {
                0 => Turn::Complete,
                1 => Turn::Panic("overflow"),
                _ => Turn::Fail("no route"),
            };
            turns.push(end.after(ms(self.below(3_000))));
        }
        turns.push(match self.below(10) {
            0 => Turn::Fail("no route"),
            1 => Turn::Panic("overflow").after(ms(10)),
            2 => Turn::FailForGood("no such file"),
            3 => Turn::Complete.after(secs(2)),
            4 => Turn::Hang,
            5 => Turn::Fail("disk full").when_cancelled(),
            _ => Turn::until_cancelled(),
        });
        let [never, on_failure, always] = [
            RestartPolicy::Never,
            RestartPolicy::OnFailure,
            RestartPolicy::Always,
        ];
        let policies = [never, on_failure, on_failure, on_failure, always];
        Script::new(name, turns).policy(policies[self.below(5) as usize])
    }
}

/// What an exporter shows; a failure if it is not valid.
fn scrape(exporter: &PrometheusExporter) -> Exposition {
    parse(&exporter.render().unwrap()).unwrap()
}

/// Looks at the phases only.
fn assert_one_phase_each(exporter: &PrometheusExporter) {
    let text = exporter.render().unwrap();
    let phases = "janus_supervisor_service_phase{";
    let mut of_each: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with(phases)) {
        let sample = parse_sample(line).unwrap();
        let of_one = of_each.entry(sample.label("service").to_owned());
        of_one.or_default().push(sample.value);
    }
    for (service, mut phases) in of_each {
        phases.sort_by(f64::total_cmp);
        assert_eq!(phases, [0.0, 0.0, 0.0, 0.0, 1.0], "{service}");
    }
}

/// Of the whole fleet, or of the samples that have these labels.
fn total(shown: &Exposition, name: &str, labels: &[(&str, &str)]) -> u64 {
    let sum = shown.sum(&format!("janus_supervisor_{name}"), labels);
    sum.unwrap_or(f64::NAN) as u64
}

/// The samples by service, name and the value of the other label.
type ByService<'a> = BTreeMap<(&'a str, &'a str, &'a str), f64>;

fn by_service(shown: &Exposition) -> ByService<'_> {
    let samples = shown.families.values().flat_map(|family| &family.samples);
    samples
        .map(|sample| {
            let other = ["reason", "kind", "phase", "le"].map(|label| sample.label(label));
            let other = other.into_iter().find(|value| !value.is_empty());
            let name = sample.name.trim_start_matches("janus_supervisor_");
            (
                (sample.label("service"), name, other.unwrap_or("")),
                sample.value,
            )
        })
        .collect()
}

/// What is exported of one service is what its snapshot says.
fn assert_agrees(shown: &ByService<'_>, handle: &ServiceHandle) {
    let snapshot = handle.snapshot();
    let of = |name, other| shown.get(&(handle.name(), name, other)).copied();
    assert_eq!(of("spawned_total", ""), Some(1.0), "{snapshot:?}");
    let restarts = f64::from(snapshot.start_count - 1);
    assert_eq!(of("restarts_total", ""), Some(restarts), "{snapshot:?}");
    let failures = FailureKind::ALL.map(|kind| of("failures_total", kind.as_str()));
    let failures: Option<f64> = failures.into_iter().sum();
    let counted = f64::from(snapshot.total_failures);
    assert_eq!(failures, Some(counted), "{snapshot:?}");
    for phase in ServicePhase::ALL {
        let expected = u8::from(snapshot.phase == phase).into();
        let shown = of("service_phase", phase.as_str());
        assert_eq!(shown, Some(expected), "{phase} {snapshot:?}");
    }
    let ended = handle.termination_reason();
    for reason in TerminationReason::LABELS {
        let expected = ended.as_ref().is_some_and(|r| r.as_str() == reason);
        let shown = of("terminated_total", reason);
        assert_eq!(shown, Some(u8::from(expected).into()), "{snapshot:?}");
    }
}

/// A history of many services that fail in every way, seen from a thread that scrapes all the time.
#[tokio::test(start_paused = true)]
async fn exported_totals_are_the_counters_and_the_snapshots() {
    let recorder = Arc::new(Recorder::default());
    let exporter = Arc::new(PrometheusExporter::new().unwrap());
    // Two buckets are enough here, and a scrape is shorter.
    let settings = OtelObserver::builder()
        .with_uptime_buckets([1.0])
        .with_backoff_buckets([1.0]);
    let supervisor = JanusSupervisor::new(
        config(&recorder)
            .with_observer(exporter.observer_with(settings).unwrap())
            .with_shutdown_timeout(secs(5)),
    );

    let over = Arc::new(AtomicBool::new(false));
    let scraper = std::thread::spawn({
        let (exporter, over) = (Arc::clone(&exporter), Arc::clone(&over));
        move || {
            let mut scrapes = 0;
            loop {
                assert_one_phase_each(&exporter);
                scrapes += 1;
                if over.load(SeqCst) {
                    return scrapes;
                }
            }
        }
    });

    let mut random = Random(3);
    let mut handles = Vec::new();
    for n in 0..SERVICES {
        let backoff = BackoffConfig::new(ms(100), secs(2))
            .with_circuit_breaker(3 + random.below(3) as u32, secs(600));
        let script = random.script(format!("service-{n}"));
        let options = SpawnOptions::with_backoff(backoff);
        handles.push(
            supervisor
                .spawn_service_with_options(script, options)
                .unwrap(),
        );
    }
    for _ in 0..3 {
        tokio::time::sleep(ms(3_000 + random.below(3_000))).await;
        let shown = scrape(&exporter);
        // Nothing moves while this task does not wait: the snapshots are of the same instant.
        let active = supervisor.metrics().snapshot().active_services;
        assert_eq!(total(&shown, "active_services", &[]), active);
        let shown = by_service(&shown);
        for handle in &handles {
            assert_agrees(&shown, handle);
        }
    }
    supervisor.trigger_shutdown();
    supervisor.wait_for_drain().await;
    over.store(true, SeqCst);
    assert!(scraper.join().unwrap() >= 1);

    let shown = scrape(&exporter);
    let each = by_service(&shown);
    for handle in &handles {
        assert_agrees(&each, handle);
    }
    let metrics = supervisor.metrics().snapshot();
    assert_eq!(
        [
            "spawned_total",
            "terminated_total",
            "restarts_total",
            "circuit_breaker_trips_total",
            "active_services",
        ]
        .map(|name| total(&shown, name, &[])),
        [
            metrics.spawned_total,
            metrics.terminated_total,
            metrics.restarts_total,
            metrics.circuit_breaker_trips,
            metrics.active_services,
        ]
    );
    assert_eq!(metrics.spawned_total, SERVICES as u64);
    assert_eq!(metrics.active_services, 0);

    // And, by kind and in the histograms, what the events say.
    for kind in [FailureKind::Error, FailureKind::Panic] {
        let failed = recorder.count(|event| {
            matches!(&event.kind, EventKind::RunEnded { outcome: RunOutcome::Failed(f), .. } if f.kind() == kind)
        });
        let labels = [("kind", kind.as_str())];
        assert_eq!(total(&shown, "failures_total", &labels), failed as u64);
        assert!(failed > SERVICES / 10, "it was a storm");
    }
    let runs = recorder.count(|event| matches!(event.kind, EventKind::RunEnded { .. }));
    assert_eq!(total(&shown, "uptime_seconds_count", &[]), runs as u64);
    let waits = recorder.count(|event| matches!(event.kind, EventKind::BackingOff { .. }));
    assert_eq!(
        total(&shown, "backoff_delay_seconds_count", &[]),
        waits as u64
    );
    for reason in TerminationReason::LABELS {
        let labels = [("reason", reason)];
        let ended = total(&shown, "terminated_total", &labels);
        assert!(ended > 0, "no service was {reason}");
    }

    supervisor.remove_terminated();
    let shown = scrape(&exporter);
    assert_eq!(shown.values_of("service").len(), 0);
}

/// Everything that is not zero, except buckets, whose bounds differ.
fn numbers(samples: impl IntoIterator<Item = Sample>) -> BTreeMap<String, i64> {
    samples
        .into_iter()
        .filter(|sample| sample.value != 0.0 && !sample.name.ends_with("_bucket"))
        // Sums are of seconds: microseconds are close enough.
        .map(|sample| {
            let key = format!("{}{:?}", sample.name, sample.labels);
            (key, (sample.value * 1e6).round() as i64)
        })
        .collect()
}

/// `feed` tells both; everything that they then show must be the same.
async fn assert_parity(feed: impl AsyncFnOnce(Arc<dyn Observer>, Arc<dyn Observer>)) {
    let mut registry = Registry::default();
    let second = Arc::new(SecondBackend::new(&mut registry));
    let exporter = PrometheusExporter::new().unwrap();
    let first = exporter.observer();
    feed(first.clone(), second).await;

    let first = scrape(&exporter).families.into_values();
    let first = numbers(first.flat_map(|family| family.samples));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let second = numbers(lines.map(|line| parse_sample(line).unwrap()));
    assert!(first.len() > 20, "{first:?}");
    assert_eq!(first, second);
}

#[tokio::test(start_paused = true)]
async fn second_backend_shows_the_same_numbers_after_one_of_everything() {
    assert_parity(async |first, second| {
        let told: &[&dyn Observer] = &[&first, &second];
        history::one_of_everything(told);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn second_backend_shows_the_same_numbers_after_a_supervised_history() {
    assert_parity(async |first, second| {
        let recorder = Arc::new(Recorder::default());
        let supervisor = JanusSupervisor::new(
            config(&recorder)
                .with_observer(first)
                .with_observer(second)
                .with_shutdown_timeout(secs(5)),
        );
        let mut random = Random(4);
        for n in 0..200 {
            let backoff = BackoffConfig::new(ms(100), secs(2)).with_circuit_breaker(4, secs(600));
            let script = random.script(format!("service-{n}"));
            let options = SpawnOptions::with_backoff(backoff);
            let spawned = supervisor.spawn_service_with_options(script, options);
            assert!(spawned.is_ok(), "{spawned:?}");
        }
        tokio::time::sleep(secs(20)).await;
        supervisor.trigger_shutdown();
        supervisor.wait_for_drain().await;
    })
    .await;
}
