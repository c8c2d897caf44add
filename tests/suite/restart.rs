//! What follows the end of a run: the design's table cell by cell, and what else it promises about runs.

mod delays;
mod registry;
mod self_cancel;
mod table;

use janus_supervisor::{
    CancellationToken, EventKind, FailureKind, JanusService, JanusSupervisor, RestartPolicy,
    RunOutcome, ServiceError, ServicePhase, SpawnOptions, TerminationReason, service_fn,
};
use janus_tests::{Recorder, Script, Turn, config, ms, secs, settle, within_an_hour};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::task::{Context, Poll};
use tokio::time::Instant;

#[tokio::test(start_paused = true)]
async fn a_failure_is_retried_after_the_base_delay() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    let t0 = Instant::now().into_std();
    let script = Script::new("feed", [Turn::Fail("no route"), Turn::Complete]);
    let feed = supervisor.spawn_service(script).unwrap();
    assert_eq!(
        within_an_hour(feed.terminated()).await,
        TerminationReason::Completed
    );
    assert_eq!(
        recorder.trace_of("feed", t0),
        [
            "0 run 1 registered",
            "0 run 1 running",
            "0 run 1 failed (error): no route",
            "0 run 1 backing off #1 for 100ms",
            "100 run 2 restarting",
            "100 run 2 running",
            "100 run 2 completed",
            "100 run 2 terminated: completed",
        ]
    );
}

/// It is found by whoever looks next, before its task has been polled.
#[tokio::test(start_paused = true)]
async fn a_service_is_registered_when_spawn_returns() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    let script = Script::new("feed", []);
    let log = script.log();
    let handle = supervisor.spawn_service(script).unwrap();

    let snapshot = supervisor.service_lifecycle("feed").await.unwrap();
    assert_eq!(log.starts(), 0, "it has not run yet");
    assert_eq!(snapshot, handle.snapshot());
    assert_eq!(snapshot.phase, ServicePhase::Starting);
    assert_eq!((snapshot.start_count, snapshot.total_failures), (1, 0));
    assert_eq!(supervisor.service("feed").unwrap().name(), "feed");
    assert_eq!(supervisor.service_count().await, 1);
    assert_eq!(supervisor.lifecycle_snapshots().await, [snapshot]);
    let metrics = supervisor.metrics().snapshot();
    assert_eq!((metrics.spawned_total, metrics.active_services), (1, 1));
    assert_eq!(recorder.phases_of("feed"), [ServicePhase::Starting]);
}

#[tokio::test(start_paused = true)]
async fn stopping_is_visible_for_as_long_as_it_takes() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    let script = Script::new("slow", [Turn::Complete.after(secs(3)).when_cancelled()]);
    let handle = supervisor.spawn_service(script).unwrap();
    tokio::time::sleep(secs(1)).await;
    let stop = tokio::spawn({
        let handle = handle.clone();
        async move { within_an_hour(handle.stop()).await }
    });
    for second in [0, 1, 2] {
        settle().await;
        let snapshot = handle.snapshot();
        assert_eq!(snapshot.phase, ServicePhase::Stopping);
        assert_eq!(snapshot.time_in_phase_secs.trunc(), f64::from(second));
        assert_eq!(snapshot.cumulative_running_secs, 1.0, "no longer running");
        assert_eq!(snapshot.termination_reason, None);
        tokio::time::sleep(ms(999)).await;
    }
    assert_eq!(stop.await.unwrap(), TerminationReason::Cancelled);
    assert_eq!(handle.phase(), ServicePhase::Terminated);
}

/// While a service waits, the snapshot shows for what; when it is up again, what it took.
#[tokio::test(start_paused = true)]
async fn a_backoff_is_visible_with_its_attempt_and_its_end() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    let down = Turn::Fail("down").after(secs(2));
    let script = Script::new("feed", [down.clone(), down, Turn::until_cancelled()]);
    let handle = supervisor.spawn_service(script).unwrap();
    tokio::time::sleep(ms(2_000 + 100 + 2_000 + 50)).await;

    let waiting = handle.snapshot();
    assert_eq!(waiting.phase, ServicePhase::BackingOff);
    assert_eq!((waiting.attempt, waiting.start_count), (2, 2));
    assert_eq!(waiting.next_retry_secs, Some(0.150));
    assert_eq!(waiting.time_in_phase_secs, 0.050);
    assert_eq!(waiting.cumulative_running_secs, 4.0);
    assert_eq!(waiting.last_error.as_deref(), Some("down"));
    assert_eq!(waiting.last_failure_kind, Some(FailureKind::Error));
    assert_eq!(supervisor.metrics().snapshot().restarts_total, 1);

    tokio::time::sleep(ms(150 + 1_000)).await;
    let up = handle.snapshot();
    assert_eq!(up.phase, ServicePhase::Running);
    assert_eq!((up.attempt, up.start_count, up.total_failures), (2, 3, 2));
    assert_eq!(up.next_retry_secs, None);
    assert_eq!(up.cumulative_running_secs, 5.0);
    assert_eq!(up.age_secs, 5.3);
    assert_eq!(supervisor.metrics().snapshot().restarts_total, 2);
}

/// E52: the next run begins only when the last future is gone, not merely ready.
#[tokio::test(start_paused = true)]
async fn a_service_has_one_run_at_a_time() {
    /// Ready at once, but alive until it is dropped.
    struct Run(Arc<AtomicU32>);
    impl Future for Run {
        type Output = Result<(), ServiceError>;
        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
            Poll::Ready(Err("again".into()))
        }
    }
    impl Drop for Run {
        fn drop(&mut self) {
            self.0.fetch_sub(1, SeqCst);
        }
    }
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    let (alive, most) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let seen = Arc::clone(&most);
    let handle = supervisor
        .spawn_service(service_fn("one", move |_cancel| {
            let alive = Arc::clone(&alive);
            seen.fetch_max(alive.fetch_add(1, SeqCst) + 1, SeqCst);
            Run(alive)
        }))
        .unwrap();
    let reason = within_an_hour(handle.terminated()).await;
    assert_eq!(reason.as_str(), "circuit_breaker_open");
    assert_eq!(handle.snapshot().start_count, 10);
    assert_eq!(most.load(SeqCst), 1);
}

/// A8: what a service owns goes when it has ended, whatever becomes of its record.
#[tokio::test(start_paused = true)]
async fn the_value_of_a_service_is_dropped_with_its_end_and_its_record_stays() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    for policy in [RestartPolicy::OnFailure, RestartPolicy::Never] {
        let owned = Arc::new(());
        let weak = Arc::downgrade(&owned);
        let service = service_fn("once", move |_cancel| {
            let _owned_by_the_service = &owned;
            async { Ok(()) }
        });
        let handle = supervisor
            .spawn_service(service.with_restart_policy(policy))
            .unwrap();
        settle().await;
        assert!(weak.upgrade().is_none(), "{policy}");
        assert_eq!(
            within_an_hour(handle.terminated()).await,
            TerminationReason::Completed
        );
        let record = supervisor.service_lifecycle("once").await.unwrap();
        assert_eq!(record.termination_reason.as_deref(), Some("completed"));
    }
}

/// A6: the error itself, not only its text, reaches whoever watches.
#[tokio::test(start_paused = true)]
async fn a_permanent_error_is_kept_as_it_came_with_all_its_causes() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    let service = service_fn("api", |_cancel| async {
        let denied = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
        let error = anyhow::Error::new(denied).context("cannot bind port 80");
        Err(ServiceError::permanent(error))
    });
    let handle = supervisor
        .spawn_service(service.with_restart_policy(RestartPolicy::Always))
        .unwrap();
    let text = "cannot bind port 80: permission denied";
    assert_eq!(
        within_an_hour(handle.terminated()).await,
        TerminationReason::Unrecoverable(text.into())
    );
    assert_eq!(handle.snapshot().last_error.as_deref(), Some(text));
    let kinds = recorder.events_of("api").into_iter().filter_map(|event| {
        let EventKind::RunEnded {
            outcome: RunOutcome::Failed(failure),
            ..
        } = event.kind
        else {
            return None;
        };
        let cause = failure.error().source()?;
        Some(cause.downcast_ref::<std::io::Error>()?.kind())
    });
    assert_eq!(
        kinds.collect::<Vec<_>>(),
        [std::io::ErrorKind::PermissionDenied]
    );
}

#[tokio::test(start_paused = true)]
async fn spawn_options_override_the_policy_of_the_service() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    let script = Script::new("feed", [Turn::Fail("no")]).policy(RestartPolicy::Always);
    let options = SpawnOptions::default().with_restart_policy(RestartPolicy::Never);
    let handle = supervisor
        .spawn_service_with_options(script, options)
        .unwrap();
    assert_eq!(
        within_an_hour(handle.terminated()).await,
        TerminationReason::Unrecoverable("no".into())
    );
    assert_eq!(handle.snapshot().start_count, 1);
}

/// A service that changes its mind about them changes nothing.
#[tokio::test(start_paused = true)]
async fn name_and_policy_are_asked_once() {
    #[derive(Default)]
    struct Fickle {
        names: AtomicU32,
        policies: AtomicU32,
        runs: AtomicU32,
    }
    impl JanusService for Fickle {
        fn name(&self) -> &str {
            match self.names.fetch_add(1, SeqCst) {
                0 => "first",
                _ => "other",
            }
        }
        fn restart_policy(&self) -> RestartPolicy {
            match self.policies.fetch_add(1, SeqCst) {
                0 => RestartPolicy::Always,
                _ => RestartPolicy::Never,
            }
        }
        async fn run(&self, cancel: CancellationToken) -> Result<(), ServiceError> {
            if self.runs.fetch_add(1, SeqCst) < 3 {
                return Err("again".into());
            }
            cancel.cancelled().await;
            Ok(())
        }
    }
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    let fickle = Arc::new(Fickle::default());
    let handle = supervisor.spawn_service(Arc::clone(&fickle)).unwrap();
    tokio::time::sleep(secs(5)).await;
    assert_eq!(handle.name(), "first");
    assert_eq!(handle.snapshot().start_count, 4);
    assert_eq!(fickle.names.load(SeqCst), 1);
    assert_eq!(fickle.policies.load(SeqCst), 1);
}
