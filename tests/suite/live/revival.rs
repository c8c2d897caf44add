//! A service that its breaker has terminated begins anew when somebody restarts it.

use super::supervisor;
use futures_util::FutureExt;
use janus_supervisor::{
    AutoShutdown, BackoffConfig, EventKind, Group, JanusSupervisor, Jitter, Observer, Readiness,
    RestartError, ServiceEvent, ServiceHandle, ServicePhase, SpawnError, SpawnOptions, Strategy,
    TerminationReason, service_fn,
};
use janus_tests::{Recorder, Script, Turn, config, ms, settle, within_an_hour};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

/// A breaker that opens on the second failure, and terminates.
fn fragile() -> SpawnOptions {
    let backoff = BackoffConfig::new(ms(10), ms(10)).with_jitter(Jitter::None);
    SpawnOptions::with_backoff(backoff.with_circuit_breaker(2, ms(1_000)))
}

/// Fails until its breaker opens, then runs.
fn mended(name: &str) -> Script {
    Script::new(
        name,
        [Turn::Fail("a"), Turn::Fail("b"), Turn::until_cancelled()],
    )
}

fn opened() -> TerminationReason {
    TerminationReason::CircuitBreakerOpen {
        failures: 2,
        max_retries: 2,
    }
}

/// C18, D31: a restart closes the breaker.
#[tokio::test(start_paused = true)]
async fn a_restart_after_the_breaker_has_opened_closes_it() {
    let (supervisor, recorder, _) = supervisor();
    let it = supervisor.spawn_service_with_options(mended("it"), fragile());
    let it = it.unwrap();
    assert_eq!(within_an_hour(it.terminated()).await, opened());
    let first = it.id();

    within_an_hour(it.restart()).await.unwrap();
    let snapshot = it.snapshot();
    assert_eq!(snapshot.phase, ServicePhase::Running);
    assert_eq!((snapshot.start_count, snapshot.total_failures), (1, 0));
    assert_ne!(it.id(), first);
    let named = supervisor.service("it").unwrap();
    assert_eq!(named.id(), it.id());
    assert_eq!(
        within_an_hour(it.stop()).await,
        TerminationReason::Cancelled
    );

    let metrics = supervisor.metrics().snapshot();
    assert_eq!((metrics.spawned_total, metrics.terminated_total), (2, 2));
    assert_eq!(metrics.active_services, 0);
    let kinds = recorder.events().into_iter().map(|event| event.kind);
    let removed = kinds.filter(|kind| matches!(kind, EventKind::Removed));
    assert_eq!(removed.count(), 1, "the first life, when the second began");
}

/// The value is the same one, and so are the settings: the breaker opens again as it did.
#[tokio::test(start_paused = true)]
async fn each_life_has_a_breaker_of_its_own() {
    let (supervisor, ..) = supervisor();
    let broken = Script::new("it", [Turn::Fail("boom")]);
    let log = broken.log();
    let it = supervisor.spawn_service_with_options(broken, fragile());
    let it = it.unwrap();
    let early = supervisor.service("it").unwrap();
    for life in 1..=5 {
        assert_eq!(within_an_hour(it.terminated()).await, opened());
        assert_eq!(log.starts(), 2 * life);
        let failed = within_an_hour(it.restart()).await.unwrap_err();
        assert!(matches!(failed, RestartError::Failed { .. }), "{failed}");
    }
    assert_eq!(within_an_hour(early.terminated()).await, opened());
    assert_eq!(early.id(), it.id(), "all handles follow");
    assert_eq!(supervisor.service_count().await, 1);
}

/// E50: many ask, and one life begins.
#[tokio::test(start_paused = true)]
async fn of_many_restarts_at_once_one_begins_it_anew_and_all_are_answered() {
    let (supervisor, ..) = supervisor();
    let it = supervisor.spawn_service_with_options(mended("it"), fragile());
    let it = it.unwrap();
    within_an_hour(it.terminated()).await;
    let asking: Vec<_> = (0..10)
        .map(|_| {
            let it = it.clone();
            tokio::spawn(async move { it.restart().await })
        })
        .collect();
    for asked in asking {
        within_an_hour(asked).await.unwrap().unwrap();
    }
    assert_eq!(supervisor.metrics().snapshot().spawned_total, 2);
    assert_eq!(it.phase(), ServicePhase::Running);
}

/// Says when it is dropped.
struct Told(Arc<AtomicBool>);

impl Drop for Told {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

/// Spawns a service and has its breaker terminate it. Answers whether its value was dropped, too.
async fn broken(
    supervisor: &JanusSupervisor,
    options: SpawnOptions,
) -> Result<(ServiceHandle, Arc<AtomicBool>), SpawnError> {
    let dropped = Arc::<AtomicBool>::default();
    let value = Told(Arc::clone(&dropped));
    let service = service_fn("it", move |_cancel| {
        let _part_of_the_value = &value;
        async { Err("boom".into()) }
    });
    let it = supervisor.spawn_service_with_options(service, options)?;
    assert_eq!(within_an_hour(it.terminated()).await, opened());
    Ok((it, dropped))
}

#[tokio::test(start_paused = true)]
async fn its_value_is_dropped_when_it_cannot_begin_anew_any_more() {
    let (supervisor, ..) = supervisor();
    let (_, it) = broken(&supervisor, fragile()).await.unwrap();
    assert!(!it.load(SeqCst));
    supervisor.remove_service("it").unwrap();
    assert!(it.load(SeqCst), "removed");

    let (_, it) = broken(&supervisor, fragile()).await.unwrap();
    let (handle, next) = broken(&supervisor, fragile()).await.unwrap();
    assert!(it.load(SeqCst), "its name is used again");
    assert!(!next.load(SeqCst));
    handle.remove().await;
    assert!(next.load(SeqCst), "removed by its handle");

    let (_, it) = broken(&supervisor, fragile().ephemeral()).await.unwrap();
    assert!(it.load(SeqCst), "ephemeral");

    let (handle, it) = broken(&supervisor, fragile()).await.unwrap();
    supervisor.trigger_shutdown();
    assert!(it.load(SeqCst), "the shutdown has begun");
    let refused = within_an_hour(handle.restart()).await.unwrap_err();
    assert!(matches!(refused, RestartError::Terminated { .. }));
    assert!(supervisor.wait_for_drain().await.is_clean());
}

#[tokio::test(start_paused = true)]
async fn dropping_the_last_supervisor_drops_the_values_that_were_kept() {
    let (supervisor, ..) = supervisor();
    let (handle, it) = broken(&supervisor, fragile()).await.unwrap();
    drop(supervisor);
    assert!(it.load(SeqCst));
    assert!(within_an_hour(handle.restart()).await.is_err());
}

/// E49: a removed one stays removed.
#[tokio::test(start_paused = true)]
async fn what_was_removed_or_replaced_does_not_begin_anew() {
    let (supervisor, ..) = supervisor();
    let (old, _) = broken(&supervisor, fragile()).await.unwrap();
    supervisor.remove_service("it").unwrap();
    assert!(within_an_hour(old.restart()).await.is_err());

    let (old, _) = broken(&supervisor, fragile()).await.unwrap();
    let new = supervisor.spawn_service(mended("it")).unwrap();
    assert!(within_an_hour(old.restart()).await.is_err());
    assert_eq!(supervisor.service("it").unwrap().id(), new.id());
}

/// A group that its own breaker has terminated begins anew with all in it.
#[tokio::test(start_paused = true)]
async fn a_group_begins_anew_with_its_children() {
    let recorder = Arc::<Recorder>::default();
    let supervisor = JanusSupervisor::new(config(&recorder));
    let child = Script::new(
        "child",
        [
            Turn::FailForGood("a"),
            Turn::FailForGood("b"),
            Turn::until_cancelled(),
        ],
    );
    let group = Group::new("group")
        .strategy(Strategy::OneForAll)
        .backoff(
            BackoffConfig::new(ms(10), ms(10))
                .with_jitter(Jitter::None)
                .with_circuit_breaker(2, ms(1_000)),
        )
        .service(Script::new("calm", []))
        .service(child);
    let group = supervisor.spawn_group(group).unwrap();
    assert_eq!(within_an_hour(group.terminated()).await, opened());

    within_an_hour(group.as_service().restart()).await.unwrap();
    settle().await;
    for name in ["group", "group/calm", "group/child"] {
        let phase = supervisor.service(name).unwrap().phase();
        assert_eq!(phase, ServicePhase::Running, "{name}");
    }
    assert_eq!(
        within_an_hour(group.stop()).await,
        TerminationReason::Cancelled
    );
    assert_eq!(supervisor.metrics().snapshot().active_services, 0);
}

/// Inside a group it is the group that begins anew.
#[tokio::test(start_paused = true)]
async fn a_child_of_a_group_does_not_begin_anew_alone() {
    let (supervisor, ..) = supervisor();
    let group = Group::new("group")
        .service(Script::new("calm", []))
        .service_with_options(mended("child"), fragile());
    let group = supervisor.spawn_group(group).unwrap();
    let child = supervisor.service("group/child").unwrap();
    assert_eq!(within_an_hour(child.terminated()).await, opened());
    let refused = within_an_hour(child.restart()).await.unwrap_err();
    assert!(matches!(refused, RestartError::Terminated { .. }));
    within_an_hour(group.as_service().restart()).await.unwrap();
    settle().await;
    let child = supervisor.service("group/child").unwrap();
    assert_eq!(child.phase(), ServicePhase::Running);
}

/// Whoever cancels the token directly has begun the shutdown, before anybody has been told.
#[tokio::test(start_paused = true)]
async fn nothing_begins_anew_once_the_token_is_cancelled() {
    let (supervisor, recorder, _) = supervisor();
    let (it, _) = broken(&supervisor, fragile()).await.unwrap();
    supervisor.cancel_token().cancel();
    let refused = it.restart().now_or_never();
    assert!(matches!(
        refused,
        Some(Err(RestartError::Terminated { .. }))
    ));
    assert!(within_an_hour(supervisor.wait_for_drain()).await.is_clean());
    let kinds = recorder.events().into_iter().map(|event| event.kind);
    let registered = kinds.filter(|kind| matches!(kind, EventKind::Registered));
    assert_eq!(registered.count(), 1);
}

/// What somebody does when a service has terminated, and its task is still on its last lines.
type OnEnd = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct AtTheEnd(Mutex<Option<OnEnd>>);

impl Observer for AtTheEnd {
    fn observe(&self, event: &ServiceEvent) {
        if matches!(event.kind, EventKind::Terminated { .. }) {
            let act = self.0.lock().unwrap().take();
            act.into_iter().for_each(|act| act());
        }
    }
}

fn with_end(act: impl FnOnce(&JanusSupervisor) -> OnEnd) -> JanusSupervisor {
    let at_the_end = Arc::<AtTheEnd>::default();
    let recorder = Arc::<Recorder>::default();
    let settings = config(&recorder).with_observer(Arc::clone(&at_the_end) as Arc<_>);
    let supervisor = JanusSupervisor::new(settings);
    *at_the_end.0.lock().unwrap() = Some(act(&supervisor));
    supervisor
}

#[tokio::test(start_paused = true)]
async fn a_value_is_not_kept_for_one_that_was_removed_on_its_last_lines() {
    let supervisor = with_end(|supervisor| {
        let supervisor = supervisor.clone();
        Box::new(move || drop(supervisor.remove_service("it").unwrap()))
    });
    let (it, dropped) = broken(&supervisor, fragile()).await.unwrap();
    assert!(dropped.load(SeqCst));
    assert!(within_an_hour(it.restart()).await.is_err());
}

/// E54: the task itself sees to it.
#[tokio::test(start_paused = true)]
async fn a_restart_that_nobody_waits_for_stands_also_when_it_was_asked_for_on_the_last_lines() {
    let supervisor = with_end(|supervisor| {
        let supervisor = supervisor.clone();
        Box::new(move || {
            let it = supervisor.service("it").unwrap();
            assert!(it.restart().now_or_never().is_none());
        })
    });
    let it = supervisor.spawn_service_with_options(mended("it"), fragile());
    let it = it.unwrap();
    within_an_hour(it.terminated()).await;
    tokio::time::sleep(ms(1_000)).await;
    assert_eq!(it.phase(), ServicePhase::Running);
    assert_eq!(it.snapshot().start_count, 1, "in another life");
}

/// DESIGN 5: a stop wins, whoever asked first.
#[tokio::test(start_paused = true)]
async fn a_stop_on_the_last_lines_takes_back_the_restart_before_it() {
    for is_stopped_last in [true, false] {
        let supervisor = with_end(|supervisor| {
            let supervisor = supervisor.clone();
            Box::new(move || {
                let it = supervisor.service("it").unwrap();
                if !is_stopped_last {
                    it.request_stop();
                }
                assert!(it.restart().now_or_never().is_none());
                if is_stopped_last {
                    it.request_stop();
                }
            })
        });
        let it = supervisor.spawn_service_with_options(mended("it"), fragile());
        let it = it.unwrap();
        within_an_hour(it.terminated()).await;
        tokio::time::sleep(ms(1_000)).await;
        let expected = if is_stopped_last {
            ServicePhase::Terminated
        } else {
            ServicePhase::Running
        };
        assert_eq!(it.phase(), expected);
    }
}

/// F76: better terminated, with all that is known of it, than lost at once.
#[test]
fn one_whose_runtime_has_gone_away_stays_as_it_was() {
    let (supervisor, recorder, _) = supervisor();
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_time().start_paused(true).build().unwrap()
    };
    let side = runtime();
    let options = fragile().on(side.handle().clone());
    let it = supervisor.spawn_service_with_options(mended("it"), options);
    let it = it.unwrap();
    side.block_on(within_an_hour(it.terminated()));
    drop(side);
    let (before, told) = (it.snapshot(), recorder.events().len());
    let error = runtime()
        .block_on(within_an_hour(it.restart()))
        .unwrap_err();
    let reason = opened();
    assert!(matches!(error, RestartError::Terminated { reason: why, .. } if why == reason));
    let after = it.snapshot();
    assert_eq!(after.last_error, before.last_error);
    assert_eq!((after.start_count, after.total_failures), (2, 2));
    assert_eq!(recorder.events().len(), told);
}

/// Both wait for the same end, and the restart comes first: a removal is a stop, and takes it back.
#[tokio::test(start_paused = true)]
async fn a_removal_is_not_lost_to_a_restart() {
    type Asked = Mutex<Option<futures_util::future::BoxFuture<'static, bool>>>;
    let asked: Arc<(Asked, Asked)> = Arc::default();
    let supervisor = with_end(|supervisor| {
        let (supervisor, asked) = (supervisor.clone(), Arc::clone(&asked));
        Box::new(move || {
            let it = supervisor.service("it").unwrap();
            let again = it.clone();
            let mut restart = async move { again.restart().await.is_ok() }.boxed();
            let mut remove = async move { it.remove().await.termination_reason.is_some() }.boxed();
            assert_eq!((&mut restart).now_or_never(), None);
            assert_eq!((&mut remove).now_or_never(), None);
            *asked.0.lock().unwrap() = Some(restart);
            *asked.1.lock().unwrap() = Some(remove);
        })
    });
    let it = supervisor.spawn_service_with_options(mended("it"), fragile());
    within_an_hour(it.unwrap().terminated()).await;
    let mut restart = asked.0.lock().unwrap().take().unwrap();
    let remove = asked.1.lock().unwrap().take().unwrap();
    assert_eq!((&mut restart).now_or_never(), Some(false), "a stop wins");
    assert!(within_an_hour(remove).await);
    assert!(supervisor.service("it").is_none());
    assert_eq!(supervisor.metrics().snapshot().active_services, 0);
}

/// It still has to say that it is ready, and its end still means something to the supervisor.
#[tokio::test(start_paused = true)]
async fn all_its_settings_are_kept() {
    let recorder = Arc::<Recorder>::default();
    let settings = config(&recorder).with_auto_shutdown(AutoShutdown::AllSignificant);
    let supervisor = JanusSupervisor::new(settings);
    let turns = [
        Turn::Fail("a"),
        Turn::Fail("b"),
        Turn::Complete.after(ms(500)),
    ];
    let options = fragile().with_readiness(Readiness::Notify).significant();
    let it = supervisor.spawn_service_with_options(Script::new("it", turns), options);
    let it = it.unwrap();
    let other = Script::new("other", [Turn::Complete.after(ms(100))]);
    let options = SpawnOptions::default().significant();
    supervisor
        .spawn_service_with_options(other, options)
        .unwrap();
    assert_eq!(within_an_hour(it.terminated()).await, opened());
    assert_eq!(it.restart().now_or_never(), None);
    settle().await;
    assert_eq!(it.phase(), ServicePhase::Starting);
    assert_eq!(
        within_an_hour(it.terminated()).await,
        TerminationReason::Completed
    );
    let report = within_an_hour(supervisor.run_until_shutdown()).await;
    assert!(report.unwrap().drain.is_clean());
}
