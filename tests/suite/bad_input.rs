//! What must not be accepted, and what must not be trusted: names, settings, moments, and services that hog their
//! thread.

mod runaway;

use janus_supervisor::{
    BackoffConfig, JanusSupervisor, Jitter, ServicePhase, SpawnError, SpawnOptions,
    SupervisorConfig, service_fn,
};
use janus_tests::{Recorder, Script, backoff, config, ms, secs, settle};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

/// A supervisor with one service, and all that is known of it.
struct Scene {
    recorder: Arc<Recorder>,
    supervisor: JanusSupervisor,
}

impl Scene {
    async fn new() -> Self {
        let recorder = Arc::new(Recorder::default());
        let supervisor = JanusSupervisor::new(config(&recorder));
        let first = supervisor.spawn_service(Script::new("first", []));
        assert!(first.is_ok());
        settle().await;
        Self {
            recorder,
            supervisor,
        }
    }

    /// That spawning is refused with this text, that nothing has changed, and that the service was dropped unused.
    #[expect(clippy::expect_used, reason = "a test's own words")]
    async fn refuses(&self, name: &str, options: SpawnOptions, text: &str) -> SpawnError {
        let before = (
            self.supervisor.snapshot().metrics,
            self.supervisor.service_count().await,
            self.recorder.events().len(),
        );
        let used = Arc::new(AtomicU32::new(0));
        let (count, owned) = (Arc::clone(&used), Arc::downgrade(&used));
        let service = service_fn(name, move |_cancel| {
            count.fetch_add(1, SeqCst);
            async { Ok(()) }
        });
        let refused = self.supervisor.spawn_service_with_options(service, options);
        let error = refused.expect_err(text);
        assert_eq!(error.to_string(), text);
        settle().await;
        let after = (
            self.supervisor.snapshot().metrics,
            self.supervisor.service_count().await,
            self.recorder.events().len(),
        );
        assert_eq!(after, before, "{text}");
        assert_eq!(used.load(SeqCst), 0, "{text}");
        assert_eq!(owned.strong_count(), 1, "dropped: {text}");
        error
    }
}

#[tokio::test(start_paused = true)]
async fn a_bad_name_is_refused_with_the_rule_that_it_breaks() {
    let scene = Scene::new().await;
    let slash = "it must not contain '/', which separates the parts of a path";
    let control = "it must not contain control characters";
    for (bad, shown, broken) in [
        ("", r#""""#, "it must not be empty"),
        ("a/b", r#""a/b""#, slash),
        ("/", r#""/""#, slash),
        ("a\nb", r#""a\nb""#, control),
        ("\0", r#""\0""#, control),
        ("a\u{1b}[31mb", r#""a\u{1b}[31mb""#, control),
        ("a\u{85}", r#""a\u{85}""#, control),
        // The first rule that it breaks.
        ("a/\n", r#""a/\n""#, slash),
    ] {
        let text = format!("invalid service name {shown}: {broken}");
        let error = scene.refuses(bad, SpawnOptions::default(), &text).await;
        assert!(
            matches!(error, SpawnError::InvalidName { name, rule } if name == bad && rule == broken)
        );
        assert!(scene.supervisor.service(bad).is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn any_other_name_will_do() {
    let scene = Scene::new().await;
    let long = "x".repeat(10_000);
    for name in [
        " ", ".", "..", "a b", "grüße", "数据", "🦀", "a\\b", "\"", "-", &long,
    ] {
        let handle = scene
            .supervisor
            .spawn_service(Script::new(name, []))
            .unwrap();
        assert_eq!(handle.name(), name);
    }
    settle().await;
    for service in scene.supervisor.lifecycle_snapshots().await {
        assert_eq!(service.phase, ServicePhase::Running);
    }
}

/// Names are compared letter by letter: what looks alike is not the same.
#[tokio::test(start_paused = true)]
async fn a_duplicate_is_refused_while_the_first_one_lives_and_only_then() {
    let scene = Scene::new().await;
    let text = "a service named \"first\" is running already: names of live services must differ";
    let error = scene.refuses("first", SpawnOptions::default(), text).await;
    assert!(matches!(
        error,
        SpawnError::DuplicateName { name, phase: ServicePhase::Running } if name == "first"
    ));
    for name in ["First", "first ", "fir\u{fb01}st"] {
        let other = Script::new(name, []);
        assert!(scene.supervisor.spawn_service(other).is_ok());
    }
    scene.supervisor.service("first").unwrap().stop().await;
    let again = scene.supervisor.spawn_service(Script::new("first", []));
    settle().await;
    assert_eq!(again.unwrap().phase(), ServicePhase::Running);
}

/// What is wrong with them, and what is said of it.
fn bad_backoffs() -> Vec<(BackoffConfig, &'static str)> {
    vec![
        (
            BackoffConfig::new(secs(2), secs(1)),
            "base_delay (2s) must not be longer than max_delay (1s)",
        ),
        (
            backoff().with_initial_delay(secs(61)),
            "initial_delay (61s) must not be longer than max_delay (60s)",
        ),
        (
            backoff().with_circuit_breaker(5, ms(0)),
            "circuit_breaker_window (0s) must be longer than zero while max_retries is 5; for no breaker set max_retries to 0",
        ),
        (
            backoff().with_cooldown(ms(0)),
            "cooldown_period (0s) must be longer than zero: every run would clear the failures before it",
        ),
        (
            BackoffConfig::new(secs(10), secs(10))
                .with_jitter(Jitter::None)
                .with_circuit_breaker(4, secs(29)),
            "the circuit breaker can never open: 4 failures (max_retries) are up to 30s of delays apart, which does not fit into circuit_breaker_window (29s)",
        ),
    ]
}

#[tokio::test(start_paused = true)]
async fn a_bad_backoff_is_refused_with_the_fields_their_values_and_the_rule() {
    let scene = Scene::new().await;
    for (bad, rule) in bad_backoffs() {
        let source = bad.validate().unwrap_err();
        let text = format!("invalid backoff configuration of service \"feed\": {rule}");
        let options = SpawnOptions::with_backoff(bad);
        let error = scene.refuses("feed", options, &text).await;
        assert!(
            matches!(error, SpawnError::InvalidConfig { name, source: is } if name == "feed" && is == source)
        );
    }
    // Each is one step away from a good one.
    for good in [
        BackoffConfig::new(secs(1), secs(1)),
        backoff().with_initial_delay(secs(60)),
        backoff().with_circuit_breaker(0, ms(0)),
        backoff().with_cooldown(Duration::from_nanos(1)),
        BackoffConfig::new(secs(10), secs(10))
            .with_jitter(Jitter::None)
            .with_circuit_breaker(4, secs(30)),
    ] {
        let name = format!("{good:?}");
        let options = SpawnOptions::with_backoff(good);
        let spawned = scene
            .supervisor
            .spawn_service_with_options(Script::new(name, []), options);
        assert!(spawned.is_ok());
    }
}

/// A supervisor can be made with it; whoever would have to use it is refused, and nobody else.
#[tokio::test(start_paused = true)]
async fn a_bad_default_backoff_is_refused_where_it_is_used() {
    for (bad, rule) in bad_backoffs() {
        let recorder = Arc::new(Recorder::default());
        let supervisor = JanusSupervisor::new(config(&recorder).with_default_backoff(bad));
        let scene = Scene {
            recorder,
            supervisor,
        };
        for _ in 0..2 {
            let text = format!("invalid backoff configuration of service \"feed\": {rule}");
            scene.refuses("feed", SpawnOptions::default(), &text).await;
        }
        let own = SpawnOptions::with_backoff(backoff());
        let handle = scene
            .supervisor
            .spawn_service_with_options(Script::new("feed", []), own)
            .unwrap();
        settle().await;
        assert_eq!(handle.phase(), ServicePhase::Running);
        scene.supervisor.trigger_shutdown();
        assert!(scene.supervisor.wait_for_drain().await.is_clean());
    }
}

/// While it drains, and when it is over.
#[tokio::test(start_paused = true)]
async fn spawning_during_and_after_a_shutdown_is_refused() {
    let scene = Scene::new().await;
    let slow = janus_tests::Turn::Complete.after(secs(5)).when_cancelled();
    scene
        .supervisor
        .spawn_service(Script::new("slow", [slow]))
        .unwrap();
    settle().await;
    scene.supervisor.trigger_shutdown();
    tokio::time::sleep(secs(1)).await;
    let text = "cannot spawn service \"late\": the supervisor is shutting down";
    let error = scene.refuses("late", SpawnOptions::default(), text).await;
    assert!(matches!(error, SpawnError::ShuttingDown { name } if name == "late"));
    assert_eq!(scene.supervisor.wait_for_drain().await.drained, 2);
    scene.refuses("late", SpawnOptions::default(), text).await;
    // Also under the name of one that has terminated.
    let text = "cannot spawn service \"slow\": the supervisor is shutting down";
    scene.refuses("slow", SpawnOptions::default(), text).await;
}

/// An error and no panic; inside a runtime, the same supervisor is as good as any.
#[test]
fn spawning_outside_a_runtime_is_refused() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    let error = supervisor
        .spawn_service(Script::new("nowhere", []))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot spawn service \"nowhere\": not inside a tokio runtime"
    );
    assert!(matches!(error, SpawnError::NoRuntime { name } if name == "nowhere"));
    let snapshot = supervisor.snapshot();
    assert!(snapshot.services.is_empty());
    assert_eq!(snapshot.metrics, Default::default());
    assert!(recorder.events().is_empty());

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let handle = supervisor
            .spawn_service(Script::new("nowhere", []))
            .unwrap();
        settle().await;
        assert_eq!(handle.phase(), ServicePhase::Running);
        supervisor.trigger_shutdown();
        assert!(supervisor.wait_for_drain().await.is_clean());
    });
}

/// Signal handlers are wanted here, and there is no runtime to install them on either.
#[test]
fn a_supervisor_with_the_default_settings_can_be_made_outside_a_runtime() {
    let supervisor = JanusSupervisor::new(SupervisorConfig::default());
    assert!(
        supervisor
            .spawn_service(Script::new("nowhere", []))
            .is_err()
    );
    assert!(!supervisor.is_shutting_down());
    supervisor.trigger_shutdown();
    assert!(supervisor.is_shutting_down());
}
