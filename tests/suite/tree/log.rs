//! What an operator reads while a group fails again and again.

use janus_supervisor::{BackoffConfig, Group, Intensity, Jitter, SpawnOptions, service_fn};
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

/// Each of its runs makes its children anew, and none of them has a minute of its own.
#[tokio::test(start_paused = true)]
async fn a_crash_loop_of_a_group_costs_a_few_lines_a_minute() {
    let lines = Lines::default();
    let _read =
        tracing::subscriber::set_default(tracing_subscriber::registry().with(lines.clone()));
    let recorder = Arc::new(Recorder::default());
    let supervisor = janus_supervisor::JanusSupervisor::new(config(&recorder));
    let backoff = BackoffConfig::new(ms(100), ms(100));
    let backoff = backoff.with_jitter(Jitter::None).without_circuit_breaker();
    let fails = |name| {
        service_fn(name, |_cancel| async {
            tokio::time::sleep(ms(1)).await;
            Err("x".into())
        })
    };
    let options = || SpawnOptions::with_backoff(backoff.clone());
    let inner = Group::new("inner")
        .intensity(Intensity::new(0, secs(5)))
        .backoff(backoff.clone())
        .service_with_options(fails("child"), options());
    let patient = Intensity::new(1_000, secs(5));
    let outer = Group::new("outer").intensity(patient).group(inner);
    let outer = supervisor.spawn_group(outer).unwrap();
    tokio::time::sleep(secs(59)).await;
    let read = std::mem::take(&mut *lines.0.lock().unwrap());
    let starts = supervisor
        .service("outer/inner")
        .unwrap()
        .snapshot()
        .start_count;
    assert!(starts > 500, "{starts}");
    let mut read: Vec<&str> = read.iter().map(String::as_str).collect();
    read.sort_unstable();
    assert_eq!(
        read,
        [
            "outer service running",
            "outer/inner service failed",
            "outer/inner service running",
            "outer/inner/child service failed",
            "outer/inner/child service running",
            "outer/inner/child service terminated",
        ]
    );
    outer.stop().await;
}
