//! A breaker that opens, waits, lets one run try, and closes when that run has lasted. FIELD C32.

use super::supervisor;
use janus_supervisor::{
    BackoffConfig, EventKind, FailureKind, Group, JanusService, JanusSupervisor, Readiness,
    RestartPolicy, ServiceHandle, ServicePhase, SpawnOptions, TerminationReason,
};
use janus_tests::{Recorder, Script, Turn, backoff, ms, secs, settle, within_an_hour};

/// Opens at the second failure within a minute, waits for ten seconds, and closes when a run has lasted for five.
fn half_open() -> BackoffConfig {
    backoff()
        .with_circuit_breaker(2, secs(60))
        .with_cooldown(secs(5))
        .with_half_open_after(secs(10))
}

fn spawn(supervisor: &JanusSupervisor, service: impl JanusService) -> ServiceHandle {
    let options = SpawnOptions::with_backoff(half_open());
    supervisor
        .spawn_service_with_options(service, options)
        .unwrap()
}

/// Fails twice, which opens the breaker 100 ms from its start, then plays these.
fn opened(turns: impl IntoIterator<Item = Turn>) -> Script {
    let two = [Turn::Fail("a"), Turn::Fail("b")];
    Script::new("it", two.into_iter().chain(turns))
}

fn trips(recorder: &Recorder) -> usize {
    recorder.count(|event| matches!(event.kind, EventKind::BreakerOpened { .. }))
}

/// C32: it can be seen that it waits, for what, and for how long.
#[tokio::test(start_paused = true)]
async fn while_it_is_open_the_service_waits_and_says_so() {
    let (supervisor, recorder, _) = supervisor();
    let it = spawn(&supervisor, opened([]));
    tokio::time::sleep(ms(4_100)).await;
    let snapshot = it.snapshot();
    assert_eq!(snapshot.phase, ServicePhase::BackingOff);
    assert_eq!(snapshot.next_retry_secs, Some(6.0));
    assert_eq!((snapshot.start_count, snapshot.attempt), (2, 2));
    assert_eq!(snapshot.last_error.as_deref(), Some("b"));
    assert_eq!(trips(&recorder), 1);
    assert!(!supervisor.is_ready());
}

/// C32: one, each time, for as long as it fails.
#[tokio::test(start_paused = true)]
async fn each_wait_lets_exactly_one_run_try() {
    let (supervisor, recorder, t0) = supervisor();
    let script = opened([]);
    let log = script.log();
    let it = spawn(&supervisor, script);
    tokio::time::sleep(secs(100)).await;
    let starts = log.start_times().into_iter();
    let starts: Vec<_> = starts.map(|at| (at - t0).as_millis()).collect();
    assert_eq!(starts[..4], [0, 100, 10_100, 20_100]);
    assert_eq!((log.starts(), log.overlaps()), (11, 0));
    assert_eq!(trips(&recorder), 10, "once for each that failed");
    assert_eq!(supervisor.metrics().snapshot().circuit_breaker_trips, 10);
    assert!(!it.phase().is_terminal());
}

/// C32: ready again as soon as the trial runs; closed only when it has lasted.
#[tokio::test(start_paused = true)]
async fn a_trial_that_lasts_closes_it_and_the_ladder_begins_anew() {
    let (supervisor, recorder, t0) = supervisor();
    let it = spawn(&supervisor, opened([Turn::Fail("c").after(secs(6))]));
    within_an_hour(supervisor.wait_ready()).await;
    tokio::time::sleep(ms(6_050)).await;
    assert_eq!(
        recorder.trace_of("it", t0)[9..],
        [
            "10100 run 3 restarting",
            "10100 run 3 running",
            "15100 run 3 recovered",
            "16100 run 3 failed (error): c",
            "16100 run 3 backing off #1 for 100ms",
        ]
    );
    let snapshot = it.snapshot();
    assert_eq!((snapshot.attempt, snapshot.total_failures), (1, 3));
}

/// C32: a failure a millisecond too early opens it again, whatever the window says.
#[tokio::test(start_paused = true)]
async fn a_trial_that_does_not_last_opens_it_again() {
    for (lasts, reopens) in [(4_999, true), (5_000, false)] {
        let (supervisor, recorder, _) = supervisor();
        spawn(&supervisor, opened([Turn::Fail("c").after(ms(lasts))]));
        tokio::time::sleep(ms(10_100 + lasts + 1)).await;
        assert_eq!(trips(&recorder), 1 + usize::from(reopens), "{lasts} ms");
    }
}

/// C32: after a wait longer than the window, in which there is nothing to count any more.
#[tokio::test(start_paused = true)]
async fn one_failure_opens_it_again_also_when_the_window_is_over() {
    let (supervisor, recorder, _) = supervisor();
    let config = half_open().with_circuit_breaker(2, secs(1));
    let options = SpawnOptions::with_backoff(config);
    supervisor
        .spawn_service_with_options(opened([]), options)
        .unwrap();
    tokio::time::sleep(ms(10_150)).await;
    assert_eq!(trips(&recorder), 2);
}

/// C32: however it fails.
#[tokio::test(start_paused = true)]
async fn a_trial_that_panics_or_hangs_or_is_late_opens_it_again() {
    for (turn, kind) in [
        (Turn::Panic("c"), FailureKind::Panic),
        (Turn::Hang, FailureKind::Hang),
        (Turn::Hang, FailureKind::StartTimeout),
    ] {
        let (supervisor, recorder, _) = supervisor();
        let options = SpawnOptions::with_backoff(half_open());
        let options = match kind {
            FailureKind::Hang => options.with_watchdog(secs(1)),
            FailureKind::StartTimeout => options
                .with_readiness(Readiness::Notify)
                .with_start_timeout(secs(1)),
            _ => options,
        };
        let it = supervisor
            .spawn_service_with_options(opened([turn]), options)
            .unwrap();
        tokio::time::sleep(ms(11_150)).await;
        let snapshot = it.snapshot();
        assert_eq!(snapshot.phase, ServicePhase::BackingOff, "{kind}");
        assert_eq!(snapshot.last_failure_kind, Some(kind));
        assert_eq!(trips(&recorder), 2, "{kind}");
    }
}

/// A clean end proves nothing about how long it lasts.
#[tokio::test(start_paused = true)]
async fn a_trial_that_ends_cleanly_leaves_it_half_open() {
    let (supervisor, recorder, t0) = supervisor();
    let script = opened([Turn::Complete, Turn::Fail("c")]).policy(RestartPolicy::Always);
    spawn(&supervisor, script);
    tokio::time::sleep(ms(10_250)).await;
    assert_eq!(
        recorder.trace_of("it", t0)[11..],
        [
            "10100 run 3 completed",
            "10100 run 3 backing off #0 for 100ms",
            "10200 run 4 restarting",
            "10200 run 4 running",
            "10200 run 4 failed (error): c",
            "10200 run 4 breaker opened 2/2",
            "10200 run 4 backing off #1 for 10s",
        ]
    );
}

/// Under the other policies that is the end of the service.
#[tokio::test(start_paused = true)]
async fn a_trial_that_does_its_work_completes_the_service() {
    let (supervisor, ..) = supervisor();
    let it = spawn(&supervisor, opened([Turn::Complete]));
    assert_eq!(
        within_an_hour(it.terminated()).await,
        TerminationReason::Completed
    );
}

/// DESIGN 3: what no run can mend is not tried again.
#[tokio::test(start_paused = true)]
async fn a_trial_that_fails_for_good_is_the_end() {
    let (supervisor, ..) = supervisor();
    let it = spawn(&supervisor, opened([Turn::FailForGood("no key")]));
    assert_eq!(
        within_an_hour(it.terminated()).await,
        TerminationReason::Unrecoverable("no key".into())
    );
}

/// B18: an operator's restart needs no trial: the breaker is closed, its window empty.
#[tokio::test(start_paused = true)]
async fn a_restart_by_hand_closes_it() {
    let (supervisor, recorder, t0) = supervisor();
    let it = spawn(&supervisor, opened([Turn::Fail("c").after(ms(50))]));
    tokio::time::sleep(secs(1)).await;
    within_an_hour(it.restart()).await.unwrap();
    tokio::time::sleep(ms(60)).await;
    assert_eq!(
        recorder.trace_of("it", t0)[9..],
        [
            "1000 run 2 reset",
            "1000 run 3 restarting",
            "1000 run 3 running",
            "1050 run 3 failed (error): c",
            "1050 run 3 backing off #1 for 100ms",
        ]
    );
}

/// F68, B20: nobody waits for a trial that nobody wants.
#[tokio::test(start_paused = true)]
async fn a_shutdown_while_it_is_open_is_immediate() {
    let (supervisor, recorder, t0) = supervisor();
    spawn(&supervisor, opened([]));
    tokio::time::sleep(secs(1)).await;
    supervisor.trigger_shutdown();
    let report = within_an_hour(supervisor.wait_for_drain()).await;
    assert!(report.is_clean());
    assert_eq!(report.took, secs(0));
    assert_eq!(
        recorder.trace_of("it", t0)[9..],
        ["1000 run 2 stopping", "1000 run 2 terminated: cancelled"]
    );
}

/// F60: a trial is a run, and is stopped as one.
#[tokio::test(start_paused = true)]
async fn a_stop_of_the_trial_is_a_stop() {
    let (supervisor, recorder, _) = supervisor();
    let it = spawn(&supervisor, opened([Turn::Fail("c").when_cancelled()]));
    tokio::time::sleep(secs(11)).await;
    assert_eq!(it.phase(), ServicePhase::Running);
    assert_eq!(
        within_an_hour(it.stop()).await,
        TerminationReason::Cancelled
    );
    assert_eq!(trips(&recorder), 1);
}

/// D34: an open breaker that will try again is no end, and no affair of its siblings.
#[tokio::test(start_paused = true)]
async fn the_group_of_a_service_whose_breaker_is_open_goes_on() {
    let (supervisor, ..) = supervisor();
    let sibling = Script::new("sibling", []);
    let log = sibling.log();
    let options = SpawnOptions::with_backoff(half_open());
    let group = Group::new("g")
        .service(sibling)
        .service_with_options(opened([Turn::until_cancelled()]), options);
    let group = supervisor.spawn_group(group).unwrap();
    tokio::time::sleep(secs(5)).await;
    let it = supervisor.service("g/it").unwrap();
    assert_eq!(it.phase(), ServicePhase::BackingOff);
    assert_eq!(group.phase(), ServicePhase::Running);
    assert!(within_an_hour(it.wait_ready()).await);
    assert_eq!(it.snapshot().start_count, 3);
    assert_eq!((log.starts(), log.in_progress()), (1, 1));
    settle().await;
    assert!(supervisor.is_ready());
}

/// C30: each has its own, also with a shared configuration.
#[tokio::test(start_paused = true)]
async fn another_service_with_the_same_settings_is_not_held_back() {
    let (supervisor, ..) = supervisor();
    spawn(&supervisor, opened([]));
    let turns = [Turn::Fail("x").after(secs(1)), Turn::until_cancelled()];
    let other = spawn(&supervisor, Script::new("other", turns));
    tokio::time::sleep(ms(1_150)).await;
    let snapshot = other.snapshot();
    assert_eq!(
        (snapshot.phase, snapshot.start_count),
        (ServicePhase::Running, 2)
    );
}
