//! Services that tell their supervisor how they are, and some that depend on one another.

use janus_supervisor::{
    BackoffConfig, Group, Intensity, JanusService, Readiness, SpawnOptions, Strategy, notify,
    service_fn,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Reads all there is before it is ready, and says how far it is.
pub(crate) fn index() -> impl JanusService {
    service_fn("index", |cancel| async move {
        for percent in (0..100).step_by(4) {
            notify::status(format!("reading {percent} %"));
            tokio::select! {
                () = cancel.cancelled() => return Ok(()),
                () = tokio::time::sleep(ms(100)) => {}
            }
        }
        notify::status("25 segments");
        notify::ready();
        cancel.cancelled().await;
        Ok(())
    })
}

/// Starting until it says that it is ready, and failed if that takes ten seconds.
pub(crate) fn ready_in_time() -> SpawnOptions {
    SpawnOptions::default()
        .with_readiness(Readiness::Notify)
        .with_start_timeout(Duration::from_secs(10))
}

/// Works for two seconds, and then waits for an answer that never comes.
pub(crate) fn worker() -> impl JanusService {
    service_fn("worker", |cancel| async move {
        for job in 1..=20 {
            notify::heartbeat();
            notify::status(format!("job {job}"));
            tokio::select! {
                () = cancel.cancelled() => return Ok(()),
                () = tokio::time::sleep(ms(100)) => {}
            }
        }
        notify::status("waiting for an answer");
        cancel.cancelled().await;
        Ok(())
    })
}

/// Dropped, and begun anew, when it has not said for a second that it is alive.
pub(crate) fn watched() -> SpawnOptions {
    let backoff = BackoffConfig::new(ms(300), Duration::from_secs(2)).without_circuit_breaker();
    SpawnOptions::with_backoff(backoff).with_watchdog(Duration::from_secs(1))
}

/// Is refused three times, and then works.
pub(crate) fn exchange() -> impl JanusService {
    let runs = Arc::new(AtomicU64::new(0));
    service_fn("exchange", move |cancel| {
        let run = runs.fetch_add(1, Ordering::Relaxed);
        async move {
            if run < 3 {
                return Err("503 Service Unavailable".into());
            }
            cancel.cancelled().await;
            Ok(())
        }
    })
}

/// After three failures the breaker opens; three seconds later one run may try, and if it lasts for two, all is well
/// again.
pub(crate) fn half_open() -> SpawnOptions {
    let backoff = BackoffConfig::new(ms(200), Duration::from_secs(2))
        .with_circuit_breaker(3, Duration::from_secs(60))
        .with_cooldown(Duration::from_secs(2))
        .with_half_open_after(Duration::from_secs(3));
    SpawnOptions::with_backoff(backoff)
}

/// A reader that loses its connection, and a parser that has to begin anew with it.
pub(crate) fn ingest() -> Group {
    let reader = service_fn("reader", |cancel| async move {
        tokio::select! {
            () = cancel.cancelled() => Ok(()),
            () = tokio::time::sleep(Duration::from_secs(3)) => Err("connection reset".into()),
        }
    });
    let parser = service_fn("parser", |cancel| async move {
        cancel.cancelled().await;
        Ok(())
    });
    let backoff = BackoffConfig::new(ms(300), Duration::from_secs(1)).without_circuit_breaker();
    Group::new("ingest")
        .strategy(Strategy::RestForOne)
        .intensity(Intensity::new(10, Duration::from_secs(10)))
        .service_with_options(reader, SpawnOptions::with_backoff(backoff))
        .service(parser)
}
