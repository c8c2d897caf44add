//! The metrics of `janus-metrics-otel` on `prometheus-client`: the same names, labels and numbers.
//!
//! To stay short, a series appears with its first value and stays when its service is removed.

use janus_supervisor::{EventKind, Observer, RunOutcome, ServiceEvent, ServicePhase};
use prometheus_client::metrics::{counter::Counter, family::Family, gauge::Gauge, histogram};
use prometheus_client::registry::{Metric, Registry};
use std::sync::Arc;

type Labels = Vec<(&'static str, Arc<str>)>;
type Histogram = Family<Labels, histogram::Histogram, fn() -> histogram::Histogram>;

pub(crate) struct SecondBackend {
    spawned: Family<Labels, Counter>,
    terminated: Family<Labels, Counter>,
    restarts: Family<Labels, Counter>,
    failures: Family<Labels, Counter>,
    breaker_trips: Family<Labels, Counter>,
    active: Gauge,
    phase: Family<Labels, Gauge>,
    uptime: Histogram,
    backoff_delay: Histogram,
}

impl SecondBackend {
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let to = registry.sub_registry_with_prefix("janus_supervisor");
        let seconds = || histogram::Histogram::new([0.001, 0.1, 1.0, 60.0, 3_600.0, 86_400.0]);
        let (uptime, delay) = ("uptime_seconds", "backoff_delay_seconds");
        Self {
            spawned: add(to, "spawned", Family::default()),
            terminated: add(to, "terminated", Family::default()),
            restarts: add(to, "restarts", Family::default()),
            failures: add(to, "failures", Family::default()),
            breaker_trips: add(to, "circuit_breaker_trips", Family::default()),
            active: add(to, "active_services", Gauge::default()),
            phase: add(to, "service_phase", Family::default()),
            uptime: add(to, uptime, Family::new_with_constructor(seconds)),
            backoff_delay: add(to, delay, Family::new_with_constructor(seconds)),
        }
    }
}

fn add<M: Metric + Clone>(to: &mut Registry, name: &str, metric: M) -> M {
    to.register(name, name.replace('_', " "), metric.clone());
    metric
}

impl Observer for SecondBackend {
    fn observe(&self, event: &ServiceEvent) {
        let of = || vec![("service", Arc::clone(&event.service))];
        let by = |label, value: &str| {
            let mut labels = of();
            labels.push((label, value.into()));
            labels
        };
        let one = |counter: &Family<Labels, Counter>, labels| {
            counter.get_or_create(&labels).inc();
        };
        match &event.kind {
            EventKind::Registered => {
                one(&self.spawned, of());
                self.active.inc();
            }
            EventKind::Restarting => one(&self.restarts, of()),
            EventKind::BreakerOpened { .. } => one(&self.breaker_trips, of()),
            EventKind::Terminated { reason } => {
                one(&self.terminated, by("reason", reason.as_str()));
                self.active.dec();
            }
            EventKind::BackingOff { delay, .. } => {
                let seconds = delay.as_secs_f64();
                self.backoff_delay.get_or_create(&of()).observe(seconds);
            }
            EventKind::RunEnded { outcome, ran_for } => {
                if let RunOutcome::Failed(failure) = outcome {
                    one(&self.failures, by("kind", failure.kind().as_str()));
                }
                let seconds = ran_for.as_secs_f64();
                self.uptime.get_or_create(&of()).observe(seconds);
            }
            _ => {}
        }
        if let Some(now) = event.kind.phase() {
            for phase in ServicePhase::ALL {
                let gauge = self.phase.get_or_create(&by("phase", phase.as_str()));
                gauge.set(i64::from(phase == now));
            }
        }
    }
}
