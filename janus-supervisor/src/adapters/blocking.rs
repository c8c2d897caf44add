//! Code that blocks a thread.

use crate::driver::current;
use crate::{CancellationToken, JanusService, RestartPolicy, ServiceError};
use std::fmt;
use std::sync::Arc;
use tokio::task::AbortHandle;

/// A service made of a function that blocks its thread: it runs on the runtime's blocking pool.
///
/// The function gets the token and has to look at it (`cancel.is_cancelled()`) now and then: nothing can stop a thread from
/// outside. If it does not return within its grace, it is reported as stuck, and it keeps its thread; a runtime that is
/// dropped rather than [shut down in the background](tokio::runtime::Runtime::shutdown_background) waits for it.
///
/// ```
/// use janus_supervisor::adapters::BlockingService;
/// use std::sync::mpsc;
/// use std::time::Duration;
///
/// let (_jobs, queue) = mpsc::channel::<String>();
/// let queue = std::sync::Mutex::new(queue);
/// let worker = BlockingService::new("worker", move |cancel| {
///     let queue = queue.lock().map_err(|_| "the queue is poisoned")?;
///     while !cancel.is_cancelled() {
///         match queue.recv_timeout(Duration::from_millis(100)) {
///             Ok(job) => println!("{job}"),
///             Err(mpsc::RecvTimeoutError::Timeout) => {}
///             Err(closed) => return Err(closed.into()),
///         }
///     }
///     Ok(())
/// });
/// ```
pub struct BlockingService<F> {
    name: Arc<str>,
    policy: RestartPolicy,
    work: Arc<F>,
}

impl<F> BlockingService<F>
where
    F: Fn(CancellationToken) -> Result<(), ServiceError> + Send + Sync + 'static,
{
    /// Makes a service of `work`, which is called once for each run. Restarts on failure.
    pub fn new(name: impl Into<Arc<str>>, work: F) -> Self {
        Self {
            name: name.into(),
            policy: RestartPolicy::default(),
            work: Arc::new(work),
        }
    }

    /// Sets which ends of a run are followed by another.
    #[must_use]
    pub fn with_restart_policy(mut self, policy: RestartPolicy) -> Self {
        self.policy = policy;
        self
    }
}

impl<F> JanusService for BlockingService<F>
where
    F: Fn(CancellationToken) -> Result<(), ServiceError> + Send + Sync + 'static,
{
    fn name(&self) -> &str {
        &self.name
    }

    fn restart_policy(&self) -> RestartPolicy {
        self.policy
    }

    async fn run(&self, cancel: CancellationToken) -> Result<(), ServiceError> {
        let work = Arc::clone(&self.work);
        // The thread outlives this future if the future is dropped; the run must not count as over before the thread is.
        let hold = current::hold();
        let span = tracing::Span::current();
        let thread = tokio::task::spawn_blocking(move || {
            let _hold = hold;
            span.in_scope(|| work(cancel))
        });
        let _queued = CancelIfQueued(thread.abort_handle());
        match thread.await {
            Ok(result) => result,
            Err(end) => match end.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err("the runtime shut down before the blocking run began".into()),
            },
        }
    }
}

/// Takes back work that the pool has not begun. Does nothing to work that it has.
struct CancelIfQueued(AbortHandle);

impl Drop for CancelIfQueued {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl<F> fmt::Debug for BlockingService<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockingService")
            .field("name", &self.name)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}
