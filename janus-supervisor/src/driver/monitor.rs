//! A service that blocks its thread cannot see its own deadline, so somebody else looks now and then.

use super::logged;
use crate::cell::ServiceCell;
use crate::clock;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;

/// No look is sooner after the last than this, nor later after what was due.
const SHORTEST: Duration = Duration::from_millis(100);

/// Looks after a service that has to show something, until it has ended.
pub(crate) fn watch(cell: &Arc<ServiceCell>, runtime: &Handle) {
    let checks = cell.with_machine(|machine| machine.checks());
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
            let overdue = cell.with_machine(|machine| machine.is_overdue(now, SHORTEST));
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
