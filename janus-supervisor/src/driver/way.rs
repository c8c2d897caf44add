//! How a task gives way to the rest of its runtime.

use std::pin::pin;
use std::task::Context;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::yield_now;

/// Which way, on the runtime that a task runs on.
#[derive(Debug, Clone, Copy)]
pub(super) enum Way {
    /// With one thread, as tokio's own tasks do: the timers and I/O have a turn, too. A task that just wakes itself is
    /// back in the queue before the runtime looks at those, and a timer may be late by as much as sixty turns take.
    Yield,
    /// With several, to the back of the queue, from which other threads take it if something blocks this one. What has
    /// yielded waits for its own thread.
    Wake,
}

impl Way {
    /// For this runtime.
    pub(super) fn here() -> Self {
        let flavor = Handle::try_current().map(|runtime| runtime.runtime_flavor());
        match flavor {
            Ok(RuntimeFlavor::CurrentThread) => Self::Yield,
            _ => Self::Wake,
        }
    }

    /// Has the task polled again when others have been.
    pub(super) fn give(self, cx: &mut Context<'_>) {
        match self {
            Self::Yield => {
                let _pending_once = pin!(yield_now()).poll(cx);
            }
            Self::Wake => cx.waker().wake_by_ref(),
        }
    }
}
