//! What all services of one supervisor share.

use crate::cell::ServiceCell;
use crate::driver::{caught, logged, signals};
use crate::registry::Registry;
use crate::report::{DrainReport, ShutdownCause};
use crate::{
    BackoffConfig, CancellationToken, ConfigError, EventKind, Observer, ServiceEvent,
    SupervisorConfig, SupervisorMetrics, TerminationReason, clock,
};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

pub(crate) struct Shared {
    /// Cancelled when the shutdown begins. Every service's token is its child.
    pub(crate) root: CancellationToken,
    /// Cancelled when all grace is over.
    pub(crate) abort: CancellationToken,
    /// Every service's task. Closed from the beginning, which to a tracker only means that waiting for it can end.
    pub(crate) tracker: TaskTracker,
    pub(crate) registry: Registry,
    pub(crate) metrics: Arc<SupervisorMetrics>,
    pub(crate) shutdown_timeout: Duration,
    pub(crate) abort_timeout: Duration,
    /// What the drain came to, once it is over.
    pub(crate) drained: OnceLock<DrainReport>,
    default_backoff: Arc<BackoffConfig>,
    default_backoff_check: Result<(), ConfigError>,
    observers: Vec<Arc<dyn Observer>>,
    observer_panics: AtomicU64,
    install_signal_handler: bool,
    /// The task that listens for signals.
    listener: Mutex<Option<JoinHandle<()>>>,
    /// How services have ended since the shutdown began: those by themselves, and those that were dropped.
    ends: Mutex<Ends>,
    began: OnceLock<Began>,
    next_id: AtomicU64,
    seed: u64,
}

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
        let tracker = TaskTracker::new();
        tracker.close();
        Self {
            root: CancellationToken::new(),
            abort: CancellationToken::new(),
            tracker,
            registry: Registry::default(),
            metrics: Arc::default(),
            shutdown_timeout: config.shutdown_timeout,
            abort_timeout: config.abort_timeout,
            drained: OnceLock::new(),
            default_backoff_check: config.default_backoff.validate(),
            default_backoff: Arc::new(config.default_backoff),
            observers: config.observers,
            observer_panics: AtomicU64::new(0),
            install_signal_handler: config.install_signal_handler,
            listener: Mutex::default(),
            ends: Mutex::default(),
            began: OnceLock::new(),
            next_id: AtomicU64::new(0),
            seed: config.seed.unwrap_or_else(random_seed),
        }
    }

    /// Installs the signal handlers, if they are wanted and are not there yet. Inside a runtime only.
    pub(crate) fn ensure_signals(self: &Arc<Self>) -> io::Result<()> {
        if !self.install_signal_handler {
            return Ok(());
        }
        let mut listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner);
        // It ends with the runtime that it was begun on, and is needed for as long as there is another.
        if listener.as_ref().is_none_or(JoinHandle::is_finished) {
            *listener = Some(signals::install(self)?);
        }
        Ok(())
    }

    /// Notes how a service ended, for the report. Its task is over; `lost` says that its runtime ended it.
    pub(crate) fn note_end(&self, cell: &ServiceCell, lost: bool) {
        let began = self.began.get().filter(|_| self.root.is_cancelled());
        let (aborted, since) = cell.read(|lifecycle| {
            let aborted = lifecycle.termination_reason() == Some(&TerminationReason::Aborted);
            (aborted, lifecycle.phase_since())
        });
        let in_drain = began.is_some_and(|began| began.at <= since);
        if !in_drain && !lost {
            return;
        }
        let mut ends = self.ends();
        if in_drain {
            ends.last = ends.last.max(Some(since));
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
            None => {
                let check = self.default_backoff_check.clone();
                check.map(|()| Arc::clone(&self.default_backoff))
            }
        }
    }

    /// A number for the next service, and the seed of its jitter.
    pub(crate) fn next_id(&self) -> (u64, u64) {
        let id = self.next_id.fetch_add(1, Relaxed);
        (id, self.seed.wrapping_add(id))
    }

    /// Tells everybody. An observer that panics harms only itself.
    pub(crate) fn observe(&self, event: &ServiceEvent) {
        self.metrics.observe(event);
        for observer in &self.observers {
            if let Err(panic) = caught(|| observer.observe(event)) {
                let panics = self.observer_panics.fetch_add(1, Relaxed) + 1;
                if panics.is_power_of_two() {
                    logged(|| tracing::error!(panics, error = %panic, "an observer panicked"));
                }
            }
        }
    }

    /// Tells what happens to a service outside its own task: before the task begins, or when it is over.
    pub(crate) fn tell(&self, cell: &ServiceCell, now: Instant, kind: EventKind) {
        let (run, seq) = cell.with_machine(|machine| {
            let run = machine.lifecycle().start_count();
            (run, machine.take_seq())
        });
        let name = Arc::clone(&cell.name);
        self.observe(&ServiceEvent::new(cell.id, name, run, seq, now, kind));
    }

    /// Begins the shutdown. Only the first cause counts.
    pub(crate) fn begin_shutdown(&self, cause: ShutdownCause) {
        let at = clock::now();
        self.began.get_or_init(|| Began { at, cause });
        self.root.cancel();
    }

    /// When the shutdown began, which it has: the token of all is cancelled.
    pub(crate) fn began(&self, now: Instant) -> &Began {
        // Whoever cancels the token directly leaves no note of it; then the first who sees it does.
        self.began.get_or_init(|| Began {
            at: now,
            cause: ShutdownCause::Requested,
        })
    }

    /// When every service must be gone, once the shutdown has begun. The inner `None` is never.
    #[expect(
        clippy::option_option,
        reason = "the outer says whether, the inner when"
    )]
    pub(crate) fn shutdown_deadline(&self, now: Instant) -> Option<Option<Instant>> {
        self.root
            .is_cancelled()
            .then(|| self.began(now).at.checked_add(self.shutdown_timeout))
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
