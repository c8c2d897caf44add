//! What happened to a service: the one type that metrics, logs and subscribers are fed with.

use crate::{Failure, ServicePhase, TerminationReason};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Something that happened to one service.
///
/// Events of one service come in order and without gaps: `seq` counts 0, 1, 2, .. from its registration on. Cheap to
/// clone.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ServiceEvent {
    /// Which service: a number that no other service of the same supervisor has or had. Names can be used again.
    pub id: u64,
    /// The service's name.
    pub service: Arc<str>,
    /// Which run of the service this belongs to: the start count at that moment, 1 for the first run.
    pub run: u32,
    /// The number of this event among the service's own, from 0.
    pub seq: u64,
    /// When it happened, on the monotonic clock.
    pub at: Instant,
    /// What happened.
    pub kind: EventKind,
}

impl ServiceEvent {
    /// Puts an event together. Supervisors do this; a test of an [`Observer`] may.
    #[must_use]
    pub fn new(
        id: u64,
        service: Arc<str>,
        run: u32,
        seq: u64,
        at: Instant,
        kind: EventKind,
    ) -> Self {
        Self {
            id,
            service,
            run,
            seq,
            at,
            kind,
        }
    }
}

/// What happened. An event that is a transition has a [`phase`](Self::phase).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum EventKind {
    /// The service was registered: it is `Starting`.
    Registered,
    /// A run has begun and is ready: `Running`.
    Running,
    /// A run is over. Exactly one of these for every run that began, before the transition that follows from it.
    RunEnded {
        /// How it ended.
        outcome: RunOutcome,
        /// How long it lasted.
        ran_for: Duration,
    },
    /// The next run is due after a delay: `BackingOff`.
    BackingOff {
        /// Consecutive failures so far; 0 after a clean exit.
        attempt: u32,
        /// The delay as drawn: after jitter.
        delay: Duration,
    },
    /// The delay is over, the next run is about to begin: `Starting`. The first event of the new run.
    Restarting,
    /// A run has been up for the cooldown period: earlier failures no longer count.
    Recovered,
    /// Somebody wants the service to run anew: earlier failures no longer count, as after systemd's `reset-failed`.
    Reset,
    /// The circuit breaker has opened.
    BreakerOpened {
        /// Failures inside the breaker's window.
        failures: u32,
        /// How many it was set to open at.
        max_retries: u32,
    },
    /// The service was asked to stop: `Stopping`.
    Stopping,
    /// The service has ended for good: `Terminated`. Nothing follows but `Removed`.
    Terminated {
        /// Why.
        reason: TerminationReason,
    },
    /// The supervisor has forgotten the service, and this is its last event. If another service of the name took its
    /// place, that one's `Registered` may come first: the `id` tells them apart.
    Removed,
}

impl EventKind {
    /// The phase that the service is in from this event on, if the event is a transition.
    #[must_use]
    pub const fn phase(&self) -> Option<ServicePhase> {
        match self {
            Self::Registered | Self::Restarting => Some(ServicePhase::Starting),
            Self::Running => Some(ServicePhase::Running),
            Self::BackingOff { .. } => Some(ServicePhase::BackingOff),
            Self::Stopping => Some(ServicePhase::Stopping),
            Self::Terminated { .. } => Some(ServicePhase::Terminated),
            Self::RunEnded { .. }
            | Self::Recovered
            | Self::Reset
            | Self::BreakerOpened { .. }
            | Self::Removed => None,
        }
    }
}

/// How a run ended.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum RunOutcome {
    /// It returned `Ok(())`, and nobody had asked it to stop.
    Completed,
    /// It failed: the one outcome that counts as a failure.
    Failed(Failure),
    /// It ended after it was asked to, perhaps with an error, which is not counted. Where the service ends with it, it is
    /// kept as the last.
    Cancelled(Option<Failure>),
    /// It did not end in time after it was asked to, and was dropped; or its runtime was.
    Aborted,
}

/// Somebody who is told everything that happens to every service.
///
/// # Contract
///
/// - `observe` is called synchronously, in order for each service, from that service's own task (`Registered` from
///   whoever spawns it, `Removed` from whoever removes it); events of different services come at the same time from
///   several threads.
/// - It must not block: the service waits for it. Count, or hand over; do not write to a socket.
/// - A panic in it is caught: the service goes on, and the other observers are told all the same.
/// - The supervisor holds no lock during the call, so an observer may ask the supervisor anything.
pub trait Observer: Send + Sync + 'static {
    /// Takes notice of one event.
    fn observe(&self, event: &ServiceEvent);
}

impl<O: Observer + ?Sized> Observer for Arc<O> {
    fn observe(&self, event: &ServiceEvent) {
        (**self).observe(event);
    }
}
