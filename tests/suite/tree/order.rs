//! In which order: start, stop, dependencies.

mod after;
mod cycles;
mod reversed;
mod stop;
mod threads;

use super::*;
use janus_supervisor::{CancellationToken, EventKind, SupervisorConfig, service_fn};
use std::sync::Mutex;

/// Whom something happened to, in which order, and when: `100 g/a`.
pub(super) fn told(
    recorder: &Recorder,
    t0: Instant,
    pick: impl Fn(&EventKind) -> bool,
) -> Vec<String> {
    let events = recorder.events().into_iter();
    let picked = events.filter(|event| pick(&event.kind)).map(|event| {
        let at = event.at.saturating_duration_since(t0).as_millis();
        format!("{at} {}", event.service)
    });
    picked.collect()
}

/// Whose runs began, and when.
pub(super) fn started(scene: &Scene) -> Vec<String> {
    told(&scene.recorder, scene.t0, |kind| {
        matches!(kind, EventKind::Running)
    })
}

/// Who terminated, and when.
pub(super) fn ended(scene: &Scene) -> Vec<String> {
    told(&scene.recorder, scene.t0, |kind| {
        matches!(kind, EventKind::Terminated { .. })
    })
}

/// A scene with other settings.
pub(super) fn scene_with(change: impl FnOnce(SupervisorConfig) -> SupervisorConfig) -> Scene {
    let recorder = Arc::<Recorder>::default();
    Scene {
        supervisor: JanusSupervisor::new(change(config(&recorder))),
        recorder,
        t0: tokio::time::Instant::now().into_std(),
    }
}

/// That everything in it has terminated, and that the counters say so.
#[expect(clippy::unwrap_used, reason = "part of a test")]
pub(super) fn assert_all_over(scene: &Scene) {
    let snapshot = scene.supervisor.snapshot();
    for service in &snapshot.services {
        let name = &service.service_name;
        assert_eq!(service.phase, ServicePhase::Terminated, "{name}");
    }
    assert_eq!(snapshot.metrics.active_services, 0);
    assert_eq!(
        snapshot.metrics.spawned_total,
        snapshot.metrics.terminated_total
    );
    let stories = janus_tests::Story::of_each(&scene.recorder.events()).unwrap();
    assert_eq!(stories.len() as u64, snapshot.metrics.spawned_total);
    assert!(stories.values().all(|story| story.end.is_some()));
}

/// OTP: order_of_children. D41.
#[tokio::test(start_paused = true)]
async fn children_start_in_the_order_they_are_given_each_when_the_one_before_was_entered() {
    let scene = Scene::new();
    let entered = Arc::new(Mutex::new(Vec::new()));
    let names = ["e", "d", "c", "b", "a", "f"];
    let group = names.into_iter().fold(Group::new("g"), |group, name| {
        let entered = Arc::clone(&entered);
        group.service(service_fn(name, move |cancel: CancellationToken| {
            let entered = Arc::clone(&entered);
            async move {
                entered.lock().unwrap().push(name);
                cancel.cancelled().await;
                Ok(())
            }
        }))
    });
    scene.spawn(group);
    settle().await;
    assert_eq!(*entered.lock().unwrap(), names);
    assert_eq!(
        started(&scene),
        ["0 g/e", "0 g/d", "0 g/c", "0 g/b", "0 g/a", "0 g/f", "0 g"]
    );
}

/// OTP: order_of_children. A run that ends at once has been up, too, and so has one that fails at once.
#[tokio::test(start_paused = true)]
async fn children_that_end_or_fail_at_once_do_not_hold_up_those_after_them() {
    let scene = Scene::new();
    let group = Group::new("g")
        .service(Script::new("done", [Turn::Complete]))
        .service(Script::new(
            "fails",
            [Turn::Fail("x"), Turn::until_cancelled()],
        ))
        .service(steady("last"));
    scene.spawn(group);
    tokio::time::sleep(ms(101)).await;
    assert_eq!(
        started(&scene),
        ["0 g/done", "0 g/fails", "0 g/last", "0 g", "100 g/fails"]
    );
}

/// OTP: scale_start_stop_many_children, count_children. Each child costs the same number of events, however many there
/// are.
#[tokio::test(start_paused = true)]
async fn a_thousand_children_start_in_order_and_stop_in_reverse_at_a_constant_cost_each() {
    for n in [10, 1_000] {
        let scene = Scene::new();
        let group = (0..n).fold(Group::new("g"), |group, i| {
            group.service(steady(&format!("{i:04}")))
        });
        let group = scene.spawn(group);
        settle().await;
        let names: Vec<_> = (0..n).map(|i| format!("0 g/{i:04}")).collect();
        assert_eq!(started(&scene)[..n], names);
        assert_eq!(scene.supervisor.service_count().await, n + 1);
        assert_eq!(
            scene.supervisor.metrics().snapshot().active_services,
            n as u64 + 1
        );
        group.stop().await;
        let names: Vec<_> = (0..n).rev().map(|i| format!("1 g/{i:04}")).collect();
        assert_eq!(ended(&scene)[..n], names);
        // Registered, running, stopping, run ended, terminated.
        assert_eq!(scene.recorder.events().len(), 5 * (n + 1));
        assert_all_over(&scene);
    }
}

fn nested() -> Group {
    let inner = Group::new("inner")
        .service(slow("b", 10))
        .group(Group::new("deep").service(slow("c", 10)))
        .service(slow("d", 10));
    Group::new("g")
        .service(slow("a", 10))
        .group(inner)
        .service(slow("e", 10))
}

/// OTP: order_of_children with supervisors among the children.
#[tokio::test(start_paused = true)]
async fn a_nested_group_stops_as_a_whole_in_its_place() {
    let scene = Scene::new();
    let group = scene.spawn(nested());
    settle().await;
    group.stop().await;
    assert_eq!(
        ended(&scene),
        [
            "11 g/e",
            "21 g/inner/d",
            "31 g/inner/deep/c",
            "31 g/inner/deep",
            "41 g/inner/b",
            "41 g/inner",
            "51 g/a",
            "51 g"
        ]
    );
    assert_all_over(&scene);
}

/// OTP: order_of_children with supervisors among the children: `start_link` answers when all below it are up.
#[tokio::test(start_paused = true)]
async fn a_nested_group_starts_as_a_whole_in_its_place() {
    let scene = Scene::new();
    scene.spawn(nested());
    settle().await;
    let services: Vec<_> = started(&scene)
        .into_iter()
        .filter(|it| !["0 g", "0 g/inner", "0 g/inner/deep"].contains(&it.as_str()))
        .collect();
    assert_eq!(
        services,
        [
            "0 g/a",
            "0 g/inner/b",
            "0 g/inner/deep/c",
            "0 g/inner/d",
            "0 g/e"
        ],
        "depth first"
    );
}

/// suture: TestSupervisorManagementIssue35.
#[tokio::test(start_paused = true)]
async fn a_hundred_nested_groups_that_are_cancelled_at_once_all_end() {
    for polled in [false, true] {
        let scene = Scene::new();
        let bottom = Group::new("g").service(steady("leaf"));
        let nested = (1..100).fold(bottom, |inner, _| {
            Group::new("g").service(steady("leaf")).group(inner)
        });
        scene.spawn(nested);
        for i in 0..100 {
            scene.spawn(Group::new(format!("flat{i}")).service(steady("leaf")));
        }
        if polled {
            settle().await;
            assert_eq!(scene.supervisor.metrics().snapshot().active_services, 400);
        }
        scene.supervisor.cancel_token().cancel();
        let report = within_an_hour(scene.supervisor.wait_for_drain()).await;
        assert_eq!((report.drained, report.is_clean()), (400, true));
        assert_eq!(report.took, ms(0));
        assert_all_over(&scene);
    }
}
