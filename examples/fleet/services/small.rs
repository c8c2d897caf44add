//! The services that are only a few lines.

use super::kv::{Kv, Store};
use janus_supervisor::adapters::{ModuleAdapter, ModuleState};
use janus_supervisor::{JanusService, service_fn};
use std::io;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::net::TcpStream;

/// Brings the data up to date, once.
pub(crate) fn migration(kv: &Kv) -> impl JanusService {
    let store: Store = kv.store();
    service_fn("migration", move |_cancel| {
        let store = Arc::clone(&store);
        async move {
            tokio::time::sleep(Duration::from_millis(300)).await;
            let mut store = store.lock().unwrap_or_else(PoisonError::into_inner);
            store.insert("schema".to_owned(), "2".to_owned());
            Ok(())
        }
    })
}

/// Runs for a second or two, and loses its place.
pub(crate) fn feed() -> impl JanusService {
    let runs = Arc::new(AtomicU64::new(0));
    service_fn("feed", move |cancel| {
        let run = runs.fetch_add(1, Ordering::Relaxed);
        async move {
            // Longer every third time, so that it recovers now and then: its cooldown is two seconds.
            let holds = Duration::from_millis(if run % 3 == 2 { 3_000 } else { 700 });
            tokio::select! {
                () = cancel.cancelled() => Ok(()),
                () = tokio::time::sleep(holds) => {
                    Err(format!("sequence gap after message {}", 1_000 + 37 * run).into())
                }
            }
        }
    })
}

/// Has a bug.
pub(crate) fn report() -> impl JanusService {
    service_fn("report", |cancel| async move {
        let lines = [12, 7, 30];
        let (mut sum, mut next) = (0, 0);
        while !cancel.is_cancelled() {
            tokio::select! {
                () = cancel.cancelled() => {}
                () = tokio::time::sleep(Duration::from_millis(400)) => {
                    sum += lines[next];
                    next += 1;
                }
            }
        }
        tracing::debug!(sum, "reported");
        Ok(())
    })
}

/// Connects to a port where nobody listens, which no retry will change.
pub(crate) fn dead_link() -> impl JanusService {
    service_fn("dead-link", |_cancel| async {
        // Port 1 of this machine: tcpmux, which nothing has served for decades.
        TcpStream::connect((Ipv4Addr::LOCALHOST, 1))
            .await
            .map_err(|error| format!("no link: {error}"))?;
        Ok(())
    })
}

/// What a program of several modules shares.
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
}

async fn start_module(state: Arc<State>) -> io::Result<()> {
    while !state.is_shutdown_requested() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// A module from before there was a supervisor.
pub(crate) fn old_module() -> impl JanusService {
    ModuleAdapter::on_failure("old-module", Arc::<State>::default(), start_module)
}

/// Does not listen.
pub(crate) fn stubborn() -> impl JanusService {
    service_fn("stubborn", |_cancel| std::future::pending())
}
