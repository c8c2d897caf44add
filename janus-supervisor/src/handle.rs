//! A hold on one service.

use crate::cell::ServiceCell;
use crate::driver::group::end_without_task;
use crate::error::RestartError;
use crate::machine::ChildEnd;
use crate::revival::revive;
use crate::shared::Shared;
use crate::{ServiceLifecycle, ServiceLifecycleSnapshot, ServicePhase, TerminationReason, clock};
use std::fmt;
use std::sync::Arc;

/// A handle to one service: to ask it, to stop it, to wait for its end. Cheap to clone.
///
/// It does not keep the service or the supervisor alive, and dropping it does nothing. It stays with the service it was
/// made for, also when another of the same name takes its place; and through a [`restart`](Self::restart) after its
/// breaker has terminated it. When a group runs again, the services in it are new ones: look them up again.
#[derive(Clone)]
pub struct ServiceHandle {
    cell: Arc<ServiceCell>,
    shared: Arc<Shared>,
}

impl ServiceHandle {
    pub(crate) const fn new(cell: Arc<ServiceCell>, shared: Arc<Shared>) -> Self {
        Self { cell, shared }
    }

    /// The service, in its newest life.
    fn cell(&self) -> Arc<ServiceCell> {
        let newest = self.cell.successor();
        newest.unwrap_or_else(|| Arc::clone(&self.cell))
    }

    /// The service's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.cell.name
    }

    /// What it is doing.
    #[must_use]
    pub fn phase(&self) -> ServicePhase {
        self.cell().read(|lifecycle| lifecycle.phase())
    }

    /// All about it, as of now.
    #[must_use]
    pub fn snapshot(&self) -> ServiceLifecycleSnapshot {
        self.cell().snapshot(clock::now())
    }

    /// Why it has terminated, once it has.
    #[must_use]
    pub fn termination_reason(&self) -> Option<TerminationReason> {
        reason(&self.cell())
    }

    /// Which service: a number that no other service of the same supervisor has or had. Its events carry it. One that
    /// begins anew after its breaker has terminated it gets another.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.cell().id
    }

    /// Asks it to stop, and returns at once. Repeating it is harmless.
    pub fn request_stop(&self) {
        self.ask_to_stop(&self.cell());
    }

    fn ask_to_stop(&self, cell: &Arc<ServiceCell>) {
        cell.request_stop();
        end_without_task(&self.shared, cell);
    }

    /// Asks it to stop, and waits until it has: at once during a backoff, otherwise within its grace, after which it is
    /// dropped; one that blocks a thread ends when that returns. Returns why it terminated, which may be something else
    /// if it had terminated before.
    ///
    /// Repeating it is harmless. A service that stops itself this way waits for itself, and is dropped when its grace
    /// is over.
    ///
    /// # Cancel safety
    /// The request stands, once this has been polled; only the waiting is lost.
    pub async fn stop(&self) -> TerminationReason {
        let cell = self.cell();
        self.ask_to_stop(&cell);
        end(&cell).await
    }

    /// Ends the present run, or the backoff, and begins another run at once; returns when that is running, or has ended
    /// without a failure. Earlier failures are forgotten, also by its breaker. In a group nobody else restarts, and
    /// nothing is counted; if its siblings are restarting, it comes up with them, and a backoff under a strategy that
    /// restarts siblings is the group's, and goes on. Under [`Readiness::Notify`](crate::Readiness::Notify) it is
    /// running when the run has said that it is ready, which may be never.
    ///
    /// A service that its breaker has terminated begins anew, as if it had been removed and spawned once more with the
    /// same value and settings: start count 1, a new [`id`](Self::id), and all its handles follow. Its value is kept
    /// for that until it is removed, its name is used again, or the shutdown begins; a value that holds a supervisor
    /// keeps the fleet alive for as long. This does not apply to ephemeral
    /// services, nor to those in a group: restart the group instead.
    ///
    /// A service that restarts itself this way waits for itself: its run is dropped when the grace is over, which is no
    /// failure, and the next begins.
    ///
    /// # Errors
    /// [`RestartError::Terminated`] if it has terminated otherwise, or does so before it runs again: a stop wins.
    /// [`RestartError::Failed`] if another run has begun, and failed before it was seen running.
    ///
    /// # Cancel safety
    /// The request stands, once this has been polled; only the waiting is lost.
    pub async fn restart(&self) -> Result<(), RestartError> {
        let mut cell = self.cell();
        let mut runs = cell.read_runs(|_, runs, _| runs);
        if cell.has_given_up() {
            cell.want_anew();
            // No longer than it takes its task to put the value aside.
            cell.finished().await;
            if cell.is_wanted_anew() {
                revive(&self.shared, &cell);
            }
            let newest = self.cell();
            if !Arc::ptr_eq(&newest, &cell) {
                (cell, runs) = (newest, 0);
            }
        } else if !cell.read(ServiceLifecycle::phase).is_terminal() {
            cell.request_restart();
        }
        let _watching = self.shared.watch();
        let answer = |lifecycle: &ServiceLifecycle, now: u32, halted: bool| {
            restarted(lifecycle, now > runs && !halted)
        };
        let answer = cell.first(|| match cell.read_runs(answer)? {
            Seen::Running => cell.is_up_or_says_so().then_some(Ok(())),
            Seen::Over(result) => Some(result),
        });
        let answer = answer.await;
        answer.map_err(|reason| {
            let name = self.name().to_owned();
            match reason {
                Some(reason) => RestartError::Terminated { name, reason },
                None => RestartError::Failed {
                    name,
                    error: cell.snapshot(clock::now()).last_error.unwrap_or_default(),
                },
            }
        })
    }

    /// Asks it to stop, waits until it has, and has the supervisor forget it. Returns its last state. Repeating it is
    /// harmless. A service must not remove itself this way: it would wait for itself until its grace is over, and stay
    /// registered; [`SpawnOptions::ephemeral`](crate::SpawnOptions::ephemeral) is for that.
    ///
    /// # Cancel safety
    /// The request to stop stands, once this has been polled; it may or may not be forgotten.
    pub async fn remove(&self) -> ServiceLifecycleSnapshot {
        loop {
            let cell = self.cell();
            self.ask_to_stop(&cell);
            cell.finished().await;
            self.shared.forget(&cell);
            // Somebody may have had it begin anew in the meantime.
            if cell.successor().is_none() {
                return cell.snapshot(clock::now());
            }
        }
    }

    /// Waits until it is in this phase. Returns whether it is: once it has terminated, it will be in no other, unless
    /// somebody has it begin anew. `Running` it is when the run has been polled.
    ///
    /// A phase that lasts for a moment only may be missed.
    ///
    /// # Cancel safety
    /// Nothing is lost: call it again.
    #[must_use]
    pub async fn wait_for(&self, phase: ServicePhase) -> bool {
        let _watching = self.shared.watch();
        let cell = self.cell();
        cell.first(|| {
            let now = cell.read(ServiceLifecycle::phase);
            if now == phase && now == ServicePhase::Running {
                return cell.is_up_or_says_so().then_some(true);
            }
            (now == phase || now.is_terminal()).then_some(now == phase)
        })
        .await
    }

    /// Waits until it is running, which includes ready. Returns `false` once it has terminated.
    ///
    /// # Cancel safety
    /// Nothing is lost: call it again.
    #[must_use]
    pub async fn wait_ready(&self) -> bool {
        self.wait_for(ServicePhase::Running).await
    }

    /// Waits until it has terminated, its last run is gone and its value is dropped (or kept, see
    /// [`restart`](Self::restart)).
    ///
    /// # Cancel safety
    /// Nothing is lost: call it again.
    pub async fn terminated(&self) -> TerminationReason {
        end(&self.cell()).await
    }
}

/// What can be seen of a restart.
enum Seen {
    /// The other run is in progress.
    Running,
    /// It is over: as it should be, or it has failed, or there is none because the service has terminated.
    Over(Result<(), Option<TerminationReason>>),
}

/// What has come of a restart, once that can be seen: `anew` says that another run has begun since, and not been told
/// to end.
fn restarted(lifecycle: &ServiceLifecycle, anew: bool) -> Option<Seen> {
    match (lifecycle.termination_reason(), lifecycle.phase()) {
        (Some(reason), _) => Some(Seen::Over(match ChildEnd::of(Some(reason)) {
            ChildEnd::Completed if anew => Ok(()),
            ChildEnd::Failed if anew => Err(None),
            _ => Err(Some(reason.clone())),
        })),
        (None, ServicePhase::Running) if anew => Some(Seen::Running),
        (None, ServicePhase::BackingOff) if anew => {
            let has_failed = lifecycle.attempt() > 0;
            Some(Seen::Over(if has_failed { Err(None) } else { Ok(()) }))
        }
        _ => None,
    }
}

fn reason(cell: &ServiceCell) -> Option<TerminationReason> {
    cell.read(|lifecycle| lifecycle.termination_reason().cloned())
}

async fn end(cell: &ServiceCell) -> TerminationReason {
    cell.finished().await;
    // A finished task has terminated its service: `Task`'s destructor sees to it.
    reason(cell).unwrap_or(TerminationReason::Aborted)
}

impl fmt::Debug for ServiceHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ServiceHandle").field(&self.cell()).finish()
    }
}
