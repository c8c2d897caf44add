//! Being told of everything that happens: the way to metrics, alerts and audit trails. `cargo run --example
//! 04_observer`
//!
//! Prints:
//! ```text
//! feed #0, run 1: Registered
//! feed #1, run 1: Running
//! feed #2, run 1: failed by error: timeout
//! feed #3, run 1: next run in 5ms
//! feed #4, run 2: Restarting
//! feed #5, run 2: Running
//! feed #6, run 2: failed by panic: panicked: index out of bounds
//! feed #7, run 2: next run in 10ms
//! feed #8, run 3: Restarting
//! feed #9, run 3: Running
//! feed #10, run 3: RunEnded { outcome: Completed, ran_for: .. }
//! feed #11, run 3: Terminated { reason: Completed }
//! ```
#![expect(clippy::print_stdout, reason = "an example talks")]
#![expect(clippy::panic, reason = "this one panics on purpose")]

use janus_supervisor::{
    BackoffConfig, EventKind, JanusSupervisor, Jitter, Observer, RunOutcome, ServiceEvent,
    SupervisorConfig, service_fn,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

struct Printer;

impl Observer for Printer {
    // Called from the service's own task: quick, and without blocking.
    fn observe(&self, event: &ServiceEvent) {
        let what = match &event.kind {
            EventKind::RunEnded {
                outcome: RunOutcome::Failed(failure),
                ..
            } => {
                format!("failed by {}: {failure}", failure.kind())
            }
            EventKind::RunEnded { outcome, .. } => {
                format!("RunEnded {{ outcome: {outcome:?}, ran_for: .. }}")
            }
            EventKind::BackingOff { delay, .. } => format!("next run in {delay:?}"),
            other => format!("{other:?}"),
        };
        println!(
            "{} #{}, run {}: {what}",
            event.service, event.seq, event.run
        );
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // The panic is caught and counted; this keeps Rust's own report of it off the screen.
    std::panic::set_hook(Box::new(|_| {}));
    let backoff = BackoffConfig::new(Duration::from_millis(5), Duration::from_secs(1));
    let config = SupervisorConfig::default()
        .with_default_backoff(backoff.with_jitter(Jitter::None))
        .with_observer(Arc::new(Printer));
    let supervisor = JanusSupervisor::new(config);
    let runs = Arc::new(AtomicU32::new(0));
    let feed = service_fn("feed", move |_cancel| {
        let run = runs.fetch_add(1, Ordering::Relaxed);
        async move {
            match run {
                0 => Err("timeout".into()),
                1 => panic!("index out of bounds"),
                _ => Ok(()),
            }
        }
    });
    supervisor.spawn_service(feed)?.terminated().await;
    Ok(())
}
