//! Stopping, removing and adding single services, also in the middle of a shutdown.

use janus_supervisor::{
    JanusSupervisor, RemoveError, RestartPolicy, ServicePhase, SpawnError, SpawnOptions,
    TerminationReason, service_fn,
};
use janus_tests::{Recorder, Script, Turn, config, ms, secs, settle};
use std::sync::Arc;
use tokio::time::Instant;

/// A service that takes its time to stop.
fn slow(name: &str, takes: u64) -> Script {
    Script::new(name, [Turn::Complete.after(secs(takes)).when_cancelled()])
        .policy(RestartPolicy::Always)
}

#[tokio::test(start_paused = true)]
async fn stopping_one_service_leaves_its_siblings_running() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    let one = supervisor.spawn_service(slow("one", 1)).unwrap();
    let other = supervisor.spawn_service(slow("other", 1)).unwrap();
    settle().await;
    assert_eq!(one.stop().await, TerminationReason::Cancelled);
    tokio::time::sleep(secs(600)).await;
    assert_eq!(one.phase(), ServicePhase::Terminated);
    assert_eq!(other.phase(), ServicePhase::Running);
    assert_eq!(other.snapshot().start_count, 1);
    assert_eq!(supervisor.metrics().snapshot().active_services, 1);
    assert!(!supervisor.is_shutting_down());
}

/// E50: every caller is answered, and one stop happens.
#[tokio::test(start_paused = true)]
async fn stopping_twice_and_at_once_is_one_stop() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    let t0 = Instant::now().into_std();
    let one = supervisor.spawn_service(slow("one", 5)).unwrap();
    settle().await;
    let stops: Vec<_> = (0..10)
        .map(|i| {
            let one = one.clone();
            tokio::spawn(async move {
                tokio::time::sleep(secs(i)).await;
                one.stop().await
            })
        })
        .collect();
    for stop in stops {
        assert_eq!(stop.await.unwrap(), TerminationReason::Cancelled);
    }
    assert_eq!(one.stop().await, TerminationReason::Cancelled);
    assert_eq!(
        recorder.trace_of("one", t0),
        [
            "0 run 1 registered",
            "0 run 1 running",
            "1 run 1 stopping",
            "5001 run 1 cancelled",
            "5001 run 1 terminated: cancelled",
        ]
    );
}

/// A stop that comes too late answers what really happened.
#[tokio::test(start_paused = true)]
async fn stopping_what_has_ended_answers_how_it_ended() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    for (turn, reason) in [
        (Turn::Complete, TerminationReason::Completed),
        (
            Turn::FailForGood("no"),
            TerminationReason::Unrecoverable("no".into()),
        ),
    ] {
        let service = Script::new("one", [turn]);
        let service = supervisor.spawn_service(service).unwrap();
        service.terminated().await;
        let before = recorder.events().len();
        assert_eq!(service.stop().await, reason);
        assert_eq!(recorder.events().len(), before, "and nothing happens");
    }
}

/// E51: not later than its grace, during a backoff at once, before its first poll without a run.
#[tokio::test(start_paused = true)]
async fn a_stop_takes_no_longer_than_the_grace() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    let options = || SpawnOptions::default().with_shutdown_grace(secs(3));
    for (name, turn, lead, took, reason, runs) in [
        ("stubborn", Turn::Hang, 1, 3, TerminationReason::Aborted, 1),
        (
            "failing",
            Turn::Fail("x"),
            1,
            0,
            TerminationReason::Cancelled,
            1,
        ),
        ("unborn", Turn::Hang, 0, 0, TerminationReason::Cancelled, 0),
    ] {
        let script = Script::new(name, [turn]);
        let log = script.log();
        let service = supervisor
            .spawn_service_with_options(script, options())
            .unwrap();
        tokio::time::sleep(ms(lead)).await;
        let t0 = Instant::now();
        assert_eq!(service.stop().await, reason, "{name}");
        assert_eq!(t0.elapsed(), secs(took), "{name}");
        assert_eq!((log.starts(), log.in_progress()), (runs, 0), "{name}");
    }
}

/// E54
#[tokio::test(start_paused = true)]
async fn a_stop_whose_caller_has_gone_still_stands() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    let one = supervisor.spawn_service(slow("one", 5)).unwrap();
    settle().await;
    tokio::time::timeout(secs(1), one.stop()).await.unwrap_err();
    assert_eq!(one.phase(), ServicePhase::Stopping);
    assert_eq!(one.terminated().await, TerminationReason::Cancelled);

    let other = supervisor.spawn_service(slow("other", 5)).unwrap();
    settle().await;
    drop(other.stop());
    settle().await;
    assert_eq!(other.phase(), ServicePhase::Running, "never asked");
}

/// E47, E48: the name is taken until the old service has really ended, and refusing the new one does not touch the old.
#[tokio::test(start_paused = true)]
async fn a_name_is_taken_until_its_service_has_ended() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    let first = supervisor.spawn_service(slow("one", 5)).unwrap();
    let mut refused = Vec::new();
    let mut again = || match supervisor.spawn_service(slow("one", 5)) {
        Err(SpawnError::DuplicateName { name, phase }) => refused.push((name, phase)),
        other => panic!("{other:?}"),
    };
    again();
    settle().await;
    again();
    let stop = tokio::spawn({
        let first = first.clone();
        async move { first.stop().await }
    });
    tokio::time::sleep(secs(4)).await;
    again();
    assert_eq!(first.phase(), ServicePhase::Stopping);
    stop.await.unwrap();
    let name = "one".to_owned();
    assert_eq!(
        refused,
        [
            (name.clone(), ServicePhase::Starting),
            (name.clone(), ServicePhase::Running),
            (name, ServicePhase::Stopping),
        ]
    );
    let second = supervisor.spawn_service(slow("one", 5)).unwrap();
    settle().await;
    assert_eq!(second.phase(), ServicePhase::Running);
    assert_eq!(
        first.phase(),
        ServicePhase::Terminated,
        "a handle stays with its own"
    );
    assert_eq!(supervisor.service_count().await, 1);
    assert_eq!(supervisor.metrics().snapshot().spawned_total, 2);
}

/// E48: what the old service's value holds, such as a port, is free when its name is.
#[tokio::test(start_paused = true)]
async fn a_name_is_free_no_earlier_than_what_its_service_owned() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    let port = Arc::new(());
    for _ in 0..3 {
        assert_eq!(Arc::strong_count(&port), 1);
        let own = Arc::clone(&port);
        let service = supervisor
            .spawn_service(service_fn("listener", move |_cancel| {
                let _bound = &own;
                async { Ok(()) }
            }))
            .unwrap();
        assert_eq!(Arc::strong_count(&port), 2);
        service.terminated().await;
    }
}

/// E49, before the drain, in the middle of it, and after.
#[tokio::test(start_paused = true)]
async fn nothing_is_spawned_once_the_shutdown_has_begun() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    supervisor.spawn_service(slow("one", 5)).unwrap();
    let late = || {
        let refused = supervisor.spawn_service(Script::new("late", []));
        matches!(refused, Err(SpawnError::ShuttingDown { name }) if name == "late")
    };
    settle().await;
    supervisor.trigger_shutdown();
    assert!(late());
    tokio::time::sleep(secs(1)).await;
    assert!(late());
    supervisor.wait_for_drain().await;
    assert!(late());
    assert_eq!(recorder.events_of("late").len(), 0);
    assert_eq!(supervisor.metrics().snapshot().spawned_total, 1);
}

/// E50
#[tokio::test(start_paused = true)]
async fn only_what_has_terminated_can_be_removed_and_only_once() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    let unknown = RemoveError::Unknown { name: "one".into() };
    assert_eq!(supervisor.remove_service("one").unwrap_err(), unknown);

    let one = supervisor.spawn_service(slow("one", 5)).unwrap();
    settle().await;
    let refused = supervisor.remove_service("one").unwrap_err();
    assert_eq!(
        refused.to_string(),
        "cannot remove service \"one\": it is running; only a terminated service can be removed"
    );
    assert_eq!(one.phase(), ServicePhase::Running);

    one.stop().await;
    let last = supervisor.remove_service("one").unwrap();
    assert_eq!(last, one.snapshot());
    assert_eq!(last.termination_reason.as_deref(), Some("cancelled"));
    assert_eq!(supervisor.remove_service("one").unwrap_err(), unknown);
    assert!(supervisor.service("one").is_none());
    assert_eq!(supervisor.service_count().await, 0);
}

#[tokio::test(start_paused = true)]
async fn removing_what_has_terminated_leaves_the_others() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    for i in 0..6 {
        let script = if i % 2 == 0 {
            Script::new(format!("{i}"), [Turn::Complete])
        } else {
            slow(&format!("{i}"), 1)
        };
        supervisor.spawn_service(script).unwrap();
    }
    settle().await;
    assert_eq!(supervisor.remove_terminated(), 3);
    assert_eq!(supervisor.remove_terminated(), 0);
    let names = supervisor.snapshot().services.into_iter();
    let names: Vec<_> = names.map(|service| service.service_name).collect();
    assert_eq!(names, ["1", "3", "5"]);
    supervisor.trigger_shutdown();
    assert_eq!(supervisor.wait_for_drain().await.drained, 3);
    assert_eq!(supervisor.remove_terminated(), 3);
    assert_eq!(supervisor.snapshot().services, []);
}

/// What was removed in the middle of the drain is gone from the list, but it ended all the same.
#[tokio::test(start_paused = true)]
async fn removing_in_the_middle_of_the_drain_does_not_disturb_it() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    supervisor.spawn_service(slow("quick", 1)).unwrap();
    supervisor.spawn_service(slow("slow", 3)).unwrap();
    settle().await;
    supervisor.trigger_shutdown();
    tokio::time::sleep(secs(2)).await;
    supervisor.remove_service("quick").unwrap();
    supervisor.remove_service("slow").unwrap_err();
    let report = supervisor.wait_for_drain().await;
    assert!(report.is_clean());
    assert_eq!(report.took, secs(3));
    assert_eq!(supervisor.metrics().snapshot().terminated_total, 2);
}
