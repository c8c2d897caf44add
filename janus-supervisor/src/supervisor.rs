//! The face of it all.

use crate::cell::ServiceCell;
use crate::driver::drain::drain;
use crate::driver::group::GroupService;
use crate::driver::monitor;
use crate::driver::{Task, drive};
use crate::driver::{caught, logged};
use crate::report::{DrainReport, ShutdownCause, ShutdownReport};
use crate::shared::{Member, Shared};
use crate::spawn::{self, Enrolled, Spec};
use crate::starts::Starts;
use crate::{
    CancellationToken, Group, GroupHandle, JanusService, MetricsSnapshot, PanicError, RemoveError,
    RestartPolicy, ServiceHandle, ServiceLifecycleSnapshot, SpawnError, SpawnOptions, Subscription,
    SupervisorConfig, SupervisorError, SupervisorMetrics, clock,
};
use std::sync::{Arc, Weak};
use tokio::runtime::Handle;

/// Keeps services running. Cheap to clone; all clones are one supervisor.
///
/// Dropping the last clone shuts the services down: each is cancelled, and dropped when its grace is over. Nobody waits
/// for that; to wait, use [`wait_for_drain`](Self::wait_for_drain). A service that has a clone itself keeps all of them
/// alive until something else begins the shutdown: one that only shows or changes the others can hold a
/// [`WeakSupervisor`].
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

/// A [`JanusSupervisor`] that does not keep its services alive: for a service that shows the others, or changes them.
///
/// ```
/// use janus_supervisor::{JanusSupervisor, SupervisorConfig, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let supervisor = JanusSupervisor::new(SupervisorConfig::default().without_signal_handler());
/// let others = supervisor.downgrade();
/// let admin = supervisor.spawn_service(service_fn("admin", move |_cancel| {
///     let others = others.clone();
///     async move {
///         let supervisor = others.upgrade().ok_or("the fleet is gone")?;
///         println!("{} services", supervisor.service_count().await);
///         Ok(())
///     }
/// }))?;
/// admin.terminated().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct WeakSupervisor {
    fleet: Weak<Fleet>,
}

impl WeakSupervisor {
    /// The supervisor, unless the last [`JanusSupervisor`] of the fleet was dropped: then the shutdown begins.
    #[must_use]
    pub fn upgrade(&self) -> Option<JanusSupervisor> {
        let fleet = self.fleet.upgrade()?;
        Some(JanusSupervisor { fleet })
    }
}

/// The error of a service that cannot even be asked for its name and policy.
#[cold]
fn panicked(service: &impl JanusService, source: PanicError) -> SpawnError {
    let name = caught(|| service.name().to_owned()).ok();
    SpawnError::Panicked { name, source }
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
    /// Inside a runtime this installs the signal handlers, unless the configuration says otherwise; outside, the first
    /// spawn does.
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

    /// The same supervisor, without keeping its services alive.
    #[must_use]
    pub fn downgrade(&self) -> WeakSupervisor {
        let fleet = Arc::downgrade(&self.fleet);
        WeakSupervisor { fleet }
    }

    /// Registers a service and starts it. It is registered when this returns.
    ///
    /// # Errors
    /// [`SpawnError`]: the name is in use or invalid, the supervisor's settings are invalid or it is shutting down, this
    /// is not inside a tokio runtime or inside one that will not do, or the service's own code panicked. The service is
    /// dropped.
    pub fn spawn_service(&self, service: impl JanusService) -> Result<ServiceHandle, SpawnError> {
        self.spawn_service_with_options(service, SpawnOptions::default())
    }

    /// Registers a service with settings of its own and starts it. It is registered when this returns.
    ///
    /// # Errors
    /// As [`spawn_service`](Self::spawn_service), and for what the options say: a backoff or a combination that is
    /// invalid, a service to start after that is not there, or that would have to start after this one.
    pub fn spawn_service_with_options(
        &self,
        mut service: impl JanusService,
        options: SpawnOptions,
    ) -> Result<ServiceHandle, SpawnError> {
        let (policy, name) = caught(|| (service.restart_policy(), service.take_name()))
            .map_err(|source| panicked(&service, source))?;
        match self.register(name, policy, options) {
            Ok((handle, task, runtime)) => {
                drop(runtime.spawn(drive(task, service)));
                Ok(handle)
            }
            Err(refused) => {
                // Whoever spawns it must not pay for its destructor.
                logged(|| drop(service));
                Err(refused)
            }
        }
    }

    /// All of a spawn that is the same for every type of service. Returns what is to run it, and where.
    fn register(
        &self,
        name: Arc<str>,
        own_policy: RestartPolicy,
        mut options: SpawnOptions,
    ) -> Result<(ServiceHandle, Task, Handle), SpawnError> {
        let shared = self.shared();
        let names = std::mem::take(&mut options.after);
        let own_runtime = options.runtime.take();
        let (rule, grace) = (shared.auto_shutdown(), shared.shutdown_timeout);
        let spec = Spec::new(shared, ("", name), own_policy, options, rule, grace)?;
        let (runtime, entering) = self.enter(&spec.name, own_runtime)?;
        let after = spawn::dependencies(shared, &spec.name, &names)?;

        let now = clock::now();
        let (cell, decider) = spec.cell(shared, now, !after.is_empty(), false);
        shared.check_order(&cell.name, &after)?;
        let replaced = shared.registry.insert(Arc::clone(&cell)).map_err(|phase| {
            let name = cell.name.to_string();
            SpawnError::DuplicateName { name, phase }
        })?;
        let cells = std::slice::from_ref(&cell);
        shared.introduce(cells, now, &replaced, || shared.adopt(&cell, after));

        monitor::watch(&cell, decider.checks(), &runtime);
        let task = Task::new(Arc::clone(&cell), entering, decider);
        Ok((self.handle(cell), task, runtime))
    }

    /// Registers a group with all in it, and starts it. They are registered when this returns.
    ///
    /// # Errors
    /// [`SpawnError`]: as [`spawn_service_with_options`](Self::spawn_service_with_options), for the group and every
    /// part of it. The error names the part by its path; nothing of the group is registered then.
    pub fn spawn_group(&self, mut group: Group) -> Result<GroupHandle, SpawnError> {
        let shared = self.shared();
        let names = std::mem::take(&mut group.options.after);
        let own_runtime = group.options.runtime.take();
        let (spec, plan) = spawn::plan_group(shared, group, "", shared.auto_shutdown())?;
        let (runtime, entering) = self.enter(&spec.name, own_runtime)?;
        let after = spawn::dependencies(shared, &spec.name, &names)?;

        let now = clock::now();
        let gated = !after.is_empty();
        let (mut enrolled, decider) = spawn::prepare(shared, now, &spec, Some(&plan), gated);
        shared.check_order(&spec.name, &after)?;
        let cell = Arc::clone(&enrolled.cell);
        let all = std::slice::from_mut(&mut enrolled);
        spawn::register(shared, now, all, || shared.adopt(&cell, after))?;
        let Enrolled { first, .. } = enrolled;

        let task = Task::new(Arc::clone(&cell), entering, decider);
        let group = GroupService::new(Arc::clone(&cell), Arc::clone(shared), plan, first);
        drop(runtime.spawn(drive(task, group)));
        Ok(GroupHandle::new(self.handle(cell)))
    }

    fn handle(&self, cell: Arc<ServiceCell>) -> ServiceHandle {
        ServiceHandle::new(cell, Arc::clone(self.shared()))
    }

    /// What every spawn has to pass. A drain that begins from now on waits for as long as the token is held.
    fn enter(&self, name: &str, own: Option<Handle>) -> Result<(Handle, Member), SpawnError> {
        let shared = self.shared();
        let is_own = own.is_some();
        let runtime = match own {
            Some(own) => own,
            None => Handle::try_current().map_err(|_| {
                let name = name.to_owned();
                SpawnError::NoRuntime { name }
            })?,
        };
        // Whoever is outside has none other than the service's.
        let here = if is_own {
            Handle::try_current().ok()
        } else {
            None
        };
        let here = here.as_ref().unwrap_or(&runtime);
        let entering = shared.join();
        if shared.root.is_cancelled() {
            let name = name.to_owned();
            return Err(SpawnError::ShuttingDown { name });
        }
        if !shared.hears_on(runtime.id(), here.id()) {
            self.prepare(name, &runtime, here)?;
        }
        Ok((runtime, entering))
    }

    /// Sees to it that there is all that services on this runtime need that are spawned from `here`.
    ///
    /// # Errors
    /// [`SpawnError`]: it cannot be had, or the supervisor's own settings are wrong.
    #[cold]
    fn prepare(&self, name: &str, runtime: &Handle, here: &Handle) -> Result<(), SpawnError> {
        let shared = self.shared();
        spawn::check_runtime(name, runtime)?;
        if let Some(intensity) = shared.intensity() {
            let rule = "the period of the supervisor's intensity is zero";
            spawn::check_intensity(name, intensity, rule)?;
        }
        if shared.starts.as_ref().is_some_and(Starts::is_closed) {
            return Err(spawn::invalid(
                name,
                "the supervisor's max_concurrent_starts is zero: nothing could ever start",
            ));
        }
        shared.listen(runtime, here);
        Ok(())
    }

    /// The handle of a service.
    #[must_use]
    pub fn service(&self, name: &str) -> Option<ServiceHandle> {
        let cell = self.shared().registry.get(name)?;
        Some(self.handle(cell))
    }

    /// Forgets a terminated service, and returns its last state. Its name is free either way.
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
        self.shared().tell_removed(&removed.all);
        Ok(removed.cell.snapshot(clock::now()))
    }

    /// Forgets all terminated services, and returns how many there were.
    pub fn remove_terminated(&self) -> usize {
        let removed = self.shared().registry.remove_terminated();
        self.shared().tell_removed(&removed);
        removed.len()
    }

    /// The token whose cancellation begins the shutdown. A child of it ends with the fleet.
    #[must_use]
    pub fn cancel_token(&self) -> &CancellationToken {
        &self.shared().root
    }

    /// The events of all services, from now on, for waiting on them: [`Subscription`]. To count them, be an
    /// [`Observer`](crate::Observer).
    pub fn subscribe(&self) -> Subscription {
        self.shared().subscribe()
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
    /// Without a shutdown it waits for the services to end, however long that takes, and the report names only those
    /// that were lost with a runtime. Once one has begun, services that are left after `shutdown_timeout` are dropped,
    /// and `abort_timeout` later this returns, whatever is left. Everybody who waits gets the same report, also
    /// afterwards.
    ///
    /// # Panics
    /// On a runtime without a time driver, when it comes to the first bound: whoever waits for one needs a timer.
    ///
    /// # Cancel safety
    /// Dropping this future stops the waiting and not the shutdown, nor its bounds.
    pub async fn wait_for_drain(&self) -> DrainReport {
        drain(self.shared()).await
    }

    /// Waits for a shutdown, and then for the drain. [`trigger_shutdown`](Self::trigger_shutdown), the token and
    /// signals begin it, and the supervisor itself when its work is done ([`AutoShutdown`](crate::AutoShutdown)) or it
    /// gives up.
    ///
    /// # Errors
    /// [`SupervisorError::SignalHandler`] if signals should be handled and cannot be. Nothing is shut down then.
    /// [`SupervisorError::GaveUp`] if its [`Intensity`](crate::Intensity) was exceeded. All is shut down then.
    ///
    /// # Panics
    /// As [`wait_for_drain`](Self::wait_for_drain).
    ///
    /// # Cancel safety
    /// As [`wait_for_drain`](Self::wait_for_drain).
    pub async fn run_until_shutdown(&self) -> Result<ShutdownReport, SupervisorError> {
        let shared = self.shared();
        shared
            .ensure_signals()
            .map_err(|source| SupervisorError::SignalHandler { source })?;
        shared.root.cancelled().await;
        // First: it begins the shutdown, if whoever cancelled the token has left that to others.
        let drain = drain(shared).await;
        let cause = shared.began(clock::now()).cause;
        let report = shared.report(cause, drain);
        match shared.failure(cause) {
            Some(source) if cause == ShutdownCause::GaveUp => Err(SupervisorError::GaveUp {
                source: source.clone(),
                report,
            }),
            _ => Ok(report),
        }
    }

    /// Whether all is well: every service is running or has ended as it should (completed, or stopped), and no shutdown
    /// has begun. A service whose runtime went away has not. For a readiness probe.
    ///
    /// A service between two runs is not running, also if its last one ended cleanly; one that fails again and again is
    /// well while it runs. A supervisor without services is ready.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.shared().is_ready()
    }

    /// Waits until [`is_ready`](Self::is_ready), which a service that has failed for good prevents until it is removed.
    /// Returns `false` if the shutdown begins instead.
    ///
    /// # Cancel safety
    /// Nothing is lost: call it again.
    #[must_use]
    pub async fn wait_ready(&self) -> bool {
        let shared = self.shared();
        let _watching = shared.watch();
        loop {
            // Made before the look, so that no change falls between the look and the wait.
            let changed = shared.changed.notified();
            if shared.root.is_cancelled() {
                return false;
            }
            if shared.is_ready() {
                return true;
            }
            tokio::select! {
                () = changed => {}
                // Those who tell of a shutdown by token may have gone with their runtime.
                () = shared.root.cancelled() => {}
            }
        }
    }

    /// How many services are registered, terminated ones included.
    pub async fn service_count(&self) -> usize {
        self.shared().registry.len()
    }

    /// Every registered service, in the order of spawning; what is inside a group comes behind it, in its order.
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
        let (shared, now) = (self.shared(), clock::now());
        SupervisorSnapshot {
            shutting_down: self.is_shutting_down(),
            metrics: shared.metrics.snapshot(),
            services: shared
                .registry
                .all()
                .in_tree_order()
                .into_iter()
                .map(|cell| cell.snapshot(now))
                .collect(),
        }
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.fleet.0
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
    /// Every registered service, in the order of spawning; those inside a group come behind it, in its order. Their
    /// names are paths: [`tree`](Self::tree) makes a tree of them.
    pub services: Vec<ServiceLifecycleSnapshot>,
}

impl SupervisorSnapshot {
    /// The services as a tree: groups with what is inside them.
    #[must_use]
    pub fn tree(&self) -> Vec<SnapshotNode<'_>> {
        let mut all = self.services.as_slice();
        take_nodes(&mut all, "")
    }
}

/// A service in the [tree](SupervisorSnapshot::tree).
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct SnapshotNode<'a> {
    /// The service, or the group as the service that it is.
    #[cfg_attr(feature = "serde", serde(flatten))]
    pub service: &'a ServiceLifecycleSnapshot,
    /// What is inside it, in order; empty for a service.
    pub children: Vec<SnapshotNode<'a>>,
}

/// Takes those from the front whose path begins so. A group stands before what is inside it.
fn take_nodes<'a>(all: &mut &'a [ServiceLifecycleSnapshot], path: &str) -> Vec<SnapshotNode<'a>> {
    let mut nodes = Vec::new();
    while let Some((service, rest)) = all.split_first() {
        if !service.service_name.starts_with(path) {
            break;
        }
        *all = rest;
        let children = take_nodes(all, &format!("{}/", service.service_name));
        nodes.push(SnapshotNode { service, children });
    }
    nodes
}
