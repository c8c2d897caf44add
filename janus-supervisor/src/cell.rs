//! One service as everybody shares it: its machine behind its own lock, and the ways to reach its task.
//!
//! Invariants:
//!
//! 1. Only the service's own task (or the task's destructor) gives the machine an input; everybody else reads. Numbers for events
//!    are also taken before the task begins (`Registered`) and after it is over (`Removed`).
//! 2. Nothing but pure code runs while the lock is held: no observer, no user's `Drop` or `Display`, no await.

use crate::machine::{Permit, ServiceMachine};
use crate::{CancellationToken, RestartPolicy, ServiceLifecycle, ServiceLifecycleSnapshot, clock};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

pub(crate) struct ServiceCell {
    pub(crate) name: Arc<str>,
    /// The place in the order of spawning.
    pub(crate) id: u64,
    pub(crate) policy: RestartPolicy,
    pub(crate) traits: Traits,
    inner: Mutex<Inner>,
    stop_requested: AtomicBool,
    /// What the present run has left outside its future: threads of the blocking pool.
    holds: AtomicUsize,
    /// [`FINISHED`] and [`REMOVED`].
    end: AtomicU8,
    /// `holds` went back to zero, or the task is over.
    changed: Notify,
}

/// What else there is to a service.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Traits {
    /// It is a group.
    pub(crate) group: bool,
    /// It is inside a group.
    pub(crate) inside: bool,
    /// Its end may end its parent.
    pub(crate) significant: bool,
}

/// The task is over, and with it the service's value.
const FINISHED: u8 = 1;
/// The registry has forgotten the service.
const REMOVED: u8 = 2;

struct Inner {
    machine: ServiceMachine,
    /// The token that the present run was given, or the next will be.
    token: CancellationToken,
    /// What its group wants, if it is in one.
    permit: Option<Permit>,
}

impl ServiceCell {
    pub(crate) fn new(
        name: Arc<str>,
        id: u64,
        policy: RestartPolicy,
        machine: ServiceMachine,
        traits: Traits,
    ) -> Self {
        let inner = Inner {
            machine,
            token: CancellationToken::new(),
            permit: None,
        };
        Self {
            name,
            id,
            policy,
            traits,
            inner: Mutex::new(inner),
            stop_requested: AtomicBool::new(false),
            holds: AtomicUsize::new(0),
            end: AtomicU8::new(0),
            changed: Notify::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Only pure code runs inside (invariant 2), so there is no half-done change to be afraid of.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For the service's own task only: invariant 1.
    pub(crate) fn with_machine<R>(&self, act: impl FnOnce(&mut ServiceMachine) -> R) -> R {
        act(&mut self.lock().machine)
    }

    /// A look at the lifecycle. `read` is pure code: invariant 2.
    pub(crate) fn read<R>(&self, read: impl FnOnce(&ServiceLifecycle) -> R) -> R {
        read(self.lock().machine.lifecycle())
    }

    pub(crate) fn snapshot(&self) -> ServiceLifecycleSnapshot {
        // The last error is formatted from a copy, outside the lock.
        let lifecycle = self.read(Clone::clone);
        lifecycle.snapshot(clock::now())
    }

    pub(crate) fn token(&self) -> CancellationToken {
        self.lock().token.clone()
    }

    /// Puts another token in place of one that the service cancelled itself.
    pub(crate) fn replace_token(&self, token: CancellationToken) {
        let old = std::mem::replace(&mut self.lock().token, token);
        drop(old);
    }

    /// What its group wants.
    pub(crate) fn permit(&self) -> Option<Permit> {
        self.lock().permit
    }

    /// Tells a gated service what is wanted of it. Its token wakes its task, and ends the run if there is one.
    pub(crate) fn set_permit(&self, permit: Permit) {
        let token = {
            let mut inner = self.lock();
            inner.permit = Some(permit);
            inner.token.clone()
        };
        token.cancel();
    }

    /// Asks the service to stop. Repeating it is harmless.
    pub(crate) fn request_stop(&self) {
        self.stop_requested.store(true, Ordering::Release);
        self.token().cancel();
    }

    pub(crate) fn is_stop_requested(&self) -> bool {
        self.stop_requested.load(Ordering::Acquire)
    }

    /// The run has something outside its future; it is not over before that is gone.
    pub(crate) fn hold(self: &Arc<Self>) -> Hold {
        self.holds.fetch_add(1, Ordering::Relaxed);
        Hold(Arc::clone(self))
    }

    /// Whether the run still holds anything.
    pub(crate) fn is_held(&self) -> bool {
        self.holds.load(Ordering::Acquire) != 0
    }

    /// Waits until the run holds nothing any more.
    pub(crate) async fn released(&self) {
        self.until(|| !self.is_held()).await;
    }

    /// Notes that the task is over. Answers whether the service was removed before, so that this is the last of it.
    #[must_use]
    pub(crate) fn set_finished(&self) -> bool {
        let before = self.end.fetch_or(FINISHED, Ordering::AcqRel);
        self.changed.notify_waiters();
        before & REMOVED != 0
    }

    /// Notes that the registry has forgotten the service. Answers whether the task was over before, so that this is the last
    /// of it.
    #[must_use]
    pub(crate) fn set_removed(&self) -> bool {
        let before = self.end.fetch_or(REMOVED, Ordering::AcqRel);
        before & FINISHED != 0
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.end.load(Ordering::Acquire) & FINISHED != 0
    }

    /// Waits until the service's task is over.
    pub(crate) async fn finished(&self) {
        self.until(|| self.is_finished()).await;
    }

    async fn until(&self, condition: impl Fn() -> bool) {
        loop {
            // Made before the look, so that no change falls between the look and the wait.
            let changed = self.changed.notified();
            if condition() {
                return;
            }
            changed.await;
        }
    }
}

/// Without the machine, whose last error is the user's to format: invariant 2.
impl fmt::Debug for ServiceCell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceCell")
            .field("name", &self.name)
            .field("id", &self.id)
            .field("phase", &self.read(ServiceLifecycle::phase))
            .finish_non_exhaustive()
    }
}

/// Keeps a run from counting as over: see [`ServiceCell::hold`].
#[derive(Debug)]
pub(crate) struct Hold(Arc<ServiceCell>);

impl Drop for Hold {
    fn drop(&mut self) {
        if self.0.holds.fetch_sub(1, Ordering::Release) == 1 {
            self.0.changed.notify_waiters();
        }
    }
}
