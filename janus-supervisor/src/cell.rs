//! One service as everybody shares it: its machine behind its own lock, and the ways to reach its task.
//!
//! Invariants:
//!
//! 1. Only the service's own task (or the task's destructor) gives the machine an input; everybody else reads. Numbers for events
//!    are also taken before the task begins (`Registered`) and after it is over (`Removed`).
//! 2. Nothing but pure code runs while the lock is held: no observer, no user's `Drop` or `Display`, no await.

use crate::driver::{caught, logged};
use crate::machine::{Checks, Permit, ServiceMachine, Ticket};
use crate::notify::StopReason;
use crate::revival::{Dormant, Successor};
use crate::{
    CancellationToken, RestartPolicy, ServiceLifecycle, ServiceLifecycleSnapshot, ServicePhase,
    TerminationReason, clock,
};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;
use tokio::sync::Notify;

pub(crate) struct ServiceCell {
    pub(crate) name: Arc<str>,
    /// The place in the order of spawning.
    pub(crate) id: u64,
    pub(crate) policy: RestartPolicy,
    pub(crate) traits: Traits,
    inner: Mutex<Inner>,
    /// 0, [`STOP`] or [`SHUTDOWN`].
    stop_requested: AtomicU8,
    /// What the present run has left outside its future: threads of the blocking pool.
    holds: AtomicUsize,
    /// [`FINISHED`] and [`REMOVED`].
    end: AtomicU8,
    /// `holds` went back to zero, the task is over, or somebody waits for a change.
    changed: Notify,
    /// Wakes the task for what the run has said, and when it may begin one, if that matters to it.
    news: Option<Arc<Notify>>,
    /// The task does not do what is due: the run blocks its thread.
    stuck: AtomicBool,
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
    /// It is forgotten once it has terminated.
    pub(crate) ephemeral: bool,
}

/// Whether this run is in progress.
fn is_in_run(lifecycle: &ServiceLifecycle, run: u32) -> bool {
    let phase = lifecycle.phase();
    let between = matches!(phase, ServicePhase::BackingOff | ServicePhase::Terminated);
    lifecycle.start_count() == run && !between
}

/// It is to stop, alone or with its group.
const STOP: u8 = 1;
/// All are to stop.
const SHUTDOWN: u8 = 2;

/// The task is over, and with it the service's value.
const FINISHED: u8 = 1;
/// The registry has forgotten the service.
const REMOVED: u8 = 2;

struct Inner {
    machine: ServiceMachine,
    /// The token that the present run was given, or the next will be.
    token: CancellationToken,
    /// What was said and asked, for services that have anything to do with that.
    said: Option<Box<Said>>,
}

/// What others have said of the service, or want of it, for its task to hear; and what is left when that is over.
#[derive(Default)]
struct Said {
    /// What its group wants, if it is in one.
    permit: Option<Permit>,
    /// Somebody wants another run.
    restart: bool,
    /// The run that has said that it is ready.
    ready: u32,
    /// When the present run last said that it is alive.
    alive_at: Option<Instant>,
    /// What a run does, in its own words.
    status: Option<(u32, Arc<str>)>,
    /// Which run is to end, though the service is not, and why.
    halted: Option<(u32, StopReason)>,
    /// The place among those that start that it was given last.
    granted: Option<Ticket>,
    /// It has no task: the run of its group, which makes that, has not begun.
    awaits_task: bool,
    /// Which of the supervisor's own services it starts after.
    after: Vec<Arc<str>>,
    /// Its value, if it may begin anew.
    dormant: Option<Dormant>,
    /// Where to find it, if it has begun anew.
    successor: Option<Arc<Successor>>,
    /// The same, as the older lives of this service know it.
    heir_of: Weak<Successor>,
}

/// A token wakes other people's wakers: one that panics harms only itself.
pub(crate) fn cancel(token: &CancellationToken) {
    logged(|| token.cancel());
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
            said: None,
        };
        let machine = &inner.machine;
        let hears = machine.is_limited() || machine.checks() != Checks::default();
        let news = hears.then(Arc::default);
        Self {
            name,
            id,
            policy,
            traits,
            inner: Mutex::new(inner),
            stop_requested: AtomicU8::new(0),
            holds: AtomicUsize::new(0),
            end: AtomicU8::new(0),
            changed: Notify::new(),
            news,
            stuck: AtomicBool::new(false),
        }
    }

    /// The same service in another life, as newly registered.
    pub(crate) fn anew(&self, now: Instant, id: u64, seed: u64, gated: bool) -> Self {
        let machine = self.with_machine(|machine| machine.anew(now, seed));
        let machine = if gated { machine.gated() } else { machine };
        Self::new(
            Arc::clone(&self.name),
            id,
            self.policy,
            machine,
            self.traits,
        )
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
        let (lifecycle, status) = {
            let inner = self.lock();
            let lifecycle = inner.machine.lifecycle();
            let status = inner.said.as_ref().and_then(|said| said.status.clone());
            let status = status.filter(|(run, _)| is_in_run(lifecycle, *run));
            (lifecycle.clone(), status)
        };
        // The last error is formatted from a copy, outside the lock.
        let mut snapshot = lifecycle.snapshot(clock::now());
        snapshot.status = status.map(|(_, text)| text.to_string());
        snapshot.stuck = self.stuck.load(Ordering::Relaxed) && !self.is_finished();
        snapshot
    }

    /// The number of the present run, or of the last.
    pub(crate) fn run(&self) -> u32 {
        self.read(ServiceLifecycle::start_count)
    }

    /// Takes note of what this run says, if it is the present one.
    fn hear(&self, run: u32, take_note: impl FnOnce(&mut Said)) {
        let mut inner = self.lock();
        if is_in_run(inner.machine.lifecycle(), run) {
            take_note(inner.said.get_or_insert_default());
        }
    }

    pub(crate) fn say_ready(&self, run: u32) {
        if let Some(news) = &self.news {
            self.hear(run, |said| said.ready = run);
            logged(|| news.notify_one());
        }
    }

    pub(crate) fn say_alive(&self, run: u32) {
        if self.news.is_some() {
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
        ready == inner.machine.lifecycle().start_count()
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
        if let Some(news) = &self.news {
            logged(|| news.notify_one());
        }
    }

    /// The place among those that start that it was given last.
    pub(crate) fn granted(&self) -> Option<Ticket> {
        self.lock().said.as_ref()?.granted
    }

    /// What wakes the task for what the run has said, and when it may begin one.
    pub(crate) fn news(&self) -> Option<Arc<Notify>> {
        self.news.clone()
    }

    /// Notes whether the run blocks its thread. Answers whether that is new.
    pub(crate) fn set_stuck(&self, stuck: bool) -> bool {
        self.stuck.swap(stuck, Ordering::Relaxed) != stuck
    }

    /// Why the present run was asked to end.
    pub(crate) fn stop_reason(&self) -> Option<StopReason> {
        match self.stop_requested.load(Ordering::Acquire) {
            STOP => Some(StopReason::Stop),
            SHUTDOWN => Some(StopReason::Shutdown),
            _ => {
                let inner = self.lock();
                let (run, reason) = inner.said.as_ref()?.halted?;
                is_in_run(inner.machine.lifecycle(), run).then_some(reason)
            }
        }
    }

    pub(crate) fn token(&self) -> CancellationToken {
        self.lock().token.clone()
    }

    /// Puts another token in place of one that the service cancelled itself.
    ///
    /// Answers, from under the same lock, what is wanted of it besides to stop: another run, and what its group allows. A wish
    /// that is not among them has cancelled, or will cancel, the new token.
    pub(crate) fn replace_token(&self, token: CancellationToken) -> (bool, Option<Permit>) {
        let (old, wishes) = {
            let mut inner = self.lock();
            let wishes = match &mut inner.said {
                Some(said) => (std::mem::take(&mut said.restart), said.permit),
                None => (false, None),
            };
            (std::mem::replace(&mut inner.token, token), wishes)
        };
        drop(old);
        wishes
    }

    /// Tells a gated service what is wanted of it. Its token wakes its task, and ends the run if there is one.
    pub(crate) fn set_permit(&self, permit: Permit) {
        self.wish(|said, run| {
            said.permit = Some(permit);
            if permit.halt >= permit.go {
                said.halted = Some((run, StopReason::Sibling));
            }
            true
        });
    }

    /// Asks for another run, at once. Before the first, that is the one.
    pub(crate) fn request_restart(&self) {
        self.wish(|said, run| {
            said.restart = run > 0;
            said.halted = Some((run, StopReason::Restart));
            said.restart
        });
    }

    /// Takes note of a wish, and wakes the task with the token if that answers that there is one.
    fn wish(&self, take_note: impl FnOnce(&mut Said, u32) -> bool) {
        let token = {
            let mut inner = self.lock();
            let run = inner.machine.runs();
            let is_one = take_note(inner.said.get_or_insert_default(), run);
            is_one.then(|| inner.token.clone())
        };
        if let Some(token) = token {
            cancel(&token);
        }
    }

    /// Asks the service to stop. Repeating it is harmless.
    pub(crate) fn request_stop(&self) {
        self.request(STOP);
    }

    /// The same, because all are to stop.
    pub(crate) fn request_shutdown(&self) {
        self.request(SHUTDOWN);
    }

    fn request(&self, what: u8) {
        // The first reason stays.
        let wanted = &self.stop_requested;
        let _kept = wanted.compare_exchange(0, what, Ordering::AcqRel, Ordering::Acquire);
        cancel(&self.token());
    }

    pub(crate) fn is_stop_requested(&self) -> bool {
        self.stop_requested.load(Ordering::Acquire) != 0
    }

    /// Tells whoever waits for a change.
    pub(crate) fn tell_changed(&self) {
        logged(|| self.changed.notify_waiters());
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
        let before = self.end.fetch_or(FINISHED, Ordering::SeqCst);
        self.tell_changed();
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
        self.end.load(Ordering::SeqCst) & FINISHED != 0
    }

    /// Waits until the service's task is over.
    pub(crate) async fn finished(&self) {
        self.until(|| self.is_finished()).await;
    }

    /// Whether its breaker has terminated it.
    pub(crate) fn has_given_up(&self) -> bool {
        self.read(|lifecycle| {
            let reason = lifecycle.termination_reason();
            matches!(reason, Some(TerminationReason::CircuitBreakerOpen { .. }))
        })
    }

    /// Notes that it has no task yet.
    pub(crate) fn await_task(&self) {
        self.lock().said.get_or_insert_default().awaits_task = true;
    }

    /// Answers whether it has had no task so far. From now on whoever asks has to see to it.
    pub(crate) fn begin_task(&self) -> bool {
        let said = &mut self.lock().said;
        said.as_mut()
            .is_some_and(|said| std::mem::take(&mut said.awaits_task))
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

    /// Takes out the value that was kept.
    pub(crate) fn take_dormant(&self) -> Option<Dormant> {
        self.lock().said.as_mut()?.dormant.take()
    }

    /// Drops the value that was kept, if one was: it will not begin anew.
    pub(crate) fn drop_dormant(&self) {
        if let Some(dormant) = self.take_dormant() {
            if let Err(panic) = caught(|| drop(dormant)) {
                logged(|| {
                    tracing::warn!(service = &*self.name, error = %panic, "the drop of the service panicked");
                });
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

    async fn until(&self, condition: impl Fn() -> bool) {
        self.first(|| condition().then_some(())).await;
    }

    /// Waits until there is something to see. Somebody has to say so when that may be.
    pub(crate) async fn first<T>(&self, look: impl Fn() -> Option<T>) -> T {
        loop {
            // Made before the look, so that no change falls between the look and the wait.
            let changed = self.changed.notified();
            if let Some(seen) = look() {
                return seen;
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
            self.0.tell_changed();
        }
    }
}
