//! The life of one service: polls its run, hears what others want, reads the clock once, asks what to do, does it.
//!
//! Invariants:
//!
//! 1. All of the user's code (the run, its `Drop`, the service's `Drop`) is called inside `caught`: a panic never
//!    leaves it. (Where the runtime drops the task in the middle, it catches the panic of the run's `Drop` itself.)
//! 2. The lifecycle hears of everything, also when the runtime drops the task in the middle: see [`Task`]'s `Drop`.
//! 3. A stop is seen in the same poll as whatever else has happened, and is told first.

use super::logged;
use super::task::{Next, Task};
use crate::error::RunEnd;
use crate::{CancellationToken, JanusService, ServiceError};
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

/// Runs a service until it has terminated. (An `async fn` would keep room for its parameters twice, in every task.)
pub(crate) fn drive<S: JanusService>(
    mut task: Task,
    service: S,
) -> impl Future<Output = ()> + Send {
    let mut service = Value(Some(service));
    async move {
        {
            // Captures are dropped in the order of their mention: the value first, then the task, which says that all
            // is over.
            let service = &service;
            let task = &mut task;
            let Some(service) = &service.0 else { return };
            // A local: should the runtime drop the task in the middle, the run is gone before `Task`'s `Drop` says so.
            let mut run = pin!(None);
            poll_fn(move |cx| poll(task, |token| service.run(token), run.as_mut(), cx)).await;
        }
        if let Some(service) = service.0.take() {
            task.retire(service);
        }
    }
}

/// The value of a service. Should the runtime drop the task, its drop may come while a panic of the run's goes by, and
/// must not add one.
struct Value<S>(Option<S>);

impl<S> Drop for Value<S> {
    fn drop(&mut self) {
        if let Some(service) = self.0.take() {
            logged(|| drop(service));
        }
    }
}

/// Goes on until there is nothing to do but wait, or all is over.
fn poll<B, F>(
    task: &mut Task,
    begin: B,
    mut run: Pin<&mut Option<F>>,
    cx: &mut Context<'_>,
) -> Poll<()>
where
    B: Fn(CancellationToken) -> F,
    F: Future<Output = Result<(), ServiceError>>,
{
    let mut next = task.begin_turn();
    loop {
        let polled = match next {
            Next::Run => {
                let Some(token) = task.take_token() else {
                    next = Next::Wait;
                    continue;
                };
                let mut has_begun = false;
                let begin = || {
                    let run = begin(token);
                    has_begun = true;
                    run
                };
                let polled = poll_run(task, Some(begin), run.as_mut(), cx);
                if has_begun {
                    task.entered();
                }
                polled
            }
            Next::Wait if task.has_leftovers() => match task.poll_leftovers(cx) {
                Poll::Ready(after) => {
                    next = after;
                    continue;
                }
                Poll::Pending => Poll::Pending,
            },
            Next::Wait => poll_run(task, None::<fn() -> F>, run.as_mut(), cx),
            Next::RunLater => {
                task.put_off(cx);
                return Poll::Pending;
            }
            Next::Ask { spread } => {
                next = task.ask(spread);
                continue;
            }
            Next::Stop => {
                task.stop_run();
                next = Next::Wait;
                continue;
            }
            Next::Drop(why) => {
                task.drop_run(|| run.set(None));
                next = task.dropped(why);
                continue;
            }
            Next::Finish => return Poll::Ready(()),
        };
        next = match polled {
            Poll::Ready(end) => task.ended(end),
            Poll::Pending => match task.wait(cx) {
                Poll::Ready(next) => next,
                Poll::Pending => return Poll::Pending,
            },
        };
    }
}

/// Polls the run, if there is one. Begins it first, if it is to begin, and drops it when it is over.
fn poll_run<F>(
    task: &mut Task,
    mut begin: Option<impl FnOnce() -> F>,
    mut run: Pin<&mut Option<F>>,
    cx: &mut Context<'_>,
) -> Poll<RunEnd>
where
    F: Future<Output = Result<(), ServiceError>>,
{
    if begin.is_none() && run.is_none() {
        return Poll::Pending;
    }
    let mut result = None;
    // In one go: everything in here is the user's. With nothing around it that a panic would have to pass by.
    let mut poll = || {
        if let Some(begin) = begin.take() {
            run.set(Some(begin()));
        }
        if let Some(Poll::Ready(ended)) = run.as_mut().as_pin_mut().map(|run| run.poll(cx)) {
            result = Some(ended);
            run.set(None);
        }
    };
    // By reference, which is quicker to hand on than what it holds; and called in here, so that a panic passes by
    // nothing else.
    let polled = task.inside(|| {
        poll();
    });
    let panic = polled.err();
    if panic.is_some() {
        let _one_is_enough = task.inside(|| run.set(None));
    }
    match (result, panic) {
        (None, None) => Poll::Pending,
        // A panic of its drop is not worth more than an error.
        (Some(Err(error)), _) => Poll::Ready(error.into()),
        (_, Some(panic)) => Poll::Ready(RunEnd::Panicked(panic.into())),
        (Some(Ok(())), None) => Poll::Ready(RunEnd::Clean),
    }
}
