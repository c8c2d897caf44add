//! How long a service waits between two runs, and what ends the wait.

use janus_supervisor::{
    BackoffConfig, EventKind, JanusSupervisor, Jitter, RestartPolicy, ServicePhase, SpawnOptions,
    TerminationReason,
};
use janus_tests::{Recorder, Script, Turn, backoff, config, ms, secs, settle, within_an_hour};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The delays that one service was told of.
fn delays(recorder: &Recorder, service: &str) -> Vec<Duration> {
    let events = recorder.events_of(service).into_iter();
    events
        .filter_map(|event| match event.kind {
            EventKind::BackingOff { delay, .. } => Some(delay),
            _ => None,
        })
        .collect()
}

/// B11
#[tokio::test(start_paused = true)]
async fn the_first_delay_is_the_base_and_each_doubles_up_to_the_cap() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    let t0 = Instant::now();
    let script = Script::new("feed", [Turn::Fail("down")]);
    let log = script.log();
    let slow = BackoffConfig::new(ms(250), secs(2))
        .with_jitter(Jitter::None)
        .with_circuit_breaker(6, secs(3600));
    let feed = supervisor
        .spawn_service_with_options(script, SpawnOptions::with_backoff(slow))
        .unwrap();
    within_an_hour(feed.terminated()).await;
    assert_eq!(
        delays(&recorder, "feed"),
        [250, 500, 1000, 2000, 2000].map(ms)
    );
    let starts = log.start_times().into_iter();
    let starts: Vec<_> = starts.map(|start| start - t0.into_std()).collect();
    assert_eq!(starts, [0, 250, 750, 1750, 3750, 5750].map(ms));
}

#[tokio::test(start_paused = true)]
async fn an_initial_delay_of_zero_retries_at_once_and_only_once() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    let turns = [Turn::Fail("a"), Turn::Fail("b"), Turn::Complete];
    let options = SpawnOptions::with_backoff(backoff().with_initial_delay(ms(0)));
    let t0 = Instant::now().into_std();
    let feed = supervisor
        .spawn_service_with_options(Script::new("feed", turns), options)
        .unwrap();
    within_an_hour(feed.terminated()).await;
    assert_eq!(
        recorder.trace_of("feed", t0)[2..],
        [
            "0 run 1 failed (error): a",
            "0 run 1 backing off #1 for 0ns",
            "0 run 2 restarting",
            "0 run 2 running",
            "0 run 2 failed (error): b",
            "0 run 2 backing off #2 for 200ms",
            "200 run 3 restarting",
            "200 run 3 running",
            "200 run 3 completed",
            "200 run 3 terminated: completed",
        ]
    );
}

/// B12: the longest delay there is overflows nothing, and is waited for like any other.
#[tokio::test(start_paused = true)]
async fn a_delay_without_end_keeps_the_service_in_backoff_and_within_reach() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    let for_ever = BackoffConfig::new(Duration::MAX, Duration::MAX)
        .with_jitter(Jitter::None)
        .without_circuit_breaker();
    let script = Script::new("feed", [Turn::Fail("down")]);
    let log = script.log();
    let feed = supervisor
        .spawn_service_with_options(script, SpawnOptions::with_backoff(for_ever))
        .unwrap();
    for _ in 0..10 {
        tokio::time::sleep(secs(365 * 24 * 3600)).await;
        assert_eq!(feed.phase(), ServicePhase::BackingOff);
    }
    assert_eq!(delays(&recorder, "feed"), [Duration::MAX]);
    assert!(feed.snapshot().next_retry_secs > Some(1e9));
    let before = Instant::now();
    assert_eq!(
        within_an_hour(feed.stop()).await,
        TerminationReason::Cancelled
    );
    assert_eq!(Instant::now(), before);
    assert_eq!(log.starts(), 1);
}

/// B13: jitter may draw short, never nothing.
#[tokio::test(start_paused = true)]
async fn jitter_never_turns_a_backoff_into_a_hot_loop() {
    for jitter in [
        Jitter::None,
        Jitter::Full,
        Jitter::Equal,
        Jitter::Decorrelated,
    ] {
        for base in [Duration::from_micros(10), ms(1), ms(100)] {
            let recorder = Arc::new(Recorder::default());
            let supervisor = JanusSupervisor::new(config(&recorder));
            let options = SpawnOptions::with_backoff(
                BackoffConfig::new(base, ms(100))
                    .with_jitter(jitter)
                    .without_circuit_breaker(),
            );
            let script = Script::new("feed", [Turn::Fail("down")]);
            let log = script.log();
            let feed = supervisor
                .spawn_service_with_options(script, options)
                .unwrap();
            tokio::time::sleep(secs(10)).await;
            let least = base.min(ms(1));
            let drawn = delays(&recorder, "feed");
            assert!(drawn.len() > 50, "{jitter:?} {base:?}");
            assert!(drawn.iter().all(|delay| *delay >= least), "{drawn:?}");
            // And each was really waited for.
            for (pair, delay) in log.start_times().windows(2).zip(&drawn) {
                assert!(pair[1] - pair[0] >= *delay, "{jitter:?} {base:?}");
            }
            within_an_hour(feed.stop()).await;
        }
    }
}

/// B15
#[tokio::test(start_paused = true)]
async fn services_that_failed_together_do_not_start_together() {
    let recorder = Arc::new(Recorder::default());
    let spread = BackoffConfig::new(secs(10), secs(60));
    let supervisor = JanusSupervisor::new(config(&recorder).with_default_backoff(spread));
    let mut logs = Vec::new();
    for i in 0..20 {
        let script = Script::new(format!("feed-{i}"), [Turn::Fail("db gone")]);
        logs.push(script.log());
        supervisor.spawn_service(script).unwrap();
    }
    tokio::time::sleep(secs(11)).await;
    let mut seconds: Vec<_> = logs.iter().map(|log| log.start_times()[1]).collect();
    seconds.sort_unstable();
    seconds.dedup();
    assert_eq!(seconds.len(), 20, "twenty different moments");
    supervisor.trigger_shutdown();
    supervisor.wait_for_drain().await;
}

/// And the same seed starts them at the same different moments.
#[tokio::test(start_paused = true)]
async fn a_seed_repeats_the_whole_schedule() {
    async fn schedule(seed: u64) -> Vec<Duration> {
        let recorder = Arc::new(Recorder::default());
        let jittered = BackoffConfig::default();
        let settings = config(&recorder)
            .with_default_backoff(jittered)
            .with_seed(seed);
        let supervisor = JanusSupervisor::new(settings);
        for name in ["a", "b"] {
            let script = Script::new(name, [Turn::Fail("x")]);
            // Errors in here would show as an empty schedule.
            let Ok(handle) = supervisor.spawn_service(script) else {
                continue;
            };
            within_an_hour(handle.terminated()).await;
        }
        let mut all = delays(&recorder, "a");
        all.extend(delays(&recorder, "b"));
        all
    }
    let first = schedule(7).await;
    assert_eq!(first.len(), 18, "ten failures each");
    assert_eq!(first, schedule(7).await);
    assert_ne!(first, schedule(8).await);
    assert_ne!(first[..9], first[9..], "each service has its own");
}

/// B19, A7: a pause of `base_delay`, whatever came before, and no step on the ladder.
#[tokio::test(start_paused = true)]
async fn a_clean_exit_has_a_delay_of_its_own_and_starts_the_ladder_over() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    let turns = [
        Turn::Complete,
        Turn::Complete,
        Turn::Fail("a"),
        Turn::Fail("b"),
        Turn::Fail("c"),
        Turn::Complete,
        Turn::Fail("d"),
        Turn::until_cancelled(),
    ];
    let script = Script::new("feed", turns).policy(RestartPolicy::Always);
    let feed = supervisor.spawn_service(script).unwrap();
    tokio::time::sleep(secs(10)).await;
    let steps: Vec<_> = recorder
        .events_of("feed")
        .into_iter()
        .filter_map(|event| match event.kind {
            EventKind::BackingOff { attempt, delay } => Some((attempt, delay.as_millis())),
            _ => None,
        })
        .collect();
    assert_eq!(
        steps,
        [
            (0, 100),
            (0, 100),
            (1, 100),
            (2, 200),
            (3, 400),
            (0, 100),
            (1, 100)
        ]
    );
    let snapshot = feed.snapshot();
    assert_eq!((snapshot.total_failures, snapshot.start_count), (4, 8));
    assert_eq!(snapshot.last_error.as_deref(), Some("d"));
}

/// A clean exit leaves no error behind, and does not wash away the one before it.
#[tokio::test(start_paused = true)]
async fn a_clean_exit_is_not_a_failure() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    for (name, turns, failures, last_error) in [
        ("clean", vec![Turn::Complete], 0, None),
        (
            "mixed",
            vec![Turn::Fail("once"), Turn::Complete],
            1,
            Some("once"),
        ),
    ] {
        let script = Script::new(name, turns).policy(RestartPolicy::Always);
        let handle = supervisor.spawn_service(script).unwrap();
        tokio::time::sleep(secs(100)).await;
        let snapshot = handle.snapshot();
        assert!(snapshot.start_count > 900, "{}", snapshot.start_count);
        assert_eq!(snapshot.total_failures, failures, "{name}");
        assert_eq!(snapshot.last_error.as_deref(), last_error, "{name}");
        assert_eq!(snapshot.attempt, 0, "{name}");
        assert_eq!(snapshot.termination_reason, None, "no breaker: {name}");
    }
}

/// B20: nobody waits for a backoff to be over.
#[tokio::test(start_paused = true)]
async fn a_backoff_ends_at_once_when_somebody_wants_the_service_to_end() {
    let hour = BackoffConfig::new(secs(3600), secs(3600)).without_circuit_breaker();
    for stop in [
        "stop",
        "shutdown",
        "the token",
        "the drop of the supervisor",
    ] {
        let recorder = Arc::new(Recorder::default());
        let supervisor = JanusSupervisor::new(config(&recorder));
        let script = Script::new("feed", [Turn::Fail("down")]);
        let log = script.log();
        let feed = supervisor
            .spawn_service_with_options(script, SpawnOptions::with_backoff(hour.clone()))
            .unwrap();
        settle().await;
        assert_eq!(feed.phase(), ServicePhase::BackingOff);
        let t0 = Instant::now();
        match stop {
            "stop" => drop(within_an_hour(feed.stop()).await),
            "shutdown" => supervisor.trigger_shutdown(),
            "the token" => supervisor.cancel_token().cancel(),
            _ => drop(supervisor),
        }
        assert_eq!(
            within_an_hour(feed.terminated()).await,
            TerminationReason::Cancelled
        );
        assert_eq!(Instant::now(), t0, "{stop}");
        assert_eq!(log.starts(), 1, "{stop}");
        // No timer of the backoff is left to start it after all.
        tokio::time::sleep(secs(2 * 3600)).await;
        assert_eq!(log.starts(), 1, "{stop}");
    }
}
