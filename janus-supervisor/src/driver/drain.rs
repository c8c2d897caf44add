//! Waiting for every service to end, and for no longer than agreed.

use super::{logged, sleep_until};
use crate::clock;
use crate::log;
use crate::report::{DrainReport, ShutdownCause};
use crate::shared::{Began, Shared};
use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::Notify;

/// Waits until no service is left. Once a shutdown has begun, it has two bounds: at `shutdown_timeout` what is left is
/// dropped, and `abort_timeout` later it returns, whatever is left then.
pub(crate) async fn drain(shared: &Shared) -> DrainReport {
    tokio::select! {
        biased;
        () = shared.root.cancelled() => {}
        () = shared.empty() => {}
    }
    if !shared.root.is_cancelled() {
        // Nothing has ended by a shutdown, but a runtime may have gone away.
        return DrainReport {
            aborted: shared.ends().aborted(),
            ..DrainReport::default()
        };
    }
    // Whoever cancelled the token may have left this to us.
    shared.begin_shutdown(ShutdownCause::Requested);
    let began = shared.began(clock::now());
    tokio::select! {
        biased;
        () = shared.empty() => {}
        report = over(shared) => return report,
        () = shared.abort.cancelled() => gone(shared).await,
        () = bound(shared, began.at.checked_add(shared.shutdown_timeout)) => {
            shared.abort_all();
            gone(shared).await;
        }
    }
    // Every caller gets the same answer, also one that comes later, and none before it is in the log.
    if shared.is_reporting.swap(true, Ordering::AcqRel) {
        over(shared).await
    } else {
        let report = report(shared, began, clock::now());
        if began.cause != ShutdownCause::Dropped || report != DrainReport::default() {
            log::shut_down(&shared.report(began.cause, report.clone()));
        }
        let report = shared.drained.get_or_init(|| report).clone();
        logged(|| shared.late.notify_waiters());
        report
    }
}

/// Even without a second bound, the services must get to see that they are dropped.
const SHORTEST: Duration = Duration::from_millis(1);

/// The second bound: what was dropped must be gone.
async fn gone(shared: &Shared) {
    let latest = clock::now().checked_add(shared.abort_timeout.max(SHORTEST));
    let bounds = async {
        bound(shared, latest).await;
        let other = latest.and_then(|latest| other_look(latest, clock::now()));
        if other.is_some() {
            bound(shared, other).await;
        }
    };
    tokio::select! {
        biased;
        () = shared.empty() => {}
        () = bounds => {}
    }
}

/// What is noticed so late was not noticed because nobody had any time, as when a whole machine sleeps; and as long as
/// those who are dropped may take then.
const STALL: Duration = Duration::from_millis(100);

/// When to look again before anybody is called stuck.
fn other_look(latest: Instant, now: Instant) -> Option<Instant> {
    if now.saturating_duration_since(latest) > STALL {
        now.checked_add(STALL)
    } else {
        None
    }
}

/// Waits for what somebody else finds the drain to have come to.
async fn over(shared: &Shared) -> DrainReport {
    loop {
        let told = shared.late.notified();
        if let Some(report) = shared.drained.get() {
            return report.clone();
        }
        told.await;
    }
}

/// Waits until then, also while a run blocks the thread that looks at the timers, and on a thread that has no runtime.
async fn bound(shared: &Shared, at: Option<Instant>) {
    let has_timer = Handle::try_current().is_ok();
    let alarm = at.filter(|_| !has_timer);
    let _alarm = alarm.and_then(|at| alarm_at(at, Arc::clone(&shared.late)));
    loop {
        // Made before the look, so that nobody tells between the look and the wait.
        let late = shared.late.notified();
        if at.is_some_and(|at| at <= clock::now()) {
            return;
        }
        tokio::select! {
            biased;
            () = sleep_until(at), if has_timer => return,
            () = late => {}
        }
    }
}

/// Has a thread tell `late` then, unless what this returns is dropped before.
fn alarm_at(at: Instant, late: Arc<Notify>) -> Option<mpsc::Sender<Infallible>> {
    let (alarm, dropped) = mpsc::channel();
    let thread = std::thread::Builder::new().name("janus-alarm".to_owned());
    let thread = thread.spawn(move || {
        let left = at.saturating_duration_since(clock::now());
        if dropped.recv_timeout(left) == Err(mpsc::RecvTimeoutError::Timeout) {
            logged(|| late.notify_waiters());
        }
    });
    // Where no thread is to be had, the relays still keep the same bounds.
    thread.is_ok().then_some(alarm)
}

fn report(shared: &Shared, began: &Began, now: Instant) -> DrainReport {
    // First: who ends after this look is in one of the two at least.
    let stuck = if shared.is_empty() {
        Vec::new() // and nobody need be looked at
    } else {
        stuck(shared)
    };
    let ends = shared.ends().clone();
    // Not when somebody asked for the report, unless it was the second bound that ended the drain.
    let over = if stuck.is_empty() {
        ends.last
    } else {
        Some(now)
    };
    DrainReport {
        drained: ends.drained,
        aborted: ends.aborted(),
        stuck,
        took: over.map_or(Duration::ZERO, |over| {
            over.saturating_duration_since(began.at)
        }),
    }
}

/// The names of those whose tasks are not over.
fn stuck(shared: &Shared) -> Vec<String> {
    let all = shared.registry.all();
    let stuck = all.in_tree_order().into_iter();
    let stuck = stuck.filter(|cell| !cell.is_finished());
    let names = without_groups(stuck.map(|cell| cell.name.to_string()).collect());
    for cell in names.iter().filter_map(|name| shared.registry.get(name)) {
        if cell.set_stuck(true) {
            log::stuck(&cell.name);
        }
    }
    names
}

/// A group is stuck only because of what is inside it.
fn without_groups(names: Vec<String>) -> Vec<String> {
    let mut groups = HashSet::new();
    for name in &names {
        groups.extend(
            name.match_indices('/')
                .map(|(end, _)| name[..end].to_owned()),
        );
    }
    names
        .into_iter()
        .filter(|name| !groups.contains(name))
        .collect()
}

/// For a task that must end with the fleet: ready when a shutdown has begun and no service is left.
pub(crate) async fn drained(shared: &Shared) {
    shared.root.cancelled().await;
    shared.empty().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_is_followed_by_another_look() {
        let latest = clock::now();
        let after = |millis| latest + Duration::from_millis(millis);
        for (now, other) in [(0, None), (100, None), (101, Some(201)), (5000, Some(5100))] {
            assert_eq!(other_look(latest, after(now)), other.map(after), "{now}");
        }
    }
}
