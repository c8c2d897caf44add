//! A shutdown with a service that does not listen. `cargo run --example 03_shutdown`
//!
//! Prints (the milliseconds vary):
//! ```text
//! polite: stopping, stubborn: stopping
//! shutdown (requested): 1 drained, aborted: stubborn in 101ms
//! polite: cancelled
//! stubborn: aborted: did not stop in time
//! exit code 1
//! ```
#![expect(clippy::print_stdout, reason = "an example talks")]

use janus_supervisor::{JanusSupervisor, SupervisorConfig, service_fn};
use std::time::Duration;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let config = SupervisorConfig::default().with_shutdown_timeout(Duration::from_millis(100));
    let supervisor = JanusSupervisor::new(config);
    supervisor.spawn_service(service_fn("polite", |cancel| async move {
        cancel.cancelled().await;
        tokio::time::sleep(Duration::from_millis(20)).await; // last things
        Ok(())
    }))?;
    supervisor.spawn_service(service_fn("stubborn", |_cancel| std::future::pending()))?;
    tokio::task::yield_now().await; // both have begun

    supervisor.trigger_shutdown();
    tokio::task::yield_now().await; // both have been told
    let phases: Vec<String> = supervisor
        .snapshot()
        .services
        .iter()
        .map(|service| format!("{}: {}", service.service_name, service.phase))
        .collect();
    println!("{}", phases.join(", "));

    let report = supervisor.run_until_shutdown().await?;
    println!("{report}");
    for service in supervisor.snapshot().services {
        let reason = service.termination_reason.unwrap_or_default();
        println!("{}: {reason}", service.service_name);
    }
    // In a real `main`: `std::process::exit`, so that an outer supervisor notices, and no stuck thread is waited for.
    println!("exit code {}", report.exit_code());
    Ok(())
}
