//! Services on a runtime of their own: `SpawnOptions::on`.

use janus_supervisor::{
    CancellationToken, Group, JanusService, JanusSupervisor, Readiness, SpawnError, SpawnOptions,
    TerminationReason, notify, service_fn,
};
use janus_tests::{Recorder, Script, Turn, config, within_a_minute};
use std::sync::{Arc, Mutex, mpsc};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

fn runtime(name: &str) -> Runtime {
    let mut builder = Builder::new_multi_thread();
    let builder = builder.worker_threads(1).thread_name(name);
    builder.enable_all().build().unwrap()
}

fn supervisor() -> JanusSupervisor {
    JanusSupervisor::new(config(&Arc::<Recorder>::default()))
}

/// A service that tells where each of its runs begins, and then fails, or waits for its end.
fn teller(
    name: &'static str,
    tell: &UnboundedSender<(&'static str, String)>,
    fails: bool,
) -> impl JanusService {
    let tell = tell.clone();
    service_fn(name, move |cancel: CancellationToken| {
        let thread = std::thread::current().name().map(str::to_owned);
        let told = tell.send((name, thread.unwrap_or_default()));
        async move {
            told?;
            if fails {
                return Err("again".into());
            }
            cancel.cancelled().await;
            Ok(())
        }
    })
}

/// A service that says that it is ready, and then blocks its thread until this is dropped.
fn blocks() -> (impl JanusService, mpsc::Sender<()>) {
    let (let_go, go) = mpsc::channel();
    let go = Arc::new(Mutex::new(go));
    let service = service_fn("blocks", move |_cancel| {
        let go = Arc::clone(&go);
        async move {
            notify::ready();
            let _over = go.lock().map_err(|_| "poisoned")?.recv();
            Ok(())
        }
    });
    (service, let_go)
}

/// Every run of it, also those after a failure; the others stay where they were spawned.
#[test]
fn every_run_of_a_service_is_on_the_runtime_it_was_given() {
    within_a_minute(|| {
        let (here, there) = (runtime("here"), runtime("there"));
        here.block_on(async {
            let supervisor = supervisor();
            let (tell, mut told) = unbounded_channel();
            let options = SpawnOptions::default().on(there.handle().clone());
            supervisor
                .spawn_service_with_options(teller("elsewhere", &tell, true), options)
                .unwrap();
            let at_home = teller("at home", &tell, true);
            supervisor.spawn_service(at_home).unwrap();
            let mut seen = [0, 0];
            while seen.iter().any(|n| *n < 3) {
                let (name, thread) = told.recv().await.unwrap();
                let away = name == "elsewhere";
                assert_eq!(thread, if away { "there" } else { "here" });
                seen[usize::from(away)] += 1;
            }
            supervisor.trigger_shutdown();
            assert!(supervisor.wait_for_drain().await.is_clean());
        });
    });
}

/// Though the only thread there cannot see to that itself.
#[test]
fn a_service_that_blocks_the_only_thread_of_another_runtime_is_shown_as_stuck() {
    within_a_minute(|| {
        let (here, there) = (runtime("here"), runtime("there"));
        here.block_on(async {
            let supervisor = supervisor();
            let (blocks, let_go) = blocks();
            let options = SpawnOptions::default().on(there.handle().clone());
            let watched = options.with_watchdog(std::time::Duration::from_millis(100));
            let blocks = supervisor
                .spawn_service_with_options(blocks, watched)
                .unwrap();
            while !blocks.snapshot().stuck {
                tokio::task::yield_now().await;
            }
            drop(let_go);
            blocks.terminated().await;
            assert!(!blocks.snapshot().stuck);
        });
    });
}

/// Also where those who would tell have gone with the only runtime that services were on.
#[test]
fn who_waits_for_a_fleet_to_be_ready_sees_its_token_cancelled() {
    within_a_minute(|| {
        let (here, there) = (runtime("here"), runtime("there"));
        let supervisor = supervisor();
        let (tell, _told) = unbounded_channel();
        let lost = there
            .block_on(async { supervisor.spawn_service(teller("lost", &tell, false)) })
            .unwrap();
        drop(there);
        assert_eq!(lost.termination_reason(), Some(TerminationReason::Aborted));
        here.block_on(async {
            let mut ready = std::pin::pin!(supervisor.wait_ready());
            let is_ready = futures_util::poll!(ready.as_mut());
            assert!(is_ready.is_pending());
            supervisor.cancel_token().cancel();
            assert!(!ready.await);
        });
    });
}

/// A bulkhead: the only thread there is taken, and everything here goes on.
#[test]
fn a_service_that_blocks_another_runtime_holds_up_nobody_here() {
    within_a_minute(|| {
        let (here, there) = (runtime("here"), runtime("there"));
        here.block_on(async {
            let supervisor = supervisor();
            let (blocks, let_go) = blocks();
            let options = SpawnOptions::default().with_readiness(Readiness::Notify);
            let options = options.on(there.handle().clone());
            let blocks = supervisor
                .spawn_service_with_options(blocks, options)
                .unwrap();
            let turns = [Turn::Fail("x"), Turn::Complete];
            let it = supervisor.spawn_service(Script::new("it", turns)).unwrap();
            assert_eq!(it.terminated().await, TerminationReason::Completed);
            assert_eq!(it.snapshot().start_count, 2);
            assert!(!blocks.phase().is_terminal());
            drop(let_go);
            assert_eq!(blocks.terminated().await, TerminationReason::Completed);
        });
    });
}

/// It is registered like any other, and obeys like any other.
#[test]
fn a_service_elsewhere_is_stopped_restarted_and_removed_from_here() {
    within_a_minute(|| {
        let (here, there) = (runtime("here"), runtime("there"));
        here.block_on(async {
            let supervisor = supervisor();
            let options = SpawnOptions::default().on(there.handle().clone());
            let it = Script::new("it", []);
            let it = supervisor.spawn_service_with_options(it, options).unwrap();
            assert!(it.wait_ready().await);
            it.restart().await.unwrap();
            assert_eq!(it.snapshot().start_count, 2);
            assert_eq!(it.stop().await, TerminationReason::Cancelled);
            it.remove().await;
            assert!(supervisor.service("it").is_none());
        });
    });
}

/// With a runtime named, none is needed where it is spawned.
#[test]
fn a_service_can_be_spawned_elsewhere_from_outside_any_runtime() {
    within_a_minute(|| {
        let there = runtime("there");
        let supervisor = supervisor();
        let refused = supervisor.spawn_service(Script::new("it", []));
        assert!(matches!(refused, Err(SpawnError::NoRuntime { .. })));
        let options = SpawnOptions::default().on(there.handle().clone());
        let it = Script::new("it", [Turn::Complete]);
        let it = supervisor.spawn_service_with_options(it, options).unwrap();
        assert_eq!(
            there.block_on(it.terminated()),
            TerminationReason::Completed
        );
    });
}

/// A group takes all in it along, but for who has a place of their own.
#[test]
fn a_group_runs_where_it_is_told_to_and_so_does_all_in_it() {
    within_a_minute(|| {
        let (here, there) = (runtime("here"), runtime("there"));
        here.block_on(async {
            let supervisor = supervisor();
            let (tell, mut told) = unbounded_channel();
            let teller = |name| teller(name, &tell, false);
            let back = SpawnOptions::default().on(here.handle().clone());
            let group = Group::new("g")
                .on(there.handle().clone())
                .service(teller("there"))
                .service_with_options(teller("here"), back)
                .group(Group::new("h").service(teller("there")))
                .group(
                    Group::new("i")
                        .on(here.handle().clone())
                        .service(teller("here")),
                );
            let group = supervisor.spawn_group(group).unwrap();
            for _ in 0..4 {
                let (name, thread) = told.recv().await.unwrap();
                assert_eq!(name, thread);
            }
            assert_eq!(group.stop().await, TerminationReason::Cancelled);
        });
    });
}
