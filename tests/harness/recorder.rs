//! An observer that writes everything down.

use janus_supervisor::{EventKind, Observer, RunOutcome, ServiceEvent, ServicePhase};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Keeps every event it is told.
#[derive(Debug, Default)]
pub struct Recorder(Mutex<Vec<ServiceEvent>>);

impl Recorder {
    fn lock(&self) -> MutexGuard<'_, Vec<ServiceEvent>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All events, in the order in which they came.
    pub fn events(&self) -> Vec<ServiceEvent> {
        self.lock().clone()
    }

    /// The events of one service.
    pub fn events_of(&self, service: &str) -> Vec<ServiceEvent> {
        let events = self.lock();
        events
            .iter()
            .filter(|event| &*event.service == service)
            .cloned()
            .collect()
    }

    /// The phases that one service went through.
    pub fn phases_of(&self, service: &str) -> Vec<ServicePhase> {
        self.events_of(service)
            .iter()
            .filter_map(|event| event.kind.phase())
            .collect()
    }

    /// The events of one service as text, one a line, with milliseconds since `t0`: `100 run 2 restarting`.
    pub fn trace_of(&self, service: &str, t0: Instant) -> Vec<String> {
        self.events_of(service)
            .iter()
            .map(|event| {
                let at = event.at.saturating_duration_since(t0).as_millis();
                format!("{at} run {} {}", event.run, short(&event.kind))
            })
            .collect()
    }

    /// How many events satisfy `pick`.
    pub fn count(&self, pick: impl Fn(&ServiceEvent) -> bool) -> usize {
        self.lock().iter().filter(|event| pick(event)).count()
    }
}

fn short(kind: &EventKind) -> String {
    match kind {
        EventKind::Registered => "registered".into(),
        EventKind::Running => "running".into(),
        EventKind::RunEnded { outcome, .. } => match outcome {
            RunOutcome::Completed => "completed".into(),
            RunOutcome::Failed(failure) => format!("failed ({}): {failure}", failure.kind()),
            RunOutcome::Cancelled(None) => "cancelled".into(),
            RunOutcome::Cancelled(Some(failure)) => format!("cancelled, with {failure}"),
            RunOutcome::Aborted => "dropped".into(),
            other => format!("{other:?}"),
        },
        EventKind::BackingOff { attempt, delay } => format!("backing off #{attempt} for {delay:?}"),
        EventKind::Restarting => "restarting".into(),
        EventKind::Recovered => "recovered".into(),
        EventKind::Reset => "reset".into(),
        EventKind::BreakerOpened {
            failures,
            max_retries,
        } => format!("breaker opened {failures}/{max_retries}"),
        EventKind::Stopping => "stopping".into(),
        EventKind::Terminated { reason } => format!("terminated: {reason}"),
        EventKind::Removed => "removed".into(),
        other => format!("{other:?}"),
    }
}

impl Observer for Recorder {
    fn observe(&self, event: &ServiceEvent) {
        self.lock().push(event.clone());
    }
}
