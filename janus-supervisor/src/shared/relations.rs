//! What the supervisor's own services have to do with one another: who starts and stops after whom, and what the end or
//! the restart of one means to all.

use super::Shared;
use crate::cell::ServiceCell;
use crate::error::{GroupError, SpawnError};
use crate::machine::{ChildEnd, Cycle, Dependency, Freed, Permit, StartOrder};
use crate::report::ShutdownCause;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Instant;

impl Shared {
    /// The order of the services that start after others.
    pub(super) fn order(&self) -> MutexGuard<'_, StartOrder> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a service of this name can start after those.
    ///
    /// # Errors
    /// [`SpawnError::DependencyCycle`].
    #[inline]
    pub(crate) fn check_order(&self, name: &str, after: &[Dependency]) -> Result<(), SpawnError> {
        if after.is_empty() {
            return Ok(());
        }
        let check = self.order().check(name, after);
        check.map_err(|Cycle(path)| SpawnError::DependencyCycle {
            name: name.to_owned(),
            path: path.iter().map(ToString::to_string).collect(),
        })
    }

    /// Takes in a service of the supervisor's own that was just registered, and has no task yet.
    #[inline]
    pub(crate) fn adopt(&self, cell: &ServiceCell, after: Vec<Dependency>) {
        if self.root_group.is_some() || self.has_order.load(SeqCst) || !after.is_empty() {
            self.relate(cell, after);
        }
        // The shutdown may have asked all others before this one was there.
        if self.asked.load(Relaxed) {
            cell.request_shutdown();
            if self.abort.is_cancelled() {
                cell.request_abort();
            }
        }
    }

    /// Makes it known to all that it has to do with: whoever counts services, those that it starts after, and those
    /// that start after it.
    fn relate(&self, cell: &ServiceCell, after: Vec<Dependency>) {
        if let Some(group) = &self.root_group {
            group.registered(cell.traits.significant);
        }
        if !after.is_empty() {
            // From now on, whoever takes the name of one that others are after is taken in, too.
            self.has_order.store(true, SeqCst);
            cell.set_after(after.iter().map(|on| Arc::clone(&on.name)).collect());
        }
        if !self.has_order.load(SeqCst) {
            return;
        }
        let awaited = after.iter().map(|on| {
            let cell = self.this(&(Arc::clone(&on.name), on.id));
            if let Some(cell) = &cell {
                // First, so that it says so when it becomes ready, or ends, from now on.
                cell.set_related();
            }
            (Arc::clone(&on.name), on.id, cell)
        });
        let awaited: Vec<_> = awaited.collect();
        let freed = {
            let mut order = self.order();
            let freed = order.add(&cell.name, cell.id, after);
            if order.has(&cell.name) {
                cell.set_related();
            }
            freed
        };
        self.go_on(freed);
        // They may have come up in between, or be over, and then nobody else says so.
        for (name, id, on) in awaited {
            match on {
                Some(on) if on.is_finished() => self.leaves_order(&name, id),
                Some(on) => {
                    if on.is_up_or_says_so() {
                        self.is_up(&on);
                    }
                }
                // Over and forgotten, or another has its name.
                None => self.leaves_order(&name, id),
            }
        }
    }

    /// Whether a service of the supervisor's own has anything to do with others.
    #[inline]
    pub(crate) fn has_relations(&self, cell: &ServiceCell) -> bool {
        self.root_group.is_some() || cell.is_related()
    }

    /// A service of the supervisor's own has become ready: whoever waits for it may start.
    pub(crate) fn is_up(&self, cell: &ServiceCell) {
        if cell.is_related() {
            let may_start = self.order().up(&cell.name, cell.id);
            self.start(&may_start);
        }
    }

    /// A service of the supervisor's own has ended, and is gone.
    #[inline]
    pub(crate) fn ended(&self, cell: &ServiceCell) {
        // Whoever is just about to start after it sees this, or sees that it is over.
        if cell.is_related() {
            self.leaves_order(&cell.name, cell.id);
        }
        if let Some(group) = &self.root_group {
            let reason = cell.read(|lifecycle| lifecycle.termination_reason().cloned());
            let end = ChildEnd::of(reason.as_ref());
            let because = || GroupError::child_lost(cell);
            if let Some(cause) = group.ended(cell.traits.significant, end, because) {
                self.begin_shutdown(cause);
            }
        }
    }

    /// A service has ended: whoever waits for that may start, or stop.
    fn leaves_order(&self, name: &str, id: u64) {
        let freed = self.order().end(name, id);
        self.go_on(freed);
    }

    /// Lets those start and stop that may now.
    fn go_on(
        &self,
        Freed {
            may_start,
            may_stop,
        }: Freed,
    ) {
        self.start(&may_start);
        // Seen here or by `begin_shutdown`, which cancels the token before it looks at the order.
        if self.root.is_cancelled() {
            for cell in may_stop.iter().filter_map(|which| self.this(which)) {
                cell.request_shutdown();
            }
        }
    }

    /// A service of the supervisor's own is to run again.
    pub(crate) fn restarts(&self, cell: &ServiceCell, now: Instant) {
        if let Some(group) = &self.root_group {
            let because = |intensity| GroupError::intensity_exceeded(cell, intensity);
            if group.is_exceeded(now, because) {
                self.begin_shutdown(ShutdownCause::GaveUp);
            }
        }
    }

    fn start(&self, which: &[(Arc<str>, u64)]) {
        for cell in which.iter().filter_map(|which| self.this(which)) {
            cell.set_permit(Permit::OPEN);
        }
    }

    /// The very service, if it is still there: another may have its name.
    fn this(&self, (name, id): &(Arc<str>, u64)) -> Option<Arc<ServiceCell>> {
        self.registry.get(name).filter(|cell| cell.id == *id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::Traits;
    use crate::{RestartPolicy, SupervisorConfig, clock};

    /// All others go on without the lock of the order.
    #[test]
    fn only_those_that_start_after_others_and_those_others_have_to_do_with_anybody() {
        let shared = Shared::new(SupervisorConfig::default());
        let spawn = |id: u64, name: &str, after: &[&ServiceCell]| {
            let (policy, traits) = (RestartPolicy::default(), Traits::default());
            let cell = ServiceCell::new(clock::now(), name.into(), id, policy, traits);
            let cell = Arc::new(cell);
            assert!(shared.registry.insert(Arc::clone(&cell)).is_ok());
            let on = |on: &&ServiceCell| Dependency {
                name: Arc::clone(&on.name),
                id: on.id,
                up: false,
            };
            shared.adopt(&cell, after.iter().map(on).collect());
            cell
        };
        let [db, before] = [spawn(0, "db", &[]), spawn(1, "before", &[])];
        let api = spawn(2, "api", &[&db]);
        let behind = spawn(3, "behind", &[]);
        let related = [&db, &before, &api, &behind].map(|cell| shared.has_relations(cell));
        assert_eq!(related, [true, false, true, false]);
    }
}
