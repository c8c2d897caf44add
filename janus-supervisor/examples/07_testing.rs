//! Testing restart logic: without a runtime at all, and with tokio's clock paused. `cargo run --example 07_testing`
//!
//! Prints:
//! ```text
//! the machine: run, fail, wait until 100ms, run again
//! the fleet: 12 failures took 52.7s of virtual time
//! ```
#![expect(clippy::print_stdout, reason = "an example talks")]

use janus_supervisor::machine::{Command, Ended, Input, ServiceMachine};
use janus_supervisor::{
    BackoffConfig, BackoffState, Exit, Failure, FailureKind, JanusSupervisor, Jitter,
    RestartPolicy, SupervisorConfig, service_fn,
};
use std::time::Duration;

/// The decisions are synchronous: give the machine an input and a time, and look at what it says.
fn without_a_runtime(backoff: BackoffConfig) -> Result<(), Box<dyn std::error::Error>> {
    let t0 = tokio::time::Instant::now().into_std(); // any instant will do
    let seed = 42;
    let mut machine = ServiceMachine::new(
        t0,
        "feed",
        BackoffState::new(backoff, seed),
        Duration::from_secs(30),
    );
    assert_eq!(machine.handle(t0, Input::Start)?.command, Command::Run);

    let failure = Exit::Failed(Failure::new(FailureKind::Error, "timeout"));
    let ended = Ended::judge(RestartPolicy::OnFailure, failure);
    assert_eq!(
        machine.handle(t0, Input::Exited(ended))?.command,
        Command::Wait
    );
    assert_eq!(machine.deadline(), Some(t0 + Duration::from_millis(100)));

    let due = t0 + Duration::from_millis(100);
    assert_eq!(machine.handle(due, Input::Tick)?.command, Command::Run);
    println!("the machine: run, fail, wait until 100ms, run again");
    Ok(())
}

/// The whole supervisor follows tokio's clock: paused, it jumps from timer to timer, so an hour of backoff takes no
/// time.
async fn with_paused_time(backoff: BackoffConfig) -> Result<(), Box<dyn std::error::Error>> {
    let started = tokio::time::Instant::now();
    let config = SupervisorConfig::default()
        .without_signal_handler()
        .with_default_backoff(backoff.with_circuit_breaker(12, Duration::from_secs(600)));
    let supervisor = JanusSupervisor::new(config);
    let feed = service_fn("feed", |_cancel| async { Err("timeout".into()) });
    supervisor.spawn_service(feed)?.terminated().await;
    println!(
        "the fleet: 12 failures took {:?} of virtual time",
        started.elapsed()
    );
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let backoff = BackoffConfig::new(Duration::from_millis(100), Duration::from_secs(10))
        .with_jitter(Jitter::None);
    without_a_runtime(backoff.clone())?;
    // In a test: #[tokio::test(start_paused = true)]
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()?
        .block_on(with_paused_time(backoff))
}
