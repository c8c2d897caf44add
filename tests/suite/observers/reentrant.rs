//! An observer may ask the supervisor anything, in the middle of any event. A lock that is held meanwhile would stop
//! the test for ever, so each runs on a thread of its own, for a limited time.

use janus_supervisor::{
    EventKind, JanusSupervisor, Observer, ServiceEvent, ServicePhase, TerminationReason,
};
use janus_tests::{Recorder, Script, Story, Turn, config, ms, secs, within_a_minute};
use std::sync::{Arc, Mutex, PoisonError};

/// Calls `act` with the supervisor at every event, until the test is over.
struct Caller<F> {
    supervisor: Mutex<Option<JanusSupervisor>>,
    act: F,
}

impl<F> Observer for Caller<F>
where
    F: Fn(&JanusSupervisor, &ServiceEvent) + Send + Sync + 'static,
{
    fn observe(&self, event: &ServiceEvent) {
        let supervisor = self.supervisor.lock();
        let supervisor = supervisor.unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(supervisor) = supervisor {
            (self.act)(&supervisor, event);
        }
    }
}

/// Runs `test` under a paused clock with a supervisor whose observer is `act`, and answers everything that was told.
#[expect(clippy::unwrap_used, reason = "part of a test")]
fn with_observer<F>(
    act: F,
    test: impl AsyncFnOnce(&JanusSupervisor) + Send + 'static,
) -> Arc<Recorder>
where
    F: Fn(&JanusSupervisor, &ServiceEvent) + Send + Sync + 'static,
{
    let recorder = Arc::new(Recorder::default());
    let caller = Arc::new(Caller {
        supervisor: Mutex::new(None),
        act,
    });
    let config = config(&recorder).with_observer(Arc::clone(&caller) as Arc<_>);
    within_a_minute(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build();
        runtime.unwrap().block_on(async {
            let supervisor = JanusSupervisor::new(config);
            *caller.supervisor.lock().unwrap() = Some(supervisor.clone());
            test(&supervisor).await;
            *caller.supervisor.lock().unwrap() = None;
        });
    });
    recorder
}

#[test]
fn an_observer_may_look_at_everything() {
    // A panic in an observer is caught, so what is wrong is handed out.
    let wrong = Arc::new(Mutex::new(Vec::new()));
    let found = Arc::clone(&wrong);
    let look = move |supervisor: &JanusSupervisor, event: &ServiceEvent| {
        let listed = supervisor.snapshot().services.len();
        let told = event.kind.phase();
        let seen = supervisor
            .service(&event.service)
            .map(|service| service.phase());
        let _shown = format!("{supervisor:?} {:?}", supervisor.metrics());
        // What is told has happened already, and what follows in the same step may have, too.
        let fits = match (told, seen) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(told), Some(seen)) => told == seen || told.can_become(seen),
        };
        if listed != 1 || !fits {
            let what = format!("{event:?}: {seen:?}, one of {listed}");
            found
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(what);
        }
    };
    let recorder = with_observer(look, async |supervisor| {
        let turns = [Turn::Fail("x"), Turn::until_cancelled()];
        supervisor.spawn_service(Script::new("one", turns)).unwrap();
        tokio::time::sleep(secs(1)).await;
        supervisor.trigger_shutdown();
        assert!(supervisor.wait_for_drain().await.is_clean());
    });
    assert_eq!(*wrong.lock().unwrap(), [""; 0]);
    let stories = Story::of_each(&recorder.events()).unwrap();
    assert_eq!(stories[&0].restarts, 1);
}

/// A chain: each service that ends calls for the next.
#[test]
fn an_observer_may_spawn_the_next_service() {
    let spawn_next = |supervisor: &JanusSupervisor, event: &ServiceEvent| {
        let n: u32 = event.service.parse().unwrap_or(u32::MAX);
        if n < 20 && matches!(event.kind, EventKind::Terminated { .. }) {
            let next = Script::new((n + 1).to_string(), [Turn::Complete]);
            assert!(supervisor.spawn_service(next).is_ok());
        }
    };
    let recorder = with_observer(spawn_next, async |supervisor| {
        supervisor
            .spawn_service(Script::new("0", [Turn::Complete]))
            .unwrap();
        tokio::time::sleep(secs(1)).await;
        assert_eq!(supervisor.service_count().await, 21);
    });
    let stories = Story::of_each(&recorder.events()).unwrap();
    assert_eq!(stories.len(), 21);
    let completed = Some(TerminationReason::Completed);
    assert!(stories.values().all(|story| story.end == completed));
}

/// A fleet that comes down with one of its services.
#[test]
fn an_observer_may_begin_the_shutdown() {
    let give_up = |supervisor: &JanusSupervisor, event: &ServiceEvent| {
        if matches!(event.kind, EventKind::BreakerOpened { .. }) {
            supervisor.trigger_shutdown();
        }
    };
    let recorder = with_observer(give_up, async |supervisor| {
        supervisor.spawn_service(Script::new("other", [])).unwrap();
        supervisor
            .spawn_service(Script::new("broken", [Turn::Fail("x")]))
            .unwrap();
        let report = supervisor.run_until_shutdown().await.unwrap();
        assert!(report.drain.is_clean());
        let phases = supervisor.snapshot().services.into_iter();
        assert!(phases.map(|s| s.phase).all(ServicePhase::is_terminal));
    });
    let stories = Story::of_each(&recorder.events()).unwrap();
    let ends: Vec<_> = stories.values().map(|story| story.end.clone()).collect();
    assert_eq!(
        ends,
        [
            Some(TerminationReason::Cancelled),
            Some(TerminationReason::CircuitBreakerOpen {
                failures: 10,
                max_retries: 10
            })
        ]
    );
}

/// A shutdown in the very moment of a registration: the service is there, is told, and never runs.
#[test]
fn a_service_whose_registration_begins_the_shutdown_ends_with_it() {
    let refuse = |supervisor: &JanusSupervisor, event: &ServiceEvent| {
        if matches!(event.kind, EventKind::Registered) {
            supervisor.trigger_shutdown();
        }
    };
    let recorder = with_observer(refuse, async |supervisor| {
        let script = Script::new("one", []);
        let log = script.log();
        let one = supervisor.spawn_service(script).unwrap();
        let report = supervisor.wait_for_drain().await;
        assert_eq!((report.drained, report.took), (1, ms(0)));
        assert_eq!(one.termination_reason(), Some(TerminationReason::Cancelled));
        assert_eq!(log.starts(), 0);
    });
    assert_eq!(
        recorder.phases_of("one"),
        [
            ServicePhase::Starting,
            ServicePhase::Stopping,
            ServicePhase::Terminated
        ]
    );
}
