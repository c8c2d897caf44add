//! How a group comes down: in reverse, one by one, and no longer than agreed.

use super::super::*;
use super::{assert_all_over, ended, scene_with, started, told};
use janus_supervisor::{
    CancellationToken, EventKind, RestartPolicy, ServiceError, SpawnOptions, service_fn,
};

fn grace(millis: u64) -> SpawnOptions {
    SpawnOptions::default().with_shutdown_grace(ms(millis))
}

/// OTP: order_of_children, sup_stop_timeout: a group is stopped by an operator.
#[tokio::test(start_paused = true)]
async fn a_group_stops_in_reverse_one_by_one_each_with_its_own_grace() {
    let scene = Scene::new();
    let group = Group::new("g")
        .service(slow("a", 30))
        .service_with_options(slow("b", 50), grace(10))
        .service_with_options(slow("c", 5), grace(0))
        .service(slow("d", 20));
    let group = scene.spawn(group);
    settle().await;
    assert_eq!(group.stop().await, TerminationReason::Cancelled);
    assert_eq!(
        ended(&scene),
        ["21 g/d", "21 g/c", "31 g/b", "61 g/a", "61 g"]
    );
    let stopping = told(&scene.recorder, scene.t0, |kind| {
        matches!(kind, EventKind::Stopping)
    });
    assert_eq!(
        stopping,
        ["1 g", "1 g/d", "21 g/c", "21 g/b", "31 g/a"],
        "each is asked when the one after it is gone"
    );
    let reason = |name| scene.snapshot(name).termination_reason.unwrap();
    assert_eq!(reason("g/b"), "aborted: did not stop in time");
    assert_eq!(reason("g/c"), "aborted: did not stop in time");
    assert_eq!(
        (reason("g/a"), reason("g/d")),
        ("cancelled".into(), "cancelled".into())
    );
    assert_all_over(&scene);
}

/// OTP: order_of_children, the final stop. Services without relations stop at the same time.
#[tokio::test(start_paused = true)]
async fn the_shutdown_stops_a_group_in_reverse_and_everything_else_beside_it() {
    let scene = Scene::new();
    scene.supervisor.spawn_service(slow("x", 15)).unwrap();
    let group = Group::new("g")
        .service(slow("a", 10))
        .service(slow("b", 10))
        .service(slow("c", 10));
    scene.spawn(group);
    scene.supervisor.spawn_service(slow("y", 5)).unwrap();
    settle().await;
    scene.supervisor.trigger_shutdown();
    let report = within_an_hour(scene.supervisor.wait_for_drain()).await;
    assert_eq!(
        ended(&scene),
        ["6 y", "11 g/c", "16 x", "21 g/b", "31 g/a", "31 g"]
    );
    assert_eq!((report.drained, report.is_clean()), (6, true));
    assert_eq!(report.took, ms(30));
    assert_all_over(&scene);
}

/// D42, F64: the sum of the children's stops is bounded by the shutdown timeout, whatever their own graces.
#[tokio::test(start_paused = true)]
async fn slow_stops_add_up_until_the_shutdown_timeout_drops_what_is_left() {
    let scene = scene_with(|config| config.with_shutdown_timeout(secs(25)));
    let scripts: Vec<_> = ["a", "b", "c", "d", "e"]
        .map(|name| slow(name, 10_000))
        .into();
    let logs: Vec<_> = scripts.iter().map(Script::log).collect();
    let group = scripts.into_iter().fold(Group::new("g"), |group, script| {
        group.service_with_options(script, grace(3_600_000))
    });
    scene.spawn(group);
    settle().await;
    scene.supervisor.trigger_shutdown();
    let report = within_an_hour(scene.supervisor.wait_for_drain()).await;
    assert_eq!(report.drained, 2);
    assert_eq!(report.aborted, ["g", "g/a", "g/b", "g/c"]);
    assert!(report.stuck.is_empty());
    assert_eq!((report.took, report.exit_code()), (secs(25), 1));
    assert_eq!(ended(&scene)[..2], ["10001 g/e", "20001 g/d"]);
    assert!(
        ended(&scene)[2..]
            .iter()
            .all(|end| end.starts_with("25001 "))
    );
    assert!(logs.iter().all(|log| log.in_progress() == 0));
    let dropped: Vec<_> = logs.iter().map(|log| log.dropped_early()).collect();
    assert_eq!(dropped, [1, 1, 1, 0, 0]);
    assert_all_over(&scene);
}

/// The same bound for a group that is stopped alone: its own.
#[tokio::test(start_paused = true)]
async fn the_grace_of_a_group_bounds_the_sum_of_its_childrens() {
    let scene = Scene::new();
    let group = Group::new("g")
        .shutdown_grace(ms(25))
        .service(slow("a", 10))
        .group(
            Group::new("h")
                .service(slow("b", 10))
                .service(slow("c", 10)),
        )
        .service(slow("d", 10));
    let group = scene.spawn(group);
    let other = scene.supervisor.spawn_service(steady("other")).unwrap();
    settle().await;
    assert_eq!(group.stop().await, TerminationReason::Aborted);
    assert_eq!(ended(&scene)[..2], ["11 g/d", "21 g/h/c"]);
    assert_eq!(ended(&scene).len(), 6);
    assert!(ended(&scene)[2..].iter().all(|end| end.starts_with("26 ")));
    assert_eq!(ended(&scene)[5], "26 g", "it is over when all in it is");
    assert_eq!(other.phase(), ServicePhase::Running);
}

/// suture: TestStoppingStillWorksWithHungServices, TestServiceReport.
#[tokio::test(start_paused = true)]
async fn hung_children_are_dropped_and_named_by_their_paths() {
    let scene = Scene::new();
    let group = Group::new("g")
        .service(Script::new("first", [Turn::Hang]))
        .group(Group::new("h").service_with_options(Script::new("deep", [Turn::Hang]), grace(100)))
        .service(steady("polite"));
    scene.spawn(group);
    scene
        .supervisor
        .spawn_service(Script::new("outside", [Turn::Hang]))
        .unwrap();
    settle().await;
    scene.supervisor.trigger_shutdown();
    let report = within_an_hour(scene.supervisor.wait_for_drain()).await;
    assert_eq!(report.aborted, ["g", "g/first", "g/h/deep", "outside"]);
    assert_eq!(
        report.drained, 2,
        "the polite one, and the group whose child was dropped in time"
    );
    assert_eq!(
        report.to_string(),
        "2 drained, aborted: g g/first g/h/deep outside in 30.0s"
    );
    assert_eq!(
        scene.snapshot("g/h").termination_reason.unwrap(),
        "cancelled"
    );
    assert_all_over(&scene);
}

/// suture: TestStopAfterRemoveAndWait; OTP: sup_stop_race: a child that ends by itself in the middle of the stop
/// disturbs nothing.
#[tokio::test(start_paused = true)]
async fn children_that_end_by_themselves_during_the_stop_are_neither_restarted_nor_waited_for() {
    let scene = Scene::new();
    let mut group = Group::new("g");
    let ends = [
        Turn::Complete,
        Turn::Fail("x"),
        Turn::FailForGood("x"),
        Turn::Panic("x"),
    ];
    let policies = [
        RestartPolicy::Always,
        RestartPolicy::OnFailure,
        RestartPolicy::Never,
    ];
    for (i, end) in ends.into_iter().enumerate() {
        for policy in policies {
            let turn = end.clone().after(ms(50));
            group = group.service(Script::new(format!("{i}{policy}"), [turn]).policy(policy));
        }
    }
    let group = scene.spawn(group.service(slow("busy", 100)));
    settle().await;
    assert_eq!(group.stop().await, TerminationReason::Cancelled);
    assert_eq!(ended(&scene).last().unwrap(), "101 g");
    assert_eq!(started(&scene).len(), 14, "nobody twice");
    assert_all_over(&scene);
}

/// What a service does while it is asked to stop in its turn: a closure that fails on the way out holds nothing up.
#[tokio::test(start_paused = true)]
async fn an_error_on_the_way_out_of_one_child_does_not_hold_up_the_others() {
    let scene = Scene::new();
    let failing = service_fn("b", |cancel: CancellationToken| async move {
        cancel.cancelled().await;
        Err::<(), ServiceError>("flush failed".into())
    });
    let panicking = Script::new("c", [Turn::Panic("x").when_cancelled()]);
    let group = Group::new("g")
        .service(steady("a"))
        .service(failing)
        .service(panicking);
    let group = scene.spawn(group);
    settle().await;
    assert_eq!(group.stop().await, TerminationReason::Cancelled);
    assert_eq!(ended(&scene), ["1 g/c", "1 g/b", "1 g/a", "1 g"]);
    let last_error = scene.snapshot("g/b").last_error.unwrap();
    assert_eq!(last_error, "flush failed");
}
