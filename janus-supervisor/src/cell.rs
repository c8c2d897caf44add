//! One service as everybody shares it: its lifecycle behind its own lock, and the ways to reach its task.
//!
//! Invariants:
//!
//! 1. Only the service's own task (or the task's destructor), which keeps the decisions to itself, moves the lifecycle;
//!    everybody else reads. A number for an event is also taken after the task is over (`Removed`).
//! 2. Nothing but pure code runs while the lock is held: no observer, no user's `Drop` or `Display`, no await.

mod calls;
mod said;

pub(crate) use calls::{Call, Heard};

use crate::driver::logged;
use crate::machine::{Command, Decider, Shortcut, Step};
use crate::notify::StopReason;
use crate::{
    BoxError, CancellationToken, Displaced, Exit, Failure, FailureKind, RestartPolicy,
    ServiceLifecycle, ServiceLifecycleSnapshot, ServicePhase, TerminationReason, TransitionError,
};
use calls::Calls;
use said::Said;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Waker;
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
    holds: AtomicU32,
    /// [`FINISHED`], [`REMOVED`], [`LOST`] and [`WANTED`].
    over: AtomicU8,
    /// Tells that `holds` went back to zero, that the task is over, or that something has happened. Made for the first
    /// who waits.
    changed: OnceLock<Box<Notify>>,
    /// What calls the task.
    calls: Calls,
    /// The task does not do what is due: the run blocks its thread.
    stuck: AtomicBool,
    /// 0 before the first run, then [`BEGUN`] and [`ENTERED`] by turns. Read under the lock, where the former is written;
    /// out here there is room for it.
    run_at: AtomicU8,
    /// Somebody has waited for `changed`.
    awaited: AtomicBool,
    /// It starts after others, or others after it.
    related: AtomicBool,
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
    /// What a run says, and when one may begin, matters to its task.
    pub(crate) hears: bool,
}

/// Whether this run is in progress.
fn is_in_run(lifecycle: &ServiceLifecycle, run: u32) -> bool {
    let phase = lifecycle.phase();
    let between = matches!(phase, ServicePhase::BackingOff | ServicePhase::Terminated);
    lifecycle.start_count() == run && !between
}

/// How a service has ended.
pub(crate) struct End {
    /// Its run was dropped.
    pub(crate) aborted: bool,
    pub(crate) at: Instant,
}

/// What had come of a service before its task was over.
#[derive(Clone, Copy)]
pub(crate) struct Before(u8);

impl Before {
    pub(crate) const fn was_nothing(self) -> bool {
        self.0 == 0
    }

    /// The registry has forgotten it, so that the end of the task is the last of it.
    pub(crate) const fn was_removed(self) -> bool {
        self.0 & REMOVED != 0
    }

    pub(crate) const fn was_wanted_anew(self) -> bool {
        self.0 & WANTED != 0
    }
}

/// It is to stop, alone or with its group.
const STOP: u8 = 1;
/// All are to stop.
const SHUTDOWN: u8 = 2;

/// The present run has yet to be polled.
const BEGUN: u8 = 1;
/// It has been polled: what does not say itself when it is ready is so now.
const ENTERED: u8 = 2;

/// The task is over, and with it the service's value.
const FINISHED: u8 = 1;
/// The registry has forgotten the service.
const REMOVED: u8 = 2;
/// The task's runtime went away, and nobody had asked for the service's end.
const LOST: u8 = 4;
/// Somebody wants it to begin anew, once its task is over.
const WANTED: u8 = 8;

struct Inner {
    life: ServiceLifecycle,
    /// The number of the service's next event.
    next_seq: u64,
    /// The token that the last run was given.
    token: Option<CancellationToken>,
    /// What was said and asked, for services that have anything to do with that.
    said: Option<Box<Said>>,
}

/// A token wakes other people's wakers: one that panics harms only itself.
pub(crate) fn cancel(token: &CancellationToken) {
    logged(|| token.cancel());
}

impl ServiceCell {
    pub(crate) fn new(
        now: Instant,
        name: Arc<str>,
        id: u64,
        policy: RestartPolicy,
        traits: Traits,
    ) -> Self {
        let inner = Inner {
            life: ServiceLifecycle::new(now, Arc::clone(&name)),
            // The first event is `Registered`.
            next_seq: 1,
            token: None,
            said: None,
        };
        Self {
            name,
            id,
            policy,
            traits,
            inner: Mutex::new(inner),
            stop_requested: AtomicU8::new(0),
            holds: AtomicU32::new(0),
            over: AtomicU8::new(0),
            changed: OnceLock::new(),
            calls: Calls::new(),
            run_at: AtomicU8::new(0),
            awaited: AtomicBool::new(false),
            related: AtomicBool::new(false),
            stuck: AtomicBool::new(false),
        }
    }

    /// The same service in another life, as newly registered.
    pub(crate) fn anew(&self, now: Instant, id: u64) -> Self {
        Self::new(now, Arc::clone(&self.name), id, self.policy, self.traits)
    }

    #[inline]
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Only pure code runs inside (invariant 2), so there is no half-done change to be afraid of.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For the service's own task only (invariant 1): has it decided what follows, and returns the token of the run
    /// that begins, if one does.
    ///
    /// # Errors
    /// As `decide`.
    #[inline]
    pub(crate) fn decide(
        &self,
        decider: &mut Decider,
        step: &mut Step,
        decide: impl FnOnce(
            &mut Decider,
            &mut ServiceLifecycle,
            &mut Step,
        ) -> Result<(), TransitionError>,
    ) -> Result<Option<CancellationToken>, TransitionError> {
        let mut inner = self.lock();
        step.first_seq = inner.next_seq;
        decide(decider, &mut inner.life, step)?;
        inner.next_seq += u64::from(step.tally.events);
        if self.traits.hears {
            inner.said.get_or_insert_default().due = decider.due();
        }
        Ok((step.command == Command::Run).then(|| self.begin_run(inner)))
    }

    /// For the service's own task only: takes the short cut to its first run, and returns the token of that.
    ///
    /// # Errors
    /// As `decide`.
    #[inline]
    pub(crate) fn begin(
        &self,
        decider: &mut Decider,
        now: Instant,
    ) -> Result<Shortcut<CancellationToken, ()>, TransitionError> {
        let mut inner = self.lock();
        match decider.begin(&mut inner.life, now)? {
            Shortcut::Taken(()) => {
                inner.next_seq += u64::from(Decider::BEGIN.events);
                Ok(Shortcut::Taken(self.begin_run(inner)))
            }
            Shortcut::Closed(()) => Ok(Shortcut::Closed(())),
        }
    }

    /// For the service's own task only: takes the short cut from a failure to the run that follows at once, and returns
    /// the token of that, and the error that is no longer the last one.
    ///
    /// # Errors
    /// As `decide`.
    #[inline]
    pub(crate) fn again(
        &self,
        decider: &mut Decider,
        now: Instant,
        kind: FailureKind,
        error: BoxError,
        mut step: Option<&mut Step>,
    ) -> Result<Shortcut<(CancellationToken, Displaced), BoxError>, TransitionError> {
        let mut inner = self.lock();
        if let Some(step) = &mut step {
            step.first_seq = inner.next_seq;
        }
        match decider.again(&mut inner.life, now, kind, error, step)? {
            Shortcut::Taken(displaced) => {
                inner.next_seq += u64::from(Decider::AGAIN.events);
                Ok(Shortcut::Taken((self.begin_run(inner), displaced)))
            }
            Shortcut::Closed(error) => Ok(Shortcut::Closed(error)),
        }
    }

    /// For the service's own task only: takes the short cut from a stop to the end, and returns the error that is no
    /// longer the last one.
    ///
    /// # Errors
    /// As `decide`.
    #[inline]
    pub(crate) fn finish(
        &self,
        decider: &mut Decider,
        now: Instant,
        exit: Exit,
    ) -> Result<Shortcut<Option<Failure>, Exit>, TransitionError> {
        let mut inner = self.lock();
        let finish = decider.finish(&mut inner.life, now, exit)?;
        if let Shortcut::Taken(_) = finish {
            inner.next_seq += u64::from(Decider::FINISH.events);
        }
        Ok(finish)
    }

    /// The token of the run that begins.
    #[inline]
    fn begin_run(&self, mut inner: MutexGuard<'_, Inner>) -> CancellationToken {
        self.run_at.store(BEGUN, Ordering::Relaxed);
        let said = inner.said.as_mut();
        let is_spent = said.is_some_and(|said| std::mem::take(&mut said.token_is_spent));
        // Whoever cancelled it, it has done its work, and the next run gets a fresh one.
        let unused = inner.token.as_ref().filter(|token| !token.is_cancelled());
        if let Some(token) = unused.filter(|_| !is_spent) {
            return token.clone();
        }
        let token = CancellationToken::new();
        let used = inner.token.replace(token.clone());
        drop(inner);
        drop(used);
        if self.is_stop_requested() {
            // The request may have found the used one, or none.
            cancel(&token);
        }
        token
    }

    /// The number for an event that is told outside the task: invariant 1. With that of the present run, or the last.
    pub(crate) fn take_seq(&self) -> (u32, u64) {
        let mut inner = self.lock();
        let seq = inner.next_seq;
        inner.next_seq += 1;
        (inner.life.start_count(), seq)
    }

    /// A look at the lifecycle. `read` is pure code: invariant 2.
    pub(crate) fn read<R>(&self, read: impl FnOnce(&ServiceLifecycle) -> R) -> R {
        read(&self.lock().life)
    }

    /// For its own task: the run has been polled.
    #[inline]
    pub(crate) fn set_entered(&self) {
        self.run_at.store(ENTERED, Ordering::Release);
    }

    /// Whether it is running, and its run has been polled.
    pub(crate) fn is_up(&self) -> bool {
        self.up() == Some(true)
    }

    /// The same. If only the poll is missing, its task says so when that is done, as it does of all that happens.
    pub(crate) fn is_up_or_says_so(&self) -> bool {
        let up = self.up();
        if up == Some(false) {
            self.calls.call(Call::Look);
        }
        up == Some(true)
    }

    /// If it is running, whether its run has been polled.
    fn up(&self) -> Option<bool> {
        let has_entered = || self.run_at.load(Ordering::Acquire) == ENTERED;
        // Under the lock, or it might be that of another run.
        self.read(|life| (life.phase() == ServicePhase::Running).then(has_entered))
    }

    /// The same as [`read`](Self::read), with how many runs have begun (`start_count` is 1 also before the first), and whether the last was
    /// told to end, or is about to be.
    pub(crate) fn read_runs<R>(&self, read: impl FnOnce(&ServiceLifecycle, u32, bool) -> R) -> R {
        let inner = self.lock();
        let runs = self.runs(&inner);
        let halted = inner
            .said
            .as_ref()
            .is_some_and(|said| said.restart || said.halted.is_some_and(|(run, _)| run == runs));
        read(&inner.life, runs, halted)
    }

    fn runs(&self, inner: &Inner) -> u32 {
        match self.run_at.load(Ordering::Relaxed) {
            0 => 0,
            _ => inner.life.start_count(),
        }
    }

    pub(crate) fn snapshot(&self, now: Instant) -> ServiceLifecycleSnapshot {
        let (mut snapshot, last_failure, status) = {
            let inner = self.lock();
            let life = &inner.life;
            let status = inner.said.as_ref().and_then(|said| said.status.clone());
            let status = status.filter(|(run, _)| is_in_run(life, *run));
            let last_failure = life.last_failure().cloned();
            (life.snapshot_without_error(now), last_failure, status)
        };
        // Outside the lock: it is the user's to format.
        snapshot.last_error = last_failure.map(|failure| failure.to_string());
        snapshot.status = status.map(|(_, text)| (*text).to_owned());
        snapshot.stuck = self.stuck.load(Ordering::Relaxed) && !self.is_finished();
        snapshot
    }

    /// Notes that it has to do with others: from now on, its task says when it is up.
    pub(crate) fn set_related(&self) {
        self.related.store(true, Ordering::SeqCst);
    }

    /// Whether it starts after others, or others after it.
    #[inline]
    pub(crate) fn is_related(&self) -> bool {
        self.related.load(Ordering::SeqCst)
    }

    /// The number of the present run, or of the last.
    pub(crate) fn run(&self) -> u32 {
        self.read(ServiceLifecycle::start_count)
    }

    /// Whether there are calls that its task has not heard yet.
    pub(crate) fn is_called(&self) -> bool {
        self.calls.are_pending()
    }

    /// The calls that its task has not heard yet: now it has.
    pub(crate) fn heard(&self) -> Option<Heard> {
        self.calls.take()
    }

    /// The same of one call alone.
    pub(crate) fn heard_one(&self, call: Call) -> Option<Heard> {
        self.calls.take_one(call).then(|| Heard::only(call))
    }

    /// For its task: these calls have yet to be heard, before it waits for others.
    pub(crate) fn hear_later(&self, calls: Heard) {
        self.calls.put_back(calls);
    }

    /// Has calls wake its task from now on. One that came before is there to be heard.
    pub(crate) fn listen(&self, task: &Waker) {
        self.calls.wake(task);
    }

    /// Notes whether the run blocks its thread. Returns whether that is new.
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
                is_in_run(&inner.life, run).then_some(reason)
            }
        }
    }

    /// Asks the service to stop. Repeating it is harmless.
    pub(crate) fn request_stop(&self) {
        // A stop wins over a restart that was asked for before it. (So does a shutdown: nothing begins anew any more.)
        self.over.fetch_and(!WANTED, Ordering::SeqCst);
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
        // First, so that a run which ends by the token is known to have been told to.
        self.calls.call(Call::Stop);
        self.cancel_run();
    }

    /// Has the run dropped, if it has been told to end.
    pub(crate) fn request_abort(&self) {
        self.calls.call(Call::Abort);
    }

    /// Tells a service that is to stop that there may be less time for that.
    pub(crate) fn hurry(&self) {
        if self.is_stop_requested() {
            self.calls.call(Call::Stop);
        }
    }

    /// Tells the run to end.
    pub(crate) fn cancel_run(&self) {
        // It stays, so that another who asks meanwhile does not return before it is cancelled.
        let token = self.lock().token.clone();
        if let Some(token) = token {
            cancel(&token);
        }
    }

    pub(crate) fn is_stop_requested(&self) -> bool {
        self.stop_requested.load(Ordering::Acquire) != 0
    }

    /// Tells whoever waits for a change.
    pub(crate) fn tell_changed(&self) {
        // One who comes to wait after this looks first, and sees the change.
        if self.awaited.load(Ordering::SeqCst) {
            if let Some(changed) = self.changed.get() {
                logged(|| changed.notify_waiters());
            }
        }
    }

    /// The run has something outside its future; it is not over before that is gone.
    pub(crate) fn hold(self: &Arc<Self>) -> Hold {
        self.holds.fetch_add(1, Ordering::Relaxed);
        Hold(Arc::clone(self))
    }

    /// Whether the run still holds anything.
    pub(crate) fn is_held(&self) -> bool {
        self.holds.load(Ordering::SeqCst) != 0
    }

    /// Waits until the run holds nothing any more.
    pub(crate) async fn released(&self) {
        self.until(|| !self.is_held()).await;
    }

    /// The task is about to be over: returns how the service has ended, and drops its token if that has done its work.
    /// Another may be in the hands of what a run has left behind, to be cancelled with all others.
    pub(crate) fn end(&self) -> End {
        let (end, used) = {
            let mut inner = self.lock();
            let reason = inner.life.termination_reason();
            let end = End {
                aborted: matches!(reason, Some(TerminationReason::Aborted)),
                at: inner.life.phase_since(),
            };
            let used = inner.token.take_if(|token| token.is_cancelled());
            (end, used)
        };
        drop(used);
        end
    }

    /// Notes that the task is over. Returns what had come of the service before.
    #[must_use]
    pub(crate) fn set_finished(&self) -> Before {
        self.calls.end();
        let before = self.over.fetch_or(FINISHED, Ordering::SeqCst);
        self.tell_changed();
        Before(before)
    }

    /// Notes that the registry has forgotten the service. Returns whether the task was over before, so that this is the
    /// last of it.
    #[must_use]
    pub(crate) fn set_removed(&self) -> bool {
        let before = self.over.fetch_or(REMOVED, Ordering::AcqRel);
        before & FINISHED != 0
    }

    /// Notes that somebody wants it to begin anew. Its task sees to that, unless it is over by now.
    pub(crate) fn want_anew(&self) {
        self.over.fetch_or(WANTED, Ordering::SeqCst);
    }

    /// Whether somebody still does.
    pub(crate) fn is_wanted_anew(&self) -> bool {
        self.over.load(Ordering::SeqCst) & WANTED != 0
    }

    /// Notes that its runtime has ended it, unless somebody had asked for its end. Returns whether nobody had.
    pub(crate) fn set_lost(&self) -> bool {
        let is_lost = !self.is_stop_requested();
        if is_lost {
            self.over.fetch_or(LOST, Ordering::Relaxed);
        }
        is_lost
    }

    /// Whether its runtime has ended it, and nobody had asked for its end.
    pub(crate) fn is_lost(&self) -> bool {
        self.over.load(Ordering::Relaxed) & LOST != 0
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.over.load(Ordering::SeqCst) & FINISHED != 0
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

    async fn until(&self, condition: impl Fn() -> bool) {
        self.first(|| condition().then_some(())).await;
    }

    /// Waits until there is something to see. Somebody has to say so when that may be.
    pub(crate) async fn first<T>(&self, look: impl Fn() -> Option<T>) -> T {
        let changed = self.changed.get_or_init(Box::default);
        self.awaited.store(true, Ordering::SeqCst);
        loop {
            // Made before the look, so that no change falls between the look and the wait.
            let change = changed.notified();
            if let Some(seen) = look() {
                return seen;
            }
            change.await;
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
        if self.0.holds.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.tell_changed();
        }
    }
}
