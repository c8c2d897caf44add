//! Events -> the state that they tell of.

use crate::{
    EventKind, Retry, RunOutcome, ServiceEvent, ServiceLifecycle, ServicePhase, TransitionError,
};

impl ServiceLifecycle {
    /// The service that this event registers, if that is what it does: where a replay begins.
    #[must_use]
    pub fn from_event(event: &ServiceEvent) -> Option<Self> {
        let begins = matches!(event.kind, EventKind::Registered);
        begins.then(|| Self::new(event.at, event.service.clone()))
    }

    /// Takes over what the event tells. The events of one service, from its registration on and without a gap, lead to
    /// the very state that its supervisor shows.
    ///
    /// ```
    /// use janus_lifecycle::{EventKind, ServiceEvent, ServiceLifecycle, ServicePhase};
    ///
    /// let now = std::time::Instant::now();
    /// let event = |seq, kind| ServiceEvent::new(0, "feed".into(), 1, seq, now, kind);
    /// let registered = event(0, EventKind::Registered);
    /// let mut feed = ServiceLifecycle::from_event(&registered).ok_or("not a registration")?;
    /// feed.apply(&event(1, EventKind::Running))?;
    /// assert_eq!(feed.phase(), ServicePhase::Running);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`TransitionError`] if it cannot follow what was told before: an event is missing, or is another service's.
    /// Nothing has changed then.
    pub fn apply(&mut self, event: &ServiceEvent) -> Result<(), TransitionError> {
        let at = event.at;
        match &event.kind {
            EventKind::Running => self.transition_to_running(at),
            EventKind::RunEnded { outcome, .. } => {
                self.take_over(outcome);
                Ok(())
            }
            EventKind::BackingOff { attempt, delay } => {
                self.transition_to_backing_off(at, Retry::after(at, *delay, *attempt), None)
            }
            EventKind::Restarting => self.transition_to_restarting(at),
            EventKind::Recovered | EventKind::Reset => {
                self.record_recovery();
                Ok(())
            }
            EventKind::Stopping => self.transition_to_stopping(at),
            EventKind::Terminated { reason } => self.transition_to_terminated(at, reason.clone()),
            EventKind::Registered | EventKind::BreakerOpened { .. } | EventKind::Removed => Ok(()),
        }
    }

    fn take_over(&mut self, outcome: &RunOutcome) {
        match outcome {
            RunOutcome::Failed(failure) => {
                self.record_failure(failure.clone());
            }
            // Of a run that is to end for another's sake, the service goes on, and keeps nothing.
            RunOutcome::Cancelled(Some(failure)) if self.phase() == ServicePhase::Stopping => {
                self.keep_error(failure.clone());
            }
            RunOutcome::Cancelled(_) | RunOutcome::Completed | RunOutcome::Aborted => {}
        }
    }
}
