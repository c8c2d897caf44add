//! A service that blocks its thread cannot see its own deadline, so somebody else looks now and then.

use super::logged;
use crate::cell::ServiceCell;
use crate::clock;
use crate::log;
use crate::machine::Checks;
use crate::spawn::check_runtime;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::{Handle, RuntimeFlavor};

/// The shortest time between two looks, and how long something may be overdue.
const SHORTEST: Duration = Duration::from_millis(100);

/// Looks after a service that has to show something, until it has ended: from its own runtime, and, as that may have no
/// other thread, from where this is called, if that has several. (One of a single thread may have another clock, which
/// a test has paused.)
#[inline]
pub(crate) fn watch(cell: &Arc<ServiceCell>, checks: Checks, runtime: &Handle) {
    let limits = [checks.start_timeout, checks.watchdog];
    let Some(period) = limits.into_iter().flatten().min() else {
        return;
    };
    let period = period.max(SHORTEST);
    runtime.spawn(look(Arc::clone(cell), period));
    let is_another = |here: &Handle| {
        here.id() != runtime.id()
            && here.runtime_flavor() == RuntimeFlavor::MultiThread
            && check_runtime(&cell.name, here).is_ok()
    };
    if let Some(here) = Handle::try_current().ok().filter(is_another) {
        here.spawn(look(Arc::clone(cell), period));
    }
}

async fn look(cell: Arc<ServiceCell>, period: Duration) {
    let mut suspected = None;
    loop {
        // It may only have had no time: all others have, too, when a whole machine has slept.
        let pause = if suspected.is_some() {
            SHORTEST
        } else {
            period
        };
        tokio::select! {
            biased;
            () = cell.finished() => return,
            () = tokio::time::sleep(pause) => {}
        }
        let now = clock::now();
        let is_overdue = |due: &Instant| now.saturating_duration_since(*due) > SHORTEST;
        let due = cell.due().filter(is_overdue);
        let is_stuck = due.is_some() && due == suspected;
        let is_suspect = due.is_some() && !is_stuck;
        suspected = due;
        // What is only suspected is not judged yet, and may be known already.
        if !is_suspect && cell.set_stuck(is_stuck) {
            let service = &*cell.name;
            if is_stuck {
                log::stuck(service);
            } else {
                logged(|| tracing::info!(service, "service no longer stuck"));
            }
        }
    }
}
