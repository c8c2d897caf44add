//! Who is registered: names, duplicates, and what is left of those that have terminated.

use janus_supervisor::{
    EventKind, JanusSupervisor, RemoveError, RestartPolicy, ServicePhase, SpawnError,
    TerminationReason,
};
use janus_tests::{Recorder, Script, Turn, config, ms, secs, settle, within_an_hour};
use std::sync::Arc;
use tokio::time::Instant;

/// In every phase in which it is not over.
#[tokio::test(start_paused = true)]
async fn the_name_of_a_live_service_is_refused_and_the_first_one_unharmed() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    let turns = [
        Turn::Fail("boom").after(ms(10)),
        Turn::Complete.after(ms(10)).when_cancelled(),
    ];
    let first = supervisor.spawn_service(Script::new("one", turns)).unwrap();
    let refused = async |phase| {
        assert_eq!(first.phase(), phase);
        let (before, events) = (supervisor.snapshot(), recorder.events().len());
        let second = Script::new("one", [Turn::Complete]);
        let log = second.log();
        let error = supervisor.spawn_service(second).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "a service named \"one\" is {phase} already: names of live services must differ"
            )
        );
        assert!(
            matches!(error, SpawnError::DuplicateName { name, phase: of } if name == "one" && of == phase)
        );
        assert_eq!(supervisor.snapshot(), before);
        settle().await;
        assert_eq!(log.starts(), 0);
        assert_eq!(recorder.events().len(), events);
    };
    // Each look takes a millisecond; the first lets it begin.
    assert_eq!(first.phase(), ServicePhase::Starting);
    let error = supervisor
        .spawn_service(Script::new("one", []))
        .unwrap_err();
    assert!(matches!(
        error,
        SpawnError::DuplicateName {
            phase: ServicePhase::Starting,
            ..
        }
    ));
    settle().await;
    refused(ServicePhase::Running).await;
    tokio::time::sleep(ms(20)).await;
    refused(ServicePhase::BackingOff).await;
    tokio::time::sleep(ms(100)).await;
    refused(ServicePhase::Running).await;
    let stop = tokio::spawn({
        let first = first.clone();
        async move { within_an_hour(first.stop()).await }
    });
    settle().await;
    refused(ServicePhase::Stopping).await;

    assert_eq!(stop.await.unwrap(), TerminationReason::Cancelled);
    let snapshot = first.snapshot();
    assert_eq!((snapshot.start_count, snapshot.total_failures), (2, 1));
    assert_eq!(supervisor.metrics().snapshot().spawned_total, 1);
}

/// A8: the newcomer takes the place of the record, whatever the old one ended with.
#[tokio::test(start_paused = true)]
async fn the_name_of_a_terminated_service_can_be_used_again() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    let t0 = Instant::now().into_std();
    let old = supervisor
        .spawn_service(Script::new("job", [Turn::FailForGood("no key")]))
        .unwrap();
    let last = supervisor.spawn_service(Script::new("last", [])).unwrap();
    within_an_hour(old.terminated()).await;
    let new = supervisor.spawn_service(Script::new("job", [])).unwrap();
    settle().await;

    // The old handle stays with the old service.
    assert_eq!(old.phase(), ServicePhase::Terminated);
    assert_eq!(old.snapshot().last_error.as_deref(), Some("no key"));
    assert_eq!(new.phase(), ServicePhase::Running);
    let found = supervisor.service_lifecycle("job").await.unwrap();
    assert_eq!(found, new.snapshot());
    assert_eq!((found.start_count, found.total_failures), (1, 0));
    assert_eq!(found.last_error, None);
    let names: Vec<_> = supervisor
        .lifecycle_snapshots()
        .await
        .into_iter()
        .map(|service| service.service_name)
        .collect();
    assert_eq!(names, ["last", "job"], "in the order of spawning");
    assert_eq!(last.phase(), ServicePhase::Running);

    // Told apart by their numbers.
    let ids: Vec<_> = recorder
        .events_of("job")
        .into_iter()
        .map(|event| (event.id, event.seq, event.kind.phase()))
        .collect();
    let (a, b) = (ids[0].0, ids[ids.len() - 1].0);
    assert_ne!(a, b);
    assert_eq!(
        ids,
        [
            (a, 0, Some(ServicePhase::Starting)),
            (a, 1, Some(ServicePhase::Running)),
            (a, 2, None), // how the run ended
            (a, 3, Some(ServicePhase::Terminated)),
            (a, 4, None), // removed
            (b, 0, Some(ServicePhase::Starting)),
            (b, 1, Some(ServicePhase::Running)),
        ]
    );
    assert_eq!(recorder.trace_of("job", t0)[4], "0 run 1 removed");
    let metrics = supervisor.metrics().snapshot();
    assert_eq!((metrics.spawned_total, metrics.active_services), (3, 2));
    assert_eq!(metrics.terminated_total, 1);
}

#[tokio::test(start_paused = true)]
async fn a_terminated_service_stays_until_it_is_removed() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    let job = supervisor
        .spawn_service(Script::new("job", [Turn::Complete]))
        .unwrap();
    within_an_hour(job.terminated()).await;
    tokio::time::sleep(secs(24 * 3600)).await;
    assert_eq!(supervisor.service_count().await, 1);

    let last = supervisor.remove_service("job").unwrap();
    assert_eq!(last.termination_reason.as_deref(), Some("completed"));
    assert_eq!(last, job.snapshot());
    assert_eq!(supervisor.service_count().await, 0);
    assert!(supervisor.lifecycle_snapshots().await.is_empty());
    assert_eq!(supervisor.service_lifecycle("job").await, None);
    assert!(supervisor.service("job").is_none());
    let removed = |event: &janus_supervisor::ServiceEvent| matches!(event.kind, EventKind::Removed);
    assert_eq!(recorder.count(removed), 1);
    assert_eq!(
        supervisor.remove_service("job"),
        Err(RemoveError::Unknown { name: "job".into() })
    );
    assert_eq!(recorder.count(removed), 1);
    // What was counted stays counted.
    let metrics = supervisor.metrics().snapshot();
    assert_eq!((metrics.spawned_total, metrics.terminated_total), (1, 1));
    assert_eq!(metrics.active_services, 0);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_alive_is_not_removed() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    let handle = supervisor
        .spawn_service(Script::new("one", [Turn::Fail("boom")]))
        .unwrap();
    for phase in [ServicePhase::Starting, ServicePhase::BackingOff] {
        assert_eq!(handle.phase(), phase);
        let error = supervisor.remove_service("one").unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "cannot remove service \"one\": it is {phase}; only a terminated service can be removed"
            )
        );
        let name = "one".to_owned();
        assert_eq!(error, RemoveError::StillAlive { name, phase });
        assert_eq!(supervisor.remove_terminated(), 0);
        settle().await;
    }
    assert_eq!(supervisor.service_count().await, 1);
    let unknown = supervisor.remove_service("two").unwrap_err();
    assert_eq!(unknown.to_string(), "there is no service named \"two\"");
}

#[tokio::test(start_paused = true)]
async fn remove_terminated_forgets_those_and_only_those() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    for (name, turn) in [
        ("completed", Turn::Complete),
        ("up", Turn::until_cancelled()),
        ("unrecoverable", Turn::FailForGood("no")),
        ("backing off", Turn::Fail("boom")),
        ("cancelled", Turn::until_cancelled()),
    ] {
        supervisor.spawn_service(Script::new(name, [turn])).unwrap();
    }
    settle().await;
    supervisor.service("cancelled").unwrap().stop().await;
    assert_eq!(supervisor.remove_terminated(), 3);
    assert_eq!(supervisor.remove_terminated(), 0);
    let left: Vec<_> = supervisor
        .lifecycle_snapshots()
        .await
        .into_iter()
        .map(|service| service.service_name)
        .collect();
    assert_eq!(left, ["up", "backing off"]);
    let removed: Vec<_> = recorder
        .events()
        .into_iter()
        .filter(|event| matches!(event.kind, EventKind::Removed))
        .map(|event| event.service.to_string())
        .collect();
    assert_eq!(removed, ["completed", "unrecoverable", "cancelled"]);
}

/// A8: what comes and goes under one name leaves one record; what is removed leaves none.
#[tokio::test(start_paused = true)]
async fn a_thousand_short_services_leave_no_trace() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    for _ in 0..1_000 {
        let script = Script::new("job", [Turn::Fail("no")]).policy(RestartPolicy::Never);
        let job = supervisor.spawn_service(script).unwrap();
        within_an_hour(job.terminated()).await;
        assert_eq!(supervisor.service_count().await, 1);
    }
    assert_eq!(supervisor.remove_terminated(), 1);
    assert_eq!(supervisor.service_count().await, 0);
    let metrics = supervisor.metrics().snapshot();
    assert_eq!((metrics.spawned_total, metrics.active_services), (1_000, 0));
    let alive = tokio::runtime::Handle::current()
        .metrics()
        .num_alive_tasks();
    assert_eq!(alive, 1, "the one that waits for the supervisor's token");
}

/// The gauge is what it says at every moment, not what somebody read a moment ago.
#[tokio::test(start_paused = true)]
async fn spawned_is_active_plus_terminated_at_every_event() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    let ends = [
        Turn::Complete,
        Turn::Fail("x"),
        Turn::Panic("x"),
        Turn::FailForGood("x"),
        Turn::Hang,
    ];
    for policy in RestartPolicy::ALL {
        for (i, end) in ends.iter().enumerate() {
            let turn = end.clone().after(ms(i as u64));
            let script = Script::new(format!("{policy}-{i}"), [turn]).policy(policy);
            supervisor.spawn_service(script).unwrap();
            settle().await;
            let of = supervisor.snapshot();
            let metrics = of.metrics;
            assert_eq!(
                metrics.spawned_total,
                metrics.active_services + metrics.terminated_total
            );
            let alive = of
                .services
                .iter()
                .filter(|service| !service.phase.is_terminal());
            assert_eq!(metrics.active_services, alive.count() as u64);
        }
    }
}
