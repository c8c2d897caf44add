//! The supervisor, from the first spawn to the exit code.

use crate::services::{Diary, Feed, Misconfigured, Shared};
use janus_supervisor::adapters::{ApiModuleAdapter, BlockingService, ModuleAdapter, ModuleState};
use janus_supervisor::{
    BackoffConfig, BoxService, CancellationToken, DrainReport, JanusService, JanusSupervisor,
    Jitter, MetricsSnapshot, Observer, RemoveError, RestartPolicy, ServiceError, ServiceHandle,
    ServiceLifecycleSnapshot, ServicePhase, ShutdownCause, ShutdownReport, SpawnError,
    SpawnOptions, SupervisorConfig, SupervisorError, SupervisorMetrics, SupervisorSnapshot,
    TerminationReason, service_fn,
};
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::sync::mpsc;

const MS: Duration = Duration::from_millis(1);

type Outcome = Result<(), Box<dyn Error>>;

/// Retries at once, so that this program takes no time.
fn quick() -> BackoffConfig {
    BackoffConfig::new(MS, MS)
        .with_jitter(Jitter::None)
        .with_circuit_breaker(8, Duration::from_secs(60))
}

pub async fn failures_and_their_ends() -> Outcome {
    let diary = Arc::new(Diary::default());
    let config = SupervisorConfig::default()
        .without_signal_handler()
        .with_default_backoff(quick())
        .with_observer(Arc::clone(&diary) as Arc<dyn Observer>);
    let supervisor = JanusSupervisor::new(config);

    let feed: ServiceHandle = supervisor.spawn_service(Feed::default())?;
    assert_eq!(feed.name(), "feed");
    let found = supervisor.service_lifecycle("feed").await;
    assert!(found.is_some(), "registered when the spawn returns");
    while feed.snapshot().start_count < 6 || feed.phase() != ServicePhase::Running {
        tokio::task::yield_now().await;
    }
    let snapshot: ServiceLifecycleSnapshot = feed.snapshot();
    assert_eq!((snapshot.total_failures, snapshot.attempt), (4, 0));
    assert_eq!(
        snapshot.last_error.as_deref(),
        Some("panicked: out of luck")
    );
    assert_eq!(feed.stop().await, TerminationReason::Cancelled);
    assert_eq!(
        diary.lines_of("feed"),
        [
            "1 registered",
            "1 running",
            "1 failed by error: bad symbol \"17x\": invalid digit found in string",
            "1 attempt 1",
            "2 restarting",
            "2 running",
            "2 failed by error: invalid utf-8 sequence of 1 bytes from index 0",
            "2 attempt 2",
            "3 restarting",
            "3 running",
            "3 failed by error: text",
            "3 attempt 3",
            "4 restarting",
            "4 running",
            "4 failed by panic: panicked: out of luck",
            "4 attempt 4",
            "5 restarting",
            "5 running",
            "5 completed",
            "5 attempt 0",
            "6 restarting",
            "6 running",
            "6 stopping",
            "6 cancelled",
            "6 terminated: cancelled",
        ]
    );

    let misconfigured = supervisor.spawn_service(Misconfigured)?;
    let reason = misconfigured.terminated().await;
    let expected = TerminationReason::Unrecoverable("the feed is closed".to_owned());
    assert_eq!(reason, expected);
    assert_eq!(misconfigured.termination_reason(), Some(expected));

    let hopeless = service_fn("hopeless", |_cancel| async { Err("down".into()) });
    let hopeless = supervisor.spawn_service(hopeless)?;
    let reason = hopeless.terminated().await;
    assert_eq!(reason.to_string(), "circuit breaker open (8/8 failures)");

    let metrics: &Arc<SupervisorMetrics> = supervisor.metrics();
    assert_eq!(metrics.circuit_breaker_trips.load(Relaxed), 1);
    let counters: MetricsSnapshot = metrics.snapshot();
    assert_eq!((counters.spawned_total, counters.terminated_total), (3, 3));
    assert_eq!(
        (counters.active_services, counters.restarts_total),
        (0, 5 + 7)
    );
    let whole: SupervisorSnapshot = supervisor.snapshot();
    assert_eq!(whole.metrics, counters);
    assert!(!whole.shutting_down);
    let names = |services: Vec<ServiceLifecycleSnapshot>| {
        let names = services.into_iter().map(|service| service.service_name);
        names.collect::<Vec<_>>()
    };
    let expected = ["feed", "misconfigured", "hopeless"];
    assert_eq!(names(whole.services), expected);
    assert_eq!(names(supervisor.lifecycle_snapshots().await), expected);

    assert_eq!(supervisor.service_count().await, 3);
    assert_eq!(supervisor.remove_service("hopeless")?.start_count, 8);
    assert_eq!(supervisor.remove_terminated(), 2);
    assert_eq!(supervisor.service_count().await, 0);
    Ok(())
}

pub async fn a_list_of_services_and_its_shutdown() -> Outcome {
    let config = SupervisorConfig::default()
        .with_shutdown_timeout(Duration::from_secs(20))
        .with_abort_timeout(Duration::from_secs(5))
        .with_seed(7)
        .without_signal_handler();
    let supervisor = JanusSupervisor::new(config);
    let (tell, mut told) = mpsc::channel(8);
    let polite = service_fn("polite", move |cancel: CancellationToken| {
        let tell = tell.clone();
        async move {
            tell.send(()).await?;
            cancel.cancelled().await;
            Err("not everything was written".into())
        }
    })
    .with_restart_policy(RestartPolicy::Always);
    let deaf = service_fn("deaf", |_cancel| std::future::pending());
    let services: Vec<BoxService> = vec![
        BoxService::new(polite),
        BoxService::new(Box::new(Arc::new(deaf))),
    ];
    assert_eq!(services[1].name(), "deaf");
    for service in services {
        let options = SpawnOptions::with_backoff(quick())
            .with_restart_policy(RestartPolicy::OnFailure)
            .with_shutdown_grace(5 * MS);
        supervisor.spawn_service_with_options(service, options)?;
    }
    told.recv().await.ok_or("it never ran")?;
    let deaf = supervisor.service("deaf").ok_or("it is registered")?;
    while deaf.phase() != ServicePhase::Running {
        tokio::task::yield_now().await;
    }

    let waiting = tokio::spawn({
        let supervisor = supervisor.clone();
        async move { supervisor.run_until_shutdown().await }
    });
    assert!(!supervisor.is_shutting_down());
    let token: &CancellationToken = supervisor.cancel_token();
    let child = token.child_token();
    supervisor.trigger_shutdown();
    assert!(supervisor.is_shutting_down() && child.is_cancelled());
    let report: ShutdownReport = waiting.await??;
    let drain: DrainReport = supervisor.wait_for_drain().await;
    assert_eq!(report.drain, drain);
    assert_eq!(report.cause, ShutdownCause::Requested);
    assert_eq!((drain.drained, drain.stuck.len()), (1, 0));
    assert_eq!(drain.aborted, ["deaf"]);
    assert!(drain.took < Duration::from_secs(20));
    assert!(!drain.is_clean());
    assert_eq!((report.exit_code(), drain.exit_code()), (1, 1));
    let text = report.to_string();
    assert!(
        text.starts_with("shutdown (requested): 1 drained, aborted: deaf in "),
        "{text}"
    );
    let polite = supervisor.service_lifecycle("polite").await;
    let polite = polite.ok_or("it is registered")?;
    assert_eq!(
        polite.last_error.as_deref(),
        Some("not everything was written")
    );
    assert_eq!(polite.total_failures, 0);
    Ok(())
}

pub async fn modules_and_blocking_work() -> Outcome {
    let config = SupervisorConfig::default()
        .without_signal_handler()
        .with_default_backoff(quick());
    let supervisor = JanusSupervisor::new(config);
    let state = Arc::new(Shared::default());
    let start = |state: Arc<Shared>| async move {
        while !state.is_shutdown_requested() {
            tokio::task::yield_now().await;
        }
        Ok::<(), std::io::Error>(())
    };
    supervisor.spawn_service(ApiModuleAdapter::new(Arc::clone(&state), start))?;
    let module = |name, policy| ModuleAdapter::new(name, Arc::clone(&state), start, policy);
    supervisor.spawn_service(module("new", RestartPolicy::OnFailure))?;
    let on_failure = ModuleAdapter::on_failure("on_failure", Arc::clone(&state), start);
    supervisor.spawn_service(on_failure)?;
    let always = ModuleAdapter::always_restart("always", Arc::clone(&state), start);
    supervisor.spawn_service(always)?;
    let once = ModuleAdapter::one_shot("once", Arc::clone(&state), |_state| {
        Box::pin(async { Err::<(), _>(ServiceError::from("no route")) })
    });
    let once = supervisor.spawn_service(once)?;
    assert_eq!(
        once.terminated().await.to_string(),
        "unrecoverable: no route"
    );

    let blocking = BlockingService::new("blocking", |cancel| {
        while !cancel.is_cancelled() {
            std::thread::yield_now();
        }
        Ok(())
    })
    .with_restart_policy(RestartPolicy::Always);
    supervisor.spawn_service(blocking)?;
    let blocking = supervisor.service("blocking").ok_or("it is registered")?;
    while blocking.phase() != ServicePhase::Running {
        tokio::task::yield_now().await;
    }
    assert!(!state.is_shutdown_requested());

    assert_eq!(blocking.stop().await, TerminationReason::Cancelled);
    while supervisor
        .service_lifecycle("always")
        .await
        .map(|s| s.phase)
        != Some(ServicePhase::Running)
    {
        tokio::task::yield_now().await;
    }
    supervisor.trigger_shutdown();
    let drain = supervisor.wait_for_drain().await;
    assert!(drain.is_clean(), "{drain}");
    assert!(state.is_shutdown_requested());
    let health = state.health.lock().map_err(|_| "poisoned")?;
    assert!(health.contains(&"once true Some(\"started\")".to_owned()));
    assert!(health.contains(&"once false Some(\"no route\")".to_owned()));
    assert!(health.contains(&"always false Some(\"stopped\")".to_owned()));
    Ok(())
}

pub async fn refusals() -> Outcome {
    let supervisor = JanusSupervisor::with_defaults();
    let idle = |name: &'static str| {
        service_fn(name, |cancel: CancellationToken| async move {
            cancel.cancelled().await;
            Ok(())
        })
    };
    let one = supervisor.spawn_service(idle("one"))?;
    let refused = supervisor.spawn_service(idle("one")).err();
    assert!(matches!(refused, Some(SpawnError::DuplicateName { name, .. }) if name == "one"));
    let refused = supervisor.spawn_service(idle("a/b")).err();
    assert!(matches!(refused, Some(SpawnError::InvalidName { .. })));
    let nonsense = SpawnOptions::with_backoff(BackoffConfig::new(2 * MS, MS));
    let refused = supervisor
        .spawn_service_with_options(idle("two"), nonsense)
        .err();
    assert!(matches!(refused, Some(SpawnError::InvalidConfig { .. })));
    let refused = supervisor.remove_service("one").err();
    assert!(matches!(refused, Some(RemoveError::StillAlive { .. })));
    let refused = supervisor.remove_service("two").err();
    assert!(matches!(refused, Some(RemoveError::Unknown { .. })));

    supervisor.trigger_shutdown();
    let refused = supervisor.spawn_service(idle("late")).err();
    assert!(matches!(refused, Some(SpawnError::ShuttingDown { .. })));
    let report: Result<ShutdownReport, SupervisorError> = supervisor.run_until_shutdown().await;
    assert_eq!(report?.exit_code(), 0);
    assert_eq!(one.terminated().await, TerminationReason::Cancelled);

    let last = JanusSupervisor::with_defaults();
    let orphan = last.spawn_service(idle("orphan"))?;
    drop(last);
    assert_eq!(orphan.terminated().await, TerminationReason::Cancelled);
    Ok(())
}
