//! Code that blocks a thread.

use crate::cell::Hold;
use crate::driver::current::{Ambient, hold};
use crate::log;
use crate::{CancellationToken, JanusService, RestartPolicy, ServiceError};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// A service made of a function that blocks its thread: it runs on the runtime's blocking pool.
///
/// The function gets the token and has to look at it (`cancel.is_cancelled()`) now and then: nothing can stop a thread
/// from outside. (It is cancelled also when the run has failed a check.) One that does not return within its grace
/// keeps its thread, and the service is not over before it returns: a shutdown reports it as stuck, and a runtime that
/// is dropped rather than [shut down in the background](tokio::runtime::Runtime::shutdown_background) waits for it.
/// [`notify`](crate::notify) works in it.
///
/// It holds a thread of the pool (512 by default, shared with `tokio::fs`) for as long as it runs. While all are taken
/// it counts as running, and waits for one. tokio's paused clock stands still meanwhile: a test that waits for time to
/// pass beside one waits for ever.
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
#[must_use = "a service does nothing until it is spawned"]
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

    fn take_name(&mut self) -> Arc<str> {
        Arc::clone(&self.name)
    }

    fn restart_policy(&self) -> RestartPolicy {
        self.policy
    }

    async fn run(&self, cancel: CancellationToken) -> Result<(), ServiceError> {
        let work = Arc::clone(&self.work);
        let ticket = Ticket::new(hold());
        let (service, span) = (Ambient::here(), tracing::Span::current());
        let mut thread = {
            let (ticket, cancel) = (ticket.clone(), cancel.clone());
            tokio::task::spawn_blocking(move || {
                // Let go of last, when nothing of the run is left.
                let Some(_queued) = ticket.take() else {
                    return Ok(());
                };
                let (work, span, mut service) = (work, span, service);
                let _current = service.enter();
                log::within(&span, || work(cancel))
            })
        };
        let _taken_back = TakeBack(&ticket);
        let end = tokio::select! {
            biased;
            end = &mut thread => end,
            () = cancel.cancelled() => {
                if ticket.take().is_some() {
                    return Ok(());
                }
                thread.await
            }
        };
        match end {
            Ok(result) => result,
            Err(end) => match end.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err("the runtime shut down before the blocking run began".into()),
            },
        }
    }
}

/// The right to begin, while the pool has no thread free. Whoever comes first has it: the thread, or who takes it back.
#[derive(Clone)]
struct Ticket(Arc<Mutex<Option<Queued>>>);

/// What is in the queue, with what keeps the run from counting as over: the thread outlives the run's future if that is
/// dropped.
struct Queued {
    _hold: Option<Hold>,
}

impl Ticket {
    fn new(hold: Option<Hold>) -> Self {
        Self(Arc::new(Mutex::new(Some(Queued { _hold: hold }))))
    }

    /// Takes it out of the queue, if it is still there.
    fn take(&self) -> Option<Queued> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Takes back work that the pool has not begun, when the run is dropped.
struct TakeBack<'a>(&'a Ticket);

impl Drop for TakeBack<'_> {
    fn drop(&mut self) {
        drop(self.0.take());
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
