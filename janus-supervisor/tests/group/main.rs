//! [`GroupMachine`] without a runtime: every short history there is, and protocol traces.
//!
//! Numbers of invariants are those at the top of `src/machine/group.rs`.

mod audit;
mod by_hand;
mod ends;
mod exhaustive;
mod names;
mod restart;
mod trace;
mod world;

use janus_supervisor::machine::{ChildEnd, ChildRules, GroupCommand, GroupInput, GroupMachine};
use std::time::{Duration, Instant};

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// A moment to count from.
#[expect(
    clippy::disallowed_methods,
    reason = "a test needs one instant to count from"
)]
fn t0() -> Instant {
    Instant::now()
}

const PLAIN: ChildRules = ChildRules {
    temporary: false,
    significant: false,
};
const TEMPORARY: ChildRules = ChildRules {
    temporary: true,
    ..PLAIN
};
const SIGNIFICANT: ChildRules = ChildRules {
    significant: true,
    ..PLAIN
};
const BOTH: ChildRules = ChildRules {
    significant: true,
    ..TEMPORARY
};

/// An input, as a script writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum In {
    Start,
    Ready(usize),
    /// With a backoff of so many milliseconds.
    Down(usize, u64),
    /// As it was told, or because an operator has restarted it.
    Halted(usize),
    /// By itself, cleanly.
    Completed(usize),
    /// By itself, for good.
    Failed(usize),
    /// It was told to, by its group or by an operator.
    Stopped(usize),
    Stop,
    Tick,
}

impl In {
    fn input(self, now: Instant) -> GroupInput {
        let ended = |child, end| GroupInput::Ended { child, end };
        match self {
            Self::Start => GroupInput::Start,
            Self::Ready(child) => GroupInput::Ready(child),
            Self::Down(child, delay) => GroupInput::Down {
                child,
                due: now + ms(delay),
            },
            Self::Halted(child) => GroupInput::Halted(child),
            Self::Completed(child) => ended(child, ChildEnd::Completed),
            Self::Failed(child) => ended(child, ChildEnd::Failed),
            Self::Stopped(child) => ended(child, ChildEnd::Stopped),
            Self::Stop => GroupInput::Stop,
            Self::Tick => GroupInput::Tick,
        }
    }
}

/// Gives the machine one input.
fn give(machine: &mut GroupMachine, now: Instant, input: In) -> GroupCommand {
    machine.handle(now, input.input(now))
}
