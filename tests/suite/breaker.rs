//! The circuit breaker: `max_retries` failures inside the window end the service, and nothing else does.

use janus_supervisor::{
    BackoffConfig, EventKind, JanusSupervisor, Jitter, RestartPolicy, ServicePhase, SpawnOptions,
    TerminationReason,
};
use janus_tests::{Recorder, Script, Turn, backoff, config, ms, secs, settle, within_an_hour};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A delay of 100 ms, however many there were.
fn flat() -> BackoffConfig {
    BackoffConfig::new(ms(100), ms(100)).with_jitter(Jitter::None)
}

fn open(failures: u32) -> TerminationReason {
    TerminationReason::CircuitBreakerOpen {
        failures,
        max_retries: failures,
    }
}

/// C23, C24: `max_retries` counts failures, the first one included. It opens on the last of them, and one earlier
/// nothing has happened yet.
#[tokio::test(start_paused = true)]
async fn it_opens_on_the_nth_failure_and_not_before() {
    for n in 1..=6 {
        let recorder = Arc::new(Recorder::default());
        let supervisor = JanusSupervisor::new(config(&recorder));
        let backoff = flat().with_circuit_breaker(n, secs(60));
        // Both ways to say so.
        let options = if n == 1 {
            SpawnOptions::default().backoff(backoff)
        } else {
            SpawnOptions::with_backoff(backoff)
        };
        let script = Script::new("feed", [Turn::Fail("down")]);
        let log = script.log();
        let feed = supervisor
            .spawn_service_with_options(script, options)
            .unwrap();
        if n > 1 {
            tokio::time::sleep(ms(100 * u64::from(n - 2) + 50)).await;
            let waiting = feed.snapshot();
            assert_eq!(waiting.phase, ServicePhase::BackingOff, "{n}");
            assert_eq!(waiting.total_failures, n - 1);
        }
        assert_eq!(within_an_hour(feed.terminated()).await, open(n));
        assert_eq!(log.starts(), n as usize);
        let ended = feed.snapshot();
        assert_eq!((ended.start_count, ended.total_failures), (n, n));
        assert_eq!(
            ended.termination_reason,
            Some(format!("circuit breaker open ({n}/{n} failures)"))
        );
    }
}

/// C27
#[tokio::test(start_paused = true)]
async fn without_one_a_service_is_tried_for_ever() {
    for unlimited in [
        flat().without_circuit_breaker(),
        flat().with_circuit_breaker(0, secs(1)),
    ] {
        let recorder = Arc::new(Recorder::default());
        let supervisor = JanusSupervisor::new(config(&recorder));
        let script = Script::new("feed", [Turn::Fail("down")]);
        let options = SpawnOptions::with_backoff(unlimited);
        let feed = supervisor
            .spawn_service_with_options(script, options)
            .unwrap();
        tokio::time::sleep(ms(100_000 - 50)).await;
        let snapshot = feed.snapshot();
        assert_eq!(snapshot.total_failures, 1_000);
        assert_eq!(snapshot.phase, ServicePhase::BackingOff);
        assert_eq!(supervisor.metrics().snapshot().circuit_breaker_trips, 0);
    }
}

/// C25: a failure exactly as old as the window still counts; a millisecond older does not.
#[tokio::test(start_paused = true)]
async fn failures_further_apart_than_the_window_never_open_it() {
    for (apart, opens) in [(1_000, true), (1_001, false)] {
        let recorder = Arc::new(Recorder::default());
        let supervisor = JanusSupervisor::new(config(&recorder));
        let options = SpawnOptions::with_backoff(flat().with_circuit_breaker(2, secs(1)));
        // With the delay of 100 ms, that far apart.
        let script = Script::new("feed", [Turn::Fail("down").after(ms(apart - 100))]);
        let feed = supervisor
            .spawn_service_with_options(script, options)
            .unwrap();
        tokio::time::sleep(secs(100)).await;
        let snapshot = feed.snapshot();
        if opens {
            assert_eq!(feed.termination_reason(), Some(open(2)));
            assert_eq!(snapshot.total_failures, 2);
        } else {
            assert!(snapshot.phase.is_alive());
            assert_eq!(snapshot.total_failures, 99);
        }
    }
}

/// C26
#[tokio::test(start_paused = true)]
async fn a_limit_of_hundreds_is_kept_exactly() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    let options = SpawnOptions::with_backoff(flat().with_circuit_breaker(300, secs(60)));
    let script = Script::new("feed", [Turn::Fail("down")]);
    let feed = supervisor
        .spawn_service_with_options(script, options)
        .unwrap();
    assert_eq!(within_an_hour(feed.terminated()).await, open(300));
    assert_eq!(feed.snapshot().start_count, 300);
}

/// C28: neither the window nor the delays nor the cooldown fit 32 bits of milliseconds.
#[tokio::test(start_paused = true)]
async fn windows_of_months_work() {
    for (window, opens) in [(130 * DAY, true), (119 * DAY, false)] {
        let recorder = Arc::new(Recorder::default());
        let supervisor = JanusSupervisor::new(config(&recorder));
        // Three failures, 60 days apart.
        let slow = BackoffConfig::new(DAY, DAY)
            .with_jitter(Jitter::None)
            .with_cooldown(100 * DAY)
            .with_circuit_breaker(3, window);
        let feed = supervisor
            .spawn_service_with_options(
                Script::new("feed", [Turn::Fail("down").after(59 * DAY)]),
                SpawnOptions::with_backoff(slow),
            )
            .unwrap();
        tokio::time::sleep(400 * DAY).await;
        assert_eq!(feed.termination_reason(), opens.then(|| open(3)));
    }
}

/// C29: Janus counts what is inside the window, without decay; after a pause of its length there is nothing left.
#[tokio::test(start_paused = true)]
async fn a_pause_as_long_as_the_window_wipes_the_slate() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    let fail = Turn::Fail("down");
    // Two in a burst, a pause, two in a burst, ..
    let script = Script::new(
        "feed",
        [
            fail.clone(),
            fail.clone(),
            fail.clone().after(secs(10)),
            fail.clone(),
            fail.clone().after(secs(10)),
            fail,
            Turn::until_cancelled(),
        ],
    );
    let options = SpawnOptions::with_backoff(flat().with_circuit_breaker(3, secs(5)));
    let feed = supervisor
        .spawn_service_with_options(script, options)
        .unwrap();
    tokio::time::sleep(secs(30)).await;
    assert_eq!(feed.phase(), ServicePhase::Running);
    assert_eq!(feed.snapshot().total_failures, 6);
    assert_eq!(feed.snapshot().attempt, 6, "no cooldown: it was a pause");
}

/// C30: also when they share one configuration.
#[tokio::test(start_paused = true)]
async fn each_service_has_its_own() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    let shared = Arc::new(flat().with_circuit_breaker(3, secs(60)));
    let mut handles = Vec::new();
    for i in 0..10 {
        let turns = [Turn::Fail("a"), Turn::Fail("b"), Turn::until_cancelled()];
        let script = Script::new(format!("feed-{i}"), turns);
        let options = SpawnOptions::with_backoff(Arc::clone(&shared));
        let handle = supervisor.spawn_service_with_options(script, options);
        handles.push(handle.unwrap());
    }
    tokio::time::sleep(secs(10)).await;
    for handle in handles {
        assert_eq!(handle.phase(), ServicePhase::Running);
    }
    assert_eq!(supervisor.metrics().snapshot().circuit_breaker_trips, 0);
}

/// C31
#[tokio::test(start_paused = true)]
async fn when_it_opens_the_others_go_on_and_a_new_service_of_the_name_starts_afresh() {
    let recorder = Arc::new(Recorder::default());
    let three = backoff().with_circuit_breaker(3, secs(60));
    let supervisor = JanusSupervisor::new(config(&recorder).with_default_backoff(three));
    let sibling = supervisor
        .spawn_service(Script::new("sibling", []))
        .unwrap();
    let feed = Script::new("feed", [Turn::Fail("down")]);
    let feed = supervisor.spawn_service(feed).unwrap();
    assert_eq!(within_an_hour(feed.terminated()).await, open(3));
    tokio::time::sleep(secs(3600)).await;
    assert_eq!(sibling.phase(), ServicePhase::Running);
    assert!(!supervisor.is_shutting_down());
    assert_eq!(supervisor.metrics().snapshot().circuit_breaker_trips, 1);
    let opened = |event: &janus_supervisor::ServiceEvent| {
        matches!(
            event.kind,
            EventKind::BreakerOpened {
                failures: 3,
                max_retries: 3
            }
        )
    };
    assert_eq!(recorder.count(opened), 1);
    let record = supervisor.service_lifecycle("feed").await.unwrap();
    assert_eq!(record.last_error.as_deref(), Some("down"));

    let turns = [Turn::Fail("a"), Turn::Fail("b"), Turn::until_cancelled()];
    let again = supervisor
        .spawn_service(Script::new("feed", turns))
        .unwrap();
    tokio::time::sleep(secs(10)).await;
    assert_eq!(again.phase(), ServicePhase::Running);
    assert_eq!(supervisor.metrics().snapshot().circuit_breaker_trips, 1);
}

/// A7
#[tokio::test(start_paused = true)]
async fn clean_exits_never_open_it() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    let options = SpawnOptions::with_backoff(flat().with_circuit_breaker(1, secs(3600)));
    let script = Script::new("feed", [Turn::Complete]).policy(RestartPolicy::Always);
    let feed = supervisor
        .spawn_service_with_options(script, options)
        .unwrap();
    tokio::time::sleep(ms(100_000 - 50)).await;
    assert_eq!(feed.snapshot().start_count, 1_000);
    assert_eq!(supervisor.metrics().snapshot().circuit_breaker_trips, 0);
}

/// A clean exit in between is no excuse.
#[tokio::test(start_paused = true)]
async fn a_service_that_alternates_between_success_and_failure_trips_it() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    let t0 = Instant::now();
    let pairs = [Turn::Fail("down"), Turn::Complete];
    let turns = pairs.into_iter().cycle().take(10);
    let script = Script::new("feed", turns).policy(RestartPolicy::Always);
    let options = SpawnOptions::with_backoff(backoff().with_circuit_breaker(3, secs(60)));
    let feed = supervisor
        .spawn_service_with_options(script, options)
        .unwrap();
    assert_eq!(within_an_hour(feed.terminated()).await, open(3));
    let ended = feed.snapshot();
    assert_eq!((ended.start_count, ended.total_failures), (5, 3));
    // Each delay was the base: the attempts did start over.
    assert_eq!(Instant::now() - t0, ms(400));
}

#[tokio::test(start_paused = true)]
async fn panics_and_errors_count_alike() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    let turns = [Turn::Panic("a"), Turn::Fail("b"), Turn::Panic("c")];
    let options = SpawnOptions::with_backoff(flat().with_circuit_breaker(3, secs(60)));
    let feed = supervisor
        .spawn_service_with_options(Script::new("feed", turns), options)
        .unwrap();
    assert_eq!(within_an_hour(feed.terminated()).await, open(3));
    assert_eq!(feed.snapshot().last_error.as_deref(), Some("panicked: c"));
}

/// An error on the way out is no failure, so it is not the last straw either.
#[tokio::test(start_paused = true)]
async fn a_stop_does_not_open_it() {
    let recorder = Arc::new(Recorder::default());
    let supervisor = JanusSupervisor::new(config(&recorder));
    let options = SpawnOptions::with_backoff(flat().with_circuit_breaker(1, secs(60)));
    let script = Script::new("feed", [Turn::Fail("flush failed").when_cancelled()]);
    let feed = supervisor
        .spawn_service_with_options(script, options)
        .unwrap();
    settle().await;
    assert_eq!(
        within_an_hour(feed.stop()).await,
        TerminationReason::Cancelled
    );
    assert_eq!(supervisor.metrics().snapshot().circuit_breaker_trips, 0);
}
