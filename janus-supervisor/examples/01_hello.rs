//! One service that fails, is restarted, and is stopped. `cargo run --example 01_hello`
//!
//! Prints (the delays are jittered):
//! ```text
//! run 1
//! run 2
//! run 3
//! running, after 3 starts and 2 failures; the last: the cable is out
//! shutdown (requested): 1 drained in 0ms
//! ```
#![expect(clippy::print_stdout, reason = "an example talks")]

use janus_supervisor::{
    CancellationToken, JanusService, JanusSupervisor, ServiceError, SupervisorConfig,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::sync::Notify;

/// What is in `self` lives as long as the service; what `run` makes lives as long as the run.
struct Radio {
    runs: AtomicU32,
    on_air: Arc<Notify>,
}

impl JanusService for Radio {
    fn name(&self) -> &str {
        "radio"
    }

    async fn run(&self, cancel: CancellationToken) -> Result<(), ServiceError> {
        let run = self.runs.fetch_add(1, Ordering::Relaxed) + 1;
        println!("run {run}");
        if run < 3 {
            return Err("the cable is out".into());
        }
        self.on_air.notify_one();
        cancel.cancelled().await;
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let on_air = Arc::new(Notify::new());
    let supervisor = JanusSupervisor::new(SupervisorConfig::default());
    let radio = supervisor.spawn_service(Radio {
        runs: AtomicU32::new(0),
        on_air: Arc::clone(&on_air),
    })?;

    on_air.notified().await;
    let now = radio.snapshot();
    println!(
        "{}, after {} starts and {} failures; the last: {}",
        now.phase,
        now.start_count,
        now.total_failures,
        now.last_error.unwrap_or_default()
    );

    // A real program waits here for SIGTERM or Ctrl-C.
    supervisor.trigger_shutdown();
    println!("{}", supervisor.run_until_shutdown().await?);
    Ok(())
}
