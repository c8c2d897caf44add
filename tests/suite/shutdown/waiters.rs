//! Who waits for the shutdown: any number of times, before and after, and without holding it up by going away.

use janus_supervisor::{
    DrainReport, JanusSupervisor, ServicePhase, ShutdownCause, TerminationReason, service_fn,
};
use janus_tests::{Recorder, Script, Turn, config, ms, secs, settle, within_a_minute};
use std::sync::{Arc, Mutex, mpsc};

/// A supervisor of one polite service, one slow, one stubborn, and 10 s.
fn fleet(recorder: &Arc<Recorder>) -> JanusSupervisor {
    let config = config(recorder).with_shutdown_timeout(secs(10));
    let supervisor = JanusSupervisor::new(config);
    for script in [
        Script::new("polite", []),
        Script::new("slow", [Turn::Complete.after(secs(5)).when_cancelled()]),
        Script::new("stubborn", [Turn::Hang]),
    ] {
        let spawned = supervisor.spawn_service(script);
        assert!(spawned.is_ok());
    }
    supervisor
}

fn assert_is_the_report_of_the_fleet(report: &DrainReport) {
    assert_eq!((report.drained, report.took), (2, secs(10)));
    assert_eq!(report.aborted, ["stubborn"]);
}

/// F69: before anything.
#[tokio::test(start_paused = true)]
async fn a_shutdown_of_nothing_is_clean_and_immediate() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    assert_eq!(supervisor.wait_for_drain().await, DrainReport::default());
    supervisor.trigger_shutdown();
    let report = supervisor.run_until_shutdown().await.unwrap();
    assert_eq!(report.cause, ShutdownCause::Requested);
    assert_eq!(report.drain, DrainReport::default());
    assert_eq!(report.exit_code(), 0);
}

/// F69
#[tokio::test(start_paused = true)]
async fn a_second_shutdown_changes_nothing() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = fleet(&recorder);
    settle().await;
    supervisor.trigger_shutdown();
    supervisor.trigger_shutdown();
    tokio::time::sleep(secs(7)).await;
    supervisor.trigger_shutdown();
    let first = supervisor.wait_for_drain().await;
    assert_is_the_report_of_the_fleet(&first);
    let events = recorder.events().len();

    tokio::time::sleep(secs(100)).await;
    supervisor.trigger_shutdown();
    assert_eq!(supervisor.wait_for_drain().await, first);
    let report = supervisor.run_until_shutdown().await.unwrap();
    assert_eq!(
        (report.cause, report.drain),
        (ShutdownCause::Requested, first)
    );
    assert_eq!(recorder.events().len(), events);
}

/// F69: before the shutdown, during, and after it; through both doors and through clones.
#[tokio::test(start_paused = true)]
async fn all_who_wait_get_the_same_report() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = fleet(&recorder);
    let wait = |after| {
        let supervisor = supervisor.clone();
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            supervisor.wait_for_drain().await
        })
    };
    let run = |after| {
        let supervisor = supervisor.clone();
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            supervisor.run_until_shutdown().await
        })
    };
    let waits: Vec<_> = [0, 0, 1, 2, 5, 9, 10, 11, 12, 99]
        .map(|s| wait(secs(s)))
        .into();
    let runs: Vec<_> = [0, 0, 1, 2, 10, 11, 99].map(|s| run(secs(s))).into();
    tokio::time::sleep(secs(1)).await;
    supervisor.trigger_shutdown();
    for wait in waits {
        assert_is_the_report_of_the_fleet(&wait.await.unwrap());
    }
    for run in runs {
        let report = run.await.unwrap().unwrap();
        assert_eq!(report.cause, ShutdownCause::Requested);
        assert_is_the_report_of_the_fleet(&report.drain);
    }
}

/// F70
#[tokio::test(start_paused = true)]
async fn a_waiter_that_goes_away_does_not_cancel_the_shutdown() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = fleet(&recorder);
    settle().await;
    supervisor.trigger_shutdown();
    let wait = tokio::time::timeout(secs(1), supervisor.wait_for_drain());
    wait.await.unwrap_err();
    let run = tokio::time::timeout(secs(1), supervisor.run_until_shutdown());
    run.await.unwrap_err();
    assert_eq!(
        supervisor.service("slow").unwrap().phase(),
        ServicePhase::Stopping
    );
    tokio::time::sleep(secs(4)).await;
    assert_eq!(
        supervisor.service("slow").unwrap().termination_reason(),
        Some(TerminationReason::Cancelled)
    );
    assert_is_the_report_of_the_fleet(&supervisor.wait_for_drain().await);
}

/// F70: also when the one who went away is the one who was there first.
#[tokio::test(start_paused = true)]
async fn a_waiter_that_goes_away_does_not_disturb_another() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = fleet(&recorder);
    let other = tokio::spawn({
        let supervisor = supervisor.clone();
        async move { supervisor.run_until_shutdown().await }
    });
    settle().await;
    supervisor.trigger_shutdown();
    let wait = tokio::time::timeout(secs(9), supervisor.wait_for_drain());
    wait.await.unwrap_err();
    let report = other.await.unwrap().unwrap();
    assert_is_the_report_of_the_fleet(&report.drain);
}

/// A wait for the drain begins nothing: it ends when all have ended by themselves, and may be begun again.
#[tokio::test(start_paused = true)]
async fn waiting_before_a_shutdown_ends_when_all_have_ended_by_themselves() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    for (name, lives) in [("short", 1), ("long", 70)] {
        let script = Script::new(name, [Turn::Complete.after(secs(lives))]);
        supervisor.spawn_service(script).unwrap();
    }
    let flaky = Script::new("flaky", [Turn::Fail("once"), Turn::Complete]);
    supervisor.spawn_service(flaky).unwrap();
    let t0 = tokio::time::Instant::now();
    assert_eq!(supervisor.wait_for_drain().await, DrainReport::default());
    assert_eq!(t0.elapsed(), secs(70), "longer than the shutdown timeout");
    assert!(!supervisor.is_shutting_down());

    let script = Script::new("another", [Turn::Complete.after(secs(1))]);
    supervisor.spawn_service(script).unwrap();
    assert_eq!(supervisor.wait_for_drain().await, DrainReport::default());
    assert_eq!(t0.elapsed(), secs(71));
}

/// A service that is restarted is not an end: whoever waits goes on waiting, until a shutdown.
#[tokio::test(start_paused = true)]
async fn waiting_goes_on_over_restarts_and_into_the_shutdown() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    let flaky = [Turn::Fail("a"), Turn::Fail("b"), Turn::until_cancelled()];
    supervisor
        .spawn_service(Script::new("flaky", flaky))
        .unwrap();
    let wait = tokio::spawn({
        let supervisor = supervisor.clone();
        async move { supervisor.wait_for_drain().await }
    });
    tokio::time::sleep(secs(10)).await;
    assert!(!wait.is_finished());
    supervisor.trigger_shutdown();
    let report = wait.await.unwrap();
    assert_eq!((report.drained, report.took), (1, ms(0)));
}

/// All clones, all doors: the token is the supervisor's, and cancelling it is a shutdown like any other.
#[tokio::test(start_paused = true)]
async fn cancelling_the_token_is_a_shutdown() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = fleet(&recorder);
    let child = supervisor.cancel_token().child_token();
    let run = tokio::spawn({
        let supervisor = supervisor.clone();
        async move { supervisor.run_until_shutdown().await }
    });
    settle().await;
    assert!(!run.is_finished());
    supervisor.cancel_token().cancel();
    assert!(supervisor.is_shutting_down());
    assert!(child.is_cancelled());
    let report = run.await.unwrap().unwrap();
    assert_eq!(report.cause, ShutdownCause::Requested);
    assert_is_the_report_of_the_fleet(&report.drain);
}

/// The other way round, a child of the token that is cancelled is nobody's shutdown.
#[tokio::test(start_paused = true)]
async fn cancelling_a_child_of_the_token_is_no_shutdown() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = fleet(&recorder);
    settle().await;
    supervisor.cancel_token().child_token().cancel();
    settle().await;
    assert!(!supervisor.is_shutting_down());
    assert_eq!(supervisor.metrics().snapshot().active_services, 3);
}

/// F45: a supervisor without services waits for its shutdown all the same.
#[tokio::test(start_paused = true)]
async fn an_empty_supervisor_runs_until_its_shutdown() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    let run = tokio::spawn({
        let supervisor = supervisor.clone();
        async move { supervisor.run_until_shutdown().await }
    });
    tokio::time::sleep(secs(1000)).await;
    assert!(!run.is_finished());
    supervisor.trigger_shutdown();
    assert_eq!(run.await.unwrap().unwrap().drain, DrainReport::default());
}

/// It has no timer of its own, and the bounds hold all the same, also where nobody else is left who has one: the only
/// thread is blocked.
#[test]
fn a_thread_without_a_runtime_can_wait() {
    within_a_minute(|| {
        for is_blocked in [false, true] {
            let recorder = Arc::new(Recorder::default());
            let runtime = tokio::runtime::Builder::new_multi_thread();
            let runtime = { runtime }.worker_threads(1).enable_all().build().unwrap();
            let settings = config(&recorder).with_shutdown_timeout(ms(10));
            let supervisor = JanusSupervisor::new(settings.with_abort_timeout(ms(10)));
            let inside = runtime.enter();
            for script in [
                Script::new("polite", []),
                Script::new("stubborn", [Turn::Hang]),
            ] {
                supervisor.spawn_service(script).unwrap();
            }
            let (begun, begins) = mpsc::channel();
            let (let_go, go) = mpsc::channel();
            let blocks = Mutex::new(Some((begun, go)));
            if is_blocked {
                let blocks = service_fn("blocks", move |_cancel| {
                    let held = blocks.lock().map_or(None, |mut held| held.take());
                    async move {
                        if let Some((begun, go)) = held {
                            begun.send(())?;
                            go.recv()?;
                        }
                        Ok(())
                    }
                });
                supervisor.spawn_service(blocks).unwrap();
                begins.recv().unwrap();
            }
            drop(inside);
            futures_executor::block_on(async {
                let stubborn = supervisor.service("stubborn").unwrap();
                assert!(is_blocked || stubborn.wait_ready().await);
                supervisor.trigger_shutdown();
                let drain = supervisor.wait_for_drain().await;
                if is_blocked {
                    assert!(drain.stuck.contains(&"blocks".to_owned()), "{drain}");
                } else {
                    assert_eq!(drain.aborted, ["stubborn"]);
                }
                assert_eq!(supervisor.wait_for_drain().await, drain);
            });
            drop(let_go);
        }
    });
}
