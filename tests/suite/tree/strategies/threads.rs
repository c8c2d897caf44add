//! Children that hold a thread, which nothing can end from outside. The paused clock stands still while one is busy.

use super::*;
use janus_supervisor::adapters::BlockingService;
use std::sync::{Mutex, mpsc};
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// Lets everybody else go as far as they can, without time.
async fn turns() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// The test's end of a child that blocks its thread.
struct Leash {
    begun: UnboundedReceiver<()>,
    let_go: mpsc::Sender<()>,
}

/// Work that says that it has begun, and blocks its thread until it is let go.
fn blocking(name: &'static str) -> (impl JanusService, Leash) {
    let (begins, begun) = unbounded_channel();
    let (let_go, go) = mpsc::channel();
    let go = Mutex::new(go);
    let service = BlockingService::new(name, move |_cancel| {
        begins.send(())?;
        go.lock().map_err(|_| "poisoned")?.recv()?;
        Ok(())
    });
    (service, Leash { begun, let_go })
}

/// A service whose first run fails when it is told to.
fn failing_when_told(name: &'static str, told: &Arc<Notify>) -> impl JanusService {
    let (told, runs) = (Arc::clone(told), AtomicUsize::new(0));
    service_fn(name, move |cancel: CancellationToken| {
        let (told, first) = (Arc::clone(&told), runs.fetch_add(1, SeqCst) == 0);
        async move {
            tokio::select! {
                () = cancel.cancelled() => Ok(()),
                () = told.notified(), if first => Err("it broke".into()),
            }
        }
    })
}

fn at_once() -> SpawnOptions {
    SpawnOptions::with_backoff(every(0)).with_shutdown_grace(ms(0))
}

/// E52, D35: whose run is dropped at the end of its grace is down when its thread is gone, and not before.
#[tokio::test(start_paused = true)]
async fn a_restart_waits_for_the_thread_of_a_sibling_that_was_dropped() {
    let scene = Scene::new();
    let told = Arc::<Notify>::default();
    let (stubborn, mut leash) = blocking("b");
    let group = Group::new("g").strategy(Strategy::OneForAll);
    let group = group
        .service_with_options(failing_when_told("a", &told), at_once())
        .service_with_options(stubborn, at_once());
    scene.spawn(group);
    leash.begun.recv().await.unwrap();
    told.notify_one();
    turns().await;
    assert_eq!(scene.starts(["g/a", "g/b"]), [1, 1]);
    assert_eq!(scene.snapshot("g/a").phase, ServicePhase::BackingOff);
    leash.let_go.send(()).unwrap();
    leash.begun.recv().await.unwrap();
    assert_eq!(scene.starts(["g/a", "g/b"]), [2, 2]);
    leash.let_go.send(()).unwrap();
    scene.supervisor.trigger_shutdown();
    within_an_hour(scene.supervisor.wait_for_drain()).await;
    scene.audit();
}

/// A run that has failed and left a thread behind is not over, and may be told to halt like any other. What it came to
/// must not be taken for the end of the next run.
#[tokio::test(start_paused = true)]
async fn the_end_of_a_run_that_was_dropped_with_its_thread_is_not_that_of_the_next_run() {
    let scene = Scene::new();
    let told = Arc::<Notify>::default();
    let early = Arc::<Notify>::default();
    let (inner, mut leash) = blocking("inner");
    let (inner, runs) = (Arc::new(inner), AtomicUsize::new(0));
    let leaves_a_thread = service_fn("b", {
        let early = Arc::clone(&early);
        move |cancel: CancellationToken| {
            let (inner, early) = (Arc::clone(&inner), Arc::clone(&early));
            let first = runs.fetch_add(1, SeqCst) == 0;
            async move {
                if !first {
                    cancel.cancelled().await;
                    return Ok(());
                }
                tokio::select! {
                    end = inner.run(cancel) => end,
                    () = early.notified() => Err("too early".into()),
                }
            }
        }
    });
    let group = Group::new("g").strategy(Strategy::OneForAll);
    let group = group
        .service_with_options(failing_when_told("a", &told), at_once())
        .service_with_options(leaves_a_thread, at_once());
    scene.spawn(group);
    leash.begun.recv().await.unwrap();
    early.notify_one();
    turns().await;
    assert_eq!(scene.snapshot("g/b").phase, ServicePhase::Running);
    told.notify_one();
    turns().await;
    leash.let_go.send(()).unwrap();
    settle().await;
    until(scene.t0, 1000).await;
    assert_eq!(scene.starts(["g/a", "g/b"]), [2, 2]);
    let trace = scene.recorder.trace_of("g/b", scene.t0);
    assert_eq!(trace.last().unwrap(), "0 run 2 running", "{trace:#?}");
    scene.audit();
}
