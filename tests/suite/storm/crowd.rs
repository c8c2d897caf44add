//! Everybody at once: several tasks spawn, stop, remove and look, on several threads and under the paused clock.

use super::assert_calm_after;
use super::weather::Weather;
use janus_supervisor::{JanusSupervisor, RestartPolicy, ServicePhase};
use janus_tests::{Recorder, Script, ScriptLog, Turn, config, ms, secs};
use std::sync::Arc;
use std::time::Duration;

/// Does `steps` random things to services of a few names, which everybody shares. Answers the logs of those it spawned.
async fn busybody(supervisor: JanusSupervisor, seed: u64, steps: usize) -> Vec<Arc<ScriptLog>> {
    let mut weather = Weather::new(seed);
    let mut logs = Vec::new();
    for _ in 0..steps {
        let name = weather.below(16).to_string();
        match weather.below(8) {
            0..=2 => {
                let turns = match weather.below(4) {
                    0 => vec![Turn::Complete],
                    1 => vec![Turn::Fail("x"), Turn::Fail("y"), Turn::Complete],
                    2 => vec![Turn::Fail("x")],
                    _ => vec![],
                };
                let script = Script::new(name, turns).policy(RestartPolicy::OnFailure);
                let log = script.log();
                if supervisor.spawn_service(script).is_ok() {
                    logs.push(log);
                }
            }
            3 => {
                if let Some(service) = supervisor.service(&name) {
                    service.stop().await;
                }
            }
            4 => {
                if let Some(service) = supervisor.service(&name) {
                    // Asks, and does not wait for the answer.
                    let asked = tokio::time::timeout(Duration::ZERO, service.stop());
                    let _answered_or_not = asked.await;
                }
            }
            5 => {
                let _refused_if_alive = supervisor.remove_service(&name);
            }
            6 => {
                supervisor.remove_terminated();
            }
            _ => {
                let snapshot = supervisor.snapshot();
                let names = snapshot.services.iter().map(|s| &s.service_name);
                let mut names: Vec<_> = names.collect();
                names.sort_unstable();
                names.dedup();
                assert_eq!(names.len(), snapshot.services.len(), "names are unique");
            }
        }
        tokio::task::yield_now().await;
    }
    logs
}

/// Lets `n` busybodies loose and comes down in the middle of it, or after.
async fn crowd(n: u64, steps: usize, seed: u64, shutdown_in_the_middle: bool) {
    let recorder = Arc::new(Recorder::default());
    let mut config = config(&recorder).with_shutdown_timeout(secs(600));
    config.default_backoff.base_delay = Duration::ZERO;
    config.default_backoff.max_delay = ms(1);
    let supervisor = JanusSupervisor::new(config);
    let busy: Vec<_> = (0..n)
        .map(|i| tokio::spawn(busybody(supervisor.clone(), seed + i, steps)))
        .collect();
    if shutdown_in_the_middle {
        // Not by the clock: when enough has happened.
        while recorder.count(|_| true) < steps {
            tokio::task::yield_now().await;
        }
        supervisor.trigger_shutdown();
    }
    let mut logs = Vec::new();
    for busy in busy {
        let theirs = busy.await;
        assert!(theirs.is_ok(), "seed {seed}: {:?}", theirs.err());
        logs.extend(theirs.into_iter().flatten());
    }
    supervisor.trigger_shutdown();
    let report = supervisor.wait_for_drain().await;
    assert!(report.is_clean(), "seed {seed}: {report}");
    assert!(logs.len() > 10, "seed {seed}: {}", logs.len());
    assert_calm_after(&supervisor, &recorder, &logs);

    // Converges to empty.
    supervisor.remove_terminated();
    assert_eq!(supervisor.service_count().await, 0);
    assert_eq!(
        recorder.count(|event| { matches!(event.kind, janus_supervisor::EventKind::Removed) }),
        logs.len(),
        "seed {seed}: each was removed once"
    );
}

/// I90
#[tokio::test(start_paused = true)]
async fn a_crowd_that_adds_stops_and_removes_converges_to_empty() {
    for seed in [100, 200, 300] {
        crowd(8, 300, seed, false).await;
        crowd(8, 300, seed, true).await;
    }
}

/// I90, on several threads.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_crowd_on_several_threads_converges_to_empty() {
    for seed in [400, 500, 600] {
        crowd(8, 300, seed, false).await;
        crowd(8, 300, seed, true).await;
    }
}

/// The storm, with a crowd in it: a few hundred crash loops while others spawn, stop, remove and look.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_storm_on_several_threads_leaves_nothing_behind() {
    let recorder = Arc::new(Recorder::default());
    let mut config = config(&recorder).with_shutdown_timeout(secs(600));
    config.default_backoff.base_delay = Duration::ZERO;
    config.default_backoff.max_delay = ms(1);
    config.default_backoff.max_retries = 0;
    let supervisor = JanusSupervisor::new(config);
    let mut logs = Vec::new();
    let mut handles = Vec::new();
    for i in 0..300 {
        let fails = std::iter::repeat_n(Turn::Fail("storm"), i % 40);
        let end = [Turn::Complete, Turn::until_cancelled()][i % 2].clone();
        let script = Script::new(format!("storm-{i}"), fails.chain([end]));
        logs.push(script.log());
        handles.push(supervisor.spawn_service(script).unwrap());
    }
    let busy = (0..4).map(|i| tokio::spawn(busybody(supervisor.clone(), 700 + i, 200)));
    for busy in busy.collect::<Vec<_>>() {
        logs.extend(busy.await.unwrap());
    }
    for (i, handle) in handles.iter().enumerate() {
        if i % 2 == 0 {
            handle.terminated().await;
        } else {
            // Its failures are over: the run that waits for its end.
            while handle.snapshot().start_count as usize != i % 40 + 1 {
                tokio::task::yield_now().await;
            }
        }
    }
    supervisor.trigger_shutdown();
    let report = supervisor.wait_for_drain().await;
    assert!(report.is_clean(), "{report}");
    assert_calm_after(&supervisor, &recorder, &logs);
    for handle in handles {
        assert_eq!(handle.phase(), ServicePhase::Terminated);
    }
}
