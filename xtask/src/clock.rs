//! Real time, which the rest of the workspace may not touch: how long a step took, how long to wait.

use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The time on the monotonic clock.
#[expect(
    clippy::disallowed_methods,
    reason = "chores run in real time; the ban protects code that runs under tokio's paused clock"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// A number that no other run of a chore has had: nanoseconds since 1970.
#[expect(
    clippy::disallowed_methods,
    reason = "it only tells runs apart, and counts nothing"
)]
pub(crate) fn stamp() -> u128 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_nanos())
}

/// Blocks this thread for `time`.
#[expect(
    clippy::disallowed_methods,
    reason = "chores have no runtime whose worker could be blocked"
)]
pub(crate) fn pause(time: Duration) {
    thread::sleep(time);
}
