//! A hold on one service.

use crate::cell::ServiceCell;
use crate::{ServiceLifecycleSnapshot, ServicePhase, TerminationReason};
use std::sync::Arc;

/// A hold on one service: to ask it, to stop it, to wait for its end. Cheap to clone.
///
/// It does not keep the service or the supervisor alive, and dropping it does nothing. It stays with the service it was made
/// for, also when another of the same name takes its place.
#[derive(Debug, Clone)]
pub struct ServiceHandle {
    cell: Arc<ServiceCell>,
}

impl ServiceHandle {
    pub(crate) const fn new(cell: Arc<ServiceCell>) -> Self {
        Self { cell }
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
