//! Services that depend on one another. `cargo run --example 08_groups`
//!
//! Prints (the milliseconds vary):
//! ```text
//! writer begins
//! reader begins, run 1
//! parser begins
//! parser stops
//! reader begins, run 2
//! parser begins
//! parser stops
//! reader begins, run 3
//! parser begins
//! last error of ingest/pipeline/reader: connection reset
//! ingest: running, starts: 1
//!   ingest/writer: running, starts: 1
//!   ingest/pipeline: running, starts: 1
//!     ingest/pipeline/reader: running, starts: 3
//!     ingest/pipeline/parser: running, starts: 3
//! parser stops
//! reader stops
//! writer stops
//! shutdown (requested): 5 drained in 0ms
//! ```
#![expect(clippy::print_stdout, reason = "an example talks")]

use janus_supervisor::{
    BackoffConfig, Group, Intensity, JanusService, JanusSupervisor, SnapshotNode, Strategy,
    SupervisorConfig, service_fn,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Runs until it is told to stop, and says so.
fn steady(name: &'static str) -> impl JanusService {
    service_fn(name, move |cancel| async move {
        println!("{name} begins");
        cancel.cancelled().await;
        println!("{name} stops");
        Ok(())
    })
}

/// Loses its connection twice.
fn reader() -> impl JanusService {
    let runs = Arc::new(AtomicU32::new(0));
    service_fn("reader", move |cancel| {
        let run = runs.fetch_add(1, Ordering::Relaxed) + 1;
        async move {
            println!("reader begins, run {run}");
            if run < 3 {
                tokio::time::sleep(Duration::from_millis(20)).await;
                return Err("connection reset".into());
            }
            cancel.cancelled().await;
            println!("reader stops");
            Ok(())
        }
    })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let delays = BackoffConfig::new(Duration::from_millis(5), Duration::from_millis(50));
    let supervisor = JanusSupervisor::new(SupervisorConfig::default().with_default_backoff(delays));

    // Whoever parses what the reader reads must begin anew with it; the writer goes on.
    let pipeline = Group::new("pipeline")
        .strategy(Strategy::RestForOne)
        .intensity(Intensity::new(5, Duration::from_secs(60)))
        .service(reader())
        .service(steady("parser"));
    let ingest = Group::new("ingest")
        .service(steady("writer"))
        .group(pipeline);
    supervisor.spawn_group(ingest)?;

    let reader = loop {
        tokio::time::sleep(Duration::from_millis(10)).await;
        let reader = supervisor
            .service("ingest/pipeline/reader")
            .ok_or("no reader")?;
        if reader.snapshot().start_count == 3 {
            break reader;
        }
    };
    tokio::time::sleep(Duration::from_millis(10)).await;
    let last_error = reader.snapshot().last_error.unwrap_or_default();
    println!("last error of {}: {last_error}", reader.name());
    show(&supervisor.snapshot().tree(), 0);

    supervisor.trigger_shutdown();
    println!("{}", supervisor.run_until_shutdown().await?);
    Ok(())
}

fn show(nodes: &[SnapshotNode<'_>], depth: usize) {
    for node in nodes {
        let service = &node.service;
        let (indent, name) = ("  ".repeat(depth), &service.service_name);
        println!(
            "{indent}{name}: {}, starts: {}",
            service.phase, service.start_count
        );
        show(&node.children, depth + 1);
    }
}
