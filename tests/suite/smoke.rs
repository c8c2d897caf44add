//! A few tests in real time, on several threads: what the paused clock cannot show. Nothing here depends on how long
//! anything takes.

use janus_supervisor::{
    BackoffConfig, CancellationToken, EventKind, FailureKind, JanusSupervisor, ServicePhase,
    SpawnOptions, TerminationReason, service_fn,
};
use janus_tests::{Recorder, Script, Turn, config, ms, secs};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use tokio::runtime::Handle;
use tokio::sync::mpsc::unbounded_channel;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_comes_back_after_its_failures() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    let (tell, mut told) = unbounded_channel();
    let runs = AtomicU32::new(0);
    let service = service_fn("feed", move |cancel: CancellationToken| {
        let (run, tell) = (runs.fetch_add(1, SeqCst) + 1, tell.clone());
        async move {
            if run < 4 {
                return Err(format!("failure {run}").into());
            }
            tell.send(run)?;
            cancel.cancelled().await;
            Ok(())
        }
    });
    let quick = BackoffConfig::new(ms(1), ms(2));
    let feed = supervisor
        .spawn_service_with_options(service, SpawnOptions::with_backoff(quick))
        .unwrap();
    assert_eq!(told.recv().await, Some(4));
    let snapshot = feed.snapshot();
    assert_eq!((snapshot.start_count, snapshot.total_failures), (4, 3));
    assert_eq!(snapshot.last_error.as_deref(), Some("failure 3"));
    assert_eq!(snapshot.phase, ServicePhase::Running);
    let delays = recorder.events_of("feed").into_iter();
    let delays = delays.filter_map(|event| match event.kind {
        EventKind::BackingOff { delay, .. } => Some(delay),
        _ => None,
    });
    // Jitter never goes below a millisecond.
    assert!(delays.clone().all(|delay| (ms(1)..=ms(2)).contains(&delay)));
    assert_eq!(delays.count(), 3);
    assert_eq!(feed.stop().await, TerminationReason::Cancelled);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_drains() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    let (tell, mut told) = unbounded_channel();
    for i in 0..100 {
        let tell = tell.clone();
        let service = service_fn(format!("{i}"), move |cancel: CancellationToken| {
            let tell = tell.clone();
            async move {
                tell.send(())?;
                cancel.cancelled().await;
                tokio::task::yield_now().await;
                Ok(())
            }
        });
        supervisor.spawn_service(service).unwrap();
    }
    for _ in 0..100 {
        told.recv().await.unwrap();
    }
    let run = tokio::spawn({
        let supervisor = supervisor.clone();
        async move { supervisor.run_until_shutdown().await }
    });
    supervisor.trigger_shutdown();
    let report = run.await.unwrap().unwrap();
    assert_eq!((report.drain.drained, report.exit_code()), (100, 0));
    assert_eq!(supervisor.metrics().snapshot().active_services, 0);
}

/// F62: a service that never comes back from its poll cannot be dropped. It is named, and holds up nobody: not the
/// siblings, not the return.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_blocks_its_thread_is_named_as_stuck() {
    let recorder = Arc::new(Recorder::default());
    let config = config(&recorder)
        .with_shutdown_timeout(ms(20))
        .with_abort_timeout(ms(20));
    let supervisor = JanusSupervisor::new(config);
    let (tell, mut told) = unbounded_channel();
    let mut siblings = Vec::new();
    for (name, stops) in [("polite", true), ("deaf", false)] {
        let tell = tell.clone();
        let service = service_fn(name, move |cancel: CancellationToken| {
            let tell = tell.clone();
            async move {
                tell.send(())?;
                if !stops {
                    std::future::pending::<()>().await;
                }
                cancel.cancelled().await;
                Ok(())
            }
        });
        siblings.push(supervisor.spawn_service(service).unwrap());
        told.recv().await.unwrap();
    }
    let (let_go, go) = mpsc::channel::<()>();
    let go = Arc::new(Mutex::new(go));
    let blocking = service_fn("blocking", move |_cancel| {
        let (tell, go) = (tell.clone(), Arc::clone(&go));
        async move {
            tell.send(())?;
            let go = go.lock().unwrap_or_else(PoisonError::into_inner);
            Ok(go.recv()?)
        }
    });
    let blocking = supervisor.spawn_service(blocking).unwrap();
    told.recv().await.unwrap();

    supervisor.trigger_shutdown();
    for sibling in siblings {
        sibling.terminated().await;
    }
    // A limit for the test, not a measure.
    let drain = tokio::time::timeout(secs(60), supervisor.wait_for_drain());
    let report = drain.await.unwrap();
    assert_eq!(report.drained, 1);
    assert_eq!(report.aborted, ["deaf"]);
    assert_eq!(report.stuck, ["blocking"]);
    assert_eq!(report.exit_code(), 1);
    assert!(!blocking.phase().is_terminal());

    let_go.send(()).unwrap();
    blocking.terminated().await;
    assert_eq!(supervisor.metrics().snapshot().active_services, 0);
    assert_eq!(supervisor.wait_for_drain().await, report);
}

/// A run that is always busy, and uses up its whole budget at every poll, cannot hold up its own deadline.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_is_always_busy_is_dropped_when_its_grace_is_over() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    let (tell, mut told) = unbounded_channel();
    let busy = service_fn("busy", move |_cancel| {
        let tell = tell.clone();
        async move {
            tell.send(())?;
            loop {
                tokio::task::consume_budget().await;
            }
        }
    });
    let options = SpawnOptions::default().with_shutdown_grace(ms(5));
    let busy = supervisor
        .spawn_service_with_options(busy, options)
        .unwrap();
    told.recv().await.unwrap();
    // A limit for the test, not a measure.
    let reason = tokio::time::timeout(secs(60), busy.stop()).await;
    assert_eq!(reason, Ok(TerminationReason::Aborted));
}

/// From a thread that knows nothing of a runtime.
#[test]
fn a_shutdown_may_come_from_any_thread() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let inside = runtime.enter();
    let service = supervisor.spawn_service(Script::new("one", [])).unwrap();
    drop(inside);
    let elsewhere = std::thread::spawn({
        let supervisor = supervisor.clone();
        move || {
            supervisor.trigger_shutdown();
            supervisor.snapshot().shutting_down
        }
    });
    assert!(elsewhere.join().unwrap());
    let report = runtime.block_on(supervisor.wait_for_drain());
    assert_eq!((report.drained, report.is_clean()), (1, true));
    assert!(report.took < secs(30));
    // A supervisor, too, may go away anywhere.
    let handle = std::thread::spawn(move || drop(supervisor));
    handle.join().unwrap();
    assert_eq!(service.phase(), ServicePhase::Terminated);
}

/// Dropped in the middle of everything: nothing is orphaned.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_whose_supervisor_is_dropped_comes_down() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    let mut handles = Vec::new();
    for i in 0..100 {
        let turns = [Turn::Fail("x"), Turn::Complete, Turn::until_cancelled()];
        let script = Script::new(format!("{i}"), turns[i % 3..].to_vec());
        handles.push(supervisor.spawn_service(script).unwrap());
    }
    drop(supervisor);
    for handle in handles {
        // A limit for the test, not a measure.
        let reason = tokio::time::timeout(secs(60), handle.terminated()).await;
        let reason = reason.unwrap();
        assert!(
            matches!(
                reason,
                TerminationReason::Cancelled | TerminationReason::Completed
            ),
            "{reason}"
        );
    }
}

/// DESIGN 6: three ways to hang, and what the operator sees of each. Siblings go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_hangs_is_restarted_if_it_can_be_dropped_and_named_as_stuck_if_not() {
    let recorder = Arc::new(Recorder::default());
    let settings = config(&recorder).with_shutdown_timeout(ms(50));
    let supervisor = JanusSupervisor::new(settings);
    let options = || SpawnOptions::default().with_watchdog(ms(100));
    let release = Arc::new(AtomicBool::new(false));

    // In an await: dropped, and begun anew.
    let waits = Script::new("waits", [Turn::Hang]);
    let waits = supervisor
        .spawn_service_with_options(waits, options())
        .unwrap();
    // Spinning, and never giving way.
    let until = Arc::clone(&release);
    let spins = service_fn("spins", move |_cancel| {
        let until = Arc::clone(&until);
        async move {
            while !until.load(SeqCst) {
                std::hint::spin_loop();
            }
            Ok(())
        }
    });
    let spins = supervisor
        .spawn_service_with_options(spins, options())
        .unwrap();
    // Waiting for its own lock: a thread has it until the end of the test.
    let lock = Arc::new(Mutex::new(()));
    let (held, is_held) = mpsc::channel();
    let (let_go, until) = mpsc::channel::<()>();
    let holder = std::thread::spawn({
        let lock = Arc::clone(&lock);
        move || {
            let guard = lock.lock().unwrap();
            held.send(()).unwrap();
            assert!(until.recv().is_err(), "the other side is dropped");
            drop(guard);
        }
    });
    is_held.recv().unwrap();
    let deadlocks = service_fn("deadlocks", move |_cancel| {
        let lock = Arc::clone(&lock);
        async move {
            drop(lock.lock());
            Ok(())
        }
    });
    let deadlocks = supervisor
        .spawn_service_with_options(deadlocks, options())
        .unwrap();
    let sibling = supervisor
        .spawn_service(Script::new("sibling", []))
        .unwrap();

    // A limit for the test, not a measure.
    let seen = tokio::time::timeout(secs(60), async {
        loop {
            let stuck = [&waits, &spins, &deadlocks, &sibling].map(|it| it.snapshot().stuck);
            if stuck == [false, true, true, false] && waits.snapshot().start_count > 1 {
                return waits.snapshot();
            }
            tokio::time::sleep(ms(10)).await;
        }
    });
    let seen = seen.await.unwrap();
    assert_eq!(seen.last_failure_kind, Some(FailureKind::Hang));
    assert_eq!(seen.last_error.as_deref(), Some("no heartbeat for 100ms"));
    assert_eq!(sibling.phase(), ServicePhase::Running);

    release.store(true, SeqCst);
    drop(let_go);
    holder.join().unwrap();
    for it in [spins, deadlocks] {
        let reason = tokio::time::timeout(secs(60), it.terminated()).await;
        assert_eq!(reason, Ok(TerminationReason::Completed), "{}", it.name());
    }
    supervisor.trigger_shutdown();
    let drained = tokio::time::timeout(secs(60), supervisor.wait_for_drain()).await;
    assert_eq!(drained.unwrap().stuck, [""; 0]);
}

/// An observer, or whoever reads the log, may take longer than a backoff lasts. What was ahead when the delay was drawn
/// has then passed before anybody waits for it, which must not be taken for too early for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delay_that_is_over_before_it_is_waited_for_is_over() {
    struct Slow;
    impl janus_supervisor::Observer for Slow {
        fn observe(&self, event: &janus_supervisor::ServiceEvent) {
            if matches!(event.kind, EventKind::BackingOff { .. }) {
                std::thread::park_timeout(ms(50));
            }
        }
    }
    // Another timer all the time, so that the runtime's timers move on meanwhile.
    tokio::spawn(async {
        loop {
            tokio::time::sleep(ms(1)).await;
        }
    });
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder).with_observer(Arc::new(Slow)));
    let script = Script::new("feed", [Turn::Fail("x"), Turn::until_cancelled()]);
    let backoff = BackoffConfig::new(ms(5), ms(5)).with_jitter(janus_supervisor::Jitter::None);
    let feed = supervisor
        .spawn_service_with_options(script, SpawnOptions::with_backoff(backoff))
        .unwrap();
    let (tell, told) = mpsc::channel();
    let watched = feed.clone();
    // On a thread of its own: a task that spins takes its worker with it.
    std::thread::spawn(move || {
        while watched.snapshot().start_count < 2 {
            std::thread::park_timeout(ms(5));
        }
        tell.send(())
    });
    let come_back = tokio::task::spawn_blocking(move || told.recv_timeout(secs(10)));
    if come_back.await.unwrap().is_err() {
        // A panic would wait for the worker that spins.
        std::process::abort();
    }
    assert_eq!(feed.stop().await, TerminationReason::Cancelled);
}

/// What wakes from a timer may be polled by the very thread that looks at the timers, and tokio wakes no other for
/// that.
struct Sleeper {
    /// It blocks its thread.
    blocked: mpsc::Receiver<()>,
    let_go: mpsc::Sender<()>,
}

/// A service that waits for a while, when it has begun or once it was told to end, and then blocks its thread. In real
/// time, after a long one, it comes back by itself, lest a failing test should hang.
fn sleeper(when_told: bool) -> (impl janus_supervisor::JanusService, Sleeper) {
    let (tell, blocked) = mpsc::channel();
    let (let_go, go) = mpsc::channel();
    let go = Arc::new(Mutex::new(go));
    let service = service_fn("sleeper", move |cancel: CancellationToken| {
        let (tell, go) = (tell.clone(), Arc::clone(&go));
        async move {
            if when_told {
                cancel.cancelled().await;
            }
            tokio::time::sleep(ms(20)).await;
            tell.send(())?;
            let go = go.lock().map_err(|_| "poisoned")?;
            let _let_go_or_not = go.recv_timeout(secs(20));
            Ok(())
        }
    });
    (service, Sleeper { blocked, let_go })
}

/// A runtime with so many threads. To be shut down in the background: a test that fails leaves one of them blocked.
fn with_threads(n: usize) -> std::io::Result<tokio::runtime::Runtime> {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(n).enable_all().build()
}

#[test]
fn a_run_that_blocks_the_thread_of_the_timers_does_not_hold_up_the_drain() {
    for threads in [1, 2] {
        let runtime = with_threads(threads).unwrap();
        runtime.block_on(async {
            let recorder = Arc::new(Recorder::default());
            let config = config(&recorder).with_shutdown_timeout(ms(500));
            let supervisor = JanusSupervisor::new(config.with_abort_timeout(ms(50)));
            let (service, sleeper) = sleeper(true);
            let handle = supervisor.spawn_service(service).unwrap();
            assert!(handle.wait_ready().await);
            let tasks = || Handle::current().metrics().num_alive_tasks();
            let before = tasks();
            supervisor.trigger_shutdown();
            let report = supervisor.wait_for_drain().await;
            assert_eq!(report.stuck, ["sleeper"], "{threads} threads: {report}");
            assert!(tasks() <= before + 1, "no more than one that does nothing");
            assert!(handle.snapshot().stuck, "{threads} threads");
            sleeper.blocked.recv().unwrap();
            sleeper.let_go.send(()).unwrap();
            handle.terminated().await;
            assert!(!handle.snapshot().stuck);
        });
        runtime.shutdown_background();
    }
}

#[test]
fn beside_a_run_that_blocks_the_thread_of_the_timers_others_go_on() {
    let runtime = with_threads(2).unwrap();
    runtime.block_on(async {
        let recorder = Arc::new(Recorder::default());
        let supervisor = JanusSupervisor::new(config(&recorder));
        let (service, sleeper) = sleeper(false);
        let (tell, mut ticks) = unbounded_channel();
        let ticker = service_fn("ticker", move |_cancel| {
            let tell = tell.clone();
            async move {
                loop {
                    tokio::time::sleep(ms(5)).await;
                    tell.send(())?;
                }
            }
        });
        let blocking = supervisor.spawn_service(service).unwrap();
        drop(supervisor.spawn_service(ticker).unwrap());
        let blocked = tokio::task::spawn_blocking(move || {
            sleeper.blocked.recv().unwrap();
            sleeper.let_go
        });
        let let_go = blocked.await.unwrap();
        for _ in 0..20 {
            ticks.recv().await.unwrap();
        }
        assert_eq!(
            blocking.phase(),
            ServicePhase::Running,
            "it has come back by itself"
        );
        let_go.send(()).unwrap();
        blocking.terminated().await;
    });
    runtime.shutdown_background();
}
