//! Code of other shapes as services: functions that block a thread, and modules that poll a shutdown flag.
//! `cargo run --example 05_other_shapes`
//!
//! Prints:
//! ```text
//! forward is healthy: started
//! 3 jobs done
//! forward is not healthy: stopped
//! shutdown (requested): 2 drained in 8ms
//! ```
#![expect(clippy::print_stdout, reason = "an example talks")]

use janus_supervisor::adapters::{BlockingService, ModuleAdapter, ModuleState};
use janus_supervisor::{BoxService, JanusSupervisor, SupervisorConfig};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Shared state as it is found in grown programs.
#[derive(Default)]
struct State {
    shutdown: AtomicBool,
}

impl ModuleState for State {
    fn request_shutdown(&self) {
        self.shutdown.store(true, Ordering::Release);
    }

    fn is_shutdown_requested(&self) -> bool {
        self.shutdown.load(Ordering::Acquire)
    }

    fn report_health(&self, module: &str, healthy: bool, message: Option<&str>) {
        let not = if healthy { "" } else { "not " };
        println!("{module} is {not}healthy: {}", message.unwrap_or_default());
    }
}

async fn start_module(state: Arc<State>) -> Result<(), std::io::Error> {
    while !state.is_shutdown_requested() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (jobs, queue) = mpsc::channel::<&str>();
    let (all_done, done) = tokio::sync::oneshot::channel();
    let (queue, all_done) = (Mutex::new(queue), Mutex::new(Some(all_done)));
    let worker = BlockingService::new("worker", move |cancel| {
        let queue = queue.lock().map_err(|_| "the queue is poisoned")?;
        let mut count = 0;
        while !cancel.is_cancelled() {
            match queue.recv_timeout(Duration::from_millis(10)) {
                Ok("last") => {
                    println!("{count} jobs done");
                    let tell = all_done.lock().ok().and_then(|mut tell| tell.take());
                    tell.map(|tell| tell.send(()));
                }
                Ok(_job) => count += 1,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
        }
        Ok(())
    });

    let supervisor = JanusSupervisor::new(SupervisorConfig::default());
    let services = [
        BoxService::new(ModuleAdapter::on_failure(
            "forward",
            Arc::default(),
            start_module,
        )),
        BoxService::new(worker),
    ];
    for service in services {
        supervisor.spawn_service(service)?;
    }
    for job in ["a", "b", "c", "last"] {
        jobs.send(job)?;
    }
    done.await?;
    supervisor.trigger_shutdown();
    println!("{}", supervisor.run_until_shutdown().await?);
    Ok(())
}
