//! What users write: a service.

use crate::{CancellationToken, RestartPolicy, ServiceError};
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

/// A long-running part of a program, which a supervisor keeps running.
///
/// ```
/// use janus_supervisor::{CancellationToken, JanusService, ServiceError};
///
/// struct Ticker;
///
/// impl JanusService for Ticker {
///     fn name(&self) -> &str {
///         "ticker"
///     }
///
///     async fn run(&self, cancel: CancellationToken) -> Result<(), ServiceError> {
///         // Everything made in here is made anew for each run; what is to survive a restart lives in `self`.
///         while !cancel.is_cancelled() {
///             tokio::select! {
///                 () = cancel.cancelled() => break,
///                 () = tokio::time::sleep(std::time::Duration::from_secs(1)) => {}
///             }
///         }
///         Ok(())
///     }
/// }
/// ```
pub trait JanusService: Send + Sync + 'static {
    /// The name it is known by: not empty, without `/` and control characters, and unlike every other live service's.
    /// Asked once, when the service is spawned.
    fn name(&self) -> &str;

    /// The name, for the supervisor to keep. Called once at the spawn in place of [`name`](Self::name), after
    /// [`restart_policy`](Self::restart_policy). Not called for services in groups, which are made anew whenever their
    /// group runs again. A service that has its name in an `Arc` can give that away and save a copy: nobody calls
    /// [`name`](Self::name) after that, and it may answer an empty string from then on, also in [`run`](Self::run).
    fn take_name(&mut self) -> Arc<str> {
        self.name().into()
    }

    /// Which ends of a run are followed by another run. Asked once, when the service is spawned.
    fn restart_policy(&self) -> RestartPolicy {
        RestartPolicy::default()
    }

    /// One run.
    ///
    /// When `cancel` is cancelled, the run should end soon: within its grace, after which it is dropped at whichever
    /// await it has reached. How it ended is judged by what it returns and by whether the supervisor asked it to stop:
    /// returning early without having been asked is a clean exit (`Ok`) or a failure (`Err`, or a panic), whatever the
    /// error says.
    ///
    /// The token is the service's, and may last longer than the run. To cancel parts of your own work, cancel a
    /// [`child_token`](CancellationToken::child_token): cancelling `cancel` itself asks nobody to stop, but makes this
    /// run's, or a later run's, `cancel.cancelled()` ready.
    ///
    /// What a run spawns on the runtime is not its own: it outlives a run that fails, and the next begins beside it. Hold
    /// such tasks in a [`JoinSet`](tokio::task::JoinSet), or give them a child token whose
    /// [drop guard](CancellationToken::drop_guard) the run holds.
    ///
    /// # Cancel safety
    /// The future is dropped when the grace is over, and must tolerate that at any await.
    fn run(
        &self,
        cancel: CancellationToken,
    ) -> impl Future<Output = Result<(), ServiceError>> + Send;
}

impl<S: JanusService> JanusService for Box<S> {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn take_name(&mut self) -> Arc<str> {
        (**self).take_name()
    }

    fn restart_policy(&self) -> RestartPolicy {
        (**self).restart_policy()
    }

    fn run(
        &self,
        cancel: CancellationToken,
    ) -> impl Future<Output = Result<(), ServiceError>> + Send {
        (**self).run(cancel)
    }
}

impl<S: JanusService> JanusService for Arc<S> {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn take_name(&mut self) -> Arc<str> {
        match Self::get_mut(self) {
            Some(service) => service.take_name(),
            None => (**self).name().into(),
        }
    }

    fn restart_policy(&self) -> RestartPolicy {
        (**self).restart_policy()
    }

    fn run(
        &self,
        cancel: CancellationToken,
    ) -> impl Future<Output = Result<(), ServiceError>> + Send {
        (**self).run(cancel)
    }
}

type BoxFuture<'a> = Pin<Box<dyn Future<Output = Result<(), ServiceError>> + Send + 'a>>;

/// [`JanusService`] in a form that can be a trait object. Costs one allocation a run.
trait ErasedService: Send + Sync {
    fn name(&self) -> &str;
    fn take_name(&mut self) -> Arc<str>;
    fn restart_policy(&self) -> RestartPolicy;
    fn run(&self, cancel: CancellationToken) -> BoxFuture<'_>;
}

impl<S: JanusService> ErasedService for S {
    fn name(&self) -> &str {
        JanusService::name(self)
    }

    fn take_name(&mut self) -> Arc<str> {
        JanusService::take_name(self)
    }

    fn restart_policy(&self) -> RestartPolicy {
        JanusService::restart_policy(self)
    }

    fn run(&self, cancel: CancellationToken) -> BoxFuture<'_> {
        Box::pin(JanusService::run(self, cancel))
    }
}

/// Any service, its type forgotten: for lists of different services.
///
/// ```
/// use janus_supervisor::{BoxService, JanusService, service_fn};
///
/// let services: Vec<BoxService> = vec![
///     BoxService::new(service_fn("one", |_cancel| async { Ok(()) })),
///     BoxService::new(service_fn("two", |cancel| async move {
///         cancel.cancelled().await;
///         Ok(())
///     })),
/// ];
/// assert_eq!(services[1].name(), "two");
/// ```
#[must_use = "a service does nothing until it is spawned"]
pub struct BoxService(Box<dyn ErasedService>);

impl BoxService {
    /// Forgets the type of `service`.
    pub fn new(service: impl JanusService) -> Self {
        Self(Box::new(service))
    }
}

impl JanusService for BoxService {
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

impl fmt::Debug for BoxService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BoxService").field(&self.0.name()).finish()
    }
}

/// A service made of a closure: see [`service_fn`].
#[must_use = "a service does nothing until it is spawned"]
#[derive(Clone)]
pub struct ServiceFn<F> {
    /// Until its supervisor takes it.
    name: Option<Arc<str>>,
    policy: RestartPolicy,
    run: F,
}

/// Makes a service of a closure that is called once for each run. Restarts on failure.
///
/// What a run needs, the closure clones for it. (An `async` closure that captures something does not fit.)
///
/// ```
/// use janus_supervisor::{RestartPolicy, service_fn};
/// use std::sync::Arc;
///
/// let zone = Arc::new("UTC".to_owned());
/// let clock = service_fn("clock", move |cancel| {
///     let zone = Arc::clone(&zone);
///     async move {
///         println!("it is late, {zone}");
///         cancel.cancelled().await;
///         Ok(())
///     }
/// })
/// .with_restart_policy(RestartPolicy::Always);
/// ```
pub fn service_fn<F, Fut>(name: impl Into<Arc<str>>, run: F) -> ServiceFn<F>
where
    F: Fn(CancellationToken) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), ServiceError>> + Send,
{
    ServiceFn {
        name: Some(name.into()),
        policy: RestartPolicy::default(),
        run,
    }
}

impl<F> ServiceFn<F> {
    /// Sets which ends of a run are followed by another.
    pub fn with_restart_policy(mut self, policy: RestartPolicy) -> Self {
        self.policy = policy;
        self
    }
}

impl<F, Fut> JanusService for ServiceFn<F>
where
    F: Fn(CancellationToken) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), ServiceError>> + Send,
{
    fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_default()
    }

    fn take_name(&mut self) -> Arc<str> {
        self.name.take().unwrap_or_default()
    }

    fn restart_policy(&self) -> RestartPolicy {
        self.policy
    }

    fn run(
        &self,
        cancel: CancellationToken,
    ) -> impl Future<Output = Result<(), ServiceError>> + Send {
        (self.run)(cancel)
    }
}

impl<F> fmt::Debug for ServiceFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceFn")
            .field("name", &self.name)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}
