//! What a supervised service is doing, and which moves are legal.
//!
//! ```text
//!                 ┌────────────────────────────────┐
//!                 ▼                                │
//!   new ──▶  Starting ──▶  Running ──▶  BackingOff ┘
//!                 │   │        │   │        │   │
//!                 │   └────────┼─▶─┼──▶─────┘   │      (Starting may back off, too)
//!                 ▼            ▼   │            ▼
//!                 └────────▶ Stopping ◀─────────┘
//!                              │   │
//!                              ▼   ▼  (every phase may terminate)
//!                            Terminated
//! ```
//!
//! [`ServiceLifecycle`] is that picture plus time and counters. It is a plain value: it reads no clock (`now` is an
//! argument), takes no lock and starts nothing, so a test of it is a list of calls:
//!
//! ```
//! use janus_lifecycle::{Failure, FailureKind, Retry, ServiceLifecycle, ServicePhase};
//! use std::time::{Duration, Instant};
//!
//! let t0 = Instant::now();
//! let at = |secs| t0 + Duration::from_secs(secs);
//! let mut feed = ServiceLifecycle::new(t0, "feed");
//! feed.transition_to_running(at(1))?;
//!
//! let failure = Failure::new(FailureKind::Error, "connection reset");
//! feed.transition_to_backing_off(at(4), Retry { at: at(5), attempt: 1 }, Some(failure))?;
//! assert_eq!(feed.phase(), ServicePhase::BackingOff);
//! assert_eq!(feed.cumulative_running_time(at(4)), Duration::from_secs(3));
//!
//! // Not in the table: an error, and nothing has changed.
//! let refused = feed.transition_to_running(at(5)).unwrap_err();
//! assert_eq!(refused.to_string(), "invalid lifecycle transition: backing_off → running");
//! assert_eq!(feed.phase(), ServicePhase::BackingOff);
//! # Ok::<(), janus_lifecycle::TransitionError>(())
//! ```
//!
//! # When to use this crate
//!
//! To write a supervisor or a driver of your own, or a metrics backend: [`ServiceEvent`] and [`Observer`] are what a
//! backend needs, and it needs nothing else. To run services, use `janus-supervisor`, which re-exports all of this.
//!
//! # Features
//!
//! - `serde` (off by default): [`ServicePhase`], [`RestartPolicy`] and [`FailureKind`] as snake_case strings,
//!   [`TerminationReason`] and [`ServiceLifecycleSnapshot`] as plain data.

mod event;
mod exit;
mod failure;
mod lifecycle;
mod phase;
mod policy;
mod replay;
mod snapshot;

pub use event::{EventKind, Observer, RunOutcome, ServiceEvent};
pub use exit::{Exit, TerminationReason};
pub use failure::{BoxError, Displaced, ErrorChain, Failure, FailureCounts, FailureKind};
pub use lifecycle::{Retry, ServiceLifecycle};
pub use phase::{ServicePhase, TransitionError};
pub use policy::{AfterExit, ParsePolicyError, RestartPolicy};
pub use snapshot::ServiceLifecycleSnapshot;
