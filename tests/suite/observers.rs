//! What an observer is told, and what it may do.

mod reentrant;
mod removal;

use janus_supervisor::{
    BackoffConfig, EventKind, JanusSupervisor, MetricsSnapshot, Observer, RestartPolicy,
    ServiceEvent, ServicePhase, SpawnOptions, SupervisorMetrics,
};
use janus_tests::{
    Recorder, Script, ScriptLog, Story, Turn, backoff, config, ms, secs, settle, within_a_minute,
};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;
use tokio::sync::oneshot;

/// One service for each kind of life there is.
fn lives() -> Vec<(Script, SpawnOptions)> {
    let default = SpawnOptions::default;
    let with = |backoff: BackoffConfig| SpawnOptions::with_backoff(backoff);
    vec![
        (Script::new("idle", []), default()),
        (Script::new("completes", [Turn::Complete]), default()),
        (
            Script::new("fails once", [Turn::Fail("x"), Turn::Complete.after(ms(5))]),
            default(),
        ),
        (
            Script::new(
                "panics",
                [Turn::Panic("x"), Turn::Panic("y"), Turn::Complete],
            ),
            default(),
        ),
        (
            Script::new("always", [Turn::Complete.after(ms(50))]).policy(RestartPolicy::Always),
            default(),
        ),
        (Script::new("for good", [Turn::FailForGood("x")]), default()),
        (
            Script::new("never", [Turn::Fail("x")]).policy(RestartPolicy::Never),
            default(),
        ),
        (
            Script::new("trips", [Turn::Fail("x")]),
            with(backoff().with_circuit_breaker(4, secs(60))),
        ),
        (
            Script::new("recovers", [Turn::Fail("x"), Turn::until_cancelled()]),
            with(backoff().with_cooldown(secs(2))),
        ),
        (
            Script::new("fails for ever", [Turn::Fail("x")]),
            with(backoff().without_circuit_breaker()),
        ),
        (
            Script::new(
                "slow to stop",
                [Turn::Fail("x").after(secs(2)).when_cancelled()],
            ),
            default(),
        ),
        (
            Script::new("hangs", [Turn::Hang]),
            default().with_shutdown_grace(secs(1)),
        ),
        (Script::new("hangs for ever", [Turn::Hang]), default()),
    ]
}

/// F78, and with it: numbers without gaps, runs numbered, one end for each run that began.
#[tokio::test(start_paused = true)]
async fn the_events_of_each_service_tell_a_whole_story() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    for (script, options) in lives() {
        supervisor
            .spawn_service_with_options(script, options)
            .unwrap();
    }
    tokio::time::sleep(secs(5)).await;
    supervisor.spawn_service(Script::new("unborn", [])).unwrap();
    supervisor.trigger_shutdown();
    supervisor.wait_for_drain().await;

    let stories = Story::of_each(&recorder.events()).unwrap();
    let services = supervisor.snapshot().services;
    assert_eq!(stories.len(), services.len());
    for (service, (_, story)) in services.into_iter().zip(stories) {
        let name = service.service_name;
        assert_eq!(service.phase, ServicePhase::Terminated, "{name}");
        assert_eq!(u64::from(service.start_count), story.restarts + 1, "{name}");
        assert_eq!(
            service.termination_reason,
            story.end.map(|reason| reason.to_string()),
            "{name}"
        );
        let runs = if name == "unborn" {
            0
        } else {
            story.restarts + 1
        };
        assert_eq!(story.runs, runs, "{name}");
        let failed = recorder.count(|event| {
            *event.service == *name
                && matches!(
                    event.kind,
                    EventKind::RunEnded {
                        outcome: janus_supervisor::RunOutcome::Failed(_),
                        ..
                    }
                )
        });
        assert_eq!(service.total_failures as usize, failed, "{name}");
    }
}

/// The counters are what the events add up to, at every moment at which nobody is in the middle of something.
#[tokio::test(start_paused = true)]
async fn the_counters_are_what_the_events_add_up_to() {
    let recorder = Arc::new(Recorder::default());
    let own = Arc::new(SupervisorMetrics::default());
    let config = config(&recorder).with_observer(Arc::clone(&own) as Arc<_>);
    let supervisor = JanusSupervisor::new(config);
    let added_up = || {
        let mut sum = MetricsSnapshot::default();
        for story in Story::of_each(&recorder.events()).unwrap().values() {
            sum.spawned_total += 1;
            sum.restarts_total += story.restarts;
            sum.circuit_breaker_trips += story.trips;
            if story.end.is_some() {
                sum.terminated_total += 1;
            } else {
                sum.active_services += 1;
            }
        }
        sum
    };
    for (script, options) in lives() {
        supervisor
            .spawn_service_with_options(script, options)
            .unwrap();
        assert_eq!(supervisor.metrics().snapshot(), added_up());
        settle().await;
    }
    for moment in 0..10 {
        tokio::time::sleep(ms(500)).await;
        assert_eq!(supervisor.metrics().snapshot(), added_up(), "{moment}");
    }
    supervisor.remove_terminated();
    supervisor.trigger_shutdown();
    supervisor.wait_for_drain().await;
    let metrics = supervisor.metrics().snapshot();
    assert_eq!(metrics, added_up());
    assert_eq!(metrics, supervisor.snapshot().metrics);
    assert_eq!(metrics, own.snapshot(), "an observer like any other");
    let n = lives().len() as u64;
    assert_eq!((metrics.spawned_total, metrics.terminated_total), (n, n));
    assert_eq!(
        (metrics.active_services, metrics.circuit_breaker_trips),
        (0, 1)
    );
}

/// Each observer is told everything, in the same order.
#[tokio::test(start_paused = true)]
async fn every_observer_is_told_the_same() {
    let recorders = [(); 3].map(|()| Arc::new(Recorder::default()));
    let mut config = config(&recorders[0]);
    for more in &recorders[1..] {
        config = config.with_observer(Arc::clone(more) as Arc<_>);
    }
    let supervisor = JanusSupervisor::new(config);
    for (script, options) in lives() {
        supervisor
            .spawn_service_with_options(script, options)
            .unwrap();
    }
    tokio::time::sleep(secs(5)).await;
    supervisor.trigger_shutdown();
    supervisor.wait_for_drain().await;
    let told = |recorder: &Recorder| {
        let events = recorder.events().into_iter();
        events.map(|event| format!("{event:?}")).collect::<Vec<_>>()
    };
    let first = told(&recorders[0]);
    assert!(first.len() > 50);
    assert_eq!(first, told(&recorders[1]));
    assert_eq!(first, told(&recorders[2]));
}

/// Holds up each registration for a while, or until the service has gone ahead of it.
#[derive(Default)]
struct Doorkeeper(AtomicBool);

impl Observer for Doorkeeper {
    fn observe(&self, event: &ServiceEvent) {
        if !matches!(event.kind, EventKind::Registered) {
            self.0.store(true, SeqCst);
            return;
        }
        for _ in 0..1000 {
            if self.0.load(SeqCst) {
                return;
            }
            std::thread::yield_now();
        }
    }
}

/// On several threads, where a service could be over before its spawn returns.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn registered_comes_first_also_for_services_that_end_at_once() {
    for _ in 0..20 {
        let recorder = Arc::new(Recorder::default());
        let mut config = config(&recorder);
        config.observers.insert(0, Arc::new(Doorkeeper::default()));
        let supervisor = JanusSupervisor::new(config);
        let script = Script::new("one", [Turn::Complete]);
        let handle = supervisor.spawn_service(script).unwrap();
        handle.terminated().await;
        let stories = Story::of_each(&recorder.events()).unwrap();
        assert!(stories.values().all(|story| story.end.is_some()));
    }
}

/// Ids are given in the order of spawning, and never again.
#[tokio::test(start_paused = true)]
async fn services_are_numbered_and_keep_their_number() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    for name in ["a", "b", "a"] {
        let script = Script::new(name, [Turn::Complete]);
        supervisor.spawn_service(script).unwrap().terminated().await;
    }
    let ids = |name| {
        let mut ids: Vec<_> = recorder.events_of(name).iter().map(|e| e.id).collect();
        ids.dedup();
        ids
    };
    let (a, b) = (ids("a"), ids("b"));
    assert_eq!((a.len(), b.len()), (2, 1), "{a:?} {b:?}");
    assert!(a[0] < b[0] && b[0] < a[1]);
}

/// Looks at the service itself whenever a run is said to be over.
struct Doubter {
    logs: HashMap<&'static str, Arc<ScriptLog>>,
    lies: Mutex<Vec<ServiceEvent>>,
}

impl Observer for Doubter {
    fn observe(&self, event: &ServiceEvent) {
        let over = matches!(
            event.kind,
            EventKind::RunEnded { .. }
                | EventKind::BackingOff { .. }
                | EventKind::Terminated { .. }
        );
        let log = self.logs.get(&*event.service);
        if over && log.is_some_and(|log| log.in_progress() != 0) {
            let mut lies = self.lies.lock().unwrap_or_else(PoisonError::into_inner);
            lies.push(event.clone());
        }
    }
}

/// F62: whoever is told that a run has ended, or was dropped, may count on it.
#[tokio::test(start_paused = true)]
async fn a_run_is_gone_before_its_end_is_told() {
    const ENDS: [(&str, Turn); 4] = [
        ("completes", Turn::Complete),
        ("fails", Turn::Fail("x")),
        ("panics", Turn::Panic("x")),
        ("hangs", Turn::Hang),
    ];
    let scripts = ENDS.map(|(name, turn)| (name, Script::new(name, [turn])));
    let logs = scripts.iter().map(|(name, script)| (*name, script.log()));
    let doubter = Arc::new(Doubter {
        logs: logs.collect(),
        lies: Mutex::default(),
    });
    let recorder = Arc::new(Recorder::default());
    let config = config(&recorder).with_observer(Arc::clone(&doubter) as Arc<_>);
    let supervisor = JanusSupervisor::new(config);
    for (_, script) in scripts {
        supervisor.spawn_service(script).unwrap();
    }
    tokio::time::sleep(secs(1)).await;
    supervisor.trigger_shutdown();
    let report = supervisor.wait_for_drain().await;
    assert_eq!(report.aborted, ["hangs"]);
    let ends = recorder.count(|event| matches!(event.kind, EventKind::RunEnded { .. }));
    assert!(ends > 6, "{ends}");
    let lies = doubter.lies.lock().unwrap();
    assert!(lies.is_empty(), "{lies:?}");
}

/// Blocks on the first event of one service until it is let go.
struct Slow {
    entered: Mutex<Option<oneshot::Sender<()>>>,
    go: Mutex<mpsc::Receiver<()>>,
}

impl Observer for Slow {
    fn observe(&self, event: &ServiceEvent) {
        if &*event.service == "slow" && matches!(event.kind, EventKind::Running) {
            let entered = self
                .entered
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take();
            if let Some(entered) = entered {
                let _nobody_waits = entered.send(());
                let go = self.go.lock().unwrap_or_else(PoisonError::into_inner);
                let _let_go = go.recv();
            }
        }
    }
}

/// An observer that takes its time keeps the service waiting whose event it is told, and nobody else.
#[test]
fn a_slow_observer_delays_only_its_own_service() {
    within_a_minute(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_time()
            .build();
        runtime.unwrap().block_on(slow_observer_and_fast_service());
    });
}

#[expect(clippy::unwrap_used, reason = "part of a test")]
async fn slow_observer_and_fast_service() {
    let (tell, entered) = oneshot::channel();
    let (let_go, go) = mpsc::channel();
    let slow = Slow {
        entered: Mutex::new(Some(tell)),
        go: Mutex::new(go),
    };
    let recorder = Arc::new(Recorder::default());
    let mut config = config(&recorder).with_observer(Arc::new(slow));
    config.default_backoff.base_delay = Duration::ZERO;
    config.default_backoff.max_retries = 0;
    let supervisor = JanusSupervisor::new(config);
    let script = Script::new("slow", [Turn::Complete]);
    let log = script.log();
    let slow = supervisor.spawn_service(script).unwrap();
    entered.await.unwrap();

    // It is held up right here; everybody else goes on, and so does the supervisor.
    let turns = std::iter::repeat_n(Turn::Fail("again"), 200).chain([Turn::Complete]);
    let fast = supervisor
        .spawn_service(Script::new("fast", turns))
        .unwrap();
    fast.terminated().await;
    assert_eq!(fast.snapshot().start_count, 201);
    let other = supervisor.spawn_service(Script::new("other", [])).unwrap();
    other.stop().await;
    supervisor.remove_service("other").unwrap();
    assert_eq!(supervisor.snapshot().services.len(), 2);
    assert_eq!(slow.phase(), ServicePhase::Running);
    assert_eq!(log.starts(), 0);

    let_go.send(()).unwrap();
    slow.terminated().await;
    assert_eq!(log.starts(), 1);
    Story::of_each(&recorder.events()).unwrap();
}
