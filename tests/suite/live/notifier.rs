//! Who speaks for which run.

use super::supervisor;
use janus_supervisor::notify::Notifier;
use janus_supervisor::{
    FailureKind, Group, JanusService, Readiness, ServicePhase, SpawnOptions, StopReason, Strategy,
    notify, service_fn,
};
use janus_tests::{Script, Turn, ms, secs, settle, within_an_hour};
use std::sync::{Arc, Mutex, PoisonError};

/// The notifiers of a service's runs, one after another.
#[derive(Clone, Default)]
struct Voices(Arc<Mutex<Vec<Notifier>>>);

impl Voices {
    fn of_run(&self, n: usize) -> Notifier {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all[n - 1].clone()
    }

    /// A service whose every run hands out its notifier, and fails after a second, unless it is told to end.
    fn service(&self, name: &'static str) -> impl JanusService {
        let voices = self.clone();
        service_fn(name, move |cancel| {
            let all = voices.0.lock();
            all.unwrap_or_else(PoisonError::into_inner)
                .push(notify::current());
            async move {
                tokio::select! {
                    () = cancel.cancelled() => Ok(()),
                    () = tokio::time::sleep(secs(1)) => Err("x".into()),
                }
            }
        })
    }
}

fn says_so() -> SpawnOptions {
    SpawnOptions::default().with_readiness(Readiness::Notify)
}

/// E58
#[tokio::test(start_paused = true)]
async fn a_stale_notifier_does_not_say_that_a_later_run_is_ready() {
    let (supervisor, ..) = supervisor();
    let voices = Voices::default();
    let it = supervisor
        .spawn_service_with_options(voices.service("it"), says_so())
        .unwrap();
    tokio::time::sleep(ms(1050)).await;
    voices.of_run(1).ready();
    settle().await;
    assert_eq!(it.phase(), ServicePhase::BackingOff, "between two runs");
    tokio::time::sleep(ms(100)).await;
    voices.of_run(1).ready();
    settle().await;
    assert_eq!(it.phase(), ServicePhase::Starting);
    voices.of_run(2).ready();
    settle().await;
    assert_eq!(it.phase(), ServicePhase::Running);
}

/// E58
#[tokio::test(start_paused = true)]
async fn a_stale_notifier_does_not_beat_for_a_later_run() {
    let (supervisor, ..) = supervisor();
    let voices = Voices::default();
    let options = SpawnOptions::default().with_watchdog(ms(500));
    let it = supervisor
        .spawn_service_with_options(voices.service("it"), options)
        .unwrap();
    for _ in 0..9 {
        tokio::time::sleep(ms(100)).await;
        voices.of_run(1).heartbeat();
    }
    tokio::time::sleep(ms(250)).await;
    assert_eq!(it.snapshot().start_count, 2);
    for _ in 0..5 {
        tokio::time::sleep(ms(100)).await;
        voices.of_run(1).heartbeat();
    }
    assert_eq!(it.snapshot().last_failure_kind, Some(FailureKind::Hang));
}

/// E58
#[tokio::test(start_paused = true)]
async fn a_stale_notifier_does_not_change_the_status_of_a_later_run() {
    let (supervisor, ..) = supervisor();
    let voices = Voices::default();
    let it = supervisor.spawn_service(voices.service("it")).unwrap();
    settle().await;
    voices.of_run(1).status("first");
    assert_eq!(it.snapshot().status.as_deref(), Some("first"));
    tokio::time::sleep(ms(1050)).await;
    voices.of_run(1).status("between");
    assert_eq!(it.snapshot().status, None);
    tokio::time::sleep(ms(100)).await;
    voices.of_run(1).status("late");
    assert_eq!(it.snapshot().status, None);
    voices.of_run(2).status("second");
    voices.of_run(1).status("later still");
    assert_eq!(it.snapshot().status.as_deref(), Some("second"));
}

/// E58: nor is it told what a later run is told.
#[tokio::test(start_paused = true)]
async fn a_stale_notifier_is_not_told_why_a_later_run_is_to_end() {
    let (supervisor, ..) = supervisor();
    let voices = Voices::default();
    let it = supervisor.spawn_service(voices.service("it")).unwrap();
    settle().await;
    within_an_hour(it.restart()).await.unwrap();
    it.request_stop();
    assert_eq!(voices.of_run(1).stop_reason(), None);
    assert_eq!(voices.of_run(2).stop_reason(), Some(StopReason::Stop));
}

/// E58: nor for another service of its name, whose runs have the same numbers.
#[tokio::test(start_paused = true)]
async fn a_notifier_does_not_speak_for_another_service_of_the_same_name() {
    let (supervisor, ..) = supervisor();
    let (old, new) = (Voices::default(), Voices::default());
    let first = supervisor.spawn_service(old.service("it")).unwrap();
    settle().await;
    within_an_hour(first.remove()).await;
    let second = supervisor
        .spawn_service_with_options(new.service("it"), says_so())
        .unwrap();
    settle().await;
    old.of_run(1).ready();
    old.of_run(1).status("from the grave");
    settle().await;
    let snapshot = second.snapshot();
    assert_eq!(
        (snapshot.phase, snapshot.status),
        (ServicePhase::Starting, None)
    );
}

/// What is said when all is over is heard by nobody.
#[tokio::test(start_paused = true)]
async fn a_notifier_may_outlive_the_service_and_the_supervisor() {
    let (supervisor, recorder, _) = supervisor();
    let voices = Voices::default();
    let it = supervisor.spawn_service(voices.service("it")).unwrap();
    settle().await;
    within_an_hour(it.stop()).await;
    drop(supervisor);
    let told = recorder.events().len();
    let voice = voices.of_run(1);
    voice.ready();
    voice.heartbeat();
    voice.status("x");
    settle().await;
    assert_eq!(it.snapshot().status, None);
    assert_eq!(recorder.events().len(), told);
}

/// A task is not the run, unless it was given its notifier.
#[tokio::test(start_paused = true)]
async fn a_task_without_a_notifier_speaks_for_nobody() {
    let (supervisor, ..) = supervisor();
    let it = service_fn("it", |cancel| async move {
        tokio::spawn(async {
            notify::ready();
            notify::status("from a task");
        });
        cancel.cancelled().await;
        Ok(())
    });
    let it = supervisor
        .spawn_service_with_options(it, says_so())
        .unwrap();
    settle().await;
    let snapshot = it.snapshot();
    assert_eq!(
        (snapshot.phase, snapshot.status),
        (ServicePhase::Starting, None)
    );
}

/// The part of `run` before its future, every poll, and the drop.
#[tokio::test(start_paused = true)]
async fn all_of_a_run_is_inside_it() {
    struct Last(Arc<Mutex<Option<StopReason>>>);
    impl Drop for Last {
        fn drop(&mut self) {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = notify::stop_reason();
        }
    }
    let (supervisor, ..) = supervisor();
    let reason = Arc::<Mutex<_>>::default();
    let it = service_fn("it", {
        let reason = Arc::clone(&reason);
        move |_cancel| {
            notify::status("before");
            let last = Last(Arc::clone(&reason));
            async move {
                let _last = last;
                tokio::time::sleep(secs(1)).await;
                notify::status("later");
                std::future::pending().await
            }
        }
    });
    let options = SpawnOptions::default().with_shutdown_grace(ms(10));
    let it = supervisor.spawn_service_with_options(it, options).unwrap();
    settle().await;
    assert_eq!(it.snapshot().status.as_deref(), Some("before"));
    tokio::time::sleep(secs(1)).await;
    assert_eq!(it.snapshot().status.as_deref(), Some("later"));
    within_an_hour(it.stop()).await;
    assert_eq!(*reason.lock().unwrap(), Some(StopReason::Stop));
}

#[tokio::test(start_paused = true)]
async fn services_on_one_thread_speak_each_for_itself() {
    let (supervisor, ..) = supervisor();
    let talker = |name: &'static str| {
        service_fn(name, move |cancel| async move {
            for _ in 0..3 {
                notify::status(name);
                tokio::task::yield_now().await;
            }
            cancel.cancelled().await;
            Ok(())
        })
    };
    let names = ["a", "b", "c"];
    let all = names.map(|name| supervisor.spawn_service(talker(name)).unwrap());
    settle().await;
    let said = all.map(|it| it.snapshot().status.unwrap());
    assert_eq!(said, names);
}

/// The last word counts, and each run begins without one.
#[tokio::test(start_paused = true)]
async fn a_status_is_the_last_that_was_said() {
    let (supervisor, ..) = supervisor();
    let it = service_fn("it", |cancel| async move {
        for n in 0..3 {
            notify::status(format!("step {n}"));
            tokio::time::sleep(ms(100)).await;
        }
        cancel.cancelled().await;
        notify::status("closing");
        tokio::time::sleep(ms(100)).await;
        Ok(())
    });
    let it = supervisor.spawn_service(it).unwrap();
    tokio::time::sleep(ms(150)).await;
    assert_eq!(it.snapshot().status.as_deref(), Some("step 1"));
    tokio::time::sleep(ms(500)).await;
    assert_eq!(it.snapshot().status.as_deref(), Some("step 2"));
    it.request_stop();
    settle().await;
    assert_eq!(it.snapshot().status.as_deref(), Some("closing"));
    within_an_hour(it.terminated()).await;
    assert_eq!(it.snapshot().status, None);
}

/// DESIGN 6: the children of a group, too, hear that it is a shutdown, or a sibling's failure.
#[tokio::test(start_paused = true)]
async fn a_child_of_a_group_is_told_why_it_is_to_end() {
    let (supervisor, ..) = supervisor();
    let reasons = Arc::<Mutex<Vec<_>>>::default();
    let child = service_fn("child", {
        let reasons = Arc::clone(&reasons);
        move |cancel| {
            let reasons = Arc::clone(&reasons);
            async move {
                cancel.cancelled().await;
                let mut reasons = reasons.lock().unwrap_or_else(PoisonError::into_inner);
                reasons.push(notify::stop_reason());
                Ok(())
            }
        }
    });
    let turns = [Turn::Fail("x").after(secs(1)), Turn::until_cancelled()];
    let group = Group::new("g")
        .strategy(Strategy::OneForAll)
        .service(child)
        .service(Script::new("fails", turns));
    supervisor.spawn_group(group).unwrap();
    tokio::time::sleep(secs(2)).await;
    supervisor.trigger_shutdown();
    within_an_hour(supervisor.wait_for_drain()).await;
    let told = [StopReason::Sibling, StopReason::Shutdown].map(Some);
    assert_eq!(*reasons.lock().unwrap(), told);
}
