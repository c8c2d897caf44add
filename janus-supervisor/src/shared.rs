//! What all services of one supervisor share.

mod listeners;
mod members;
mod relations;

pub(crate) use members::Member;

use self::listeners::Listeners;
use self::members::Members;
use crate::cell::{End, ServiceCell, cancel};
use crate::driver::{caught, logged};
use crate::error::GroupError;
use crate::log;
use crate::machine::{ChildEnd, StartOrder, Tally};
use crate::registry::Registry;
use crate::report::{DrainReport, ShutdownCause, ShutdownReport};
use crate::revival::Dormant;
use crate::root::RootGroup;
use crate::starts::Starts;
use crate::{
    AutoShutdown, BackoffConfig, CancellationToken, ConfigError, ErrorChain, EventKind, Intensity,
    Observer, ServiceEvent, ServiceLifecycle, Subscription, SupervisorConfig, SupervisorMetrics,
    clock,
};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, broadcast};

pub(crate) struct Shared {
    /// Cancelled when the shutdown begins. Its services are then asked to stop, in order.
    pub(crate) root: CancellationToken,
    /// Cancelled when all grace is over.
    pub(crate) abort: CancellationToken,
    members: Members,
    pub(crate) registry: Registry,
    pub(crate) metrics: Arc<SupervisorMetrics>,
    pub(crate) shutdown_timeout: Duration,
    pub(crate) abort_timeout: Duration,
    /// What the drain came to, once it is over.
    pub(crate) drained: OnceLock<DrainReport>,
    /// Somebody sees to what the shutdown has come to.
    pub(crate) is_reporting: AtomicBool,
    default_backoff: Arc<BackoffConfig>,
    default_backoff_check: Result<(), ConfigError>,
    observers: Vec<Arc<dyn Observer>>,
    /// Where subscribers hear of events, once there was one.
    subscribers: OnceLock<broadcast::Sender<ServiceEvent>>,
    /// How many there are at present.
    subscriptions: AtomicUsize,
    event_buffer: usize,
    observer_panics: AtomicU64,
    install_signal_handler: bool,
    /// The tasks that listen for signals.
    signals: Listeners,
    /// The tasks that wait for somebody to cancel `root`.
    relays: Listeners,
    /// Which services start after others, and whether there are any.
    order: Mutex<StartOrder>,
    /// How many services start at a time, if that is limited.
    pub(crate) starts: Option<Starts>,
    has_order: AtomicBool,
    /// The value of some service was kept, which may begin anew.
    has_dormant: AtomicBool,
    /// What the supervisor is to its services, if it is more than a place to be.
    pub(crate) root_group: Option<RootGroup>,
    /// How services have ended since the shutdown began: those by themselves, and those that were dropped.
    ends: Mutex<Ends>,
    began: OnceLock<Began>,
    /// The log has been told that it began.
    is_announced: AtomicBool,
    /// Its services were asked to stop, those that are not held up by others.
    asked: AtomicBool,
    /// How many wait for a change in some service, and what tells them.
    watchers: AtomicUsize,
    pub(crate) changed: Notify,
    /// Tells that the runtime's timers may be late, or that the drain is over.
    pub(crate) late: Arc<Notify>,
    next_id: AtomicU64,
    seed: u64,
}

/// Somebody waits for a change for as long as this is there.
pub(crate) struct Watching<'a>(&'a Shared);

impl Drop for Watching<'_> {
    fn drop(&mut self) {
        self.0.watchers.fetch_sub(1, Relaxed);
    }
}

/// The largest buffer for subscribers.
const MOST_EVENTS: usize = 1 << 20;

/// How services have ended since the shutdown began, and those before it whose runtime went away.
#[derive(Debug, Default, Clone)]
pub(crate) struct Ends {
    pub(crate) drained: usize,
    /// With their place in the order of spawning.
    aborted: Vec<(u64, Arc<str>)>,
    /// When the last of them ended, if any did in the drain.
    pub(crate) last: Option<Instant>,
}

impl Ends {
    /// Their names, in the order of spawning.
    pub(crate) fn aborted(&self) -> Vec<String> {
        let mut aborted = self.aborted.clone();
        aborted.sort_unstable();
        aborted.iter().map(|(_, name)| name.to_string()).collect()
    }
}

/// When a shutdown began, and by what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Began {
    pub(crate) at: Instant,
    pub(crate) cause: ShutdownCause,
}

impl Shared {
    pub(crate) fn new(config: SupervisorConfig) -> Self {
        Self {
            root: CancellationToken::new(),
            abort: CancellationToken::new(),
            members: Members::default(),
            registry: Registry::default(),
            metrics: Arc::default(),
            shutdown_timeout: config.shutdown_timeout,
            abort_timeout: config.abort_timeout,
            drained: OnceLock::new(),
            is_reporting: AtomicBool::new(false),
            is_announced: AtomicBool::new(false),
            default_backoff_check: config.default_backoff.validate(),
            default_backoff: Arc::new(config.default_backoff),
            observers: config.observers,
            subscribers: OnceLock::new(),
            subscriptions: AtomicUsize::new(0),
            event_buffer: config.event_buffer,
            observer_panics: AtomicU64::new(0),
            install_signal_handler: config.install_signal_handler,
            signals: Listeners::default(),
            relays: Listeners::default(),
            order: Mutex::default(),
            starts: Starts::new(config.max_concurrent_starts, config.restart_spread),
            has_order: AtomicBool::new(false),
            has_dormant: AtomicBool::new(false),
            root_group: RootGroup::new(config.intensity, config.auto_shutdown),
            ends: Mutex::default(),
            began: OnceLock::new(),
            asked: AtomicBool::new(false),
            watchers: AtomicUsize::new(0),
            changed: Notify::new(),
            late: Arc::default(),
            next_id: AtomicU64::new(0),
            seed: config.seed.unwrap_or_else(random_seed),
        }
    }

    /// Notes how a service ended, for the report. Its task is over; `lost` says that its runtime ended it.
    pub(crate) fn note_end(&self, cell: &ServiceCell, End { aborted, at }: End, lost: bool) {
        let in_drain = self.began.get().is_some_and(|began| began.at <= at);
        if !in_drain && !lost {
            return;
        }
        let mut ends = self.ends();
        if in_drain {
            ends.last = ends.last.max(Some(at));
        }
        if aborted {
            ends.aborted.push((cell.id, Arc::clone(&cell.name)));
        } else {
            ends.drained += 1;
        }
    }

    /// How services have ended since the shutdown began.
    pub(crate) fn ends(&self) -> MutexGuard<'_, Ends> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The backoff of a service that brings none, or one that it brings: checked.
    pub(crate) fn backoff(
        &self,
        own: Option<Arc<BackoffConfig>>,
    ) -> Result<Arc<BackoffConfig>, ConfigError> {
        match own {
            Some(own) => own.validate().map(|()| own),
            None => match &self.default_backoff_check {
                Ok(()) => Ok(Arc::clone(&self.default_backoff)),
                Err(error) => Err(error.clone()),
            },
        }
    }

    pub(crate) fn auto_shutdown(&self) -> AutoShutdown {
        let group = self.root_group.as_ref();
        group.map_or(AutoShutdown::Never, |group| group.auto_shutdown)
    }

    pub(crate) fn intensity(&self) -> Option<Intensity> {
        self.root_group.as_ref()?.intensity
    }

    /// A number for the next service, and the seed of its jitter.
    pub(crate) fn next_id(&self) -> (u64, u64) {
        let id = self.next_id.fetch_add(1, Relaxed);
        (id, self.seed.wrapping_add(id))
    }

    /// Another who hears of events, from now on.
    pub(crate) fn subscribe(self: &Arc<Self>) -> Subscription {
        let buffer = self.event_buffer.clamp(1, MOST_EVENTS);
        let sender = self
            .subscribers
            .get_or_init(|| broadcast::Sender::new(buffer));
        self.subscriptions.fetch_add(1, Relaxed);
        Subscription::new(sender.subscribe(), Arc::downgrade(self))
    }

    /// One of them does not any more.
    pub(crate) fn unsubscribe(&self) {
        self.subscriptions.fetch_sub(1, Relaxed);
    }

    /// Whether anybody is told of events, besides the counters.
    #[inline]
    pub(crate) fn is_observed(&self) -> bool {
        !self.observers.is_empty() || self.subscriptions.load(Relaxed) > 0
    }

    /// Tells everybody. An observer that panics harms only itself.
    pub(crate) fn observe(&self, event: &ServiceEvent) {
        self.metrics.observe(event);
        if let Some(subscribers) = self.subscribers.get() {
            // An error only says that nobody listens any more, a panic that a listener's waker is broken.
            let _told = caught(|| subscribers.send(event.clone()).is_ok());
        }
        for observer in &self.observers {
            if let Err(panic) = caught(|| observer.observe(event)) {
                let panics = self.observer_panics.fetch_add(1, Relaxed) + 1;
                if panics.is_power_of_two() {
                    logged(|| tracing::error!(panics, error = %panic, "an observer panicked"));
                }
            }
        }
    }

    /// Tells that a service was registered: its first event.
    #[inline]
    fn tell_registered(&self, cell: &ServiceCell, now: Instant) {
        self.tell_as((1, 0), cell, now, EventKind::Registered);
    }

    /// Tells what happens to a service when its task is over.
    pub(crate) fn tell(&self, cell: &ServiceCell, now: Instant, kind: EventKind) {
        self.tell_as(cell.take_seq(), cell, now, kind);
    }

    #[inline]
    fn tell_as(&self, (run, seq): (u32, u64), cell: &ServiceCell, now: Instant, kind: EventKind) {
        if self.is_observed() {
            let name = Arc::clone(&cell.name);
            self.observe(&ServiceEvent::new(cell.id, name, run, seq, now, kind));
        } else {
            let mut tally = Tally::none();
            tally.count((&kind).into());
            self.metrics.add(tally);
        }
    }

    /// Begins the shutdown: asks every service to stop after which no other is left that started after it. Only the
    /// first cause counts; repeating it is harmless.
    pub(crate) fn begin_shutdown(&self, cause: ShutdownCause) {
        let at = clock::now();
        let cause = self.began.get_or_init(|| Began { at, cause }).cause;
        // Nobody wants to hear of a supervisor that was dropped when its work was over.
        let matters = cause != ShutdownCause::Dropped || !self.is_empty();
        if !self.is_announced.swap(true, Relaxed) && matters {
            log::shutting_down(cause, self.failure(cause));
        }
        cancel(&self.root);
        if self.asked.swap(true, Relaxed) {
            return;
        }
        let all = self.registry.all();
        let waits = |cell: &ServiceCell| cell.is_related() && !self.order().may_stop(&cell.name);
        for cell in all.top().rev() {
            if waits(cell) {
                cell.hurry();
            } else {
                cell.request_shutdown();
            }
        }
        logged(|| self.changed.notify_waiters());
        // Last: whoever drops something takes as long as it takes.
        if self.has_dormant.load(SeqCst) {
            for cell in all.top() {
                cell.drop_dormant();
            }
        }
    }

    /// What has failed, if that was the cause of the shutdown.
    pub(crate) fn failure(&self, cause: ShutdownCause) -> Option<&GroupError> {
        let group = self.root_group.as_ref()?;
        match cause {
            ShutdownCause::GaveUp => group.gave_up(),
            ShutdownCause::WorkFailed => group.lost(),
            _ => None,
        }
    }

    /// What came of the whole shutdown.
    pub(crate) fn report(&self, cause: ShutdownCause, drain: DrainReport) -> ShutdownReport {
        let failure = self.failure(cause);
        let failure = failure.map(|error| ErrorChain(error).to_string());
        ShutdownReport {
            cause,
            drain,
            failure,
        }
    }

    /// Keeps the value of a service that may begin anew, unless no service may any more.
    pub(crate) fn keep(&self, cell: &ServiceCell, dormant: Dormant) {
        // First, so that a shutdown that does not see this is seen here.
        self.has_dormant.store(true, SeqCst);
        cell.keep(dormant);
        if self.root.is_cancelled() {
            cell.drop_dormant();
        }
    }

    /// Ends all grace: drops every service that is left.
    pub(crate) fn abort_all(&self) {
        // First, for those that are registered after the look.
        cancel(&self.abort);
        for cell in self.registry.all().top().rev() {
            cell.request_shutdown();
            cell.request_abort();
        }
    }

    /// Sees to it that whoever waits is told of changes. A change that is not told was made before this, and can be
    /// seen.
    pub(crate) fn watch(&self) -> Watching<'_> {
        self.watchers.fetch_add(1, Relaxed);
        Watching(self)
    }

    /// Whether somebody waits for a change.
    pub(crate) fn is_watched(&self) -> bool {
        self.watchers.load(Relaxed) != 0
    }

    /// Tells whoever waits that something has happened to a service.
    pub(crate) fn tell_changed(&self, cell: &ServiceCell) {
        cell.tell_changed();
        logged(|| self.changed.notify_waiters());
    }

    /// Forgets a service that has terminated, unless that has been done.
    pub(crate) fn forget(&self, cell: &ServiceCell) {
        self.tell_removed(&self.registry.remove_this(cell));
    }

    /// Whether every service is running, or has ended as it should, and no shutdown has begun.
    pub(crate) fn is_ready(&self) -> bool {
        let well = |cell: &Arc<ServiceCell>| {
            let ended = |life: &ServiceLifecycle| {
                let reason = life.termination_reason()?;
                Some(ChildEnd::of(Some(reason)))
            };
            let is_well = match cell.read(ended) {
                None => cell.is_up_or_says_so(),
                Some(end) => end != ChildEnd::Failed,
            };
            is_well && !cell.is_lost()
        };
        !self.root.is_cancelled() && self.registry.all().iter().all(well)
    }

    /// Makes services known that were just registered, and have no tasks yet, in place of those.
    #[inline]
    pub(crate) fn introduce(
        &self,
        cells: &[Arc<ServiceCell>],
        now: Instant,
        replaced: &[Arc<ServiceCell>],
        adopt: impl FnOnce(),
    ) {
        self.tell_removed(replaced);
        // Before anybody is told of them, who might spawn another after one.
        adopt();
        for cell in cells {
            self.tell_registered(cell, now);
        }
    }

    /// Tells that services were forgotten, each unless its task is still on its last lines and says it then.
    #[inline]
    pub(crate) fn tell_removed(&self, cells: &[Arc<ServiceCell>]) {
        for cell in cells {
            if cell.set_removed() {
                cell.drop_dormant();
                self.tell(cell, clock::now(), EventKind::Removed);
            }
        }
        if !cells.is_empty() {
            // One that had failed may have been all that was amiss.
            logged(|| self.changed.notify_waiters());
        }
    }

    /// When the shutdown began, which it has: the token of all is cancelled.
    pub(crate) fn began(&self, now: Instant) -> &Began {
        // Whoever cancels the token directly leaves no note of it; then the first who sees it does.
        self.began.get_or_init(|| Began {
            at: now,
            cause: ShutdownCause::Requested,
        })
    }

    /// When every service must be gone, if the shutdown has begun and will not wait for ever.
    pub(crate) fn shutdown_deadline(&self, now: Instant) -> Option<Instant> {
        // Whoever has noted when it began cancels the token, which takes longer to ask.
        let has_begun = self.began.get().is_some() || self.root.is_cancelled();
        let began = has_begun.then(|| self.began(now));
        began?.at.checked_add(self.shutdown_timeout)
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("services", &self.registry.len())
            .field("shutting_down", &self.root.is_cancelled())
            .finish_non_exhaustive()
    }
}

/// A seed that differs from process to process, so that two hosts do not draw the same jitter.
fn random_seed() -> u64 {
    RandomState::new().build_hasher().finish()
}
