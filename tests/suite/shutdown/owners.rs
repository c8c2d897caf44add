//! Who keeps a fleet alive: its supervisors, all of them and nobody else.

use janus_supervisor::{
    CancellationToken, JanusSupervisor, ServiceHandle, ServicePhase, SpawnOptions,
    TerminationReason, service_fn,
};
use janus_tests::{Recorder, Script, Turn, config, ms, secs, settle};
use std::sync::Arc;
use tokio::time::Instant;

/// Why it ended, if it does within a day of the paused clock: what is orphaned never does.
async fn ended(service: &ServiceHandle) -> Option<TerminationReason> {
    let day = secs(24 * 60 * 60);
    tokio::time::timeout(day, service.terminated()).await.ok()
}

/// E59
#[tokio::test(start_paused = true)]
async fn dropping_the_last_supervisor_cancels_its_services() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    let t0 = Instant::now().into_std();
    let running = supervisor.spawn_service(Script::new("a", [])).unwrap();
    let failing = Script::new("b", [Turn::Fail("x")]);
    let failing = supervisor.spawn_service(failing).unwrap();
    settle().await;
    drop(supervisor);
    assert_eq!(ended(&running).await, Some(TerminationReason::Cancelled));
    assert_eq!(ended(&failing).await, Some(TerminationReason::Cancelled));
    assert_eq!(
        recorder.trace_of("a", t0)[2..],
        [
            "1 run 1 stopping",
            "1 run 1 cancelled",
            "1 run 1 terminated: cancelled"
        ]
    );
    let alive = tokio::runtime::Handle::current()
        .metrics()
        .num_alive_tasks();
    assert_eq!(alive, 0);
}

/// E59
#[tokio::test(start_paused = true)]
async fn dropping_one_of_two_supervisors_does_nothing() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    let clone = supervisor.clone();
    let service = supervisor.spawn_service(Script::new("a", [])).unwrap();
    settle().await;
    drop(supervisor);
    tokio::time::sleep(secs(100)).await;
    assert_eq!(service.phase(), ServicePhase::Running);
    assert!(!clone.is_shutting_down());
    assert_eq!(
        clone.snapshot().services.len(),
        1,
        "they are one supervisor"
    );
    drop(clone);
    assert_eq!(ended(&service).await, Some(TerminationReason::Cancelled));
}

/// Neither a handle, nor the token, nor the counters keep it alive; and a handle that is dropped stops nothing.
#[tokio::test(start_paused = true)]
async fn nothing_but_a_supervisor_keeps_the_fleet_alive() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    let service = supervisor.spawn_service(Script::new("a", [])).unwrap();
    let other = supervisor.spawn_service(Script::new("b", [])).unwrap();
    let (token, metrics) = (
        supervisor.cancel_token().clone(),
        Arc::clone(supervisor.metrics()),
    );
    settle().await;
    drop(other);
    settle().await;
    assert_eq!(metrics.snapshot().active_services, 2);

    let clones = [service.clone(), service.clone()];
    drop(supervisor);
    assert!(token.is_cancelled());
    for handle in clones {
        assert_eq!(ended(&handle).await, Some(TerminationReason::Cancelled));
    }
    settle().await;
    assert_eq!(metrics.snapshot().active_services, 0);
    assert_eq!(service.stop().await, TerminationReason::Cancelled);
}

/// Nobody is left to wait, and still nothing is orphaned.
#[tokio::test(start_paused = true)]
async fn services_of_a_dropped_supervisor_keep_to_their_grace_and_to_its_timeout() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder).with_shutdown_timeout(secs(20)));
    let spawn = |name: &str, grace| {
        let options = SpawnOptions::default().with_shutdown_grace(secs(grace));
        supervisor.spawn_service_with_options(Script::new(name, [Turn::Hang]), options)
    };
    let (short, long) = (spawn("short", 5).unwrap(), spawn("long", 500).unwrap());
    settle().await;
    let t0 = Instant::now();
    drop(supervisor);
    assert_eq!(ended(&short).await, Some(TerminationReason::Aborted));
    assert_eq!(t0.elapsed(), secs(5));
    assert_eq!(ended(&long).await, Some(TerminationReason::Aborted));
    assert_eq!(t0.elapsed(), secs(20));
}

/// A supervisor inside one of its own services is an owner like any other: the program's own is the last.
#[tokio::test(start_paused = true)]
async fn a_service_may_hold_a_supervisor_and_let_it_go() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    let inner = supervisor.clone();
    let service = service_fn("owner", move |cancel| {
        let inner = inner.clone();
        async move {
            inner.spawn_service(Script::new("child", []))?;
            cancel.cancelled().await;
            Ok(())
        }
    });
    supervisor.spawn_service(service).unwrap();
    settle().await;
    assert_eq!(supervisor.metrics().snapshot().active_services, 2);
    supervisor.trigger_shutdown();
    let report = supervisor.wait_for_drain().await;
    assert_eq!((report.drained, report.took), (2, ms(0)));
}

/// E59: made and dropped without ever being used, also outside a runtime.
#[test]
fn an_unused_supervisor_can_be_dropped_anywhere() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    drop(supervisor.clone());
    supervisor.trigger_shutdown();
    drop(supervisor);
    assert_eq!(recorder.events().len(), 0);
}

/// Not even one inside a service, which changes the others for as long as they are there.
#[tokio::test(start_paused = true)]
async fn a_weak_supervisor_keeps_nothing_alive() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    let weak = supervisor.downgrade();
    let inside = weak.clone();
    let admin = service_fn("admin", move |cancel: CancellationToken| {
        let weak = inside.clone();
        async move {
            let supervisor = weak.upgrade().ok_or("it is there")?;
            supervisor.spawn_service(Script::new("another", []))?;
            drop(supervisor);
            cancel.cancelled().await;
            Ok(())
        }
    });
    let admin = supervisor.spawn_service(admin).unwrap();
    settle().await;
    let another = weak.upgrade().unwrap().service("another").unwrap();
    assert_eq!(another.phase(), ServicePhase::Running);
    assert!(!supervisor.is_shutting_down());
    drop(supervisor);
    assert!(weak.upgrade().is_none());
    assert_eq!(ended(&admin).await, Some(TerminationReason::Cancelled));
    assert_eq!(ended(&another).await, Some(TerminationReason::Cancelled));
}
