//! What metrics cost: `cargo bench -p janus-tests --bench metrics`
//!
//! Restarts a second with each backend, side by side, round by round; then scrapes of fleets of three sizes. The
//! machine may be noisy: compare the ratios, which are of one run.

#![expect(clippy::print_stdout, reason = "a benchmark talks")]
#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]
#![expect(clippy::disallowed_methods, reason = "it measures real time")]

#[path = "../../examples/second_backend/backend.rs"]
mod second_backend;

use janus_metrics_otel::{OtelObserver, PrometheusExporter};
use janus_supervisor::{
    BackoffConfig, EventKind, Failure, FailureKind, JanusSupervisor, Observer, RunOutcome,
    ServiceError, ServiceEvent, SupervisorConfig, service_fn,
};
use opentelemetry::metrics::MeterProvider as _;
use opentelemetry_sdk::metrics::{ManualReader, SdkMeterProvider};
use prometheus_client::registry::Registry;
use second_backend::SecondBackend;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

const ROUNDS: usize = 7;
const SERVICES: usize = 1_000;
const RESTARTS: u32 = 300;

fn main() {
    restarts();
    scrapes();
}

/// A thousand services that fail at once, again and again, without a delay.
fn restarts() {
    let provider = SdkMeterProvider::builder()
        .with_reader(ManualReader::builder().build())
        .build();
    let exporter = PrometheusExporter::new().unwrap();
    let mut registry = Registry::default();
    let backends: [(&str, Option<Arc<dyn Observer>>); 4] = [
        ("no observer", None),
        (
            "OtelObserver, SDK provider",
            Some(Arc::new(OtelObserver::new(&provider.meter("janus")))),
        ),
        ("PrometheusExporter's observer", Some(exporter.observer())),
        (
            "second backend (prometheus-client)",
            Some(Arc::new(SecondBackend::new(&mut registry))),
        ),
    ];
    let mut rounds: [Vec<f64>; 4] = Default::default();
    for _ in 0..ROUNDS {
        for ((_, observer), each) in backends.iter().zip(&mut rounds) {
            each.push(restarts_a_second(observer.clone()));
        }
    }
    println!(
        "restarts a second, {SERVICES} services that fail {RESTARTS} times each without a delay, one thread, median of {ROUNDS} rounds"
    );
    let medians = rounds.map(|mut each| {
        each.sort_by(f64::total_cmp);
        each[ROUNDS / 2]
    });
    for ((name, _), median) in backends.iter().zip(medians) {
        let ratio = median / medians[0];
        let nanos = 1e9 / median - 1e9 / medians[0];
        println!("{name:<36} {median:>10.0}   x {ratio:.2}   {nanos:>+6.0} ns a restart");
    }
}

fn restarts_a_second(observer: Option<Arc<dyn Observer>>) -> f64 {
    let at_once = BackoffConfig::new(Duration::ZERO, Duration::ZERO).without_circuit_breaker();
    let mut config = SupervisorConfig::default()
        .without_signal_handler()
        .with_default_backoff(at_once);
    if let Some(observer) = observer {
        config = config.with_observer(observer);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let supervisor = JanusSupervisor::new(config);
        let begun = Instant::now();
        for i in 0..SERVICES {
            let runs = Arc::new(AtomicU32::new(0));
            let service = service_fn(format!("feed-{i}"), move |_cancel| {
                let run = runs.fetch_add(1, Relaxed);
                async move {
                    if run < RESTARTS {
                        return Err(ServiceError::from("no route"));
                    }
                    Ok(())
                }
            });
            supervisor.spawn_service(service).unwrap();
        }
        supervisor.wait_for_drain().await;
        let took = begun.elapsed();
        for i in 0..SERVICES {
            supervisor.remove_service(&format!("feed-{i}")).unwrap();
        }
        SERVICES as f64 * f64::from(RESTARTS) / took.as_secs_f64()
    })
}

/// Services that have been registered, and have run and failed once.
fn scrapes() {
    println!("\none scrape (PrometheusExporter::render)");
    println!("services   label        time       text   memory, at most");
    for services in [1_000, 10_000, 100_000] {
        for label in [true, false] {
            let exporter = PrometheusExporter::builder()
                .with_max_services(services)
                .build()
                .unwrap();
            let mut settings = OtelObserver::builder();
            if !label {
                settings = settings.without_service_label();
            }
            let observer = exporter.observer_with(settings).unwrap();
            fill(&*observer, services);
            let mut took = Vec::new();
            let before = memory("VmRSS");
            // 5: forget the peak so far.
            fs::write("/proc/self/clear_refs", "5").unwrap();
            let mut bytes = 0;
            for _ in 0..3 {
                let begun = Instant::now();
                bytes = exporter.render().unwrap().len();
                took.push(begun.elapsed());
            }
            took.sort();
            println!(
                "{services:>8}   {:<7} {:>8.1} ms {:>7.1} MB {:>7.0} MB",
                if label { "service" } else { "none" },
                took[1].as_secs_f64() * 1e3,
                bytes as f64 / 1e6,
                (memory("VmHWM") - before) / 1e3,
            );
        }
    }
}

fn fill(observer: &dyn Observer, services: usize) {
    let now = Instant::now();
    for id in 0..services as u64 {
        let name: Arc<str> = format!("feed-{id}").into();
        let ran = EventKind::RunEnded {
            outcome: RunOutcome::Failed(Failure::new(FailureKind::Error, "no route")),
            ran_for: Duration::from_secs(1),
        };
        let waits = EventKind::BackingOff {
            attempt: 1,
            delay: Duration::from_millis(70),
        };
        for (seq, kind) in (0..).zip([EventKind::Registered, EventKind::Running, ran, waits]) {
            observer.observe(&ServiceEvent::new(id, Arc::clone(&name), 1, seq, now, kind));
        }
    }
}

/// A line of what Linux says of this process, in kB.
fn memory(line: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let value = status.lines().find_map(|each| each.strip_prefix(line));
    let digits: String = value
        .unwrap()
        .chars()
        .filter(char::is_ascii_digit)
        .collect();
    digits.parse().unwrap()
}
