//! The settings of a supervisor and of one service.

use crate::machine::{Checks, Readiness};
use crate::{AutoShutdown, BackoffConfig, Intensity, Observer, RestartPolicy};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;

/// The settings of a supervisor.
///
/// ```
/// use janus_supervisor::{BackoffConfig, SupervisorConfig};
/// use std::time::Duration;
///
/// let config = SupervisorConfig::default()
///     .with_shutdown_timeout(Duration::from_secs(10))
///     .with_default_backoff(BackoffConfig::new(Duration::from_secs(1), Duration::from_secs(30)));
/// ```
#[derive(Clone)]
pub struct SupervisorConfig {
    /// The backoff of services that bring none of their own. Checked when such a service is spawned.
    pub default_backoff: BackoffConfig,
    /// How long all services together may take to stop; what is left is dropped. Zero drops them once they have
    /// seen their tokens, [`Duration::MAX`] waits for ever. Default: 30 s.
    pub shutdown_timeout: Duration,
    /// After that, how long to wait until what was dropped is really gone. A service that blocks its thread is not, and
    /// is reported as stuck. When all of that time passes in one step, as where a machine sleeps, 100 ms more. Default:
    /// 1 s.
    pub abort_timeout: Duration,
    /// Whether SIGTERM and SIGINT (elsewhere: Ctrl-C) begin the shutdown, and a second one ends the grace. Default:
    /// true.
    ///
    /// The handlers are installed when the supervisor is made inside a runtime, or else with its first service: before
    /// that a signal ends the process, after it none is lost. (One that comes in that very moment may be: the library
    /// on which tokio builds has told the system of its handler then, and does not know yet whom it tells.) Once
    /// installed they stay for the life of the process, as tokio's do: when the fleet is gone, these signals no longer
    /// end the process. A program that lives on without a supervisor handles them itself.
    pub install_signal_handler: bool,
    /// Where jitter starts from: the same seed and the same order of spawning, attempts that were refused included,
    /// give the same delays. Default: none, which takes a random one.
    pub seed: Option<u64>,
    /// How many restarts of all its services together the supervisor tolerates, before it gives up and shuts down with
    /// an error. A restart then takes a lock that all services share. Default: none, any number.
    pub intensity: Option<Intensity>,
    /// When the supervisor shuts down by itself because its work is done. Default: never.
    pub auto_shutdown: AutoShutdown,
    /// How many services may start at a time: from the beginning of a run until it is ready. Default: none, any number.
    pub max_concurrent_starts: Option<usize>,
    /// How far restarts of all its services together are to be apart, at least. Default: zero, not at all.
    pub restart_spread: Duration,
    /// How many events a subscriber may be behind before it loses some, rounded up to a power of two, and a
    /// million at most. The room is taken with the first subscription. Default: 1,024.
    pub event_buffer: usize,
    /// Who is told of every event. A clone of the settings has the same observers; an observer that counts may be valid
    /// for one supervisor only.
    pub observers: Vec<Arc<dyn Observer>>,
}

impl Default for SupervisorConfig {
    fn default() -> Self {
        Self {
            default_backoff: BackoffConfig::default(),
            shutdown_timeout: Duration::from_secs(30),
            abort_timeout: Duration::from_secs(1),
            install_signal_handler: true,
            seed: None,
            intensity: None,
            auto_shutdown: AutoShutdown::default(),
            max_concurrent_starts: None,
            restart_spread: Duration::ZERO,
            event_buffer: 1_024,
            observers: Vec::new(),
        }
    }
}

impl SupervisorConfig {
    /// Sets how long all services together may take to stop.
    #[must_use]
    pub fn with_shutdown_timeout(mut self, timeout: Duration) -> Self {
        self.shutdown_timeout = timeout;
        self
    }

    /// Sets how long to wait, after the shutdown timeout, until what was dropped is really gone.
    #[must_use]
    pub fn with_abort_timeout(mut self, timeout: Duration) -> Self {
        self.abort_timeout = timeout;
        self
    }

    /// Sets the backoff of services that bring none of their own.
    #[must_use]
    pub fn with_default_backoff(mut self, backoff: BackoffConfig) -> Self {
        self.default_backoff = backoff;
        self
    }

    /// Leaves signals alone.
    #[must_use]
    pub fn without_signal_handler(mut self) -> Self {
        self.install_signal_handler = false;
        self
    }

    /// Fixes where jitter starts from.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Sets how many restarts of all its services together the supervisor tolerates. What happens inside a group is the
    /// group's affair; the restarts of a group count.
    #[must_use]
    pub fn with_intensity(mut self, intensity: Intensity) -> Self {
        self.intensity = Some(intensity);
        self
    }

    /// Sets when the supervisor shuts down by itself because its work is done.
    #[must_use]
    pub fn with_auto_shutdown(mut self, rule: AutoShutdown) -> Self {
        self.auto_shutdown = rule;
        self
    }

    /// Sets how many services may start at a time: first starts and restarts, those in groups too. Others wait, in the
    /// order they came. A service has its place from the beginning of a run until that is ready, which matters with
    /// [`Readiness::Notify`]: give such services a [start timeout](SpawnOptions::with_start_timeout), so that none
    /// keeps its place for ever. Without it a run is ready when it has been polled once.
    ///
    /// A service that waits for its place is starting, or backing off beyond its delay. A stop does not wait. A service
    /// whose runtime is not driven keeps the place that it was given. Each start then takes a lock that all services
    /// share.
    #[must_use]
    pub fn with_max_concurrent_starts(mut self, starts: usize) -> Self {
        self.max_concurrent_starts = Some(starts);
        self
    }

    /// Sets how far restarts of all services together are to be apart, at least: after a shared outage, not all of them
    /// come back in one instant. A restart has its turn when its own delay is over and at least `gap` has passed since
    /// the turn of the one before it. First starts do not wait for a turn, those in a group that runs again included,
    /// nor do [restarts by hand](crate::ServiceHandle::restart).
    #[must_use]
    pub fn with_restart_spread(mut self, gap: Duration) -> Self {
        self.restart_spread = gap;
        self
    }

    /// Sets how many events a subscriber may be behind before it loses some.
    #[must_use]
    pub fn with_event_buffer(mut self, events: usize) -> Self {
        self.event_buffer = events;
        self
    }

    /// Adds somebody who is told of every event.
    #[must_use]
    pub fn with_observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observers.push(observer);
        self
    }
}

impl fmt::Debug for SupervisorConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SupervisorConfig")
            .field("default_backoff", &self.default_backoff)
            .field("shutdown_timeout", &self.shutdown_timeout)
            .field("abort_timeout", &self.abort_timeout)
            .field("install_signal_handler", &self.install_signal_handler)
            .field("seed", &self.seed)
            .field("intensity", &self.intensity)
            .field("auto_shutdown", &self.auto_shutdown)
            .field("max_concurrent_starts", &self.max_concurrent_starts)
            .field("restart_spread", &self.restart_spread)
            .field("event_buffer", &self.event_buffer)
            .field("observers", &self.observers.len())
            .finish()
    }
}

/// The settings of one service. What is not set comes from the supervisor or from the service itself.
///
/// ```
/// use janus_supervisor::{BackoffConfig, SpawnOptions};
/// use std::time::Duration;
///
/// let options = SpawnOptions::with_backoff(BackoffConfig::default().without_circuit_breaker())
///     .with_shutdown_grace(Duration::from_secs(5));
/// ```
#[derive(Debug, Clone, Default)]
pub struct SpawnOptions {
    pub(crate) backoff: Option<Arc<BackoffConfig>>,
    pub(crate) restart_policy: Option<RestartPolicy>,
    pub(crate) shutdown_grace: Option<Duration>,
    pub(crate) significant: bool,
    pub(crate) after: Vec<Arc<str>>,
    pub(crate) checks: Checks,
    pub(crate) ephemeral: bool,
    pub(crate) runtime: Option<Handle>,
}

impl SpawnOptions {
    /// The defaults, with this backoff. An `Arc` lets many services share one.
    #[must_use]
    pub fn with_backoff(backoff: impl Into<Arc<BackoffConfig>>) -> Self {
        Self {
            backoff: Some(backoff.into()),
            ..Self::default()
        }
    }

    /// Sets the backoff and the breaker. An `Arc` lets many services share one. Default: the supervisor's.
    #[must_use]
    pub fn backoff(mut self, backoff: impl Into<Arc<BackoffConfig>>) -> Self {
        self.backoff = Some(backoff.into());
        self
    }

    /// Overrides the service's own restart policy.
    #[must_use]
    pub fn with_restart_policy(mut self, policy: RestartPolicy) -> Self {
        self.restart_policy = Some(policy);
        self
    }

    /// Sets how long this service may take to stop before it is dropped. Zero drops it as soon as it has seen its
    /// token, [`Duration::MAX`] waits for ever. In a shutdown the supervisor's `shutdown_timeout` limits it. Default:
    /// the `shutdown_timeout`.
    #[must_use]
    pub fn with_shutdown_grace(mut self, grace: Duration) -> Self {
        self.shutdown_grace = Some(grace);
        self
    }

    /// Its end may end its group, or the supervisor: see [`AutoShutdown`].
    #[must_use]
    pub fn significant(mut self) -> Self {
        self.significant = true;
        self
    }

    /// Among the supervisor's own services: it first starts when all of these have been up or have ended, and in a
    /// shutdown they are asked to stop when it is gone; until then they run on, and run again if they fail. As with
    /// systemd's `After=`, that is all: their restarts and ends do not concern it.
    ///
    /// They must be registered already. A group may be named, too, but nothing inside one. What counts is the name: if
    /// one of these is removed, and another is spawned that has its name, the shutdown keeps to the order with that.
    #[must_use]
    pub fn after<N: Into<Arc<str>>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.after.extend(names.into_iter().map(Into::into));
        self
    }

    /// Sets when a run counts as ready: as soon as it has begun, or when it says so. Until then the service is
    /// starting.
    #[must_use]
    pub fn with_readiness(mut self, readiness: Readiness) -> Self {
        self.checks.readiness = readiness;
        self
    }

    /// Sets how long a run may take until it says that it is ready, under [`Readiness::Notify`]. One that takes longer
    /// is dropped, and has failed with [`FailureKind::StartTimeout`](crate::FailureKind::StartTimeout).
    #[must_use]
    pub fn with_start_timeout(mut self, timeout: Duration) -> Self {
        self.checks.start_timeout = Some(timeout);
        self
    }

    /// Sets how long a run that is ready may go without [`notify::heartbeat`](crate::notify::heartbeat). One that does
    /// so for longer hangs: it is dropped, and has failed with [`FailureKind::Hang`](crate::FailureKind::Hang). Send at
    /// least two heartbeats a period.
    ///
    /// A run that blocks its thread cannot be dropped: it is logged and shown as
    /// [stuck](crate::ServiceLifecycleSnapshot::stuck), as long as there is another thread to do so.
    #[must_use]
    pub fn with_watchdog(mut self, period: Duration) -> Self {
        self.checks.watchdog = Some(period);
        self
    }

    /// Has the supervisor forget the service once it has terminated.
    #[must_use]
    pub fn ephemeral(mut self) -> Self {
        self.ephemeral = true;
        self
    }

    /// Runs the service on another runtime: a bulkhead for services that use up their threads. Default: the runtime it
    /// is spawned in.
    #[must_use]
    pub fn on(mut self, runtime: Handle) -> Self {
        self.runtime = Some(runtime);
        self
    }
}
