//! One service: what it is, and what to do about it.

use super::decider::Decider;
use super::protocol::{Checks, Input, Permit, Step};
use janus_backoff::BackoffState;
use janus_lifecycle::{ServiceLifecycle, TransitionError};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A service's lifecycle, together with the decisions about it.
///
/// The same configuration, seed and inputs give the same results: a whole history can be replayed.
#[derive(Debug)]
pub struct ServiceMachine {
    lifecycle: ServiceLifecycle,
    decider: Decider,
    next_seq: u64,
}

impl ServiceMachine {
    /// A service that has just been registered. `grace` is how long it may take to stop.
    ///
    /// The event that says so, `Registered`, is the caller's to send: see [`take_seq`](Self::take_seq).
    #[must_use]
    pub fn new(
        now: Instant,
        name: impl Into<Arc<str>>,
        backoff: BackoffState,
        grace: Duration,
    ) -> Self {
        Self {
            lifecycle: ServiceLifecycle::new(now, name),
            decider: Decider::new(now, backoff.into(), grace),
            next_seq: 0,
        }
    }

    /// This service, whose runs have to pass checks.
    #[must_use]
    pub fn checked(mut self, checks: Checks) -> Self {
        self.decider.check(checks);
        self
    }

    /// This service, which begins no run before [`Input::Permit`] allows it: a child of a group.
    #[must_use]
    pub fn gated(mut self) -> Self {
        self.decider.close();
        self
    }

    /// This service, which asks before it begins a run: [`Command::Ask`](super::Command::Ask).
    #[must_use]
    pub fn limited(mut self) -> Self {
        self.decider.limit();
        self
    }

    /// Whether it has asked to begin a run and has not been answered, or has begun one that is not ready.
    #[must_use]
    pub fn is_starting(&self) -> bool {
        self.decider.is_starting()
    }

    /// The same service without its history, as newly made, and free to begin.
    #[must_use]
    pub fn anew(&self, now: Instant, seed: u64) -> Self {
        Self {
            lifecycle: self.lifecycle.anew(now),
            decider: self.decider.anew(now, seed),
            next_seq: 0,
        }
    }

    /// What its runs have to show, if anything.
    #[must_use]
    pub fn checks(&self) -> Checks {
        self.decider.checks()
    }

    /// The permits that it knows of.
    #[must_use]
    pub fn permit(&self) -> Permit {
        self.decider.permit()
    }

    /// Whether no run is in progress, and none will begin without another permit.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.decider.is_held()
    }

    /// The service as the outside sees it.
    #[must_use]
    pub const fn lifecycle(&self) -> &ServiceLifecycle {
        &self.lifecycle
    }

    /// When the next [`Input::Tick`] is due, if time alone will change anything.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.decider.deadline()
    }

    /// The number for an event that is the caller's to send, such as `Removed`.
    pub const fn take_seq(&mut self) -> u64 {
        let seq = self.next_seq;
        self.next_seq += 1;
        seq
    }

    /// Takes one input and decides.
    ///
    /// # Errors
    /// [`TransitionError`] if the machine asked its lifecycle for a move that the table does not have. That would be a
    /// fault of this machine; no input leads to it.
    pub fn handle(&mut self, now: Instant, input: Input) -> Result<Step, TransitionError> {
        let mut step = Step::new(true);
        step.first_seq = self.next_seq;
        let life = &mut self.lifecycle;
        self.decider.decide(life, now, input, &mut step)?;
        self.next_seq += u64::from(step.tally.events);
        step.deadline = self.deadline();
        Ok(step)
    }
}
