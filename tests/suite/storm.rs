//! Storms: many services that fail in every way, while everybody does everything. At the end nothing is left, and all
//! of it adds up.

mod crowd;
mod weather;

use janus_supervisor::{
    BackoffConfig, JanusSupervisor, ServicePhase, SpawnOptions, TerminationReason,
};
use janus_tests::{Recorder, Script, ScriptLog, Story, Turn, config, ms, secs, within_a_minute};
use std::sync::Arc;
use std::time::Duration;
use weather::Weather;

/// What every storm must come to: all that is listed has terminated, the counters add up, the events of each service
/// tell a whole story, no run is in progress or ever overlapped another, and no task is left.
fn assert_calm_after(supervisor: &JanusSupervisor, recorder: &Recorder, logs: &[Arc<ScriptLog>]) {
    let snapshot = supervisor.snapshot();
    for service in &snapshot.services {
        assert_eq!(service.phase, ServicePhase::Terminated, "{service:?}");
    }
    let stories = Story::of_each(&recorder.events());
    let stories = stories.as_ref().map(|stories| stories.values());
    assert!(stories.is_ok(), "{stories:?}");
    let stories: Vec<_> = stories.into_iter().flatten().collect();
    assert!(stories.iter().all(|story| story.end.is_some()));

    let metrics = snapshot.metrics;
    let n = stories.len() as u64;
    assert_eq!(
        (
            metrics.spawned_total,
            metrics.terminated_total,
            metrics.active_services
        ),
        (n, n, 0)
    );
    let sum = |of: fn(&Story) -> u64| stories.iter().map(|story| of(story)).sum::<u64>();
    assert_eq!(metrics.restarts_total, sum(|story| story.restarts));
    assert_eq!(metrics.circuit_breaker_trips, sum(|story| story.trips));

    let begun: usize = logs.iter().map(|log| log.starts()).sum();
    assert_eq!(begun as u64, sum(|story| story.runs));
    for log in logs {
        assert_eq!((log.in_progress(), log.overlaps()), (0, 0));
    }
}

/// Spawns `n` services, lets them fail at random, stops some of them one by one and then all.
async fn storm(seed: u64, n: usize) {
    let mut weather = Weather::new(seed);
    let recorder = Arc::new(Recorder::default());
    let config = config(&recorder)
        .with_seed(seed)
        .with_shutdown_timeout(secs(8));
    let supervisor = JanusSupervisor::new(config);
    let mut handles = Vec::with_capacity(n);
    let mut logs = Vec::with_capacity(n);
    for i in 0..n {
        let (script, options) = weather.service(i);
        logs.push(script.log());
        let spawned = supervisor.spawn_service_with_options(script, options);
        assert!(spawned.is_ok(), "seed {seed}: {spawned:?}");
        handles.extend(spawned);
        if weather.one_in(50) {
            tokio::time::sleep(ms(weather.below(20))).await;
        }
    }
    tokio::time::sleep(secs(5 + weather.below(15))).await;
    let mut stops = Vec::new();
    for handle in &handles {
        if weather.one_in(4) {
            let (handle, after) = (handle.clone(), ms(weather.below(5000)));
            stops.push(tokio::spawn(async move {
                tokio::time::sleep(after).await;
                handle.stop().await
            }));
        }
    }
    tokio::time::sleep(secs(weather.below(6))).await;
    let in_progress: u32 = logs.iter().map(|log| log.in_progress()).sum();
    supervisor.trigger_shutdown();
    let report = supervisor.wait_for_drain().await;
    for stop in stops {
        assert!(stop.await.is_ok(), "seed {seed}");
    }

    assert_eq!(report.stuck.len(), 0, "seed {seed}: {report}");
    assert!(report.took <= secs(8), "seed {seed}: {report}");
    assert!(in_progress > 0, "seed {seed}: nothing was going on");
    assert_calm_after(&supervisor, &recorder, &logs);
    let snapshot = supervisor.snapshot();
    let restarts = snapshot
        .services
        .iter()
        .map(|s| u64::from(s.start_count) - 1);
    assert_eq!(
        snapshot.metrics.restarts_total,
        restarts.sum::<u64>(),
        "seed {seed}"
    );
    let aborted = handles
        .iter()
        .filter(|handle| handle.termination_reason() == Some(TerminationReason::Aborted));
    assert!(report.aborted.len() <= aborted.count(), "seed {seed}");
    let alive = tokio::runtime::Handle::current()
        .metrics()
        .num_alive_tasks();
    assert_eq!(alive, 0, "seed {seed}");
    assert_eq!(supervisor.remove_terminated(), n, "seed {seed}");
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_2000_services_leaves_nothing_behind_whatever_the_seed() {
    for seed in 1..=5 {
        storm(seed, 2000).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_10_000_services_leaves_nothing_behind() {
    storm(6, 10_000).await;
}

/// The same seed, the same storm: what goes wrong once can be looked at again.
#[tokio::test(start_paused = true)]
async fn the_same_seed_makes_the_same_storm() {
    let mut traces = Vec::new();
    for _ in 0..2 {
        let mut weather = Weather::new(7);
        let recorder = Arc::new(Recorder::default());
        let t0 = tokio::time::Instant::now().into_std();
        let supervisor = JanusSupervisor::new(config(&recorder).with_shutdown_timeout(secs(8)));
        for i in 0..200 {
            let (script, options) = weather.service(i);
            let spawned = supervisor.spawn_service_with_options(script, options);
            assert!(spawned.is_ok());
        }
        tokio::time::sleep(secs(30)).await;
        supervisor.trigger_shutdown();
        supervisor.wait_for_drain().await;
        let trace = |i: usize| recorder.trace_of(&format!("{i}"), t0);
        traces.push((0..200).map(trace).collect::<Vec<_>>());
    }
    assert_eq!(traces[0], traces[1]);
}

/// I91: no delay, no breaker, no end: a thousand failures in a row, each its own run.
#[tokio::test(start_paused = true)]
async fn a_thousand_failures_in_one_moment_are_a_thousand_restarts() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    let turns = std::iter::repeat_n(Turn::Fail("again"), 500)
        .chain(std::iter::repeat_n(Turn::Panic("again"), 500))
        .chain([Turn::until_cancelled()]);
    let script = Script::new("one", turns);
    let log = script.log();
    let hot = BackoffConfig::new(Duration::ZERO, Duration::ZERO).without_circuit_breaker();
    let t0 = tokio::time::Instant::now();
    let handle = supervisor
        .spawn_service_with_options(script, SpawnOptions::with_backoff(hot))
        .unwrap();
    while handle.snapshot().start_count <= 1000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(t0.elapsed(), ms(0));
    assert_eq!(handle.stop().await, TerminationReason::Cancelled);
    let last = handle.snapshot();
    assert_eq!((last.start_count, last.total_failures), (1001, 1000));
    assert_calm_after(&supervisor, &recorder, &[log]);
}

/// I91: a crash loop without any delay leaves room for its siblings, on the one thread that they share.
#[test]
fn a_hot_crash_loop_does_not_starve_its_siblings() {
    within_a_minute(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build();
        runtime.unwrap().block_on(hot_crash_loop_and_its_sibling());
    });
}

#[expect(clippy::unwrap_used, reason = "part of a test")]
async fn hot_crash_loop_and_its_sibling() {
    let recorder = Arc::new(Recorder::default());
    let mut config = config(&recorder);
    config.observers.clear();
    let supervisor = JanusSupervisor::new(config);
    let hot = BackoffConfig::new(Duration::ZERO, Duration::ZERO).without_circuit_breaker();
    let hot = SpawnOptions::with_backoff(hot);
    let looping = Script::new("loop", [Turn::Fail("again")]);
    let looping = supervisor
        .spawn_service_with_options(looping, hot.clone())
        .unwrap();
    let turns = std::iter::repeat_n(Turn::Fail("again"), 1000).chain([Turn::Complete]);
    let sibling = supervisor
        .spawn_service_with_options(Script::new("sibling", turns), hot)
        .unwrap();
    assert_eq!(sibling.terminated().await, TerminationReason::Completed);
    assert_eq!(looping.stop().await, TerminationReason::Cancelled);
    let runs = looping.snapshot().start_count;
    assert!(runs > 1, "it did loop: {runs}");
}
