//! Code that blocks a thread. A paused clock stands still while a thread of the blocking pool is busy, so what these
//! tests wait for is either the thread itself or real time that the supervisor is told to wait.

use janus_supervisor::adapters::BlockingService;
use janus_supervisor::{
    CancellationToken, FailureKind, JanusService, JanusSupervisor, Readiness, RestartPolicy,
    ServiceError, ServiceHandle, ServicePhase, SpawnOptions, StopReason, TerminationReason, notify,
};
use janus_tests::{Recorder, Script, config, ms, secs};
use std::error::Error;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// No grace: dropped as soon as it is told.
fn no_grace() -> SpawnOptions {
    SpawnOptions::default().with_shutdown_grace(Duration::ZERO)
}

/// Work that says that it has begun, then blocks its thread, whatever its token says, until it is let go.
struct Stubborn {
    begun: UnboundedSender<()>,
    go: Mutex<mpsc::Receiver<()>>,
    in_progress: Arc<AtomicU32>,
    overlaps: Arc<AtomicU32>,
}

/// The test's end of a [`Stubborn`].
struct Leash {
    begun: UnboundedReceiver<()>,
    let_go: mpsc::Sender<()>,
    in_progress: Arc<AtomicU32>,
    overlaps: Arc<AtomicU32>,
}

impl Stubborn {
    fn new() -> (Self, Leash) {
        let (begun, begins) = unbounded_channel();
        let (let_go, go) = mpsc::channel();
        let stubborn = Self {
            begun,
            go: Mutex::new(go),
            in_progress: Arc::default(),
            overlaps: Arc::default(),
        };
        let leash = Leash {
            begun: begins,
            let_go,
            in_progress: Arc::clone(&stubborn.in_progress),
            overlaps: Arc::clone(&stubborn.overlaps),
        };
        (stubborn, leash)
    }

    fn block(&self) -> Result<(), ServiceError> {
        if self.in_progress.fetch_add(1, SeqCst) > 0 {
            self.overlaps.fetch_add(1, SeqCst);
        }
        self.begun.send(())?;
        let go = self.go.lock().map_err(|_| "poisoned")?.recv();
        self.in_progress.fetch_sub(1, SeqCst);
        Ok(go?)
    }

    fn service(self, name: &'static str) -> impl JanusService {
        BlockingService::new(name, move |_cancel| self.block())
    }
}

#[tokio::test]
async fn it_runs_on_a_thread_of_its_own_and_gets_the_token() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    let (tell, mut told) = unbounded_channel();
    let service = BlockingService::new("blocking", move |cancel| {
        tell.send(std::thread::current().id())?;
        Handle::current().block_on(cancel.cancelled());
        Ok(())
    });
    let handle = supervisor.spawn_service(service).unwrap();
    let thread = told.recv().await.unwrap();
    assert_ne!(thread, std::thread::current().id());
    assert_eq!(handle.phase(), ServicePhase::Running);
    supervisor.trigger_shutdown();
    let report = supervisor.wait_for_drain().await;
    assert_eq!((report.drained, report.is_clean()), (1, true));
    assert_eq!(
        handle.termination_reason(),
        Some(TerminationReason::Cancelled)
    );
}

/// As any run can: also from its own thread.
#[tokio::test]
async fn its_thread_says_that_it_is_ready_and_is_told_why_it_is_to_stop() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    let (tell, mut told) = unbounded_channel();
    let worker = BlockingService::new("worker", move |cancel| {
        notify::status("at work");
        notify::ready();
        Handle::current().block_on(cancel.cancelled());
        Ok(tell.send(notify::stop_reason())?)
    });
    let options = SpawnOptions::default().with_readiness(Readiness::Notify);
    let worker = supervisor
        .spawn_service_with_options(worker, options)
        .unwrap();
    let ready = tokio::time::timeout(secs(60), worker.wait_ready()).await;
    assert!(ready.unwrap());
    assert_eq!(worker.snapshot().status.as_deref(), Some("at work"));
    assert_eq!(worker.stop().await, TerminationReason::Cancelled);
    assert_eq!(told.recv().await, Some(Some(StopReason::Stop)));
}

/// Also where nobody wants the service to stop: its thread looks at its token, and comes back.
#[tokio::test]
async fn a_run_that_fails_a_check_is_told_to_end_and_runs_again() {
    for is_watched in [true, false] {
        let recorder = Arc::new(Recorder::default());
        let supervisor = JanusSupervisor::new(config(&recorder));
        let (tell, mut told) = unbounded_channel();
        let runs = AtomicU32::new(0);
        let worker = BlockingService::new("worker", move |cancel| {
            let is_first = runs.fetch_add(1, SeqCst) == 0;
            tell.send(())?;
            if is_watched || !is_first {
                notify::ready();
            }
            while !is_first && !cancel.is_cancelled() {
                notify::heartbeat();
                std::thread::yield_now();
            }
            Handle::current().block_on(cancel.cancelled());
            Ok(())
        });
        let options = SpawnOptions::default().with_readiness(Readiness::Notify);
        let options = if is_watched {
            options.with_watchdog(secs(1))
        } else {
            options.with_start_timeout(secs(1))
        };
        let worker = supervisor
            .spawn_service_with_options(worker, options)
            .unwrap();
        for _ in 0..2 {
            let begun = tokio::time::timeout(secs(60), told.recv()).await;
            assert_eq!(begun, Ok(Some(())));
        }
        assert_eq!(worker.snapshot().total_failures, 1);
        assert_eq!(worker.stop().await, TerminationReason::Cancelled);
    }
}

/// What a run has beside it ends with it.
#[tokio::test]
async fn a_run_that_fails_beside_its_thread_has_that_end_and_runs_again() {
    struct Both(UnboundedSender<()>);
    impl JanusService for Both {
        fn name(&self) -> &str {
            "both"
        }
        async fn run(&self, cancel: CancellationToken) -> Result<(), ServiceError> {
            self.0.send(())?;
            let blocks = |cancel: CancellationToken| {
                Handle::current().block_on(cancel.cancelled());
                Ok(())
            };
            let one_half = BlockingService::new("half", blocks);
            tokio::select! {
                end = one_half.run(cancel.clone()) => end,
                () = tokio::time::sleep(ms(20)) => Err("the other half failed".into()),
            }
        }
    }
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    let (tell, mut told) = unbounded_channel();
    let both = supervisor.spawn_service(Both(tell)).unwrap();
    for _ in 0..3 {
        let begun = tokio::time::timeout(secs(60), told.recv()).await;
        assert_eq!(begun, Ok(Some(())));
    }
    let last_error = both.snapshot().last_error;
    assert_eq!(last_error.as_deref(), Some("the other half failed"));
    both.stop().await;
}

/// Errors, panics and clean ends are judged as those of any other service.
#[tokio::test(start_paused = true)]
async fn its_errors_and_panics_are_failures_like_any_other() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    let t0 = tokio::time::Instant::now().into_std();
    let runs = AtomicU32::new(0);
    let service =
        BlockingService::new("blocking", move |_cancel| match runs.fetch_add(1, SeqCst) {
            0 => Err("queue is gone".into()),
            1 => panic!("index {} out of bounds", 7),
            2 => std::panic::panic_any(42_u8),
            3 => Ok(()),
            _ => Err(ServiceError::permanent("enough")),
        })
        .with_restart_policy(RestartPolicy::Always);
    assert_eq!(service.name(), "blocking");
    assert_eq!(service.restart_policy(), RestartPolicy::Always);
    let handle = supervisor.spawn_service(service).unwrap();
    handle.terminated().await;
    let trace = recorder.trace_of("blocking", t0);
    let ends = trace.iter().filter(|line| {
        ["failed", "completed", "terminated"]
            .iter()
            .any(|what| line.contains(what))
    });
    assert_eq!(
        ends.collect::<Vec<_>>(),
        [
            "0 run 1 failed (error): queue is gone",
            "100 run 2 failed (panic): panicked: index 7 out of bounds",
            "300 run 3 failed (panic): panicked: with a value that is not text",
            "700 run 4 completed",
            "800 run 5 failed (error): enough",
            "800 run 5 terminated: unrecoverable: enough",
        ]
    );
    let last = handle.snapshot();
    assert_eq!(last.total_failures, 4);
    assert_eq!(last.last_failure_kind, Some(FailureKind::Error));
}

#[tokio::test]
async fn by_default_it_is_restarted_when_it_fails() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    let service = BlockingService::new("blocking", |_cancel| Ok(()));
    assert_eq!(service.restart_policy(), RestartPolicy::OnFailure);
    let handle = supervisor.spawn_service(service).unwrap();
    assert_eq!(handle.terminated().await, TerminationReason::Completed);
}

/// F62: it is named while its thread is not gone, and ends as aborted when it is.
#[tokio::test]
async fn a_thread_that_does_not_return_is_named_as_stuck() {
    let recorder = Arc::new(Recorder::default());
    let config = config(&recorder)
        .with_shutdown_timeout(Duration::ZERO)
        .with_abort_timeout(ms(10));
    let supervisor = JanusSupervisor::new(config);
    let (stubborn, mut leash) = Stubborn::new();
    let stuck = supervisor.spawn_service(stubborn.service("stuck")).unwrap();
    let polite = supervisor.spawn_service(Script::new("polite", [])).unwrap();
    leash.begun.recv().await.unwrap();
    supervisor.trigger_shutdown();
    // A limit for the test, not a measure.
    let drain = tokio::time::timeout(secs(60), supervisor.wait_for_drain());
    let report = drain.await.unwrap();

    assert_eq!(report.stuck, ["stuck"]);
    assert_eq!((report.drained, report.aborted.len()), (1, 0));
    assert_eq!(report.exit_code(), 1);
    assert_eq!(stuck.phase(), ServicePhase::Stopping, "visibly not gone");
    assert_eq!(leash.in_progress.load(SeqCst), 1);
    assert_eq!(polite.phase(), ServicePhase::Terminated);
    assert_eq!(supervisor.metrics().snapshot().active_services, 1);

    leash.let_go.send(()).unwrap();
    assert_eq!(stuck.terminated().await, TerminationReason::Aborted);
    assert_eq!(leash.in_progress.load(SeqCst), 0);
    assert_eq!(supervisor.metrics().snapshot().active_services, 0);
    assert_eq!(
        supervisor.wait_for_drain().await,
        report,
        "the report stays what it was"
    );
}

/// Of the time that was agreed, a service has nothing if all of it passes in one step, as when a machine sleeps.
#[tokio::test(start_paused = true)]
async fn a_thread_that_returns_right_after_a_stall_is_not_called_stuck() {
    let recorder = Arc::new(Recorder::default());
    let config = config(&recorder)
        .with_shutdown_timeout(Duration::ZERO)
        .with_abort_timeout(secs(1));
    let supervisor = JanusSupervisor::new(config);
    let (stubborn, mut leash) = Stubborn::new();
    let handle = supervisor.spawn_service(stubborn.service("late")).unwrap();
    leash.begun.recv().await.unwrap();
    supervisor.trigger_shutdown();
    let drain = tokio::spawn(async move { supervisor.wait_for_drain().await });
    while handle.phase() != ServicePhase::Stopping {
        tokio::task::yield_now().await;
    }
    // The drain is at its second bound.
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    tokio::time::advance(secs(30)).await;
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    leash.let_go.send(()).unwrap();
    let report = drain.await.unwrap();
    assert_eq!(report.aborted, ["late"]);
    assert!(report.stuck.is_empty());
}

/// A stubborn service named "one" that has begun, and has no grace; its supervisor has more than the test needs.
async fn begun_without_grace() -> Result<(JanusSupervisor, ServiceHandle, Leash), Box<dyn Error>> {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder).with_shutdown_timeout(secs(60)));
    let (stubborn, mut leash) = Stubborn::new();
    let handle = supervisor.spawn_service_with_options(stubborn.service("one"), no_grace())?;
    leash.begun.recv().await.ok_or("it is gone")?;
    Ok((supervisor, handle, leash))
}

/// A stop, too, waits for the thread: what it works on is its own until then, and so is its name.
#[tokio::test]
async fn a_stop_waits_for_the_thread_even_if_it_has_no_grace() {
    let (supervisor, handle, leash) = begun_without_grace().await.unwrap();
    let stop = tokio::spawn({
        let handle = handle.clone();
        async move { handle.stop().await }
    });
    while handle.phase() == ServicePhase::Running {
        tokio::task::yield_now().await;
    }
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(!stop.is_finished());
    supervisor
        .spawn_service(Script::new("one", []))
        .unwrap_err();
    leash.let_go.send(()).unwrap();
    assert_eq!(stop.await.unwrap(), TerminationReason::Aborted);
    supervisor.spawn_service(Script::new("one", [])).unwrap();
}

/// So does a restart; and a shutdown that comes meanwhile finds a service that did not stop in time, and does not take
/// it for one that waits for its next run.
#[tokio::test]
async fn a_shutdown_sees_what_a_restart_has_left() {
    let (supervisor, handle, leash) = begun_without_grace().await.unwrap();
    let restart = tokio::spawn({
        let handle = handle.clone();
        async move { handle.restart().await }
    });
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(
        handle.phase(),
        ServicePhase::Running,
        "its thread is not gone"
    );
    supervisor.trigger_shutdown();
    let stops = async {
        while handle.phase() != ServicePhase::Stopping {
            tokio::task::yield_now().await;
        }
    };
    // A limit for the test, not a measure.
    tokio::time::timeout(secs(30), stops).await.unwrap();
    leash.let_go.send(()).unwrap();
    let report = supervisor.wait_for_drain().await;
    assert_eq!(report.aborted, ["one"]);
    assert_eq!(
        handle.termination_reason(),
        Some(TerminationReason::Aborted)
    );
    restart.await.unwrap().unwrap_err();
}

/// The next run begins when the thread of the last one is gone, however often it fails.
#[tokio::test]
async fn two_runs_never_share_their_time() {
    let recorder = Arc::new(Recorder::default());
    let mut config = config(&recorder);
    config.default_backoff.base_delay = Duration::ZERO;
    config.default_backoff.max_retries = 0;
    let supervisor = JanusSupervisor::new(config);
    let (stubborn, mut leash) = Stubborn::new();
    let service = BlockingService::new("one", move |_cancel| {
        stubborn.block()?;
        Err("again".into())
    });
    let handle = supervisor.spawn_service(service).unwrap();
    for _ in 0..50 {
        leash.begun.recv().await.unwrap();
        leash.let_go.send(()).unwrap();
    }
    leash.begun.recv().await.unwrap();
    drop(leash.let_go);
    handle.stop().await;
    assert!(handle.snapshot().start_count > 50);
    assert_eq!(leash.overlaps.load(SeqCst), 0);
}
