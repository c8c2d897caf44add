//! The face of it all.

use crate::cell::ServiceCell;
use crate::driver::drain::drain;
use crate::driver::service::{Task, drive};
use crate::driver::{caught, logged};
use crate::machine::ServiceMachine;
use crate::report::{DrainReport, ShutdownCause, ShutdownReport};
use crate::shared::Shared;
use crate::{
    BackoffState, CancellationToken, EventKind, JanusService, MetricsSnapshot, RemoveError,
    ServiceHandle, ServiceLifecycleSnapshot, SpawnError, SpawnOptions, SupervisorConfig,
    SupervisorError, SupervisorMetrics, clock,
};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;

/// Keeps services running. Cheap to clone; all clones are one supervisor.
///
/// Dropping the last clone shuts the services down: each is cancelled, and dropped when its grace is over. Nobody waits for
/// that; to wait, use [`wait_for_drain`](Self::wait_for_drain).
///
/// ```
/// use janus_supervisor::{JanusSupervisor, SupervisorConfig, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let supervisor = JanusSupervisor::new(SupervisorConfig::default().without_signal_handler());
/// let greeter = supervisor.spawn_service(service_fn("greeter", |_cancel| async {
///     println!("hello");
///     Ok(())
/// }))?;
/// assert_eq!(greeter.terminated().await.to_string(), "completed");
///
/// supervisor.trigger_shutdown();
/// assert!(supervisor.wait_for_drain().await.is_clean());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct JanusSupervisor {
    fleet: Arc<Fleet>,
}

/// What is dropped with the last supervisor. The tasks share only what is inside, so they do not keep it alive.
#[derive(Debug)]
struct Fleet(Arc<Shared>);

impl Drop for Fleet {
    fn drop(&mut self) {
        self.0.begin_shutdown(ShutdownCause::Dropped);
    }
}

impl JanusSupervisor {
    /// A supervisor without services.
    ///
    /// Inside a runtime this installs the signal handlers, unless the configuration says otherwise; outside, the first spawn
    /// does.
    #[must_use]
    pub fn new(config: SupervisorConfig) -> Self {
        let shared = Arc::new(Shared::new(config));
        if Handle::try_current().is_ok() {
            // If they cannot be installed, `run_until_shutdown` says so: it is who needs them.
            let _told_later = shared.ensure_signals();
        }
        Self {
            fleet: Arc::new(Fleet(shared)),
        }
    }

    /// A supervisor with the default configuration.
    #[must_use]
    pub fn with_defaults() -> Self {
        Self::new(SupervisorConfig::default())
    }

    /// Registers a service and starts it. It is registered when this returns.
    ///
    /// # Errors
    /// [`SpawnError`]: the name is in use or invalid, the default backoff is invalid, the supervisor is shutting down, or
    /// this is not inside a tokio runtime. The service is dropped.
    pub fn spawn_service(&self, service: impl JanusService) -> Result<ServiceHandle, SpawnError> {
        self.spawn_service_with_options(service, SpawnOptions::default())
    }

    /// The same, with settings of its own.
    ///
    /// # Errors
    /// As [`spawn_service`](Self::spawn_service), and an invalid backoff in the options.
    pub fn spawn_service_with_options(
        &self,
        service: impl JanusService,
        options: SpawnOptions,
    ) -> Result<ServiceHandle, SpawnError> {
        let shared = self.shared();
        let (name, own_policy) = caught(|| {
            let name: Arc<str> = service.name().into();
            (name, service.restart_policy())
        })
        .map_err(|source| SpawnError::Panicked { source })?;
        let owned = || name.to_string();

        if let Some(rule) = broken_rule(&name) {
            let name = owned();
            return Err(SpawnError::InvalidName { name, rule });
        }
        let backoff = shared.backoff(options.backoff).map_err(|source| {
            let name = owned();
            SpawnError::InvalidConfig { name, source }
        })?;
        let runtime = Handle::try_current().map_err(|_| SpawnError::NoRuntime { name: owned() })?;
        if caught(|| tokio::time::sleep(Duration::ZERO)).is_err() {
            return Err(SpawnError::NoTimeDriver { name: owned() });
        }
        // Counted from here on, so that a drain which begins now waits for the task.
        let _entering = shared.tracker.token();
        if shared.root.is_cancelled() {
            return Err(SpawnError::ShuttingDown { name: owned() });
        }
        // If they cannot be installed, `run_until_shutdown` says so.
        let _told_later = shared.ensure_signals();

        let now = clock::now();
        let (id, seed) = shared.next_id();
        let cell = Arc::new(ServiceCell::new(
            Arc::clone(&name),
            id,
            options.restart_policy.unwrap_or(own_policy),
            ServiceMachine::new(
                now,
                Arc::clone(&name),
                BackoffState::new(backoff, seed),
                options.shutdown_grace.unwrap_or(shared.shutdown_timeout),
            ),
            shared.root.child_token(),
        ));
        match shared.registry.insert(Arc::clone(&cell)) {
            Err(phase) => {
                let name = owned();
                return Err(SpawnError::DuplicateName { name, phase });
            }
            Ok(Some(replaced)) => self.tell_removed(&replaced),
            Ok(None) => {}
        }
        shared.tell(&cell, now, EventKind::Registered);

        let task = Task::new(Arc::clone(&cell), Arc::clone(shared));
        shared.tracker.spawn_on(drive(task, service), &runtime);
        Ok(ServiceHandle::new(cell))
    }

    /// The handle of a service.
    #[must_use]
    pub fn service(&self, name: &str) -> Option<ServiceHandle> {
        self.shared().registry.get(name).map(ServiceHandle::new)
    }

    /// Forgets a terminated service, and answers its last state. Its name is free either way.
    ///
    /// # Errors
    /// [`RemoveError`]: there is no such service, or it has not terminated.
    pub fn remove_service(&self, name: &str) -> Result<ServiceLifecycleSnapshot, RemoveError> {
        let removed = self.shared().registry.remove(name).map_err(|phase| {
            let name = name.to_owned();
            match phase {
                None => RemoveError::Unknown { name },
                Some(phase) => RemoveError::StillAlive { name, phase },
            }
        })?;
        self.tell_removed(&removed);
        Ok(removed.snapshot())
    }

    /// Forgets all terminated services, and answers how many there were.
    pub fn remove_terminated(&self) -> usize {
        let removed = self.shared().registry.remove_terminated();
        for cell in &removed {
            self.tell_removed(cell);
        }
        removed.len()
    }

    /// The token whose cancellation begins the shutdown. A child of it ends with the fleet.
    #[must_use]
    pub fn cancel_token(&self) -> &CancellationToken {
        &self.shared().root
    }

    /// The counters.
    #[must_use]
    pub fn metrics(&self) -> &Arc<SupervisorMetrics> {
        &self.shared().metrics
    }

    /// Begins the shutdown: every service is asked to stop. Returns at once, and repeating it is harmless.
    pub fn trigger_shutdown(&self) {
        self.shared().begin_shutdown(ShutdownCause::Requested);
    }

    /// Whether the shutdown has begun.
    #[must_use]
    pub fn is_shutting_down(&self) -> bool {
        self.shared().root.is_cancelled()
    }

    /// Waits until no service is left.
    ///
    /// Before a shutdown that takes as long as it takes, and the report is empty. Once it has begun, services that are left
    /// after `shutdown_timeout` are dropped, and `abort_timeout` later this returns, whatever is left. Everybody who waits
    /// gets the same report, also afterwards.
    ///
    /// # Cancel safety
    /// Dropping this future stops the waiting and not the shutdown: each service still has no more than its own grace. The
    /// bounds on the whole, though, are this future's to enforce.
    pub async fn wait_for_drain(&self) -> DrainReport {
        drain(self.shared()).await
    }

    /// Waits for a shutdown ([`trigger_shutdown`](Self::trigger_shutdown), the token, or a signal), and then for the drain.
    ///
    /// # Errors
    /// [`SupervisorError::SignalHandler`] if signals should be handled and cannot be. Nothing is shut down then.
    ///
    /// # Cancel safety
    /// As [`wait_for_drain`](Self::wait_for_drain).
    pub async fn run_until_shutdown(&self) -> Result<ShutdownReport, SupervisorError> {
        let shared = self.shared();
        shared
            .ensure_signals()
            .map_err(|source| SupervisorError::SignalHandler { source })?;
        shared.root.cancelled().await;
        let cause = shared.began(clock::now()).cause;
        let report = ShutdownReport {
            cause,
            drain: drain(shared).await,
        };
        logged(|| tracing::info!(%report, "supervisor shut down"));
        Ok(report)
    }

    /// How many services are registered, terminated ones included.
    pub async fn service_count(&self) -> usize {
        self.shared().registry.len()
    }

    /// Every registered service, in the order of spawning.
    pub async fn lifecycle_snapshots(&self) -> Vec<ServiceLifecycleSnapshot> {
        self.snapshot().services
    }

    /// One service by its name.
    pub async fn service_lifecycle(&self, name: &str) -> Option<ServiceLifecycleSnapshot> {
        self.service(name).map(|service| service.snapshot())
    }

    /// The whole as plain data: every service in the order of spawning, and the counters.
    #[must_use]
    pub fn snapshot(&self) -> SupervisorSnapshot {
        let shared = self.shared();
        SupervisorSnapshot {
            shutting_down: self.is_shutting_down(),
            metrics: shared.metrics.snapshot(),
            services: shared
                .registry
                .list()
                .iter()
                .map(|cell| cell.snapshot())
                .collect(),
        }
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.fleet.0
    }

    fn tell_removed(&self, cell: &ServiceCell) {
        // Otherwise its task is still on its last lines, and says it then.
        if cell.set_removed() {
            self.shared().tell(cell, clock::now(), EventKind::Removed);
        }
    }
}

/// A supervisor at one instant, as plain data.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct SupervisorSnapshot {
    /// Whether the shutdown has begun.
    pub shutting_down: bool,
    /// The counters.
    pub metrics: MetricsSnapshot,
    /// Every registered service, in the order of spawning.
    pub services: Vec<ServiceLifecycleSnapshot>,
}

/// The rule that a service's name breaks, if any.
fn broken_rule(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        Some("it must not be empty")
    } else if name.contains('/') {
        Some("it must not contain '/', which separates the parts of a path")
    } else if name.chars().any(char::is_control) {
        Some("it must not contain control characters")
    } else {
        None
    }
}
