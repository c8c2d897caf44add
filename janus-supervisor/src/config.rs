//! The settings of a supervisor and of one service.

use crate::{BackoffConfig, Observer, RestartPolicy};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

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
    /// How long all services together may take to stop; what is left is dropped. Zero drops them at once,
    /// [`Duration::MAX`] waits for ever. Default: 30 s.
    pub shutdown_timeout: Duration,
    /// After that, how long to wait until what was dropped is really gone. A service that blocks its thread is not, and is
    /// reported as stuck. Default: 1 s.
    pub abort_timeout: Duration,
    /// Whether SIGTERM and SIGINT (elsewhere: Ctrl-C) begin the shutdown, and a second one ends the grace. Default: true.
    ///
    /// The handlers are installed when the supervisor is made inside a runtime, or else with its first service, so that no
    /// signal is lost; once installed they stay for the life of the process, as tokio's do.
    pub install_signal_handler: bool,
    /// Where jitter starts from: the same seed and the same order of spawning give the same delays. Default: none, which
    /// takes a random one.
    pub seed: Option<u64>,
    /// Who is told of every event.
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

    /// Overrides the service's own restart policy.
    #[must_use]
    pub fn with_restart_policy(mut self, policy: RestartPolicy) -> Self {
        self.restart_policy = Some(policy);
        self
    }

    /// Sets how long this service may take to stop before it is dropped. Zero drops it at once, [`Duration::MAX`] waits for
    /// ever. In a shutdown the supervisor's `shutdown_timeout` limits it. Default: the `shutdown_timeout`.
    #[must_use]
    pub fn with_shutdown_grace(mut self, grace: Duration) -> Self {
        self.shutdown_grace = Some(grace);
        self
    }
}
