//! A service that blocks its thread cannot see its own deadline, so somebody else looks now and then.

use super::logged;
use crate::cell::ServiceCell;
use crate::clock;
use crate::machine::Checks;
use crate::spawn::check_runtime;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

/// The shortest time between two looks, and how long something may be overdue.
const SHORTEST: Duration = Duration::from_millis(100);

/// Looks after a service that has to show something, until it has ended: from where this is called, if that is another
/// runtime than the service's, which may have no other thread.
#[inline]
pub(crate) fn watch(cell: &Arc<ServiceCell>, checks: Checks, runtime: &Handle) {
    let limits = [checks.start_timeout, checks.watchdog];
    let Some(period) = limits.into_iter().flatten().min() else {
        return;
    };
    let here = Handle::try_current().ok();
    let here = here.filter(|here| check_runtime(&cell.name, here).is_ok());
    let here = here.as_ref().unwrap_or(runtime);
    here.spawn(look(Arc::clone(cell), period.max(SHORTEST)));
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
        suspected = due;
        if cell.set_stuck(is_stuck) {
            let service = &*cell.name;
            logged(|| {
                if is_stuck {
                    tracing::error!(
                        service,
                        "service stuck: it blocks its thread, and cannot be dropped"
                    );
                } else {
                    tracing::info!(service, "service no longer stuck");
                }
            });
        }
    }
}
