//! A service that blocks its thread cannot see its own deadline, so somebody else looks now and then.

use super::logged;
use crate::cell::ServiceCell;
use crate::clock;
use crate::machine::Checks;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;

/// No look is sooner after the last than this, nor later after what was due.
const SHORTEST: Duration = Duration::from_millis(100);

/// Looks after a service that has to show something, until it has ended.
#[inline]
pub(crate) fn watch(cell: &Arc<ServiceCell>, checks: Checks, runtime: &Handle) {
    let limits = [checks.start_timeout, checks.watchdog];
    let Some(period) = limits.into_iter().flatten().min() else {
        return;
    };
    let period = period.max(SHORTEST);
    let cell = Arc::clone(cell);
    runtime.spawn(async move {
        loop {
            tokio::select! {
                biased;
                () = cell.finished() => return,
                () = tokio::time::sleep(period) => {}
            }
            let now = clock::now();
            let due = cell.due();
            let overdue = due.is_some_and(|due| now.saturating_duration_since(due) > SHORTEST);
            if cell.set_stuck(overdue) {
                let service = &*cell.name;
                logged(|| {
                    if overdue {
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
    });
}
