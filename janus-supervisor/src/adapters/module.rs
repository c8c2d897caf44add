//! Existing `start_module(Arc<State>)` functions, which poll a shutdown flag on shared state.

use crate::driver::logged;
use crate::{CancellationToken, JanusService, RestartPolicy, ServiceError};
use std::fmt;
use std::pin::pin;
use std::sync::Arc;

/// What the shared state of a module must offer.
pub trait ModuleState: Send + Sync + 'static {
    /// Sets the shutdown flag. Repeating it must be harmless.
    fn request_shutdown(&self);

    /// Whether the flag is set.
    fn is_shutdown_requested(&self) -> bool;

    /// Takes note of how a module is; by default, nothing. Told at its start (healthy), at a clean stop (not healthy
    /// any more: "stopped"), at an error (not healthy, with the error's text), at a panic ("panicked") and when its run
    /// is dropped ("dropped").
    fn report_health(&self, module: &str, healthy: bool, message: Option<&str>) {
        let _ = (module, healthy, message);
    }
}

/// A service made of a `start_module(Arc<State>) -> Result` function.
///
/// Cancelling the service sets the state's shutdown flag, which the function polls. The flag is shared: it ends every
/// module of that state, and it stays set: a module that is restarted afterwards ends at once. So stop such modules
/// together. A module that ends by itself never sets the flag, so its siblings go on.
///
/// ```
/// use janus_supervisor::adapters::{ModuleAdapter, ModuleState};
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicBool, Ordering};
///
/// #[derive(Default)]
/// struct State {
///     shutdown: AtomicBool,
/// }
///
/// impl ModuleState for State {
///     fn request_shutdown(&self) {
///         self.shutdown.store(true, Ordering::Release);
///     }
///     fn is_shutdown_requested(&self) -> bool {
///         self.shutdown.load(Ordering::Acquire)
///     }
/// }
///
/// async fn start_module(state: Arc<State>) -> anyhow::Result<()> {
///     while !state.is_shutdown_requested() {
///         tokio::time::sleep(std::time::Duration::from_millis(50)).await;
///     }
///     Ok(())
/// }
///
/// let service = ModuleAdapter::on_failure("forward", Arc::new(State::default()), start_module);
/// ```
#[must_use = "a service does nothing until it is spawned"]
pub struct ModuleAdapter<T, F> {
    name: Arc<str>,
    state: Arc<T>,
    start: F,
    policy: RestartPolicy,
}

impl<T, F, Fut, E> ModuleAdapter<T, F>
where
    T: ModuleState,
    F: Fn(Arc<T>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), E>> + Send,
    E: Into<ServiceError>,
{
    /// A module under the given policy.
    pub fn new(name: impl Into<Arc<str>>, state: Arc<T>, start: F, policy: RestartPolicy) -> Self {
        Self {
            name: name.into(),
            state,
            start,
            policy,
        }
    }

    /// A module that is restarted when it fails.
    pub fn on_failure(name: impl Into<Arc<str>>, state: Arc<T>, start: F) -> Self {
        Self::new(name, state, start, RestartPolicy::OnFailure)
    }

    /// A module that runs once.
    pub fn one_shot(name: impl Into<Arc<str>>, state: Arc<T>, start: F) -> Self {
        Self::new(name, state, start, RestartPolicy::Never)
    }

    /// A module that is restarted whenever it ends.
    pub fn always_restart(name: impl Into<Arc<str>>, state: Arc<T>, start: F) -> Self {
        Self::new(name, state, start, RestartPolicy::Always)
    }
}

impl<T, F, Fut, E> JanusService for ModuleAdapter<T, F>
where
    T: ModuleState,
    F: Fn(Arc<T>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), E>> + Send,
    E: Into<ServiceError>,
{
    fn name(&self) -> &str {
        &self.name
    }

    fn take_name(&mut self) -> Arc<str> {
        Arc::clone(&self.name)
    }

    fn restart_policy(&self) -> RestartPolicy {
        self.policy
    }

    async fn run(&self, cancel: CancellationToken) -> Result<(), ServiceError> {
        let mut health = Health {
            module: self,
            is_told: false,
        };
        health.tell(true, "started");
        let mut module =
            pin!(async { (self.start)(Arc::clone(&self.state)).await.map_err(E::into) });
        let result = tokio::select! {
            // An end in the same moment is the module's own: it must not set the flag that its siblings poll.
            biased;
            result = module.as_mut() => result,
            () = cancel.cancelled() => {
                self.state.request_shutdown();
                module.await
            }
        };
        let how = match &result {
            Ok(()) => "stopped".to_owned(),
            Err(error) => error.to_string(),
        };
        health.is_told = true;
        health.tell(false, &how);
        result
    }
}

/// How a module is. Also when it panics, or is dropped, it is not healthy any more.
struct Health<'a, T: ModuleState, F> {
    module: &'a ModuleAdapter<T, F>,
    /// How it ended was told.
    is_told: bool,
}

impl<T: ModuleState, F> Health<'_, T, F> {
    fn tell(&self, healthy: bool, message: &str) {
        let ModuleAdapter { name, state, .. } = self.module;
        state.report_health(name, healthy, Some(message));
    }
}

impl<T: ModuleState, F> Drop for Health<'_, T, F> {
    fn drop(&mut self) {
        if !self.is_told {
            let how = if std::thread::panicking() {
                "panicked"
            } else {
                "dropped"
            };
            // Another panic on top of one would end the process.
            logged(|| self.tell(false, how));
        }
    }
}

impl<T, F> fmt::Debug for ModuleAdapter<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ModuleAdapter")
            .field("name", &self.name)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

/// A [`ModuleAdapter`] for the API module: named `api`, and always restarted.
#[must_use = "a service does nothing until it is spawned"]
pub struct ApiModuleAdapter<T, F>(ModuleAdapter<T, F>);

impl<T, F, Fut, E> ApiModuleAdapter<T, F>
where
    T: ModuleState,
    F: Fn(Arc<T>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), E>> + Send,
    E: Into<ServiceError>,
{
    /// The API module.
    pub fn new(state: Arc<T>, start: F) -> Self {
        Self(ModuleAdapter::always_restart("api", state, start))
    }
}

impl<T, F, Fut, E> JanusService for ApiModuleAdapter<T, F>
where
    T: ModuleState,
    F: Fn(Arc<T>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), E>> + Send,
    E: Into<ServiceError>,
{
    fn name(&self) -> &str {
        self.0.name()
    }

    fn take_name(&mut self) -> Arc<str> {
        self.0.take_name()
    }

    fn restart_policy(&self) -> RestartPolicy {
        self.0.restart_policy()
    }

    fn run(
        &self,
        cancel: CancellationToken,
    ) -> impl Future<Output = Result<(), ServiceError>> + Send {
        self.0.run(cancel)
    }
}

impl<T, F> fmt::Debug for ApiModuleAdapter<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ApiModuleAdapter").field(&self.0).finish()
    }
}
