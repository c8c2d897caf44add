//! How many services start at a time, and how far their restarts are apart.

use janus_supervisor::{
    BackoffConfig, Group, Intensity, JanusService, JanusSupervisor, Jitter, Readiness,
    ServicePhase, SpawnError, SpawnOptions, Strategy, SupervisorConfig, TerminationReason, notify,
    service_fn,
};
use janus_tests::{Recorder, Script, Turn, config, ms, secs, settle, within_an_hour};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;
use tokio::time::Instant;

/// How many services are starting, and the most there ever were.
#[derive(Default)]
struct Starting(AtomicUsize, AtomicUsize);

impl Starting {
    /// A service that takes so long until it is ready.
    fn service(self: &Arc<Self>, name: String, takes: Duration) -> impl JanusService {
        let starting = Arc::clone(self);
        service_fn(name, move |cancel| {
            let starting = Arc::clone(&starting);
            async move {
                let now = starting.0.fetch_add(1, SeqCst) + 1;
                starting.1.fetch_max(now, SeqCst);
                tokio::time::sleep(takes).await;
                starting.0.fetch_sub(1, SeqCst);
                notify::ready();
                cancel.cancelled().await;
                Ok(())
            }
        })
    }
}

fn supervisor(limit: impl FnOnce(SupervisorConfig) -> SupervisorConfig) -> JanusSupervisor {
    JanusSupervisor::new(limit(config(&Arc::<Recorder>::default())))
}

fn notifies() -> SpawnOptions {
    SpawnOptions::default().with_readiness(Readiness::Notify)
}

#[tokio::test(start_paused = true)]
async fn no_more_services_start_at_a_time_than_the_limit_says() {
    let supervisor = supervisor(|config| config.with_max_concurrent_starts(3));
    let starting = Arc::<Starting>::default();
    let t0 = Instant::now();
    for i in 0..10 {
        let it = starting.service(format!("s{i}"), secs(1));
        supervisor
            .spawn_service_with_options(it, notifies())
            .unwrap();
    }
    settle().await;
    let third = supervisor.service("s3").unwrap();
    assert_eq!(third.phase(), ServicePhase::Starting);
    assert!(within_an_hour(supervisor.wait_ready()).await);
    assert_eq!(starting.1.load(SeqCst), 3);
    assert_eq!(t0.elapsed(), secs(4), "ten, three at a time");
}

/// Who fails before it is ready, is stopped, or panics, gives its place to the next.
#[tokio::test(start_paused = true)]
async fn a_place_is_free_again_however_a_start_ends() {
    let supervisor = supervisor(|config| config.with_max_concurrent_starts(1));
    let never = |name| Script::new(name, [Turn::until_cancelled()]);
    let fails = Script::new("fails", [Turn::Fail("boom").after(secs(1))]);
    let once = SpawnOptions::default()
        .with_readiness(Readiness::Notify)
        .with_restart_policy(janus_supervisor::RestartPolicy::Never);
    supervisor
        .spawn_service_with_options(fails, once.clone())
        .unwrap();
    let panics = Script::new("panics", [Turn::Panic("ouch").after(secs(1))]);
    supervisor
        .spawn_service_with_options(panics, once.clone())
        .unwrap();
    let late = once.with_start_timeout(secs(1));
    supervisor
        .spawn_service_with_options(never("late"), late)
        .unwrap();
    let stopped = supervisor
        .spawn_service_with_options(never("stopped"), notifies())
        .unwrap();
    let last = supervisor.spawn_service(never("last")).unwrap();
    tokio::time::sleep(ms(3_500)).await;
    assert_eq!(last.phase(), ServicePhase::Starting);
    within_an_hour(stopped.stop()).await;
    assert!(within_an_hour(last.wait_ready()).await);
}

/// E51, F68: neither a stop nor a shutdown waits for a place or a turn.
#[tokio::test(start_paused = true)]
async fn whoever_waits_for_a_place_is_stopped_at_once_and_leaves_the_queue() {
    let supervisor = supervisor(|config| config.with_max_concurrent_starts(1));
    let spawn = |name: &'static str| {
        let it = Script::new(name, [Turn::until_cancelled()]);
        supervisor.spawn_service_with_options(it, notifies())
    };
    let (_first, queued) = (spawn("first").unwrap(), spawn("queued").unwrap());
    let _last = spawn("last").unwrap();
    settle().await;
    let t0 = Instant::now();
    let stopped = within_an_hour(queued.stop()).await;
    assert_eq!(stopped, TerminationReason::Cancelled);
    assert_eq!(queued.snapshot().start_count, 1);
    supervisor.trigger_shutdown();
    assert!(supervisor.wait_for_drain().await.is_clean());
    assert_eq!(t0.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn the_children_of_a_group_take_places_and_the_group_takes_none() {
    let supervisor = supervisor(|config| config.with_max_concurrent_starts(1));
    let starting = Arc::<Starting>::default();
    let child = |name: &str| starting.service(name.to_owned(), secs(1));
    for name in ["a", "b"] {
        let group = Group::new(name)
            .service_with_options(child("x"), notifies())
            .group(Group::new("inner").service_with_options(child("y"), notifies()));
        supervisor.spawn_group(group).unwrap();
    }
    let t0 = Instant::now();
    assert!(within_an_hour(supervisor.wait_ready()).await);
    assert_eq!(t0.elapsed(), secs(4));
    assert_eq!(starting.1.load(SeqCst), 1);
}

/// Its group has taken back what it allowed: the place goes to the next, and nothing is lost.
#[tokio::test(start_paused = true)]
async fn a_child_that_is_halted_in_the_queue_comes_up_all_the_same() {
    let supervisor = supervisor(|config| config.with_max_concurrent_starts(1));
    let blocks = Script::new("blocks", [Turn::until_cancelled()]);
    let first = Script::new(
        "first",
        [Turn::Fail("boom").after(secs(1)), Turn::until_cancelled()],
    );
    let group = Group::new("group")
        .strategy(Strategy::OneForAll)
        .service(first)
        .service(Script::new("second", []));
    supervisor.spawn_group(group).unwrap();
    settle().await;
    let blocks = supervisor
        .spawn_service_with_options(blocks, notifies())
        .unwrap();
    // The second has failed nothing, but is queued behind `blocks` when the first fails.
    let second = supervisor.service("group/second").unwrap();
    within_an_hour(second.wait_ready()).await;
    tokio::time::sleep(secs(5)).await;
    let first = supervisor.service("group/first").unwrap();
    assert_eq!(first.phase(), ServicePhase::BackingOff, "in the queue");
    within_an_hour(blocks.stop()).await;
    assert!(within_an_hour(supervisor.wait_ready()).await);
    assert_eq!(second.snapshot().start_count, 2);
}

/// A common outage: everything fails at once, and comes back one by one.
#[tokio::test(start_paused = true)]
async fn restarts_are_apart_and_first_starts_are_not() {
    let supervisor = supervisor(|config| config.with_restart_spread(ms(100)));
    let backoff = BackoffConfig::new(ms(500), ms(500)).with_jitter(Jitter::None);
    let backoff = Arc::new(backoff);
    let t0 = Instant::now().into_std();
    let mut logs = Vec::new();
    for i in 0..20 {
        let it = Script::new(
            format!("s{i}"),
            [Turn::Fail("outage").after(secs(1)), Turn::until_cancelled()],
        );
        logs.push(it.log());
        let options = SpawnOptions::with_backoff(Arc::clone(&backoff));
        supervisor.spawn_service_with_options(it, options).unwrap();
    }
    tokio::time::sleep(secs(10)).await;
    let mut again: Vec<_> = logs
        .iter()
        .map(|log| {
            let starts = log.start_times();
            assert_eq!(starts[0], t0, "first starts do not wait");
            assert_eq!(starts.len(), 2);
            starts[1] - t0
        })
        .collect();
    again.sort();
    let expected: Vec<_> = (0..20).map(|i| ms(1_500 + 100 * i)).collect();
    assert_eq!(again, expected);
}

#[tokio::test(start_paused = true)]
async fn a_restart_by_hand_waits_for_no_turn() {
    let supervisor = supervisor(|config| config.with_restart_spread(secs(60)));
    let backoff = BackoffConfig::new(ms(1), ms(1)).with_jitter(Jitter::None);
    let mut handles = Vec::new();
    for name in ["a", "b", "c"] {
        let it = Script::new(name, [Turn::Fail("boom"), Turn::until_cancelled()]);
        let options = SpawnOptions::with_backoff(backoff.clone());
        handles.push(supervisor.spawn_service_with_options(it, options).unwrap());
    }
    tokio::time::sleep(secs(1)).await;
    let phases: Vec<_> = handles.iter().map(|it| it.phase()).collect();
    assert_eq!(
        phases,
        [
            ServicePhase::Running,
            ServicePhase::BackingOff,
            ServicePhase::BackingOff
        ]
    );
    let t0 = Instant::now();
    within_an_hour(handles[2].restart()).await.unwrap();
    assert_eq!(t0.elapsed(), Duration::ZERO);
    within_an_hour(handles[1].wait_ready()).await;
    assert_eq!(t0.elapsed(), ms(59_001));
}

#[tokio::test(start_paused = true)]
async fn a_limit_of_nothing_is_refused() {
    let supervisor = supervisor(|config| config.with_max_concurrent_starts(0));
    let refused = supervisor.spawn_service(Script::new("it", [])).unwrap_err();
    assert!(matches!(refused, SpawnError::InvalidOptions { .. }));
    assert_eq!(
        refused.to_string(),
        "invalid options of \"it\": the supervisor's max_concurrent_starts is zero: nothing could ever start"
    );
}

/// A thousand services, all limits at once, and a storm: nobody is forgotten in the queue, on several threads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_forgotten_in_the_queue() {
    let settings = |config: SupervisorConfig| {
        config
            .with_max_concurrent_starts(2)
            .with_restart_spread(Duration::from_micros(20))
            .with_intensity(Intensity::new(u32::MAX, secs(1)))
    };
    let supervisor = supervisor(settings);
    let backoff = BackoffConfig::new(Duration::ZERO, Duration::ZERO).without_circuit_breaker();
    let backoff = Arc::new(backoff);
    let mut handles = Vec::new();
    for i in 0..1_000 {
        let mut turns = vec![Turn::Fail("boom"); i % 5];
        turns.push(Turn::until_cancelled());
        let it = Script::new(format!("s{i}"), turns);
        let options = SpawnOptions::with_backoff(Arc::clone(&backoff));
        handles.push(supervisor.spawn_service_with_options(it, options).unwrap());
    }
    for (i, it) in handles.iter().enumerate() {
        match i % 3 {
            0 => drop(it.restart().await),
            1 => drop(it.stop().await),
            _ => {}
        }
    }
    for it in handles.iter().skip(2).step_by(3) {
        assert!(it.wait_ready().await);
    }
    supervisor.trigger_shutdown();
    assert!(supervisor.wait_for_drain().await.is_clean());
}

/// What an earlier run says while its service is in the queue is no turn.
#[tokio::test(start_paused = true)]
async fn news_of_an_earlier_run_gives_nobody_a_place() {
    let supervisor = supervisor(|config| config.with_max_concurrent_starts(1));
    let said = Arc::<std::sync::Mutex<Option<notify::Notifier>>>::default();
    let (runs, heard) = (Arc::<AtomicUsize>::default(), Arc::clone(&said));
    let run = Arc::clone(&runs);
    let it = service_fn("it", move |cancel| {
        heard.lock().unwrap().get_or_insert_with(notify::current);
        let first = run.fetch_add(1, SeqCst) == 0;
        async move {
            if first {
                return Err("boom".into());
            }
            cancel.cancelled().await;
            Ok(())
        }
    });
    let it = supervisor.spawn_service(it).unwrap();
    settle().await;
    let blocks = Script::new("blocks", [Turn::until_cancelled()]);
    let blocks = supervisor
        .spawn_service_with_options(blocks, notifies())
        .unwrap();
    tokio::time::sleep(secs(1)).await;
    let early = said.lock().unwrap().clone().unwrap();
    for _ in 0..3 {
        early.ready();
        settle().await;
    }
    assert_eq!(it.phase(), ServicePhase::BackingOff);
    assert_eq!(runs.load(SeqCst), 1, "it is still in the queue");
    within_an_hour(blocks.stop()).await;
    assert!(within_an_hour(it.wait_ready()).await);
}
