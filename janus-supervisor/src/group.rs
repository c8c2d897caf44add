//! What users write to have services depend on one another: a group.

use crate::driver::{Task, drive};
use crate::machine::{AutoShutdown, Intensity, Strategy};
use crate::{
    BackoffConfig, JanusService, RestartPolicy, ServiceHandle, ServiceLifecycleSnapshot,
    ServicePhase, SpawnOptions, TerminationReason,
};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;

/// Services and groups that belong together: they start in order, stop in reverse, and restart by a [`Strategy`].
///
/// Children start in the order they are given, each when the one before it is running, and stop in reverse, one by one,
/// each with its own grace. A child's own backoff, breaker and policy hold as for any service. Besides, each restart of
/// a child counts towards the group's [`Intensity`]; when that is exceeded, the group stops its children and fails as a
/// whole, with an error that tells which child it was and what happened to it. Its parent (another group, or the
/// supervisor) treats that as any failure of a service: by the group's own restart policy, backoff and breaker. A group
/// that runs again starts with children that know nothing of earlier runs.
///
/// To the outside a group is a service. Its children's names are paths, in snapshots, events, metrics and errors:
/// `ingest/reader`.
///
/// A group may have up to 100 others around it.
///
/// ```
/// use janus_supervisor::{Group, Intensity, JanusSupervisor, Strategy, service_fn};
/// use std::time::Duration;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let supervisor = JanusSupervisor::with_defaults();
/// let wait = |name| service_fn(name, |cancel| async move {
///     cancel.cancelled().await;
///     Ok(())
/// });
/// let ingest = Group::new("ingest")
///     .strategy(Strategy::RestForOne)
///     .intensity(Intensity::new(5, Duration::from_secs(60)))
///     .service(wait("reader"))
///     .group(Group::new("parsers").service(wait("json")).service(wait("xml")));
/// let ingest = supervisor.spawn_group(ingest)?;
///
/// assert!(supervisor.service("ingest/parsers/xml").is_some());
/// assert_eq!(ingest.stop().await.to_string(), "cancelled");
/// # Ok(())
/// # }
/// ```
#[must_use]
pub struct Group {
    pub(crate) name: Arc<str>,
    pub(crate) strategy: Strategy,
    pub(crate) intensity: Intensity,
    pub(crate) auto_shutdown: AutoShutdown,
    pub(crate) options: SpawnOptions,
    pub(crate) children: Vec<Child>,
}

/// A child as it was given.
pub(crate) enum Child {
    Service(Box<dyn Recipe>, SpawnOptions),
    Group(Group),
}

impl Group {
    /// An empty group: one-for-one, with the default [`Intensity`], restarted on failure, never shut down by itself.
    ///
    /// A name is bound by the same rules as a service's.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self {
            name: name.into(),
            strategy: Strategy::default(),
            intensity: Intensity::default(),
            auto_shutdown: AutoShutdown::default(),
            options: SpawnOptions::default(),
            children: Vec::new(),
        }
    }

    /// Sets who restarts when one child does.
    pub fn strategy(mut self, strategy: Strategy) -> Self {
        self.strategy = strategy;
        self
    }

    /// Sets how many restarts are tolerated before the group fails as a whole.
    pub fn intensity(mut self, intensity: Intensity) -> Self {
        self.intensity = intensity;
        self
    }

    /// Sets what follows when the group itself has ended: failed, or shut down because its work is done, which is a
    /// clean end. Default: [`RestartPolicy::OnFailure`].
    pub fn restart_policy(mut self, policy: RestartPolicy) -> Self {
        self.options.restart_policy = Some(policy);
        self
    }

    /// Sets the backoff and the breaker of the group itself. Default: the supervisor's.
    pub fn backoff(mut self, backoff: impl Into<Arc<BackoffConfig>>) -> Self {
        self.options.backoff = Some(backoff.into());
        self
    }

    /// Sets when the group shuts down by itself because its work is done.
    pub fn auto_shutdown(mut self, rule: AutoShutdown) -> Self {
        self.auto_shutdown = rule;
        self
    }

    /// Sets how long all of it together may take to stop when it is stopped, before what is left is dropped. Default:
    /// as long as its children's graces allow. In a shutdown the supervisor's `shutdown_timeout` limits it.
    pub fn shutdown_grace(mut self, grace: Duration) -> Self {
        self.options.shutdown_grace = Some(grace);
        self
    }

    /// Its end may end its parent: see [`AutoShutdown`].
    pub fn significant(mut self) -> Self {
        self.options.significant = true;
        self
    }

    /// Runs the group and all in it on another runtime, but for those in it that have one of their own. Default: the
    /// runtime it is spawned in, or that of the group it is in.
    pub fn on(mut self, runtime: Handle) -> Self {
        self.options.runtime = Some(runtime);
        self
    }

    /// As [`SpawnOptions::after`], for a group of the supervisor's own.
    pub fn after<N: Into<Arc<str>>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.options = self.options.after(names);
        self
    }

    /// Adds a service.
    pub fn service(self, service: impl JanusService) -> Self {
        self.service_with_options(service, SpawnOptions::default())
    }

    /// Adds a service with settings of its own.
    pub fn service_with_options(
        mut self,
        service: impl JanusService,
        options: SpawnOptions,
    ) -> Self {
        let recipe = Box::new(Arc::new(service));
        self.children.push(Child::Service(recipe, options));
        self
    }

    /// Adds a group.
    pub fn group(mut self, group: Self) -> Self {
        self.children.push(Child::Group(group));
        self
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group")
            .field("name", &self.name)
            .field("strategy", &self.strategy)
            .field("intensity", &self.intensity)
            .field("auto_shutdown", &self.auto_shutdown)
            .field("options", &self.options)
            .field("children", &self.children.len())
            .finish()
    }
}

/// A service that can be set going more than once: each time its group begins.
pub(crate) trait Recipe: Send + Sync {
    fn name(&self) -> &str;
    fn restart_policy(&self) -> RestartPolicy;
    fn launch(&self, task: Task, runtime: &Handle);
}

impl<S: JanusService> Recipe for Arc<S> {
    fn name(&self) -> &str {
        JanusService::name(self)
    }

    fn restart_policy(&self) -> RestartPolicy {
        JanusService::restart_policy(self)
    }

    fn launch(&self, task: Task, runtime: &Handle) {
        let run = drive(task, Self::clone(self));
        drop(runtime.spawn(run));
    }
}

/// A handle to one group: to ask it, to stop it, to wait for its end. Cheap to clone.
///
/// It does not keep the group or the supervisor alive, and dropping it does nothing.
#[derive(Debug, Clone)]
pub struct GroupHandle(ServiceHandle);

impl GroupHandle {
    pub(crate) const fn new(service: ServiceHandle) -> Self {
        Self(service)
    }

    /// The group as the service that it is to the outside.
    #[must_use]
    pub const fn as_service(&self) -> &ServiceHandle {
        &self.0
    }

    /// The group's name: its path, if it is inside another.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.name()
    }

    /// What it is doing.
    #[must_use]
    pub fn phase(&self) -> ServicePhase {
        self.0.phase()
    }

    /// All about the group itself, as of now. Its children are in [`snapshot`](crate::JanusSupervisor::snapshot).
    #[must_use]
    pub fn snapshot(&self) -> ServiceLifecycleSnapshot {
        self.0.snapshot()
    }

    /// Asks it to stop, and returns at once. Repeating it is harmless.
    pub fn request_stop(&self) {
        self.0.request_stop();
    }

    /// Asks it to stop, and waits until it and all in it have: in reverse order, one by one, each within its grace.
    ///
    /// # Cancel safety
    /// As [`ServiceHandle::stop`].
    pub async fn stop(&self) -> TerminationReason {
        self.0.stop().await
    }

    /// Waits until it has terminated, and all in it.
    ///
    /// # Cancel safety
    /// Nothing is lost: call it again.
    pub async fn terminated(&self) -> TerminationReason {
        self.0.terminated().await
    }

    /// Why it has terminated, once it has.
    #[must_use]
    pub fn termination_reason(&self) -> Option<TerminationReason> {
        self.0.termination_reason()
    }
}
