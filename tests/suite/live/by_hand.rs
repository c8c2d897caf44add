//! Requests that come at awkward moments.

use super::supervisor;
use janus_supervisor::{
    BackoffConfig, Group, Intensity, JanusSupervisor, Jitter, Readiness, RestartError,
    ServicePhase, SpawnOptions, Strategy, TerminationReason, notify, service_fn,
};
use janus_tests::{
    Recorder, Script, Turn, config, ms, secs, settle, within_a_minute, within_an_hour,
};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use tokio::time::Instant;

/// E52, E53: requests from two threads never end a service that nobody wants to end.
#[test]
fn restarts_from_two_threads_end_no_service() {
    within_a_minute(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let inside = runtime.enter();
        let recorder = Arc::<Recorder>::default();
        let supervisor = JanusSupervisor::new(config(&recorder));
        let it = supervisor.spawn_service(Script::new("it", [])).unwrap();
        drop(inside);
        let ask = |_| {
            let it = it.clone();
            std::thread::spawn(move || {
                let mut cx = Context::from_waker(Waker::noop());
                for _ in 0..20_000 {
                    // Asked, and not waited for.
                    let _answer = pin!(it.restart()).poll(&mut cx);
                }
            })
        };
        let threads: Vec<_> = (0..2).map(ask).collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert!(!it.phase().is_terminal(), "{:?}", it.termination_reason());
        let stopped = runtime.block_on(it.stop());
        assert_eq!(stopped, TerminationReason::Cancelled);
    });
}

/// C30: what an operator does is no failure of anybody's.
#[tokio::test(start_paused = true)]
async fn restarts_by_hand_do_not_count_towards_the_intensity_of_the_supervisor() {
    let recorder = Arc::<Recorder>::default();
    let settings = config(&recorder).with_intensity(Intensity::new(1, secs(5)));
    let supervisor = JanusSupervisor::new(settings);
    for name in ["a", "b", "c"] {
        let it = supervisor.spawn_service(Script::new(name, [])).unwrap();
        settle().await;
        within_an_hour(it.restart()).await.unwrap();
    }
    assert!(!supervisor.is_shutting_down());
}

/// Its first run is the one that was asked for.
#[tokio::test(start_paused = true)]
async fn a_restart_of_what_waits_for_another_is_answered_when_it_runs() {
    let (supervisor, ..) = supervisor();
    let db = service_fn("db", |cancel| async move {
        tokio::time::sleep(secs(1)).await;
        notify::ready();
        cancel.cancelled().await;
        Ok(())
    });
    let notify = SpawnOptions::default().with_readiness(Readiness::Notify);
    supervisor.spawn_service_with_options(db, notify).unwrap();
    let after = SpawnOptions::default().after(["db"]);
    let api = Script::new("api", []);
    let api = supervisor.spawn_service_with_options(api, after).unwrap();
    settle().await;
    let t0 = Instant::now();
    within_an_hour(api.restart()).await.unwrap();
    assert_eq!(api.phase(), ServicePhase::Running);
    assert!(Instant::now() - t0 <= secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_restart_that_fails_again_at_once_is_answered_with_the_error() {
    let (supervisor, ..) = supervisor();
    let it = Script::new("it", [Turn::Fail("no route")]);
    let it = supervisor.spawn_service(it).unwrap();
    settle().await;
    let error = within_an_hour(it.restart()).await.unwrap_err();
    assert!(matches!(error, RestartError::Failed { .. }), "{error:?}");
    assert_eq!(
        error.to_string(),
        "service \"it\" was restarted and has failed again: no route"
    );
}

/// A child whose siblings are coming up with it waits for them.
#[tokio::test(start_paused = true)]
async fn a_restart_in_a_group_that_restarts_is_answered_when_the_group_is_up() {
    let (supervisor, ..) = supervisor();
    let minute = BackoffConfig::new(secs(60), secs(60)).with_jitter(Jitter::None);
    let fails = Script::new("b", [Turn::Fail("x").after(ms(5)), Turn::until_cancelled()]);
    let options = SpawnOptions::with_backoff(minute.without_circuit_breaker());
    let group = Group::new("g")
        .strategy(Strategy::OneForAll)
        .service(Script::new("a", []))
        .service_with_options(fails, options);
    supervisor.spawn_group(group).unwrap();
    tokio::time::sleep(secs(1)).await;
    let b = supervisor.service("g/b").unwrap();
    assert_eq!(b.phase(), ServicePhase::BackingOff);
    within_an_hour(b.restart()).await.unwrap();
    let a = supervisor.service("g/a").unwrap();
    assert_eq!([&a, &b].map(|it| it.snapshot().start_count), [2, 2]);
}

/// H88: what was amiss is gone.
#[tokio::test(start_paused = true)]
async fn whoever_waits_for_readiness_hears_of_a_removal() {
    let (supervisor, ..) = supervisor();
    supervisor.spawn_service(Script::new("ok", [])).unwrap();
    let bad = Script::new("bad", [Turn::FailForGood("no")]);
    let bad = supervisor.spawn_service(bad).unwrap();
    within_an_hour(bad.terminated()).await;
    assert!(!supervisor.is_ready());
    let waits = tokio::spawn({
        let supervisor = supervisor.clone();
        async move { supervisor.wait_ready().await }
    });
    settle().await;
    supervisor.remove_service("bad").unwrap();
    assert!(within_an_hour(waits).await.unwrap());
}

/// The token works, too, when the runtime that one service had to itself is gone.
#[test]
fn a_runtime_that_is_gone_takes_nobody_elses_shutdown_with_it() {
    within_a_minute(|| {
        let runtime = || {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            builder.worker_threads(1).enable_all().build().unwrap()
        };
        let (here, there) = (runtime(), runtime());
        here.block_on(async {
            let recorder = Arc::<Recorder>::default();
            let supervisor = JanusSupervisor::new(config(&recorder));
            let options = SpawnOptions::default().on(there.handle().clone());
            let elsewhere = Script::new("elsewhere", []);
            let elsewhere = supervisor
                .spawn_service_with_options(elsewhere, options)
                .unwrap();
            let it = supervisor.spawn_service(Script::new("it", [])).unwrap();
            there.shutdown_background();
            assert_eq!(elsewhere.terminated().await, TerminationReason::Aborted);
            supervisor.cancel_token().cancel();
            assert_eq!(it.terminated().await, TerminationReason::Cancelled);
        });
    });
}

struct Broken;

impl Wake for Broken {
    #[expect(clippy::panic, reason = "panicking is what it is for")]
    fn wake(self: Arc<Self>) {
        panic!("a broken waker");
    }
}

/// A10: wakers are other people's code.
#[tokio::test(start_paused = true)]
async fn a_waker_that_panics_harms_nobody_else() {
    let (supervisor, ..) = supervisor();
    let others = ["a", "b"].map(|name| supervisor.spawn_service(Script::new(name, [])).unwrap());
    let it = service_fn("it", |cancel| async move {
        let waker = Waker::from(Arc::new(Broken));
        let mut broken = Box::pin(cancel.clone().cancelled_owned());
        assert!(
            broken
                .as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
        cancel.cancelled().await;
        Ok(())
    });
    let it = supervisor.spawn_service(it).unwrap();
    settle().await;
    let waker = Waker::from(Arc::new(Broken));
    let mut waits = Box::pin(it.wait_for(ServicePhase::Terminated));
    assert!(
        waits
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
    );
    let asked = catch_unwind(AssertUnwindSafe(|| supervisor.trigger_shutdown()));
    assert!(asked.is_ok());
    for it in &others {
        assert_eq!(
            within_an_hour(it.terminated()).await,
            TerminationReason::Cancelled
        );
    }
}
