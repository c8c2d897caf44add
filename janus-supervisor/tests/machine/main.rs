//! [`ServiceMachine`] without a runtime: protocol traces, every short history there is, and that tokio's driver adds
//! nothing.
//!
//! Numbers of invariants are those at the top of `src/machine/service.rs`.

mod audit;
mod audit_runs;
mod checks;
mod exhaustive;
mod failing;
mod gated;
mod gated_restart;
mod limited;
mod parity;
mod restart;
mod trace;
mod watchdog;

use janus_supervisor::machine::{Command, Ended, Input, Permit, ServiceMachine, Step, Turn};
use janus_supervisor::{
    EventKind, Exit, Failure, FailureKind, RestartPolicy, RunOutcome, TransitionError,
};
use std::time::{Duration, Instant};

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// A moment to count from, with room before it for clocks that go backwards.
#[expect(
    clippy::disallowed_methods,
    reason = "a test needs one instant to count from"
)]
fn t0() -> Instant {
    Instant::now() + Duration::from_secs(1_000)
}

/// An input, as a script writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum In {
    Start,
    Clean,
    Fail,
    Panic,
    Permanent,
    /// The run was dropped, as [`Command::Fail`] wants: what the driver says then.
    Failed(FailureKind),
    Ready,
    /// Alive now.
    Beat,
    /// Alive so many milliseconds ago.
    BeatAgo(u64),
    /// Alive in so many milliseconds: a clock is wrong.
    BeatAhead(u64),
    Restart,
    Stop,
    /// With so many milliseconds left.
    StopWithin(u64),
    Abort,
    Gone,
    Tick,
    Lost,
    /// Up to which number to go, and up to which to halt.
    Permit(u64, u64),
    /// It is its turn.
    Go,
    /// It is its turn in so many milliseconds.
    PutOff(u64),
}

impl In {
    fn input(self, now: Instant, policy: RestartPolicy) -> Input {
        let exited = |exit| Input::Exited(Ended::judge(policy, exit));
        let failure = Failure::new(FailureKind::Error, "boom");
        match self {
            Self::Start => Input::Start,
            Self::Clean => exited(Exit::Clean),
            Self::Fail => exited(Exit::Failed(failure)),
            Self::Panic => exited(Exit::Failed(Failure::new(FailureKind::Panic, "ouch"))),
            Self::Permanent => exited(Exit::Permanent(failure)),
            Self::Failed(kind) => exited(Exit::Failed(Failure::new(kind, "late"))),
            Self::Ready => Input::Ready,
            Self::Beat => Input::Heartbeat(now),
            Self::BeatAgo(before) => Input::Heartbeat(now - ms(before)),
            Self::BeatAhead(after) => Input::Heartbeat(now + ms(after)),
            Self::Restart => Input::Restart,
            Self::Stop => Input::Stop { latest: None },
            Self::StopWithin(left) => Input::Stop {
                latest: Some(now + ms(left)),
            },
            Self::Abort => Input::Abort,
            Self::Gone => Input::Gone,
            Self::Tick => Input::Tick,
            Self::Lost => Input::Lost,
            Self::Go => Input::Turn(Turn::Go),
            Self::PutOff(after) => Input::Turn(Turn::At(now + ms(after))),
            Self::Permit(go, halt) => Input::Permit(Permit { go, halt }),
        }
    }
}

/// Gives the machine one input.
fn give(
    machine: &mut ServiceMachine,
    now: Instant,
    policy: RestartPolicy,
    input: In,
) -> Result<Step, TransitionError> {
    machine.handle(now, input.input(now, policy))
}

fn command(command: Command) -> String {
    match command {
        Command::Run => "run".into(),
        Command::Ask { spread: false } => "ask".into(),
        Command::Ask { spread: true } => "ask for a turn".into(),
        Command::Wait => "wait".into(),
        Command::Stop => "stop".into(),
        Command::Abort => "abort".into(),
        Command::Fail(kind) => format!("fail with {kind}"),
        Command::Finish => "finish".into(),
    }
}

/// An event in a few words.
fn event(kind: &EventKind) -> String {
    match kind {
        EventKind::Registered => "registered".into(),
        EventKind::Running => "running".into(),
        EventKind::RunEnded { outcome, ran_for } => {
            let outcome = match outcome {
                RunOutcome::Completed => "completed".into(),
                RunOutcome::Failed(failure) => format!("failed with {} {failure}", failure.kind()),
                RunOutcome::Cancelled(None) => "cancelled".into(),
                RunOutcome::Cancelled(Some(failure)) => format!("cancelled with {failure}"),
                RunOutcome::Aborted => "aborted".into(),
                other => format!("{other:?}"),
            };
            format!("{outcome} after {}", ran_for.as_millis())
        }
        EventKind::BackingOff { attempt, delay } => {
            format!("backing off #{attempt} {}", delay.as_millis())
        }
        EventKind::Restarting => "restarting".into(),
        EventKind::Recovered => "recovered".into(),
        EventKind::Reset => "reset".into(),
        EventKind::BreakerOpened {
            failures,
            max_retries,
        } => format!("breaker {failures}/{max_retries}"),
        EventKind::Stopping => "stopping".into(),
        EventKind::Terminated { reason } => format!("terminated: {reason}"),
        EventKind::Removed => "removed".into(),
        other => format!("{other:?}"),
    }
}
