//! Services that hog their thread: that fail for ever without delay, that wake themselves for ever, that never yield.
//!
//! On the paused clock of a runtime that is never idle, time moves only when it is told to.

use futures_util::FutureExt;
use janus_supervisor::{
    BackoffConfig, EventKind, JanusService, JanusSupervisor, Observer, RestartPolicy, ServiceEvent,
    ServiceHandle, ServicePhase, SpawnOptions, SupervisorConfig, TerminationReason, service_fn,
};
use janus_tests::{Script, Turn, ms, secs, within_a_minute};
use std::future::poll_fn;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::task::Poll;
use std::time::Duration;
use tokio::runtime::Builder;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

/// Nobody writes down what happens: it happens without end.
fn settings() -> SupervisorConfig {
    SupervisorConfig::default().without_signal_handler()
}

/// No delay, no breaker.
fn no_delay() -> SpawnOptions {
    SpawnOptions::with_backoff(BackoffConfig::new(ms(0), ms(0)).without_circuit_breaker())
}

/// More turns than it takes the runtime to look at its timers and at everybody who is ready.
async fn turns() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

/// Moves the clock on by whole milliseconds, and lets everybody see each.
async fn advance(millis: u64) {
    for _ in 0..millis {
        tokio::time::advance(ms(1)).await;
        turns().await;
    }
}

/// A service that wakes up every ten milliseconds, and when it did.
fn ticker() -> (impl JanusService, Arc<Mutex<Vec<Duration>>>) {
    let ticks = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&ticks);
    let t0 = Instant::now();
    let service = service_fn("ticker", move |_cancel| {
        let seen = Arc::clone(&seen);
        async move {
            for tick in 1.. {
                tokio::time::sleep_until(t0 + tick * ms(10)).await;
                if let Ok(mut seen) = seen.lock() {
                    seen.push(t0.elapsed());
                }
            }
            Ok(())
        }
    });
    (service, ticks)
}

/// Runs that end at once and are followed by the next without delay.
#[tokio::test(start_paused = true)]
async fn a_restart_loop_without_delay_leaves_its_siblings_their_time_and_can_be_stopped() {
    for (turn, policy) in [
        (Turn::Fail("down"), RestartPolicy::OnFailure),
        (Turn::Panic("down"), RestartPolicy::OnFailure),
        (Turn::Complete, RestartPolicy::Always),
    ] {
        // Panics are slow, above all when they are printed.
        let ticks_wanted = match turn {
            Turn::Panic(_) => 0,
            _ => 3,
        };
        let supervisor = JanusSupervisor::new(settings());
        let (ticker, ticks) = ticker();
        let ticker = supervisor.spawn_service(ticker).unwrap();
        let what = format!("{turn:?}");
        let hot = Script::new("hot", [turn]).policy(policy);
        let hot = supervisor
            .spawn_service_with_options(hot, no_delay())
            .unwrap();
        for _ in 0..ticks_wanted {
            tokio::time::advance(ms(10)).await;
            turns().await;
        }
        let expected: Vec<_> = (1..=ticks_wanted).map(|tick| ms(tick * 10)).collect();
        assert_eq!(*ticks.lock().unwrap(), expected, "{what}");
        tokio::task::yield_now().await;
        let restarts = u64::from(hot.snapshot().start_count);
        assert!(restarts > ticks_wanted * 1_000, "it was hot: {restarts}");
        assert_eq!(ticker.snapshot().start_count, 1);

        assert_eq!(hot.stop().await, TerminationReason::Cancelled, "{what}");
        supervisor.trigger_shutdown();
        // What does not look at its token takes its grace; time is free again.
        let report = supervisor.wait_for_drain().await;
        assert_eq!(
            (report.took, &*report.aborted),
            (secs(30), &["ticker".to_owned()][..])
        );
    }
}

/// Runs that are ready to be polled again at once, in every way there is.
fn restless() -> Vec<(&'static str, janus_supervisor::BoxService)> {
    use janus_supervisor::BoxService;
    let wakes = service_fn("restless", |_cancel| {
        poll_fn(|cx| {
            cx.waker().wake_by_ref();
            Poll::Pending
        })
    });
    let yields = service_fn("restless", |_cancel| async {
        loop {
            tokio::task::yield_now().await;
        }
    });
    // Uses up the whole budget of its task with every poll, so that nothing after it gets any.
    let spends = service_fn("restless", |_cancel| async {
        loop {
            tokio::task::coop::consume_budget().await;
        }
    });
    vec![
        ("wakes itself", BoxService::new(wakes)),
        ("yields", BoxService::new(yields)),
        ("spends its budget", BoxService::new(spends)),
    ]
}

#[tokio::test(start_paused = true)]
async fn a_run_that_wakes_itself_for_ever_is_aborted_at_its_grace() {
    for (what, service) in restless() {
        let supervisor = JanusSupervisor::new(settings());
        let (ticker, ticks) = ticker();
        supervisor.spawn_service(ticker).unwrap();
        let grace = SpawnOptions::default().with_shutdown_grace(ms(7));
        let handle = supervisor
            .spawn_service_with_options(service, grace)
            .unwrap();
        advance(20).await;
        assert_eq!(handle.phase(), ServicePhase::Running, "{what}");
        assert_eq!(*ticks.lock().unwrap(), [ms(10), ms(20)], "{what}");

        let stop = tokio::spawn({
            let handle = handle.clone();
            async move { handle.stop().await }
        });
        turns().await;
        assert_eq!(handle.phase(), ServicePhase::Stopping, "{what}");
        advance(6).await;
        assert_eq!(handle.phase(), ServicePhase::Stopping, "{what}");
        advance(1).await;
        assert_eq!(
            handle.termination_reason(),
            Some(TerminationReason::Aborted),
            "{what}"
        );
        assert_eq!(stop.await.unwrap(), TerminationReason::Aborted);
    }
}

/// And at the end of the shutdown, which does not wait for it to calm down either.
#[tokio::test(start_paused = true)]
async fn a_run_that_wakes_itself_for_ever_does_not_hold_up_a_shutdown() {
    for (what, service) in restless() {
        let supervisor = JanusSupervisor::new(settings().with_shutdown_timeout(ms(5)));
        let handle = supervisor.spawn_service(service).unwrap();
        turns().await;
        supervisor.trigger_shutdown();
        let drain = tokio::spawn({
            let supervisor = supervisor.clone();
            async move { supervisor.wait_for_drain().await }
        });
        advance(4).await;
        assert!(!drain.is_finished(), "{what}");
        advance(1).await;
        let report = drain.await.unwrap();
        assert_eq!(report.aborted, ["restless"], "{what}");
        assert_eq!(report.took, ms(5), "{what}");
        assert_eq!(
            handle.termination_reason(),
            Some(TerminationReason::Aborted)
        );
    }
}

/// One that does look at its token ends when it is told, however busy it is.
#[tokio::test(start_paused = true)]
async fn a_busy_run_that_heeds_its_token_stops_without_time_passing() {
    let supervisor = JanusSupervisor::new(settings());
    let service = service_fn("busy", |cancel| async move {
        while !cancel.is_cancelled() {
            tokio::task::coop::consume_budget().await;
        }
        Ok(())
    });
    let handle = supervisor.spawn_service(service).unwrap();
    turns().await;
    let before = Instant::now();
    assert_eq!(handle.stop().await, TerminationReason::Cancelled);
    assert_eq!(Instant::now(), before);
}

/// A cooldown, too, is over on time for a run that is never quiet.
#[tokio::test(start_paused = true)]
async fn a_run_that_wakes_itself_for_ever_recovers_on_time() {
    let supervisor = JanusSupervisor::new(settings());
    let runs = AtomicU32::new(0);
    let service = service_fn("restless", move |_cancel| {
        let first = runs.fetch_add(1, SeqCst) == 0;
        async move {
            if first {
                return Err("once".into());
            }
            loop {
                tokio::task::coop::consume_budget().await;
            }
        }
    });
    let backoff = BackoffConfig::new(ms(0), ms(0)).with_cooldown(ms(9));
    let handle = supervisor
        .spawn_service_with_options(service, SpawnOptions::with_backoff(backoff))
        .unwrap();
    turns().await;
    advance(8).await;
    assert_eq!(handle.snapshot().attempt, 1);
    advance(1).await;
    assert_eq!(handle.snapshot().attempt, 0);
}

/// A run that takes its thread for good does not take the crash loop with it that has just given way to it there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_loop_goes_on_beside_a_run_that_blocks_its_thread() {
    let supervisor = JanusSupervisor::new(settings());
    let (release, released) = mpsc::channel::<()>();
    let released = Arc::new(Mutex::new(released));
    let (wake, runs) = (Arc::new(Notify::new()), Arc::new(AtomicU32::new(0)));
    let (reached, begun) = oneshot::channel();
    let reached = Arc::new(Mutex::new(Some(reached)));
    let stuck = service_fn("stuck", {
        let wake = Arc::clone(&wake);
        move |_cancel| {
            let (wake, reached) = (Arc::clone(&wake), Arc::clone(&reached));
            let released = Arc::clone(&released);
            async move {
                wake.notified().await;
                if let Some(reached) = reached.lock().ok().and_then(|mut it| it.take()) {
                    _ = reached.send(());
                }
                _ = released.lock().map(|released| released.recv());
                Ok(())
            }
        }
    });
    supervisor.spawn_service(stuck).unwrap();
    let hot = service_fn("hot", {
        let runs = Arc::clone(&runs);
        move |_cancel| {
            // Whom it wakes has its turn on this thread, right after it.
            if runs.fetch_add(1, SeqCst) == 1_000 {
                wake.notify_one();
            }
            async { Err("down".into()) }
        }
    });
    supervisor
        .spawn_service_with_options(hot, no_delay())
        .unwrap();

    begun.await.unwrap();
    let wanted = runs.load(SeqCst) + 1_000;
    let goes_on = async {
        while runs.load(SeqCst) < wanted {
            tokio::task::yield_now().await;
        }
    };
    // A limit for the test, not a measure.
    tokio::time::timeout(secs(60), goes_on).await.unwrap();

    drop(release);
    supervisor.trigger_shutdown();
    assert!(supervisor.wait_for_drain().await.is_clean());
}

/// Asks a service something and waits for the answer: it is up, and gets its turn.
async fn ask(questions: &tokio::sync::mpsc::UnboundedSender<oneshot::Sender<u32>>) -> Option<u32> {
    let (answer, answered) = oneshot::channel();
    questions.send(answer).ok()?;
    answered.await.ok()
}

/// A service that never comes back from a poll has its thread for good. Nobody else is harmed, the shutdown returns
/// after its second bound and names it, and when it does come back, it ends like any other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_never_yields_is_reported_as_stuck_and_the_others_go_on() {
    let timeouts = settings()
        .with_shutdown_timeout(ms(0))
        .with_abort_timeout(ms(20));
    let supervisor = JanusSupervisor::new(timeouts);

    let (questions, asked) = tokio::sync::mpsc::unbounded_channel::<oneshot::Sender<u32>>();
    let asked = Arc::new(tokio::sync::Mutex::new(asked));
    let answers = AtomicU32::new(0);
    let answering = Arc::new(answers);
    let polite = service_fn("polite", move |cancel| {
        let (asked, answering) = (Arc::clone(&asked), Arc::clone(&answering));
        async move {
            let mut asked = asked.lock().await;
            loop {
                tokio::select! {
                    () = cancel.cancelled() => return Ok(()),
                    Some(answer) = asked.recv() => {
                        let number = answering.fetch_add(1, SeqCst) + 1;
                        // Nobody may be waiting any more.
                        _ = answer.send(number);
                    }
                }
            }
        }
    });

    // The thread is let go when `release` is dropped, also by a failure of this test.
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    let (reached, begun) = oneshot::channel();
    let reached = Mutex::new(Some(reached));
    let stuck = service_fn("stuck", move |_cancel| {
        if let Some(reached) = reached.lock().ok().and_then(|mut reached| reached.take()) {
            _ = reached.send(());
        }
        // Blocks, in the middle of a poll.
        let end = released.lock().map(|released| released.recv().is_err());
        let let_go = end.unwrap_or(false);
        async move {
            assert!(let_go);
            Ok(())
        }
    });
    let stuck: ServiceHandle = supervisor.spawn_service(stuck).unwrap();
    begun.await.unwrap();
    let polite = supervisor.spawn_service(polite).unwrap();
    for question in 1..=100 {
        assert_eq!(ask(&questions).await, Some(question));
    }
    // It can be looked at, though it cannot be reached.
    assert_eq!(stuck.phase(), ServicePhase::Running);
    assert_eq!(supervisor.snapshot().metrics.active_services, 2);
    assert_eq!(polite.stop().await, TerminationReason::Cancelled);

    supervisor.trigger_shutdown();
    let report = supervisor.wait_for_drain().await;
    assert_eq!(report.stuck, ["stuck"]);
    assert!(report.aborted.is_empty());
    assert_eq!(report.exit_code(), 1);
    assert_eq!(stuck.phase(), ServicePhase::Running, "nobody could ask");

    drop(release);
    assert_eq!(stuck.terminated().await, TerminationReason::Cancelled);
    assert_eq!(supervisor.snapshot().metrics.active_services, 0);
    // What was reported stays reported.
    assert_eq!(supervisor.wait_for_drain().await, report);
}

/// Asks for another run as soon as it hears that one has failed.
#[derive(Default)]
struct Impatient(OnceLock<ServiceHandle>);

impl Observer for Impatient {
    fn observe(&self, event: &ServiceEvent) {
        if let (EventKind::BackingOff { .. }, Some(service)) = (&event.kind, self.0.get()) {
            // The request stands, also if nobody waits for the answer.
            let _pending = service.restart().now_or_never();
        }
    }
}

/// A crash loop by hand gives way to others as one without a delay does.
#[test]
fn a_service_that_is_restarted_whenever_it_fails_lets_others_go_on() {
    within_a_minute(|| {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let impatient = Arc::new(Impatient::default());
            let config = settings().with_observer(Arc::clone(&impatient) as Arc<_>);
            let supervisor = JanusSupervisor::new(config);
            let backoff = BackoffConfig::new(secs(1), secs(1)).without_circuit_breaker();
            let fails = service_fn("fails", |_cancel| async { Err("x".into()) });
            let options = SpawnOptions::with_backoff(backoff);
            let fails = supervisor
                .spawn_service_with_options(fails, options)
                .unwrap();
            assert!(impatient.0.set(fails.clone()).is_ok());
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            assert!(fails.snapshot().start_count > 1);
            assert_eq!(fails.stop().await, TerminationReason::Cancelled);
        });
    });
}
