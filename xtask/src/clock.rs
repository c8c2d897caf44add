//! Real time, which the rest of the workspace may not touch: how long a step took, how long to wait.

use std::thread;
use std::time::{Duration, Instant};

/// The time on the monotonic clock.
#[expect(
    clippy::disallowed_methods,
    reason = "chores run in real time; the ban protects code that runs under tokio's paused clock"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Blocks this thread for `time`.
#[expect(
    clippy::disallowed_methods,
    reason = "chores have no runtime whose worker could be blocked"
)]
pub(crate) fn pause(time: Duration) {
    thread::sleep(time);
}
