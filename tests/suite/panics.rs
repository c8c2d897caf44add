//! Panics in the user's code, wherever it is called from: each harms only itself.
//!
//! After each of them the siblings, the counters and the sequence of events must be right: [`Scene::end`].

#![expect(
    clippy::panic,
    clippy::expect_used,
    reason = "panicking is what these services are for"
)]

mod errors;
mod observers;
mod values;

use janus_supervisor::{
    CancellationToken, FailureKind, JanusSupervisor, Observer, RestartPolicy, ServiceError,
    ServiceHandle, ServicePhase, TerminationReason, service_fn,
};
use janus_tests::{Recorder, Script, Story, Turn, config, ms, secs, settle, within_an_hour};
use std::panic::panic_any;
use std::sync::Arc;
use tokio::time::Instant;

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("boom");
    }
}

/// A supervisor with one healthy service, which must not notice anything.
struct Scene {
    recorder: Arc<Recorder>,
    supervisor: JanusSupervisor,
    sibling: ServiceHandle,
    t0: Instant,
}

impl Scene {
    fn new() -> Self {
        Self::observed_by([])
    }

    /// Told of everything before the recorder is: those.
    fn observed_by(observers: impl IntoIterator<Item = Arc<dyn Observer>>) -> Self {
        let recorder = Arc::new(Recorder::default());
        let mut settings = config(&recorder).with_shutdown_timeout(secs(1));
        settings.observers.splice(0..0, observers);
        let supervisor = JanusSupervisor::new(settings);
        let sibling = supervisor.spawn_service(Script::new("sibling", []));
        Self {
            recorder,
            supervisor,
            sibling: sibling.expect("nothing is wrong with it"),
            t0: Instant::now(),
        }
    }

    fn trace_of(&self, service: &str) -> Vec<String> {
        self.recorder.trace_of(service, self.t0.into_std())
    }

    /// Everything is as it should be, and can be shut down; those are aborted then.
    async fn end(self, aborted: &[&str]) {
        settle().await;
        assert_eq!(self.sibling.phase(), ServicePhase::Running);
        assert_eq!(self.sibling.snapshot().start_count, 1);
        self.assert_counts();
        self.supervisor.trigger_shutdown();
        let report = self.supervisor.wait_for_drain().await;
        assert_eq!(report.aborted, aborted);
        assert_eq!(report.stuck, [""; 0]);
        self.assert_counts();
        assert_eq!(self.supervisor.metrics().snapshot().active_services, 0);
    }

    fn assert_counts(&self) {
        let snapshot = self.supervisor.snapshot();
        let metrics = snapshot.metrics;
        let stories = Story::of_each(&self.recorder.events()).expect("a story that can be told");
        let alive = stories.values().filter(|story| story.end.is_none()).count() as u64;
        assert_eq!(metrics.spawned_total, stories.len() as u64);
        assert_eq!(metrics.active_services, alive);
        assert_eq!(metrics.terminated_total, metrics.spawned_total - alive);
        let restarts: u64 = stories.values().map(|story| story.restarts).sum();
        assert_eq!(metrics.restarts_total, restarts);
        for service in snapshot.services {
            let mut events = self.recorder.events_of(&service.service_name);
            let last = events.last().map(|event| event.id);
            events.retain(|event| Some(event.id) == last);
            let told = Story::of(&events).expect("a story that can be told");
            let end = told.end.map(|reason| reason.to_string());
            assert_eq!(service.termination_reason, end, "{}", service.service_name);
            assert_eq!(u64::from(service.start_count), told.restarts + 1);
            let mut phases = events.iter().filter_map(|event| event.kind.phase());
            assert_eq!(Some(service.phase), phases.next_back());
        }
    }
}

/// A10: wherever in the run, it is a failure with its message.
#[tokio::test(start_paused = true)]
async fn a_panic_in_a_run_is_a_failure_with_its_message() {
    type Run = fn(u32) -> ServiceError;
    /// Keeps the compiler from knowing that the code after it is never reached.
    fn boom(n: u32) -> ServiceError {
        panic!("boom {n}")
    }
    let run: Run = boom;
    let scene = Scene::new();

    // Before there is a future at all.
    let at_once = service_fn("at once", move |_cancel| {
        let error = run(1);
        async { Err(error) }
    });
    // Before the first await.
    let early = service_fn("early", move |_cancel| async move { Err(run(2)) });
    // After one.
    let late = service_fn("late", move |_cancel| async move {
        tokio::time::sleep(ms(7)).await;
        Err(run(3))
    });
    let handles = [
        (scene.supervisor.spawn_service(at_once), 0, "boom 1"),
        (scene.supervisor.spawn_service(early), 0, "boom 2"),
        (scene.supervisor.spawn_service(late), 7, "boom 3"),
    ];
    tokio::time::sleep(ms(50)).await;
    for (handle, at, message) in handles {
        let handle = handle.unwrap();
        assert_eq!(
            scene.trace_of(handle.name())[1..],
            [
                "0 run 1 running".to_owned(),
                format!("{at} run 1 failed (panic): panicked: {message}"),
                format!("{at} run 1 backing off #1 for 100ms"),
            ]
        );
        let snapshot = handle.snapshot();
        assert_eq!(snapshot.last_failure_kind, Some(FailureKind::Panic));
        assert_eq!(snapshot.last_error, Some(format!("panicked: {message}")));
        assert_eq!(snapshot.total_failures, 1);
    }
    scene.end(&[]).await;
}

#[tokio::test(start_paused = true)]
async fn a_panic_says_what_it_said_as_far_as_that_is_text() {
    let cases: [(fn(), &str); 5] = [
        (|| panic_any("static"), "panicked: static"),
        (|| panic_any(String::from("owned")), "panicked: owned"),
        (
            || panic_any(42_u32),
            "panicked: with a value that is not text",
        ),
        (
            || panic_any(Bomb),
            "panicked: with a value that is not text",
        ),
        (
            || panic_any(Box::new(Bomb)),
            "panicked: with a value that is not text",
        ),
    ];
    for (panic, text) in cases {
        let scene = Scene::new();
        let service = service_fn("rude", move |_cancel| async move {
            panic();
            Ok(())
        });
        let handle = scene.supervisor.spawn_service(service).unwrap();
        let reason = within_an_hour(handle.terminated()).await;
        assert_eq!(reason.as_str(), "circuit_breaker_open");
        let snapshot = handle.snapshot();
        assert_eq!(snapshot.last_error.as_deref(), Some(text));
        assert_eq!(snapshot.total_failures, 10);
        scene.end(&[]).await;
    }
}

/// The value of a service outlives the panic of a run, as it outlives an error.
#[tokio::test(start_paused = true)]
async fn state_in_the_service_survives_the_panic_of_a_run() {
    let scene = Scene::new();
    let left = std::sync::Mutex::new(vec!["third", "second", "first"]);
    let service = service_fn("counts", move |cancel: CancellationToken| {
        let next = left.lock().map(|mut left| left.pop()).ok().flatten();
        async move {
            if let Some(message) = next {
                panic_any(message);
            }
            cancel.cancelled().await;
            Ok(())
        }
    });
    let handle = scene.supervisor.spawn_service(service).unwrap();
    tokio::time::sleep(secs(2)).await;
    assert_eq!(handle.phase(), ServicePhase::Running);
    let snapshot = handle.snapshot();
    assert_eq!((snapshot.start_count, snapshot.total_failures), (4, 3));
    assert_eq!(snapshot.last_error.as_deref(), Some("panicked: third"));
    scene.end(&[]).await;
}

/// A crash loop must not keep what each of its panics carries.
#[tokio::test(start_paused = true)]
async fn what_a_panic_carries_is_dropped_with_it() {
    let scene = Scene::new();
    let carried = Arc::new("a lot");
    let service = service_fn("carries", {
        let carried = Arc::clone(&carried);
        move |_cancel| {
            let carried = Arc::clone(&carried);
            async move { panic_any(carried) }
        }
    });
    let handle = scene.supervisor.spawn_service(service).unwrap();
    assert_eq!(handle.terminated().await.as_str(), "circuit_breaker_open");
    scene.supervisor.remove_service("carries").unwrap();
    assert_eq!(Arc::strong_count(&carried), 1);
    scene.end(&[]).await;
}

/// A hundred services that panic in the same moment, again and again.
#[tokio::test(start_paused = true)]
async fn a_crowd_of_panics_harms_nobody_else() {
    let scene = Scene::new();
    let mut handles = Vec::new();
    for i in 0..100 {
        let script = Script::new(format!("rude-{i}"), [Turn::Panic("all at once")])
            .policy(RestartPolicy::ALL[i % 3]);
        handles.push(scene.supervisor.spawn_service(script).unwrap());
    }
    for (i, handle) in handles.iter().enumerate() {
        let reason = within_an_hour(handle.terminated()).await;
        match RestartPolicy::ALL[i % 3] {
            RestartPolicy::Never => assert_eq!(
                reason,
                TerminationReason::Unrecoverable("panicked: all at once".into())
            ),
            _ => assert_eq!(reason.as_str(), "circuit_breaker_open"),
        }
    }
    scene.end(&[]).await;
}
