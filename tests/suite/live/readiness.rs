//! When a service is ready, and when all are.

use super::{slow_starter, supervisor};
use janus_supervisor::{
    FailureKind, Group, JanusSupervisor, Readiness, RestartPolicy, ServicePhase, SpawnOptions,
    SupervisorConfig, TerminationReason, notify, service_fn,
};
use janus_tests::{Script, Turn, backoff, ms, secs, settle, within_an_hour};
use tokio::runtime::Builder;
use tokio::task::JoinHandle;
use tokio::time::Instant;

fn says_so() -> SpawnOptions {
    SpawnOptions::default().with_readiness(Readiness::Notify)
}

/// Waits until all are ready, in a task of its own.
fn waits(supervisor: &JanusSupervisor) -> JoinHandle<bool> {
    let supervisor = supervisor.clone();
    tokio::spawn(async move { supervisor.wait_ready().await })
}

/// H88: nothing to say is not the same as not ready.
#[tokio::test(start_paused = true)]
async fn without_explicit_readiness_running_means_ready() {
    let (supervisor, ..) = supervisor();
    let it = supervisor.spawn_service(Script::new("it", [])).unwrap();
    assert!(within_an_hour(it.wait_ready()).await);
    assert_eq!(it.phase(), ServicePhase::Running);
    assert!(supervisor.is_ready());
}

/// H88: who has to say it, and does not, is starting for as long as that takes.
#[tokio::test(start_paused = true)]
async fn a_run_that_never_says_so_is_starting_for_ever() {
    let (supervisor, ..) = supervisor();
    let it = Script::new("it", []);
    let it = supervisor
        .spawn_service_with_options(it, says_so())
        .unwrap();
    tokio::time::sleep(secs(86_400)).await;
    let snapshot = it.snapshot();
    assert_eq!(snapshot.phase, ServicePhase::Starting);
    assert_eq!(
        (snapshot.start_count, snapshot.cumulative_running_secs),
        (1, 0.0)
    );
    assert_eq!(
        within_an_hour(it.stop()).await,
        TerminationReason::Cancelled
    );
    assert!(!within_an_hour(it.wait_ready()).await, "and never will be");
}

/// H88: what one run has said does not count for the next.
#[tokio::test(start_paused = true)]
async fn each_run_says_anew_that_it_is_ready() {
    let (supervisor, recorder, t0) = supervisor();
    let it = service_fn("it", |_cancel| async {
        tokio::time::sleep(secs(1)).await;
        notify::ready();
        tokio::time::sleep(secs(1)).await;
        Err("x".into())
    });
    let it = supervisor
        .spawn_service_with_options(it, says_so())
        .unwrap();
    tokio::time::sleep(ms(2600)).await;
    assert_eq!(it.phase(), ServicePhase::Starting);
    assert!(within_an_hour(it.wait_ready()).await);
    assert_eq!(
        recorder.trace_of("it", t0),
        [
            "0 run 1 registered",
            "1000 run 1 running",
            "2000 run 1 failed (error): x",
            "2000 run 1 backing off #1 for 100ms",
            "2100 run 2 restarting",
            "3100 run 2 running",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn saying_it_again_changes_nothing() {
    let (supervisor, recorder, _) = supervisor();
    let it = service_fn("it", |cancel| async move {
        for _ in 0..3 {
            notify::ready();
            tokio::time::sleep(ms(10)).await;
        }
        cancel.cancelled().await;
        notify::ready();
        Ok(())
    });
    let options = says_so().with_start_timeout(ms(5));
    let it = supervisor.spawn_service_with_options(it, options).unwrap();
    tokio::time::sleep(secs(1)).await;
    within_an_hour(it.stop()).await;
    let phases = recorder.phases_of("it");
    assert_eq!(
        phases,
        [
            ServicePhase::Starting,
            ServicePhase::Running,
            ServicePhase::Stopping,
            ServicePhase::Terminated,
        ]
    );
}

/// It may be said from where the work is.
#[tokio::test(start_paused = true)]
async fn a_task_that_the_run_spawns_can_say_it() {
    let (supervisor, _, t0) = supervisor();
    let it = service_fn("it", |cancel| async move {
        let notifier = notify::current();
        tokio::spawn(async move {
            tokio::time::sleep(secs(2)).await;
            notifier.ready();
        });
        cancel.cancelled().await;
        Ok(())
    });
    let it = supervisor
        .spawn_service_with_options(it, says_so())
        .unwrap();
    assert!(within_an_hour(it.wait_ready()).await);
    assert_eq!(Instant::now().into_std() - t0, secs(2));
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_ready_in_the_very_moment_of_its_timeout_is_in_time() {
    let (supervisor, ..) = supervisor();
    let options = says_so().with_start_timeout(secs(1));
    let it = slow_starter("it");
    let it = supervisor.spawn_service_with_options(it, options).unwrap();
    tokio::time::sleep(secs(10)).await;
    let snapshot = it.snapshot();
    assert_eq!(
        (snapshot.phase, snapshot.start_count),
        (ServicePhase::Running, 1)
    );
}

/// It is dropped, backs off, and uses up its breaker as any failure does.
#[tokio::test(start_paused = true)]
async fn runs_that_are_late_again_and_again_open_the_breaker() {
    let (supervisor, ..) = supervisor();
    let options = SpawnOptions::with_backoff(backoff().with_circuit_breaker(3, secs(60)))
        .with_readiness(Readiness::Notify)
        .with_start_timeout(secs(1));
    let script = Script::new("it", [Turn::Hang]);
    let log = script.log();
    let it = supervisor
        .spawn_service_with_options(script, options)
        .unwrap();
    assert_eq!(
        within_an_hour(it.terminated()).await.to_string(),
        "circuit breaker open (3/3 failures)"
    );
    assert_eq!((log.starts(), log.dropped_early()), (3, 3));
    let snapshot = it.snapshot();
    assert_eq!(snapshot.last_failure_kind, Some(FailureKind::StartTimeout));
    assert_eq!(snapshot.cumulative_running_secs, 0.0);
}

/// Whether it had anything to say or not, its work is done.
#[tokio::test(start_paused = true)]
async fn a_run_that_ends_before_it_is_ready_ends_as_any_other() {
    let (supervisor, recorder, t0) = supervisor();
    for (name, turn) in [("done", Turn::Complete), ("fails", Turn::Fail("x"))] {
        let it = Script::new(name, [turn]).policy(RestartPolicy::Never);
        let it = supervisor
            .spawn_service_with_options(it, says_so())
            .unwrap();
        within_an_hour(it.terminated()).await;
        assert!(!within_an_hour(it.wait_ready()).await);
    }
    assert_eq!(
        recorder.trace_of("done", t0),
        [
            "0 run 1 registered",
            "0 run 1 completed",
            "0 run 1 terminated: completed",
        ]
    );
    assert_eq!(
        recorder.trace_of("fails", t0)[1..],
        [
            "0 run 1 failed (error): x",
            "0 run 1 terminated: unrecoverable: x",
        ]
    );
}

/// H88: the whole is as ready as each.
#[tokio::test(start_paused = true)]
async fn the_whole_is_ready_through_start_failure_recovery_and_shutdown_as_its_services_are() {
    let (supervisor, ..) = supervisor();
    assert!(supervisor.is_ready(), "nothing is amiss");
    let slow = slow_starter("slow");
    let slow = supervisor
        .spawn_service_with_options(slow, says_so())
        .unwrap();
    assert!(!supervisor.is_ready(), "starting");
    within_an_hour(slow.wait_ready()).await;
    assert!(supervisor.is_ready());

    let turns = [Turn::Fail("x").after(secs(1)), Turn::until_cancelled()];
    let fails = supervisor
        .spawn_service(Script::new("fails", turns))
        .unwrap();
    within_an_hour(fails.wait_for(ServicePhase::BackingOff)).await;
    assert!(!supervisor.is_ready(), "backing off");
    within_an_hour(fails.wait_ready()).await;
    assert!(supervisor.is_ready(), "up again");

    let job = Script::new("job", [Turn::Complete.after(secs(1))]);
    let job = supervisor.spawn_service(job).unwrap();
    within_an_hour(job.terminated()).await;
    assert!(supervisor.is_ready(), "its work is done");
    within_an_hour(fails.stop()).await;
    assert!(supervisor.is_ready(), "somebody wanted that");

    supervisor.trigger_shutdown();
    assert!(!supervisor.is_ready(), "shutting down");
    within_an_hour(supervisor.wait_for_drain()).await;
    assert!(!supervisor.is_ready());
}

/// H88: nobody wanted it to end.
#[test]
fn a_service_whose_runtime_has_gone_away_is_not_well_until_it_is_forgotten() {
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    let supervisor = JanusSupervisor::new(SupervisorConfig::default().without_signal_handler());
    let services = runtime.block_on(async {
        let names = ["stopped", "lost"].map(|name| Script::new(name, []));
        let services = names.map(|script| supervisor.spawn_service(script).unwrap());
        tokio::task::yield_now().await;
        services
    });
    let [stopped, lost] = &services;
    assert!(supervisor.is_ready());
    stopped.request_stop();
    drop(runtime);
    for service in &services {
        let reason = service.termination_reason();
        assert_eq!(reason, Some(TerminationReason::Aborted));
    }
    assert!(!supervisor.is_ready());
    lost.request_stop();
    assert!(!supervisor.is_ready(), "too late");
    supervisor.remove_service(lost.name()).unwrap();
    assert!(supervisor.is_ready(), "the other was asked to stop");
}

/// H88
#[tokio::test(start_paused = true)]
async fn who_waits_for_the_whole_is_answered_when_the_last_one_is_ready() {
    let (supervisor, _, t0) = supervisor();
    for (name, options) in [("slow", says_so()), ("immediate", SpawnOptions::default())] {
        supervisor
            .spawn_service_with_options(slow_starter(name), options)
            .unwrap();
    }
    let waiters = [(); 3].map(|()| waits(&supervisor));
    for waiter in waiters {
        assert!(within_an_hour(waiter).await.unwrap());
    }
    assert_eq!(Instant::now().into_std() - t0, secs(1));
}

/// H88
#[tokio::test(start_paused = true)]
async fn who_waits_during_a_failure_is_answered_at_the_recovery() {
    let (supervisor, _, t0) = supervisor();
    let turns = [Turn::Fail("x"), Turn::Fail("y"), Turn::until_cancelled()];
    supervisor.spawn_service(Script::new("it", turns)).unwrap();
    settle().await;
    assert!(within_an_hour(waits(&supervisor)).await.unwrap());
    assert_eq!(Instant::now().into_std() - t0, ms(300));
}

/// H88: also if it begins with the token, and not with the method.
#[tokio::test(start_paused = true)]
async fn who_waits_when_the_shutdown_begins_is_told_that_it_will_not_be() {
    for by_token in [false, true] {
        let (supervisor, ..) = supervisor();
        let never = Script::new("never", []);
        supervisor
            .spawn_service_with_options(never, says_so())
            .unwrap();
        let waiter = waits(&supervisor);
        settle().await;
        assert!(!waiter.is_finished());
        if by_token {
            supervisor.cancel_token().cancel();
        } else {
            supervisor.trigger_shutdown();
        }
        assert!(!within_an_hour(waiter).await.unwrap());
        assert!(!within_an_hour(supervisor.wait_ready()).await);
    }
}

/// H88: what failed for good is amiss for as long as it is known.
#[tokio::test(start_paused = true)]
async fn what_failed_for_good_is_amiss_until_it_is_forgotten() {
    let (supervisor, ..) = supervisor();
    let turn = || Turn::FailForGood("no key").after(secs(1));
    let kept = Script::new("kept", [turn()]);
    let kept = supervisor.spawn_service(kept).unwrap();
    within_an_hour(kept.terminated()).await;
    assert!(!supervisor.is_ready());
    within_an_hour(kept.remove()).await;
    assert!(supervisor.is_ready());

    let ephemeral = Script::new("ephemeral", [turn().after(secs(1))]);
    let options = says_so().ephemeral();
    supervisor
        .spawn_service_with_options(ephemeral, options)
        .unwrap();
    let waiter = waits(&supervisor);
    settle().await;
    assert!(!waiter.is_finished());
    assert!(within_an_hour(waiter).await.unwrap());
}

/// H88: of a group all have to be ready, whoever is in it.
#[tokio::test(start_paused = true)]
async fn a_group_is_ready_when_all_in_it_are() {
    let (supervisor, _, t0) = supervisor();
    let group = Group::new("g")
        .service_with_options(slow_starter("a"), says_so())
        .service(Script::new("b", []))
        .service_with_options(slow_starter("c"), says_so());
    let group = supervisor.spawn_group(group).unwrap();
    assert!(!supervisor.is_ready());
    assert!(within_an_hour(group.as_service().wait_ready()).await);
    assert_eq!(Instant::now().into_std() - t0, secs(2), "one after another");
    assert!(supervisor.is_ready());
}

/// Once it has terminated there is nothing to wait for.
#[tokio::test(start_paused = true)]
async fn who_waits_for_a_phase_is_answered_when_it_comes_or_never_can() {
    let (supervisor, _, t0) = supervisor();
    let turns = [
        Turn::Fail("x").after(secs(1)),
        Turn::Complete.after(secs(1)).when_cancelled(),
    ];
    let it = supervisor.spawn_service(Script::new("it", turns)).unwrap();
    let at = || (Instant::now().into_std() - t0).as_millis();
    assert!(within_an_hour(it.wait_for(ServicePhase::BackingOff)).await);
    assert_eq!(at(), 1000);
    assert!(within_an_hour(it.wait_for(ServicePhase::Running)).await);
    assert_eq!(at(), 1100);
    it.request_stop();
    assert!(within_an_hour(it.wait_for(ServicePhase::Stopping)).await);
    assert_eq!(at(), 1100);
    assert!(!within_an_hour(it.wait_for(ServicePhase::Running)).await);
    assert_eq!(at(), 2100);
    assert!(within_an_hour(it.wait_for(ServicePhase::Terminated)).await);
    assert!(!within_an_hour(it.wait_for(ServicePhase::Stopping)).await);
}

/// What it has said so far counts: it was up when it failed.
#[tokio::test(start_paused = true)]
async fn a_run_that_says_it_with_its_last_breath_was_ready() {
    let (supervisor, recorder, t0) = supervisor();
    let it = service_fn("it", |_cancel| async {
        tokio::time::sleep(ms(10)).await;
        notify::ready();
        Err("x".into())
    })
    .with_restart_policy(RestartPolicy::Never);
    let it = supervisor
        .spawn_service_with_options(it, says_so())
        .unwrap();
    within_an_hour(it.terminated()).await;
    assert_eq!(
        recorder.trace_of("it", t0)[1..3],
        ["10 run 1 running", "10 run 1 failed (error): x"]
    );
}
