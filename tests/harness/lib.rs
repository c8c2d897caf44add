//! What the tests of the whole workspace are made of: services that follow a script, and an observer that writes everything
//! down.

mod recorder;
mod script;
mod story;

pub use recorder::Recorder;
pub use script::{Script, ScriptLog, Turn};
pub use story::Story;

use janus_supervisor::{BackoffConfig, Jitter, SupervisorConfig};
use std::sync::Arc;
use std::time::Duration;

/// Milliseconds.
pub const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Seconds.
pub const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// A supervisor's settings for tests: no signal handlers, no jitter, a fixed seed, and everything is written down by
/// `recorder`.
pub fn config(recorder: &Arc<Recorder>) -> SupervisorConfig {
    SupervisorConfig::default()
        .without_signal_handler()
        .with_seed(1)
        .with_default_backoff(backoff())
        .with_observer(Arc::clone(recorder) as Arc<_>)
}

/// The default backoff without jitter: 100 ms, 200 ms, 400 ms, ..
pub fn backoff() -> BackoffConfig {
    BackoffConfig::default().with_jitter(Jitter::None)
}

/// Lets everybody else go as far as they can: a paused clock moves on, by this one millisecond, only when all are waiting.
pub async fn settle() {
    tokio::time::sleep(ms(1)).await;
}
