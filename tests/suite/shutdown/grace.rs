//! How long a service may take to stop: its own grace and the supervisor's timeout, of which the shorter wins.

use janus_supervisor::{
    BackoffConfig, CancellationToken, EventKind, JanusSupervisor, Readiness, RunOutcome,
    ServiceEvent, ServiceHandle, ServicePhase, SpawnOptions, SupervisorConfig, TerminationReason,
    notify, service_fn,
};
use janus_tests::{Recorder, Script, Turn, config, ms, secs, settle};
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::task::yield_now;
use tokio::time::Instant;

const DAY: Duration = secs(24 * 60 * 60);

fn grace(grace: Duration) -> SpawnOptions {
    SpawnOptions::default().with_shutdown_grace(grace)
}

/// F63
#[tokio::test(start_paused = true)]
async fn no_timeout_at_all_aborts_at_once() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder).with_shutdown_timeout(ms(0)));
    let slow = Script::new("slow", [Turn::Complete.after(ms(1)).when_cancelled()]);
    let log = slow.log();
    supervisor.spawn_service(slow).unwrap();
    settle().await;
    supervisor.trigger_shutdown();
    let report = supervisor.wait_for_drain().await;
    assert_eq!(report.aborted, ["slow"]);
    assert_eq!((report.drained, report.took), (0, ms(0)));
    assert_eq!(log.dropped_early(), 1);
}

/// F63
#[tokio::test(start_paused = true)]
async fn no_grace_aborts_one_service_at_once() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    let stubborn = Script::new("stubborn", [Turn::Hang]);
    let stubborn = supervisor
        .spawn_service_with_options(stubborn, grace(ms(0)))
        .unwrap();
    settle().await;
    let t0 = Instant::now();
    assert_eq!(stubborn.stop().await, TerminationReason::Aborted);
    assert_eq!(t0.elapsed(), ms(0));
}

/// F63: nothing is left of the grace, but the run gets a poll in which it sees its token.
#[tokio::test(start_paused = true)]
async fn a_run_that_ends_in_the_moment_it_is_told_needs_no_grace() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder).with_shutdown_timeout(ms(0)));
    supervisor.spawn_service(Script::new("prompt", [])).unwrap();
    settle().await;
    supervisor.trigger_shutdown();
    let report = supervisor.wait_for_drain().await;
    assert_eq!((report.drained, report.is_clean()), (1, true));
}

/// F63: also where the request comes from another thread, which tells the task first and cancels the token then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_ends_in_the_moment_it_is_told_needs_no_grace_on_several_threads_either() {
    let none = SupervisorConfig::default()
        .without_signal_handler()
        .with_shutdown_timeout(ms(0))
        .with_abort_timeout(secs(60));
    for _ in 0..20 {
        let supervisor = JanusSupervisor::new(none.clone());
        let services: Vec<_> = (0..50)
            .map(|i| Script::new(format!("{i}"), []))
            .map(|service| supervisor.spawn_service(service).unwrap())
            .collect();
        assert!(supervisor.wait_ready().await);
        let (stopped, others) = services.split_at(25);
        for service in stopped {
            assert_eq!(service.stop().await, TerminationReason::Cancelled);
        }
        supervisor.trigger_shutdown();
        let report = supervisor.wait_for_drain().await;
        assert_eq!(report.aborted, [""; 0]);
        assert_eq!((report.drained, report.is_clean()), (others.len(), true));
    }
}

/// F63: the same where the run is to end and the service is not. (And whoever asks for another run before the first has
/// begun gets one.)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_ends_in_the_moment_it_is_told_to_run_anew_needs_no_grace() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    let service = |name: String| {
        service_fn(name, |cancel: CancellationToken| async move {
            cancel.cancelled().await;
            Ok(())
        })
    };
    for i in 0..50 {
        let patient = service(format!("{i}"));
        let patient = supervisor
            .spawn_service_with_options(patient, grace(Duration::MAX))
            .unwrap();
        patient.restart().await.unwrap();
        assert_eq!(patient.phase(), ServicePhase::Running);
    }
    let prompt = supervisor
        .spawn_service_with_options(service("prompt".into()), grace(ms(0)))
        .unwrap();
    assert!(prompt.wait_ready().await);
    for _ in 0..2_000 {
        prompt.restart().await.unwrap();
    }
    let is_aborted = |event: &ServiceEvent| match &event.kind {
        EventKind::RunEnded { outcome, .. } => matches!(outcome, RunOutcome::Aborted),
        _ => false,
    };
    assert_eq!(recorder.count(is_aborted), 0);
    supervisor.trigger_shutdown();
    assert!(supervisor.wait_for_drain().await.is_clean());
}

/// F63: also a run that says something in the very moment in which it is told.
#[tokio::test(start_paused = true)]
async fn a_run_that_says_something_in_the_moment_it_is_told_sees_its_token() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    let own: Arc<OnceLock<ServiceHandle>> = Arc::default();
    let talks = service_fn("talks", {
        let own = Arc::clone(&own);
        move |cancel: CancellationToken| {
            let own = Arc::clone(&own);
            async move {
                notify::ready();
                own.get().unwrap().request_stop();
                // Both are heard before it looks again.
                yield_now().await;
                cancel.cancelled().await;
                Ok(())
            }
        }
    });
    let options = grace(ms(0)).with_readiness(Readiness::Notify);
    let talks = supervisor
        .spawn_service_with_options(talks, options)
        .unwrap();
    own.set(talks.clone()).unwrap();
    assert_eq!(talks.terminated().await, TerminationReason::Cancelled);
}

/// F63: also where a timer is set for something later: the runtime's clock need not tick first.
#[tokio::test]
async fn no_grace_is_no_grace_also_before_a_cooldown_is_over() {
    let supervisor = JanusSupervisor::new(SupervisorConfig::default().without_signal_handler());
    let (runs, polls) = (AtomicU32::new(0), Arc::new(AtomicU32::new(0)));
    let polled = Arc::clone(&polls);
    let stubborn = service_fn("stubborn", move |cancel: CancellationToken| {
        let (run, polled) = (runs.fetch_add(1, SeqCst), Arc::clone(&polled));
        async move {
            if run == 0 {
                return Err("once, so that there is something to recover from".into());
            }
            cancel.cancelled().await;
            loop {
                polled.fetch_add(1, SeqCst);
                yield_now().await;
            }
        }
    });
    let backoff = BackoffConfig::new(ms(0), ms(0)).without_circuit_breaker();
    let options = SpawnOptions::with_backoff(backoff).with_shutdown_grace(ms(0));
    let stubborn = supervisor
        .spawn_service_with_options(stubborn, options)
        .unwrap();
    while stubborn.snapshot().start_count < 2 || stubborn.phase() != ServicePhase::Running {
        yield_now().await;
    }
    yield_now().await;
    assert_eq!(stubborn.stop().await, TerminationReason::Aborted);
    // Before it is heard that it is to stop, and after.
    assert!(polls.load(SeqCst) <= 2, "{polls:?}");
}

/// F63
#[tokio::test(start_paused = true)]
async fn a_grace_without_end_waits_as_long_as_it_takes() {
    let recorder = Arc::new(Recorder::default());
    let config = config(&recorder).with_shutdown_timeout(Duration::MAX);
    let supervisor = JanusSupervisor::new(config);
    for (name, options) in [
        ("inherited", SpawnOptions::default()),
        ("own", grace(Duration::MAX)),
    ] {
        let script = Script::new(name, [Turn::Complete.after(300 * DAY).when_cancelled()]);
        supervisor
            .spawn_service_with_options(script, options)
            .unwrap();
    }
    settle().await;
    supervisor.trigger_shutdown();
    let report = supervisor.wait_for_drain().await;
    assert!(report.is_clean(), "{report}");
    assert_eq!((report.drained, report.took), (2, 300 * DAY));
}

/// F63: neither bound overflows, the second included.
#[tokio::test(start_paused = true)]
async fn the_longest_durations_there_are_do_not_overflow() {
    let recorder = Arc::new(Recorder::default());
    let config = config(&recorder)
        .with_shutdown_timeout(secs(1))
        .with_abort_timeout(Duration::MAX);
    let supervisor = JanusSupervisor::new(config);
    let script = Script::new("stubborn", [Turn::Hang]);
    supervisor
        .spawn_service_with_options(script, grace(Duration::MAX))
        .unwrap();
    settle().await;
    supervisor.trigger_shutdown();
    let report = supervisor.wait_for_drain().await;
    assert_eq!(report.aborted, ["stubborn"]);
    assert_eq!(report.took, secs(1));
}

/// F64: every pair, in both directions.
#[tokio::test(start_paused = true)]
async fn of_own_grace_and_shutdown_timeout_the_shorter_wins() {
    let times = [ms(0), ms(1), secs(1), secs(2), 30 * DAY, Duration::MAX];
    for own in times {
        for timeout in times {
            let shorter = own.min(timeout);
            if shorter == Duration::MAX {
                continue;
            }
            let recorder = Arc::new(Recorder::default());
            let config = config(&recorder).with_shutdown_timeout(timeout);
            let supervisor = JanusSupervisor::new(config);
            let stubborn = Script::new("stubborn", [Turn::Hang]);
            supervisor
                .spawn_service_with_options(stubborn, grace(own))
                .unwrap();
            settle().await;
            supervisor.trigger_shutdown();
            let report = supervisor.wait_for_drain().await;
            assert_eq!(
                (report.aborted, report.took),
                (vec!["stubborn".to_owned()], shorter),
                "own {own:?}, timeout {timeout:?}"
            );
        }
    }
}

/// F64: with nobody waiting for the drain, each service still keeps to both bounds.
#[tokio::test(start_paused = true)]
async fn both_bounds_hold_also_when_nobody_waits() {
    for (own, timeout) in [(secs(2), secs(5)), (secs(5), secs(2))] {
        let recorder = Arc::new(Recorder::default());
        let supervisor = JanusSupervisor::new(config(&recorder).with_shutdown_timeout(timeout));
        let stubborn = Script::new("stubborn", [Turn::Hang]);
        let stubborn = supervisor
            .spawn_service_with_options(stubborn, grace(own))
            .unwrap();
        settle().await;
        let t0 = Instant::now();
        supervisor.trigger_shutdown();
        assert_eq!(stubborn.terminated().await, TerminationReason::Aborted);
        assert_eq!(t0.elapsed(), secs(2), "own {own:?}, timeout {timeout:?}");
    }
}

/// F64: each has its own, and what one does not use does not help another.
#[tokio::test(start_paused = true)]
async fn each_service_is_aborted_at_the_end_of_its_own_grace() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder).with_shutdown_timeout(secs(4)));
    let mut handles = Vec::new();
    for own in [1, 2, 3, 9] {
        let script = Script::new(format!("{own} s"), [Turn::Hang]);
        let options = grace(secs(own));
        handles.push(
            supervisor
                .spawn_service_with_options(script, options)
                .unwrap(),
        );
    }
    settle().await;
    supervisor.trigger_shutdown();
    let drain = tokio::spawn({
        let supervisor = supervisor.clone();
        async move { supervisor.wait_for_drain().await }
    });
    let mut gone = Vec::new();
    for _ in 0..5 {
        settle().await;
        let terminated = handles
            .iter()
            .map(|h| h.phase() == ServicePhase::Terminated);
        gone.push(terminated.filter(|is| *is).count());
        tokio::time::sleep(ms(999)).await;
    }
    assert_eq!(gone, [0, 1, 2, 3, 4]);
    let report = drain.await.unwrap();
    assert_eq!(report.aborted, ["1 s", "2 s", "3 s", "9 s"]);
    assert_eq!(report.took, secs(4));
}

/// An end in the very moment that the grace is over is the run's own.
#[tokio::test(start_paused = true)]
async fn an_end_exactly_at_the_end_of_the_grace_is_in_time() {
    for (takes, reason) in [
        (ms(999), TerminationReason::Cancelled),
        (ms(1000), TerminationReason::Cancelled),
        (ms(1001), TerminationReason::Aborted),
    ] {
        let recorder = Arc::new(Recorder::default());
        let supervisor = JanusSupervisor::new(config(&recorder));
        let script = Script::new("slow", [Turn::Complete.after(takes).when_cancelled()]);
        let slow = supervisor
            .spawn_service_with_options(script, grace(secs(1)))
            .unwrap();
        settle().await;
        assert_eq!(slow.stop().await, reason, "{takes:?}");
    }
}

/// F64: the time that a service may take to stop begins with its own stop.
#[tokio::test(start_paused = true)]
async fn a_shutdown_does_not_lengthen_the_grace_of_a_service_that_is_stopping_already() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder).with_shutdown_timeout(secs(60)));
    let script = Script::new("stubborn", [Turn::Hang]);
    let stubborn = supervisor
        .spawn_service_with_options(script, grace(secs(5)))
        .unwrap();
    settle().await;
    let stop = tokio::spawn(async move { stubborn.stop().await });
    tokio::time::sleep(secs(3)).await;
    supervisor.trigger_shutdown();
    let report = supervisor.wait_for_drain().await;
    assert_eq!(report.aborted, ["stubborn"]);
    assert_eq!(report.took, secs(2));
    assert_eq!(stop.await.unwrap(), TerminationReason::Aborted);
}

/// F64: a stop with a long grace, and then a shutdown that has less time.
#[tokio::test(start_paused = true)]
async fn a_shutdown_cuts_short_the_grace_of_a_service_that_is_stopping_already() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder).with_shutdown_timeout(secs(2)));
    let mut stops = Vec::new();
    for (name, own) in [("hour", secs(3600)), ("for ever", Duration::MAX)] {
        let script = Script::new(name, [Turn::Hang]);
        let handle = supervisor
            .spawn_service_with_options(script, grace(own))
            .unwrap();
        stops.push(tokio::spawn(async move { handle.stop().await }));
    }
    tokio::time::sleep(secs(3)).await;
    supervisor.trigger_shutdown();
    let report = supervisor.wait_for_drain().await;
    assert_eq!(report.aborted, ["hour", "for ever"]);
    assert_eq!(report.took, secs(2));
    for stop in stops {
        assert_eq!(stop.await.unwrap(), TerminationReason::Aborted);
    }
}
