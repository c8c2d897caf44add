//! The services of the fleet, and how patient the supervisor is with each.

mod kv;
mod kv_clients;
mod metrics;
mod port;
mod small;
mod told;

pub(crate) use kv::Kv;
pub(crate) use kv_clients::{consumer, gremlin};
pub(crate) use metrics::MetricsEndpoint;
pub(crate) use small::{dead_link, feed, migration, old_module, report, stubborn};
pub(crate) use told::{exchange, half_open, index, ingest, ready_in_time, watched, worker};

use janus_supervisor::{BackoffConfig, RestartPolicy, SpawnOptions};
use std::time::Duration;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Everybody else waits for it: back at once, and never given up.
pub(crate) fn quick_to_return() -> SpawnOptions {
    let backoff = BackoffConfig::new(ms(500), Duration::from_secs(5));
    SpawnOptions::with_backoff(backoff.without_circuit_breaker())
}

/// Fails when something else does: tries again for as long as it takes.
pub(crate) fn patient() -> SpawnOptions {
    let backoff = BackoffConfig::new(ms(200), Duration::from_secs(3));
    SpawnOptions::with_backoff(
        backoff
            .with_cooldown(Duration::from_secs(2))
            .without_circuit_breaker(),
    )
}

/// Five failures within half a minute are enough.
pub(crate) fn soon_gives_up() -> SpawnOptions {
    let backoff = BackoffConfig::new(ms(300), Duration::from_secs(3));
    SpawnOptions::with_backoff(backoff.with_circuit_breaker(5, Duration::from_secs(30)))
}

/// Ends cleanly, and runs again after a pause.
pub(crate) fn now_and_then() -> SpawnOptions {
    let backoff = BackoffConfig::new(Duration::from_secs(1), Duration::from_secs(10));
    SpawnOptions::with_backoff(backoff).with_restart_policy(RestartPolicy::Always)
}

/// One run, however it ends.
pub(crate) fn once() -> SpawnOptions {
    SpawnOptions::default().with_restart_policy(RestartPolicy::Never)
}
