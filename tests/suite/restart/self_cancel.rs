//! A service that cancels its own token asks nobody to stop: the run is judged by how it ends, the next one has a fresh
//! token, and whoever does want it to stop is still heard.

use super::table::{Case, Outcome, again, check, ended, row, unrecoverable};
use janus_supervisor::{
    BackoffConfig, CancellationToken, JanusService, JanusSupervisor, RestartPolicy, ServiceHandle,
    ServicePhase, SpawnOptions, TerminationReason, service_fn,
};
use janus_tests::{Recorder, Script, Turn, backoff, config, ms, secs, settle, within_an_hour};
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use tokio::time::Instant;

/// Ends in the very poll in which it cancels itself.
fn at_once(turn: Turn) -> Case {
    Case::ends(turn.after_cancelling_itself().after(ms(5)))
}

/// Cancels itself first of all, and ends later.
fn later(turn: Turn) -> Case {
    Case::ends(turn.after(ms(5)).after_cancelling_itself())
}

row! {
    /// A1
    clean, [at_once(Turn::Complete), later(Turn::Complete)] => {
        always: again(0, [
            "5 run 1 completed",
            "5 run 1 backing off #0 for 100ms",
            "105 run 2 restarting",
            "105 run 2 running",
        ]),
        on_failure: ended(TerminationReason::Completed, [
            "5 run 1 completed",
            "5 run 1 terminated: completed",
        ]),
        never: ended(TerminationReason::Completed, [
            "5 run 1 completed",
            "5 run 1 terminated: completed",
        ]),
    }
}

fn failed() -> Outcome {
    again(
        1,
        [
            "5 run 1 failed (error): cancelled",
            "5 run 1 backing off #1 for 100ms",
            "105 run 2 restarting",
            "105 run 2 running",
        ],
    )
    .error("cancelled")
}

row! {
    /// A1, A4
    error, [at_once(Turn::Fail("cancelled")), later(Turn::Fail("cancelled"))] => {
        always: failed(),
        on_failure: failed(),
        never: ended(unrecoverable("cancelled"), [
            "5 run 1 failed (error): cancelled",
            "5 run 1 terminated: unrecoverable: cancelled",
        ]).error("cancelled").failures(1),
    }
}

fn panicked() -> Outcome {
    again(
        1,
        [
            "5 run 1 failed (panic): panicked: boom",
            "5 run 1 backing off #1 for 100ms",
            "105 run 2 restarting",
            "105 run 2 running",
        ],
    )
    .error("panicked: boom")
}

row! {
    /// A1
    panic, [at_once(Turn::Panic("boom")), later(Turn::Panic("boom"))] => {
        always: panicked(),
        on_failure: panicked(),
        never: ended(unrecoverable("panicked: boom"), [
            "5 run 1 failed (panic): panicked: boom",
            "5 run 1 terminated: unrecoverable: panicked: boom",
        ]).error("panicked: boom").failures(1),
    }
}

fn gave_up() -> Outcome {
    ended(
        unrecoverable("no key"),
        [
            "5 run 1 failed (error): no key",
            "5 run 1 terminated: unrecoverable: no key",
        ],
    )
    .error("no key")
    .failures(1)
}

row! {
    /// A6
    permanent, [at_once(Turn::FailForGood("no key")), later(Turn::FailForGood("no key"))] => {
        always: gave_up(),
        on_failure: gave_up(),
        never: gave_up(),
    }
}

#[tokio::test(start_paused = true)]
async fn the_next_run_hears_a_stop_and_the_run_before_it_was_told_of_none() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    let t0 = Instant::now();
    let turns = [
        Turn::Complete.after_cancelling_itself(),
        Turn::Complete.after(ms(7)).when_cancelled(),
    ];
    let script = Script::new("it", turns).policy(RestartPolicy::Always);
    let handle = supervisor.spawn_service(script).unwrap();
    tokio::time::sleep_until(t0 + ms(500)).await;
    assert_eq!(
        within_an_hour(handle.stop()).await,
        TerminationReason::Cancelled
    );
    assert_eq!(
        recorder.trace_of("it", t0.into_std())[1..],
        [
            "0 run 1 running",
            "0 run 1 completed",
            "0 run 1 backing off #0 for 100ms",
            "100 run 2 restarting",
            "100 run 2 running",
            "500 run 2 stopping",
            "507 run 2 cancelled",
            "507 run 2 terminated: cancelled",
        ]
    );
}

/// The run knows no token but the one that it cancelled; the request is visible all the same, and its grace is kept.
#[tokio::test(start_paused = true)]
async fn a_run_that_goes_on_can_be_stopped() {
    for (end, reason, took) in [
        (Turn::Complete, TerminationReason::Cancelled, 20),
        (Turn::Fail("late"), TerminationReason::Cancelled, 20),
        (Turn::Hang, TerminationReason::Aborted, 30),
    ] {
        let recorder = Arc::new(Recorder::default());
        let supervisor = JanusSupervisor::new(config(&recorder));
        let t0 = Instant::now();
        let script = Script::new("it", [end.after(ms(1_020)).after_cancelling_itself()]);
        let log = script.log();
        let options = SpawnOptions::default().with_shutdown_grace(ms(30));
        let handle = supervisor
            .spawn_service_with_options(script, options)
            .unwrap();
        tokio::time::sleep_until(t0 + secs(1)).await;
        assert_eq!(handle.phase(), ServicePhase::Running, "nobody asked");

        assert_eq!(within_an_hour(handle.stop()).await, reason);
        assert_eq!(Instant::now() - t0, secs(1) + ms(took));
        assert_eq!((log.starts(), log.in_progress()), (1, 0));
        assert_eq!(handle.snapshot().total_failures, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_that_goes_on_can_be_shut_down() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder).with_shutdown_timeout(ms(30)));
    let polite = Turn::Complete.after(ms(1_020)).after_cancelling_itself();
    let polite = supervisor
        .spawn_service(Script::new("polite", [polite]))
        .unwrap();
    let rude = Script::new("rude", [Turn::Hang.after_cancelling_itself()]);
    let rude = supervisor.spawn_service(rude).unwrap();
    tokio::time::sleep(secs(1)).await;
    assert!(!supervisor.is_shutting_down());

    supervisor.trigger_shutdown();
    let report = supervisor.wait_for_drain().await;
    assert_eq!((report.drained, report.took), (1, ms(30)));
    assert_eq!(report.aborted, ["rude"]);
    assert_eq!(
        polite.termination_reason(),
        Some(TerminationReason::Cancelled)
    );
    assert_eq!(rude.termination_reason(), Some(TerminationReason::Aborted));
}

/// A service whose run has itself stopped, cancels itself, and ends like this, all in one poll or in two.
fn stopping_itself(
    stop: impl Fn() + Send + Sync + 'static,
    stop_first: bool,
    polls: u32,
    end: &Turn,
) -> impl JanusService {
    let end = end.clone();
    service_fn("it", move |cancel| {
        if stop_first {
            stop();
            cancel.cancel();
        } else {
            cancel.cancel();
            stop();
        }
        let rest = Script::new("rest", [end.clone()]);
        async move {
            if polls > 1 {
                tokio::task::yield_now().await;
            }
            rest.run(cancel).await
        }
    })
    .with_restart_policy(RestartPolicy::Always)
}

/// Whichever of the two comes first, and however the run ends: a stop that was requested is a stop.
#[tokio::test(start_paused = true)]
async fn a_stop_in_the_same_poll_is_a_stop() {
    let ends = [Turn::Complete, Turn::Fail("late"), Turn::Panic("late")];
    for (stop_first, polls) in [(true, 1), (true, 2), (false, 1), (false, 2)] {
        for end in &ends {
            let recorder = Arc::new(Recorder::default());
            let supervisor = JanusSupervisor::new(config(&recorder));
            let cell: Arc<OnceLock<ServiceHandle>> = Arc::default();
            let own = Arc::clone(&cell);
            let stop = move || request_stop(own.get().unwrap());
            let handle = supervisor
                .spawn_service(stopping_itself(stop, stop_first, polls, end))
                .unwrap();
            cell.set(handle.clone()).unwrap();
            assert_eq!(
                within_an_hour(handle.terminated()).await,
                TerminationReason::Cancelled
            );
            let snapshot = handle.snapshot();
            assert_eq!((snapshot.start_count, snapshot.total_failures), (1, 0));

            let supervisor = JanusSupervisor::new(config(&recorder));
            let own = supervisor.clone();
            let stop = move || own.trigger_shutdown();
            let handle = supervisor
                .spawn_service(stopping_itself(stop, stop_first, polls, end))
                .unwrap();
            assert_eq!(
                within_an_hour(handle.terminated()).await,
                TerminationReason::Cancelled
            );
            let snapshot = handle.snapshot();
            assert_eq!((snapshot.start_count, snapshot.total_failures), (1, 0));
            assert!(supervisor.wait_for_drain().await.is_clean());
        }
    }
}

/// Requests a stop, and does not wait for it.
fn request_stop(handle: &ServiceHandle) {
    let mut stop = pin!(handle.stop());
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(stop.as_mut().poll(&mut cx).is_pending());
}

/// Between two polls of the driver: the token it watches is the one that was cancelled for nobody.
#[tokio::test(start_paused = true)]
async fn a_stop_right_after_it_is_heard() {
    for delay in 0..4 {
        let recorder = Arc::new(Recorder::default());
        let supervisor = JanusSupervisor::new(config(&recorder));
        let cancelled = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&cancelled);
        let handle = supervisor
            .spawn_service(service_fn("it", move |cancel| {
                let flag = Arc::clone(&flag);
                async move {
                    tokio::task::yield_now().await;
                    cancel.cancel();
                    flag.store(true, SeqCst);
                    std::future::pending().await
                }
            }))
            .unwrap();
        while !cancelled.load(SeqCst) {
            tokio::task::yield_now().await;
        }
        for _ in 0..delay {
            tokio::task::yield_now().await;
        }
        assert_eq!(handle.phase(), ServicePhase::Running);
        let t0 = Instant::now();
        assert_eq!(
            within_an_hour(handle.stop()).await,
            TerminationReason::Aborted
        );
        assert_eq!(Instant::now() - t0, secs(30), "its grace");
    }
}

/// A task that the run left behind, or that works for it, holds the token as well.
#[tokio::test(start_paused = true)]
async fn a_cancel_from_outside_the_run_is_no_stop_either() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    let t0 = Instant::now();
    let runs = AtomicU32::new(0);
    let service = service_fn("it", move |cancel: CancellationToken| {
        let run = runs.fetch_add(1, SeqCst);
        let token = cancel.clone();
        tokio::spawn(async move {
            tokio::time::sleep(ms(50)).await;
            if run < 2 {
                token.cancel();
            }
        });
        async move {
            match run {
                // Cancelled in the middle of the delay after it.
                0 => Err("boom".into()),
                // Cancelled in the middle of the run.
                _ => {
                    cancel.cancelled().await;
                    Ok(())
                }
            }
        }
    });
    let handle = supervisor
        .spawn_service(service.with_restart_policy(RestartPolicy::Always))
        .unwrap();
    tokio::time::sleep_until(t0 + secs(5)).await;
    assert_eq!(
        within_an_hour(handle.stop()).await,
        TerminationReason::Cancelled
    );
    assert_eq!(
        recorder.trace_of("it", t0.into_std())[1..],
        [
            "0 run 1 running",
            "0 run 1 failed (error): boom",
            "0 run 1 backing off #1 for 100ms",
            "100 run 2 restarting",
            "100 run 2 running",
            "150 run 2 completed",
            "150 run 2 backing off #0 for 100ms",
            "250 run 3 restarting",
            "250 run 3 running",
            "5000 run 3 stopping",
            "5000 run 3 cancelled",
            "5000 run 3 terminated: cancelled",
        ]
    );
}

/// Nor does it reach anybody else.
#[tokio::test(start_paused = true)]
async fn a_thousand_times_over_nobody_else_is_cancelled_and_a_stop_still_works() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    let sibling = supervisor
        .spawn_service(Script::new("sibling", []))
        .unwrap();
    let mut turns = vec![Turn::Fail("again").after_cancelling_itself(); 1_000];
    turns.push(Turn::until_cancelled());
    let script = Script::new("it", turns);
    let handle = supervisor
        .spawn_service_with_options(script, SpawnOptions::with_backoff(at_once_again()))
        .unwrap();
    settle().await;
    assert_eq!(handle.snapshot().start_count, 1_001);
    assert_eq!(handle.phase(), ServicePhase::Running);
    assert_eq!(sibling.phase(), ServicePhase::Running);
    assert!(!supervisor.cancel_token().is_cancelled());
    assert_eq!(
        within_an_hour(handle.stop()).await,
        TerminationReason::Cancelled
    );
    assert_eq!(sibling.phase(), ServicePhase::Running);
}

/// No delay, no breaker.
fn at_once_again() -> BackoffConfig {
    BackoffConfig::new(ms(0), ms(0)).without_circuit_breaker()
}

/// The swap of the token does not disturb what else the task waits for.
#[tokio::test(start_paused = true)]
async fn the_cooldown_of_the_run_goes_on() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    let t0 = Instant::now();
    let up = Turn::Hang.after_cancelling_itself().after(secs(4));
    let script = Script::new("it", [Turn::Fail("boom"), up]);
    let options = SpawnOptions::with_backoff(backoff().with_cooldown(secs(10)));
    let handle = supervisor
        .spawn_service_with_options(script, options)
        .unwrap();
    tokio::time::sleep_until(t0 + secs(60)).await;
    assert_eq!(handle.snapshot().attempt, 0);
    assert_eq!(
        recorder.trace_of("it", t0.into_std())[4..],
        [
            "100 run 2 restarting",
            "100 run 2 running",
            "10100 run 2 recovered",
        ]
    );
}

/// The driver puts a fresh token in place while others are asking it to stop through the old one. No request may be
/// lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_that_races_with_it_is_never_lost() {
    for round in 0..500 {
        let recorder = Arc::new(Recorder::default());
        let supervisor = JanusSupervisor::new(config(&recorder));
        let cancelled = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&cancelled);
        let service = service_fn("it", move |cancel: CancellationToken| {
            let count = Arc::clone(&count);
            async move {
                cancel.cancel();
                count.fetch_add(1, SeqCst);
                Ok(())
            }
        });
        let handle = supervisor
            .spawn_service_with_options(
                service.with_restart_policy(RestartPolicy::Always),
                SpawnOptions::with_backoff(at_once_again()),
            )
            .unwrap();
        // A different moment each time.
        poll_fn(|cx| {
            if cancelled.load(SeqCst) > round % 50 || handle.phase().is_terminal() {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
        let stopped = if round % 2 == 0 {
            tokio::time::timeout(secs(60), handle.stop()).await
        } else {
            supervisor.trigger_shutdown();
            tokio::time::timeout(secs(60), handle.terminated()).await
        };
        assert_eq!(stopped, Ok(TerminationReason::Cancelled), "round {round}");
        let handled = handle.snapshot();
        assert_eq!(handled.start_count, cancelled.load(SeqCst), "round {round}");
    }
}

/// The same for one that cancels itself only once, so that nothing later can make up for what was lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_in_the_very_moment_of_it_is_never_lost() {
    for round in 0..10_000 {
        let recorder = Arc::new(Recorder::default());
        let supervisor = JanusSupervisor::new(config(&recorder));
        let about_to = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&about_to);
        let service = service_fn("it", move |cancel| {
            flag.store(true, SeqCst);
            cancel.cancel();
            std::future::pending()
        });
        let options = SpawnOptions::default().with_shutdown_grace(ms(0));
        let handle = supervisor
            .spawn_service_with_options(service, options)
            .unwrap();
        while !about_to.load(SeqCst) {
            std::thread::yield_now();
        }
        // A different moment each time.
        for _ in 0..round % 50 {
            std::hint::spin_loop();
        }
        let stopped = tokio::time::timeout(secs(20), handle.stop()).await;
        assert_eq!(stopped, Ok(TerminationReason::Aborted), "round {round}");
    }
}
