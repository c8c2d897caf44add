//! All that awaits: one task for each service, the drain, the signals. It carries out what the machine decides.

pub(crate) mod current;
pub(crate) mod drain;
pub(crate) mod group;
pub(crate) mod monitor;
mod panics;
pub(crate) mod relay;
mod service;
pub(crate) mod signals;
mod task;
mod timer;

pub(crate) use panics::{caught, logged};
pub(crate) use service::drive;
pub(crate) use task::Task;

use std::pin::pin;
use std::task::Context;

/// Has the task polled again when all that are ready have been, and timers and I/O with them: after a mere wake it would be back in the
/// queue before the runtime looks at those.
fn give_way(cx: &mut Context<'_>) {
    let _pending_once = pin!(tokio::task::yield_now()).poll(cx);
}

/// Waits until then; for ever, if there is no then.
async fn sleep_until(at: Option<std::time::Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
