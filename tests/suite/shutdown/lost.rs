//! A runtime that goes away under the supervisor: its services have not ended cleanly, and nobody may believe so.

use janus_supervisor::{
    EventKind, JanusSupervisor, RunOutcome, ServicePhase, SpawnOptions, TerminationReason,
};
use janus_tests::{Recorder, Script, Turn, config, secs};
use std::sync::Arc;
use tokio::runtime::{Builder, Runtime};

#[expect(clippy::unwrap_used, reason = "part of a test")]
pub(crate) fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().build().unwrap()
}

/// Lets the services of `runtime` begin.
pub(crate) fn begin(runtime: &Runtime) {
    runtime.block_on(async {
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    });
}

/// F76: the services themselves, their events and the counters.
#[test]
fn services_of_a_runtime_that_was_dropped_are_aborted() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    let runtime = runtime();
    let inside = runtime.enter();
    let script = Script::new("running", []);
    let log = script.log();
    let mut handles = vec![supervisor.spawn_service(script).unwrap()];
    let failing = Script::new("backing off", [Turn::Fail("down")]);
    handles.push(supervisor.spawn_service(failing).unwrap());
    begin(&runtime);
    handles.push(supervisor.spawn_service(Script::new("unborn", [])).unwrap());
    drop(inside);
    drop(runtime);

    assert_eq!((log.in_progress(), log.dropped_early()), (0, 1));
    for handle in &handles {
        let name = handle.name();
        assert_eq!(handle.phase(), ServicePhase::Terminated, "{name}");
        assert_eq!(
            handle.termination_reason(),
            Some(TerminationReason::Aborted),
            "{name}"
        );
        let events = recorder.events_of(name);
        assert!(matches!(
            events.last().unwrap().kind,
            EventKind::Terminated { .. }
        ));
    }
    let dropped = |event: &janus_supervisor::ServiceEvent| {
        matches!(
            event.kind,
            EventKind::RunEnded {
                outcome: RunOutcome::Aborted,
                ..
            }
        )
    };
    assert_eq!(recorder.count(dropped), 1, "of three, one was running");
    let metrics = supervisor.metrics().snapshot();
    assert_eq!(
        (
            metrics.spawned_total,
            metrics.terminated_total,
            metrics.active_services
        ),
        (3, 3, 0)
    );
    // Whoever waits on another runtime is answered.
    let reason = self::runtime().block_on(handles[0].terminated());
    assert_eq!(reason, TerminationReason::Aborted);
}

/// F76
#[test]
fn a_runtime_that_was_dropped_during_the_drain_is_no_clean_drain() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    let runtime = runtime();
    let inside = runtime.enter();
    for script in [
        Script::new("polite", []),
        Script::new("slow", [Turn::Complete.after(secs(9)).when_cancelled()]),
    ] {
        supervisor.spawn_service(script).unwrap();
    }
    drop(inside);
    begin(&runtime);
    supervisor.trigger_shutdown();
    begin(&runtime);
    drop(runtime);
    let report = self::runtime().block_on(supervisor.wait_for_drain());
    assert_eq!(report.aborted, ["slow"]);
    assert_eq!((report.drained, report.exit_code()), (1, 1));
}

/// F76: a waiter on another runtime is there when it happens.
#[test]
fn a_waiter_on_another_runtime_is_told() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    let (mine, theirs) = (runtime(), runtime());
    let inside = theirs.enter();
    let service = supervisor.spawn_service(Script::new("lost", [])).unwrap();
    drop(inside);
    begin(&theirs);
    let wait = mine.spawn({
        let supervisor = supervisor.clone();
        async move {
            (
                service.terminated().await,
                supervisor.wait_for_drain().await,
            )
        }
    });
    begin(&mine);
    assert!(!wait.is_finished());
    supervisor.trigger_shutdown();
    drop(theirs);
    let (reason, report) = mine.block_on(wait).unwrap();
    assert_eq!(reason, TerminationReason::Aborted);
    assert_eq!(report.aborted, ["lost"]);
    assert!(report.took < secs(30));
}

/// F76: nobody had asked for a shutdown.
#[test]
fn a_runtime_that_was_dropped_before_the_shutdown_is_no_clean_drain() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    let runtime = runtime();
    let inside = runtime.enter();
    supervisor.spawn_service(Script::new("lost", [])).unwrap();
    drop(inside);
    begin(&runtime);
    drop(runtime);
    let report = self::runtime().block_on(supervisor.wait_for_drain());
    assert_eq!(report.aborted, ["lost"]);
    supervisor.trigger_shutdown();
    let report = self::runtime().block_on(supervisor.run_until_shutdown());
    assert_eq!(report.unwrap().exit_code(), 1);
}

/// F76: those who listen for all go with their runtime; there are others where there are other services.
#[test]
fn whoever_is_left_hears_the_token_when_the_first_runtime_has_gone() {
    for from_elsewhere in [false, true] {
        let recorder = Arc::new(Recorder::default());
        let supervisor = JanusSupervisor::new(config(&recorder));
        let (first, second) = (runtime(), runtime());
        let inside = first.enter();
        supervisor.spawn_service(Script::new("lost", [])).unwrap();
        let script = Script::new("left", []);
        let left = if from_elsewhere {
            let options = SpawnOptions::default().on(second.handle().clone());
            supervisor.spawn_service_with_options(script, options)
        } else {
            let _inside = second.enter();
            supervisor.spawn_service(script)
        };
        let left = left.unwrap();
        drop(inside);
        begin(&first);
        begin(&second);
        drop(first);
        supervisor.cancel_token().cancel();
        let reason =
            second.block_on(async { tokio::time::timeout(secs(60), left.terminated()).await });
        assert_eq!(reason.unwrap(), TerminationReason::Cancelled);
    }
}
