//! Modules that poll a shutdown flag on shared state.

use janus_supervisor::adapters::{ApiModuleAdapter, ModuleAdapter, ModuleState};
use janus_supervisor::{
    JanusService, JanusSupervisor, RestartPolicy, ServicePhase, SpawnOptions, TerminationReason,
};
use janus_tests::{Recorder, config, ms, secs, settle};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use tokio::sync::Notify;

/// A state as grown programs have it: a flag, and a list of what was reported.
#[derive(Debug, Default)]
struct State {
    shutdown: AtomicBool,
    requests: AtomicU32,
    runs: AtomicU32,
    health: Mutex<Vec<String>>,
}

impl State {
    fn health(&self) -> Vec<String> {
        self.health
            .lock()
            .map(|seen| seen.clone())
            .unwrap_or_default()
    }

    /// One tick of a module that polls; false when it is to end.
    async fn tick(&self) -> bool {
        tokio::time::sleep(ms(50)).await;
        !self.is_shutdown_requested()
    }
}

impl ModuleState for State {
    fn request_shutdown(&self) {
        self.requests.fetch_add(1, SeqCst);
        self.shutdown.store(true, SeqCst);
    }

    fn is_shutdown_requested(&self) -> bool {
        self.shutdown.load(SeqCst)
    }

    fn report_health(&self, module: &str, healthy: bool, message: Option<&str>) {
        let how = if healthy { "up" } else { "down" };
        if let Ok(mut seen) = self.health.lock() {
            seen.push(format!("{module} {how}: {}", message.unwrap_or("-")));
        }
    }
}

/// Polls the flag until it is set.
async fn polls(state: Arc<State>) -> anyhow::Result<()> {
    state.runs.fetch_add(1, SeqCst);
    while state.tick().await {}
    Ok(())
}

async fn completes(state: Arc<State>) -> anyhow::Result<()> {
    state.runs.fetch_add(1, SeqCst);
    Ok(())
}

async fn fails(state: Arc<State>) -> anyhow::Result<()> {
    state.runs.fetch_add(1, SeqCst);
    Err(anyhow::anyhow!("connection refused").context("cannot reach the broker"))
}

#[tokio::test(start_paused = true)]
async fn cancelling_the_service_requests_the_states_shutdown() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    let state = Arc::new(State::default());
    let module = ModuleAdapter::on_failure("forward", Arc::clone(&state), polls);
    supervisor.spawn_service(module).unwrap();
    tokio::time::sleep(ms(10)).await;
    assert_eq!(state.health(), ["forward up: started"]);
    assert_eq!(state.requests.load(SeqCst), 0);
    supervisor.trigger_shutdown();
    let report = supervisor.wait_for_drain().await;

    assert!(report.is_clean());
    assert_eq!(report.took, ms(40), "it ends at its next poll of the flag");
    assert_eq!(state.requests.load(SeqCst), 1);
    assert_eq!(
        state.health(),
        ["forward up: started", "forward down: stopped"]
    );
}

/// The flag is shared: whoever sets it ends every module of that state.
#[tokio::test(start_paused = true)]
async fn a_module_that_ends_by_itself_never_sets_the_flag() {
    for (start, health, reason) in [
        (
            (|state| Box::pin(completes(state))) as Start,
            "job down: stopped",
            TerminationReason::Completed,
        ),
        (
            |state| Box::pin(fails(state)),
            "job down: cannot reach the broker: connection refused",
            TerminationReason::Unrecoverable(
                "cannot reach the broker: connection refused".to_owned(),
            ),
        ),
    ] {
        let recorder = Arc::new(Recorder::default());
        let supervisor = JanusSupervisor::new(config(&recorder));
        let state = Arc::new(State::default());
        let sibling = ModuleAdapter::on_failure("sibling", Arc::clone(&state), polls);
        let sibling = supervisor.spawn_service(sibling).unwrap();
        let job = ModuleAdapter::one_shot("job", Arc::clone(&state), start);
        let job = supervisor.spawn_service(job).unwrap();
        assert_eq!(job.terminated().await, reason);
        tokio::time::sleep(secs(10)).await;
        assert!(!state.is_shutdown_requested());
        assert_eq!(state.requests.load(SeqCst), 0);
        assert_eq!(sibling.phase(), ServicePhase::Running);
        assert_eq!(
            state.health()[1..],
            ["job up: started".to_owned(), health.to_owned()]
        );
    }
}

type Start = fn(Arc<State>) -> Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send>>;

/// An end in the same moment is the module's own: it has nothing left to be told.
#[tokio::test(start_paused = true)]
async fn a_module_that_ends_with_its_cancellation_does_not_set_the_flag() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    let state = Arc::new(State::default());
    let end = Arc::new(Notify::new());
    let ends = Arc::clone(&end);
    let module = ModuleAdapter::on_failure("job", Arc::clone(&state), move |_state| {
        let ends = Arc::clone(&ends);
        async move {
            ends.notified().await;
            anyhow::Ok(())
        }
    });
    supervisor.spawn_service(module).unwrap();
    settle().await;
    end.notify_one();
    supervisor.trigger_shutdown();
    assert!(supervisor.wait_for_drain().await.is_clean());
    assert_eq!(state.health(), ["job up: started", "job down: stopped"]);
    assert_eq!(state.requests.load(SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn health_is_reported_at_every_start_and_every_end() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    let state = Arc::new(State::default());
    let start = |state: Arc<State>| async move {
        match state.runs.fetch_add(1, SeqCst) {
            0 => Err(std::io::Error::other("first")),
            1 => Ok(()),
            _ => {
                while state.tick().await {}
                Err(std::io::Error::other("not flushed"))
            }
        }
    };
    let module = ModuleAdapter::always_restart("m", Arc::clone(&state), start);
    let module = supervisor.spawn_service(module).unwrap();
    tokio::time::sleep(secs(1)).await;
    module.stop().await;
    assert_eq!(
        state.health(),
        [
            "m up: started",
            "m down: first",
            "m up: started",
            "m down: stopped",
            "m up: started",
            "m down: not flushed",
        ]
    );
    let last = module.snapshot();
    assert_eq!(last.last_error.as_deref(), Some("not flushed"));
    assert_eq!(last.termination_reason.as_deref(), Some("cancelled"));
    assert_eq!((last.start_count, last.total_failures), (3, 1));
}

#[tokio::test(start_paused = true)]
async fn each_constructor_has_its_name_and_policy() {
    let state = Arc::new(State::default());
    let shown = |service: &dyn Fn() -> (String, RestartPolicy)| service();
    let on_failure = ModuleAdapter::on_failure("a", Arc::clone(&state), polls);
    let one_shot = ModuleAdapter::one_shot("b".to_owned(), Arc::clone(&state), polls);
    let always = ModuleAdapter::always_restart("c", Arc::clone(&state), polls);
    let api = ApiModuleAdapter::new(Arc::clone(&state), polls);
    let found = [
        shown(&|| (on_failure.name().to_owned(), on_failure.restart_policy())),
        shown(&|| (one_shot.name().to_owned(), one_shot.restart_policy())),
        shown(&|| (always.name().to_owned(), always.restart_policy())),
        shown(&|| (api.name().to_owned(), api.restart_policy())),
    ];
    assert_eq!(
        found,
        [
            ("a".to_owned(), RestartPolicy::OnFailure),
            ("b".to_owned(), RestartPolicy::Never),
            ("c".to_owned(), RestartPolicy::Always),
            ("api".to_owned(), RestartPolicy::Always),
        ]
    );
    for policy in RestartPolicy::ALL {
        let module = ModuleAdapter::new("m", Arc::clone(&state), polls, policy);
        assert_eq!(module.restart_policy(), policy);
    }
}

/// Restarted after a clean end, as no `on_failure` module is.
#[tokio::test(start_paused = true)]
async fn the_api_module_always_comes_back() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    let state = Arc::new(State::default());
    let api = ApiModuleAdapter::new(Arc::clone(&state), |state: Arc<State>| async move {
        match state.runs.fetch_add(1, SeqCst) {
            0 | 1 => Ok(()),
            2 => Err("bind: address in use"),
            _ => {
                while state.tick().await {}
                Ok(())
            }
        }
    });
    supervisor.spawn_service(api).unwrap();
    tokio::time::sleep(secs(1)).await;
    let api = supervisor.service_lifecycle("api").await.unwrap();
    assert_eq!((api.start_count, api.total_failures), (4, 1));
    assert_eq!(api.phase, ServicePhase::Running);
    supervisor.trigger_shutdown();
    assert!(supervisor.wait_for_drain().await.is_clean());
    assert_eq!(
        state.health().last().map(String::as_str),
        Some("api down: stopped")
    );
}

/// A module that never looks at the flag is dropped like any other service, and the flag stays set.
#[tokio::test(start_paused = true)]
async fn a_module_that_ignores_the_flag_is_aborted() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    let state = Arc::new(State::default());
    let module = ModuleAdapter::on_failure("deaf", Arc::clone(&state), |_state| async {
        std::future::pending::<Result<(), std::io::Error>>().await
    });
    let options = SpawnOptions::default().with_shutdown_grace(secs(2));
    let module = supervisor
        .spawn_service_with_options(module, options)
        .unwrap();
    settle().await;
    assert_eq!(module.stop().await, TerminationReason::Aborted);
    assert!(state.is_shutdown_requested());
}

/// Not healthy any more, whichever way it ends.
#[tokio::test(start_paused = true)]
async fn a_module_that_panics_or_is_dropped_is_not_healthy() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    let state = Arc::new(State::default());
    let start = |state: Arc<State>| async move {
        assert!(state.runs.fetch_add(1, SeqCst) > 0, "out of luck");
        std::future::pending::<anyhow::Result<()>>().await
    };
    let module = ModuleAdapter::on_failure("m", Arc::clone(&state), start);
    let module = supervisor.spawn_service(module).unwrap();
    tokio::time::sleep(secs(1)).await;
    assert_eq!(module.stop().await, TerminationReason::Aborted);
    assert_eq!(
        state.health(),
        [
            "m up: started",
            "m down: panicked",
            "m up: started",
            "m down: dropped",
        ]
    );
}

/// `report_health` may be left out.
#[tokio::test(start_paused = true)]
async fn a_state_needs_only_its_flag() {
    #[derive(Default)]
    struct Flag(AtomicBool);
    impl ModuleState for Flag {
        fn request_shutdown(&self) {
            self.0.store(true, SeqCst);
        }
        fn is_shutdown_requested(&self) -> bool {
            self.0.load(SeqCst)
        }
    }
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    let module = ModuleAdapter::on_failure("m", Arc::default(), |flag: Arc<Flag>| async move {
        while !flag.is_shutdown_requested() {
            tokio::time::sleep(ms(50)).await;
        }
        anyhow::Ok(())
    });
    let module = supervisor.spawn_service(module).unwrap();
    settle().await;
    assert_eq!(module.stop().await, TerminationReason::Cancelled);
}
