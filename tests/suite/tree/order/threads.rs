//! In real time, on several threads: what the paused clock cannot show. Nothing here depends on how long anything
//! takes.

use super::super::*;
use futures_util::FutureExt;
use janus_supervisor::{CancellationToken, RestartPolicy, ServiceError, SpawnOptions, service_fn};
use janus_tests::within_a_minute;
use std::sync::{Mutex, PoisonError, mpsc};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

#[expect(clippy::unwrap_used, reason = "part of a test")]
fn threads() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .unwrap()
}

/// Says that it was entered, then waits for its end.
fn telling(name: String, tell: &UnboundedSender<String>) -> impl janus_supervisor::JanusService {
    let tell = tell.clone();
    service_fn(name.clone(), move |cancel: CancellationToken| {
        let (tell, name) = (tell.clone(), name.clone());
        async move {
            tell.send(name)?;
            cancel.cancelled().await;
            Ok(())
        }
    })
}

/// D41: whatever the dependency is just doing: coming up, failing, ending.
#[test]
fn nobody_who_is_spawned_while_a_dependency_comes_up_waits_for_ever() {
    within_a_minute(|| {
        let runtime = threads();
        runtime.block_on(async {
            for round in 0..200 {
                let scene = Scene::new();
                let (tell, mut told) = unbounded_channel();
                match round % 4 {
                    0 => scene.supervisor.spawn_service(steady("db")),
                    1 => scene
                        .supervisor
                        .spawn_service(Script::new("db", [Turn::Complete])),
                    2 => scene.supervisor.spawn_service_with_options(
                        Script::new("db", [Turn::Fail("x"), Turn::until_cancelled()]),
                        SpawnOptions::with_backoff(janus_supervisor::BackoffConfig::new(
                            ms(1),
                            ms(1),
                        )),
                    ),
                    _ => scene.supervisor.spawn_service(
                        Script::new("db", [Turn::Panic("x")]).policy(RestartPolicy::Never),
                    ),
                }
                .unwrap();
                if round % 8 >= 4 {
                    tokio::task::yield_now().await;
                }
                for i in 0..3 {
                    for on in ["db".to_owned(), format!("{i}")] {
                        let name = if on == "db" {
                            format!("{i}")
                        } else {
                            format!("{i}+")
                        };
                        let options = SpawnOptions::default().after([on]);
                        let service = telling(name, &tell);
                        scene
                            .supervisor
                            .spawn_service_with_options(service, options)
                            .unwrap();
                    }
                }
                for _ in 0..6 {
                    told.recv().await.unwrap();
                }
                scene.supervisor.trigger_shutdown();
                let report = scene.supervisor.wait_for_drain().await;
                assert!(report.is_clean(), "{report}");
                assert_eq!(scene.supervisor.metrics().snapshot().active_services, 0);
            }
        });
    });
}

/// The same for the shutdown: it begins while they are being spawned.
#[test]
fn a_shutdown_while_dependents_are_being_spawned_leaves_nobody_behind() {
    within_a_minute(|| {
        let runtime = threads();
        runtime.block_on(async {
            for _ in 0..200 {
                let scene = Scene::new();
                scene.supervisor.spawn_service(steady("0")).unwrap();
                let spawning = tokio::spawn({
                    let supervisor = scene.supervisor.clone();
                    async move {
                        for i in 1..100 {
                            let options = SpawnOptions::default().after([format!("{}", i - 1)]);
                            let script = steady(&format!("{i}"));
                            if supervisor
                                .spawn_service_with_options(script, options)
                                .is_err()
                            {
                                break;
                            }
                        }
                    }
                });
                tokio::task::yield_now().await;
                scene.supervisor.cancel_token().cancel();
                let report = scene.supervisor.wait_for_drain().await;
                spawning.await.unwrap();
                assert!(report.is_clean(), "{report}");
                super::assert_all_over(&scene);
            }
        });
    });
}

/// OTP: order_of_children, D41: the one before has been entered, and is not just about to be.
#[test]
fn a_child_is_not_entered_before_the_one_before_it() {
    within_a_minute(|| {
        let runtime = threads();
        runtime.block_on(async {
            let scene = Scene::new();
            let (entered, second) = mpsc::channel::<()>();
            let second = Mutex::new(second);
            let (tell, mut told) = unbounded_channel();
            let first = service_fn("first", move |cancel: CancellationToken| {
                // Lets another thread have whoever was woken by this one.
                drop([tokio::spawn(async {}), tokio::spawn(async {})]);
                // What a constructor at the beginning of `run` may do: it takes its time, without an await.
                let second = second.lock().unwrap_or_else(PoisonError::into_inner);
                let overtaken = second.recv_timeout(ms(200)).is_ok();
                tell.send(overtaken).unwrap();
                async move {
                    cancel.cancelled().await;
                    Ok(())
                }
            });
            let then = service_fn("second", move |cancel: CancellationToken| {
                let entered = entered.clone();
                async move {
                    entered.send(()).ok();
                    cancel.cancelled().await;
                    Ok::<(), ServiceError>(())
                }
            });
            let group = scene.spawn(Group::new("g").service(first).service(then));
            assert_eq!(told.recv().await, Some(false), "the second was first");
            group.stop().await;
        });
    });
}

/// F62, D41: a dependent that blocks its thread cannot be dropped. What it came after ends all the same.
#[test]
fn a_dependent_that_blocks_its_thread_is_stuck_alone() {
    within_a_minute(|| {
        let runtime = threads();
        let (let_go, go) = mpsc::channel::<()>();
        runtime.block_on(async {
            let scene = super::scene_with(|config| {
                config
                    .with_shutdown_timeout(ms(20))
                    .with_abort_timeout(secs(1))
            });
            let (tell, mut told) = unbounded_channel();
            let db = telling("db".into(), &tell);
            let db = scene.supervisor.spawn_service(db).unwrap();
            told.recv().await.unwrap();
            let go = Mutex::new(go);
            let blocking = service_fn("api", move |_cancel| {
                tell.send("api".into()).unwrap();
                let blocked = go.lock().unwrap_or_else(PoisonError::into_inner).recv();
                async move { Ok(blocked?) }
            });
            let options = SpawnOptions::default().after(["db"]);
            let api = scene
                .supervisor
                .spawn_service_with_options(blocking, options);
            let api = api.unwrap();
            told.recv().await.unwrap();
            scene.supervisor.trigger_shutdown();
            let report = scene.supervisor.wait_for_drain().await;
            assert_eq!(report.stuck, ["api"]);
            assert_eq!(db.phase(), ServicePhase::Terminated);
            let_go.send(()).unwrap();
            api.terminated().await;
            assert_eq!(scene.supervisor.metrics().snapshot().active_services, 0);
        });
    });
}

/// Holds up whoever tells that `db` is running, until it is let go.
struct Slow(Mutex<Option<(UnboundedSender<String>, mpsc::Receiver<()>)>>);

impl janus_supervisor::Observer for Slow {
    fn observe(&self, event: &janus_supervisor::ServiceEvent) {
        let is_up = matches!(event.kind, janus_supervisor::EventKind::Running);
        if is_up && &*event.service == "db" {
            let held = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some((tell, go)) = held {
                let _told = tell.send("db is told of".to_owned());
                let _let_go = go.recv();
            }
        }
    }
}

/// DESIGN 5: running is one thing, ready another. A slow observer is only where it shows best.
#[test]
fn nothing_is_ready_whose_run_has_not_been_polled() {
    within_a_minute(|| {
        let runtime = threads();
        runtime.block_on(async {
            let (tell, mut told) = unbounded_channel();
            let (let_go, go) = mpsc::channel();
            let slow = Slow(Mutex::new(Some((tell.clone(), go))));
            let settings = janus_supervisor::SupervisorConfig::default()
                .without_signal_handler()
                .with_observer(Arc::new(slow));
            let supervisor = JanusSupervisor::new(settings);
            let db = supervisor.spawn_service(telling("db".to_owned(), &tell));
            assert_eq!(told.recv().await.unwrap(), "db is told of");
            let api = SpawnOptions::default().after(["db"]);
            let api = supervisor
                .spawn_service_with_options(telling("api".to_owned(), &tell), api)
                .unwrap();
            let db = db.unwrap();
            assert_eq!(db.phase(), ServicePhase::Running);
            assert!(!supervisor.is_ready());
            assert!(db.wait_ready().now_or_never().is_none());
            assert_eq!(api.phase(), ServicePhase::Starting);
            let ready = tokio::spawn({
                let (supervisor, db) = (supervisor.clone(), db.clone());
                async move { (supervisor.wait_ready().await, db.wait_ready().await) }
            });
            let_go.send(()).unwrap();
            assert_eq!(told.recv().await.unwrap(), "db");
            assert_eq!(told.recv().await.unwrap(), "api");
            assert_eq!(ready.await.unwrap(), (true, true));
        });
    });
}
