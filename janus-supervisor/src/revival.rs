//! A service that its breaker has terminated can begin anew: its value is kept for that.
//!
//! To everybody who is told, what begins is a new service of the same name, with a number of its own. Only the handles
//! of the old one know that it is the same, and follow it.

use crate::cell::ServiceCell;
use crate::driver::monitor;
use crate::driver::{Task, drive};
use crate::machine::Decider;
use crate::shared::Shared;
use crate::{JanusService, clock, spawn};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::runtime::Handle;

/// The value of a service whose task is over, where it ran, and what it decided by.
pub(crate) struct Dormant {
    service: Option<Box<dyn Wake>>,
    runtime: Handle,
    decider: Decider,
}

impl Dormant {
    pub(crate) fn new<S: JanusService>(service: S, runtime: Handle, decider: Decider) -> Self {
        let service: Option<Box<dyn Wake>> = Some(Box::new(service));
        Self {
            service,
            runtime,
            decider,
        }
    }

    pub(crate) const fn runtime(&self) -> &Handle {
        &self.runtime
    }
}

/// Its drop may need what its runs had around them.
impl Drop for Dormant {
    fn drop(&mut self) {
        let _inside = self.runtime.enter();
        self.service = None;
    }
}

/// A service, whatever its type, that can be set going once more.
trait Wake: Send {
    fn wake(self: Box<Self>, task: Task, runtime: &Handle);
}

impl<S: JanusService> Wake for S {
    fn wake(self: Box<Self>, task: Task, runtime: &Handle) {
        drop(runtime.spawn(drive(task, *self)));
    }
}

/// Where the handles of a service find it, once it has begun anew: its newest life. The older lives share this.
pub(crate) struct Successor(Mutex<Arc<ServiceCell>>);

impl Successor {
    pub(crate) const fn new(newest: Arc<ServiceCell>) -> Self {
        Self(Mutex::new(newest))
    }

    pub(crate) fn newest(&self) -> Arc<ServiceCell> {
        Arc::clone(&self.lock())
    }

    pub(crate) fn set(&self, newest: Arc<ServiceCell>) {
        let older = std::mem::replace(&mut *self.lock(), newest);
        drop(older);
    }

    fn lock(&self) -> MutexGuard<'_, Arc<ServiceCell>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Has a service begin anew whose task is over, if its value was kept: of many who ask, one does it.
pub(crate) fn revive(shared: &Arc<Shared>, old: &Arc<ServiceCell>) {
    // A drain that begins from now on waits for it.
    let entering = shared.join();
    if shared.root.is_cancelled() {
        return;
    }
    // Better terminated, with all that is known of it, than lost at once.
    let runtime = old.dormant_runtime();
    if runtime.is_none_or(|runtime| spawn::check_runtime(&old.name, &runtime).is_err()) {
        return;
    }
    let now = clock::now();
    let (id, seed) = shared.next_id();
    // What is left of those that it started after; none of them, if one has been spawned after it since.
    let name = &*old.name;
    let known = |on: &Arc<str>| spawn::dependencies(shared, name, std::slice::from_ref(on)).ok();
    let after: Vec<_> = old.after().iter().filter_map(known).flatten().collect();
    let in_order = shared.check_order(name, &after).is_ok();
    let after = if in_order { after } else { Vec::new() };
    let new = Arc::new(old.anew(now, id));
    let Some(mut dormant) = shared.registry.succeed(old, &new) else {
        return;
    };
    let runtime = dormant.runtime.clone();
    // Those who listen for all may have gone with their runtime.
    let here = Handle::try_current();
    shared.listen(&runtime, here.as_ref().unwrap_or(&runtime));
    let mut decider = dormant.decider.anew(now, seed);
    if !after.is_empty() {
        decider.close();
    }
    let (news, olds) = (std::slice::from_ref(&new), std::slice::from_ref(old));
    shared.introduce(news, now, olds, || shared.adopt(&new, after));
    monitor::watch(&new, decider.checks(), &runtime);
    let task = Task::new(new, entering, decider);
    if let Some(service) = dormant.service.take() {
        service.wake(task, &runtime);
    }
}
