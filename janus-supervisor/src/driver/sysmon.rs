//! Sees to it that a runtime goes on looking at its timers and sockets while a run blocks one of its threads.
//!
//! The thread that waits for them is also the one that runs what they wake. If that blocks, and the other threads
//! sleep, nobody waits for them any more: no deadline, no signal and no sibling's timer is noticed. (tokio's own
//! remedy, an eager handoff of its driver, is unstable.) A task that does nothing wakes one of the others, which then
//! takes over.
//!
//! The runtime itself cannot notice, so that takes a thread of its own, as Go's scheduler has one, of this name, for
//! what blocks there.

use super::logged;
use std::convert::Infallible;
use std::sync::{Arc, mpsc};
use std::time::Duration;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// The time between two looks. A worker that has not paused from one to the next may be blocked.
const PERIOD: Duration = Duration::from_millis(100);

/// The thread goes on until this is dropped.
pub(super) struct Sysmon(
    #[expect(dead_code, reason = "what counts is its drop")] mpsc::Sender<Infallible>,
);

/// Begins to look after a runtime, if it has threads of its own. At every look that finds one of them busy, `late` is
/// told: whoever waits for a deadline has to look at the clock himself, should all of them be blocked.
pub(super) fn install(runtime: Handle, late: Arc<Notify>) -> Option<Sysmon> {
    if runtime.runtime_flavor() != RuntimeFlavor::MultiThread {
        return None;
    }
    let (sysmon, ended) = mpsc::channel();
    let thread = std::thread::Builder::new().name("janus-sysmon".to_owned());
    // Where no thread is to be had, there are other worries.
    let thread = thread.spawn(move || look(&runtime, &late, &ended));
    thread.is_ok().then_some(Sysmon(sysmon))
}

fn look(runtime: &Handle, late: &Notify, ended: &mpsc::Receiver<Infallible>) {
    let workers = runtime.metrics();
    let mut pauses = vec![None; workers.num_workers()];
    let mut nudge: Option<JoinHandle<()>> = None;
    while let Err(mpsc::RecvTimeoutError::Timeout) = ended.recv_timeout(PERIOD) {
        let mut is_any_busy = false;
        for (worker, before) in pauses.iter_mut().enumerate() {
            let now = Some(workers.worker_park_unpark_count(worker));
            let is_at_work = now.is_some_and(|pauses| pauses % 2 == 0);
            is_any_busy |= is_at_work && now == *before;
            *before = now;
        }
        if is_any_busy {
            // Where nobody has come to do the last, another is of no use.
            if nudge.as_ref().is_none_or(JoinHandle::is_finished) {
                nudge = Some(runtime.spawn(std::future::ready(())));
            }
            logged(|| late.notify_waiters());
        }
    }
}
