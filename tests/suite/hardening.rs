//! What fresh eyes found: each of these once went wrong.

use crate::shutdown::lost::{begin, runtime};
use janus_supervisor::adapters::BlockingService;
use janus_supervisor::{
    BackoffConfig, CancellationToken, EventKind, JanusService, JanusSupervisor, Observer,
    RestartPolicy, ServiceError, ServiceEvent, ServiceHandle, ServicePhase, SpawnError,
    SpawnOptions, SupervisorConfig, TerminationReason, service_fn,
};
use janus_tests::{Recorder, Script, Turn, config, ms, secs, settle};
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::time::Duration;
use tokio::runtime::Builder;
use tracing::subscriber::Interest;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// A log subscriber that panics at every one of these.
struct Torn(Door);

#[derive(Debug, Clone, Copy, PartialEq)]
enum Door {
    Enabled,
    NewSpan,
    Event,
    Enter,
    Exit,
    Close,
}

impl Torn {
    #[expect(clippy::panic, reason = "what the test is about")]
    fn pass(&self, door: Door) {
        if door == self.0 {
            panic!("the log is torn");
        }
    }
}

impl tracing::Subscriber for Torn {
    fn register_callsite(&self, _: &'static tracing::Metadata<'static>) -> Interest {
        Interest::sometimes()
    }
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        self.pass(Door::Enabled);
        true
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        self.pass(Door::NewSpan);
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, _: &tracing::Event<'_>) {
        self.pass(Door::Event);
    }
    fn enter(&self, _: &tracing::span::Id) {
        self.pass(Door::Enter);
    }
    fn exit(&self, _: &tracing::span::Id) {
        self.pass(Door::Exit);
    }
    fn try_close(&self, _: tracing::span::Id) -> bool {
        self.pass(Door::Close);
        true
    }
}

#[tokio::test(start_paused = true)]
async fn a_panicking_log_subscriber_loses_no_event_and_harms_no_run() {
    for door in [
        Door::Enabled,
        Door::NewSpan,
        Door::Event,
        Door::Enter,
        Door::Exit,
        Door::Close,
    ] {
        let _torn = tracing::subscriber::set_default(Torn(door));
        let recorder = Arc::new(Recorder::default());
        let supervisor = JanusSupervisor::new(config(&recorder));
        let turns = [Turn::Fail("x"), Turn::Panic("y"), Turn::Complete];
        let feed = Script::new("feed", turns);
        let feed = supervisor.spawn_service(feed).unwrap();
        assert_eq!(feed.terminated().await, TerminationReason::Completed);
        let events = recorder.events();
        let seqs: Vec<u64> = events.iter().map(|event| event.seq).collect();
        assert_eq!(seqs, (0..seqs.len() as u64).collect::<Vec<_>>(), "{door:?}");
        let snapshot = feed.snapshot();
        let failures = (snapshot.start_count, snapshot.last_error.as_deref());
        assert_eq!(failures, (3, Some("panicked: y")), "{door:?}");
        let metrics = supervisor.metrics().snapshot();
        assert_eq!((metrics.restarts_total, metrics.terminated_total), (2, 1));
        assert_eq!(metrics.active_services, 0);

        let stays = supervisor.spawn_service(Script::new("stays", [])).unwrap();
        settle().await;
        assert_eq!(stays.stop().await, TerminationReason::Cancelled, "{door:?}");
    }
}

/// A log layer that panics whenever a span is left.
struct Trapdoor;

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Trapdoor {
    #[expect(clippy::panic, reason = "what the test is about")]
    fn on_exit(&self, _: &tracing::span::Id, _: tracing_subscriber::layer::Context<'_, S>) {
        panic!("the floor is gone");
    }
}

/// Two panics at once, on the thread of a blocking service, would end the process.
#[tokio::test]
async fn a_log_subscriber_that_panics_as_blocking_work_does_adds_nothing() {
    let _gone = tracing_subscriber::registry().with(Trapdoor).set_default();
    let supervisor = JanusSupervisor::new(SupervisorConfig::default().without_signal_handler());
    let worker = BlockingService::new("worker", |_cancel| panic!("work"));
    let worker = worker.with_restart_policy(RestartPolicy::Never);
    let worker = supervisor.spawn_service(worker).unwrap();
    let reason = worker.terminated().await;
    let wanted = TerminationReason::Unrecoverable("panicked: work".to_owned());
    assert_eq!(reason, wanted);
}

/// Holds up `Registered` until it is told to go on.
struct Doorman {
    arrived: mpsc::Sender<()>,
    go_on: Mutex<mpsc::Receiver<()>>,
}

impl Observer for Doorman {
    #[expect(clippy::unwrap_used, reason = "part of a test")]
    fn observe(&self, event: &ServiceEvent) {
        if matches!(event.kind, EventKind::Registered) {
            self.arrived.send(()).unwrap();
            self.go_on.lock().unwrap().recv().unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_waits_for_a_service_that_is_just_being_spawned() {
    let (arrived, has_arrived) = mpsc::channel();
    let (go, go_on) = mpsc::channel();
    let doorman = Doorman {
        arrived,
        go_on: Mutex::new(go_on),
    };
    let config = SupervisorConfig::default()
        .without_signal_handler()
        .with_observer(Arc::new(doorman));
    let supervisor = JanusSupervisor::new(config);
    let spawning = {
        let supervisor = supervisor.clone();
        tokio::task::spawn_blocking(move || supervisor.spawn_service(Script::new("late", [])))
    };
    has_arrived.recv().unwrap();
    supervisor.trigger_shutdown();
    let mut drain = Box::pin(supervisor.wait_for_drain());
    let early = tokio::select! {
        biased;
        report = &mut drain => Some(report),
        () = tokio::task::yield_now() => None,
    };
    assert_eq!(
        early, None,
        "the service is registered, and its task not there yet"
    );
    go.send(()).unwrap();
    let late = spawning.await.unwrap().unwrap();
    let report = drain.await;
    assert_eq!((report.drained, report.is_clean()), (1, true), "{report}");
    assert_eq!(late.terminated().await, TerminationReason::Cancelled);
}

#[tokio::test(start_paused = true)]
async fn an_aborted_service_is_named_even_if_it_was_removed_before_the_drain_ended() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    let grace = SpawnOptions::default().with_shutdown_grace(ms(50));
    let stubborn = supervisor
        .spawn_service_with_options(Script::new("stubborn", [Turn::Hang]), grace)
        .unwrap();
    supervisor
        .spawn_service(Script::new(
            "slow",
            [Turn::Complete.after(ms(300)).when_cancelled()],
        ))
        .unwrap();
    tokio::task::yield_now().await;
    supervisor.trigger_shutdown();
    let drain = tokio::spawn({
        let supervisor = supervisor.clone();
        async move { supervisor.wait_for_drain().await }
    });
    assert_eq!(stubborn.terminated().await, TerminationReason::Aborted);
    supervisor.remove_service("stubborn").unwrap();
    let report = drain.await.unwrap();
    assert_eq!(
        (report.drained, report.aborted),
        (1, vec!["stubborn".to_owned()])
    );
}

/// Nobody drains here: the bound must hold all the same.
#[tokio::test(start_paused = true)]
async fn a_shutdown_bounds_a_service_that_was_already_stopping() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder).with_shutdown_timeout(ms(100)));
    let patient = SpawnOptions::default().with_shutdown_grace(Duration::MAX);
    let stubborn = supervisor
        .spawn_service_with_options(Script::new("stubborn", [Turn::Hang]), patient)
        .unwrap();
    tokio::task::yield_now().await;
    let begun = tokio::time::Instant::now();
    stubborn.request_stop();
    tokio::time::sleep(secs(7)).await;
    drop(supervisor);
    assert_eq!(stubborn.terminated().await, TerminationReason::Aborted);
    assert_eq!(begun.elapsed(), secs(7) + ms(100));
}

#[test]
fn blocking_work_that_still_waits_for_a_thread_can_be_stopped() {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(1)
        .build()
        .unwrap();
    let (release, released) = mpsc::channel::<()>();
    runtime.block_on(async {
        // The pool's only thread is taken.
        let occupied = tokio::task::spawn_blocking(move || released.recv());
        let config = SupervisorConfig::default().without_signal_handler();
        let supervisor = JanusSupervisor::new(config);
        let begun = Arc::new(AtomicU32::new(0));
        let queued = BlockingService::new("queued", {
            let begun = Arc::clone(&begun);
            move |_cancel| {
                begun.fetch_add(1, SeqCst);
                Ok(())
            }
        });
        let queued = supervisor.spawn_service(queued).unwrap();
        tokio::task::yield_now().await;
        assert_eq!(queued.stop().await, TerminationReason::Cancelled);
        release.send(()).unwrap();
        occupied.await.unwrap().unwrap();
        // The pool is a queue: what comes after it has seen it pass.
        tokio::task::spawn_blocking(|| ()).await.unwrap();
        assert_eq!(begun.load(SeqCst), 0);
    });
}

/// What a run has left behind has the service's token: it is told to end with all others, also when the service has
/// ended long before.
#[tokio::test(start_paused = true)]
async fn what_a_service_has_left_behind_is_told_of_the_shutdown() {
    let supervisor = JanusSupervisor::new(SupervisorConfig::default().without_signal_handler());
    let (leave, left) = mpsc::channel();
    let brief = service_fn("brief", move |cancel: CancellationToken| {
        let leave = leave.clone();
        async move { Ok(leave.send(cancel)?) }
    });
    let brief = supervisor.spawn_service(brief).unwrap();
    assert_eq!(brief.terminated().await, TerminationReason::Completed);
    let token = left.recv().unwrap();
    assert!(!token.is_cancelled());
    supervisor.trigger_shutdown();
    assert!(token.is_cancelled());
}

/// Gives a blocking service less time than it needs.
struct Impatient<S>(S);

impl<S: JanusService> JanusService for Impatient<S> {
    fn name(&self) -> &str {
        self.0.name()
    }

    async fn run(&self, cancel: CancellationToken) -> Result<(), ServiceError> {
        // Polled once, so that it begins, and dropped.
        let mut inner = Box::pin(self.0.run(cancel));
        tokio::select! {
            biased;
            end = &mut inner => end,
            () = tokio::task::yield_now() => Err("too slow".into()),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_not_over_before_the_thread_that_it_dropped_is() {
    let config = SupervisorConfig::default()
        .without_signal_handler()
        .with_default_backoff(
            BackoffConfig::new(Duration::ZERO, Duration::ZERO).with_circuit_breaker(5, secs(60)),
        );
    let supervisor = JanusSupervisor::new(config);
    let (alive, most) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let inner = BlockingService::new("thread", {
        let (alive, most) = (Arc::clone(&alive), Arc::clone(&most));
        move |_cancel| {
            most.fetch_max(alive.fetch_add(1, SeqCst) + 1, SeqCst);
            std::thread::park_timeout(ms(5));
            alive.fetch_sub(1, SeqCst);
            Ok(())
        }
    });
    let thread = supervisor.spawn_service(Impatient(inner)).unwrap();
    let reason = thread.terminated().await;
    assert_eq!(reason.as_str(), "circuit_breaker_open");
    assert_eq!(alive.load(SeqCst), 0, "nothing is left behind");
    assert!(most.load(SeqCst) <= 1, "never two at once");
}

/// An error whose text asks for the service it comes from.
#[derive(Debug)]
struct Curious(Arc<OnceLock<ServiceHandle>>);

impl fmt::Display for Curious {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let phase = self.0.get().map(ServiceHandle::phase);
        write!(f, "failed while {phase:?}")
    }
}

impl std::error::Error for Curious {}

#[tokio::test(start_paused = true)]
async fn the_debug_of_a_handle_runs_no_code_of_an_error() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    let itself = Arc::new(OnceLock::new());
    let curious = service_fn("curious", {
        let itself = Arc::clone(&itself);
        move |_cancel| {
            let error = Curious(Arc::clone(&itself));
            async move { Err(ServiceError::permanent(error)) }
        }
    });
    let handle = supervisor.spawn_service(curious).unwrap();
    itself.set(handle.clone()).unwrap();
    handle.terminated().await;
    assert!(format!("{handle:?}").contains("\"curious\""));
    let error = handle.snapshot().last_error.unwrap_or_default();
    assert_eq!(error, "failed while Some(Terminated)");
}

#[test]
fn a_runtime_without_a_clock_is_refused() {
    let runtime = Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let config = SupervisorConfig::default().without_signal_handler();
        let supervisor = JanusSupervisor::new(config);
        let error = supervisor.spawn_service(Script::new("feed", [])).unwrap_err();
        assert!(matches!(error, SpawnError::NoTimeDriver { .. }));
        assert_eq!(
            error.to_string(),
            "cannot spawn service \"feed\": the tokio runtime has no time driver; build it with enable_time or enable_all"
        );
        assert_eq!(supervisor.service_count().await, 0);

        // Also when all else is there, since somebody has spawned a service from here.
        let elsewhere = self::runtime();
        let options = SpawnOptions::default().on(elsewhere.handle().clone());
        supervisor
            .spawn_service_with_options(Script::new("elsewhere", []), options)
            .unwrap();
        let error = supervisor.spawn_service(Script::new("feed", [])).unwrap_err();
        assert!(matches!(error, SpawnError::NoTimeDriver { .. }));
        let options = SpawnOptions::default().on(tokio::runtime::Handle::current());
        let feed = Script::new("feed", []);
        let error = supervisor.spawn_service_with_options(feed, options).unwrap_err();
        assert!(matches!(error, SpawnError::NoTimeDriver { .. }));
        elsewhere.shutdown_background();
    });
}

/// Whether it was never used, or services were on it.
#[test]
fn a_runtime_that_was_shut_down_is_refused() {
    let here = runtime();
    here.block_on(async {
        for was_used in [false, true] {
            let config = SupervisorConfig::default().without_signal_handler();
            let supervisor = JanusSupervisor::new(config);
            let elsewhere = runtime();
            let on_it = || SpawnOptions::default().on(elsewhere.handle().clone());
            let (first, second) = (on_it(), on_it());
            if was_used {
                let before = Script::new("before", []);
                supervisor
                    .spawn_service_with_options(before, on_it())
                    .unwrap();
            }
            elsewhere.shutdown_background();
            for options in [first, second] {
                let feed = Script::new("feed", []);
                let error = supervisor
                    .spawn_service_with_options(feed, options)
                    .unwrap_err();
                assert!(matches!(error, SpawnError::RuntimeGone { .. }));
                assert_eq!(
                    error.to_string(),
                    "cannot spawn service \"feed\": its tokio runtime has been shut down"
                );
            }
            assert_eq!(supervisor.service_count().await, usize::from(was_used));
            // One that has not is as good as before.
            let feed = supervisor.spawn_service(Script::new("feed", [])).unwrap();
            assert_eq!(feed.stop().await, TerminationReason::Cancelled);
        }
    });
}

/// `took` is the drain's, not the waiter's: whoever asks late gets the same number.
#[tokio::test(start_paused = true)]
async fn the_drain_took_as_long_as_it_took_whenever_somebody_asks() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    let script = Script::new("slow", [Turn::Complete.after(secs(5)).when_cancelled()]);
    supervisor.spawn_service(script).unwrap();
    settle().await;
    supervisor.trigger_shutdown();
    tokio::time::sleep(secs(100)).await;
    assert_eq!(supervisor.wait_for_drain().await.took, secs(5));
}

/// Whoever waits for the end of a service may count on its value being gone, also when the runtime goes away
/// under it: before its first poll, and in the middle of a run.
#[test]
fn the_value_of_a_lost_service_is_gone_before_it_counts_as_ended() {
    struct Value(JanusSupervisor, mpsc::Sender<ServicePhase>);
    impl Drop for Value {
        fn drop(&mut self) {
            let phase = self.0.service("lost").map(|service| service.phase());
            self.1.send(phase.unwrap()).unwrap();
        }
    }
    for (begins, phase) in [
        (false, ServicePhase::Starting),
        (true, ServicePhase::Running),
    ] {
        let recorder = Arc::new(Recorder::default());
        let supervisor = JanusSupervisor::new(config(&recorder));
        let (tell, told) = mpsc::channel();
        let value = Value(supervisor.clone(), tell);
        let runtime = runtime();
        let inside = runtime.enter();
        supervisor
            .spawn_service(service_fn("lost", move |_cancel| {
                let _own = &value;
                std::future::pending()
            }))
            .unwrap();
        drop(inside);
        if begins {
            begin(&runtime);
        }
        drop(runtime);
        assert_eq!(told.recv().unwrap(), phase, "begins: {begins}");
    }
}

/// F63: no second bound is no reason to call stuck what was only not asked.
#[tokio::test(start_paused = true)]
async fn without_a_second_bound_what_can_be_dropped_still_is() {
    let recorder = Arc::new(Recorder::default());
    let config = config(&recorder)
        .with_shutdown_timeout(secs(1))
        .with_abort_timeout(ms(0));
    let supervisor = JanusSupervisor::new(config);
    supervisor
        .spawn_service(Script::new("stubborn", [Turn::Hang]))
        .unwrap();
    settle().await;
    supervisor.trigger_shutdown();
    let report = supervisor.wait_for_drain().await;
    assert_eq!(report.stuck, [""; 0]);
    assert_eq!(report.aborted, ["stubborn"]);
}
