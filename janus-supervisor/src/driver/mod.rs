//! All that awaits: one task for each service, the drain, the signals. It carries out what the machine decides.

pub(crate) mod current;
pub(crate) mod drain;
pub(crate) mod group;
pub(crate) mod monitor;
mod panics;
pub(crate) mod relay;
mod service;
pub(crate) mod signals;
mod sysmon;
mod task;
mod timer;
mod way;

pub(crate) use panics::{caught, logged};
pub(crate) use service::drive;
pub(crate) use task::Task;

/// Waits until then; for ever, if there is no then.
async fn sleep_until(at: Option<std::time::Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
