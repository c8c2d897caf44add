//! Live control: readiness, watchdog, handles. DESIGN 6; FIELD groups E, G and H.

#![expect(clippy::unwrap_used, reason = "part of a test")]

mod by_hand;
mod control;
mod elsewhere;
mod events;
mod from_inside;
mod half_open;
mod limits;
mod notifier;
mod readiness;
mod replay;
mod revival;
mod watchdog;

use futures_util::StreamExt;
use janus_supervisor::{
    CancellationToken, FailureKind, JanusService, JanusSupervisor, Readiness, ServiceError,
    ServicePhase, SpawnOptions, StopReason, TerminationReason, notify, service_fn,
};
use janus_tests::{Recorder, Script, Turn, backoff, config, ms, secs, settle, within_an_hour};
use std::sync::Arc;
use tokio::time::Instant;

fn supervisor() -> (JanusSupervisor, Arc<Recorder>, std::time::Instant) {
    let recorder = Arc::<Recorder>::default();
    let supervisor = JanusSupervisor::new(config(&recorder));
    (supervisor, recorder, Instant::now().into_std())
}

/// Ready after a second, if it lives so long.
fn slow_starter(name: &'static str) -> impl JanusService {
    service_fn(name, |cancel| async move {
        tokio::time::sleep(secs(1)).await;
        notify::ready();
        cancel.cancelled().await;
        Ok(())
    })
}

#[tokio::test(start_paused = true)]
async fn a_service_is_starting_until_it_says_that_it_is_ready() {
    let (supervisor, recorder, t0) = supervisor();
    let options = SpawnOptions::default().with_readiness(Readiness::Notify);
    let it = supervisor
        .spawn_service_with_options(slow_starter("it"), options)
        .unwrap();
    settle().await;
    assert_eq!(it.phase(), ServicePhase::Starting);
    assert!(!supervisor.is_ready());
    assert!(within_an_hour(it.wait_ready()).await);
    assert_eq!(Instant::now().into_std() - t0, secs(1));
    assert!(supervisor.is_ready());
    within_an_hour(it.stop()).await;
    assert_eq!(
        recorder.trace_of("it", t0),
        [
            "0 run 1 registered",
            "1000 run 1 running",
            "1000 run 1 stopping",
            "1000 run 1 cancelled",
            "1000 run 1 terminated: cancelled",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_not_ready_in_time_has_failed() {
    let (supervisor, recorder, t0) = supervisor();
    let options = SpawnOptions::default()
        .with_readiness(Readiness::Notify)
        .with_start_timeout(ms(500));
    let it = supervisor
        .spawn_service_with_options(slow_starter("it"), options)
        .unwrap();
    tokio::time::sleep(ms(550)).await;
    let snapshot = it.snapshot();
    assert_eq!(snapshot.last_failure_kind, Some(FailureKind::StartTimeout));
    assert_eq!(
        snapshot.last_error.as_deref(),
        Some("not ready within 500ms")
    );
    assert_eq!(
        recorder.trace_of("it", t0),
        [
            "0 run 1 registered",
            "500 run 1 failed (start_timeout): not ready within 500ms",
            "500 run 1 backing off #1 for 100ms",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_run_without_a_heartbeat_hangs_and_one_with_it_does_not() {
    let (supervisor, recorder, t0) = supervisor();
    let options = SpawnOptions::default().with_watchdog(ms(500));
    let alive = service_fn("alive", |cancel| async move {
        while !cancel.is_cancelled() {
            notify::heartbeat();
            tokio::time::sleep(ms(400)).await;
        }
        Ok(())
    });
    let alive = supervisor
        .spawn_service_with_options(alive, options.clone())
        .unwrap();
    let hung = Script::new("hung", [Turn::Hang]);
    let hung = supervisor
        .spawn_service_with_options(hung, options)
        .unwrap();
    tokio::time::sleep(secs(10)).await;
    assert_eq!(alive.snapshot().start_count, 1);
    assert_eq!(hung.snapshot().last_failure_kind, Some(FailureKind::Hang));
    assert_eq!(
        recorder.trace_of("hung", t0)[..4],
        [
            "0 run 1 registered",
            "0 run 1 running",
            "500 run 1 failed (hang): no heartbeat for 500ms",
            "500 run 1 backing off #1 for 100ms",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_status_is_in_the_snapshot_for_as_long_as_its_run() {
    let (supervisor, ..) = supervisor();
    let it = service_fn("it", |_cancel| async {
        notify::status("replaying 42 %");
        tokio::time::sleep(secs(1)).await;
        Err("down".into())
    });
    let it = supervisor.spawn_service(it).unwrap();
    settle().await;
    assert_eq!(it.snapshot().status.as_deref(), Some("replaying 42 %"));
    tokio::time::sleep(secs(1)).await;
    assert_eq!(it.phase(), ServicePhase::BackingOff);
    assert_eq!(it.snapshot().status, None);
}

#[tokio::test(start_paused = true)]
async fn outside_a_run_notifications_do_nothing() {
    notify::ready();
    notify::heartbeat();
    notify::status("nobody hears this");
    notify::current().ready();
    assert_eq!(notify::stop_reason(), None);
}

#[tokio::test(start_paused = true)]
async fn a_restart_begins_another_run_at_once_and_forgets_failures() {
    let (supervisor, recorder, t0) = supervisor();
    let it = Script::new("it", [Turn::Fail("x"), Turn::until_cancelled()]);
    let it = supervisor.spawn_service(it).unwrap();
    tokio::time::sleep(ms(50)).await;
    within_an_hour(it.restart()).await.unwrap();
    assert_eq!(Instant::now().into_std() - t0, ms(50));
    within_an_hour(it.restart()).await.unwrap();
    assert_eq!(
        recorder.trace_of("it", t0)[2..],
        [
            "0 run 1 failed (error): x",
            "0 run 1 backing off #1 for 100ms",
            "50 run 1 reset",
            "50 run 2 restarting",
            "50 run 2 running",
            "50 run 2 cancelled",
            "50 run 2 backing off #0 for 0ns",
            "50 run 3 restarting",
            "50 run 3 running",
        ]
    );
    within_an_hour(it.stop()).await;
    let error = within_an_hour(it.restart()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot restart service \"it\": it has terminated: cancelled"
    );
}

/// Says why it was asked to end.
struct Why(tokio::sync::mpsc::UnboundedSender<Option<StopReason>>);

impl JanusService for Why {
    fn name(&self) -> &str {
        "why"
    }

    async fn run(&self, cancel: CancellationToken) -> Result<(), ServiceError> {
        let notifier = notify::current();
        cancel.cancelled().await;
        assert_eq!(notify::stop_reason(), notifier.stop_reason());
        self.0.send(notify::stop_reason())?;
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_learns_why_it_is_to_end() {
    let (supervisor, ..) = supervisor();
    let (send, mut reasons) = tokio::sync::mpsc::unbounded_channel();
    let it = supervisor.spawn_service(Why(send.clone())).unwrap();
    settle().await;
    within_an_hour(it.restart()).await.unwrap();
    within_an_hour(it.stop()).await;
    supervisor.spawn_service(Why(send)).unwrap();
    settle().await;
    supervisor.trigger_shutdown();
    within_an_hour(supervisor.wait_for_drain()).await;
    let mut all = Vec::new();
    while let Ok(reason) = reasons.try_recv() {
        all.push(reason);
    }
    let [restart, stop, shutdown] = [StopReason::Restart, StopReason::Stop, StopReason::Shutdown];
    assert_eq!(all, [Some(restart), Some(stop), Some(shutdown)]);
}

#[tokio::test(start_paused = true)]
async fn a_removed_service_is_stopped_and_forgotten() {
    let (supervisor, recorder, t0) = supervisor();
    let it = supervisor.spawn_service(Script::new("it", [])).unwrap();
    settle().await;
    let last = within_an_hour(it.remove()).await;
    assert_eq!(last.termination_reason.as_deref(), Some("cancelled"));
    assert!(supervisor.service("it").is_none());
    within_an_hour(it.remove()).await;
    let trace = recorder.trace_of("it", t0);
    assert_eq!(trace.last().unwrap(), "1 run 1 removed");
    assert_eq!(trace.len(), 6);
}

#[tokio::test(start_paused = true)]
async fn an_ephemeral_service_is_forgotten_when_it_has_terminated() {
    let (supervisor, recorder, t0) = supervisor();
    let options = SpawnOptions::default().ephemeral();
    let it = Script::new("it", [Turn::Complete]);
    let it = supervisor.spawn_service_with_options(it, options).unwrap();
    assert_eq!(
        within_an_hour(it.terminated()).await,
        TerminationReason::Completed
    );
    assert_eq!(supervisor.snapshot().services, []);
    assert_eq!(
        recorder.trace_of("it", t0).last().unwrap(),
        "0 run 1 removed"
    );
}

/// C32.
#[tokio::test(start_paused = true)]
async fn an_open_breaker_lets_one_run_try_and_closes_when_that_lasts() {
    let (supervisor, recorder, t0) = supervisor();
    let backoff = backoff()
        .with_circuit_breaker(2, secs(60))
        .with_cooldown(secs(5))
        .with_half_open_after(secs(10));
    let turns = [
        Turn::Fail("a"),
        Turn::Fail("b"),
        Turn::Fail("c"),
        Turn::Fail("d").after(secs(20)),
    ];
    let it = Script::new("it", turns);
    let options = SpawnOptions::with_backoff(backoff);
    let it = supervisor.spawn_service_with_options(it, options).unwrap();
    tokio::time::sleep(ms(40_150)).await;
    assert_eq!(
        recorder.trace_of("it", t0)[2..],
        [
            "0 run 1 failed (error): a",
            "0 run 1 backing off #1 for 100ms",
            "100 run 2 restarting",
            "100 run 2 running",
            "100 run 2 failed (error): b",
            "100 run 2 breaker opened 2/2",
            "100 run 2 backing off #2 for 10s",
            "10100 run 3 restarting",
            "10100 run 3 running",
            "10100 run 3 failed (error): c",
            "10100 run 3 breaker opened 2/2",
            "10100 run 3 backing off #3 for 10s",
            "20100 run 4 restarting",
            "20100 run 4 running",
            "25100 run 4 recovered",
            "40100 run 4 failed (error): d",
            "40100 run 4 backing off #1 for 100ms",
        ]
    );
    assert_eq!(supervisor.metrics().snapshot().circuit_breaker_trips, 2);
    within_an_hour(it.stop()).await;
}

/// G83: a subscriber that does not keep up slows nobody down, and knows what it has missed.
#[tokio::test(start_paused = true)]
async fn a_slow_subscriber_is_told_how_many_events_it_has_missed() {
    let recorder = Arc::<Recorder>::default();
    let supervisor = JanusSupervisor::new(config(&recorder).with_event_buffer(4));
    let mut events = supervisor.subscribe();
    let it = Script::new("it", [Turn::Fail("x"), Turn::Complete]);
    let it = supervisor.spawn_service(it).unwrap();
    within_an_hour(it.terminated()).await;
    let all = recorder.events().len() as u64;
    for seq in all - 4..all {
        let event = events.next().await.unwrap();
        assert_eq!((event.seq, events.missed()), (seq, all - 4));
    }
    drop((supervisor, it));
    let over = within_an_hour(events.next()).await;
    assert!(over.is_none(), "the stream ends with all that it is about");
}
