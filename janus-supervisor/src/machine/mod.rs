//! The decisions: synchronous, without a clock, a runtime or a lock.
//!
//! ```text
//!   Input + now  ──▶  ServiceMachine::handle  ──▶  Step { Command, what happened }
//! ```
//!
//! A driver (this crate's is tokio's; a test needs none) waits for what can happen, reads the clock once, calls
//! [`ServiceMachine::handle`], carries out the [`Command`], and waits again, at most until
//! [`ServiceMachine::deadline`]. (This crate's keeps the lifecycle apart, where others can read it, and asks the
//! `Decider` inside the machine.)
//!
//! ```
//! use janus_supervisor::machine::{Command, Ended, Input, ServiceMachine};
//! use janus_supervisor::{BackoffConfig, BackoffState, Exit, RestartPolicy, ServicePhase};
//! use std::time::{Duration, Instant};
//!
//! let t0 = Instant::now();
//! let backoff = BackoffState::new(BackoffConfig::default(), 42);
//! let mut machine = ServiceMachine::new(t0, "feed", backoff, Duration::from_secs(30));
//!
//! let step = machine.handle(t0, Input::Start)?;
//! assert_eq!(step.command, Command::Run);
//!
//! // A clean exit under `Always`: the base delay, then again.
//! let ended = Ended::judge(RestartPolicy::Always, Exit::Clean);
//! let step = machine.handle(t0, Input::Exited(ended))?;
//! assert_eq!(step.command, Command::Wait);
//! assert_eq!(machine.deadline(), Some(t0 + Duration::from_millis(100)));
//! assert_eq!(machine.lifecycle().phase(), ServicePhase::BackingOff);
//! # Ok::<(), janus_supervisor::TransitionError>(())
//! ```

mod decider;
mod gate;
mod group;
mod limit;
mod order;
mod protocol;
mod rules;
mod service;
mod tally;
mod turns;
mod watch;

pub(crate) use decider::{Decider, Retries, Shortcut};
pub use group::{ChildRules, GroupCommand, GroupEnd, GroupInput, GroupMachine};
pub(crate) use limit::{StartLimit, Ticket};
pub(crate) use order::{Cycle, Dependency, Freed, StartOrder};
pub use protocol::{Checks, Command, Ended, Happening, Input, Permit, Readiness, Step, Turn};
pub(crate) use rules::Remaining;
pub use rules::{AutoShutdown, ChildEnd, Intensity, Strategy};
pub use service::ServiceMachine;
pub(crate) use tally::Tally;
pub(crate) use turns::Turns;
