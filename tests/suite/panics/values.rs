//! Panics in the `Drop` of a run and of a service, and in what a service is asked when it is spawned.

use super::{Bomb, Scene};
use janus_supervisor::{
    CancellationToken, JanusService, JanusSupervisor, RestartPolicy, ServiceError, ServicePhase,
    SpawnError, SpawnOptions, SupervisorConfig, TerminationReason, service_fn,
};
use janus_tests::{Script, ms, secs, settle, within_an_hour};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::time::Instant;

/// What polling a run comes to.
type Polled = Poll<Result<(), ServiceError>>;

/// A run that ends like this when it is polled, and panics when it is dropped.
struct Rude(fn() -> Polled);

impl Future for Rude {
    type Output = Result<(), ServiceError>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        (self.0)()
    }
}

impl Drop for Rude {
    fn drop(&mut self) {
        panic!("not going quietly");
    }
}

/// The drop is part of the run: a run that returned `Ok` and then panicked has not ended well. What it said before
/// stays.
#[tokio::test(start_paused = true)]
async fn a_panic_in_the_drop_of_a_run_that_has_ended_is_how_it_ended() {
    type Case = (fn() -> Polled, &'static str, &'static str);
    let cases: [Case; 4] = [
        (
            || Poll::Ready(Ok(())),
            "0 run 1 failed (panic): panicked: not going quietly",
            "backing off #1 for 100ms",
        ),
        (
            || Poll::Ready(Err("no route".into())),
            "0 run 1 failed (error): no route",
            "backing off #1 for 100ms",
        ),
        (
            || Poll::Ready(Err(ServiceError::permanent("no key"))),
            "0 run 1 failed (error): no key",
            "terminated: unrecoverable: no key",
        ),
        (
            || panic!("first"),
            "0 run 1 failed (panic): panicked: first",
            "backing off #1 for 100ms",
        ),
    ];
    for (poll, ended, then) in cases {
        let scene = Scene::new();
        let service = service_fn("rude", move |_cancel| Rude(poll));
        let handle = scene.supervisor.spawn_service(service).unwrap();
        settle().await;
        assert_eq!(
            scene.trace_of("rude")[2..],
            [ended.to_owned(), format!("0 run 1 {then}")]
        );
        tokio::time::sleep(ms(200)).await;
        let alive = handle.phase().is_alive();
        assert_eq!(handle.snapshot().start_count, 1 + u32::from(alive));
        scene.end(&[]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_the_drop_of_a_run_that_is_aborted_changes_nothing() {
    let scene = Scene::new();
    let grace = SpawnOptions::default().with_shutdown_grace(ms(30));
    // A future that panics itself, and one that holds something that does.
    let whole = service_fn("whole", |_cancel| Rude(|| Poll::Pending));
    let whole = scene
        .supervisor
        .spawn_service_with_options(whole, grace.clone())
        .unwrap();
    let part = service_fn("part", |_cancel| async {
        let _held = Bomb;
        std::future::pending().await
    });
    let part = scene
        .supervisor
        .spawn_service_with_options(part, grace)
        .unwrap();
    let shut_down = service_fn("shut down", |_cancel| Rude(|| Poll::Pending));
    scene.supervisor.spawn_service(shut_down).unwrap();
    settle().await;
    for (handle, name) in [(whole, "whole"), (part, "part")] {
        let before = Instant::now();
        assert_eq!(
            within_an_hour(handle.stop()).await,
            TerminationReason::Aborted
        );
        assert_eq!(Instant::now() - before, ms(30));
        let trace = scene.trace_of(name);
        assert!(trace[3].ends_with("run 1 dropped"), "{trace:?}");
        assert_eq!(handle.snapshot().last_error, None);
    }
    scene.end(&["shut down"]).await;
}

/// A service whose value panics when it is dropped.
struct Heavy {
    _bomb: Bomb,
    name: &'static str,
}

impl JanusService for Heavy {
    fn name(&self) -> &str {
        self.name
    }

    async fn run(&self, cancel: CancellationToken) -> Result<(), ServiceError> {
        match self.name {
            "completes" => Ok(()),
            "fails" => Err(ServiceError::permanent("no key")),
            "panics" => panic!("and then it is dropped"),
            "hangs" => std::future::pending().await,
            _ => {
                cancel.cancelled().await;
                Ok(())
            }
        }
    }
}

fn heavy(name: &'static str) -> Heavy {
    Heavy { _bomb: Bomb, name }
}

/// A10: it has terminated by then, and stays so; whoever waits is answered.
#[tokio::test(start_paused = true)]
async fn a_panic_in_the_drop_of_a_service_changes_nothing() {
    let scene = Scene::new();
    let never = SpawnOptions::default().with_restart_policy(RestartPolicy::Never);
    let mut handles = Vec::new();
    for name in ["completes", "fails", "panics", "hangs", "stops", "drains"] {
        let handle = scene
            .supervisor
            .spawn_service_with_options(heavy(name), never.clone());
        handles.push(handle.unwrap());
    }
    settle().await;
    let mut reasons = Vec::new();
    for handle in &handles[..5] {
        reasons.push(within_an_hour(handle.stop()).await.to_string());
    }
    assert_eq!(
        reasons,
        [
            "completed",
            "unrecoverable: no key",
            "unrecoverable: panicked: and then it is dropped",
            "aborted: did not stop in time",
            "cancelled",
        ]
    );
    // Their names and their records can be given up like any other's.
    assert!(scene.supervisor.remove_service("completes").is_ok());
    scene
        .supervisor
        .spawn_service(Script::new("fails", []))
        .unwrap();
    assert_eq!(handles[5].phase(), ServicePhase::Running);
    scene.end(&[]).await;
}

/// A refused service is dropped, and a panic of that is not for whoever has spawned it.
#[tokio::test(start_paused = true)]
async fn a_panic_in_the_drop_of_a_refused_service_is_contained() {
    let scene = Scene::new();
    settle().await;
    let bomb = Bomb;
    let name = scene.supervisor.snapshot().services[0].service_name.clone();
    let taken = service_fn(name, move |_cancel| {
        let _held = &bomb;
        async { Ok(()) }
    });
    let refused = scene.supervisor.spawn_service(taken).unwrap_err();
    assert!(
        matches!(refused, SpawnError::DuplicateName { .. }),
        "{refused}"
    );
    scene.end(&[]).await;
}

/// Panics when it is asked one of the two.
struct Shy {
    name: Option<&'static str>,
}

impl JanusService for Shy {
    fn name(&self) -> &str {
        match self.name {
            Some(name) => name,
            None => panic!("I have no name"),
        }
    }

    fn restart_policy(&self) -> RestartPolicy {
        assert!(self.name.is_none(), "I have no policy");
        RestartPolicy::default()
    }

    async fn run(&self, _cancel: CancellationToken) -> Result<(), ServiceError> {
        Ok(())
    }
}

/// A9, A10: a service that cannot even be asked is an error for whoever spawns it.
#[tokio::test(start_paused = true)]
async fn a_panic_in_name_or_restart_policy_is_an_error_of_the_spawn() {
    let scene = Scene::new();
    settle().await;
    let (before, events) = (scene.supervisor.snapshot(), scene.recorder.events().len());
    for (name, text) in [
        (
            None,
            "cannot spawn a service: its name() or restart_policy() panicked: I have no name",
        ),
        (
            Some("shy"),
            r#"cannot spawn service "shy": its name() or restart_policy() panicked: I have no policy"#,
        ),
    ] {
        let refused = scene.supervisor.spawn_service(Shy { name });
        assert_eq!(refused.unwrap_err().to_string(), text);
    }
    settle().await;
    let after = scene.supervisor.snapshot();
    assert_eq!(after.metrics, before.metrics);
    assert_eq!(after.services.len(), 1);
    assert_eq!(scene.recorder.events().len(), events);
    // The name was not taken.
    scene
        .supervisor
        .spawn_service(Script::new("shy", []))
        .unwrap();
    tokio::time::sleep(secs(1)).await;
    scene.end(&[]).await;
}

/// The runtime drops all at once, and a second panic while the first goes by would end the process.
#[test]
fn panics_in_the_drops_of_a_run_and_its_service_are_borne_when_their_runtime_goes_away() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let supervisor = JanusSupervisor::new(SupervisorConfig::default().without_signal_handler());
    let service = runtime.block_on(async {
        let bomb = Bomb;
        let service = service_fn("rude", move |_cancel| {
            let _kept = &bomb;
            Rude(|| Poll::Pending)
        });
        let service = supervisor.spawn_service(service).unwrap();
        tokio::task::yield_now().await;
        service
    });
    drop(runtime);
    let reason = service.termination_reason();
    assert_eq!(reason, Some(TerminationReason::Aborted));
    assert_eq!(supervisor.metrics().snapshot().active_services, 0);
}
