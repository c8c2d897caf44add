//! What is said of a service and wanted of it, besides to stop; and what is left when that is over. Most services have
//! none of it.

use super::calls::Call;
use super::{ServiceCell, cancel, is_in_run};
use crate::clock;
use crate::driver::caught;
use crate::log;
use crate::machine::{Decider, Permit, Ticket};
use crate::notify::StopReason;
use crate::revival::{Dormant, Successor};
use std::sync::{Arc, Weak};
use std::time::Instant;
use tokio::runtime::Handle;

/// What others have said of the service, or want of it, for its task to hear; and what is left when that is over.
#[derive(Default)]
pub(super) struct Said {
    /// What its group wants, if it is in one.
    permit: Option<Permit>,
    /// Somebody wants another run.
    pub(super) restart: bool,
    /// The run that has said that it is ready.
    ready: u32,
    /// When the present run last said that it is alive.
    alive_at: Option<Instant>,
    /// What a run does, in its own words.
    pub(super) status: Option<(u32, Arc<str>)>,
    /// Which run is to end, though the service is not, and why.
    pub(super) halted: Option<(u32, StopReason)>,
    /// The token is that run's, and about to be cancelled: no other run must have it.
    pub(super) token_is_spent: bool,
    /// The place among those that start that it was given last.
    granted: Option<Ticket>,
    /// What its task will decide by, if it has none: the run of its group, which makes that, has not begun.
    awaits_task: Option<Decider>,
    /// Since when there is something for the task to do, or when there will be.
    pub(super) due: Option<Instant>,
    /// Which of the supervisor's own services it starts after.
    after: Vec<Arc<str>>,
    /// Its value, if it may begin anew.
    dormant: Option<Dormant>,
    /// Where to find it, if it has begun anew.
    successor: Option<Arc<Successor>>,
    /// The same, as the older lives of this service know it.
    heir_of: Weak<Successor>,
}

impl ServiceCell {
    /// Takes note of what this run says, if it is the present one.
    fn hear(&self, run: u32, take_note: impl FnOnce(&mut Said)) {
        let mut inner = self.lock();
        if is_in_run(&inner.life, run) {
            take_note(inner.said.get_or_insert_default());
        }
    }

    pub(crate) fn say_ready(&self, run: u32) {
        if self.traits.hears {
            let mut is_news = false;
            self.hear(run, |said| {
                is_news = std::mem::replace(&mut said.ready, run) != run;
            });
            if is_news {
                self.calls.call(Call::News);
            }
        }
    }

    pub(crate) fn say_alive(&self, run: u32) {
        if self.traits.hears {
            let now = clock::now();
            self.hear(run, |said| said.alive_at = said.alive_at.max(Some(now)));
        }
    }

    pub(crate) fn say_status(&self, run: u32, text: String) {
        self.hear(run, |said| said.status = Some((run, text.into())));
    }

    /// Whether the present run has said that it is ready.
    pub(crate) fn is_said_ready(&self) -> bool {
        let inner = self.lock();
        let ready = inner.said.as_ref().map_or(0, |said| said.ready);
        ready == inner.life.start_count()
    }

    /// When the service last said that it is alive.
    pub(crate) fn alive_at(&self) -> Option<Instant> {
        self.lock().said.as_ref()?.alive_at
    }

    /// Gives the service a place among those that start, that it has waited for.
    pub(crate) fn grant_start(&self, ticket: Ticket) {
        {
            let mut inner = self.lock();
            let granted = &mut inner.said.get_or_insert_default().granted;
            // Tickets only grow, so one that comes late changes nothing.
            *granted = (*granted).max(Some(ticket));
        }
        self.calls.call(Call::News);
    }

    /// The place among those that start that it was given last.
    pub(crate) fn granted(&self) -> Option<Ticket> {
        self.lock().said.as_ref()?.granted
    }

    /// Since when, or from when on, there is something for the task to do, if what it does is watched.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.lock().said.as_ref()?.due
    }

    /// What is wanted of it besides to stop: another run, and what its group allows.
    pub(crate) fn take_wishes(&self) -> (bool, Option<Permit>) {
        let mut inner = self.lock();
        let run = self.runs(&inner);
        let Some(said) = &mut inner.said else {
            return (false, None);
        };
        let restart = std::mem::take(&mut said.restart);
        if restart && said.halted.is_none_or(|(halted, _)| halted != run) {
            // The run that was meant has failed in between, and this one has followed at once.
            said.halted = Some((run, StopReason::Restart));
        }
        (restart, said.permit)
    }

    /// Tells a gated service what is wanted of it. Its token ends the run if that is to end.
    pub(crate) fn set_permit(&self, permit: Permit) {
        self.wish(|said, _| {
            said.permit = Some(permit);
            (permit.halt >= permit.go).then_some(StopReason::Sibling)
        });
    }

    /// Asks for another run, at once. Before the first, that is the one.
    pub(crate) fn request_restart(&self) {
        self.wish(|said, run| {
            said.restart = run > 0;
            said.restart.then_some(StopReason::Restart)
        });
    }

    /// Takes note of a wish, and calls the task. If it is a reason for the present run to end, and there is one,
    /// cancels its token.
    fn wish(&self, take_note: impl FnOnce(&mut Said, u32) -> Option<StopReason>) {
        let token = {
            let mut inner = self.lock();
            let run = self.runs(&inner);
            let is_in_run = is_in_run(&inner.life, run);
            // It stays, so that the task, which may hear of this first, can cancel it, too.
            let token = inner.token.clone();
            let said = inner.said.get_or_insert_default();
            let reason = take_note(said, run).filter(|_| is_in_run);
            reason.and_then(|reason| {
                said.halted = Some((run, reason));
                said.token_is_spent = token.is_some();
                token
            })
        };
        // First, so that a run which ends by the token is known to have been told to.
        self.calls.call(Call::Wish);
        if let Some(token) = token {
            cancel(&token);
        }
    }

    /// Notes that it has no task yet, and what that will decide by.
    pub(crate) fn await_task(&self, decider: Decider) {
        self.lock().said.get_or_insert_default().awaits_task = Some(decider);
    }

    /// What the task of a service that has had none so far is to decide by. Whoever asks has to see to it from now on.
    pub(crate) fn begin_task(&self) -> Option<Decider> {
        self.lock().said.as_mut()?.awaits_task.take()
    }

    /// Notes which services it starts after.
    pub(crate) fn set_after(&self, after: Vec<Arc<str>>) {
        self.lock().said.get_or_insert_default().after = after;
    }

    /// Which services it starts after.
    pub(crate) fn after(&self) -> Vec<Arc<str>> {
        let inner = self.lock();
        inner
            .said
            .as_ref()
            .map_or_else(Vec::new, |said| said.after.clone())
    }

    /// Keeps the value of a service whose task is about to be over.
    pub(crate) fn keep(&self, dormant: Dormant) {
        self.lock().said.get_or_insert_default().dormant = Some(dormant);
    }

    /// Where the value ran that was kept.
    pub(crate) fn dormant_runtime(&self) -> Option<Handle> {
        let inner = self.lock();
        let dormant = inner.said.as_ref()?.dormant.as_ref()?;
        Some(dormant.runtime().clone())
    }

    /// Takes out the value that was kept.
    pub(crate) fn take_dormant(&self) -> Option<Dormant> {
        self.lock().said.as_mut()?.dormant.take()
    }

    /// Drops the value that was kept, if one was: it will not begin anew.
    pub(crate) fn drop_dormant(&self) {
        if let Some(dormant) = self.take_dormant() {
            if let Err(panic) = caught(|| drop(dormant)) {
                log::drop_panicked(&self.name, "service", &panic);
            }
        }
    }

    /// Has whoever holds this life, or one before it, find the next.
    pub(crate) fn set_successor(&self, next: &Arc<Self>) {
        let successor = {
            let mut inner = self.lock();
            let said = inner.said.get_or_insert_default();
            let known = said.heir_of.upgrade();
            let successor = known.unwrap_or_else(|| Arc::new(Successor::new(Arc::clone(next))));
            said.successor = Some(Arc::clone(&successor));
            successor
        };
        successor.set(Arc::clone(next));
        let mut inner = next.lock();
        inner.said.get_or_insert_default().heir_of = Arc::downgrade(&successor);
    }

    /// The newest life of the service, if that is not this one.
    pub(crate) fn successor(&self) -> Option<Arc<Self>> {
        let successor = self.lock().said.as_ref()?.successor.clone()?;
        Some(successor.newest())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::Traits;
    use crate::machine::{Ended, Input, Retries, Shortcut, Step};
    use crate::{BackoffConfig, Exit, Failure, FailureKind, RestartPolicy};
    use std::time::Duration;

    #[test]
    fn a_run_that_a_restart_has_come_too_late_for_leaves_the_reason_to_the_next() {
        let now = clock::now();
        let traits = Traits::default();
        let cell = ServiceCell::new(now, "it".into(), 0, RestartPolicy::default(), traits);
        let at_once = BackoffConfig::new(Duration::ZERO, Duration::ZERO);
        let mut decider = Decider::new(now, Retries::new(Arc::new(at_once), 1), Duration::ZERO);
        assert!(matches!(
            cell.begin(&mut decider, now).unwrap(),
            Shortcut::Taken(_)
        ));
        cell.request_restart();
        assert_eq!(cell.stop_reason(), Some(StopReason::Restart));
        let failure = Failure::new(FailureKind::Error, "x");
        let ended = Ended::judge(cell.policy, Exit::Failed(failure));
        for input in [Input::Exited(ended), Input::Tick] {
            let mut step = Step::new(false);
            let decide = |decider: &mut Decider, life: &mut _, step: &mut _| {
                decider.decide(life, now, input, step)
            };
            cell.decide(&mut decider, &mut step, decide).unwrap();
        }
        assert_eq!(cell.run(), 2);
        assert_eq!(cell.stop_reason(), None, "nobody has told it to end");
        let is_to_end = || cell.read_runs(|_, run, halted| (run, halted)) == (2, true);
        assert!(is_to_end(), "this is not the run that was wanted");
        assert!(cell.take_wishes().0);
        assert!(is_to_end());
        assert_eq!(cell.stop_reason(), Some(StopReason::Restart));
    }
}
