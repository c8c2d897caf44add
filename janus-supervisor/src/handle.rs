//! A hold on one service.

use crate::cell::ServiceCell;
use crate::error::RestartError;
use crate::machine::ServiceMachine;
use crate::shared::Shared;
use crate::{ServiceLifecycle, ServiceLifecycleSnapshot, ServicePhase, TerminationReason};
use std::fmt;
use std::sync::Arc;

/// A hold on one service: to ask it, to stop it, to wait for its end. Cheap to clone.
///
/// It does not keep the service or the supervisor alive, and dropping it does nothing. It stays with the service it was made
/// for, also when another of the same name takes its place.
#[derive(Clone)]
pub struct ServiceHandle {
    cell: Arc<ServiceCell>,
    shared: Arc<Shared>,
}

impl ServiceHandle {
    pub(crate) const fn new(cell: Arc<ServiceCell>, shared: Arc<Shared>) -> Self {
        Self { cell, shared }
    }

    /// The service's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.cell.name
    }

    /// What it is doing.
    #[must_use]
    pub fn phase(&self) -> ServicePhase {
        self.cell.read(|lifecycle| lifecycle.phase())
    }

    /// All about it, as of now.
    #[must_use]
    pub fn snapshot(&self) -> ServiceLifecycleSnapshot {
        self.cell.snapshot()
    }

    /// Why it has terminated, once it has.
    #[must_use]
    pub fn termination_reason(&self) -> Option<TerminationReason> {
        self.cell
            .read(|lifecycle| lifecycle.termination_reason().cloned())
    }

    /// Which service: a number that no other service of the same supervisor has or had. Its events carry it.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.cell.id
    }

    /// Asks it to stop, and returns at once. Repeating it is harmless.
    pub fn request_stop(&self) {
        self.cell.request_stop();
    }

    /// Asks it to stop, and waits until it has: at once during a backoff, otherwise within its grace, after which it is
    /// dropped. Answers why it terminated, which may be something else if it had terminated before.
    ///
    /// Repeating it is harmless. A service that stops itself this way waits for itself, and is dropped when its grace is over.
    ///
    /// # Cancel safety
    /// The request stands, once this has been polled; only the waiting is lost.
    pub async fn stop(&self) -> TerminationReason {
        self.cell.request_stop();
        self.terminated().await
    }

    /// Ends the present run, or the backoff, and begins another run at once; answers when that is running. Earlier failures are
    /// forgotten, by its breaker, too. In a group nobody else restarts, and nothing is counted; if its siblings are restarting, it
    /// comes up with them.
    ///
    /// # Errors
    /// [`RestartError::Terminated`] if it has terminated, or does so before it runs again: a stop wins.
    /// [`RestartError::Failed`] if it has begun, and failed before it was seen running.
    ///
    /// # Cancel safety
    /// The request stands, once this has been polled; only the waiting is lost.
    pub async fn restart(&self) -> Result<(), RestartError> {
        let runs = self.cell.with_machine(|machine| machine.runs());
        if !self.phase().is_terminal() {
            self.cell.request_restart();
        }
        let _watching = self.shared.watch();
        let answer = |machine: &mut ServiceMachine| {
            let lifecycle = machine.lifecycle();
            let runs_anew = machine.runs() > runs;
            match (lifecycle.termination_reason(), lifecycle.phase()) {
                (Some(reason), _) => Some(Err(Some(reason.clone()))),
                (None, ServicePhase::Running) if runs_anew => Some(Ok(())),
                (None, ServicePhase::BackingOff) if runs_anew && lifecycle.attempt() > 0 => {
                    Some(Err(None))
                }
                _ => None,
            }
        };
        let answer = self.cell.first(|| self.cell.with_machine(answer)).await;
        answer.map_err(|reason| {
            let name = self.name().to_owned();
            match reason {
                Some(reason) => RestartError::Terminated { name, reason },
                None => RestartError::Failed {
                    name,
                    error: self.snapshot().last_error.unwrap_or_default(),
                },
            }
        })
    }

    /// Asks it to stop, waits until it has, and has the supervisor forget it. Answers its last state. Repeating it is harmless.
    ///
    /// # Cancel safety
    /// The request to stop stands, once this has been polled; whether it is forgotten, is open.
    pub async fn remove(&self) -> ServiceLifecycleSnapshot {
        self.stop().await;
        self.shared.forget(&self.cell);
        self.snapshot()
    }

    /// Waits until it is in this phase. Answers whether it is: once it has terminated, it will be in no other.
    ///
    /// A phase that lasts for a moment only may be missed.
    ///
    /// # Cancel safety
    /// Nothing is lost: call it again.
    pub async fn wait_for(&self, phase: ServicePhase) -> bool {
        let _watching = self.shared.watch();
        let answer = |lifecycle: &ServiceLifecycle| {
            let now = lifecycle.phase();
            (now == phase || now.is_terminal()).then_some(now == phase)
        };
        self.cell.first(|| self.cell.read(answer)).await
    }

    /// Waits until it is running, which includes ready. Answers whether it is: once it has terminated, it will never be.
    ///
    /// # Cancel safety
    /// Nothing is lost: call it again.
    pub async fn wait_ready(&self) -> bool {
        self.wait_for(ServicePhase::Running).await
    }

    /// Waits until it has terminated, its last run is gone and its value is dropped.
    ///
    /// # Cancel safety
    /// Nothing is lost: call it again.
    pub async fn terminated(&self) -> TerminationReason {
        self.cell.finished().await;
        // A finished task has terminated its service: `Task`'s destructor sees to it.
        self.termination_reason()
            .unwrap_or(TerminationReason::Aborted)
    }
}

impl fmt::Debug for ServiceHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ServiceHandle").field(&self.cell).finish()
    }
}
