//! A real Prometheus server scrapes a supervised fleet: what it answers is what the fleet says of itself.
//!
//! In real time: the server has a clock of its own. Everything is polled for, within one deadline.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod server;

use janus_metrics_otel::PrometheusExporter;
use janus_supervisor::{
    BackoffConfig, JanusSupervisor, Jitter, ServiceError, SpawnOptions, SupervisorConfig,
    TerminationReason, service_fn,
};
use janus_tests::{Script, Turn, ms, secs};
use server::{Prometheus, installed, serve};
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use tokio::sync::Notify;

/// A name that would break a text that is not escaped.
const HOSTILE: &str = "it said \"}\" \\ # HELP 🦀";

/// A fleet, and how it is exported.
struct Fleet {
    supervisor: JanusSupervisor,
    exporter: Arc<PrometheusExporter>,
    /// Makes `late` fail, once.
    fail: Arc<Notify>,
}

impl Fleet {
    /// - `flaky` fails again and again;
    /// - `late` runs until it is told to fail, and then runs again;
    /// - `tripped` fails until its breaker opens;
    /// - the one with the hostile name runs.
    fn spawn() -> Self {
        let exporter = Arc::new(PrometheusExporter::new().unwrap());
        let config = SupervisorConfig::default()
            .without_signal_handler()
            .with_observer(exporter.observer());
        let supervisor = JanusSupervisor::new(config);
        let often = BackoffConfig::new(ms(20), ms(20)).with_jitter(Jitter::None);
        let scripts = [
            (Script::new("flaky", [Turn::Fail("no route")]), 0),
            (Script::new("tripped", [Turn::Panic("overflow")]), 4),
            (Script::new(HOSTILE, []), 0),
        ];
        for (script, max_retries) in scripts {
            let backoff = often.clone().with_circuit_breaker(max_retries, secs(60));
            let options = SpawnOptions::with_backoff(backoff);
            let spawned = supervisor.spawn_service_with_options(script, options);
            spawned.unwrap();
        }
        let fail = Arc::new(Notify::new());
        let told = Arc::clone(&fail);
        let late = service_fn("late", move |cancel| {
            let told = Arc::clone(&told);
            async move {
                tokio::select! {
                    () = cancel.cancelled() => Ok(()),
                    () = told.notified() => Err(ServiceError::from("told to")),
                }
            }
        });
        let options = SpawnOptions::with_backoff(often);
        let spawned = supervisor.spawn_service_with_options(late, options);
        spawned.unwrap();
        Self {
            supervisor,
            exporter,
            fail,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prometheus_answers_what_the_fleet_says_of_itself() {
    if !installed("prometheus") {
        return;
    }
    let whole = tokio::time::timeout(secs(60), async {
        let fleet = Fleet::spawn();
        let exporter = Arc::clone(&fleet.exporter);
        let target = serve(move || exporter.render().unwrap()).await;
        let prometheus = Prometheus::start(target).await;
        ask(&fleet, &prometheus).await;
    });
    let in_time = whole.await;
    assert!(
        in_time.is_ok(),
        "Prometheus did not answer as it should within a minute"
    );
}

async fn ask(fleet: &Fleet, prometheus: &Prometheus) {
    prometheus.until("up", |up| up.values().eq(&[1.0])).await;

    // The series existed at zero, so that the first failure of all counts.
    let failures = "janus_supervisor_failures_total{service=\"late\",kind=\"error\"}";
    prometheus.until(failures, |n| n.values().eq(&[0.0])).await;
    fleet.fail.notify_one();
    let increase = format!("increase({failures}[1m])");
    let seen = |n: &server::Answer| n.values().all(|n| *n > 0.0) && n.len() == 1;
    prometheus.until(&increase, seen).await;

    let rate = "rate(janus_supervisor_failures_total{service=\"flaky\",kind=\"error\"}[5s])";
    prometheus.until(rate, seen).await;
    let rate = "rate(janus_supervisor_failures_total{service=\"flaky\",kind=\"panic\"}[5s])";
    prometheus.until(rate, |n| n.values().eq(&[0.0])).await;

    // From here on nothing changes any more, so that two answers can be compared.
    let flaky = fleet.supervisor.service("flaky").unwrap();
    assert_eq!(flaky.stop().await, TerminationReason::Cancelled);
    let tripped = fleet.supervisor.service("tripped").unwrap();
    let end = tripped.terminated().await;
    assert_eq!(end.as_str(), "circuit_breaker_open");
    let late = fleet.supervisor.service("late").unwrap();
    while late.snapshot().start_count < 2 {
        tokio::task::yield_now().await;
    }

    let services = fleet.supervisor.snapshot().services;
    let restarts = services.iter().map(|service| {
        let restarts = f64::from(service.start_count - 1);
        (service.service_name.clone(), restarts)
    });
    let restarts: server::Answer = restarts.collect();
    assert!(restarts["flaky"] > 0.0, "{restarts:?}");
    assert_eq!((restarts["late"], restarts["tripped"]), (1.0, 3.0));
    assert_eq!(restarts[HOSTILE], 0.0);
    let by_service = "janus_supervisor_restarts_total";
    prometheus.until(by_service, |n| *n == restarts).await;

    let failures = services.iter().map(|service| {
        let failures = f64::from(service.total_failures);
        (service.service_name.clone(), failures)
    });
    let failures: server::Answer = failures.collect();
    let by_service = "sum by (service) (janus_supervisor_failures_total)";
    prometheus.until(by_service, |n| *n == failures).await;

    let one_phase_each = "sum by (service) (janus_supervisor_service_phase)";
    let each = |n: &server::Answer| n.len() == 4 && n.values().all(|n| *n == 1.0);
    prometheus.until(one_phase_each, each).await;
    let active = "janus_supervisor_active_services";
    prometheus.until(active, |n| n.values().eq(&[2.0])).await;
    let quantile =
        "histogram_quantile(0.5, janus_supervisor_backoff_delay_seconds_bucket{service=\"flaky\"})";
    let fits = |n: &server::Answer| n.values().all(|n| (0.01..=0.05).contains(n)) && n.len() == 1;
    prometheus.until(quantile, fits).await;

    // A service that is removed is gone at once, and not only when Prometheus loses patience.
    fleet.supervisor.remove_service("flaky").unwrap();
    let gone = "count by (service) ({service=\"flaky\"})";
    prometheus.until(gone, |n| n.is_empty()).await;
}

#[tokio::test]
async fn promtool_has_no_complaint() {
    if !installed("promtool") {
        return;
    }
    let fleet = Fleet::spawn();
    let tripped = fleet.supervisor.service("tripped").unwrap();
    tripped.terminated().await;
    let exposition = fleet.exporter.render().unwrap();
    assert!(exposition.contains("janus_supervisor_uptime_seconds_bucket"));

    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped());
    promtool.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = promtool.spawn().unwrap();
    let mut stdin = running.stdin.take().unwrap();
    stdin.write_all(exposition.as_bytes()).unwrap();
    drop(stdin);
    let said = running.wait_with_output().unwrap();
    let (out, err) = (
        String::from_utf8_lossy(&said.stdout),
        String::from_utf8_lossy(&said.stderr),
    );
    assert!(said.status.success(), "{out}{err}\n{exposition}");
    assert_eq!((&*out, &*err), ("", ""));
}
