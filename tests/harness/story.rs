//! What the events of one service must be like, whatever has happened to it.

use janus_supervisor::{EventKind, ServiceEvent, ServicePhase, TerminationReason};
use std::collections::BTreeMap;

/// What the events of one service add up to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Story {
    /// Runs that were begun again.
    pub restarts: u64,
    /// Runs that have begun.
    pub runs: u64,
    /// Times that the breaker opened.
    pub trips: u64,
    /// Why the service has terminated, once it has.
    pub end: Option<TerminationReason>,
    /// Whether the supervisor has forgotten it.
    pub removed: bool,
}

impl Story {
    /// Reads the events of one service, in the order in which they were told.
    ///
    /// # Errors
    /// The first event that cannot stand where it stands, and why: a gap in the sequence, a phase that cannot follow, a
    /// run that does not end exactly once, a wrong number of a run, anything after the end.
    pub fn of(events: &[ServiceEvent]) -> Result<Self, String> {
        let mut story = Self::default();
        let mut phase = None;
        let mut in_run = false;
        let mut last_ended = 0;
        for (expected_seq, event) in (0..).zip(events) {
            let wrong = |why: &str| Err(format!("{why}: {event:?}"));
            if event.seq != expected_seq {
                return wrong(&format!("event {expected_seq} is missing"));
            }
            if story.removed {
                return wrong("an event after `Removed`");
            }
            if story.end.is_some() && !matches!(event.kind, EventKind::Removed) {
                return wrong("an event after the end");
            }
            if let Some(next) = event.kind.phase() {
                let legal = match phase {
                    None => matches!(event.kind, EventKind::Registered),
                    Some(phase) => ServicePhase::can_become(phase, next),
                };
                if !legal {
                    return wrong(&format!("not after {phase:?}"));
                }
                if in_run && next != ServicePhase::Stopping {
                    return wrong("the run has not ended");
                }
                phase = Some(next);
            }
            match &event.kind {
                EventKind::Running => {
                    in_run = true;
                    story.runs += 1;
                }
                EventKind::RunEnded { .. } if event.run == last_ended => {
                    return wrong("the run has ended already");
                }
                EventKind::RunEnded { .. } => {
                    // One that never was ready did not say that it is running.
                    let may_be_unready = [ServicePhase::Starting, ServicePhase::Stopping];
                    if !in_run && !phase.is_some_and(|phase| may_be_unready.contains(&phase)) {
                        return wrong("no run is in progress");
                    }
                    story.runs += u64::from(!in_run);
                    in_run = false;
                    last_ended = event.run;
                }
                EventKind::Restarting => story.restarts += 1,
                EventKind::BreakerOpened { .. } => story.trips += 1,
                EventKind::Terminated { reason } => story.end = Some(reason.clone()),
                EventKind::Removed if story.end.is_none() => return wrong("it has not terminated"),
                EventKind::Removed => story.removed = true,
                _ => {}
            }
            if u64::from(event.run) != story.restarts + 1 {
                return wrong(&format!("this is run {}", story.restarts + 1));
            }
        }
        Ok(story)
    }

    /// Reads the events of many services, by the services' numbers.
    ///
    /// # Errors
    /// As [`of`](Self::of).
    pub fn of_each(events: &[ServiceEvent]) -> Result<BTreeMap<u64, Self>, String> {
        let mut by_id: BTreeMap<u64, Vec<ServiceEvent>> = BTreeMap::new();
        for event in events {
            by_id.entry(event.id).or_default().push(event.clone());
        }
        by_id
            .into_iter()
            .map(|(id, events)| Ok((id, Self::of(&events)?)))
            .collect()
    }
}
