//! Janus's service events as OpenTelemetry metrics.
//!
//! ```text
//!   supervisor ── ServiceEvent ──▶ OtelObserver ──▶ your Meter ──▶ Prometheus, OTLP, ..
//! ```
//!
//! [`OtelObserver`] is an [`Observer`](janus_lifecycle::Observer): hand it to a supervisor, and give it a `Meter` of
//! any provider. It knows neither the supervisor nor a runtime.
//!
#![cfg_attr(
    feature = "prometheus",
    doc = r#"
```
use janus_lifecycle::{EventKind, Observer, ServiceEvent};
use janus_metrics_otel::PrometheusExporter;

let exporter = PrometheusExporter::new()?;
let observer = exporter.observer(); // for `SupervisorConfig::with_observer`

let now = std::time::Instant::now();
observer.observe(&ServiceEvent::new(0, "feed".into(), 1, 0, now, EventKind::Registered));
assert!(exporter.render()?.contains("janus_supervisor_restarts_total{service=\"feed\"} 0"));
# Ok::<(), janus_metrics_otel::PrometheusError>(())
```
"#
)]
//!
//! # The metrics
//!
//! As Prometheus shows them. [`INSTRUMENTS`] is the table in the code.
//!
//! | name | kind | labels |
//! |------|------|--------|
//! | `janus_supervisor_spawned_total` | counter | `service` |
//! | `janus_supervisor_terminated_total` | counter | `service`, `reason` |
//! | `janus_supervisor_restarts_total` | counter | `service` |
//! | `janus_supervisor_failures_total` | counter | `service`, `kind` |
//! | `janus_supervisor_circuit_breaker_trips_total` | counter | `service` |
//! | `janus_supervisor_active_services` | gauge | |
//! | `janus_supervisor_service_phase` | gauge | `service`, `phase` |
//! | `janus_supervisor_uptime_seconds` | histogram | `service` |
//! | `janus_supervisor_backoff_delay_seconds` | histogram | `service` |
//!
//! - Every counter of a service exists from the moment the service is registered, for every `reason` and `kind`:
//!   `spawned_total` at one, the others at zero, so that `increase()` does not miss a first failure.
//! - `service_phase` is 1 for the phase that the service is in and 0 for the others, so that its average over time is
//!   the share of time in that phase. Where a series is about many services, it is how many of them are in the phase.
//! - A service's series go away when the supervisor forgets the service.
//! - The services in a group are new ones each time that the group runs again, and so are their series: they begin at
//!   zero again, so that `increase()` misses most of a group that restarts in quick succession. What has no `service`
//!   label goes on.
//! - `backoff_delay_seconds` is what was drawn: a stop or a restart by hand may end a backoff before, a group or a
//!   limit on starts prolong it.
//!
//! # Histograms
//!
//! OpenTelemetry has no way to announce a histogram's series before its first value, nor to remove them. With
//! `PrometheusExporter` both hold for histograms, too, because its observers' numbers do not go through OpenTelemetry;
//! through any other exporter they appear with their first value and stay.
//!
//! # What it costs
//!
//! Measured side by side in one run (`cargo bench -p janus-tests --bench metrics`: a thousand services that fail
//! without a delay, one thread of a two-core machine), restarts a second against those without an observer:
//!
//! | observer | ratio | for each restart |
//! |---|---|---|
//! | none | 1 | |
//! | `PrometheusExporter`'s | 0.68 | 174 ns |
//! | `OtelObserver` on an SDK provider | 0.53 | 334 ns |
//! | a `prometheus-client` backend in 91 lines (the example `second_backend`) | 0.17 | 1,888 ns |
//!
//! One scrape (`PrometheusExporter::render`), in the same run:
//!
//! | services | with the `service` label | memory while it renders | without the label |
//! |---|---|---|---|
//! | 1,000 | 14 ms, 3.5 MB of text | 7 MB | less than a millisecond |
//! | 10,000 | 196 ms, 36 MB | 134 MB | the same |
//! | 100,000 | 2.2 s, 361 MB | 1.2 GB | the same |
//!
//! # Huge fleets
//!
//! [`OtelObserverBuilder::without_service_label`] leaves out the `service` label: totals over the fleet, and the number
//! of services in each phase. A scrape then costs the same for any number of services; the observer still keeps a
//! record of each.
//!
//! `PrometheusExporter` has series for as many services as it is told to expect (2,000 by default: 100,000 samples a
//! scrape). Those that register beyond that share one series in each metric, which is labelled `otel_metric_overflow`
//! and loses nothing; a service that has series of its own keeps them. With a provider of your own, the SDK folds
//! series beyond its limit (2,000 in each metric, not services) in a way of its own, which loses counts: raise the
//! limit by a view.
//!
//! With delta temporality on a provider of your own, leave out the label, too, or never use a name again: a name's next
//! service begins at zero, and the SDK subtracts from that what it last saw of the one before, which overflows.
//!
//! # Features
//!
//! - `prometheus` (off by default): `PrometheusExporter`.

mod counts;
mod fleet;
mod instruments;
mod observer;
#[cfg(feature = "prometheus")]
mod prometheus;
mod settings;

pub use instruments::{INSTRUMENTS, Instrument, InstrumentKind};
pub use observer::{OtelObserver, OtelObserverBuilder};
#[cfg(feature = "prometheus")]
pub use prometheus::{PrometheusError, PrometheusExporter, PrometheusExporterBuilder};
pub use settings::SettingsError;
