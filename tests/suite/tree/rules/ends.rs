//! Ends at awkward moments: before the first poll, in the middle, without a runtime, by a thread that does not come
//! back.

use super::*;
use janus_supervisor::{Observer, ServiceEvent};
use janus_tests::within_a_minute;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Mutex, OnceLock, PoisonError, mpsc};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::unbounded_channel;

fn family() -> Group {
    Group::new("g")
        .service(steady("a"))
        .group(Group::new("h").service(steady("b")).service(steady("c")))
        .service(Script::new("fails", [Turn::Fail("x")]))
}

/// Lets the services of `runtime` begin.
fn begin(runtime: &Runtime) {
    runtime.block_on(async {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    });
}

/// How a service is ended before its task was ever polled.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    Stop,
    Shutdown,
    Token,
    Drop,
}

/// F67: nothing in it stays behind.
#[tokio::test(start_paused = true)]
async fn a_group_that_is_stopped_before_its_first_poll_terminates_all_in_it() {
    for way in [Way::Stop, Way::Shutdown, Way::Token, Way::Drop] {
        let scene = Scene::new();
        let group = scene.spawn(family());
        let inside: Vec<_> = ["g/a", "g/h", "g/h/b", "g/h/c", "g/fails"]
            .iter()
            .map(|name| scene.supervisor.service(name).unwrap())
            .collect();
        let Scene {
            supervisor,
            recorder,
            t0,
        } = scene;
        let metrics = Arc::clone(supervisor.metrics());
        match way {
            Way::Stop => group.request_stop(),
            Way::Shutdown => supervisor.trigger_shutdown(),
            Way::Token => supervisor.cancel_token().cancel(),
            Way::Drop => {}
        }
        let kept = (way != Way::Drop).then_some(supervisor);
        assert_eq!(
            within_an_hour(group.terminated()).await,
            TerminationReason::Cancelled
        );
        for child in &inside {
            let reason = within_an_hour(child.terminated()).await;
            assert_eq!(
                reason,
                TerminationReason::Cancelled,
                "{way:?} {}",
                child.name()
            );
        }
        let runs = told(&recorder, t0, |kind| matches!(kind, EventKind::Running));
        if way == Way::Token {
            assert!(
                runs.len() < 6,
                "whoever waits for the token may be polled later"
            );
        } else {
            assert_eq!(runs, [""; 0], "{way:?}");
        }
        let snapshot = metrics.snapshot();
        assert_eq!(
            (
                snapshot.spawned_total,
                snapshot.terminated_total,
                snapshot.active_services
            ),
            (6, 6, 0),
            "{way:?}"
        );
        let stories = janus_tests::Story::of_each(&recorder.events()).unwrap();
        assert!(stories.values().all(|story| story.end.is_some()));
        if let Some(supervisor) = kept.filter(|it| it.is_shutting_down()) {
            let report = within_an_hour(supervisor.wait_for_drain()).await;
            assert_eq!((report.drained, report.is_clean()), (6, true), "{way:?}");
        }
    }
}

/// D44, F67: the children of a group that never began are not the supervisor's own.
#[tokio::test(start_paused = true)]
async fn a_group_that_never_began_is_one_end_to_the_supervisor() {
    for rule in [
        AutoShutdown::AllTerminated,
        AutoShutdown::AllSignificant,
        AutoShutdown::AnySignificant,
    ] {
        let scene = scene_with(|config| config.with_auto_shutdown(rule));
        scene.supervisor.spawn_service(steady("other")).unwrap();
        let group = family()
            .auto_shutdown(AutoShutdown::AllSignificant)
            .service_with_options(steady("significant"), significant());
        let group = scene.spawn(group);
        group.request_stop();
        within_an_hour(group.terminated()).await;
        settle().await;
        assert!(!scene.supervisor.is_shutting_down(), "{rule}");
        for (name, phase, _) in scene.phases() {
            let expected = if name == "other" {
                ServicePhase::Running
            } else {
                ServicePhase::Terminated
            };
            assert_eq!(phase, expected, "{rule} {name}");
        }
        assert_eq!(scene.supervisor.metrics().snapshot().active_services, 1);
        // And the last end is still noticed.
        scene.supervisor.service("other").unwrap().stop().await;
        settle().await;
        let done = rule == AutoShutdown::AllTerminated;
        assert_eq!(scene.supervisor.is_shutting_down(), done, "{rule}");
    }
}

/// The same for a group inside another, whose turn never came.
#[tokio::test(start_paused = true)]
async fn a_nested_group_whose_turn_never_came_is_nothing_to_the_supervisor() {
    let scene = scene_with(|config| config.with_auto_shutdown(AutoShutdown::AllTerminated));
    scene.supervisor.spawn_service(steady("other")).unwrap();
    // The first one cannot be started, so those after it are not.
    let group = Group::new("g")
        .restart_policy(RestartPolicy::Never)
        .service(Script::new("lost", [Turn::FailForGood("x")]))
        .group(Group::new("h").service(steady("b")).service(steady("c")));
    let group = scene.spawn(group.strategy(Strategy::OneForAll));
    within_an_hour(group.terminated()).await;
    settle().await;
    assert!(!scene.supervisor.is_shutting_down());
    for name in ["g", "g/lost", "g/h", "g/h/b", "g/h/c"] {
        assert_eq!(
            scene.snapshot(name).phase,
            ServicePhase::Terminated,
            "{name}"
        );
    }
    assert_eq!(scene.supervisor.metrics().snapshot().active_services, 1);
}

/// F62: who blocks its thread is stuck; the groups around it are so only for its sake.
#[test]
fn a_child_that_blocks_its_thread_is_named_as_stuck_and_not_its_groups() {
    within_a_minute(|| {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_time()
            .build()
            .unwrap();
        let (let_go, go) = mpsc::channel::<()>();
        runtime.block_on(async {
            let scene = scene_with(|config| {
                config
                    .with_shutdown_timeout(ms(20))
                    .with_abort_timeout(secs(1))
            });
            let (tell, mut told) = unbounded_channel();
            let go = Mutex::new(go);
            let blocking = service_fn("blocking", move |_cancel: CancellationToken| {
                // Lets another thread have whoever was woken by this one.
                drop([tokio::spawn(async {}), tokio::spawn(async {})]);
                tell.send(()).unwrap();
                let blocked = go.lock().unwrap_or_else(PoisonError::into_inner).recv();
                async move { Ok(blocked?) }
            });
            let inner = Group::new("h").service(steady("polite")).service(blocking);
            let group = scene.spawn(Group::new("g").service(steady("a")).group(inner));
            told.recv().await.unwrap();
            scene.supervisor.trigger_shutdown();
            let report = scene.supervisor.wait_for_drain().await;
            assert_eq!(report.stuck, ["g/h/blocking"]);
            assert_eq!(report.exit_code(), 1);
            assert!(!group.phase().is_terminal());
            let_go.send(()).unwrap();
            group.terminated().await;
            assert_all_over(&scene);
            assert_eq!(scene.supervisor.wait_for_drain().await, report);
        });
    });
}

/// F61, F65: drained, aborted, with their paths, in the order of spawning.
#[tokio::test(start_paused = true)]
async fn a_report_names_children_by_their_paths() {
    let scene = Scene::new();
    let hung = |name: &str| Script::new(name, [Turn::Hang]);
    let short = || SpawnOptions::default().with_shutdown_grace(ms(10));
    let group = Group::new("g")
        .service_with_options(hung("z"), short())
        .group(
            Group::new("h")
                .service(steady("polite"))
                .service_with_options(hung("a"), short()),
        );
    scene.spawn(group);
    settle().await;
    scene.supervisor.trigger_shutdown();
    let report = within_an_hour(scene.supervisor.wait_for_drain()).await;
    assert_eq!(report.aborted, ["g/z", "g/h/a"]);
    assert_eq!((report.drained, report.took), (3, ms(20)));
    assert_eq!(report.to_string(), "3 drained, aborted: g/z g/h/a in 20ms");
}

/// F76: a runtime that goes away with groups at every stage.
#[test]
fn groups_of_a_runtime_that_was_dropped_are_terminated_with_all_in_them() {
    let recorder = Arc::<Recorder>::default();
    let supervisor = JanusSupervisor::new(config(&recorder));
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    let inside = runtime.enter();
    let rename = |name: &str| Group::new(name).group(family());
    let mut groups = vec![
        supervisor.spawn_group(rename("running")).unwrap(),
        supervisor
            .spawn_group(
                Group::new("giving up")
                    .intensity(Intensity::new(0, secs(1)))
                    .service(steady("a"))
                    .service(Script::new("b", [Turn::Fail("x")])),
            )
            .unwrap(),
        supervisor
            .spawn_group(Group::new("stopping").service(slow("a", 60_000)))
            .unwrap(),
    ];
    begin(&runtime);
    groups[2].request_stop();
    begin(&runtime);
    groups.push(supervisor.spawn_group(rename("unborn")).unwrap());
    let phases: Vec<_> = groups.iter().map(GroupHandle::phase).collect();
    assert_eq!(
        phases,
        [
            ServicePhase::Running,
            ServicePhase::BackingOff,
            ServicePhase::Stopping,
            ServicePhase::Starting
        ]
    );
    drop(inside);
    drop(runtime);

    let snapshot = supervisor.snapshot();
    for service in &snapshot.services {
        let name = &service.service_name;
        assert_eq!(service.phase, ServicePhase::Terminated, "{name}");
    }
    for group in &groups {
        assert_eq!(group.termination_reason(), Some(TerminationReason::Aborted));
    }
    assert_eq!(snapshot.metrics.active_services, 0);
    assert_eq!(
        snapshot.metrics.spawned_total,
        snapshot.metrics.terminated_total
    );
    let stories = janus_tests::Story::of_each(&recorder.events()).unwrap();
    assert_eq!(stories.len() as u64, snapshot.metrics.spawned_total);
    assert!(stories.values().all(|story| story.end.is_some()));
    // Whoever waits on another runtime is answered.
    let other = Builder::new_current_thread().enable_time().build().unwrap();
    for group in &groups {
        other.block_on(group.terminated());
    }
}

/// F76: nobody asked those who never began to stop; their runtime is gone, as that of their group.
#[test]
fn children_of_a_group_that_never_began_are_lost_with_their_runtime_as_it_is() {
    let recorder = Arc::<Recorder>::default();
    let supervisor = JanusSupervisor::new(config(&recorder));
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    let inside = runtime.enter();
    supervisor.spawn_group(family()).unwrap();
    drop(inside);
    drop(runtime);
    for service in supervisor.snapshot().services {
        assert_eq!(
            service.termination_reason.as_deref(),
            Some("aborted: did not stop in time"),
            "{}",
            service.service_name
        );
    }
}

/// Stops everything in the group as soon as it hears of the group.
struct Usurper(Mutex<Option<JanusSupervisor>>);

impl Observer for Usurper {
    fn observe(&self, event: &ServiceEvent) {
        if !matches!(event.kind, EventKind::Registered) {
            return;
        }
        let supervisor = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        for name in ["g/a", "g/h", "g/fails"] {
            if let Some(child) = supervisor.as_ref().and_then(|it| it.service(name)) {
                child.request_stop();
            }
        }
    }
}

/// Whoever is told of a group can find all in it, and everybody else has yet to be told of them.
#[tokio::test(start_paused = true)]
async fn a_child_that_is_stopped_before_everybody_knows_it_is_registered_before_it_ends() {
    let recorder = Arc::<Recorder>::default();
    let usurper = Arc::new(Usurper(Mutex::default()));
    let config = config(&recorder).with_observer(Arc::clone(&usurper) as Arc<_>);
    let supervisor = JanusSupervisor::new(config);
    *usurper.0.lock().unwrap() = Some(supervisor.clone());
    let group = supervisor.spawn_group(family()).unwrap();
    for name in ["g/a", "g/h", "g/h/b", "g/h/c", "g/fails"] {
        let child = supervisor.service(name).unwrap();
        let reason = child.termination_reason();
        assert_eq!(reason, Some(TerminationReason::Cancelled), "{name}");
        let first = &recorder.events_of(name)[0];
        assert!(matches!(first.kind, EventKind::Registered), "{first:?}");
    }
    settle().await;
    assert_eq!(group.phase(), ServicePhase::Running);
    supervisor.trigger_shutdown();
    assert!(within_an_hour(supervisor.wait_for_drain()).await.is_clean());
    let stories = janus_tests::Story::of_each(&recorder.events()).unwrap();
    assert!(stories.values().all(|story| story.end.is_some()));
}

/// F76: a group is lost with its runtime, and a child with a runtime of its own goes on until it sees that.
#[test]
fn a_child_that_outlives_its_lost_group_is_known_until_it_ends() {
    let recorder = Arc::<Recorder>::default();
    let supervisor = JanusSupervisor::new(config(&recorder));
    let (mine, its_own) = (
        Builder::new_current_thread().enable_time().build().unwrap(),
        Builder::new_current_thread().enable_time().build().unwrap(),
    );
    let inside = mine.enter();
    let group = || {
        let options = SpawnOptions::default().on(its_own.handle().clone());
        Group::new("g")
            .service(steady("a"))
            .service_with_options(steady("b"), options)
    };
    supervisor.spawn_group(group()).unwrap();
    for _ in 0..2 {
        begin(&mine);
        begin(&its_own);
    }
    drop(inside);
    let b = supervisor.service("g/b").unwrap();
    assert_eq!(b.phase(), ServicePhase::Running);
    drop(mine);

    supervisor.remove_service("g").unwrap();
    assert!(supervisor.service("g/a").is_none());
    assert!(supervisor.service("g/b").is_some(), "it still runs");
    let inside = its_own.enter();
    let error = supervisor.spawn_group(group()).unwrap_err().to_string();
    assert!(error.contains("g/b"), "{error}");
    drop(inside);
    its_own.block_on(b.terminated());
    supervisor.remove_service("g/b").unwrap();
    let metrics = supervisor.metrics().snapshot();
    assert_eq!((metrics.spawned_total, metrics.active_services), (3, 0));
}

/// Forgets a service as soon as it hears of its end.
struct Eraser(&'static str, OnceLock<JanusSupervisor>);

impl Observer for Eraser {
    #[expect(clippy::unwrap_used, reason = "part of a test")]
    fn observe(&self, event: &ServiceEvent) {
        if *event.service == *self.0 && matches!(event.kind, EventKind::Terminated { .. }) {
            self.1.get().unwrap().remove_service(self.0).unwrap();
        }
    }
}

/// F67: whoever hears of the end of a group that never began may forget it, and all in it ends all the same.
#[tokio::test(start_paused = true)]
async fn a_group_that_is_forgotten_when_its_end_is_told_leaves_nothing_behind() {
    let recorder = Arc::<Recorder>::default();
    let eraser = Arc::new(Eraser("g/h", OnceLock::new()));
    let config = config(&recorder).with_observer(Arc::clone(&eraser) as Arc<_>);
    let supervisor = JanusSupervisor::new(config);
    assert!(eraser.1.set(supervisor.clone()).is_ok());
    supervisor.spawn_group(family()).unwrap();
    let inside = supervisor.service("g/h/b").unwrap();
    supervisor.service("g/h").unwrap().request_stop();
    assert_eq!(
        within_an_hour(inside.terminated()).await,
        TerminationReason::Cancelled
    );
    supervisor.trigger_shutdown();
    within_an_hour(supervisor.wait_for_drain()).await;
    assert_eq!(supervisor.metrics().snapshot().active_services, 0);
}

/// Tells another thread when so many services are registered.
struct Herald(AtomicUsize, mpsc::Sender<()>);

impl Observer for Herald {
    fn observe(&self, event: &ServiceEvent) {
        let is_registered = matches!(event.kind, EventKind::Registered);
        if is_registered && self.0.fetch_sub(1, SeqCst) == 1 {
            // The other thread may have failed.
            let _heard = self.1.send(());
        }
    }
}

/// F67: at whatever moment that is.
#[test]
fn a_nested_group_that_another_thread_stops_while_it_is_spawned_ends_with_all_in_it() {
    const CHILDREN: usize = 1_000;
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_time()
        .build()
        .unwrap();
    for round in 0..30 {
        let (tell, told) = mpsc::channel();
        let herald = Arc::new(Herald(AtomicUsize::new(CHILDREN + 2), tell));
        let config = config(&Arc::default()).with_observer(herald);
        let supervisor = JanusSupervisor::new(config);
        let stopping = std::thread::spawn({
            let supervisor = supervisor.clone();
            move || {
                told.recv().unwrap();
                for _ in 0..round * 10 {
                    std::hint::spin_loop();
                }
                supervisor.service("g/h").unwrap().request_stop();
            }
        });
        let inner = (0..CHILDREN).fold(Group::new("h"), |group, i| {
            group.service(steady(&i.to_string()))
        });
        runtime.block_on(async {
            let group = supervisor
                .spawn_group(Group::new("g").group(inner))
                .unwrap();
            stopping.join().unwrap();
            group.stop().await;
        });
        let metrics = supervisor.metrics().snapshot();
        assert_eq!(metrics.active_services, 0, "round {round}");
    }
}

/// I92: a child that asks and orders whatever it likes from inside its run.
#[tokio::test(start_paused = true)]
async fn a_child_may_ask_the_supervisor_anything() {
    let scene = Scene::new();
    let hold: Arc<OnceLock<JanusSupervisor>> = Arc::default();
    assert!(hold.set(scene.supervisor.clone()).is_ok());
    let asking = service_fn("asking", move |_cancel: CancellationToken| {
        let supervisor = hold.get().cloned();
        async move {
            let supervisor = supervisor.ok_or("no supervisor")?;
            assert_eq!(supervisor.snapshot().services.len(), 4);
            supervisor.spawn_service(steady("spawned"))?;
            let group = Group::new("spawned group").service(steady("inside"));
            let group = supervisor.spawn_group(group)?;
            settle().await;
            // A sibling, a group, and what is inside its own.
            let sibling = supervisor.service("g/sibling").ok_or("no sibling")?;
            assert_eq!(sibling.stop().await, TerminationReason::Cancelled);
            assert_eq!(group.stop().await, TerminationReason::Cancelled);
            supervisor.remove_service("spawned group")?;
            supervisor.remove_service("g/sibling")?;
            // Its own group: that waits for itself, until its grace is over.
            let own = supervisor.service("g").ok_or("no group")?;
            own.stop().await;
            Err("must have been dropped".into())
        }
    });
    let options = SpawnOptions::default().with_shutdown_grace(ms(100));
    let group = Group::new("g")
        .service(steady("first"))
        .service(steady("sibling"))
        .service_with_options(asking, options);
    let group = scene.spawn(group);
    assert_eq!(
        within_an_hour(group.terminated()).await,
        TerminationReason::Cancelled
    );
    assert_eq!(
        ended(&scene),
        [
            "1 g/sibling",
            "1 spawned group/inside",
            "1 spawned group",
            "101 g/asking",
            "101 g/first",
            "101 g"
        ]
    );
    let reason = scene.snapshot("g/asking").termination_reason.unwrap();
    assert_eq!(reason, "aborted: did not stop in time");
    assert_eq!(scene.snapshot("spawned").phase, ServicePhase::Running);
}

/// I92: it may also begin the shutdown of all, and stop its group without waiting.
#[tokio::test(start_paused = true)]
async fn a_child_may_stop_its_own_group_and_the_supervisor() {
    for all in [false, true] {
        let scene = Scene::new();
        let hold: Arc<OnceLock<JanusSupervisor>> = Arc::default();
        assert!(hold.set(scene.supervisor.clone()).is_ok());
        let stopping = service_fn("stopping", move |cancel: CancellationToken| {
            let supervisor = hold.get().cloned();
            async move {
                let supervisor = supervisor.ok_or("no supervisor")?;
                if all {
                    supervisor.trigger_shutdown();
                } else {
                    supervisor.service("g").ok_or("no group")?.request_stop();
                }
                cancel.cancelled().await;
                Ok(())
            }
        });
        let group = Group::new("g").service(steady("a")).service(stopping);
        let group = scene.spawn(group.service(steady("b")));
        assert_eq!(
            within_an_hour(group.terminated()).await,
            TerminationReason::Cancelled
        );
        assert_eq!(scene.supervisor.is_shutting_down(), all);
        assert_all_over(&scene);
    }
}
