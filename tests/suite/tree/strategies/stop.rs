//! A stop wins over everything, at any point of a restart, and never waits for a backoff.

use super::*;
use janus_supervisor::{Observer, ServiceEvent};
use std::sync::OnceLock;

/// How somebody wants the group to end.
#[derive(Debug, Clone, Copy)]
pub(super) enum How {
    Stop,
    Shutdown,
}

pub(super) const BOTH: [How; 2] = [How::Stop, How::Shutdown];

impl How {
    pub(super) async fn end(self, scene: &Scene, group: &GroupHandle) -> TerminationReason {
        match self {
            Self::Stop => within_an_hour(group.stop()).await,
            Self::Shutdown => {
                scene.supervisor.trigger_shutdown();
                let report = within_an_hour(scene.supervisor.wait_for_drain()).await;
                assert!(report.is_clean(), "{report}");
                group.termination_reason().unwrap()
            }
        }
    }
}

/// Ends a restart of all at that time. Answers what began or ended from then on.
async fn ended_at(how: How, millis: u64, group: Group) -> (Vec<String>, u128) {
    let scene = Scene::new();
    let group = scene.spawn(group);
    until(scene.t0, millis).await;
    let reason = how.end(&scene, &group).await;
    assert_eq!(reason, TerminationReason::Cancelled, "{how:?} at {millis}");
    let elapsed = scene.elapsed();
    assert!(
        scene
            .phases_in("g")
            .into_iter()
            .all(ServicePhase::is_terminal)
    );
    assert_eq!(scene.supervisor.metrics().snapshot().active_services, 0);
    // Nothing comes after it.
    until(scene.t0, 100_000).await;
    scene.audit();
    (scene.runs_since(millis, "g"), elapsed)
}

pub(super) fn group(strategy: Strategy) -> Group {
    Group::new("g").strategy(strategy)
}

/// DESIGN 5; D37.
#[tokio::test(start_paused = true)]
async fn a_stop_while_siblings_come_down_starts_nobody() {
    for strategy in [Strategy::OneForAll, Strategy::RestForOne] {
        for how in BOTH {
            let group = group(strategy)
                .service(failing("a", [50]))
                .service(slow("b", 30))
                .service(slow("c", 200));
            let (runs, elapsed) = ended_at(how, 100, group).await;
            assert_eq!(runs, ["250 c ends", "280 b ends"], "{strategy} {how:?}");
            assert_eq!(elapsed, 280);
        }
    }
}

/// DESIGN 5: the grace counts from when the sibling was first told, and the stop does not begin another.
#[tokio::test(start_paused = true)]
async fn a_stop_does_not_prolong_the_grace_of_a_sibling_that_does_not_come_down() {
    for how in BOTH {
        let scene = Scene::new();
        let options = SpawnOptions::default().with_shutdown_grace(ms(300));
        let group = group(Strategy::OneForAll)
            .service(failing("a", [50]))
            .service_with_options(Script::new("b", [Turn::Hang]), options);
        let group = scene.spawn(group);
        until(scene.t0, 200).await;
        match how {
            How::Stop => group.request_stop(),
            How::Shutdown => scene.supervisor.trigger_shutdown(),
        }
        let reason = within_an_hour(group.terminated()).await;
        assert_eq!(
            reason,
            TerminationReason::Cancelled,
            "all in it are gone in time"
        );
        assert_eq!(scene.elapsed(), 350, "{how:?}");
        let dropped = scene.snapshot("g/b").termination_reason;
        assert_eq!(dropped, Some(TerminationReason::Aborted.to_string()));
        scene.audit();
    }
}

/// DESIGN 5; B20. OTP: hanging_restart_loop.
#[tokio::test(start_paused = true)]
async fn a_stop_while_the_delay_is_waited_for_is_immediate() {
    for strategy in STRATEGIES {
        for how in BOTH {
            let group = group(strategy).service(steady("a"));
            let group = group.service(failing("b", [50])).service(steady("c"));
            let (runs, elapsed) = ended_at(how, 100, group).await;
            let expected: &[&str] = match strategy {
                Strategy::OneForOne => &["100 c ends", "100 a ends"],
                Strategy::OneForAll => &[],
                Strategy::RestForOne => &["100 a ends"],
            };
            assert_eq!(runs, expected, "{strategy} {how:?}");
            assert_eq!(elapsed, 100);
        }
    }
}

/// Calls for the stop of the group as soon as it hears of the event.
struct Stopper {
    on: fn(&ServiceEvent) -> bool,
    group: OnceLock<GroupHandle>,
}

impl Observer for Stopper {
    fn observe(&self, event: &ServiceEvent) {
        if let Some(group) = self.group.get() {
            if (self.on)(event) {
                group.request_stop();
            }
        }
    }
}

/// DESIGN 5: at every single moment of a restart that anybody can hear of.
#[tokio::test(start_paused = true)]
async fn a_stop_in_any_moment_of_a_restart_begins_no_run_after_it() {
    let moments: [fn(&ServiceEvent) -> bool; 7] = [
        |it| &*it.service == "g/b" && matches!(it.kind, EventKind::RunEnded { .. }),
        |it| &*it.service == "g/b" && matches!(it.kind, EventKind::BackingOff { .. }),
        |it| &*it.service == "g/c" && matches!(it.kind, EventKind::RunEnded { .. }),
        |it| &*it.service == "g/c" && matches!(it.kind, EventKind::BackingOff { .. }),
        |it| &*it.service == "g/a" && matches!(it.kind, EventKind::Restarting),
        |it| &*it.service == "g/a" && it.run == 2 && matches!(it.kind, EventKind::Running),
        |it| &*it.service == "g/b" && matches!(it.kind, EventKind::Restarting),
    ];
    for (n, on) in moments.into_iter().enumerate() {
        let recorder = Arc::<Recorder>::default();
        let stopper = Arc::new(Stopper {
            on,
            group: OnceLock::new(),
        });
        let config = config(&recorder).with_observer(Arc::clone(&stopper) as Arc<_>);
        let t0 = tokio::time::Instant::now().into_std();
        let supervisor = JanusSupervisor::new(config);
        let scene = Scene {
            supervisor,
            recorder,
            t0,
        };
        let group = group(Strategy::OneForAll).service(steady("a"));
        let group = scene.spawn(group.service(failing("b", [50])).service(steady("c")));
        stopper.group.set(group.clone()).unwrap();
        let reason = within_an_hour(group.terminated()).await;
        assert_eq!(reason, TerminationReason::Cancelled, "moment {n}");
        assert_eq!(scene.elapsed(), if n < 4 { 50 } else { 150 }, "moment {n}");
        let runs = |name| {
            scene
                .runs_of("g")
                .iter()
                .filter(|it| it.ends_with(&format!("{name} begins")))
                .count()
        };
        assert_eq!(runs("c"), 1, "moment {n}");
        assert_eq!(runs("a"), if n < 4 { 1 } else { 2 }, "moment {n}");
        assert_eq!(runs("b"), if n < 6 { 1 } else { 2 }, "moment {n}");
        assert!(
            scene
                .phases_in("g")
                .into_iter()
                .all(ServicePhase::is_terminal)
        );
        scene.audit();
    }
}

/// DESIGN 5: the group itself waits for its next run; its children have all terminated.
#[tokio::test(start_paused = true)]
async fn a_stop_while_the_group_itself_backs_off_is_immediate() {
    for how in BOTH {
        let group = group(Strategy::OneForAll)
            .intensity(Intensity::new(0, secs(5)))
            .service(steady("a"))
            .service(failing("b", [50, 50]));
        let (runs, elapsed) = ended_at(how, 100, group).await;
        assert_eq!(runs, [""; 0], "{how:?}");
        assert_eq!(elapsed, 100);
    }
}

/// DESIGN 5: a group that is giving up, and is asked to stop: it has not failed, though its error is kept.
#[tokio::test(start_paused = true)]
async fn a_stop_while_the_group_gives_up_ends_it_as_cancelled_and_keeps_the_error() {
    let scene = Scene::new();
    let group = group(Strategy::OneForOne)
        .intensity(Intensity::new(0, secs(5)))
        .service(slow("a", 100))
        .service(failing("b", [50]));
    let group = scene.spawn(group);
    until(scene.t0, 100).await;
    let reason = within_an_hour(group.stop()).await;
    assert_eq!(reason, TerminationReason::Cancelled);
    assert_eq!(scene.elapsed(), 150);
    let stopped = group.snapshot();
    assert_eq!(stopped.total_failures, 0);
    let error = stopped.last_error.unwrap();
    assert!(error.contains("g/b was to run again"), "{error}");
    scene.audit();
}

/// F61, DESIGN 5: the group's own grace holds in the middle of a restart, too.
#[tokio::test(start_paused = true)]
async fn a_groups_own_grace_cuts_a_restart_short() {
    let scene = Scene::new();
    let group = group(Strategy::OneForAll)
        .shutdown_grace(ms(50))
        .service(slow("a", 1000))
        .service(Script::new("b", [Turn::Hang]))
        .service(failing("c", [50]));
    let group = scene.spawn(group);
    until(scene.t0, 100).await;
    let reason = within_an_hour(group.stop()).await;
    assert_eq!(reason, TerminationReason::Aborted);
    assert_eq!(scene.elapsed(), 150);
    assert_eq!(scene.phases_in("g"), [ServicePhase::Terminated; 3]);
    assert_eq!(scene.supervisor.metrics().snapshot().active_services, 0);
    scene.audit();
}

/// F61, F64: so does the timeout of the supervisor.
#[tokio::test(start_paused = true)]
async fn a_shutdown_cuts_a_restart_short_at_its_timeout() {
    let recorder = Arc::<Recorder>::default();
    let config = config(&recorder).with_shutdown_timeout(ms(200));
    let t0 = tokio::time::Instant::now().into_std();
    let supervisor = JanusSupervisor::new(config);
    let scene = Scene {
        supervisor,
        recorder,
        t0,
    };
    let options = SpawnOptions::default().with_shutdown_grace(secs(60));
    let group = group(Strategy::OneForAll)
        .service(steady("a"))
        .service_with_options(Script::new("b", [Turn::Hang]), options)
        .service(failing("c", [50]));
    scene.spawn(group);
    until(scene.t0, 100).await;
    scene.supervisor.trigger_shutdown();
    let report = within_an_hour(scene.supervisor.wait_for_drain()).await;
    assert_eq!(scene.elapsed(), 300);
    assert!(!report.is_clean());
    assert_eq!(scene.phases_in("g"), [ServicePhase::Terminated; 3]);
    assert_eq!(scene.supervisor.metrics().snapshot().active_services, 0);
    scene.audit();
}

/// DESIGN 3: nobody is left to hold it.
#[tokio::test(start_paused = true)]
async fn a_group_in_a_restart_ends_with_its_last_supervisor() {
    let scene = Scene::new();
    let group = group(Strategy::OneForAll).service(steady("a"));
    let group = scene.spawn(group.service(failing("b", [50])));
    until(scene.t0, 100).await;
    let (recorder, t0) = (Arc::clone(&scene.recorder), scene.t0);
    drop(scene);
    let reason = within_an_hour(group.terminated()).await;
    assert_eq!(reason, TerminationReason::Cancelled);
    assert_eq!(tokio::time::Instant::now().into_std(), t0 + ms(100));
    let stories = Story::of_each(&recorder.events()).unwrap();
    assert!(stories.values().all(|story| story.end.is_some()));
}

/// F67: before any of it was polled for the first time.
#[tokio::test(start_paused = true)]
async fn a_group_that_is_stopped_before_it_began_begins_nothing_and_leaves_nothing() {
    for how in BOTH {
        let scene = Scene::new();
        let deep = Group::new("deep").service(steady("x")).service(steady("y"));
        let group = group(Strategy::OneForAll).service(steady("a")).group(deep);
        let group = scene.spawn(group.service(steady("b")));
        let reason = how.end(&scene, &group).await;
        assert_eq!(reason, TerminationReason::Cancelled);
        assert_eq!(scene.elapsed(), 0, "{how:?}");
        assert_eq!(scene.runs_of("g"), [""; 0]);
        assert_eq!(scene.phases_in("g"), [ServicePhase::Terminated; 5]);
        scene.audit();
    }
}
