//! What the tests of the whole workspace are made of: services that follow a script, and an observer that writes
//! everything down.

mod dice;
mod recorder;
mod script;
mod story;

pub use dice::Dice;
pub use recorder::Recorder;
pub use script::{Script, ScriptLog, Turn};
pub use story::Story;

use janus_supervisor::{BackoffConfig, Jitter, SupervisorConfig};
use std::sync::{Arc, mpsc};
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

/// Lets everybody else go as far as they can: a paused clock moves on, by this one millisecond, only when all are
/// waiting.
pub async fn settle() {
    tokio::time::sleep(ms(1)).await;
}

/// What this comes to within an hour of the paused clock: a test of what never comes fails rather than hangs.
///
/// # Panics
/// When the hour is over.
#[expect(clippy::panic, reason = "part of a test")]
pub async fn within_an_hour<T>(it: impl Future<Output = T>) -> T {
    match tokio::time::timeout(secs(3600), it).await {
        Ok(it) => it,
        Err(_) => panic!("not within an hour"),
    }
}

/// Runs a test on a thread of its own, and fails if that takes longer than a minute: for what would hang rather than
/// fail.
///
/// # Panics
/// As the test does, and when the minute is over.
#[expect(clippy::panic, reason = "part of a test")]
pub fn within_a_minute(test: impl FnOnce() + Send + 'static) {
    let (done, over) = mpsc::channel::<()>();
    let thread = std::thread::spawn(move || {
        // Dropped at the end, also by a panic.
        let _done = done;
        test();
    });
    if over.recv_timeout(secs(60)) == Err(mpsc::RecvTimeoutError::Timeout) {
        panic!("it hangs");
    }
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// The examples in the READMEs compile.
#[cfg(doctest)]
mod readmes {
    #[doc = include_str!("../../README.md")]
    mod workspace {}
    #[doc = include_str!("../../janus-supervisor/README.md")]
    mod supervisor {}
    #[doc = include_str!("../../janus-metrics-otel/README.md")]
    mod metrics_otel {}
}
