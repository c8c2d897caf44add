//! How long a service waits before it is restarted, and when it gives up. `cargo run --example 02_backoff`
//!
//! Prints:
//! ```text
//! the delays, at most: [0ns, 20ms, 40ms, 80ms, 100ms]
//! not like this: the circuit breaker can never open: 5 failures (max_retries) are up to 320ms of delays apart, which does not fit into circuit_breaker_window (100ms)
//! circuit breaker open (5/5 failures)
//! 5 starts, 5 failures
//! ```
#![expect(clippy::print_stdout, reason = "an example talks")]

use janus_supervisor::{
    BackoffConfig, JanusSupervisor, Jitter, SpawnOptions, SupervisorConfig, service_fn,
};
use std::time::Duration;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let ms = Duration::from_millis;
    // At once, then 20 ms, 40 ms, .. at most 100 ms, half of it random; the fifth failure within a minute is the last.
    let backoff = BackoffConfig::new(ms(10), ms(100))
        .with_initial_delay(Duration::ZERO)
        .with_jitter(Jitter::Equal)
        .with_circuit_breaker(5, Duration::from_secs(60));
    println!("the delays, at most: {:?}", backoff.preview(5));

    // A configuration that cannot work is an error and not a surprise at night.
    let pointless = BackoffConfig::new(ms(40), ms(100))
        .with_jitter(Jitter::None)
        .with_circuit_breaker(5, ms(100));
    if let Err(error) = pointless.validate() {
        println!("not like this: {error}");
    }

    let supervisor = JanusSupervisor::new(SupervisorConfig::default());
    let feed = supervisor.spawn_service_with_options(
        service_fn("feed", |_cancel| async { Err("connection refused".into()) }),
        SpawnOptions::with_backoff(backoff),
    )?;
    println!("{}", feed.terminated().await);
    let end = feed.snapshot();
    println!(
        "{} starts, {} failures",
        end.start_count, end.total_failures
    );
    Ok(())
}
