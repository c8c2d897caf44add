//! Metrics without OpenTelemetry: a backend of one's own, in one short file. `cargo run --example second_backend`
//!
//! Prints what Prometheus would be shown after a short run.
#![expect(clippy::print_stdout, reason = "an example talks")]

mod backend;

use backend::SecondBackend;
use janus_supervisor::{
    BackoffConfig, JanusSupervisor, SpawnOptions, SupervisorConfig, service_fn,
};
use prometheus_client::{encoding::text, registry::Registry};
use std::sync::Arc;
use std::time::Duration;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut registry = Registry::default();
    let observer = Arc::new(SecondBackend::new(&mut registry));
    let supervisor = JanusSupervisor::new(
        SupervisorConfig::default()
            .without_signal_handler()
            .with_observer(observer),
    );

    let delays = BackoffConfig::new(Duration::from_millis(1), Duration::from_millis(4))
        .with_circuit_breaker(3, Duration::from_secs(60));
    let feed = service_fn("feed", |_cancel| async { Err("no route".into()) });
    let feed = supervisor.spawn_service_with_options(feed, SpawnOptions::with_backoff(delays))?;
    supervisor.spawn_service(service_fn("api", |cancel| async move {
        cancel.cancelled().await;
        Ok(())
    }))?;
    feed.terminated().await;
    supervisor.trigger_shutdown();
    supervisor.wait_for_drain().await;

    let mut exposition = String::new();
    text::encode(&mut exposition, &registry)?;
    print!("{exposition}");
    Ok(())
}
