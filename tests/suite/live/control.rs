//! Stop, restart and remove: twice, by many, and at every moment of a service's life.

use super::{slow_starter, supervisor};
use janus_supervisor::{
    BackoffConfig, EventKind, Group, JanusSupervisor, Readiness, RestartError, RestartPolicy,
    ServiceHandle, ServicePhase, SpawnOptions, Strategy, TerminationReason, notify, service_fn,
};
use janus_tests::{Recorder, Script, Story, Turn, backoff, ms, secs, settle, within_an_hour};
use tokio::time::Instant;

/// A run that is over before anybody could look has run all the same.
#[tokio::test(start_paused = true)]
async fn a_restart_is_answered_when_the_run_ends_in_its_first_poll() {
    for readiness in [Readiness::Immediate, Readiness::Notify] {
        let (supervisor, ..) = supervisor();
        let options = SpawnOptions::default()
            .with_readiness(readiness)
            .with_restart_policy(RestartPolicy::Always);
        let job = service_fn("job", |_cancel| async { Ok(()) });
        let job = supervisor.spawn_service_with_options(job, options).unwrap();
        settle().await;
        assert_eq!(job.phase(), ServicePhase::BackingOff);
        within_an_hour(job.restart()).await.unwrap();
        assert_eq!(job.snapshot().start_count, 2);
    }
}

/// It comes up with its siblings, whatever else befalls it on the way.
#[tokio::test(start_paused = true)]
async fn a_restart_whose_run_is_halted_by_a_sibling_is_answered_when_all_are_back() {
    let (supervisor, ..) = supervisor();
    let options = SpawnOptions::default().with_readiness(Readiness::Notify);
    let sibling = Script::new("sibling", [Turn::Fail("x").after(secs(5))]);
    let slow = service_fn("slow", |cancel| async move {
        let starting = tokio::time::sleep(secs(1));
        if cancel.run_until_cancelled(starting).await.is_some() {
            notify::ready();
            cancel.cancelled().await;
        }
        Ok(())
    });
    let group = Group::new("g")
        .strategy(Strategy::OneForAll)
        .service(sibling)
        .service_with_options(slow, options);
    supervisor.spawn_group(group).unwrap();
    let slow = supervisor.service("g/slow").unwrap();
    within_an_hour(slow.wait_ready()).await;
    tokio::time::sleep(ms(3_500)).await;
    let began = Instant::now();
    // Half a second later its sibling fails, and a tenth of one after that all begin again.
    within_an_hour(slow.restart()).await.unwrap();
    let (phase, starts) = (slow.phase(), slow.snapshot().start_count);
    assert_eq!((phase, starts), (ServicePhase::Running, 3));
    assert_eq!(began.elapsed(), ms(1_600));
}

/// Where a request finds the service.
#[derive(Debug, Clone, Copy)]
enum Moment {
    /// Its task has not begun.
    Unborn,
    /// Not ready yet.
    Starting,
    Running,
    /// Waits 100 ms after a failure.
    Backoff,
    /// Waits 100 ms after a clean end.
    Pause,
    /// Waits ten seconds before the one run that an open breaker allows.
    HalfOpen,
}

use Moment::{Backoff, HalfOpen, Pause, Running, Starting, Unborn};

/// A service at this moment. Its second run goes on until it is told otherwise, and its grace is three seconds.
async fn service_at(supervisor: &JanusSupervisor, moment: Moment) -> ServiceHandle {
    let options = SpawnOptions::default().with_shutdown_grace(secs(3));
    let then = Turn::until_cancelled;
    let name = format!("{moment:?}");
    let spawned = match moment {
        Unborn | Running => {
            supervisor.spawn_service_with_options(Script::new(name, [then()]), options)
        }
        Starting => {
            let options = options.with_readiness(Readiness::Notify);
            supervisor.spawn_service_with_options(slow_starter("Starting"), options)
        }
        Backoff => {
            let script = Script::new(name, [Turn::Fail("x"), then()]);
            supervisor.spawn_service_with_options(script, options)
        }
        Pause => {
            let script = Script::new(name, [Turn::Complete, then()]).policy(RestartPolicy::Always);
            supervisor.spawn_service_with_options(script, options)
        }
        HalfOpen => {
            let backoff = backoff().with_circuit_breaker(1, secs(60));
            let options = SpawnOptions::with_backoff(backoff.with_half_open_after(secs(10)));
            let script = Script::new(name, [Turn::Fail("x"), then()]);
            supervisor.spawn_service_with_options(script, options)
        }
    };
    let it = spawned.unwrap();
    if !matches!(moment, Unborn) {
        settle().await;
    }
    let expected = match moment {
        Unborn | Starting => ServicePhase::Starting,
        Running => ServicePhase::Running,
        Backoff | Pause | HalfOpen => ServicePhase::BackingOff,
    };
    assert_eq!(it.phase(), expected, "{moment:?}");
    it
}

/// Takes five seconds to stop.
fn slow(name: &str) -> Script {
    Script::new(name, [Turn::Complete.after(secs(5)).when_cancelled()])
}

fn removals(recorder: &Recorder) -> usize {
    recorder.count(|event| matches!(event.kind, EventKind::Removed))
}

/// E50, E51: nothing that a service waits for holds up its stop, and a second stop changes nothing.
#[tokio::test(start_paused = true)]
async fn a_stop_ends_any_wait_at_once_and_a_second_one_answers_the_same() {
    let (supervisor, recorder, _) = supervisor();
    for moment in [Unborn, Running, Backoff, Pause, HalfOpen] {
        let it = service_at(&supervisor, moment).await;
        let t0 = Instant::now();
        assert_eq!(
            within_an_hour(it.stop()).await,
            TerminationReason::Cancelled
        );
        assert_eq!(t0.elapsed(), secs(0), "{moment:?}");
        let told = recorder.events().len();
        assert_eq!(it.stop().await, TerminationReason::Cancelled, "{moment:?}");
        assert_eq!(recorder.events().len(), told, "{moment:?}");
    }
}

/// E50: and a second removal changes nothing.
#[tokio::test(start_paused = true)]
async fn a_removal_ends_any_wait_at_once_and_is_told_once() {
    let (supervisor, recorder, _) = supervisor();
    for (n, moment) in [Unborn, Running, Backoff, Pause, HalfOpen]
        .into_iter()
        .enumerate()
    {
        let it = service_at(&supervisor, moment).await;
        let t0 = Instant::now();
        let last = within_an_hour(it.remove()).await;
        assert_eq!(t0.elapsed(), secs(0), "{moment:?}");
        assert_eq!(last, within_an_hour(it.remove()).await, "{moment:?}");
        assert_eq!(last.termination_reason.as_deref(), Some("cancelled"));
        assert!(supervisor.service(it.name()).is_none(), "{moment:?}");
        assert_eq!(removals(&recorder), n + 1, "{moment:?}");
    }
}

/// B20, B21, E52: and a second restart begins a run of its own.
#[tokio::test(start_paused = true)]
async fn a_restart_ends_any_wait_at_once_and_a_second_one_is_another() {
    let (supervisor, ..) = supervisor();
    for moment in [Running, Backoff, Pause, HalfOpen] {
        let it = service_at(&supervisor, moment).await;
        for run in [2, 3] {
            let t0 = Instant::now();
            within_an_hour(it.restart()).await.unwrap();
            assert_eq!(t0.elapsed(), secs(0), "{moment:?}");
            let snapshot = it.snapshot();
            assert_eq!(snapshot.phase, ServicePhase::Running, "{moment:?}");
            assert_eq!((snapshot.start_count, snapshot.attempt), (run, 0));
        }
        tokio::time::sleep(secs(60)).await;
        assert_eq!(it.snapshot().start_count, 3, "{moment:?}: no timer is left");
    }
}

/// The new run has to become ready, too, before the restart is answered.
#[tokio::test(start_paused = true)]
async fn a_restart_of_what_is_not_ready_yet_is_answered_when_the_next_run_is() {
    let (supervisor, ..) = supervisor();
    let it = service_at(&supervisor, Starting).await;
    let t0 = Instant::now();
    within_an_hour(it.restart()).await.unwrap();
    // A second to see its token, which it does not look at before, and a second to be ready.
    assert_eq!(t0.elapsed().as_millis(), 999 + 1000);
    assert_eq!(it.snapshot().start_count, 2);
}

/// E50: each is answered, and there is one stop and one removal.
#[tokio::test(start_paused = true)]
async fn of_many_who_remove_at_once_each_is_answered_and_one_removal_is_told() {
    let (supervisor, recorder, _) = supervisor();
    let it = supervisor.spawn_service(slow("it")).unwrap();
    settle().await;
    let callers = (0..20).map(|i| {
        let it = it.clone();
        tokio::spawn(async move {
            tokio::time::sleep(secs(i % 3)).await;
            it.remove().await
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        let last = within_an_hour(caller).await.unwrap();
        assert_eq!(last.termination_reason.as_deref(), Some("cancelled"));
    }
    assert_eq!(removals(&recorder), 1);
    let stops = recorder.count(|event| matches!(event.kind, EventKind::Stopping));
    assert_eq!(stops, 1);
    assert_eq!(supervisor.metrics().snapshot().terminated_total, 1);
}

/// E50, on several threads: whoever comes first takes it out, and says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_threads_that_remove_exactly_one_tells_of_it() {
    let (supervisor, recorder, _) = supervisor();
    for round in 1..=50 {
        let it = supervisor.spawn_service(Script::new("it", [])).unwrap();
        let callers = (0..4).map(|_| {
            let it = it.clone();
            tokio::spawn(async move { it.remove().await })
        });
        for caller in callers.collect::<Vec<_>>() {
            // A limit for the test, not a measure.
            let answer = tokio::time::timeout(secs(60), caller).await;
            answer.unwrap().unwrap();
        }
        assert_eq!(removals(&recorder), round);
    }
    let stories = Story::of_each(&recorder.events()).unwrap();
    assert!(stories.values().all(|story| story.removed));
}

/// E52, E53: those who ask before the next run has begun have asked for the same one.
#[tokio::test(start_paused = true)]
async fn many_who_restart_at_once_begin_one_run() {
    let (supervisor, ..) = supervisor();
    let script = slow("it");
    let log = script.log();
    let it = supervisor.spawn_service(script).unwrap();
    settle().await;
    let callers = (0..20).map(|i| {
        let it = it.clone();
        tokio::spawn(async move {
            tokio::time::sleep(secs(i % 3)).await;
            it.restart().await
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        within_an_hour(caller).await.unwrap().unwrap();
    }
    assert_eq!((log.starts(), log.overlaps()), (2, 0));
    assert_eq!(it.phase(), ServicePhase::Running);
}

/// E53: a stop wins over a restart, whichever was asked for first, and both callers are answered.
#[tokio::test(start_paused = true)]
async fn of_a_stop_and_a_restart_the_stop_wins_in_either_order() {
    let (supervisor, ..) = supervisor();
    for stop_first in [true, false] {
        let script = slow("it");
        let log = script.log();
        let it = supervisor.spawn_service(script).unwrap();
        settle().await;
        let (stops, restarts) = (it.clone(), it.clone());
        let stop = async {
            tokio::time::sleep(secs(u64::from(!stop_first))).await;
            stops.stop().await
        };
        let restart = async {
            tokio::time::sleep(secs(u64::from(stop_first))).await;
            restarts.restart().await
        };
        let (stopped, restarted) = within_an_hour(async { tokio::join!(stop, restart) }).await;
        assert_eq!(stopped, TerminationReason::Cancelled);
        let reason = TerminationReason::Cancelled;
        let name = "it".to_owned();
        assert!(
            matches!(&restarted, Err(RestartError::Terminated { name: n, reason: r }) if *n == name && *r == reason),
            "{restarted:?}"
        );
        assert_eq!(log.starts(), 1, "stop first: {stop_first}");
    }
}

/// E53: a restart that finds a service in the hands of a removal is answered.
#[tokio::test(start_paused = true)]
async fn of_a_removal_and_a_restart_the_removal_wins() {
    let (supervisor, recorder, _) = supervisor();
    let it = supervisor.spawn_service(slow("it")).unwrap();
    settle().await;
    let (removes, restarts) = (it.clone(), it.clone());
    let both = async { tokio::join!(removes.remove(), restarts.restart()) };
    let (removed, restarted) = within_an_hour(both).await;
    assert_eq!(removed.start_count, 1);
    restarted.unwrap_err();
    assert_eq!(removals(&recorder), 1);
}

/// E53, F64: a stop in the middle of a shutdown waits with it, and shortens nothing.
#[tokio::test(start_paused = true)]
async fn a_stop_in_the_middle_of_a_shutdown_is_answered_with_its_end() {
    let (supervisor, recorder, t0) = supervisor();
    let it = supervisor.spawn_service(slow("it")).unwrap();
    settle().await;
    supervisor.trigger_shutdown();
    tokio::time::sleep(secs(1)).await;
    let [one, other] = [it.stop(), it.stop()];
    let answers = within_an_hour(async { tokio::join!(one, other) }).await;
    let cancelled = TerminationReason::Cancelled;
    assert_eq!(answers, (cancelled.clone(), cancelled));
    assert_eq!(
        recorder.trace_of("it", t0)[2..],
        [
            "1 run 1 stopping",
            "5001 run 1 cancelled",
            "5001 run 1 terminated: cancelled",
        ]
    );
}

/// F65: whatever it is doing when the shutdown begins, no other run follows.
#[tokio::test(start_paused = true)]
async fn a_restart_in_the_middle_of_a_shutdown_is_told_that_it_came_too_late() {
    for moment in [Unborn, Starting, Running, Backoff, Pause, HalfOpen] {
        let (supervisor, recorder, _) = supervisor();
        let it = service_at(&supervisor, moment).await;
        supervisor.trigger_shutdown();
        let error = within_an_hour(it.restart()).await.unwrap_err();
        let is_told = matches!(
            error,
            RestartError::Terminated {
                reason: TerminationReason::Cancelled,
                ..
            }
        );
        assert!(is_told, "{moment:?}: {error}");
        let restarts = recorder.count(|event| matches!(event.kind, EventKind::Restarting));
        assert_eq!(restarts, 0, "{moment:?}");
    }
}

/// The report counts what was removed in its middle all the same.
#[tokio::test(start_paused = true)]
async fn a_removal_in_the_middle_of_a_shutdown_waits_and_is_told_once() {
    let (supervisor, recorder, t0) = supervisor();
    let it = supervisor.spawn_service(slow("it")).unwrap();
    settle().await;
    supervisor.trigger_shutdown();
    let both = async { tokio::join!(it.remove(), it.remove(), supervisor.wait_for_drain()) };
    let (one, other, report) = within_an_hour(both).await;
    assert_eq!(one, other);
    assert_eq!((report.drained, report.is_clean()), (1, true));
    assert_eq!(removals(&recorder), 1);
    assert_eq!(Instant::now().into_std() - t0, ms(5001));
    assert_eq!(supervisor.service_count().await, 0);
}

/// DESIGN 3: the end of what has done its work, or was stopped, is for good.
#[tokio::test(start_paused = true)]
async fn what_has_completed_or_was_stopped_is_not_restarted() {
    let (supervisor, recorder, _) = supervisor();
    let done = Script::new("done", [Turn::Complete]);
    let done = supervisor.spawn_service(done).unwrap();
    within_an_hour(done.terminated()).await;
    let stopped = service_at(&supervisor, Running).await;
    within_an_hour(stopped.stop()).await;
    let told = recorder.events().len();
    for (it, reason) in [
        (&done, TerminationReason::Completed),
        (&stopped, TerminationReason::Cancelled),
    ] {
        for _ in 0..2 {
            let error = within_an_hour(it.restart()).await.unwrap_err();
            let RestartError::Terminated { name, reason: why } = error else {
                panic!("{error}");
            };
            assert_eq!((&*name, &why), (it.name(), &reason));
        }
        settle().await;
    }
    assert_eq!(recorder.events().len(), told, "and nothing has happened");
}

/// E50: whatever the run comes to that it was restarted for, also when that is over at once.
#[tokio::test(start_paused = true)]
async fn a_restart_is_answered_by_the_run_that_it_began() {
    for (end, is_well) in [
        (Turn::Complete, true),
        (Turn::FailForGood("no key"), false),
        (Turn::Fail("x"), false),
        (Turn::until_cancelled(), true),
    ] {
        for policy in [RestartPolicy::OnFailure, RestartPolicy::Never] {
            let (supervisor, ..) = supervisor();
            let job = Script::new("job", [Turn::until_cancelled(), end.clone()]);
            let log = job.log();
            let job = supervisor.spawn_service(job.policy(policy)).unwrap();
            settle().await;
            let answer = within_an_hour(job.restart()).await;
            assert_eq!(log.starts(), 2);
            let is_failed = matches!(answer, Err(RestartError::Failed { .. }));
            assert_eq!(
                (answer.is_ok(), is_failed),
                (is_well, !is_well),
                "{policy} {end:?}"
            );
        }
    }
}

/// Between its turns, such a loop is always about to be polled.
#[tokio::test(start_paused = true)]
async fn a_restart_in_a_crash_loop_without_a_delay_is_answered() {
    let (supervisor, ..) = supervisor();
    let none = BackoffConfig::new(ms(0), ms(0)).without_circuit_breaker();
    let options = SpawnOptions::with_backoff(none);
    let it = Script::new("it", [Turn::Fail("x")]);
    let it = supervisor.spawn_service_with_options(it, options).unwrap();
    // Not by time, which stands still while there is anything to do.
    let turns = || async {
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
    };
    turns().await;
    for _ in 0..10 {
        let error = tokio::select! {
            biased;
            answer = it.restart() => answer.unwrap_err(),
            () = turns() => panic!("no answer"),
        };
        assert!(matches!(error, RestartError::Failed { .. }), "{error}");
    }
    tokio::select! {
        biased;
        _ = it.stop() => {}
        () = turns() => panic!("no end"),
    }
}

/// E50: what has terminated is taken out at once, and its last state stays with the handle.
#[tokio::test(start_paused = true)]
async fn what_has_terminated_is_removed_at_once() {
    let (supervisor, recorder, t0) = supervisor();
    let it = Script::new("it", [Turn::FailForGood("no key")]);
    let it = supervisor.spawn_service(it).unwrap();
    within_an_hour(it.terminated()).await;
    let last = within_an_hour(it.remove()).await;
    assert_eq!(
        last.termination_reason.as_deref(),
        Some("unrecoverable: no key")
    );
    assert_eq!(last, it.snapshot());
    assert_eq!(Instant::now().into_std(), t0);
    assert_eq!(removals(&recorder), 1);
}

/// E54: a restart that was polled once is made; one that was not, is not.
#[tokio::test(start_paused = true)]
async fn a_restart_whose_caller_has_gone_still_stands() {
    let (supervisor, ..) = supervisor();
    let it = supervisor.spawn_service(slow("it")).unwrap();
    settle().await;
    drop(it.restart());
    tokio::time::sleep(secs(60)).await;
    assert_eq!(it.snapshot().start_count, 1, "never asked");
    let gave_up = tokio::time::timeout(secs(1), it.restart()).await;
    assert!(gave_up.is_err());
    tokio::time::sleep(secs(60)).await;
    assert_eq!(it.snapshot().start_count, 2);
    assert_eq!(it.phase(), ServicePhase::Running);
}

/// E54: of a removal the stop stands; nobody forgets it.
#[tokio::test(start_paused = true)]
async fn a_removal_whose_caller_has_gone_has_stopped_it() {
    let (supervisor, recorder, _) = supervisor();
    let it = supervisor.spawn_service(slow("it")).unwrap();
    settle().await;
    drop(it.remove());
    tokio::time::sleep(secs(60)).await;
    assert_eq!(it.phase(), ServicePhase::Running, "never asked");
    let gave_up = tokio::time::timeout(secs(1), it.remove()).await;
    assert!(gave_up.is_err());
    assert_eq!(
        within_an_hour(it.terminated()).await,
        TerminationReason::Cancelled
    );
    assert_eq!(removals(&recorder), 0);
    within_an_hour(it.remove()).await;
    assert_eq!(removals(&recorder), 1);
}

/// E50, E58: a handle stays with its own service, whoever has its name.
#[tokio::test(start_paused = true)]
async fn an_old_handle_does_not_touch_the_service_that_has_taken_the_name() {
    let (supervisor, recorder, _) = supervisor();
    let old = Script::new("it", [Turn::Complete]);
    let old = supervisor.spawn_service(old).unwrap();
    within_an_hour(old.terminated()).await;
    let new = supervisor.spawn_service(Script::new("it", [])).unwrap();
    settle().await;
    assert_eq!(
        within_an_hour(old.stop()).await,
        TerminationReason::Completed
    );
    within_an_hour(old.restart()).await.unwrap_err();
    within_an_hour(old.remove()).await;
    settle().await;
    let snapshot = new.snapshot();
    assert_eq!(
        (snapshot.phase, snapshot.start_count),
        (ServicePhase::Running, 1)
    );
    assert_eq!(supervisor.service("it").unwrap().id(), new.id());
    assert_eq!(removals(&recorder), 1, "when the name was taken");
}

/// It forgets itself; that somebody removes it at the same time is no second removal.
#[tokio::test(start_paused = true)]
async fn an_ephemeral_service_that_is_removed_by_hand_is_forgotten_once() {
    let (supervisor, recorder, _) = supervisor();
    let options = SpawnOptions::default().ephemeral();
    let it = supervisor
        .spawn_service_with_options(slow("it"), options)
        .unwrap();
    settle().await;
    let both = async { tokio::join!(it.remove(), it.remove()) };
    let (one, other) = within_an_hour(both).await;
    assert_eq!(one, other);
    assert_eq!(removals(&recorder), 1);
}

/// However it ends, and not before.
#[tokio::test(start_paused = true)]
async fn an_ephemeral_service_is_kept_until_it_has_terminated_for_good() {
    let (supervisor, recorder, _) = supervisor();
    let breaker = SpawnOptions::with_backoff(backoff().with_circuit_breaker(2, secs(60)));
    let it = Script::new("it", [Turn::Fail("x")]);
    let it = supervisor
        .spawn_service_with_options(it, breaker.ephemeral())
        .unwrap();
    settle().await;
    assert_eq!(it.phase(), ServicePhase::BackingOff);
    assert!(supervisor.service("it").is_some());
    assert_eq!(
        within_an_hour(it.terminated()).await.to_string(),
        "circuit breaker open (2/2 failures)"
    );
    assert!(supervisor.service("it").is_none());
    assert_eq!(it.snapshot().total_failures, 2, "its handle still knows");
    assert_eq!(removals(&recorder), 1);
}

#[tokio::test(start_paused = true)]
async fn an_ephemeral_child_is_forgotten_and_its_group_goes_on() {
    let (supervisor, recorder, _) = supervisor();
    let job = Script::new("job", [Turn::Complete.after(secs(1))]);
    let group = Group::new("g")
        .strategy(Strategy::OneForAll)
        .service(Script::new("a", []))
        .service_with_options(job, SpawnOptions::default().ephemeral());
    let group = supervisor.spawn_group(group).unwrap();
    tokio::time::sleep(secs(2)).await;
    let names = supervisor.snapshot().services.into_iter();
    let names: Vec<_> = names.map(|it| it.service_name).collect();
    assert_eq!(names, ["g", "g/a"]);
    assert_eq!(group.phase(), ServicePhase::Running);
    assert_eq!(removals(&recorder), 1);
}

/// A group is a service to its handle: its children run anew.
#[tokio::test(start_paused = true)]
async fn a_group_is_restarted_by_hand_with_all_in_it() {
    let (supervisor, ..) = supervisor();
    let scripts = ["a", "b"].map(|name| Script::new(name, []));
    let logs = scripts.each_ref().map(Script::log);
    let group = scripts.into_iter().fold(Group::new("g"), Group::service);
    let group = supervisor.spawn_group(group).unwrap();
    settle().await;
    within_an_hour(group.as_service().restart()).await.unwrap();
    assert_eq!(logs.each_ref().map(|log| log.starts()), [2, 2]);
    assert_eq!(logs.each_ref().map(|log| log.overlaps()), [0, 0]);
    assert!(supervisor.is_ready());
}

/// E59: clones are one handle, and dropping any of them does nothing.
#[tokio::test(start_paused = true)]
async fn a_request_through_one_clone_is_seen_through_all() {
    let (supervisor, ..) = supervisor();
    let it = supervisor.spawn_service(slow("it")).unwrap();
    let clones: [ServiceHandle; 3] = std::array::from_fn(|_| it.clone());
    drop(it);
    settle().await;
    assert_eq!(clones[0].phase(), ServicePhase::Running);
    clones[0].request_stop();
    clones[1].request_stop();
    assert_eq!(
        within_an_hour(clones[2].terminated()).await,
        TerminationReason::Cancelled
    );
    let reasons = clones.each_ref().map(ServiceHandle::termination_reason);
    let expected = Some(TerminationReason::Cancelled);
    assert_eq!(reasons, [expected.clone(), expected.clone(), expected]);
}

/// Its first run is the one that was asked for.
#[tokio::test(start_paused = true)]
async fn a_restart_before_the_first_run_asks_for_nothing_else() {
    let (supervisor, recorder, t0) = supervisor();
    let it = service_at(&supervisor, Unborn).await;
    within_an_hour(it.restart()).await.unwrap();
    settle().await;
    assert_eq!(
        recorder.trace_of("Unborn", t0),
        ["0 run 1 registered", "0 run 1 running"]
    );
}

/// DESIGN 5: a stop never waits, also not for a group that has not begun, which waits itself.
#[tokio::test(start_paused = true)]
async fn a_child_of_a_group_that_has_not_begun_is_stopped_at_once() {
    let (supervisor, ..) = supervisor();
    let options = SpawnOptions::default().with_readiness(Readiness::Notify);
    let db = supervisor.spawn_service_with_options(slow_starter("db"), options);
    db.unwrap();
    let inner = Group::new("inner")
        .service(Script::new("x", []))
        .service(Script::new("y", []));
    let group = Group::new("group")
        .after(["db"])
        .service(Script::new("a", []))
        .service(Script::new("b", []))
        .group(inner);
    let group = supervisor.spawn_group(group).unwrap();
    settle().await;
    let t0 = Instant::now();
    for name in ["group/b", "group/inner"] {
        let child = supervisor.service(name).unwrap();
        let stopped = within_an_hour(child.stop()).await;
        assert_eq!(stopped, TerminationReason::Cancelled, "{name}");
    }
    let removed = supervisor.service("group/b").unwrap().remove().await;
    assert_eq!(removed.start_count, 1);
    assert_eq!(t0.elapsed(), ms(0));
    for name in ["group/inner/x", "group/inner/y"] {
        let child = supervisor.service(name).unwrap();
        assert_eq!(child.phase(), ServicePhase::Terminated, "{name}");
    }

    assert!(within_an_hour(group.as_service().wait_ready()).await);
    let a = supervisor.service("group/a").unwrap();
    assert_eq!(a.phase(), ServicePhase::Running);
    assert!(supervisor.service("group/b").is_none());
    assert_eq!(supervisor.metrics().snapshot().active_services, 3);
    assert_eq!(
        within_an_hour(group.stop()).await,
        TerminationReason::Cancelled
    );
    assert_eq!(supervisor.metrics().snapshot().active_services, 1);
}
