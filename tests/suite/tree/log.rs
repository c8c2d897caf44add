//! What an operator reads while a group fails again and again.

use janus_supervisor::{
    BackoffConfig, Group, Intensity, JanusService, JanusSupervisor, Jitter, Readiness,
    ServiceError, SpawnOptions, service_fn,
};
use janus_tests::{Recorder, config, ms, secs};
use std::fmt;
use std::sync::{Arc, Mutex};
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

/// The lines at level `info` or above: whose, and what.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

#[derive(Default)]
struct Line {
    service: String,
    message: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
        }
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "service" {
            self.service = value.to_owned();
        }
    }
}

impl<S: tracing::Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if *event.metadata().level() <= tracing::Level::INFO {
            let mut line = Line::default();
            event.record(&mut line);
            if let Ok(mut lines) = self.0.lock() {
                lines.push(format!("{} {}", line.service, line.message));
            }
        }
    }
}

/// What is read in a minute while a group of this child fails again and again, ten times a second.
#[expect(clippy::unwrap_used, reason = "part of a test")]
async fn a_minute_of(child: impl JanusService, readiness: Readiness) -> Vec<String> {
    let lines = Lines::default();
    let reader = tracing_subscriber::registry().with(lines.clone());
    let _read = tracing::subscriber::set_default(reader);
    let supervisor = JanusSupervisor::new(config(&Arc::<Recorder>::default()));
    let backoff = BackoffConfig::new(ms(100), ms(100));
    let backoff = backoff.with_jitter(Jitter::None).without_circuit_breaker();
    let options = SpawnOptions::with_backoff(backoff.clone()).with_readiness(readiness);
    let inner = Group::new("inner")
        .intensity(Intensity::new(0, secs(5)))
        .backoff(backoff)
        .service_with_options(child, options);
    let patient = Intensity::new(1_000, secs(5));
    let outer = Group::new("outer").intensity(patient).group(inner);
    let outer = supervisor.spawn_group(outer).unwrap();
    tokio::time::sleep(secs(59)).await;
    let mut read = std::mem::take(&mut *lines.0.lock().unwrap());
    read.sort_unstable();
    let inner = supervisor.service("outer/inner").unwrap().snapshot();
    assert!(inner.start_count > 500, "{inner:?}");
    outer.stop().await;
    read
}

/// Each of its runs makes its children anew, and none of them has a minute of its own.
#[tokio::test(start_paused = true)]
async fn a_crash_loop_of_a_group_costs_a_few_lines_a_minute() {
    let fails = service_fn("child", |_cancel| async {
        tokio::time::sleep(ms(1)).await;
        Err("x".into())
    });
    assert_eq!(
        a_minute_of(fails, Readiness::Immediate).await,
        [
            "outer service running",
            "outer/inner service failed",
            "outer/inner service running",
            "outer/inner/child service failed",
            "outer/inner/child service running",
            "outer/inner/child service terminated",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn so_does_one_whose_child_fails_for_good_each_time() {
    let fails = service_fn("child", |_cancel| async {
        Err(ServiceError::permanent("no key"))
    });
    assert_eq!(
        a_minute_of(fails, Readiness::Notify).await,
        [
            "outer/inner service failed",
            "outer/inner/child service failed for good",
            "outer/inner/child service terminated",
        ]
    );
}
