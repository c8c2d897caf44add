//! A run that has lasted the cooldown period clears what came before it: then and there, while it is up.

use janus_supervisor::{
    BackoffConfig, EventKind, JanusSupervisor, RestartPolicy, ServiceHandle, ServicePhase,
    SpawnOptions, TerminationReason,
};
use janus_tests::{Recorder, Script, Turn, backoff, config, ms, secs, within_an_hour};
use std::sync::Arc;
use tokio::time::Instant;

/// 100 ms, 200 ms, 400 ms, ..; ten seconds of running clear it all.
fn ten_seconds() -> BackoffConfig {
    backoff().with_cooldown(secs(10))
}

/// Spawns a service with those turns.
#[expect(clippy::expect_used, reason = "a test's own words")]
fn spawn(
    recorder: &Arc<Recorder>,
    turns: impl IntoIterator<Item = Turn>,
    backoff: BackoffConfig,
) -> (JanusSupervisor, ServiceHandle) {
    let supervisor = JanusSupervisor::new(config(recorder));
    let script = Script::new("feed", turns).policy(RestartPolicy::Always);
    let options = SpawnOptions::with_backoff(backoff);
    let feed = supervisor.spawn_service_with_options(script, options);
    (supervisor, feed.expect("the settings are valid"))
}

fn recoveries(recorder: &Recorder) -> usize {
    recorder.count(|event| matches!(event.kind, EventKind::Recovered))
}

/// B17
#[tokio::test(start_paused = true)]
async fn a_run_that_lasts_has_recovered_while_it_is_up() {
    let recorder = Arc::new(Recorder::default());
    let t0 = Instant::now();
    let turns = [Turn::Fail("a"), Turn::Fail("b"), Turn::until_cancelled()];
    let (_supervisor, feed) = spawn(&recorder, turns, ten_seconds());
    // The third run begins at 300 ms.
    tokio::time::sleep_until(t0 + ms(10_299)).await;
    assert_eq!(feed.snapshot().attempt, 2);
    assert_eq!(recoveries(&recorder), 0);

    tokio::time::sleep_until(t0 + ms(10_301)).await;
    let up = feed.snapshot();
    assert_eq!((up.phase, up.attempt), (ServicePhase::Running, 0));
    // History is not rewritten: what failed has failed.
    assert_eq!((up.total_failures, up.start_count), (2, 3));
    assert_eq!(up.last_error.as_deref(), Some("b"));

    tokio::time::sleep_until(t0 + secs(3600)).await;
    assert_eq!(
        recorder.trace_of("feed", t0.into_std())[6..],
        [
            "100 run 2 failed (error): b",
            "100 run 2 backing off #2 for 200ms",
            "300 run 3 restarting",
            "300 run 3 running",
            "10300 run 3 recovered",
        ][..]
    );
}

/// B17: the timer of a run goes with the run.
#[tokio::test(start_paused = true)]
async fn the_timer_of_an_earlier_run_never_clears_a_later_one() {
    let recorder = Arc::new(Recorder::default());
    let t0 = Instant::now();
    let turns = [
        Turn::Fail("a"),
        // From 100 ms to 9100 ms: its cooldown would have been over at 10100 ms.
        Turn::Fail("b").after(secs(9)),
        // From 9300 ms on.
        Turn::until_cancelled(),
    ];
    let (_supervisor, feed) = spawn(&recorder, turns, ten_seconds());
    for millis in [10_099, 10_101, 19_299] {
        tokio::time::sleep_until(t0 + ms(millis)).await;
        assert_eq!(feed.snapshot().attempt, 2, "{millis}");
    }
    tokio::time::sleep_until(t0 + secs(60)).await;
    let trace = recorder.trace_of("feed", t0.into_std());
    assert_eq!(
        trace.last().map(String::as_str),
        Some("19300 run 3 recovered")
    );
    assert_eq!(recoveries(&recorder), 1);
}

/// B16
#[tokio::test(start_paused = true)]
async fn a_failure_after_the_cooldown_is_the_first_and_one_before_it_is_not() {
    // How long the third run lasts, and what its failure comes to.
    for (lasts, then) in [
        (9_999, "backing off #3 for 400ms"),
        (10_000, "backing off #1 for 100ms"),
        (10_001, "backing off #1 for 100ms"),
    ] {
        let recorder = Arc::new(Recorder::default());
        let t0 = Instant::now();
        let turns = [
            Turn::Fail("a"),
            Turn::Fail("b"),
            Turn::Fail("c").after(ms(lasts)),
            Turn::until_cancelled(),
        ];
        let (_supervisor, _feed) = spawn(&recorder, turns, ten_seconds());
        tokio::time::sleep_until(t0 + secs(11)).await;
        let end = 300 + lasts;
        let mut expected = vec![
            format!("{end} run 3 failed (error): c"),
            format!("{end} run 3 {then}"),
        ];
        if lasts >= 10_000 {
            expected.insert(0, "10300 run 3 recovered".to_owned());
        }
        let trace = recorder.trace_of("feed", t0.into_std());
        assert_eq!(trace[10..10 + expected.len()], expected, "{lasts}");
    }
}

/// Only the time that one run is up counts: not the sum of several, nor a wait between two.
#[tokio::test(start_paused = true)]
async fn neither_short_runs_nor_long_delays_add_up_to_a_cooldown() {
    let recorder = Arc::new(Recorder::default());
    let long = BackoffConfig::new(secs(60), secs(60))
        .with_cooldown(secs(10))
        .without_circuit_breaker();
    let turns = [Turn::Fail("down").after(secs(9))];
    let (_supervisor, feed) = spawn(&recorder, turns, long);
    tokio::time::sleep(secs(3600)).await;
    assert!(feed.snapshot().attempt > 50);
    assert_eq!(recoveries(&recorder), 0);
}

/// The window is cleared with the attempts.
#[tokio::test(start_paused = true)]
async fn failures_before_a_recovery_do_not_count_towards_the_breaker() {
    let recorder = Arc::new(Recorder::default());
    let turns = [
        Turn::Fail("a"),
        Turn::Fail("b"),
        Turn::Fail("c").after(secs(10)),
        Turn::Fail("d"),
        Turn::Fail("e").after(secs(10)),
        Turn::Fail("f"),
        Turn::until_cancelled(),
    ];
    let three = ten_seconds().with_circuit_breaker(3, secs(3600));
    let (supervisor, feed) = spawn(&recorder, turns, three);
    tokio::time::sleep(secs(60)).await;
    assert_eq!(feed.phase(), ServicePhase::Running);
    assert_eq!(feed.snapshot().total_failures, 6);
    assert_eq!(supervisor.metrics().snapshot().circuit_breaker_trips, 0);
    // Once after each series of failures.
    assert_eq!(recoveries(&recorder), 3);
}

/// A clean exit sets the attempts back and leaves the window: that is still something to recover from.
#[tokio::test(start_paused = true)]
async fn a_run_after_a_clean_exit_recovers_from_what_is_in_the_window() {
    let recorder = Arc::new(Recorder::default());
    let t0 = Instant::now();
    let turns = [
        Turn::Fail("a"),
        Turn::Complete,
        // From 200 ms on.
        Turn::Fail("b").after(secs(10)),
        Turn::until_cancelled(),
    ];
    let two = ten_seconds().with_circuit_breaker(2, secs(3600));
    let (_supervisor, feed) = spawn(&recorder, turns, two);
    tokio::time::sleep_until(t0 + secs(11)).await;
    assert_eq!(feed.phase(), ServicePhase::Running);
    assert_eq!(
        recorder.trace_of("feed", t0.into_std())[10..13],
        [
            "10200 run 3 recovered",
            "10200 run 3 failed (error): b",
            "10200 run 3 backing off #1 for 100ms",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_service_that_never_failed_has_nothing_to_recover_from() {
    let recorder = Arc::new(Recorder::default());
    let turns = [Turn::Complete, Turn::until_cancelled()];
    let (_supervisor, feed) = spawn(&recorder, turns, ten_seconds());
    tokio::time::sleep(secs(3600)).await;
    assert_eq!(feed.phase(), ServicePhase::Running);
    assert_eq!(recoveries(&recorder), 0);
}

#[tokio::test(start_paused = true)]
async fn a_recovery_of_one_service_is_no_recovery_of_its_sibling() {
    let recorder = Arc::new(Recorder::default());
    let settings = config(&recorder).with_default_backoff(ten_seconds());
    let supervisor = JanusSupervisor::new(settings);
    let up = Script::new("up", [Turn::Fail("x"), Turn::until_cancelled()]);
    let flaky = Script::new("flaky", [Turn::Fail("x").after(secs(9))]);
    let up = supervisor.spawn_service(up).unwrap();
    let flaky = supervisor.spawn_service(flaky).unwrap();
    tokio::time::sleep(secs(25)).await;
    assert_eq!(up.snapshot().attempt, 0);
    assert_eq!(flaky.snapshot().attempt, 2);
}

/// Who is stopping is not up: it has nothing to look healthy for.
#[tokio::test(start_paused = true)]
async fn a_service_that_is_stopping_no_longer_recovers() {
    let recorder = Arc::new(Recorder::default());
    let slow = Turn::Complete.after(secs(20)).when_cancelled();
    let (_supervisor, feed) = spawn(&recorder, [Turn::Fail("x"), slow], ten_seconds());
    tokio::time::sleep(secs(5)).await;
    assert_eq!(
        within_an_hour(feed.stop()).await,
        TerminationReason::Cancelled
    );
    assert_eq!(recoveries(&recorder), 0);
    assert_eq!(feed.snapshot().attempt, 1);
}
