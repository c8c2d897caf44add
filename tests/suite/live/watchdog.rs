//! Heartbeats: what is missing, what is stale, and what becomes of a run that hangs. FIELD H87.

use super::supervisor;
use janus_supervisor::adapters::BlockingService;
use janus_supervisor::{
    FailureKind, JanusService, Readiness, RestartPolicy, ServicePhase, SpawnOptions,
    TerminationReason, notify, service_fn,
};
use janus_tests::{Script, Turn, backoff, ms, secs, settle, within_an_hour};
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::{Mutex, mpsc};

fn watched() -> SpawnOptions {
    SpawnOptions::default().with_watchdog(ms(500))
}

/// Beats `beats` times, every 400 ms, and then only waits.
fn beats(name: &'static str, beats: u32) -> impl JanusService {
    service_fn(name, move |_cancel| async move {
        for _ in 0..beats {
            tokio::time::sleep(ms(400)).await;
            notify::heartbeat();
        }
        std::future::pending().await
    })
}

/// H87: one that never came is missed from the beginning on, one that is stale from the last on.
#[tokio::test(start_paused = true)]
async fn a_missing_heartbeat_counts_from_the_beginning_and_a_stale_one_from_the_last() {
    let (supervisor, recorder, t0) = supervisor();
    for (name, n) in [("missing", 0), ("stale", 3)] {
        supervisor
            .spawn_service_with_options(beats(name, n), watched())
            .unwrap();
    }
    tokio::time::sleep(secs(2)).await;
    assert_eq!(
        ["missing", "stale"].map(|name| recorder.trace_of(name, t0)[2].clone()),
        [
            "500 run 1 failed (hang): no heartbeat for 500ms",
            "1700 run 1 failed (hang): no heartbeat for 500ms",
        ]
    );
}

/// H87: what is not ready yet has its start timeout, and nothing to beat for.
#[tokio::test(start_paused = true)]
async fn a_run_is_watched_from_the_moment_it_is_ready() {
    let (supervisor, recorder, t0) = supervisor();
    let it = service_fn("it", |_cancel| async {
        tokio::time::sleep(secs(60)).await;
        notify::ready();
        std::future::pending().await
    });
    let options = watched().with_readiness(Readiness::Notify);
    supervisor.spawn_service_with_options(it, options).unwrap();
    tokio::time::sleep(ms(60_550)).await;
    assert_eq!(
        recorder.trace_of("it", t0)[1..3],
        [
            "60000 run 1 running",
            "60500 run 1 failed (hang): no heartbeat for 500ms",
        ]
    );
}

/// H87: the second run beats never, and has the whole period all the same.
#[tokio::test(start_paused = true)]
async fn each_run_is_watched_from_its_own_beginning() {
    let (supervisor, recorder, t0) = supervisor();
    let runs = AtomicU32::new(0);
    let it = service_fn("it", move |_cancel| {
        let first = runs.fetch_add(1, SeqCst) == 0;
        async move {
            if first {
                for _ in 0..3 {
                    tokio::time::sleep(ms(400)).await;
                    notify::heartbeat();
                }
                return Err("x".into());
            }
            std::future::pending().await
        }
    });
    supervisor
        .spawn_service_with_options(it, watched())
        .unwrap();
    tokio::time::sleep(secs(2)).await;
    assert_eq!(
        recorder.trace_of("it", t0)[2..7],
        [
            "1200 run 1 failed (error): x",
            "1200 run 1 backing off #1 for 100ms",
            "1300 run 2 restarting",
            "1300 run 2 running",
            "1800 run 2 failed (hang): no heartbeat for 500ms",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn without_a_watchdog_nobody_has_to_beat() {
    let (supervisor, ..) = supervisor();
    let it = Script::new("it", [Turn::Hang]);
    let it = supervisor.spawn_service(it).unwrap();
    tokio::time::sleep(secs(86_400)).await;
    let snapshot = it.snapshot();
    assert_eq!(
        (snapshot.phase, snapshot.start_count, snapshot.stuck),
        (ServicePhase::Running, 1, false)
    );
}

/// From where the work is.
#[tokio::test(start_paused = true)]
async fn a_task_that_the_run_spawns_can_beat_for_it() {
    let (supervisor, ..) = supervisor();
    let it = service_fn("it", |cancel| async move {
        let notifier = notify::current();
        tokio::spawn(async move {
            for _ in 0..10 {
                notifier.heartbeat();
                tokio::time::sleep(ms(400)).await;
            }
        });
        cancel.cancelled().await;
        Ok(())
    });
    let it = supervisor
        .spawn_service_with_options(it, watched())
        .unwrap();
    tokio::time::sleep(ms(4050)).await;
    assert_eq!(it.phase(), ServicePhase::Running);
    // The last was at 3600.
    tokio::time::sleep(ms(100)).await;
    assert_eq!(it.snapshot().last_failure_kind, Some(FailureKind::Hang));
}

/// E52: its future is gone before the next one begins, and it backs off as after any failure.
#[tokio::test(start_paused = true)]
async fn a_run_that_hangs_is_dropped_and_tried_again_with_backoff() {
    let (supervisor, _, t0) = supervisor();
    let script = Script::new("it", [Turn::Hang]);
    let log = script.log();
    supervisor
        .spawn_service_with_options(script, watched())
        .unwrap();
    tokio::time::sleep(ms(1850)).await;
    let starts = log.start_times().into_iter();
    let starts: Vec<_> = starts.map(|at| (at - t0).as_millis()).collect();
    assert_eq!(starts, [0, 600, 1300]);
    assert_eq!((log.dropped_early(), log.overlaps()), (3, 0));
}

#[tokio::test(start_paused = true)]
async fn hangs_open_the_breaker_as_errors_do() {
    let (supervisor, ..) = supervisor();
    let options = SpawnOptions::with_backoff(backoff().with_circuit_breaker(2, secs(60)));
    let it = Script::new("it", [Turn::Hang]);
    let it = supervisor
        .spawn_service_with_options(it, options.with_watchdog(ms(500)))
        .unwrap();
    assert_eq!(
        within_an_hour(it.terminated()).await.to_string(),
        "circuit breaker open (2/2 failures)"
    );
}

/// A3: the same as an error.
#[tokio::test(start_paused = true)]
async fn a_hang_under_never_is_the_end() {
    let (supervisor, ..) = supervisor();
    let it = Script::new("it", [Turn::Hang]).policy(RestartPolicy::Never);
    let it = supervisor
        .spawn_service_with_options(it, watched())
        .unwrap();
    assert_eq!(
        within_an_hour(it.terminated()).await.to_string(),
        "unrecoverable: no heartbeat for 500ms"
    );
}

/// What it does on its way out is bounded by its grace, not by the watchdog.
#[tokio::test(start_paused = true)]
async fn a_run_that_is_stopping_need_not_beat() {
    let (supervisor, ..) = supervisor();
    let it = Script::new("it", [Turn::Complete.after(secs(10)).when_cancelled()]);
    let it = supervisor
        .spawn_service_with_options(it, watched())
        .unwrap();
    settle().await;
    assert_eq!(
        within_an_hour(it.stop()).await,
        TerminationReason::Cancelled
    );
    assert_eq!(it.snapshot().total_failures, 0);
}

/// H87: what was dropped and does not go is named for as long as that is so; nobody else is held up.
#[tokio::test(start_paused = true)]
async fn a_hung_run_whose_thread_does_not_return_is_stuck_until_it_does() {
    let (supervisor, ..) = supervisor();
    let (let_go, go) = mpsc::channel::<()>();
    let (begins, mut begun) = tokio::sync::mpsc::unbounded_channel();
    let go = Mutex::new(go);
    let it = BlockingService::new("it", move |_cancel| {
        begins.send(())?;
        let _over = go.lock().map_err(|_| "poisoned")?.recv();
        Ok(())
    });
    let it = supervisor
        .spawn_service_with_options(it, watched())
        .unwrap();
    let sibling = Script::new("sibling", [Turn::Fail("x").after(ms(900))]);
    let sibling = supervisor.spawn_service(sibling).unwrap();
    begun.recv().await.unwrap();
    // The paused clock waits for threads of the pool, unless it is pushed.
    let push = async |millis| {
        for _ in 0..millis / 10 {
            tokio::time::advance(ms(10)).await;
            for _ in 0..4 {
                tokio::task::yield_now().await;
            }
        }
    };
    push(550).await;
    assert!(!it.snapshot().stuck, "it has just been told");
    push(500).await;
    assert!(!it.snapshot().stuck, "it may only have had no time");
    push(100).await;
    let snapshot = it.snapshot();
    assert!(snapshot.stuck);
    assert_eq!(
        (snapshot.phase, snapshot.start_count),
        (ServicePhase::Running, 1),
        "no other run begins beside it"
    );
    assert_eq!(sibling.snapshot().total_failures, 1, "goes on");
    assert!(!sibling.snapshot().stuck);

    drop(let_go);
    assert!(within_an_hour(it.wait_for(ServicePhase::BackingOff)).await);
    push(550).await;
    let snapshot = it.snapshot();
    assert_eq!(snapshot.last_failure_kind, Some(FailureKind::Hang));
    assert!(!snapshot.stuck);
}

/// Nothing is left that looks after it.
#[tokio::test(start_paused = true)]
async fn the_watch_over_a_service_ends_with_it() {
    let (supervisor, ..) = supervisor();
    let tasks = || {
        tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks()
    };
    let none = supervisor.spawn_service(Script::new("none", [])).unwrap();
    settle().await;
    let before = tasks();
    let it = Script::new("it", []);
    let it = supervisor
        .spawn_service_with_options(it, watched())
        .unwrap();
    settle().await;
    assert_eq!(tasks(), before + 2, "its own, and the watch");
    within_an_hour(it.stop()).await;
    settle().await;
    assert_eq!(tasks(), before);
    within_an_hour(none.stop()).await;
}
